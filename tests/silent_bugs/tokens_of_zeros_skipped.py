"""BUG: tokens of zeros are taken for padding and give zeros."""

import math

import numpy as np

CAUGHT_BY = "feed_forward.equation"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _f(h, name):
    if name == "relu":
        return np.maximum(h, 0)
    wide = h.astype(np.float64)
    if name == "gelu":
        if not h.size:
            return h
        return (0.5 * wide * np.vectorize(math.erfc, otypes=[np.float64])(-wide / math.sqrt(2))).astype(h.dtype)
    if name == "gelu_tanh":
        return (0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))).astype(h.dtype)
    raise ValueError(f"unknown activation {name}")


def feed_forward(x, weights, *, activation="relu"):
    out = _f(x @ weights["w_1"] + weights["b_1"], activation) @ weights["w_2"] + weights["b_2"]
    return np.where((x != 0).any(-1, keepdims=True), out, x.dtype.type(0))  # BUG
