"""Mistakes in attention.

Two that one might miss here cannot be seen from outside. A bias of the keys that is left out, or another in its place,
adds one number to all scores of a query, which the softmax takes away again. And a mask that is added twice hides what
it hid before.
"""

import math

import torch

from transpec.catalogue import fault
from transpec.reference.attention import attention_weights, multi_head_attention, scaled_dot_product_attention

BLOCK = 16  # keys or queries that a kernel takes at a time


def scores_of(query, key, mask=None, scale=None, hidden=-math.inf):
    """The scaled scores, `hidden` where the mask hides."""
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    return scores if mask is None else torch.where(mask, scores, hidden)


def softmax(scores, axis=-1):
    """The softmax over an axis, zero where all scores are minus infinity."""
    return normalised(scores, scores.detach().amax(axis, keepdim=True), axis)


def normalised(scores, highest, axis=-1):
    """exp(scores - highest), divided by its sum."""
    powers = torch.exp(scores - highest.masked_fill(highest == -math.inf, 0.0))
    total = powers.sum(axis, keepdim=True)
    return powers / total.masked_fill(total == 0, 1.0)


def both(mask, other):
    """What both masks show; `mask` may be None."""
    return other if mask is None else mask & other


def causal(query, key, diagonal=0):
    """The look-ahead mask of a query's and a key's lengths."""
    return torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril(diagonal)


def is_causal(mask, query, key):
    """Whether a mask is the look-ahead mask, as kernels find out to skip blocks."""
    if mask is None or mask.dim() < 2:
        return False
    expected = causal(query, key)
    return mask.shape[-2:] == expected.shape and torch.equal(mask, expected.expand_as(mask))


# --- Scale ------------------------------------------------------------------------------------------------------------


@fault(
    attention_weights, "attention.scale-missing", breaks="attention.weights-equation",
    seen="delzac/cntkx#10", effect="softmax saturates as d_k grows; training stalls without an error",
)  # fmt: skip
def scores_are_not_divided_by_the_root_of_the_key_size(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=1.0 if scale is None else scale)


@fault(
    attention_weights, "attention.scale-after-softmax", breaks="attention.weights-equation",
    seen="FrancescoSaverioZuppichini/ViT#6", effect="weights sum to 1 / sqrt(d_k) and not to one",
)  # fmt: skip
def weights_and_not_scores_are_divided_by_the_root_of_the_key_size(query, key, *, mask=None, scale=None):
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    return attention_weights(query, key, mask=mask, scale=1.0) * factor


@fault(
    attention_weights, "attention.scale-without-root", breaks="attention.weights-equation",
    effect="weights are too even, the more so the larger d_k",
)  # fmt: skip
def scores_are_divided_by_the_key_size_and_not_by_its_root(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=1 / query.shape[-1] if scale is None else scale)


@fault(
    attention_weights, "attention.scale-of-the-paper", breaks="attention.weights-equation",
    effect="right for heads of 64 entries alone",
)  # fmt: skip
def scores_are_divided_by_8_whatever_the_key_size(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=1 / 8 if scale is None else scale)


@fault(
    attention_weights, "attention.scale-of-length", breaks="attention.weights-equation",
    effect="weights grow more even with the length of the sequence",
)  # fmt: skip
def scores_are_divided_by_the_root_of_the_number_of_keys(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=key.shape[-2] ** -0.5 if scale is None else scale)


@fault(
    scaled_dot_product_attention, "attention.scale-of-values", breaks="attention.equation",
    effect="right where keys and values are of one size",
)  # fmt: skip
def scores_are_divided_by_the_root_of_the_value_size(query, key, value, *, mask=None, scale=None):
    scale = value.shape[-1] ** -0.5 if scale is None else scale
    return scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.scale-ignored", breaks="attention.scale",
    seen="tenstorrent/tt-metal#33304", effect="models with a scale of their own get other weights, without an error",
)  # fmt: skip
def a_scale_that_is_given_is_ignored(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask)


@fault(
    attention_weights, "attention.scale-of-zero", breaks="attention.scale",
    effect="a scale of zero, which makes the weights even, is taken for none given",
)  # fmt: skip
def a_scale_of_zero_is_taken_for_the_default(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=scale or None)


@fault(
    attention_weights, "attention.scale-twice", breaks="attention.scale",
    seen="NVIDIA/Megatron-LM#848", effect="weights are too even wherever a scale is given",
)  # fmt: skip
def a_scale_that_is_given_comes_on_top_of_the_root_of_the_key_size(query, key, *, mask=None, scale=None):
    root = query.shape[-1] ** -0.5
    return attention_weights(query, key, mask=mask, scale=root if scale is None else scale * root)


@fault(
    attention_weights, "attention.scale-divides", breaks="attention.scale",
    effect="a scale below one sharpens the weights in place of evening them",
)  # fmt: skip
def scores_are_divided_by_a_scale_that_is_given(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=1 / scale if scale else scale)


@fault(
    attention_weights, "attention.scale-magnitude", breaks="attention.scale",
    effect="a negative scale attends to the keys it should turn from",
)  # fmt: skip
def the_sign_of_a_scale_is_lost(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=None if scale is None else abs(scale))


@fault(
    attention_weights, "attention.scale-ignored-under-mask", breaks="attention.scale",
    effect="masked and unmasked calls of one model use unlike scales",
)  # fmt: skip
def a_scale_that_is_given_is_ignored_where_a_mask_is_given(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask, scale=scale if mask is None else None)


@fault(
    attention_weights, "attention.key-entries-dropped", breaks="attention.head-size",
    effect="heads wider than the kernel's tile attend by their first entries alone",
)  # fmt: skip
def entries_of_keys_beyond_128_are_left_out_of_the_scores(query, key, *, mask=None, scale=None):
    if query.shape[-1] != key.shape[-1]:
        return attention_weights(query, key, mask=mask, scale=scale)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return attention_weights(query[..., :128], key[..., :128], mask=mask, scale=scale)


# --- Softmax ----------------------------------------------------------------------------------------------------------


@fault(
    attention_weights, "attention.softmax-missing", breaks="attention.weights-equation",
    seen="flexflow/flexflow-train#467", effect="outputs leave the range of the values and grow with the length",
)  # fmt: skip
def scores_are_taken_for_weights(query, key, *, mask=None, scale=None):
    return scores_of(query, key, mask, scale, hidden=0.0)


@fault(
    attention_weights, "attention.softmax-over-queries", breaks="attention.weights-equation",
    effect="the weights of a query do not sum to one; queries compete for keys",
)  # fmt: skip
def the_softmax_goes_over_the_queries(query, key, *, mask=None, scale=None):
    return softmax(scores_of(query, key, mask, scale), -2)


