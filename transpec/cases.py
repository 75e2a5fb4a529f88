"""Cases: the inputs that requirements are tested on, designed ones by name and drawn ones by Hypothesis."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from transpec.operations import Operation
from transpec.rounding import PRECISIONS

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

EVERY_DTYPE = tuple(PRECISIONS)
WIDE = ("float64", "float32")
EXACT = "exact"  # the one "dtype" of an operation that has nothing floating


class OfTheCase:
    """Stands for an option's value that is the dtype of the case, as the framework under test spells it."""

    def __repr__(self) -> str:
        return "dtype"


DTYPE = OfTheCase()


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """One call of an operation: tensors and weights in float64, options without tensors' dtypes, and why it is there.

    `dtypes` are those in which the case can see something. `in_dtype` gives the same case with everything floating
    rounded to one of them, in the same layout; oracle results are kept on it and shared by all implementations.
    """

    operation: Operation[..., Any]
    name: str
    tensors: tuple[Any, ...] = ()
    weights: Mapping[str, Tensor] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = EVERY_DTYPE
    dtype: str = ""
    numbers_of: Case | None = None  # another case with the same numbers in another layout, whose oracle serves both
    origin: Case | None = None  # what this was rounded from
    config: Any = None  # of a model: a frozen dataclass
    where: Tensor | None = (
        None  # where gradients ask for the result, as at tokens and not at padding; None for all of it
    )
    # What has been found out about the case; a case that is made of this one by `replace` starts anew.
    known: dict[Any, Any] = field(default_factory=dict, repr=False, init=False)
    rounded: dict[str, Case] = field(default_factory=dict, repr=False, init=False)
    in_common: dict[Any, Any] = field(default_factory=dict, repr=False, init=False)
    derived: dict[str, Case] = field(default_factory=dict, repr=False, init=False)
    # What float64 and float32 have in common, with one such place for each change; None where there is but one of them.
    shared: dict[Any, Any] | None = field(default=None, repr=False, init=False)

    def __post_init__(self) -> None:
        if self.operation.takes_weights != (self.weights is not None):
            raise TypeError(
                f"{self.operation.name} takes {'' if self.weights is None else 'no '}weights: case {self.name}"
            )
        if self.operation.takes_config != (self.config is not None):
            raise TypeError(
                f"{self.operation.name} takes {'a' if self.config is None else 'no'} config: case {self.name}"
            )
        parameters = self.operation.signature.parameters
        given = {name: value for name, value in self.options.items() if value is not parameters[name].default}
        object.__setattr__(self, "options", given)
        if not self.is_floating:
            object.__setattr__(self, "dtypes", (EXACT,))

    @property
    def is_floating(self) -> bool:
        """Whether anything in the call has a floating dtype."""
        return any(_floats(value) for value in self.flat()) or DTYPE in self.options.values()

    @property
    def size(self) -> int:
        """How many numbers a person has to read to check the case by hand."""
        return sum(value.numel() if isinstance(value, Tensor) else 1 for value in self.flat())

    def flat(self) -> list[Any]:
        """Every value of the call: tensors, weights, options."""
        return [*self.tensors, *(self.weights or {}).values(), *self.options.values()]

    def beside(self, other: Case) -> list[tuple[Tensor, Tensor]]:
        """The tensors of the call and what stands in their places in another of the same shapes."""
        pairs = [*zip(self.tensors, other.tensors, strict=True)]
        pairs += [(value, (other.weights or {})[name]) for name, value in (self.weights or {}).items()]
        pairs += [(value, other.options[name]) for name, value in self.options.items() if name in other.options]
        return [(value, new) for value, new in pairs if isinstance(value, Tensor)]

    def map(self, change: Callable[[Any], Any], **fields: Any) -> Case:
        """The case with `change` applied to every value of the call."""
        weights = None if self.weights is None else {name: change(value) for name, value in self.weights.items()}
        options = {name: change(value) for name, value in self.options.items()}
        tensors = tuple(change(value) for value in self.tensors)
        return replace(self, tensors=tensors, weights=weights, options=options, **fields)

    def copied(self) -> Case:
        """The case with copies of its values. One tensor in two places stays one: some code has a path for `key is value`."""
        return self.map(once(lambda value: copy(value) if isinstance(value, Tensor) else _tuples_anew(value)))

    def changed(
        self,
        name: str,
        tensors: tuple[Any, ...] | None = None,
        weights: Mapping[str, Tensor] | None = None,
        config: Any = None,
        **options: Any,
    ) -> Case:
        """The case with other tensors, weights, config or options, under the name `name` added to its own.

        The same name gives the same case again, so that implementations share what the oracle says of it.
        """
        if name not in self.derived:
            made = self.derived[name] = replace(
                self,
                name=f"{self.name}, {name}",
                tensors=self.tensors if tensors is None else tensors,
                weights=self.weights if weights is None else weights,
                config=self.config if config is None else config,
                options={**self.options, **options},
                numbers_of=None,
                origin=None,
            )
            if self.shared is not None:
                object.__setattr__(made, "shared", self.shared.setdefault(name, {}))
        return self.derived[name]

    def in_dtype(self, dtype: str) -> Case:
        """The case with everything floating rounded to `dtype` (numbers unchanged where the dtype is "exact")."""
        if dtype == self.dtype:
            return self
        if dtype not in self.rounded:
            torch_dtype = None if dtype == EXACT else getattr(torch, dtype)
            rounded = once(lambda value: copy(value, torch_dtype) if _floats(value) else value)
            made = self.map(rounded, dtype=dtype, origin=self)
            if dtype in WIDE and set(WIDE) <= set(self.dtypes):
                object.__setattr__(made, "shared", self.in_common)
            if self.numbers_of is not None:
                # The other's own tensors are contiguous, so its oracle is the oracle of the numbers, not of a layout.
                object.__setattr__(made, "known", self.numbers_of.in_dtype(dtype).known)
            self.rounded[dtype] = made
        return self.rounded[dtype]

    def arguments(self, convert: Callable[[Any], Any], dtype: Any) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of the call, each value put through `convert`, DTYPE replaced by `dtype`.

        One tensor in two places becomes one object.
        """
        convert = once(convert)
        positional = [convert(value) for value in self.tensors]
        if self.weights is not None:
            positional.append({name: convert(value) for name, value in self.weights.items()})
        if self.config is not None:
            positional.append(self.config)
        return positional, {name: dtype if value is DTYPE else convert(value) for name, value in self.options.items()}

    def differentiable(self) -> dict[str, Tensor]:
        """What the operation has a gradient for, by the name a message gives it; one tensor may have several names."""
        named = dict(zip(self.operation.tensors, self.tensors, strict=False))
        named |= {f"weights[{name!r}]": value for name, value in (self.weights or {}).items()}
        return {name: value for name, value in named.items() if _floats(value)}

    def __str__(self) -> str:
        return f"{self.name}-{self.dtype}" if self.dtype else self.name

    def __repr__(self) -> str:
        return f"<case {self} of {self.operation.name}>"  # its tensors would fill pages


@dataclass(frozen=True, eq=False)
class Drawn:
    """Cases that Hypothesis draws: one test per dtype, run on as many as the profile says, shrunk where one fails."""

    operation: Operation[..., Any]
    strategy: SearchStrategy[Case]
    name: str = "drawn"
    dtypes: tuple[str, ...] = EVERY_DTYPE
    draws: int = 12  # unless Hypothesis' profile asks for a search
    dtype: str = ""

    def in_dtype(self, dtype: str) -> Drawn:
        """The same strategy, its cases to be rounded to `dtype`."""
        return replace(self, dtype=dtype)

    def __str__(self) -> str:
        return f"{self.name}-{self.dtype}"


def _tuples_anew(value: Any) -> Any:
    """Equal tuples that are not the same ones: what is kept by the identity of a tuple meets another in its place."""
    return tuple([_tuples_anew(part) for part in value]) if type(value) is tuple else value


def once(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same conversion, which gives one object again for the same tensor."""
    made: dict[int, tuple[Any, Any]] = {}  # with what was converted, so that no id is used a second time

    def converted(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return convert(value)
        if id(value) not in made:
            made[id(value)] = value, convert(value)
        return made[id(value)][1]

    return converted


def _floats(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


# ---------------------------------------------------------------------------------------------------------------------
# Numbers and layouts


def normal(name: str, *shape: int) -> Tensor:
    """Standard normal numbers in float64, the same for the same name on every machine and every run."""
    # RandomState, for its stream is frozen by numpy's policy; newer generators may change between versions.
    drawn = numpy.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(numpy.asarray(drawn))


def integers(name: str, high: int, *shape: int) -> Tensor:
    """Integers from 0 to `high` - 1, the same for the same name on every machine and every run."""
    return torch.from_numpy(
        numpy.random.RandomState(zlib.crc32(name.encode())).randint(0, high, shape, dtype=numpy.int64)
    )


def booleans(name: str, *shape: int) -> Tensor:
    """Booleans, about two thirds True, the same for the same name on every machine and every run."""
    return normal(name, *shape) > -0.4


def copy(value: Any, dtype: torch.dtype | None = None) -> Any:
    """A copy of a tensor in memory of its own with the same strides, other values pass through.

    What lies between the strided elements is NaN (floating), -1 (integer) or True, so that code which reads it shows.
    """
    if not isinstance(value, Tensor):
        return value
    dtype = dtype or value.dtype
    if value.is_contiguous() and value.storage_offset() == 0:
        return value.to(dtype, copy=True)
    if value.numel() == 0:
        return torch.empty_strided(value.shape, value.stride(), dtype=dtype)
    extent = value.storage_offset() + 1 + sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True))
    gap = math.nan if dtype.is_floating_point else True if dtype == torch.bool else -1
    made = torch.full((extent,), gap, dtype=dtype).as_strided(value.shape, value.stride(), value.storage_offset())
    once = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in value.stride())
    made[once].copy_(value[once])  # memory that several elements share is written once
    return made


