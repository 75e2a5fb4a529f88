"""Judging: one requirement, one implementation, one case; the outcome and everything a report says about it."""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter

from transpec import catalogue
from transpec.cases import Case, Drawn
from transpec.diagnosis import chosen_otherwise, diagnose
from transpec.implementations import Implementation, Misbehaviour, TimedOut, Unsupported
from transpec.judgement import NonConformance, has_evidence
from transpec.rendering import call_of, snippet_of
from transpec.requirements import Requirement
from transpec.results import Outcome

SHRINKING = 10.0  # seconds after the first failure of a drawn case in which a smaller one is looked for
DIAGNOSED = 12  # failing cases of one requirement that are looked into
UNEXPLAINED = 12  # failing cases of one operation for which the whole catalogue is searched in vain
_diagnosed: Counter[tuple[str, str]] = Counter()
_unexplained: Counter[tuple[str, str]] = Counter()
_explained_by: dict[str, set[str]] = {}  # of an implementation, the faults that its failures were found to look like
_has_failed: set[tuple[str, str, str]] = set()
_shared: dict[tuple[str, str, str], Case] = {}  # drawn cases by what they were drawn as: a name tells all of it


def judge(
    requirement: Requirement, implementation: Implementation, case: Case | Drawn | None, *, explain: bool = True
) -> Outcome:
    """Run the test of a requirement. Never raises but for KeyboardInterrupt; what happened is the outcome."""
    outcome = nothing_yet(requirement, implementation, case)
    implementation.comparisons.clear()
    implementation.warnings.clear()
    implementation.scores.clear()
    implementation.plots.clear()
    implementation.seconds, begun = 0.0, time.perf_counter()
    try:
        _run(requirement, implementation, case)
        if requirement.states_the_equation and isinstance(case, Case):
            outcome.evidence = has_evidence(implementation, case, catalogue.near(case.operation))
    except NonConformance as error:
        _failed(outcome, requirement, error, implementation, explain)
    except Misbehaviour as error:
        outcome.outcome, outcome.message, outcome.error = error.outcome, str(error), error
        _show_call(outcome, requirement, error.case or case, implementation)
    except Exception as error:
        outcome.outcome, outcome.error = "suite error", error
        outcome.message = f"{type(error).__name__}: {error}"
    ratios = [comparison.ratio for comparison in implementation.comparisons]
    if outcome.outcome == "passed" and ratios:
        outcome.ratio = max(ratios)
    outcome.warnings = sorted(set(implementation.warnings))
    outcome.scores, outcome.plots = list(implementation.scores), list(implementation.plots)
    outcome.seconds = time.perf_counter() - begun
    outcome.seconds_in_implementation = implementation.seconds
    return outcome


def nothing_yet(requirement: Requirement, implementation: Implementation, case: Case | Drawn | None) -> Outcome:
    """An outcome that says what was judged and not yet what came of it."""
    name, dtype, operation = ("", "", "") if case is None else (case.name, case.dtype, case.operation.name)
    return Outcome(requirement.id, implementation.source.given, name, dtype, operation)


def _run(requirement: Requirement, implementation: Implementation, case: Case | Drawn | None) -> None:
    if case is None:
        requirement.function(implementation=implementation)
    elif isinstance(case, Case):
        requirement.function(implementation=implementation, case=case)
    else:
        _run_drawn(requirement, implementation, case)


def _run_drawn(requirement: Requirement, implementation: Implementation, drawn: Drawn) -> None:
    """As many cases as Hypothesis' profile says. Drawn in one order for all implementations, they share oracles."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import HypothesisWarning

    key = (requirement.id, implementation.source.given, drawn.operation.name)
    # The same cases in every run, unless the user asks for a search. Where a designed case has failed already, that is
    # the one to read, and shrinking another is time lost.
    phases = [Phase.generate] if key in _has_failed else [Phase.generate, Phase.shrink]
    fixed = settings(
        derandomize=True, database=None, deadline=None, max_examples=drawn.draws, phases=phases,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False,
    )  # fmt: skip
    chosen = settings() if settings.get_current_profile_name() == "explore" else fixed
    unsupported: list[Unsupported] = []
    failures: dict[str, NonConformance | Misbehaviour] = {}
    judged, enough = 0, math.inf

    @chosen
    @given(drawn.strategy)
    def on(case: Case) -> None:
        nonlocal judged, enough
        if case.name in failures:  # also where the implementation does not repeat itself
            raise failures[case.name]
        if time.perf_counter() > enough:
            return
        case = _shared.setdefault((drawn.operation.name, drawn.name, case.name), case).in_dtype(drawn.dtype)
        try:
            requirement.function(implementation=implementation, case=case)
            judged += 1
        except Unsupported as error:  # one unsupported case is no reason not to look at the others
            unsupported.append(error)
        except (NonConformance, Misbehaviour) as error:
            error.case, failures[case.name] = error.case or case, error
            enough = min(enough, time.perf_counter() + (0 if isinstance(error, TimedOut) else SHRINKING))
            raise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)  # about how long it would be to print a case
        on()
    if not judged:
        raise unsupported[0] if unsupported else RuntimeError(f"{drawn.name} draws nothing")
    implementation.warnings += [f"unsupported: {error}" for error in unsupported]


def _failed(
    outcome: Outcome, requirement: Requirement, error: NonConformance, implementation: Implementation, explain: bool
) -> None:
    outcome.outcome, outcome.message, outcome.error = "failed", error.message, error
    outcome.ratio = error.comparison.ratio if error.comparison else None
    _has_failed.add((outcome.requirement, outcome.implementation, outcome.operation))
    _show_call(outcome, requirement, error.case, implementation)
    key = (outcome.requirement, outcome.implementation)
    _diagnosed[key] += 1
    if explain and error.comparison and _diagnosed[key] <= DIAGNOSED:
        try:
            otherwise = chosen_otherwise(implementation, error.comparison)
            if otherwise:
                outcome.message += f"; {otherwise}"
                return
            remembers = outcome.requirement.endswith("no-memory")
            faults = list(catalogue.load().values()) if remembers else catalogue.without_memory()
            likely = _explained_by.setdefault(outcome.implementation, set())
            searched = outcome.implementation, outcome.operation
            if _unexplained[searched] >= UNEXPLAINED:
                faults = [fault for fault in faults if fault.id in likely]
            outcome.diagnosis = diagnose(implementation, error.comparison, faults, likely)
            likely.update(outcome.diagnosis)
            _unexplained[searched] += not outcome.diagnosis
        except Exception as trouble:  # a failure stays a failure where its cause cannot be found
            outcome.message += f" (no diagnosis: {type(trouble).__name__}: {trouble})"


def _show_call(
    outcome: Outcome, requirement: Requirement, case: Case | Drawn | None, implementation: Implementation
) -> None:
    if isinstance(case, Case):
        outcome.case, outcome.size = case.name, case.size
        outcome.call = call_of(case)
        outcome.snippet = snippet_of(case, implementation, gradients=requirement.needs_gradients)
