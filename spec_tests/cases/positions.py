"""Inputs for positional encoding. Lengths and widths differ, so that positions cannot be taken for channels."""

import functools
import math

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import DTYPE, EVERY_DTYPE, WIDE, Case, Drawn
from transpec.reference.positions import sinusoidal_positional_encoding

BLOCK_EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)
FIRST_BEYOND_FLOAT32 = 2**24 + 1  # float32 rounds it to the integer before it


def encoding(name: str, length: int, d_model: int, *, offset: int = 0, dtypes: tuple[str, ...] = EVERY_DTYPE) -> Case:
    """A call of sinusoidal_positional_encoding."""
    options = {"offset": offset, "dtype": DTYPE}
    return Case(sinusoidal_positional_encoding, name, (length, d_model), None, options, dtypes)


# --- The formula ------------------------------------------------------------------------------------------------------

by_hand = [
    encoding("position 1 of two channels", 1, 2, offset=1),
    encoding("two positions of two channels", 2, 2),
    encoding("three positions of four channels", 3, 4),
]
generic = [
    encoding("generic", 7, 10),
    encoding("more positions than channels", 29, 6),
    encoding("more channels than positions", 5, 48),
    encoding("as many positions as channels", 8, 8),
    encoding("the paper's width", 11, 512),
    encoding("the paper's big width", 3, 1024),
]
lengths_of_one = [
    encoding("position 0 alone", 1, 6),
    encoding("position 0 of one channel", 1, 1),
    encoding("position 5 alone", 1, 7, offset=5),
]
lengths = [encoding(f"{length} positions", length, 6) for length in (2, 3, *BLOCK_EDGES)]
tables = [encoding("513 positions", 513, 12), encoding("2100 positions", 2100, 6)]
widths = [encoding(f"{width} channels", 6, width) for width in (2, 4, 6, 12, 14, 16, 20, 32, 64, 128, 130, 256)]
odd_widths = [
    encoding(f"{width} channels", 6, width) for width in (1, 3, 5, 7, 9, 11, 15, 17, 31, 33, 63, 65, 127, 129)
]

# --- Offset -----------------------------------------------------------------------------------------------------------

