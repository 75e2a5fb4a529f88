"""BERT, ALBERT, GPT-2 and T5 of Hugging Face transformers, with our weights loaded into them.

The object `eager` has attention written out in matrix products, `sdpa` has torch's fused attention; as implementations
they are also called huggingface_eager and huggingface_sdpa. A model is built once for a config, without numbers, and
called with the weights of a case by torch.func.functional_call. It is called as most programs call it.
"""

import functools
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

try:
    import transformers
    from transformers.models.t5.modeling_t5 import T5Attention, T5PreTrainedModel
    from transformers.pytorch_utils import Conv1D
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f'there is no {missing.name}; the extra "huggingface" brings it: pip install "transpec[huggingface]"'
    ) from missing

Weights = dict[str, Tensor]
Names = dict[str, str]

_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_new"}
_FEED_FORWARDS = {"relu": "relu", "gated_gelu": "gated-gelu"}

# --- Names: theirs, and ours for it -----------------------------------------------------------------------------------
# A name of a linear layer or a norm stands for all its tensors, `*` for w and b. A name that ends in .weight or .bias is a
# single tensor, which is taken over as it is.

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "embeddings.token",
    "embeddings.position_embeddings.weight": "embeddings.position",
    "embeddings.token_type_embeddings.weight": "embeddings.token_type",
    "embeddings.LayerNorm": "embeddings.norm",
}

_BERT_LAYER = {
    "attention.self.query": "self_attention.*_q",
    "attention.self.key": "self_attention.*_k",
    "attention.self.value": "self_attention.*_v",
    "attention.output.dense": "self_attention.*_o",
    "attention.output.LayerNorm": "self_attention_norm",
    "intermediate.dense": "feed_forward.*_1",
    "output.dense": "feed_forward.*_2",
    "output.LayerNorm": "feed_forward_norm",
}
_BERT_POOLER = {"pooler.dense": "pooler.*"}
_BERT_MLM = {
    "cls.predictions.transform.dense": "mlm.*",
    "cls.predictions.transform.LayerNorm": "mlm.norm",
    "cls.predictions.decoder.weight": "embeddings.token",
    "cls.predictions.decoder.bias": "mlm.output_bias",
    "cls.predictions.bias": "mlm.output_bias",
}
_BERT_NSP = {"cls.seq_relationship": "nsp.*"}

_ALBERT_LAYER = {
    "attention.query": "self_attention.*_q",
    "attention.key": "self_attention.*_k",
    "attention.value": "self_attention.*_v",
    "attention.dense": "self_attention.*_o",
    "attention.LayerNorm": "self_attention_norm",
    "ffn": "feed_forward.*_1",
    "ffn_output": "feed_forward.*_2",
    "full_layer_layer_norm": "feed_forward_norm",
}
_ALBERT_POOLER = {"pooler": "pooler.*"}
_ALBERT_MLM = {
    "predictions.dense": "mlm.*",
    "predictions.LayerNorm": "mlm.norm",
    "predictions.decoder.weight": "embeddings.token",
    "predictions.decoder.bias": "mlm.output_bias",
    "predictions.bias": "mlm.output_bias",
}
_ALBERT_SOP = {"sop_classifier.classifier": "sop.*"}

_GPT = {
    "transformer.wte.weight": "embeddings.token",
    "transformer.wpe.weight": "embeddings.position",
    "transformer.ln_f": "final_norm",
    "lm_head.weight": "embeddings.token",
}
_GPT_LAYER = {
    "attn.c_attn": "self_attention.*_q self_attention.*_k self_attention.*_v",  # one matrix, side by side
    "attn.c_proj": "self_attention.*_o",
    "ln_1": "self_attention_norm",
    "mlp.c_fc": "feed_forward.*_1",
    "mlp.c_proj": "feed_forward.*_2",
    "ln_2": "feed_forward_norm",
}

