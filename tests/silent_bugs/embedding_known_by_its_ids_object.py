"""BUG: the result for the same ids and table objects is given again, whatever offset the second call has."""

import math
import weakref

import torch

CAUGHT_BY = "embedding.no-memory"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def _encoding(length, width, offset):
    places = torch.arange(offset, offset + length, dtype=torch.float64).unsqueeze(-1)
    channels = torch.arange(width)
    angles = places / 10000 ** ((channels - channels % 2).double() / width)
    return torch.where(channels % 2 == 0, angles.sin(), angles.cos())


def _checked(token_ids, table):
    if token_ids.numel() and (int(token_ids.min()) < 0 or int(token_ids.max()) >= len(table)):
        raise ValueError(f"token ids must be from 0 to {len(table) - 1}")
    return token_ids.long()


_LAST = []


def token_embedding(token_ids, weights, *, offset=0):
    table = weights["table"]
    versions = token_ids._version, table._version
    for ids, words, known, result in _LAST:
        if ids() is token_ids and words() is table and known == versions:
            return result.clone()
    rows = table[_checked(token_ids, table)].double() * math.sqrt(table.shape[1])
    result = (rows + _encoding(token_ids.shape[-1], table.shape[1], offset)).to(table.dtype)
    _LAST[:] = [(weakref.ref(token_ids), weakref.ref(table), versions, result.clone())]
    return result
