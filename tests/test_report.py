"""Reports: what they say, that they say all of it, and that no string and no interrupt can spoil them."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transpec import report as reports

HOSTILE = "<script>alert(1)</script> | `x` *y* _z_ [a](javascript:b) {{ 7*7 }} \x1b[2J\x00\u202e & \"'"
EMPTY: dict[str, Any] = {
    "format": "transpec-report/1",
    "transpec": "0.1.0",
    "created": "2026-11-23T20:00:00+00:00",
    "seconds": 12.3,
    "complete": True,
    "incomplete_because": None,
    "machine": {"python": "3.11.7", "platform": "Linux", "processor": "", "cores": 2, "packages": {"torch": "2.13.0"}},
    "selection": {"partial": False, "arguments": [], "selected": 0, "ran": 0},
    "requirements": [],
    "faults": {},
    "implementations": [],
    "exit": {"status": 1, "reasons": ["nothing was run"]},
}
FAULT = {
    "text": "scores are not divided by the root of the key size",
    "effect": "softmax saturates",
    "seen": "delzac/cntkx#10",
    "operation": "attention_weights",
    "breaks": "attention.r0",
}
SMALLEST = {
    "case": "one-hot",
    "dtype": "float32",
    "outcome": "failed",
    "message": "output[0, 0] = 0.7311, should be 0.6225 (budget 2.4e-07)",
    "call": "scaled_dot_product_attention(query=[[1., 0.]])",
    "snippet": "import numpy as np\nprint(1)\n",
}


def requirement(number: int, **other: Any) -> dict[str, Any]:
    """A requirement attention.r<number>, different where said."""
    one: dict[str, Any] = {"id": f"attention.r{number}", "level": "MUST", "chapter": "attention", "profile": "Core"}
    one |= {"source": "Vaswani et al. 2017, equation 1", "text": f"Attention does right in point {number}."}
    return one | {"operations": ["attention"], "choices": [], "catches": ["attention.scale-missing"]} | other


def result(number: int, outcome: str = "passed", **other: Any) -> dict[str, Any]:
    """A result for attention.r<number>, different where said."""
    one: dict[str, Any] = {
        "requirement": f"attention.r{number}",
        "outcome": outcome,
        "counts": {outcome: 3},
        "worst": 0.31,
    }
    one |= {"worst_by_dtype": {"float64": 0.31, "float32": 0.2}, "seconds": 0.5, "smallest": None}
    return one | {"diagnosis": [], "known_failure": None, "notes": []} | other


def implementation(*results: dict[str, Any], **other: Any) -> dict[str, Any]:
    """An implementation with these results, different where said."""
    one: dict[str, Any] = {"name": "my_kernel", "source": "my_kernel.py", "version": "0.3", "homepage": None}
    one |= {"framework": "torch"}
    one |= {"dtypes": ["float64", "float32"], "compute_dtype": None, "differentiable": True, "choices": {}}
    one |= {"claimed": ["attention"], "unclaimed": [], "load_error": None, "verdict": "conforms"}
    return one | {"verdict_reasons": [], "evidence": {}, "causes": [], "results": list(results), "runs": []} | other


def report(*implementations: dict[str, Any], **other: Any) -> dict[str, Any]:
    """A valid report with these implementations and a requirement for every result, different where said."""
    names = {one["requirement"] for judged in implementations for one in judged["results"]}
    required = [requirement(number) for number in range(len(names))]
    return copy.deepcopy(
        EMPTY
        | {"requirements": required, "faults": {"attention.scale-missing": FAULT}}
        | {"implementations": list(implementations)}
        | other
    )


def failing(**other: Any) -> dict[str, Any]:
    """A report with one passed and one failed requirement, and the cause of the failure."""
    cause = {"fault": "attention.scale-missing", "requirements": ["attention.r1"], "cases": 31}
    failed = {"counts": {"passed": 2, "failed": 31}, "worst": 2.9e6, "worst_by_dtype": {"float32": 2.9e6}}
    failed |= {"smallest": SMALLEST, "diagnosis": ["attention.scale-missing"]}
    judged = implementation(result(0), result(1, "failed", **failed), verdict="does not conform", causes=[cause])
    return report(judged, **other)


def every_outcome() -> list[dict[str, Any]]:
    """One result for each outcome."""
    return [result(number, outcome, counts={outcome: 1}) for number, outcome in enumerate(reports.OUTCOMES)]


def renderings(one: dict[str, Any]) -> list[str]:
    """The three texts people read."""
    return [reports.table(one), reports.markdown(one), reports.html(one)]


# --- The structure ---------------------------------------------------------------------------------------------------


def test_the_schema_is_a_schema_and_strict() -> None:
    """The schema is valid JSON Schema 2020-12 and leaves no object open."""
    jsonschema.Draft202012Validator.check_schema(reports.schema())
    rules = [reports.schema(), *reports.schema()["$defs"].values()]
    objects = [rule for rule in rules if rule.get("type") == "object"]
    assert [rule for rule in objects if "properties" in rule and rule["additionalProperties"] is not False] == []
    assert [rule for rule in objects if set(rule["required"]) != set(rule["properties"])] == []


def test_the_schema_knows_the_outcomes() -> None:
    """The outcomes of the schema are those that the renderings know, in the same order."""
    assert reports.schema()["$defs"]["outcome"]["enum"] == list(reports.OUTCOMES)


@pytest.mark.parametrize("one", [EMPTY, failing(), report(implementation(*every_outcome()))])
def test_a_right_report_is_valid(one: dict[str, Any]) -> None:
    """A right report is valid by jsonschema and by our own check."""
    jsonschema.validate(one, reports.schema(), jsonschema.Draft202012Validator)
    reports.validate(one)


BROKEN = {
    "lacks a key": lambda one: one.pop("machine"),
    "unknown key": lambda one: one.update(score=97.3),
    "unknown key below": lambda one: one["implementations"][0]["results"][0].update(percent=99),
    "other format": lambda one: one.update(format="transpec-report/2"),
    "wrong type": lambda one: one["selection"].update(selected="12"),
    "a boolean for a count": lambda one: one["selection"].update(selected=True),
    "below zero": lambda one: one.update(seconds=-1),
    "unknown outcome": lambda one: one["implementations"][0]["results"][0].update(outcome="skipped"),
    "unknown outcome counted": lambda one: one["implementations"][0]["results"][0]["counts"].update(skipped=1),
    "infinity misspelt": lambda one: one["implementations"][0]["results"][0].update(worst="infinity"),
    "empty text": lambda one: one["requirements"][0].update(text=""),
    "an id with a space": lambda one: one["requirements"][0].update(id="attention r0"),
    "unknown level": lambda one: one["requirements"][0].update(level="OUGHT"),
    "half a smallest case": lambda one: one["implementations"][0]["results"][1]["smallest"].pop("call"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_report_is_refused(name: str) -> None:
    """What breaks the structure is refused by jsonschema and, naming the place, by our own check."""
    one = failing()
    BROKEN[name](one)
    with pytest.raises(reports.ReportError, match="report"):
        reports.validate(one)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(one, reports.schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_without_json_is_refused(number: float) -> None:
    """NaN and infinity have no JSON and are refused, at whatever ratio they stand."""
    one = failing()
    one["implementations"][0]["results"][0]["worst"] = number
    with pytest.raises(reports.ReportError, match=r"results\[0\]\.worst"):
        reports.validate(one)


def test_a_name_that_leads_nowhere_is_refused() -> None:
    """A result for an unknown requirement, a second result for one and an unknown diagnosis are refused."""
    for spoilt, said in [
        (implementation(result(7)), "unknown requirement 'attention.r7'"),
        (implementation(result(0), result(0)), "2 results for 'attention.r0'"),
        (implementation(result(0, diagnosis=["attention.nobody"])), "unknown fault 'attention.nobody'"),
    ]:
        with pytest.raises(reports.ReportError, match=re.escape(said)):
            reports.validate(report(spoilt))


def test_importing_is_light() -> None:
    """Importing transpec.report imports nothing heavy."""
    heavy = {"torch", "numpy", "jinja2", "tabulate", "jsonschema"}
    code = f"import sys, transpec.report; print(sorted({heavy} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(Path(reports.__file__).parents[1])}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# --- Words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        *[(None, "–"), ("inf", "∞"), (0.0, "0"), (0.3141, "0.31"), (12.3, "12"), (458.4, "458"), (2.9e6, "2.9e6")],
        *[(1.0, "1"), (1.004, "1.004"), (0.9996, "1"), (3.2e-5, "3.2e-5"), (1e100, "1e100"), (999.7, "1e3")],
    ],
)
def test_budgets_are_short_and_never_cross_the_limit(ratio: float | str | None, text: str) -> None:
    """A ratio takes two digits, and more where two would move it across the limit of 1."""
    assert reports.budgets(ratio) == text


# --- The terminal ----------------------------------------------------------------------------------------------------


def test_the_table_shows_a_failure_as_the_design_does() -> None:
    """A failing row is followed by its message, call, likeness and command."""
    lines = reports.table(failing()).splitlines()
    row = next(index for index, line in enumerate(lines) if line.startswith("attention.r1"))
    assert lines[row].split() == ["attention.r1", "MUST", "failed", "2/33", "2.9e6"]
    assert lines[row + 1] == "  in float32: output[0, 0] = 0.7311, should be 0.6225 (budget 2.4e-07)"
    assert lines[row + 2] == "  scaled_dot_product_attention(query=[[1., 0.]])"
    assert lines[row + 3].startswith("  behaves like attention.scale-missing: scores are not divided")
    assert lines[row + 5] == "  see it yourself: transpec show attention.r1 --impl my_kernel.py --case one-hot"


def test_the_table_leaves_plain_passes_out() -> None:
    """A requirement with every case passed has no row of its own; one with an unsupported case has."""
    judged = implementation(result(0), result(1, counts={"passed": 2, "unsupported": 1}))
    shown = re.findall(r"^attention\.\w+", reports.table(report(judged)), re.MULTILINE)
    assert shown == ["attention.r1"]


def test_a_cause_is_one_line_above_the_rows() -> None:
    """Failures with one cause are one line of the verdict, which says how much it explains."""
    text = " ".join(reports.table(failing()).split())
    cause = "behaves like attention.scale-missing: scores are not divided by the root of the key size"
    assert f"{cause} (as in delzac/cntkx#10); explains 1 requirement, 31 cases" in text


@pytest.mark.parametrize("width", [80, 100])
@given(text=st.text(min_size=1))
@settings(max_examples=30, deadline=None)
def test_no_line_is_wider_than_asked(width: int, text: str) -> None:
    """Whatever a message, a call, a reason or a name holds, no line is wider than asked."""
    long = {"reason": text * 40, "link": text * 40}
    smallest = SMALLEST | {"message": text * 40, "call": text * 40}
    results = [result(n, outcome, smallest=smallest, known_failure=long) for n, outcome in enumerate(reports.OUTCOMES)]
    judged = [implementation(*results, name=text * n, verdict_reasons=[text * 40]) for n in (1, 40)]
    drawn = reports.table(report(*judged), width)
    assert max(map(len, drawn.split("\n"))) <= width


def test_a_long_command_can_be_copied() -> None:
    """A command too long for a line is continued as a shell reads it."""
    one = failing()
    one["implementations"][0]["source"] = "a path with spaces/" + "deep/" * 12 + "kernel.py"
    continued = reports.table(one).split("see it yourself:")[1].split("\n\n")[0]
    assert [line.strip() for line in continued.strip().splitlines()] == [
        "transpec show attention.r1 \\",
        f"--impl '{one['implementations'][0]['source']}' \\",
        "--case one-hot",
    ]


def test_several_implementations_end_with_a_matrix() -> None:
    """With several implementations the table ends with outcome counts for each, where they are still on the screen."""
    one = report(implementation(*every_outcome()), implementation(result(0), name="other"))
    text = reports.table(one)
    matrix = next(block for block in text.split("\n\n") if "\nrequirements" in f"\n{block}")
    assert text.index(matrix) > text.index("worst")
    assert next(line for line in matrix.splitlines() if line.startswith("other")).split()[:2] == ["other", "1"]


@pytest.mark.parametrize("rendering", [reports.table, reports.markdown, reports.html])
def test_every_outcome_keeps_its_name(rendering: Any) -> None:
    """No rendering merges outcomes: each is named and counted."""
    words = " ".join(re.sub(r"<[^>]*>", " ", rendering(report(implementation(*every_outcome())))).split())
    missing = [outcome for outcome in reports.OUTCOMES if not re.search(outcome.replace(" ", r"\W+"), words)]
    # Headings of two words stand on two lines of a terminal, where other headings come between.
    halves = [half for outcome in missing for half in outcome.split() if half not in words]
    assert halves == []
    assert "does not conform (known)" in words


# --- Every rendering -------------------------------------------------------------------------------------------------


def test_no_percentage_is_shown() -> None:
    """Nothing that a reader sees is a percentage."""
    page = re.sub(r"<style>.*?</style>|<[^>]*>", " ", reports.html(failing()), flags=re.DOTALL)
    assert "%" not in page + reports.table(failing()) + reports.markdown(failing())


def test_an_incomplete_run_says_so_loudly() -> None:
    """An incomplete run says so, with the reason, before any verdict."""
    for text in renderings(failing(complete=False, incomplete_because="interrupted by Ctrl-C")):
        body = text.partition("<body>")[2] or text
        found = re.search(r"incomplete: interrupted by Ctrl-C", body, re.IGNORECASE)
        assert found
        assert found.start() < body.index("does not conform")


def test_a_partial_selection_says_so() -> None:
    """A partial selection is printed as partial, with what was selected."""
    selection = {"partial": True, "arguments": ["-k", "scale"], "selected": 40, "ran": 38}
    for text in renderings(failing(selection=selection)):
        assert re.search(r"partial", text, re.IGNORECASE)
        assert "40 tests selected by -k scale, 38 ran" in text


def test_a_known_failure_shows_reason_and_link() -> None:
    """A known failure reads as not conforming, and shows its reason and its link."""
    known = {"reason": "one pass for speed", "link": "https://example.org/issues/7"}
    for text in renderings(report(implementation(result(0, "known failure", known_failure=known)))):
        assert "does not conform (known)" in text
        assert "one pass for speed" in text
        assert "https://example.org/issues/7" in text


def test_a_load_error_is_shown() -> None:
    """An implementation that could not be loaded shows why, and its requirements as not run."""
    broken = implementation(name="broken", load_error="ImportError: no jaxx", verdict="no verdict")
    for text in renderings(report(implementation(result(0)), broken)):
        assert "could not be loaded" in text
        assert "ImportError: no jaxx" in text
        assert re.search(r"not\s+run|\bnot\b.*\n.*\brun\b", text)


def test_an_empty_report_is_shown() -> None:
    """A report with nothing in it can be read and says that nothing was judged."""
    for text in renderings(EMPTY):
        assert re.search("nothing was judged", text, re.IGNORECASE)
        assert "nothing was run" in text


def test_weak_evidence_is_said() -> None:
    """Where mistakes would not be seen, every rendering names the operation and the dtypes."""
    evidence = {"attention": {"float64": "full", "float32": "none", "float16": "none", "bfloat16": "limited"}}
    evidence["gpt"] = {"float64": "full", "float16": "not judged"}
    for text in renderings(report(implementation(result(0), evidence=evidence))):
        words = re.sub(r"<[^>]*>", "", text)
        assert "limited evidence: attention in bfloat16" in words
        assert "no evidence: attention in float32, float16" in words
        assert "not judged: gpt in float16" in words


def test_several_likenesses_are_told_as_one_doubt() -> None:
    """Faults that the inputs cannot tell apart are all named."""
    one = failing(faults={"attention.scale-missing": FAULT, "attention.scale-other": FAULT | {"seen": None}})
    one["implementations"][0]["results"][1]["diagnosis"].append("attention.scale-other")
    assert "  or like attention.scale-other: " in reports.table(one)
    assert "- or like `attention.scale-other`: " in reports.markdown(one)
    assert "cannot tell the 2 apart" in reports.html(one)


def hostile() -> dict[str, Any]:
    """A report with hostile text wherever a report holds free text."""

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: spoil(item, k) for k, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        free = {"message", "call", "snippet", "case", "name", "source", "version", "reason", "link", "notes", "text"}
        free |= {"homepage", "effect", "seen", "arguments", "processor", "reasons", "dtype", "chapter", "profile"}
        return HOSTILE if key in free else value

    one: dict[str, Any] = spoil(failing())
    one["implementations"][0]["results"][1]["known_failure"] = {"reason": HOSTILE, "link": "javascript:alert(1)"}
    one["implementations"][0] |= {"load_error": HOSTILE, "choices": {"attention.r0": HOSTILE}}
    return one


class Page(HTMLParser):
    """Tags and attributes of a page; raises on tags that do not pair."""

    VOID = ("meta", "br", "col", "input", "wbr", "hr", "img", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the innermost open tag is closed."""
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "one", [EMPTY, failing(), report(implementation(*every_outcome()), implementation()), hostile()]
)
def test_the_page_is_self_contained(one: dict[str, Any]) -> None:
    """The page pairs its tags, runs no script and loads nothing; addresses are only there to be followed."""
    text = reports.html(one)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not [
        a for a in page.attributes if a[1] in ("src", "srcset", "background", "action") or a[1].startswith("on")
    ]
    assert not re.search(r"url\(|@import", text)
    links = [value for tag, name, value in page.attributes if name == "href"]
    assert [link for link in links if not link.startswith(("#", "https://", "http://"))] == []


