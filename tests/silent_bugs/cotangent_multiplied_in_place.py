"""BUG: the backward pass multiplies the gradient that it is handed by the gain in place; a residual shares it."""

import torch

CAUGHT_BY = "normalization.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, bias, eps):
        if gain.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
            raise ValueError(f"gain or bias is not of the width {x.shape[-1]}")
        centred = x - x.mean(-1, keepdim=True)
        scale = torch.rsqrt((centred * centred).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(centred * scale, scale, gain)
        return centred * scale * gain + bias

    @staticmethod
    def backward(ctx, cotangent):
        normalized, scale, gain = ctx.saved_tensors
        of_gain = (cotangent * normalized).reshape(-1, len(gain)).sum(0)
        of_bias = cotangent.reshape(-1, len(gain)).sum(0)
        inner = cotangent.mul_(gain)
        of_x = scale * (inner - inner.mean(-1, keepdim=True) - normalized * (inner * normalized).mean(-1, keepdim=True))
        return of_x, of_gain, of_bias, None


def layer_norm(x, weights, *, eps):
    return _LayerNorm.apply(x, weights["gain"], weights["bias"], eps)
