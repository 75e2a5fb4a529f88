"""Judgement: the oracle, the budget that rounding alone may use up, and the assertions that requirements are made of."""

from __future__ import annotations

import functools
import itertools
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transpec import rounding
from transpec.cases import EXACT, WIDE, Case, copy, normal, once, sliced, transposed
from transpec.implementations import Implementation, Raised, WrongResult
from transpec.operations import OPERATIONS, Operation, Variant, generates, inject, uses
from transpec.requirements import REQUIREMENTS

OUTPUT_FACTOR = 4.0
GRADIENT_FACTOR = 16.0
ASKED_OTHERWISE = 3  # cases of an operation whose gradients are asked for in other ways too
ASKED_OTHERWISE_UP_TO = 4000  # numbers in such a case
BUFFERS_IN_TURN = 8  # calls after which an implementation with fewer buffers for results uses the first again
LARGE = 1_000_000  # numbers in a case, the weights of a real model, that are not held once for every sample
MANY = 4000  # numbers in a result whose cotangent has a mean
VISIBLE = 10.0  # a fault that stays below this many budgets proves nothing

Allowed = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Observation:
    """What an implementation gave for a case: its output under the name "", or gradients by name. Diagnosis reads it.

    `where` are the places that were looked at, where not all were.
    """

    case: Case
    result: Mapping[str, Tensor]
    where: Tensor | None = None

    @property
    def is_gradient(self) -> bool:
        """Whether these are gradients."""
        return "" not in self.result


@dataclass(frozen=True)
class Comparison:
    """One comparison: how large the worst error is in budgets, and what a person would like to read about it."""

    ratio: float
    message: str
    observed: tuple[Observation, ...] = ()


class NonConformance(AssertionError):
    """A requirement is not met; carries the comparison, from which the cause is diagnosed."""

    def __init__(self, message: str, case: Case | None = None, comparison: Comparison | None = None) -> None:
        super().__init__(message)
        self.message, self.case, self.comparison = message, case, comparison


# --- The oracle ---------------------------------------------------------------------------------------------------------


def declared_variants(implementation: Implementation, case: Case) -> tuple[Variant, ...]:
    """The variants of the reference that the implementation's declared choices ask for in a case's operation."""
    return _variants(case.operation, tuple(implementation.choices.items()))


@functools.cache
def _variants(of: Operation[..., Any], choices: tuple[tuple[str, str], ...]) -> tuple[Variant, ...]:
    return tuple(
        variant
        for operation in OPERATIONS.values()
        for choice, variant in operation.choices.items()
        if choice in choices and uses(of, operation)
    )


def oracle(case: Case, variants: tuple[Variant, ...] = ()) -> Tensor:
    """The reference's result in float64 on the very inputs of the case."""
    return _kept(case, ("output", variants), lambda: evaluate(case, variants))


def oracle_gradients(case: Case, variants: tuple[Variant, ...] = ()) -> dict[str, Tensor]:
    """The reference's vector-Jacobian product in float64 with the cotangent of the case."""
    return _kept(case, ("gradients", variants), lambda: differentiate(case, variants))


def cotangent(case: Case) -> Tensor:
    """A random cotangent in the dtype of the case, the same on every run; zero where the result is not asked for.

    That of many numbers has a mean, as that of a loss has: sums over tokens grow, and what adds them up too coarsely shows.
    """
    result = oracle(case)

    def draw() -> Tensor:
        mean = 2.0 if result.numel() > MANY else 0.0
        drawn = normal(f"cotangent of {case.name}", *result.shape) + mean
        return (drawn if case.where is None else torch.where(case.where, drawn, 0.0)).to(_torch(case.dtype))

    return _kept(case, "cotangent", draw)


def budget(case: Case, variants: tuple[Variant, ...] = (), compute_dtype: str | None = None) -> Tensor:
    """How far, element by element, rounding alone may take a correct result."""
    if case.dtype == EXACT or not oracle(case, variants).is_floating_point():  # ids and masks are right or wrong
        return torch.zeros_like(oracle(case, variants), dtype=torch.float64)
    precision = rounding.coarser(case.dtype, compute_dtype)

    def compute() -> Tensor:
        exact = {"": oracle(case, variants)}
        return allowed_around(exact, case, variants, precision, OUTPUT_FACTOR)[""]

    return _kept(case, ("budget", variants, precision), compute)


