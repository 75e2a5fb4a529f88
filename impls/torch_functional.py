"""What torch.nn.functional offers of the Core operations, as it is: its mistakes are to come through.

The module's own `scaled_dot_product_attention` leaves the choice of kernel to torch, as most programs do. The objects
`math` and `flash` hold it to the one or the other of the two kernels that exist on a CPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

NAME = "torch_functional"
VERSION = torch.__version__
HOMEPAGE = "https://pytorch.org"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32", "float16", "bfloat16")
DIFFERENTIABLE = True
CHOICES = {"attention.empty-row": "zero"}

Weights = dict[str, Tensor]


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """functional.scaled_dot_product_attention; query (..., T, E), key (..., S, E), value (..., S, D)."""
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def feed_forward(x: Tensor, weights: Weights, *, activation: str = "relu") -> Tensor:
    """functional.linear, an activation, functional.linear; x (..., M)."""
    activations: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": functional.relu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda inner: functional.gelu(inner, approximate="tanh"),
    }
    if activation not in activations:
        raise ValueError(f"activation must be one of {', '.join(activations)}: got {activation!r}")
    inner = activations[activation](functional.linear(x, weights["w_1"].mT, weights["b_1"]))
    return functional.linear(inner, weights["w_2"].mT, weights["b_2"])


def layer_norm(x: Tensor, weights: Weights, *, eps: float) -> Tensor:
    """functional.layer_norm over the last axis; x (..., M)."""
    return functional.layer_norm(x, weights["gain"].shape, weights["gain"], weights["bias"], eps)


def rms_norm(x: Tensor, weights: Weights, *, eps: float) -> Tensor:
    """functional.rms_norm over the last axis; x (..., M)."""
    return functional.rms_norm(x, weights["gain"].shape, weights["gain"], eps)


def add_norm(x: Tensor, sublayer_output: Tensor, weights: Weights, *, eps: float) -> Tensor:
    """functional.layer_norm of the sum; x and sublayer_output (..., M)."""
    return layer_norm(x + sublayer_output, weights, eps=eps)


class _Kernel:
    """functional.scaled_dot_product_attention through one kernel only."""

    VERSION = VERSION
    HOMEPAGE = HOMEPAGE
    FRAMEWORK = FRAMEWORK
    DTYPES = DTYPES
    DIFFERENTIABLE = True
    CHOICES = CHOICES

    def __init__(self, name: str, backend: SDPBackend) -> None:
        self.NAME = f"{NAME}:{name}"
        self.backend = backend

    def scaled_dot_product_attention(
        self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, scale: float | None = None
    ) -> Tensor:
        try:
            with sdpa_kernel(self.backend):
                return scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)
        except RuntimeError as error:
            if "No available kernel" in str(error):
                raise NotImplementedError(
                    f"{self.NAME} has no kernel for these shapes, this mask or this dtype"
                ) from error
            raise


class _FourAxes(_Kernel):
    """A kernel that takes (batch, heads, length, size) and nothing else; fewer axes are led by axes of one."""

    def scaled_dot_product_attention(
        self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None, scale: float | None = None
    ) -> Tensor:
        missing = 4 - max(x.ndim for x in (query, key, value, mask) if x is not None)
        if missing <= 0:
            return super().scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)
        if mask is not None and mask.ndim > 2:  # it takes masks of two axes and of four
            mask = mask[(None,) * (4 - mask.ndim)]
        tensors = (x[(None,) * (4 - x.ndim)] for x in (query, key, value))
        return super().scaled_dot_product_attention(*tensors, mask=mask, scale=scale)[(0,) * missing]


math = _Kernel("math", SDPBackend.MATH)
flash = _FourAxes("flash", SDPBackend.FLASH_ATTENTION)
