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

    Weights: `table` (V, M). The token at place t of its sequence has the position `offset` + t. Raises IndexError for
    ids that the table does not have.
    """
    table = weights["table"]
    positions = sinusoidal_positional_encoding(token_ids.shape[-1], table.shape[-1], offset=offset, dtype=table.dtype)
    return look_up(table, token_ids) * math.sqrt(table.shape[-1]) + positions  # ... T M


def look_up(table: Float[Tensor, "V M"], ids: Int[Tensor, "..."]) -> Float[Tensor, "... M"]:
    """The rows of a table that ids name. Raises IndexError for ids that it does not have, negative ones among them."""
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(table):
        raise IndexError(f"ids must be from 0 to {len(table) - 1}: got {int(ids.min())} to {int(ids.max())}")
    return table[ids]