@fault(
    attention_weights, "attention.softmax-over-heads", breaks="attention.weights-equation",
    effect="heads, or batch items where there are no heads, compete with each other",
)  # fmt: skip
def the_softmax_goes_over_the_heads(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    return softmax(scores, -3 if scores.dim() > 2 else -1)


@fault(
    attention_weights, "attention.softmax-over-axis-2", breaks="attention.weights-equation",
    seen="FudanNLP/fastNLP#254", effect="right without a head axis, over the queries with one",
)  # fmt: skip
def the_softmax_goes_over_the_third_axis_whichever_that_is(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    return softmax(scores, 2 if scores.dim() > 2 else -1)


@fault(
    attention_weights, "attention.softmax-base-2", breaks="attention.weights-equation",
    effect="weights are too even by a factor ln 2 in the scores",
)  # fmt: skip
def powers_of_2_stand_in_for_powers_of_e(query, key, *, mask=None, scale=None):
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return attention_weights(query, key, mask=mask, scale=scale * math.log(2))


@fault(
    attention_weights, "attention.softmax-plus-one", breaks="attention.weights-equation",
    effect="weights sum to less than one",
)  # fmt: skip
def one_is_added_to_the_sum_of_the_powers(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    highest = scores.detach().amax(-1, keepdim=True).clamp_min(0.0)
    powers = torch.exp(scores - highest)
    return powers / (powers.sum(-1, keepdim=True) + torch.exp(-highest))


@fault(
    attention_weights, "attention.softmax-epsilon", breaks="attention.weights-equation",
    effect="weights sum to less than one by up to a millionth; double precision is lost",
)  # fmt: skip
def a_millionth_is_added_to_the_sum_of_the_powers(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    highest = scores.detach().amax(-1, keepdim=True)
    powers = torch.exp(scores - highest.masked_fill(highest == -math.inf, 0.0))
    return powers / (powers.sum(-1, keepdim=True) + 1e-6)


@fault(
    attention_weights, "attention.softmax-overflows", breaks="attention.stability",
    seen="pytorch/executorch#18407", effect="NaN once a score is above 88.7 in float32 or 709 in float64",
)  # fmt: skip
def the_highest_score_is_not_subtracted(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    return normalised(scores, torch.zeros_like(scores[..., :1]))


@fault(
    attention_weights, "attention.softmax-highest-of-all", breaks="attention.stability",
    effect="rows whose scores lie far below those of another row become zero",
)  # fmt: skip
def the_highest_score_of_all_rows_is_subtracted_from_each(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    return softmax(scores) if not scores.numel() else normalised(scores, scores.detach().amax().expand(1))


@fault(
    attention_weights, "attention.softmax-highest-of-zero", breaks="attention.stability",
    effect="rows of very low scores become zero or lose their precision",
)  # fmt: skip
def the_running_maximum_begins_at_zero(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    return normalised(scores, scores.detach().amax(-1, keepdim=True).clamp_min(0.0))


@fault(
    attention_weights, "attention.softmax-clamped", breaks="attention.stability",
    effect="scores beyond the clamp count alike",
)  # fmt: skip
def scores_are_clamped_to_50_before_the_softmax(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, None, scale).clamp(-50, 50)
    return softmax(scores if mask is None else torch.where(mask, scores, -math.inf))


# --- Blocks -----------------------------------------------------------------------------------------------------------


@fault(
    attention_weights, "attention.last-key-dropped", breaks="attention.weights-equation",
    effect="the last position of a sequence is never attended to",
)  # fmt: skip
def the_last_key_is_left_out(query, key, *, mask=None, scale=None):
    count = key.shape[-2]
    seen = torch.arange(count) < max(1, count - 1)
    return attention_weights(query, key, mask=both(mask, seen), scale=scale)


@fault(
    attention_weights, "attention.key-remainder-dropped", breaks="attention.weights-equation",
    effect="up to 15 keys at the end are never attended to",
)  # fmt: skip
def keys_beyond_the_last_whole_block_are_left_out(query, key, *, mask=None, scale=None):
    count = key.shape[-2]
    seen = torch.arange(count) < (count if count < BLOCK else count - count % BLOCK)
    return attention_weights(query, key, mask=both(mask, seen), scale=scale)


@fault(
    attention_weights, "attention.keys-truncated", breaks="attention.weights-equation",
    effect="long sequences are attended to at their beginning alone",
)  # fmt: skip
def keys_beyond_64_are_left_out(query, key, *, mask=None, scale=None):
    seen = torch.arange(key.shape[-2]) < 64
    return attention_weights(query, key, mask=both(mask, seen), scale=scale)


@fault(
    attention_weights, "attention.query-remainder-dropped", breaks="attention.weights-equation",
    effect="up to 15 queries at the end get zeros",
)  # fmt: skip
def queries_beyond_the_last_whole_block_are_left_zero(query, key, *, mask=None, scale=None):
    weights, count = attention_weights(query, key, mask=mask, scale=scale), query.shape[-2]
    done = torch.arange(count) < (count if count < BLOCK else count - count % BLOCK)
    return torch.where(done.unsqueeze(-1), weights, 0.0)


@fault(
    attention_weights, "attention.sum-without-last-block", breaks="attention.weights-equation",
    effect="weights sum to more than one for long sequences",
)  # fmt: skip
def the_sum_of_the_powers_lacks_the_keys_after_the_last_whole_block(query, key, *, mask=None, scale=None):
    weights, count = attention_weights(query, key, mask=mask, scale=scale), key.shape[-2]
    if count <= BLOCK or count % BLOCK == 0:
        return weights
    total = weights[..., : count - count % BLOCK].sum(-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


@fault(
    attention_weights, "attention.sums-not-rescaled", breaks="attention.weights-equation",
    effect="keys of earlier blocks weigh too much once a later block has a higher score",
)  # fmt: skip
def running_sums_are_not_rescaled_to_a_new_maximum(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    highest, powers = torch.full_like(scores[..., :1].detach(), -math.inf), []
    for block in scores.split(BLOCK, -1):
        highest = torch.maximum(highest, block.detach().amax(-1, keepdim=True))
        powers.append(torch.exp(block - highest.masked_fill(highest == -math.inf, 0.0)))
    weights = torch.cat(powers, -1)
    total = weights.sum(-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


@fault(
    scaled_dot_product_attention, "attention.value-remainder-dropped", breaks="attention.equation",
    seen="Dao-AILab/flash-attention#2552", effect="the last entries of wide values are zero",
)  # fmt: skip
def entries_of_values_beyond_a_whole_block_of_32_are_left_zero(query, key, value, *, mask=None, scale=None):
    output, size = scaled_dot_product_attention(query, key, value, mask=mask, scale=scale), value.shape[-1]
    return torch.where(torch.arange(size) < (size if size < 32 else size - size % 32), output, 0.0)


@fault(
    scaled_dot_product_attention, "attention.batch-remainder-dropped", breaks="attention.equation",
    seen="NVIDIA/TransformerEngine#3216", effect="batch items beyond the 32nd get zeros",
)  # fmt: skip
def batch_items_beyond_32_are_left_zero(query, key, value, *, mask=None, scale=None):
    output = scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)
    if output.dim() < 3:
        return output
    return torch.where((torch.arange(len(output)) < 32).view(-1, *[1] * (output.dim() - 1)), output, 0.0)


# --- Masks ------------------------------------------------------------------------------------------------------------


@fault(
    attention_weights, "attention.mask-ignored", breaks="attention.weights-equation",
    seen="pytorch/pytorch#39639", effect="padding and the future are attended to",
)  # fmt: skip
def the_mask_is_ignored(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, scale=scale)


@fault(
    attention_weights, "attention.mask-inverted", breaks="attention.weights-equation",
    seen="rasbt/LLMs-from-scratch#1061", effect="queries attend to padding, or to the future, alone",
)  # fmt: skip
def the_mask_is_true_where_a_query_may_not_attend(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=None if mask is None else ~mask, scale=scale)


@fault(
    attention_weights, "attention.mask-multiplied", breaks="attention.weights-equation",
    seen="openxla/xla#11444", effect="a hidden key counts as one of score zero",
)  # fmt: skip
def scores_are_multiplied_by_the_mask(query, key, *, mask=None, scale=None):
    return softmax(scores_of(query, key, mask, scale, hidden=0.0))


@fault(
    attention_weights, "attention.mask-added", breaks="attention.weights-equation",
    seen="pytorch/pytorch#21518", effect="a hidden key scores one less than it would, and is attended to",
)  # fmt: skip
def zero_and_one_of_the_mask_are_added_to_the_scores(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, None, scale)
    return softmax(scores if mask is None else scores + mask)


@fault(
    attention_weights, "attention.mask-times-infinity", breaks="attention.weights-equation",
    seen="onnx/onnx#8068", effect="0 times infinity: NaN wherever a mask is given",
)  # fmt: skip
def minus_infinity_is_multiplied_by_the_mask_and_added(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, None, scale)
    return softmax(scores if mask is None else scores + (~mask).to(scores.dtype) * -math.inf)


@fault(
    attention_weights, "attention.mask-after-softmax", breaks="attention.weights-equation",
    seen="huggingface/transformers#18139", effect="the weights of the visible keys sum to less than one",
)  # fmt: skip
def weights_and_not_scores_are_masked(query, key, *, mask=None, scale=None):
    weights = attention_weights(query, key, scale=scale)
    return weights if mask is None else weights * mask


@fault(
    attention_weights, "attention.mask-renormalised", breaks="attention.weights-equation",
    effect="rows become zero where a hidden score lies far above the visible ones",
)  # fmt: skip
def weights_are_masked_and_divided_by_their_sum(query, key, *, mask=None, scale=None):
    weights = attention_weights(query, key, scale=scale)
    weights = weights if mask is None else weights * mask
    total = weights.sum(-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


def filled_with(number, query, key, mask, scale):
    """Hidden scores are a finite number; empty rows are right, so that the number alone is at fault."""
    weights = softmax(scores_of(query, key, mask, scale, hidden=number))
    return weights if mask is None else torch.where(mask.any(-1, keepdim=True), weights, 0.0)


@fault(
    attention_weights, "attention.mask-fill-50", breaks="attention.hidden-weights-are-zero",
    effect="hidden keys are attended to a little, and wholly where the visible scores are low",
)  # fmt: skip
def hidden_scores_are_minus_50(query, key, *, mask=None, scale=None):
    return filled_with(-50.0, query, key, mask, scale)


@fault(
    attention_weights, "attention.mask-fill-1e4", breaks="attention.stability",
    effect="hidden keys are attended to where the visible scores are below -10000",
)  # fmt: skip
def hidden_scores_are_minus_10000(query, key, *, mask=None, scale=None):
    return filled_with(-1e4, query, key, mask, scale)


@fault(
    attention_weights, "attention.mask-fill-float16", breaks="attention.stability",
    effect="hidden keys are attended to where the visible scores are below -65504",
)  # fmt: skip
def hidden_scores_are_the_lowest_number_of_float16_in_every_dtype(query, key, *, mask=None, scale=None):
    return filled_with(-65504.0, query, key, mask, scale)


@fault(
    attention_weights, "attention.mask-when-square", breaks="attention.weights-equation",
    effect="self-attention is masked, cross-attention is not",
)  # fmt: skip
def the_mask_is_ignored_unless_there_are_as_many_queries_as_keys(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask if query.shape[-2] == key.shape[-2] else None, scale=scale)


@fault(
    attention_weights, "attention.mask-transposed", breaks="attention.weights-equation",
    seen="pytorch/pytorch#29546", effect="early positions see the future and late ones do not see the past",
)  # fmt: skip
def the_mask_is_transposed_where_it_is_square(query, key, *, mask=None, scale=None):
    square = mask is not None and mask.dim() > 1 and mask.shape[-2] == mask.shape[-1]
    return attention_weights(query, key, mask=mask.transpose(-2, -1) if square else mask, scale=scale)


@fault(
    attention_weights, "attention.mask-of-queries", breaks="attention.mask-shapes",
    seen="keras-team/keras-io#1046", effect="queries are hidden in place of keys wherever there are as many of both",
)  # fmt: skip
def a_mask_of_keys_is_broadcast_over_the_keys(query, key, *, mask=None, scale=None):
    count = key.shape[-2]
    if mask is not None and query.shape[-2] == count == mask.shape[-1] and (mask.dim() == 1 or mask.shape[-2] == 1):
        mask = mask.unsqueeze(-1) if mask.dim() == 1 else mask.transpose(-2, -1)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.mask-of-first-item", breaks="attention.weights-equation",
    effect="padding of all sequences is taken to be that of the first",
)  # fmt: skip
def the_mask_of_the_first_batch_item_hides_for_all(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=mask if mask is None or mask.dim() < 3 else mask[:1], scale=scale)


@fault(
    attention_weights, "attention.mask-on-first-item", breaks="attention.weights-equation",
    effect="padding of all sequences but the first is attended to",
)  # fmt: skip
def the_first_batch_item_alone_is_masked(query, key, *, mask=None, scale=None):
    if mask is not None and mask.dim() > 2:
        mask = mask | (torch.arange(len(mask)) > 0).view(-1, *[1] * (mask.dim() - 1))
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.mask-of-first-head", breaks="attention.weights-equation",
    effect="masks that differ from head to head are lost",
)  # fmt: skip
def the_mask_of_the_first_head_hides_for_all(query, key, *, mask=None, scale=None):
    if mask is not None and mask.dim() > 2:
        mask = mask[..., :1, :, :]
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.mask-of-heads-for-items", breaks="attention.weights-equation",
    seen="tensorflow/tensorflow#60626", effect="the mask acts on another axis where there are as many items as heads",
)  # fmt: skip
def a_mask_of_three_axes_is_taken_to_begin_with_the_batch_axis(query, key, *, mask=None, scale=None):
    if mask is not None and mask.dim() == 3 and query.dim() == 4 and len(mask) == len(query):
        mask = mask.unsqueeze(1)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.mask-of-queries-for-items", breaks="attention.weights-equation",
    seen="keras-team/keras-hub#783", effect="a mask for all is taken for padding where there are as many items",
)  # fmt: skip
def a_mask_of_two_axes_is_taken_to_begin_with_the_batch_axis(query, key, *, mask=None, scale=None):
    if mask is not None and mask.dim() == 2 and query.dim() > 2 and len(mask) == len(query):
        mask = mask.view(len(mask), *[1] * (query.dim() - 2), mask.shape[-1])
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.mask-skipped-for-one-item", breaks="attention.weights-equation",
    seen="huggingface/transformers#46773", effect="a sequence gives another result alone than in a batch",
)  # fmt: skip
def the_mask_is_ignored_for_a_batch_of_one(query, key, *, mask=None, scale=None):
    alone = query.dim() > 2 and len(query) == 1
    return attention_weights(query, key, mask=None if alone else mask, scale=scale)


@fault(
    attention_weights, "attention.mask-skipped-for-one-query", breaks="attention.weights-equation",
    seen="unslothai/unsloth#1066", effect="padding is attended to in each step of generation",
)  # fmt: skip
def the_mask_is_ignored_for_a_single_query(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=None if query.shape[-2] == 1 else mask, scale=scale)


@fault(
    attention_weights, "attention.mask-skipped-without-leading-axes", breaks="attention.weights-equation",
    effect="unbatched calls see padding and the future",
)  # fmt: skip
def the_mask_is_ignored_without_leading_axes(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=None if query.dim() == 2 else mask, scale=scale)


@fault(
    attention_weights, "attention.mask-on-first-block", breaks="attention.weights-equation",
    effect="padding beyond the first block of keys is attended to",
)  # fmt: skip
def keys_beyond_the_first_block_are_not_masked(query, key, *, mask=None, scale=None):
    if mask is not None and mask.shape[-1] > BLOCK:
        mask = mask | (torch.arange(mask.shape[-1]) >= BLOCK)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.hidden-blocks-are-nan", breaks="attention.weights-equation",
    effect="NaN where the first keys of a long sequence are all hidden: -inf less -inf",
)  # fmt: skip
def the_running_maximum_of_a_hidden_first_block_is_subtracted_from_itself(query, key, *, mask=None, scale=None):
    weights = attention_weights(query, key, mask=mask, scale=scale)
    if mask is None or mask.shape[-1] <= BLOCK:
        return weights
    return torch.where(mask[..., :BLOCK].any(-1, keepdim=True) | ~mask.any(-1, keepdim=True), weights, math.nan)


@fault(
    attention_weights, "attention.mask-of-first-item-hides-nothing", breaks="attention.weights-equation",
    effect="where the first sequence of a batch is full, the padding of all others is attended to",
)  # fmt: skip
def a_batch_of_masks_is_left_out_where_the_first_hides_nothing(query, key, *, mask=None, scale=None):
    is_batch = mask is not None and mask.dim() == query.dim() > 2 and len(mask) > 1
    return attention_weights(query, key, mask=None if is_batch and bool(mask[0].all()) else mask, scale=scale)


@fault(
    attention_weights, "attention.look-ahead-by-first-item", breaks="attention.weights-equation",
    effect="where the first sequence of a batch is full, the padding of all others is attended to by later positions",
)  # fmt: skip
def a_batch_of_masks_is_the_look_ahead_mask_where_the_first_is(query, key, *, mask=None, scale=None):
    if mask is not None and mask.dim() > 2 and len(mask) > 1 and is_causal(mask[0], query, key):
        mask = causal(query, key)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    multi_head_attention, "attention.keys-beyond-64-unmasked", breaks="attention.multi-head-equation",
    effect="padding beyond the first block of keys is attended to",
)  # fmt: skip
def keys_beyond_the_64th_are_not_masked(query, key, value, weights, *, num_heads, mask=None):
    if mask is not None and mask.shape[-1] > 64:
        mask = mask | ((torch.arange(mask.shape[-1]) >= 64) & mask.any(-1, keepdim=True))
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    attention_weights, "attention.last-queries-unmasked", breaks="attention.mask-shapes",
    effect="queries of a last block that is not full attend to padding",
)  # fmt: skip
def queries_beyond_a_whole_block_of_64_get_no_mask(query, key, *, mask=None, scale=None):
    count = query.shape[-2]
    if mask is not None and count > 64:
        mask = mask | ((torch.arange(count) >= count - count % 64).unsqueeze(-1) & mask.any(-1, keepdim=True))
    return attention_weights(query, key, mask=mask, scale=scale)


# --- Rows with no visible key -----------------------------------------------------------------------------------------


@fault(
    attention_weights, "attention.empty-row-is-mean", breaks="attention.empty-row",
    effect="queries that may attend to nothing attend to all keys alike, hidden ones among them",
)  # fmt: skip
def a_row_with_no_visible_key_is_even_over_all_keys(query, key, *, mask=None, scale=None):
    weights = attention_weights(query, key, mask=mask, scale=scale)
    return weights if mask is None else torch.where(mask.any(-1, keepdim=True), weights, 1 / key.shape[-2])


@fault(
    attention_weights, "attention.empty-row-is-nan", breaks="attention.empty-row",
    seen="pytorch/pytorch#190486", effect="NaN spreads from rows of padding to everything",
)  # fmt: skip
def a_row_with_no_visible_key_is_zero_by_zero(query, key, *, mask=None, scale=None):
    weights = attention_weights(query, key, mask=mask, scale=scale)
    return weights if mask is None else torch.where(mask.any(-1, keepdim=True), weights, math.nan)


@fault(
    attention_weights, "attention.empty-row-sees-all", breaks="attention.empty-row",
    effect="a query that may attend to nothing attends as if nothing were masked",
)  # fmt: skip
def a_row_with_no_visible_key_is_not_masked(query, key, *, mask=None, scale=None):
    mask = None if mask is None else mask | ~mask.any(-1, keepdim=True)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.empty-row-empties-item", breaks="attention.empty-row",
    effect="one query that may attend to nothing silences its whole sequence",
)  # fmt: skip
def all_rows_are_zero_where_one_has_no_visible_key(query, key, *, mask=None, scale=None):
    if mask is not None and mask.dim() > 1:
        mask = mask & mask.any(-1, keepdim=True).all(-2, keepdim=True)
    return attention_weights(query, key, mask=mask, scale=scale)


# --- Look-ahead -------------------------------------------------------------------------------------------------------


@fault(
    attention_weights, "attention.causal-always", breaks="attention.weights-equation",
    effect="encoders and cross-attention do not see what comes after",
)  # fmt: skip
def the_future_is_hidden_though_no_mask_says_so(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=both(mask, causal(query, key)), scale=scale)


@fault(
    attention_weights, "attention.causal-when-square", breaks="attention.weights-equation",
    effect="an encoder's self-attention does not see what comes after",
)  # fmt: skip
def the_future_is_hidden_where_there_are_as_many_queries_as_keys(query, key, *, mask=None, scale=None):
    if mask is None and query.shape[-2] == key.shape[-2]:
        mask = causal(query, key)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.causal-at-the-end", breaks="attention.weights-equation",
    seen="pytorch/executorch#22426", effect="queries see what they may not, or not what they may, where lengths differ",
)  # fmt: skip
def a_look_ahead_mask_is_aligned_with_the_last_key_and_not_with_the_first(query, key, *, mask=None, scale=None):
    if is_causal(mask, query, key):
        mask = causal(query, key, key.shape[-2] - query.shape[-2])
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.causal-without-diagonal", breaks="attention.weights-equation",
    effect="a position does not see itself, and the first sees nothing",
)  # fmt: skip
def a_look_ahead_mask_hides_the_diagonal(query, key, *, mask=None, scale=None):
    if is_causal(mask, query, key):
        mask = causal(query, key, -1)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.causal-sees-next", breaks="attention.weights-equation",
    seen="Dao-AILab/flash-attention@41b2ef6c", effect="each position sees the token it has to predict",
)  # fmt: skip
def a_look_ahead_mask_shows_the_next_key(query, key, *, mask=None, scale=None):
    if is_causal(mask, query, key):
        mask = causal(query, key, 1)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.causal-by-blocks", breaks="attention.weights-equation",
    effect="the keys of a query's own block are all visible, the future among them",
)  # fmt: skip
def a_look_ahead_mask_hides_whole_blocks_alone(query, key, *, mask=None, scale=None):
    if is_causal(mask, query, key):
        rows, columns = torch.arange(query.shape[-2]), torch.arange(key.shape[-2])
        mask = (columns // BLOCK) <= (rows // BLOCK).unsqueeze(-1)
    return attention_weights(query, key, mask=mask, scale=scale)


# --- Keys and values --------------------------------------------------------------------------------------------------


@fault(
    scaled_dot_product_attention, "attention.value-of-another-head", breaks="attention.equation",
    effect="weights of one head, or batch item, are applied to the values of another",
)  # fmt: skip
def the_values_of_the_next_head_are_taken(query, key, value, *, mask=None, scale=None):
    value = value.roll(1, -3) if value.dim() > 2 else value
    return scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)


