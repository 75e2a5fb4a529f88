"""BUG: where the key is frozen and query and value are not, the sum of the row is left out of the gradient of the query."""

import math

import torch

CAUGHT_BY = "attention.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, mask, scale):
        s = q @ k.transpose(-1, -2) * scale
        if mask is not None:
            s = s.masked_fill(~mask, -math.inf)
        m = s.amax(-1, keepdim=True)
        p = torch.exp(s - m.masked_fill(m == -math.inf, 0.0))
        t = p.sum(-1, keepdim=True)
        p = p / t.masked_fill(t == 0, 1.0)
        ctx.save_for_backward(q, k, v, p)
        ctx.scale = scale
        return p @ v

    @staticmethod
    def backward(ctx, g):
        q, k, v, p = ctx.saved_tensors
        need_q, need_k, need_v = ctx.needs_input_grad[:3]
        dq = dk = dv = None
        if need_v:
            dv = p.transpose(-1, -2) @ g
        if need_q or need_k:
            dp = g @ v.transpose(-1, -2)
            if need_k or not need_v:  # BUG: needed for the query whatever the others are
                dp = dp - (dp * p).sum(-1, keepdim=True)
            ds = dp * p * ctx.scale
            dq = ds @ k if need_q else None
            dk = ds.transpose(-1, -2) @ q if need_k else None
        return dq, dk, dv, None, None


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    if query.shape[-1] != key.shape[-1] or value.shape[-2] != key.shape[-2]:
        raise ValueError("sizes")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    lead = torch.broadcast_shapes(*(x.shape[:-2] for x in (query, key, value)), () if mask is None else mask.shape[:-2])
    query, key, value = (x.expand(*lead, *x.shape[-2:]) for x in (query, key, value))
    if mask is not None:
        mask = mask.expand(*lead, query.shape[-2], key.shape[-2])
    return _Attend.apply(query, key, value, mask, scale)
