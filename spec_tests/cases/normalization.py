"""Inputs for normalization. N(0, 1) rows hide what becomes of eps; rows whose variance is as small as it do not."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import EVERY_DTYPE, WIDE, Case, Drawn, batch_last, cut_out, layouts, normal, sliced, transposed
from transpec.operations import Operation
from transpec.reference.normalization import add_norm, layer_norm, rms_norm
from transpec.spec_tests.cases.tokens import BLOCK_EDGES, with_weights

SMALL_WIDTHS = (2, 3, 4, 5, 7, 8)  # where a variance that divides by M - 1 is far off
WIDTHS = (*BLOCK_EDGES, 255, 256, 257, 768, 1025, 4097)
FACTOR = 4  # a power of two, so that scaling is exact


def rows(name: str, *shape: int, size: float = 1.0, mean: float = 0.0) -> Tensor:
    """Normal numbers of the deviation `size` about `mean`."""
    return normal(f"{name} x", *shape) * size + mean


def layer(name: str, x: Tensor, *, eps: float = 1e-5, **fields: object) -> Case:
    """A call of layer_norm with a gain about one and a bias about zero, each entry its own."""
    weights = {"gain": 1 + 0.5 * normal(f"{name} gain", x.shape[-1]), "bias": 0.5 * normal(f"{name} bias", x.shape[-1])}
    return Case(layer_norm, name, (x,), weights, {"eps": eps}, **fields)


def rms_of(cases: Iterable[Case]) -> list[Case]:
    """The same rows, gain and eps as calls of rms_norm."""
    return [_as(rms_norm, case, weights={"gain": (case.weights or {})["gain"]}) for case in cases]


def add_of(cases: Iterable[Case]) -> list[Case]:
    """The same rows as sums of two tensors, as calls of add_norm."""
    return [_as(add_norm, case, tensors=_parts(case)) for case in cases]


def total(name: str, x: Tensor, sublayer_output: Tensor) -> Case:
    """A call of add_norm on two tensors of their own."""
    return _as(add_norm, layer(name, x + sublayer_output), tensors=(x, sublayer_output))


def in_every_operation(cases: list[Case]) -> list[Case]:
    """The same rows as calls of each of the three operations."""
    return [*cases, *rms_of(cases), *add_of(cases)]


def _as(operation: Operation[..., Any], case: Case, **fields: Any) -> Case:
    return replace(case, operation=operation, numbers_of=None, origin=None, **fields)


def _parts(case: Case) -> tuple[Tensor, Tensor]:
    """Two tensors of about the deviation of a case's rows whose sum they are; the first has their mean."""
    (x,) = case.tensors
    size = (x - x.mean(-1, keepdim=True)).square().mean().sqrt() if x.numel() else 1.0
    sublayer_output = normal(f"{case.name} sublayer output", *x.shape) * size
    return x - sublayer_output, sublayer_output


def without_weights(cases: list[Case]) -> list[Case]:
    """The same calls with a gain of ones and a bias of zeros."""
    plain = ({w: torch.full_like(v, float(w == "gain")) for w, v in (case.weights or {}).items()} for case in cases)
    return [case.changed("gain of ones", weights=weights) for case, weights in zip(cases, plain, strict=True)]


def eighths(x: Tensor) -> Tensor:
    """Rounded to eighths between -4 and 4: sums and small multiples of such numbers are exact in every dtype."""
    return (x * 8).round().clamp(-31, 31) / 8


# --- The formula ------------------------------------------------------------------------------------------------------


def _numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Variance 1 and eps 3 make a root of 2; mean square 4 and eps 5 make a root of 3.
_weights = {"gain": _numbers(2, 3), "bias": _numbers(10, 20)}
by_hand = [Case(layer_norm, "by hand", (_numbers(4, 6),), _weights, {"eps": 3.0})]
rms_by_hand = [Case(rms_norm, "by hand", (_numbers(2, -2),), {"gain": _numbers(3, 6)}, {"eps": 5.0})]
add_by_hand = [Case(add_norm, "by hand", (_numbers(3, 7), _numbers(1, -1)), _weights, {"eps": 3.0})]


def _as_at_the_start(case: Case) -> Case:
    """The weights before the first step of training, of which code may believe that they change nothing."""
    weights = {name: torch.full_like(value, name == "gain") for name, value in (case.weights or {}).items()}
    return replace(case, weights=weights)


