"""BUG: torch's softplus is a straight line beyond 20: what is left to the other index is gone, which float64 sees."""

import torch

CAUGHT_BY = "objectives.next-sentence-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def next_sentence_loss(logits, is_next):
    against = (logits[:, 1] - logits[:, 0]) * torch.where(is_next, 1, -1)
    return torch.nn.functional.softplus(against).mean()  # BUG: its threshold
