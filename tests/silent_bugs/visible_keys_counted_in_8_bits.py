"""BUG: visible keys are counted in 8 bits to find empty rows: a row with 256 of them counts as empty and gives zero."""

import numpy as np

CAUGHT_BY = "attention.equation"
FRAMEWORK = "numpy"


def _weights(query, key, mask, scale):
    if query.shape[-1] != key.shape[-1]:
        raise ValueError("query and key differ in size")
    s = 1 / np.sqrt(query.shape[-1]) if scale is None else scale
    z = (query @ np.swapaxes(key, -1, -2)) * query.dtype.type(s)
    if mask is None:
        mask = np.True_
    z, mask = np.broadcast_arrays(z, mask)
    z = np.where(mask, z, -np.inf)
    m = z.max(-1, keepdims=True)
    m = np.where(np.isinf(m), 0, m)
    p = np.exp(z - m)
    total = p.sum(-1, keepdims=True)
    return (p / np.where(total == 0, 1, total)).astype(query.dtype)


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    p = _weights(query, key, mask, scale)
    if p.shape[-1] != value.shape[-2]:
        raise ValueError("keys and values differ in number")
    o = p @ value
    if mask is not None:
        m = np.broadcast_to(mask, np.broadcast_shapes(mask.shape, p.shape))
        n = m.astype(np.uint8).sum(-1, dtype=np.uint8, keepdims=True)
        o = np.where(n == 0, o.dtype.type(0), o)
    return o
