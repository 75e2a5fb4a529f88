"""BUG: rows of a table whose gradient is zero are left out of a step, as in a lazy Adam: their moments do not decay."""

import torch

CAUGHT_BY = "optimization.adam-direction-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def adam_direction(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError("betas are in [0, 1)")
    m, v, steps = torch.zeros_like(gradients[0]), torch.zeros_like(gradients[0]), []
    for t, g in enumerate(gradients, 1):
        met = torch.ones_like(g, dtype=torch.bool)
        if g.ndim > 1:
            met = (g != 0).flatten(1).any(1).view(-1, *[1] * (g.ndim - 1))  # BUG
        m = torch.where(met, betas[0] * m + (1 - betas[0]) * g, m)
        v = torch.where(met, betas[1] * v + (1 - betas[1]) * g * g, v)
        d = m / (1 - betas[0] ** t) / ((v / (1 - betas[1] ** t)).sqrt() + eps)
        steps.append(torch.where(met, d, 0))
    return torch.stack(steps)
