"""Implementations that are right and unlike the reference: what the suite must let pass.

Each computes the same formulas by another route, in another order, in another memory layout, or makes another choice
that the papers leave open. `CORRECT` holds them by name. An implementation that stands here and fails shows a fault of
the suite or of its budget.
"""

# The sentence of a class speaks for its methods, whose contract is the operation they are named after.
# ruff: noqa: D102, D106

import functools
import itertools
import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

CORRECT: dict[str, Any] = {}

ALL = ("float64", "float32", "float16", "bfloat16")
NO_HALF = ("float64", "float32", "bfloat16")
WIDE = ("float64", "float32")
Weights = dict[str, Tensor]


def correct(variant: type) -> type:
    """Enter a variant in `CORRECT` under its NAME."""
    assert variant.NAME not in CORRECT, variant.NAME
    CORRECT[variant.NAME] = variant
    return variant


class InTorch:
    """What most variants declare."""

    FRAMEWORK = "torch"
    DTYPES = ALL
    DIFFERENTIABLE = True


# What several variants share


def _scale(query: Tensor, scale: float | None) -> float:
    return query.shape[-1] ** -0.5 if scale is None else scale


def _scores(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    scores = query @ key.mT * _scale(query, scale)
    return scores if mask is None else scores.masked_fill(~mask, -math.inf)


def _no_infinity(x: Tensor) -> Tensor:
    """0 in place of -inf, the maximum of a row that sees no key."""
    return x.masked_fill(x == -math.inf, 0)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    scores = _scores(query, key, mask, scale)
    powers = torch.exp(scores - _no_infinity(scores.detach().amax(-1, keepdim=True)))
    total = powers.sum(-1, keepdim=True)
    return powers / total.masked_fill(total == 0, 1) @ value


def _project(x: Tensor, weights: Weights, name: str) -> Tensor:
    return x @ weights[f"w_{name}"] + weights.get(f"b_{name}", 0)


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, H E) -> (B, H, T, E); refuses heads that do not divide."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def _mask_for_heads(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
    return None if mask is None else mask.expand(len(query), query.shape[1], key.shape[1]).unsqueeze(1)


# Attention


@correct
class BlockwiseOnlineSoftmax(InTorch):
    """Sixteen keys at a time, with a running maximum and a running sum, as FlashAttention does."""

    NAME = "blockwise_online_softmax"

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        masks = itertools.repeat(None) if mask is None else mask.expand(*mask.shape[:-1], key.shape[-2]).split(16, -1)
        highest = query.new_full((query.shape[-2], 1), -math.inf)
        total = query.new_zeros(query.shape[-2], 1)
        output = query.new_zeros(query.shape[-2], value.shape[-1])
        for (keys, values), visible in zip(
            zip(key.split(16, -2), value.split(16, -2), strict=True), masks, strict=False
        ):
            scores = _scores(query, keys, visible, scale)
            higher = torch.maximum(highest, scores.detach().amax(-1, keepdim=True))
            powers = torch.exp(scores - _no_infinity(higher))
            correction = torch.exp(highest - _no_infinity(higher))
            total = total * correction + powers.sum(-1, keepdim=True)
            output = output * correction + powers @ values
            highest = higher
        return output / total.masked_fill(total == 0, 1)


@correct
class Einsum(InTorch):
    """Attention and multi-head attention as Einstein sums; the queries are scaled, not the scores."""

    NAME = "einsum"

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        scores = torch.einsum("...te,...se->...ts", query * _scale(query, scale), key)
        if mask is None:
            return torch.softmax(scores, -1)
        weights = torch.softmax(scores.masked_fill(~mask, -math.inf), -1)
        return weights.masked_fill(~mask.any(-1, keepdim=True), 0)

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        weights = Einsum.attention_weights(query, key, mask=mask, scale=scale)
        return torch.einsum("...ts,...sd->...td", weights, value)

    @staticmethod
    def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
        w_q, w_k, w_v = (weights[name].unflatten(-1, (num_heads, -1)) for name in ("w_q", "w_k", "w_v"))
        b_q, b_k, b_v = (
            weights[name].view(num_heads, 1, -1) if name in weights else 0 for name in ("b_q", "b_k", "b_v")
        )
        q = torch.einsum("btm,mhe->bhte", query, w_q) + b_q
        k = torch.einsum("bsm,mhe->bhse", key, w_k) + b_k
        v = torch.einsum("bsm,mhd->bhsd", value, w_v) + b_v
        heads = Einsum.scaled_dot_product_attention(q, k, v, mask=_mask_for_heads(mask, query, key))
        return torch.einsum("bhtd,hdm->btm", heads, weights["w_o"].unflatten(0, (num_heads, -1))) + weights.get(
            "b_o", 0
        )