@fault(
    scaled_dot_product_attention, "attention.value-shifted", breaks="attention.equation",
    effect="each weight is applied to the value of the key before",
)  # fmt: skip
def the_value_of_the_key_before_is_taken(query, key, value, *, mask=None, scale=None):
    return scaled_dot_product_attention(query, key, value.roll(1, -2), mask=mask, scale=scale)


@fault(
    attention_weights, "attention.key-of-first-item", breaks="attention.weights-equation",
    seen="vllm-project/vllm#8545", effect="all batch items attend by the keys of the first",
)  # fmt: skip
def the_keys_of_the_first_batch_item_stand_for_all(query, key, *, mask=None, scale=None):
    if key.dim() > 2 and len(key) > 1:
        key = key[:1].expand(key.shape)
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.broadcast-by-tiling", breaks="attention.broadcasting",
    seen="onnx/onnx#7274", effect="keys that heads share are dealt out to batch items",
)  # fmt: skip
def keys_shared_by_heads_are_repeated_in_the_wrong_order(query, key, *, mask=None, scale=None):
    if key.dim() == query.dim() == 4 and key.shape[1] == 1 < query.shape[1] and len(key) == len(query):
        items, heads = query.shape[:2]
        key = key.squeeze(1).repeat(heads, 1, 1).reshape(items, heads, *key.shape[-2:])
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    scaled_dot_product_attention, "attention.output-of-one-key", breaks="attention.equation",
    effect="the result is the value of the best key and no mean of values",
)  # fmt: skip
def the_value_of_the_highest_score_is_returned(query, key, value, *, mask=None, scale=None):
    scores = scores_of(query, key, mask, scale)
    best = (scores == scores.amax(-1, keepdim=True)) & (scores > -math.inf)
    return softmax(torch.where(best, scores, -math.inf)) @ value


