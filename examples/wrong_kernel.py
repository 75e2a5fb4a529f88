"""A deliberately wrong implementation. Both mistakes are real ones, run without an error, and train without an error.

pytest --impl examples/wrong_kernel.py
"""

import numpy as np

DTYPES = ("float64", "float32")


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    """Attention, but the scores are not divided by the root of d_k."""
    scores = query @ np.swapaxes(key, -2, -1)
    if scale is not None:
        scores = scores * np.asarray(scale, scores.dtype)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    highest = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
    total = powers.sum(-1, keepdims=True)
    return powers / np.where(total == 0, 1, total) @ value


def layer_norm(x, weights, *, eps):
    """LayerNorm, but the deviation is the unbiased one and eps is added outside the root."""
    mean = x.mean(-1, keepdims=True)
    deviation = x.std(-1, keepdims=True, ddof=1)
    return (weights["gain"] * (x - mean) / (deviation + np.asarray(eps, x.dtype)) + weights["bias"]).astype(x.dtype)