@correct
class Exp2Softmax(InTorch):
    """2^(s log2 e) in place of e^s, with log2 e multiplied into the scale of the queries."""

    NAME = "exp2_softmax"

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        scores = _scores(query * (_scale(query, scale) * math.log2(math.e)), key, mask, 1)
        powers = torch.exp2(scores - _no_infinity(scores.detach().amax(-1, keepdim=True)))
        total = powers.sum(-1, keepdim=True)
        return powers / total.masked_fill(total == 0, 1)

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return Exp2Softmax.attention_weights(query, key, mask=mask, scale=scale) @ value


@correct
class LogSumExp(InTorch):
    """exp(s - logsumexp(s)): no division."""

    NAME = "logsumexp"

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        scores = _scores(query, key, mask, scale)
        return torch.exp(scores - _no_infinity(torch.logsumexp(scores, -1, keepdim=True)))

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return LogSumExp.attention_weights(query, key, mask=mask, scale=scale) @ value


@correct
class RecomputingBackward(InTorch):
    """A backward pass written by hand: it recomputes the weights, and takes rowsum(dP P) as rowsum(dO O)."""

    NAME = "recomputing_backward"

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(context, query, key, value, mask, scale):
            scores = _scores(query, key, mask, scale)
            log_total = _no_infinity(torch.logsumexp(scores, -1, keepdim=True))
            output = torch.exp(scores - log_total) @ value
            context.save_for_backward(query, key, value, mask, output, log_total)
            context.scale = scale
            return output

        @staticmethod
        def backward(context, by_output):
            query, key, value, mask, output, log_total = context.saved_tensors
            weights = torch.exp(_scores(query, key, mask, context.scale) - log_total)
            by_value = weights.mT @ by_output
            by_weights = by_output @ value.mT
            by_scores = weights * (by_weights - (by_output * output).sum(-1, keepdim=True)) * context.scale
            by_query, by_key = by_scores @ key, by_scores.mT @ query
            return (
                by_query.sum_to_size(query.shape),
                by_key.sum_to_size(key.shape),
                by_value.sum_to_size(value.shape),
                None,
                None,
            )

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return RecomputingBackward.Attention.apply(query, key, value, mask, _scale(query, scale))


@correct
class DividedLast(InTorch):
    """(exp(s) V) / sum(exp(s)): the values are summed before the weights are normalised."""

    NAME = "divided_last"

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        scores = _scores(query, key, mask, scale)
        powers = torch.exp(scores - _no_infinity(scores.detach().amax(-1, keepdim=True)))
        total = powers.sum(-1, keepdim=True)
        return (powers @ value) / total.masked_fill(total == 0, 1)


@correct
class AdditiveMask(InTorch):
    """Hidden scores have half the lowest number of the dtype added; a row that sees nothing is the mean of all."""

    NAME = "additive_mask"
    DTYPES = WIDE  # in 16 bits the scores would not vanish beside the number added to them
    CHOICES: ClassVar = {"attention.empty-row": "mean"}

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        scores = _scores(query, key, None, scale)
        if mask is not None:
            scores = scores + scores.new_zeros(mask.shape).masked_fill(~mask, torch.finfo(scores.dtype).min / 2)
        return torch.softmax(scores, -1)

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return AdditiveMask.attention_weights(query, key, mask=mask, scale=scale) @ value


@correct
class LowestFill(InTorch):
    """Hidden scores become the lowest number of the dtype; a row that sees nothing is the mean of all."""

    NAME = "lowest_fill"
    CHOICES: ClassVar = {"attention.empty-row": "mean"}

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        scores = _scores(query, key, None, scale)
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return torch.softmax(scores, -1)

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return LowestFill.attention_weights(query, key, mask=mask, scale=scale) @ value


