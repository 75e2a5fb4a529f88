"""Requirements of T5: buckets, attention, encoder, decoder, the whole, labels; what is given at padding is never looked at."""

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
from transpec.reference.t5 import t5 as whole_t5
from transpec.reference.t5 import t5_decoder, t5_encoder
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import t5
from transpec.spec_tests.cases.models import with_vocabulary_permuted

PAPER = "Raffel et al. 2020, section 2.1"

# --- Buckets and labels -----------------------------------------------------------------------------------------------


@must("t5.bucket-equation", "google-research/text-to-text-transfer-transformer and mesh-tensorflow")
@cases(t5.buckets, t5.bucket_ranks)
def test_bucket_equation(implementation, case):
    """A key's position less a query's has the bucket that the formula says, exactly, in one direction and in both."""
    assert_conforms(implementation, case)


@must("t5.bucket-far", f"{PAPER}: beyond an offset of 128 all are one")
@cases(t5.far_away)
def test_bucket_far(implementation, case):
    """Whatever is farther than the last edge shares the last bucket of its direction."""
    assert_conforms(implementation, case)


@must("t5.shift-equation", f"{PAPER}; Hugging Face transformers, T5PreTrainedModel._shift_right, for -100")
@cases(t5.labels)
def test_shift_equation(implementation, case):
    """The decoder reads the start id and then all labels but the last; where such a label is -100 it reads the pad id."""
    assert_conforms(implementation, case)


# --- Attention --------------------------------------------------------------------------------------------------------


@must("t5.attention-equation", PAPER)
@cases(t5.plain_attention, t5.masked_attention, t5.attention_beyond_blocks)
def test_attention_equation(implementation, case):
    """Head i is softmax(Q_i K_i^T + bias_i) V_i; scores are divided by nothing and projections have no biases."""
    assert_conforms(implementation, case)


@must("t5.attention-bias", f"{PAPER}: a scalar that is added to the logit")
@cases(t5.plain_attention[:1], t5.plain_attention[2:5], t5.plain_attention[8:9], t5.masked_attention[:2])
def test_attention_bias(implementation, case):
    """A constant on a row of the bias changes nothing, for the bias is added before the softmax."""
    assert_same(implementation, case, t5.with_bias_shifted(case))


@must("t5.attention-heads", f"{PAPER}: each head has its own bias")
@cases(t5.plain_attention[:1], t5.plain_attention[3:5], t5.plain_attention[8:9], t5.masked_attention[:2])
def test_attention_heads(implementation, case):
    """Reordering the heads in every weight and in the bias alike changes nothing."""
    assert_same(implementation, case, t5.with_heads_permuted(case))


@must("t5.attention-hidden-keys-do-not-matter", "Vaswani et al. 2017, section 3.2.3")
@cases(t5.hidden_keys)
def test_attention_hidden_keys_do_not_matter(implementation, case):
    """Changing the key and value of a position that no query may attend to leaves the output the same."""
    assert_identical(implementation, case, t5.with_other_hidden_keys(case))


@must("t5.attention-everything-visible", "Vaswani et al. 2017, section 3.2.3")
@cases(t5.seen_attention)
def test_attention_everything_visible(implementation, case):
    """A mask that hides nothing acts as no mask."""
    assert_same(implementation, case.changed("no mask", mask=None), case)


@must("t5.attention-stability", "the contract: numbers are taken as given")
@cases(t5.steep_attention, t5.offset_attention)
def test_attention_stability(implementation, case):
    """Scores of a thousand, and a bias whose entries have a large constant in common, cost no more than rounding takes."""
    assert_conforms(implementation, case)


@must("t5.attention-impossible-shapes", "the contract: what no broadcast gives a meaning is refused")
@cases(t5.impossible_attention)
def test_attention_impossible_shapes(implementation, case):
    """Heads that do not divide the projections, unlike numbers of keys and values, and a bias of other heads raise."""
    assert_refuses(implementation, case)


# --- The formula ------------------------------------------------------------------------------------------------------


@must("t5.encoder-equation", f"{PAPER}, encoder")
@cases(t5.encoder_formula)
def test_encoder_equation(implementation, case):
    """x + f(RMSNorm(x)) for both sublayers of every layer, and a last RMSNorm."""
    assert_conforms(implementation, case, t5.tokens_of(case))


