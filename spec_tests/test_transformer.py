"""Requirements of encoder, decoder and Transformer; what is given at padding is never looked at."""

from transpec.judgement import (
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_gradients_conform,
    assert_identical,
    assert_no_memory,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    budget_of,
    compare,
    declared_variants,
    oracle,
    output_of,
)
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import transformer
from transpec.spec_tests.cases.models import with_vocabulary_permuted


def assert_conforms_at_tokens(implementation, case):
    """The result equals the formula's within the budget at tokens; what stands at padding is not looked at."""
    assert_conforms(implementation, case, transformer.tokens_of(case))


@must("transformer.encoder-equation", "Vaswani et al. 2017, section 3.1, encoder")
@cases(
    transformer.encoders,
    transformer.encoders_beyond_blocks,
    transformer.quiet_encoders,
    transformer.encoder_without_layers,
)
def test_encoder_equation(implementation, case):
    """Embedding and positions, then the encoder layers one after the other, then with norm_first one last norm."""
    assert_conforms_at_tokens(implementation, case)


@must("transformer.decoder-equation", "Vaswani et al. 2017, section 3.1, decoder")
@cases(
    transformer.decoders,
    transformer.decoders_beyond_blocks,
    transformer.decoder_holes,
    transformer.quiet_decoders,
    transformer.decoder_without_layers,
)
def test_decoder_equation(implementation, case):
    """Embedding and positions, then decoder layers over one memory, under a look-ahead mask, then with norm_first a norm."""
    assert_conforms_at_tokens(implementation, case)


@must("transformer.equation", "Vaswani et al. 2017, section 3 and figure 1")
@cases(
    transformer.translations,
    transformer.beyond_blocks,
    transformer.holes,
    transformer.quiet_translations,
    transformer.without_layers,
    transformer.drawn,
)
def test_equation(implementation, case):
    """Logits are the decoder's result, over the encoder's, times the transposed table that embeds source and target."""
    assert_conforms_at_tokens(implementation, case)


@must("transformer.final-norm", "Xiong et al. 2020, section 3.1, for pre-norm; Vaswani et al. 2017, figure 1")
@cases(
    transformer.encoder_without_layers,
    transformer.decoder_without_layers,
    transformer.without_layers,
    transformer.with_mean,
)
def test_final_norm(implementation, case):
    """A pre-norm stack ends in a norm of its own, with its gain, bias and eps, a post-norm stack in none."""
    assert_conforms(implementation, case)


@must("transformer.layers", "Vaswani et al. 2017, section 3.1: a stack of N layers")
@cases(transformer.many_layers)
def test_layers(implementation, case):
    """Layers follow each other by number, each once and with its own weights; encoder and decoder have as many as configured."""
    assert_conforms(implementation, case)


@must("transformer.embeddings", "Vaswani et al. 2017, sections 3.4 and 3.5")
@cases(
    transformer.encoder_without_layers[:1],
    transformer.decoder_without_layers[:1],
    transformer.without_layers[:1],
    transformer.long,
)
def test_embeddings(implementation, case):
    """Rows of the table are multiplied by sqrt(d_model) in the embeddings and not in the logits; positions start at 0."""
    assert_conforms(implementation, case)


@must("transformer.shared-table", "Vaswani et al. 2017, section 3.4: the same weight matrix")
@cases(transformer.renamed)
def test_shared_table(implementation, case):
    """Renaming the words, in source, target and the one table alike, reorders the logits and does nothing else."""
    renamed, order = with_vocabulary_permuted(case, ("embedding.table",), tensors=2)
    assert_same(implementation, renamed, case, lambda result: result[..., order])


@must("transformer.causality", "Vaswani et al. 2017, section 3.1: predictions depend only on known outputs")
@cases(transformer.causal)
def test_causality(implementation, case):
    """What is given at a target position stays the same when later target tokens change, through all layers and masks."""
    changed, past = transformer.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must("transformer.changed-token-shows", "Vaswani et al. 2017, section 3.1")
