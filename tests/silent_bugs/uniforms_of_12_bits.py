"""BUG: uniform numbers of 12 bits: a word less probable than 1 / 4096 is drawn too often or never."""

import numpy as np
import torch

import transpec.reference.decoding as _decoding

CAUGHT_BY = "decoding.sample-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def sample(logits, *, number, temperature=1.0, top_k=None, top_p=None, seed):
    p = _decoding.sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    u = (np.random.default_rng(seed).integers(0, 4096, number) + 0.5) / 4096
    last = int((p > 0).nonzero().max())
    return torch.from_numpy(np.minimum(np.searchsorted(torch.cumsum(p.double(), -1).numpy(), u, side="right"), last))
