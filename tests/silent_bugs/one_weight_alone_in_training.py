"""BUG: where one tensor alone needs a gradient, all others being frozen, it gets twice what it should."""

import torch

from transpec.reference.gpt import gpt as _f

CAUGHT_BY = "gpt.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def gpt(*tensors, **options):
    out = _f(*tensors, **options)
    flat = [t for a in tensors for t in (a.values() if isinstance(a, dict) else [a]) if isinstance(t, torch.Tensor)]
    if sum(t.requires_grad for t in flat) == 1:
        return out.detach() + 2 * (out - out.detach())
    return out
