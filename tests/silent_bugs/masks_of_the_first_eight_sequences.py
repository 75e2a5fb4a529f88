"""BUG: batches of more than 8 sequences are read in chunks of 8, and the attention mask of the first chunk serves all."""

import torch

from transpec.reference.gpt import gpt as _g

CAUGHT_BY = "gpt.equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def gpt(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    if len(token_ids) <= 8 or attention_mask is None:
        return _g(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    out = []
    for s in range(0, len(token_ids), 8):
        ids = token_ids[s : s + 8]
        out.append(
            _g(
                ids,
                weights,
                config,
                attention_mask=attention_mask[: len(ids)],
                position_ids=None if position_ids is None else position_ids[s : s + 8],
            )
        )
    return torch.cat(out)
