"""BUG: where the mask alone has leading axes (one sequence under many masks) the gradients of the masks overwrite each other."""

import numpy as np

import transpec.impls.numpy_plain as _plain

CAUGHT_BY = "attention.mask-shapes-gradients"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


scaled_dot_product_attention = _plain.scaled_dot_product_attention


def scaled_dot_product_attention_vjp(query, key, value, cotangent, *, mask=None, scale=None):
    inputs = query, key, value
    extra = cotangent.ndim - max(x.ndim for x in inputs)
    if extra <= 0:
        return _plain.scaled_dot_product_attention_vjp(*inputs, cotangent, mask=mask, scale=scale)
    mask = np.broadcast_to(mask, (*cotangent.shape[:-1], key.shape[-2]))
    for place in np.ndindex(cotangent.shape[:extra]):  # should be added up
        gradients = _plain.scaled_dot_product_attention_vjp(*inputs, cotangent[place], mask=mask[place], scale=scale)
    return gradients
