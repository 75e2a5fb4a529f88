"""Progress of long runs: noted by the processes that run, shown by the one that the user started."""

import time
from pathlib import Path

import pytest

from transpec.progress import PROGRESS, Watch, progress


def test_what_a_process_notes_is_shown_as_a_bar(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The line on the terminal has the name, the count and a bar; afterwards nothing is left in the way."""
    monkeypatch.setenv(PROGRESS, "")  # put back afterwards
    watch = Watch()
    try:
        progress("training.bits-per-byte", 30, 120)
        assert watch.line() == "██░░░░░░░░ training.bits-per-byte 30/120"
        time.sleep(0.8)
    finally:
        watch.end()
    assert "training.bits-per-byte 30/120" in capfd.readouterr().err
    assert not watch.folder.exists()
    progress("training.bits-per-byte", 31, 120)


def test_nobody_watches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a folder for notes none is written."""
    monkeypatch.delenv(PROGRESS, raising=False)
    monkeypatch.chdir(tmp_path)
    progress("anything", 1, 2)
    assert list(tmp_path.iterdir()) == []
