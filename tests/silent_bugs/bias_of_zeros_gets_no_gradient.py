"""BUG: a bias of zeros (as at the start of training) is skipped, and gets no gradient."""

import math

import torch

CAUGHT_BY = "attention.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def _project(x, weights, name):
    y = x @ weights["w_" + name]
    bias = weights.get("b_" + name)
    if bias is not None and bool(bias.any()):  # BUG: zero now is not zero after a step
        y = y + bias
    elif bias is not None:
        y = y + bias.detach() + 0 * bias.sum()
    return y


def _split(x, heads):
    if x.shape[-1] % heads:
        raise ValueError("heads do not divide")
    return x.unflatten(-1, (heads, x.shape[-1] // heads)).transpose(-2, -3)


def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
    q, k, v = (_split(_project(x, weights, n), num_heads) for x, n in ((query, "q"), (key, "k"), (value, "v")))
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        mask = mask.unsqueeze(-3) if mask.ndim > 2 else mask
        s = s.masked_fill(~mask, -math.inf)
    m = s.detach().amax(-1, keepdim=True)
    p = torch.exp(s - m.masked_fill(m == -math.inf, 0.0))
    t = p.sum(-1, keepdim=True)
    out = (p / t.masked_fill(t == 0, 1.0)) @ v
    return _project(out.transpose(-2, -3).flatten(-2), weights, "o")
