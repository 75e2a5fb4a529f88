"""Results: from the outcomes of single cases to rows, causes, verdicts and the exit status. Plain data in and out."""

from __future__ import annotations

import datetime
import difflib
import importlib.metadata
import os
import platform
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from transpec import __version__
from transpec.implementations import Implementation, UsageError
from transpec.profiles import PROFILES
from transpec.report import number_of

FORMAT = "transpec-report/1"
PACKAGES = ("torch", "numpy", "pytest", "pytest-xdist", "hypothesis", "tabulate")

# The most serious outcome of any case is the outcome of the requirement.
SEVERITY = ("suite error", "crashed", "timed out", "errored", "failed", "not run", "passed", "unsupported")
BAD = ("suite error", "crashed", "timed out", "errored", "failed", "not run")

Row = dict[str, Any]


@dataclass
class Outcome:
    """What became of a requirement on one case. `ratio` is the worst error in budgets, None where none was measured."""

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
    scores: list[dict[str, Any]] = field(default_factory=list)
    plots: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the exception, as plain data; an infinite ratio is the string "inf"."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "error"}
        if self.ratio is not None and not self.ratio < float("inf"):
            plain["ratio"] = "inf"
        return plain


def register(
    implementations: list[Implementation], selected: list[dict[str, str]], *, by_chapter: bool
) -> dict[str, Any]:
    """All that a report needs to know and that only a process with torch can tell, as plain data.

    `selected` are the implementations and requirements of the cases that are going to be run. In a run `by_chapter` the
    requirements of other chapters are not imported.
    """
    from transpec import catalogue
    from transpec import requirements as stated
    from transpec.operations import OPERATIONS

    faults, every = catalogue.load(), stated.in_order() if by_chapter else stated.load()
    counts = Counter((about["implementation"], about["requirement"]) for about in selected)
    asked = {about["requirement"] for about in selected}
    whole = sum(
        requirement.applies_to(implementation, case, dtype)
        for requirement in every.values()
        if not requirement.run or requirement.id in asked
        for case in requirement.cases
        for dtype in case.dtypes
        for implementation in implementations
    )
    whole += len(implementations) * sum(not requirement.cases for requirement in every.values())
    profiles = {chapter: profile for profile, chapters in PROFILES.items() for chapter in chapters}
    requirements = [
        {
            "id": requirement.id,
            "level": requirement.level,
            "chapter": requirement.chapter,
            "profile": profiles.get(requirement.chapter, "Contract"),
            "source": requirement.source,
            "text": requirement.text,
            "operations": [operation.name for operation in requirement.operations],
            "choices": list(requirement.choices),
            "catches": [fault.id for fault in faults.values() if fault.breaks == requirement.id],
        }
        for requirement in every.values()
        if not requirement.run or requirement.id in asked  # a run that nobody asked for is not the business of a report
    ]
    return {
        "requirements": requirements,
        "selected": [[*key, count] for key, count in counts.items()],
        "partial": by_chapter or len(selected) < whole,
        "faults": {
            fault.id: {
                "text": fault.text,
                "effect": fault.effect,
                "seen": fault.seen,
                "operation": fault.operation.name,
                "breaks": fault.breaks,
            }
            for fault in faults.values()
        },
        "operations": {operation.name: operation.chapter for operation in OPERATIONS.values()},
        "implementations": [_described(implementation) for implementation in implementations],
    }


def _computes_in(implementation: Implementation) -> str | None:
    """The declared dtype of computation in words: "float32", or "float32 in layer_norm, rms_norm"."""
    declared = implementation.compute_dtype
    if not isinstance(declared, dict):
        return declared
    dtypes = dict.fromkeys(declared.values())
    return "; ".join(
        f"{dtype} in {', '.join(name for name in declared if declared[name] == dtype)}" for dtype in dtypes
    )


def _described(implementation: Implementation) -> dict[str, Any]:
    from transpec.operations import OPERATIONS

    claimed = [operation.name for operation in OPERATIONS.values() if implementation.claims(operation)]
    return {
        "name": implementation.name,
        "source": implementation.source.given,
        "version": implementation.version,
        "homepage": implementation.homepage,
        "framework": implementation.framework.name,
        "dtypes": list(implementation.dtypes),
        "compute_dtype": _computes_in(implementation),
        "differentiable": bool(implementation.differentiable),
        "choices": dict(implementation.choices),
        "claimed": claimed,
        "unclaimed": [name for name in OPERATIONS if name not in claimed],
        "load_error": implementation.load_error,
    }


# --- Known failures --------------------------------------------------------------------------------------------------


