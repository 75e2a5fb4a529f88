"""The modules of torch.nn that are operations, with our weights loaded into them.

`multi_head_attention` is nn.MultiheadAttention as most programs call it, with need_weights=False, and layers and stacks
are run as they are in training. Three objects hold them to other ways: `with_weights` returns the weights too and takes
another path for that; `native` is the fast path that torch takes for self-attention and for encoders where no gradient is
asked for; `stock` is nn.Transformer with the stacks that it makes itself.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

NAME = "torch_modules"
VERSION = torch.__version__
HOMEPAGE = "https://pytorch.org"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32", "float16", "bfloat16")
DIFFERENTIABLE = True
CHOICES = {"attention.empty-row": "zero"}

Weights = dict[str, Tensor]
Layer = TypeVar("Layer", nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, weights: Weights, *, num_heads: int, mask: Tensor | None = None
) -> Tensor:
    """nn.MultiheadAttention; query (B, T, M), key (B, S, any), value (B, S, any), mask broadcastable to (B, T, S)."""
    return _attend(query, key, value, weights, num_heads, mask, need_weights=False)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Weights,
    num_heads: int,
    mask: Tensor | None,
    need_weights: bool,
) -> Tensor:
    width = weights["w_q"].shape[1]
    module = nn.MultiheadAttention(
        width, num_heads, kdim=key.shape[-1], vdim=value.shape[-1], batch_first=True, device="meta"
    ).eval()
    options = {"attn_mask": _hidden(mask, query, key, num_heads), "need_weights": need_weights}
    output: Tensor
    output, _ = functional_call(module, _state(module, weights), (query, key, value), options)
    return output


def _hidden(mask: Tensor | None, query: Tensor, key: Tensor, num_heads: int) -> Tensor | None:
    """The mask of attention: here True hides, and three axes are (batch * heads, queries, keys)."""
    if mask is None:
        return None
    return ~mask.expand(len(query), query.shape[1], key.shape[1]).repeat_interleave(num_heads, dim=0)


def _state(module: nn.MultiheadAttention, weights: Weights) -> Weights:
    """Our weights under the module's names; its matrices are (out, in)."""
    w_q, w_k, w_v, w_o = (weights[f"w_{name}"].mT for name in "qkvo")
    if not w_q.shape[1] == len(w_q) == len(w_o):
        raise NotImplementedError("nn.MultiheadAttention needs heads that together are as wide as the model")
    if len(w_v) != len(w_q):
        raise NotImplementedError("nn.MultiheadAttention needs d_v = d_k")
    b_q, b_k, b_v, b_o = (
        weights.get(f"b_{name}", w.new_zeros(len(w))) for name, w in zip("qkvo", (w_q, w_k, w_v, w_o), strict=True)
    )
    state = {"in_proj_bias": torch.cat([b_q, b_k, b_v]), "out_proj.weight": w_o, "out_proj.bias": b_o}
    if module.in_proj_weight is not None:  # the inputs are equally wide
        return state | {"in_proj_weight": torch.cat([w_q, w_k, w_v])}
    return state | {"q_proj_weight": w_q, "k_proj_weight": w_k, "v_proj_weight": w_v}


def layer_norm(x: Tensor, weights: Weights, *, eps: float) -> Tensor:
    """nn.LayerNorm; x (..., M)."""
    module = nn.LayerNorm(weights["gain"].shape, eps=eps, device="meta")
    output: Tensor = functional_call(module, {"weight": weights["gain"], "bias": weights["bias"]}, x)
    return output


def rms_norm(x: Tensor, weights: Weights, *, eps: float) -> Tensor:
    """nn.RMSNorm; x (..., M)."""
    module = nn.RMSNorm(weights["gain"].shape, eps=eps, device="meta")
    output: Tensor = functional_call(module, {"weight": weights["gain"]}, x)
    return output


def add_norm(x: Tensor, sublayer_output: Tensor, weights: Weights, *, eps: float) -> Tensor:
    """nn.LayerNorm of the sum; x and sublayer_output (..., M)."""
    return layer_norm(x + sublayer_output, weights, eps=eps)


# --- Layers -----------------------------------------------------------------------------------------------------------

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": functools.partial(functional.gelu, approximate="tanh"),
}
# Theirs and ours.
_ENCODER_LAYER = {
    "self_attn": "self_attention",
    "norm1": "self_attention_norm",
    "linear1": "feed_forward.*_1",
    "linear2": "feed_forward.*_2",
    "norm2": "feed_forward_norm",
}
_DECODER_LAYER = _ENCODER_LAYER | {
    "multihead_attn": "cross_attention",
    "norm2": "cross_attention_norm",
    "norm3": "feed_forward_norm",
}


