"""Requirements of losses and of the corruption of what is to be restored. They stand in the order of the reference."""

import torch

from transpec.judgement import (
    NonConformance,
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_derived,
    assert_gradients_conform,
    assert_identical,
    assert_ignores_default_dtype,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    budget_of,
    output_of,
)
from transpec.reference.objectives import cross_entropy
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import objectives

T5 = "Raffel et al. 2020, section 3.1.4"
SPANS = "Raffel et al. 2020, section 3.3.4; its published code, random_spans_noise_mask"
BERT = "Devlin et al. 2019, appendix A.1"


def assert_counts(implementation, case, result, found, expected, what):
    """What was counted in a result is exactly what it should be."""
    assert_derived(implementation, case, result, found, expected, torch.zeros(expected.shape), what)


def results_of_both(implementation, case, other):
    """The results of two calls, the second of which has changed nothing in the first."""
    kept = implementation.keep(case)
    first, second = kept().clone(), output_of(implementation, other)
    if not torch.equal(first, kept()):
        raise NonConformance(
            "a result that was kept was changed by a later call; results must have memory of their own", case
        )
    return first, second


# --- Cross-entropy ----------------------------------------------------------------------------------------------------


@must("objectives.cross-entropy-equation", "Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4")
@cases(
    objectives.by_hand, objectives.generic, objectives.leading_axes, objectives.ignoring, objectives.ignore_ids,
    objectives.smoothed, objectives.sizes, objectives.drawn_entropy,
)  # fmt: skip
def test_cross_entropy_equation(implementation, case):
    """The loss is the mean, over positions that have a label, of minus the log-probability of the label, in nats."""
    assert_conforms(implementation, case)


@must("objectives.mean-over-labels", "the contract: the mean goes over the labelled positions of the whole batch")
@cases(objectives.ignoring, objectives.restored[:6], objectives.padded)
def test_mean_over_labels(implementation, case):
    """Every labelled position weighs the same, whatever row it is in, and ignored ones are not counted."""
    assert_conforms(implementation, case)


@must("objectives.ignore-id", "the contract of ignore_id")
@cases(objectives.ignore_ids, objectives.restored[7:11], objectives.micro_batches[8:9])
def test_ignore_id(implementation, case):
    """The one label that is ignored is the ignore_id that is given, be it a word, 0, or negative; all others count."""
    assert_conforms(implementation, case)


@must("objectives.ignored-positions-do-not-matter", "the contract of ignore_id")
@cases(objectives.ignored_somewhere)
def test_ignored_positions_do_not_matter(implementation, case):
    """Other logits at a position whose label is ignored leave the loss the same."""
    assert_identical(implementation, case, objectives.with_other_ignored(case))


@must("objectives.label-smoothing", "Szegedy et al. 2016, section 7: q' = (1 - e) delta + e / K")
@cases(objectives.smoothed)
def test_label_smoothing(implementation, case):
    """The smoothed mass is divided among all V words, the label among them, and at labelled positions alone."""
    assert_conforms(implementation, case)


@must("objectives.cross-entropy-of-even-odds", "the formula: p(v) = 1 / V")
@cases(objectives.even)
def test_cross_entropy_of_even_odds(implementation, case):
    """Where all logits are alike the loss is ln V, whatever the labels are."""
    loss, words = output_of(implementation, case), case.tensors[0].shape[-1]
    expected = torch.tensor(float(words), dtype=torch.float64).log()
    assert_derived(implementation, case, loss, loss, expected, budget_of(implementation, case), "loss")


@must("objectives.cross-entropy-shift-invariance", "the formula: softmax does not change with a constant")
@cases(objectives.in_eighths)
def test_cross_entropy_shift_invariance(implementation, case):
    """Adding a constant to all logits of a row changes nothing."""
    assert_same(implementation, case, objectives.shifted(case))


