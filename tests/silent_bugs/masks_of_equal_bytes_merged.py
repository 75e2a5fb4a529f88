"""BUG: masks of the same bytes are dropped as duplicates, though they may stand differently: across and along."""

import functools

import numpy as np

CAUGHT_BY = "masks.combine-equation"
FRAMEWORK = "numpy"


def combine_masks(*masks):
    if not masks:
        raise ValueError("no masks")
    unique = {m.tobytes(): m for m in masks}  # BUG: the shape is not part of the key
    result = functools.reduce(np.logical_and, unique.values())
    return np.asarray(result).copy()
