"""Progress of runs that take long: processes note how far they are, and a terminal shows it."""

import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

PROGRESS = "TRANSPEC_PROGRESS"  # the variable that names the folder for the notes
FRESH = 60  # seconds for which a note is shown


def progress(what: str, done: int, total: int) -> None:
    """Tell whoever watches how far a run is. Costs next to nothing where nobody does."""
    folder = os.environ.get(PROGRESS)
    if folder and os.path.isdir(folder):
        note = Path(folder, str(os.getpid()))
        fresh = note.with_suffix(".new")
        fresh.write_text(f"{what} {done}/{total}", encoding="utf-8")
        fresh.replace(note)


class Watch:
    """A line on the terminal that says how far the runs under way are."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="transpec-progress-"))
        os.environ[PROGRESS] = str(self.folder)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._show, daemon=True)
        self.thread.start()

    def _show(self) -> None:
        while not self.over.wait(0.5):
            line = self.line()
            if line:
                print(f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K", end="", file=sys.stderr, flush=True)

    def line(self) -> str:
        """A bar for each process that noted something in the last minute."""
        noted = [note for note in sorted(self.folder.glob("*")) if not note.suffix]
        return "   ".join(
            _bar(note.read_text(encoding="utf-8")) for note in noted if time.time() - note.stat().st_mtime < FRESH
        )

    def end(self) -> None:
        """Stop, and leave nothing behind."""
        self.over.set()
        self.thread.join(2)
        shutil.rmtree(self.folder, ignore_errors=True)


def _bar(note: str) -> str:
    """`what 30/200` as a bar of ten."""
    what, _, share = note.rpartition(" ")
    done, _, total = share.partition("/")
    filled = 10 * int(done) // max(1, int(total))
    return f"{'█' * filled}{'░' * (10 - filled)} {what} {share}"