@must("t5.decoder-equation", f"{PAPER}, decoder")
@cases(t5.decoder_formula)
def test_decoder_equation(implementation, case):
    """As the encoder, under the look-ahead mask, with attention to the memory between self-attention and feed-forward."""
    assert_conforms(implementation, case, t5.tokens_of(case))


@must("t5.equation", f"{PAPER}; mesh-tensorflow, Unitransformer")
@cases(t5.formula)
def test_equation(implementation, case):
    """Logits = d_model^(-1/2) Decoder(target, Encoder(source)) E^T, or Decoder(target, Encoder(source)) W_head."""
    assert_conforms(implementation, case, t5.tokens_of(case))


@must("t5.norms", f"{PAPER}: a simplified layer normalization without additive bias, outside the residual path")
@cases(t5.silent, t5.with_mean, t5.large, t5.encoders[1:2], t5.decoders[1:2])
def test_norms(implementation, case):
    """Every sublayer has an RMSNorm before it and each stack one at its end; no mean is subtracted and no bias added."""
    assert_conforms(implementation, case)


@must("t5.epsilon", "the contract of eps")
@cases(t5.epsilon)
def test_epsilon(implementation, case):
    """The configured eps is that of every norm, the last ones included."""
    assert_conforms(implementation, case)


@must("t5.head", "mesh-tensorflow, Unitransformer; Hugging Face transformers, T5ForConditionalGeneration")
@cases(t5.models[1:3], t5.heads_and_activations)
def test_head(implementation, case):
    """A head that is the embedding reads the decoder's result times d_model^(-1/2); a head of its own reads it as it is."""
    assert_conforms(implementation, case)


@must("t5.activations", f"{PAPER}; Shazeer 2020, equation 6, for version 1.1")
@cases(t5.encoders[2:], t5.decoders[2:], t5.heads_and_activations)
def test_activations(implementation, case):
    """relu(x W_1) W_2, or with gated_gelu (gelu_tanh(x W_gate) * x W_1) W_2."""
    assert_conforms(implementation, case)


@must("t5.layers", PAPER)
@cases(t5.many_layers)
def test_layers(implementation, case):
    """The layers follow each other by number, each once, as many in each stack as are configured for it."""
    assert_conforms(implementation, case)


@must("t5.vocabulary", f"{PAPER}: one table for source, target and head")
@cases(t5.renamed)
def test_vocabulary(implementation, case):
    """Renaming the words, in ids and table alike, reorders the logits and does nothing else."""
    renamed, order = with_vocabulary_permuted(case, ("embedding.table",), 1 + (case.operation is whole_t5))
    is_whole = case.operation is whole_t5
    assert_same(implementation, renamed, case, lambda result: result[..., order] if is_whole else result)


@must("t5.own-stacks", f"{PAPER}, figure 1")
@cases(t5.own_stacks)
def test_own_stacks(implementation, case):
    """The logits are those of the implementation's own decoder on its own encoder, where it has both."""
    assert_conforms(implementation, case, t5.tokens_of(case))
    if implementation.claims(t5_encoder) and implementation.claims(t5_decoder):
        logits, shown = output_of(implementation, case), t5.tokens_of(case)
        read, head = t5.in_two_calls(case, lambda source: output_of(implementation, source))
        apart = head(output_of(implementation, read)).to(torch.float64)
        expected = apart if shown is None else torch.where(shown, apart, logits.to(torch.float64))
        # Memory and result are rounded on their way, as they may be in one call.
        assert_derived(implementation, case, logits, logits, expected, 2 * budget_of(implementation, case), "output")


# --- Relative bias ----------------------------------------------------------------------------------------------------


@must("t5.relative-bias", f"{PAPER}: position embedding parameters are shared across all layers")
@cases(t5.biased, t5.biased_at_length, t5.encoders[:1], t5.decoders[:1], t5.many_layers[:1], t5.many_layers[2:3])
def test_relative_bias(implementation, case):
    """Self-attention of every layer adds the bias of the key's bucket, from one table for all layers of the stack."""
    assert_conforms(implementation, case)


