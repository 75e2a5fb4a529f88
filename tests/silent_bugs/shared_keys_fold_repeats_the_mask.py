"""BUG: where all queries share one set of keys they are folded into one axis, and a mask of (T, S) is repeated, not tiled."""

import numpy as np

import transpec.impls.numpy_plain as _plain

CAUGHT_BY = "attention.broadcasting"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    if key.ndim > 2 or value.ndim > 2 or query.ndim == 2 or (mask is not None and mask.ndim > 2):
        return _plain.scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)
    folded = query.reshape(-1, query.shape[-1])
    if mask is not None:
        mask = np.broadcast_to(mask, (query.shape[-2], key.shape[-2]))
        mask = np.repeat(mask, len(folded) // query.shape[-2], axis=0)  # should be tiled
    result = _plain.scaled_dot_product_attention(folded, key, value, mask=mask, scale=scale)
    return result.reshape(*query.shape[:-1], value.shape[-1])
