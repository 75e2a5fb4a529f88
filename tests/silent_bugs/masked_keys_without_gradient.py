"""BUG: where a batch is padded, the projections of keys get no gradient."""

import transpec.reference.gpt as _gpt

CAUGHT_BY = "gpt.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def gpt(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    if attention_mask is not None and not attention_mask.all():
        weights = {name: w.detach() if name.endswith("w_k") else w for name, w in weights.items()}
    return _gpt.gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
