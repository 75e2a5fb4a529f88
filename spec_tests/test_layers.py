"""Requirements of encoder and decoder layers: where each sum, norm and mask has its place."""

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
from transpec.spec_tests.cases import layers


@must("layers.encoder-equation", "Vaswani et al. 2017, section 3.1, encoder; Xiong et al. 2020, table 1, for pre-norm")
@cases(layers.encoders, layers.encoder_sizes, layers.encoder_beyond_blocks, layers.narrow[:2], layers.drawn_encoders)
def test_encoder_equation(implementation, case):
    """Self-attention, then feed-forward, each LayerNorm(x + f(x)), or with norm_first x + f(LayerNorm(x))."""
    assert_conforms(implementation, case)


@must("layers.decoder-equation", "Vaswani et al. 2017, section 3.1, decoder; Xiong et al. 2020, table 1, for pre-norm")
@cases(
    layers.decoders,
    layers.decoder_sizes,
    layers.decoder_beyond_blocks,
    layers.decoder_over_itself,
    layers.narrow[2:],
    layers.drawn_decoders,
)
def test_decoder_equation(implementation, case):
    """Self-attention, then attention to the memory, then feed-forward, each with its sum and its norm."""
    assert_conforms(implementation, case)


@must("layers.norm-placement", "Vaswani et al. 2017, section 3.1; Xiong et al. 2020, table 1")
@cases(layers.silent)
def test_norm_placement(implementation, case):
    """Where sublayers add nothing, a post-norm layer normalizes its input once for each of them, a pre-norm layer never."""
    assert_conforms(implementation, case)


@must("layers.residuals", "Vaswani et al. 2017, section 3.1: x + Sublayer(x)")
@cases(layers.half_silent)
def test_residuals(implementation, case):
    """Every sublayer has a residual connection of its own: where the others add nothing, it adds to the layer's input."""
    assert_conforms(implementation, case)


@must("layers.activations", "Vaswani et al. 2017, section 3.3; the contract of activation")
@cases(layers.activations, layers.decoders[6:], layers.decoder_activations)
def test_activations(implementation, case):
    """The activation of the feed-forward sublayer is the one that is named."""
    assert_conforms(implementation, case)


@must("layers.epsilon", "the contract of eps")
@cases(layers.epsilon, layers.decoders[6:])
def test_epsilon(implementation, case):
    """The eps that is given is that of every norm of the layer."""
    assert_conforms(implementation, case)


@must("layers.biases", "the contract: a missing bias of attention is zero")
@cases(layers.without_biases)
def test_biases(implementation, case):
    """Where the projections of attention have no biases, these are zero."""
    assert_conforms(implementation, case)


@must("layers.masks", "the contract: a mask broadcasts to (batch, queries, keys)")
@cases(layers.encoder_masks, layers.self_masks)
def test_masks(implementation, case):
    """The mask of self-attention may be of keys, of queries and keys, or unlike per batch item, the same for all heads."""
    assert_conforms(implementation, case)


@must("layers.memory-masks", "the contract: a mask broadcasts to (batch, queries, keys)")
@cases(layers.memory_masks)
def test_memory_masks(implementation, case):
    """The memory's mask hides from attention to the memory alone, and the other mask from self-attention alone."""
    assert_conforms(implementation, case)


@must("layers.memory", "Vaswani et al. 2017, section 3.2.3: keys and values come from the output of the encoder")
@cases(layers.memory_widths, layers.cross)
def test_memory(implementation, case):
    """Keys and values of the second attention are of the memory as it is, without a norm, whatever its width and length."""
    assert_conforms(implementation, case)


@must("layers.memory-order", "Vaswani et al. 2017, section 3.5: attention knows no order")
@cases(layers.cross)
def test_memory_order(implementation, case):
    """Reordering the memory together with its mask changes nothing: every position may see all of it."""
    assert_same(implementation, case, layers.with_memory_reordered(case))


@must("layers.token-order", "Vaswani et al. 2017, section 3.5: attention knows no order")
@cases(layers.unmasked)
def test_token_order(implementation, case):
    """Without a mask, reordering the tokens of an encoder layer reorders its result."""
    assert_same(implementation, case, layers.with_tokens_reordered(case), lambda result: result.flip(1))


@must("layers.everything-visible", "the contract: a mask that hides nothing is none")
@cases(layers.encoder_everything_visible, layers.decoder_everything_visible)
def test_everything_visible(implementation, case):
    """Masks that hide nothing act as none."""
    none = {name: None for name in case.options if "mask" in name}
    assert_same(implementation, case.changed("no masks", **none), case)


@must("layers.causality", "Vaswani et al. 2017, section 3.2.3")
@cases(layers.causal)
def test_causality(implementation, case):
    """Under a look-ahead mask a layer's result at a position stays the same when later tokens change."""
    changed, past = layers.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must("layers.hidden-content-does-not-matter", "Vaswani et al. 2017, section 3.2.3")
@cases(layers.with_hidden_keys)
def test_hidden_content_does_not_matter(implementation, case):
    """Changing a token, or a position of the memory, that nothing may attend to leaves the results elsewhere the same."""
    changed, elsewhere = layers.with_other_content_where_hidden(case)
    assert_identical(implementation, case, changed, elsewhere)


@must("layers.batch-independence", "Vaswani et al. 2017, section 3.1: a function of one sequence")
@cases(layers.in_batches)
def test_batch_independence(implementation, case):
    """A batch item gives the same alone as in a batch, its masks going with it."""
    alone, pick = layers.last_of_the_batch(case)
    assert_same(implementation, alone, case, pick)


@must("layers.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(layers.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("layers.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(layers.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded inputs and masks, and transposed weights, give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("layers.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(layers.every_call)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its inputs, masks and weights."""
    assert_untouched(implementation, case)


@must("layers.no-memory", "the contract: an operation is a function of its arguments")
@cases(layers.every_call)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    other = layers.with_other_numbers(case)
    assert_remembers_nothing(implementation, case, other)
    assert_no_memory(implementation, case, [other, layers.last_of_the_batch(case)[0]])


@must("layers.dtype-and-shape", "the contract: results have the inputs' dtype")
@cases(layers.every_call, layers.narrow, layers.encoder_sizes[6:8], layers.decoder_sizes[4:6])
def test_dtype_and_shape(implementation, case):
    """The result has the shape and the dtype of x."""
    assert_contract(implementation, case)


@must("layers.gradients", "Vaswani et al. 2017, section 3.1, differentiated")
@cases(layers.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's, for x, the memory and every weight."""
    assert_gradients_conform(implementation, case)


@must("layers.heads-that-do-not-divide", "the contract: errors")
@cases(layers.impossible)
def test_heads_that_do_not_divide(implementation, case):
    """A number of heads that does not divide the columns of the projections raises with a message."""
    assert_refuses(implementation, case)


@should("layers.unlike-batches", "the contract: errors")
@cases(layers.unlike_batches)
def test_unlike_batches(implementation, case):
    """A memory of another batch than x raises with a message."""
    assert_refuses(implementation, case)
