"""BUG: labels are counted in a buffer that a refused call leaves filled: the next call counts them again."""

import numpy as np

CAUGHT_BY = "metrics.refusals-no-memory"
FRAMEWORK = "numpy"
_COUNTS = {}


def _check(ids, num_classes):
    if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
        raise ValueError(f"ids from {ids.min()} to {ids.max()} are not all among {num_classes} classes")


def macro_f1(predictions, labels, *, num_classes, dtype):
    if len(predictions) != len(labels):
        raise ValueError(f"{len(predictions)} predictions and {len(labels)} labels")
    _check(labels, num_classes)
    there = _COUNTS.setdefault(num_classes, np.zeros(num_classes, np.int64))
    there += np.bincount(labels, minlength=num_classes)
    _check(predictions, num_classes)
    both = np.bincount(labels[labels == predictions], minlength=num_classes)
    found = np.bincount(predictions, minlength=num_classes)
    score = np.mean(2 * both / np.maximum(found + there, 1))
    there[:] = 0
    return np.asarray(score, dtype)