_T5_STACK = {"embed_tokens.weight": "embedding.table", "final_layer_norm": "final_norm"}
_T5_BIAS = {"block.0.layer.0.SelfAttention.relative_attention_bias.weight": "relative_bias"}
_T5_ATTENTION = {"q": "*_q", "k": "*_k", "v": "*_v", "o": "*_o"}
_T5_FEED_FORWARD = {
    "relu": {"wi": "feed_forward.*_1", "wo": "feed_forward.*_2"},
    "gated_gelu": {"wi_0": "feed_forward.*_gate", "wi_1": "feed_forward.*_1", "wo": "feed_forward.*_2"},
}


def _bert_names(config: Any) -> Names:
    return _EMBEDDINGS | _layers(config.num_layers, "encoder.layer", _BERT_LAYER)


def _albert_names() -> Names:
    layer = _within("encoder.albert_layer_groups.0.albert_layers.0", _ALBERT_LAYER, "layer")
    return _EMBEDDINGS | {"encoder.embedding_hidden_mapping_in": "projection.*"} | layer


def _gpt_names(config: Any) -> Names:
    return _GPT | _layers(config.num_layers, "transformer.h", _GPT_LAYER)


def _t5_names(config: Any, *, decoder: bool) -> Names:
    """Of one of the two stacks."""
    count = config.num_decoder_layers if decoder else config.num_encoder_layers
    attend = _within("layer.0.SelfAttention", _T5_ATTENTION, "self_attention")
    layer = attend | {"layer.0.layer_norm": "self_attention_norm"}
    if decoder:
        layer |= _within("layer.1.EncDecAttention", _T5_ATTENTION, "cross_attention")
        layer |= {"layer.1.layer_norm": "cross_attention_norm"}
    last = f"layer.{1 + decoder}"
    layer |= _within(f"{last}.DenseReluDense", _T5_FEED_FORWARD[config.activation])
    layer |= {f"{last}.layer_norm": "feed_forward_norm"}
    return _T5_STACK | (_T5_BIAS if count else {}) | _layers(count, "block", layer)


def _within(theirs: str, names: Names, ours: str = "") -> Names:
    """The names inside of something, which they begin with."""
    own = f"{ours}." if ours else ""
    return {f"{theirs}.{name}": " ".join(own + one for one in names[name].split()) for name in names}


def _layers(count: int, theirs: str, names: Names) -> Names:
    layers = (_within(f"{theirs}.{i}", names, f"layers.{i}") for i in range(count))
    return {name: ours for layer in layers for name, ours in layer.items()}


# --- Weights and calls ------------------------------------------------------------------------------------------------


def _call(model: nn.Module, names: Names, weights: Weights, buffers: Weights | None = None, **inputs: Any) -> Any:
    """The model's result with our weights in it. A tensor that is not named raises, and so does one that is not there."""
    state = dict(buffers or {})
    for name, ours in names.items():
        if name.endswith((".weight", ".bias")):
            state[name] = weights[ours]
        else:
            state |= {f"{name}.{own}": tensor for own, tensor in _loaded(model.get_submodule(name), ours, weights)}
    return functional_call(model, state, (), inputs, tie_weights=False, strict=True)


