"""BUG: the gradient of the table is summed in blocks of 128 tokens, and a last block that is not full is left out."""

import math

import torch

CAUGHT_BY = "embedding.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def _encoding(length, width, offset):
    places = torch.arange(offset, offset + length, dtype=torch.float64).unsqueeze(-1)
    channels = torch.arange(width)
    angles = places / 10000 ** ((channels - channels % 2).double() / width)
    return torch.where(channels % 2 == 0, angles.sin(), angles.cos())


def _checked(token_ids, table):
    if token_ids.numel() and (int(token_ids.min()) < 0 or int(token_ids.max()) >= len(table)):
        raise ValueError(f"token ids must be from 0 to {len(table) - 1}")
    return token_ids.long()


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, ids):
        ctx.save_for_backward(ids)
        ctx.words = len(table)
        return table[ids]

    @staticmethod
    def backward(ctx, cotangent):
        ids, cotangent = ctx.saved_tensors[0].reshape(-1), cotangent.reshape(-1, cotangent.shape[-1])
        whole = len(ids) if len(ids) <= 128 else len(ids) - len(ids) % 128
        return cotangent.new_zeros(ctx.words, cotangent.shape[1]).index_add(0, ids[:whole], cotangent[:whole]), None


def token_embedding(token_ids, weights, *, offset=0):
    table = weights["table"]
    rows = _Rows.apply(table.double(), _checked(token_ids, table)) * math.sqrt(table.shape[1])
    return (rows + _encoding(token_ids.shape[-1], table.shape[1], offset)).to(table.dtype)