generic = [
    layer("generic", rows("generic", 2, 5, 7)),
    layer("more entries than tokens", rows("more entries", 2, 3, 17)),
    layer("more tokens than entries", rows("more tokens", 3, 11, 5)),
    layer("every axis of one size", rows("square", 4, 4, 4)),
    layer("one token", rows("one token", 1, 7)),
    layer("a batch of one", rows("batch of one", 1, 5, 7)),
    layer("sequences of one token", rows("tokens of their own", 3, 1, 7)),
    layer("a mean of 3", rows("mean of 3", 2, 3, 7, mean=3.0)),
    layer("every entry negative", -rows("negative", 2, 3, 7).abs() - 1),
    layer("every row of its own scale", rows("scales", 2, 3, 7) * _numbers(0.1, 1, 10).unsqueeze(-1)),
    layer("every row of its own mean", rows("means", 2, 3, 7) + _numbers(-4, 0, 4).unsqueeze(-1)),
    layer("one entry far from the others", torch.where(torch.arange(7) == 4, 30.0, rows("far", 2, 3, 7))),
    layer("eps of 0.1", rows("eps of 0.1", 2, 3, 7), eps=0.1),
    _as_at_the_start(layer("a gain of one and a bias of zero", rows("start", 2, 3, 7))),
]
small_widths = [layer(f"{width} entries", rows(f"{width} entries", 2, 3, width), eps=0.1) for width in SMALL_WIDTHS]
widths = [layer(f"{width} entries", rows(f"{width} entries", 3, width, mean=0.5), dtypes=WIDE) for width in WIDTHS]
many_tokens = [
    layer(f"{tokens} tokens", rows(f"{tokens} tokens", tokens, 5), dtypes=WIDE) for tokens in (*BLOCK_EDGES, 1025)
]
leading_axes = [
    layer("no leading axes", rows("bare", 7)),
    layer("one leading axis", rows("sequence", 5, 7)),
    layer("two leading axes", rows("batch", 3, 5, 7)),
    layer("three leading axes", rows("batches", 2, 3, 5, 7)),
    layer("four leading axes", rows("batches of batches", 2, 1, 3, 5, 7)),
]
axes_of_one_size = [layer(f"{rank} axes of 4", rows(f"{rank} axes of 4", *[4] * rank, mean=1.0)) for rank in (2, 3, 4)]
_twice = rows("twice", 2, 3, 7)
twice = _as(add_norm, layer("x twice", _twice), tensors=(_twice, _twice))
sums = [
    *add_of(generic),
    *(case.changed("exchanged", case.tensors[::-1]) for case in add_of(generic[:2])),
    total("a sublayer that gives zero", rows("zero s", 2, 3, 7), torch.zeros(2, 3, 7, dtype=torch.float64)),
    total("a residual of zero", torch.zeros(2, 3, 7, dtype=torch.float64), rows("zero x", 2, 3, 7)),
    # One tensor for both, which code may have a path for.
    twice,
    total("a sublayer much louder than x", rows("soft x", 2, 3, 7), rows("loud s", 2, 3, 7) * 10),
]
broadcast = [
    total("a sublayer output without leading axes", rows("all x", 2, 3, 7), rows("bare s", 7)),
    total("a sublayer output with an axis of one", rows("three x", 3, 4, 6), rows("one s", 1, 4, 6)),
    total("x with an axis of one", rows("one x", 1, 3, 7), rows("two s", 2, 3, 7)),
    # Alignment is at the last axis also where a size would fit at the first.
    total("x without a batch as large as its length", rows("bare x", 3, 7), rows("square s", 3, 3, 7)),
    total(
        "a sublayer output without a batch as large as its length", rows("square x", 3, 3, 7), rows("bare s 2", 3, 7)
    ),
]

# --- Epsilon ----------------------------------------------------------------------------------------------------------

