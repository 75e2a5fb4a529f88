"""Requirements of training, end to end on real data: GPT on bytes, T5 from English to German.

The suite owns data, loss and optimiser; the implementation supplies the forward pass and its vector-Jacobian product. One
without gradients is held to the reference's logits along the way that the reference goes, and scored with its weights.
"""

from transpec.judgement import NonConformance, assert_conforms
from transpec.reference.gpt import gpt
from transpec.reference.t5 import t5
from transpec.requirements import cases, must
from transpec.runs import Score, assert_beats, assert_follows, forward, plot, record
from transpec.spec_tests.cases import training
from transpec.spec_tests.runs import language_modelling, messages, narrow, translation
from transpec.spec_tests.runs.loop import loss_curves, worst_of

# --- GPT --------------------------------------------------------------------------------------------------------------


@must("training.loss-curve", "Radford et al. 2018, section 3.1, equation 1, minimised", run="short")
@cases(training.moby_dick)
def test_loss_curve(implementation, case):
    """From the same weights on the same batches the losses of GPT's first steps are the reference's but for rounding."""
    forward(implementation, gpt)  # one without gradients has no curve
    expected, band = language_modelling.first_losses()
    losses = language_modelling.pretrained(implementation).losses
    plot(implementation, loss_curves("GPT on Moby-Dick", {"trained": losses, "reference": expected}))
    record(implementation, worst_of(losses, expected, band))
    assert_follows(implementation, case, losses[: len(expected)], expected, band)


@must("training.checkpoints", "Radford et al. 2018, equation 2, with trained weights", run="short")
@cases(training.moby_dick_checkpoints)
def test_checkpoints(implementation, case):
    """GPT's logits are the formula's with the weights at the start, on the way and at the end of the reference's run."""
    assert_conforms(implementation, language_modelling.at_checkpoint(case, training.checkpoints[case.name]))


def assert_fewer_bits_than(implementation, case, order, config, recipe):
    """Fewer bits per held-out byte than an interpolated n-gram model of the same text."""
    weights = language_modelling.pretrained(implementation, config, recipe).weights
    bits = language_modelling.bits_per_byte(language_modelling.as_called(implementation), weights, config, "moby_dick")
    baseline = language_modelling.ngram_bits(order, config.max_positions)
    note = language_modelling.sizes(config, recipe)
    name = {2: "bigram model", 3: "trigram model"}[order]
    assert_beats(implementation, case, Score("held-out text", bits, name, baseline, "bits/byte", False, note))


@must("training.bits-per-byte", "Radford et al. 2019, section 2.2: modelling bytes", run="short")
@cases(training.moby_dick)
def test_bits_per_byte(implementation, case):
    """GPT trained on Moby-Dick's bytes says held-out ones in fewer bits than a bigram model of the same text."""
    config, recipe = language_modelling.SHORT, language_modelling.SHORT_RECIPE
    assert_fewer_bits_than(implementation, case, 2, config, recipe)


@must("training.bits-per-byte-long", "Radford et al. 2019, section 2.2: modelling bytes", run="full")
@cases(training.moby_dick_long)
def test_bits_per_byte_long(implementation, case):
    """A larger GPT, trained longer, says held-out bytes of Moby-Dick in fewer bits than a trigram model of the same text."""
    config, recipe = language_modelling.LONG, language_modelling.LONG_RECIPE
    assert_fewer_bits_than(implementation, case, 3, config, recipe)
    losses = language_modelling.pretrained(implementation, config, recipe).losses
    plot(implementation, loss_curves("GPT on Moby-Dick, long form", {"trained": losses}))


@must("training.generation", "Radford et al. 2018, section 3.1, equation 1, from pretrained weights", run="short")
@cases(training.texts)
def test_generation(implementation, case):
    """Fine-tuned on prose, code or dialogue GPT needs fewer bits a held-out byte than before, and than one from scratch."""
    tuned = language_modelling.fine_tuned(implementation, case.name)
    series = {"pretrained": tuned.losses, "scratch": tuned.scratch_losses}
    plot(implementation, loss_curves(f"GPT on {case.name}", series))
    note = f"{language_modelling.TUNING.steps} steps"
    for name, baseline in (("pretrained only", tuned.before), ("scratch, as many steps", tuned.scratch)):
        assert_beats(implementation, case, Score(case.name, tuned.after, name, baseline, "bits/byte", False, note))


@must("training.generated-text", "Radford et al. 2019, section 3; Holtzman et al. 2020, section 3.3", run="short")
@cases(training.texts)
def test_generated_text(implementation, case):
    """What GPT writes after held-out prompts is nearer to trigrams of the text, once it is fine-tuned, than before."""
    runs = (language_modelling.fine_tuned(implementation, case.name), language_modelling.pretrained(implementation))
    after, before = (language_modelling.written(implementation, run.weights, case.name) for run in runs)
    name = f"written {case.name}, nearer to its trigrams than to those of Moby-Dick"
    note = f"{language_modelling.PROMPTS} continuations of {language_modelling.WRITTEN} bytes, such as {after.shown!r}"
    score = Score(name, after.nearness, "pretrained only", before.nearness, "bits/byte", True, note)
    assert_beats(implementation, case, score)


# --- Mixed precision and distillation ---------------------------------------------------------------------------------


