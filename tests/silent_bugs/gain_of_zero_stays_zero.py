"""BUG: the backward pass divides the output by the gain; where an entry of the gain is 0, so is its gradient."""

import torch

CAUGHT_BY = "normalization.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


class _F(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, g, b, eps):
        c = x - x.mean(-1, keepdim=True)
        r = torch.rsqrt((c * c).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(c * r, g, r)
        return c * r * g + b

    @staticmethod
    def backward(ctx, d):
        n, g, r = ctx.saved_tensors
        n = torch.where(g == 0, 0.0, n)
        dn = d * g
        dx = r * (dn - dn.mean(-1, keepdim=True) - n * (dn * n).mean(-1, keepdim=True))
        M = len(g)
        return dx, (d * n).reshape(-1, M).sum(0), d.reshape(-1, M).sum(0), None


def layer_norm(x, weights, *, eps):
    return _F.apply(x, weights["gain"], weights["bias"], eps)