@must("objectives.cross-entropy-word-order", "the formula: a sum over words")
@cases(objectives.generic[:4], objectives.ignoring[:2], objectives.smoothed[:4])
def test_cross_entropy_word_order(implementation, case):
    """Renaming the words, in logits and labels alike, changes nothing."""
    assert_same(implementation, case, objectives.words_renamed(case))


@must("objectives.cross-entropy-stability", "the formula, in exact arithmetic finite for all finite logits")
@cases(objectives.stable)
def test_cross_entropy_stability(implementation, case):
    """Large logits, a large common offset and near certainty, of right words and wrong, lose no more than rounding takes."""
    assert_conforms(implementation, case)


@must("objectives.no-label", "not said by the papers; libraries differ", choices=("nan", "zero", "refuse"))
@cases(objectives.no_label)
def test_no_label(implementation, case):
    """Where no position has a label the loss is what is declared: NaN, the mean of nothing, zero, or a ValueError."""
    if implementation.choice("objectives.no-label") == "refuse":
        assert_refuses(implementation, case, ValueError)
    else:
        assert_conforms(implementation, case)


@must(
    "objectives.no-label-gradients",
    "the contract: the gradient of what is zero is zero",
    tested_when=["zero"],
    choice_of="objectives.no-label",
)
@cases(objectives.no_label[:4], objectives.no_label[5:])  # of no positions at all there is no gradient to look at
def test_no_label_gradients(implementation, case):
    """Where the loss of no labels is zero, so is its gradient."""
    assert_gradients_conform(implementation, case)


# --- Causal language modelling ----------------------------------------------------------------------------------------


@must("objectives.causal-language-modelling-equation", "Radford et al. 2018, section 3.1, equation 1")
@cases(
    objectives.knowing, objectives.sequences, objectives.lengths, objectives.padded, objectives.nothing_hidden,
    objectives.drawn_causal,
)  # fmt: skip
def test_causal_language_modelling_equation(implementation, case):
    """The loss is the mean, over the visible tokens but the first, of -log P(token | those before it)."""
    assert_conforms(implementation, case)


@must("objectives.causal-language-modelling-shift", "Radford et al. 2018, section 3.1, equation 1")
@cases(objectives.knowing, objectives.sequences)
def test_causal_language_modelling_shift(implementation, case):
    """The logits at a position predict the next token; labels are shifted once, here, and no sequence runs into another."""
    assert_conforms(implementation, case)
    if implementation.claims(cross_entropy):
        assert_same(implementation, case, objectives.as_masked(case))


@must("objectives.causal-language-modelling-ends", "Radford et al. 2018, section 3.1, equation 1")
@cases(objectives.sequences, objectives.padded[:5], objectives.nothing_hidden)
def test_causal_language_modelling_ends(implementation, case):
    """The first token is predicted by nothing and the last logits predict nothing: others there leave the loss the same."""
    assert_identical(implementation, case, objectives.with_other_ends(case))


@must("objectives.causal-language-modelling-padding", "the contract of attention_mask")
@cases(objectives.padded)
def test_causal_language_modelling_padding(implementation, case):
    """Padding on the right is neither predicted nor counted, whatever its ids and logits, and however much there is."""
    assert_identical(implementation, case, objectives.with_other_padding(case))
    assert_same(implementation, case, objectives.with_more_padding(case))


@must("objectives.causal-language-modelling-nothing-hidden", "the contract of attention_mask")
@cases(objectives.nothing_hidden)
def test_causal_language_modelling_nothing_hidden(implementation, case):
    """An attention mask that hides nothing acts as none."""
    assert_same(implementation, case, case.changed("no mask", attention_mask=None))


@must(
    "objectives.causal-language-modelling-after-padding",
    "not said by Radford et al. 2018; libraries differ",
    choices=("predicted", "skipped"),
)
@cases(objectives.after_padding)
def test_causal_language_modelling_after_padding(implementation, case):
    """A visible token after padding is predicted by the logits there, or, where so declared, is not counted."""
    assert_conforms(implementation, case)


