"""BUG: with one key in all the value is returned at once, also to queries that may not attend to it."""

import numpy as np

import transpec.impls.numpy_plain as _plain

CAUGHT_BY = "attention.empty-row"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    right = _plain.scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)
    return np.broadcast_to(value, right.shape).copy() if key.shape[-2] == 1 else right
