"""Diagnosis: which known mistake, put into the reference, gives what the implementation gave."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from transpec import rounding
from transpec.cases import DTYPE, EXACT, copy
from transpec.catalogue import Fault
from transpec.implementations import Implementation
from transpec.judgement import (
    GRADIENT_FACTOR,
    OUTPUT_FACTOR,
    Comparison,
    Observation,
    allowed_around,
    budget,
    declared_variants,
    differentiate,
    evaluate,
    gradient_budgets,
    oracle,
    oracle_gradients,
    worst_ratio,
)
from transpec.operations import OPERATIONS, Variant, inject, uses
from transpec.requirements import REQUIREMENTS

NEAR = 1e6  # budgets within which more rounding may explain a distance
CONTENDERS = 3  # faults for which that is computed; it takes as long as a budget
SECONDS = 20.0  # for which faults are tried on one observation; all of them take longer on the largest cases
CLEARLY_WRONG = 3.0  # budgets a fault has to be away from the right result before it can explain anything


def diagnose(
    implementation: Implementation, comparison: Comparison, faults: Iterable[Fault], likely: Iterable[str] = ()
) -> list[str]:
    """Ids of the faults that explain a failed comparison; several where the input cannot tell them apart.

    Only a result that is itself wrong is explained, so that a right implementation is never diagnosed. Where faults that
    are `likely`, for they explained other failures, explain this one too, no others are looked for.
    """
    for observation in comparison.observed:
        case = observation.case
        variants = declared_variants(implementation, case)
        right, allowed = _right(implementation, observation, variants)
        observation = _where_looked_at(observation, right)
        if worst_ratio(observation.result, right, allowed) <= 1:
            continue
        candidates = [fault for fault in faults if uses(case.operation, fault.operation)]
        look = _Look(implementation, observation, variants, right, allowed)
        again = [fault.id for fault in candidates if fault.id in likely and look.distance(fault) <= 1]
        if again:
            return again
        until = time.perf_counter() + SECONDS
        # Ids and counts are soon alike by chance: mistakes of the chapter itself go before those of what it is built on.
        is_own = {fault: fault.operation.chapter == case.operation.chapter for fault in candidates}
        own, others = ([fault for fault in candidates if is_own[fault] is wanted] for wanted in (True, False))
        distances: dict[Fault, float] = {}
        for ring in (own, others):
            distances |= {fault: look.distance(fault) for fault in _before(until, ring)}
            found = [fault.id for fault, distance in distances.items() if distance <= 1]
            if found:
                return found
        nearest = sorted((f for f, d in distances.items() if d < NEAR), key=distances.__getitem__)[:CONTENDERS]
        found = [f.id for f in _before(until, nearest) if look.explained_with_its_own_rounding_by(f)]
        return found or [f.id for f in _before(until, own + others) if look.explained_in_its_own_dtype_by(f)]
    return []


def _before(until: float, faults: Iterable[Fault]) -> Iterator[Fault]:
    """The faults, until time is up."""
    return itertools.takewhile(lambda fault: time.perf_counter() < until, faults)


def chosen_otherwise(implementation: Implementation, comparison: Comparison) -> str:
    """In words, the allowed answer that a failed result gives where another one is declared, or holds; else nothing."""
    for observation in comparison.observed:
        case = observation.case
        held = declared_variants(implementation, case)
        choices = {
            (requirement, value): variant
            for operation in OPERATIONS.values()
            if uses(case.operation, operation)
            for (requirement, value), variant in operation.choices.items()
        }
        for requirement in dict.fromkeys(requirement for requirement, _ in choices):
            of_this = {value: variant for (asked, value), variant in choices.items() if asked == requirement}
            others = tuple(variant for variant in held if variant not in of_this.values())
            first = REQUIREMENTS[requirement].choices[0] if requirement in REQUIREMENTS else "the reference's own"
            declared = implementation.choices.get(requirement, first)
            answers: dict[str, tuple[Variant, ...]] = {first: others}
            answers |= {value: (*others, variant) for value, variant in of_this.items()}
            for value, stack in answers.items():
                if value != declared and _gives(implementation, observation, stack):
                    told = "CHOICES declares" if requirement in implementation.choices else "without a CHOICE holds"
                    return f'this is the answer "{value}" to {requirement}, {told} "{declared}"'
    return ""


def _gives(implementation: Implementation, observation: Observation, variants: tuple[Variant, ...]) -> bool:
    right, allowed = _right(implementation, observation, variants)
    return worst_ratio(_where_looked_at(observation, right).result, right, allowed) <= 1


def _right(
    implementation: Implementation, observation: Observation, variants: tuple[Variant, ...]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is right under these variants, output or gradients as was observed, and how far rounding may take it."""
    case, computes_in = observation.case, implementation.computes_in(observation.case.operation)
    if observation.is_gradient:
        return oracle_gradients(case, variants), gradient_budgets(case, variants, computes_in)
    return {"": oracle(case, variants)}, {"": budget(case, variants, computes_in)}


