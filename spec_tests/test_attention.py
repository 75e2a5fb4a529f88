"""Requirements of attention: weights, scaled dot-product, multi-head, in the order of reference/attention.py."""

import torch

from transpec.judgement import (
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_derived,
    assert_gradients_conform,
    assert_identical,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    budget_of,
    output_of,
)
from transpec.requirements import cases, may, must
from transpec.spec_tests.cases import attention
from transpec.spec_tests.cases.attention import weights_of

FORMULA = [
    *attention.one_hot,
    *attention.generic,
    *attention.the_same_tensor,
    *attention.one_size,
    *attention.many_sizes,
    *attention.peaky,
    *attention.lengths_of_one,
]
LONG = [*attention.long_rows, *attention.longer_rows, *attention.long_masked_rows]


@must("attention.weights-equation", "Vaswani et al. 2017, section 3.2.1, equation 1")
@cases(weights_of(FORMULA), weights_of(LONG), weights_of(attention.masked), attention.drawn_weights)
def test_weights_equation(implementation, case):
    """The weights are A = softmax(Q K^T / sqrt(d_k)), the softmax over the keys."""
    assert_conforms(implementation, case)


@must("attention.equation", "Vaswani et al. 2017, section 3.2.1, equation 1")
@cases(FORMULA, LONG, attention.wide_values, attention.masked, attention.drawn)
def test_equation(implementation, case):
    """Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V."""
    assert_conforms(implementation, case)


@must("attention.scale", "Vaswani et al. 2017, section 3.2.1; the contract of scale")
@cases(attention.scaled, weights_of(attention.scaled))
def test_scale(implementation, case):
    """A scale that is given, zero among them, stands for 1 / sqrt(d_k)."""
    assert_conforms(implementation, case)


@must("attention.head-size", "Vaswani et al. 2017, section 3.2.1, footnote 4")
@cases(attention.head_sizes, weights_of(attention.head_sizes))
def test_head_size(implementation, case):
    """The scores are divided by the root of the size that the keys really have, whatever it is."""
    assert_conforms(implementation, case)


@must("attention.one-key", "Vaswani et al. 2017, section 3.2.1, equation 1: the softmax of one score is one")
@cases(attention.one_key, weights_of(attention.one_key))
def test_one_key(implementation, case):
    """Where a query may attend to one key alone, its weight is one and the output is its value."""
    assert_conforms(implementation, case)


@must("attention.equal-scores", "Vaswani et al. 2017, section 3.2.1, equation 1: the softmax of equal scores is even")
@cases(attention.equal_scores, weights_of(attention.equal_scores))
def test_equal_scores(implementation, case):
    """Where all scores are equal, the output is the mean of the values that a query may attend to."""
    assert_conforms(implementation, case)


@must("attention.broadcasting", "the contract: leading axes broadcast as in numpy")
@cases(attention.broadcast, attention.broadcast_values, weights_of(attention.broadcast))
def test_broadcasting(implementation, case):
    """Leading axes of queries, keys and values broadcast as in numpy."""
    assert_conforms(implementation, case)


@must("attention.rows-sum-to-one", "Vaswani et al. 2017, section 3.2.1: softmax")
@cases(weights_of(FORMULA), weights_of(attention.masked))
def test_rows_sum_to_one(implementation, case):
    """The weights of a query that may attend to something sum to one."""
    weights, allowed = output_of(implementation, case), budget_of(implementation, case).sum(-1)
    total = weights.to(torch.float64).sum(-1)
    assert_derived(implementation, case, weights, total, torch.ones_like(total), allowed, "sum over the keys")


@must("attention.convex-hull", "Vaswani et al. 2017, section 3.2: a weighted sum of the values")
@cases(attention.generic, attention.peaky, attention.masked)
def test_convex_hull(implementation, case):
    """No entry of the output lies outside the range of that entry over the values."""
    output, value = output_of(implementation, case), case.tensors[2].to(torch.float64)
    low, high = value.amin(-2, keepdim=True), value.amax(-2, keepdim=True)
    inside = output.to(torch.float64).clamp(low, high)
    assert_derived(implementation, case, output, output, inside, budget_of(implementation, case), "output")


@must("attention.shift-invariance", "Vaswani et al. 2017, section 3.2.1: softmax")
@cases(attention.generic, attention.masked)
def test_shift_invariance(implementation, case):
    """Adding one vector to every key, and so one number to every score of a query, changes nothing."""
    query, key, value = case.tensors
    shift = torch.arange(key.shape[-1]).remainder(3).to(key.dtype)  # small integers keep the sum exact enough
    moved = case.changed("every key moved alike", (query, (key + shift).to(key.dtype), value))
    assert_same(implementation, moved.changed("back", (query, (moved.tensors[1] - shift).to(key.dtype), value)), moved)


