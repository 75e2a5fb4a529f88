"""The plugin: real runs of pytest on implementations that misbehave, and on others beside them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from support import ROOT, Ran, environment, impls, plain, pytest_on, shared, write

from transpec.plugin import PATIENCE_WITH_IMPLEMENTATION, PATIENCE_WITH_OPERATION, Run

GOOD = """
import numpy
def look_ahead_mask(length):
    return numpy.tril(numpy.ones((length, length), bool))
"""
WRONG = GOOD.replace("tril(", "triu(")
ITSELF = "masks.look-ahead-itself"

# Each does what its name says where the mask has seven rows, and is right elsewhere.
AT_SEVEN = {"exits": "import os; os._exit(0)", "hangs": "endless()", "sleeps": "import time; time.sleep(1000)"}
ENDLESS = """
import time
def endless():
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass
"""


def doing(what: str) -> str:
    """An implementation that does something where the mask has seven rows."""
    return GOOD.replace("    return", f"    if length == 7:\n        {what}\n    return") + ENDLESS


def validated(ran: Ran) -> dict[str, Any]:
    """The report of a run, held to its schema by a library that is not ours."""
    schema = json.loads((ROOT / "transpec" / "schema" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(ran.report, schema)
    return ran.report


# --- A run of everything that is bad ---------------------------------------------------------------------------------


def run_everything_bad(folder: Path) -> Ran:
    """One run of implementations that break in every way, with a good one among them."""
    files = {name: doing(what) for name, what in AT_SEVEN.items()} | {
        "broken": "import missing_package_of_nobody",
        "deadly": "import os; os._exit(3)",
        "misspelt": GOOD + "def padding_maks(token_ids, *, pad_id): pass\n",
        "endless": "import time\ndef look_ahead_mask(length):\n    time.sleep(1000)\n",
        "leaky": GOOD.replace("    return", "    Leak()\n    return") + "class Leak:\n    def __del__(self): 1 / 0\n",
        "good": GOOD,
    }
    given = [write(folder, f"{name}.py", code) for name, code in files.items()]
    more = ("-k", "look_ahead_itself or loads or names", "--case-timeout=0.5", f"--junitxml={folder / 'junit.xml'}")
    return pytest_on(folder, *impls(*given), *more, "-n1")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The run of everything that is bad."""
    return shared(tmp_path_factory.getbasetemp(), "bad", run_everything_bad)


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("exits", "crashed", "the process ended during the call"),
        ("hangs", "timed out", "look_ahead_mask did not return within 0.5 s"),
        ("sleeps", "timed out", "look_ahead_mask did not return within 0.5 s"),
    ],
)
def test_what_ends_or_stops_the_process_has_its_outcome(bad, name, outcome, said):
    """A call that ends the process, or never returns, is a row with its own outcome and message."""
    row = bad.row(name, ITSELF)
    assert (row["outcome"], row["smallest"]["message"]) == (outcome, said)
    assert row["smallest"]["case"].startswith("7 ")


@pytest.mark.parametrize("name", AT_SEVEN)
def test_the_other_cases_are_judged_all_the_same(bad, name):
    """Every other case of an implementation that ends the process is judged, and passes."""
    counts = dict(bad.row(name, ITSELF)["counts"])
    assert counts.pop(bad.row(name, ITSELF)["outcome"]) == 1
    assert counts == {"passed": bad.row("good", ITSELF)["counts"]["passed"] - 1}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "ModuleNotFoundError: No module named 'missing_package_of_nobody' (broken.py, line 1)"),
        ("deadly", "importing it ends the process"),
    ],
)
def test_what_does_not_import_has_no_verdict(bad, name, said):
    """An implementation that cannot be imported is told with the reason, and fails the requirement that it loads."""
    assert bad.implementation(name)["load_error"] == said
    assert bad.implementation(name)["verdict"] == "no verdict"
    assert f"does not load: {said}" in bad.row(name, "contract.loads")["smallest"]["message"]


def test_a_good_implementation_among_bad_ones_conforms(bad):
    """The verdict of one implementation is not touched by what others do."""
    assert bad.implementation("good")["verdict"] == "conforms"
    assert bad.row("good", ITSELF)["counts"].keys() == {"passed"}


def test_near_misses_are_pointed_out(bad):
    """A misspelt operation is pointed out, and does not fail the implementation by itself."""
    row = bad.row("misspelt", "contract.names")
    assert "padding_maks (did you mean padding_mask?)" in row["smallest"]["message"]
    assert "misspelt" not in bad.reasons