def gradient_budgets(
    case: Case, variants: tuple[Variant, ...] = (), compute_dtype: str | None = None
) -> dict[str, Tensor]:
    """How far rounding alone may take correct gradients."""
    precision = rounding.coarser(case.dtype, compute_dtype)

    def compute() -> dict[str, Tensor]:
        return allowed_around(oracle_gradients(case, variants), case, variants, precision, GRADIENT_FACTOR)

    return _kept(case, ("gradient budgets", variants, precision), compute)


def allowed_around(
    exact: dict[str, Tensor],
    case: Case,
    variants: tuple[Variant, ...],
    precision: rounding.Precision,
    factor: float,
) -> dict[str, Tensor]:
    """The budget around an exact result, an output under the name "" or gradients: spread and one rounding, times `factor`."""
    spreads = _spread(exact, case, variants, precision)
    allowed: dict[str, Tensor] = {}
    for name, spread in spreads.items():
        magnitude = torch.where(exact[name].isfinite(), exact[name].abs(), 0.0)
        reserved = rounding.reserve(spread, whole="" not in exact)
        allowed[name] = factor * (reserved + precision.roundoff * magnitude + precision.tiny)
    return allowed


def _spread(
    exact: dict[str, Tensor], case: Case, variants: tuple[Variant, ...], precision: rounding.Precision
) -> dict[str, Tensor]:
    """The spread of a case, one for float64 and float32: it grows with the unit roundoff as long as that is small."""
    if precision.name not in WIDE or case.shared is None:
        return _sampled_spread(exact, case, variants, precision)
    coarse, gradients = rounding.PRECISIONS["float32"], "" not in exact
    if case.origin is not None:
        twin = case.origin.in_dtype("float32")
        of_twin, place = oracle_gradients(twin, variants) if gradients else {"": oracle(twin, variants)}, twin.known
    else:  # what was changed after rounding has no twin to go to: the first of the two that asks stands for both
        twin, of_twin, place = case, exact, case.shared
    key = ("spread", gradients, variants, tuple(value.shape for value in exact.values()))
    if key not in place:
        place[key] = _sampled_spread(of_twin, twin, variants, coarse)
    return {name: value * (precision.roundoff / coarse.roundoff) for name, value in place[key].items()}


