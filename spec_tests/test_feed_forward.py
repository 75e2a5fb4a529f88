"""Requirements of the position-wise feed-forward network: its three activations, then what holds for each of them."""

from transpec.judgement import (
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_gradients_conform,
    assert_identical,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
)
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import feed_forward
from transpec.spec_tests.cases.feed_forward import with_activation
from transpec.spec_tests.cases.tokens import (
    first_of_the_batch,
    with_another_token,
    with_other_numbers,
    with_tokens_reversed,
)

FORMULA = [*feed_forward.by_hand, *feed_forward.grid, *feed_forward.generic, *feed_forward.units_at_rest]
FAR = [*feed_forward.far_out, *feed_forward.near_zero]


@must("feed_forward.equation", "Vaswani et al. 2017, section 3.3, equation 2")
@cases(FORMULA, feed_forward.sizes, feed_forward.drawn_relu)
def test_equation(implementation, case):
    """FFN(x) = max(0, x W_1 + b_1) W_2 + b_2, where no other activation is named."""
    assert_conforms(implementation, case)


@must("feed_forward.gelu-equation", "Hendrycks & Gimpel 2016, section 2")
@cases(with_activation("gelu", FORMULA), with_activation("gelu", feed_forward.sizes[:4]), feed_forward.drawn_gelu)
def test_gelu_equation(implementation, case):
    """With "gelu" the activation is x Phi(x), Phi being the normal distribution, and no approximation of it."""
    assert_conforms(implementation, case)


@must("feed_forward.gelu-tanh-equation", "Hendrycks & Gimpel 2016, section 2")
@cases(
    with_activation("gelu_tanh", FORMULA),
    with_activation("gelu_tanh", feed_forward.sizes[:4]),
    feed_forward.drawn_gelu_tanh,
)
def test_gelu_tanh_equation(implementation, case):
    """With "gelu_tanh" the activation is 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    assert_conforms(implementation, case)


@must("feed_forward.leading-axes", "the contract: any leading axes")
@cases(feed_forward.leading_axes, with_activation("gelu", feed_forward.leading_axes))
def test_leading_axes(implementation, case):
    """Tokens may stand alone, in a sequence, in a batch of sequences, or under more axes."""
    assert_conforms(implementation, case)


@must("feed_forward.stability", "Vaswani et al. 2017, section 3.3; Hendrycks & Gimpel 2016, section 2")
@cases(FAR, with_activation("gelu", FAR), with_activation("gelu_tanh", FAR))
def test_stability(implementation, case):
    """Inner sums far from zero and close to it lose no more than rounding takes."""
    assert_conforms(implementation, case)


@must("feed_forward.position-wise", "Vaswani et al. 2017, section 3.3: applied to each position separately")
@cases(feed_forward.tokens)
def test_position_wise(implementation, case):
    """Changing one token leaves the results of all others the same."""
    changed, others = with_another_token(case)
    assert_identical(implementation, case, changed, others)


@must("feed_forward.token-order", "Vaswani et al. 2017, section 3.3: applied to each position identically")
@cases(feed_forward.tokens)
def test_token_order(implementation, case):
    """Reordering the tokens reorders the results."""
    changed, back = with_tokens_reversed(case)
    assert_same(implementation, case, changed, back)


@must("feed_forward.inner-permutation", "Vaswani et al. 2017, section 3.3: no order among the inner units")
@cases(feed_forward.inner_units)
def test_inner_permutation(implementation, case):
    """Reordering the inner units in W_1, b_1 and W_2 alike changes nothing."""
    assert_same(implementation, case, feed_forward.with_inner_units_reordered(case))


@must("feed_forward.batch-independence", "Vaswani et al. 2017, section 3.3: applied to each position separately")
@cases(feed_forward.in_batches)
def test_batch_independence(implementation, case):
    """A sequence gives the same alone as in a batch."""
    alone, pick = first_of_the_batch(case)
    assert_same(implementation, alone, case, pick)


@must("feed_forward.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(feed_forward.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("feed_forward.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(feed_forward.strided, feed_forward.strided_together)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded inputs and weights give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("feed_forward.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(feed_forward.every_activation)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its inputs and weights."""
    assert_untouched(implementation, case)


@must("feed_forward.no-memory", "the contract: an operation is a function of its arguments")
@cases(feed_forward.every_activation)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, in the same arrays or others, nor on later ones."""
    assert_no_memory(implementation, case, [with_other_numbers(case)])
    assert_remembers_nothing(implementation, case, with_other_numbers(case))


@must("feed_forward.dtype-and-shape", "the contract: results have the inputs' dtype")
@cases(feed_forward.leading_axes, with_activation("gelu", feed_forward.generic[:1]))
def test_dtype_and_shape(implementation, case):
    """The result has the dtype and the shape of the input."""
    assert_contract(implementation, case)


@must("feed_forward.gradients", "Vaswani et al. 2017, section 3.3, equation 2, differentiated")
@cases(feed_forward.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's, for the input and every weight."""
    assert_gradients_conform(implementation, case)


@should("feed_forward.impossible-shapes", "the contract: what no broadcast gives a meaning")
@cases(feed_forward.impossible)
def test_impossible_shapes(implementation, case):
    """Inputs and weights that do not fit each other raise with a message."""
    assert_refuses(implementation, case)


@should("feed_forward.unknown-activation", "the contract: ValueError for any other name")
@cases(feed_forward.unknown_activation)
def test_unknown_activation(implementation, case):
    """An activation of a name that the contract does not know raises ValueError."""
    assert_refuses(implementation, case, ValueError)