def transposed(value: Tensor) -> Tensor:
    """The same numbers, the last two axes exchanged in memory."""
    return value.transpose(-2, -1).contiguous().transpose(-2, -1)


def batch_last(value: Tensor) -> Tensor:
    """The same numbers, the first axis the fastest in memory."""
    return value.movedim(0, -1).contiguous().movedim(-1, 0)


def fortran(value: Tensor) -> Tensor:
    """The same numbers, the first axis the fastest in memory and the last the slowest, as in Fortran."""
    backwards = tuple(reversed(range(value.dim())))
    return value.permute(backwards).contiguous().permute(backwards)


def sliced(value: Tensor) -> Tensor:
    """The same numbers, every second of a wider buffer along the last axis, and not at its start."""
    wide = torch.full((*value.shape[:-1], 2 * value.shape[-1] + 1), 7, dtype=torch.int64).to(value.dtype)
    wide[..., 1::2] = value
    return wide[..., 1::2]


def cut_out(value: Tensor) -> Tensor:
    """The same numbers, the first rows and columns of a larger buffer: entries are neighbours, rows lie further apart."""
    larger = [size + 2 if axis >= value.dim() - 2 else size for axis, size in enumerate(value.shape)]
    wide = torch.full(larger, 7, dtype=torch.int64).to(value.dtype)
    for axis in range(max(0, value.dim() - 2), value.dim()):
        wide = wide.narrow(axis, 0, value.shape[axis])
    return wide.copy_(value)


