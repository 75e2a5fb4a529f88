"""How long a verdict takes and where the time goes.

    python -m benchmarks.verdicts [IMPLEMENTATION ...]        (default: numpy_plain torch_functional)

Prints wall seconds of whole runs as a user starts them, then, in one process, cases a second, seconds a verdict (a requirement
judged on all its cases), and the shares of the implementation, the oracle and the harness.
"""

import subprocess
import sys
import tempfile
import time

import torch
from tabulate import tabulate

from transpec import catalogue, implementations, requirements
from transpec.judgement import clock
from transpec.judging import judge


def wall(*names: str) -> float:
    """Seconds of `pytest --impl …` from start to end, in a process of its own."""
    chosen = [part for name in names for part in ("--impl", name)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-q", "--report-dir", folder, *chosen]
        begun = time.perf_counter()
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - begun


def shares(name: str) -> list[object]:
    """One row: verdicts, cases, seconds and where they went, the oracle's results of earlier rows being known."""
    implementation = implementations.load(implementations.find(name))
    verdicts = cases = 0
    in_implementation, in_oracle, begun = 0.0, clock.seconds, time.perf_counter()
    for requirement in requirements.REQUIREMENTS.values():
        chosen = [
            case.in_dtype(dtype)
            for case in requirement.cases
            if implementation.claims(case.operation)
            for dtype in case.dtypes
            if dtype == "exact" or dtype in implementation.dtypes
        ]
        for case in chosen:
            in_implementation += judge(requirement, implementation, case).seconds_in_implementation
        verdicts, cases = verdicts + bool(chosen), cases + len(chosen)
    seconds, in_oracle = time.perf_counter() - begun, clock.seconds - in_oracle
    harness = seconds - in_implementation - in_oracle
    percent = [f"{100 * part / seconds:.0f} %" for part in (in_implementation, in_oracle, harness)]
    return [name, verdicts, cases, f"{seconds:.1f}", f"{seconds / verdicts:.3f}", f"{cases / seconds:.0f}", *percent]


def main() -> None:
    """Print both tables."""
    names = sys.argv[1:] or ["numpy_plain", "torch_functional"]
    rows = [(name, f"{wall(name):.1f}") for name in names]
    if len(names) > 1:
        rows.append((" and ".join(names) + " in one run", f"{wall(*names):.1f}"))
    print(tabulate(rows, headers=["pytest --impl", "wall seconds"], disable_numparse=True))
    torch.set_num_threads(1)
    requirements.load()
    catalogue.load()
    headers = [
        "in one process",
        "verdicts",
        "cases",
        "s",
        "s a verdict",
        "cases/s",
        "implementation",
        "oracle",
        "harness",
    ]
    print("\n" + tabulate([shares(name) for name in names], headers=headers, disable_numparse=True))


if __name__ == "__main__":
    main()
