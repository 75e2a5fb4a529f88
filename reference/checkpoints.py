"""Checkpoints in Hugging Face's layout (safetensors and config.json), read into the reference's flat weights.

Nothing in a checkpoint is executed: safetensors holds numbers alone, and a pickled `.bin` is refused. Tensors are read one
by one, so that no more than one is held twice.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transpec.reference.albert import AlbertConfig
from transpec.reference.bert import BertConfig
from transpec.reference.gpt import GptConfig
from transpec.reference.t5 import T5Config

Weights = dict[str, Tensor]
Config = BertConfig | GptConfig | T5Config | AlbertConfig
Shapes = dict[str, tuple[int, ...]]
HEADS = ("pooler.", "mlm.", "nsp.", "sop.")  # which are not in every checkpoint


@dataclass(frozen=True)
class Checkpoint:
    """A model that was read: its operation's name, configuration, weights as stored, and names of what was left unread."""

    operation: str
    config: Config
    weights: Weights
    unread: tuple[str, ...] = ()

    def rungs(self) -> Iterator["Rung"]:
        """The model with none of its layers, with one, and so on, then each head whose weights it has."""
        kind = next(kind for kind in KINDS.values() if kind.operation == self.operation)
        for label, name, config in kind.ladder(self.config):
            shapes = {weight: shape for weight, shape in kind.shapes(config).items() if not weight.startswith(HEADS)}
            own = {weight: self.weights[weight] for weight in shapes}
            yield Rung(label, name, config, _of_encoder(own) if name == "t5_encoder" else own)
        trunk = {weight: value for weight, value in self.weights.items() if not weight.startswith(HEADS)}
        for name, parts in kind.heads.items():
            head = {weight: value for weight, value in self.weights.items() if weight.startswith(parts)}
            if all(any(weight.startswith(part) for weight in head) for part in parts):
                yield Rung(name, name, self.config, trunk | head)


@dataclass(frozen=True)
class Rung:
    """A part of a model that is one of its operations: the lowest layers, or all of them and a head."""

    label: str
    operation: str
    config: Config
    weights: Weights


def _of_encoder(weights: Weights) -> Weights:
    table = {"embedding.table": weights["embedding.table"]}
    return table | {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}


def load(folder: str | Path) -> Checkpoint:
    """Read `folder`, which holds config.json and model.safetensors (or its parts with their index).

    Raises ValueError where the model is none of BERT, GPT-2, T5 and ALBERT, is of a variant that the reference does not
    have, or where weights are missing or of other shapes than the configuration says; FileNotFoundError where the files
    are not there.
    """
    kind, config = _described(Path(folder))
    shapes = kind.shapes(config)
    weights: Weights = {}
    unread = []
    for name, tensor in _stream(Path(folder)):
        ours = dict(_renamed(name, tensor, kind))
        weights.update(ours)
        if not ours and not any(re.fullmatch(pattern, name) for pattern in kind.unused):
            unread.append(name)  # heads of one's own, most often
    _settle_head(weights, shapes, folder)
    missing = [name for name in shapes if name not in weights and not name.startswith(HEADS)]
    if missing:
        raise ValueError(f"{folder}: {len(missing)} weights are missing, {missing[0]} first")
    for name, value in weights.items():
        if value.shape != shapes[name]:
            raise ValueError(f"{folder}: {name} should have the shape {shapes[name]}, has {tuple(value.shape)}")
    return Checkpoint(kind.operation, config, weights, tuple(unread))


def _settle_head(weights: Weights, shapes: Shapes, folder: str | Path) -> None:
    """A T5 head that is not scaled may be the table all the same; one that is scaled has to be, and is not kept twice."""
    if "head" in shapes:
        weights.setdefault("head", weights["embedding.table"].mT)
    elif "head" in weights and not torch.equal(weights.pop("head"), weights["embedding.table"].mT):
        raise ValueError(
            f"{folder}: lm_head is scaled and is not the table of tokens, which the reference does not have"
        )


def _described(folder: Path) -> tuple["_Kind", Config]:
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no config.json: give the folder of a saved model")
    raw = json.loads(path.read_text(encoding="utf-8"))
    kind = KINDS.get(raw.get("model_type"))
    if kind is None:
        raise ValueError(f"{path}: model_type must be one of {', '.join(KINDS)}, got {raw.get('model_type')!r}")
    for name, only in kind.only.items():
        if raw.get(name, only) != only:
            raise ValueError(f"{path}: the reference has {name} = {only!r} alone, got {raw[name]!r}")
    try:
        config = kind.config(raw)
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]} is missing") from None
    return kind, config


