"""BUG: a mask of shape (B, T, S) is taken as one per head where B equals the number of heads."""

import math

import numpy as np

CAUGHT_BY = "attention.multi-head-equation"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _softmax(scores, mask):
    """Softmax over the visible keys; a row without any is zero."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    e = np.exp(scores - top)
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def _split(x, num_heads):
    """(B, T, H E) to (B, H, T, E)."""
    if x.shape[-1] % num_heads:
        raise ValueError(f"{num_heads} heads do not divide {x.shape[-1]} columns")
    return x.reshape(x.shape[0], x.shape[1], num_heads, x.shape[-1] // num_heads).swapaxes(1, 2)


def _project(x, weights, name):
    y = np.matmul(x, weights["w_" + name])
    return y + weights["b_" + name] if "b_" + name in weights else y


def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
    q, k, v = (_project(x, weights, n) for x, n in ((query, "q"), (key, "k"), (value, "v")))
    batch, length = q.shape[0], q.shape[1]
    scores = np.matmul(_split(q, num_heads), _split(k, num_heads).swapaxes(-1, -2))
    scores = scores / math.sqrt(q.shape[-1] // num_heads)
    if mask is not None and mask.ndim == 3:
        mask = mask[None] if mask.shape[0] == num_heads else mask[:, None]
    heads = np.matmul(_softmax(scores, mask), _split(v, num_heads))
    merged = heads.swapaxes(1, 2).reshape(batch, length, v.shape[-1])
    out = np.matmul(merged, weights["w_o"])
    return out + weights["b_o"] if "b_o" in weights else out
