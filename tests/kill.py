"""The kill matrix: which requirement catches which fault, on which case, by what margin.

`python -m tests.kill` writes docs/kill-matrix.md. An implementation with a fault is the reference with the fault
injected, so that a mistake in an operation is also felt in those that are built on it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transpec import catalogue, requirements
from transpec.cases import EVERY_DTYPE, EXACT, WIDE, Case
from transpec.catalogue import Fault
from transpec.diagnosis import diagnose
from transpec.implementations import Implementation, Source, declared
from transpec.judgement import VISIBLE, budget, oracle, worst_ratio
from transpec.judging import Outcome, judge
from transpec.operations import OPERATIONS, Operation, inject, uses
from transpec.profiles import PROFILES
from transpec.requirements import Requirement

DOCUMENT = Path(__file__).parent.parent / "docs" / "kill-matrix.md"


# --- Implementations --------------------------------------------------------------------------------------------------


class Torch:
    """What every implementation here declares; operations come from its attributes."""

    FRAMEWORK, DIFFERENTIABLE, DTYPES = "torch", True, EVERY_DTYPE


class Faulty(Torch):
    """The reference with a fault in one operation, and in all that use it."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def __getattr__(self, name: str) -> Any:
        operation = OPERATIONS.get(name)
        if operation is None or not uses(operation, self.fault.operation):
            raise AttributeError(name)

        def call(*args: Any, **options: Any) -> Any:
            with inject(self.fault):
                return operation(*args, **options)

        return call


class Fixed(Torch):
    """One operation, which answers with something made of the right answer's shape and of its arguments."""

    def __init__(self, operation: Operation[..., Any], answer: Callable[..., Tensor]) -> None:
        def call(*args: Any, **options: Any) -> Tensor:
            return answer(operation(*args, **options), *args)

        setattr(self, operation.name, call)


def implementation_of(target: Any, name: str) -> Implementation:
    """An object as an implementation under test."""
    return declared(target, Source(name, "module", name))


# --- Kills ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kill:
    """A case on which a requirement catches a fault, and how: `ratio` is None where nothing was measured."""

    requirement: Requirement
    case: Case
    outcome: Outcome

    @property
    def margin(self) -> float:
        """How many budgets off; infinite where numbers are not the matter, but a raise, a shape, a dtype or a bit."""
        return math.inf if self.outcome.ratio is None else self.outcome.ratio

    @property
    def is_numeric(self) -> bool:
        """Whether a comparison failed, so that a diagnosis may be asked for."""
        return getattr(self.outcome.error, "comparison", None) is not None


def cases_for(requirement: Requirement, fault: Fault, dtypes: tuple[str, ...]) -> Iterator[Case]:
    """The designed cases of a requirement in which a fault can be felt, the smallest first, each in every dtype."""
    felt = (case for case in requirement.cases if isinstance(case, Case) and uses(case.operation, fault.operation))
    for case in sorted(felt, key=lambda case: case.size):
        for dtype in case.dtypes:
            if dtype in (*dtypes, EXACT):
                yield case.in_dtype(dtype)


def kills(fault: Fault, requirement: Requirement, dtypes: tuple[str, ...] = WIDE) -> Iterator[Kill]:
    """The cases on which the reference with the fault fails a requirement."""
    faulty = implementation_of(Faulty(fault), fault.id)
    for case in cases_for(requirement, fault, dtypes):
        if requirement.applies_to(faulty, case, case.dtype):
            outcome = judge(requirement, faulty, case, explain=False)
            if outcome.outcome == "suite error":
                raise RuntimeError(f"{requirement.id} on {case}: {outcome.message}")
            if outcome.outcome not in ("passed", "unsupported"):
                yield Kill(requirement, case, outcome)


def first_kill(fault: Fault, requirement: Requirement) -> Kill | None:
    """The smallest case that catches a fault by a wide margin, else by the widest there is, else none.

    Failures by number go before others, for they are what is measured; the 16-bit dtypes are asked last.
    """
    found: list[Kill] = []
    for dtypes in (WIDE, tuple(dtype for dtype in EVERY_DTYPE if dtype not in WIDE)):
        for kill in kills(fault, requirement, dtypes):
            if kill.is_numeric and kill.margin >= VISIBLE:
                return kill
            found.append(kill)
        if found:
            break
    return max(found, key=lambda kill: (kill.is_numeric, kill.margin), default=None)


def diagnosis_of(kill: Kill, fault: Fault) -> list[str]:
    """The faults that a failure looks like; the implementation is asked for nothing anew."""
    comparison = getattr(kill.outcome.error, "comparison")  # noqa: B009 - only numeric failures have one
    remembers = kill.requirement.id.endswith("no-memory")
    known = catalogue.load().values() if remembers else catalogue.without_memory()
    return diagnose(implementation_of(Faulty(fault), fault.id), comparison, known)


# --- Answers that look at nothing -------------------------------------------------------------------------------------


def zeros(right: Tensor, *_: Any) -> Tensor:
    """Zero, or False, everywhere."""
    return torch.zeros_like(right)


def not_a_number(right: Tensor, *_: Any) -> Tensor:
    """NaN, or True, everywhere."""
    return torch.full_like(right, math.nan if right.is_floating_point() else 1)


def noise(right: Tensor, *_: Any) -> Tensor:
    """Uniform noise, or coin tosses."""
    drawn = torch.rand(right.shape, generator=torch.Generator().manual_seed(right.numel()), dtype=torch.float64)
    return drawn.to(right.dtype) if right.is_floating_point() else drawn < 0.5


