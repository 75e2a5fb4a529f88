"""BUG: where the mask alone has leading axes (one sequence under many masks) the gradients of the masks overwrite each other."""

import math

import numpy as np

CAUGHT_BY = "attention.mask-shapes-gradients"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _unbroadcast(g, shape):
    extra = g.ndim - len(shape)
    if extra:
        g = g.sum(tuple(range(extra)))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axes, keepdims=True) if axes else g


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


def _attend_vjp(query, key, value, cotangent, mask, scale):
    scale = query.dtype.type(1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    p = _softmax(_scores(query, key, scale), mask)
    dp = np.matmul(cotangent, np.swapaxes(value, -1, -2))
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale
    dq = np.matmul(ds, key)
    dk = np.matmul(np.swapaxes(ds, -1, -2), query)
    dv = np.matmul(np.swapaxes(p, -1, -2), cotangent)
    return _unbroadcast(dq, query.shape), _unbroadcast(dk, key.shape), _unbroadcast(dv, value.shape)


DIFFERENTIABLE = True


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    _check(query, key, value)
    return _attend(query, key, value, mask, scale)


def scaled_dot_product_attention_vjp(query, key, value, cotangent, *, mask=None, scale=None):
    lead = np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    extra = cotangent.ndim - 2 - len(lead)
    if extra <= 0:
        return _attend_vjp(query, key, value, cotangent, mask, scale)
    mask = np.broadcast_to(mask, (*cotangent.shape[:-1], key.shape[-2]))
    grads = tuple(np.zeros_like(x) for x in (query, key, value))
    for index in np.ndindex(cotangent.shape[:extra]):
        grads = _attend_vjp(query, key, value, cotangent[index], mask[index], scale)  # BUG: = for +=
    return grads
