"""Requirements of metrics: of classes, rankings, answers, named entities, translations and language models."""

import contextlib

import torch

from transpec.implementations import Raised, WrongResult
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
    output_of,
)
from transpec.reference.metrics import (
    accuracy,
    bits_per_byte,
    bleu,
    f1,
    macro_f1,
    matthews,
    pearson,
    perplexity,
    span_f1,
    spearman,
    squad_exact_match,
    squad_f1,
)
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import metrics

SQUAD = "Rajpurkar et al. 2018, with its evaluation script"
CONLL = "Tjong Kim Sang & De Meulder 2003, section 2.4, with its evaluation script conlleval"


def assert_conforms_or_refuses(implementation, case, choice):
    """The result is the one that is declared for `choice`; where that is to refuse, a ValueError is raised."""
    if implementation.choice(choice) == "refuse":
        assert_refuses(implementation, case, ValueError)
    else:
        assert_conforms(implementation, case)


# --- Classes ----------------------------------------------------------------------------------------------------------


@must("metrics.accuracy-equation", "Manning et al. 2008, section 8.3")
@cases(metrics.accuracies, [metrics.drawn[accuracy]])
def test_accuracy_equation(implementation, case):
    """Accuracy is the part of the predictions that equal their labels, from 0 to 1."""
    assert_conforms(implementation, case)


@must("metrics.f1-equation", "van Rijsbergen 1979, chapter 7; Manning et al. 2008, section 8.3, equation 8.6")
@cases(metrics.f1s, metrics.f1s_of_another, [metrics.drawn[f1]])
def test_f1_equation(implementation, case):
    """F_1 = 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall, from 0 to 1."""
    assert_conforms(implementation, case)


@must("metrics.f1-positive", "the contract of positive")
@cases(metrics.f1s_of_another)
def test_f1_positive(implementation, case):
    """F_1 is that of the class `positive` against all others together, whichever that is."""
    assert_conforms(implementation, case)


@must(
    "metrics.f1-undefined",
    "0 / 0: not said by van Rijsbergen 1979; libraries differ",
    choices=("zero", "one", "nan", "refuse"),
)
@cases(metrics.nothing_to_find)
def test_f1_undefined(implementation, case):
    """Where the positive class is neither predicted nor a label, F_1 is what is declared: 0, 1, NaN, or a ValueError."""
    assert_conforms_or_refuses(implementation, case, "metrics.f1-undefined")


@must("metrics.macro-f1-equation", "Manning et al. 2008, section 13.6: macroaveraging")
@cases(metrics.macro_f1s, [metrics.drawn[macro_f1]])
def test_macro_f1_equation(implementation, case):
    """Macro F_1 is the mean over the classes of the F_1 of each against the others."""
    assert_conforms(implementation, case)


@must(
    "metrics.macro-f1-absent-class",
    "0 / 0: not said by Manning et al. 2008; libraries differ",
    choices=("zero", "one", "left-out"),
)
@cases(metrics.absent_classes)
def test_macro_f1_absent_class(implementation, case):
    """A class that is neither predicted nor a label counts as declared: 0, 1, or not at all."""
    assert_conforms(implementation, case)


@must("metrics.matthews-equation", "Matthews 1975; Gorodkin 2004")
@cases(metrics.matthewses, [metrics.drawn[matthews]])
def test_matthews_equation(implementation, case):
    """R = (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)), from -1 to 1, for two classes and for more."""
    assert_conforms(implementation, case)


@must("metrics.matthews-one-class", "0 / 0: 0 by convention, as in scikit-learn, matthews_corrcoef")
@cases(metrics.one_class)
def test_matthews_one_class(implementation, case):
    """Where all predictions or all labels are of one class the coefficient is 0, be they right or wrong."""
    assert_conforms(implementation, case)


@must("metrics.class-names", "the contract: class ids are names")
@cases(metrics.of_named_classes)
def test_class_names(implementation, case):
    """Numbering the classes in another order changes neither accuracy, nor macro F_1, nor the Matthews coefficient."""
    assert_same(implementation, case, metrics.with_other_names(case))


# --- Rankings ---------------------------------------------------------------------------------------------------------


@must("metrics.pearson-equation", "Pearson 1895")
@cases(metrics.pearsons, [metrics.drawn[pearson]])
def test_pearson_equation(implementation, case):
    """r is the sum of products of both deviations from their means over the root of the product of their squares' sums."""
    assert_conforms(implementation, case)