# --- Masked language modelling and next sentences ---------------------------------------------------------------------


@must("objectives.masked-language-modelling-equation", "Devlin et al. 2019, section 3.1, Task #1")
@cases(objectives.restored)
def test_masked_language_modelling_equation(implementation, case):
    """The loss is the mean of -log p(label) over the labelled positions, the logits predicting the word at their own."""
    assert_conforms(implementation, case)


@must("objectives.next-sentence-equation", "Devlin et al. 2019, section 3.1, Task #2")
@cases(objectives.sentences)
def test_next_sentence_equation(implementation, case):
    """The loss is the mean over pairs of -log softmax(logits) at IsNext or NotNext."""
    assert_conforms(implementation, case)


@must("objectives.next-sentence-label-order", "the published code and checkpoints of Devlin et al. 2019")
@cases(objectives.sentences[:7])
def test_next_sentence_label_order(implementation, case):
    """Index 0 stands for IsNext and index 1 for NotNext; exchanging both, logits and truth, changes nothing."""
    assert_conforms(implementation, case)
    assert_same(implementation, case, objectives.columns_exchanged(case))


# --- Distillation -----------------------------------------------------------------------------------------------------


@must("objectives.distillation-equation", "Hinton et al. 2015, section 2")
@cases(objectives.distilled)
def test_distillation_equation(implementation, case):
    """The loss is alpha T^2 KL(teacher_T || student_T) + (1 - alpha) CE(student, labels), each a mean over tokens."""
    assert_conforms(implementation, case)


@must("objectives.distillation-of-itself", "the formula: KL(p || p) = 0")
@cases(objectives.agreeing)
def test_distillation_of_itself(implementation, case):
    """A student with the logits of its teacher has no soft loss."""
    loss = output_of(implementation, case)
    assert_derived(implementation, case, loss, loss, torch.zeros(()), budget_of(implementation, case), "soft loss")


@must("objectives.distillation-weights", "the contract of alpha")
@cases(objectives.from_labels)
def test_distillation_weights(implementation, case):
    """alpha is the weight of the teacher: at alpha 0 another teacher changes nothing, and the loss is cross-entropy."""
    assert_conforms(implementation, case)
    assert_same(implementation, case, objectives.with_another_teacher(case))


@must("objectives.distillation-soft-alone", "the contract of alpha")
@cases(objectives.distilled[4:6])
def test_distillation_soft_alone(implementation, case):
    """At alpha 1 other labels change nothing."""
    assert_same(implementation, case, objectives.with_other_labels(case))


@must("objectives.distillation-stability", "the formula, in exact arithmetic finite for all finite logits")
@cases(objectives.distilled_stable)
def test_distillation_stability(implementation, case):
    """A teacher or student that is certain, also where a probability is zero in its dtype, loses no more than rounding takes."""
    assert_conforms(implementation, case)


@must(
    "objectives.distillation-teacher-gradients",
    "Hinton et al. 2015, section 2: the targets are given; libraries differ in who detaches them",
    choices=("constant", "differentiated"),
)
@cases(objectives.taught_differentiable)
def test_distillation_teacher_gradients(implementation, case):
    """The student's gradient is the formula's; the teacher's is zero, or, where so declared, the formula's too."""
    assert_gradients_conform(implementation, case)


# --- Accumulation -----------------------------------------------------------------------------------------------------


@must("objectives.accumulation-equation", "Ott et al. 2018: the gradients of one large batch")
@cases(objectives.micro_batches)
def test_accumulation_equation(implementation, case):
    """The loss of N micro-batches is the sum of all token losses over the number of all labels, not a mean of means."""
    assert_conforms(implementation, case)


