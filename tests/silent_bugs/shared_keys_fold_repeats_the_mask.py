"""BUG: where all queries share one set of keys they are folded into one axis, and a mask of (T, S) is repeated, not tiled."""

import math

import numpy as np

CAUGHT_BY = "attention.broadcasting"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _check(query, key, value=None):
    if query.shape[-1] != key.shape[-1]:
        raise ValueError("query and key differ in size")
    if value is not None and value.shape[-2] != key.shape[-2]:
        raise ValueError("keys and values differ in number")


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


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    _check(query, key, value)
    mask_lead = () if mask is None else mask.shape[:-2]
    if key.ndim == 2 and value.ndim == 2 and query.ndim > 2 and mask_lead == ():
        lead, (t, e), s = query.shape[:-2], query.shape[-2:], key.shape[-2]
        n = math.prod(lead)
        if mask is not None:
            mask = np.repeat(np.broadcast_to(mask, (t, s)), n, axis=0)  # BUG: np.tile(mask, (n, 1))
        return _attend(query.reshape(n * t, e), key, value, mask, scale).reshape(*lead, t, value.shape[-1])
    return _attend(query, key, value, mask, scale)