@correct
class NanRows(InTorch):
    """Minus infinity and a plain softmax: a row that sees nothing is NaN."""

    NAME = "nan_rows"
    CHOICES: ClassVar = {"attention.empty-row": "nan"}

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        return torch.softmax(_scores(query, key, mask, scale), -1)

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return NanRows.attention_weights(query, key, mask=mask, scale=scale) @ value

    @staticmethod
    def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
        q, k, v = (
            _heads(_project(x, weights, name), num_heads) for x, name in ((query, "q"), (key, "k"), (value, "v"))
        )
        heads = NanRows.scaled_dot_product_attention(q, k, v, mask=_mask_for_heads(mask, query, key))
        return _project(heads.transpose(1, 2).flatten(2), weights, "o")


@correct
class RefusedRows(InTorch):
    """A mask with a row that sees nothing is refused."""

    NAME = "refused_rows"
    CHOICES: ClassVar = {"attention.empty-row": "refuse"}

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        if mask is not None and not mask.any(-1).all():
            raise ValueError("every query must see a key; given a mask with a row that is False throughout")
        return torch.softmax(_scores(query, key, mask, scale), -1)

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return RefusedRows.attention_weights(query, key, mask=mask, scale=scale) @ value


# Multi-head attention


@correct
class HeadLoop(InTorch):
    """One head after the other, each with its own matrices, then side by side."""

    NAME = "head_loop"

    @staticmethod
    def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
        def matrices(name):
            w = weights[f"w_{name}"].unflatten(1, (num_heads, -1)).unbind(1)
            b = weights.get(f"b_{name}", weights[f"w_{name}"].new_zeros(weights[f"w_{name}"].shape[1]))
            return zip(w, b.unflatten(0, (num_heads, -1)), strict=True)

        heads = [
            _attend(query @ w_q + b_q, key @ w_k + b_k, value @ w_v + b_v, mask)
            for (w_q, b_q), (w_k, b_k), (w_v, b_v) in zip(matrices("q"), matrices("k"), matrices("v"), strict=True)
        ]
        return _project(torch.cat(heads, -1), weights, "o")


@correct
class FusedProjection(InTorch):
    """One matrix product for queries, keys and values of all heads."""

    NAME = "fused_projection"

    @staticmethod
    def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
        if not query.shape[-1] == key.shape[-1] == value.shape[-1]:
            raise NotImplementedError("one fused projection needs inputs of one width")
        w = torch.cat([weights[f"w_{name}"] for name in "qkv"], 1)
        b = torch.cat([weights.get(f"b_{name}", w.new_zeros(weights[f"w_{name}"].shape[1])) for name in "qkv"])
        rows = (torch.cat([query, key, value], 1) @ w + b).split([query.shape[1], key.shape[1], value.shape[1]], 1)
        widths = [weights[f"w_{name}"].shape[1] for name in "qkv"]
        q, k, v = (_heads(part.split(widths, -1)[i], num_heads) for i, part in enumerate(rows))
        heads = _attend(q, k, v, _mask_for_heads(mask, query, key))
        return _project(heads.transpose(1, 2).flatten(2), weights, "o")


@correct
class BiasesFirst(InTorch):
    """Every linear layer is one more term of its sum, the bias, from which the sum starts, as in addmm and in C."""

    NAME = "biases_first"

    @staticmethod
    def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
        linear = BiasesFirst._linear
        q, k, v = (
            _heads(linear(x, weights[f"w_{n}"], weights.get(f"b_{n}")), num_heads)
            for n, x in (("q", query), ("k", key), ("v", value))
        )
        heads = _attend(q, k, v, _mask_for_heads(mask, query, key))
        return linear(heads.transpose(1, 2).flatten(2), weights["w_o"], weights.get("b_o"))

    @staticmethod
    def feed_forward(x, weights, *, activation="relu"):
        inner = {
            "relu": functional.relu,
            "gelu": functional.gelu,
            "gelu_tanh": lambda y: functional.gelu(y, approximate="tanh"),
        }[activation](BiasesFirst._linear(x, weights["w_1"], weights["b_1"]))
        return BiasesFirst._linear(inner, weights["w_2"], weights["b_2"])

    @staticmethod
    def _linear(x, w, b):
        total = x.new_zeros(*x.shape[:-1], w.shape[1]) if b is None else b.expand(*x.shape[:-1], w.shape[1])
        for place in range(w.shape[0]):
            total = total + x[..., place, None] * w[place]
        return total