@must("objectives.accumulation-is-one-batch", "Ott et al. 2018")
@cases(objectives.rebatched)
def test_accumulation_is_one_batch(implementation, case):
    """Into which micro-batches the sequences are cut, one of all or one for each, makes no difference."""
    assert_same(implementation, case, objectives.in_one_batch(case))
    assert_same(implementation, case, objectives.in_other_micro_batches(case))


# --- Corruption for masked language modelling -------------------------------------------------------------------------


@must("objectives.masked-language-modelling-corruption-equation", BERT)
@cases(objectives.corruptions)
def test_masked_language_modelling_corruption_equation(implementation, case):
    """Of the chosen tokens the given draws mask those below 0.8, replace those below 0.9 and keep the rest; all are labels."""
    assert_conforms(implementation, case)


@must("objectives.masked-language-modelling-special-tokens", "Devlin et al. 2019, section 3.1; its published code")
@cases(objectives.specials)
def test_masked_language_modelling_special_tokens(implementation, case):
    """Special tokens are never chosen, whatever is drawn for them."""
    assert_conforms(implementation, case)


@should("objectives.masked-language-modelling-thresholds", "the contract: draws are in [0, 1), 0 included")
@cases(objectives.thresholds)
def test_masked_language_modelling_thresholds(implementation, case):
    """A draw of exactly the probability does not choose a token, so that a probability of 0 chooses none."""
    assert_conforms(implementation, case)


@must("objectives.masked-language-modelling-at-random-equation", "Devlin et al. 2019, section 3.1 and appendix A.1")
@cases(objectives.many_draws)
def test_masked_language_modelling_at_random_equation(implementation, case):
    """Tokens are chosen with the given probability; of the chosen 80 % are masked, 10 % replaced and 10 % kept."""
    result = output_of(implementation, case)
    violated = objectives.violations(case, result)
    assert_counts(implementation, case, result, violated, torch.zeros_like(violated), "violations")
    assert_derived(implementation, case, result, *objectives.rates(case, result), "rates")


@must("objectives.masked-language-modelling-at-random-labels", BERT)
@cases(objectives.few_draws, objectives.many_draws)
def test_masked_language_modelling_at_random_labels(implementation, case):
    """Labels are the tokens where one was chosen, never a special one; elsewhere the input is the token and has no label."""
    result = output_of(implementation, case)
    violated = objectives.violations(case, result)
    assert_counts(implementation, case, result, violated, torch.zeros_like(violated), "violations")


@must("objectives.masked-language-modelling-at-random-words", f"{BERT}: a random word of the vocabulary")
@cases(objectives.many_draws)
def test_masked_language_modelling_at_random_words(implementation, case):
    """Every word of the vocabulary, the first and the last among them, replaces tokens as often as any other."""
    result = output_of(implementation, case)
    assert_derived(implementation, case, result, *objectives.random_words(case, result), "words")


@must("objectives.masked-language-modelling-at-random-independence", "Devlin et al. 2019, section 3.1: at random")
@cases(objectives.many_draws)
def test_masked_language_modelling_at_random_independence(implementation, case):
    """What is drawn for a position says nothing of what is drawn for others, in its sequence and in the others."""
    result = output_of(implementation, case)
    assert_derived(implementation, case, result, *objectives.dependence(case, result), "agreement of neighbours")


@must("objectives.masked-language-modelling-at-random-seed", "the contract of seed")
@cases(objectives.many_draws)
def test_masked_language_modelling_at_random_seed(implementation, case):
    """Another seed gives draws independent of these, also for other sequences; the same seed the same ones at any time."""
    assert_identical(implementation, case, case)
    other = objectives.with_another_seed(case)
    first, second = results_of_both(implementation, case, other)
    assert_derived(implementation, other, second, *objectives.agreement(case, first, second), "chosen by both seeds")


# --- Span corruption --------------------------------------------------------------------------------------------------


