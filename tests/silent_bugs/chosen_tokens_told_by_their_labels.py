"""BUG: chosen is what has a label that is not ignored: a chosen token that is the ignore_id itself is never masked."""

import torch

CAUGHT_BY = "objectives.masked-language-modelling-corruption-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def mask_tokens(token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=-100):
    labels = torch.where((choice < probability) & ~special, token_ids, ignore_id)
    chosen = labels != ignore_id  # BUG
    inputs = torch.where(chosen & (replacement < 0.8), mask_id, token_ids)
    inputs = torch.where(chosen & (replacement >= 0.8) & (replacement < 0.9), random_ids, inputs)
    return torch.stack([inputs, labels])
