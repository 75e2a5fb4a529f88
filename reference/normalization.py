"""Normalization: LayerNorm, RMSNorm, Add & Norm (Ba et al. 2016; Zhang & Sennrich 2019; Vaswani et al. 2017, section 3.1)."""

import torch
from jaxtyping import Float
from torch import Tensor

from transpec.operations import operation


@operation("Ba et al. 2016, section 3, equations 3 and 4")
def layer_norm(x: Float[Tensor, "... M"], weights: dict[str, Tensor], *, eps: float) -> Float[Tensor, "... M"]:
    r"""LN(x) = gain (x - mean) / sqrt(variance + eps) + bias, mean and variance over the last axis alone.

    Weights: `gain` (M), `bias` (M). The variance divides by M, not by M - 1.
    """
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)  # ... 1
    return centred / torch.sqrt(variance + eps) * weights["gain"] + weights["bias"]


@operation("Zhang & Sennrich 2019, section 3, equation 4")
def rms_norm(x: Float[Tensor, "... M"], weights: dict[str, Tensor], *, eps: float) -> Float[Tensor, "... M"]:
    r"""RMSNorm(x) = gain x / sqrt(mean(x^2) + eps), the mean over the last axis; nothing is subtracted.

    Weights: `gain` (M).
    """
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weights["gain"]


@operation("Vaswani et al. 2017, section 3.1")
def add_norm(
    x: Float[Tensor, "... M"], sublayer_output: Float[Tensor, "... M"], weights: dict[str, Tensor], *, eps: float
) -> Float[Tensor, "... M"]:
    r"""LayerNorm(x + Sublayer(x)). Weights: `gain` (M), `bias` (M)."""
    return layer_norm(x + sublayer_output, weights, eps=eps)


@rms_norm.choice("normalization.rms-epsilon", "outside")
def epsilon_is_added_to_the_root(x, weights, *, eps):  # type: ignore[no-untyped-def]
    """RMSNorm(x) = gain x / (sqrt(mean(x^2)) + eps), as some implementations of the paper have it."""
    square = (x * x).mean(-1, keepdim=True)
    some = square > 0  # of a row of zeros the root has no slope, but the quotient has: gain / eps
    root = torch.where(some, torch.sqrt(torch.where(some, square, 1.0)), 0.0)
    return x / (root + eps) * weights["gain"]


@layer_norm.formulation
def one_scale_and_one_shift(x, weights, *, eps):  # type: ignore[no-untyped-def]
    """x r - mean r with r = 1 / sqrt(variance + eps): what fused kernels compute; it carries |mean| r roundings."""
    mean = x.mean(-1, keepdim=True)
    scale = torch.rsqrt(((x - mean) * (x - mean)).mean(-1, keepdim=True) + eps)
    return (x * scale - mean * scale) * weights["gain"] + weights["bias"]


@layer_norm.formulation
def mean_reflected_away(x, weights, *, eps):  # type: ignore[no-untyped-def]
    """The mean taken away by a reflection that turns it into the first axis: the first entry comes out of all others."""
    width = x.shape[-1]
    first = (torch.arange(width) == 0).to(x.dtype)  # M
    across = first + width**-0.5
    mirror = across / torch.sqrt((across * across).sum())
    turned = (x - 2 * (x * mirror).sum(-1, keepdim=True) * mirror) * (1 - first)
    centred = turned - 2 * (turned * mirror).sum(-1, keepdim=True) * mirror
    variance = (turned * turned).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * weights["gain"] + weights["bias"]
