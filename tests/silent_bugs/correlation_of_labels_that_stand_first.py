"""BUG: the second argument is only differentiated along with the first: alone it has the gradient zero."""

import math

CAUGHT_BY = "metrics.pearson-gradients"
FRAMEWORK = "torch"
DIFFERENTIABLE = True


def pearson(x, y):
    if len(x) != len(y):
        raise ValueError(f"{len(x)} numbers and {len(y)}")
    if not x.requires_grad:  # labels need no graph
        y = y.detach() + 0 * y
    if bool((x == x[:1]).all() | (y == y[:1]).all()):
        return (x.sum() + y.sum()) * math.nan
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x.norm() * y.norm())