def known_failures(path: Path | None) -> dict[str, dict[str, dict[str, str]]]:
    """implementation → requirement → reason and link. Raises UsageError where the file is not of that form."""
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"known failures: {path} cannot be read: {error}") from error
    for implementation, entries in found.items():
        for requirement, entry in entries.items() if isinstance(entries, dict) else [("", None)]:
            if not isinstance(entry, dict) or set(entry) != {"reason", "link"}:
                raise UsageError(
                    f'known failures: {path}: expected ["{implementation}"."requirement.id"] with a reason and a link, '
                    f"got {implementation}.{requirement} = {entry!r}"
                )
    return found


def known_of(known: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """The known failures of one implementation, which the file may call as the user did or by its own name."""
    return dict(known.get(described["source"]) or known.get(described["name"]) or {})


# --- From cases to rows ----------------------------------------------------------------------------------------------


def build(
    *,
    register: Mapping[str, Any],
    outcomes: Iterable[Mapping[str, Any]],
    missing: Mapping[tuple[str, str], int],
    known: Mapping[str, Mapping[str, Mapping[str, str]]],
    selection: Mapping[str, Any],
    seconds: float,
    incomplete_because: str | None,
) -> dict[str, Any]:
    """The report. `missing` counts, for (implementation, requirement), the cases that were selected and did not run."""
    cases: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for outcome in outcomes:
        cases.setdefault((outcome["implementation"], outcome["requirement"]), []).append(outcome)
    reports = []
    for described in register["implementations"]:
        accepted = known_of(known, described)
        rows = []
        for requirement in register["requirements"]:
            key = (described["source"], requirement["id"])
            row = _row(requirement, described, cases.get(key, []), missing.get(key, 0), accepted, selection["partial"])
            if row is not None:
                rows.append(row)
        _rule_out(rows, register["faults"])
        of_this = [case for (source, _), group in cases.items() if source == described["source"] for case in group]
        judged = _judged(described, rows, of_this, register, accepted, selection["partial"])
        order = [requirement["id"] for requirement in register["requirements"]]
        of_this.sort(key=lambda case: order.index(case["requirement"]))  # runs end in any order
        reports.append(judged | {"runs": _runs(of_this)})
    requirements, faults = register["requirements"], register["faults"]
    if selection["partial"]:  # what was not selected is not the business of this report
        selected = {row["requirement"] for report in reports for row in report["results"]}
        requirements = [requirement for requirement in requirements if requirement["id"] in selected]
        named = {fault for report in reports for row in report["results"] for fault in row["diagnosis"]}
        faults = {id: fault for id, fault in faults.items() if fault["breaks"] in selected or id in named}
    reasons = [f"{report['name']}: {reason}" for report in reports for reason in report.pop("against")]
    if not any(cases.values()):
        reasons.append("nothing was run")
    if incomplete_because:
        reasons.append(f"the run is incomplete: {incomplete_because}")
    return {
        "format": FORMAT,
        "transpec": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "complete": incomplete_because is None,
        "incomplete_because": incomplete_because,
        "machine": _machine(),
        "selection": dict(selection),
        "requirements": requirements,
        "faults": faults,
        "implementations": reports,
        "exit": {"status": 1 if reasons else 0, "reasons": reasons},
    }


def _row(
    requirement: Mapping[str, Any],
    described: Mapping[str, Any],
    cases: list[Mapping[str, Any]],
    missing: int,
    known: Mapping[str, Any],
    partial: bool,
) -> Row | None:
    counts = Counter(case["outcome"] for case in cases)
    if missing:
        counts["not run"] += missing
    if counts:
        outcome = next(word for word in SEVERITY if word in counts)
    elif partial or described["load_error"]:
        return None
    else:  # an operation it lacks, gradients of what is not differentiable, or a choice that it does not declare
        outcome = "unclaimed"
    entry = known.get(requirement["id"])
    if entry and outcome in ("failed", "errored", "crashed", "timed out"):
        outcome = "known failure"
    elif entry and outcome == "passed" and not partial:
        outcome = "unexpected pass"
    failing = [case for case in cases if case["outcome"] in BAD]
    return {
        "requirement": requirement["id"],
        "outcome": outcome,
        "counts": dict(counts),
        "worst": _worst(cases),
        "worst_by_dtype": {
            dtype: worst
            for dtype in dict.fromkeys(case["dtype"] for case in cases)
            if (worst := _worst(case for case in cases if case["dtype"] == dtype)) is not None
        },
        "seconds": round(sum(case["seconds"] for case in cases), 4),
        "smallest": _smallest(failing),
        "diagnosis": _diagnosis(failing),
        "known_failure": dict(entry) if entry else None,
        "notes": _notes(cases),
    }


def _runs(cases: list[Mapping[str, Any]]) -> list[Row]:
    """What runs have measured and drawn."""
    return [
        {key: case[key] for key in ("requirement", "case", "outcome", "scores", "plots")}
        | {"seconds": round(case["seconds"], 2)}
        for case in cases
        if case.get("scores") or case.get("plots")
    ]


def _worst(cases: Iterable[Mapping[str, Any]]) -> float | str | None:
    ratios = [case["ratio"] for case in cases if case["ratio"] is not None]
    if not ratios:
        return None
    return "inf" if "inf" in ratios else max(ratios)


def _smallest(failing: list[Mapping[str, Any]]) -> dict[str, str] | None:
    """The case to read: of the most serious outcome, which the row shows, the smallest one, if possible in float32."""
    if not failing:
        return None
    serious = min((case["outcome"] for case in failing), key=SEVERITY.index)
    order = {"float32": 0, "float64": 1}
    alike = [case for case in failing if case["outcome"] == serious]
    # A designed case has a name that says what it is for, and is the same whatever else is judged.
    designed = [case for case in alike if not case["case"].startswith("drawn")] or alike
    case = min(designed, key=lambda case: (case["size"] or 10**9, order.get(case["dtype"], 2), case["case"]))
    smallest = {key: case[key] for key in ("case", "dtype", "outcome", "message", "call", "snippet")}
    return smallest | {"case": case["case"] or "the implementation as a whole"}


def _diagnosis(failing: list[Mapping[str, Any]]) -> list[str]:
    """The faults that explain every diagnosed case; where none does, the one that explains most."""
    diagnosed = [set(case["diagnosis"]) for case in failing if case["diagnosis"]]
    if not diagnosed:
        return []
    common = set.intersection(*diagnosed)
    if common:
        return sorted(common)
    votes = Counter(fault for case in diagnosed for fault in sorted(case))
    return [votes.most_common(1)[0][0]]


def _rule_out(rows: list[Row], faults: Mapping[str, Mapping[str, Any]]) -> None:
    """Take a fault off a diagnosis that holds others where the requirement that must catch it has passed."""
    passed = {row["requirement"] for row in rows if row["outcome"] == "passed"}
    for row in rows:
        possible = [fault for fault in row["diagnosis"] if faults[fault]["breaks"] not in passed]
        row["diagnosis"] = possible or row["diagnosis"]


def _notes(cases: list[Mapping[str, Any]]) -> list[str]:
    notes = Counter(warning for case in cases for warning in case["warnings"])
    notes.update(f"unsupported: {case['message']}" for case in cases if case["outcome"] == "unsupported")
    return [f"{text} ({count} cases)" if count > 1 else text for text, count in notes.most_common(5)]


# --- From rows to verdicts -------------------------------------------------------------------------------------------


def _judged(
    described: Mapping[str, Any],
    rows: list[Row],
    cases: list[Mapping[str, Any]],
    register: Mapping[str, Any],
    known: Mapping[str, Any],
    partial: bool,
) -> dict[str, Any]:
    """An implementation with its rows, causes and verdict; `against` is what stands against exit status 0."""
    requirements = {requirement["id"]: requirement for requirement in register["requirements"]}
    unmet = [row for row in rows if row["outcome"] in BAD and requirements[row["requirement"]]["level"] != "SHOULD"]
    # An error of the suite is never excused by the level of what it was about.
    unmet += [row for row in rows if row["outcome"] == "suite error" and row not in unmet]
    accepted = [row for row in rows if row["outcome"] == "known failure"]
    surprising = [row for row in rows if row["outcome"] == "unexpected pass"]
    evidence = _evidence(described, cases, partial)
    against = [f"{row['requirement']} {row['outcome']}" for row in unmet if row["outcome"] != "not run"]
    left = sum(row["outcome"] == "not run" for row in unmet)
    against += [f"{number_of(left, 'requirement')} not run"] if left else []
    against += [f"{row['requirement']} passes, but is a known failure: take it off the list" for row in surprising]
    unknown = [] if partial else [id for id in known if id not in requirements]
    against += [f"the known failure {id} is no requirement{_meant(id, requirements)}" for id in unknown]
    unproved = [
        f"{operation} shows nothing in {', '.join(blind)}: no case passed that can see a mistake"
        for operation, by_dtype in evidence.items()
        if (blind := [dtype for dtype, kind in by_dtype.items() if kind == "none"])
        and not _is_unmet(operation, [*unmet, *accepted], requirements)
    ]
    unproved += [
        f"gradients of {operation} show nothing: all {number_of(count, 'case')} unsupported, and yet DIFFERENTIABLE is declared"
        for operation, count in _without_gradients(cases).items()
    ]
    if described["load_error"]:
        verdict, reasons = "no verdict", [f"does not load: {described['load_error']}"]
    elif not described["claimed"]:
        verdict, reasons = "no verdict", ["claims no operation: it has no callable attribute named after one"]
    elif len(unmet) > left:
        verdict, reasons = "does not conform", [f"{number_of(len(unmet) - left, 'requirement')} not met"]
        reasons += [f"{number_of(left, 'requirement')} not run"] if left else []
    elif left:
        verdict, reasons = "no verdict", [f"{number_of(left, 'requirement')} not run"]
    elif not any(case["outcome"] == "passed" and case["operation"] for case in cases) and not accepted:
        verdict, reasons = "no verdict", ["nothing passed"]
    elif unproved:
        verdict, reasons = "no verdict", unproved
    elif accepted:
        verdict, reasons = "conforms except known failures", [number_of(len(accepted), "known failure")]
    else:
        verdict, reasons = "conforms", []
    if verdict == "no verdict":
        against += [reason for reason in reasons if reason not in against]
    if surprising:
        reasons = [*reasons, f"{number_of(len(surprising), 'known failure')} on the list passed: take it off"]
    return {
        **described,
        "verdict": verdict,
        "verdict_reasons": reasons,
        "evidence": evidence,
        "causes": _causes(rows, cases),
        "results": rows,
        "against": against,
    }


def _meant(id: str, requirements: Iterable[str]) -> str:
    near = difflib.get_close_matches(id, requirements, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _without_gradients(cases: list[Mapping[str, Any]]) -> dict[str, int]:
    """The operations whose gradients were asked for and never given, and in how many cases."""
    asked = [case for case in cases if case["requirement"].endswith("gradients")]
    given = {case["operation"] for case in asked if case["outcome"] != "unsupported"}
    return dict(Counter(case["operation"] for case in asked if case["operation"] not in given))


def _is_unmet(operation: str, rows: list[Row], requirements: Mapping[str, Any]) -> bool:
    return any(operation in requirements[row["requirement"]]["operations"] for row in rows)


def _evidence(described: Mapping[str, Any], cases: list[Mapping[str, Any]], partial: bool) -> dict[str, dict[str, str]]:
    """For each claimed operation whose equation was selected and each dtype: "full", "limited", "none", "not judged".

    The last where it is declared and has no case: in float16 there are none of whole models, so none of its verdicts is
    of them, and the report says so.
    """
    of_equations = [case for case in cases if case["requirement"].endswith("equation") and case["operation"]]
    computes, _, only_in = (described["compute_dtype"] or "").partition(" in ")
    narrow = {"float16", "bfloat16"} & {computes}
    found: dict[str, dict[str, str]] = {}
    for operation in dict.fromkeys(case["operation"] for case in of_equations):
        of_this = [case for case in of_equations if case["operation"] == operation]
        exact = any(case["dtype"] == "exact" for case in of_this)
        for dtype in ["exact"] if exact else dict.fromkeys(case["dtype"] for case in of_this):
            seen = any(case["dtype"] == dtype and case["outcome"] == "passed" and case["evidence"] for case in of_this)
            limited = narrow and (not only_in or operation in only_in.split(", "))
            found.setdefault(operation, {})[dtype] = ("limited" if limited else "full") if seen else "none"
        if not exact and not partial:  # of a part of the cases nobody expects every dtype
            found[operation].update(
                (dtype, "not judged") for dtype in described["dtypes"] if dtype not in found[operation]
            )
    return found


def _causes(rows: list[Row], cases: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry a cause: the fault that explains most failing requirements, then what explains most of the rest."""
    waiting = {row["requirement"]: set(row["diagnosis"]) for row in rows if row["diagnosis"]}
    causes = []
    while waiting:
        votes = Counter(fault for faults in waiting.values() for fault in sorted(faults))
        fault = votes.most_common(1)[0][0]
        explained = [requirement for requirement, faults in waiting.items() if fault in faults]
        count = sum(case["outcome"] in BAD for case in cases if case["requirement"] in explained)
        causes.append({"fault": fault, "requirements": explained, "cases": count})
        waiting = {requirement: faults for requirement, faults in waiting.items() if requirement not in explained}
    return causes


def _machine() -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "packages": versions,
    }
