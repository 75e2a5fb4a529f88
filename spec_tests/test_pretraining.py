"""Requirements of BERT trained end to end: pretraining, fine-tuning against training from scratch, shared parameters.

The suite owns data, losses and optimiser (spec_tests/runs/bert.py); the implementation supplies `bert` and its gradients.
"""

from math import sqrt

from transpec.cases import Case, integers
from transpec.judgement import assert_conforms, compare, gradient_budgets
from transpec.reference.albert import albert
from transpec.reference.bert import bert
from transpec.requirements import cases, must
from transpec.runs import Score, assert_beats, assert_follows, forward, plot
from transpec.spec_tests.runs import bert as runs
from transpec.spec_tests.runs import sentiment, sharing
from transpec.spec_tests.runs.kernels import trainable

CLEARLY = 0.05  # by how much a mean score is better


START = {name: value.double() for name, value in runs.initial_weights(runs.CONFIG, 0).items()}


def run_of(name):
    """A call of the model that a run trains, by which the report knows the run."""
    token_ids = integers(name, runs.CONFIG.vocab_size, 2, 9)
    return Case(bert, name, (token_ids,), START, {}, ("float32",), config=runs.CONFIG)


SENTENCES = [run_of("sentences about 600 names")]
LABELS = [run_of(f"{size} labels") for size in runs.SIZES]
SIZE_OF = {case.name: size for case, size in zip(LABELS, runs.SIZES, strict=True)}


# --- Pretraining ------------------------------------------------------------------------------------------------------


@must("pretraining.first-losses", "Devlin et al. 2019, appendix A.2: the sum of both losses", run="short")
@cases(SENTENCES)
def test_first_losses(implementation, case):
    """The losses of the first steps are the formula's, as nearly as its own in float32 are those in float64."""
    run = runs.pretrain(trainable(implementation, bert), steps=runs.FIRST_STEPS)
    expected, band = runs.first_losses()
    found = [mlm + nsp for mlm, nsp in zip(run.mlm_losses, run.nsp_losses, strict=True)]
    assert_follows(implementation, case, found, expected, band)


@must("pretraining.masked-language-modelling", "Devlin et al. 2019, section 3.1, task 1", run="short")
@cases(SENTENCES)
def test_masked_language_modelling(implementation, case):
    """After pretraining, masked tokens of sentences that were not read are guessed far better than by frequency."""
    run = runs.pretrained(implementation)
    plot(implementation, runs.loss_curve(run))
    for image in runs.attention_images(run):
        plot(implementation, image)
    scores = runs.held_out_scores(trainable(implementation, bert), run.weights)
    note = f"{scores.tokens} masked tokens"
    score = Score("masked tokens, accuracy", scores.mlm, "unigram", scores.unigram, note=note)
    assert_beats(implementation, case, score, margin=0.4)


@must("pretraining.next-sentence", "Devlin et al. 2019, section 3.1, task 2", run="short")
@cases(SENTENCES)
def test_next_sentence(implementation, case):
    """After pretraining, pairs of sentences that were not read are told from random ones, six sigma above chance."""
    scores = runs.held_out_scores(trainable(implementation, bert), runs.pretrained(implementation).weights)
    score = Score("next sentence, accuracy", scores.nsp, "majority", scores.majority, note=f"{scores.pairs} pairs")
    assert_beats(implementation, case, score, margin=6 * sqrt(0.25 / scores.pairs))


@must("pretraining.trained-weights", "Devlin et al. 2019, section 3 and figure 2, on trained weights", run="short")
@cases(SENTENCES)
def test_trained_weights(implementation, case):
    """The hidden states are the formula's with the weights at the beginning, in the middle and at the end of training."""
    for steps, weights in runs.checkpoints(implementation).items():
        of = implementation.source.given if implementation.differentiates(bert) else "the reference"
        trained = case.changed(f"weights of {of} after {steps} steps", **runs.call_on_sentences(weights))
        assert_conforms(implementation, trained, trained.options["attention_mask"].unsqueeze(-1))


# --- Fine-tuning ------------------------------------------------------------------------------------------------------


def assert_pretraining_pays(implementation, case, task):
    """From pretrained weights the score is better than from scratch, and the score from scratch is reached sooner."""
    found = runs.compared(implementation, task, SIZE_OF[case.name])
    assert_beats(implementation, case, found.score, margin=CLEARLY)
    assert_beats(implementation, case, found.steps)


@must("pretraining.named-entity", "Devlin et al. 2019, section 5.3: tags by the first piece of a word", run="short")
@cases(LABELS)
def test_named_entity(implementation, case):
    """Named entities are found better, and sooner, from pretrained weights than from scratch, by span F1."""
    assert_pretraining_pays(implementation, case, runs.NAMED_ENTITY)


@must("pretraining.classification", "Devlin et al. 2019, section 4.1", run="short")
@cases(LABELS)
def test_classification(implementation, case):
    """Sentences are classified better, and sooner, from pretrained weights than from scratch."""
    assert_pretraining_pays(implementation, case, runs.CLASSIFICATION)


@must("pretraining.question-answering", "Devlin et al. 2019, section 4.2: start and end of the answer", run="short")
@cases(LABELS)
def test_question_answering(implementation, case):
    """Questions are answered exactly more often, and sooner, from pretrained weights than from scratch."""
    assert_pretraining_pays(implementation, case, runs.QUESTION_ANSWERING)


@must("pretraining.sentiment", "Devlin et al. 2019, section 3.2: all parameters fine-tuned", run="full")
@cases(LABELS)
def test_sentiment(implementation, case):
    """Good reviews are told from bad ones better, and sooner, from a published model's weights than from scratch."""
    found = sentiment.compared(implementation, SIZE_OF[case.name])
    assert_beats(implementation, case, found.score, margin=CLEARLY)
    assert_beats(implementation, case, sentiment.sooner(found))


# --- Parameter sharing ------------------------------------------------------------------------------------------------


def assert_sum_of_layers(implementation, case):
    """The gradients of the shared layer are the sums over the layers of an unshared stack of equal weights."""
    forward(implementation, albert)  # raises Unsupported where there are no gradients
    expected, allowed = sharing.summed_gradients(case), gradient_budgets(case, (), implementation.computes_in(albert))
    found = sharing.gradients(implementation, case, expected)
    compare(implementation, case, found, expected, allowed)


@must("pretraining.parameter-sharing", "Lan et al. 2020, section 3.1: all parameters across layers", run="short")
@cases(sharing.shared)
def test_parameter_sharing(implementation, case):
    """ALBERT has one layer's parameters, and their gradient is the sum of those that an unshared stack gives its layers."""
    counted, unshared = sharing.parameters(case), sharing.unshared_parameters(case.config)
    assert_follows(implementation, case, [counted], [sharing.expected_parameters(case.config)], 0, "parameters")
    score = Score("ALBERT's parameters", counted, "unshared", unshared, higher_is_better=False)
    assert_beats(implementation, case, score)
    assert_sum_of_layers(implementation, case)
