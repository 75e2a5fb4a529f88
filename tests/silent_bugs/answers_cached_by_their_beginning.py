"""BUG: normalized texts are kept by their first 64 characters: of long texts that begin alike all are the first."""

import re
import string

import numpy as np

CAUGHT_BY = "metrics.squad-exact-match-equation"
FRAMEWORK = "numpy"
_CACHE = {}


def _normalize(text):
    key = text[:64]
    if key not in _CACHE:
        bare = "".join(c for c in text.lower() if c not in string.punctuation)
        _CACHE[key] = " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())
    return _CACHE[key]


def squad_exact_match(predictions, answers, *, dtype):
    if len(predictions) != len(answers):
        raise ValueError(f"{len(predictions)} predictions and answers to {len(answers)} questions")
    right = 0
    for prediction, given in zip(predictions, answers, strict=True):
        right += _normalize(prediction) in ([text for text in map(_normalize, given) if text] or [""])
    return np.asarray(right / len(predictions), dtype)
