"""Requirements of GPT, whole and in pieces with a key-value cache; what is given at padding is never looked at."""

import torch

from transpec.judgement import (
    Observation,
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
    budget_of,
    compare,
    declared_variants,
    oracle,
    output_of,
)
from transpec.reference.gpt import gpt as whole_gpt
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import gpt
from transpec.spec_tests.cases.models import with_other_ids_and_weights, with_vocabulary_permuted

FORMULA = [*gpt.no_layers, *gpt.one_layer, *gpt.generic]


def assert_conforms_at_tokens(implementation, case):
    """The logits at tokens equal the formula's within the budget; those at padding are not looked at."""
    assert_conforms(implementation, case, gpt.tokens_of(case))


def assert_same_at_tokens(implementation, case, other, of_other=lambda result: result):
    """Two calls that a property makes equal agree at the tokens of the first within the budgets of both."""
    assert_same(implementation, case, other, of_other, gpt.tokens_of(case))


# --- The formula ------------------------------------------------------------------------------------------------------


@must("gpt.equation", "Radford et al. 2018, section 3.1, equation 2; Radford et al. 2019, section 2.3")
@cases(
    gpt.by_hand,
    FORMULA,
    gpt.sizes,
    gpt.ids,
    gpt.everything,
    gpt.positioned,
    gpt.masked,
    gpt.beyond_blocks,
    gpt.drawn,
)
def test_equation(implementation, case):
    """h_0 = E_token + E_position, h_l = Layer_l(h_{l-1}) under the look-ahead mask, logits = h_L E_token^T."""
    assert_conforms_at_tokens(implementation, case)


@must("gpt.embeddings", "Radford et al. 2018, section 3.1, equation 2: h_0 = U W_e + W_p")
@cases(gpt.by_hand, gpt.no_layers, gpt.silent)
def test_embeddings(implementation, case):
    """Rows of both tables are added as they are, without a factor sqrt(d_model) and without a norm of their own."""
    assert_conforms(implementation, case)


@must("gpt.norm-placement", "Radford et al. 2018, section 3.1; Radford et al. 2019, section 2.3")
@cases(gpt.silent, gpt.far, gpt.no_layers, gpt.one_layer, gpt.generic)
def test_norm_placement(implementation, case):
    """With norm_first each sublayer has its norm before it and the stack one more after it; else norms only follow sums."""
    assert_conforms(implementation, case)


@must("gpt.activations", "Radford et al. 2018, section 4.1: GELU; the contract of activation")
@cases(gpt.activations)
def test_activations(implementation, case):
    """The layers' activation is the configured one: gelu_tanh, gelu or relu."""
    assert_conforms(implementation, case)


@must("gpt.epsilon", "the contract of eps")
@cases(gpt.epsilon)
def test_epsilon(implementation, case):
    """The configured eps is that of every norm, the last one included."""
    assert_conforms(implementation, case)


@must("gpt.layers", "Radford et al. 2018, section 3.1, equation 2")
@cases(gpt.many_layers)
def test_layers(implementation, case):
    """The layers follow each other by number, each once and with weights of its own."""
    assert_conforms(implementation, case)


@must("gpt.tied-head", "Radford et al. 2018, section 3.1, equation 2: P(u) = softmax(h_n W_e^T)")
@cases(gpt.tied, gpt.tied_in_steps)
def test_tied_head(implementation, case):
    """Renaming the words, in ids and token table alike, reorders the logits and does nothing else."""
    renamed, order = with_vocabulary_permuted(case, ("embeddings.token",))
    assert_same_at_tokens(implementation, renamed, case, lambda result: result[..., order])


# --- Positions --------------------------------------------------------------------------------------------------------


@must("gpt.positions", "Radford et al. 2018, section 3.1, equation 2: W_p")
@cases(gpt.unpositioned)
def test_positions(implementation, case):
    """Where no position ids are given they are 0, 1, … in every sequence."""
    assert_same_at_tokens(implementation, case, gpt.with_positions_counted(case))
    assert_conforms(implementation, case)


@must("gpt.position-ids", "the contract of position_ids")
@cases(gpt.positioned)
def test_position_ids(implementation, case):
    """Position ids that are given say which row of the position table a token takes, in every sequence its own."""
    assert_conforms(implementation, case)


# --- Look-ahead -------------------------------------------------------------------------------------------------------