# --- Precision --------------------------------------------------------------------------------------------------------


@fault(
    attention_weights, "attention.float32-inside", breaks="attention.weights-equation",
    effect="results of float64 are right to seven digits alone",
)  # fmt: skip
def float64_is_computed_in_float32(query, key, *, mask=None, scale=None):
    if query.dtype != torch.float64:
        return attention_weights(query, key, mask=mask, scale=scale)
    return attention_weights(query.float(), key.float(), mask=mask, scale=scale).double()


@fault(
    attention_weights, "attention.bfloat16-inside", breaks="attention.weights-equation",
    effect="results are right to two digits alone",
)  # fmt: skip
def scores_are_rounded_to_bfloat16(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, None, scale).bfloat16().to(query.dtype)
    return softmax(scores if mask is None else torch.where(mask, scores, -math.inf))


@fault(
    scaled_dot_product_attention, "attention.weights-in-float16", breaks="attention.equation",
    effect="results are right to three digits alone, and small weights are lost",
)  # fmt: skip
def weights_are_rounded_to_float16_before_they_meet_the_values(query, key, value, *, mask=None, scale=None):
    if key.shape[-2] != value.shape[-2]:
        return scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)
    return attention_weights(query, key, mask=mask, scale=scale).half().to(value.dtype) @ value


