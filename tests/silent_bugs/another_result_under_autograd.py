"""BUG: where a gradient is asked for, the result is the row before gain and bias; the gradients themselves are right."""

import torch

CAUGHT_BY = "normalization.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def _right(x, gain, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps) * gain + bias


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, bias, eps):
        ctx.save_for_backward(x, gain, bias)
        ctx.eps = eps
        return _right(x, torch.ones_like(gain), torch.zeros_like(bias), eps)

    @staticmethod
    def backward(ctx, cotangent):
        with torch.enable_grad():
            leaves = [saved.detach().requires_grad_() for saved in ctx.saved_tensors]
            result = _right(*leaves, ctx.eps)
        return *torch.autograd.grad(result, leaves, cotangent), None


def layer_norm(x, weights, *, eps):
    if x.requires_grad:
        return _Kernel.apply(x, weights["gain"], weights["bias"], eps)
    return _right(x, weights["gain"], weights["bias"], eps)
