"""T5: relative position buckets, unscaled attention, RMSNorm, and a tied, scaled head (Raffel et al. 2020)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation
from transpec.reference.attention import merge_heads, project, softmax, softmax_by_log_sum, split_heads
from transpec.reference.configs import reject_activation, reject_what_cannot_be
from transpec.reference.embedding import look_up
from transpec.reference.feed_forward import feed_forward, gelu_tanh
from transpec.reference.layers import Weights, part
from transpec.reference.masks import combine_masks, look_ahead_mask
from transpec.reference.normalization import rms_norm


@dataclass(frozen=True)
class T5Config:
    """Sizes and variants of a T5; the defaults are those of version 1.0. Raises ValueError for what cannot be.

    Heads of `d_kv` need not divide `d_model`. Version 1.1 has `activation` "gated_gelu" and `tied` False.
    """

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_heads: int
    num_encoder_layers: int
    num_decoder_layers: int
    num_buckets: int = 32
    max_distance: int = 128
    activation: str = "relu"
    tied: bool = True
    eps: float = 1e-6

    def __post_init__(self) -> None:
        reject_what_cannot_be(self)
        reject_activation(self, ("relu", "gated_gelu"))
        if self.num_buckets % 4 or self.max_distance <= self.num_buckets // 2:
            raise ValueError(
                "T5Config: num_buckets must be a multiple of 4 and max_distance more than its half, "
                f"got {self.num_buckets} and {self.max_distance}"
            )


@operation("Raffel et al. 2020, section 2.1; google-research/text-to-text-transfer-transformer for the buckets")
def relative_position_bucket(
    relative_position: Int[Tensor, "..."], *, bidirectional: bool, num_buckets: int, max_distance: int
) -> Int[Tensor, "..."]:
    r"""The bucket of a key's position less a query's.

    In one direction a key ahead counts as distance 0. With m = num_buckets / 2, each distance n < m has a bucket of its
    own, n; the others divide the distances up to `max_distance` evenly in the logarithm: n is in bucket
    m + floor(m log(n / m) / log(max_distance / m)), or in the last one where that lies beyond. In both directions the
    buckets are divided in two halves, the second for keys ahead, and each is filled in this way.
    """
    if bidirectional:
        num_buckets //= 2
        ahead = (relative_position > 0) * num_buckets
        distance = relative_position.abs()
    else:
        ahead = torch.zeros_like(relative_position)
        distance = (-relative_position).clamp_min(0)
    exact = num_buckets // 2
    # Bucket m + k begins at the distance m (max_distance / m)^(k / m): the formula above, solved for n, so that the
    # logarithm of a distance on the edge of two buckets is not left to rounding.
    begins = [exact * (max_distance / exact) ** (k / exact) for k in range(1, exact)]
    first = torch.tensor([math.ceil(n - 1e-9) for n in begins], dtype=torch.int64)  # exact - 1
    far = exact + (distance.unsqueeze(-1) >= first).sum(-1)
    return ahead + torch.where(distance < exact, distance, far)


@operation("Raffel et al. 2020, section 2.1: no scale, and a bias for every head that is added to the scores")
def t5_attention(
    query: Float[Tensor, "B T M"],
    key: Float[Tensor, "B S M"],
    value: Float[Tensor, "B S M"],
    weights: Weights,
    *,
    num_heads: int,
    bias: Float[Tensor, "H T S"] | None = None,
    mask: Bool[Tensor, "B T S"] | None = None,
) -> Float[Tensor, "B T M"]:
    r"""Concat(head_1, ..., head_h) W^O, head_i = softmax(Q W_i^Q (K W_i^K)^T + bias_i) V W_i^V: no 1 / sqrt(d_k).

    Weights: `w_q`, `w_k`, `w_v` (M, H E) and `w_o` (H E, M), without biases. `bias` is added to the scores of head i,
    the same for every item of the batch. `mask` broadcasts to (B, T, S) and is True where a query may attend.
    """
    return _attend(query, key, value, weights, num_heads, bias, mask, softmax)


@operation("Raffel et al. 2020, section 2.1, encoder")
def t5_encoder(
    token_ids: Int[Tensor, "B S"],
    weights: Weights,
    config: T5Config,
    *,
    attention_mask: Bool[Tensor, "B S"] | None = None,
) -> Float[Tensor, "B S M"]:
    r"""The encoder: x + f(RMSNorm(x)) for self-attention and feed-forward of every layer, and a last RMSNorm.

    Tokens are embedded without scale and without positions. `relative_bias` (num_buckets, H) holds the bias of each
    bucket, one table for all layers. Weights: `embedding.table`, `relative_bias`, `final_norm.gain`, and for layer i
    under `layers.i.` those of `t5_attention` under `self_attention.`, `feed_forward.w_1` and `feed_forward.w_2` (with
    "gated_gelu" also `feed_forward.w_gate`), `self_attention_norm.gain` and `feed_forward_norm.gain`.
    """
    x = look_up(weights["embedding.table"], token_ids)  # B S M
    bias = _relative_bias(token_ids.shape[-1], weights, config, bidirectional=True)  # H S S
    mask = None if attention_mask is None else attention_mask.unsqueeze(-2)  # B 1 S
    for i in range(config.num_encoder_layers):
        own = part(weights, f"layers.{i}")
        x = _sublayer(x, _self_attention(own, config, bias, mask), own["self_attention_norm.gain"], config)
        x = _sublayer(x, _feed_forward(own, config), own["feed_forward_norm.gain"], config)
    return rms_norm(x, part(weights, "final_norm"), eps=config.eps)


@operation("Raffel et al. 2020, section 2.1, decoder")
def t5_decoder(
    token_ids: Int[Tensor, "B T"],
    memory: Float[Tensor, "B S M"],
    weights: Weights,
    config: T5Config,
    *,
    attention_mask: Bool[Tensor, "B S"] | None = None,
    decoder_attention_mask: Bool[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T M"]:
    r"""The decoder: as the encoder, with attention to the memory after self-attention, which sees itself and the past.

    The relative bias is that of one direction, and of self-attention alone: attention to the memory has none.
    `attention_mask` is of the memory, `decoder_attention_mask` of the decoder's own tokens. Weights: as for the encoder,
    and for each layer `cross_attention.` and `cross_attention_norm.gain`.
    """
    x = look_up(weights["embedding.table"], token_ids)  # B T M
    bias = _relative_bias(token_ids.shape[-1], weights, config, bidirectional=False)  # H T T
    ahead = look_ahead_mask(token_ids.shape[-1])  # T T
    own_mask = decoder_attention_mask
    seen = ahead if own_mask is None else combine_masks(own_mask.unsqueeze(-2), ahead)  # B T T
    memory_mask = None if attention_mask is None else attention_mask.unsqueeze(-2)  # B 1 S
    for i in range(config.num_decoder_layers):
        own = part(weights, f"layers.{i}")
        x = _sublayer(x, _self_attention(own, config, bias, seen), own["self_attention_norm.gain"], config)
        attend = _cross_attention(own, config, memory, memory_mask)
        x = _sublayer(x, attend, own["cross_attention_norm.gain"], config)
        x = _sublayer(x, _feed_forward(own, config), own["feed_forward_norm.gain"], config)
    return rms_norm(x, part(weights, "final_norm"), eps=config.eps)


@operation("Raffel et al. 2020, section 2.1; mesh-tensorflow, Unitransformer, for the scale of the head")
def t5(
    source_ids: Int[Tensor, "B S"],
    target_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: T5Config,
    *,
    attention_mask: Bool[Tensor, "B S"] | None = None,
    decoder_attention_mask: Bool[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T V"]:
    r"""Logits = d_model^(-1/2) Decoder(target, Encoder(source)) E^T: one table embeds source and target and is the head.

    `target_ids` are what the decoder reads, the target shifted right. Where `config.tied` is False, the head is
    `head` (M, V) and nothing is scaled. Weights: `embedding.table` (V, M), the encoder's others under `encoder.`, the
    decoder's under `decoder.`.
    """
    table = {"embedding.table": weights["embedding.table"]}
    memory = t5_encoder(source_ids, table | part(weights, "encoder"), config, attention_mask=attention_mask)
    x = t5_decoder(
        target_ids, memory, table | part(weights, "decoder"), config,
        attention_mask=attention_mask, decoder_attention_mask=decoder_attention_mask,
    )  # fmt: skip
    if not config.tied:
        return x @ weights["head"]
    return x * (1 / math.sqrt(config.d_model)) @ weights["embedding.table"].T  # B T V


@operation("Raffel et al. 2020, section 2.1; Hugging Face transformers, T5PreTrainedModel._shift_right, for -100")
def shift_right(labels: Int[Tensor, "B T"], *, start_id: int, pad_id: int) -> Int[Tensor, "B T"]:
    """What the decoder reads to predict the labels: `start_id`, then all labels but the last; -100 becomes `pad_id`."""
    start = torch.full_like(labels[:, :1], start_id)
    shifted = torch.cat((start, labels[:, :-1]), -1)  # B T
    return torch.where(shifted == -100, pad_id, shifted)


Sublayer = Callable[[Tensor], Tensor]


def _relative_bias(length: int, weights: Weights, config: T5Config, *, bidirectional: bool) -> Float[Tensor, "H T T"]:
    place = torch.arange(length)
    buckets = relative_position_bucket(
        place - place.unsqueeze(-1), bidirectional=bidirectional,
        num_buckets=config.num_buckets, max_distance=config.max_distance,
    )  # fmt: skip
    return weights["relative_bias"][buckets].permute(2, 0, 1)


def _sublayer(x: Tensor, sublayer: Sublayer, gain: Tensor, config: T5Config) -> Float[Tensor, "B T M"]:
    return x + sublayer(rms_norm(x, {"gain": gain}, eps=config.eps))


def _self_attention(own: Weights, config: T5Config, bias: Tensor, mask: Tensor | None) -> Sublayer:
    weights = part(own, "self_attention")
    return lambda x: t5_attention(x, x, x, weights, num_heads=config.num_heads, bias=bias, mask=mask)


def _cross_attention(own: Weights, config: T5Config, memory: Tensor, mask: Tensor | None) -> Sublayer:
    weights = part(own, "cross_attention")
    return lambda x: t5_attention(x, memory, memory, weights, num_heads=config.num_heads, mask=mask)


def _feed_forward(own: Weights, config: T5Config) -> Sublayer:
    w_1, w_2 = own["feed_forward.w_1"], own["feed_forward.w_2"]
    if config.activation == "gated_gelu":
        return lambda x: (gelu_tanh(x @ own["feed_forward.w_gate"]) * (x @ w_1)) @ w_2
    weights = {"w_1": w_1, "b_1": torch.zeros_like(w_1[0]), "w_2": w_2, "b_2": torch.zeros_like(w_2[0])}
    return lambda x: feed_forward(x, weights, activation="relu")


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Weights,
    num_heads: int,
    bias: Tensor | None,
    mask: Tensor | None,
    normalised: Callable[[Tensor], Tensor],
) -> Float[Tensor, "B T M"]:
    query, key, value = (
        split_heads(project(x, weights, name), num_heads)
        for x, name in ((query, "q"), (key, "k"), (value, "v"))
    )  # fmt: skip
    scores = query @ key.transpose(-2, -1)  # B H T S
    scores = scores if bias is None else scores + bias
    if mask is not None:
        seen = mask.broadcast_to(len(scores), *scores.shape[-2:]).unsqueeze(1)  # B 1 T S
        scores = torch.where(seen, scores, -math.inf)
    return project(merge_heads(normalised(scores) @ value), weights, "o")  # B T M


@t5_attention.formulation
def t5_weights_by_log_sum(query, key, value, weights, *, num_heads, bias=None, mask=None):  # type: ignore[no-untyped-def]
    """exp(s - log sum exp s): what kernels compute that keep one number a row."""
    return _attend(query, key, value, weights, num_heads, bias, mask, softmax_by_log_sum)