@must("metrics.pearson-linear", "Pearson 1895: r has no unit")
@cases(metrics.linear)
def test_pearson_linear(implementation, case):
    """Adding constants to x and y and multiplying them by positive numbers changes nothing in Pearson's correlation."""
    assert_same(implementation, metrics.unmoved(case), metrics.moved(case))


@must("metrics.spearman-equation", "Spearman 1904; Kendall 1948, chapter 3")
@cases(metrics.spearmans, metrics.close_numbers, [metrics.drawn[spearman]])
def test_spearman_equation(implementation, case):
    """Spearman's correlation is Pearson's correlation of the ranks, equal numbers having the mean of their ranks."""
    assert_conforms(implementation, case)


@must("metrics.spearman-ties", "Kendall 1948, chapter 3")
@cases([case for case in metrics.spearmans if case.name in [name for name, *_ in metrics.tied]])
def test_spearman_ties(implementation, case):
    """The order in which equal numbers stand does not matter."""
    assert_same(implementation, case, metrics.in_another_order(case))
    assert_conforms(implementation, case)


@must("metrics.spearman-monotone", "Spearman 1904: ranks alone count")
@cases(metrics.monotone)
def test_spearman_monotone(implementation, case):
    """Growing functions of x and of y change nothing in Spearman's correlation."""
    assert_same(implementation, case, metrics.stretched(case))


@must("metrics.correlation-sign", "Pearson 1895; Spearman 1904")
@cases(metrics.linear, metrics.monotone)
def test_correlation_sign(implementation, case):
    """With x of the other sign both correlations have the other sign."""
    other = metrics.turned(case)
    result, turned = output_of(implementation, case), output_of(implementation, other)
    allowed = budget_of(implementation, case) + budget_of(implementation, other)
    observed = (Observation(case, {"": result}), Observation(other, {"": turned}))
    compare(
        implementation, case, -turned.double(), result.double(), allowed, what="minus that of -x", observed=observed
    )


@must(
    "metrics.constant-input",
    "0 / 0: not said by Pearson 1895; libraries differ",
    choices=("nan", "zero", "refuse"),
)
@cases(metrics.constant)
def test_constant_input(implementation, case):
    """Where all of x or all of y are equal the correlation is what is declared: NaN, 0, or a ValueError."""
    assert_conforms_or_refuses(implementation, case, "metrics.constant-input")


@must("metrics.pearson-stability", "the contract: a large mean, large and small numbers")
@cases(metrics.hard)
def test_pearson_stability(implementation, case):
    """A mean a thousand times the deviation, or a million times in float64, costs no more than rounding a running mean does.

    Nor do large and small numbers: the dtype holds both sums of squares, though not the product of both.
    """
    assert_conforms(implementation, case)


@must("metrics.pearson-gradients", "Pearson 1895, differentiated")
@cases(metrics.for_gradients)
def test_pearson_gradients(implementation, case):
    """The gradients of Pearson's correlation are those of the formula, for x and for y."""
    assert_gradients_conform(implementation, case)


# --- Answers ----------------------------------------------------------------------------------------------------------


@must("metrics.squad-exact-match-equation", f"Rajpurkar et al. 2016, section 6.1; {SQUAD}")
@cases(metrics.exact_matches, [metrics.drawn[squad_exact_match]])
def test_squad_exact_match_equation(implementation, case):
    """Exact match is the part of the predictions that, normalized, equal one of their normalized answers, from 0 to 1."""
    assert_conforms(implementation, case)


@must("metrics.squad-f1-equation", f"Rajpurkar et al. 2016, section 6.1; {SQUAD}")
@cases(metrics.answer_f1s, [metrics.drawn[squad_f1]])
def test_squad_f1_equation(implementation, case):
    """F_1 is the mean over examples of the largest F_1 of a prediction's words and an answer's, from 0 to 1."""
    assert_conforms(implementation, case)


@must("metrics.squad-normalization", SQUAD)
@cases(metrics.normalized)
def test_squad_normalization(implementation, case):
    """Case, ASCII punctuation, the words a, an and the, and the width of white space do not matter; all else does."""
    assert_conforms(implementation, case)