def test_endless_calls_are_given_up(bad):
    """After a few calls of an operation that do not end, the others are not tried, and do not count as passed."""
    counts = dict(bad.row("endless", ITSELF)["counts"])
    assert counts.pop("timed out") == PATIENCE_WITH_OPERATION
    assert counts == {"not run": sum(bad.row("good", ITSELF)["counts"].values()) - PATIENCE_WITH_OPERATION}
    assert bad.implementation("endless")["verdict"] == "does not conform"


def test_what_is_left_to_the_garbage_collector_is_no_error(bad):
    """An exception while an object of the implementation is collected fails no test, neither its own nor the next."""
    assert bad.implementation("leaky")["verdict"] == "conforms"


def test_the_report_of_a_bad_run_is_whole(bad):
    """Whatever happened, all three files are there, the report is valid, and its exit status is that of the run."""
    report = validated(bad)
    assert (bad.status, report["exit"]["status"], report["complete"]) == (1, 1, True)
    assert {"report.json", "report.md", "index.html"} <= {path.name for path in bad.folder.iterdir()}
    assert not list(bad.folder.glob(".report-*"))


def test_the_terminal_tells_each_outcome_once(bad):
    """The terminal has our table and none of pytest's own lists of failures."""
    assert "exit 1:" in bad.output
    assert "short test summary" not in bad.output
    assert "FAILURES" not in bad.output


def test_other_plugins_get_plain_reports(bad):
    """JUnit's XML has a test case for each test and nothing of what travels between our processes."""
    text = (bad.folder / "junit.xml").read_text(encoding="utf-8")
    suite = ElementTree.fromstring(text).find("testsuite")
    assert "transpec-about" not in text
    assert int(suite.get("tests")) == bad.report["selection"]["selected"]


# --- The same whatever the number of workers -------------------------------------------------------------------------


def run_twins(folder: Path, *more: str) -> Ran:
    """A run of a right and a wrong implementation, both called the same."""
    given = [write(folder, f"{name}/twin-é.py", code) for name, code in {"good": GOOD, "wrong": WRONG}.items()]
    return pytest_on(folder, *impls(*given), "--chapter", "masks", *more)