def _loaded(module: nn.Module, ours: str, weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a norm, of a linear layer, or of several linear layers in one."""
    for name, parameter in module.named_parameters():
        matrix = name == "weight"
        if not isinstance(module, nn.Linear | Conv1D):
            yield name, weights[f"{ours}.gain" if matrix else f"{ours}.bias"]
            continue
        parts = [
            _weight(one.replace("*", "w" if matrix else "b"), weights, len(parameter) // len(ours.split()))
            for one in ours.split()
        ]
        tensor = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
        yield name, tensor.mT if matrix and isinstance(module, nn.Linear) else tensor  # Conv1D is (in, out), as ours


def _weight(name: str, weights: Weights, width: int) -> Tensor:
    """A weight; zeros for a bias of attention that is missing, which theirs cannot be."""
    if name not in weights and re.search(r"\bb_[qkvo]$", name):
        return next(iter(weights.values())).new_zeros(width)
    return weights[name]


def _numbers(mask: Tensor | None) -> Tensor | None:
    """A mask as tokenizers make it: 1 at tokens and 0 at padding."""
    return None if mask is None else mask.long()


def _positions(config: Any, prefix: str = "") -> Weights:
    """What BERT and ALBERT keep beside their weights."""
    places = torch.arange(config.max_positions).unsqueeze(0)
    return {f"{prefix}embeddings.position_ids": places, f"{prefix}embeddings.token_type_ids": torch.zeros_like(places)}


# --- Models without numbers -------------------------------------------------------------------------------------------


def _also(attention: str, **settings: Any) -> dict[str, Any]:
    """Settings that all configs have. No token is special: theirs have numbers, and a padding token gets no gradient."""
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    return {"attn_implementation": attention, **tokens, **settings}


@functools.lru_cache(maxsize=256)
def _bert(operation: str, config: Any, attention: str) -> nn.Module:
    theirs = transformers.BertConfig(
        vocab_size=config.vocab_size, hidden_size=config.d_model, intermediate_size=config.d_ff,
        num_attention_heads=config.num_heads, num_hidden_layers=config.num_layers,
        max_position_embeddings=config.max_positions, type_vocab_size=config.num_token_types,
        hidden_act=_ACTIVATIONS[config.activation], layer_norm_eps=config.eps,
        **_also(attention),
    )  # fmt: skip
    with torch.device("meta"):
        if operation in ("bert", "bert_pooled"):
            return transformers.BertModel(theirs, add_pooling_layer=operation == "bert_pooled").eval()
        if operation == "bert_mlm":
            return transformers.BertForMaskedLM(theirs).eval()
        return transformers.BertForNextSentencePrediction(theirs).eval()


@functools.lru_cache(maxsize=256)
def _albert(operation: str, config: Any, attention: str) -> nn.Module:
    theirs = transformers.AlbertConfig(
        vocab_size=config.vocab_size, embedding_size=config.embedding_size, hidden_size=config.d_model,
        intermediate_size=config.d_ff, num_attention_heads=config.num_heads, num_hidden_layers=config.num_layers,
        max_position_embeddings=config.max_positions, type_vocab_size=config.num_token_types,
        hidden_act=_ACTIVATIONS[config.activation], layer_norm_eps=config.eps,
        **_also(attention),
    )  # fmt: skip
    with torch.device("meta"):
        if operation in ("albert", "albert_pooled"):
            return transformers.AlbertModel(theirs, add_pooling_layer=operation == "albert_pooled").eval()
        if operation == "albert_mlm":
            return transformers.AlbertForMaskedLM(theirs).eval()
        return transformers.AlbertForPreTraining(theirs).eval()


@functools.lru_cache(maxsize=256)
def _gpt(config: Any, attention: str) -> nn.Module:
    if not config.norm_first:
        raise NotImplementedError("GPT2LMHeadModel is pre-norm")
    theirs = transformers.GPT2Config(
        vocab_size=config.vocab_size, n_embd=config.d_model, n_inner=config.d_ff, n_head=config.num_heads,
        n_layer=config.num_layers, n_positions=config.max_positions,
        activation_function=_ACTIVATIONS[config.activation], layer_norm_epsilon=config.eps,
        **_also(attention),
    )  # fmt: skip
    with torch.device("meta"):
        return transformers.GPT2LMHeadModel(theirs).eval()


@functools.lru_cache(maxsize=256)
def _t5(config: Any, attention: str) -> nn.Module:
    theirs = transformers.T5Config(
        vocab_size=config.vocab_size, d_model=config.d_model, d_kv=config.d_kv, d_ff=config.d_ff,
        num_heads=config.num_heads, num_layers=config.num_encoder_layers, num_decoder_layers=config.num_decoder_layers,
        relative_attention_num_buckets=config.num_buckets, relative_attention_max_distance=config.max_distance,
        feed_forward_proj=_FEED_FORWARDS[config.activation], layer_norm_epsilon=config.eps,
        **_also(attention, tie_word_embeddings=config.tied),
    )  # fmt: skip
    with torch.device("meta"):
        return transformers.T5ForConditionalGeneration(theirs).eval()


@functools.lru_cache(maxsize=256)
def _t5_attention(model: int, inner: int, num_heads: int, attention: str) -> nn.Module:
    theirs = transformers.T5Config(
        d_model=model, d_kv=inner // num_heads, num_heads=num_heads, **_also(attention)
    )  # fmt: skip
    with torch.device("meta"):
        return T5Attention(theirs).eval()


# --- Operations -------------------------------------------------------------------------------------------------------


class HuggingFace:
    """The models, with one of the ways in which transformers computes attention."""

    VERSION = transformers.__version__
    HOMEPAGE = "https://github.com/huggingface/transformers"
    FRAMEWORK = "torch"
    DTYPES = ("float64", "float32", "bfloat16")
    # T5Attention reads keys and values from one tensor, and gradients of the two cannot be told apart in it.
    DIFFERENTIABLE = (
        "bert", "bert_pooled", "bert_mlm", "bert_nsp", "albert", "albert_pooled", "albert_mlm", "albert_sop",
        "gpt", "gpt_cached", "t5", "t5_encoder", "t5_decoder",
    )  # fmt: skip
    # T5LayerNorm takes the variance in float32, whatever the dtype.
    COMPUTE_DTYPE: ClassVar = dict.fromkeys(("t5", "t5_encoder", "t5_decoder"), "float32")

    def __init__(self, attention: str) -> None:
        self.NAME = f"huggingface_{attention}"
        self.attention = attention

    # Options of BERT and ALBERT: token_type_ids, attention_mask and position_ids, each (B, T) or None.

    def bert(self, token_ids: Tensor, weights: Weights, config: Any, **options: Tensor | None) -> Tensor:
        """BertModel without its pooler; token_ids (B, T), gives (B, T, M)."""
        model = _bert("bert", config, self.attention)
        return _call(
            model, _bert_names(config), weights, _positions(config), **_inputs(token_ids, **options)
        ).last_hidden_state

    def bert_pooled(self, token_ids: Tensor, weights: Weights, config: Any, **options: Tensor | None) -> Tensor:
        """BertModel; gives (B, M)."""
        model, names = _bert("bert_pooled", config, self.attention), _bert_names(config) | _BERT_POOLER
        return _call(model, names, weights, _positions(config), **_inputs(token_ids, **options)).pooler_output

    def bert_mlm(self, token_ids: Tensor, weights: Weights, config: Any, **options: Tensor | None) -> Tensor:
        """BertForMaskedLM; gives (B, T, V)."""
        model, names = _bert("bert_mlm", config, self.attention), _within("bert", _bert_names(config)) | _BERT_MLM
        return _call(model, names, weights, _positions(config, "bert."), **_inputs(token_ids, **options)).logits

    def bert_nsp(self, token_ids: Tensor, weights: Weights, config: Any, **options: Tensor | None) -> Tensor:
        """BertForNextSentencePrediction; gives (B, 2)."""
        names = _within("bert", _bert_names(config) | _BERT_POOLER) | _BERT_NSP
        model = _bert("bert_nsp", config, self.attention)
        return _call(model, names, weights, _positions(config, "bert."), **_inputs(token_ids, **options)).logits

    def albert(self, token_ids: Tensor, weights: Weights, config: Any, **options: Tensor | None) -> Tensor:
        """AlbertModel without its pooler; token_ids (B, T), gives (B, T, M)."""
        model = _albert("albert", config, self.attention)
        return _call(
            model, _albert_names(), weights, _positions(config), **_inputs(token_ids, **options)
        ).last_hidden_state

    def albert_pooled(self, token_ids: Tensor, weights: Weights, config: Any, **options: Tensor | None) -> Tensor:
        """AlbertModel; gives (B, M)."""
        model, names = _albert("albert_pooled", config, self.attention), _albert_names() | _ALBERT_POOLER
        return _call(model, names, weights, _positions(config), **_inputs(token_ids, **options)).pooler_output

    def albert_mlm(self, token_ids: Tensor, weights: Weights, config: Any, **options: Tensor | None) -> Tensor:
        """AlbertForMaskedLM; gives (B, T, V)."""
        model, names = _albert("albert_mlm", config, self.attention), _within("albert", _albert_names()) | _ALBERT_MLM
        return _call(model, names, weights, _positions(config, "albert."), **_inputs(token_ids, **options)).logits

    def albert_sop(self, token_ids: Tensor, weights: Weights, config: Any, **options: Tensor | None) -> Tensor:
        """AlbertForPreTraining, the logits of the order; gives (B, 2)."""
        model = _albert("albert_sop", config, self.attention)
        names = _within("albert", _albert_names() | _ALBERT_POOLER) | _ALBERT_MLM | _ALBERT_SOP
        own = _without_mlm(weights, config)
        return _call(model, names, own, _positions(config, "albert."), **_inputs(token_ids, **options)).sop_logits

    def gpt(
        self, token_ids: Tensor, weights: Weights, config: Any, *,
        attention_mask: Tensor | None = None, position_ids: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """GPT2LMHeadModel; token_ids (B, T), gives (B, T, V)."""
        inputs = _inputs(token_ids, attention_mask=attention_mask, position_ids=position_ids)
        return _call(_gpt(config, self.attention), _gpt_names(config), weights, **inputs).logits

    def gpt_cached(
        self, token_ids: Tensor, weights: Weights, config: Any, *, steps: tuple[int, ...],
        attention_mask: Tensor | None = None, position_ids: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """GPT2LMHeadModel with a DynamicCache that it fills, one call for each piece; gives (B, T, V)."""
        if sum(steps) != token_ids.shape[-1] or min(steps, default=0) < 1:
            raise ValueError(f"steps must be positive and add up to {token_ids.shape[-1]} tokens, got {steps}")
        model, names = _gpt(config, self.attention), _gpt_names(config)
        if not config.num_layers:
            raise NotImplementedError("a DynamicCache of no layers does not count the tokens that it has seen")
        cache = transformers.DynamicCache(config=model.config)
        logits, start = [], 0
        for step in steps:
            stop = start + step
            inputs = _inputs(
                token_ids[:, start:stop],
                attention_mask=None if attention_mask is None else attention_mask[:, :stop],  # of all keys so far
                position_ids=None if position_ids is None else position_ids[:, start:stop],
            )
            logits.append(_call(model, names, weights, **inputs, past_key_values=cache, use_cache=True).logits)
            start = stop
        return torch.cat(logits, -2)

    def t5(
        self, source_ids: Tensor, target_ids: Tensor, weights: Weights, config: Any, *,
        attention_mask: Tensor | None = None, decoder_attention_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """T5ForConditionalGeneration; source_ids (B, S), target_ids (B, T), gives (B, T, V)."""
        stacks = {"encoder": _t5_names(config, decoder=False), "decoder": _t5_names(config, decoder=True)}
        names = {"shared.weight": "embedding.table"}
        for stack, own in stacks.items():
            names |= _within(stack, own, stack) | {f"{stack}.embed_tokens.weight": "embedding.table"}
        names |= {"lm_head.weight": "embedding.table"} if config.tied else {"lm_head": "head"}
        return _call(
            _t5(config, self.attention), names, weights, input_ids=source_ids, decoder_input_ids=target_ids,
            attention_mask=_numbers(attention_mask), decoder_attention_mask=_numbers(decoder_attention_mask),
        ).logits  # fmt: skip

    def t5_encoder(
        self, token_ids: Tensor, weights: Weights, config: Any, *, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The encoder of T5ForConditionalGeneration; token_ids (B, S), gives (B, S, M)."""
        model = _t5(config, self.attention).get_submodule("encoder")
        inputs = _inputs(token_ids, attention_mask=attention_mask)
        return _call(model, _t5_names(config, decoder=False), weights, **inputs).last_hidden_state

    def t5_decoder(
        self, token_ids: Tensor, memory: Tensor, weights: Weights, config: Any, *,
        attention_mask: Tensor | None = None, decoder_attention_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The decoder of T5ForConditionalGeneration; token_ids (B, T), memory (B, S, M), gives (B, T, M)."""
        model = _t5(config, self.attention).get_submodule("decoder")
        inputs = _inputs(token_ids, attention_mask=decoder_attention_mask)
        return _call(
            model, _t5_names(config, decoder=True), weights, **inputs,
            encoder_hidden_states=memory, encoder_attention_mask=_numbers(attention_mask),
        ).last_hidden_state  # fmt: skip

    def t5_attention(
        self, query: Tensor, key: Tensor, value: Tensor, weights: Weights, *, num_heads: int,
        bias: Tensor | None = None, mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """T5Attention, given its bias as every layer but the first is; query (B, T, M), key and value (B, S, M)."""
        if key is not value and (not torch.equal(key, value) or key.requires_grad or value.requires_grad):
            raise NotImplementedError("T5Attention reads keys and values from one tensor")
        model, inner = weights["w_q"].shape
        if inner % num_heads:
            raise ValueError(f"num_heads must divide the columns of w_q, got {num_heads} heads and {inner} columns")
        module = _t5_attention(model, inner, num_heads, self.attention)
        if mask is not None:
            mask = mask.expand(len(query), query.shape[1], key.shape[1]).unsqueeze(1)
            if self.attention == "eager":  # which adds its mask
                lowest = torch.finfo(query.dtype).min
                mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, lowest)
        bias = None if bias is None else bias.unsqueeze(0)
        output: Tensor = _call(
            module, _T5_ATTENTION, weights, hidden_states=query, key_value_states=key, position_bias=bias, mask=mask
        )[0]
        return output

    def relative_position_bucket(
        self, relative_position: Tensor, *, bidirectional: bool, num_buckets: int, max_distance: int
    ) -> Tensor:
        """T5Attention._relative_position_bucket."""
        return T5Attention._relative_position_bucket(relative_position, bidirectional, num_buckets, max_distance)

    def shift_right(self, labels: Tensor, *, start_id: int, pad_id: int) -> Tensor:
        """T5PreTrainedModel._shift_right, which reads nothing of a model but these two settings."""
        model = SimpleNamespace(config=SimpleNamespace(decoder_start_token_id=start_id, pad_token_id=pad_id))
        return T5PreTrainedModel._shift_right(model, labels)


def _inputs(token_ids: Tensor, **options: Tensor | None) -> dict[str, Tensor | None]:
    return {"input_ids": token_ids, **options, "attention_mask": _numbers(options.get("attention_mask"))}


def _without_mlm(weights: Weights, config: Any) -> Weights:
    """Our weights, and zeros for the head that nobody asked."""
    width, some = config.embedding_size, weights["projection.w"]
    shapes = {"mlm.w": (config.d_model, width), "mlm.output_bias": (config.vocab_size,)}
    shapes |= dict.fromkeys(("mlm.b", "mlm.norm.gain", "mlm.norm.bias"), (width,))
    return {name: some.new_zeros(shape) for name, shape in shapes.items()} | weights


eager = HuggingFace("eager")
sdpa = HuggingFace("sdpa")
