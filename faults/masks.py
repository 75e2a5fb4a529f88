"""Mistakes in masks."""

import functools

import torch

from transpec.catalogue import fault
from transpec.reference.masks import combine_masks, look_ahead_mask, padding_mask

# --- Padding ----------------------------------------------------------------------------------------------------------


@fault(
    padding_mask, "masks.padding-inverted", breaks="masks.padding-equation",
    seen="rasbt/LLMs-from-scratch#1061", effect="queries attend to padding alone",
)  # fmt: skip
def the_padding_mask_is_true_where_the_padding_is(token_ids, *, pad_id):
    return ~padding_mask(token_ids, pad_id=pad_id)


@fault(
    padding_mask, "masks.padding-hides-queries", breaks="masks.padding-equation",
    seen="keras-team/keras-io#1046", effect="padding stays visible as a key, and padded queries see nothing",
)  # fmt: skip
def the_padding_mask_is_broadcast_over_the_keys(token_ids, *, pad_id):
    return padding_mask(token_ids, pad_id=pad_id).transpose(-2, -1)


@fault(
    padding_mask, "masks.padding-without-query-axis", breaks="masks.padding-equation",
    seen="keras-team/keras-hub#783", effect="the batch is taken for the queries wherever both are of one size",
)  # fmt: skip
def the_padding_mask_lacks_the_axis_of_the_queries(token_ids, *, pad_id):
    return padding_mask(token_ids, pad_id=pad_id).squeeze(-2)


@fault(
    padding_mask, "masks.pad-id-ignored", breaks="masks.padding-id",
    seen="facebookresearch/fairseq#710", effect="with another pad id a token is hidden and the padding is seen",
)  # fmt: skip
def the_pad_id_is_taken_to_be_zero(token_ids, *, pad_id):
    return padding_mask(token_ids, pad_id=0)


@fault(
    padding_mask, "masks.padding-by-order", breaks="masks.padding-id",
    effect="every token whose id is below the pad id is hidden",
)  # fmt: skip
def only_ids_above_the_pad_id_are_tokens(token_ids, *, pad_id):
    return padding_mask(torch.where(token_ids < pad_id, pad_id, token_ids), pad_id=pad_id)


@fault(
    padding_mask, "masks.padding-to-the-end", breaks="masks.padding-equation",
    effect="left padding hides the whole sequence",
)  # fmt: skip
def everything_from_the_first_pad_on_is_hidden(token_ids, *, pad_id):
    return padding_mask(token_ids, pad_id=pad_id).cummin(-1).values.bool()


@fault(
    padding_mask, "masks.padding-as-lengths", breaks="masks.padding-equation",
    seen="NVIDIA/TransformerEngine#614", effect="with padding on the left the last tokens are hidden and pads are seen",
)  # fmt: skip
def as_many_first_keys_are_visible_as_there_are_tokens(token_ids, *, pad_id):
    tokens = padding_mask(token_ids, pad_id=pad_id)
    return torch.arange(token_ids.shape[-1]) < tokens.sum(-1, keepdim=True)


@fault(
    padding_mask, "masks.padding-of-one-sequence", breaks="masks.batch-independence",
    effect="every sequence is masked by the padding of the first one in its batch",
)  # fmt: skip
def the_padding_of_the_first_sequence_is_used_for_all(token_ids, *, pad_id):
    return padding_mask(token_ids[:1].expand(token_ids.shape), pad_id=pad_id)


@fault(
    padding_mask, "masks.padding-skipped-for-one", breaks="masks.padding-equation",
    seen="huggingface/transformers#46773", effect="a sequence alone differs from itself in a batch",
)  # fmt: skip
def padding_is_not_masked_in_a_batch_of_one(token_ids, *, pad_id):
    return padding_mask(token_ids, pad_id=pad_id) | (len(token_ids) == 1)


@fault(
    padding_mask, "masks.padding-ids-in-float32", breaks="masks.padding-id",
    effect="tokens of large ids are hidden that float32 rounds to the pad id",
)  # fmt: skip
def ids_are_compared_in_float32(token_ids, *, pad_id):
    return padding_mask(token_ids.float(), pad_id=float(pad_id))


_paddings: dict = {}


@fault(
    padding_mask, "masks.padding-of-the-first-call", breaks="masks.no-memory",
    effect="the padding of the first batch is that of all later batches of its shape",
)  # fmt: skip
def the_padding_of_the_first_call_of_a_shape_is_kept(token_ids, *, pad_id):
    return _paddings.setdefault(token_ids.shape, padding_mask(token_ids, pad_id=pad_id))


@fault(
    padding_mask, "masks.padding-blanked-in-place", breaks="masks.inputs-untouched",
    effect="the ids that the caller goes on with have lost their pads",
)  # fmt: skip
def pads_are_replaced_in_the_ids_themselves(token_ids, *, pad_id):
    mask = padding_mask(token_ids, pad_id=pad_id)
    token_ids.masked_fill_(token_ids == pad_id, pad_id + 1)
    return mask


# --- Look-ahead -------------------------------------------------------------------------------------------------------


@fault(
    look_ahead_mask, "masks.look-ahead-upside-down", breaks="masks.look-ahead-equation",
    seen="pytorch/pytorch#29546", effect="every position sees the future and none sees the past",
)  # fmt: skip
def the_look_ahead_mask_is_transposed(length):
    return look_ahead_mask(length).T


@fault(
    look_ahead_mask, "masks.look-ahead-inverted", breaks="masks.look-ahead-itself",
    seen="hkproj/pytorch-transformer#19", effect="every position sees exactly what it has to predict",
)  # fmt: skip
def the_look_ahead_mask_is_true_where_the_future_is(length):
    return ~look_ahead_mask(length)


