"""BUG: the nucleus is cut by value: all words as probable as the one that crosses p stay, were they a hundred."""

import numpy as np

CAUGHT_BY = "decoding.top-p-ties"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def top_p_filtered(logits, *, p):
    if not 0 < p <= 1:
        raise ValueError(f"p is {p}")
    if p == 1:
        return logits.copy()
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    each = powers / powers.sum(-1, keepdims=True)
    ordered = -np.sort(-each, -1)
    last = np.maximum((np.cumsum(ordered, -1) - ordered < p).sum(-1, keepdims=True), 1) - 1
    return np.where(each >= np.take_along_axis(ordered, last, -1), logits, logits.dtype.type(-np.inf))
