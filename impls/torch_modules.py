"""The modules of torch.nn that are Core operations, with our weights loaded into them.

`multi_head_attention` is nn.MultiheadAttention as most programs call it, with need_weights=False. Two objects hold it
to its other two ways: `with_weights` returns the weights too and takes another path for that; `native` is the fast path
that torch takes for self-attention where no gradient is asked for.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

NAME = "torch_modules"
VERSION = torch.__version__
HOMEPAGE = "https://pytorch.org"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32", "float16", "bfloat16")
DIFFERENTIABLE = True
CHOICES = {"attention.empty-row": "zero"}

Weights = dict[str, Tensor]


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
    model, width = weights["w_q"].shape
    module = nn.MultiheadAttention(
        width, num_heads, kdim=key.shape[-1], vdim=value.shape[-1], batch_first=True, device="meta"
    ).eval()
    if not model == width == weights["w_o"].shape[1]:
        raise NotImplementedError("nn.MultiheadAttention needs heads that together are as wide as the model")
    if weights["w_v"].shape[1] != width:
        raise NotImplementedError("nn.MultiheadAttention needs d_v = d_k")
    if mask is not None:
        # Here True hides, and three axes are (batch * heads, queries, keys).
        mask = ~mask.expand(len(query), query.shape[1], key.shape[1]).repeat_interleave(num_heads, dim=0)
    options = {"attn_mask": mask, "need_weights": need_weights}
    output: Tensor
    output, _ = functional_call(module, _state(module, weights), (query, key, value), options)
    return output


def _state(module: nn.MultiheadAttention, weights: Weights) -> Weights:
    """Our weights under the module's names; its matrices are (out, in)."""
    w_q, w_k, w_v, w_o = (weights[f"w_{name}"].mT for name in "qkvo")
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
    """nn.MultiheadAttention by its fast path: self-attention, an even number of heads, no gradient."""

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
        if num_heads % 2:
            raise NotImplementedError("the fast path needs an even number of heads")
        return _attend(query, query, query, weights, num_heads, mask, need_weights=False)


with_weights = _WithWeights()
native = _Native()
