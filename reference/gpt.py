"""GPT: a decoder-only language model, whole and with a key-value cache (Radford et al. 2018 and 2019)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation
from transpec.reference.attention import merge_heads, project, scaled_dot_product_attention, split_heads
from transpec.reference.configs import reject_activation, reject_heads_that_do_not_divide, reject_what_cannot_be
from transpec.reference.embedding import look_up
from transpec.reference.feed_forward import ACTIVATIONS, feed_forward
from transpec.reference.layers import Weights, _post_norm, _pre_norm, encoder_layer, part
from transpec.reference.masks import combine_masks, look_ahead_mask
from transpec.reference.normalization import layer_norm

Cache = list[tuple[Tensor, Tensor]]  # of one layer: keys and values of every piece that it has read, B H S E


@dataclass(frozen=True)
class GptConfig:
    """Sizes of a GPT; `norm_first` as in GPT-2, else post-norm as in the first GPT. Raises ValueError for what cannot be."""

    vocab_size: int
    d_model: int
    d_ff: int
    num_heads: int
    num_layers: int
    max_positions: int
    activation: str = "gelu_tanh"
    eps: float = 1e-5
    norm_first: bool = True

    def __post_init__(self) -> None:
        reject_what_cannot_be(self)
        reject_heads_that_do_not_divide(self)
        reject_activation(self, tuple(ACTIVATIONS))


@operation("Radford et al. 2018, section 3.1, equation 2; Radford et al. 2019, section 2.3, for norm_first")
def gpt(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: GptConfig,
    *,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T V"]:
    r"""h_0 = E_token + E_position, h_l = Layer_l(h_{l-1}) under the look-ahead mask, logits = h_L E_token^T.

    With `config.norm_first` the layers are pre-norm and one more norm goes before the logits. `attention_mask` is True
    at tokens and False at padding, which no position attends to and whose own logits mean nothing; `position_ids` are
    0, 1, ... where not given, and a sequence padded on the left has to be given its own. Weights: `embeddings.token`
    (V, M), `embeddings.position`, those of layer i under `layers.i.` as in `encoder_layer`, and with `norm_first`
    `final_norm.gain` and `final_norm.bias`.
    Raises IndexError for ids and positions that the tables do not have.
    """
    x = _embed(token_ids, weights, position_ids, start=0)  # B T M
    ahead = look_ahead_mask(token_ids.shape[-1])  # T T
    mask = ahead if attention_mask is None else combine_masks(attention_mask.unsqueeze(-2), ahead)  # B T T
    for i in range(config.num_layers):
        x = encoder_layer(
            x, part(weights, f"layers.{i}"), num_heads=config.num_heads, mask=mask,
            activation=config.activation, eps=config.eps, norm_first=config.norm_first,
        )  # fmt: skip
    return _logits(x, weights, config)


@operation("Radford et al. 2019, section 2.3, one piece after the other")
def gpt_cached(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: GptConfig,
    *,
    steps: tuple[int, ...],
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T V"]:
    r"""The logits of `gpt`, the tokens being read in pieces of `steps` tokens, with a key-value cache in between.

    Every piece computes queries, keys and values of its own tokens alone, and attends to its keys and to those that are
    kept of all pieces before it. `steps` add up to T; the cache starts empty in every call and its form is the
    implementation's own. The other options are those of `gpt`, for all T tokens. Raises ValueError where `steps` do not
    add up.
    """
    if sum(steps) != token_ids.shape[-1] or min(steps, default=0) < 1:
        raise ValueError(f"steps must be positive and add up to {token_ids.shape[-1]} tokens, got {steps}")
    caches: list[Cache] = [[] for _ in range(config.num_layers)]
    pieces, start = [], 0
    for step in steps:
        stop = start + step
        positions = None if position_ids is None else position_ids[:, start:stop]
        x = _embed(token_ids[:, start:stop], weights, positions, start)  # B step M
        mask = look_ahead_mask(stop)[start:]  # step stop
        if attention_mask is not None:
            mask = combine_masks(attention_mask[:, None, None, :stop], mask)  # B 1 step stop
        for i, cache in enumerate(caches):
            x = _cached_layer(x, part(weights, f"layers.{i}"), config, mask, cache)
        pieces.append(_logits(x, weights, config))
        start = stop
    return torch.cat(pieces, -2)


def _cached_layer(
    x: Float[Tensor, "B T M"], weights: Weights, config: GptConfig, mask: Bool[Tensor, "... T S"], cache: Cache
) -> Float[Tensor, "B T M"]:
    """`encoder_layer` on new positions, whose keys and values go into the cache and are attended to with those in it."""

    def attend(x: Tensor) -> Tensor:
        own = part(weights, "self_attention")
        query, key, value = (split_heads(project(x, own, name), config.num_heads) for name in "qkv")  # B H T E
        cache.append((key, value))
        keys, values = (torch.cat(kept, -2) for kept in zip(*cache, strict=True))  # B H S E
        return project(merge_heads(scaled_dot_product_attention(query, keys, values, mask=mask)), own, "o")

    def feed(x: Tensor) -> Tensor:
        return feed_forward(x, part(weights, "feed_forward"), activation=config.activation)

    sublayer = _pre_norm if config.norm_first else _post_norm
    x = sublayer(x, attend, part(weights, "self_attention_norm"), config.eps)
    return sublayer(x, feed, part(weights, "feed_forward_norm"), config.eps)


def _embed(
    token_ids: Int[Tensor, "B T"], weights: Weights, position_ids: Int[Tensor, "B T"] | None, start: int
) -> Float[Tensor, "B T M"]:
    positions = torch.arange(start, start + token_ids.shape[-1]) if position_ids is None else position_ids
    return look_up(weights["embeddings.token"], token_ids) + look_up(weights["embeddings.position"], positions)


def _logits(x: Float[Tensor, "B T M"], weights: Weights, config: GptConfig) -> Float[Tensor, "B T V"]:
    last = layer_norm(x, part(weights, "final_norm"), eps=config.eps) if config.norm_first else x
    return last @ weights["embeddings.token"].T
