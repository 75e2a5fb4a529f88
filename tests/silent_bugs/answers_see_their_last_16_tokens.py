"""BUG: the decoder sees the last 16 tokens that it has read."""

import torch

import transpec.reference.t5 as _t5

CAUGHT_BY = "decoding.greedy-t5-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def greedy_decode_t5(source_ids, weights, config, *, max_new_tokens, eos_id=None, pad_id=0, attention_mask=None):
    read = torch.full((len(source_ids), 1), pad_id)
    ended = torch.zeros(len(source_ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        seen = torch.ones_like(read, dtype=torch.bool)
        seen[:, :-16] = False
        logits = _t5.t5(source_ids, read, weights, config, attention_mask=attention_mask, decoder_attention_mask=seen)
        chosen = logits[:, -1].argmax(-1)
        read = torch.cat([read, torch.where(ended, pad_id, chosen)[:, None]], -1)
        ended = ended if eos_id is None else ended | (chosen == eos_id)
    return read[:, 1:]
