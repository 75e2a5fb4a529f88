"""BUG: the base 10000 is a tensor of torch's default dtype: 9984 after torch.set_default_dtype(torch.bfloat16)."""

import torch

CAUGHT_BY = "positions.no-memory"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32", "bfloat16")


def sinusoidal_positional_encoding(length, d_model, *, offset=0, dtype):
    base = torch.tensor(10000.0)  # BUG: default dtype
    pairs = (d_model + 1) // 2
    exponent = torch.arange(pairs, dtype=torch.float64) * 2 / d_model
    angles = torch.arange(offset, offset + length, dtype=torch.float64)[:, None] / base.to(torch.float64) ** exponent
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(length, 2 * pairs)[:, :d_model].to(dtype)
