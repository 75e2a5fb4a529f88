"""Requirements of LayerNorm, RMSNorm and Add & Norm, in the order of the reference, then what holds for all three."""

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
from transpec.reference.normalization import layer_norm
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import normalization
from transpec.spec_tests.cases.normalization import add_of, in_every_operation, rms_of
from transpec.spec_tests.cases.tokens import (
    first_of_the_batch,
    with_another_token,
    with_other_numbers,
    with_tokens_reversed,
)

FORMULA = [*normalization.generic, *normalization.axes_of_one_size]
SIZES = [*normalization.widths, *normalization.many_tokens]
EXTREMES = [*normalization.large_mean, *normalization.large_entries]


@must("normalization.layer-norm-equation", "Ba et al. 2016, section 3, equations 3 and 4")
@cases(normalization.by_hand, FORMULA, SIZES, normalization.drawn)
def test_layer_norm_equation(implementation, case):
    """LN(x) = gain (x - mean) / sqrt(variance + eps) + bias, mean and variance over the last axis alone."""
    assert_conforms(implementation, case)


@must("normalization.layer-norm-variance", "Ba et al. 2016, section 3, equation 3")
@cases(normalization.small_widths, add_of(normalization.small_widths))
def test_layer_norm_variance(implementation, case):
    """The variance of M entries divides by M and not by M - 1."""
    assert_conforms(implementation, case)


@must("normalization.layer-norm-epsilon", "Ba et al. 2016, section 3; the contract of eps")
@cases(normalization.epsilon, add_of(normalization.epsilon))
def test_layer_norm_epsilon(implementation, case):
    """LayerNorm adds the eps that is given, large or small, to the variance and not to its root."""
    assert_conforms(implementation, case)


@must("normalization.layer-norm-centred", "Ba et al. 2016, section 3, equation 4")
@cases(normalization.directions)
def test_layer_norm_centred(implementation, case):
    """Without gain and bias a row has the mean zero and the variance v / (v + eps), v being that of the input."""
    output, allowed = output_of(implementation, case), budget_of(implementation, case)
    wide = output.to(torch.float64)
    mean, allowed_mean = wide.mean(-1), allowed.mean(-1)
    assert_derived(implementation, case, output, mean, torch.zeros_like(mean), allowed_mean, "mean")
    square, allowed_square = wide.square().mean(-1), ((2 * wide.abs() + allowed) * allowed).mean(-1)
    variance = case.tensors[0].to(torch.float64).var(-1, correction=0)
    expected = variance / (variance + case.options["eps"])
    assert_derived(implementation, case, output, square, expected, allowed_square, "variance")


@must("normalization.layer-norm-shift", "Ba et al. 2016, section 5.1")
@cases(normalization.in_eighths)
def test_layer_norm_shift(implementation, case):
    """Adding a constant to a row changes nothing in LayerNorm."""
    assert_same(implementation, case, normalization.shifted(case))


@must("normalization.layer-norm-scale", "Ba et al. 2016, section 5.1, eps considered")
@cases(normalization.scaled)
def test_layer_norm_scale(implementation, case):
    """Multiplying all rows by a positive number and eps by its square changes nothing in LayerNorm."""
    assert_same(implementation, case, normalization.enlarged(case))


@must("normalization.layer-norm-constant-rows", "Ba et al. 2016, section 3, equation 4")
@cases(normalization.constant_rows[:1], normalization.zero_rows[:1], normalization.one_entry)
def test_layer_norm_constant_rows(implementation, case):
    """A row of equal entries, a row of one entry among them, gives the bias."""
    output, bias = output_of(implementation, case), (case.weights or {})["bias"]
    expected, allowed = bias.expand(output.shape), budget_of(implementation, case)
    assert_derived(implementation, case, output, output, expected, allowed, "output")


@must(
    "normalization.layer-norm-stability",
    "Ba et al. 2016, section 3, equation 3",
)
@cases(
    EXTREMES, add_of(EXTREMES), normalization.constant_rows, normalization.zero_rows, add_of(normalization.zero_rows)
)
def test_layer_norm_stability(implementation, case):
    """A large mean, large entries and rows without variance lose no more than rounding takes."""
    assert_conforms(implementation, case)


@must("normalization.rms-norm-equation", "Zhang & Sennrich 2019, section 3, equation 4")
@cases(normalization.rms_by_hand, rms_of(FORMULA), rms_of(SIZES), normalization.drawn_rms)
def test_rms_norm_equation(implementation, case):
    """RMSNorm(x) = gain x / sqrt(mean(x^2) + eps), the mean over the last axis alone."""
    assert_conforms(implementation, case)


@must(
    "normalization.rms-epsilon",
    "not said by Zhang & Sennrich 2019, whose equation 4 has no eps; libraries differ",
    choices=("inside", "outside"),
)
@cases(rms_of(normalization.epsilon), rms_of(normalization.small_widths))
def test_rms_epsilon(implementation, case):
    """RMSNorm adds the eps that is given, large or small, to the mean square, or to its root where so declared."""
    assert_conforms(implementation, case)


@must("normalization.rms-norm-direction", "Zhang & Sennrich 2019, section 3: no mean is subtracted")
@cases(rms_of(normalization.directions))
def test_rms_norm_direction(implementation, case):
    """Without gain the result is the row times a positive number: nothing is subtracted."""
    output, budget = output_of(implementation, case), budget_of(implementation, case)
    wide, x = output.to(torch.float64), case.tensors[0].to(torch.float64)
    actual, expected = wide * _length(x), x * _length(wide)
    allowed = budget * _length(x) + x.abs() * _length(budget)
    assert_derived(implementation, case, output, actual, expected, allowed, "output times the length of x")