@must("objectives.span-corruption-equation", f"{T5} and figure 2")
@cases(objectives.between, objectives.drawn_spans)
def test_span_corruption_equation(implementation, case):
    """Each span becomes one sentinel in the input and follows it in the target; a last sentinel and EOS end the target."""
    assert_conforms(implementation, case)


@must("objectives.span-corruption-sentinels", f"{T5}: a token ID that is unique to the sequence")
@cases(objectives.between[:5], objectives.between[9:14])
def test_span_corruption_sentinels(implementation, case):
    """Sentinels count down from the first, one for each span, in input and target alike; the target has one more."""
    rows = output_of(implementation, case)
    assert_counts(implementation, case, rows, *objectives.sentinels(case, rows), "sentinels")


@must("objectives.span-corruption-complementary", f"{T5}: the dropped-out spans of tokens")
@cases(objectives.between[:13])
def test_span_corruption_complementary(implementation, case):
    """Every token is either in the input or in the target, as often as it is in the text."""
    rows = output_of(implementation, case)
    assert_counts(implementation, case, rows, *objectives.counted(case, rows), "tokens")


@must(
    "objectives.span-corruption-final-sentinel",
    f"{T5}: plus a final sentinel; in its published code sentinels of a target stand for text",
    choices=("always", "before-text"),
)
@cases(objectives.noise_at_the_end)
def test_span_corruption_final_sentinel(implementation, case):
    """Noise at the end is followed by a final sentinel, or, where so declared, by none, for no text follows."""
    assert_conforms(implementation, case)


@should("objectives.span-corruption-at-the-start", f"{T5}; the masks of its published code never begin with noise")
@cases(objectives.noise_at_the_start, objectives.noise_at_both_ends)
def test_span_corruption_at_the_start(implementation, case):
    """Noise at the start is a span like any other: its sentinel is the first of input and target."""
    assert_conforms(implementation, case)


@must("objectives.span-corruption-noise-mask-equation", SPANS)
@cases(objectives.noise_masks, objectives.long_masks)
def test_span_corruption_noise_mask_equation(implementation, case):
    """The numbers of noise tokens and of spans are exact; the first token is kept and the last is noise."""
    mask = output_of(implementation, case)
    assert_counts(implementation, case, mask, *objectives.tally(case, mask), "noise, spans, first, last")


@must(
    "objectives.span-corruption-noise-mask-lengths", "the published code of Raffel et al. 2020, random_spans_noise_mask"
)
@cases(objectives.long_masks)
def test_span_corruption_noise_mask_lengths(implementation, case):
    """Every way to cut noise into spans, and text into the gaps between them, is as likely as any other, whatever the other is."""
    mask = output_of(implementation, case)
    assert_derived(implementation, case, mask, *objectives.shares_of_lengths(mask), "runs of length one, two")
    assert_derived(implementation, case, mask, *objectives.likeness(mask, mask), "correlation of spans and gaps")


@must("objectives.span-corruption-noise-mask-seed", "the contract of seed")
@cases(objectives.long_masks)
def test_span_corruption_noise_mask_seed(implementation, case):
    """Another seed gives an independent mask and the same seed the same one, whatever was called in between."""
    assert_identical(implementation, case, case)
    other = objectives.with_another_seed(case)
    first, second = results_of_both(implementation, case, other)
    assert_derived(implementation, other, second, *objectives.overlap(case, first, second), "noise under both seeds")
    for noise, kept in ((first, second), (second, first)):
        likeness = objectives.likeness(noise, kept)
        assert_derived(implementation, other, second, *likeness, "correlation of spans and gaps of two seeds")


# --- Text to text -----------------------------------------------------------------------------------------------------


@must("objectives.text-to-text-equation", "Raffel et al. 2020, section 2.4 and appendix D")
@cases(objectives.with_room, objectives.without_prefix, objectives.without_room)
def test_text_to_text_equation(implementation, case):
    """A row is the prefix, the tokens of its text, one EOS, and padding behind it up to the length."""
    assert_conforms(implementation, case)


