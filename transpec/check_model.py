"""Holding an implementation to the reference on a real checkpoint, from the embeddings up, to find where it first diverges."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from transpec import catalogue
from transpec.cases import Case, integers
from transpec.diagnosis import diagnose
from transpec.implementations import Implementation, Misbehaviour, UsageError
from transpec.judgement import NonConformance, assert_conforms
from transpec.operations import OPERATIONS

if TYPE_CHECKING:
    from transpec.reference.checkpoints import Checkpoint, Rung

CASE_TIMEOUT = 600.0
DIAGNOSIS = 120.0  # seconds that a search of the catalogue may be expected to take


@dataclass(frozen=True)
class Step:
    """What became of an implementation on a part of the model: error over budget where it could be measured."""

    label: str
    operation: str
    outcome: str
    ratio: float | None = None
    message: str = ""
    diagnosis: tuple[str, ...] = ()


def read(folder: str) -> Checkpoint:
    """Read a checkpoint; what is wrong with it is an error of usage."""
    from transpec.reference.checkpoints import load

    try:
        return load(folder)
    except (ValueError, OSError) as error:
        raise UsageError(f"check-model: {error}") from error


def steps(
    checkpoint: Checkpoint, implementation: Implementation, dtype: str, tokens: int, folder: str
) -> Iterator[Step]:
    """One step for each rung of the ladder from the embeddings to the heads that the implementation claims."""
    implementation.case_timeout = max(implementation.case_timeout, CASE_TIMEOUT)
    diverged = False
    for rung in checkpoint.rungs():
        if not implementation.claims(OPERATIONS[rung.operation]):
            yield Step(rung.label, rung.operation, "unclaimed")
            continue
        step = _step(rung, implementation, dtype, tokens, folder, explain=not diverged)
        diverged = diverged or step.outcome == "failed"
        yield step


def _step(rung: Rung, implementation: Implementation, dtype: str, tokens: int, folder: str, *, explain: bool) -> Step:
    case = case_of(rung, tokens, folder).in_dtype(dtype)
    implementation.comparisons.clear()
    try:
        assert_conforms(implementation, case)
    except NonConformance as error:
        if error.comparison is None:
            return Step(rung.label, rung.operation, "failed", None, error.message)
        named = tuple(_diagnosis(case, implementation, error)) if explain else ()
        return Step(rung.label, rung.operation, "failed", error.comparison.ratio, error.message, named)
    except Misbehaviour as error:
        return Step(rung.label, rung.operation, error.outcome, None, str(error))
    return Step(rung.label, rung.operation, "passed", implementation.comparisons[-1].ratio)


def _diagnosis(case: Case, implementation: Implementation, error: NonConformance) -> list[str]:
    """The faults that explain the first divergence, where a search of the whole catalogue does not take too long."""
    faults = catalogue.near(case.operation)
    begun = time.perf_counter()
    case.operation(*case.arguments(lambda value: value, None)[0], **case.options)
    if (time.perf_counter() - begun) * len(faults) > DIAGNOSIS or error.comparison is None:
        return []
    return diagnose(implementation, error.comparison, faults)


def case_of(rung: Rung, tokens: int, folder: str) -> Case:
    """Two sequences of `tokens` tokens, the second padded by a quarter, and all that the operation takes."""
    operation, vocabulary = OPERATIONS[rung.operation], rung.config.vocab_size
    name = f"{Path(folder).name}, {rung.label}"
    ids = tuple(integers(f"{name} {each}", vocabulary, 2, tokens) for each in operation.tensors)
    real = torch.arange(tokens) < torch.tensor([tokens, max(1, tokens - tokens // 4)]).unsqueeze(-1)
    options: dict[str, Any] = {"attention_mask": real}
    if "token_type_ids" in operation.signature.parameters:
        options["token_type_ids"] = (torch.arange(tokens) >= tokens // 2).long().expand(2, -1) % (
            getattr(rung.config, "num_token_types", 1)
        )
    weights = {weight: value.double() for weight, value in rung.weights.items()}
    return Case(operation, name, ids, weights, options, config=rung.config)


def check(folder: str, implementation: Implementation, dtype: str | None, tokens: int) -> bool:
    """Print the ladder in every declared dtype, or in one, and say where it first diverges; whether it never does."""
    checkpoint = read(folder)
    parts = dict.fromkeys(rung.operation for rung in checkpoint.rungs())
    if not any(implementation.claims(OPERATIONS[name]) for name in parts):
        raise UsageError(
            f"check-model: {implementation.name} has none of the operations that this model is made of: "
            f"{', '.join(parts)}. The specification says how they are called"
        )
    longest = getattr(checkpoint.config, "max_positions", tokens)
    if not 1 <= tokens <= longest:
        raise UsageError(f"check-model: --tokens must be from 1 to {longest}, got {tokens}")
    torch.set_num_threads(min(4, torch.get_num_threads()))
    print(f"{checkpoint.operation} in {folder}\n  {checkpoint.config}")
    if checkpoint.unread:
        print(f"  left unread: {', '.join(checkpoint.unread)}")
    fine = True
    for each in [dtype] if dtype else [name for name in implementation.dtypes if name != "float16"]:
        print(f"\n{implementation.name} in {each}, two sequences of {tokens} tokens")
        fine = _printed(checkpoint, implementation, each, tokens, folder) and fine
    return fine


def _printed(checkpoint: Checkpoint, implementation: Implementation, dtype: str, tokens: int, folder: str) -> bool:
    print(f"  {'up to':24}{'operation':16}{'outcome':14}{'budgets':>10}")
    judged, first = [], None
    for step in steps(checkpoint, implementation, dtype, tokens, folder):
        judged.append(step)
        ratio = "" if step.ratio is None else f"{step.ratio:.2g}"
        outcome = "diverges" if step.outcome == "failed" and step.ratio is not None else step.outcome
        print(f"  {step.label:24}{step.operation:16}{outcome:14}{ratio:>10}", flush=True)
        if first is None and step.outcome not in ("passed", "unclaimed", "unsupported"):
            first = step
    if first is not None:
        print(f"\n  First at {first.label!r}:")
        print(textwrap.fill(first.message, 98, initial_indent="  ", subsequent_indent="    "))
        for id in first.diagnosis:
            print(f"  behaves like {id}: {catalogue.FAULTS[id].text}")
    passed = sum(step.outcome == "passed" for step in judged)
    claimed = sum(step.outcome != "unclaimed" for step in judged)
    rest = f"; {len(judged) - claimed} unclaimed" if claimed < len(judged) else ""
    print(f"\n  {passed} of {claimed} parts of the model passed{rest}")
    return first is None and passed > 0
