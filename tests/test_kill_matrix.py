"""The suite tested by its own faults: each is caught by a wide margin and named; no empty answer passes an equation."""

import functools
from collections.abc import Callable
from typing import Any

import kill
import pytest
import torch
from kill import Fixed, Kill, diagnosis_of, first_kill, implementation_of, is_degenerate

from transpec import catalogue, requirements
from transpec.cases import Case
from transpec.catalogue import Fault
from transpec.judgement import VISIBLE, has_evidence
from transpec.judging import judge
from transpec.operations import OPERATIONS, Operation
from transpec.requirements import Requirement

NAMED = 0.95  # of the faults whose failure is one of numbers are named by the diagnosis
FEW, OFTEN = 4, 0.9  # so few faults are named beside each other on one case, so often; a report looks at many cases

FAULTS = catalogue.load()
STATED = requirements.load()
EQUATIONS = {
    operation.name: requirement
    for requirement in STATED.values()
    if requirement.states_the_equation
    for operation in requirement.operations
}
each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@functools.cache
def killed(fault: Fault) -> Kill | None:
    """The case on which the requirement that must catch a fault does so; None where it does not."""
    return first_kill(fault, STATED[fault.breaks])


@each_fault
def test_a_fault_names_a_requirement_that_tests_its_operation(fault: Fault) -> None:
    """The requirement that must catch a fault exists and has a case in which the operation is used."""
    assert fault.breaks in STATED
    assert next(kill.cases_for(STATED[fault.breaks], fault, kill.EVERY_DTYPE), None) is not None


@each_fault
def test_a_fault_is_caught_by_a_wide_margin(fault: Fault) -> None:
    """The reference with the fault fails the requirement that must catch it, by ten budgets where it is of numbers."""
    caught = killed(fault)
    assert caught is not None, f"{fault.breaks} lets {fault.id} pass"
    assert caught.margin >= VISIBLE, f"{fault.id} on {caught.case}: {caught.margin:.3g} budgets"


@pytest.mark.parametrize("chapter", dict.fromkeys(fault.operation.chapter for fault in FAULTS.values()))
def test_faults_are_named(chapter: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The diagnosis of a failure by number holds the fault that caused it, and few others, nearly always in a chapter."""
    caught = {id: killed(fault) for id, fault in FAULTS.items() if fault.operation.chapter == chapter}
    found = {id: diagnosis_of(k, FAULTS[id]) for id, k in caught.items() if k is not None and k.is_numeric}
    missed = {id: named for id, named in found.items() if id not in named}
    vague = {id: named for id, named in found.items() if len(named) > FEW}
    with capsys.disabled():
        print(
            f"\n{chapter}: {len(found) - len(missed)} of {len(found)} faults named; not named:",
            *missed.items(),
            sep="\n  ",
        )
        print(f"named beside {FEW} others or more:", *vague.items(), sep="\n  ")
    assert len(missed) <= (1 - NAMED) * len(found), missed
    assert len(vague) <= (1 - OFTEN) * len(found), vague


# --- Answers that look at nothing -------------------------------------------------------------------------------------


def empty_answers() -> list[Any]:
    """Each operation with each answer that looks at nothing, or at values alone."""
    pairs = [(operation, answer) for operation in OPERATIONS.values() for answer in kill.ANSWERS]
    for operation in OPERATIONS.values():
        if operation.tensors == ("query", "key", "value"):
            pairs += [(operation, answer) for answer in kill.ANSWERS_FROM_VALUES]
    return [pytest.param(*pair, id=f"{pair[0].name}-{pair[1].__name__}") for pair in pairs]


@pytest.mark.parametrize(("operation", "answer"), empty_answers())
def test_an_empty_answer_fails_every_case(operation: Operation[..., Any], answer: Callable[..., Any]) -> None:
    """No case of an equation is passed by an answer that looks at nothing, unless that is the right one."""
    equation = EQUATIONS[operation.name]
    empty = implementation_of(Fixed(operation, answer), answer.__name__)
    asked = [
        case.in_dtype(dtype)
        for case in equation.cases
        if isinstance(case, Case) and case.operation is operation and not is_degenerate(case, answer)
        for dtype in case.dtypes
    ]
    assert asked, f"{equation.id} has no case in which {answer.__name__} is wrong"
    assert [str(case) for case in asked if judge(equation, empty, case, explain=False).outcome != "failed"] == []


def designed_cases_of_equations() -> list[Any]:
    """Each designed case of each equation."""
    return [
        pytest.param(requirement, case, id=f"{case.operation.name}-{case.name}")
        for requirement in STATED.values()
        if requirement.states_the_equation
        for case in requirement.cases
        if isinstance(case, Case)
    ]


@pytest.mark.parametrize(("requirement", "case"), designed_cases_of_equations())
def test_a_case_of_an_equation_sees_something(requirement: Requirement, case: Case) -> None:
    """In every dtype that a case declares, some fault moves the result by ten budgets."""
    right = implementation_of(OPERATIONS_AS_MODULE, "reference")
    assert [
        dtype for dtype in case.dtypes if not has_evidence(right, case.in_dtype(dtype), catalogue.near(case.operation))
    ] == []


class _OperationsAsModule(kill.Torch):
    def __getattr__(self, name: str) -> Any:
        if name not in OPERATIONS:
            raise AttributeError(name)
        return OPERATIONS[name]


OPERATIONS_AS_MODULE = _OperationsAsModule()
torch.set_num_threads(1)