def _stream(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor, one after the other, from all files of the checkpoint."""
    from safetensors import safe_open

    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        files = [whole]
    elif index.is_file():
        placed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = [folder / name for name in sorted(set(placed.values()))]
        if any(file.resolve().parent != folder.resolve() for file in files):
            raise ValueError(f"{index} leads out of its folder")
    else:
        pickled = next(folder.glob("*.bin"), None)
        hint = f"; {pickled.name} is a pickle, which can run code: save the model as safetensors" if pickled else ""
        raise FileNotFoundError(f"{folder} has neither model.safetensors nor its index{hint}")
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no dict
                yield name, opened.get_tensor(name)


# --- Names ------------------------------------------------------------------------------------------------------------

# What stands for a module, and what becomes of its tensors. `*` in our name stands for w or b.
LINEAR, CONV1D, NORM, TABLE, SAME = "linear", "conv1d", "norm", "table", "same"
ENDS = {"weight": "gain", "gamma": "gain", "bias": "bias", "beta": "bias"}  # of a norm; the oldest files have gamma


def _renamed(name: str, tensor: Tensor, kind: "_Kind") -> Iterator[tuple[str, Tensor]]:
    """Our names and tensors for one of theirs; nothing for what the reference does not have."""
    module, _, end = name.removeprefix(kind.prefix).rpartition(".")
    for pattern, (form, ours) in kind.modules.items():
        found = re.fullmatch(pattern, module)
        if found is None:
            continue
        ours = found.expand(ours)
        if form == NORM and end in ENDS:
            yield f"{ours}.{ENDS[end]}", tensor
        elif form in (LINEAR, CONV1D) and end in ("weight", "bias"):
            # A linear layer is stored (out, in), GPT-2's Conv1D (in, out) as ours.
            turned = tensor.mT if form == LINEAR and end == "weight" else tensor
            parts = ours.split("|")  # one matrix for queries, keys and values side by side
            for part, piece in zip(parts, turned.chunk(len(parts), -1), strict=True):
                yield part.replace("*", "w" if end == "weight" else "b"), piece
        elif form == TABLE and end == "weight":
            yield ours, tensor
        elif form == SAME:
            yield ours.replace("*", end), tensor
        return


@dataclass(frozen=True)
class _Kind:
    """How one kind of model is stored.

    `shapes` are those of all weights that a configuration asks for, `only` the settings of which the reference has one
    value alone, `modules` the names, `unused` what is stored and not needed, such as copies of tied weights. `ladder`
    names the operations that the lowest layers are, `heads` those that need more weights, by what these begin with.
    """

    operation: str
    prefix: str
    config: Callable[[Mapping[str, Any]], Any]
    shapes: Callable[[Any], Shapes]
    only: Mapping[str, Any]
    modules: Mapping[str, tuple[str, str]]
    unused: tuple[str, ...] = ()
    ladder: Callable[[Any], Iterator[tuple[str, str, Any]]] = field(kw_only=True)
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict, kw_only=True)


ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}


def _activation(name: str) -> str:
    if name not in ACTIVATIONS:
        raise ValueError(f"the activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.gain": (width,), f"{name}.bias": (width,)}


def _linear(name: str, read: int, made: int) -> Shapes:
    return {name.replace("*", "w"): (read, made), name.replace("*", "b"): (made,)}


def _layer(prefix: str, config: Any) -> Shapes:
    model, inner = config.d_model, config.d_ff
    shapes = _norm(f"{prefix}.self_attention_norm", model) | _norm(f"{prefix}.feed_forward_norm", model)
    shapes |= _linear(f"{prefix}.feed_forward.*_1", model, inner) | _linear(f"{prefix}.feed_forward.*_2", inner, model)
    for which in "qkvo":
        shapes |= _linear(f"{prefix}.self_attention.*_{which}", model, model)
    return shapes


def _layers(config: Any) -> Shapes:
    return {name: shape for i in range(config.num_layers) for name, shape in _layer(f"layers.{i}", config).items()}


def _embeddings(config: Any, width: int) -> Shapes:
    tables = {"token": config.vocab_size, "position": config.max_positions, "token_type": config.num_token_types}
    return {f"embeddings.{name}": (rows, width) for name, rows in tables.items()} | _norm("embeddings.norm", width)


def _heads(config: Any, width: int, pairs: str) -> Shapes:
    """Pooler, masked language model at the width of the embeddings, and the classifier of sentence pairs."""
    model = config.d_model
    shapes = _linear("pooler.*", model, model) | _linear("mlm.*", model, width) | _norm("mlm.norm", width)
    return shapes | {"mlm.output_bias": (config.vocab_size,)} | _linear(f"{pairs}.*", model, 2)


def _by_layers(operation: str) -> Callable[[Any], Iterator[tuple[str, str, Any]]]:
    def ladder(config: Any) -> Iterator[tuple[str, str, Any]]:
        for count in range(config.num_layers + 1):
            yield _layers_said(count), operation, replace(config, num_layers=count)

    return ladder


def _layers_said(count: int) -> str:
    return "embeddings" if count == 0 else "1 layer" if count == 1 else f"{count} layers"


# --- BERT -------------------------------------------------------------------------------------------------------------


def _bert_config(raw: Mapping[str, Any]) -> BertConfig:
    return BertConfig(
        vocab_size=raw["vocab_size"], d_model=raw["hidden_size"], d_ff=raw["intermediate_size"],
        num_heads=raw["num_attention_heads"], num_layers=raw["num_hidden_layers"],
        max_positions=raw["max_position_embeddings"], num_token_types=raw.get("type_vocab_size", 2),
        activation=_activation(raw.get("hidden_act", "gelu")), eps=raw.get("layer_norm_eps", 1e-12),
    )  # fmt: skip


_bert = _Kind(
    operation="bert",
    prefix="bert.",
    config=_bert_config,
    shapes=lambda config: _embeddings(config, config.d_model) | _layers(config) | _heads(config, config.d_model, "nsp"),
    only={"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False},
    modules={
        r"embeddings\.word_embeddings": (TABLE, "embeddings.token"),
        r"embeddings\.position_embeddings": (TABLE, "embeddings.position"),
        r"embeddings\.token_type_embeddings": (TABLE, "embeddings.token_type"),
        r"embeddings\.LayerNorm": (NORM, "embeddings.norm"),
        r"encoder\.layer\.(\d+)\.attention\.self\.(q|k|v)\w+": (LINEAR, r"layers.\1.self_attention.*_\2"),
        r"encoder\.layer\.(\d+)\.attention\.output\.dense": (LINEAR, r"layers.\1.self_attention.*_o"),
        r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm": (NORM, r"layers.\1.self_attention_norm"),
        r"encoder\.layer\.(\d+)\.intermediate\.dense": (LINEAR, r"layers.\1.feed_forward.*_1"),
        r"encoder\.layer\.(\d+)\.output\.dense": (LINEAR, r"layers.\1.feed_forward.*_2"),
        r"encoder\.layer\.(\d+)\.output\.LayerNorm": (NORM, r"layers.\1.feed_forward_norm"),
        r"pooler\.dense": (LINEAR, "pooler.*"),
        r"cls\.predictions\.transform\.dense": (LINEAR, "mlm.*"),
        r"cls\.predictions\.transform\.LayerNorm": (NORM, "mlm.norm"),
        r"cls\.predictions": (SAME, "mlm.output_*"),
        r"cls\.seq_relationship": (LINEAR, "nsp.*"),
    },
    unused=(r"(bert\.)?embeddings\.position_ids", r"cls\.predictions\.decoder\.(weight|bias)"),
    ladder=_by_layers("bert"),
    heads={"bert_pooled": ("pooler.",), "bert_mlm": ("mlm.",), "bert_nsp": ("pooler.", "nsp.")},
)

# --- GPT-2 ------------------------------------------------------------------------------------------------------------


def _gpt_config(raw: Mapping[str, Any]) -> GptConfig:
    return GptConfig(
        vocab_size=raw["vocab_size"], d_model=raw["n_embd"], d_ff=raw.get("n_inner") or 4 * raw["n_embd"],
        num_heads=raw["n_head"], num_layers=raw["n_layer"], max_positions=raw["n_positions"],
        activation=_activation(raw.get("activation_function", "gelu_new")), eps=raw.get("layer_norm_epsilon", 1e-5),
    )  # fmt: skip


_gpt = _Kind(
    operation="gpt",
    prefix="transformer.",
    config=_gpt_config,
    shapes=lambda config: {
        "embeddings.token": (config.vocab_size, config.d_model),
        "embeddings.position": (config.max_positions, config.d_model),
        **_layers(config), **_norm("final_norm", config.d_model),
    },
    only={
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
    modules={
        r"wte": (TABLE, "embeddings.token"),
        r"wpe": (TABLE, "embeddings.position"),
        r"h\.(\d+)\.attn\.c_attn": (CONV1D, "|".join(rf"layers.\1.self_attention.*_{which}" for which in "qkv")),
        r"h\.(\d+)\.attn\.c_proj": (CONV1D, r"layers.\1.self_attention.*_o"),
        r"h\.(\d+)\.ln_1": (NORM, r"layers.\1.self_attention_norm"),
        r"h\.(\d+)\.mlp\.c_fc": (CONV1D, r"layers.\1.feed_forward.*_1"),
        r"h\.(\d+)\.mlp\.c_proj": (CONV1D, r"layers.\1.feed_forward.*_2"),
        r"h\.(\d+)\.ln_2": (NORM, r"layers.\1.feed_forward_norm"),
        r"ln_f": (NORM, "final_norm"),
    },
    unused=(r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias", r"lm_head\.weight"),
    ladder=_by_layers("gpt"),
)  # fmt: skip

# --- T5 ---------------------------------------------------------------------------------------------------------------


def _t5_config(raw: Mapping[str, Any]) -> T5Config:
    activations = {"relu": "relu", "gated-gelu": "gated_gelu"}
    given = raw.get("feed_forward_proj", "relu")
    if given not in activations:
        raise ValueError(f"feed_forward_proj must be one of {', '.join(activations)}, got {given!r}")
    return T5Config(
        vocab_size=raw["vocab_size"], d_model=raw["d_model"], d_kv=raw["d_kv"], d_ff=raw["d_ff"],
        num_heads=raw["num_heads"], num_encoder_layers=raw["num_layers"],
        num_decoder_layers=raw["num_layers"] if raw.get("num_decoder_layers") is None else raw["num_decoder_layers"],
        num_buckets=raw.get("relative_attention_num_buckets", 32),
        max_distance=raw.get("relative_attention_max_distance", 128),
        activation=activations[given], tied=raw.get("scale_decoder_outputs", raw.get("tie_word_embeddings", True)),
        eps=raw.get("layer_norm_epsilon", 1e-6),
    )  # fmt: skip


def _shapes_of_t5(config: T5Config) -> Shapes:
    model, heads, inner = config.d_model, config.num_heads * config.d_kv, config.d_ff
    shapes: Shapes = {"embedding.table": (config.vocab_size, model)}
    shapes |= {} if config.tied else {"head": (model, config.vocab_size)}
    for stack, layers, attentions in (
        ("encoder", config.num_encoder_layers, ("self_attention",)),
        ("decoder", config.num_decoder_layers, ("self_attention", "cross_attention")),
    ):
        shapes[f"{stack}.final_norm.gain"] = (model,)
        shapes[f"{stack}.relative_bias"] = (config.num_buckets, config.num_heads)
        for i in range(layers):
            own: Shapes = {f"{each}_norm.gain": (model,) for each in (*attentions, "feed_forward")}
            own |= {f"{each}.w_{which}": (model, heads) for each in attentions for which in "qkv"}
            own |= {f"{each}.w_o": (heads, model) for each in attentions}
            own |= {"feed_forward.w_1": (model, inner), "feed_forward.w_2": (inner, model)}
            own |= {"feed_forward.w_gate": (model, inner)} if config.activation == "gated_gelu" else {}
            shapes |= {f"{stack}.layers.{i}.{name}": shape for name, shape in own.items()}
    return shapes


def _ladder_of_t5(config: T5Config) -> Iterator[tuple[str, str, T5Config]]:
    for count in range(config.num_encoder_layers + 1):
        yield f"encoder, {_layers_said(count)}", "t5_encoder", replace(config, num_encoder_layers=count)
    for count in range(config.num_decoder_layers + 1):
        yield f"decoder, {_layers_said(count)}", "t5", replace(config, num_decoder_layers=count)


_t5 = _Kind(
    operation="t5",
    prefix="",
    config=_t5_config,
    shapes=_shapes_of_t5,
    only={"is_decoder": False},
    modules={
        r"shared": (TABLE, "embedding.table"),
        r"(en|de)coder\.block\.(\d+)\.layer\.0\.SelfAttention\.(q|k|v|o)": (
            LINEAR, r"\1coder.layers.\2.self_attention.*_\3",
        ),
        r"decoder\.block\.(\d+)\.layer\.1\.EncDecAttention\.(q|k|v|o)": (
            LINEAR, r"decoder.layers.\1.cross_attention.*_\2",
        ),
        r"(en|de)coder\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias": (TABLE, r"\1coder.relative_bias"),
        r"(en|de)coder\.block\.(\d+)\.layer\.0\.layer_norm": (NORM, r"\1coder.layers.\2.self_attention_norm"),
        r"decoder\.block\.(\d+)\.layer\.1\.layer_norm": (NORM, r"decoder.layers.\1.cross_attention_norm"),
        r"(?:(en)coder\.block\.(\d+)\.layer\.1|(de)coder\.block\.(\d+)\.layer\.2)\.layer_norm": (
            NORM, r"\1\3coder.layers.\2\4.feed_forward_norm",
        ),
        r"(en|de)coder\.block\.(\d+)\.layer\.[12]\.DenseReluDense\.wi_0": (
            LINEAR, r"\1coder.layers.\2.feed_forward.*_gate",
        ),
        r"(en|de)coder\.block\.(\d+)\.layer\.[12]\.DenseReluDense\.wi(?:_1)?": (
            LINEAR, r"\1coder.layers.\2.feed_forward.*_1",
        ),
        r"(en|de)coder\.block\.(\d+)\.layer\.[12]\.DenseReluDense\.wo": (LINEAR, r"\1coder.layers.\2.feed_forward.*_2"),
        r"(en|de)coder\.final_layer_norm": (NORM, r"\1coder.final_norm"),
        r"lm_head": (LINEAR, "head"),
    },
    unused=(
        r"(en|de)coder\.embed_tokens\.weight",
        r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",  # in old files; never used
    ),
    ladder=_ladder_of_t5,
)  # fmt: skip

# --- ALBERT -----------------------------------------------------------------------------------------------------------


def _albert_config(raw: Mapping[str, Any]) -> AlbertConfig:
    return AlbertConfig(
        vocab_size=raw["vocab_size"], embedding_size=raw["embedding_size"], d_model=raw["hidden_size"],
        d_ff=raw["intermediate_size"], num_heads=raw["num_attention_heads"], num_layers=raw["num_hidden_layers"],
        max_positions=raw["max_position_embeddings"], num_token_types=raw.get("type_vocab_size", 2),
        activation=_activation(raw.get("hidden_act", "gelu_new")), eps=raw.get("layer_norm_eps", 1e-12),
    )  # fmt: skip


_ALBERT_LAYER = r"encoder\.albert_layer_groups\.0\.albert_layers\.0\."
_albert = _Kind(
    operation="albert",
    prefix="albert.",
    config=_albert_config,
    shapes=lambda config: (
        _embeddings(config, config.embedding_size)
        | _linear("projection.*", config.embedding_size, config.d_model)
        | _layer("layer", config)
        | _heads(config, config.embedding_size, "sop")
    ),
    only={"num_hidden_groups": 1, "inner_group_num": 1, "position_embedding_type": "absolute"},
    modules={
        r"embeddings\.word_embeddings": (TABLE, "embeddings.token"),
        r"embeddings\.position_embeddings": (TABLE, "embeddings.position"),
        r"embeddings\.token_type_embeddings": (TABLE, "embeddings.token_type"),
        r"embeddings\.LayerNorm": (NORM, "embeddings.norm"),
        r"encoder\.embedding_hidden_mapping_in": (LINEAR, "projection.*"),
        _ALBERT_LAYER + r"attention\.(q|k|v)\w+": (LINEAR, r"layer.self_attention.*_\1"),
        _ALBERT_LAYER + r"attention\.dense": (LINEAR, "layer.self_attention.*_o"),
        _ALBERT_LAYER + r"attention\.LayerNorm": (NORM, "layer.self_attention_norm"),
        _ALBERT_LAYER + r"ffn": (LINEAR, "layer.feed_forward.*_1"),
        _ALBERT_LAYER + r"ffn_output": (LINEAR, "layer.feed_forward.*_2"),
        _ALBERT_LAYER + r"full_layer_layer_norm": (NORM, "layer.feed_forward_norm"),
        r"pooler": (LINEAR, "pooler.*"),
        r"predictions\.dense": (LINEAR, "mlm.*"),
        r"predictions\.LayerNorm": (NORM, "mlm.norm"),
        r"predictions": (SAME, "mlm.output_*"),
        r"sop_classifier\.classifier": (LINEAR, "sop.*"),
    },
    unused=(r"(albert\.)?embeddings\.position_ids", r"predictions\.decoder\.(weight|bias)"),
    ladder=_by_layers("albert"),
    heads={"albert_pooled": ("pooler.",), "albert_mlm": ("mlm.",), "albert_sop": ("pooler.", "sop.")},
)

KINDS = {"bert": _bert, "gpt2": _gpt, "t5": _t5, "albert": _albert}
