"""Requirements of token embeddings with positions. They go from the formula to its parts and to its edges."""

import torch

from transpec.judgement import (
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_derived,
    assert_gradients_conform,
    assert_ignores_default_dtype,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    budget_of,
    output_of,
)
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import embedding

FORMULA = [*embedding.by_hand, *embedding.generic, *embedding.lengths_of_one, *embedding.lengths, *embedding.magnitudes]


@must("embedding.equation", "Vaswani et al. 2017, sections 3.4 and 3.5")
@cases(FORMULA, embedding.drawn)
def test_equation(implementation, case):
    """Token t of a sequence gives sqrt(d_model) times the row of its id, plus the encoding of position t."""
    assert_conforms(implementation, case)


@must("embedding.leading-axes", "the contract: token ids have any number of leading axes")
@cases(embedding.leading_axes)
def test_leading_axes(implementation, case):
    """Token ids have any number of leading axes, none among them; their last axis is the sequence."""
    assert_conforms(implementation, case)


@must("embedding.every-id", "Vaswani et al. 2017, section 3.4: learned embeddings convert the tokens")
@cases(embedding.ids)
def test_every_id(implementation, case):
    """Every id from 0 to the last picks its own row, however often and wherever it occurs: none is special."""
    assert_conforms(implementation, case)


@must("embedding.widths", "Vaswani et al. 2017, section 3.4: sqrt(d_model)")
@cases(embedding.widths)
def test_widths(implementation, case):
    """The scale is the root of the width that the table really has, whatever it is, odd and one among them."""
    assert_conforms(implementation, case)


@must("embedding.scale", "Vaswani et al. 2017, section 3.4: multiplied by sqrt(d_model)")
@cases(embedding.linear)
def test_scale(implementation, case):
    """Doubling the table adds sqrt(d_model) times the row of every token and leaves the positions as they were."""
    doubled = embedding.with_table_doubled(case)
    once, twice = output_of(implementation, case), output_of(implementation, doubled)
    added = twice.double() - once.double()
    allowed = budget_of(implementation, case) + budget_of(implementation, doubled)
    assert_derived(implementation, case, once, added, embedding.scaled_rows(case), allowed, "what doubling adds")


@must("embedding.positions-unscaled", "Vaswani et al. 2017, section 3.5: added to the embeddings")
@cases(embedding.zero_tables)
def test_positions_unscaled(implementation, case):
    """A table of zeros gives the positional encoding itself, for every sequence of the batch."""
    assert_conforms(implementation, case)


@must("embedding.positions-per-sequence", "Vaswani et al. 2017, section 3.5: the position in the sequence")
@cases(embedding.sequences_alike)
def test_positions_per_sequence(implementation, case):
    """Sequences that are alike give the same at every place of a batch, for each starts at the same position."""
    output, allowed = output_of(implementation, case), budget_of(implementation, case)
    first = (0,) * (output.dim() - 2)
    expected = output[first].expand(output.shape)
    assert_derived(implementation, case, output, output, expected, allowed + allowed[first], "output")


@must("embedding.offset", "the contract: the token at place t has the position offset + t")
@cases(embedding.offsets)
def test_offset(implementation, case):
    """The token at place t of its sequence has the position offset + t."""
    assert_conforms(implementation, case)


@must("embedding.continuation", "the contract of offset")
@cases(embedding.continued)
def test_continuation(implementation, case):
    """The rest of a sequence, given with the number of tokens before it as offset, is what it was in the whole."""
    start = case.tensors[0].shape[-1] // 2
    assert_same(implementation, embedding.rest(case, start), case, lambda output: output[..., start:, :])


@must("embedding.far", "the contract: a position is not a rounded number")
@cases(embedding.far)
def test_far(implementation, case):
    """Positions of some thousands are exact in every dtype, the 16-bit ones among them: only the result is rounded."""
    assert_conforms(implementation, case)


@must("embedding.stability", "the contract: position 1e6 in float64")
@cases(embedding.farthest)
def test_stability(implementation, case):
    """Positions around a million lose no more in float64 than rounding takes."""
    assert_conforms(implementation, case)


@must("embedding.batch-independence", "Vaswani et al. 2017, section 3.4: tokens are embedded each by itself")
@cases(embedding.in_batches)
def test_batch_independence(implementation, case):
    """A sequence gives the same alone as in a batch."""
    assert_same(implementation, embedding.last_of_the_batch(case), case, lambda output: output[-1:])


@must("embedding.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(embedding.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("embedding.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(embedding.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded ids and tables give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("embedding.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(embedding.every_operation)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of the ids and of the table."""
    assert_untouched(implementation, case)


@must("embedding.no-memory", "the contract: an operation is a function of its arguments")
@cases(embedding.remembered, embedding.widths_of_their_own)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, in the same arrays or others, nor on later ones."""
    assert_no_memory(implementation, case, embedding.others_than(case, implementation.dtypes))
    assert_remembers_nothing(implementation, case, *embedding.others_of_the_same_shapes(case))
    # bfloat16 does not hold the base of the wavelengths.
    assert_ignores_default_dtype(implementation, case, torch.bfloat16)


@must("embedding.dtype-and-shape", "the contract: results have the inputs' dtype")
@cases(embedding.every_operation)
def test_dtype_and_shape(implementation, case):
    """The result has the dtype of the table and the shape of the ids with d_model as a last axis."""
    assert_contract(implementation, case)


@must("embedding.gradients", "Vaswani et al. 2017, section 3.4, differentiated")
@cases(embedding.differentiable)
def test_gradients(implementation, case):
    """A row of the table receives sqrt(d_model) times the sum over all places of its id, and zero if there is none."""
    assert_gradients_conform(implementation, case)


@should("embedding.int32-ids", "the contract: token ids are integers")
@cases(embedding.narrow_ids)
def test_int32_ids(implementation, case):
    """Token ids of 32 bits are taken like those of 64."""
    assert_conforms(implementation, case)


@should("embedding.impossible-ids", "the contract: an id has no meaning without a row")
@cases(embedding.impossible)
def test_impossible_ids(implementation, case):
    """An id beyond the last row of the table, or a negative one, raises with a message."""
    assert_refuses(implementation, case)