@fault(
    look_ahead_mask, "masks.look-ahead-strict", breaks="masks.look-ahead-itself",
    effect="no position sees itself, and the first sees nothing",
)  # fmt: skip
def the_diagonal_is_hidden(length):
    return look_ahead_mask(length).tril(-1)


@fault(
    look_ahead_mask, "masks.look-ahead-by-one", breaks="masks.look-ahead-rows",
    effect="every position sees the token that it has to predict",
)  # fmt: skip
def every_position_sees_one_ahead(length):
    return torch.ones(length, length, dtype=torch.bool).tril(1)


@fault(
    look_ahead_mask, "masks.look-ahead-missing", breaks="masks.look-ahead-rows",
    seen="facebookresearch/xformers#103", effect="training looks perfect and generation fails",
)  # fmt: skip
def the_look_ahead_mask_hides_nothing(length):
    return torch.ones(length, length, dtype=torch.bool)


@fault(
    look_ahead_mask, "masks.look-ahead-mirrored", breaks="masks.look-ahead-growth",
    effect="the first position sees the last key alone",
)  # fmt: skip
def columns_run_backwards(length):
    return look_ahead_mask(length).flip(-1)


@fault(
    look_ahead_mask, "masks.look-ahead-of-numbers", breaks="masks.dtype-and-shape",
    seen="pytorch/pytorch#21518", effect="added to the scores, ones and zeros hide nothing",
)  # fmt: skip
def the_look_ahead_mask_holds_ones_and_zeros(length):
    return look_ahead_mask(length).to(torch.float32)


@fault(
    look_ahead_mask, "masks.look-ahead-up-to-a-length", breaks="masks.look-ahead-equation",
    effect="positions beyond the length that a buffer was made for see everything",
)  # fmt: skip
def rows_beyond_a_buffer_of_512_are_visible(length):
    return look_ahead_mask(length) | (torch.arange(length) >= 512).unsqueeze(-1) | (torch.arange(length) >= 512)


# --- Combined ---------------------------------------------------------------------------------------------------------


@fault(
    combine_masks, "masks.combined-by-or", breaks="masks.combine-equation",
    seen="microsoft/onnxruntime#14363", effect="what one mask shows the other cannot hide: padding and future are seen",
)  # fmt: skip
def masks_are_combined_by_or(*masks):
    return ~combine_masks(*(~mask for mask in masks))


@fault(
    combine_masks, "masks.combined-by-equality", breaks="masks.combine-equation",
    effect="what both masks hide is visible",
)  # fmt: skip
def masks_are_combined_by_equality(*masks):
    return functools.reduce(torch.eq, masks)


@fault(
    combine_masks, "masks.combined-by-exclusive-or", breaks="masks.combine-equation",
    effect="what both masks show is hidden, and nothing is left where neither hides anything",
)  # fmt: skip
def masks_are_combined_by_exclusive_or(*masks):
    return functools.reduce(torch.logical_xor, masks)


@fault(
    combine_masks, "masks.combined-two-alone", breaks="masks.combine-equation",
    effect="a third mask is accepted and does nothing",
)  # fmt: skip
def only_the_first_two_masks_are_combined(*masks):
    return combine_masks(*masks[:2]).expand(torch.broadcast_shapes(*(mask.shape for mask in masks)))


@fault(
    combine_masks, "masks.combined-last-wins", breaks="masks.combine-order",
    seen="deepspeedai/DeepSpeed#1912", effect="the padding mask is lost where a look-ahead mask is given too",
)  # fmt: skip
def the_last_mask_replaces_the_others(*masks):
    return combine_masks(masks[-1]).expand(torch.broadcast_shapes(*(mask.shape for mask in masks)))


@fault(
    combine_masks, "masks.combined-ends-alone", breaks="masks.combine-equation",
    effect="of three masks the one in the middle does nothing",
)  # fmt: skip
def only_the_first_and_the_last_mask_are_combined(*masks):
    return combine_masks(masks[0], masks[-1]).expand(torch.broadcast_shapes(*(mask.shape for mask in masks)))


@fault(
    combine_masks, "masks.combined-one-inverted", breaks="masks.combine-one",
    effect="a mask that has nothing to be combined with is turned over",
)  # fmt: skip
def a_mask_alone_is_inverted(*masks):
    return ~masks[0] if len(masks) == 1 else combine_masks(*masks)


@fault(
    combine_masks, "masks.combined-flattened-batch", breaks="masks.combine-equation",
    effect="every sequence is masked by the padding of the first",
)  # fmt: skip
def the_first_entry_of_the_batch_stands_for_all(*masks):
    axes = max(mask.dim() for mask in masks)
    alike = (mask[:1].expand(mask.shape) if mask.dim() == axes > 2 and len(mask) else mask for mask in masks)
    return combine_masks(*alike)


@fault(
    combine_masks, "masks.combined-idle-dropped", breaks="masks.combine-equation",
    effect="a mask that hides nothing is skipped, and its axes are missing from the result",
)  # fmt: skip
def only_masks_that_hide_something_are_combined(*masks):
    return combine_masks(*([mask for mask in masks if not mask.all()] or masks[:1]))


@fault(
    combine_masks, "masks.combined-in-place", breaks="masks.inputs-untouched",
    seen="entity-neural-network/incubator#137", effect="the next layer gets the combination instead of its own mask",
)  # fmt: skip
def masks_are_combined_in_the_first_one(*masks):
    combined = combine_masks(*masks)
    if combined.shape == masks[0].shape and 0 not in masks[0].stride():
        masks[0].copy_(combined)
    return combined
