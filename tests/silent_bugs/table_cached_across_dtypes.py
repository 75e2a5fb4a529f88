"""BUG: the table is cached by width only, in the dtype that asked first: float64 after float32 has seven digits."""

import math

import numpy as np

CAUGHT_BY = "positions.no-memory"
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


_TABLES = {}
LONGEST = 4096


def sinusoidal_positional_encoding(length, d_model, *, offset=0, dtype):
    if offset + length > LONGEST:
        return _encode(np.arange(offset, offset + length, dtype=np.float64), d_model).astype(dtype)
    table = _TABLES.get(d_model)
    if table is None or len(table) < offset + length:
        rows = 1 << max(offset + length - 1, 1).bit_length()
        table = _TABLES[d_model] = _encode(np.arange(rows, dtype=np.float64), d_model).astype(dtype)
    return table[offset : offset + length].astype(dtype)


def token_embedding(token_ids, weights, *, offset=0):
    table = weights["table"]
    positions = sinusoidal_positional_encoding(token_ids.shape[-1], table.shape[1], offset=offset, dtype=table.dtype)
    return table[token_ids] * math.sqrt(table.shape[1]) + positions