@should("metrics.squad-beyond-ascii", SQUAD)
@cases(metrics.beyond_ascii)
def test_squad_beyond_ascii(implementation, case):
    """Marks beyond ASCII stay and end an article like blanks, and Unicode's spaces part words, as in the script."""
    assert_conforms(implementation, case)


@must("metrics.squad-several-answers", "Rajpurkar et al. 2016, section 6.1")
@cases(metrics.several_answers)
def test_squad_several_answers(implementation, case):
    """Of several answers the best counts, of each example its own."""
    assert_conforms(implementation, case)


@must("metrics.squad-f1-repeated-words", "Rajpurkar et al. 2016, section 6.1: bags of tokens")
@cases([case for case in metrics.repeated_words if case.operation is squad_f1])
def test_squad_f1_repeated_words(implementation, case):
    """A word is in common as often as it is in the prediction and in the answer, whichever has it less often."""
    assert_conforms(implementation, case)


@must("metrics.squad-no-answer", SQUAD)
@cases(metrics.unanswerable)
def test_squad_no_answer(implementation, case):
    """Without an answer, be it none or an empty one, both metrics are 1 exactly if no word of the prediction is left."""
    assert_conforms(implementation, case)


@should("metrics.squad-answers-without-words", SQUAD)
@cases(metrics.without_words)
def test_squad_answers_without_words(implementation, case):
    """Answers of which normalization leaves nothing do not count beside others, and alone are no answer."""
    assert_conforms(implementation, case)


# --- Named entities ---------------------------------------------------------------------------------------------------


@must("metrics.span-f1-equation", CONLL)
@cases(metrics.span_f1s, [metrics.drawn[span_f1]])
def test_span_f1_equation(implementation, case):
    """F_1 = 2 c / (p + t) of predicted and true entities of all sentences, c of which are the same."""
    assert_conforms(implementation, case)


@must("metrics.named-entity-boundaries", CONLL)
@cases(metrics.boundaries)
def test_named_entity_boundaries(implementation, case):
    """An entity is right where both its ends are; at B another begins, and none runs on into the next sentence."""
    assert_conforms(implementation, case)


@must("metrics.named-entity-types", CONLL)
@cases(metrics.types)
def test_named_entity_types(implementation, case):
    """An entity is right where its type is; the type is all that follows the first hyphen, and where it changes one ends."""
    assert_conforms(implementation, case)


@must("metrics.named-entity-continuation", CONLL)
@cases(metrics.continuations)
def test_named_entity_continuation(implementation, case):
    """I begins an entity where none of its type goes on: at the start, after O, and after another type."""
    assert_conforms(implementation, case)


@must(
    "metrics.span-f1-undefined",
    "0 / 0: not said by Tjong Kim Sang & De Meulder 2003; libraries differ",
    choices=("zero", "one", "nan", "refuse"),
)
@cases(metrics.no_entities)
def test_span_f1_undefined(implementation, case):
    """Where there are no entities at all, F_1 is what is declared: 0, 1, NaN, or a ValueError."""
    assert_conforms_or_refuses(implementation, case, "metrics.span-f1-undefined")


@should("metrics.span-f1-empty-sentence", "the contract: a sentence is any number of tags")
@cases(metrics.empty_sentences)
def test_span_f1_empty_sentence(implementation, case):
    """A sentence without words has no entities, and parts those around it."""
    assert_conforms(implementation, case)


# --- Translations -----------------------------------------------------------------------------------------------------


@must("metrics.bleu-equation", "Papineni et al. 2002, section 2.3")
@cases(metrics.bleus, [metrics.drawn[bleu]])
def test_bleu_equation(implementation, case):
    """BLEU is the geometric mean of the n-gram precisions of a corpus times its brevity penalty, from 0 to 1."""
    assert_conforms(implementation, case)


@must("metrics.bleu-clipping", "Papineni et al. 2002, section 2.1")
@cases(metrics.clipped, metrics.several_references)
def test_bleu_clipping(implementation, case):
    """An n-gram matches as often as the one of its own references has it that has it most often."""
    assert_conforms(implementation, case)


@must("metrics.bleu-brevity-penalty", "Papineni et al. 2002, section 2.2.2")
@cases(metrics.brevity)
def test_bleu_brevity_penalty(implementation, case):
    """Only a corpus that is shorter than its references as a whole is penalized, by exp(1 - r / c)."""
    assert_conforms(implementation, case)