def encoder_layer(
    x: Tensor, weights: Weights, *, num_heads: int, activation: str, eps: float,
    mask: Tensor | None = None, norm_first: bool = False,
) -> Tensor:  # fmt: skip
    """nn.TransformerEncoderLayer; x (B, T, M), mask broadcastable to (B, T, T)."""
    layer = _layer(nn.TransformerEncoderLayer, *_sizes(weights), num_heads, activation, eps, norm_first)
    return _encode(layer, x, weights, _hidden(mask, x, x, num_heads))


def _encode(layer: nn.Module, x: Tensor, weights: Weights, hidden: Tensor | None) -> Tensor:
    output: Tensor = functional_call(layer, _layer_state(layer, weights), (x,), {"src_mask": hidden})
    return output


def decoder_layer(
    x: Tensor, memory: Tensor, weights: Weights, *, num_heads: int, activation: str, eps: float,
    self_mask: Tensor | None = None, memory_mask: Tensor | None = None, norm_first: bool = False,
) -> Tensor:  # fmt: skip
    """nn.TransformerDecoderLayer; x (B, T, M), memory (B, S, M), masks broadcastable to (B, T, T) and (B, T, S)."""
    _check_memory(memory, x)
    layer = _layer(nn.TransformerDecoderLayer, *_sizes(weights), num_heads, activation, eps, norm_first)
    masks = {
        "tgt_mask": _hidden(self_mask, x, x, num_heads),
        "memory_mask": _hidden(memory_mask, x, memory, num_heads),
    }
    output: Tensor = functional_call(layer, _layer_state(layer, weights), (x, memory), masks)
    return output


def _check_memory(memory: Tensor, x: Tensor) -> None:
    if memory.shape[-1] != x.shape[-1]:
        raise NotImplementedError("nn.TransformerDecoderLayer needs a memory as wide as the model")


def _sizes(weights: Weights) -> tuple[int, int]:
    width, inner = weights["feed_forward.w_1"].shape
    return width, inner


def _layer(
    kind: type[Layer], width: int, inner: int, num_heads: int, activation: str, eps: float, norm_first: bool
) -> Layer:
    """A layer without numbers as it is in training, when there is no fast path; without dropout."""
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}: got {activation!r}")
    return kind(
        width, num_heads, inner, dropout=0.0, activation=_ACTIVATIONS[activation], layer_norm_eps=eps,
        batch_first=True, norm_first=norm_first, device="meta",
    )  # fmt: skip


def _layer_state(layer: nn.Module, weights: Weights) -> Weights:
    """Our weights under the names of a layer."""
    state: Weights = {}
    names = _ENCODER_LAYER if isinstance(layer, nn.TransformerEncoderLayer) else _DECODER_LAYER
    for theirs, ours in names.items():
        module = layer.get_submodule(theirs)
        if isinstance(module, nn.MultiheadAttention):
            own = _state(module, _part(weights, ours))
        elif isinstance(module, nn.Linear):
            own = {"weight": weights[ours.replace("*", "w")].mT, "bias": weights[ours.replace("*", "b")]}
        else:
            own = {"weight": weights[f"{ours}.gain"], "bias": weights[f"{ours}.bias"]}
        state |= _under(theirs, own)
    return state


def _part(weights: Weights, name: str) -> Weights:
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def _under(name: str, state: Weights) -> Weights:
    return {f"{name}.{key}": value for key, value in state.items()}


# --- Stacks -----------------------------------------------------------------------------------------------------------


def encoder(token_ids: Tensor, weights: Weights, config: Any, *, source_mask: Tensor | None = None) -> Tensor:
    """nn.TransformerEncoder after an embedding; token_ids and source_mask (B, S), gives (B, S, M)."""
    return _run_encoder(_encoder(config), token_ids, weights, source_mask)


def _run_encoder(
    stack: nn.TransformerEncoder, token_ids: Tensor, weights: Weights, source_mask: Tensor | None
) -> Tensor:
    x, padding = _embedded(token_ids, weights), _inverse(source_mask)
    output: Tensor = functional_call(stack, _stack_state(stack, weights), (x,), {"src_key_padding_mask": padding})
    return output


