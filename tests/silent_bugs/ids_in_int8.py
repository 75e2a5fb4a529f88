"""BUG: ids are narrowed to int8 for vocabularies up to 256: with 129 to 255 rows, ids from 128 on pick other rows."""

import math

import numpy as np

CAUGHT_BY = "embedding.every-id"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _angles(positions, d_model):
    pairs = (d_model + 1) // 2
    return positions[:, None] / 10000.0 ** (2 * np.arange(pairs) / d_model)


def _encode(positions, d_model):
    angles = _angles(positions, d_model)
    table = np.empty((len(positions), d_model))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : d_model // 2])
    return table


def _narrow(ids, rows):
    """Small vocabularies need no 64-bit gathers."""
    if ids.size and (ids.max() >= rows or ids.min() < 0):
        raise IndexError(f"an id is not among the {rows} rows of the table")
    if rows <= 1 << 8:
        return ids.astype(np.int8)
    if rows <= 1 << 15:
        return ids.astype(np.int16)
    return ids


def token_embedding(token_ids, weights, *, offset=0):
    table = weights["table"]
    rows, width = table.shape
    positions = _encode(np.arange(offset, offset + token_ids.shape[-1], dtype=np.float64), width)
    return table[_narrow(token_ids, rows)] * math.sqrt(width) + positions.astype(table.dtype)
