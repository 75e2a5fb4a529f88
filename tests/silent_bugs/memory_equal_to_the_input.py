"""BUG: a memory that equals x is taken for self-attention, and the self mask is put on it."""

import torch

from transpec.reference.layers import decoder_layer as _dl

CAUGHT_BY = "layers.decoder-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def decoder_layer(x, memory, weights, *, self_mask=None, memory_mask=None, **options):
    if self_mask is not None and x.shape == memory.shape and torch.equal(x, memory):
        memory_mask = self_mask if memory_mask is None else self_mask & memory_mask
    return _dl(x, memory, weights, self_mask=self_mask, memory_mask=memory_mask, **options)
