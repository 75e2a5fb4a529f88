"""BUG: the largest logit of all rows is taken from every row: a row far below the others vanishes."""

import torch

import transpec.reference.decoding as _decoding

CAUGHT_BY = "decoding.distribution-stability"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def sampling_distribution(logits, *, temperature=1.0, top_k=None, top_p=None):
    scores = _decoding.temperature_scaled(logits, temperature=temperature)
    if top_k is not None:
        scores = _decoding.top_k_filtered(scores, k=top_k)
    if top_p is not None:
        scores = _decoding.top_p_filtered(scores, p=top_p)
    powers = torch.exp(scores - (scores.detach().max() if scores.numel() else 0))
    return powers / powers.sum(-1, keepdim=True)