@correct
class OutputProjectionFirst(InTorch):
    """A (V W^O) in place of (A V) W^O, and the heads are added instead of laid side by side."""

    NAME = "output_projection_first"

    @staticmethod
    def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
        q, k, v = (
            _heads(_project(x, weights, name), num_heads) for x, name in ((query, "q"), (key, "k"), (value, "v"))
        )
        projected = v @ weights["w_o"].unflatten(0, (num_heads, -1))  # B H S M
        return _attend(q, k, projected, _mask_for_heads(mask, query, key)).sum(1) + weights.get("b_o", 0)


# Normalization


@correct
class Welford(InTorch):
    """Mean and variance in one pass, updated column by column."""

    NAME = "welford"

    @staticmethod
    def layer_norm(x, weights, *, eps):
        mean, squares = torch.zeros_like(x[..., 0]), torch.zeros_like(x[..., 0])
        for count, column in enumerate(x.unbind(-1), start=1):
            difference = column - mean
            mean = mean + difference / count
            squares = squares + difference * (column - mean)
        deviation = torch.sqrt(squares / x.shape[-1] + eps)
        return (x - mean.unsqueeze(-1)) / deviation.unsqueeze(-1) * weights["gain"] + weights["bias"]

    @staticmethod
    def add_norm(x, sublayer_output, weights, *, eps):
        return Welford.layer_norm(x + sublayer_output, weights, eps=eps)


@correct
class ScaleAndShift(InTorch):
    """LayerNorm as x times one scale plus one shift, as fused kernels fold it."""

    NAME = "scale_and_shift"
    DTYPES = NO_HALF  # the slope of rsqrt, its cube, overflows where rows are constant

    @staticmethod
    def layer_norm(x, weights, *, eps):
        mean = x.mean(-1, keepdim=True)
        scale = torch.rsqrt((x - mean).square().mean(-1, keepdim=True) + eps)
        return (x * scale + -mean * scale) * weights["gain"] + weights["bias"]

    @staticmethod
    def add_norm(x, sublayer_output, weights, *, eps):
        return ScaleAndShift.layer_norm(sublayer_output + x, weights, eps=eps)


@correct
class ReciprocalRoot(InTorch):
    """RMSNorm as x times the reciprocal root of the mean square."""

    NAME = "reciprocal_root"
    DTYPES = NO_HALF  # the slope of rsqrt, its cube, overflows where rows are constant

    @staticmethod
    def rms_norm(x, weights, *, eps):
        return weights["gain"] * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))


@correct
class Reflection(InTorch):
    """The mean taken away by a Householder reflection: the first entry comes out of all others, and errs by their number."""

    NAME = "reflection"

    @staticmethod
    def layer_norm(x, weights, *, eps):
        width = x.shape[-1]
        across = torch.full((width,), width**-0.5, dtype=torch.float64)
        across[0] += 1  # the mirror that turns the direction of equal entries into the first axis
        mirror = (across / across.square().sum().sqrt()).to(x.dtype)
        turned = x - 2 * (x @ mirror).unsqueeze(-1) * mirror
        turned = torch.cat([torch.zeros_like(turned[..., :1]), turned[..., 1:]], -1)  # the part along it is the mean
        centred = turned - 2 * (turned @ mirror).unsqueeze(-1) * mirror
        variance = turned.square().mean(-1, keepdim=True)
        return centred * torch.rsqrt(variance + eps) * weights["gain"] + weights["bias"]

    @staticmethod
    def add_norm(x, sublayer_output, weights, *, eps):
        return Reflection.layer_norm(x + sublayer_output, weights, eps=eps)


@correct
class ByVectorNorm(InTorch):
    """RMSNorm as sqrt(d) x / sqrt(|x|^2 + d eps): the sum is never divided."""

    NAME = "by_vector_norm"
    DTYPES = WIDE  # a sum of squares leaves float16 where their mean does not

    @staticmethod
    def rms_norm(x, weights, *, eps):
        size = x.shape[-1]
        return x * (math.sqrt(size) * weights["gain"]) / torch.sqrt((x * x).sum(-1, keepdim=True) + size * eps)


