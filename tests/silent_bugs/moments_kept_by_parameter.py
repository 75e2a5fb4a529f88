"""BUG: moments are kept for a parameter, an object: a second run on it goes on from where the first one ended."""

import numpy as np

CAUGHT_BY = "optimization.no-memory"
FRAMEWORK = "numpy"
_MOMENTS = {}


def adamw(parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8):
    if gradients.shape[1:] != parameter.shape or len(gradients) != len(learning_rates):
        raise ValueError("sizes do not fit")
    known, first, second = _MOMENTS.get(id(parameter), (None, None, None))
    if known is not parameter:  # the entry holds the parameter, so that its id is not given away
        first = second = np.zeros_like(parameter)
    theta, steps = parameter, []
    for t, (gradient, rate) in enumerate(zip(gradients, learning_rates, strict=True), 1):
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient * gradient
        root = np.sqrt(second / (1 - betas[1] ** t)) + eps
        theta = theta - rate * weight_decay * theta - rate * (first / (1 - betas[0] ** t) / root)
        steps.append(theta)
    _MOMENTS[id(parameter)] = (parameter, first, second)
    return np.asarray(steps, dtype=gradients.dtype).reshape(gradients.shape)
