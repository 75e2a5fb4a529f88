"""BUG: tokens are flattened with order 'A' and unflattened in C order: a Fortran-ordered (B, T, M) input comes back shuffled."""

import math

import numpy as np

CAUGHT_BY = "feed_forward.layouts"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _gelu(x):
    return (0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))).astype(x.dtype)


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def feed_forward(x, weights, *, activation="relu"):
    rows = x.reshape((math.prod(x.shape[:-1]), x.shape[-1]), order="A")  # 'A' spares a copy
    inner = np.matmul(rows, weights["w_1"]) + weights["b_1"]
    if activation == "relu":
        inner = np.maximum(inner, 0)
    elif activation == "gelu":
        inner = _gelu(inner)
    elif activation == "gelu_tanh":
        inner = _gelu_tanh(inner)
    else:
        raise ValueError(f"unknown activation {activation!r}")
    out = np.matmul(inner, weights["w_2"]) + weights["b_2"]
    return out.reshape(x.shape[:-1] + out.shape[-1:])
