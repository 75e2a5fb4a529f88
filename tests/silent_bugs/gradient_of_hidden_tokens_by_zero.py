"""BUG: the gradient of hidden tokens is their log-probability times zero: NaN where a hidden token is impossible."""

import torch

CAUGHT_BY = "metrics.perplexity-gradients"
FRAMEWORK = "torch"
DIFFERENTIABLE = True


class _Perplexity(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mask):
        out = torch.exp(-x[mask].mean())
        ctx.save_for_backward(x, mask, out)
        return out

    @staticmethod
    def backward(ctx, cotangent):
        x, mask, out = ctx.saved_tensors
        return torch.where(mask, -cotangent * out / mask.sum(), x * 0), None


def perplexity(log_probabilities, mask):
    if log_probabilities.shape != mask.shape:
        raise ValueError(f"{tuple(log_probabilities.shape)} and a mask of {tuple(mask.shape)}")
    return _Perplexity.apply(log_probabilities, mask)
