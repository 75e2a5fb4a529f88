"""The encoder, the decoder and the Transformer, from token ids to logits (Vaswani et al. 2017, section 3)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation
from transpec.reference.configs import reject_activation, reject_heads_that_do_not_divide, reject_what_cannot_be
from transpec.reference.embedding import token_embedding
from transpec.reference.feed_forward import ACTIVATIONS
from transpec.reference.layers import Weights, decoder_layer, encoder_layer, part
from transpec.reference.masks import combine_masks, look_ahead_mask
from transpec.reference.normalization import layer_norm


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and variants of a Transformer. Raises ValueError for what cannot be, such as heads that do not divide."""

    vocab_size: int
    d_model: int
    d_ff: int
    num_heads: int
    num_encoder_layers: int
    num_decoder_layers: int
    activation: str = "relu"
    eps: float = 1e-5
    norm_first: bool = False

    def __post_init__(self) -> None:
        reject_what_cannot_be(self)
        reject_heads_that_do_not_divide(self)
        reject_activation(self, tuple(ACTIVATIONS))


@operation("Vaswani et al. 2017, section 3.1, encoder")
def encoder(
    token_ids: Int[Tensor, "B S"],
    weights: Weights,
    config: TransformerConfig,
    *,
    source_mask: Bool[Tensor, "B S"] | None = None,
) -> Float[Tensor, "B S M"]:
    r"""Embedding and positions, then `config.num_encoder_layers` encoder layers.

    `source_mask` is True at tokens and False at padding, which no query attends to. Weights: `embedding.table`, those
    of layer i under `layers.i.`, and with `config.norm_first` the last norm, of the stack's output, under `final_norm.`.
    """
    x = token_embedding(token_ids, part(weights, "embedding"))  # B S M
    for i in range(config.num_encoder_layers):
        x = encoder_layer(
            x, part(weights, f"layers.{i}"), num_heads=config.num_heads, mask=_of_keys(source_mask),
            activation=config.activation, eps=config.eps, norm_first=config.norm_first,
        )  # fmt: skip
    return layer_norm(x, part(weights, "final_norm"), eps=config.eps) if config.norm_first else x


@operation("Vaswani et al. 2017, section 3.1, decoder")
def decoder(
    token_ids: Int[Tensor, "B T"],
    memory: Float[Tensor, "B S M"],
    weights: Weights,
    config: TransformerConfig,
    *,
    target_mask: Bool[Tensor, "B T"] | None = None,
    source_mask: Bool[Tensor, "B S"] | None = None,
) -> Float[Tensor, "B T M"]:
    r"""Embedding and positions, then `config.num_decoder_layers` decoder layers over the memory of the encoder.

    A position attends to itself and to the past alone, always. `target_mask` and `source_mask` are True at tokens and
    False at padding of the target and of the source. Weights: as for the encoder.
    """
    ahead = look_ahead_mask(token_ids.shape[-1])  # T T
    seen = ahead if target_mask is None else combine_masks(target_mask.unsqueeze(-2), ahead)  # B T T
    x = token_embedding(token_ids, part(weights, "embedding"))  # B T M
    for i in range(config.num_decoder_layers):
        x = decoder_layer(
            x, memory, part(weights, f"layers.{i}"), num_heads=config.num_heads, self_mask=seen,
            memory_mask=_of_keys(source_mask), activation=config.activation, eps=config.eps,
            norm_first=config.norm_first,
        )  # fmt: skip
    return layer_norm(x, part(weights, "final_norm"), eps=config.eps) if config.norm_first else x


@operation("Vaswani et al. 2017, sections 3.1 and 3.4")
def transformer(
    source_ids: Int[Tensor, "B S"],
    target_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: TransformerConfig,
    *,
    source_mask: Bool[Tensor, "B S"] | None = None,
    target_mask: Bool[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T V"]:
    r"""Logits = Decoder(target, Encoder(source)) E^T: one table embeds source and target and makes the logits.

    Weights: `embedding.table` (V, M), the encoder's others under `encoder.` and the decoder's under `decoder.`. The
    table is shared by all three, and scaled by sqrt(d_model) in the embeddings alone. `target_ids` are what the decoder
    reads: the target shifted right.
    """
    table = {"embedding.table": weights["embedding.table"]}
    memory = encoder(source_ids, table | part(weights, "encoder"), config, source_mask=source_mask)  # B S M
    own = table | part(weights, "decoder")
    x = decoder(target_ids, memory, own, config, target_mask=target_mask, source_mask=source_mask)  # B T M
    return x @ weights["embedding.table"].T  # B T V


def _of_keys(tokens: Bool[Tensor, "B S"] | None) -> Bool[Tensor, "B 1 S"] | None:
    return None if tokens is None else tokens.unsqueeze(-2)
