"""ALBERT: BERT with a factorised embedding and one layer's weights shared by all (Lan et al. 2020)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation
from transpec.reference.bert import embed, pool, predict_tokens
from transpec.reference.configs import reject_activation, reject_heads_that_do_not_divide, reject_what_cannot_be
from transpec.reference.feed_forward import ACTIVATIONS
from transpec.reference.layers import Weights, encoder_layer, part
from transpec.reference.normalization import layer_norm


@dataclass(frozen=True)
class AlbertConfig:
    """Sizes of an ALBERT. Raises ValueError for what cannot be, such as heads that do not divide."""

    vocab_size: int
    embedding_size: int
    d_model: int
    d_ff: int
    num_heads: int
    num_layers: int
    max_positions: int
    num_token_types: int = 2
    activation: str = "gelu_tanh"
    eps: float = 1e-12

    def __post_init__(self) -> None:
        reject_what_cannot_be(self)
        reject_heads_that_do_not_divide(self)
        reject_activation(self, tuple(ACTIVATIONS))


@operation("Lan et al. 2020, section 3.1")
def albert(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: AlbertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T M"]:
    r"""h = Layer(... Layer(LayerNorm(E_token + E_type + E_position) W + b)): one layer, applied L times.

    Embeddings have the size `config.embedding_size`, and W takes them to `config.d_model`. The options are those of
    `bert`. Weights: `embeddings.token` (V, E), `embeddings.position`, `embeddings.token_type`, `embeddings.norm.gain`,
    `embeddings.norm.bias`, `projection.w` (E, M), `projection.b`, and those of the layer under `layer.`.
    """
    x = embed(token_ids, part(weights, "embeddings"), token_type_ids, position_ids)
    x = layer_norm(x, part(weights, "embeddings.norm"), eps=config.eps)  # B T E
    x = x @ weights["projection.w"] + weights["projection.b"]  # B T M
    mask = None if attention_mask is None else attention_mask.unsqueeze(-2)  # B 1 T
    for _ in range(config.num_layers):
        x = encoder_layer(
            x, part(weights, "layer"), num_heads=config.num_heads, mask=mask,
            activation=config.activation, eps=config.eps,
        )  # fmt: skip
    return x


@operation("Lan et al. 2020, section 3.1; google-research/albert, AlbertModel, for the pooler")
def albert_pooled(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: AlbertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B M"]:
    r"""tanh(h_0 W + b), h_0 being the result of `albert` at position 0, which is to be a token and no padding.

    Weights: those of `albert`, and `pooler.w` (M, M) and `pooler.b` (M).
    """
    hidden = albert(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return pool(hidden, weights)


@operation("Lan et al. 2020, section 3.1; google-research/albert, get_masked_lm_output, for the transform")
def albert_mlm(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: AlbertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T V"]:
    r"""LayerNorm(f(h W + b)) E_token^T + c: back to the size of the embeddings, then logits by their table.

    f is `config.activation`. Weights: those of `albert`, and `mlm.w` (M, E), `mlm.b` (E), `mlm.norm.gain`,
    `mlm.norm.bias` and `mlm.output_bias` (V), which is c.
    """
    hidden = albert(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return predict_tokens(hidden, weights, config.activation, config.eps)


@operation("Lan et al. 2020, section 3.1: sentence-order prediction; google-research/albert for the order of labels")
def albert_sop(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: AlbertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B 2"]:
    r"""pooled W + b: the logits of "in order", label 0, and of "exchanged", label 1, in this order.

    Weights: those of `albert_pooled`, and `sop.w` (M, 2) and `sop.b` (2).
    """
    pooled = albert_pooled(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return pooled @ weights["sop.w"] + weights["sop.b"]