@correct
class ReversedSums(InTorch):
    """Every sum taken from the other end."""

    NAME = "reversed_sums"

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        scores = _scores(query.flip(-1), key.flip(-1), mask, scale).flip(-1)
        powers = torch.exp(scores - _no_infinity(scores.detach().amax(-1, keepdim=True)))
        total = powers.sum(-1, keepdim=True)
        return (powers / total.masked_fill(total == 0, 1)).flip(-1)

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return ReversedSums.attention_weights(query, key, mask=mask, scale=scale).flip(-1) @ value.flip(-2)

    @staticmethod
    def feed_forward(x, weights, *, activation="relu"):
        inner = _activated(x.flip(-1) @ weights["w_1"].flip(0) + weights["b_1"], activation)
        return inner.flip(-1) @ weights["w_2"].flip(0) + weights["b_2"]

    @staticmethod
    def layer_norm(x, weights, *, eps):
        x = x.flip(-1)
        centred = x - x.mean(-1, keepdim=True)
        deviation = torch.sqrt(centred.square().mean(-1, keepdim=True) + eps)
        return (centred / deviation).flip(-1) * weights["gain"] + weights["bias"]

    @staticmethod
    def rms_norm(x, weights, *, eps):
        return x / torch.sqrt(x.flip(-1).square().mean(-1, keepdim=True) + eps) * weights["gain"]


# Feed-forward


def _activated(x: Tensor, activation: str) -> Tensor:
    if activation == "relu":
        return functional.relu(x)
    return functional.gelu(x, approximate={"gelu": "none", "gelu_tanh": "tanh"}[activation])


@correct
class OtherActivations(InTorch):
    """GELU by erfc, its approximation by a sigmoid, ReLU by a comparison."""

    NAME = "other_activations"

    @staticmethod
    def feed_forward(x, weights, *, activation="relu"):
        x = x @ weights["w_1"] + weights["b_1"]
        if activation == "relu":
            x = torch.where(x > 0, x, 0)
        elif activation == "gelu":
            x = 0.5 * x * torch.erfc(-x * math.sqrt(0.5))
        elif activation == "gelu_tanh":
            # (1 + tanh(y)) / 2 = sigmoid(2 y)
            x = x * torch.sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))
        else:
            raise ValueError(f"activation must be relu, gelu or gelu_tanh; given {activation}")
        return x @ weights["w_2"] + weights["b_2"]


@correct
class SplitInnerLayer(InTorch):
    """The inner layer in three parts, whose contributions are added, as when it is spread over devices."""

    NAME = "split_inner_layer"

    @staticmethod
    def feed_forward(x, weights, *, activation="relu"):
        parts = zip(
            weights["w_1"].tensor_split(3, 1),
            weights["b_1"].tensor_split(3),
            weights["w_2"].tensor_split(3),
            strict=True,
        )
        return sum((_activated(x @ w_1 + b_1, activation) @ w_2 for w_1, b_1, w_2 in parts), weights["b_2"])


# Positions


def _interleaved(sine: Tensor, cosine: Tensor, d_model: int, dtype: torch.dtype) -> Tensor:
    return torch.stack([sine, cosine], -1).flatten(-2)[:, :d_model].to(dtype)


def _frequencies(d_model: int) -> Tensor:
    return 10000.0 ** -(torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)