def expanded(value: Tensor) -> Tensor:
    """The first entry of the first axis, standing for all of them at stride zero."""
    return value[:1].expand(value.shape)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": transposed,
    "batch-last": batch_last,
    "Fortran's": fortran,
    "sliced": sliced,
    "expanded": expanded,
}


def layouts(case: Case) -> list[Case]:
    """The case with one tensor, weight or mask at a time in each layout that its number of axes allows."""
    made = []
    names = list(case.operation.tensors)
    if len(names) != len(case.tensors):
        names = [f"{names[0]} {place}" for place in range(len(case.tensors))]
    for place, (name, value) in enumerate(zip(names, case.tensors, strict=True)):
        for layout in _possible(value):
            tensors = (*case.tensors[:place], LAYOUTS[layout](value), *case.tensors[place + 1 :])
            made.append(_laid_out(case, case.changed(f"{name} {layout}", tensors), layout))
    for name, value in (case.weights or {}).items():
        for layout in _possible(value):
            weights = {**(case.weights or {}), name: LAYOUTS[layout](value)}
            made.append(_laid_out(case, case.changed(f"{name} {layout}", weights=weights), layout))
    for name, value in case.options.items():
        for layout in _possible(value):
            option: dict[str, Any] = {name: LAYOUTS[layout](value)}
            made.append(_laid_out(case, case.changed(f"{name} {layout}", **option), layout))
    return made


def _laid_out(case: Case, changed: Case, layout: str) -> Case:
    return changed if layout == "expanded" else replace(changed, numbers_of=case)


def _possible(value: Any) -> list[str]:
    if not isinstance(value, Tensor) or value.numel() == 0:
        return []
    many = (
        [] if value.dim() < 2 else ["transposed", *(["batch-last", "Fortran's"] if value.dim() > 2 else []), "expanded"]
    )
    return [*many, *(["sliced"] if value.dim() else [])]
