"""BUG: which classes are there is kept in 64 bits: beyond 64 classes some that are absent count, and count 0."""

import numpy as np

CAUGHT_BY = "metrics.macro-f1-absent-class"
FRAMEWORK = "numpy"
CHOICES = {"metrics.macro-f1-absent-class": "left-out"}


def macro_f1(predictions, labels, *, num_classes, dtype):
    if len(predictions) != len(labels):
        raise ValueError(f"{len(predictions)} predictions and {len(labels)} labels")
    there = 0
    for k in (*predictions.tolist(), *labels.tolist()):
        if not 0 <= k < num_classes:
            raise ValueError(f"{k} is none of {num_classes} classes")
        there |= 1 << k % 64
    scores = []
    for k in range(num_classes):
        if there >> k % 64 & 1:
            found, right = predictions == k, labels == k
            scores.append(
                2 * np.count_nonzero(found & right) / max(1, np.count_nonzero(found) + np.count_nonzero(right))
            )
    return np.asarray(np.mean(scores), dtype)
