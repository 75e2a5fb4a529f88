"""Mistakes in attention."""

from transpec.catalogue import fault
from transpec.reference.attention import attention_weights


@fault(
    attention_weights, "attention.scale-missing", breaks="attention.weights-equation",
    seen="delzac/cntkx#10", effect="softmax saturates as d_k grows; training stalls without an error",
)  # fmt: skip
def scores_are_not_divided_by_the_root_of_the_key_size(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=1.0 if scale is None else scale)
