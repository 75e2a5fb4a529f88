"""BUG: rows of a mask that is cut out of a larger one are read as if they lay next to each other."""

import math

import torch

CAUGHT_BY = "attention.layouts"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def _softmax(scores, mask):
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    highest = scores.detach().amax(-1, keepdim=True)
    powers = torch.exp(scores - highest.masked_fill(highest == -math.inf, 0.0))
    total = powers.sum(-1, keepdim=True)
    return powers / total.masked_fill(total == 0, 1.0)


def _heads(x, weights, name, num_heads):
    projected = x @ weights[f"w_{name}"]
    projected = projected + weights[f"b_{name}"] if f"b_{name}" in weights else projected
    if projected.shape[-1] % num_heads:
        raise ValueError(f"{num_heads} heads do not divide {projected.shape[-1]} columns")
    return projected.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def _right(query, key, value, weights, num_heads, mask):
    q, k, v = (_heads(x, weights, name, num_heads) for x, name in ((query, "q"), (key, "k"), (value, "v")))
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{k.shape[-2]} keys and {v.shape[-2]} values")
    if mask is not None:
        mask = mask.broadcast_to(len(query), query.shape[1], key.shape[1]).unsqueeze(1)
    heads = _softmax(q @ k.mT / math.sqrt(q.shape[-1]), mask) @ v
    output = heads.transpose(1, 2).flatten(2) @ weights["w_o"]
    return output + weights["b_o"] if "b_o" in weights else output


def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
    if mask is not None and mask.dim() == 3 and mask.stride(-1) == 1 and mask.stride(1) > mask.shape[-1]:
        _, queries, keys = mask.shape
        mask = torch.as_strided(mask, mask.shape, (queries * keys, keys, 1), mask.storage_offset())
    return _right(query, key, value, weights, num_heads, mask)