def mean_of_values(right: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> Tensor:
    """The mean of all values, for every query."""
    if value.shape[-1] != right.shape[-1]:
        return torch.zeros_like(right)
    return value.mean(-2, keepdim=True).expand(right.shape).clone()


def values(right: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> Tensor:
    """The values themselves, repeated or cut to the number of queries."""
    if value.shape[-1] != right.shape[-1]:
        return torch.zeros_like(right)
    rows = torch.arange(right.shape[-2]) % value.shape[-2]
    return value[..., rows, :].expand(right.shape).clone()


ANSWERS = (zeros, not_a_number, noise)
ANSWERS_FROM_VALUES = (mean_of_values, values)


def is_degenerate(case: Case, answer: Callable[..., Tensor]) -> bool:
    """Whether the answer is the right one: nothing to compute, or equal in float64 to what the formula gives."""
    exact = case.in_dtype("float64" if case.is_floating else EXACT)
    right = oracle(exact)
    given = answer(right, *exact.tensors)
    return not right.numel() or worst_ratio({"": given}, {"": right}, {"": budget(exact)}) <= 1


# --- The document -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What became of one fault: its kill by the requirement that owes one, the worst in float32, and who else kills."""

    fault: Fault
    owed: Kill | None
    in_float32: float | None
    others: tuple[str, ...]


def row_of(fault: Fault, stated: dict[str, Requirement]) -> Row:
    """The row of one fault. Requirements that owe nothing are asked in float64 alone, which sees most."""
    owing = stated[fault.breaks]
    found = (kill for kill in kills(fault, owing, ("float32",)) if kill.case.dtype != EXACT)
    margins = [kill.margin for kill in found if kill.is_numeric]
    others = (
        requirement.id
        for requirement in stated.values()
        if requirement is not owing
        and is_near(requirement, fault)
        and next(kills(fault, requirement, ("float64",)), None) is not None
    )
    return Row(fault, first_kill(fault, owing), max(margins, default=None), tuple(others))


def is_near(requirement: Requirement, fault: Fault) -> bool:
    """Whether a requirement is of the fault's profile; what fails in attention fails in every model, and fills no page."""
    return any({requirement.chapter, fault.operation.chapter} <= set(chapters) for chapters in PROFILES.values())


def number(ratio: float | None) -> str:
    """A margin as people read it."""
    if ratio is None or math.isinf(ratio):
        return "–" if ratio is None else "∞"
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0e}".replace("e+0", "e").replace("e+", "e")


def line_of(row: Row) -> str:
    """The row as a line of a table."""
    chapter = row.fault.operation.chapter
    cells = [
        f"`{row.fault.id}`",
        f"`{row.fault.breaks}`",
        f"{row.owed.case.name}, {row.owed.case.dtype}" if row.owed else "**survives**",
        number(row.owed.margin if row.owed else None),
        number(row.in_float32),
        ", ".join(id.removeprefix(f"{chapter}.") for id in row.others),
    ]
    return f"| {' | '.join(cells)} |"


def totals(rows: list[Row]) -> str:
    """The matrix in three sentences."""
    caught = [row for row in rows if row.owed]
    counts = sorted(len(row.others) + (row.owed is not None) for row in rows)
    weakest = min(caught, key=lambda row: row.owed.margin if row.owed else math.inf)
    margin = number(weakest.owed.margin if weakest.owed else None)
    return (
        f"Of {len(rows)} faults {len(caught)} are caught by the requirement that must catch them. "
        f"A fault is caught by {counts[0]} to {counts[-1]} requirements, half by {counts[len(counts) // 2]} or more. "
        f"The smallest margin is {margin} budgets, of `{weakest.fault.id}`."
    )


HEAD = """# Kill matrix

Generated by `python -m tests.kill`; do not edit. Each line is the reference with one known mistake put into it, judged
by every requirement of its profile. The case is the smallest that the requirement which must catch the mistake fails on,
the margin by how many budgets it does; beside it stands the worst in float32. ∞ is a failure of another kind: NaN, a
wrong shape or dtype, a changed input, a result where there should be none, a difference where none is allowed.
"""
TABLE = """
| fault | must be caught by | smallest case | margin | in float32 | also caught by |
|---|---|---|---|---|---|
"""


def document(rows: list[Row]) -> str:
    """The matrix as a page."""
    page = f"{HEAD}\n{totals(rows)}\n"
    for chapter in dict.fromkeys(row.fault.operation.chapter for row in rows):
        lines = [line_of(row) for row in rows if row.fault.operation.chapter == chapter]
        page += f"\n## {chapter}\n{TABLE}" + "\n".join(lines) + "\n"
    return page


def main() -> None:
    """Compute the matrix and write the page; a fault that survives or ends a test is named, and the exit status says so."""
    torch.set_num_threads(1)
    stated, rows, troubles = requirements.load(), [], []
    for fault in catalogue.load().values():
        print(fault.id, file=sys.stderr)
        try:
            rows.append(row_of(fault, stated))
        except RuntimeError as error:  # the suite's own; the others are looked at all the same
            troubles.append(f"{fault.id}: {error}")
    if troubles:
        sys.exit("\n".join(troubles))
    DOCUMENT.write_text(document(rows), encoding="utf-8")
    survivors = [row.fault.id for row in rows if row.owed is None]
    print(f"{DOCUMENT}: {totals(rows)}")
    if survivors:
        sys.exit(f"survivors: {', '.join(survivors)}")


if __name__ == "__main__":
    main()
