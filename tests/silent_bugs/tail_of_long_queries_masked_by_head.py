"""BUG: with T > S and S not dividing T, the last chunk of queries uses the first rows of the mask."""

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


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    """Square tiles: no more queries at a time than there are keys, so that memory is O(S^2)."""
    _check(query, key, value)
    queries, keys = query.shape[-2], key.shape[-2]
    if mask is not None and mask.ndim < 2:
        mask = mask.reshape((1, -1))
    tiles = []

    def tile(rows, mask_rows):
        visible = mask if mask is None or mask.shape[-2] == 1 else mask[..., mask_rows, :]
        weights = attention_weights(query[..., rows, :], key, mask=visible, scale=scale)
        tiles.append(np.matmul(weights, value))

    size = min(queries, keys)
    for start in range(0, queries - size + 1, size):
        tile(slice(start, start + size), slice(start, start + size))
    rest = queries % size
    if rest:
        tile(slice(queries - rest, queries), slice(0, rest))
    return tiles[0] if len(tiles) == 1 else np.concatenate(tiles, axis=-2)
