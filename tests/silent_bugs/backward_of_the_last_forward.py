"""BUG: the backward pass takes the root from the last forward pass of its shape, which may be that of another layer."""

import torch

CAUGHT_BY = "normalization.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


_scales = {}


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, eps):
        if gain.shape != x.shape[-1:]:
            raise ValueError(f"gain is not of the width {x.shape[-1]}")
        scale = torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
        _scales[x.shape, x.dtype] = scale
        ctx.save_for_backward(x, gain)
        return x * scale * gain

    @staticmethod
    def backward(ctx, cotangent):
        x, gain = ctx.saved_tensors
        scale, inner = _scales[x.shape, x.dtype], cotangent * gain
        of_x = scale * inner - x * scale**3 * (inner * x).mean(-1, keepdim=True)
        return of_x, (cotangent * x * scale).reshape(-1, len(gain)).sum(0), None


def rms_norm(x, weights, *, eps):
    return _RMSNorm.apply(x, weights["gain"], eps)
