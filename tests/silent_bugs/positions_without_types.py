"""BUG: where position ids are given and token types are not, the row of type 0 is not added."""

from transpec.reference.bert import bert as _b

CAUGHT_BY = "bert.default-types"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def bert(token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None):
    if token_type_ids is None and position_ids is not None:
        weights = weights | {"embeddings.token_type": weights["embeddings.token_type"] * 0}
    return _b(
        token_ids,
        weights,
        config,
        token_type_ids=token_type_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
    )
