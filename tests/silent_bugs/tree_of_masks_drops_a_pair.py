"""BUG: masks are combined in a tree that minds an odd number on its first level alone: of 6 or 7 masks a pair is lost."""

import numpy as np

CAUGHT_BY = "masks.combine-equation"
FRAMEWORK = "numpy"


def combine_masks(*masks):
    if not masks:
        raise ValueError("no mask is given")
    shape = np.broadcast_shapes(*(m.shape for m in masks))
    ms = list(masks)
    if len(ms) == 1:
        return ms[0]
    if len(ms) % 2:
        ms[0] = ms[0] & ms.pop()
    while len(ms) > 1:
        ms = [a & b for a, b in zip(ms[::2], ms[1::2], strict=False)]
    return np.broadcast_to(ms[0], shape)
