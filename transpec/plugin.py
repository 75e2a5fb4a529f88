"""The pytest plugin: selects implementations, turns requirements into tests, gathers outcomes, writes the report.

It is loaded into every pytest run of an environment that has transpec, so it does nothing and imports nothing heavy
before a requirement is collected. Requirements run in a worker process of pytest-xdist, also where no `-n` is given: when
an implementation ends its process, the run goes on in another.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from transpec import implementations

PROPERTY = "transpec"
REGISTER = "transpec-register"
RESTARTS = 20  # of workers that an implementation killed; then the run ends, incomplete
RETRIES = 2  # times a requirement may kill a worker before its other cases are given up
STATUS = {
    "failed": ("does not conform", "F"),
    "errored": ("errored", "E"),
    "crashed": ("crashed", "C"),
    "timed out": ("timed out", "T"),
    "unsupported": ("unsupported", "u"),
    "suite error": ("suite error", "S"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the suite."""
    group = parser.getgroup("transpec", "transpec: judge implementations of the Transformer")
    group.addoption("--impl", action="append", metavar="NAME", help="implementation to judge: a file, an entry point, a name in impls/, or a dotted name, each with :object if wanted; repeats; default: the reference")
    group.addoption("--chapter", action="append", metavar="NAME", help="judge this chapter, or the chapters of this profile, alone; repeats")
    group.addoption("--case-timeout", type=float, default=30.0, metavar="SECONDS", help="how long one call of an implementation may take (default: 30)")
    group.addoption("--known-failures", metavar="FILE", help="TOML file of accepted failures (default: that of the bundled implementations)")
    group.addoption("--report-dir", metavar="DIR", help="where to write report.json, report.md and index.html (default: reports/latest)")