@must("gpt.causality", "Radford et al. 2018, section 3.1, equation 1: a word given those before it")
@cases(gpt.causal)
def test_causality(implementation, case):
    """The logits at a position stay the same when later tokens change, through all layers."""
    changed, past = gpt.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must("gpt.causality-under-attention-mask", "the contract: both masks hide")
@cases(gpt.causal_masked)
def test_causality_under_attention_mask(implementation, case):
    """An attention mask hides on top of the look-ahead mask and not in its place."""
    changed, past = gpt.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must("gpt.changed-token-shows", "Radford et al. 2018, section 3.1, equation 2")
@cases(gpt.shown, gpt.shown_in_steps)
def test_changed_token_shows(implementation, case):
    """A changed token changes the logits at its own position and at those after it, as much as the formula says."""
    other, variants = gpt.with_another_token(case), declared_variants(implementation, case)
    first, second = output_of(implementation, case), output_of(implementation, other)
    actual = second.to(torch.float64) - first.to(torch.float64)
    expected = oracle(other, variants) - oracle(case, variants)
    allowed = budget_of(implementation, case) + budget_of(implementation, other)
    looked_at = torch.where(gpt.tokens_of(case), actual, expected)
    observed = (Observation(case, {"": first}), Observation(other, {"": second}))
    compare(implementation, other, looked_at, expected, allowed, what="change of the output", observed=observed)


@must("gpt.first-position", "Radford et al. 2018, section 3.1, equation 1")
@cases(gpt.prefixes)
def test_first_position(implementation, case):
    """The first position sees itself alone: its logits are those of its token alone."""
    alone, pick = gpt.prefix(case, 1)
    assert_same_at_tokens(implementation, alone, case, pick)


