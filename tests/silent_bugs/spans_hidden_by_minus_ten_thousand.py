"""BUG: spans that are not allowed score -10 000, which is more than those that are where all logits are far below zero."""

import torch

CAUGHT_BY = "heads.question-answering-span-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def best_span(start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0):
    if max_length < 1:
        raise ValueError("a span has a token at least")
    T = start_logits.shape[1]
    ahead = torch.arange(T) - torch.arange(T)[:, None]
    possible = (ahead >= 0) & (ahead < max_length) & allowed[:, :, None] & allowed[:, None, :]
    sums = torch.where(possible, start_logits[:, :, None] + end_logits[:, None, :], -1e4)  # BUG
    best, place = sums.flatten(1).max(1)
    spans = torch.stack([place // T, place % T], 1)
    if not no_answer:
        return spans
    return torch.where((start_logits[:, 0] + end_logits[:, 0] > best + threshold)[:, None], 0, spans)
