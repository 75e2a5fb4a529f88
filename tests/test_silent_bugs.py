"""Silent bugs that were written by somebody who had seen the specification alone: each is wrong only sometimes."""

from pathlib import Path

import pytest
from support import ROOT

from transpec import requirements
from transpec.implementations import find, load
from transpec.judging import judge

BUGS = sorted(Path(ROOT, "tests", "silent_bugs").glob("*.py"))


@pytest.mark.parametrize("path", BUGS, ids=[path.stem for path in BUGS])
def test_a_silent_bug_is_caught(path):
    """No silent bug meets the requirement that is there to see it, a MUST, however rarely it shows."""
    implementation = load(find(str(path)))
    requirement = requirements.load()[implementation.target.CAUGHT_BY]
    assert requirement.level == "MUST"
    outcomes = (
        judge(requirement, implementation, case.in_dtype(dtype), explain=False).outcome
        for case in requirement.cases
        for dtype in case.dtypes
        if requirement.applies_to(implementation, case, dtype)
    )
    assert "failed" in outcomes
