"""BUG: only the last 32 tokens are attended to."""

import torch

import transpec.reference.gpt as _gpt

CAUGHT_BY = "decoding.greedy-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
WINDOW = 32


def greedy_decode(token_ids, weights, config, *, max_new_tokens, eos_id=None, pad_id=0, attention_mask=None):
    ids = token_ids
    visible = torch.ones_like(ids, dtype=torch.bool) if attention_mask is None else attention_mask
    ended = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        positions = (visible.cumsum(-1) - 1).clamp_min(0)
        part = slice(max(0, ids.shape[1] - WINDOW), None)
        logits = _gpt.gpt(
            ids[:, part], weights, config, attention_mask=visible[:, part], position_ids=positions[:, part]
        )
        chosen = logits[:, -1].argmax(-1)
        ids = torch.cat([ids, torch.where(ended, pad_id, chosen)[:, None]], -1)
        visible = torch.cat([visible, torch.ones(len(ids), 1, dtype=torch.bool)], -1)
        if eos_id is not None:
            ended = ended | (chosen == eos_id)
    return ids