@must("gpt.prefix", "Radford et al. 2018, section 3.1, equation 1")
@cases(gpt.prefixes)
def test_prefix(implementation, case):
    """The first tokens of a sequence have alone the logits that they have in the whole."""
    length = case.tensors[0].shape[-1]
    short, pick = gpt.prefix(case, length - 1 - length // 4)
    assert_same_at_tokens(implementation, short, case, pick)


# --- Attention masks --------------------------------------------------------------------------------------------------


@must("gpt.attention-mask", "the contract of attention_mask")
@cases(gpt.masked, gpt.crossed, gpt.in_steps_crossed, gpt.nothing_hidden)
def test_attention_mask(implementation, case):
    """No position attends to a token that its sequence's attention mask hides, be it alone in the batch or not."""
    assert_conforms_at_tokens(implementation, case)


@must("gpt.hidden-tokens-do-not-matter", "the contract of attention_mask")
@cases(gpt.padded_right, gpt.padded_left, gpt.holes)
def test_hidden_tokens_do_not_matter(implementation, case):
    """Another id and position where the attention mask is False leave the logits at all tokens the same."""
    changed = gpt.with_other_hidden_tokens(case)
    assert_identical(implementation, case, changed, gpt.tokens_of(case))


@must("gpt.everything-visible", "the contract of attention_mask")
@cases(gpt.nothing_hidden, gpt.in_steps_nothing_hidden)
def test_everything_visible(implementation, case):
    """An attention mask that hides nothing acts as none, with a cache and without."""
    assert_same_at_tokens(implementation, case.changed("no mask", attention_mask=None), case)


@must("gpt.padding-right", "the contract of attention_mask")
@cases(gpt.padded_right, gpt.in_steps_right)
def test_padding_right(implementation, case):
    """Padding on the right, which the attention mask hides, leaves the logits at tokens as they are without it."""
    alone, pick = gpt.last_unpadded(case)
    assert_same_at_tokens(implementation, alone, case, pick)


@must("gpt.padding-left", "the contract of attention_mask and position_ids")
@cases(gpt.padded_left, gpt.in_steps_left, gpt.prompts)
def test_padding_left(implementation, case):
    """Padding before tokens leaves their logits as they are without it, where attention mask and position ids tell of it."""
    alone, pick = gpt.last_unpadded(case)
    assert_same_at_tokens(implementation, alone, case, pick)


# --- In pieces --------------------------------------------------------------------------------------------------------


@must("gpt.cached-equation", "Radford et al. 2018, section 3.1, equation 2, one piece after the other")
@cases(gpt.every_step, gpt.in_steps_beyond_blocks, gpt.drawn_in_steps)
def test_cached_equation(implementation, case):
    """Read in pieces, of one token or several, tokens have the logits that they have in one call of the formula."""
    assert_conforms_at_tokens(implementation, case)


@must("gpt.cached-is-whole", "the contract: a cache saves work and changes nothing")
@cases(gpt.in_steps, gpt.in_steps_positioned[:2], gpt.in_steps_left[:3], gpt.prompts_in_steps)
def test_cached_is_whole(implementation, case):
    """Pieces have the logits that the implementation's own gpt, where it has one, gives for the whole."""
    assert_conforms_at_tokens(implementation, case)
    if implementation.claims(whole_gpt):
        assert_same_at_tokens(implementation, gpt.whole(case), case)


@must("gpt.cached-pieces", "the contract of steps")
@cases(gpt.in_steps_cut_anew)
def test_cached_pieces(implementation, case):
    """Into which pieces the tokens are cut makes no difference."""
    assert_same_at_tokens(implementation, case, gpt.in_other_pieces(case))


@must("gpt.cached-position-ids", "the contract of position_ids")
@cases(gpt.in_steps_positioned, gpt.in_steps_left)
def test_cached_position_ids(implementation, case):
    """Every piece takes its own part of the position ids that are given."""
    assert_conforms_at_tokens(implementation, case)


@must("gpt.cached-causality", "Radford et al. 2018, section 3.1, equation 1")
@cases(gpt.causal_in_steps)
def test_cached_causality(implementation, case):
    """Within a piece, with a past or without, and from piece to piece, logits stay the same when later tokens change."""
    changed, past = gpt.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must("gpt.cached-hidden-tokens-do-not-matter", "the contract of attention_mask")
@cases(gpt.in_steps_masked)
def test_cached_hidden_tokens_do_not_matter(implementation, case):
    """What the attention mask hides stays hidden from all later pieces: another id there changes no token's logits."""
    changed = gpt.with_other_hidden_tokens(case)
    assert_identical(implementation, case, changed, gpt.tokens_of(case))


@must("gpt.cached-no-memory", "the contract: the cache starts empty in every call")
@cases(gpt.remembered_in_steps)
def test_cached_no_memory(implementation, case):
    """Nothing of a call is left in the cache of the next, be its tokens, weights, length or batch the same or others."""
    output_of(implementation, gpt.in_steps_left[0].in_dtype(case.dtype))
    assert_remembers_nothing(implementation, case, with_other_ids_and_weights(case))
    assert_no_memory(implementation, case, gpt.others_than(case))


# --- Both -------------------------------------------------------------------------------------------------------------


@must("gpt.batch-independence", "Radford et al. 2018, section 3.1: a probability of every sequence")
@cases(gpt.in_batches, gpt.in_batches_in_steps)
def test_batch_independence(implementation, case):
    """A sequence has alone the logits that it has in a batch, its mask and positions being its own."""
    alone, pick = gpt.last_sequence(case)
    assert_same_at_tokens(implementation, alone, case, pick)


@should("gpt.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(gpt.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("gpt.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(gpt.strided, gpt.strided_in_steps)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded ids and masks, and transposed weights, give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case, gpt.tokens_of(case))


@must("gpt.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(gpt.every_call, gpt.every_call_in_steps)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its ids, masks and weights."""
    assert_untouched(implementation, case)


@must("gpt.no-memory", "the contract: an operation is a function of its arguments")
@cases(gpt.remembered)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    output_of(implementation, gpt.padded_left[0].in_dtype(case.dtype))
    assert_remembers_nothing(implementation, case, with_other_ids_and_weights(case))
    assert_no_memory(implementation, case, gpt.others_than(case))


@must("gpt.dtype-and-shape", "the contract: a logit for every word, in the weights' dtype")
@cases(gpt.every_call, gpt.no_layers, gpt.every_call_in_steps)
def test_dtype_and_shape(implementation, case):
    """The result has a logit for every word at every position, in the dtype of the weights."""
    assert_contract(implementation, case)


@must("gpt.gradients", "Radford et al. 2018, section 3.1, equation 2, differentiated")
@cases(gpt.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's for every weight; that of the token table sums both of its uses."""
    assert_gradients_conform(implementation, case)


@should("gpt.out-of-range", "the contract: what the tables do not have is refused")
@cases(gpt.out_of_range, gpt.out_of_range_in_steps)
def test_out_of_range(implementation, case):
    """Ids and positions beyond the tables, be they given or counted, raise with a message."""
    assert_refuses(implementation, case)


@should("gpt.cached-steps-add-up", "the contract of steps")
@cases(gpt.steps_that_do_not_add_up)
def test_cached_steps_add_up(implementation, case):
    """Steps that do not add up to the number of tokens, or are not positive, raise with a message."""
    assert_refuses(implementation, case)
