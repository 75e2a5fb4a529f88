"""Faults: known mistakes, each a wrong variant of one operation, with its effect and the requirement that catches it."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from transpec.operations import Operation, Variant, sentence, uses

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Fault(Variant):
    """A wrong variant. `breaks` is the requirement that must catch it; `seen` where somebody really had it."""

    breaks: str = ""
    effect: str = ""
    seen: str | None = None


FAULTS: dict[str, Fault] = {}


def fault(
    operation: Operation[..., Any], id: str, *, breaks: str, effect: str, seen: str | None = None
) -> Callable[[F], F]:
    """Mark a function as a known mistake. Its name, or its docstring if it has one, is the sentence that names it."""

    def mark(function: F) -> F:
        known = FAULTS.get(id)
        if known is not None and known.function.__code__.co_filename != function.__code__.co_filename:
            raise ValueError(f"fault {id} is in the catalogue twice")
        FAULTS[id] = Fault(operation, function, id, sentence(function), breaks, effect, seen)
        return function

    return mark


def load() -> dict[str, Fault]:
    """The whole catalogue, its chapters being imported."""
    _import_chapters()
    return FAULTS


@functools.cache
def _import_chapters() -> None:
    package = importlib.import_module("transpec.faults")
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")


@functools.cache
def without_memory() -> list[Fault]:
    """The faults that give the same on every call: by them a case shows what it can see, whatever was called before."""
    return [fault for fault in load().values() if not fault.breaks.endswith("no-memory")]


@functools.cache
def near(operation: Operation[..., Any]) -> list[Fault]:
    """Those without memory that change the formula of an operation: its own first, then those of what it calls."""
    changing = [fault for fault in without_memory() if uses(operation, fault.operation)]
    return sorted(changing, key=lambda fault: fault.operation is not operation)
