"""BUG: a square mask whose first row is 1 0 0 .. and whose last row is full is taken for the look-ahead mask."""

import math

import numpy as np

CAUGHT_BY = "attention.equation"
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
    return _softmax(np.matmul(query, np.swapaxes(key, -1, -2)) * scale, mask)


def _is_look_ahead(mask, queries, keys):
    return (
        mask.ndim == 2
        and mask.shape == (queries, keys)
        and queries == keys
        and bool(mask[0, 0])
        and not mask[0, 1:].any()
        and bool(mask[-1].all())
    )


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    _check(query, key, value)
    queries, keys = query.shape[-2], key.shape[-2]
    if mask is None or not _is_look_ahead(mask, queries, keys):
        return np.matmul(attention_weights(query, key, mask=mask, scale=scale), value)
    # half the work: query i never touches the keys behind it
    rows = [
        np.matmul(
            attention_weights(query[..., i : i + 1, :], key[..., : i + 1, :], scale=scale), value[..., : i + 1, :]
        )
        for i in range(queries)
    ]
    return np.concatenate(rows, axis=-2)
