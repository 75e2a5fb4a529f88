"""BUG: the step is counted in 8 bits: after 255 steps the bias correction starts anew."""

import torch

CAUGHT_BY = "optimization.adam-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def adam(parameter, gradients, learning_rates, *, betas=(0.9, 0.999), eps=1e-8):
    m = v = torch.zeros_like(gradients[0])
    out = []
    for n, (g, a) in enumerate(zip(gradients, learning_rates, strict=True)):
        t = n % 255 + 1
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        parameter = parameter - a * (m / (1 - betas[0] ** t) / (torch.sqrt(v / (1 - betas[1] ** t)) + eps))
        out.append(parameter)
    return torch.stack(out)
