"""BUG: k logits stay, by place; gradients pass by value: logits that tie with the k-th and were filtered pass one too."""

import torch

CAUGHT_BY = "decoding.tied-gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


class _TopK(torch.autograd.Function):
    @staticmethod
    def forward(context, x, k):
        values, places = x.topk(k, dim=-1)
        context.save_for_backward(x >= values[..., -1:])
        return torch.where(torch.zeros_like(x, dtype=torch.bool).scatter(-1, places, True), x, float("-inf"))

    @staticmethod
    def backward(context, gradient):
        return gradient * context.saved_tensors[0], None


def top_k_filtered(logits, *, k):
    if k < 1:
        raise ValueError(f"k is {k}")
    return logits.clone() if k >= logits.shape[-1] else _TopK.apply(logits, k)