def _where_looked_at(observation: Observation, right: Mapping[str, Tensor]) -> Observation:
    """The observation with what is right in the places that nobody looked at."""
    if observation.where is None or observation.result[""].shape != right[""].shape:
        return observation
    seen = torch.where(observation.where, observation.result[""].double(), right[""].double())
    return replace(observation, result={"": seen})


class _Look:
    """One wrong observation, to be compared with what faults give on the same input."""

    def __init__(
        self,
        implementation: Implementation,
        observation: Observation,
        variants: tuple[Variant, ...],
        right: Mapping[str, Tensor],
        allowed: Mapping[str, Tensor],
    ) -> None:
        self.implementation, self.observation, self.variants = implementation, observation, variants
        self.right, self.allowed = right, allowed

    def distance(self, fault: Fault) -> float:
        """How many budgets the observation is from what the reference with the fault gives; infinite where that is right."""
        wrong = self.with_fault(fault)
        if wrong is None or not self.clearly_wrong(wrong):
            return math.inf
        return worst_ratio(self.observation.result, wrong, self.allowed)

    def explained_with_its_own_rounding_by(self, fault: Fault) -> bool:
        """The same within the budget of the wrong formula, which may lose more to rounding than the right one."""
        wrong = self.with_fault(fault)
        if wrong is None:
            return False
        allowed = self.around(fault, wrong)
        # A fault so unstable that it cannot be told from the right result explains nothing.
        is_apart = worst_ratio(self.right, wrong, allowed) >= CLEARLY_WRONG
        return is_apart and worst_ratio(self.observation.result, wrong, allowed) <= 1

    def explained_in_its_own_dtype_by(self, fault: Fault) -> bool:
        """The fault computed in the dtype of the case gives what was observed: mistakes that are of precision."""
        case = self.observation.case
        if (
            self.observation.is_gradient
            or case.dtype == EXACT
            or (DTYPE in case.options.values() and case.dtype == "float64")
        ):
            return False
        positional, options = case.arguments(copy, getattr(torch, case.dtype))
        try:
            with inject(*self.variants, fault):
                wrong = {"": case.operation(*positional, **options)}
        except Exception:
            return False
        fits = self.clearly_wrong(wrong)
        return fits and worst_ratio(self.observation.result, wrong, self.allowed) <= 1

    def with_fault(self, fault: Fault) -> dict[str, Tensor] | None:
        """What the reference with the fault gives in float64; None where it raises."""
        case, stack = self.observation.case, (*self.variants, fault)
        # A layout has the numbers of another and shares what is known of them; a fault may read it otherwise.
        strides = tuple(value.stride() for value in case.flat() if isinstance(value, Tensor))
        key = ("fault", stack, self.observation.is_gradient, strides)
        if key not in case.known:
            try:
                case.known[key] = (
                    differentiate(case, stack) if self.observation.is_gradient else {"": evaluate(case, stack)}
                )
            except Exception:
                case.known[key] = None
        found: dict[str, Tensor] | None = case.known[key]
        where = self.observation.where
        if found is None or where is None or found[""].shape != self.right[""].shape:
            return found
        return {"": torch.where(where, found[""], self.right[""].to(found[""].dtype))}

    def clearly_wrong(self, wrong: Mapping[str, Tensor]) -> bool:
        same = all(wrong[name].shape == self.right[name].shape for name in wrong)
        return same and worst_ratio(wrong, self.right, self.allowed) >= CLEARLY_WRONG

    def around(self, fault: Fault, wrong: dict[str, Tensor]) -> Mapping[str, Tensor]:
        case, stack = self.observation.case, (*self.variants, fault)
        precision = (
            rounding.coarser(case.dtype, self.implementation.computes_in(case.operation))
            if case.dtype != EXACT
            else None
        )
        if precision is None:
            return self.allowed
        factor = GRADIENT_FACTOR if self.observation.is_gradient else OUTPUT_FACTOR
        try:
            return allowed_around(wrong, case, stack, precision, factor)
        except Exception:  # a fault may use what the table of rounding has no rule for
            return self.allowed
