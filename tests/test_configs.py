"""Configurations of models: frozen, hashable, and not to be made where they make no sense."""

import dataclasses
from typing import Any

import pytest

from transpec.reference.albert import AlbertConfig
from transpec.reference.bert import BertConfig
from transpec.reference.gpt import GptConfig
from transpec.reference.t5 import T5Config
from transpec.reference.transformer import TransformerConfig

SIZES: dict[Any, dict[str, Any]] = {
    TransformerConfig: {"num_encoder_layers": 2, "num_decoder_layers": 1},
    BertConfig: {"num_layers": 2, "max_positions": 11},
    GptConfig: {"num_layers": 2, "max_positions": 11},
    AlbertConfig: {"num_layers": 2, "max_positions": 11, "embedding_size": 5},
    T5Config: {"num_encoder_layers": 2, "num_decoder_layers": 1, "d_kv": 5},
}
EVERY = {"vocab_size": 17, "d_model": 12, "d_ff": 20, "num_heads": 3}
each = pytest.mark.parametrize("config", SIZES, ids=lambda config: config.__name__)


def made(config: Any, **changed: Any) -> Any:
    """A configuration that makes sense, but for what is changed."""
    return config(**{**EVERY, **SIZES[config], **changed})


@each
def test_a_configuration_is_frozen_and_can_be_hashed(config: Any) -> None:
    """What was built for a configuration can be kept under it."""
    assert {made(config): 1}[made(config)] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        made(config).d_model = 24


@each
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be an integer of at least 1, got 0"),
        ({"d_ff": -20}, "d_ff must be an integer of at least 1, got -20"),
        ({"d_model": 12.0}, r"d_model must be an integer of at least 1, got 12\.0"),
        ({"num_heads": True}, "num_heads must be an integer of at least 1, got True"),
        ({"eps": -1e-5}, "eps must be a number of at least 0, got -1e-05"),
        ({"activation": "swish"}, "activation must be one of .*, got 'swish'"),
    ],
)
def test_what_cannot_be_is_refused(config: Any, changed: dict[str, Any], message: str) -> None:
    """A size, an eps or an activation that makes no sense is refused with its name and value."""
    with pytest.raises(ValueError, match=f"{config.__name__}: {message}"):
        made(config, **changed)


@pytest.mark.parametrize("config", [config for config in SIZES if config is not T5Config])
def test_heads_have_to_divide(config: Any) -> None:
    """A number of heads that does not divide the width is refused; T5 gives its heads a width of their own."""
    with pytest.raises(ValueError, match="num_heads must divide d_model, got 5 heads and d_model 12"):
        made(config, num_heads=5)


@pytest.mark.parametrize("changed", [{"num_buckets": 6}, {"num_buckets": 32, "max_distance": 16}])
def test_buckets_have_to_fit(changed: dict[str, Any]) -> None:
    """Buckets that cannot be halved twice, or that reach further than the largest distance, are refused."""
    with pytest.raises(ValueError, match="num_buckets must be a multiple of 4 and max_distance more than its half"):
        made(T5Config, **changed)


def test_there_may_be_no_layers() -> None:
    """A model without layers is one: its embeddings and heads can be looked at alone."""
    assert made(BertConfig, num_layers=0).num_layers == 0