@must("attention.key-permutation", "Vaswani et al. 2017, section 3.2.1: no order among the keys")
@cases(attention.generic, attention.long_rows)
def test_key_permutation(implementation, case):
    """Reordering keys and values together changes nothing."""
    query, key, value = case.tensors
    order = torch.arange(key.shape[-2]).flip(0).roll(2)
    assert_same(implementation, case, case.changed("keys reordered", (query, key[..., order, :], value[..., order, :])))


@must("attention.mask-shapes", "the contract: masks broadcast to (…, queries, keys)")
@cases(attention.mask_shapes, weights_of(attention.mask_shapes))
def test_mask_shapes(implementation, case):
    """A mask of any shape that broadcasts to (…, queries, keys) acts as its broadcast self."""
    assert_conforms(implementation, case)


@must("attention.everything-visible", "Vaswani et al. 2017, section 3.2.3")
@cases(attention.everything_visible, weights_of(attention.everything_visible))
def test_everything_visible(implementation, case):
    """A mask that hides nothing acts as no mask."""
    assert_same(implementation, case.changed("no mask", mask=None), case)


@must("attention.hidden-weights-are-zero", "Vaswani et al. 2017, section 3.2.3")
@cases(weights_of(attention.masked))
def test_hidden_weights_are_zero(implementation, case):
    """The weight of a key that a query may not attend to is exactly zero."""
    weights = output_of(implementation, case)
    hidden = ~case.options["mask"].expand(weights.shape)
    expected = torch.where(hidden, 0.0, weights)
    assert_derived(implementation, case, weights, weights, expected, torch.zeros_like(expected), "weight")


@must("attention.hidden-keys-do-not-matter", "Vaswani et al. 2017, section 3.2.3")
@cases(attention.masked)
def test_hidden_keys_do_not_matter(implementation, case):
    """Changing the key and value of a position that no query may attend to leaves the output the same."""
    assert_identical(implementation, case, attention.with_other_content_where_hidden(case))


@must("attention.causality", "Vaswani et al. 2017, sections 3.1 and 3.2.3")
@cases(attention.look_ahead)
def test_causality(implementation, case):
    """Under a look-ahead mask the output at a position stays the same when later keys and values change."""
    changed, past = attention.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must(
    "attention.empty-row",
    "not said by Vaswani et al. 2017; libraries differ",
    choices=("zero", "nan", "mean", "refuse"),
)
@cases(attention.empty_rows, weights_of(attention.empty_rows), attention.heads_empty_rows)
def test_empty_row(implementation, case):
    """A query that may attend to no key gives what is declared: zero, NaN, the mean of the values, or a ValueError."""
    if implementation.choice("attention.empty-row") == "refuse":
        assert_refuses(implementation, case, ValueError)
    else:
        assert_conforms(implementation, case)


@must(
    "attention.empty-row-gradients",
    "the contract: the gradient of what is zero is zero",
    tested_when=["zero"],
    choice_of="attention.empty-row",
)
@cases(attention.empty_rows, weights_of(attention.empty_rows), attention.heads_empty_rows)
def test_empty_row_gradients(implementation, case):
    """Where empty rows are zero, their gradients are zero, and other rows have theirs as if none were empty."""
    assert_gradients_conform(implementation, case)


@may(
    "attention.hidden-nan",
    "not said by Vaswani et al. 2017; libraries differ",
    choices=("unsafe", "safe"),
    tested_when=["safe"],
)
@cases(attention.hidden_nan)
def test_hidden_nan(implementation, case):
    """Where declared safe, NaN in a key and value that no query may attend to does not reach the output."""
    assert_identical(implementation, attention.with_zero_where_hidden(case), case)


@must("attention.stability", "the contract: scores of ±1e4, a common offset of 1000")
@cases(attention.hard_scores, weights_of(attention.hard_scores))
def test_stability(implementation, case):
    """Large scores and a large offset common to all scores lose no more than rounding takes."""
    assert_conforms(implementation, case)


@must("attention.multi-head-equation", "Vaswani et al. 2017, section 3.2.2")
@cases(
    attention.heads_one_hot, attention.heads, attention.heads_at_the_start, attention.heads_with_zeros,
    attention.heads_masked, attention.drawn_heads,
)  # fmt: skip
def test_multi_head_equation(implementation, case):
    """MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O with head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)."""
    assert_conforms(implementation, case)


