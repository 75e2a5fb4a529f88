"""Requirements of masks: padding, look-ahead, combined. They stand in the order of reference/masks.py."""

import torch

from transpec.judgement import (
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_derived,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    output_of,
)
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import masks


@must("masks.padding-equation", "Vaswani et al. 2017, section 3.2.3; Devlin et al. 2019, section 3.1")
@cases(masks.padded, masks.pad_ids, masks.padding_sizes, masks.drawn_padding)
def test_padding_equation(implementation, case):
    """A key may be attended to by every query of its own sequence exactly where its token is not the pad id."""
    assert_conforms(implementation, case)


@must("masks.padding-id", "the contract of pad_id")
@cases(masks.pad_ids)
def test_padding_id(implementation, case):
    """The one id that is hidden is the pad id that is given, whatever it is; lower and higher ids are tokens."""
    mask = output_of(implementation, case)
    tokens = (case.tensors[0] != case.options["pad_id"]).sum(-1)
    visible = mask.sum((-2, -1))
    assert_derived(implementation, case, mask, visible, tokens, torch.zeros(visible.shape), "visible keys")


@must("masks.look-ahead-equation", "Vaswani et al. 2017, sections 3.1 and 3.2.3")
@cases(masks.lengths, masks.beyond_buffers, masks.drawn_lengths)
def test_look_ahead_equation(implementation, case):
    """Position i may attend to position j exactly where j <= i."""
    assert_conforms(implementation, case)


@must("masks.look-ahead-itself", "Vaswani et al. 2017, section 3.1: at positions less than i, the output being shifted")
@cases(masks.lengths)
def test_look_ahead_itself(implementation, case):
    """Every position may attend to itself, so that no row is empty."""
    mask = output_of(implementation, case)
    itself = mask.diagonal()
    assert_derived(implementation, case, mask, itself, torch.ones_like(itself), torch.zeros(itself.shape), "diagonal")


@must("masks.look-ahead-rows", "Vaswani et al. 2017, section 3.1")
@cases(masks.lengths)
def test_look_ahead_rows(implementation, case):
    """Rows are queries and columns keys: the first row shows one key, and each row one more than the row before."""
    mask = output_of(implementation, case)
    visible, allowed = mask.sum(-1), torch.zeros(case.tensors[0])
    assert_derived(implementation, case, mask, visible, 1 + torch.arange(len(visible)), allowed, "visible keys")


@must("masks.look-ahead-growth", "Vaswani et al. 2017, section 3.1")
@cases(masks.lengths)
def test_look_ahead_growth(implementation, case):
    """One position more leaves what the positions before may attend to as it was."""
    length = case.tensors[0]
    assert_same(implementation, case, masks.longer(case), lambda mask: mask[:length, :length])


@must("masks.combine-equation", "Vaswani et al. 2017, section 3.2.3")
@cases(masks.every_row_of_the_truth_table, masks.of_one_shape, masks.broadcast, masks.single, masks.drawn_combinations)
def test_combine_equation(implementation, case):
    """A query may attend to a key exactly where every one of the masks, broadcast together, lets it."""
    assert_conforms(implementation, case)


@must("masks.combine-order", "Vaswani et al. 2017, section 3.2.3: a logical and")
@cases(masks.several)
def test_combine_order(implementation, case):
    """The order of the masks does not matter."""
    assert_same(implementation, case, case.changed("in reverse order", case.tensors[::-1]))


@must("masks.combine-grouping", "Vaswani et al. 2017, section 3.2.3: a logical and")
@cases(masks.several)
def test_combine_grouping(implementation, case):
    """Combining a combination with one of its masks again changes nothing."""
    again = masks.combined_again(case, output_of(implementation, case))
    assert_same(implementation, case, again)


@must("masks.combine-one", "the contract: masks are any number")
@cases(masks.single)
def test_combine_one(implementation, case):
    """One mask alone is itself."""
    mask, (alone,) = output_of(implementation, case), case.tensors
    assert_derived(implementation, case, mask, mask, alone, torch.zeros(alone.shape), "mask")


@must("masks.batch-independence", "Vaswani et al. 2017, section 3.2: sequences do not attend to each other")
@cases(masks.in_batches)
def test_batch_independence(implementation, case):
    """The padding mask of a sequence is the same alone as in a batch."""
    alone = case.changed("last sequence alone", (case.tensors[0][-1:],))
    assert_same(implementation, alone, case, lambda mask: mask[-1:])


@must("masks.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(masks.padding_batch_of_zero, masks.combined_batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty mask of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("masks.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(masks.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded ids and masks give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("masks.inputs-untouched", "the contract: inputs are left as they are")
@cases(masks.with_inputs)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of the ids and masks that it is given, one mask alone among them."""
    assert_untouched(implementation, case)


@must("masks.no-memory", "the contract: an operation is a function of its arguments")
@cases(masks.every_operation)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, in the same arrays or others, nor on later ones."""
    assert_no_memory(implementation, case, masks.others_than(case))
    assert_remembers_nothing(implementation, case, *masks.others_of_the_same_shapes(case))


@must("masks.dtype-and-shape", "the contract: masks are boolean")
@cases(masks.every_operation)
def test_dtype_and_shape(implementation, case):
    """Masks are boolean: padding is (batch, 1, keys), look-ahead (length, length), a combination as broadcast."""
    assert_contract(implementation, case)


@should("masks.int32-ids", "the contract: token ids are integers")
@cases(masks.narrow_ids)
def test_int32_ids(implementation, case):
    """Token ids of 32 bits are taken like those of 64."""
    assert_conforms(implementation, case)


@should("masks.no-mask", "the contract: there is no mask without a shape")
@cases(masks.nothing)
def test_no_mask(implementation, case):
    """Combining no masks at all raises with a message."""
    assert_refuses(implementation, case)


@should("masks.impossible-shapes", "the contract: what no broadcast gives a meaning")
@cases(masks.impossible)
def test_impossible_shapes(implementation, case):
    """Masks that do not broadcast together raise with a message."""
    assert_refuses(implementation, case)
