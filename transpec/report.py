"""Reports: one structure, shown as JSON, as a terminal table, as Markdown and as a page.

`schema/report.json` says what a report is. Everything here reads a report and adds nothing to it, so that a report.json
kept from last year is shown like one made now. Outcomes are never merged and never become a percentage.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shlex
import shutil
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

Report = Mapping[str, Any]
Ratio = float | str | None

# Glyphs stand beside colours and words, never instead of words.
OUTCOMES = {
    "passed": "✓",
    "failed": "✗",
    "errored": "!",
    "crashed": "†",
    "timed out": "⋯",
    "unsupported": "–",
    "known failure": "✗",
    "unexpected pass": "?",
    "suite error": "‼",
    "not run": "·",
    "unclaimed": "○",
}
MOST_REASONS = 8  # against exit status 0 that a terminal lists; report.json has all
FILES = ("report.json", "report.md", "index.html")

_HERE = Path(__file__).resolve().parent


class ReportError(ValueError):
    """A report is not what the schema says; the message names the place."""


# --- The structure ---------------------------------------------------------------------------------------------------


@functools.cache
def _schema_text() -> str:
    return (_HERE / "schema" / "report.json").read_text(encoding="utf-8")


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report."""
    parsed: dict[str, Any] = json.loads(_schema_text())
    return parsed