@must("t5.memory-has-no-order", "mesh-tensorflow, EncDecAttention; Hugging Face transformers, T5LayerCrossAttention")
@cases(t5.with_memory)
def test_memory_has_no_order(implementation, case):
    """Attention to the memory has no bias: memory and mask in another order change nothing."""
    assert_same(implementation, case, t5.with_memory_permuted(case), where=t5.tokens_of(case))


# --- What may be seen -------------------------------------------------------------------------------------------------


@must("t5.causality", f"{PAPER}: a form of causal self-attention")
@cases(t5.causal)
def test_causality(implementation, case):
    """The result at a position of the target stays the same when later tokens change, with masks and without."""
    changed, past = t5.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must("t5.whole-memory-shows", f"{PAPER}: attention to the output of the encoder")
@cases(t5.seeing)
def test_whole_memory_shows(implementation, case):
    """The last of the memory shows at every position of the target, as much as the formula says."""
    other, variants = t5.with_another_last_of_the_memory(case), declared_variants(implementation, case)
    first, second = output_of(implementation, case), output_of(implementation, other)
    actual = second.to(torch.float64) - first.to(torch.float64)
    expected = oracle(other, variants) - oracle(case, variants)
    allowed = budget_of(implementation, case) + budget_of(implementation, other)
    observed = (Observation(case, {"": first}), Observation(other, {"": second}))
    compare(implementation, other, actual, expected, allowed, what="change of the output", observed=observed)


@must("t5.masks", "the contract of attention_mask and decoder_attention_mask")
@cases(t5.masked, t5.crossed)
def test_masks(implementation, case):
    """Nothing attends to what its sequence's mask hides: both stacks to the source, the decoder to the target."""
    assert_conforms(implementation, case, t5.tokens_of(case))


@must("t5.hidden-tokens-do-not-matter", "the contract of attention_mask and decoder_attention_mask")
@cases(t5.masked)
def test_hidden_tokens_do_not_matter(implementation, case):
    """Other tokens, and another memory, where masks are False leave the result at all tokens the same."""
    assert_identical(implementation, case, t5.with_other_hidden_content(case), t5.tokens_of(case))


@must("t5.everything-visible", "the contract of attention_mask and decoder_attention_mask")
@cases(t5.nothing_hidden)
def test_everything_visible(implementation, case):
    """Masks that hide nothing act as none."""
    assert_same(implementation, case.changed("no mask", **dict.fromkeys(case.options)), case)


@must("t5.padding", f"{PAPER}: positions are relative")
@cases(t5.padded)
def test_padding(implementation, case):
    """Padding on the right or left of source and target, which masks hide, leaves tokens as they are without it."""
    alone, pick = t5.last_unpadded(case)
    assert_same(implementation, alone, case, pick)


# --- All --------------------------------------------------------------------------------------------------------------


@must("t5.batch-independence", f"{PAPER}: every sequence by itself")
@cases(t5.in_batches)
def test_batch_independence(implementation, case):
    """A sequence gives alone what it gives in a batch, its masks being its own."""
    alone, pick = t5.last_sequence(case)
    assert_same(implementation, alone, case, pick, t5.tokens_of(alone))


@should("t5.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(t5.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("t5.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(t5.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded inputs and masks, and transposed weights, give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case, t5.tokens_of(case))


@must("t5.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(t5.every_call)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its ids, labels, masks, bias and weights."""
    assert_untouched(implementation, case)


@must("t5.no-memory", "the contract: an operation is a function of its arguments")
@cases(t5.remembered)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    assert_remembers_nothing(implementation, case, t5.with_other_numbers(case))
    assert_no_memory(implementation, case, t5.others_than(case))


@must("t5.dtype-and-shape", "the contract: results have the inputs' dtype, buckets and shifted labels are integers")
@cases(t5.shapes)
def test_dtype_and_shape(implementation, case):
    """The result has the shape and dtype that the contract says."""
    assert_contract(implementation, case)


@must("t5.gradients", f"{PAPER}, differentiated")
@cases(t5.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's for every input and weight; a table that is shared sums all its uses."""
    assert_gradients_conform(implementation, case)


@should("t5.out-of-range", "the contract: what the table does not have is refused")
@cases(t5.out_of_range)
def test_out_of_range(implementation, case):
    """Ids beyond the table raise with a message."""
    assert_refuses(implementation, case)
