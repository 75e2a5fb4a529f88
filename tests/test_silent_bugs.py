"""Silent bugs that were written by somebody who had seen the specification alone: each is wrong only sometimes."""

from pathlib import Path

import pytest
from support import ROOT

from transpec import requirements
from transpec.implementations import find, load
from transpec.judging import judge

BUGS = sorted(Path(ROOT, "tests", "silent_bugs").glob("*.py"))


def failing(path: Path) -> str:
    """The first MUST that the implementation in a file does not meet, or nothing."""
    implementation = load(find(str(path)))
    for requirement in requirements.load().values():
        for case in requirement.cases if requirement.level == "MUST" else ():
            for dtype in case.dtypes:
                if requirement.applies_to(implementation, case, dtype):
                    outcome = judge(requirement, implementation, case.in_dtype(dtype), explain=False)
                    if outcome.outcome == "failed":
                        return requirement.id
    return ""


@pytest.mark.parametrize("path", BUGS, ids=[path.stem for path in BUGS])
def test_a_silent_bug_is_caught(path):
    """No silent bug conforms, however rarely it shows."""
    assert failing(path)
