"""BUG: the masks of a batch are taken to be all alike where the first is like the last."""

import numpy as np

import transpec.impls.numpy_plain as _plain

CAUGHT_BY = "attention.multi-head-equation"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def multi_head_attention(query, key, value, weights, *, num_heads, mask=None):
    if mask is not None and mask.ndim == 3 and len(mask) > 2 and np.array_equal(mask[0], mask[-1]):
        mask = mask[:1]  # the ones between may differ
    return _plain.multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
