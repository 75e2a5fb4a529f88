"""BUG: results are written into a workspace kept by shape and dtype: the next call of the same shape overwrites them."""

import numpy as np

CAUGHT_BY = "normalization.no-memory"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")

_WORKSPACE = {}


def _buffer(shape, dtype):
    ident = (shape, np.dtype(dtype).str)
    if ident not in _WORKSPACE:
        if len(_WORKSPACE) > 32:
            _WORKSPACE.clear()
        _WORKSPACE[ident] = np.empty(shape, dtype)
    return _WORKSPACE[ident]


def add_norm(x, sublayer_output, weights, *, eps):
    out = _buffer(np.broadcast_shapes(x.shape, sublayer_output.shape), x.dtype)
    np.add(x, sublayer_output, out=out)
    out -= out.mean(axis=-1, keepdims=True)
    out -= out.mean(axis=-1, keepdims=True)
    out /= np.sqrt((out * out).mean(axis=-1, keepdims=True) + eps)
    out *= weights["gain"]
    out += weights["bias"]
    return out
