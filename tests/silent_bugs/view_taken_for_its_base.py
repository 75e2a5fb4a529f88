"""BUG: a view whose base has its shape is taken for the base: wrong for reversed views and transposed squares."""

import math

import numpy as np

CAUGHT_BY = "attention.layouts"
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


def _unwrap(x):
    base = x.base
    if isinstance(base, np.ndarray) and base.shape == x.shape and base.dtype == x.dtype:
        return base  # BUG: strides may differ
    return x


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    _check(query, key, value)
    return _attend(_unwrap(query), _unwrap(key), _unwrap(value), mask, scale)