def what_counts(ran: Ran) -> dict[str, Any]:
    """The report without what has to differ from run to run."""
    kept = {key: ran.report[key] for key in ("exit", "complete", "requirements", "faults")}
    kept["selection"] = {key: value for key, value in ran.report["selection"].items() if key != "arguments"}
    kept["implementations"] = [dict(one, source="") for one in ran.report["implementations"]]
    for one in kept["implementations"]:
        one["results"] = [dict(row, seconds=0) for row in one["results"]]
    return kept


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The run of twins as a user starts it."""
    return shared(tmp_path_factory.getbasetemp(), "twins", run_twins)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_verdicts_do_not_depend_on_workers(twins, tmp_path, workers):
    """In this process, in a worker and in two, which is what a user gets, rows and verdicts are the same."""
    other = json.loads(json.dumps(what_counts(run_twins(tmp_path, "-n", workers))).replace(str(tmp_path), ""))
    assert other == json.loads(json.dumps(what_counts(twins)).replace(str(twins.folder), ""))


def test_implementations_of_one_name_are_told_apart(twins):
    """Two files of the same name, and not an ASCII one, get each its own verdict."""
    named = {Path(one["source"]).parent.name: one["verdict"] for one in twins.report["implementations"]}
    assert named == {"good": "conforms", "wrong": "does not conform"}


def test_a_part_is_called_partial(twins):
    """What a chapter leaves out makes the report a partial one, which says what was selected."""
    assert twins.report["selection"]["partial"]
    assert plain(twins.output).count("partial") >= 2
    assert twins.report["selection"]["selected"] == twins.report["selection"]["ran"] > 0


# --- Exit status -----------------------------------------------------------------------------------------------------


def known_failures(folder: Path, name: str, *ids: str) -> str:
    """The option that names a file of known failures."""
    entries = [f'["{name}"."{id}"]\nreason = "because"\nlink = "https://example.org/1"\n' for id in ids]
    return f"--known-failures={write(folder, 'known.toml', ''.join(entries))}"


def test_what_is_excused_neither_stops_nor_fails_a_run(tmp_path):
    """A SHOULD that fails and a known failure stop no run with -x, are told, and leave the exit status 0."""
    wrong = write(tmp_path, "wrong.py", GOOD.replace("tril(", "logical_not("))
    misspelt = write(tmp_path, "misspelt.py", GOOD + "combine_maks = print\n")
    known = known_failures(tmp_path, "wrong", ITSELF)
    ran = pytest_on(tmp_path, *impls(wrong, misspelt), known, "-n1", "-x", "-k", "look_ahead_itself or names")
    assert (ran.status, ran.report["complete"]) == (0, True)
    assert ran.row("misspelt", "contract.names")["outcome"] == "failed"
    assert ran.row("wrong", ITSELF)["outcome"] == "known failure"
    assert ran.implementation("wrong")["verdict"] == "conforms except known failures"


def test_known_failures_are_strict(tmp_path):
    """A known failure that passes, and one that is no requirement, are errors."""
    good = write(tmp_path, "good.py", GOOD)
    ran = pytest_on(tmp_path, *impls(good), known_failures(tmp_path, "good", ITSELF, "masks.no-such"), "-n0")
    assert ran.status == 1
    assert ran.row("good", ITSELF)["outcome"] == "unexpected pass"
    assert f"{ITSELF} passes, but is a known failure" in ran.reasons
    assert "the known failure masks.no-such is no requirement" in ran.reasons
    assert not ran.report["selection"]["partial"]


def test_everything_unsupported_is_no_pass(tmp_path):
    """An implementation that supports nothing of what it claims gets no verdict and exit status 1."""
    given = write(tmp_path, "lazy.py", "def look_ahead_mask(length): raise NotImplementedError('later')")
    ran = pytest_on(tmp_path, *impls(given), "-n0", "-k", "look_ahead_itself")
    assert (ran.status, ran.implementation("lazy")["verdict"]) == (1, "no verdict")
    assert (ran.row("lazy", ITSELF)["outcome"], "nothing passed" in ran.reasons) == ("unsupported", True)


def test_nothing_selected_is_no_pass(tmp_path):
    """A selection that selects nothing, here because nothing loads, has a report that says why, and exit status 1."""
    given = write(tmp_path, "broken.py", "1 / 0")
    ran = pytest_on(tmp_path, *impls(given), "-n1", "--chapter", "masks")
    assert ran.status == 1
    assert {"nothing was run", "broken: does not load: ZeroDivisionError: division by zero (broken.py, line 1)"} <= {
        *validated(ran)["exit"]["reasons"]
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--impl", "numpy_plian"], "Did you mean numpy_plain?"),
        (["--impl", "numpy_plian"], "numpy_plain, reference, torch_functional"),
        (["--impl", "numpy_plain", "--impl", "numpy_plain"], "--impl names an implementation twice"),
        (["--impl", "nowhere.py"], "there is no file nowhere.py"),
        (["--chapter", "mask"], "known chapters are attention, masks"),
        (["--known-failures", "nowhere.toml"], "known failures: nowhere.toml cannot be read"),
        (["--known-failures", "pyproject.toml"], "with a reason and a link, got"),
        (["--known-failures", "README.md"], "known failures: README.md cannot be read"),
        (["--case-timeout", "soon"], "invalid float value: 'soon'"),
    ],
)
def test_a_mistake_in_the_command_line(tmp_path, options, said):
    """A mistake in the command line is told before anything runs, with exit status 4 and no report."""
    ran = pytest_on(tmp_path / "reports", *options)
    assert ran.status == 4
    assert said in plain(ran.output)
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_cannot_be_written_to(tmp_path):
    """A folder for the report that cannot be written to is a mistake in the command line, told before anything runs."""
    blocked = Path(write(tmp_path, "reports", "I am a file"))
    ran = pytest_on(blocked, *impls(write(tmp_path, "good.py", GOOD)), "-n0", "-k", "look_ahead_itself")
    assert ran.status == 4
    assert f"--report-dir {blocked} cannot be written to" in plain(ran.output)
    assert blocked.read_text(encoding="utf-8") == "I am a file"


def test_a_report_that_cannot_be_written(tmp_path):
    """Where the folder is lost during the run, the run says so and fails, and leaves what is there as it was."""
    blocked = tmp_path / "reports"
    losing = (
        f"import pathlib, shutil\nshutil.rmtree({str(blocked)!r})\npathlib.Path({str(blocked)!r}).write_text('mine')\n"
    )
    ran = pytest_on(blocked, *impls(write(tmp_path, "good.py", losing + GOOD)), "-n0", "-k", "look_ahead_itself")
    assert ran.status == 1
    assert f"the report could not be written to {blocked}" in plain(ran.output)
    assert ": conforms" in ran.output
    assert blocked.read_text(encoding="utf-8") == "mine"


# --- Interruptions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "1"])
def test_stopping_at_the_first_failure(tmp_path, workers):
    """With -x the run ends at the first failure, and the report says that it is not complete and why."""
    ran = pytest_on(tmp_path, *impls(write(tmp_path, "wrong.py", WRONG)), "-x", "-n", workers, "-k", "look_ahead")
    report = validated(ran)
    assert (ran.status, report["complete"], report["incomplete_because"]) == (1, False, "stopping after 1 failures")
    assert report["selection"]["ran"] < report["selection"]["selected"]
    assert "INCOMPLETE: stopping after 1 failures" in ran.output


def test_ctrl_c_leaves_a_report(tmp_path):
    """Ctrl-C in the middle of a call leaves a valid report of what was judged, which says that it is not complete."""
    calling = tmp_path / "calling"
    code = f"if length == 7:\n        open({str(calling)!r}, 'w').close(); import time; time.sleep(1000)"
    given = write(tmp_path, "slow.py", GOOD.replace("    return", f"    {code}\n    return"))
    arguments = [f"--report-dir={tmp_path}", *impls(given), "-n1", "-k", "look_ahead_rows"]
    status = interrupted([sys.executable, "-m", "pytest", *arguments], calling)
    report = validated(Ran(status, "", tmp_path))
    assert (status, report["complete"], report["incomplete_because"]) == (2, False, "interrupted")
    assert 0 < report["selection"]["ran"] < report["selection"]["selected"]


def interrupted(command: list[str], moment: Path) -> int:
    """The exit status of a command that gets Ctrl-C, with all its processes, once a file is there."""
    # A shell that runs this in the background lets its children ignore Ctrl-C, and they theirs.
    heeded = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), "start_new_session": True}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, env=environment(), **heeded, **quiet) as process:
        wait_for(moment)
        os.killpg(process.pid, signal.SIGINT)
        return process.wait(60)


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    ends = time.monotonic() + 120
    while not path.exists() and time.monotonic() < ends:
        time.sleep(0.05)


def test_an_implementation_is_given_up_as_a_whole():
    """Where many operations crash, none of the implementation is tried any more, and others are."""
    run = Run.__new__(Run)
    run.patience = {("bad", f"operation {n}"): 1 for n in range(PATIENCE_WITH_IMPLEMENTATION)}
    run.patience = type("", (dict,), {"__missing__": lambda *_: 0})(run.patience)
    assert run.has_given_up("bad", "another")
    assert not run.has_given_up("good", "another")


# --- What is run -----------------------------------------------------------------------------------------------------


def test_without_options_the_reference_is_judged(tmp_path):
    """pytest alone judges the reference by the requirements, and by nothing else."""
    ran = pytest_on(tmp_path, "-k", "look_ahead_itself or what_is_raised_has_an_outcome")
    assert [one["name"] for one in ran.report["implementations"]] == ["reference"]
    assert (ran.status, ran.implementation("reference")["verdict"]) == (0, "conforms")
    assert "error" not in ran.output.lower()


def test_from_a_folder_of_ones_own(tmp_path):
    """In a folder of one's own `pytest --impl file` runs the requirements, not the tests there, and reports there."""
    write(tmp_path, "good.py", GOOD)
    write(tmp_path, "test_of_ones_own.py", "raise RuntimeError")
    write(tmp_path, "pytest.ini", "[pytest]\n")
    command = ["-m", "pytest", "-q", "-p", "transpec.plugin", "--impl", "good.py", "-k", "look_ahead_itself"]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    ran = Ran(done.returncode, done.stdout, tmp_path / "reports" / "latest")
    assert (ran.status, ran.implementation("good")["verdict"]) == (0, "conforms"), ran.output
    assert "Report: reports/latest/index.html" in ran.output


