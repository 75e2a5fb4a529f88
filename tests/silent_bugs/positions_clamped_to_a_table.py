"""BUG: positions beyond a prepared table of 16384 are clamped to its last row; shows where offset + t > 16383 (float32 only)."""

import math

import torch

CAUGHT_BY = "embedding.stability"
FRAMEWORK = "torch"
DTYPES = ("float32",)
MAX_LEN = 16384
_cache = {}


def _table(M):
    if M not in _cache:
        p = torch.arange(MAX_LEN, dtype=torch.float64)[:, None]
        c = torch.arange(M)
        a = p / 10000.0 ** ((2 * (c // 2)).double() / M)
        _cache[M] = torch.where(c % 2 == 0, a.sin(), a.cos())
    return _cache[M]


def token_embedding(token_ids, weights, *, offset=0):
    t = weights["table"]
    M = t.shape[1]
    pos = torch.arange(offset, offset + token_ids.shape[-1]).clamp(max=MAX_LEN - 1)
    return (t[token_ids.long()].double() * math.sqrt(M) + _table(M)[pos]).to(t.dtype)
