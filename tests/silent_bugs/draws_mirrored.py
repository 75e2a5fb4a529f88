"""BUG: uniforms are mirrored to halve the variance: of two equal words the first and the last draw are never alike."""

import numpy as np

CAUGHT_BY = "decoding.sample-independent"
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
    u = np.random.default_rng(seed).random((number + 1) // 2)
    u = np.concatenate([u, (1 - u)[::-1][number % 2 :]])
    return np.minimum(np.searchsorted(sums / sums[-1], u, side="right"), np.nonzero(np.diff(sums, prepend=0))[0].max())
