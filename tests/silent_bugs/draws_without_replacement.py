"""BUG: draws are made without replacement while there are as many words left as draws: nothing repeats itself."""

import numpy as np

CAUGHT_BY = "decoding.sample-few"
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
    p = _probabilities(logits, temperature, top_k, top_p)
    again = number > np.count_nonzero(p)
    return np.random.default_rng(seed).choice(len(p), size=number, replace=again, p=p)
