"""The pytest plugin: selects implementations, turns requirements into tests, gathers outcomes, writes the report.

It is loaded into every pytest run of an environment that has transpec, so it does nothing and imports nothing heavy
before a requirement is collected. Requirements run in a worker process of pytest-xdist, also where no `-n` is given:
when an implementation ends its process, the run goes on in another.
"""

from __future__ import annotations

import difflib
import gc
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from transpec import implementations
from transpec.profiles import CHAPTERS, PROFILES
from transpec.progress import Watch

# What travels from a worker on pytest's reports, as plain data: with the first one, all that only a process with torch
# can tell; with each, what came of a case. What a worker may die of, it writes into a note before.
REGISTER, PROPERTY = "transpec-register", "transpec"
# Crashes and timeouts cost seconds each. An operation is given up after so many, an implementation after so many.
PATIENCE_WITH_OPERATION, PATIENCE_WITH_IMPLEMENTATION = 5, 20
STATUS = {
    "failed": ("does not conform", "F"),
    "errored": ("errored", "E"),
    "crashed": ("crashed", "C"),
    "timed out": ("timed out", "T"),
    "unsupported": ("unsupported", "u"),
    "not run": ("not run", "n"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the suite."""
    group = parser.getgroup("transpec", "transpec: judge implementations of the Transformer")
    group.addoption(
        "--impl",
        action="append",
        metavar="NAME",
        help="implementation to judge: a file, an entry point, a name in impls/, or a dotted name, "
        "each with :object if wanted; repeats; default: the reference",
    )
    group.addoption(
        "--chapter",
        action="append",
        metavar="NAME",
        help="judge this chapter, or the chapters of this profile, alone; repeats",
    )
    group.addoption(
        "--case-timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long one call of an implementation may take (default: 30)",
    )
    group.addoption(
        "--known-failures",
        metavar="FILE",
        help="TOML file of accepted failures (default: that of the bundled implementations)",
    )
    group.addoption(
        "--report-dir",
        metavar="DIR",
        help="where to write report.json, report.md and index.html (default: reports/latest)",
    )


def spec_tests() -> Path:
    """The folder of the requirements."""
    spec = importlib.util.find_spec("transpec.spec_tests")
    if spec is None or not spec.submodule_search_locations:
        raise pytest.UsageError("transpec.spec_tests is not installed: install transpec again")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _lead_to_requirements(config: pytest.Config) -> list[bool]:
    """Of each argument of this run whether it leads to requirements."""
    folder, here = spec_tests(), Path(str(config.invocation_params.dir))
    places = [Path(here, argument.partition("::")[0]).resolve() for argument in config.args]
    return [
        folder in (place, *place.parents) or folder.parent == place or argument.startswith("transpec.spec_tests")
        for argument, place in zip(config.args, places, strict=True)
    ]


def _judges(config: pytest.Config) -> bool:
    return any(_lead_to_requirements(config))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[Any]:
    """Before the run: our options alone mean the requirements alone, and they run in a worker process."""
    asked = any(config.getoption(name) for name in ("impl", "chapter", "known_failures", "report_dir"))
    if asked and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(spec_tests())]  # a worker reads the command line anew, and so decides anew
    if not _is_worker(config) and not config.option.help and not config.option.version and _judges(config):
        _check_usage(config)
        _run_in_a_worker(config)
    return (yield)


def _check_usage(config: pytest.Config) -> None:
    try:
        given = _given(config)
        found = [(source.kind, source.target, source.object) for source in map(implementations.find, given)]
        if len(set(found)) < len(found):
            raise implementations.UsageError(f"--impl names an implementation twice: {', '.join(given)}")
        _known(config)
        _chapters(config)
        _check_report_folder(config)
    except implementations.UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _check_report_folder(config: pytest.Config) -> None:
    """Fail now and not after the run where the folder that was named for the report cannot be written to."""
    given = config.getoption("report_dir")
    try:
        if given and not config.option.collectonly:
            Path(given).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=given).close()
    except OSError as error:
        raise implementations.UsageError(f"--report-dir {given} cannot be written to: {error}") from None


def _given(config: pytest.Config) -> list[str]:
    return config.getoption("impl") or [implementations.REFERENCE]


def _run_in_a_worker(config: pytest.Config) -> None:
    options = config.option
    if (
        getattr(options, "numprocesses", 0) is None
        and not options.usepdb
        and not options.collectonly
        and not options.trace
    ):
        options.numprocesses = min(2, os.cpu_count() or 1)  # more would import torch more often than they save
    if hasattr(options, "maxworkerrestart") and options.maxworkerrestart is None:
        options.maxworkerrestart = str((PATIENCE_WITH_IMPLEMENTATION + 5) * len(_given(config)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Runs of one model share what was trained, so they stay in one worker."""
    if not config.option.markexpr or not _judges(config):
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByModel(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            models = (chapter for chapter in CHAPTERS if f"-{chapter}-" in test)  # the operation's name
            return f"{file} {next(models, '')}"

    return ByModel(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """The profile for searching, and what gathers outcomes."""
    config.addinivalue_line("markers", "short: trains a model in the form that ends within a minute or two")
    config.addinivalue_line("markers", "full: trains a model in the form that takes several minutes")
    if getattr(config.option, "hypothesis_profile", None) == "explore":
        from hypothesis import HealthCheck, settings

        settings.register_profile("explore", deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
    if _judges(config):  # what an implementation leaves behind for the garbage collector is no error of the next test
        for name in ("PytestUnraisableExceptionWarning", "PytestUnhandledThreadExceptionWarning"):
            config.addinivalue_line("filterwarnings", f"default::pytest.{name}")
    if not _is_worker(config):
        config.pluginmanager.register(Gatherer(config), "transpec-gatherer")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Spare thousands of short tests what captures log records; it takes a tenth of the run, and nobody reads them."""
    plugins = session.config.pluginmanager
    if all(_lead_to_requirements(session.config)) and plugins.has_plugin("logging-plugin"):
        plugins.unregister(name="logging-plugin")


def _known(config: pytest.Config) -> dict[str, Any]:
    """The known failures of all implementations, read once."""
    from transpec.results import known_failures

    if KNOWN not in config.stash:
        config.stash[KNOWN] = known_failures(_known_failures_file(config))
    return config.stash[KNOWN]


def _known_failures_file(config: pytest.Config) -> Path | None:
    given = config.getoption("known_failures")
    if given:
        return Path(given)
    spec = importlib.util.find_spec("transpec.impls")
    places = list(spec.submodule_search_locations or []) if spec else []
    bundled = [Path(place) / "known_failures.toml" for place in places]
    return next((path for path in bundled if path.is_file()), None)


# --- Collection ------------------------------------------------------------------------------------------------------


class Run:
    """What one process knows: the implementations under test, loaded once."""

    def __init__(self, config: pytest.Config) -> None:
        import torch

        # Tensors here are tiny: more threads only wait for each other, and two workers share the cores.
        torch.set_num_threads(1)
        self.told: dict[str, Any] = getattr(config, "workerinput", {}).get("transpec", {})
        found = [implementations.find(name) for name in _given(config)]  # before an import can change what is where
        self.implementations = [self._loaded(source) for source in found]
        for implementation in self.implementations:
            implementation.case_timeout = config.getoption("case_timeout")
        self.chapters = _chapters(config)
        self.register: dict[str, Any] | None = None
        self.patience = Counter({(source, operation): n for source, operation, n in self.told.get("costly", ())})

    def _loaded(self, source: implementations.Source) -> implementations.Implementation:
        """An implementation; its name is noted while its import may end this process."""
        if source.given in self.told.get("deadly", ()):
            return implementations.Implementation(None, source, source.name, load_error="importing it ends the process")
        self.note(importing=source.given)
        made = implementations.load(source)
        self.note()
        return made

    def note(self, **about: Any) -> None:
        """Leave word of what this process is about to do, where it is a worker: it may be the last that it does."""
        if self.told:
            with open(self.told["note"], "w", encoding="utf-8") as file:
                json.dump(about, file)

    def has_given_up(self, source: str, operation: str) -> str:
        """Why a call is not worth another crash, if it is not."""
        of_all = sum(n for (of, _), n in self.patience.items() if of == source)
        if self.patience[source, operation] >= PATIENCE_WITH_OPERATION:
            return f"not tried: {operation} has crashed or timed out {PATIENCE_WITH_OPERATION} times"
        if of_all >= PATIENCE_WITH_IMPLEMENTATION:
            return f"not tried: calls have crashed or timed out {PATIENCE_WITH_IMPLEMENTATION} times"
        return ""


RUN = pytest.StashKey[Run]()
OUTCOME = pytest.StashKey[Any]()
KNOWN = pytest.StashKey[Any]()


def _run_of(config: pytest.Config) -> Run:
    if RUN not in config.stash:
        config.stash[RUN] = Run(config)
    return config.stash[RUN]


def _chapters(config: pytest.Config) -> set[str] | None:
    given = config.getoption("chapter")
    if not given:
        return None
    profiles = {name.lower(): chapters for name, chapters in PROFILES.items()}
    chosen: set[str] = set()
    for name in given:
        if name in (*CHAPTERS, "contract"):  # "training" is a chapter, "Training" the profile that it belongs to
            chosen.add(name)
        elif name.lower() in profiles:
            chosen.update(profiles[name.lower()])
        else:
            near = difflib.get_close_matches(name, [*CHAPTERS, *PROFILES], 1)
            known = f"known chapters are {', '.join(CHAPTERS)}; known profiles are {', '.join(PROFILES)}"
            meant = f"did you mean {near[0]}? " if near else ""
            raise implementations.UsageError(f"--chapter {name}: {meant}{known}")
    return chosen


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Requirements of chapters that are not asked for are not even imported: building their inputs takes seconds."""
    name = collection_path.stem.removeprefix("test_")
    if not config.getoption("chapter") or collection_path.parent != spec_tests() or name == collection_path.stem:
        return None
    chosen = _chapters(config)
    return True if chosen is not None and name not in chosen else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each implementation, case and dtype that a requirement has to be judged on."""
    requirement = _stated_by(metafunc.function)
    if requirement is None:
        return
    run = _run_of(metafunc.config)
    selected = run.chapters is None or requirement.chapter in run.chapters
    if not requirement.cases:
        known = run.implementations if selected else []
        metafunc.parametrize("implementation", known, ids=[implementation.name for implementation in known])
        return
    pairs, ids = [], []
    for case in requirement.cases if selected else []:
        for dtype in case.dtypes:
            # Implementations innermost: what the oracle says of a case is shared by all.
            for implementation in run.implementations:
                if requirement.applies_to(implementation, case, dtype):
                    pairs.append((implementation, case.in_dtype(dtype)))
                    ids.append(f"{implementation.name}-{case.operation.name}-{case.name}-{dtype}")
    metafunc.parametrize("implementation, case", pairs, ids=ids)


def pytest_itemcollected(item: pytest.Item) -> None:
    """`-k` finds a requirement by its id as well, for that is the name that reports give it."""
    requirement = _requirement(item)
    if requirement is not None:
        item.extra_keyword_matches.add(requirement.id)
        if requirement.run:
            item.add_marker(requirement.run)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A requirement that applies to no implementation leaves no test behind, not even a skipped one.

    Nor does a run that nobody asked for: `-m full` asks for the long ones, `-m short` or its chapter for the short.
    """
    items[:] = [
        item
        for item in items
        if (requirement := _requirement(item)) is None
        or ("implementation" in _parameters(item) and _is_asked_for(config, requirement))
    ]


def _is_asked_for(config: pytest.Config, requirement: Any) -> bool:
    if not requirement.run or config.option.markexpr or config.option.keyword:
        return True
    return requirement.run == "short" and bool(config.getoption("chapter"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was selected, to be told with the first report, or at the end where there is none."""
    if RUN in session.config.stash and not session.testsfailed:  # what cannot be collected, pytest tells of itself
        from transpec.results import register

        run = session.config.stash[RUN]
        about = [_about(item) for item in session.items if _requirement(item) is not None]
        # What is there now stays until the end: looking through it again and again takes a tenth of the run.
        gc.collect()
        gc.freeze()
        run.register = register(run.implementations, about, by_chapter=run.chapters is not None)
        if _is_worker(session.config):
            session.config.workeroutput["transpec"] = run.register  # type: ignore[attr-defined]


def _stated_by(function: Any) -> Any:
    """The requirement that a test function states; other people's functions may have an attribute of that name too."""
    known = sys.modules.get("transpec.requirements")
    requirement = getattr(function, "requirement", None) if known else None
    return requirement if known and isinstance(requirement, known.Requirement) else None


def _requirement(item: pytest.Item) -> Any:
    return _stated_by(getattr(item, "function", None))


def _about(item: pytest.Item) -> dict[str, Any]:
    """What a test judges."""
    parameters = _parameters(item)
    case = parameters.get("case")
    return {
        "requirement": _requirement(item).id,
        "implementation": parameters["implementation"].source.given,
        "case": case.name if case else "",
        "dtype": case.dtype if case else "",
        "operation": case.operation.name if case else "",
    }


def _parameters(item: pytest.Item) -> dict[str, Any]:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    real = isinstance(parameters.get("implementation"), implementations.Implementation)
    return parameters if real else {}


# --- Running ---------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Run a requirement in one phase.

    pytest's own protocol sets up fixtures, logging and capture for each of thousands of cases that use none of them, and
    every report of a phase is a message from a worker: both together take as long as judging does. With `--pdb` it is
    followed all the same.
    """
    if not isinstance(item, pytest.Function) or not _parameters(item) or item.config.option.usepdb:
        return None
    hook = item.ihook
    # From a worker each of these is a message, and only a verbose run shows what begins and ends.
    spoken = not _is_worker(item.config) or item.config.get_verbosity() > 0
    if spoken:
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    phases: list[tuple[Literal["setup", "call"], Any]] = [("call", lambda: pytest_pyfunc_call(item))]
    if _run_of(item.config).register is not None:  # has to be told before the first call, which may end this process
        phases.insert(0, ("setup", lambda: None))
    for when, work in phases:
        call = pytest.CallInfo.from_call(work, when=when, reraise=(pytest.exit.Exception, KeyboardInterrupt))
        hook.pytest_runtest_logreport(report=hook.pytest_runtest_makereport(item=item, call=call))
    if spoken:
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Judge a requirement; what happened is kept on the item, and raised so that pytest sees it too."""
    requirement = _requirement(pyfuncitem)
    if requirement is None:
        return None
    from transpec.judging import judge
    from transpec.results import Outcome

    parameters, about, run = _parameters(pyfuncitem), _about(pyfuncitem), _run_of(pyfuncitem.config)
    why = run.has_given_up(about["implementation"], about["operation"])
    if why:
        outcome = Outcome(**about, outcome="not run", message=why)
    else:
        run.note(judging=about, since=time.time())
        outcome = judge(requirement, parameters["implementation"], parameters.get("case"))
    if outcome.outcome == "timed out":
        run.patience[about["implementation"], about["operation"]] += 1
    pyfuncitem.stash[OUTCOME] = outcome
    if outcome.error is not None:
        # How a trace of ours helps: in the debugger, and where the suite itself is at fault.
        if pyfuncitem.config.option.usepdb or outcome.outcome == "suite error":
            raise outcome.error
        # Our report tells what is to be told; drawing a traceback full of tensors takes longer than judging.
        pytest.fail(outcome.message or outcome.outcome, pytrace=False)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Hang on pytest's report the outcome, and on the first what was selected."""
    report = yield
    if call.when == "setup" and _parameters(item):
        run = _run_of(item.config)
        if run.register is not None:
            report.user_properties.append((REGISTER, run.register))
            run.register = None
    if call.when == "call" and OUTCOME in item.stash:
        from transpec.results import known_of

        outcome = item.stash[OUTCOME].as_dict()
        report.user_properties.append((PROPERTY, outcome))
        described = {"source": outcome["implementation"], "name": _parameters(item)["implementation"].name}
        _state(report, outcome, _excused(outcome, _requirement(item).level, known_of(_known(item.config), described)))
    return report


def _state(report: pytest.TestReport, outcome: dict[str, Any], excused: bool) -> None:
    """Make pytest's report say what the outcome says; what is excused does not stop a run, nor fail it."""
    if outcome["outcome"] == "passed":
        report.outcome, report.longrepr = "passed", None
    elif excused:
        report.outcome, report.longrepr = "skipped", (report.location[0], 0, outcome["message"])
    elif outcome["outcome"] != "suite error":  # of which pytest has a trace
        report.outcome, report.longrepr = "failed", outcome["message"]


def _excused(outcome: dict[str, Any], level: str, known: dict[str, Any]) -> bool:
    if outcome["outcome"] in ("unsupported", "not run"):
        return True
    return outcome["outcome"] != "suite error" and (level == "SHOULD" or outcome["requirement"] in known)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """A letter and a word for each outcome, apart from pytest's own, so that they are listed once, in our table."""
    outcome = getattr(report, "transpec", None)
    if outcome is None or outcome["outcome"] in ("passed", "suite error"):
        return None
    category, letter = STATUS[outcome["outcome"]]
    if report.outcome == "skipped" and outcome["outcome"] not in ("unsupported", "not run"):
        category, letter = f"accepted: {category}", letter.lower()
    return category, letter, category.upper()


# --- Gathering -------------------------------------------------------------------------------------------------------


class Gatherer:
    """In the process that the user started: collects outcomes, also from workers, and makes the report of them."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.begun = time.perf_counter()
        self.register: dict[str, Any] | None = None
        self.outcomes: list[dict[str, Any]] = []
        self.costly: Counter[tuple[str, str]] = Counter()  # crashes and timeouts of an implementation's operation
        self.deadly: list[str] = []  # implementations whose import has ended a worker
        self.notes = ""
        self.others_failed = False
        self.stopped: BaseException | None = None
        self.report: dict[str, Any] | None = None
        self.trouble = ""
        self.watch: Watch | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take over what was selected, where there are no workers."""
        self.register = session.config.stash[RUN].register if RUN in session.config.stash else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Show how far runs are, where somebody looks: workers start after this and inherit the folder for their notes."""
        if _judges(self.config) and sys.stderr.isatty() and not self.config.option.collectonly:
            self.watch = Watch()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a new worker what others died of, and where to note what it might die of itself."""
        self.notes = self.notes or tempfile.mkdtemp(prefix="transpec-")
        node.workerinput["transpec"] = {
            "note": os.path.join(self.notes, node.gateway.id),
            "deadly": self.deadly,
            "costly": [[*key, count] for key, count in self.costly.items()],
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        """Find out what a worker was importing when it died; a worker that ends in peace tells what it selected."""
        importing = _note_of(node).get("importing")
        if error and importing:
            self.deadly.append(importing)
        self.register = self.register or getattr(node, "workeroutput", {}).get("transpec")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a report carries; one that is of no phase tells of a worker's death."""
        carried: dict[str, Any] = dict(report.user_properties)
        mine = {REGISTER, PROPERTY} & carried.keys()
        # Other plugins, such as the one that writes JUnit's XML, need not carry it on.
        report.user_properties = [pair for pair in report.user_properties if pair[0] not in mine]
        self.register = self.register or carried.get(REGISTER)
        outcome: dict[str, Any] | None = carried.get(PROPERTY)
        died = report.when not in ("setup", "call", "teardown")
        last = _note_of(report.node) if died and hasattr(report, "node") else {}
        if "judging" in last and self.register:
            outcome = self._crash(last["judging"], last["since"])
            report.when = "call"
            _state(report, outcome, self._is_excused(self.register, outcome))
        if outcome is not None:
            report.transpec = outcome  # type: ignore[attr-defined]
            self.outcomes.append(outcome)
            if died or outcome["outcome"] == "timed out":
                self.costly[outcome["implementation"], outcome["operation"]] += 1
        elif report.failed:
            self.others_failed = True

    def _is_excused(self, register: dict[str, Any], outcome: dict[str, Any]) -> bool:
        from transpec.results import known_of

        level = next(r["level"] for r in register["requirements"] if r["id"] == outcome["requirement"])
        described = next(d for d in register["implementations"] if d["source"] == outcome["implementation"])
        return _excused(outcome, level, known_of(_known(self.config), described))

    def _crash(self, about: dict[str, Any], since: float) -> dict[str, Any]:
        """The outcome of a call during which the worker died."""
        from transpec.results import Outcome

        limit = self.config.getoption("case_timeout")
        # A worker ends itself somewhat after twice the limit where a call does not let itself be interrupted.
        if 0 < 2 * limit <= time.time() - since:
            message = f"{about['operation']} did not return within {limit:g} s"
            return Outcome(**about, outcome="timed out", message=message).as_dict()
        return Outcome(**about, outcome="crashed", message="the process ended during the call").as_dict()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected is no requirement that is met."""
        self.others_failed = self.others_failed or report.failed

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, `-x` or another plugin's wish."""
        self.stopped = excinfo.value

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the report and set the exit status, before anything else can go wrong or be interrupted."""
        if self.watch:
            self.watch.end()
        if self.config.option.collectonly or not (self.register or _judges(self.config)):
            return
        why = self._incomplete_because(session, int(exitstatus))
        by_hand = type(self.stopped) is KeyboardInterrupt or isinstance(self.stopped, pytest.exit.Exception)
        ours = int(exitstatus) in (0, 1, 5) or (int(exitstatus) == 2 and not by_hand)
        if self.register is None or not self._has_something_to_say(self.register):
            self.trouble = (
                f"nothing was selected, so nothing was judged and no report written{': ' + why if why else ''}"
            )
            session.exitstatus = 1 if ours else exitstatus
            return
        self.report = self._build(self.register, why)
        if not ours:
            self.report["exit"]["status"] = int(exitstatus)
        self._write(self.report)
        session.exitstatus = self.report["exit"]["status"]

    def _has_something_to_say(self, register: dict[str, Any]) -> bool:
        """Whether anything was selected, or does not load; a report of nothing would take the place of a real one."""
        return bool(self.outcomes or self._selected() or any(one["load_error"] for one in register["implementations"]))

    def _incomplete_because(self, session: pytest.Session, exitstatus: int) -> str | None:
        if self.stopped is not None:
            return str(self.stopped) or "interrupted"
        if session.shouldfail or session.shouldstop:
            return str(session.shouldfail or session.shouldstop)
        if exitstatus == 3:
            return "pytest had an internal error"
        missing = sum(self._missing().values())
        return f"{missing} of {self._selected().total()} selected cases did not run" if missing else None

    def _selected(self) -> Counter[tuple[str, str]]:
        told = self.register["selected"] if self.register else []
        return Counter({(implementation, requirement): count for implementation, requirement, count in told})

    def _missing(self) -> Counter[tuple[str, str]]:
        return self._selected() - Counter((o["implementation"], o["requirement"]) for o in self.outcomes)

    def _build(self, register: dict[str, Any], why: str | None) -> dict[str, Any]:
        from transpec.results import build

        report = build(
            register=register,
            outcomes=self.outcomes,
            missing=self._missing(),
            known=_known(self.config),
            selection={
                "partial": register["partial"],
                "arguments": [str(argument) for argument in self.config.invocation_params.args],
                "selected": self._selected().total(),
                "ran": sum(outcome["outcome"] != "not run" for outcome in self.outcomes),
            },
            seconds=time.perf_counter() - self.begun,
            incomplete_because=why,
        )
        if self.others_failed:
            _object(report, "a test that is no requirement failed, or could not be collected")
        return report

    def _folder(self) -> Path:
        given = self.config.getoption("report_dir")
        # Without a configuration file, pytest's root is wherever the paths on the command line happen to meet.
        root = self.config.rootpath if self.config.inipath else self.config.invocation_params.dir
        return Path(given) if given else Path(root) / "reports" / "latest"

    def _write(self, report: dict[str, Any]) -> None:
        from transpec.report import write

        try:
            write(report, self._folder())
        except (OSError, ValueError) as error:
            self.trouble = f"the report could not be written to {self._folder()}: {error}"
            _object(report, self.trouble)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table."""
        if self.report is not None:
            from transpec.report import table

            terminalreporter.section("transpec")
            terminalreporter.write(table(self.report).rstrip("\n") + "\n")
        if self.report is not None and not self.trouble:
            terminalreporter.write_line(f"Report: {_short(self._folder() / 'index.html')}")
        elif self.report is None and self.trouble:
            terminalreporter.write_line(f"transpec: {self.trouble}", red=True)

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind."""
        if self.notes:
            shutil.rmtree(self.notes, ignore_errors=True)


def _note_of(node: Any) -> dict[str, Any]:
    """What a worker of pytest-xdist was about to do when it last left word."""
    try:
        return dict(json.loads(Path(node.workerinput["transpec"]["note"]).read_text(encoding="utf-8")))
    except (OSError, ValueError):  # it never came so far
        return {}


def _object(report: dict[str, Any], reason: str) -> None:
    """Let a report say what else stands against exit status 0."""
    report["exit"] = {"status": report["exit"]["status"] or 1, "reasons": [*report["exit"]["reasons"], reason]}


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