def spec_tests() -> Path:
    """The folder of the requirements."""
    spec = importlib.util.find_spec("transpec.spec_tests")
    if spec is None or not spec.submodule_search_locations:
        raise pytest.UsageError("transpec.spec_tests is not installed: install transpec again")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _judges(config: pytest.Config) -> bool:
    """Whether the arguments of this run lead to requirements."""
    folder = spec_tests()
    places = [Path(str(config.invocation_params.dir), argument.partition("::")[0]).resolve() for argument in config.args]
    return any(folder == place or folder in place.parents for place in places) or any(
        argument.startswith("transpec.spec_tests") for argument in config.args
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[Any]:
    """Before the run: `--impl` alone means the requirements alone, and they run in a worker process."""
    if not _is_worker(config) and not config.option.help and not config.option.version:
        if config.getoption("impl") and config.args_source is not pytest.Config.ArgsSource.ARGS:
            config.args = [str(spec_tests())]
        if _judges(config):
            _check_usage(config)
            _run_in_a_worker(config)
    return (yield)


def _check_usage(config: pytest.Config) -> None:
    from transpec.results import known_failures

    try:
        given = config.getoption("impl") or [implementations.REFERENCE]
        for name in given:
            implementations.find(name)
        if len(set(given)) < len(given):
            raise implementations.UsageError(f"--impl names an implementation twice: {', '.join(given)}")
        known_failures(_known_failures_file(config))
    except implementations.UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _run_in_a_worker(config: pytest.Config) -> None:
    options = config.option
    if getattr(options, "numprocesses", 0) is None and not options.usepdb and not options.collectonly and not options.trace:
        options.numprocesses = 1
    if hasattr(options, "maxworkerrestart") and options.maxworkerrestart is None:
        options.maxworkerrestart = str(RESTARTS)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """The profile for searching, and what gathers outcomes."""
    if getattr(config.option, "hypothesis_profile", None) == "explore":
        from hypothesis import HealthCheck, settings

        settings.register_profile("explore", deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
    if not _is_worker(config):
        config.pluginmanager.register(Gatherer(config), "transpec-gatherer")


def _known_failures_file(config: pytest.Config) -> Path | None:
    given = config.getoption("known_failures")
    if given:
        return Path(given)
    spec = importlib.util.find_spec("transpec.impls")
    places = list(spec.submodule_search_locations or []) if spec else []
    bundled = [Path(place) / "known_failures.toml" for place in places]
    return next((path for path in bundled if path.is_file()), None)


# --- Collection --------------------------------------------------------------------------------------------------------------


class Run:
    """What one process knows: the implementations under test, loaded once."""

    def __init__(self, config: pytest.Config) -> None:
        import torch

        # Tensors here are tiny: more threads only wait for each other, and two workers share the cores.
        torch.set_num_threads(1)
        given = config.getoption("impl") or [implementations.REFERENCE]
        self.implementations = [implementations.load(implementations.find(name)) for name in given]
        for implementation in self.implementations:
            implementation.case_timeout = config.getoption("case_timeout")
        self.chapters = _chapters(config)
        self.register_is_sent = False
        self.given_up = {tuple(pair) for pair in getattr(config, "workerinput", {}).get("transpec_given_up", [])}


RUN = pytest.StashKey[Run]()
OUTCOME = pytest.StashKey[Any]()


def _run_of(config: pytest.Config) -> Run:
    if RUN not in config.stash:
        config.stash[RUN] = Run(config)
    return config.stash[RUN]


def _chapters(config: pytest.Config) -> set[str] | None:
    from transpec.reference import CHAPTERS, PROFILES

    given = config.getoption("chapter")
    if not given:
        return None
    profiles = {name.lower(): chapters for name, chapters in PROFILES.items()}
    chosen: set[str] = set()
    for name in given:
        if name not in CHAPTERS and name.lower() not in profiles:
            raise pytest.UsageError(f"--chapter {name}: known chapters are {', '.join(CHAPTERS)}; known profiles are {', '.join(PROFILES)}")
        chosen.update(profiles.get(name.lower(), (name,)))
    return chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each implementation, case and dtype that a requirement has to be judged on."""
    requirement = getattr(metafunc.function, "requirement", None)
    if requirement is None:
        return
    run = _run_of(metafunc.config)
    if not requirement.cases:
        known = run.implementations if run.chapters is None else []
        metafunc.parametrize("implementation", known, ids=[implementation.name for implementation in known])
        return
    pairs, ids = [], []
    for case in requirement.cases if run.chapters is None or requirement.chapter in run.chapters else []:
        for dtype in case.dtypes:
            # Implementations innermost: what the oracle says of a case is shared by all.
            for implementation in run.implementations:
                if _applies(requirement, implementation, case, dtype):
                    pairs.append((implementation, case.in_dtype(dtype)))
                    ids.append(f"{implementation.name}-{case.operation.name}-{case.name}-{dtype}")
    metafunc.parametrize("implementation, case", pairs, ids=ids)


def _applies(requirement: Any, implementation: Any, case: Any, dtype: str) -> bool:
    if not implementation.claims(case.operation) or (dtype != "exact" and dtype not in implementation.dtypes):
        return False
    if requirement.tested_when is not None:
        return implementation.choice(requirement.id) in requirement.tested_when
    if requirement.needs_gradients:
        return bool(implementation.differentiable)
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A requirement that applies to no implementation leaves no test behind, not even a skipped one."""
    items[:] = [item for item in items if _requirement(item) is None or "implementation" in _parameters(item)]


def _requirement(item: pytest.Item) -> Any:
    return getattr(getattr(item, "function", None), "requirement", None)


def _parameters(item: pytest.Item) -> dict[str, Any]:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    real = isinstance(parameters.get("implementation"), implementations.Implementation)
    return parameters if real else {}


# --- Running -----------------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Judge a requirement; what happened is kept on the item, and raised so that pytest sees it too."""
    requirement = _requirement(pyfuncitem)
    if requirement is None:
        return None
    from transpec.judging import judge

    parameters = _parameters(pyfuncitem)
    implementation, run = parameters["implementation"], _run_of(pyfuncitem.config)
    if (implementation.source.given, requirement.id) in run.given_up:
        from transpec.judging import given_up

        outcome = given_up(requirement, implementation, parameters.get("case"))
    else:
        outcome = judge(requirement, implementation, parameters.get("case"))
    pyfuncitem.stash[OUTCOME] = outcome
    if outcome.error is not None:
        raise outcome.error
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Hang the outcome on pytest's report, as plain data that survives the way from a worker."""
    report = yield
    if call.when != "call" or OUTCOME not in item.stash:
        return report
    outcome, requirement = item.stash[OUTCOME], _requirement(item)
    report.user_properties.append((PROPERTY, outcome.as_dict()))
    run = _run_of(item.config)
    if not run.register_is_sent:
        from transpec.results import register

        report.user_properties.append((REGISTER, register(run.implementations)))
        run.register_is_sent = True
    report.outcome, report.longrepr = "passed", None
    if outcome.outcome != "passed":
        stops = outcome.outcome != "unsupported" and requirement.level != "SHOULD" and not _is_known(item, outcome)
        report.outcome = "failed" if stops else "skipped"
        report.longrepr = outcome.message if stops else (str(item.path), 0, outcome.message)
    return report


def _is_known(item: pytest.Item, outcome: Any) -> bool:
    from transpec.results import known_failures

    known = known_failures(_known_failures_file(item.config))
    name = _parameters(item)["implementation"].name
    return outcome.requirement in (known.get(outcome.implementation) or known.get(name) or {})


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """A letter and a word for each outcome, apart from pytest's own, so that they are listed once, in our table."""
    outcome = dict(getattr(report, "user_properties", ())).get(PROPERTY)
    if outcome is None or report.when != "call" or outcome["outcome"] == "passed":
        return None
    category, letter = STATUS[outcome["outcome"]]
    if report.outcome == "skipped" and outcome["outcome"] != "unsupported":
        category, letter = f"accepted: {category}", letter.lower()
    return category, letter, category.upper()


# --- Gathering ---------------------------------------------------------------------------------------------------------------


class Gatherer:
    """In the process that the user started: collects outcomes, from here or from workers, and makes the report of them."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.begun = time.perf_counter()
        self.outcomes: list[dict[str, Any]] = []
        self.register: dict[str, Any] | None = None
        self.selected: list[str] = []
        self.seen: set[str] = set()
        self.started: dict[str, float] = {}
        self.crashes: Counter[tuple[str, str]] = Counter()
        self.crashed: list[tuple[str, bool]] = []
        self.report: dict[str, Any] | None = None
        self.trouble = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What was selected, where there are no workers."""
        self.selected = self.selected or [item.nodeid for item in session.items if _requirement(item) is not None]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """What was selected, told by a worker."""
        folder = spec_tests().name
        self.selected = self.selected or [id for id in ids if f"{folder}/test_" in id.replace(os.sep, "/")]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a new worker which requirements have killed too many."""
        node.workerinput["transpec_given_up"] = [list(key) for key, count in self.crashes.items() if count >= RETRIES]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note the time, to tell a crash from a call that never came back."""
        self.started[nodeid] = time.perf_counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a report carries; one without a phase is a worker's death."""
        properties = dict(report.user_properties)
        if REGISTER in properties:
            self.register = self.register or properties[REGISTER]
            # The terminal and other plugins need not carry it on.
            report.user_properties = [pair for pair in report.user_properties if pair[0] != REGISTER]
        if PROPERTY in properties and report.when == "call":
            self.outcomes.append(properties[PROPERTY])
            self.seen.add(report.nodeid)
        elif report.when not in ("setup", "call", "teardown") or (report.failed and report.nodeid in self.selected):
            self._note_crash(report)

    def _note_crash(self, report: pytest.TestReport) -> None:
        if report.nodeid in self.seen:
            return
        self.seen.add(report.nodeid)
        waited = time.perf_counter() - self.started.get(report.nodeid, time.perf_counter())
        self.crashed.append((report.nodeid, waited > self.config.getoption("case_timeout")))
        if self.register is not None:
            key = self._who_and_what(report.nodeid)
            if key is not None:
                self.crashes[key] += 1

    def _who_and_what(self, nodeid: str) -> tuple[str, str] | None:
        """The implementation and the requirement that a test's id names."""
        if self.register is None:
            return None
        function, _, parameters = nodeid.replace(os.sep, "/").rpartition("/")[2].partition("[")
        described = [d for d in self.register["implementations"] if parameters.removesuffix("]").startswith(d["name"])]
        if function not in self.register["functions"] or not described:
            return None
        longest = max(described, key=lambda d: len(d["name"]))
        return longest["source"], self.register["functions"][function]

    def _crash_outcomes(self) -> Iterator[dict[str, Any]]:
        from transpec.judging import Outcome

        for nodeid, too_long in self.crashed:
            key = self._who_and_what(nodeid)
            if key is None:
                continue
            made = Outcome(key[1], key[0], nodeid.partition("[")[2].removesuffix("]"), "", "")
            made.outcome = "timed out" if too_long else "crashed"
            limit = self.config.getoption("case_timeout")
            made.message = f"the call did not return within {limit:g} s" if too_long else "the process ended during the call"
            yield made.as_dict()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the report and set the exit status, where anything was judged."""
        if self.config.option.collectonly or not (self.selected or self.outcomes) or not _judges(self.config):
            return
        self.report = self._build(session, int(exitstatus))
        if self.report is None:
            return
        self._write(self.report)
        if int(exitstatus) in (0, 1, 5):
            others_failed = session.testsfailed > len([o for o in self.outcomes if o["outcome"] != "passed"]) + len(self.crashed)
            session.exitstatus = 1 if self.report["exit"]["status"] or self.trouble or others_failed else 0

    def _build(self, session: pytest.Session, exitstatus: int) -> dict[str, Any] | None:
        from transpec.results import build, known_failures

        if self.register is None:
            self.trouble = "no requirement was judged to its end, so there is no report"
            return None
        missing: Counter[tuple[str, str]] = Counter()
        for nodeid in self.selected:
            key = self._who_and_what(nodeid) if nodeid not in self.seen else None
            if key is not None:
                missing[key] += 1
        why = None
        if exitstatus == 2:
            why = "interrupted"
        elif session.shouldfail or session.shouldstop:
            why = str(session.shouldfail or session.shouldstop)
        elif missing:
            why = f"{sum(missing.values())} of {len(self.selected)} selected cases did not run"
        ran = [*self.outcomes, *self._crash_outcomes()]
        return build(
            register=self.register,
            outcomes=ran,
            missing=missing,
            known=known_failures(_known_failures_file(self.config)),
            selection={
                "partial": _is_partial(self.config),
                "arguments": [str(argument) for argument in self.config.invocation_params.args],
                "selected": len(self.selected),
                "ran": len(ran),
            },
            seconds=time.perf_counter() - self.begun,
            incomplete_because=why,
        )

    def _folder(self) -> Path:
        given = self.config.getoption("report_dir")
        return Path(given) if given else Path(self.config.rootpath) / "reports" / "latest"

    def _write(self, report: dict[str, Any]) -> None:
        from transpec.report import write

        try:
            write(report, self._folder())
        except OSError as error:
            self.trouble = f"the report could not be written to {self._folder()}: {error}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table."""
        if self.trouble:
            terminalreporter.write_line(f"transpec: {self.trouble}", red=True)
        if self.report is not None:
            from transpec.report import table

            terminalreporter.section("transpec")
            terminalreporter.write(table(self.report).rstrip("\n") + "\n")
            if not self.trouble:
                terminalreporter.write_line(f"Report: {_short(self._folder() / 'index.html')}")


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _is_partial(config: pytest.Config) -> bool:
    options = config.option
    chosen = options.keyword or options.markexpr or options.deselect or getattr(options, "lf", False) or options.chapter
    whole = {str(spec_tests()), "transpec.spec_tests"}
    places = {argument if argument in whole else str(Path(str(config.invocation_params.dir), argument).resolve()) for argument in config.args}
    return bool(chosen) or not any(place in whole or spec_tests().is_relative_to(place) for place in places)
