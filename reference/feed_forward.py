"""The position-wise feed-forward network (Vaswani et al. 2017, section 3.3) and GELU (Hendrycks & Gimpel 2016)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from transpec.operations import operation


@operation("Vaswani et al. 2017, section 3.3, equation 2; Hendrycks & Gimpel 2016, section 2")
def feed_forward(
    x: Float[Tensor, "... M"], weights: dict[str, Tensor], *, activation: str = "relu"
) -> Float[Tensor, "... M"]:
    r"""FFN(x) = f(x W_1 + b_1) W_2 + b_2, with f(x) = max(0, x) in the paper.

    Weights: `w_1` (M, F), `b_1` (F), `w_2` (F, M), `b_2` (M). `activation` names f: "relu", "gelu" or "gelu_tanh".
    Raises ValueError for any other name.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}: got {activation!r}")
    inner = ACTIVATIONS[activation](x @ weights["w_1"] + weights["b_1"])  # ... F
    return inner @ weights["w_2"] + weights["b_2"]  # ... M


def gelu(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""GELU(x) = x Phi(x) = x / 2 (1 + erf(x / sqrt(2))) (Hendrycks & Gimpel 2016, section 2)."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Hendrycks & Gimpel 2016, section 2)."""
    return x * 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


ACTIVATIONS = {"relu": torch.relu, "gelu": gelu, "gelu_tanh": gelu_tanh}


@feed_forward.formulation
def biases_within_the_sums(x, weights, *, activation="relu"):  # type: ignore[no-untyped-def]
    """Each bias as one more term of its sum: kernels that begin to add with it carry it through every rounding."""
    inner = ACTIVATIONS[activation](_with_one(x) @ _with_row(weights["w_1"], weights["b_1"]))
    return _with_one(inner) @ _with_row(weights["w_2"], weights["b_2"])


def _with_one(x: Float[Tensor, "... M"]) -> Float[Tensor, "... M+1"]:
    return torch.cat((x, torch.ones_like(x[..., :1])), dim=-1)


def _with_row(matrix: Float[Tensor, "M F"], row: Float[Tensor, "F"]) -> Float[Tensor, "M+1 F"]:
    return torch.cat((matrix, row.unsqueeze(0)))
