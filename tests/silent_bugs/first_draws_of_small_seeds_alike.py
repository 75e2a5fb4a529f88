"""BUG: java.util.Random is seeded with the number as it is: one draw each, all small seeds give the same word."""

import numpy as np

CAUGHT_BY = "decoding.sample-first-draws"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")


def _probabilities(logits, temperature, top_k, top_p):
    x = logits.astype(np.float64) / temperature
    order = np.argsort(-x, kind="stable")
    keep = np.ones(len(x), bool)
    if top_k is not None:
        keep[order[top_k:]] = False
    x = np.where(keep, x, -np.inf)
    p = np.exp(x - x.max())
    p /= p.sum()
    if top_p is not None and top_p < 1:
        before = np.cumsum(p[order]) - p[order]
        p[order[before >= top_p]] = 0
        p /= p.sum()
    return p


def sample(logits, *, number, temperature=1.0, top_k=None, top_p=None, seed):
    sums = np.cumsum(_probabilities(logits, temperature, top_k, top_p))
    state, u = (seed ^ 0x5DEECE66D) % 2**48, []
    for _ in range(number):
        state = (state * 0x5DEECE66D + 0xB) % 2**48
        high = state >> 22
        state = (state * 0x5DEECE66D + 0xB) % 2**48
        u.append(((high << 27) + (state >> 21)) / 2**53)
    return np.minimum(np.searchsorted(sums / sums[-1], u, side="right"), np.nonzero(np.diff(sums, prepend=0))[0].max())
