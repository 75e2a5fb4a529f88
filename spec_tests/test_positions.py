"""Requirements of sinusoidal positional encoding. They go from the formula to its properties and to its edges."""

import torch

from transpec.judgement import (
    assert_conforms,
    assert_contract,
    assert_derived,
    assert_ignores_default_dtype,
    assert_no_memory,
    assert_same,
    budget_of,
    output_of,
)
from transpec.requirements import cases, must
from transpec.spec_tests.cases import positions


@must("positions.equation", "Vaswani et al. 2017, section 3.5")
@cases(
    positions.by_hand, positions.generic, positions.lengths_of_one, positions.lengths, positions.tables, positions.drawn
)
def test_equation(implementation, case):
    """PE(pos, 2i) = sin(pos / 10000^(2i / d_model)) and PE(pos, 2i+1) = cos(pos / 10000^(2i / d_model))."""
    assert_conforms(implementation, case)


@must("positions.widths", "Vaswani et al. 2017, section 3.5")
@cases(positions.widths)
def test_widths(implementation, case):
    """The exponent is 2i over the width that the encoding really has, whatever it is."""
    assert_conforms(implementation, case)


@must("positions.odd-widths", "the contract: an odd d_model ends in a sine")
@cases(positions.odd_widths)
def test_odd_widths(implementation, case):
    """An odd width, one among them, ends in the sine of its last pair, and the exponent is 2i over that odd width."""
    assert_conforms(implementation, case)


@must("positions.offset", "the contract: row t holds position offset + t")
@cases(positions.offsets)
def test_offset(implementation, case):
    """The rows of an encoding with an offset are the rows from that offset on of the encoding without."""
    start, end = case.options["offset"], case.options["offset"] + case.tensors[0]
    assert_conforms(implementation, case)
    assert_same(implementation, case, positions.from_zero(case), lambda rows: rows[start:end])


@must("positions.position-zero", "Vaswani et al. 2017, section 3.5: sin 0 and cos 0")
@cases(positions.from_the_start)
def test_position_zero(implementation, case):
    """The first row is position 0, which is 0, 1, 0, 1 and so on."""
    table, allowed = output_of(implementation, case), budget_of(implementation, case)[0]
    expected = torch.arange(table.shape[1]).remainder(2)
    assert_derived(implementation, case, table, table[0], expected, allowed, "first row")


@must("positions.unit-circle", "Vaswani et al. 2017, section 3.5: sine and cosine of one angle")
@cases(positions.with_pairs)
def test_unit_circle(implementation, case):
    """The squares of the sine and the cosine of a pair of channels sum to one."""
    table = output_of(implementation, case)
    (sine, cosine), (of_sine, of_cosine) = positions.pairs(table), positions.pairs(budget_of(implementation, case))
    total, allowed = sine**2 + cosine**2, (2 + of_sine) * of_sine + (2 + of_cosine) * of_cosine
    assert_derived(implementation, case, table, total, torch.ones_like(total), allowed, "sum of squares")


@must("positions.rotation", "Vaswani et al. 2017, section 3.5: PE(pos + k) is a linear function of PE(pos)")
@cases(positions.turning)
def test_rotation(implementation, case):
    """Moving by k positions turns every pair of channels by the angle of position k, wherever one starts."""
    start = positions.at_zero(case)
    later, first = output_of(implementation, case), output_of(implementation, start)
    turned, width = positions.turned(first, later[:1]), case.tensors[1] // 2 * 2
    # Every factor is at most one, so that what turned is off by is at most what its four factors are.
    of_later, of_first = budget_of(implementation, case), budget_of(implementation, start)
    factors = sum(positions.pairs(of_first + of_later[:1])).repeat_interleave(2, -1)
    allowed = of_later[:, :width] + 1.1 * factors
    assert_derived(implementation, case, later, later[:, :width], turned, allowed, "later rows")


@must("positions.wavelengths", "Vaswani et al. 2017, section 3.5: a geometric progression from 2 pi to 10000 · 2 pi")
@cases(positions.generic, positions.widths, positions.odd_widths[1:])
def test_wavelengths(implementation, case):
    """From a position to the next the first pair of channels turns by 1 and pair i by 10000^(-2i / d_model)."""
    case = positions.at_one(case)
    row, allowed = output_of(implementation, case), positions.pairs(budget_of(implementation, case))
    sine, cosine = positions.pairs(row)
    error = 1.1 * (allowed[0] * cosine.abs() + allowed[1] * sine.abs())
    expected = positions.frequencies(case.tensors[1]).unsqueeze(0)
    assert_derived(implementation, case, row, torch.atan2(sine, cosine), expected, error, "angle at position 1")


@must("positions.width-doubling", "Vaswani et al. 2017, section 3.5: the exponent is 2i / d_model")
@cases(positions.of_halved_width)
def test_width_doubling(implementation, case):
    """An encoding of twice the width has between any two pairs of channels one more, and keeps the others."""
    places = torch.arange(case.tensors[1])
    kept = places.div(2, rounding_mode="floor") * 4 + places.remainder(2)
    assert_same(implementation, case, positions.of_twice_the_width(case), lambda table: table[:, kept])


@must("positions.distinct", "Vaswani et al. 2017, section 3.5: information about the position")
@cases(positions.generic[:3], positions.lengths, positions.offsets[:12])
def test_distinct(implementation, case):
    """No two positions have the same encoding."""
    table = output_of(implementation, case)
    first_alike = (table.unsqueeze(1) == table).all(-1).int().argmax(-1)
    places = torch.arange(len(table))
    assert_derived(implementation, case, table, first_alike, places, torch.zeros(len(table)), "first row alike")


@must("positions.far", "the contract: a position is not a rounded number")
@cases(positions.far)
def test_far(implementation, case):
    """Positions of some thousands are exact in every dtype, the 16-bit ones among them: only the result is rounded."""
    assert_conforms(implementation, case)


@must("positions.stability", "the contract: position 1e6 in float64")
@cases(positions.farthest)
def test_stability(implementation, case):
    """Positions around a million lose no more in float64 than rounding takes."""
    assert_conforms(implementation, case)


@must("positions.no-memory", "the contract: an operation is a function of its arguments")
@cases(positions.neighbours, positions.widths_of_their_own)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    assert_no_memory(implementation, case, positions.others_than(case, implementation.dtypes))
    # bfloat16 does not hold the base of the wavelengths.
    assert_ignores_default_dtype(implementation, case, torch.bfloat16)


@must("positions.dtype-and-shape", "the contract: the result has the dtype that is asked for")
@cases(positions.every_operation)
def test_dtype_and_shape(implementation, case):
    """The result has the dtype that is asked for and the shape (length, d_model)."""
    assert_contract(implementation, case)
