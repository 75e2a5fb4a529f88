"""BUG: a mask of shape (..., T, 1) is turned into (..., 1, S) where T equals S: hidden queries become hidden keys."""

import math

import numpy as np

CAUGHT_BY = "attention.empty-row"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _check(query, key, value=None):
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"queries have size {query.shape[-1]}, keys {key.shape[-1]}")
    if value is not None and value.shape[-2] != key.shape[-2]:
        raise ValueError(f"{key.shape[-2]} keys, but {value.shape[-2]} values")


def _softmax(scores, mask):
    """Softmax over the visible keys; a row without any is zero."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    e = np.exp(scores - top)
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def _as_key_mask(mask, keys):
    """Padding masks come as (..., keys) or (..., keys, 1); the latter is turned."""
    if mask.ndim >= 2 and mask.shape[-1] == 1 and mask.shape[-2] == keys:
        return np.swapaxes(mask, -1, -2)
    return mask


def attention_weights(query, key, *, mask=None, scale=None):
    _check(query, key)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * scale
    return _softmax(scores, None if mask is None else _as_key_mask(mask, scores.shape[-1]))


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    _check(query, key, value)
    return np.matmul(attention_weights(query, key, mask=mask, scale=scale), value)