@must("attention.multi-head-one-key", "Vaswani et al. 2017, section 3.2.2: the softmax of one score is one")
@cases(attention.heads_one_position)
def test_multi_head_one_key(implementation, case):
    """With one key the output is its value, projected twice."""
    assert_conforms(implementation, case)


@must("attention.multi-head-widths", "Vaswani et al. 2017, section 3.2.2: d_k, d_v and d_model are apart")
@cases(attention.heads_of_differing_inputs)
def test_multi_head_widths(implementation, case):
    """Queries, keys and values may have widths of their own, and values a head size of their own."""
    assert_conforms(implementation, case)


@must("attention.multi-head-biases", "the contract: a missing bias is zero")
@cases(attention.heads_without_biases)
def test_multi_head_biases(implementation, case):
    """Each projection has its own bias, and one that is missing is zero."""
    assert_conforms(implementation, case)


@must("attention.head-permutation", "Vaswani et al. 2017, section 3.2.2: no order among the heads")
@cases(attention.heads, attention.heads_masked)
def test_head_permutation(implementation, case):
    """Reordering the heads in every weight alike changes nothing."""
    assert_same(implementation, case, attention.with_heads_reordered(case))


@must("attention.multi-head-hidden-keys-do-not-matter", "Vaswani et al. 2017, section 3.2.3")
@cases(attention.heads_masked)
def test_multi_head_hidden_keys_do_not_matter(implementation, case):
    """Changing the key and value input of a position that no query may attend to leaves the output the same."""
    assert_identical(implementation, case, attention.with_other_content_where_hidden(case))


@must("attention.multi-head-causality", "Vaswani et al. 2017, sections 3.1 and 3.2.3")
@cases(attention.heads_look_ahead)
def test_multi_head_causality(implementation, case):
    """Under a look-ahead mask the output at a position stays the same when later key and value inputs change."""
    changed, past = attention.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must("attention.batch-independence", "Vaswani et al. 2017, section 3.2: sequences do not attend to each other")
@cases(attention.in_batches)
def test_batch_independence(implementation, case):
    """A sequence gives the same alone as in a batch."""
    alone, pick = attention.first_of_the_batch(case)
    assert_same(implementation, alone, case, pick)


@must("attention.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(attention.batch_of_zero, weights_of(attention.batch_of_zero), attention.heads_batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("attention.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(attention.strided, weights_of(attention.strided), attention.strided_together, attention.heads_strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded inputs, one tensor at a time or all, give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("attention.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(attention.every_operation)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its inputs, masks and weights."""
    assert_untouched(implementation, case)


@must(
    "attention.empty-row-inputs-untouched",
    "the contract: inputs and weights are left as they are",
    tested_when=["zero", "nan", "mean"],
    choice_of="attention.empty-row",
)
@cases(attention.empty_rows, weights_of(attention.empty_rows), attention.heads_empty_rows)
def test_empty_row_inputs_untouched(implementation, case):
    """A query that may attend to no key is no reason to change its mask, or any other input."""
    assert_untouched(implementation, case)


@must("attention.no-memory", "the contract: an operation is a function of its arguments")
@cases(attention.every_operation)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, of other numbers, masks or lengths, nor on later ones."""
    other = attention.with_other_numbers(case)
    assert_no_memory(implementation, case, [attention.with_more_keys(case), other])
    assert_remembers_nothing(implementation, case, other)
    assert_conforms(implementation, other)


@must("attention.dtype-and-shape", "the contract: results have the inputs' dtype")
@cases(attention.every_operation)
def test_dtype_and_shape(implementation, case):
    """The result has the dtype of the inputs and the shape that the contract says."""
    assert_contract(implementation, case)


@must("attention.gradients", "Vaswani et al. 2017, section 3.2, differentiated")
@cases(attention.differentiable, weights_of(attention.differentiable), attention.heads_differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's, for queries, keys, values and every weight."""
    assert_gradients_conform(implementation, case)


@must("attention.mask-shapes-gradients", "Vaswani et al. 2017, section 3.2, differentiated")
@cases(
    attention.differentiable_under_every_shape_of_mask, weights_of(attention.differentiable_under_every_shape_of_mask)
)
def test_mask_shapes_gradients(implementation, case):
    """The gradients are the formula's under a mask of any shape that broadcasts, also along axes that queries and keys lack."""
    assert_gradients_conform(implementation, case)


@must("attention.impossible-shapes", "the contract: what no broadcast gives a meaning")
@cases(attention.impossible, weights_of(attention.impossible[:1]), attention.heads_impossible)
def test_impossible_shapes(implementation, case):
    """Queries and keys of unlike size, more or fewer values than keys, and heads that do not divide are refused."""
    assert_refuses(implementation, case)
