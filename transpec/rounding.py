"""Monte Carlo arithmetic: how far rounding alone may take a correct implementation of a formula.

The formula runs in float64 with the result of every elementary operation perturbed at random by the unit roundoff of
the dtype under test (Parker, Monte Carlo Arithmetic, 1997). The largest deviation over the samples is the *spread*.

Perturbation follows a closed table. An operation that is not in it is an error of the suite, never passed unperturbed:
fused kernels (native layer norm, softmax, gelu) would hide the very roundings that other correct code makes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 16
POOL = 100_003  # random numbers kept; a prime, so that shapes do not fall into step with it
NEGLIGIBLE = 2.0**-100  # a `tiny` below this moves no sample; it still stands in the budget itself
UNROUNDED_INPUT = 2.0**-24  # an operation without floating input is budgeted at no more than float32's roundoff

_active: Any = None


class SuiteError(Exception):
    """The suite itself is at fault; says what it met and what to change in it."""


@dataclass(frozen=True)
class Precision:
    """What a floating dtype rounds to: unit roundoff, the smallest step near zero that is kept, the largest value."""

    name: str
    roundoff: float
    tiny: float
    largest: float


# `tiny` is the smallest normal where hardware commonly flushes subnormals to zero, and the smallest subnormal in
# float16, whose normals end at 6e-5 and where nobody flushes.
PRECISIONS = {
    "float64": Precision("float64", 2.0**-53, 2.0**-1022, 1.7976931348623157e308),
    "float32": Precision("float32", 2.0**-24, 2.0**-126, 3.4028234663852886e38),
    "bfloat16": Precision("bfloat16", 2.0**-8, 2.0**-126, 3.3895313892515355e38),
    "float16": Precision("float16", 2.0**-11, 2.0**-24, 65504.0),
}


def coarser(first: str, second: str | None) -> Precision:
    """The precision of the dtype with the larger unit roundoff, with float16's range if either has it."""
    names = [first] if second is None else [first, second]
    return max((PRECISIONS[name] for name in names), key=lambda precision: precision.roundoff)


def inside_operation(args: tuple[Any, ...]) -> AbstractContextManager[Any]:
    """Entered by every operation: lowers the roundoff where no argument is floating, for angles have no rounded input."""
    if _active is None or _active.roundoff <= UNROUNDED_INPUT or _active.has_floating(args):
        return nullcontext()
    return _active.finer(UNROUNDED_INPUT)


def perturbed(precision: Precision, seed: int) -> Any:
    """A context in which torch computes with random rounding errors of `precision`."""
    return _arithmetic()(precision.roundoff, precision.tiny, seed)


def largest_intermediate(function: Callable[[], Any]) -> float:
    """The largest finite magnitude of any intermediate result in a call of `function`."""
    with _arithmetic()(0.0, 0.0, 0) as mode:
        function()
    return float(mode.peak)


def reserve(spread: Tensor, *, whole: bool) -> Tensor:
    """The spread, raised to its RMS over the neighbours that share its fate; a sample may miss one entry by luck.

    Neighbours are the last axis, the last two where it is shorter than 8; with `whole` one batch item, for gradients.
    """
    import torch

    if spread.numel() == 0 or spread.dim() == 0:
        return spread
    if whole:
        axes = tuple(range(1, spread.dim())) if spread.dim() > 2 else tuple(range(spread.dim()))
    else:
        axes = (-1,) if spread.shape[-1] >= 8 or spread.dim() == 1 else (-2, -1)
    # NaN and infinity stand where the oracle itself is not finite; they are compared exactly and not smeared.
    finite = torch.where(spread.isfinite(), spread, torch.zeros_like(spread))
    largest = finite.amax().clamp_min(2.0**-1022)  # squares of a small spread would vanish
    rms = (finite / largest).square().mean(axes, keepdim=True).sqrt() * largest
    return torch.maximum(spread, rms.expand_as(spread))


# ---------------------------------------------------------------------------------------------------------------------
# The closed table. Names are those of torch's aten operators without overload.

EXACT = """
    abs alias all amax amin any arange argmax argmin as_strided bitwise_and bitwise_not bitwise_or bool broadcast_to cat
    clamp clamp_min clamp_max clone constant_pad_nd copy copy_ detach diagonal embedding empty empty_like empty_strided eq
    equal expand
    fill fill_ flip floor full full_like gather ge gt index index_select isfinite isinf isnan item le lift_fresh
    logical_and logical_not logical_or logical_xor lt masked_fill max maximum min minimum movedim ne neg new_empty
    new_empty_strided new_full new_ones new_zeros ones ones_like permute relu repeat reshape roll scalar_tensor select
    select_backward select_scatter sgn sign slice slice_backward slice_scatter sort split split_with_sizes squeeze squeeze_ stack
    t threshold_backward to topk transpose tril triu unbind unfold unsqueeze unsqueeze_ view view_as where zero_ zeros zeros_like
    _conj _local_scalar_dense _reshape_alias _reshape_copy _unsafe_view _to_copy
"""
ELEMENTWISE = "add div mul reciprocal rsub sqrt square sub"
TRANSCENDENTAL = """
    cos erf erfc exp exp2 expm1 log log1p log2 pow rsqrt sigmoid sin tanh tanh_backward sigmoid_backward
"""
FACTORS = {"elementwise": 1, "transcendental": 4}  # roundoffs of the result
SUMS = "sum mean cumsum"
SCATTERS = "index_put embedding_dense_backward index_add scatter_add"
CONTRACTIONS = "mm bmm mv dot"