def validate(report: Report) -> None:
    """Raise ReportError where a report is not what the schema says, or names a requirement or fault it lacks."""
    rules = schema()
    problem = next(_problems(report, rules, "report", rules), None) or next(_dangling(report), None)
    if problem:
        raise ReportError(problem)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    # JSON has no NaN and no infinity, which a JSON Schema cannot say.
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _problems(value: Any, rule: dict[str, Any], place: str, root: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a value, by the few words of JSON Schema that our own schema uses: no run needs a library."""
    if "$ref" in rule:
        yield from _problems(value, root["$defs"][rule["$ref"].rpartition("/")[2]], place, root)
    if "anyOf" in rule and all(any(_problems(value, option, place, root)) for option in rule["anyOf"]):
        yield from _problems(value, rule["anyOf"][-1], place, root)
    if "type" in rule and not _TYPES[rule["type"]](value):
        yield f"{place} should be of type {rule['type']}, is {value!r:.80}"
        return
    if "const" in rule and value != rule["const"]:
        yield f"{place} should be {rule['const']!r}, is {value!r:.80}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{place} should be one of {', '.join(rule['enum'])}, is {value!r:.80}"
    if "minimum" in rule and value < rule["minimum"]:
        yield f"{place} should be at least {rule['minimum']}, is {value}"
    if "minLength" in rule and len(value) < rule["minLength"]:
        yield f"{place} should not be empty"
    if "pattern" in rule and not re.search(rule["pattern"], value):
        yield f"{place} should match {rule['pattern']}, is {value!r:.80}"
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _problems(item, rule.get("items", {}), f"{place}[{index}]", root)
    if isinstance(value, dict):
        yield from _problems_inside(value, rule, place, root)


def _problems_inside(value: dict[str, Any], rule: dict[str, Any], place: str, root: dict[str, Any]) -> Iterator[str]:
    known, others = rule.get("properties", {}), rule.get("additionalProperties", {})
    for key in rule.get("required", ()):
        if key not in value:
            yield f"{place} lacks {key!r}"
    names = {"type": "string"} | rule.get("propertyNames", {})
    for key, item in value.items():
        yield from _problems(key, names, f"the key {key!r} of {place}", root)
        if key not in known and others is False:
            yield f"{place} has an unknown key {key!r}"
        else:
            yield from _problems(item, known.get(key, others), f"{place}.{key}", root)


def _dangling(report: Report) -> Iterator[str]:
    """Names that lead nowhere, and results that are given twice."""
    requirements = {requirement["id"] for requirement in report["requirements"]}
    for index, implementation in enumerate(report["implementations"]):
        place = f"report.implementations[{index}]"
        results = Counter(result["requirement"] for result in implementation["results"])
        suspected = [fault for result in implementation["results"] for fault in result["diagnosis"]]
        suspected += [cause["fault"] for cause in implementation["causes"]]
        yield from (f"{place} has {n} results for {name!r}" for name, n in results.items() if n > 1)
        yield from (
            f"{place} has a result for an unknown requirement {name!r}" for name in results.keys() - requirements
        )
        yield from (f"{place} names an unknown fault {name!r}" for name in suspected if name not in report["faults"])


# --- Joining requirements and results --------------------------------------------------------------------------------


_NOT_RUN: dict[str, Any] = {
    "outcome": "not run",
    "counts": {},
    "worst": None,
    "worst_by_dtype": {},
    "seconds": 0.0,
    "smallest": None,
    "diagnosis": [],
    "known_failure": None,
    "notes": [],
}


class Column:
    """One implementation of a report, asked by requirement."""

    def __init__(self, implementation: Mapping[str, Any], label: str, index: int) -> None:
        self.data = implementation
        self.label = label
        self.index = index
        self._results = {result["requirement"]: result for result in implementation["results"]}

    def result(self, requirement: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result for a requirement; *not run* where the report has none, as after a crash of the run."""
        found: Mapping[str, Any] = self._results.get(requirement["id"], _NOT_RUN)
        return found

    def plain(self, requirement: Mapping[str, Any]) -> bool:
        """Whether nothing is left to say: unclaimed, or passed with every case passed."""
        result = self.result(requirement)
        every_case = set(result["counts"]) <= {"passed"}
        return result["outcome"] == "unclaimed" or (result["outcome"] == "passed" and every_case)

    def tally(self, requirements: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """How many requirements had which outcome, in the order of OUTCOMES, without those that none had."""
        counts = Counter(self.result(requirement)["outcome"] for requirement in requirements)
        return {outcome: counts[outcome] for outcome in OUTCOMES if counts[outcome]}

    def worst(self, requirements: Sequence[Mapping[str, Any]], only: str | None = None) -> Ratio:
        """The largest error / budget, over all results or only those with one outcome."""
        results = [self.result(requirement) for requirement in requirements]
        ratios = [result["worst"] for result in results if only in (None, result["outcome"])]
        return max(ratios, key=magnitude, default=None)

    @property
    def runs(self) -> list[Mapping[str, Any]]:
        """What runs that train a model have measured and drawn; none in a report of an earlier version."""
        return list(self.data.get("runs", ()))

    @property
    def weak_evidence(self) -> dict[str, list[str]]:
        """What is not fully seen, the operations and dtypes by a word for how far they are."""
        grades: dict[str, list[str]] = {}
        words = {"limited": "limited evidence", "none": "no evidence", "not judged": "not judged"}
        for grade, word in words.items():
            for operation, by_dtype in self.data["evidence"].items():
                dtypes = [dtype for dtype, found in by_dtype.items() if found == grade]
                if dtypes:
                    grades.setdefault(word, []).append(f"{operation} in {', '.join(dtypes)}")
        return grades


class View:
    """A report with its requirements and results joined: what every rendering asks of it."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.requirements: list[Mapping[str, Any]] = report["requirements"]
        names = Counter(implementation["name"] for implementation in report["implementations"])
        self.columns = [
            Column(one, one["name"] if names[one["name"]] == 1 else f"{one['name']} ({one['source']})", index)
            for index, one in enumerate(report["implementations"])
        ]

    def chapters(self, profile: str | None = None) -> dict[str, list[Mapping[str, Any]]]:
        """Requirements by chapter, in the order of the specification."""
        grouped: dict[str, list[Mapping[str, Any]]] = {}
        for requirement in self.requirements:
            if profile in (None, requirement["profile"]):
                grouped.setdefault(requirement["chapter"], []).append(requirement)
        return grouped

    @property
    def profiles(self) -> list[str]:
        """Profiles in the order of the specification."""
        return list(dict.fromkeys(requirement["profile"] for requirement in self.requirements))

    @property
    def outcomes(self) -> list[str]:
        """The outcomes that occur."""
        seen = {outcome for column in self.columns for outcome in column.tally(self.requirements)}
        return [outcome for outcome in OUTCOMES if outcome in seen]

    @property
    def faults(self) -> dict[str, dict[str, Any]]:
        """The catalogue by operation."""
        grouped: dict[str, dict[str, Any]] = {}
        for name, fault in self.report["faults"].items():
            grouped.setdefault(fault["operation"], {})[name] = fault
        return grouped

    def unclaimed(self, requirements: list[Mapping[str, Any]]) -> bool:
        """Whether no implementation has anything to do with these requirements."""
        return all(set(column.tally(requirements)) <= {"unclaimed"} for column in self.columns)

    @property
    def named(self) -> dict[str, Any]:
        """The faults that some result looks like."""
        return {name: fault for name, fault in self.report["faults"].items() if self.suspects(name)}

    def suspects(self, fault: str) -> list[Column]:
        """The implementations that behave like a fault."""
        return [
            column
            for column in self.columns
            if any(fault in result["diagnosis"] for result in column.data["results"])
            or any(fault == cause["fault"] for cause in column.data["causes"])
        ]


# --- Words -----------------------------------------------------------------------------------------------------------


def magnitude(ratio: Ratio) -> float:
    """A ratio as a number to sort by; nothing measured comes below everything."""
    return -1.0 if ratio is None else float(ratio)


def budgets(ratio: Ratio) -> str:
    """A ratio to read, never rounded across the limit: 1.004 is not shown as 1."""
    if ratio is None or ratio == "inf":
        return "–" if ratio is None else "∞"
    number = float(ratio)
    if 99.5 <= number < 999.5:
        return f"{number:.0f}"
    texts = (f"{number:.{digits}g}" for digits in range(2, 18))
    text = next(text for text in texts if (float(text) > 1) == (number > 1))
    return re.sub(r"e([+-])0*", lambda found: "e" + found[1].strip("+"), text)


def visible(text: str) -> str:
    """Text with tabs expanded and control characters spelled out, so that no message can steer a terminal or hide."""
    if text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").expandtabs(4)
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in lines)


def duration(seconds: float) -> str:
    """Seconds to read."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def moment(created: str) -> str:
    """An ISO 8601 moment to read."""
    with suppress(ValueError):
        return re.sub(r"^0", "", datetime.fromisoformat(created).strftime("%d %B %Y, %H:%M %Z")).strip()
    return created


def number_of(count: int, noun: str) -> str:
    """A count and its noun: 1 case, 2 cases."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def outcome_words(outcome: str) -> str:
    """The words for an outcome. A known failure is not forgiven: it does not conform."""
    return "does not conform (known)" if outcome == "known failure" else outcome


def cases_words(counts: Mapping[str, int]) -> str:
    """Cases per outcome in words: `33 cases` where all passed, else `30 passed, 2 failed, 1 unsupported`."""
    if set(counts) <= {"passed"}:
        return number_of(counts["passed"], "case") if counts else ""
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts.get(outcome))


def show_command(requirement: str, source: str, case: str) -> str:
    """The command that shows one case."""
    return shlex.join(["transpec", "show", requirement, "--impl", source, "--case", case])


def selection_words(report: Report) -> str:
    """What was selected and what of it ran."""
    selection = report["selection"]
    given = f" by {shlex.join(selection['arguments'])}" if selection["arguments"] else ""
    return f"{number_of(selection['selected'], 'test')} selected{given}, {selection['ran']} ran"


def declared_words(implementation: Mapping[str, Any]) -> str:
    """Framework, dtypes and what else an implementation declares of itself."""
    words = [f"{implementation['framework']}; {', '.join(implementation['dtypes']) or 'no dtype'}"]
    if implementation["compute_dtype"]:
        words.append(f"computes in {implementation['compute_dtype']}")
    if implementation["differentiable"]:
        words.append("differentiable")
    return "; ".join(words + [f"{name}: {choice}" for name, choice in implementation["choices"].items()])


def claims_words(implementation: Mapping[str, Any]) -> str:
    """How much of the specification an implementation claims."""
    claimed, unclaimed = len(implementation["claimed"]), len(implementation["unclaimed"])
    return f"claims {claimed} of {number_of(claimed + unclaimed, 'operation')}"


def titled(implementation: Mapping[str, Any]) -> str:
    """Name and version."""
    return " ".join(filter(None, [implementation["name"], implementation["version"]]))


# --- Terminal --------------------------------------------------------------------------------------------------------


def table(report: Report, width: int = 100) -> str:
    """The report for a terminal: verdicts and causes first, then what did not plainly pass, then chapters.

    Of several implementations a summary comes last, where it is still on the screen.
    No line is wider than `width`, or than 80 if that is more, but for a command to copy that holds one longer word.
    """
    view, width = View(report), max(width, 80)
    blocks = [_warning(report, width)]
    blocks += [_verdict(view, column, width) for column in view.columns]
    for column in view.columns:
        blocks += [_findings(view, column, width), _scores(column, width), _by_chapter(view, column, width)]
    if len(view.columns) > 1:
        blocks.append(_summary(view, width))
    return "\n\n".join([block for block in blocks if block] + [_closing(report, width)]) + "\n"


def _wrap(text: str, width: int, indent: int = 0, lines: int | None = None) -> list[str]:
    """Lines of at most `width`, continued two columns deeper; past `lines` of them an ellipsis."""
    options: dict[str, Any] = {"break_on_hyphens": False, "max_lines": lines, "placeholder": " …"}
    margin = " " * indent
    return textwrap.wrap(visible(text), width, initial_indent=margin, subsequent_indent=margin + "  ", **options)


def _grid(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows as a table, the first `left` columns to the left, the others to the right, one rule under the head."""
    from tabulate import tabulate

    # As a first row, headers take no more room than they need; tabulate's own are two columns wider.
    cells = [[visible(cell) for cell in row] for row in [headers, *rows]]
    sides = ["left"] * left + ["right"] * (len(headers) - left)
    lines = tabulate(cells, tablefmt="plain", colalign=sides, disable_numparse=True).splitlines()
    lines.insert(max(header.count("\n") for header in headers) + 1, "-" * max(map(len, lines)))
    return "\n".join(line.rstrip() for line in lines)


def _packed(first: str, names: Sequence[str], columns: Mapping[str, Sequence[str]], width: int) -> str:
    """A table of named rows; columns that do not fit beside the others go into a table below."""
    titles, parts = list(columns), []
    first, *names = ("\n".join(_wrap(name, width // 3)) for name in [first, *names])
    while titles and names:
        for fitting in range(len(titles), 0, -1):
            taken = titles[:fitting]
            rows = [[name, *(columns[title][i] for title in taken)] for i, name in enumerate(names)]
            drawn = _grid([first, *(title.replace(" ", "\n") for title in taken)], rows)
            if max(map(len, drawn.splitlines())) <= width:
                break
        parts.append(drawn)
        titles = titles[fitting:]
    return "\n\n".join(parts)


def _warning(report: Report, width: int) -> str:
    """What a reader must know before any verdict."""
    lines = []
    if not report["complete"]:
        reason = report["incomplete_because"] or "the run did not end"
        bar = "!" * width
        lines += [bar, *_wrap(f"INCOMPLETE: {reason}. What did not run is not known to conform.", width), bar]
    if report["selection"]["partial"]:
        lines += _wrap(f"partial: {selection_words(report)}", width)
    return "\n".join(lines)


def _summary(view: View, width: int) -> str:
    tallies = [column.tally(view.requirements) for column in view.columns]
    columns = {o: [str(tally.get(o, 0)) for tally in tallies] for o in view.outcomes}
    columns["verdict"] = ["\n".join(_wrap(column.data["verdict"], 18)) for column in view.columns]
    return _packed("requirements", [column.label for column in view.columns], columns, width)


def _verdict(view: View, column: Column, width: int) -> str:
    one = column.data
    source = "" if one["source"] in (one["name"], "") else f" ({one['source']})"
    partial = ", partial" if view.report["selection"]["partial"] else ""
    incomplete = "" if view.report["complete"] else ", INCOMPLETE"
    lines = _wrap(f"{titled(one)}{source}: {one['verdict']}{partial}{incomplete}", width)
    lines += _wrap(f"{declared_words(one)}; {claims_words(one)}", width, 2)
    if one["load_error"]:
        lines.append("  could not be loaded:")
        for line in one["load_error"].splitlines()[-6:]:
            lines += _wrap(line, width, 4, lines=3)
    else:
        for reason in one["verdict_reasons"]:
            lines += _wrap(f"because {reason}", width, 2)
    for grade, where in column.weak_evidence.items():
        lines += _wrap(f"{grade}: {'; '.join(where)}", width, 2)
    for cause in one["causes"]:
        explained = f"{number_of(len(cause['requirements']), 'requirement')}, {number_of(cause['cases'], 'case')}"
        lines += _wrap(f"behaves like {_likeness(view, cause['fault'])}; explains {explained}", width, 2)
    return "\n".join(lines)


def _likeness(view: View, name: str) -> str:
    fault = view.report["faults"].get(name)
    if not fault:
        return name
    return f"{name}: {fault['text']}" + (f" (as in {fault['seen']})" if fault["seen"] else "")


def _findings(view: View, column: Column, width: int) -> str:
    """A row for each requirement that is not plainly passed or unclaimed, followed by what was found."""
    unlike = [requirement for requirement in view.requirements if not column.plain(requirement)]
    found = [requirement for requirement in unlike if column.result(requirement)["outcome"] != "not run"]
    if not unlike or column.data["load_error"]:
        return ""
    not_run = [f"not run: {number_of(len(unlike) - len(found), 'requirement')}"] if len(found) < len(unlike) else []
    if not found:
        return not_run[0]
    rows = [_row(column, requirement, width) for requirement in found]
    title = ["requirement" if len(view.columns) == 1 else "\n".join(_wrap(column.label, width - 52))]
    lines = _grid([*title, "level", "outcome", "cases\npassed", "worst\nbudgets"], rows, left=3).splitlines()
    height = [max(cell.count("\n") + 1 for cell in row) for row in rows]
    drawn = lines[: len(lines) - sum(height)]
    told: set[str] = set()
    messages: dict[str, str] = {}
    for requirement, tall in zip(found, height, strict=True):
        start = len(lines) - sum(height)
        cause = next((c["fault"] for c in column.data["causes"] if requirement["id"] in c["requirements"]), None)
        # Failures with one cause are told once; the others of them only say so.
        again = [f"  behaves like {cause}, as above"] if cause in told else None
        drawn += lines[start : start + tall] + (again or _details(view, column, requirement, width, messages))
        height = height[1:]
        told |= {cause} if cause else set()
    return "\n".join(drawn + not_run)


def _row(column: Column, requirement: Mapping[str, Any], width: int) -> list[str]:
    result = column.result(requirement)
    total = sum(result["counts"].values())
    return [
        "\n".join(_wrap(requirement["id"], width - 52)),
        requirement["level"],
        outcome_words(result["outcome"]),
        f"{result['counts'].get('passed', 0)}/{total}" if total else "–",
        budgets(result["worst"]),
    ]


def _details(view: View, column: Column, requirement: Mapping[str, Any], width: int, told: dict[str, str]) -> list[str]:
    """What was found; a message or a note that stood in an earlier row, which `told` leads to, is not said again."""
    result, lines = column.result(requirement), []
    smallest = result["smallest"]
    first = told.setdefault(smallest["message"], requirement["id"]) if smallest else requirement["id"]
    if first != requirement["id"]:
        lines += _wrap(f"the same as in {first}", width, 2)
    elif smallest:
        in_dtype = f"in {smallest['dtype']}: " if smallest["dtype"] else ""
        for line in (in_dtype + smallest["message"]).splitlines()[:6]:
            lines += _wrap(line, width, 2, lines=6)
        lines += _wrap(smallest["call"], width, 2, lines=6)
    for index, fault in enumerate(result["diagnosis"]):
        lines += _wrap(f"{'or' if index else 'behaves'} like {_likeness(view, fault)}", width, 2)
    if result["known_failure"]:
        lines += _wrap("known: {reason} ({link})".format(**result["known_failure"]), width, 2)
    for note in result["notes"]:
        if told.setdefault(_without_count(note), requirement["id"]) == requirement["id"]:
            lines += _wrap(f"note: {note}", width, 2, lines=3)
    if smallest and first == requirement["id"]:
        lines += _command(requirement["id"], column.data["source"], result["smallest"]["case"], width)
    return lines


def score_words(value: float | None, unit: str) -> str:
    """A score in four digits with its unit; counts in full up to 1e9, for nobody reads powers of ten beside them."""
    if value is None:
        return "not finite"
    is_count = abs(value) >= 1e4 or float(value).is_integer()
    number = f"{value:,.0f}" if is_count and abs(value) < 1e9 else f"{value:.4g}"
    return f"{number} {unit}" if unit else number


def baseline_words(score: Mapping[str, Any]) -> str:
    """A baseline and on which side of it the score should be; of what is only told, nothing."""
    if score["baseline"] == score["value"]:
        return "–"
    side = ">" if score.get("higher_is_better", True) else "<"
    return f"{side} {score_words(score['baseline'], score['unit'])}"


def _scores(column: Column, width: int) -> str:
    """Every number of every run beside its baseline."""
    rows = []
    for run in column.runs:
        for score in run["scores"]:
            value, baseline = score_words(score["value"], score["unit"]), baseline_words(score)
            name = "\n".join(_wrap(f"{run['requirement']}: {score['name']}", width - 62))
            rows.append([name, value, baseline, "\n".join(_wrap(score["baseline_name"], 16))])
    return _grid(["run", "score", "should be", "of"], rows, left=1) if rows else ""


def _without_count(note: str) -> str:
    return re.sub(r" \(\d+ cases\)$", "", note)


def _command(requirement: str, source: str, case: str, width: int) -> list[str]:
    """The command, broken only where a shell reads on, so that it can be copied whole."""
    command = visible(show_command(requirement, source, case))
    if len(command) + 19 <= width:
        return [f"  see it yourself: {command}"]
    parts = [["transpec", "show", requirement], ["--impl", source], ["--case", case]]
    return ["  see it yourself:", *" \\\n".join(f"    {visible(shlex.join(part))}" for part in parts).splitlines()]


def _by_chapter(view: View, column: Column, width: int) -> str:
    """Counts of requirements per outcome, and how near the limit, by chapter."""
    if column.data["load_error"]:
        return ""
    chapters = view.chapters()
    unclaimed = {name: its for name, its in chapters.items() if set(column.tally(its)) <= {"unclaimed"}}
    shown = {name: its for name, its in chapters.items() if name not in unclaimed}
    outcomes = [o for o in OUTCOMES if any(o in column.tally(its) for its in shown.values())]
    columns = {o: [str(column.tally(its).get(o, "")) for its in shown.values()] for o in outcomes}
    columns["worst passed"] = [budgets(column.worst(its, only="passed")) for its in shown.values()]
    columns["worst overall"] = [budgets(column.worst(its)) for its in shown.values()]
    title = "chapter" if len(view.columns) == 1 else column.label
    lines = [_packed(title, list(shown), columns, width)] if shown else []
    if unclaimed:
        words = ", ".join(f"{name} ({len(its)})" for name, its in unclaimed.items())
        lines += ["\n".join(_wrap(f"unclaimed throughout: {words}", width))]
    return "\n".join(lines)


def _closing(report: Report, width: int) -> str:
    if not report["implementations"]:
        return "\n".join(_wrap("nothing was judged: no implementation", width) + _exit(report, width))
    return "\n".join(_exit(report, width))


def _exit(report: Report, width: int) -> list[str]:
    status, reasons = report["exit"]["status"], report["exit"]["reasons"]
    if len(reasons) < 2:
        return _wrap(": ".join([f"exit {status}", *reasons]), width)
    more = [f"  and {len(reasons) - MOST_REASONS} more"] if len(reasons) > MOST_REASONS else []
    return [f"exit {status}:", *(line for reason in reasons[:MOST_REASONS] for line in _wrap(reason, width, 2)), *more]


# --- Markdown and HTML -----------------------------------------------------------------------------------------------

_SPANS = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|(?P<url>https?://[^\s<>\"'`|()\[\]\\]*[^\s<>\"'`|()\[\]\\.,;:])"
    r"|(?<![\w./-])(?P<issue>[A-Za-z0-9][\w-]*/[\w.-]+#\d+)\b"
)


def _spans(text: str) -> Iterator[tuple[str, str]]:
    """Running text in pieces: ("text" | "code" | "url" | "issue", piece)."""
    end = 0
    for found in _SPANS.finditer(text):
        yield "text", text[end : found.start()]
        yield found.lastgroup or "text", found[found.lastgroup or 0]
        end = found.end()
    yield "text", text[end:]


def _address(kind: str, piece: str) -> str:
    return piece if kind == "url" else "https://github.com/" + piece.replace("#", "/issues/")


def markdown(report: Report) -> str:
    """The report as Markdown that reads well on GitHub."""
    return str(_template("report.md.j2").render(view=View(report), report=report))


def html(report: Report) -> str:
    """The report as one page that loads nothing and needs no script."""
    return str(_template("index.html.j2").render(view=View(report), report=report))


@functools.cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from transpec.charts import svg

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        finalize=_html_value if name.endswith(".html.j2") else _markdown_value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    words = (
        baseline_words,
        budgets,
        cases_words,
        claims_words,
        declared_words,
        duration,
        moment,
        outcome_words,
        score_words,
        titled,
    )
    own: dict[str, Callable[..., Any]] = {"breakable": _breakable, "position": _position, "slug": _slug}
    if name.endswith(".html.j2"):
        own |= {"prose": _html_prose, "svg": svg}
    else:
        own |= {"prose": _markdown_prose, "code": _code, "fence": _fence, "markup_line": _markup_line}
    environment.filters.update({word.__name__.removesuffix("_words"): word for word in words} | own)
    environment.globals |= {"glyphs": OUTCOMES, "number_of": number_of}
    environment.globals |= {"selection_words": selection_words, "show_command": show_command}
    return environment.get_template(name)


def _html_value(value: Any) -> Any:
    """What a page's template prints, before it is escaped."""
    return value if hasattr(value, "__html__") else visible(str(value))


def _markdown_value(value: Any) -> Any:
    """What the Markdown's template prints: escaped, then called safe, so that the escaping for HTML leaves it alone."""
    from markupsafe import Markup

    return value if hasattr(value, "__html__") else Markup(_markdown_text(str(value)))


def _html_prose(text: str) -> Markup:
    """Running text with its `code`, addresses and GitHub issues marked."""
    from markupsafe import Markup

    forms = {"text": "{0}", "code": "<code>{0}</code>"}
    link = '<a href="{1}" rel="noopener noreferrer">{0}</a>'
    pieces = _spans(visible(text))
    return Markup("").join(Markup(forms.get(kind, link)).format(piece, _address(kind, piece)) for kind, piece in pieces)


def _breakable(text: str) -> Markup:
    """A name that may be broken after its underscores."""
    from markupsafe import Markup

    return Markup("_<wbr>").join(visible(text).split("_"))


def _slug(text: str) -> str:
    return text.replace(" ", "-")


def _position(ratio: Ratio) -> float:
    """Where a ratio stands on the page's scale, in per cent: logarithmic from 1e-3 to 1e6, the limit at a third."""
    number = magnitude(ratio)
    return 100 * (min(max(math.log10(number), -3), 6) + 3) / 9 if number > 0 else 0.0


def _markdown_text(text: str) -> str:
    """Text on one line, with everything escaped that GitHub would take for markup."""
    return _markdown_escaped(re.sub(r"\s+", " ", visible(text)))


def _markdown_escaped(text: str) -> str:
    return re.sub(r"[\\`*\[\]<>|~$#&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", text)


def _markdown_prose(text: str) -> Markup:
    """Running text with its `code`, addresses and GitHub issues marked."""
    from markupsafe import Markup

    def spoken(kind: str, piece: str) -> str:
        if kind == "code":
            return _code(piece)
        return _markdown_escaped(piece) if kind == "text" else f"[{_markdown_escaped(piece)}]({_address(kind, piece)})"

    return Markup("".join(spoken(kind, piece) for kind, piece in _spans(re.sub(r"\s+", " ", visible(text)))))


def _code(text: str) -> Markup:
    """Inline code, between more backticks than it holds; a pipe is escaped, since the code may stand in a table."""
    from markupsafe import Markup

    line = " ".join(visible(text).split()).replace("|", "\\|")
    ticks = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return Markup(f"{ticks}{space}{line}{space}{ticks}")


def _markup_line(text: str) -> Markup:
    """Text inside an HTML block of Markdown, where backslashes mean nothing."""
    from markupsafe import escape

    return escape(re.sub(r"\s+", " ", visible(text)))


def _fence(text: str, language: str = "") -> Markup:
    """A block of code, between more backticks than it holds."""
    from markupsafe import Markup

    block = visible(text).strip("\n")
    ticks = "`" * max(max(map(len, re.findall("`+", block)), default=0) + 1, 3)
    return Markup(f"{ticks}{language}\n{block}\n{ticks}")


# --- Files -----------------------------------------------------------------------------------------------------------


def write(report: Report, directory: Path) -> list[Path]:
    """Write report.json, report.md and index.html, all three or none, and return where they are.

    Other files of the directory are left alone. An interrupt, an error or a full disk leaves the previous three.
    """
    validate(report)
    as_json = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    texts = dict(zip(FILES, (as_json, markdown(report), html(report)), strict=True))
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    # Inside the directory, because its parent may be another file system, and renaming does not cross one.
    with tempfile.TemporaryDirectory(prefix=".report-", dir=directory) as fresh:
        for name, text in texts.items():
            _write_through(Path(fresh, name), text)
        with _alone_in(directory):
            _exchange(Path(fresh), directory)
    return [directory / name for name in FILES]


def _write_through(path: Path, text: str) -> None:
    """Write a file and wait until the disk has it; a full disk must speak here, before anything is replaced."""
    with path.open("wb") as file:
        # Half a surrogate pair, which some message may hold, becomes its escape: in JSON that is the very same string.
        file.write(text.encode("utf-8", "backslashreplace"))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep others from replacing the same report meanwhile, where the system can: a mixed set belongs to no run."""
    if os.name == "nt":
        yield
        return
    import fcntl

    handle = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks; a report without one beats none
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(fresh: Path, directory: Path) -> None:
    """Rename the fresh files into the directory; where that is cut short, the previous ones come back."""
    previous = fresh / "previous"
    previous.mkdir()
    kept = [name for name in FILES if (directory / name).exists()]
    for name in kept:
        shutil.copy2(directory / name, previous / name)
    try:
        for name in FILES:
            os.replace(fresh / name, directory / name)
    except BaseException:
        for name in FILES:
            if name in kept:
                os.replace(previous / name, directory / name)
            else:
                (directory / name).unlink(missing_ok=True)
        raise
