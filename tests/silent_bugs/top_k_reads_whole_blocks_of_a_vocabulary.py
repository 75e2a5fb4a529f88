"""BUG: large vocabularies are read in whole blocks of 4096; the words of the last partial block are lost."""

import numpy as np

CAUGHT_BY = "decoding.top-k-equation"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")
BLOCK = 4096


def top_k_filtered(logits, *, k):
    if k < 1:
        raise ValueError("k must be at least 1")
    size = logits.shape[-1]
    if k >= size:
        return logits.copy()
    whole = size if size < BLOCK else size - size % BLOCK
    seen = logits[..., :whole]
    kk = min(k, whole)
    lowest = np.partition(seen, whole - kk, -1)[..., whole - kk, None]
    out = np.full_like(logits, -np.inf)
    out[..., :whole] = np.where(seen < lowest, -np.inf, seen)
    return out
