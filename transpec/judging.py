"""Judging: one requirement, one implementation, one case; the outcome and everything a report says about it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from typing import Any

from transpec import catalogue, rounding
from transpec.cases import Case, Drawn
from transpec.diagnosis import diagnose
from transpec.implementations import Crashed, Implementation, Misbehaviour, Unsupported
from transpec.judgement import NonConformance, has_evidence
from transpec.rendering import call_of, snippet_of
from transpec.requirements import Requirement

OUTCOMES = (
    "passed",
    "failed",
    "errored",
    "crashed",
    "timed out",
    "unsupported",
    "known failure",
    "unexpected pass",
    "suite error",
)


@dataclass
class Outcome:
    """What became of a requirement on one case. `ratio` is the worst error in budgets, None where nothing was measured."""

    requirement: str
    implementation: str
    case: str
    dtype: str
    operation: str
    outcome: str = "passed"
    ratio: float | None = None
    message: str = ""
    call: str = ""
    snippet: str = ""
    size: int = 0
    diagnosis: list[str] = field(default_factory=list)
    evidence: bool | None = None
    seconds: float = 0.0
    seconds_in_implementation: float = 0.0
    warnings: list[str] = field(default_factory=list)
    error: BaseException | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the exception, as plain data; an infinite ratio is the string "inf"."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "error"}
        if self.ratio is not None and not self.ratio < float("inf"):
            plain["ratio"] = "inf"
        return plain


def judge(
    requirement: Requirement, implementation: Implementation, case: Case | Drawn | None, *, explain: bool = True
) -> Outcome:
    """Run the test of a requirement. Never raises but for KeyboardInterrupt; what happened is the outcome."""
    outcome = Outcome(
        requirement=requirement.id,
        implementation=implementation.source.given,
        case="" if case is None else case.name,
        dtype="" if case is None else case.dtype,
        operation="" if case is None else case.operation.name,
    )
    implementation.comparisons.clear()
    implementation.warnings.clear()
    implementation.seconds, begun = 0.0, time.perf_counter()
    try:
        _run(requirement, implementation, case)
    except NonConformance as error:
        _failed(outcome, error, implementation, explain)
    except Misbehaviour as error:
        outcome.outcome, outcome.message, outcome.error = error.outcome, str(error), error
        _show_call(outcome, case, implementation)
    except Exception as error:
        outcome.outcome, outcome.error = "suite error", error
        outcome.message = f"{type(error).__name__}: {error}"
    ratios = [comparison.ratio for comparison in implementation.comparisons]
    if outcome.outcome in ("passed", "failed") and ratios and outcome.ratio is None:
        outcome.ratio = max(ratios)
    if outcome.outcome == "passed" and requirement.states_the_equation and isinstance(case, Case):
        outcome.evidence = has_evidence(implementation, case, catalogue.load().values())
    outcome.warnings = sorted(set(implementation.warnings))
    outcome.seconds = time.perf_counter() - begun
    outcome.seconds_in_implementation = implementation.seconds
    return outcome


def given_up(requirement: Requirement, implementation: Implementation, case: Case | Drawn | None) -> Outcome:
    """The outcome of a case that is not tried, for the requirement has ended the process before."""
    name, dtype, operation = ("", "", "") if case is None else (case.name, case.dtype, case.operation.name)
    outcome = Outcome(requirement.id, implementation.source.given, name, dtype, operation, "crashed")
    outcome.message = "not tried: earlier cases of this requirement ended the process"
    outcome.error = Crashed(outcome.message)
    return outcome


def _run(requirement: Requirement, implementation: Implementation, case: Case | Drawn | None) -> None:
    if case is None:
        requirement.function(implementation=implementation)
    elif isinstance(case, Case):
        requirement.function(implementation=implementation, case=case)
    else:
        _run_drawn(requirement, implementation, case)


def _run_drawn(requirement: Requirement, implementation: Implementation, drawn: Drawn) -> None:
    """As many cases as Hypothesis' profile says. Drawn in the same order for every implementation, they share oracles."""
    from hypothesis import HealthCheck, Phase, given, settings

    key = (requirement.id, implementation.source.given, drawn.operation.name)
    # The same cases in every run, unless the user asks for a search. Where a designed case has failed already, that is
    # the one to read, and shrinking another is time lost.
    phases = [Phase.generate] if key in _has_failed else [Phase.generate, Phase.shrink]
    fixed = settings(
        derandomize=True, database=None, deadline=None, max_examples=DRAWS, phases=phases,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False,
    )  # fmt: skip
    chosen = settings() if settings.get_current_profile_name() == "explore" else fixed
    unsupported: list[Unsupported] = []
    judged = 0

    @chosen
    @given(drawn.strategy)
    def on(case: Case) -> None:
        nonlocal judged
        shared = _shared.setdefault((drawn.operation.name, drawn.name, case.name), case)
        try:
            requirement.function(implementation=implementation, case=shared.in_dtype(drawn.dtype))
            judged += 1
        except Unsupported as error:  # one unsupported case is no reason not to look at the others
            unsupported.append(error)

    on()
    if unsupported and not judged:
        raise unsupported[0]


DRAWS = 12
_has_failed: set[tuple[str, str, str]] = set()
_shared: dict[tuple[str, str, str], Case] = {}  # drawn cases by what they were drawn as: a name tells all of it


def _failed(outcome: Outcome, error: NonConformance, implementation: Implementation, explain: bool) -> None:
    outcome.outcome, outcome.message, outcome.error = "failed", error.message, error
    outcome.ratio = error.comparison.ratio if error.comparison else None
    outcome.case = error.case.name if error.case else ""
    _has_failed.add((outcome.requirement, outcome.implementation, outcome.operation))
    _show_call(outcome, error.case, implementation)
    if explain and error.comparison:
        try:
            outcome.diagnosis = diagnose(implementation, error.comparison, catalogue.load())
        except rounding.SuiteError as trouble:
            outcome.message += f" (no diagnosis: {trouble})"


def _show_call(outcome: Outcome, case: Case | Drawn | None, implementation: Implementation) -> None:
    if isinstance(case, Case):
        outcome.size = case.size
        outcome.call, outcome.snippet = call_of(case), snippet_of(case, implementation)
