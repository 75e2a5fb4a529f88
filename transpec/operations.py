"""Operations: the functions of the reference, which are the contract, and the variants that may stand in for them.

A *variant* is another function for the same operation: a fault, an allowed choice, or an equal formulation. While it is
injected, it answers every call of the operation, also those that other operations of the reference make: a fault inside
attention is felt in everything built on it. Inside a variant the operation means what lies beneath the variant.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import CodeType
from typing import Any, Generic, ParamSpec, TypeVar

from transpec import rounding

P = ParamSpec("P")
R = TypeVar("R")

OPERATIONS: dict[str, Operation[..., Any]] = {}
_injected: ContextVar[tuple[Variant, ...]] = ContextVar("injected", default=())


@dataclass(frozen=True)
class Variant:
    """Another function for an operation, and the sentence that says what it does."""

    operation: Operation[..., Any]
    function: Callable[..., Any]
    id: str
    text: str


class Operation(Generic[P, R]):
    """A function of the reference. Signature, docstring and types of `function` are the contract.

    Tensors come first, then `weights` and `config` if the operation has any, then keyword-only options.
    """

    def __init__(self, function: Callable[P, R], source: str) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.source = source
        self.name: str = function.__name__
        self.chapter: str = function.__module__.rpartition(".")[2]
        self.signature = inspect.signature(function)
        positional = [p.name for p in self.signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
        self.tensors = tuple(name for name in positional if name not in ("weights", "config"))
        self.takes_weights, self.takes_config = "weights" in positional, "config" in positional
        # An operation that is told its dtype makes numbers out of nothing that has one.
        self.is_generator = "dtype" in self.signature.parameters
        self.choices: dict[tuple[str, str], Variant] = {}
        self.formulations: list[Variant] = []

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the variant injected last gives, or else the formula."""
        injected = _injected.get()
        for depth in reversed(range(len(injected))):
            if injected[depth].operation is self:
                token = _injected.set(injected[:depth] + injected[depth + 1 :])
                try:
                    with rounding.inside_operation(args):
                        return injected[depth].function(*args, **kwargs)
                finally:
                    _injected.reset(token)
        with rounding.inside_operation(args):
            return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    def choice(self, requirement: str, value: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
        """Mark a function as what this operation is under the choice `value` that `requirement` allows."""

        def mark(function: Callable[..., R]) -> Callable[..., R]:
            self.choices[requirement, value] = Variant(self, function, f"{requirement}: {value}", sentence(function))
            return function

        return mark

    def formulation(self, function: Callable[..., R]) -> Callable[..., R]:
        """Mark a function as equal to this operation in exact arithmetic, with roundings that are as legitimate."""
        self.formulations.append(Variant(self, function, function.__name__, sentence(function)))
        return function


def operation(source: str) -> Callable[[Callable[P, R]], Operation[P, R]]:
    """Mark a function of the reference as an operation, with the paper, section and equation it states."""

    def mark(function: Callable[P, R]) -> Operation[P, R]:
        made = Operation(function, source)
        OPERATIONS[made.name] = made
        return made

    return mark


@contextmanager
def inject(*variants: Variant) -> Iterator[None]:
    """Let the variants stand in for their operations; of two for one operation the last is asked first."""
    token = _injected.set(_injected.get() + variants)
    try:
        yield
    finally:
        _injected.reset(token)


def uses(operation: Operation[..., Any], other: Operation[..., Any]) -> bool:
    """Whether the reference's formula of `operation` calls `other`, directly or through a third."""
    return other in _closure(operation)


def generates(operation: Operation[..., Any]) -> bool:
    """Whether the formula of `operation` contains numbers that come from none of its tensors."""
    return any(used.is_generator for used in _closure(operation))


@functools.cache
def _closure(start: Operation[..., Any]) -> frozenset[Operation[..., Any]]:
    found, waiting = {start}, [start]
    while waiting:
        for called in _called(waiting.pop().function):
            if called not in found:
                found.add(called)
                waiting.append(called)
    return frozenset(found)


def _called(function: Callable[..., Any]) -> Iterator[Operation[..., Any]]:
    """The operations that a function names, also inside functions that it defines and helpers of its own package."""
    scope: dict[str, Any] = getattr(function, "__globals__", {})
    package = function.__module__.rpartition(".")[0]
    for name in _names(function.__code__):
        value = scope.get(name)
        if isinstance(value, Operation):
            yield value
        elif inspect.isfunction(value) and value is not function and value.__module__.rpartition(".")[0] == package:
            yield from _called(value)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def sentence(function: Callable[..., Any]) -> str:
    """The first paragraph of a docstring as one line; of a function without one, its name as a sentence."""
    text = inspect.getdoc(function)
    if text:
        return " ".join(text.split("\n\n")[0].split())
    words = function.__name__.replace("_", " ").replace("gelu tanh", "gelu_tanh")
    return re.sub(r"\b(pre|post) norm\b|\blook ahead\b|\b\de \d+\b", lambda found: found[0].replace(" ", "-"), words)
