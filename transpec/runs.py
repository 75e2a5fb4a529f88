"""Runs: requirements that train a model on real data, and what they leave in the report: scores, curves, maps.

The suite owns data, loss and optimiser; the implementation supplies the forward pass and its vector-Jacobian product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from transpec.cases import Case
from transpec.implementations import Unsupported, WrongResult
from transpec.judgement import NonConformance

if TYPE_CHECKING:
    from transpec.implementations import Implementation
    from transpec.operations import Operation


@dataclass(frozen=True)
class Score:
    """One number of a run beside its baseline, both measured on the same held-out data in the same run."""

    name: str
    value: float
    baseline_name: str
    baseline: float
    unit: str = ""
    higher_is_better: bool = True
    note: str = ""  # seeds, spread, sizes


@dataclass(frozen=True)
class Curve:
    """A plot of series by name, each of numbers along x and along y."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Image:
    """A plot of a matrix, 0 light and its largest number dark, such as a head's attention weights."""

    title: str
    matrix: Sequence[Sequence[float]]
    x_ticks: Sequence[str] = ()
    y_ticks: Sequence[str] = ()


def record(implementation: Implementation, score: Score) -> None:
    """Put a score into the report, whatever the verdict."""
    numbers = {"value": _plain([score.value])[0], "baseline": _plain([score.baseline])[0]}
    implementation.scores.append(asdict(score) | numbers)


def plot(implementation: Implementation, picture: Curve | Image) -> None:
    """Put a plot into the report."""
    data = asdict(picture) | {"kind": type(picture).__name__.lower()}
    if isinstance(picture, Curve):
        data["series"] = {name: [_plain(xs), _plain(ys)] for name, (xs, ys) in picture.series.items()}
    else:
        data["matrix"] = [_plain(row) for row in picture.matrix]
        data["x_ticks"], data["y_ticks"] = list(picture.x_ticks), list(picture.y_ticks)
    implementation.plots.append(data)


def _plain(numbers: Sequence[float]) -> list[float | None]:
    """Numbers as JSON has them: none is infinite; whole ones as they are, others in five digits."""
    finite = (float(number) if math.isfinite(number) else None for number in numbers)
    return [n if n is None or n.is_integer() else float(f"{n:.5g}") for n in finite]


def assert_beats(implementation: Implementation, case: Case, score: Score, margin: float = 0.0) -> None:
    """The score is on the better side of its baseline by more than `margin`; it is in the report in any case."""
    record(implementation, score)
    ahead = score.value - score.baseline if score.higher_is_better else score.baseline - score.value
    if not ahead > margin:  # NaN is ahead of nothing
        side = "above" if score.higher_is_better else "below"
        by = f" by more than {margin:.4g}" if margin else ""
        unit = f" {score.unit}" if score.unit else ""
        raise NonConformance(
            f"{score.name} = {score.value:.4g}{unit}, should be {side} {score.baseline:.4g} "
            f"({score.baseline_name}){by}",
            case,
        )


def assert_follows(
    implementation: Implementation,
    case: Case,
    numbers: Sequence[float],
    expected: Sequence[float],
    band: float | Sequence[float],
    what: str = "loss",
) -> None:
    """Each number of a curve is within the band around what it should be."""
    bands = [band] * len(expected) if isinstance(band, int | float) else list(band)
    for step, (number, wanted, allowed) in enumerate(zip(numbers, expected, bands, strict=True)):
        if not abs(number - wanted) <= allowed:
            message = f"{what} at step {step} = {number:.7g}, should be {wanted:.7g} within {allowed:.3g}"
            if what == "loss" and step:  # the forward pass of step 0 is on the weights that all begin with
                chapter = case.operation.chapter
                message += f"; at step 0 it agrees: look at the gradients, `--chapter {chapter}` tells more"
            raise NonConformance(message, case)


# --- The implementation inside torch's graph ---------------------------------------------------------------------------


def forward(implementation: Implementation, operation: Operation[..., Any]) -> Callable[..., Tensor]:
    """The implementation's operation as a function of torch tensors that autograd goes back through.

    Call it as the operation itself: tensors, weights, config, options. Another framework's arrays are converted both
    ways, and its own vector-Jacobian product is what the backward pass uses. Raises Unsupported where the operation
    is claimed without gradients.
    """
    if not implementation.differentiates(operation):
        raise Unsupported(f"{operation.name} has no gradients: DIFFERENTIABLE does not declare them")
    if implementation.framework.name == "torch" and not implementation.claims_vjp(operation):

        def in_graph(*arguments: Any, **options: Any) -> Tensor:
            result = implementation.run(operation.name, list(arguments), options)
            if not isinstance(result, Tensor):
                raise WrongResult(f"{operation.name} returned a {type(result).__name__}, should return a torch.Tensor")
            return result

        return in_graph

    def bridged(*arguments: Any, **options: Any) -> Tensor:
        tensors, rest = arguments[: len(operation.tensors)], list(arguments[len(operation.tensors) :])
        weights: Mapping[str, Tensor] = rest.pop(0) if operation.takes_weights else {}
        config = rest.pop(0) if operation.takes_config else None

        def case_of(values: Sequence[Tensor]) -> Case:
            given = [value.detach() for value in values]
            named = dict(zip(weights, given[len(tensors) :], strict=True)) if operation.takes_weights else None
            dtype = next(str(value.dtype).removeprefix("torch.") for value in given if value.is_floating_point())
            return Case(
                operation, "a step of training", tuple(given[: len(tensors)]), named, options, (dtype,), dtype,
                config=config,
            )  # fmt: skip

        result: Tensor = _Bridge.apply(implementation, case_of, *tensors, *weights.values())
        return result

    return bridged


class _Bridge(torch.autograd.Function):
    """One call of an implementation and, on the way back, of its vector-Jacobian product."""

    @staticmethod
    def forward(ctx: Any, implementation: Implementation, case_of: Any, *values: Tensor) -> Tensor:
        ctx.implementation, ctx.case = implementation, case_of(values)
        return implementation.call(ctx.case)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        case = ctx.case
        _, found = ctx.implementation.gradients(case, cotangents[0].contiguous())
        names = [*case.operation.tensors, *(f"weights[{name!r}]" for name in case.weights or {})]
        return None, None, *(found.get(name) for name in names)
