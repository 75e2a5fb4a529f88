"""BUG: results live in a ring of four buffers for each shape; the fifth call overwrites the first result."""

import numpy as np

CAUGHT_BY = "normalization.no-memory"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")
_RING = {}


def rms_norm(x, weights, *, eps):
    ring = _RING.setdefault((x.shape, x.dtype), [0, [np.empty(x.shape, x.dtype) for _ in range(4)]])
    out = ring[1][ring[0] % 4]  # BUG
    ring[0] += 1
    with np.errstate(all="ignore"):
        out[...] = weights["gain"] * (x / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(eps)))
    return out
