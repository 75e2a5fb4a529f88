"""Changes to the calls of operations that treat every token, a row of the last axis, by itself."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transpec.cases import Case

LOUD = 30.0  # far from the ordinary, and its square well inside float16
BLOCK_EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129)


def with_weights(case: Case, name: str, **weights: Tensor) -> Case:
    """The case with some weights exchanged for others, under the name `name` added to its own."""
    return case.changed(name, weights={**(case.weights or {}), **weights})


def with_another_token(case: Case) -> tuple[Case, Tensor]:
    """Other numbers in the token in the middle of all, and where in the result that may not show."""
    lead = case.tensors[0].shape[:-1]
    count = math.prod(lead)
    kept = (torch.arange(count) != count // 2).view(*lead, 1)
    return case.changed("another token", tuple(torch.where(kept, x, _other(x)) for x in case.tensors)), kept


def with_tokens_reversed(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The tokens of every sequence in reverse order, and how to put the result back."""
    return case.changed("tokens reversed", tuple(x.flip(-2) for x in case.tensors)), lambda result: result.flip(-2)


def first_of_the_batch(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The first entry of the first axis alone, and how to pick it out of the result of all."""
    return case.changed("alone", tuple(x[:1] for x in case.tensors)), lambda result: result[:1]


def with_other_numbers(case: Case, **options: Any) -> Case:
    """A call of the same shapes with every number of its tensors and weights another."""
    weights = {name: _other(weight) / 16 for name, weight in (case.weights or {}).items()}
    return case.changed("other numbers", tuple(_other(x) for x in case.tensors), weights, **options)


def _other(content: Tensor) -> Tensor:
    # Not one constant added: what normalizes would not notice.
    return (-LOUD / 2 - content.flip(-1) * 3).to(content.dtype)
