"""Requirements of ALBERT, its pooler and the heads of its pretraining; what is given at padding is never looked at."""

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
    output_of,
)
from transpec.reference.albert import albert as encoder
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import albert, bert
from transpec.spec_tests.cases.models import with_other_ids_and_weights, with_vocabulary_permuted
from transpec.spec_tests.test_bert import assert_change_conforms, assert_pooled_from

FORMULA = [*albert.by_hand, *albert.no_layers, *albert.shared, *albert.sizes, *albert.other_configs]


# --- The formula ------------------------------------------------------------------------------------------------------


@must("albert.equation", "Lan et al. 2020, section 3.1")
@cases(FORMULA, albert.masked, albert.beyond_blocks, albert.drawn)
def test_equation(implementation, case):
    """h_0 = LayerNorm(E_token + E_type + E_position) W + b, h_l = Layer(h_{l-1}), every position attending to all."""
    assert_conforms(implementation, case, bert.tokens_of(case))


@must(
    "albert.embeddings", "Lan et al. 2020, section 3.1, factorized embedding parameterization; google-research/albert"
)
@cases(albert.by_hand, albert.projected, albert.far)
def test_embeddings(implementation, case):
    """Rows of three tables are added and normalized at their own size, then projected to d_model, with a bias."""
    assert_conforms(implementation, case)


@must("albert.shared-layer", "Lan et al. 2020, section 3.1, cross-layer parameter sharing")
@cases(albert.shared)
def test_shared_layer(implementation, case):
    """The one post-norm layer is applied num_layers times, each time with the same weights."""
    assert_conforms(implementation, case)


@must("albert.activations", "Lan et al. 2020, section 3.1: GELU; the contract of activation")
@cases(albert.activations)
def test_activations(implementation, case):
    """The layer's activation is the configured one: gelu_tanh, gelu, by the error function, or relu."""
    assert_conforms(implementation, case)


@must("albert.epsilon", "google-research/albert, layer_norm: 1e-12; the contract of eps")
@cases(albert.epsilon)
def test_epsilon(implementation, case):
    """The configured eps, 1e-12 by default, is that of every norm, the embeddings' included."""
    assert_conforms(implementation, case)


# --- Token types and positions ----------------------------------------------------------------------------------------


@must("albert.token-types", "Lan et al. 2020, section 3.1: as in BERT")
@cases(albert.typed)
def test_token_types(implementation, case):
    """Each token takes the row of its own type, be there two types or three."""
    assert_conforms(implementation, case)


@must("albert.default-types", "the contract of token_type_ids")
@cases(albert.untyped)
def test_default_types(implementation, case):
    """Where no token types are given every token is of type 0, the row of which is added."""
    assert_same(implementation, case, bert.with_defaults_given(case, "token_type_ids"))
    assert_conforms(implementation, case)


@must("albert.position-ids", "the contract of position_ids")
@cases(albert.positioned)
def test_position_ids(implementation, case):
    """Position ids that are given say which row of the position table a token takes, in every sequence its own."""
    assert_conforms(implementation, case)


@must("albert.default-positions", "Lan et al. 2020, section 3.1: as in BERT")
@cases(albert.generic, albert.no_layers[:1], albert.sizes[8:11])
def test_default_positions(implementation, case):
    """Where no position ids are given they are 0, 1, … in every sequence."""
    assert_same(implementation, case, bert.with_defaults_given(case, "position_ids"))
    assert_conforms(implementation, case)


# --- What attends to what ---------------------------------------------------------------------------------------------


@must("albert.bidirectional", "Lan et al. 2020, section 3.1: as in BERT")
@cases(albert.shown)
def test_bidirectional(implementation, case):
    """A changed last token changes the result at every position, the first included, as much as the formula says."""
    assert_change_conforms(implementation, case, bert.with_another_last_token(case))


@must("albert.attention-mask", "the contract of attention_mask")
@cases(albert.masked, albert.crossed, albert.nothing_hidden)
def test_attention_mask(implementation, case):
    """No position attends to a token that its sequence's attention mask hides, in no pass through the layer."""
    assert_conforms(implementation, case, bert.tokens_of(case))


@must("albert.hidden-tokens-do-not-matter", "the contract of attention_mask")
@cases(albert.masked, albert.large[7], albert.large[8])
def test_hidden_tokens_do_not_matter(implementation, case):
    """Another id, type and position where the attention mask is False leave the result at all tokens the same."""
    assert_identical(implementation, case, bert.with_other_hidden_tokens(case), bert.tokens_of(case))


@must("albert.everything-visible", "the contract of attention_mask")
@cases(albert.nothing_hidden)
def test_everything_visible(implementation, case):
    """An attention mask that hides nothing acts as none."""
    assert_same(implementation, case.changed("no mask", attention_mask=None), case)


@must("albert.padding-right", "the contract of attention_mask")
@cases(albert.padded_right, albert.large[7])
def test_padding_right(implementation, case):
    """Padding on the right, which the attention mask hides, leaves the result at tokens as it is without it."""
    alone, pick = bert.last_unpadded(case)
    assert_same(implementation, alone, case, pick)


