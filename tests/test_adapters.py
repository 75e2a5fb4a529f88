"""The adapters in impls/: each holds its library to the path of which it has the name, and says what it lacks."""

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from transpec.cases import Case, normal
from transpec.implementations import find, load
from transpec.judgement import budget, oracle
from transpec.operations import OPERATIONS
from transpec.reference.bert import BertConfig, bert
from transpec.reference.gpt import GptConfig, gpt
from transpec.reference.layers import encoder_layer
from transpec.reference.t5 import t5_attention
from transpec.spec_tests.cases.models import attention_weights, encoder_layer_weights, matrix, nested, norm, token_ids

M, F, V, T = 8, 12, 11, 5
EXTRA = 'transformers is not installed; the extra "huggingface" brings it: pip install "transpec[huggingface]"'
LAYER = encoder_layer_weights("layer", M, F)
TABLES = {"embeddings.token": matrix("tokens", V, M), "embeddings.position": matrix("places", T, M)}

OF_MODELS = [
    Case(
        bert, "bert", (token_ids("bert", V, 2, T),),
        TABLES | nested(**{"embeddings.norm": norm("embeddings", M), "layers.0": LAYER})
        | {"embeddings.token_type": matrix("types", 2, M)},
        config=BertConfig(V, M, F, num_heads=2, num_layers=1, max_positions=T),
    ),
    Case(
        gpt, "gpt", (token_ids("gpt", V, 2, T),),
        TABLES | nested(**{"final_norm": norm("final", M), "layers.0": LAYER}),
        config=GptConfig(V, M, F, num_heads=2, num_layers=1, max_positions=T),
    ),
    Case(
        t5_attention, "T5's attention", (normal("q", 2, T, M), *[normal("kv", 2, T, M)] * 2),
        attention_weights("t5", M, biases=""), {"num_heads": 2, "bias": normal("bias", 2, T, T)},
    ),
]  # fmt: skip
OF_A_LAYER = Case(
    encoder_layer, "layer", (normal("x", 2, T, M),), LAYER, {"num_heads": 2, "activation": "relu", "eps": 1e-5}
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, str], list[str]]:
    """Has a function of torch note its calls."""

    def watch(owner: object, name: str) -> list[str]:
        noted: list[str] = []
        function = getattr(owner, name)

        def noting(*arguments: object, **options: object) -> Tensor:
            noted.append(name)
            result: Tensor = function(*arguments, **options)
            return result

        monkeypatch.setattr(owner, name, noting)
        return noted

    return watch


def is_right(implementation: str, case: Case) -> bool:
    """Whether a bundled implementation gives what the formula says."""
    rounded = case.in_dtype("float32")
    error = (load(find(implementation)).call(rounded).double() - oracle(rounded)).abs()
    return bool((error <= budget(rounded)).all())


@pytest.mark.parametrize("case", OF_MODELS, ids=str)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_each_attention_of_hugging_face_is_the_one_it_is_called_by(attention, case, calls):
    """Torch's fused attention is used by huggingface_sdpa and not by huggingface_eager; both are right."""
    pytest.importorskip("transformers", reason=EXTRA)
    fused = calls(functional, "scaled_dot_product_attention")
    assert is_right(f"huggingface_{attention}", case)
    assert bool(fused) == (attention == "sdpa")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_hugging_face_under_two_names(attention):
    """A module of its own and an object in huggingface.py are the same implementation."""
    pytest.importorskip("transformers", reason=EXTRA)
    module, inside = load(find(f"huggingface_{attention}")), load(find(f"huggingface:{attention}"))
    assert module.name == inside.name == f"huggingface_{attention}"
    claimed = [[name for name, one in OPERATIONS.items() if made.claims(one)] for made in (module, inside)]
    assert claimed[0] == claimed[1] != []


def test_the_missing_extra_is_named(monkeypatch):
    """Without transformers the adapter does not load, and says which extra it needs."""
    for name in ("huggingface", "huggingface_eager"):
        monkeypatch.delitem(sys.modules, f"transpec.impls.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    made = load(find("huggingface_eager"))
    assert 'pip install "transpec[huggingface]"' in (made.load_error or "")


@pytest.mark.parametrize(("implementation", "fast"), [("torch_modules", False), ("torch_modules:native", True)])
def test_the_fast_path_of_torch_is_taken_by_native_alone(implementation, fast, calls):
    """nn.TransformerEncoderLayer takes its fast path for `native` and for nothing else; both are right."""
    fused = calls(torch, "_transformer_encoder_layer_fwd")
    assert is_right(implementation, OF_A_LAYER)
    assert bool(fused) == fast
