"""BERT: a bidirectional encoder, its pooler, and the heads it is pretrained with (Devlin et al. 2019)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation
from transpec.reference.configs import reject_activation, reject_heads_that_do_not_divide, reject_what_cannot_be
from transpec.reference.embedding import look_up
from transpec.reference.feed_forward import ACTIVATIONS
from transpec.reference.layers import Weights, encoder_layer, part
from transpec.reference.normalization import layer_norm


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT. Raises ValueError for what cannot be, such as heads that do not divide."""

    vocab_size: int
    d_model: int
    d_ff: int
    num_heads: int
    num_layers: int
    max_positions: int
    num_token_types: int = 2
    activation: str = "gelu"
    eps: float = 1e-12

    def __post_init__(self) -> None:
        reject_what_cannot_be(self)
        reject_heads_that_do_not_divide(self)
        reject_activation(self, tuple(ACTIVATIONS))


@operation("Devlin et al. 2019, section 3 and figure 2")
def bert(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: BertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T M"]:
    r"""h = Layer_L(... Layer_1(LayerNorm(E_token + E_type + E_position))), every position attending to all.

    `token_type_ids` are 0 where not given, `position_ids` 0, 1, ...; `attention_mask` is True at tokens and False at
    padding. The layers are post-norm encoder layers. Weights: `embeddings.token` (V, M), `embeddings.position`,
    `embeddings.token_type`, `embeddings.norm.gain`, `embeddings.norm.bias`, and those of layer i under `layers.i.`.
    Raises IndexError for ids, types and positions that the tables do not have.
    """
    x = embed(token_ids, part(weights, "embeddings"), token_type_ids, position_ids)
    x = layer_norm(x, part(weights, "embeddings.norm"), eps=config.eps)  # B T M
    mask = None if attention_mask is None else attention_mask.unsqueeze(-2)  # B 1 T
    for i in range(config.num_layers):
        x = encoder_layer(
            x, part(weights, f"layers.{i}"), num_heads=config.num_heads, mask=mask,
            activation=config.activation, eps=config.eps,
        )  # fmt: skip
    return x


@operation("Devlin et al. 2019, section 3: the aggregate sequence representation")
def bert_pooled(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: BertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B M"]:
    r"""tanh(h_0 W + b), h_0 being the result of `bert` at position 0, which is to be a token and no padding.

    Weights: those of `bert`, and `pooler.w` (M, M) and `pooler.b` (M).
    """
    hidden = bert(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return pool(hidden, weights)


@operation("Devlin et al. 2019, section 3.1, task 1; google-research/bert, get_masked_lm_output, for the transform")
def bert_mlm(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: BertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T V"]:
    r"""LayerNorm(f(h W + b)) E_token^T + c: logits of the masked language model, by the table that embeds the tokens.

    f is `config.activation`. Weights: those of `bert`, and `mlm.w` (M, M), `mlm.b`, `mlm.norm.gain`, `mlm.norm.bias`
    and `mlm.output_bias` (V), which is c.
    """
    hidden = bert(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return predict_tokens(hidden, weights, config.activation, config.eps)


@operation("Devlin et al. 2019, section 3.1, task 2; google-research/bert, get_next_sentence_output, for the order")
def bert_nsp(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: BertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B 2"]:
    r"""pooled W + b: the logits of "is the next sentence", label 0, and of "is not", label 1, in this order.

    Weights: those of `bert_pooled`, and `nsp.w` (M, 2) and `nsp.b` (2).
    """
    pooled = bert_pooled(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return pooled @ weights["nsp.w"] + weights["nsp.b"]


def embed(
    token_ids: Int[Tensor, "B T"],
    tables: Weights,
    token_type_ids: Int[Tensor, "B T"] | None,
    position_ids: Int[Tensor, "B T"] | None,
) -> Float[Tensor, "B T E"]:
    """The sum of the embeddings of token, token type and position, before any norm."""
    positions = torch.arange(token_ids.shape[-1]) if position_ids is None else position_ids
    types = torch.zeros_like(token_ids) if token_type_ids is None else token_type_ids
    return (
        look_up(tables["token"], token_ids)
        + look_up(tables["token_type"], types)
        + look_up(tables["position"], positions)
    )


def pool(hidden: Float[Tensor, "B T M"], weights: Weights) -> Float[Tensor, "B M"]:
    """tanh of a linear layer on the first token."""
    return torch.tanh(hidden[:, 0] @ weights["pooler.w"] + weights["pooler.b"])


def predict_tokens(
    hidden: Float[Tensor, "B T M"], weights: Weights, activation: str, eps: float
) -> Float[Tensor, "B T V"]:
    """The head of the masked language model, tied to the table of tokens."""
    x = ACTIVATIONS[activation](hidden @ weights["mlm.w"] + weights["mlm.b"])
    x = layer_norm(x, part(weights, "mlm.norm"), eps=eps)  # B T E
    return x @ weights["embeddings.token"].T + weights["mlm.output_bias"]
