"""What several tests of the engine use: implementations made on the spot, and real runs of pytest on them."""

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transpec import requirements
from transpec.cases import EXACT, Case
from transpec.implementations import Implementation, Source, declared
from transpec.judging import judge
from transpec.results import Outcome

ROOT = Path(__file__).resolve().parent.parent


# --- In this process -------------------------------------------------------------------------------------------------


def implementation(**attributes: Any) -> Implementation:
    """An implementation with these attributes; in torch where nothing else is said."""
    given = {"FRAMEWORK": "torch", **attributes}
    return declared(SimpleNamespace(**given), Source("made", "file", "made.py"))


def small_case(requirement: str, operation: str = "", dtype: str = "float32") -> Case:
    """The smallest designed case of a requirement, or of one operation in it."""
    stated = requirements.load()[requirement].cases
    cases = [case for case in stated if isinstance(case, Case) and operation in ("", case.operation.name)]
    smallest = min((case for case in cases if {dtype, EXACT} & {*case.dtypes}), key=lambda case: case.size)
    return smallest.in_dtype(dtype if smallest.is_floating else EXACT)


def outcome_of(requirement: str, judged: Implementation, case: Any = None) -> Outcome:
    """What becomes of an implementation on one case of a requirement, the smallest where none is named."""
    chosen = small_case(requirement) if case is None else case
    return judge(requirements.load()[requirement], judged, chosen)


# --- In a process of its own -----------------------------------------------------------------------------------------


def write(folder: Path, name: str, code: str) -> str:
    """Write a Python file and return its path, as it is given to --impl."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    return str(path)


def environment(**more: str) -> dict[str, str]:
    """The environment of a user: this clone can be imported, and no pytest runs around it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TRANSPEC_"))}
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):  # compiling everything anew is a third of a short run
        kept["PYTHONPYCACHEPREFIX"] = str(ROOT / "build" / "bytecode")
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **more}


@dataclass(frozen=True)
class Ran:
    """A finished run of a command."""

    status: int
    output: str
    folder: Path | None = None

    @functools.cached_property
    def report(self) -> dict[str, Any]:
        """The report that the run has written."""
        assert self.folder is not None
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        return found

    def implementation(self, name: str) -> dict[str, Any]:
        """The part of the report that is about one implementation."""
        return next(one for one in self.report["implementations"] if one["name"] == name)

    def row(self, name: str, requirement: str) -> dict[str, Any]:
        """What the report says of an implementation and a requirement."""
        return next(row for row in self.implementation(name)["results"] if row["requirement"] == requirement)

    @property
    def reasons(self) -> str:
        """What stands against exit status 0."""
        return "\n".join(self.report["exit"]["reasons"])


def run(*command: str, cwd: Path = ROOT, **more: str) -> Ran:
    """Run Python with these arguments."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout)


def pytest_on(folder: Path, *arguments: str, cwd: Path = ROOT, **more: str) -> Ran:
    """Run pytest as a user would, the reports going to `folder`."""
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--report-dir={folder}", *arguments, cwd=cwd, **more)
    return Ran(done.status, done.output, folder)


def impls(*given: str) -> list[str]:
    """The options that name implementations; with `=`, for pytest looks for its root where free-standing paths lead."""
    return [f"--impl={name}" for name in given]


def shared(base: Path, name: str, make: Callable[[Path], Ran]) -> Ran:
    """A run that several tests look at, made once, also where pytest-xdist has spread them over workers."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return make(base / name)
    folder = base.parent / name
    kept = base.parent / f"{name}.json"
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        made = make(folder)
        kept.with_suffix(".part").write_text(json.dumps([made.status, made.output, str(made.folder)]), encoding="utf-8")
        kept.with_suffix(".part").rename(kept)
        return made
    while not kept.exists():
        time.sleep(0.1)
    status, output, reports = json.loads(kept.read_text(encoding="utf-8"))
    return Ran(status, output, Path(reports))


def plain(text: str) -> str:
    """Text on one line, to look for a sentence in what may be wrapped."""
    return re.sub(r"\s+", " ", text)