@correct
class ExponentialFrequencies(InTorch):
    """The frequencies as exp(-2i log(10000) / d_model), columns filled by slices."""

    NAME = "exponential_frequencies"

    @staticmethod
    def sinusoidal_positional_encoding(length, d_model, *, offset=0, dtype):
        position = torch.arange(offset, offset + length, dtype=torch.float64)
        angle = torch.outer(
            position, torch.exp(torch.arange(0, d_model, 2, dtype=torch.float64) * (-math.log(10000.0) / d_model))
        )
        encoding = torch.zeros(length, d_model, dtype=dtype)
        encoding[:, 0::2] = torch.sin(angle).to(dtype)
        encoding[:, 1::2] = torch.cos(angle)[:, : d_model // 2].to(dtype)
        return encoding

    @staticmethod
    def token_embedding(token_ids, weights, *, offset=0):
        table = weights["table"]
        positions = ExponentialFrequencies.sinusoidal_positional_encoding(
            token_ids.shape[-1], table.shape[-1], offset=offset, dtype=table.dtype
        )
        return functional.embedding(token_ids, table * table.shape[-1] ** 0.5) + positions


@correct
class ComplexExponentials(InTorch):
    """Sine and cosine as the parts of exp(i angle); tokens looked up by one-hot rows."""

    NAME = "complex_exponentials"

    @staticmethod
    def sinusoidal_positional_encoding(length, d_model, *, offset=0, dtype):
        angle = torch.outer(torch.arange(offset, offset + length, dtype=torch.float64), _frequencies(d_model))
        turn = torch.exp(1j * angle)
        return _interleaved(turn.imag, turn.real, d_model, dtype)

    @staticmethod
    def token_embedding(token_ids, weights, *, offset=0):
        table = weights["table"]
        length, d_model = token_ids.shape[-1], table.shape[-1]
        positions = ComplexExponentials.sinusoidal_positional_encoding(
            length, d_model, offset=offset, dtype=table.dtype
        )
        return functional.one_hot(token_ids.long(), len(table)).to(table.dtype) @ table * math.sqrt(d_model) + positions


@correct
class TwoTables(InTorch):
    """A table of 64 steps and one of 64-step strides, indexed and multiplied as rotations."""

    NAME = "two_tables"

    @staticmethod
    def sinusoidal_positional_encoding(length, d_model, *, offset=0, dtype):
        frequency = _frequencies(d_model)
        position = torch.arange(offset, offset + length)
        step = torch.exp(1j * torch.outer(torch.arange(64.0, dtype=torch.float64), frequency))[position % 64]
        stride = torch.exp(1j * torch.outer(position.div(64, rounding_mode="floor") * 64.0, frequency))
        turn = step * stride
        return _interleaved(turn.imag, turn.real, d_model, dtype)


# Masks


@correct
class MasksByArithmetic(InTorch):
    """Masks from numbers: a triangle of ones, a sign, a product."""

    NAME = "masks_by_arithmetic"

    @staticmethod
    def padding_mask(token_ids, *, pad_id):
        return (token_ids - pad_id).abs().sign().bool()[:, None]

    @staticmethod
    def look_ahead_mask(length):
        return torch.ones(length, length).triu(1) == 0

    @staticmethod
    def combine_masks(*masks):
        return functools.reduce(torch.mul, (mask.int() for mask in masks)) > 0


# Precision


@correct
class Float32Inside(InTorch):
    """Stored in 16 bits, computed in float32, rounded once at the end."""

    NAME = "float32_inside"
    DTYPES = ("float16", "bfloat16")

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        return Einsum.attention_weights(query.float(), key.float(), mask=mask, scale=scale).to(query.dtype)

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        return _attend(query.float(), key.float(), value.float(), mask, scale).to(query.dtype)

    @staticmethod
    def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
        tensors = query.float(), key.float(), value.float(), _float32(weights)
        return Einsum.multi_head_attention(*tensors, num_heads=num_heads, mask=mask).to(query.dtype)

    @staticmethod
    def feed_forward(x, weights, *, activation="relu"):
        return ReversedSums.feed_forward(x.float(), _float32(weights), activation=activation).to(x.dtype)

    @staticmethod
    def layer_norm(x, weights, *, eps):
        return ScaleAndShift.layer_norm(x.float(), _float32(weights), eps=eps).to(x.dtype)

    @staticmethod
    def rms_norm(x, weights, *, eps):
        return ReciprocalRoot.rms_norm(x.float(), _float32(weights), eps=eps).to(x.dtype)

    @staticmethod
    def add_norm(x, sublayer_output, weights, *, eps):
        return ScaleAndShift.layer_norm(x.float() + sublayer_output.float(), _float32(weights), eps=eps).to(x.dtype)

    @staticmethod
    def token_embedding(token_ids, weights, *, offset=0):
        table = weights["table"]
        return ExponentialFrequencies.token_embedding(token_ids, {"table": table.float()}, offset=offset).to(
            table.dtype
        )


def _float32(weights: Weights) -> Weights:
    return {name: weight.float() for name, weight in weights.items()}


@correct
class Float64Inside:
    """numpy arrays of float32 or float16, computed in float64, rounded once at the end."""

    NAME = "float64_inside"
    FRAMEWORK = "numpy"
    DTYPES = ("float32", "float16")

    @staticmethod
    def attention_weights(query, key, *, mask=None, scale=None):
        q, k = query.astype(np.float64), key.astype(np.float64)
        scores = q @ np.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
        scores, visible = np.broadcast_arrays(scores, True if mask is None else mask)
        highest = np.max(scores, axis=-1, keepdims=True, where=visible, initial=np.finfo(np.float64).min)
        powers = np.where(visible, np.exp(np.minimum(scores - highest, 0)), 0)
        return (powers / np.maximum(powers.sum(-1, keepdims=True), 1e-300)).astype(query.dtype)

    @staticmethod
    def layer_norm(x, weights, *, eps):
        wide = x.astype(np.float64)
        deviation = np.sqrt(wide.var(-1, keepdims=True) + eps)
        return ((wide - wide.mean(-1, keepdims=True)) / deviation * weights["gain"] + weights["bias"]).astype(x.dtype)

    @staticmethod
    def rms_norm(x, weights, *, eps):
        wide = x.astype(np.float64)
        return (wide * weights["gain"] / np.sqrt(np.square(wide).mean(-1, keepdims=True) + eps)).astype(x.dtype)

    @staticmethod
    def add_norm(x, sublayer_output, weights, *, eps):
        total = x.astype(np.float64) + sublayer_output
        return Float64Inside.layer_norm(total, weights, eps=eps).astype(x.dtype)


# Memory


def _with_other_strides(function: Any) -> Any:
    @functools.wraps(function)
    def wrapped(*arguments, **options):
        result = function(*arguments, **options)
        return result.mT.contiguous().mT if result.ndim > 1 else result

    return staticmethod(wrapped)


@correct
class NotContiguous(InTorch):
    """Results whose last two axes lie transposed in memory."""

    NAME = "not_contiguous"

    attention_weights = _with_other_strides(Einsum.attention_weights)
    scaled_dot_product_attention = _with_other_strides(Einsum.scaled_dot_product_attention)
    multi_head_attention = _with_other_strides(Einsum.multi_head_attention)
    feed_forward = _with_other_strides(OtherActivations.feed_forward)
    layer_norm = _with_other_strides(ReversedSums.layer_norm)
    rms_norm = _with_other_strides(ReversedSums.rms_norm)
    add_norm = _with_other_strides(Welford.add_norm)
    token_embedding = _with_other_strides(ExponentialFrequencies.token_embedding)
    sinusoidal_positional_encoding = _with_other_strides(ExponentialFrequencies.sinusoidal_positional_encoding)
    padding_mask = _with_other_strides(MasksByArithmetic.padding_mask)
    look_ahead_mask = _with_other_strides(MasksByArithmetic.look_ahead_mask)
    combine_masks = _with_other_strides(MasksByArithmetic.combine_masks)


def _inside_a_buffer(function: Any) -> Any:
    @functools.wraps(function)
    def wrapped(*arguments, **options):
        result = function(*arguments, **options)
        buffer = result.new_ones(*result.shape[:-1], result.shape[-1] + 3)
        buffer[..., 1:-2] = result
        return buffer[..., 1:-2]

    return staticmethod(wrapped)


@correct
class Views(InTorch):
    """Results that are views of larger buffers."""

    NAME = "views"

    attention_weights = _inside_a_buffer(LogSumExp.attention_weights)
    scaled_dot_product_attention = _inside_a_buffer(LogSumExp.scaled_dot_product_attention)
    multi_head_attention = _inside_a_buffer(HeadLoop.multi_head_attention)
    feed_forward = _inside_a_buffer(SplitInnerLayer.feed_forward)
    layer_norm = _inside_a_buffer(ReversedSums.layer_norm)
    rms_norm = _inside_a_buffer(ReversedSums.rms_norm)
    add_norm = _inside_a_buffer(Welford.add_norm)
    token_embedding = _inside_a_buffer(ComplexExponentials.token_embedding)
    sinusoidal_positional_encoding = _inside_a_buffer(TwoTables.sinusoidal_positional_encoding)
    combine_masks = _inside_a_buffer(MasksByArithmetic.combine_masks)

    @staticmethod
    def padding_mask(token_ids, *, pad_id):
        return (token_ids != pad_id)[:, None]

    @staticmethod
    def look_ahead_mask(length):
        return torch.ones(length + 3, length + 3).tril(2).bool()[:length, 2 : length + 2]


# Without arrays


@correct
class PythonLoops:
    """Python numbers in lists, one at a time, with exactly rounded sums; what is hidden is never touched."""

    NAME = "python_loops"
    FRAMEWORK = "numpy"
    DTYPES = WIDE
    CHOICES: ClassVar = {"attention.hidden-nan": "safe"}

    @staticmethod
    def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
        if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
            raise ValueError(f"shapes do not fit: query {query.shape}, key {key.shape}, value {value.shape}")
        mask = np.ones((1, 1), bool) if mask is None else mask
        leading = np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2], mask.shape[:-2])
        queries, keys, size = query.shape[-2], key.shape[-2], value.shape[-1]
        q, k, v = (np.broadcast_to(x, leading + x.shape[-2:]) for x in (query, key, value))
        visible = np.broadcast_to(mask, (*leading, queries, keys))
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        output = np.zeros((*leading, queries, size), query.dtype)
        for index in np.ndindex(*leading, queries):
            item = index[:-1]
            shown = [s for s in range(keys) if visible[(*index, s)]]
            scores = [scale * _dot(q[index].tolist(), k[(*item, s)].tolist()) for s in shown]
            powers = [math.exp(score - max(scores)) for score in scores]
            for column in range(size) if shown else ():
                values = v[item][shown, column].tolist()
                output[(*index, column)] = _dot(powers, values) / math.fsum(powers)
        return output

    @staticmethod
    def feed_forward(x, weights, *, activation="relu"):
        function = {"relu": lambda y: max(y, 0.0), "gelu": _gelu, "gelu_tanh": _gelu_tanh}[activation]
        inner = _linear(x, weights["w_1"], weights["b_1"], function)
        return _linear(inner, weights["w_2"], weights["b_2"], float)

    @staticmethod
    def layer_norm(x, weights, *, eps):
        gain, bias = weights["gain"].tolist(), weights["bias"].tolist()
        output = np.empty_like(x)
        for index in np.ndindex(x.shape[:-1]):
            row = x[index].tolist()
            mean = math.fsum(row) / len(row)
            deviation = math.sqrt(math.fsum((y - mean) ** 2 for y in row) / len(row) + eps)
            output[index] = [(y - mean) / deviation * g + b for y, g, b in zip(row, gain, bias, strict=True)]
        return output

    @staticmethod
    def rms_norm(x, weights, *, eps):
        output = np.empty_like(x)
        for index in np.ndindex(x.shape[:-1]):
            row = x[index].tolist()
            root = math.sqrt(math.fsum(y * y for y in row) / len(row) + eps)
            output[index] = [y / root * g for y, g in zip(row, weights["gain"].tolist(), strict=True)]
        return output

    @staticmethod
    def sinusoidal_positional_encoding(length, d_model, *, offset=0, dtype):
        def entry(position: int, column: int) -> float:
            angle = position / math.pow(10000, (column - column % 2) / d_model)
            return math.cos(angle) if column % 2 else math.sin(angle)

        rows = [[entry(offset + t, column) for column in range(d_model)] for t in range(length)]
        return np.array(rows, dtype=dtype).reshape(length, d_model)

    @staticmethod
    def token_embedding(token_ids, weights, *, offset=0):
        table = weights["table"]
        length, d_model = token_ids.shape[-1], table.shape[-1]
        positions = PythonLoops.sinusoidal_positional_encoding(length, d_model, offset=offset, dtype=np.float64)
        output = np.empty((*token_ids.shape, d_model), table.dtype)
        for index in np.ndindex(token_ids.shape):
            output[index] = table[token_ids[index]].astype(np.float64) * math.sqrt(d_model) + positions[index[-1]]
        return output

    @staticmethod
    def padding_mask(token_ids, *, pad_id):
        rows = [[[token != pad_id for token in row]] for row in token_ids.tolist()]
        return np.array(rows, dtype=bool).reshape(len(token_ids), 1, token_ids.shape[-1])

    @staticmethod
    def look_ahead_mask(length):
        return np.array([[j <= i for j in range(length)] for i in range(length)], dtype=bool).reshape(length, length)

    @staticmethod
    def combine_masks(*masks):
        spread = np.broadcast_arrays(*masks)
        combined = np.empty(spread[0].shape, bool)
        for index in np.ndindex(combined.shape):
            combined[index] = all(mask[index] for mask in spread)
        return combined


def _dot(x: list[float], y: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def _linear(x: Any, w: Any, b: Any, function: Any) -> Any:
    output = np.empty((*x.shape[:-1], w.shape[1]), x.dtype)
    for index in np.ndindex(x.shape[:-1]):
        row = x[index].tolist()
        output[index] = [function(_dot(row, w[:, j].tolist()) + float(b[j])) for j in range(w.shape[1])]
    return output


def _gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


def _gelu_tanh(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