def _length(x):
    return x.square().sum(-1, keepdim=True).sqrt()


@must("normalization.rms-norm-scale", "Zhang & Sennrich 2019, section 3.1, eps considered")
@cases(rms_of(normalization.scaled))
def test_rms_norm_scale(implementation, case):
    """Multiplying all rows by a positive number and eps by its square (itself, outside the root) changes nothing."""
    power = 1 if implementation.choice("normalization.rms-epsilon") == "outside" else 2
    assert_same(implementation, case, normalization.enlarged(case, power))


@must("normalization.rms-norm-stability", "Zhang & Sennrich 2019, section 3, equation 4")
@cases(
    rms_of(EXTREMES),
    rms_of(normalization.constant_rows),
    rms_of(normalization.zero_rows),
    rms_of(normalization.one_entry),
)
def test_rms_norm_stability(implementation, case):
    """A large mean, large entries, equal entries and rows of zeros lose no more than rounding takes."""
    assert_conforms(implementation, case)


@must("normalization.add-norm-equation", "Vaswani et al. 2017, section 3.1")
@cases(normalization.add_by_hand, normalization.sums, add_of(SIZES), normalization.drawn_sums)
def test_add_norm_equation(implementation, case):
    """Add & Norm is LayerNorm(x + Sublayer(x)): of the sum, and of nothing else."""
    assert_conforms(implementation, case)


@must("normalization.add-norm-symmetry", "Vaswani et al. 2017, section 3.1: a sum")
@cases(normalization.sums, normalization.sums_in_eighths)
def test_add_norm_symmetry(implementation, case):
    """Exchanging the input and the output of the sublayer changes nothing."""
    assert_same(implementation, case, case.changed("x and sublayer output exchanged", case.tensors[::-1]))


@must("normalization.add-norm-composition", "Vaswani et al. 2017, section 3.1")
@cases(normalization.sums_in_eighths)
def test_add_norm_composition(implementation, case):
    """Add & Norm gives what the implementation's own LayerNorm, where it has one, gives for the sum."""
    assert_conforms(implementation, case)
    if implementation.claims(layer_norm):
        assert_same(implementation, normalization.summed(case), case)


@must("normalization.add-norm-broadcasting", "the contract: leading axes broadcast as in numpy")
@cases(normalization.broadcast)
def test_add_norm_broadcasting(implementation, case):
    """Leading axes of the input and the output of the sublayer broadcast as in numpy."""
    assert_conforms(implementation, case)


@must("normalization.epsilon-of-zero", "the contract: eps is the one that is given")
@cases(in_every_operation(normalization.epsilon_of_zero))
def test_epsilon_of_zero(implementation, case):
    """An eps of zero is zero and stands for no default."""
    assert_conforms(implementation, case)


@must("normalization.leading-axes", "the contract: any leading axes")
@cases(in_every_operation(normalization.leading_axes))
def test_leading_axes(implementation, case):
    """Rows may stand alone, in a sequence, in a batch of sequences, or under more axes."""
    assert_conforms(implementation, case)


@must("normalization.token-independence", "Ba et al. 2016, section 3: every training case by itself")
@cases(normalization.tokens)
def test_token_independence(implementation, case):
    """Changing one row leaves the results of all others the same."""
    changed, others = with_another_token(case)
    assert_identical(implementation, case, changed, others)


@must("normalization.token-order", "Ba et al. 2016, section 3: every training case by itself")
@cases(normalization.tokens)
def test_token_order(implementation, case):
    """Reordering the rows reorders the results."""
    changed, back = with_tokens_reversed(case)
    assert_same(implementation, case, changed, back)


@must("normalization.batch-independence", "Ba et al. 2016, section 3: no dependence on the batch")
@cases(normalization.in_batches)
def test_batch_independence(implementation, case):
    """A sequence gives the same alone as in a batch."""
    alone, pick = first_of_the_batch(case)
    assert_same(implementation, alone, case, pick)


@must("normalization.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(normalization.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("normalization.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(normalization.strided, normalization.strided_together)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded inputs and weights give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("normalization.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(normalization.every_operation)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its inputs and weights."""
    assert_untouched(implementation, case)


@must("normalization.no-memory", "the contract: an operation is a function of its arguments")
@cases(normalization.every_operation)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, in the same arrays or others, nor on later ones."""
    assert_no_memory(implementation, case, [with_other_numbers(case, eps=0.1)])
    assert_remembers_nothing(implementation, case, with_other_numbers(case, eps=0.1))


@must("normalization.dtype-and-shape", "the contract: results have the inputs' dtype")
@cases(in_every_operation(normalization.leading_axes), in_every_operation(normalization.axes_of_one_size))
def test_dtype_and_shape(implementation, case):
    """The result has the dtype and the shape of the input."""
    assert_contract(implementation, case)


@must("normalization.gradients", "Ba et al. 2016 and Zhang & Sennrich 2019, differentiated")
@cases(normalization.differentiable, normalization.rms_differentiable, normalization.sums_differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's, for every input, the gain and the bias."""
    assert_gradients_conform(implementation, case)


@should("normalization.impossible-shapes", "the contract: what no broadcast gives a meaning")
@cases(normalization.impossible)
def test_impossible_shapes(implementation, case):
    """A gain or bias of another width than the rows, and sums of unlike shapes, raise with a message."""
    assert_refuses(implementation, case)