@must("training.mixed-precision-bfloat16", "Kalamkar et al. 2019, section 3", run="short")
@cases(training.moby_dick)
def test_mixed_precision_bfloat16(implementation, case):
    """Under bfloat16 autocast the loss follows that in float32 within a thousandth of it."""
    losses, expected = narrow.in_bfloat16(implementation), narrow.in_float32(implementation)
    plot(implementation, loss_curves("GPT under autocast", {"bfloat16": losses, "float32": expected}))
    record(implementation, worst_of(losses, expected, narrow.band_around(expected)))
    assert_follows(implementation, case, losses, expected, narrow.band_around(expected))


@must("training.mixed-precision-float16", "Micikevicius et al. 2018, sections 3.1 and 3.2", run="short")
@cases(training.moby_dick)
def test_mixed_precision_float16(implementation, case):
    """In float16 with master weights and a scaled loss, overflowing steps skipped, the loss follows that in float32."""
    run, expected = narrow.in_float16(implementation), narrow.in_float32(implementation)
    plot(implementation, loss_curves("GPT in float16", {"float16": run.losses, "float32": expected}))
    record(implementation, worst_of(run.losses, expected, narrow.band_around(expected)))
    assert_follows(implementation, case, run.losses, expected, narrow.band_around(expected))


@must("training.distillation", "Hinton et al. 2015, section 2", run="short")
@cases(training.moby_dick)
def test_distillation(implementation, case):
    """A student that its teacher tells what it thinks of a short text is better than the same student alone, thrice."""
    share, seeds = language_modelling.SHARE, range(3)
    taught, alone = ([language_modelling.distilled(implementation, seed, s) for seed in seeds] for s in (share, 0.0))
    ends, best = [looks[-1] for looks in taught], [min(looks) for looks in alone]
    note = "taught " + ", ".join(f"{t:.3f}" for t in ends) + "; alone " + ", ".join(f"{a:.3f}" for a in best)
    name = "the same student alone, the best look at any of three"
    score = Score("distilled student, worst of three seeds", max(ends), name, min(best), "bits/byte", False, note)
    assert_beats(implementation, case, score)


# --- T5 ---------------------------------------------------------------------------------------------------------------


@must("training.loss-curve-t5", "Raffel et al. 2020, section 3.1.4, minimised", run="short")
@cases(training.span_corruption)
def test_loss_curve_t5(implementation, case):
    """From the same weights on the same batches the losses of T5's first steps are the reference's but for rounding."""
    forward(implementation, t5)
    expected, band = translation.first_losses()
    losses = translation.runs(implementation).pretrained.losses
    plot(implementation, loss_curves("T5 on corrupted spans", {"trained": losses, "reference": expected}))
    record(implementation, worst_of(losses, expected, band))
    assert_follows(implementation, case, losses[: len(expected)], expected, band)


@must("training.checkpoints-t5", "Raffel et al. 2020, section 2.1, with weights that were trained", run="short")
@cases(training.translation_stages)
def test_checkpoints_t5(implementation, case):
    """T5's logits are the formula's with the weights that the reference has after span corruption and after translation."""
    assert_conforms(implementation, translation.at_stage(case, training.stages[case.name]))


@must("training.span-corruption", "Raffel et al. 2020, section 3.1.4", run="short")
@cases(training.span_corruption)
def test_span_corruption(implementation, case):
    """Pretrained T5 needs fewer nats for the hidden spans of held-out sentences than their tokens' frequencies."""
    nats, unigram = translation.span_scores(implementation)
    score = Score("hidden spans of held-out sentences", nats, "unigram model", unigram, "nats/token", False)
    assert_beats(implementation, case, score)


@must("training.translation", "Raffel et al. 2020, section 2.4: every task is text to text, with a prefix", run="short")
@cases(training.english_to_german)
def test_translation(implementation, case):
    """T5 translates more than nine in ten held-out dates and numbers to the letter, decoded greedily."""
    found = translation.translations(implementation)
    losses = translation.runs(implementation).trained.losses
    plot(implementation, loss_curves("T5 from English to German", {"trained": losses}))
    for kind, exact in found.exact.items():
        record(implementation, Score(f"exact {kind}", exact, "copying the English", translation.copied(kind)))
    assert_beats(implementation, case, Score("exact translations", found.of_all, "nine in ten", 0.9))


@must("training.text-to-text", "Raffel et al. 2020, section 2.4 and figure 1", run="short")
@cases(training.english_to_german)
def test_text_to_text(implementation, case):
    """To "translate English to German: That is good." T5 answers "Das ist gut."."""
    answer = translation.translations(implementation).answer
    if answer != translation.ANSWER:
        raise NonConformance(f"the answer is {answer!r}, should be {translation.ANSWER!r}", case)


@must("training.translation-long", "Raffel et al. 2020, section 2.4; Papineni et al. 2002 for the score", run="full")
@cases(training.english_to_german_long)
def test_translation_long(implementation, case):
    """A larger T5, trained on real sentences, beats copying the English by five BLEU on sentences that it has not read."""
    losses = messages.run(implementation).losses
    plot(implementation, loss_curves("T5 from English to German, long form", {"trained": losses}))
    ours, copied = messages.scores(implementation, messages.corpus().held_out)
    note = messages.sizes()
    score = Score("held-out sentences", ours, "copying the English", copied, "BLEU", note=note)
    assert_beats(implementation, case, score, margin=messages.CLEARLY)
