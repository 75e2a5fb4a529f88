"""BUG: spans and gaps are cut with one key, used twice: each is cut as it should be, and both are cut alike."""

import numpy as np

CAUGHT_BY = "objectives.span-corruption-noise-mask-lengths"
FRAMEWORK = "numpy"


def _lengths(total, spans, seed):
    cuts = np.sort(np.random.default_rng(seed).permutation(total - 1)[: spans - 1]) + 1
    return np.diff(np.concatenate(([0], cuts, [total])))


def span_noise_mask(length, *, density=0.15, mean_span=3.0, seed):
    if length < 2:
        raise ValueError("too short")
    count = min(max(round(length * density), 1), length - 1)
    spans = max(round(count / mean_span), 1)
    if length - count < spans:
        raise ValueError("too many spans")
    lengths = np.stack((_lengths(length - count, spans, seed), _lengths(count, spans, seed)), -1)
    return np.repeat(np.arange(2 * spans) % 2 == 1, lengths.ravel())