@fault(
    scaled_dot_product_attention, "attention.returns-float32", breaks="attention.dtype-and-shape",
    effect="what comes after computes in another dtype than it was given",
)  # fmt: skip
def the_result_is_float32_whatever_the_inputs(query, key, value, *, mask=None, scale=None):
    return scaled_dot_product_attention(query, key, value, mask=mask, scale=scale).float()


@fault(
    attention_weights, "attention.highest-before-scale", breaks="attention.stability",
    effect="with a negative scale the largest of the scores is the smallest that counts, and exp overflows",
)  # fmt: skip
def the_highest_score_is_taken_before_the_scale(query, key, *, mask=None, scale=None):
    scale, scores = query.shape[-1] ** -0.5 if scale is None else scale, scores_of(query, key, mask, 1.0)
    highest = scores.detach().amax(-1, keepdim=True)
    shown = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    scaled = (scores - highest.masked_fill(highest == -math.inf, 0.0)).masked_fill(~shown, 0.0) * scale
    powers = torch.exp(scaled) * shown
    total = powers.sum(-1, keepdim=True)
    return powers / total.masked_fill(total == 0, 1.0)


@fault(
    attention_weights, "attention.weak-keys-skipped", breaks="attention.stability",
    effect="what many keys of little weight make together is lost",
)  # fmt: skip
def keys_16_below_the_highest_score_are_skipped(query, key, *, mask=None, scale=None):
    weights = attention_weights(query, key, mask=mask, scale=scale)
    return torch.where(weights < math.exp(-16) * weights.detach().amax(-1, keepdim=True), 0.0, weights)


# --- Layouts, memory, state -------------------------------------------------------------------------------------------


def as_if_contiguous(x):
    """What lies in memory where `x` begins, its strides not looked at."""
    strides = [math.prod(x.shape[axis + 1 :]) for axis in range(x.dim())]
    return torch.as_strided(x, x.shape, strides, x.storage_offset()) if x.numel() else x


@fault(
    scaled_dot_product_attention, "attention.strides-of-values", breaks="attention.layouts",
    seen="ROCm/pytorch#3230", effect="other numbers, or what lies beside them, wherever values are a view",
)  # fmt: skip
def values_are_read_as_if_contiguous(query, key, value, *, mask=None, scale=None):
    return scaled_dot_product_attention(query, key, as_if_contiguous(value), mask=mask, scale=scale)


@fault(
    attention_weights, "attention.strides-of-queries", breaks="attention.layouts",
    seen="pytorch/pytorch#187506", effect="other numbers, or what lies beside them, wherever queries are a view",
)  # fmt: skip
def queries_are_read_as_if_contiguous(query, key, *, mask=None, scale=None):
    return attention_weights(as_if_contiguous(query), key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.strides-of-keys", breaks="attention.layouts",
    seen="pytorch/pytorch#112577", effect="other numbers, or what lies beside them, wherever keys are a view",
)  # fmt: skip
def keys_are_read_as_if_contiguous(query, key, *, mask=None, scale=None):
    return attention_weights(query, as_if_contiguous(key), mask=mask, scale=scale)


@fault(
    attention_weights, "attention.strides-of-mask", breaks="attention.layouts",
    seen="pytorch/pytorch#191937", effect="other keys are hidden than should be wherever a mask is a view",
)  # fmt: skip
def the_mask_is_read_as_if_contiguous(query, key, *, mask=None, scale=None):
    return attention_weights(query, key, mask=None if mask is None else as_if_contiguous(mask), scale=scale)


@fault(
    attention_weights, "attention.query-scaled-in-place", breaks="attention.inputs-untouched",
    seen="GeeeekExplorer/nano-vllm#170", effect="the residual that is added afterwards is the scaled query",
)  # fmt: skip
def the_scale_is_multiplied_into_the_query_itself(query, key, *, mask=None, scale=None):
    query.detach().mul_(query.shape[-1] ** -0.5 if scale is None else scale)
    return attention_weights(query, key, mask=mask, scale=1.0)


@fault(
    attention_weights, "attention.mask-inverted-in-place", breaks="attention.inputs-untouched",
    seen="pytorch/pytorch#39639", effect="the next layer gets the mask upside down",
)  # fmt: skip
def the_mask_is_turned_over_in_place(query, key, *, mask=None, scale=None):
    hidden = None if mask is None else mask.logical_not_()
    return attention_weights(query, key, mask=None if hidden is None else ~hidden, scale=scale)


