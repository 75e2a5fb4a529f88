"""BUG: the masks of a batch are taken to be all alike where the first is like the last."""

import math

import numpy as np

CAUGHT_BY = "attention.multi-head-equation"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _softmax(s, mask):
    if mask is not None:
        s = np.where(mask, s, s.dtype.type(-np.inf))
    m = s.max(-1, keepdims=True)
    m = np.where(np.isinf(m), s.dtype.type(0), m)
    p = np.exp(s - m)
    t = p.sum(-1, keepdims=True)
    return p / np.where(t == 0, s.dtype.type(1), t)


def _scores(query, key, scale):
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return np.matmul(query, np.swapaxes(key, -1, -2)) * query.dtype.type(scale)


def _attend(query, key, value, mask, scale):
    return np.matmul(_softmax(_scores(query, key, scale), mask), value)


def _split(x, heads):
    if x.shape[-1] % heads:
        raise ValueError("heads do not divide the columns")
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-2, -3)


def _project(x, weights, name):
    y = np.matmul(x, weights["w_" + name])
    bias = weights.get("b_" + name)
    return y if bias is None else y + bias


def _merge(x, weights):
    x = x.swapaxes(-2, -3)
    return _project(np.ascontiguousarray(x).reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1]), weights, "o")


def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
    q, k, v = (_split(_project(x, weights, n), num_heads) for x, n in ((query, "q"), (key, "k"), (value, "v")))
    if mask is not None and mask.ndim == 3:
        if mask.shape[0] > 2 and np.array_equal(mask[0], mask[-1]):
            mask = mask[:1]  # BUG: the ones between may differ
        mask = mask[:, None]
    return _merge(_attend(q, k, v, mask, None), weights)
