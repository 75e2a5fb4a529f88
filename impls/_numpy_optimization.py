"""Optimizers, schedules, clipping and loss scaling in plain numpy, written from the papers.

Kingma & Ba 2015, "Adam"; Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", and 2017, "SGDR"; Vaswani et
al. 2017, section 5.3; Devlin et al. 2019, appendix A.2; Pascanu et al. 2013, "On the difficulty of training recurrent
neural networks"; Micikevicius et al. 2018, "Mixed Precision Training".
"""

# What numpy computes from arrays of any dtype has the type Any.
# mypy: disable-error-code="no-any-return"

import math
from typing import Any

import numpy as np

Array = np.ndarray
Betas = tuple[float, float]


class _Adam:
    """The state of Adam for one parameter."""

    def __init__(self, like: Array, betas: Betas, eps: float) -> None:
        if min(betas) < 0 or max(betas) >= 1:
            raise ValueError(f"betas must lie in [0, 1); given {betas}")
        self.mean, self.square, self.eps, self.betas, self.time = (
            np.zeros_like(like),
            np.zeros_like(like),
            eps,
            betas,
            0,
        )

    def direction(self, gradient: Array) -> Array:
        """What the next step subtracts, a learning rate apart."""
        (beta_1, beta_2), self.time = self.betas, self.time + 1
        self.mean = self.mean + (1 - beta_1) * (gradient - self.mean)
        self.square = self.square + (1 - beta_2) * (np.square(gradient) - self.square)
        root = np.sqrt(self.square) / math.sqrt(1 - beta_2**self.time)
        return self.mean / ((1 - beta_1**self.time) * (root + self.eps))


def adam_direction(gradients: Array, *, betas: Betas = (0.9, 0.999), eps: float = 1e-8) -> Array:
    """mhat_t / (sqrt(vhat_t) + eps) for gradients (N, ...), t = 1 to N. Kingma & Ba 2015, algorithm 1."""
    state = _Adam(gradients[0], betas, eps)
    return np.stack([state.direction(gradient) for gradient in gradients]).astype(gradients.dtype, copy=False)


def adam(
    parameter: Array, gradients: Array, learning_rates: Array, *, betas: Betas = (0.9, 0.999), eps: float = 1e-8
) -> Array:
    """The parameter after each of N steps, (N, ...). Kingma & Ba 2015, algorithm 1."""
    return adamw(parameter, gradients, learning_rates, weight_decay=0.0, betas=betas, eps=eps)


def adamw(
    parameter: Array,
    gradients: Array,
    learning_rates: Array,
    *,
    weight_decay: float,
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-8,
) -> Array:
    """The same with decoupled weight decay. Loshchilov & Hutter 2019, algorithm 2."""
    if gradients.shape[1:] != parameter.shape or learning_rates.shape != gradients.shape[:1]:
        raise ValueError(
            f"there must be a gradient of the shape {parameter.shape} and a rate for every step;"
            f" given {gradients.shape} and {learning_rates.shape}"
        )
    state, steps = _Adam(parameter, betas, eps), np.empty_like(gradients)
    for step, gradient, rate in zip(range(len(gradients)), gradients, learning_rates, strict=True):
        parameter = parameter * (1 - rate * parameter.dtype.type(weight_decay)) - rate * state.direction(gradient)
        steps[step] = parameter
    return steps


def noam_schedule(steps: Array, *, d_model: int, warmup_steps: int, dtype: Any) -> Array:
    """d_model^-0.5 min(step^-0.5, step warmup_steps^-1.5). Vaswani et al. 2017, equation 3."""
    rising, falling = steps / (warmup_steps * math.sqrt(warmup_steps)), 1 / np.sqrt(steps)
    return (np.minimum(rising, falling) / math.sqrt(d_model)).astype(dtype)


def _warmed_up(steps: Array, peak: float, warmup_steps: int, falling: Array, dtype: Any) -> Array:
    """Shares of the peak: `falling`, or a line up to it as long as the warm-up lasts."""
    rising = steps / warmup_steps if warmup_steps else np.ones(steps.shape)
    return (peak * np.where(steps < warmup_steps, rising, falling)).astype(dtype)


def linear_schedule(steps: Array, *, peak: float, warmup_steps: int, total_steps: int, dtype: Any) -> Array:
    """Up to the peak at `warmup_steps` and down to 0 at `total_steps`, both in a line. Devlin et al. 2019, A.2."""
    left = np.maximum(total_steps - steps, 0) / (total_steps - warmup_steps)
    return _warmed_up(steps, peak, warmup_steps, left, dtype)


def cosine_schedule(steps: Array, *, peak: float, warmup_steps: int, total_steps: int, dtype: Any) -> Array:
    """Up to the peak in a line and down to 0 along half a cosine. Loshchilov & Hutter 2017, equation 5."""
    left = np.clip((total_steps - steps) / (total_steps - warmup_steps), 0, 1)
    return _warmed_up(steps, peak, warmup_steps, np.sin(math.pi / 2 * left) ** 2, dtype)


def clip_by_global_norm(first: Array, second: Array, third: Array, *, max_norm: float) -> Array:
    """All gradients together, scaled down to a norm of `max_norm` where it is more. Pascanu et al. 2013, algorithm 1."""
    together = np.concatenate([gradient.reshape(-1) for gradient in (first, second, third)])
    norm = np.linalg.norm(together)
    return together * together.dtype.type(max_norm / norm) if norm > max_norm else together


def loss_scaled_steps(
    parameter: Array,
    gradients: Array,
    *,
    lr: float,
    initial_scale: float,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int,
    max_norm: float | None = None,
) -> Array:
    """The scale after each of N steps, and the parameter. Micikevicius et al. 2018, section 3.2."""
    scale, in_a_row, rows = initial_scale, 0, np.empty((len(gradients), 1 + parameter.size), parameter.dtype)
    for step, gradient in enumerate(gradients):
        scaled = gradient * parameter.dtype.type(scale)
        if np.isfinite(scaled).all():
            unscaled = scaled / parameter.dtype.type(scale)
            if max_norm is not None:
                norm = float(np.linalg.norm(unscaled))
                unscaled = unscaled * parameter.dtype.type(max_norm / max(norm, max_norm))
            parameter, in_a_row = parameter - parameter.dtype.type(lr) * unscaled, in_a_row + 1
        else:
            scale, in_a_row = scale * backoff_factor, 0
        if in_a_row == growth_interval:
            scale, in_a_row = scale * growth_factor, 0
        rows[step, 0], rows[step, 1:] = scale, parameter.reshape(-1)
    return rows
