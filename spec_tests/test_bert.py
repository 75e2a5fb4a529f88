"""Requirements of BERT, its pooler and the heads of its pretraining; what is given at padding is never looked at."""

import torch

from transpec.judgement import (
    Observation,
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
    compare,
    declared_variants,
    oracle,
    output_of,
)
from transpec.reference.bert import bert as encoder
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import bert
from transpec.spec_tests.cases.models import with_other_ids_and_weights, with_vocabulary_permuted


def assert_change_conforms(implementation, case, other):
    """From one call to the other the result changes as much as the formula says, at tokens."""
    variants = declared_variants(implementation, case)
    first, second = output_of(implementation, case), output_of(implementation, other)
    actual = second.to(torch.float64) - first.to(torch.float64)
    expected = oracle(other, variants) - oracle(case, variants)
    shown = bert.tokens_of(case)
    actual = actual if shown is None else torch.where(shown, actual, expected)
    allowed = budget_of(implementation, case) + budget_of(implementation, other)
    observed = (Observation(case, {"": first}), Observation(other, {"": second}))
    compare(implementation, other, actual, expected, allowed, what="change of the output", observed=observed)


def assert_pooled_from(implementation, case, of_encoder):
    """The pooled result is tanh(h_0 W + b), h being the implementation's own result without the pooler."""
    pooled, hidden = output_of(implementation, case), output_of(implementation, of_encoder)
    w, b = (case.weights[f"pooler.{name}"].to(torch.float64) for name in "wb")
    expected = torch.tanh(hidden[:, 0].to(torch.float64) @ w + b)
    allowed = budget_of(implementation, case) + budget_of(implementation, of_encoder)[:, 0] @ w.abs()
    assert_derived(implementation, case, pooled, pooled, expected, allowed, "output")


# --- The formula ------------------------------------------------------------------------------------------------------


@must("bert.equation", "Devlin et al. 2019, section 3 and figure 2")
@cases(
    bert.by_hand,
    bert.no_layers,
    bert.one_layer,
    bert.generic,
    bert.sizes,
    bert.other_configs,
    bert.masked,
    bert.beyond_blocks,
    bert.drawn,
)
def test_equation(implementation, case):
    """h_0 = LayerNorm(E_token + E_type + E_position), h_l = Layer_l(h_{l-1}), every position attending to all."""
    assert_conforms(implementation, case, bert.tokens_of(case))


@must("bert.embeddings", "Devlin et al. 2019, section 3 and figure 2; google-research/bert, embedding_postprocessor")
@cases(bert.by_hand, bert.no_layers, bert.silent, bert.far)
def test_embeddings(implementation, case):
    """Rows of three tables are added as they are, without a factor sqrt(d_model), and then normalized once."""
    assert_conforms(implementation, case)


@must("bert.post-norm", "Devlin et al. 2019, section 3: almost identical to Vaswani et al. 2017")
@cases(bert.silent, bert.one_layer, bert.generic)
def test_post_norm(implementation, case):
    """Each sublayer is followed by a norm of its own, with none before it and none after the stack."""
    assert_conforms(implementation, case)


@must("bert.activations", "Devlin et al. 2019, section A.2: GELU; the contract of activation")
@cases(bert.activations)
def test_activations(implementation, case):
    """The layers' activation is the configured one: gelu, by the error function, gelu_tanh or relu."""
    assert_conforms(implementation, case)


@must("bert.epsilon", "google-research/bert, layer_norm: 1e-12; the contract of eps")
@cases(bert.epsilon)
def test_epsilon(implementation, case):
    """The configured eps, 1e-12 by default, is that of every norm, the embeddings' included."""
    assert_conforms(implementation, case)


@must("bert.layers", "Devlin et al. 2019, section 3")
@cases(bert.many_layers)
def test_layers(implementation, case):
    """The layers follow each other by number, each once and with weights of its own."""
    assert_conforms(implementation, case)


