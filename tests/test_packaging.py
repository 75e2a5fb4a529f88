"""The package: what is in the wheel, and that it works where this clone is not."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from support import ROOT, Ran, environment, write

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


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this clone: a build leaves files behind, and takes in those that an earlier one has left."""
    folder = tmp_path_factory.mktemp("clone") / "transpec"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NO_SOURCES))
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", str(folder), str(sources))
    return next(folder.glob("*.whl"))


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
        if path.suffix in (".py", ".toml") or (path.parent.name == "data" and path.suffix != ".pyc")
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


def judged_by(python: str, folder: Path, *arguments: str, **more: str) -> Ran:
    """A short run of what is installed for this Python, from an unrelated folder."""
    command = [python, "-m", "pytest", "-q", *arguments, "--chapter", "masks", "-k", "look_ahead_itself"]
    done = subprocess.run(command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout + done.stderr, folder / "reports" / "latest")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_wheel_judges_by_itself(installed, tmp_path, workers):
    """From an unrelated folder the installed package judges an implementation, in one worker and in two."""
    arguments = ("--pyargs", "transpec.spec_tests", "--impl", "numpy_plain", "-n", workers)
    ran = judged_by(sys.executable, tmp_path, *arguments, PYTHONPATH=str(installed))
    assert ran.status == 0, ran.output
    assert ran.implementation("numpy_plain")["verdict"] == "conforms"


def test_an_editable_installation_judges_elsewhere(sources, tmp_path):
    """Installed as a clone that stays editable, the suite judges a file in a project of its own."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip("--python", python, "install", *OFFLINE, "--no-build-isolation", "--editable", str(sources))
    write(tmp_path, "pytest.ini", "[pytest]\n")
    write(tmp_path, "mine.py", "import numpy\ndef look_ahead_mask(n): return numpy.tri(n, dtype=bool)\n")
    ran = judged_by(python, tmp_path, "--impl", "mine.py", "-n", "1", PYTHONPATH="")
    assert ran.status == 0, ran.output
    assert ran.implementation("mine")["verdict"] == "conforms"


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