@must("metrics.bleu-reference-length", "Papineni et al. 2002, section 2.2.2: best match length")
@cases(metrics.closest)
def test_bleu_reference_length(implementation, case):
    """Of several references the one closest in length counts for r, of two as close the shorter."""
    assert_conforms(implementation, case)


@must(
    "metrics.bleu-corpus", "Papineni et al. 2002, section 2.1.1: computed sentence by sentence, summed over the corpus"
)
@cases(metrics.corpora)
def test_bleu_corpus(implementation, case):
    """Counts are summed over the corpus before they are divided: a sentence without a match does not make it 0."""
    assert_conforms(implementation, case)


@must("metrics.bleu-order", "Papineni et al. 2002, section 2.3: N")
@cases(metrics.orders)
def test_bleu_order(implementation, case):
    """N-grams of 1 word to `max_order` words count, and no longer ones."""
    assert_conforms(implementation, case)


@must("metrics.bleu-no-match", "Papineni et al. 2002, section 2.3: nothing is smoothed")
@cases(metrics.no_match)
def test_bleu_no_match(implementation, case):
    """BLEU is 0 where no n-gram of some order matches in the whole corpus, or none is there."""
    assert_conforms(implementation, case)


@must("metrics.bleu-words", "the contract: words are what is between white space")
@cases(metrics.as_written)
def test_bleu_words(implementation, case):
    """Words are what is between white space, however wide; case and punctuation are theirs."""
    assert_conforms(implementation, case)


# --- Language models --------------------------------------------------------------------------------------------------


@must("metrics.perplexity-equation", "Jelinek et al. 1977; Radford et al. 2019, section 3.1")
@cases(metrics.perplexities, [metrics.drawn[perplexity]])
def test_perplexity_equation(implementation, case):
    """Perplexity is exp of minus the mean of the natural log-probabilities of all visible tokens."""
    assert_conforms(implementation, case)


@must("metrics.perplexity-uniform", "Jelinek et al. 1977")
@cases(metrics.uniform)
def test_perplexity_uniform(implementation, case):
    """A model that finds V words equally likely has the perplexity V."""
    result, allowed = output_of(implementation, case), budget_of(implementation, case)
    # What the probability itself was rounded to is the case's, not the implementation's.
    expected = torch.exp(-case.tensors[0][0, 0].double())
    assert_derived(implementation, case, result, result.double(), expected, allowed, "perplexity")


@must("metrics.perplexity-of-tokens", "the contract: all visible tokens at once")
@cases(metrics.several_tokens)
def test_perplexity_of_tokens(implementation, case):
    """It does not matter how tokens are shared out between sequences: every visible token counts alike."""
    assert_same(implementation, case, metrics.in_one_row(case))


@must("metrics.perplexity-hidden-tokens", "the contract of mask")
@cases(metrics.padded)
def test_perplexity_hidden_tokens(implementation, case):
    """Log-probabilities where the mask is False do not matter, be they minus infinity or NaN."""
    assert_identical(implementation, case, metrics.with_other_hidden_tokens(case))
    assert_conforms(implementation, case)


@should("metrics.perplexity-of-the-impossible", "Jelinek et al. 1977: exp(-log 0)")
@cases(metrics.impossible_tokens)
def test_perplexity_of_the_impossible(implementation, case):
    """A visible token of probability 0 makes the perplexity infinite."""
    assert_conforms(implementation, case)


@must("metrics.perplexity-gradients", "Jelinek et al. 1977, differentiated")
@cases(metrics.nothing_hidden, metrics.padded)
def test_perplexity_gradients(implementation, case):
    """The gradients of the perplexity are those of the formula, and 0 at hidden tokens."""
    assert_gradients_conform(implementation, case)


@must("metrics.bits-per-byte-equation", "Shannon 1951; Gao et al. 2020, section 3.1")
@cases(metrics.compressions, [metrics.drawn[bits_per_byte]])
def test_bits_per_byte_equation(implementation, case):
    """Bits per byte are minus the sum of the natural log-probabilities over ln 2 times the sum of bytes."""
    assert_conforms(implementation, case)