# --- Token types and positions ----------------------------------------------------------------------------------------


@must("bert.token-types", "Devlin et al. 2019, section 3: a learned embedding of the sentence a token belongs to")
@cases(bert.typed)
def test_token_types(implementation, case):
    """Each token takes the row of its own type, be there two types or three."""
    assert_conforms(implementation, case)


@must("bert.default-types", "the contract of token_type_ids")
@cases(bert.untyped)
def test_default_types(implementation, case):
    """Where no token types are given every token is of type 0, the row of which is added."""
    assert_same(implementation, case, bert.with_defaults_given(case, "token_type_ids"))
    assert_conforms(implementation, case)


@must("bert.position-ids", "the contract of position_ids")
@cases(bert.positioned)
def test_position_ids(implementation, case):
    """Position ids that are given say which row of the position table a token takes, in every sequence its own."""
    assert_conforms(implementation, case)


@must("bert.default-positions", "Devlin et al. 2019, section 3 and figure 2")
@cases(bert.generic, bert.no_layers[:1], bert.sizes[7:10])
def test_default_positions(implementation, case):
    """Where no position ids are given they are 0, 1, … in every sequence."""
    assert_same(implementation, case, bert.with_defaults_given(case, "position_ids"))
    assert_conforms(implementation, case)


# --- What attends to what ---------------------------------------------------------------------------------------------


@must("bert.bidirectional", "Devlin et al. 2019, section 3: bidirectional self-attention")
@cases(bert.shown)
def test_bidirectional(implementation, case):
    """A changed last token changes the result at every position, the first included, as much as the formula says."""
    assert_change_conforms(implementation, case, bert.with_another_last_token(case))


@must("bert.attention-mask", "the contract of attention_mask")
@cases(bert.masked, bert.crossed, bert.nothing_hidden)
def test_attention_mask(implementation, case):
    """No position attends to a token that its sequence's attention mask hides, be it alone in the batch or not."""
    assert_conforms(implementation, case, bert.tokens_of(case))


@must("bert.hidden-tokens-do-not-matter", "the contract of attention_mask")
@cases(bert.masked, bert.large[7], bert.large[8])
def test_hidden_tokens_do_not_matter(implementation, case):
    """Another id, type and position where the attention mask is False leave the result at all tokens the same."""
    assert_identical(implementation, case, bert.with_other_hidden_tokens(case), bert.tokens_of(case))


@must("bert.everything-visible", "the contract of attention_mask")
@cases(bert.nothing_hidden)
def test_everything_visible(implementation, case):
    """An attention mask that hides nothing acts as none."""
    assert_same(implementation, case.changed("no mask", attention_mask=None), case)


@must("bert.padding-right", "the contract of attention_mask")
@cases(bert.padded_right, bert.large[7])
def test_padding_right(implementation, case):
    """Padding on the right, which the attention mask hides, leaves the result at tokens as it is without it."""
    alone, pick = bert.last_unpadded(case)
    assert_same(implementation, alone, case, pick)


@must("bert.padding-left", "the contract of attention_mask and position_ids")
@cases(bert.padded_left)
def test_padding_left(implementation, case):
    """Padding on the left leaves the result at tokens as it is without it, where attention mask and position ids tell of it."""
    alone, pick = bert.last_unpadded(case)
    assert_same(implementation, alone, case, pick)


# --- Heads ------------------------------------------------------------------------------------------------------------


@must("bert.pooled-equation", "Devlin et al. 2019, section 3; google-research/bert, BertModel, for the layer and tanh")
@cases(bert.pooled)
def test_pooled_equation(implementation, case):
    """pooled = tanh(h_0 W + b), h_0 being the result for the first token and for no other."""
    assert_conforms(implementation, case)


@must("bert.pooled-from-the-encoder", "google-research/bert, BertModel")
@cases(bert.pooled)
def test_pooled_from_the_encoder(implementation, case):
    """What is pooled is what the implementation's own bert, where it has one, gives for the first token."""
    if implementation.claims(encoder):
        assert_pooled_from(implementation, case, bert.without_head(case))
    assert_conforms(implementation, case)


