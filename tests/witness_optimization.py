"""The second witness on optimization: the algorithms in mpmath, one number at a time, written from the papers alone.

Kingma & Ba 2015; Loshchilov & Hutter 2019 and 2017; Vaswani et al. 2017, section 5.3; Devlin et al. 2019, appendix A.2;
Pascanu et al. 2013; Micikevicius et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from witness import Nested, mp

BETAS, EPS = (0.9, 0.999), 1e-8


def _flat(x: Nested) -> list[Any]:
    return [mp.mpf(x)] if not isinstance(x, list) else [entry for part in x for entry in _flat(part)]


def _like(entries: list[Any], form: Nested) -> Nested:
    """Entries in the form of nested lists; they are used up."""
    return [_like(entries, part) for part in form] if isinstance(form, list) else entries.pop(0)


def _steps_of_an_entry(gradients: list[Any], betas: tuple[float, float], eps: float) -> list[Any]:
    """The sums of algorithm 1 written out: m_t is (1 - beta_1) sum of beta_1^(t - i) g_i, as in section 3."""
    b1, b2 = (mp.mpf(beta) for beta in betas)
    made = []
    for t in range(1, len(gradients) + 1):
        mean = (1 - b1) * mp.fsum(b1 ** (t - i) * gradients[i - 1] for i in range(1, t + 1))
        square = (1 - b2) * mp.fsum(b2 ** (t - i) * gradients[i - 1] ** 2 for i in range(1, t + 1))
        made.append(mean / (1 - b1**t) / (mp.sqrt(square / (1 - b2**t)) + mp.mpf(eps)))
    return made


def _directions(gradients: Nested, betas: tuple[float, float], eps: float) -> list[list[Any]]:
    """A row of flat entries for every step."""
    if any(not 0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas {betas}")
    entries = zip(*map(_flat, gradients), strict=True)
    by_entry = [_steps_of_an_entry(list(entry), betas, eps) for entry in entries]
    return [[steps[t] for steps in by_entry] for t in range(len(gradients))]


def adam_direction(gradients: Nested, *, betas: tuple[float, float] = BETAS, eps: float = EPS) -> Nested:
    """What every step subtracts, a rate apart."""
    rows = _directions(gradients, betas, eps)
    return [_like(row, form) for row, form in zip(rows, gradients, strict=True)]


def _check_rates(gradients: Nested, learning_rates: Nested) -> None:
    if len(gradients) != len(learning_rates):
        raise ValueError(f"{len(learning_rates)} rates for {len(gradients)} gradients")


def adam(
    parameter: Nested, gradients: Nested, learning_rates: Nested, *, betas: tuple[float, float] = BETAS, eps: float = EPS
) -> Nested:  # fmt: skip
    """The parameter after every step: itself less the sum of all steps so far."""
    steps = _directions(gradients, betas, eps)
    start, made = _flat(parameter), []
    _check_rates(gradients, learning_rates)
    for t in range(1, len(gradients) + 1):
        gone = [mp.fsum(mp.mpf(learning_rates[i]) * steps[i][entry] for i in range(t)) for entry in range(len(start))]
        made.append(_like([begun - less for begun, less in zip(start, gone, strict=True)], parameter))
    return made


def adamw(
    parameter: Nested, gradients: Nested, learning_rates: Nested, *, weight_decay: float,
    betas: tuple[float, float] = BETAS, eps: float = EPS,
) -> Nested:  # fmt: skip
    """The parameter after every step: what is left of it and of every step so far, after all decays since."""
    steps, start, made = _directions(gradients, betas, eps), _flat(parameter), []
    _check_rates(gradients, learning_rates)
    rates = [mp.mpf(rate) for rate in learning_rates]
    kept = [1 - rate * mp.mpf(weight_decay) for rate in rates]
    for t in range(1, len(gradients) + 1):
        entries = [
            begun * mp.fprod(kept[:t])
            - mp.fsum(rates[i] * steps[i][entry] * mp.fprod(kept[i + 1 : t]) for i in range(t))
            for entry, begun in enumerate(start)
        ]
        made.append(_like(entries, parameter))
    return made


def noam_schedule(steps: list[int], *, d_model: int, warmup_steps: int) -> Nested:
    """A line up to step `warmup_steps`, then the inverse root."""
    made = []
    for step in steps:
        share = 1 / mp.sqrt(step) if step >= warmup_steps else step / mp.sqrt(warmup_steps) ** 3
        made.append(share / mp.sqrt(d_model))
    return made


def _scheduled(steps: list[int], peak: float, warmup: int, total: int, falling: Callable[[Any], Any]) -> Nested:
    """A line up, then a share of the peak by what has passed since the warm-up."""
    return [
        mp.mpf(peak) * (mp.mpf(step) / warmup if step < warmup else falling(mp.mpf(step - warmup) / (total - warmup)))
        for step in steps
    ]


def linear_schedule(steps: list[int], *, peak: float, warmup_steps: int, total_steps: int) -> Nested:
    """Down in a line to 0."""
    return _scheduled(steps, peak, warmup_steps, total_steps, lambda passed: max(mp.mpf(0), 1 - passed))


def cosine_schedule(steps: list[int], *, peak: float, warmup_steps: int, total_steps: int) -> Nested:
    """Down half a cosine to 0."""
    return _scheduled(
        steps, peak, warmup_steps, total_steps, lambda passed: (1 + mp.cos(mp.pi * passed)) / 2 if passed < 1 else mp.mpf(0)
    )  # fmt: skip


def _clipped(gradient: list[Any], bound: float) -> list[Any]:
    norm = mp.sqrt(mp.fsum(entry**2 for entry in gradient))
    return [entry * mp.mpf(bound) / norm for entry in gradient] if norm > bound else gradient


def clip_by_global_norm(first: Nested, second: Nested, third: Nested, *, max_norm: float) -> Nested:
    """All gradients in a row, no longer than the bound."""
    return _clipped([*_flat(first), *_flat(second), *_flat(third)], max_norm)


def loss_scaled_steps(
    parameter: Nested, gradients: Nested, *, lr: float, initial_scale: float, growth_factor: float = 2.0,
    backoff_factor: float = 0.5, growth_interval: int, max_norm: float | None = None,
) -> Nested:  # fmt: skip
    """Descent along gradients of which none overflows: those that do are no plain numbers."""
    theta, made = _flat(parameter), []
    for t, given in enumerate(gradients, 1):
        gradient = _flat(given) if max_norm is None else _clipped(_flat(given), max_norm)
        theta = [entry - mp.mpf(lr) * slope for entry, slope in zip(theta, gradient, strict=True)]
        made.append([mp.mpf(initial_scale) * mp.mpf(growth_factor) ** (t // growth_interval), *theta])
    return made