def _sampled_spread(
    exact: dict[str, Tensor], case: Case, variants: tuple[Variant, ...], precision: rounding.Precision
) -> dict[str, Tensor]:
    """The largest deviation over the samples, which are shared out between the formula and its equal formulations."""
    used = _with_formulations(case.operation)
    rounds = max((len(operation.formulations) for operation in used), default=0)
    others = [tuple(operation.formulations[turn % len(operation.formulations)] for operation in used) + variants
              for turn in range(rounds)]  # fmt: skip
    stacks = [variants, *others]
    # One by one, where vmap cannot draw them together, half as many have to do.
    count = rounding.SAMPLES if case.differentiable() else rounding.SAMPLES // 2
    spread = {name: torch.zeros_like(value) for name, value in exact.items()}
    for seed, stack in enumerate(stacks):
        samples = _samples(case, stack, precision, seed, count // min(2, len(stacks)), gradients="" not in exact)
        for name, results in samples.items():
            finite = exact[name].isfinite()
            if not bool(results.isfinite()[:, finite].all()):
                raise rounding.SuiteError(f"case {case}: {name or 'the output'} is finite but not in every sample")
            deviation = torch.where(finite, (results - exact[name]).abs(), 0.0).amax(0)
            spread[name] = torch.maximum(spread[name], deviation)
    return spread


@functools.cache
def _with_formulations(of: Operation[..., Any]) -> list[Operation[..., Any]]:
    return [operation for operation in OPERATIONS.values() if operation.formulations and uses(of, operation)]


def _samples(
    case: Case, variants: tuple[Variant, ...], precision: rounding.Precision, seed: int, count: int, *, gradients: bool
) -> dict[str, Tensor]:
    """`count` randomly rounded results of a case, stacked along a new first axis."""
    positional, options = case.arguments(_wide, torch.float64)
    wide = once(_wide)
    floating = {name: wide(value) for name, value in case.differentiable().items()}
    # What comes from no tensor is rounded once for all the samples that vmap draws together; so they are drawn in lots.
    # Where there is nothing to batch, or too much, they are drawn one by one.
    alone = not floating or case.size > LARGE
    lots = count if alone else 2 if generates(case.operation) else 1
    call = _with_floating(case, positional, options, list(floating))
    drawn = [
        _lot(case, call, floating, variants, precision, 1000 * seed + lot, count // lots, gradients)
        for lot in range(lots)
    ]
    return {name: torch.cat([each[name] for each in drawn]) for name in drawn[0]}


def _lot(
    case: Case,
    call: Callable[..., Tensor],
    floating: dict[str, Tensor],
    variants: tuple[Variant, ...],
    precision: rounding.Precision,
    seed: int,
    count: int,
    gradients: bool,
) -> dict[str, Tensor]:
    """Samples that are drawn together."""
    if count == 1:
        with rounding.perturbed(precision, seed):
            drawn = differentiate(case, variants) if gradients else {"": evaluate(case, variants)}
        return {name: value.unsqueeze(0) for name, value in drawn.items()}
    batch = once(lambda value: value.expand(count, *value.shape).clone().requires_grad_(gradients))
    batched = [batch(value) for value in floating.values()]
    with inject(*variants), rounding.perturbed(precision, seed):
        results = torch.vmap(call, randomness="different")(*batched)
        if not gradients:
            return {"": results}
        # The samples are independent of each other, so one backward pass through all of them gives each its own.
        found = torch.autograd.grad(results, batched, _wide(cotangent(case)).expand_as(results), allow_unused=True)
    pairs = zip(floating, batched, found, strict=True)
    return {name: torch.zeros_like(leaf) if grad is None else grad for name, leaf, grad in pairs}


def _with_floating(
    case: Case, positional: list[Any], options: dict[str, Any], names: list[str]
) -> Callable[..., Tensor]:
    """The call of a case as a function of its floating tensors and weights alone, in the order of `names`."""

    def call(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        arguments = [given.get(name, value) for name, value in zip(case.operation.tensors, positional, strict=False)]
        rest = positional[len(case.tensors) :]  # weights and config, where there are any
        if case.weights is not None:
            rest[0] = {name: given.get(f"weights[{name!r}]", value) for name, value in rest[0].items()}
        return case.operation(*arguments, *rest, **options)

    return call


def evaluate(case: Case, variants: tuple[Variant, ...]) -> Tensor:
    """The reference with variants injected, in float64 on the inputs of the case."""
    positional, options = case.arguments(_wide, torch.float64)
    with inject(*variants):
        return case.operation(*positional, **options)


def differentiate(case: Case, variants: tuple[Variant, ...]) -> dict[str, Tensor]:
    """The vector-Jacobian product of the reference with variants injected, in float64, by the names of its inputs."""
    wide = case.map(once(_wide))  # what is given twice has one gradient, the sum over its places
    leaves = wide.differentiable()
    positional, options = wide.arguments(lambda value: value, torch.float64)
    for leaf in leaves.values():
        leaf.requires_grad_()
    with inject(*variants), torch.enable_grad():
        result = case.operation(*positional, **options)
        if not result.requires_grad:
            return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
        found = torch.autograd.grad(result, list(leaves.values()), _wide(cotangent(case)), allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return {name: torch.zeros_like(leaf) if gradient is None else gradient for (name, leaf), gradient in pairs}


def _wide(value: Any) -> Any:
    """A copy in float64 in the same layout: a fault may write into its inputs, or read them by their strides."""
    return copy(value, torch.float64) if isinstance(value, Tensor) and value.is_floating_point() else copy(value)


def _torch(dtype: str) -> torch.dtype:
    return getattr(torch, dtype)


def _kept(case: Case, key: Any, compute: Callable[[], Any]) -> Any:
    """What `compute` gives, computed once for a case; a case with the numbers of another shares what that one knows."""
    if key not in case.known:
        with clock.running():
            case.known[key] = compute()
    return case.known[key]


class Clock:
    """Seconds spent in the oracle, for benchmarks; what runs inside something that runs is counted once."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time until the block ends."""
        begun, self.depth = time.perf_counter(), self.depth + 1
        try:
            yield
        finally:
            self.depth -= 1
            if self.depth == 0:
                self.seconds += time.perf_counter() - begun


clock = Clock()


# --- What a case can see ------------------------------------------------------------------------------------------------


def deviation_of(
    case: Case, fault: Variant, variants: tuple[Variant, ...] = (), compute_dtype: str | None = None
) -> float:
    """How many budgets a fault moves the numbers of a case's result.

    0 where it raises, gives NaN or changes shape or dtype: that is seen in any dtype, and says nothing of the numbers.
    """
    expected = oracle(case, variants)
    try:
        wrong = evaluate(case, (*variants, fault))
    except Exception:
        return 0.0
    if wrong.shape != expected.shape or wrong.dtype != expected.dtype or not expected.numel():
        return 0.0
    if not torch.equal(wrong.isfinite(), expected.isfinite()):
        return 0.0
    return float(_ratios(wrong, expected, budget(case, variants, compute_dtype)).max())


def has_evidence(implementation: Implementation, case: Case, near: Iterable[Variant]) -> bool:
    """Whether some known fault of the case's own formula would be seen by it, by a wide margin."""
    variants = declared_variants(implementation, case)
    key = ("evidence", variants, implementation.computes_in(case.operation))

    def look() -> bool:
        return any(
            deviation_of(case, fault, variants, implementation.computes_in(case.operation)) >= VISIBLE for fault in near
        )

    return bool(_kept(case, key, look))


# --- Comparison ---------------------------------------------------------------------------------------------------------


def _ratios(actual: Tensor, expected: Tensor, allowed: Tensor) -> Tensor:
    """error / budget element by element; what is not finite has to be the same, else infinite."""
    actual, expected = actual.to(torch.float64), expected.to(torch.float64)
    error = (actual - expected).abs()
    ratio = torch.where(error == 0, 0.0, error / allowed)
    if bool(error.isfinite().all()):
        return ratio
    same = (actual == expected) | (actual.isnan() & expected.isnan())
    finite = actual.isfinite() & expected.isfinite()
    return torch.where(finite, ratio, torch.where(same, 0.0, math.inf))


def worst_ratio(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], allowed: Mapping[str, Tensor]) -> float:
    """The worst error in budgets over all that is named; infinite where shapes differ."""
    if any(actual[name].shape != expected[name].shape for name in expected):
        return math.inf
    ratios = [_ratios(actual[name], expected[name], allowed[name]) for name in expected]
    return max((float(ratio.max()) for ratio in ratios if ratio.numel()), default=0.0)


def compare(
    implementation: Implementation,
    case: Case,
    actual: Tensor | Mapping[str, Tensor],
    expected: Tensor | Mapping[str, Tensor],
    allowed: Allowed | Callable[[], Allowed],
    *,
    what: str = "output",
    how: str = "",
    observed: tuple[Observation, ...] | None = None,
) -> None:
    """Record the worst error in budgets and raise NonConformance where it is above 1.

    What is `allowed` may be given as a function, which is not called where there is no error at all: budgets take time.
    `observed` is what diagnosis looks at where `actual` is something derived from results and not a result itself.
    """
    is_gradient = isinstance(actual, Mapping)
    actuals: Mapping[str, Tensor] = actual if isinstance(actual, Mapping) else {what: actual}
    expecteds: Mapping[str, Tensor] = expected if isinstance(expected, Mapping) else {what: expected}
    if callable(allowed):
        equal = all(bool((value == expecteds[name]).all()) for name, value in actuals.items())
        allowed = dict.fromkeys(actuals, torch.zeros(())) if equal else allowed()
    alloweds: Mapping[str, Tensor] = allowed if isinstance(allowed, Mapping) else {what: allowed}
    worst, message = 0.0, ""
    for name, value in actuals.items():
        ratios = _ratios(value, expecteds[name], alloweds[name].expand(expecteds[name].shape))
        highest = float(ratios.max()) if ratios.numel() else 0.0
        if not highest <= worst:  # a ratio that is not a number passes nothing
            worst = highest
            if not worst <= 1.0:
                label = f"gradient of {name}{how}" if is_gradient else name
                message = _mismatch(label, value, expecteds[name], alloweds[name], ratios)
    if observed is None:
        observed = (Observation(case, dict(actuals) if is_gradient else {"": actuals[what]}),)
    comparison = Comparison(worst, message, observed)
    implementation.comparisons.append(comparison)
    if not worst <= 1.0:
        raise NonConformance(message, case, comparison)


def _mismatch(label: str, actual: Tensor, expected: Tensor, allowed: Tensor, ratios: Tensor) -> str:
    place = [int(i) for i in torch.unravel_index(ratios.argmax(), ratios.shape)]
    at = f"{label}[{', '.join(map(str, place))}]" if place else label
    got, want = actual[tuple(place)].item(), expected[tuple(place)].item()
    if allowed.numel() and float(allowed.max()) == 0.0:
        message = f"{at} = {got}, should be {want}"
    else:
        digits = (
            max(5, min(17, math.ceil(-math.log10(max(abs(got - want) / abs(want), 1e-16))) + 2))
            if _both(got, want)
            else 6
        )
        within = float(allowed.expand(ratios.shape)[tuple(place)])
        message = f"{at} = {got:.{digits}g}, should be {want:.{digits}g} (budget {within:.2g})"
    wrong = int((ratios > 1).sum())
    return f"{message}; {wrong} of {ratios.numel()} entries are off" if wrong > 1 else message


def _both(got: float, want: float) -> bool:
    return math.isfinite(got) and math.isfinite(want) and want != 0 and got != want


# --- Assertions ---------------------------------------------------------------------------------------------------------


def output_of(implementation: Implementation, case: Case) -> Tensor:
    """The implementation's result of a case, its shape and dtype being as the contract says."""
    return _of_contract(result_of(lambda: implementation.call(case), case), case, oracle(case))


def result_of(call: Callable[[], Any], case: Case) -> Any:
    """What a call gives, which fails where it is nothing that can be read."""
    try:
        return call()
    except WrongResult as error:
        raise NonConformance(str(error), case) from None


def _of_contract(result: Tensor, case: Case, expected: Tensor) -> Tensor:
    dtype = _torch(case.dtype) if expected.is_floating_point() else expected.dtype
    if result.shape != expected.shape:
        raise NonConformance(f"output has the shape {tuple(result.shape)}, should have {tuple(expected.shape)}", case)
    if result.dtype != dtype:
        given, wanted = str(result.dtype).removeprefix("torch."), str(dtype).removeprefix("torch.")
        of_inputs = ", that of the inputs" if expected.is_floating_point() else ""
        raise NonConformance(f"output has the dtype {given}, should have {wanted}{of_inputs}", case)
    return result


def assert_conforms(
    implementation: Implementation, case: Case, where: Tensor | None = None, what: str = "output"
) -> None:
    """The result equals the formula's within the budget; booleans and integers exactly.

    Only the places in `where` are looked at, if it is given: what stands at padding is nobody's business.
    """
    variants = declared_variants(implementation, case)
    actual, expected = output_of(implementation, case), oracle(case, variants)
    shown, observed = _looked_at(actual, expected, where), (Observation(case, {"": actual}, where),)
    allowed = functools.partial(budget_of, implementation, case)
    compare(implementation, case, shown, expected, allowed, what=what, observed=observed)


def assert_conforms_laid_out(implementation: Implementation, case: Case, where: Tensor | None = None) -> None:
    """The same of arrays as they lie in the case, and of views that run against their memory, as numpy has them."""
    assert_conforms(implementation, case, where)
    if implementation.framework.runs_backwards:
        with implementation.handing_over_backwards():
            assert_conforms(implementation, case, where, "output (of views that run backwards)")


def _finite_as_the_formula(implementation: Implementation, case: Case, result: Tensor, where: Tensor | None) -> None:
    """NaN and infinity stand where the formula has them and nowhere else: two of them are equal to every property."""
    expected = oracle(case, declared_variants(implementation, case))
    if not expected.is_floating_point():
        return
    wrong = result.isfinite() != expected.isfinite()
    if bool((wrong if where is None else wrong & where).any()):
        shown = _looked_at(result, expected, where)
        allowed = budget_of(implementation, case)
        compare(implementation, case, shown, expected, allowed, observed=(Observation(case, {"": shown}),))


def _looked_at(actual: Tensor, expected: Tensor, where: Tensor | None) -> Tensor:
    return actual if where is None else torch.where(where, actual, expected.to(actual.dtype))


def assert_remembers_nothing(implementation: Implementation, case: Case, *others: Case) -> None:
    """The result for each of `others` in the very arrays of a call with `case`, or where they lay, equals the formula's."""
    for other, anew in itertools.product(others, (False, True)):
        variants = declared_variants(implementation, other)
        result = result_of(functools.partial(implementation.call_again, case, other, anew=anew), other)
        actual = _of_contract(result, other, oracle(other))
        compare(
            implementation,
            other,
            actual,
            oracle(other, variants),
            functools.partial(budget_of, implementation, other),
        )


def assert_no_memory(implementation: Implementation, case: Case, others: Iterable[Case]) -> None:
    """Calls of `others` in between change nothing: not a result that is kept, nor what the same call gives again.

    Nor does torch's default dtype, which is another in one of these calls.
    """
    kept = result_of(lambda: implementation.keep(case), case)
    before, others = result_of(kept, case).clone(), list(others)
    for other in others:
        assert_conforms(implementation, other)
    alike = [other for other in others if oracle(other).shape == before.shape]
    for other in alike[:1] * BUFFERS_IN_TURN:
        result_of(functools.partial(implementation.call, other), other)
    if not _same_bits(before, kept()):
        raise NonConformance(
            "a result that was kept was changed by a later call; results must have memory of their own", case
        )
    assert_ignores_default_dtype(implementation, case, torch.float64)
    assert_conforms(implementation, case)


def assert_ignores_default_dtype(implementation: Implementation, case: Case, dtype: torch.dtype) -> None:
    """The result conforms where torch's default dtype is another, as it is while a model is loaded in bfloat16."""
    with implementation.with_default_dtype(dtype):
        assert_conforms(implementation, case, what=f"output (torch's default dtype being {dtype})")


def assert_contract(implementation: Implementation, case: Case) -> None:
    """The result has the shape and dtype that the contract says; its numbers are not looked at."""
    output_of(implementation, case)


def assert_gradients_conform(implementation: Implementation, case: Case) -> None:
    """The vector-Jacobian product equals the formula's within the budget, for every input and weight.

    So does the result that was differentiated: code that is asked for gradients often takes another path. The first cases
    of an operation are asked for in other ways too: of the weights alone, of each input alone, with a cotangent that is
    laid out otherwise and a call of other numbers before the way back.
    """
    found = _gradients_conform(implementation, case, cotangent(case), {})
    place = None if case.origin is None else _asked_in_other_ways(len(REQUIREMENTS)).get(id(case.origin))
    if place is None:
        return
    other = case.map(once(lambda value: value.flip(tuple(range(value.dim()))) if _is_floating(value) else value))
    for names in [()] if implementation.claims_vjp(case.operation) else _apart(case, each=place == 0):
        _gradients_conform(implementation, case, _otherwise_laid_out(cotangent(case)), found, names, other)


def _gradients_conform(
    implementation: Implementation,
    case: Case,
    handed: Tensor,
    others: Mapping[str, Tensor],
    of: tuple[str, ...] = (),
    meanwhile: Case | None = None,
) -> dict[str, Tensor]:
    """Judge the gradients of the names in `of`, or of all; `others` stand for those that are not asked for."""
    variants = declared_variants(implementation, case)
    result, actual, left, cotangent_left = result_of(
        lambda: implementation.gradients_watched(case, handed, of, meanwhile), case
    )
    alone = f"asked for {_said_of(case, of)} alone, " if of else ""
    how = f" ({alone}the cotangent with strides {list(handed.stride())})" if others else ""
    right = oracle(case, variants)
    if result is not None:
        result = _of_contract(result, case, oracle(case))
        shown, observed = _looked_at(result, right, case.where), (Observation(case, {"": result}, case.where),)
        allowed = functools.partial(budget_of, implementation, case)
        what = "output (gradients asked for)"
        compare(implementation, case, shown, right, allowed, what=what, observed=observed)
    expected = oracle_gradients(case, variants)
    if bool(right.isfinite().all()) and not all(bool(g.isfinite().all()) for g in expected.values()):
        raise rounding.SuiteError(f"case {case}: the output is finite and a gradient of the reference is not")
    for name, gradient in actual.items():
        if gradient.shape != expected[name].shape:
            shapes = f"{tuple(gradient.shape)}, should have {tuple(expected[name].shape)}"
            raise NonConformance(f"gradient of {name} has the shape {shapes}", case)
    found = {**others, **actual}
    computes_in = implementation.computes_in(case.operation)
    compare(implementation, case, found, expected, lambda: gradient_budgets(case, variants, computes_in), how=how)
    _assert_left_alone(case, left)
    if not _same_bits(handed, cotangent_left):
        raise NonConformance("the cotangent was changed on the way back; it belongs to the caller", case)
    return found


@functools.cache
def _asked_in_other_ways(requirements: int) -> dict[int, int]:
    """Ids of the first cases of each operation in each requirement of gradients, and their places, of so many requirements."""
    chosen: dict[int, int] = {}
    for requirement in REQUIREMENTS.values():
        if requirement.needs_gradients:
            for operation in requirement.operations:
                own = [case for case in requirement.cases if case.operation is operation and isinstance(case, Case)]
                small = [id(case) for case in own if case.size <= ASKED_OTHERWISE_UP_TO][:ASKED_OTHERWISE]
                chosen |= {found: place for place, found in enumerate(small) if found not in chosen}
    return chosen


def _apart(case: Case, *, each: bool) -> list[tuple[str, ...]]:
    """The names of what has a gradient: each input alone, all weights together, and all but one of these.

    Of weights also what is trained where the rest is frozen: those of each part alone (a layer norm, the stack, a head), all
    but those of one, and the vectors alone; with `each` also every weight alone, and all but it, in one of the layers that
    are alike. What is given twice is named together.
    """
    leaves = case.differentiable()
    weights = tuple(name for name in leaves if name.startswith("weights["))
    inputs = {id(value): value for name, value in leaves.items() if name not in weights}
    groups = [tuple(name for name, value in leaves.items() if value is tensor) for tensor in inputs.values()]
    groups += [weights] if weights else []
    others = [tuple(name for group in groups if group is not frozen for name in group) for frozen in groups]
    parts = {name: name.removeprefix("weights['").removesuffix("']").partition(".")[0] for name in weights}
    trained = [tuple(name for name in weights if parts[name] == part) for part in dict.fromkeys(parts.values())]
    trained += [tuple(name for name in weights if name not in part) for part in trained] if len(trained) > 2 else []
    trained += [tuple(name for name in weights if leaves[name].dim() < 2)]
    if each:
        unlike = {re.sub(r"\d+", "", name): name for name in weights}.values()
        trained += [(name,) for name in unlike]
        trained += [tuple(other for other in weights if other != name) for name in unlike]
    apart = [names for names in dict.fromkeys(trained) if names and len(names) < len(weights)]
    return groups + (others if len(groups) > 2 else []) + apart


def _said_of(case: Case, names: tuple[str, ...]) -> str:
    """What gradients are asked of, in a few words."""
    if len(names) == 1 or set(names) <= set(case.operation.tensors):
        return ", ".join(names)
    weights = {name for name in case.differentiable() if name not in case.operation.tensors}
    left = weights - set(names)
    if set(names) <= weights and len(left) <= 1:
        return "the weights" + "".join(f" but {name}" for name in left)
    return f"{len(names)} of the {len(case.differentiable())} tensors and weights"


def _otherwise_laid_out(value: Tensor) -> Tensor:
    return transposed(value) if value.dim() > 1 else sliced(value) if value.dim() else value


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def assert_derived(
    implementation: Implementation,
    case: Case,
    result: Tensor,
    actual: Tensor,
    expected: Tensor,
    allowed: Tensor,
    what: str,
) -> None:
    """`actual`, derived from the `result` of a case, equals what it should within what its parts may be off together."""
    _finite_as_the_formula(implementation, case, result, None)
    compare(implementation, case, actual, expected, allowed, what=what, observed=(Observation(case, {"": result}),))


def budget_of(implementation: Implementation, case: Case) -> Tensor:
    """The budget of a case for this implementation, its declared choices and compute dtype considered."""
    return budget(case, declared_variants(implementation, case), implementation.computes_in(case.operation))


def assert_same(
    implementation: Implementation,
    case: Case,
    other: Case,
    of_other: Callable[[Tensor], Tensor] = lambda result: result,
    where: Tensor | None = None,
) -> None:
    """Two calls that a property makes equal agree within the budgets of both, at the places in `where` if it is given."""
    expected, result = output_of(implementation, case), output_of(implementation, other)
    _finite_as_the_formula(implementation, case, expected, where)
    # Places of the other result are its own; all of it is compared with what a fault gives.
    observed = (Observation(case, {"": expected}, where), Observation(other, {"": result}))
    shown = _looked_at(of_other(result), expected, where)

    def allowed() -> Tensor:
        return budget_of(implementation, case) + of_other(budget_of(implementation, other))

    compare(implementation, case, shown, expected, allowed, observed=observed)


def assert_untouched(implementation: Implementation, case: Case) -> None:
    """No bit of any tensor, weight or mask differs after the call."""
    _, left = result_of(lambda: implementation.call_watched(case), case)
    _assert_left_alone(case, left)


def _assert_left_alone(case: Case, left: Case) -> None:
    names = [*case.operation.tensors, *(f"weights[{name!r}]" for name in case.weights or {}), *case.options]
    if len(case.tensors) != len(case.operation.tensors):
        names = [f"{case.operation.tensors[0]}[{place}]" for place in range(len(case.tensors))] + names[1:]
    for name, before, after in zip(names, case.flat(), left.flat(), strict=True):
        if isinstance(before, Tensor) and not _same_bits(before, after):
            changed = (before != after).nonzero()
            place = ", ".join(str(int(i)) for i in changed[0]) if len(changed) else "…"
            raise NonConformance(f"{name}[{place}] was changed by the call; inputs must be left as they are", case)


def _same_bits(first: Tensor, second: Tensor) -> bool:
    return bool(
        torch.equal(first.isnan(), second.isnan()) and torch.equal(first[~first.isnan()], second[~second.isnan()])
    )


def assert_identical(implementation: Implementation, case: Case, changed: Case, where: Tensor | None = None) -> None:
    """Two calls of the same shapes and layouts give equal results (−0 = 0) at the places in `where`.

    A control call on an unchanged copy goes first. Where the implementation does not repeat itself, it is held to the
    budget instead and the report notes it.
    """
    first, control = output_of(implementation, case), output_of(implementation, case)
    second = output_of(implementation, changed)
    expected = oracle(case, declared_variants(implementation, case))
    shown = torch.ones_like(expected, dtype=torch.bool) if where is None else where.expand(expected.shape)
    _finite_as_the_formula(implementation, case, first, shown)
    repeats = bool((first == control)[shown].all())
    if not repeats:
        implementation.warnings.append("two calls on equal inputs differ: judged by budget, not by equality")
    allowed = torch.zeros(()) if repeats else 2 * budget_of(implementation, case)
    observed = (Observation(case, {"": first}), Observation(changed, {"": second}))
    # Elsewhere the results may differ; there the first stands for both.
    compare(implementation, changed, torch.where(shown, second, first), first, allowed, observed=observed)


def assert_refuses(implementation: Implementation, case: Case, error: type[BaseException] = Exception) -> None:
    """The call raises, with a message; NotImplementedError is no refusal, it says that a feature is missing."""
    try:
        implementation.call(case)
    except Raised as raised:
        cause = raised.__cause__
        if not isinstance(cause, error):
            raise NonConformance(f"raised {type(cause).__name__}, should raise {error.__name__}", case) from cause
        if not str(cause).strip():
            raise NonConformance(
                f"raised {type(cause).__name__} without a message that says what is wrong", case
            ) from cause
        return
    except WrongResult:
        pass
    raise NonConformance(
        f"returned a result, should raise {error.__name__}: no meaning can be given to these arguments", case
    )


# --- Of an implementation as a whole ---------------------------------------------------------------------------------------


def assert_loads(implementation: Implementation) -> None:
    """It was imported without an error and has an operation."""
    if implementation.load_error:
        raise Raised(f"does not load: {implementation.load_error}")
    if not any(implementation.claims(operation) for operation in OPERATIONS.values()):
        near = "".join(f"; {name} looks like {meant}" for name, meant in implementation.near_misses().items())
        raise NonConformance(f"claims no operation: no callable is named after one ({', '.join(OPERATIONS)}){near}")


def assert_choices_are_known(implementation: Implementation) -> None:
    """Each declared choice is one that a requirement allows."""
    allowed = {requirement.id: requirement.choices for requirement in REQUIREMENTS.values() if requirement.choices}
    for id, value in implementation.choices.items():
        if id in REQUIREMENTS and id not in allowed:
            raise NonConformance(
                f"CHOICES[{id!r}]: this requirement allows no choice; those that do: {', '.join(allowed)}"
            )
        if id in allowed and value not in allowed[id]:
            raise NonConformance(f"CHOICES[{id!r}] = {value!r}, should be one of {', '.join(allowed[id])}")
        chapters = {requirement.chapter for requirement in REQUIREMENTS.values()}
        if id not in REQUIREMENTS and (id.partition(".")[0] in chapters or "." not in id):
            raise NonConformance(
                f"CHOICES has {id!r}, which is no requirement; those with choices: {', '.join(allowed)}"
            )


def assert_names_are_spelt_right(implementation: Implementation) -> None:
    """No public callable looks like a misspelt operation."""
    misses = implementation.near_misses()
    if misses:
        listed = ", ".join(f"{name} (did you mean {meant}?)" for name, meant in misses.items())
        raise NonConformance(f"not judged, for no operation is called so: {listed}")
