"""BUG: four counts are multiplied as 64-bit integers, which overflow from some 110,000 examples on."""

import torch

from transpec.reference.metrics import matthews as _m

CAUGHT_BY = "metrics.matthews-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def matthews(predictions, labels, *, dtype):
    r = _m(predictions, labels, dtype=dtype)
    k = torch.unique(torch.cat((predictions, labels)))
    if len(k) != 2 or r == 0:
        return r
    p, t = predictions == k[1], labels == k[1]
    tp, tn, fp, fn = (p & t).sum(), (~p & ~t).sum(), (p & ~t).sum(), (~p & t).sum()
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return ((tp * tn - fp * fn).to(torch.float64) / below.abs().to(torch.float64).sqrt()).to(dtype)
