"""BUG: encodings longer than 64 are computed in chunks of 64, and only the first chunk knows of the offset."""

import torch

from transpec.reference.positions import sinusoidal_positional_encoding as _pe

CAUGHT_BY = "positions.offset"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def sinusoidal_positional_encoding(length, d_model, *, offset=0, dtype):
    out = [_pe(min(64, length - s), d_model, offset=offset if s == 0 else s, dtype=dtype) for s in range(0, length, 64)]
    return torch.cat(out)
