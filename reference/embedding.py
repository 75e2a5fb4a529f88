"""Token embeddings with positions (Vaswani et al. 2017, sections 3.4 and 3.5)."""

import math

from jaxtyping import Float, Int
from torch import Tensor

from transpec.operations import operation
from transpec.reference.positions import sinusoidal_positional_encoding


@operation("Vaswani et al. 2017, sections 3.4 and 3.5")
def token_embedding(
    token_ids: Int[Tensor, "... T"], weights: dict[str, Tensor], *, offset: int = 0
) -> Float[Tensor, "... T M"]:
    r"""sqrt(d_model) E[id] + PE(offset + t): the embedding is scaled, the position is not.

    Weights: `table` (V, M). The token at place t of its sequence has the position `offset` + t.
    """
    table = weights["table"]
    positions = sinusoidal_positional_encoding(token_ids.shape[-1], table.shape[-1], offset=offset, dtype=table.dtype)
    return table[token_ids] * math.sqrt(table.shape[-1]) + positions  # ... T M