def _lookup() -> dict[str, str]:
    kinds = {
        "exact": EXACT,
        "elementwise": ELEMENTWISE,
        "transcendental": TRANSCENDENTAL,
        "sum": SUMS,
        "scatter": SCATTERS,
        "contraction": CONTRACTIONS,
    }
    return {name: kind for kind, names in kinds.items() for name in names.split()}


_mode_class: Any = None


def _arithmetic() -> Any:
    """The dispatch mode; made on first use, since its base class needs torch."""
    global _mode_class
    if _mode_class is None:
        _mode_class = _define()
    return _mode_class


def _define() -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    table = _lookup()
    pool = torch.rand(POOL, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).mul_(2).sub_(1)

    @functools.cache
    def near_one(roundoff: float) -> Any:
        """The pool as numbers that a result is multiplied by, where its noise is a part of itself: one step, not six."""
        return pool * roundoff + 1

    class Arithmetic(TorchDispatchMode):
        """Perturbs every floating result by the rule of its kind, and keeps the largest finite magnitude it has seen."""

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # nothing here is ever compiled; shielding from the compiler would import it, a second's work

        def __init__(self, roundoff: float, tiny: float, seed: int) -> None:
            super().__init__()
            self.roundoff, self.tiny, self.peak = roundoff, tiny, 0.0
            self.generator = torch.Generator().manual_seed(seed)
            self.place = int(torch.randint(POOL // 2, (), generator=self.generator))
            self.kinds: dict[Any, str] = {}

        def __enter__(self) -> Any:
            global _active
            self.before, _active = _active, self
            return super().__enter__()

        def __exit__(self, *details: Any) -> None:
            global _active
            _active = self.before
            super().__exit__(*details)

        @contextmanager
        def finer(self, roundoff: float) -> Iterator[None]:
            before, self.roundoff = self.roundoff, roundoff
            try:
                yield
            finally:
                self.roundoff = before

        def is_seen_beside_one(self, result: Any) -> bool:
            return result.dtype is torch.float64 and self.roundoff > 2.0**-30 and self.tiny <= NEGLIGIBLE

        @staticmethod
        def has_floating(args: tuple[Any, ...]) -> bool:
            flat = [value for arg in args for value in (arg.values() if isinstance(arg, dict) else (arg,))]
            return any(isinstance(value, torch.Tensor) and value.is_floating_point() for value in flat)

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            result = func(*args, **kwargs)
            kind = self.kinds.get(func) or self.kind_of(func, result)
            if kind == "exact" or not isinstance(result, torch.Tensor) or not result.is_floating_point():
                return result
            if self.roundoff == 0.0:
                finite = result[result.isfinite()]
                self.peak = max(self.peak, float(finite.abs().max()) if finite.numel() else 0.0)
                return result
            if kind in FACTORS and self.is_seen_beside_one(result):
                return result * self.draw(result, near_one(self.roundoff * FACTORS[kind]))
            return result + self.noise(func, kind, result, args, kwargs)

        def kind_of(self, func: Any, result: Any) -> str:
            name = func.overloadpacket.__name__
            kind = table.get(name)
            if kind is None:
                if isinstance(result, torch.Tensor) and not result.is_floating_point():
                    kind = "exact"
                else:
                    raise SuiteError(
                        f"the reference calls torch's '{name}', which has no rule in transpec/rounding.py: write the formula "
                        "with elementary operations, or give the operation a rule"
                    )
            self.kinds[func] = kind
            return kind

        def noise(self, func: Any, kind: str, result: Any, args: Any, kwargs: Any) -> Any:
            if kind in FACTORS:
                size = result.abs().mul_(self.roundoff * FACTORS[kind])
                if self.tiny > NEGLIGIBLE:
                    size.add_(result != 0, alpha=self.tiny)
            elif kind == "contraction":
                left, right = args[0].abs(), args[1].abs()
                size = func(left, right).mul_(self.roundoff * left.shape[-1] ** 0.5).add_(self.tiny)
            elif kind == "scatter":
                # Collisions add up; without knowing how many met, the result's own size and the count bound them.
                count = args[1].numel() if isinstance(args[1], torch.Tensor) else 8
                size = result.abs().amax().mul(self.roundoff * max(1, count) ** 0.5) * (result != 0)
            else:
                if func.overloadpacket.__name__ == "cumsum":  # has as many results as terms; its longest sum counts
                    terms = args[0].shape[args[1]]
                else:
                    terms = max(1, args[0].numel() // max(1, result.numel()))
                if kind == "sum" and terms == 1:
                    return torch.zeros_like(result)
                size = func(args[0].abs(), *args[1:], **kwargs).mul_(self.roundoff * terms**0.5)
            # A sum over -inf must stay -inf, not turn into NaN: only finite entries are perturbed.
            return size.mul_(self.draw(result)).nan_to_num_(0.0, 0.0, 0.0)

        def draw(self, like: Any, pool: Any = pool) -> Any:
            """Numbers of a pool, between -1 and 1, in the shape of a result: drawing anew would double the time."""
            count = like.numel()
            if count > POOL:
                return pool.repeat(count // POOL + 2)[self.place : self.place + count].view(like.shape)
            if self.place + count > POOL:
                self.place = int(torch.randint(POOL - count + 1, (), generator=self.generator))
            drawn = pool[self.place : self.place + count]
            self.place += count
            return drawn.view(like.shape)

    return Arithmetic