# Where the deviation is the root of eps, eps counts as much as the variance, wherever in the formula it stands.
epsilon = [
    layer(f"eps {eps:g}, deviation {size:g}", rows(f"eps {eps:g} {size:g}", 2, 3, 7, size=size), eps=eps, dtypes=dtypes)
    for eps, size, dtypes in [
        (1.0, 1.0, EVERY_DTYPE),
        (0.1, 0.3, EVERY_DTYPE),
        (1e-3, 0.03, EVERY_DTYPE),
        (100.0, 1.0, EVERY_DTYPE),
        (1.0, 1e-3, WIDE),
        (0.1, 1e-3, WIDE),
        (1e-5, 3e-3, WIDE),
        (1e-6, 1e-3, WIDE),
        (1e-12, 1e-3, WIDE),
        (1e-12, 1e-6, WIDE),
        (1e-12, 1.0, ("float64",)),
    ]
]
epsilon_of_zero = [
    layer("eps 0", rows("eps 0", 2, 3, 7, size=0.1), eps=0.0),
    layer("eps 0, deviation 1e-3", rows("eps 0 small", 2, 3, 7, size=1e-3), eps=0.0, dtypes=WIDE),
    layer("eps 0, deviation 1e-12", rows("eps 0 tiny", 2, 3, 7, size=1e-12), eps=0.0, dtypes=WIDE),
]

# --- Stability --------------------------------------------------------------------------------------------------------


def _equal_entries(*values: float) -> Tensor:
    return _numbers(*values).unsqueeze(-1).expand(-1, 7).contiguous()


large_mean = [
    layer("mean 1e6, deviation 1e3", rows("1e6", 2, 3, 7, size=1e3, mean=1e6), dtypes=WIDE),
    layer("mean -1e6, deviation 1e3, 33 entries", rows("-1e6", 3, 33, size=1e3, mean=-1e6), dtypes=WIDE),
    layer("mean 1, deviation 1e-3", rows("1", 2, 3, 7, size=1e-3, mean=1.0), eps=1e-12, dtypes=WIDE),
]
large_entries = [
    layer("entries of 1e4", rows("1e4", 2, 3, 7, size=1e4), dtypes=WIDE),
    layer("entries of 1e12", rows("1e12", 2, 3, 7, size=1e12), dtypes=WIDE),
    layer("one entry of 1e4", torch.where(torch.arange(7) == 2, 1e4, rows("peak", 2, 3, 7)), dtypes=WIDE),
    # The largest result there is: the root of the width.
    layer(
        "one of 1025 entries 1e4", torch.where(torch.arange(1025) == 1000, 1e4, rows("needle", 2, 1025)), dtypes=WIDE
    ),
]
constant_rows = [
    layer("rows of equal entries", _equal_entries(3, -0.1, 20), dtypes=WIDE),
    layer("a row of equal entries among others", torch.cat([rows("others", 2, 7), _equal_entries(0.7)]), dtypes=WIDE),
]
zero_rows = [
    layer("rows of zeros", torch.zeros(2, 3, 7, dtype=torch.float64)),
    layer("a row of zeros among others", torch.cat([rows("others than zero", 2, 7), _equal_entries(0)])),
]
one_entry = [layer("one entry", rows("one entry", 2, 3, 1)), layer("one entry, eps 0.1", rows("one", 5, 1), eps=0.1)]

# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = in_every_operation([layer("a batch of zero", rows("none", 0, 5, 7))])
strided = [
    variant for case in in_every_operation([layer("strides", rows("strides", 3, 5, 7))]) for variant in layouts(case)
]
strided_together = [
    case.changed(name, tuple(layout(x) for x in case.tensors), {w: sliced(v) for w, v in (case.weights or {}).items()})
    for case in in_every_operation([layer("all at once", rows("all at once", 3, 5, 33), dtypes=WIDE)])
    for name, layout in {
        "transposed": transposed,
        "sliced": sliced,
        "batch-last": batch_last,
        "cut out": cut_out,
    }.items()
]
_sound = in_every_operation([layer("shapes that do not fit", rows("do not fit", 2, 5, 7))])
impossible = [
    *(with_weights(case, "gain narrower than x", gain=normal("bad gain", 6)) for case in _sound),
    *(with_weights(case, "gain wider than x", gain=normal("bad gain 2", 8)) for case in _sound),
    *(with_weights(case, "bias of another width", bias=normal("bad bias", 6)) for case in (_sound[0], _sound[2])),
    _sound[2].changed("sums of unlike width", (normal("bad x", 2, 5, 7), normal("bad s", 2, 5, 6))),
    _sound[2].changed("sums of unlike length", (normal("bad x 2", 2, 5, 7), normal("bad s 2", 2, 4, 7))),
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def layers(draw: st.DrawFn) -> Case:
    """Layer normalization of any small width, leading axes, deviation, mean and eps."""
    width = draw(st.integers(1, 33), label="M")
    lead = tuple(draw(st.lists(st.integers(1, 4), max_size=3), label="lead"))
    size = draw(st.sampled_from([1.0, 0.1, 3.0]), label="size")
    mean = draw(st.sampled_from([0.0, 1.0, -3.0]), label="mean") * size
    eps = draw(st.sampled_from([1e-5, 1e-3, 0.1, 1.0]), label="eps")
    seed = draw(st.integers(0, 999), label="seed")
    name = f"drawn {lead} of {width}, deviation {size:g}, mean {mean:g}, eps {eps:g}, seed {seed}"
    return layer(name, rows(name, *lead, width, size=size, mean=mean), eps=eps)


drawn = [Drawn(layer_norm, layers())]
drawn_rms = [Drawn(rms_norm, layers().map(lambda case: rms_of([case])[0]))]
drawn_sums = [Drawn(add_norm, layers().map(lambda case: add_of([case])[0]))]

# --- Groups for properties --------------------------------------------------------------------------------------------

in_eighths = [
    layer("eighths", eighths(rows("eighths", 2, 5, 7))),
    layer("eighths, eps 0.1", eighths(rows("eighths 0.1", 2, 5, 7, size=0.5)), eps=0.1),
    layer("eighths, 33 entries", eighths(rows("eighths 33", 3, 33)), dtypes=WIDE),
]
sums_in_eighths = [
    _as(add_norm, case, tensors=(*case.tensors, eighths(normal(f"{case.name} s", *case.tensors[0].shape))))
    for case in in_eighths
]
directions = without_weights(
    [generic[0], generic[7], generic[8], generic[11], generic[12], small_widths[1], *large_mean[:1]]
)
scaled = [generic[0], generic[7], generic[9], generic[12], epsilon[0], epsilon[2], epsilon[9], small_widths[1]]
tokens = in_every_operation([generic[0], generic[3], generic[6], *leading_axes[1:], *axes_of_one_size])
in_batches = in_every_operation([generic[0], generic[3], generic[9], leading_axes[3]])
every_operation = in_every_operation([generic[0], leading_axes[1], axes_of_one_size[2]])
_moderate = [
    *(generic[place] for place in (0, 3, 5, 7, 9, 12, 13)),
    *small_widths[1:3],
    *leading_axes[:2],
    leading_axes[3],
    *epsilon[:3],
    epsilon[7],
    large_entries[0],
    strided[0],
    *(case for case in widths if case.tensors[0].shape[-1] in (16, 33, 65, 129, 257, 1025)),
    *(case for case in many_tokens if len(case.tensors[0]) in (33, 129)),
]


def _with_a_gain_of_zero(case: Case) -> Case:
    """One entry that the gain silences, as pruning does; how it should change shows all the same."""
    return case.changed("a gain of zero", weights={
        name: torch.where(torch.arange(len(value)) == 1, 0.0, value) if name == "gain" else value
        for name, value in (case.weights or {}).items()
    })  # fmt: skip


_moderate += [_with_a_gain_of_zero(generic[0])]
# In float16 the cube of 1 / sqrt(eps), the slope of a reciprocal root, overflows where a row has no variance.
_without_variance = [replace(case, dtypes=WIDE) for case in (zero_rows[1], one_entry[0])]
differentiable = [*_moderate, *constant_rows, *_without_variance, one_entry[1]]
rms_differentiable = rms_of([*_moderate, constant_rows[1], one_entry[1], _without_variance[0]])
sums_differentiable = [*add_of(_moderate[:1]), twice, *add_of(_moderate[1:]), *broadcast[:2]]


# --- Changes that properties make -------------------------------------------------------------------------------------


def shifted(case: Case) -> Case:
    """A constant added to every row, each row another."""
    (x,) = case.tensors
    constants = torch.arange(x.shape[-2]).remainder(4).unsqueeze(-1).to(x.dtype)
    return case.changed("shifted", (x + constants,))


def enlarged(case: Case, power: int = 2) -> Case:
    """Every row four times as large, and eps by the given power of four."""
    name = f"four times as large, eps by 4**{power}"
    return case.changed(name, (case.tensors[0] * FACTOR,), eps=case.options["eps"] * FACTOR**power)


def summed(case: Case) -> Case:
    """The layer_norm of the sum whose add_norm a case is."""
    return _as(layer_norm, case, name=f"{case.name}, summed", tensors=(case.tensors[0] + case.tensors[1],))
