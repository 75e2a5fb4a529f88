"""Attention: weights, scaled dot-product, multi-head (Vaswani et al. 2017, section 3.2)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from transpec.operations import operation


@operation("Vaswani et al. 2017, section 3.2.1, equation 1")
def attention_weights(
    query: Float[Tensor, "... T E"],
    key: Float[Tensor, "... S E"],
    *,
    mask: Bool[Tensor, "... T S"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "... T S"]:
    r"""A = softmax(Q K^T / sqrt(d_k)).

    Our E is the paper's d_k. `mask` is True where a query may attend; the other scores are minus infinity (section
    3.2.3), and a row that may attend to nothing is zero. `scale` stands for 1 / sqrt(E) where it is given.
    Raises ValueError where a query and a key differ in size.
    """
    return softmax(_scores(query, key, mask, scale))


@operation("Vaswani et al. 2017, section 3.2.1, equation 1")
def scaled_dot_product_attention(
    query: Float[Tensor, "... T E"],
    key: Float[Tensor, "... S E"],
    value: Float[Tensor, "... S D"],
    *,
    mask: Bool[Tensor, "... T S"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "... T D"]:
    r"""Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V.

    Our E is the paper's d_k, our D its d_v. `mask` and `scale` are those of `attention_weights`.
    Raises ValueError where a query and a key differ in size, or keys and values in number.
    """
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(f"every key needs a value: got {key.shape[-2]} keys and {value.shape[-2]} values")
    return attention_weights(query, key, mask=mask, scale=scale) @ value  # ... T D


@operation("Vaswani et al. 2017, section 3.2.2")
def multi_head_attention(
    query: Float[Tensor, "B T Mq"],
    key: Float[Tensor, "B S Mk"],
    value: Float[Tensor, "B S Mv"],
    weights: dict[str, Tensor],
    *,
    num_heads: int,
    mask: Bool[Tensor, "B T S"] | None = None,
) -> Float[Tensor, "B T M"]:
    r"""MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O, head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V).

    Weights: `w_q` (Mq, H E), `w_k` (Mk, H E), `w_v` (Mv, H D), `w_o` (H D, M) and the biases `b_q`, `b_k`, `b_v`,
    `b_o`, of which a missing one is zero. Head i owns the i-th block of E (or D) columns of a projection and of D rows
    of `w_o`. `mask` is the same for all heads; a row that may attend to nothing is zero in every head, and so `b_o` in
    the output. Raises ValueError where `num_heads` does not divide the columns.
    """
    heads = scaled_dot_product_attention(
        split_heads(project(query, weights, "q"), num_heads),  # B H T E
        split_heads(project(key, weights, "k"), num_heads),  # B H S E
        split_heads(project(value, weights, "v"), num_heads),  # B H S D
        mask=None if mask is None else mask.broadcast_to(len(query), query.shape[1], key.shape[1]).unsqueeze(1),
    )  # B H T D
    return project(merge_heads(heads), weights, "o")  # B T M


@attention_weights.choice("attention.empty-row", "mean")
def empty_rows_attend_to_all_keys_alike(query, key, *, mask=None, scale=None):  # type: ignore[no-untyped-def]
    """A row that may attend to nothing has the weight 1 / S on every key, as a finite mask value makes it."""
    weights = attention_weights(query, key, mask=mask, scale=scale)
    return weights if mask is None else torch.where(mask.any(-1, keepdim=True), weights, 1 / key.shape[-2])


@attention_weights.choice("attention.empty-row", "nan")
def empty_rows_are_nan(query, key, *, mask=None, scale=None):  # type: ignore[no-untyped-def]
    """A row that may attend to nothing is NaN, as 0 / 0 makes it."""
    weights = attention_weights(query, key, mask=mask, scale=scale)
    return weights if mask is None else torch.where(mask.any(-1, keepdim=True), weights, math.nan)


@attention_weights.formulation
def weights_by_log_sum(query, key, *, mask=None, scale=None):  # type: ignore[no-untyped-def]
    """exp(s - log sum exp s): what kernels compute that keep one number a row; it carries |log sum exp| roundings."""
    return softmax_by_log_sum(_scores(query, key, mask, scale))


def softmax(scores: Float[Tensor, "... S"]) -> Float[Tensor, "... S"]:
    """exp(s) over its sum along a row; a row that is minus infinity throughout is zero."""
    # Any constant may be taken from a row of scores. The highest keeps exp in range. It is detached, for a constant has
    # no gradient; where a row is -inf throughout it is 0, so that exp gives 0 and not NaN.
    highest = scores.detach().amax(-1, keepdim=True)  # ... 1
    powers = torch.exp(scores - highest.masked_fill(highest == -math.inf, 0.0))
    total = powers.sum(-1, keepdim=True)  # ... 1
    return powers / total.masked_fill(total == 0, 1.0)


def softmax_by_log_sum(scores: Float[Tensor, "... S"]) -> Float[Tensor, "... S"]:
    """The same as exp(s - log sum exp s)."""
    with torch.no_grad():
        highest = scores.amax(-1, keepdim=True)
        highest = highest.masked_fill(highest == -math.inf, 0.0)
        total = torch.exp(scores - highest).sum(-1, keepdim=True)
        log_sum = highest + torch.log(total.masked_fill(total == 0, 1.0))
    powers = torch.exp(scores - log_sum)
    # The factor is 1, and its gradient is what makes the sum of a row constant. Such kernels go back with the very
    # exp(s - log sum) that they rounded, so a rounding of the sum does not cancel as it would if differentiated through.
    total = powers.sum(-1, keepdim=True)
    return powers * (1 + (total.detach() - total))


def _scores(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None) -> Float[Tensor, "... T S"]:
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"a query and a key must be of one size: got {query.shape[-1]} and {key.shape[-1]}")
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)  # ... T S
    return scores if mask is None else torch.where(mask, scores, -math.inf)


def project(x: Float[Tensor, "B T M"], weights: dict[str, Tensor], name: str) -> Float[Tensor, "B T HE"]:
    """x W + b with the weights `w_` and `b_` of this name; a missing bias is zero."""
    projected = x @ weights[f"w_{name}"]
    return projected + weights[f"b_{name}"] if f"b_{name}" in weights else projected


def split_heads(x: Float[Tensor, "B T HE"], num_heads: int) -> Float[Tensor, "B H T E"]:
    """Head i is the i-th block of columns. Raises ValueError where `num_heads` does not divide them."""
    if x.shape[-1] % num_heads:
        raise ValueError(f"num_heads must divide the {x.shape[-1]} columns of a projection: got {num_heads}")
    return x.unflatten(-1, (num_heads, x.shape[-1] // num_heads)).transpose(1, 2)


def merge_heads(heads: Float[Tensor, "B H T D"]) -> Float[Tensor, "B T HD"]:
    """The heads side by side again."""
    return heads.transpose(1, 2).flatten(2)
