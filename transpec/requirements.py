"""Requirements: test functions marked @must, @should or @may, each with a permanent id, its source and its sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from transpec.operations import OPERATIONS, Operation, sentence
from transpec.profiles import CHAPTERS

if TYPE_CHECKING:
    from transpec.cases import Case, Drawn
    from transpec.implementations import Implementation

F = TypeVar("F", bound=Callable[..., Any])


NARROW = ("equation", "gradients", "stability", "layouts", "empty-row", "far", "dtype-and-shape")


@dataclass(frozen=True)
class Requirement:
    """One normative sentence and the test that holds an implementation to it.

    `choices` are the allowed answers where papers are silent, the reference's own first. `tested_when` names the choices
    under which there is something to test, None is all of them; they may be the choices of another requirement,
    `choice_of`. `cases` are what the test is run on. `run` is "short" or "full" where the test trains a model, in the
    form that ends in a minute or the one that takes several; such a test runs where it is asked for.
    """

    id: str
    level: str
    source: str
    function: Callable[..., Any]
    choices: tuple[str, ...] = ()
    tested_when: tuple[str, ...] | None = None
    choice_of: str = ""
    cases: tuple[Any, ...] = field(default=())
    run: str = ""

    @property
    def text(self) -> str:
        """The normative sentence."""
        return sentence(self.function)

    @property
    def chapter(self) -> str:
        """The chapter of the reference, which the test's file shares: test_attention.py stands to attention.py."""
        return self.function.__module__.rpartition(".")[2].removeprefix("test_")

    @property
    def operations(self) -> tuple[Operation[..., Any], ...]:
        """The operations its cases call, in the order of the reference."""
        used = {case.operation for case in self.cases}
        return tuple(operation for operation in OPERATIONS.values() if operation in used)

    @property
    def needs_gradients(self) -> bool:
        """Whether it applies to differentiable implementations alone."""
        return self.id.endswith("gradients")

    @property
    def states_the_equation(self) -> bool:
        """Whether this is what a claimed operation has to pass in every declared dtype."""
        return self.id.endswith("equation")

    @property
    def hunts_in_narrow_dtypes(self) -> bool:
        """Whether it is tested in float16 and bfloat16 too, where range, cast order and accumulation go wrong.

        What a formula means is hunted in float64 and float32: the budgets of narrow dtypes are wide enough to hide it.
        Of an implementation that has narrow dtypes alone everything is tested in them.
        """
        return self.id.endswith(NARROW)

    def applies_to(self, implementation: Implementation, case: Case | Drawn, dtype: str) -> bool:
        """Whether an implementation has to meet this on a case in a dtype, as what it has and declares says."""
        if not implementation.claims(case.operation) or (dtype != "exact" and dtype not in implementation.dtypes):
            return False
        is_narrow = dtype not in ("float64", "float32", "exact")
        has_wide = not {"float64", "float32"}.isdisjoint(implementation.dtypes)
        if is_narrow and has_wide and not self.hunts_in_narrow_dtypes:
            return False
        if self.needs_gradients and not implementation.differentiates(case.operation):
            return False
        if self.tested_when is None:
            return True
        asked = REQUIREMENTS[self.choice_of or self.id]
        return (implementation.choice(asked.id) or asked.choices[0]) in self.tested_when


REQUIREMENTS: dict[str, Requirement] = {}


def must(id: str, source: str, **more: Any) -> Callable[[F], F]:
    """An implementation that fails this does not conform."""
    return _mark("MUST", id, source, **more)


def should(id: str, source: str, **more: Any) -> Callable[[F], F]:
    """Failing this is reported and does not change the verdict."""
    return _mark("SHOULD", id, source, **more)


def may(id: str, source: str, **more: Any) -> Callable[[F], F]:
    """An implementation is held to this only where it declares it."""
    return _mark("MAY", id, source, **more)


def _mark(
    level: str,
    id: str,
    source: str,
    *,
    choices: Iterable[str] = (),
    tested_when: Iterable[str] | None = None,
    choice_of: str = "",
    run: str = "",
) -> Callable[[F], F]:
    def mark(function: F) -> F:
        if not function.__doc__:
            raise TypeError(f"{function.__qualname__} needs a docstring: it is the sentence of requirement {id}")
        known = REQUIREMENTS.get(id)
        if known is not None and known.function.__code__.co_filename != function.__code__.co_filename:
            raise ValueError(f"requirement {id} is stated twice: {known.function.__code__.co_filename} has it already")
        stated = tuple(case for group in getattr(function, "case_groups", ()) for case in group)
        when = None if tested_when is None else tuple(tested_when)
        REQUIREMENTS[id] = Requirement(id, level, source, function, tuple(choices), when, choice_of, stated, run)
        function.requirement = REQUIREMENTS[id]  # type: ignore[attr-defined]
        return function

    return mark


def cases(*groups: Iterable[Any]) -> Callable[[F], F]:
    """What a requirement is tested on: groups of `Case` and `Drawn`. Stands below the mark that names the requirement."""

    def mark(function: F) -> F:
        function.case_groups = groups  # type: ignore[attr-defined]
        return function

    return mark


def load(chapter: str = "") -> dict[str, Requirement]:
    """All requirements in the order of the specification, the tests' modules being imported; or those of one chapter.

    A chapter of no such name has none. Which requirements are there depends on what was imported before.
    """
    import importlib
    import pkgutil

    package = importlib.import_module("transpec.spec_tests")
    importlib.import_module("transpec.reference")
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        if module == f"test_{chapter}" or (module.startswith("test_") and not chapter):
            importlib.import_module(f"transpec.spec_tests.{module}")
    return in_order()


def in_order() -> dict[str, Requirement]:
    """The requirements whose tests are imported, in the order of the specification."""
    chapters = ("contract", *CHAPTERS)
    ordered = sorted(REQUIREMENTS.values(), key=lambda requirement: chapters.index(requirement.chapter))
    REQUIREMENTS.clear()
    REQUIREMENTS.update((requirement.id, requirement) for requirement in ordered)
    return REQUIREMENTS