def test_a_search_draws_more(tmp_path):
    """With the profile explore Hypothesis draws more cases, and a right implementation passes them."""
    counting = GOOD.replace("    return", f"    open({str(tmp_path / 'calls')!r}, 'a').write('x')\n    return")
    given = write(tmp_path, "good.py", counting)
    chosen = ("-n0", "-k", "look_ahead_equation", "--hypothesis-profile=explore", "-p", "no:randomly")
    ran = pytest_on(tmp_path, *impls(given), *chosen)
    assert ran.status == 0, ran.output
    assert len((tmp_path / "calls").read_text()) > 30


def test_other_projects_are_left_alone(tmp_path):
    """In another project's run nothing of ours happens: no worker, no report, and nothing heavy is imported."""
    code = """
    import sys
    def test_it():
        heavy = {"torch", "jinja2", "transpec.results", "transpec.reference", "transpec.operations"}
        assert not heavy & sys.modules.keys()
    test_it.requirement = "REQ-1"
    """
    write(tmp_path, "test_foreign.py", code)
    write(tmp_path, "pytest.ini", "[pytest]\nfilterwarnings = error\n")
    ran = pytest_on(tmp_path / "none", "-p", "transpec.plugin", "test_foreign.py", cwd=tmp_path)
    assert (ran.status, "1 passed" in ran.output, "transpec" in ran.output) == (0, True, False), ran.output
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["pytest.ini", "test_foreign.py"]
    assert not (tmp_path / "none").exists()