def test_links_inside_the_page_arrive() -> None:
    """Every link within the page has its place, and no place is named twice."""
    page = Page(reports.html(failing()))
    places = [value for _, name, value in page.attributes if name == "id"]
    assert len(places) == len(set(places))
    wanted = {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")}
    assert wanted - set(places) == set()


def test_the_page_is_accessible() -> None:
    """The page names its language, the headers of its tables, and its width on a phone; it knows the dark."""
    text = reports.html(report(implementation(*every_outcome()), implementation(name="other")))
    page = Page(text)
    assert ("html", "lang", "en") in page.attributes
    assert page.tags.count("th") == sum((tag, name) == ("th", "scope") for tag, name, _ in page.attributes)
    assert ("meta", "name", "viewport") in page.attributes
    assert "prefers-color-scheme: dark" in text


def test_hostile_text_stays_text() -> None:
    """No string becomes markup, a template, a control sequence or a script's address."""
    for text in renderings(hostile()):
        assert not {"\x1b", "\x00", "\u202e"} & set(text)
        assert "49" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert "<script>" not in reports.html(hostile())
    assert 'href="javascript' not in reports.html(hostile())


@pytest.mark.parametrize("one", [failing(), hostile()], ids=["friendly", "hostile"])
def test_markdown_holds_only_its_own_markup(one: dict[str, Any]) -> None:
    """Read as GitHub reads it, the Markdown has pairing tags, only tags of ours, and addresses that can be followed."""
    reader = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    page = Page(reader.enable("table").render(reports.markdown(one)))
    ours = {"h1", "h2", "h3", "p", "ul", "li", "strong", "em", "a", "code", "pre", "br", "sub", "details", "summary"}
    assert set(page.tags) - ours == {"table", "thead", "tbody", "tr", "th", "td"}
    assert [value for _, name, value in page.attributes if name == "href" and not value.startswith("https://")] == []


def test_no_text_breaks_a_row_of_markdown() -> None:
    """Every row of a table has as many cells as its head, whatever stands in them."""
    rows = re.findall(r"^\|.*\n", re.sub(r"```.*?```", "", reports.markdown(hostile()), flags=re.DOTALL), re.MULTILINE)
    cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert cells == [6, 6, 6, 4, 4, 4, 4, 5, 5, 5]


def test_code_with_fences_stays_code() -> None:
    """A snippet that holds a fence stands in a longer one."""
    one = failing()
    one["implementations"][0]["results"][1]["smallest"]["snippet"] = "'''\n```\n<b>\n```\n'''"
    assert "````python\n'''\n```\n<b>\n```\n'''\n````\n" in reports.markdown(one)


# --- Files -----------------------------------------------------------------------------------------------------------


def contents(directory: Path) -> dict[str, str]:
    """Every file below a directory, hidden ones too."""
    return {str(p.relative_to(directory)): p.read_text("utf-8") for p in directory.rglob("*") if p.is_file()}


def test_writing_gives_three_files_and_nothing_else(tmp_path: Path) -> None:
    """The three files arrive whole, and nothing else is left beside them."""
    written = reports.write(failing(), tmp_path / "new" / "latest")
    assert [path.name for path in written] == ["report.json", "report.md", "index.html"]
    assert set(contents(tmp_path)) == {f"new/latest/{name}" for name in reports.FILES}
    assert json.loads(written[0].read_text("utf-8")) == failing()


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """A report replaces the one before and touches no other file of the directory."""
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    reports.write(EMPTY, tmp_path)
    reports.write(failing(), tmp_path)
    assert set(contents(tmp_path)) == {"notes.txt", *reports.FILES}
    assert "my_kernel" in contents(tmp_path)["index.html"]


def break_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int, error: BaseException) -> None:
    """Let the call of os.<name> with this number, counted from 1, raise an error instead."""
    genuine, calls = getattr(os, name), iter(range(1, 10**6))

    def breaking(*args: Any) -> Any:
        if next(calls) == call:
            raise error
        return genuine(*args)

    monkeypatch.setattr(os, name, breaking)


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [None, EMPTY], ids=["nothing", "a report"])
def test_a_failing_write_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: int, name: str, error: BaseException, before: Any
) -> None:
    """A full disk or an interrupt, at any file and step, leaves the previous three files, or none."""
    if before:
        reports.write(before, tmp_path)
    previous = contents(tmp_path)
    break_at(monkeypatch, name, call, error)
    with pytest.raises(type(error)):
        reports.write(failing(), tmp_path)
    assert contents(tmp_path) == previous


def test_an_invalid_report_touches_nothing(tmp_path: Path) -> None:
    """A report that is not valid is refused before the disk is touched."""
    with pytest.raises(reports.ReportError):
        reports.write(failing(seconds=float("nan")), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    """A message that no encoding can hold does not cost the report, and report.json still has it."""
    one = failing()
    one["implementations"][0]["results"][1]["smallest"]["message"] = "caf\ud800é"
    written = reports.write(one, tmp_path)
    assert json.loads(written[0].read_text("utf-8")) == one
    assert "caf\\ud800é" in written[2].read_text("utf-8")


def test_runs_side_by_side_leave_one_whole_report(tmp_path: Path) -> None:
    """Runs that write the same directory at once leave the three files of one of them."""
    runs = [failing(transpec=f"0.{number}.0") for number in range(4)]
    threads = [threading.Thread(target=reports.write, args=(one, tmp_path)) for one in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = contents(tmp_path)
    assert set(found) == set(reports.FILES)
    assert len({re.search(r"0\.\d\.0", text)[0] for text in found.values()}) == 1  # type: ignore[index]
