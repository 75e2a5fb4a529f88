"""BUG: sums of unlike rank are aligned at the first axis where the sizes fit: wrong for (T, M) + (B, T, M) where B equals T."""

import numpy as np

CAUGHT_BY = "normalization.add-norm-broadcasting"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _normalize(x, eps):
    d = x - x.mean(axis=-1, keepdims=True)
    d = d - d.mean(axis=-1, keepdims=True)  # what the rounding of a large mean left
    return d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + eps)


def layer_norm(x, weights, *, eps):
    return weights["gain"] * _normalize(x, eps) + weights["bias"]


def _align(small, large):
    """Gives the one of lower rank the axes that it lacks."""
    lacking = large.ndim - small.ndim
    if lacking and small.ndim > 1 and small.shape[:-1] == large.shape[: small.ndim - 1]:
        return small.reshape(small.shape[:-1] + (1,) * lacking + small.shape[-1:])
    return small


def add_norm(x, sublayer_output, weights, *, eps):
    if x.ndim < sublayer_output.ndim:
        x = _align(x, sublayer_output)
    elif sublayer_output.ndim < x.ndim:
        sublayer_output = _align(sublayer_output, x)
    return layer_norm(x + sublayer_output, weights, eps=eps)