@must("albert.padding-left", "the contract of attention_mask and position_ids")
@cases(albert.padded_left)
def test_padding_left(implementation, case):
    """Padding on the left leaves the result at tokens as it is without it, where attention mask and position ids tell of it."""
    alone, pick = bert.last_unpadded(case)
    assert_same(implementation, alone, case, pick)


# --- Heads ------------------------------------------------------------------------------------------------------------


@must("albert.pooled-equation", "Lan et al. 2020, section 3.1; google-research/albert, AlbertModel, for the pooler")
@cases(albert.pooled)
def test_pooled_equation(implementation, case):
    """pooled = tanh(h_0 W + b), h_0 being the result for the first token and for no other."""
    assert_conforms(implementation, case)


@must("albert.pooled-from-the-encoder", "google-research/albert, AlbertModel")
@cases(albert.pooled)
def test_pooled_from_the_encoder(implementation, case):
    """What is pooled is what the implementation's own albert, where it has one, gives for the first token."""
    if implementation.claims(encoder):
        assert_pooled_from(implementation, case, bert.without_head(case, encoder))
    assert_conforms(implementation, case)


@must("albert.pooled-bounded", "google-research/albert, AlbertModel: the pooler's tanh")
@cases(albert.small[1][:1], albert.large[0][:1])
def test_pooled_bounded(implementation, case):
    """Whatever its weights, what is pooled lies between -1 and 1."""
    loud = bert.with_loud_pooler(case)
    pooled = output_of(implementation, loud)
    bounded = pooled.clamp(-1, 1)
    assert_derived(implementation, loud, pooled, pooled, bounded, torch.zeros_like(bounded), "output")


@must("albert.first-token-alone", "google-research/albert, AlbertModel: the first token is pooled")
@cases(albert.small[0][:1], albert.small[0][2:])
def test_first_token_alone(implementation, case):
    """Without a layer, through which tokens see each other, only the first one shows in what is pooled."""
    assert_identical(implementation, case, bert.with_other_later_tokens(case))


@must("albert.mlm-equation", "Lan et al. 2020, section 3.1; google-research/albert, get_masked_lm_output")
@cases(albert.mlm)
def test_mlm_equation(implementation, case):
    """logits = LayerNorm(f(h W + b)) E_token^T + c, W leading back to the size of the embeddings."""
    assert_conforms(implementation, case, bert.tokens_of(case))


@must("albert.tied-head", "google-research/albert, get_masked_lm_output: the weights of the input embeddings")
@cases(albert.tied)
def test_tied_head(implementation, case):
    """Renaming the words, in ids, token table and output bias alike, reorders the logits and does nothing else."""
    renamed, order = with_vocabulary_permuted(case, ("embeddings.token", "mlm.output_bias"))
    assert_same(implementation, renamed, case, lambda result: result[..., order])


@must("albert.sop-equation", "Lan et al. 2020, section 3.1, inter-sentence coherence loss; google-research/albert")
@cases(albert.sop)
def test_sop_equation(implementation, case):
    """logits = pooled W + b, that of "in order" first and that of "exchanged" second."""
    assert_conforms(implementation, case)


# --- All --------------------------------------------------------------------------------------------------------------


@must("albert.batch-independence", "Lan et al. 2020, section 3.1: as in BERT")
@cases(albert.in_batches)
def test_batch_independence(implementation, case):
    """A sequence has alone the result that it has in a batch, its mask, types and positions being its own."""
    alone, pick = bert.last_sequence(case)
    assert_same(implementation, alone, case, pick, bert.tokens_of(alone))


@should("albert.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(albert.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("albert.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(albert.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded ids and masks, and transposed weights, give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case, bert.tokens_of(case))


@must("albert.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(albert.every_call)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its ids, types, masks and weights."""
    assert_untouched(implementation, case)


@must("albert.no-memory", "the contract: an operation is a function of its arguments")
@cases(albert.remembered)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    assert_remembers_nothing(implementation, case, with_other_ids_and_weights(case))
    assert_no_memory(implementation, case, bert.others_than(case))


@must("albert.dtype-and-shape", "the contract: a row for every token, or one for a sequence, in the weights' dtype")
@cases(albert.every_call, albert.no_layers)
def test_dtype_and_shape(implementation, case):
    """The result has a row for every token, or one for a sequence where it is pooled, in the dtype of the weights."""
    assert_contract(implementation, case)


@must("albert.gradients", "Lan et al. 2020, section 3.1, differentiated")
@cases(albert.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's for every weight; those of the shared layer sum over all its passes."""
    assert_gradients_conform(implementation, case)


@should("albert.out-of-range", "the contract: what the tables do not have is refused")
@cases(albert.out_of_range)
def test_out_of_range(implementation, case):
    """Ids, types and positions beyond the tables, be they given or counted, raise with a message."""
    assert_refuses(implementation, case)