@must("objectives.text-to-text-targets", "Raffel et al. 2020, section 2.4: a prefix to the original input sequence")
@cases(objectives.without_prefix)
def test_text_to_text_targets(implementation, case):
    """With an empty prefix, as targets have it, nothing stands before the text."""
    assert_conforms(implementation, case)


@must("objectives.text-to-text-truncation", "seqio, append_eos_after_trim")
@cases(objectives.without_room, objectives.without_prefix[4:5])
def test_text_to_text_truncation(implementation, case):
    """What has no room is cut at its end, and the EOS is the last of the row."""
    assert_conforms(implementation, case)


@must("objectives.text-to-text-padding", "the contract of pad_id")
@cases(objectives.with_room[:9], objectives.without_prefix[:3], objectives.without_room[:6])
def test_text_to_text_padding(implementation, case):
    """Padding behind the texts has no part in the result, however much there is."""
    assert_same(implementation, case, objectives.with_wider_padding(case))
    assert_conforms(implementation, case)


@must("objectives.text-to-text-rows", "the contract: a task for each row")
@cases(objectives.with_room[:9], objectives.without_prefix[:3], objectives.without_room[:6])
def test_text_to_text_rows(implementation, case):
    """Each row has its prefix and ends where its own text does, whatever the others are."""
    assert_same(implementation, objectives.last_text_alone(case), case, lambda result: result[-1:])
    assert_same(implementation, case, objectives.texts_exchanged(case), lambda result: result.flip(0))
    assert_conforms(implementation, case)


# --- All --------------------------------------------------------------------------------------------------------------


@must("objectives.gradients", "the formulas, differentiated")
@cases(objectives.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product by the logits is the formula's, and zero at positions that are ignored."""
    assert_gradients_conform(implementation, case)


@must("objectives.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(objectives.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded logits, labels, ids and masks give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("objectives.inputs-untouched", "the contract: inputs are left as they are")
@cases(objectives.with_inputs)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its logits, labels, ids, masks and draws."""
    assert_untouched(implementation, case)


@must("objectives.no-memory", "the contract: an operation is a function of its arguments")
@cases(objectives.remembered)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    assert_remembers_nothing(implementation, case, *objectives.others_of_the_same_shapes(case))
    assert_no_memory(implementation, case, objectives.others_than(case))
    assert_ignores_default_dtype(implementation, case, torch.bfloat16)


@must("objectives.dtype-and-shape", "the contract: losses are scalars in the logits' dtype; ids are integers")
@cases(objectives.every_operation)
def test_dtype_and_shape(implementation, case):
    """A loss is one number in the dtype of the logits; corruptions and texts are 64-bit integers, a mask is boolean."""
    assert_contract(implementation, case)


@should("objectives.out-of-range", "the contract: a label is a word or ignore_id")
@cases(objectives.out_of_range)
def test_out_of_range(implementation, case):
    """Labels that are neither words nor ignore_id raise with a message."""
    assert_refuses(implementation, case)


@should("objectives.impossible-shapes", "the contract: one label for each row of logits")
@cases(objectives.impossible)
def test_impossible_shapes(implementation, case):
    """Logits and labels of unlike shapes, and students with other words than their teachers, raise with a message."""
    assert_refuses(implementation, case)


@should("objectives.span-corruption-noise-mask-too-short", "the contract of length")
@cases(objectives.too_short)
def test_span_corruption_noise_mask_too_short(implementation, case):
    """A text of fewer than two tokens, which cannot hold both noise and text, raises with a message."""
    assert_refuses(implementation, case)


@should("objectives.text-to-text-no-room", "the contract of length")
@cases(objectives.no_room_at_all)
def test_text_to_text_no_room(implementation, case):
    """A length of 0, which has no room for the EOS, raises with a message."""
    assert_refuses(implementation, case)
