"""The package: what is in the wheel, and that it works where this clone is not."""

import functools
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import ROOT, Ran, environment

import transpec

FOLDERS = (
    "reference",
    "spec_tests",
    "faults",
    "impls",
)  # which lie beside transpec/ in a clone and inside it in a wheel
NO_SOURCES = (".git", ".venv", "build", "reports", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "dist")
OFFLINE = ("--no-deps", "--no-index", "--disable-pip-version-check", "-q")


def pip(*arguments: str) -> None:
    """Run pip without a network."""
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@functools.cache
def wheel_in(folder: Path) -> Path:
    """The wheel, built from a copy of the sources: a build leaves files behind, and takes an earlier one's in."""
    shutil.copytree(ROOT, folder / "sources", ignore=shutil.ignore_patterns(*NO_SOURCES))
    pip("wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "sources"))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    return wheel_in(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The files in the wheel."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", *OFFLINE, "--target", str(folder), str(wheel))
    return folder


def test_no_common_name_is_taken(names):
    """The wheel puts one package and its description into an environment, and no `tests` or `reference` beside them."""
    assert {name.partition("/")[0] for name in names} == {"transpec", f"transpec-{transpec.__version__}.dist-info"}


def test_the_wheel_has_every_file(names):
    """Every module, template, schema and list of known failures is in the wheel, and no test of the engine is."""
    ours = {
        path.relative_to(ROOT) for path in (ROOT / "transpec").rglob("*") if path.suffix != ".pyc" and path.is_file()
    }
    beside = {
        path.relative_to(ROOT)
        for name in FOLDERS
        for path in (ROOT / name).rglob("*")
        if path.suffix in (".py", ".toml")
    }
    expected = {path.as_posix() for path in ours} | {f"transpec/{path.as_posix()}" for path in beside}
    assert {name for name in names if name.startswith("transpec/")} == expected


def test_the_wheel_says_what_it_is(wheel):
    """The wheel names its licence, its command, its plugin and what it needs."""
    files = zipfile.ZipFile(wheel)
    description = f"transpec-{transpec.__version__}.dist-info"
    entry_points = files.read(f"{description}/entry_points.txt").decode()
    metadata = files.read(f"{description}/METADATA").decode()
    assert "[pytest11]\ntranspec.plugin = transpec.plugin" in entry_points
    assert "transpec = transpec.cli:main" in entry_points
    assert "License-Expression: Apache-2.0" in metadata
    assert {"Requires-Dist: torch>=2.5", "Requires-Dist: pytest-xdist>=3.6"} <= set(metadata.splitlines())


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["as it is", "two workers"])
def test_the_wheel_judges_by_itself(installed, tmp_path, workers):
    """From an unrelated folder the installed package judges an implementation, in one worker and in two."""
    command = [sys.executable, "-m", "pytest", "-q", "--pyargs", "transpec.spec_tests", "--impl", "numpy_plain"]
    done = subprocess.run(
        [*command, "--chapter", "masks", "-k", "look_ahead_itself", *workers],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(installed)),
        capture_output=True,
        text=True,
        check=False,
    )
    ran = Ran(done.returncode, done.stdout + done.stderr, tmp_path / "reports" / "latest")
    assert ran.status == 0, ran.output
    assert ran.implementation("numpy_plain")["verdict"] == "conforms"


def test_the_installed_package_is_the_one_that_runs(installed, tmp_path):
    """Everything is imported from where the wheel was installed, and templates and schema are found there."""
    code = """
import json, transpec.report, transpec.reference.attention, transpec.spec_tests, transpec.faults, transpec.impls
from transpec.implementations import bundled
files = [transpec, transpec.report, transpec.reference, transpec.spec_tests, transpec.faults, transpec.impls]
print(json.dumps([[m.__file__ for m in files], bundled(), transpec.report.schema()["title"]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(installed)),
        capture_output=True,
        check=True,
    )
    files, bundled, title = json.loads(done.stdout)
    assert {str(Path(file).is_relative_to(installed)) for file in files} == {"True"}
    assert ("numpy_plain" in bundled, title) == (True, "transpec report")