@must("bert.pooled-bounded", "google-research/bert, BertModel: the pooler's tanh")
@cases(bert.small[1][:1], bert.large[0][:1])
def test_pooled_bounded(implementation, case):
    """Whatever its weights, what is pooled lies between -1 and 1."""
    loud = bert.with_loud_pooler(case)
    pooled = output_of(implementation, loud)
    bounded = pooled.clamp(-1, 1)
    assert_derived(implementation, loud, pooled, pooled, bounded, torch.zeros_like(bounded), "output")


@must("bert.first-token-alone", "google-research/bert, BertModel: the first token is pooled")
@cases(bert.small[0][:1], bert.small[0][2:])
def test_first_token_alone(implementation, case):
    """Without a layer, through which tokens see each other, only the first one shows in what is pooled."""
    assert_identical(implementation, case, bert.with_other_later_tokens(case))


@must("bert.mlm-equation", "Devlin et al. 2019, section 3.1, task 1; google-research/bert, get_masked_lm_output")
@cases(bert.mlm)
def test_mlm_equation(implementation, case):
    """logits = LayerNorm(f(h W + b)) E_token^T + c, f being the configured activation and eps that of the other norms."""
    assert_conforms(implementation, case, bert.tokens_of(case))


@must("bert.tied-head", "google-research/bert, get_masked_lm_output: the weights of the input embeddings")
@cases(bert.tied)
def test_tied_head(implementation, case):
    """Renaming the words, in ids, token table and output bias alike, reorders the logits and does nothing else."""
    renamed, order = with_vocabulary_permuted(case, ("embeddings.token", "mlm.output_bias"))
    assert_same(implementation, renamed, case, lambda result: result[..., order])


@must("bert.nsp-equation", "Devlin et al. 2019, section 3.1, task 2; google-research/bert, get_next_sentence_output")
@cases(bert.nsp)
def test_nsp_equation(implementation, case):
    """logits = pooled W + b, that of "is the next sentence" first and that of "is not" second."""
    assert_conforms(implementation, case)


# --- All --------------------------------------------------------------------------------------------------------------


@must("bert.batch-independence", "Devlin et al. 2019, section 3: a representation of every sequence")
@cases(bert.in_batches)
def test_batch_independence(implementation, case):
    """A sequence has alone the result that it has in a batch, its mask, types and positions being its own."""
    alone, pick = bert.last_sequence(case)
    assert_same(implementation, alone, case, pick, bert.tokens_of(alone))


@should("bert.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(bert.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("bert.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(bert.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded ids and masks, and transposed weights, give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case, bert.tokens_of(case))


@must("bert.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(bert.every_call)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its ids, types, masks and weights."""
    assert_untouched(implementation, case)


@must("bert.no-memory", "the contract: an operation is a function of its arguments")
@cases(bert.remembered)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    assert_remembers_nothing(implementation, case, with_other_ids_and_weights(case))
    assert_no_memory(implementation, case, bert.others_than(case))


@must("bert.dtype-and-shape", "the contract: a row for every token, or one for a sequence, in the weights' dtype")
@cases(bert.every_call, bert.no_layers)
def test_dtype_and_shape(implementation, case):
    """The result has a row for every token, or one for a sequence where it is pooled, in the dtype of the weights."""
    assert_contract(implementation, case)


@must("bert.gradients", "Devlin et al. 2019, section 3, differentiated")
@cases(bert.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's for every weight; that of a tied token table sums both of its uses."""
    assert_gradients_conform(implementation, case)


@should("bert.out-of-range", "the contract: what the tables do not have is refused")
@cases(bert.out_of_range)
def test_out_of_range(implementation, case):
    """Ids, types and positions beyond the tables, be they given or counted, raise with a message."""
    assert_refuses(implementation, case)