def decoder(
    token_ids: Tensor, memory: Tensor, weights: Weights, config: Any, *,
    target_mask: Tensor | None = None, source_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """nn.TransformerDecoder after an embedding; token_ids and target_mask (B, T), source_mask (B, S), gives (B, T, M)."""
    x = _embedded(token_ids, weights)
    _check_memory(memory, x)
    stack, masks = _decoder(config), _masks(token_ids, target_mask, source_mask)
    output: Tensor = functional_call(stack, _stack_state(stack, weights), (x, memory), masks)
    return output


def transformer(
    source_ids: Tensor, target_ids: Tensor, weights: Weights, config: Any, *,
    source_mask: Tensor | None = None, target_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """nn.Transformer of the stacks above, for its own end in a norm even after post-norm layers; gives (B, T, V)."""
    module = nn.Transformer(
        config.d_model, config.num_heads, batch_first=True,
        custom_encoder=_encoder(config), custom_decoder=_decoder(config), device="meta",
    )  # fmt: skip
    return _run_transformer(module, source_ids, target_ids, weights, source_mask, target_mask)


def _run_transformer(
    module: nn.Transformer, source_ids: Tensor, target_ids: Tensor, weights: Weights,
    source_mask: Tensor | None, target_mask: Tensor | None,
) -> Tensor:  # fmt: skip
    inputs = _embedded(source_ids, weights), _embedded(target_ids, weights)
    state = {
        name: tensor
        for stack in ("encoder", "decoder")
        for name, tensor in _under(stack, _stack_state(module.get_submodule(stack), _part(weights, stack))).items()
    }
    masks = {"src_key_padding_mask": _inverse(source_mask), **_masks(target_ids, target_mask, source_mask)}
    return functional.linear(functional_call(module, state, inputs, masks), weights["embedding.table"])


def _embedded(token_ids: Tensor, weights: Weights) -> Tensor:
    """nn.Embedding, scaled, and sinusoidal positions, which torch does not have."""
    table = weights["embedding.table"]
    length, width = token_ids.shape[-1], table.shape[1]
    embedded: Tensor = functional_call(nn.Embedding(len(table), width, device="meta"), {"weight": table}, (token_ids,))
    place = torch.arange(length, dtype=torch.float64).unsqueeze(-1)
    angle = place / 10000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    positions = torch.stack((angle.sin(), angle.cos()), -1).flatten(-2)[:, :width]
    return embedded * math.sqrt(width) + positions.to(table.dtype)


def _inverse(mask: Tensor | None) -> Tensor | None:
    """True at padding."""
    return None if mask is None else ~mask


def _masks(target_ids: Tensor, target_mask: Tensor | None, source_mask: Tensor | None) -> dict[str, Tensor | None]:
    """What a decoder is to hide: what lies ahead, padding of the target, padding of the source."""
    length = target_ids.shape[-1]
    return {
        "tgt_mask": torch.ones(length, length, dtype=torch.bool).triu(1),
        "tgt_key_padding_mask": _inverse(target_mask),
        "memory_key_padding_mask": _inverse(source_mask),
    }


def _encoder(config: Any, *, nested: bool = False) -> nn.TransformerEncoder:
    if not config.num_encoder_layers:
        raise NotImplementedError("nn.TransformerEncoder needs a layer")
    layer, norm = _layer_and_norm(nn.TransformerEncoderLayer, config)
    return nn.TransformerEncoder(layer, config.num_encoder_layers, norm, enable_nested_tensor=nested)


def _decoder(config: Any) -> nn.TransformerDecoder:
    if not config.num_decoder_layers:
        raise NotImplementedError("nn.TransformerDecoder needs a layer")
    layer, norm = _layer_and_norm(nn.TransformerDecoderLayer, config)
    return nn.TransformerDecoder(layer, config.num_decoder_layers, norm)


def _layer_and_norm(kind: type[Layer], config: Any) -> tuple[Layer, nn.LayerNorm | None]:
    """A layer, and the norm after the last of them, if there is to be one."""
    layer = _layer(
        kind, config.d_model, config.d_ff, config.num_heads, config.activation, config.eps, config.norm_first
    )
    return layer, nn.LayerNorm(config.d_model, eps=config.eps, device="meta") if config.norm_first else None


def _stack_state(stack: nn.Module, weights: Weights) -> Weights:
    """Our weights under the names of a stack. A last norm that we do not have is as torch makes it, ones and zeros."""
    state: Weights = {}
    for name, module in stack.named_children():
        if name == "layers":
            for i, layer in enumerate(module.children()):
                state |= _under(f"layers.{i}", _layer_state(layer, _part(weights, f"layers.{i}")))
        else:
            some = weights["layers.0.feed_forward_norm.gain"]
            gain = weights.get("final_norm.gain", torch.ones_like(some))
            bias = weights.get("final_norm.bias", torch.zeros_like(some))
            state |= {f"{name}.weight": gain, f"{name}.bias": bias}
    return state


# --- Other ways -------------------------------------------------------------------------------------------------------


class _WithWeights:
    """nn.MultiheadAttention with need_weights=True, its default."""

    NAME = f"{NAME}:with_weights"
    VERSION, HOMEPAGE, FRAMEWORK, DTYPES = VERSION, HOMEPAGE, FRAMEWORK, DTYPES
    DIFFERENTIABLE = True
    CHOICES: ClassVar = {"attention.empty-row": "nan"}

    @staticmethod
    def multi_head_attention(
        query: Tensor, key: Tensor, value: Tensor, weights: Weights, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        return _attend(query, key, value, weights, num_heads, mask, need_weights=True)


class _Native:
    """The fast path: self-attention and encoders in evaluation, an even number of heads, no gradient."""

    NAME = f"{NAME}:native"
    VERSION, HOMEPAGE, FRAMEWORK, DTYPES = VERSION, HOMEPAGE, FRAMEWORK, DTYPES
    CHOICES: ClassVar = {"attention.empty-row": "nan"}

    @staticmethod
    @torch.no_grad()
    def multi_head_attention(
        query: Tensor, key: Tensor, value: Tensor, weights: Weights, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        if not (torch.equal(query, key) and torch.equal(key, value)):
            raise NotImplementedError("the fast path is for self-attention only")
        _check_even(num_heads)
        return _attend(query, query, query, weights, num_heads, mask, need_weights=False)

    @staticmethod
    @torch.no_grad()
    def encoder_layer(
        x: Tensor, weights: Weights, *, num_heads: int, activation: str, eps: float,
        mask: Tensor | None = None, norm_first: bool = False,
    ) -> Tensor:  # fmt: skip
        _check_fast(num_heads, activation)
        layer = _layer(nn.TransformerEncoderLayer, *_sizes(weights), num_heads, activation, eps, norm_first)
        return _encode(layer.eval(), x, weights, _hidden(mask, x, x, num_heads))

    @staticmethod
    @torch.no_grad()
    def encoder(token_ids: Tensor, weights: Weights, config: Any, *, source_mask: Tensor | None = None) -> Tensor:
        """With padding on the right and post-norm layers, tensors are nested: padding is left out."""
        _check_fast(config.num_heads, config.activation)
        return _run_encoder(_encoder(config, nested=not config.norm_first).eval(), token_ids, weights, source_mask)


def _check_even(num_heads: int) -> None:
    if num_heads % 2:
        raise NotImplementedError("the fast path needs an even number of heads")


def _check_fast(num_heads: int, activation: str) -> None:
    _check_even(num_heads)
    if activation == "gelu_tanh":
        raise NotImplementedError("the fast path knows ReLU and the exact GELU")


class _Stock:
    """nn.Transformer as it makes itself, with a norm after each stack, be its layers pre-norm or post-norm."""

    NAME = f"{NAME}:stock"
    VERSION, HOMEPAGE, FRAMEWORK, DTYPES = VERSION, HOMEPAGE, FRAMEWORK, DTYPES
    DIFFERENTIABLE = True

    @staticmethod
    def transformer(
        source_ids: Tensor, target_ids: Tensor, weights: Weights, config: Any, *,
        source_mask: Tensor | None = None, target_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        if not (config.num_encoder_layers and config.num_decoder_layers):
            raise NotImplementedError("nn.Transformer needs a layer in each stack")
        module = nn.Transformer(
            config.d_model, config.num_heads, config.num_encoder_layers, config.num_decoder_layers, config.d_ff,
            dropout=0.0, activation=_ACTIVATIONS[config.activation], layer_norm_eps=config.eps, batch_first=True,
            norm_first=config.norm_first, device="meta",
        )  # fmt: skip
        return _run_transformer(module, source_ids, target_ids, weights, source_mask, target_mask)


with_weights = _WithWeights()
native = _Native()
stock = _Stock()
