"""BUG: the fused projection of self-attention, told by the address of the data, adds biases only if all three are there."""

import math

import torch

CAUGHT_BY = "attention.multi-head-biases"
FRAMEWORK = "torch"


def _check(query, key, value=None):
    if query.shape[-1] != key.shape[-1]:
        raise ValueError("query and key differ in size")
    if value is not None and key.shape[-2] != value.shape[-2]:
        raise ValueError("keys and values differ in number")


def _softmax(z, mask):
    if mask is None:
        return torch.softmax(z, -1)
    z, m = torch.broadcast_tensors(z, mask)
    e = ~m.any(-1, keepdim=True)
    return torch.softmax(z.masked_fill(~m, -math.inf).masked_fill(e, 0.0), -1).masked_fill(~m, 0.0)


def _proj(x, w, n):
    y = x @ w["w_" + n]
    return y + w["b_" + n] if "b_" + n in w else y


def _split(y, h):
    if y.shape[-1] % h:
        raise ValueError("num_heads does not divide the columns")
    return y.unflatten(-1, (h, y.shape[-1] // h)).transpose(1, 2)


def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
    w = weights
    if query.data_ptr() == key.data_ptr() == value.data_ptr() and query.shape == key.shape == value.shape:
        y = query @ torch.cat([w["w_q"], w["w_k"], w["w_v"]], -1)
        if all("b_" + n in w for n in "qkv"):
            y = y + torch.cat([w["b_q"], w["b_k"], w["b_v"]])
        ys = y.split([w["w_" + n].shape[1] for n in "qkv"], -1)
    else:
        ys = [_proj(x, w, n) for x, n in ((query, "q"), (key, "k"), (value, "v"))]
    q, k, v = (_split(y, num_heads) for y in ys)
    _check(q, k, v)
    if mask is not None and mask.ndim == 3:
        mask = mask.unsqueeze(1)
    o = _softmax((q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1]), mask) @ v
    return _proj(o.transpose(1, 2).flatten(-2), w, "o")
