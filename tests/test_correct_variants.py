"""No false alarm: implementations that are right, however unlike the reference, pass within half a budget."""

from typing import Any

import pytest
import torch
from correct_variants import CORRECT

from transpec import catalogue, requirements
from transpec.diagnosis import diagnose
from transpec.implementations import Implementation, Source, declared
from transpec.judging import Outcome, judge
from transpec.operations import OPERATIONS

AT_EASE = 0.5  # of a budget; what is right and above it shows a budget that is too small
STATED = requirements.load()


def judged(variant: Implementation) -> tuple[list[Outcome], list[str]]:
    """The outcomes of a variant on everything that applies to it, and the faults that its results were taken for."""
    outcomes, named = [], []
    for requirement in STATED.values():
        for case in requirement.cases:
            for dtype in case.dtypes:
                if requirement.applies_to(variant, case, dtype):
                    outcomes.append(judge(requirement, variant, case.in_dtype(dtype), explain=False))
                    for comparison in variant.comparisons:
                        named += diagnose(variant, comparison, catalogue.load().values())
    return outcomes, named


def worst_by_dtype(outcomes: list[Outcome]) -> dict[str, tuple[float, str]]:
    """The highest ratio in each dtype, and where."""
    worst: dict[str, tuple[float, str]] = {}
    for outcome in outcomes:
        place = f"{outcome.requirement}, {outcome.operation}, {outcome.case}"
        worst[outcome.dtype] = max(worst.get(outcome.dtype, (0.0, "")), (outcome.ratio or 0.0, place))
    return worst


def is_fine(outcome: Outcome) -> bool:
    """Whether a case was passed, is one that the variant does not support, or is no matter of right or wrong."""
    return outcome.outcome in ("passed", "unsupported") or STATED[outcome.requirement].level == "SHOULD"


@pytest.mark.parametrize("target", CORRECT.values(), ids=CORRECT)
def test_a_correct_variant_passes_at_ease(target: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A correct implementation meets every requirement, is never taken for a fault and stays below half a budget."""
    torch.set_num_threads(1)
    variant = declared(target, Source(target.NAME, "module", target.NAME))
    outcomes, named = judged(variant)
    worst = worst_by_dtype(outcomes)
    with capsys.disabled():
        print(summary(variant, outcomes, worst))
    assert any(variant.claims(operation) for operation in OPERATIONS.values())
    assert [f"{o.requirement} {o.case} {o.dtype}: {o.message}" for o in outcomes if not is_fine(o)] == []
    assert named == []
    assert max(ratio for ratio, _ in worst.values()) < AT_EASE


def summary(variant: Implementation, outcomes: list[Outcome], worst: dict[str, tuple[float, str]]) -> str:
    """How near to its budgets a variant comes."""
    ratios = torch.tensor([outcome.ratio or 0.0 for outcome in outcomes])
    middle, high = ratios.quantile(torch.tensor([0.5, 0.99])).tolist()
    unsupported = sum(outcome.outcome == "unsupported" for outcome in outcomes)
    highest = "; ".join(f"{ratio:.3f} in {dtype} ({place})" for dtype, (ratio, place) in worst.items() if ratio)
    return (
        f"\n{variant.name}: {len(outcomes)} cases, {unsupported} unsupported; "
        f"ratio median {middle:.3f}, 99 % below {high:.3f}, highest {highest}"
    )
