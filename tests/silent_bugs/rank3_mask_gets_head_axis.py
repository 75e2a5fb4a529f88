"""BUG: a (N, T, S) mask on rank-4 scores is taken as per-batch, not per-head, where N equals both axes."""

import math

import numpy as np

CAUGHT_BY = "attention.weights-equation"
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


def attention_weights(query, key, *, mask=None, scale=None):
    _check(query, key)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * scale
    if mask is not None and mask.ndim == 3 and scores.ndim == 4 and mask.shape[0] == scores.shape[0]:
        mask = mask[:, None]  # (batch, 1, queries, keys): the same for all heads
    return _softmax(scores, mask)


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    _check(query, key, value)
    return np.matmul(attention_weights(query, key, mask=mask, scale=scale), value)
