"""The reference's formulas by torch's fused kernels, for training with: the same mathematics in a part of the time.

While they stand in for the formulas, `gpt`, `bert` and `t5` are the reference's own code but for what happens inside a
formula. What is trained so is held to the plain formulas as every implementation is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from transpec.implementations import REFERENCE, Implementation
from transpec.operations import Operation, Variant, inject, sentence
from transpec.reference.attention import merge_heads, multi_head_attention, split_heads
from transpec.reference.feed_forward import feed_forward
from transpec.reference.normalization import layer_norm, rms_norm
from transpec.reference.t5 import t5_attention
from transpec.runs import forward

KERNELS: list[Variant] = []


def kernel(operation: Operation[..., Any]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Mark a function as an operation by torch's kernels."""

    def mark(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        KERNELS.append(Variant(operation, function, f"kernel {function.__name__}", sentence(function)))
        return function

    return mark


def by_kernels(operation: Operation[..., Any]) -> Callable[..., Tensor]:
    """An operation of the reference with its formulas computed by torch's kernels."""

    def call(*arguments: Any, **options: Any) -> Tensor:
        with inject(*KERNELS):
            result: Tensor = operation(*arguments, **options)
        return result

    return call


def trainable(implementation: Implementation, operation: Operation[..., Any]) -> Callable[..., Tensor]:
    """The implementation's operation inside torch's graph; the reference's own by torch's kernels."""
    return by_kernels(operation) if implementation.source.kind == REFERENCE else forward(implementation, operation)


@kernel(multi_head_attention)
def multi_head(query, key, value, weights, *, num_heads, mask=None):
    """Projections with their biases in one call each, and fused attention."""
    q, k, v = (split_heads(x, num_heads) for x in _projected(query, key, value, weights))
    seen = None if mask is None else mask.broadcast_to(len(query), query.shape[1], key.shape[1]).unsqueeze(1)
    return _project(merge_heads(functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)), weights, "o")


@kernel(t5_attention)
def with_relative_bias(query, key, value, weights, *, num_heads, bias=None, mask=None):
    """The same with T5's bias in place of a mask, and no scale."""
    q, k, v = (split_heads(x, num_heads) for x in _projected(query, key, value, weights))
    added = None if bias is None else bias.unsqueeze(0)
    if mask is not None:
        seen = mask.broadcast_to(len(query), query.shape[1], key.shape[1]).unsqueeze(1)
        added = torch.where(seen, 0.0 if added is None else added, -torch.inf)
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=1.0)
    return _project(merge_heads(mixed), weights, "o")


def _projected(query: Tensor, key: Tensor, value: Tensor, weights: dict[str, Tensor]) -> Sequence[Tensor]:
    if not (query is key is value):
        return [_project(x, weights, name) for x, name in ((query, "q"), (key, "k"), (value, "v"))]
    joined = torch.cat([weights[f"w_{name}"] for name in "qkv"], -1)  # one large product is faster than three
    widths = [weights[f"w_{name}"].shape[-1] for name in "qkv"]
    biases = [weights.get(f"b_{name}", joined.new_zeros(width)) for name, width in zip("qkv", widths, strict=True)]
    return functional.linear(query, joined.T, torch.cat(biases)).split(widths, -1)


def _project(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return functional.linear(x, weights[f"w_{name}"].T, weights.get(f"b_{name}"))


@kernel(feed_forward)
def two_linear_layers(x, weights, *, activation="relu"):
    """Both products with their biases in one call each, and a fused activation."""
    inner = _ACTIVATIONS[activation](functional.linear(x, weights["w_1"].T, weights["b_1"]))
    return functional.linear(inner, weights["w_2"].T, weights["b_2"])


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
}


@kernel(layer_norm)
def native_layer_norm(x, weights, *, eps):
    """LayerNorm in one call."""
    return functional.layer_norm(x, x.shape[-1:], weights["gain"], weights["bias"], eps)


@kernel(rms_norm)
def native_rms_norm(x, weights, *, eps):
    """RMSNorm in one call."""
    return functional.rms_norm(x, x.shape[-1:], weights["gain"], eps)