@must("metrics.bits-per-byte-of-texts", "Gao et al. 2020, section 3.1")
@cases([case for case in metrics.compressions if case.name.startswith("tokens")], metrics.compressions[1:2])
def test_bits_per_byte_of_texts(implementation, case):
    """It does not matter how a text is cut into parts."""
    rounded = case.changed("in 64ths", ((64 * case.tensors[0]).round() / 64, case.tensors[1]))
    assert_same(implementation, rounded, metrics.joined(rounded))


@must("metrics.bits-per-byte-gradients", "Gao et al. 2020, section 3.1, differentiated")
@cases(metrics.compressions[:8])
def test_bits_per_byte_gradients(implementation, case):
    """The gradient of bits per byte is -1 / (ln 2 times the sum of bytes) everywhere."""
    assert_gradients_conform(implementation, case)


# --- Of all -----------------------------------------------------------------------------------------------------------


@must("metrics.order-of-examples", "the contract: a data set has no order")
@cases(metrics.of_several_examples)
def test_order_of_examples(implementation, case):
    """The order of the examples does not matter."""
    assert_same(implementation, case, metrics.in_another_order(case))


@must("metrics.examples-twice", "the contract: metrics are means")
@cases(metrics.of_several_examples)
def test_examples_twice(implementation, case):
    """A data set in which every example stands twice has the metric of the data set."""
    assert_same(implementation, case, metrics.twice(case))


@must("metrics.symmetry", "the formulas, in which predictions and labels may be exchanged")
@cases(metrics.symmetric)
def test_symmetry(implementation, case):
    """Accuracy, F_1, the Matthews coefficient, both correlations and F_1 of entities are the same with both exchanged."""
    assert_same(implementation, case, metrics.exchanged(case))


@must("metrics.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(metrics.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded tensors give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("metrics.inputs-untouched", "the contract: inputs are left as they are")
@cases(metrics.with_tensors)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of what it is given."""
    assert_untouched(implementation, case)


@must("metrics.no-memory", "the contract: an operation is a function of its arguments")
@cases(metrics.every_operation)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, as in a metric that goes on counting."""
    assert_no_memory(implementation, case, metrics.others_than(case))


@must("metrics.arrays-no-memory", "the contract: an operation is a function of its arguments")
@cases(metrics.with_tensors)
def test_arrays_no_memory(implementation, case):
    """What was found for an array is not kept for what it holds later, nor for the next one that lies where it lay."""
    assert_remembers_nothing(implementation, case, metrics.others_than(case)[0])


@must("metrics.refusals-no-memory", "the contract: an operation is a function of its arguments")
@cases(metrics.unequal_numbers, metrics.no_references, metrics.no_class)
def test_refusals_no_memory(implementation, case):
    """A call that raised leaves nothing behind: the next one gives what it would have given without it."""
    with contextlib.suppress(Raised, WrongResult):
        implementation.call(case)
    for other in metrics.every_operation:
        if other.operation is case.operation:
            assert_conforms(implementation, other.in_dtype(case.dtype))


@must("metrics.dtype-and-shape", "the contract: one number, in the dtype that is asked for or that of the inputs")
@cases(metrics.every_operation)
def test_dtype_and_shape(implementation, case):
    """A metric has no axes, and the dtype that is asked for or else that of its floating inputs."""
    assert_contract(implementation, case)


@must("metrics.unequal-numbers", "the contract: what belongs to nothing has no meaning")
@cases(metrics.unequal_numbers, metrics.no_references)
def test_unequal_numbers(implementation, case):
    """Predictions without labels, or labels without predictions, raise with a message and are not left out."""
    assert_refuses(implementation, case)


@should("metrics.no-such-class", "the contract of num_classes")
@cases(metrics.no_class)
def test_no_such_class(implementation, case):
    """Ids outside of 0 to num_classes - 1 raise with a message."""
    assert_refuses(implementation, case)


@should(
    "metrics.smallest-sets",
    "0 / 0: as the contract says or as is declared; libraries differ, and some refuse",
)
@cases(metrics.smallest)
def test_smallest_sets(implementation, case):
    """Of no examples, and of one pair of numbers, a metric is what is said or declared for where there is nothing."""
    assert_conforms_or_refuses(implementation, case, metrics.choice_of[case.operation])


@should("metrics.int32-ids", "the contract: class ids are integers")
@cases(metrics.narrow_ids)
def test_int32_ids(implementation, case):
    """Class ids of 32 bits are taken like those of 64."""
    assert_conforms(implementation, case)