@cases(transformer.changed_shows)
def test_changed_token_shows(implementation, case):
    """Changed target tokens change what is given at their own positions and after, as much as the formula says."""
    other, variants = transformer.with_another_future(case)[0], declared_variants(implementation, case)
    tokens = transformer.tokens_of(case)
    actual = output_of(implementation, other).double() - output_of(implementation, case).double()
    expected = oracle(other, variants) - oracle(case, variants)
    allowed = budget_of(implementation, case) + budget_of(implementation, other)
    compare(implementation, other, actual.where(tokens, expected), expected, allowed, what="change", observed=())


@must("transformer.whole-source", "Vaswani et al. 2017, section 3.2.3: every position in the decoder attends over all")
@cases(transformer.memory_seen)
def test_whole_source(implementation, case):
    """Every target position sees the whole memory: reordering it, and its mask, changes nothing."""
    other = transformer.with_memory_reordered(case)
    assert_same(implementation, case, other, where=transformer.tokens_of(case))


@must("transformer.hidden-source-does-not-matter", "Vaswani et al. 2017, section 3.2.3; the contract of source_mask")
@cases(transformer.padded_source, transformer.crossed_source)
def test_hidden_source_does_not_matter(implementation, case):
    """Other source tokens, or another memory, where the source mask is False leave everything at tokens the same."""
    changed = transformer.with_other_padding(case)
    assert_identical(implementation, case, changed, transformer.tokens_of(case))


@must("transformer.hidden-target-does-not-matter", "the contract of target_mask")
@cases(transformer.hidden_targets, transformer.crossed_target)
def test_hidden_target_does_not_matter(implementation, case):
    """Other target tokens where the target mask is False leave everything at tokens the same, also at those that follow."""
    changed = transformer.with_other_hidden_targets(case)
    assert_identical(implementation, case, changed, transformer.tokens_of(case))


@must("transformer.padding-right", "the contract of source_mask and target_mask")
@cases(transformer.padded_right)
def test_padding_right(implementation, case):
    """Padding on the right, of source and target, leaves a sequence's result as it is without it."""
    alone, pick = transformer.last_unpadded(case)
    assert_same(implementation, alone, case, pick)


@must("transformer.everything-visible", "the contract of source_mask and target_mask")
@cases(transformer.nothing_hidden)
def test_everything_visible(implementation, case):
    """Masks that hide nothing act as none; the look-ahead mask hides in both cases."""
    assert_same(implementation, case.changed("no masks", **dict.fromkeys(case.options)), case)


@must("transformer.batch-independence", "Vaswani et al. 2017, section 3: a function of one pair of sequences")
@cases(transformer.in_batches)
def test_batch_independence(implementation, case):
    """A sequence gives the same alone as in a batch, its masks going with it."""
    alone, pick = transformer.last_sequence(case)
    assert_same(implementation, alone, case, pick, transformer.tokens_of(alone))


@should("transformer.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(transformer.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("transformer.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(transformer.strided)
def test_layouts(implementation, case):
    """Weights that are transposed in memory give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case, transformer.tokens_of(case))


@must("transformer.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(transformer.every_call)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its ids, memory, masks and weights."""
    assert_untouched(implementation, case)


@must("transformer.no-memory", "the contract: an operation is a function of its arguments")
@cases(transformer.differentiable[:2], transformer.decoders[:1], transformer.translations[1:2])
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    other = transformer.with_other_numbers(case)
    assert_remembers_nothing(implementation, case, other)
    assert_no_memory(
        implementation, case, [other, transformer.with_another_epsilon(case), transformer.last_sequence(case)[0]]
    )


@must("transformer.dtype-and-shape", "the contract: results have the weights' dtype")
@cases(transformer.every_call, transformer.encoder_without_layers, transformer.without_layers[:2])
def test_dtype_and_shape(implementation, case):
    """The result has a row for every token, of the model's width or with a logit for every word, in the weights' dtype."""
    assert_contract(implementation, case)


@must("transformer.gradients", "Vaswani et al. 2017, section 3, differentiated")
@cases(transformer.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's for memory and weights; that of the table sums all of its uses."""
    assert_gradients_conform(implementation, case)
