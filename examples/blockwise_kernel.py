"""A complete implementation as a third party would write it: attention in blocks with a running softmax, and LayerNorm.

    pytest --impl examples/blockwise_kernel.py

Nothing of transpec is imported. Attributes named after operations are what it claims; the rest it leaves unclaimed.
"""

import math

import torch

FRAMEWORK = "torch"
DTYPES = ("float64", "float32", "bfloat16")
DIFFERENTIABLE = True
CHOICES = {"attention.empty-row": "zero"}
VERSION = "1.0"

BLOCK = 16


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    """Attention over blocks of keys; only a running maximum, sum and output are kept (Milakov & Gimelshein 2018)."""
    dtype = query.dtype
    query, key, value = (x.to(torch.promote_types(dtype, torch.float32)) for x in (query, key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    lead = torch.broadcast_shapes(
        query.shape[:-2], key.shape[:-2], value.shape[:-2], () if mask is None else mask.shape[:-2]
    )
    queries, keys = query.shape[-2], key.shape[-2]
    if value.shape[-2] != keys:
        raise ValueError(f"as many values as keys are needed: got {value.shape[-2]} and {keys}")
    if mask is not None:
        mask = mask.broadcast_to(*lead, queries, keys)
    highest = query.new_full((*lead, queries, 1), -math.inf)
    total = query.new_zeros(*lead, queries, 1)
    output = query.new_zeros(*lead, queries, value.shape[-1])
    for start in range(0, keys, BLOCK):
        block = slice(start, start + BLOCK)
        scores = query @ key[..., block, :].transpose(-2, -1) * scale
        if mask is not None:
            scores = scores.masked_fill(~mask[..., block], -math.inf)
        new_highest = torch.maximum(highest, scores.detach().amax(-1, keepdim=True))
        # A row that has seen no key yet is at -inf; 0 in its place keeps exp from giving NaN.
        safe = new_highest.masked_fill(new_highest == -math.inf, 0.0)
        powers = torch.exp(scores - safe)
        shrink = torch.exp(highest - safe)
        total = total * shrink + powers.sum(-1, keepdim=True)
        output = output * shrink + powers @ value[..., block, :]
        highest = new_highest
    return (output / total.masked_fill(total == 0, 1.0)).to(dtype)


def layer_norm(x, weights, *, eps):
    """LayerNorm by torch's own kernel."""
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weights["gain"], weights["bias"], eps)
