"""BUG: beyond 128 keys the running maximum is only raised where every row's rises: others overflow to NaN."""

import math

import numpy as np

CAUGHT_BY = "attention.stability"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _check(query, key, value=None):
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"queries have size {query.shape[-1]}, keys {key.shape[-1]}")
    if value is not None and value.shape[-2] != key.shape[-2]:
        raise ValueError(f"{key.shape[-2]} keys, but {value.shape[-2]} values")


BLOCK = 128


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    _check(query, key, value)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    keys = key.shape[-2]
    if mask is not None:
        mask = np.broadcast_to(mask, mask.shape[:-1] + (keys,))
    top = total = out = None
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, keys, BLOCK):
            part = slice(start, start + BLOCK)
            scores = np.matmul(query, np.swapaxes(key[..., part, :], -1, -2)) * scale
            if mask is not None:
                scores = np.where(mask[..., part], scores, -np.inf)
            block_top = scores.max(axis=-1, keepdims=True)
            if top is None:
                top = np.where(np.isfinite(block_top), block_top, 0)
                e = np.exp(scores - top)
                total, out = e.sum(axis=-1, keepdims=True), np.matmul(e, value[..., part, :])
                continue
            if (block_top > top).all():
                shrink = np.exp(top - block_top)
                total, out, top = total * shrink, out * shrink, block_top
            e = np.exp(scores - top)
            total = total + e.sum(axis=-1, keepdims=True)
            out = out + np.matmul(e, value[..., part, :])
        return out / np.where(total == 0, 1, total)
