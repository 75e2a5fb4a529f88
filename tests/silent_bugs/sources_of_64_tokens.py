"""BUG: the encoder reads the first 64 tokens of a source and hides the others."""

import torch

import transpec.reference.t5 as _t5

CAUGHT_BY = "t5.equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def t5(source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None):
    near = torch.arange(source_ids.shape[-1]).expand(source_ids.shape) < 64
    seen = near if attention_mask is None else attention_mask & near
    return _t5.t5(
        source_ids, target_ids, weights, config, attention_mask=seen, decoder_attention_mask=decoder_attention_mask
    )
