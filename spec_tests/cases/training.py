"""What the runs start from: the first batch and the weights of each; the runs themselves draw the batches that follow."""

from transpec.cases import Case
from transpec.reference.gpt import gpt
from transpec.reference.t5 import T5Config, t5
from transpec.spec_tests.cases.models import token_ids
from transpec.spec_tests.runs import language_modelling, messages, translation

# Ids are of printable bytes and of real pieces; so few that a checkpoint's budget takes a moment.
_bytes = 32 + token_ids("training bytes", 90, 2, 23)
_source = 3 + token_ids("training source", 300, 2, 13)
_target = 3 + token_ids("training target", 300, 2, 11)


def _gpt(name: str, config: language_modelling.GptConfig) -> list[Case]:
    weights = {key: value.double() for key, value in language_modelling.initial_weights(config).items()}
    return [Case(gpt, name, (_bytes,), weights, dtypes=("float32",), config=config)]


moby_dick = _gpt("Moby-Dick", language_modelling.SHORT)
moby_dick_long = _gpt("Moby-Dick, long", language_modelling.LONG)
checkpoints = {f"Moby-Dick at step {step}": step for step in language_modelling.CHECKPOINTS}
moby_dick_checkpoints = [case for name in checkpoints for case in _gpt(name, language_modelling.SHORT)]
texts = [case for name in language_modelling.TEXTS for case in _gpt(name, language_modelling.SHORT)]


def _t5(name: str, config: T5Config = translation.CONFIG) -> list[Case]:
    weights = {key: value.double() for key, value in translation.initial_weights(config).items()}
    return [Case(t5, name, (_source, _target), weights, dtypes=("float32",), config=config)]


english_to_german = _t5("English to German")
english_to_german_long = _t5("English to German, long", messages.CONFIG)
span_corruption = _t5("span corruption")
stages = {f"English to German, {stage}": stage for stage in translation.STAGES}
translation_stages = [case for name in stages for case in _t5(name)]