offsets = [
    *(encoding(f"from position {offset}", 5, 10, offset=offset) for offset in (1, 2, 4, 5, 6, 7, 63, 64, 65, 127, 255)),
    *(encoding(f"from position {offset}, odd", 4, 7, offset=offset) for offset in (1, 3, 99, 256, 299, 511, 512, 1000)),
    encoding("one position from 12", 1, 8, offset=12),
    *(
        encoding(f"{length} positions from {offset}", length, 6, offset=offset)
        for length, offset in ((70, 7), (300, 5), (1030, 3))
    ),
    encoding("from the width", 6, 12, offset=12),
    encoding("from the length", 12, 6, offset=12),
]
far = [
    encoding(f"from position {offset}", 3, 16, offset=offset)
    for offset in (1857, 2047, 2049, 4095, 4999, 5000, 8000, 8190)
]
farthest = [
    encoding("around position 1e6", 5, 12, offset=999_998, dtypes=("float64",)),
    *(encoding(f"from position {offset}", 4, 10, offset=offset, dtypes=WIDE) for offset in (16_383, 65_535, 131_071)),
    encoding("the first position that float32 cannot hold", 1, 14, offset=FIRST_BEYOND_FLOAT32, dtypes=("float64",)),
    encoding("from position 1e6, odd", 3, 33, offset=1_000_000, dtypes=("float64",)),
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def encodings(draw: st.DrawFn) -> Case:
    """Positional encoding of any small length and width, near the start or far from it."""
    length, d_model = draw(st.integers(1, 40), label="length"), draw(st.integers(1, 70), label="d_model")
    offset = draw(st.integers(0, 40) | st.sampled_from([100, 1000, 5000]), label="offset")
    return encoding(f"drawn {length} by {d_model} from {offset}", length, d_model, offset=offset)


drawn = [Drawn(sinusoidal_positional_encoding, encodings())]

# --- Groups for properties --------------------------------------------------------------------------------------------

from_the_start = [generic[0], generic[2], generic[4], *widths[:4], *odd_widths[:4], lengths_of_one[0], tables[0]]
with_pairs = [generic[0], generic[1], generic[2], *widths[:6], odd_widths[1], odd_widths[3], *offsets[:4], *far[:5]]
turning = [case for case in (*offsets, *far) if case.tensors[0] > 1]
of_halved_width = [generic[0], generic[2], *widths[:5], odd_widths[1], odd_widths[3], offsets[3], far[2]]
every_operation = [generic[0], lengths_of_one[1], odd_widths[3], offsets[2], offsets[12], far[1]]
# One length or width with several offsets, and the other way round: what a careless memory takes for one another.
neighbours = [
    encoding("first call", 7, 10),
    encoding("later positions", 7, 10, offset=3),
    encoding("positions far off", 7, 10, offset=300),
    encoding("longer", 12, 10),
    encoding("shorter", 3, 10),
    encoding("wider", 7, 12),
    encoding("narrower and odd", 7, 9),
    encoding("length and width exchanged", 10, 7),
    encoding("as many numbers", 14, 5),
]
# Widths that nothing else has, so that the first call of that width is in another dtype.
widths_of_their_own = [
    encoding(f"{width} channels, first in other dtypes", 6, width, dtypes=(dtype,))
    for width, dtype in zip((74, 76), WIDE, strict=True)
]

# --- What properties look at ------------------------------------------------------------------------------------------


def pairs(table: Tensor) -> tuple[Tensor, Tensor]:
    """Sines and cosines (T, M/2) in float64; the last sine of an odd width has no cosine and is left out."""
    whole = table.to(torch.float64)[:, : table.shape[-1] // 2 * 2]
    return whole[:, 0::2], whole[:, 1::2]


def turned(table: Tensor, by: Tensor) -> Tensor:
    """Every pair of the rows of `table` turned by the angles whose sines and cosines the row `by` holds."""
    (sine, cosine), (by_sine, by_cosine) = pairs(table), pairs(by)
    return torch.stack((sine * by_cosine + cosine * by_sine, cosine * by_cosine - sine * by_sine), -1).flatten(-2)


def frequencies(d_model: int) -> Tensor:
    """What every pair of channels turns by from one position to the next, in radians: from 1 to almost 1 / 10000."""
    return torch.tensor(
        [math.pow(10000, -channel / d_model) for channel in range(0, d_model - 1, 2)], dtype=torch.float64
    )


@functools.cache
def _table(length: int, d_model: int, offset: int = 0) -> Case:
    """One case for all properties that ask for it, so that its oracle is computed once."""
    return encoding(f"{length} positions of {d_model} channels from {offset}", length, d_model, offset=offset)


def from_zero(case: Case) -> Case:
    """The encoding of the positions from 0 to beyond the last of the case."""
    last = case.options["offset"] + case.tensors[0]
    return _table(2 ** math.ceil(math.log2(last)), case.tensors[1]).in_dtype(case.dtype)


def at_zero(case: Case) -> Case:
    """As many positions from 0 on."""
    return _table(*case.tensors).in_dtype(case.dtype)


def at_one(case: Case) -> Case:
    """Position 1 alone."""
    return _table(1, case.tensors[1], 1).in_dtype(case.dtype)


def of_twice_the_width(case: Case) -> Case:
    """The same positions of twice as many channels."""
    length, d_model = case.tensors
    return _table(length, 2 * d_model, case.options.get("offset", 0)).in_dtype(case.dtype)


def others_than(case: Case, dtypes: tuple[str, ...]) -> list[Case]:
    """The neighbours of a case in its own dtype, and the case itself in the others of `dtypes`."""
    near = [other.in_dtype(case.dtype) for other in neighbours if other.name != case.name]
    return [case.in_dtype(dtype) for dtype in dtypes if dtype != case.dtype] + near