def test_gradients_that_are_never_given_are_no_pass(tmp_path):
    """Where gradients are declared and every case of them is unsupported, there is no verdict and exit status 1."""
    code = """
    import numpy

    DIFFERENTIABLE = True

    def padding_mask(token_ids, *, pad_id):
        return (token_ids != pad_id)[:, None]

    def rms_norm(x, weights, *, eps):
        return (x / numpy.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(eps)) * weights["gain"]).astype(x.dtype)
    """
    ran = pytest_on(tmp_path, *impls(write(tmp_path, "mine.py", code)), "-n1", "-k", "gradients or equation")
    assert ran.status == 1
    assert "gradients of rms_norm show nothing" in ran.reasons


def test_requirements_are_selected_by_their_ids(tmp_path):
    """`-k` takes the id of a requirement, the name that reports give it."""
    ran = pytest_on(tmp_path, "--impl", "numpy_plain", "-n1", "--chapter", "masks", "-k", "masks.padding-equation")
    assert {row["requirement"] for row in ran.implementation("numpy_plain")["results"]} == {"masks.padding-equation"}


def test_a_declared_dtype_without_cases_is_listed(tmp_path):
    """No verdict is of a dtype in which an operation has no case, and the report names both."""
    schedule = (
        'DTYPES = "float64", "float16"\ndef linear_schedule(*_, **__):\n    raise NotImplementedError("not yet")\n'
    )
    ran = pytest_on(tmp_path, *impls(write(tmp_path, "schedule.py", schedule)), "-n1")
    (one,) = validated(ran)["implementations"]
    assert one["evidence"] == {"linear_schedule": {"float64": "none", "float16": "not judged"}}
    assert "not judged: linear_schedule in float16" in ran.output


def test_what_has_not_run_is_not_held_against_an_implementation(tmp_path):
    """Where the run stops at another's failure, one that has not failed gets no verdict, and both say what did not run."""
    wrong, right = write(tmp_path, "wrong.py", WRONG), write(tmp_path, "right.py", GOOD)
    ran = pytest_on(tmp_path, *impls(wrong, right), "-n0", "-x", "--chapter", "masks")
    failed, stopped = ran.implementation("wrong"), ran.implementation("right")
    assert failed["verdict"] == "does not conform"
    assert [reason.split(" ", 1)[1] for reason in failed["verdict_reasons"]] == [
        "requirement not met",
        "requirements not run",
    ]
    assert stopped["verdict"] == "no verdict"
    assert [reason.split(" ", 1)[1] for reason in stopped["verdict_reasons"]] == ["requirements not run"]


def test_a_mistake_whose_requirement_passed_is_ruled_out(tmp_path):
    """Of faults that one failing row cannot tell apart, those are named whose own requirements have not passed."""
    bleu = """
    import math

    from transpec.reference import metrics as _metrics

    FRAMEWORK = "torch"

    def bleu(hypotheses, references, *, max_order=4, dtype):
        right = _metrics.bleu(hypotheses, references, max_order=max_order, dtype=dtype)
        words = [len(text.split()) for text in hypotheses]
        lengths = [[len(text.split()) for text in of_one] for of_one in references]
        nearest = sum(min(those, key=lambda n: (abs(n - w), n)) for w, those in zip(words, lengths, strict=True))
        shortest = sum(map(min, lengths))
        lost, kept = (min(0.0, 1 - r / max(sum(words), 1)) for r in (nearest, shortest))
        return (right.double() * math.exp(kept - lost)).to(dtype)
    """
    ran = pytest_on(tmp_path, *impls(write(tmp_path, "shortest.py", bleu)), "-n1", "--chapter", "metrics")
    faults, rows = ran.report["faults"], ran.implementation("shortest")["results"]
    passed = {row["requirement"] for row in rows if row["outcome"] == "passed"}
    named = [row["diagnosis"] for row in rows if row["diagnosis"]]
    assert named
    assert all(len(row) == 1 or not {faults[fault]["breaks"] for fault in row} & passed for row in named)
    assert "metrics.bleu-shortest-reference" in {fault for row in named for fault in row}
