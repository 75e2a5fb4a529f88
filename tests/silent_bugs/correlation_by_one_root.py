"""BUG: one root of the product of both sums of squares: in float32 it is 0 or infinite for numbers far from 1."""

import numpy as np

CAUGHT_BY = "metrics.pearson-stability"
FRAMEWORK = "numpy"


def pearson(x, y):
    if len(x) != len(y):
        raise ValueError(f"{len(x)} numbers and {len(y)}")
    with np.errstate(all="ignore"):
        x, y = x - x.mean(), y - y.mean()
        return np.asarray((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()), x.dtype)
