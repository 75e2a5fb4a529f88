"""Positional encoding (Vaswani et al. 2017, section 3.5)."""

import torch
from jaxtyping import Float
from torch import Tensor

from transpec.operations import operation


@operation("Vaswani et al. 2017, section 3.5")
def sinusoidal_positional_encoding(
    length: int, d_model: int, *, offset: int = 0, dtype: torch.dtype
) -> Float[Tensor, "T M"]:
    r"""PE(pos, 2i) = sin(pos / 10000^(2i / d_model)), PE(pos, 2i+1) = cos(pos / 10000^(2i / d_model)).

    Row t holds position `offset` + t; sines and cosines alternate, and an odd `d_model` ends in a sine. The angles are
    computed in float64 whatever `dtype` is, for a position is not a rounded number.
    """
    position = offset + torch.arange(length, dtype=torch.float64).unsqueeze(-1)  # T 1
    exponent = torch.arange(0, d_model, 2, dtype=torch.float64) / d_model  # M/2
    angle = position / 10000.0**exponent  # T M/2
    return torch.stack((torch.sin(angle), torch.cos(angle)), dim=-1).flatten(-2)[:, :d_model].to(dtype)  # T M


@sinusoidal_positional_encoding.formulation
def angles_by_exponential(length, d_model, *, offset=0, dtype):  # type: ignore[no-untyped-def]
    """pos * exp(-2i ln(10000) / d_model): the frequency as many implementations compute it."""
    position = offset + torch.arange(length, dtype=torch.float64).unsqueeze(-1)
    step = torch.log(torch.full((), 10000.0, dtype=torch.float64)) / d_model
    angle = position * torch.exp(torch.arange(0, d_model, 2, dtype=torch.float64) * -step)
    return torch.stack((torch.sin(angle), torch.cos(angle)), dim=-1).flatten(-2)[:, :d_model].to(dtype)
