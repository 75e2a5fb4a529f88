"""Masks: boolean, True where a query may attend to a key (Vaswani et al. 2017, sections 3.1 and 3.2.3)."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from transpec.operations import operation


@operation("Vaswani et al. 2017, section 3.2.3, and Devlin et al. 2019, section 3.1")
def padding_mask(token_ids: Int[Tensor, "B T"], *, pad_id: int) -> Bool[Tensor, "B 1 T"]:
    """A key may be attended to where its token is not `pad_id`, by every query of its own sequence."""
    return (token_ids != pad_id).unsqueeze(-2)  # B 1 T


@operation("Vaswani et al. 2017, sections 3.1 and 3.2.3")
def look_ahead_mask(length: int) -> Bool[Tensor, "T T"]:
    """Position i may attend to position j where j <= i: to itself and to the past."""
    position = torch.arange(length)
    return position.unsqueeze(-1) >= position  # T T


@operation("Vaswani et al. 2017, section 3.2.3")
def combine_masks(*masks: Bool[Tensor, "..."]) -> Bool[Tensor, "..."]:
    """A query may attend where every mask lets it: the logical and of the masks, broadcast.

    Raises ValueError where no mask is given.
    """
    if not masks:
        raise ValueError("combine_masks needs at least one mask, got none")
    combined = masks[0].clone()
    for mask in masks[1:]:
        combined = combined & mask
    return combined
