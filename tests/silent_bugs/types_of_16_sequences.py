"""BUG: token types are read for the first 16 sequences of a batch; the others are all of type 0."""

import torch

import transpec.reference.bert as _bert

CAUGHT_BY = "bert.equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def bert(token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None):
    if token_type_ids is not None:
        first = torch.arange(len(token_ids)).unsqueeze(-1) < 16
        token_type_ids = torch.where(first, token_type_ids, 0)
    return _bert.bert(
        token_ids,
        weights,
        config,
        token_type_ids=token_type_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
    )