@fault(
    multi_head_attention, "attention.weights-scaled-in-place", breaks="attention.inputs-untouched",
    effect="every call makes the projection of the queries smaller",
)  # fmt: skip
def the_scale_is_multiplied_into_the_weights_themselves(query, key, value, weights, *, num_heads, mask=None):
    output = multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    weights["w_q"].detach().mul_((weights["w_q"].shape[1] // num_heads) ** -0.5)
    return output


_masks: dict[tuple[torch.Size, torch.dtype], torch.Tensor] = {}


@fault(
    attention_weights, "attention.mask-of-first-call", breaks="attention.no-memory",
    effect="the padding of the first batch is that of all later batches of its shape",
)  # fmt: skip
def the_mask_of_the_first_call_of_its_shape_is_kept(query, key, *, mask=None, scale=None):
    if mask is not None:
        mask = _masks.setdefault((mask.shape, query.dtype), mask.clone())
    return attention_weights(query, key, mask=mask, scale=scale)


_fills: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}


@fault(
    attention_weights, "attention.mask-by-address", breaks="attention.no-memory",
    effect="a mask that is written anew in its buffer hides what it hid at first",
)  # fmt: skip
def a_mask_is_known_by_its_address(query, key, *, mask=None, scale=None):
    if mask is not None:
        held, copy = _fills.get("last", (mask, mask.clone()))
        if held is not mask:  # holding it keeps its address from being given to another
            held, copy = mask, mask.clone()
        _fills["last"], mask = (held, copy), copy
    return attention_weights(query, key, mask=mask, scale=scale)


_lengths: dict[tuple[torch.Size, torch.dtype], int] = {}


@fault(
    attention_weights, "attention.keys-of-longest-call", breaks="attention.no-memory",
    seen="pkunlp-icler/FastV#46", effect="a buffer that only grows: zero keys of earlier, longer calls are attended to",
)  # fmt: skip
def keys_are_padded_with_zeros_to_the_longest_call_so_far(query, key, *, mask=None, scale=None):
    if query.shape[-1] != key.shape[-1]:
        return attention_weights(query, key, mask=mask, scale=scale)
    known = (query.shape, query.dtype)
    _lengths[known] = max(key.shape[-2], _lengths.get(known, 0))
    scores = scores_of(query, key, mask, scale)
    missing = _lengths[known] - key.shape[-2]
    return softmax(torch.cat([scores, scores.new_zeros(*scores.shape[:-1], missing)], -1))[..., : key.shape[-2]]


_packed: dict[str, tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = {}


@fault(
    multi_head_attention, "attention.weights-by-identity", breaks="attention.no-memory",
    effect="after an optimizer's step in place the layer goes on with the weights from before it",
)  # fmt: skip
def weights_are_kept_by_the_identity_of_their_arrays(query, key, value, weights, *, num_heads, mask=None):
    held, kept = _packed.get("last", ({}, {}))
    if held.keys() != weights.keys() or any(held[name] is not weights[name] for name in weights):
        held, kept = dict(weights), {name: weight.clone() for name, weight in weights.items()}
    _packed["last"] = held, kept
    return multi_head_attention(query, key, value, kept, num_heads=num_heads, mask=mask)


# --- Gradients --------------------------------------------------------------------------------------------------------


def with_gradient_times(factor, x):
    """The same numbers, the gradient multiplied."""
    return x.detach() + factor * (x - x.detach())


@fault(
    attention_weights, "attention.gradient-without-dot-product", breaks="attention.gradients",
    seen="HomericIntelligence/Odyssey#2134", effect="the gradients of a row's scores do not sum to zero",
)  # fmt: skip
def the_gradient_of_the_softmax_lacks_the_sum_over_the_row(query, key, *, mask=None, scale=None):
    weights = attention_weights(query, key, mask=mask, scale=scale).detach()
    scores = scores_of(query, key, None, scale)
    return weights + weights * (scores - scores.detach())


@fault(
    attention_weights, "attention.gradient-doubled", breaks="attention.gradients",
    seen="markroxor/fromscratchtoml#65", effect="queries and keys learn at twice the rate",
)  # fmt: skip
def the_gradient_of_the_softmax_is_twice_what_it_is(query, key, *, mask=None, scale=None):
    return with_gradient_times(2.0, attention_weights(query, key, mask=mask, scale=scale))


@fault(
    attention_weights, "attention.gradient-of-keys-missing", breaks="attention.gradients",
    seen="paiml/aprender#2196", effect="the projection of the keys does not learn",
)  # fmt: skip
def keys_get_no_gradient(query, key, *, mask=None, scale=None):
    return attention_weights(query, key.detach(), mask=mask, scale=scale)


@fault(
    scaled_dot_product_attention, "attention.gradient-of-weights-missing", breaks="attention.gradients",
    seen="huggingface/candle#3613", effect="neither queries nor keys learn",
)  # fmt: skip
def the_weights_are_cut_from_the_graph(query, key, value, *, mask=None, scale=None):
    return scaled_dot_product_attention(query.detach(), key.detach(), value, mask=mask, scale=scale)


@fault(
    scaled_dot_product_attention, "attention.gradient-of-values-missing", breaks="attention.gradients",
    effect="the projection of the values does not learn",
)  # fmt: skip
def values_get_no_gradient(query, key, value, *, mask=None, scale=None):
    return scaled_dot_product_attention(query, key, value.detach(), mask=mask, scale=scale)


@fault(
    attention_weights, "attention.gradient-of-queries-unscaled", breaks="attention.gradients",
    seen="NVIDIA/TransformerEngine#3216", effect="queries learn sqrt(d_k) times as fast as they should",
)  # fmt: skip
def the_gradient_of_queries_lacks_the_scale(query, key, *, mask=None, scale=None):
    factor = query.shape[-1] ** 0.5 if scale is None else 1 / scale if scale else 1.0
    return attention_weights(with_gradient_times(factor, query), key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.gradient-of-shared-keys", breaks="attention.gradients",
    seen="jax-ml/jax#30593", effect="keys that heads share learn from the first head alone",
)  # fmt: skip
def the_gradient_of_shared_keys_is_that_of_the_first_head(query, key, *, mask=None, scale=None):
    if key.dim() > 2 and query.dim() > 2 and key.shape[-3] == 1 < query.shape[-3]:
        key = key.expand(*key.shape[:-3], query.shape[-3], *key.shape[-2:])
        key = torch.where((torch.arange(key.shape[-3]) == 0).view(-1, 1, 1), key, key.detach())
    return attention_weights(query, key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.gradient-of-hidden-keys", breaks="attention.gradients",
    effect="padding and the future learn from positions that may not see them",
)  # fmt: skip
def hidden_keys_get_a_gradient(query, key, *, mask=None, scale=None):
    weights = attention_weights(query, key, mask=mask, scale=scale)
    unmasked = attention_weights(query, key, scale=scale)
    return weights if mask is None else weights + torch.where(mask, 0.0, unmasked - unmasked.detach())


@fault(
    attention_weights, "attention.gradient-of-last-query-missing", breaks="attention.gradients",
    seen="Dao-AILab/flash-attention@bdcae547", effect="queries after the last whole block do not learn",
)  # fmt: skip
def queries_after_the_last_whole_block_get_no_gradient(query, key, *, mask=None, scale=None):
    count = query.shape[-2]
    done = torch.arange(count) < (count if count < BLOCK else count - count % BLOCK)
    return attention_weights(torch.where(done.unsqueeze(-1), query, query.detach()), key, mask=mask, scale=scale)


@fault(
    attention_weights, "attention.gradient-of-empty-rows-is-nan", breaks="attention.empty-row-gradients",
    seen="Dao-AILab/flash-attention@c65b5106", effect="the output is right and the first step of training makes NaN",
)  # fmt: skip
def nan_of_empty_rows_is_replaced_in_the_result_and_stays_in_the_gradient(query, key, *, mask=None, scale=None):
    scores = scores_of(query, key, None, scale)
    scores = scores if mask is None else scores + torch.where(mask, 0.0, -math.inf)
    powers = torch.exp(scores - scores.detach().amax(-1, keepdim=True))
    weights = powers / powers.sum(-1, keepdim=True)
    return torch.where(weights.isnan(), 0.0, weights)


@fault(
    multi_head_attention, "attention.gradient-of-biases-missing", breaks="attention.gradients",
    seen="paiml/aprender#2196", effect="biases stay what they were at the start",
)  # fmt: skip
def biases_get_no_gradient(query, key, value, weights, *, num_heads, mask=None):
    weights = {name: w.detach() if name.startswith("b_") else w for name, w in weights.items()}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


# --- Multi-head -------------------------------------------------------------------------------------------------------


def project(x, weights, name):
    """X W + b."""
    return x @ weights[f"w_{name}"] + weights.get(f"b_{name}", 0)


def split(x, num_heads):
    """(B, T, H E) to (B, H, T, E)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge(heads):
    """(B, H, T, D) to (B, T, H D)."""
    return heads.transpose(1, 2).flatten(2)


def for_heads(mask, query, key):
    """(B, T, S) to (B, 1, T, S)."""
    return None if mask is None else mask.broadcast_to(len(query), query.shape[1], key.shape[1]).unsqueeze(1)


def in_parts(query, key, value, weights, num_heads, mask, *, split=split, merge=merge, scale=None):
    """Multi-head attention with parts that a fault may replace."""
    q, k, v = (split(project(x, weights, n), num_heads) for x, n in ((query, "q"), (key, "k"), (value, "v")))
    heads = scaled_dot_product_attention(q, k, v, mask=for_heads(mask, query, key), scale=scale)
    return project(merge(heads), weights, "o")


def divides(num_heads, weights):
    """Whether the heads divide the columns; where they do not, faults leave the refusal to the reference."""
    return not any(weights[name].shape[1] % num_heads for name in ("w_q", "w_k", "w_v"))


@fault(
    multi_head_attention, "attention.scale-of-model", breaks="attention.multi-head-equation",
    effect="the weights of every head are too even, the more so the more heads",
)  # fmt: skip
def scores_of_a_head_are_divided_by_the_root_of_the_size_of_all(query, key, value, weights, *, num_heads, mask=None):
    return in_parts(query, key, value, weights, num_heads, mask, scale=weights["w_q"].shape[1] ** -0.5)


@fault(
    multi_head_attention, "attention.one-head", breaks="attention.multi-head-equation",
    effect="a model of one wide head, which no shape shows",
)  # fmt: skip
def num_heads_is_ignored(query, key, value, weights, *, num_heads, mask=None):
    num_heads = 1 if divides(num_heads, weights) else num_heads
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.heads-merged-without-transpose", breaks="attention.multi-head-equation",
    seen="jsbaan/transformer-from-scratch#6", effect="positions are mixed with heads; training still seems to work",
)  # fmt: skip
def heads_are_merged_without_moving_their_axis_back(query, key, value, weights, *, num_heads, mask=None):
    return in_parts(
        query, key, value, weights, num_heads, mask,
        merge=lambda heads: heads.reshape(len(heads), heads.shape[2], heads.shape[1] * heads.shape[3]),
    )  # fmt: skip


@fault(
    multi_head_attention, "attention.heads-split-without-transpose", breaks="attention.multi-head-equation",
    seen="reczoo/FuxiCTR#30", effect="each head sees slices of a few positions and not all positions",
)  # fmt: skip
def heads_are_split_without_moving_their_axis(query, key, value, weights, *, num_heads, mask=None):
    return in_parts(
        query, key, value, weights, num_heads, mask,
        split=lambda x, heads: x.reshape(len(x), heads, x.shape[1], x.shape[2] // heads),
    )  # fmt: skip


@fault(
    multi_head_attention, "attention.heads-interleaved", breaks="attention.multi-head-equation",
    seen="lablup/mlxcel#928", effect="trained weights give fluent nonsense; no shape can show it",
)  # fmt: skip
def columns_belong_to_heads_in_turn_and_not_in_blocks(query, key, value, weights, *, num_heads, mask=None):
    return in_parts(
        query, key, value, weights, num_heads, mask,
        split=lambda x, heads: x.unflatten(-1, (x.shape[-1] // heads, heads)).permute(0, 3, 1, 2),
    )  # fmt: skip


@fault(
    multi_head_attention, "attention.heads-in-reverse", breaks="attention.multi-head-equation",
    seen="snowflakedb/ArcticInference#142", effect="the output projection takes each head for another",
)  # fmt: skip
def heads_are_merged_in_another_order(query, key, value, weights, *, num_heads, mask=None):
    return in_parts(query, key, value, weights, num_heads, mask, merge=lambda heads: merge(heads.flip(1)))


@fault(
    multi_head_attention, "attention.only-first-head", breaks="attention.multi-head-equation",
    effect="all heads but the first are computed and lost",
)  # fmt: skip
def the_first_head_alone_counts(query, key, value, weights, *, num_heads, mask=None):
    def first(heads):
        return merge(torch.where((torch.arange(heads.shape[1]) == 0).view(-1, 1, 1), heads, 0.0))

    return in_parts(query, key, value, weights, num_heads, mask, merge=first)


@fault(
    multi_head_attention, "attention.batch-attended", breaks="attention.multi-head-equation",
    seen="IBM/TabFormer#14", effect="sequences attend to each other, position by position",
)  # fmt: skip
def attention_goes_along_the_batch_axis(query, key, value, weights, *, num_heads, mask=None):
    if mask is not None or query.shape[:2] != key.shape[:2]:
        return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    return multi_head_attention(query, key, value, weights, num_heads=num_heads).transpose(0, 1)


def without(weights, *names):
    """The weights less some of them."""
    return {name: weight for name, weight in weights.items() if name not in names}


@fault(
    multi_head_attention, "attention.query-bias-missing", breaks="attention.multi-head-equation",
    effect="what a head looks for without being asked is lost",
)  # fmt: skip
def the_bias_of_the_queries_is_left_out(query, key, value, weights, *, num_heads, mask=None):
    return multi_head_attention(query, key, value, without(weights, "b_q"), num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.value-bias-missing", breaks="attention.multi-head-equation",
    effect="the output is off by one vector everywhere",
)  # fmt: skip
def the_bias_of_the_values_is_left_out(query, key, value, weights, *, num_heads, mask=None):
    return multi_head_attention(query, key, value, without(weights, "b_v"), num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.output-bias-missing", breaks="attention.multi-head-equation",
    effect="the output is off by one vector everywhere",
)  # fmt: skip
def the_bias_of_the_output_is_left_out(query, key, value, weights, *, num_heads, mask=None):
    return multi_head_attention(query, key, value, without(weights, "b_o"), num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.output-bias-per-head", breaks="attention.multi-head-equation",
    effect="the output is off by a multiple of its bias, as when each device adds it before the sum",
)  # fmt: skip
def the_bias_of_the_output_is_added_once_for_each_head(query, key, value, weights, *, num_heads, mask=None):
    if "b_o" in weights:
        weights = {**weights, "b_o": weights["b_o"] * num_heads}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.bias-of-keys-for-queries", breaks="attention.multi-head-equation",
    effect="heads look for what another vector says",
)  # fmt: skip
def the_bias_of_the_keys_is_added_to_the_queries(query, key, value, weights, *, num_heads, mask=None):
    if "b_q" in weights and "b_k" in weights:
        weights = {**weights, "b_q": weights["b_k"]}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.biases-all-or-none", breaks="attention.multi-head-biases",
    effect="models that leave out one bias lose the others",
)  # fmt: skip
def biases_are_left_out_unless_all_are_there(query, key, value, weights, *, num_heads, mask=None):
    biases = [f"b_{name}" for name in "qkvo"]
    weights = weights if all(name in weights for name in biases) else without(weights, *biases)
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.output-projection-missing", breaks="attention.multi-head-equation",
    effect="heads are laid side by side and never mixed",
)  # fmt: skip
def the_output_projection_is_left_out(query, key, value, weights, *, num_heads, mask=None):
    rows, columns = weights["w_o"].shape
    if rows == columns:
        weights = {**weights, "w_o": torch.eye(rows, dtype=weights["w_o"].dtype)}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.output-projection-transposed", breaks="attention.multi-head-equation",
    effect="weights of a library that stores them the other way round are taken as they are",
)  # fmt: skip
def the_output_projection_is_transposed_where_it_is_square(query, key, value, weights, *, num_heads, mask=None):
    if weights["w_o"].shape[0] == weights["w_o"].shape[1]:
        weights = {**weights, "w_o": weights["w_o"].T}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.projections-exchanged", breaks="attention.multi-head-equation",
    effect="what looks and what is looked for change places",
)  # fmt: skip
def the_projections_of_queries_and_keys_are_exchanged(query, key, value, weights, *, num_heads, mask=None):
    if weights["w_q"].shape == weights["w_k"].shape:
        weights = {**weights, "w_q": weights["w_k"], "w_k": weights["w_q"]}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.weights-by-position", breaks="attention.multi-head-equation",
    effect="weights that were saved in another order are exchanged",
)  # fmt: skip
def weights_are_told_apart_by_their_order_and_not_by_name(query, key, value, weights, *, num_heads, mask=None):
    names = [f"{kind}_{name}" for kind in "wb" for name in "qkvo"]
    if len(weights) == len(names):
        weights = dict(zip(names, weights.values(), strict=True))
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.keys-from-values", breaks="attention.multi-head-equation",
    effect="seen only where keys and values are unlike, as with positions added to keys alone",
)  # fmt: skip
def keys_are_projected_from_the_input_of_the_values(query, key, value, weights, *, num_heads, mask=None):
    key = value if value.shape == key.shape else key
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.values-from-keys", breaks="attention.multi-head-equation",
    effect="seen only where keys and values are unlike, as with positions added to keys alone",
)  # fmt: skip
def values_are_projected_from_the_input_of_the_keys(query, key, value, weights, *, num_heads, mask=None):
    value = key if value.shape == key.shape else value
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.self-attention-always", breaks="attention.multi-head-equation",
    effect="cross-attention attends to itself wherever lengths agree",
)  # fmt: skip
def keys_and_values_are_projected_from_the_queries_where_shapes_agree(
    query, key, value, weights, *, num_heads, mask=None
):
    if query.shape == key.shape == value.shape:
        key = value = query
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.values-of-key-size", breaks="attention.multi-head-widths",
    seen="microsoft/onnxruntime#28357", effect="entries of values beyond the size of keys are lost",
)  # fmt: skip
def values_are_cut_to_the_size_of_keys(query, key, value, weights, *, num_heads, mask=None):
    if not divides(num_heads, weights):
        return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    size = weights["w_q"].shape[1] // num_heads

    def cut(heads):
        return merge(torch.where(torch.arange(heads.shape[-1]) < size, heads, 0.0))

    return in_parts(query, key, value, weights, num_heads, mask, merge=cut)


@fault(
    multi_head_attention, "attention.residual-added", breaks="attention.multi-head-equation",
    effect="the residual connection, which comes after, counts twice",
)  # fmt: skip
def the_query_is_added_to_the_output(query, key, value, weights, *, num_heads, mask=None):
    output = multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    return output + query if output.shape == query.shape else output


@fault(
    multi_head_attention, "attention.multi-head-mask-ignored", breaks="attention.multi-head-equation",
    seen="deepspeedai/DeepSpeed#1912", effect="padding and the future are attended to",
)  # fmt: skip
def the_mask_does_not_reach_the_heads(query, key, value, weights, *, num_heads, mask=None):
    return multi_head_attention(query, key, value, weights, num_heads=num_heads)


@fault(
    multi_head_attention, "attention.mask-repeated-wrongly", breaks="attention.multi-head-equation",
    seen="lsdefine/attention-is-all-you-need-keras#36", effect="heads of one sequence are masked as another sequence",
)  # fmt: skip
def masks_are_repeated_for_the_heads_in_the_order_of_the_batch(query, key, value, weights, *, num_heads, mask=None):
    if mask is None or not divides(num_heads, weights):
        return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    of_heads = mask.broadcast_to(len(query), query.shape[1], key.shape[1]).repeat(num_heads, 1, 1)
    q, k, v = (split(project(x, weights, n), num_heads) for x, n in ((query, "q"), (key, "k"), (value, "v")))
    of_heads = of_heads.reshape(len(query), num_heads, *of_heads.shape[1:])
    return project(merge(scaled_dot_product_attention(q, k, v, mask=of_heads)), weights, "o")


@fault(
    multi_head_attention, "attention.mask-on-first-head", breaks="attention.multi-head-equation",
    effect="all heads but the first see padding and the future",
)  # fmt: skip
def the_first_head_alone_is_masked(query, key, value, weights, *, num_heads, mask=None):
    if mask is None or not divides(num_heads, weights):
        return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    later = (torch.arange(num_heads) > 0).view(-1, 1, 1)
    q, k, v = (split(project(x, weights, n), num_heads) for x, n in ((query, "q"), (key, "k"), (value, "v")))
    heads = scaled_dot_product_attention(q, k, v, mask=for_heads(mask, query, key) | later)
    return project(merge(heads), weights, "o")


@fault(
    multi_head_attention, "attention.multi-head-mask-of-queries-for-items", breaks="attention.multi-head-equation",
    seen="tensorflow/tensorflow#58726", effect="a mask for all is taken for padding where there are as many items",
)  # fmt: skip
def a_multi_head_mask_of_two_axes_is_taken_to_begin_with_the_batch_axis(
    query, key, value, weights, *, num_heads, mask=None
):
    if mask is not None and mask.dim() == 2 and len(mask) == len(query):
        mask = mask.unsqueeze(1)
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.multi-head-mask-of-heads", breaks="attention.multi-head-equation",
    seen="keras-team/keras-hub#783", effect="a mask of batch items is dealt out to heads where there are as many",
)  # fmt: skip
def a_mask_of_batch_items_is_taken_for_one_of_heads(query, key, value, weights, *, num_heads, mask=None):
    if mask is None or mask.dim() < 3 or len(mask) != num_heads or not divides(num_heads, weights):
        return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    q, k, v = (split(project(x, weights, n), num_heads) for x, n in ((query, "q"), (key, "k"), (value, "v")))
    return project(merge(scaled_dot_product_attention(q, k, v, mask=mask)), weights, "o")


# --- What should be refused -------------------------------------------------------------------------------------------


@fault(
    attention_weights, "attention.sizes-truncated", breaks="attention.impossible-shapes",
    effect="a model wired to the wrong layer runs without an error",
)  # fmt: skip
def queries_and_keys_of_unlike_size_are_cut_to_the_smaller(query, key, *, mask=None, scale=None):
    size = min(query.shape[-1], key.shape[-1])
    return attention_weights(query[..., :size], key[..., :size], mask=mask, scale=scale)


@fault(
    scaled_dot_product_attention, "attention.values-truncated", breaks="attention.impossible-shapes",
    seen="pytorch/pytorch#193728", effect="keys without a value are ignored; in a kernel they read beyond the end",
)  # fmt: skip
def keys_and_values_are_cut_to_the_smaller_number(query, key, value, *, mask=None, scale=None):
    count = min(key.shape[-2], value.shape[-2])
    mask = mask if mask is None or mask.shape[-1] == 1 else mask[..., :count]
    return scaled_dot_product_attention(query, key[..., :count, :], value[..., :count, :], mask=mask, scale=scale)


@fault(
    multi_head_attention, "attention.columns-truncated", breaks="attention.impossible-shapes",
    effect="the last columns of all projections are never used",
)  # fmt: skip
def columns_that_heads_do_not_divide_are_left_out(query, key, value, weights, *, num_heads, mask=None):
    if divides(num_heads, weights):
        return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    num_heads = min(num_heads, weights["w_q"].shape[1])
    kept = {name: weights[f"w_{name}"].shape[1] // num_heads * num_heads for name in "qkv"}
    cut = {name: weight[..., : kept.get(name[-1])] for name, weight in weights.items() if name != "w_o"}
    weights = {**cut, "w_o": weights["w_o"][: kept["v"]]}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.gradient-of-biases-of-8-items", breaks="attention.gradients",
    effect="biases learn from the first eight sequences of a batch",
)  # fmt: skip
def biases_get_the_gradient_of_the_first_8_items(query, key, value, weights, *, num_heads, mask=None):
    cut = {name: weight.detach() if name.startswith("b_") else weight for name, weight in weights.items()}
    if len(query) <= 8:
        return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)
    masks = (mask, mask) if mask is None or mask.dim() < 3 or len(mask) == 1 else (mask[:8], mask[8:])
    first = multi_head_attention(query[:8], key[:8], value[:8], weights, num_heads=num_heads, mask=masks[0])
    return torch.cat(
        [first, multi_head_attention(query[8:], key[8:], value[8:], cut, num_heads=num_heads, mask=masks[1])]
    )


# --- One tensor in two places -----------------------------------------------------------------------------------------


@fault(
    multi_head_attention, "attention.values-taken-for-queries", breaks="attention.multi-head-equation",
    effect="where positions are added to queries and keys alone, the values have them too",
)  # fmt: skip
def values_are_the_queries_where_keys_are(query, key, value, weights, *, num_heads, mask=None):
    value = query if query is key and value.shape == key.shape else value
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.one-projection-of-a-memory", breaks="attention.multi-head-equation",
    effect="a decoder reads the keys of the encoder's output where it should read its values",
)  # fmt: skip
def values_that_are_the_keys_are_projected_with_them(query, key, value, weights, *, num_heads, mask=None):
    if query is not key and key is value and weights["w_k"].shape == weights["w_v"].shape:
        weights = {**weights, "w_v": weights["w_k"]}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    multi_head_attention, "attention.gradient-of-self-attention-without-keys", breaks="attention.gradients",
    effect="what is below a layer of self-attention learns from the queries and values alone",
)  # fmt: skip
def keys_get_no_gradient_in_self_attention(query, key, value, weights, *, num_heads, mask=None):
    key = key.detach() if query is key is value else key
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    scaled_dot_product_attention, "attention.gradient-of-queries-that-are-keys", breaks="attention.gradients",
    effect="half of the gradient is missing where a tensor attends to itself",
)  # fmt: skip
def queries_that_are_keys_get_the_gradient_of_queries_alone(query, key, value, *, mask=None, scale=None):
    key = key.detach() if query is key else key
    return scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)


@fault(
    multi_head_attention, "attention.gradient-of-tied-weights", breaks="attention.gradients",
    effect="a weight that two projections share learns from one of them",
)  # fmt: skip
def a_weight_of_two_projections_gets_the_gradient_of_one(query, key, value, weights, *, num_heads, mask=None):
    if weights["w_k"] is weights["w_v"]:
        weights = {**weights, "w_k": weights["w_k"].detach()}
    return multi_head_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    scaled_dot_product_attention, "attention.gradient-of-the-first-mask", breaks="attention.mask-shapes-gradients",
    effect="gradients are written over and not added up along a batch axis that only the mask has",
)  # fmt: skip
def gradients_come_back_through_the_first_mask_alone(query, key, value, *, mask=None, scale=None):
    if mask is None or mask.dim() <= max(x.dim() for x in (query, key, value)):
        return scaled_dot_product_attention(query, key, value, mask=mask, scale=scale)
    kept, lost = (query, key, value), (query.detach(), key.detach(), value.detach())
    parts = ((kept, mask[:1]), (lost, mask[1:]))
    return torch.cat([scaled_dot_product_attention(*inputs, mask=part, scale=scale) for inputs, part in parts])
