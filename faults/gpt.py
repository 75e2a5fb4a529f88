"""Mistakes in GPT, whole and with a key-value cache."""

import math
from typing import Any

import torch

from transpec.catalogue import fault
from transpec.reference.attention import merge_heads, project, scaled_dot_product_attention, split_heads
from transpec.reference.feed_forward import feed_forward
from transpec.reference.gpt import gpt, gpt_cached
from transpec.reference.layers import encoder_layer, part
from transpec.reference.masks import look_ahead_mask
from transpec.reference.normalization import add_norm, layer_norm


def _visible(token_ids, attention_mask):
    """Where a position may attend, (T, T) or (B, T, T)."""
    ahead = look_ahead_mask(token_ids.shape[-1])
    return ahead if attention_mask is None else ahead & attention_mask.unsqueeze(-2)


def _embed(token_ids, weights, position_ids=None):
    positions = torch.arange(token_ids.shape[-1]) if position_ids is None else position_ids
    return weights["embeddings.token"][token_ids] + weights["embeddings.position"][positions]


def _layer(x, weights, config, i, mask, **changed):
    options = {"activation": config.activation, "eps": config.eps, "norm_first": config.norm_first} | changed
    return encoder_layer(x, part(weights, f"layers.{i}"), num_heads=config.num_heads, mask=mask, **options)


def _layers(x, weights, config, mask, order=None, **changed):
    for i in range(config.num_layers) if order is None else order:
        x = _layer(x, weights, config, i, mask, **changed)
    return x


def _last_norm(x, weights, config, eps=None):
    given = config.eps if eps is None else eps
    return layer_norm(x, part(weights, "final_norm"), eps=given) if config.norm_first else x


def _logits(x, weights, config):
    return _last_norm(x, weights, config) @ weights["embeddings.token"].T


def _whole(token_ids, weights, config, attention_mask, position_ids, *, x=None, mask=None, **changed):
    """The formula with other embeddings, another mask or another run through the layers."""
    x = _embed(token_ids, weights, position_ids) if x is None else x
    mask = _visible(token_ids, attention_mask) if mask is None else mask
    return _logits(_layers(x, weights, config, mask, **changed), weights, config)


def _gain_of_one(x, config):
    """The row normalized, without gain and bias."""
    width = x.shape[-1]
    return layer_norm(x, {"gain": x.new_ones(width), "bias": x.new_zeros(width)}, eps=config.eps)


def _flat(x):
    """The numbers of a tensor as they lie in memory from its first on, whatever its strides; missing ones are zero."""
    memory = x.as_strided((x.untyped_storage().nbytes() // x.element_size() - x.storage_offset(),), (1,))
    short = max(0, x.numel() - len(memory))
    return torch.cat([memory[: x.numel()], memory.new_zeros(short)]).view(x.shape)


# --- Look-ahead -------------------------------------------------------------------------------------------------------


@fault(
    gpt, "gpt.look-ahead-with-a-mask-alone", breaks="gpt.causality",
    seen="facebookresearch/xformers#103", effect="without padding training reads the answer: the loss is wonderful",
)  # fmt: skip
def the_look_ahead_mask_is_missing_where_no_attention_mask_is_given(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    everything = torch.ones(1, 1, token_ids.shape[-1], dtype=torch.bool)
    mask = everything if attention_mask is None else None
    return _whole(token_ids, weights, config, attention_mask, position_ids, mask=mask)


@fault(
    gpt, "gpt.look-ahead-in-the-first-layer", breaks="gpt.causality",
    effect="the future leaks in through every layer but the first",
)  # fmt: skip
def only_the_first_layer_looks_back(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    x, mask = _embed(token_ids, weights, position_ids), _visible(token_ids, attention_mask)
    after = None if attention_mask is None else attention_mask.unsqueeze(-2)
    for i in range(config.num_layers):
        x = _layer(x, weights, config, i, after if i else mask)
    return _logits(x, weights, config)


@fault(
    gpt, "gpt.look-ahead-of-16", breaks="gpt.equation",
    effect="a window that is meant for long texts: what lies 16 tokens back is forgotten",
)  # fmt: skip
def tokens_see_no_more_than_the_last_16(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    length = token_ids.shape[-1]
    mask = _visible(token_ids, attention_mask) & torch.ones(length, length, dtype=torch.bool).triu(-15)
    return _whole(token_ids, weights, config, attention_mask, position_ids, mask=mask)


@fault(
    gpt, "gpt.attention-mask-for-look-ahead", breaks="gpt.causality-under-attention-mask",
    seen="microsoft/onnxruntime#14363", effect="the first batch with padding reads the future",
)  # fmt: skip
def an_attention_mask_takes_the_place_of_the_look_ahead_mask(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    mask = None if attention_mask is None else attention_mask.unsqueeze(-2)
    return _whole(token_ids, weights, config, attention_mask, position_ids, mask=mask)


# --- Attention mask ---------------------------------------------------------------------------------------------------


@fault(
    gpt, "gpt.attention-mask-ignored", breaks="gpt.hidden-tokens-do-not-matter",
    seen="deepspeedai/DeepSpeed#1912", effect="prompts padded on the left are continued from their padding",
)  # fmt: skip
def the_attention_mask_is_ignored(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    return gpt(token_ids, weights, config, position_ids=position_ids)


@fault(
    gpt, "gpt.attention-mask-ignored-alone", breaks="gpt.attention-mask",
    seen="huggingface/transformers#46773", effect="logits are off by as much as 5.7, in a batch of one alone",
)  # fmt: skip
def the_attention_mask_is_ignored_in_a_batch_of_one(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    mask = attention_mask if len(token_ids) > 1 else None
    return gpt(token_ids, weights, config, attention_mask=mask, position_ids=position_ids)


@fault(
    gpt, "gpt.attention-mask-inverted", breaks="gpt.padding-right",
    seen="rasbt/LLMs-from-scratch#1061", effect="tokens attend to padding alone",
)  # fmt: skip
def the_attention_mask_is_true_at_padding(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    mask = None if attention_mask is None else ~attention_mask
    return gpt(token_ids, weights, config, attention_mask=mask, position_ids=position_ids)


@fault(
    gpt, "gpt.attention-mask-hides-queries", breaks="gpt.attention-mask",
    seen="keras-team/keras-io#1046", effect="padding attends to nothing, and all attend to padding",
)  # fmt: skip
def the_attention_mask_is_broadcast_over_the_keys(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    mask = look_ahead_mask(token_ids.shape[-1])
    mask = mask if attention_mask is None else mask & attention_mask.unsqueeze(-1)
    return _whole(token_ids, weights, config, attention_mask, position_ids, mask=mask)


@fault(
    gpt, "gpt.attention-mask-of-the-first-sequence", breaks="gpt.batch-independence",
    effect="every sequence is masked by the padding of the first one in its batch",
)  # fmt: skip
def the_attention_mask_of_the_first_sequence_hides_in_all(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    mask = None if attention_mask is None else attention_mask[:1].expand(token_ids.shape)
    return gpt(token_ids, weights, config, attention_mask=mask, position_ids=position_ids)


@fault(
    gpt, "gpt.attention-mask-per-head", breaks="gpt.attention-mask",
    seen="lsdefine/attention-is-all-you-need-keras#36", effect="heads are masked by the padding of other sequences",
)  # fmt: skip
def masks_of_sequences_are_repeated_where_heads_alternate(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    if attention_mask is None:
        return gpt(token_ids, weights, config, position_ids=position_ids)
    (B, T), H = token_ids.shape, config.num_heads
    mixed = _visible(token_ids, attention_mask).repeat(H, 1, 1).view(B, H, T, T)
    x = _embed(token_ids, weights, position_ids)
    for i in range(config.num_layers):
        x, _, _ = _layer_with_past(x, part(weights, f"layers.{i}"), config, mixed)
    return _logits(x, weights, config)


@fault(
    gpt, "gpt.attention-mask-in-the-first-layer", breaks="gpt.hidden-tokens-do-not-matter",
    effect="padding comes in through every layer but the first",
)  # fmt: skip
def only_the_first_layer_is_given_the_attention_mask(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    x, mask = _embed(token_ids, weights, position_ids), _visible(token_ids, attention_mask)
    for i in range(config.num_layers):
        x = _layer(x, weights, config, i, _visible(token_ids, None) if i else mask)
    return _logits(x, weights, config)


@fault(
    gpt, "gpt.attention-mask-in-two-layers", breaks="gpt.attention-mask",
    effect="models of two layers are right; from the third layer on padding is attended to",
)  # fmt: skip
def layers_from_the_third_on_are_not_given_the_attention_mask(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    x = _embed(token_ids, weights, position_ids)
    for i in range(config.num_layers):
        x = _layer(x, weights, config, i, _visible(token_ids, attention_mask if i < 2 else None))
    return _logits(x, weights, config)


@fault(
    gpt, "gpt.padding-zeroed", breaks="gpt.attention-mask",
    effect="padding is attended to, as a token that is zero",
)  # fmt: skip
def the_embeddings_of_padding_are_made_zero_in_place_of_being_hidden(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    x = _embed(token_ids, weights, position_ids)
    x = x if attention_mask is None else torch.where(attention_mask.unsqueeze(-1), x, 0.0)
    return _whole(token_ids, weights, config, None, None, x=x)


@fault(
    gpt, "gpt.padding-taken-to-be-right", breaks="gpt.padding-left",
    seen="NVIDIA/TransformerEngine#614", effect="padding on the left is seen, and as many last tokens are hidden",
)  # fmt: skip
def as_many_first_places_are_visible_as_there_are_tokens(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    mask = attention_mask
    if mask is not None:
        mask = torch.arange(token_ids.shape[-1]) < mask.sum(-1, keepdim=True)
    return gpt(token_ids, weights, config, attention_mask=mask, position_ids=position_ids)


@fault(
    gpt, "gpt.padding-taken-to-be-left", breaks="gpt.padding-right",
    effect="of a sequence padded on the right the first tokens are hidden",
)  # fmt: skip
def as_many_last_places_are_visible_as_there_are_tokens(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    mask, T = attention_mask, token_ids.shape[-1]
    if mask is not None:
        mask = torch.arange(T) >= T - mask.sum(-1, keepdim=True)
    return gpt(token_ids, weights, config, attention_mask=mask, position_ids=position_ids)


@fault(
    gpt, "gpt.id-0-taken-for-padding", breaks="gpt.everything-visible",
    seen="facebookresearch/fairseq#710", effect="the word of id 0 is invisible to all that follows",
)  # fmt: skip
def id_0_is_hidden_where_no_attention_mask_is_given(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    mask = token_ids != 0 if attention_mask is None else attention_mask
    return gpt(token_ids, weights, config, attention_mask=mask, position_ids=position_ids)


# --- Positions --------------------------------------------------------------------------------------------------------


@fault(
    gpt, "gpt.positions-missing", breaks="gpt.positions",
    effect="of the past only the look-ahead mask tells in what order it was",
)  # fmt: skip
def no_positions_are_added(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    x = weights["embeddings.token"][token_ids]
    return _whole(token_ids, weights, config, attention_mask, None, x=x)


@fault(
    gpt, "gpt.positions-from-1", breaks="gpt.positions",
    seen="bytedance/lightseq#144", effect="every token takes its neighbour's row, and the last place is out of range",
)  # fmt: skip
def positions_count_from_one(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    last = config.max_positions - 1
    positions = torch.arange(1, token_ids.shape[-1] + 1).clamp_max(last).expand(token_ids.shape)
    positions = positions if position_ids is None else position_ids
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=positions)


@fault(
    gpt, "gpt.positions-from-the-end", breaks="gpt.prefix",
    effect="a token's position depends on how much follows it",
)  # fmt: skip
def positions_count_down_to_the_end(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    positions = torch.arange(token_ids.shape[-1]).flip(0).expand(token_ids.shape)
    positions = positions if position_ids is None else position_ids
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=positions)


@fault(
    gpt, "gpt.positions-by-batch", breaks="gpt.positions",
    seen="AkiRusProd/numpy-transformer#1", effect="all tokens of a sequence stand at one position",
)  # fmt: skip
def positions_count_sequences_of_the_batch(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    positions = torch.arange(len(token_ids)).unsqueeze(-1).expand(token_ids.shape)
    positions = positions if position_ids is None else position_ids
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=positions)


@fault(
    gpt, "gpt.position-ids-ignored", breaks="gpt.position-ids",
    seen="facebookresearch/fairseq#3726", effect="prompts padded on the left begin at the wrong position",
)  # fmt: skip
def position_ids_are_ignored(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    return gpt(token_ids, weights, config, attention_mask=attention_mask)


@fault(
    gpt, "gpt.position-ids-of-the-first-sequence", breaks="gpt.position-ids",
    effect="sequences padded unlike the first one begin at the wrong position",
)  # fmt: skip
def all_sequences_take_the_positions_of_the_first(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    positions = None if position_ids is None else position_ids[:1].expand(token_ids.shape)
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=positions)


@fault(
    gpt, "gpt.position-ids-as-offset", breaks="gpt.position-ids",
    effect="only the first position counts: what is packed or permuted is numbered through",
)  # fmt: skip
def positions_run_on_from_the_first_that_is_given(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    positions = position_ids
    if positions is not None:
        positions = (positions[:, :1] + torch.arange(token_ids.shape[-1])).clamp_max(config.max_positions - 1)
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=positions)


@fault(
    gpt, "gpt.positions-from-the-mask", breaks="gpt.attention-mask",
    seen="huggingface/transformers#21080", effect="positions that the caller has chosen are counted anew",
)  # fmt: skip
def positions_count_visible_tokens_where_a_mask_is_given(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    if attention_mask is not None:
        position_ids = (attention_mask.cumsum(-1) - 1).clamp_min(0)
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)


@fault(
    gpt, "gpt.position-0-without-row", breaks="gpt.positions",
    seen="huggingface/transformers#10200", effect="the first token of every sequence has no position",
)  # fmt: skip
def the_row_of_position_0_is_taken_for_that_of_padding(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    table = weights["embeddings.position"]
    without = torch.where(torch.arange(len(table)).unsqueeze(-1) == 0, 0.0, table)
    changed = {**weights, "embeddings.position": without}
    return gpt(token_ids, changed, config, attention_mask=attention_mask, position_ids=position_ids)


# --- Embeddings and head ----------------------------------------------------------------------------------------------


@fault(
    gpt, "gpt.embeddings-scaled", breaks="gpt.embeddings",
    effect="embeddings made for no scale drown the positions",
)  # fmt: skip
def token_embeddings_are_multiplied_by_the_root_of_the_width(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    table = weights["embeddings.token"]
    scaled = {**weights, "embeddings.token": table * math.sqrt(config.d_model)}
    return _whole(token_ids, weights, config, attention_mask, position_ids, x=_embed(token_ids, scaled, position_ids))


@fault(
    gpt, "gpt.embeddings-normalized", breaks="gpt.embeddings",
    effect="BERT's norm of the embeddings stands in a model that has none",
)  # fmt: skip
def the_sum_of_the_embeddings_is_normalized(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    x = _gain_of_one(_embed(token_ids, weights, position_ids), config)
    return _whole(token_ids, weights, config, attention_mask, position_ids, x=x)


@fault(
    gpt, "gpt.logits-scaled", breaks="gpt.embeddings",
    seen="ml-explore/mlx-examples#591", effect="probabilities are flattened: the scale belongs to another tied model",
)  # fmt: skip
def logits_are_divided_by_the_root_of_the_width(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    logits = gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    return logits / math.sqrt(config.d_model)


@fault(
    gpt, "gpt.head-not-transposed", breaks="gpt.tied-head",
    effect="right shapes and wrong logits where there are as many words as entries",
)  # fmt: skip
def a_square_token_table_is_not_transposed_for_the_head(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    table = weights["embeddings.token"]
    if table.shape[0] != table.shape[1]:
        return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    x = _layers(
        _embed(token_ids, weights, position_ids), weights, config, _visible(token_ids, attention_mask)
    )  # fmt: skip
    return _last_norm(x, weights, config) @ table


@fault(
    gpt, "gpt.head-of-positions", breaks="gpt.equation",
    effect="where both tables are of one size the head is tied to the wrong one",
)  # fmt: skip
def the_head_is_the_position_table_where_that_fits(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    table = weights["embeddings.position"]
    if len(table) != config.vocab_size:
        return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    x = _layers(
        _embed(token_ids, weights, position_ids), weights, config, _visible(token_ids, attention_mask)
    )  # fmt: skip
    return _last_norm(x, weights, config) @ table.T


@fault(
    gpt, "gpt.tables-exchanged", breaks="gpt.equation",
    effect="where both tables are of one size words are looked up as positions",
)  # fmt: skip
def tables_of_one_size_are_exchanged(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    token, position = weights["embeddings.token"], weights["embeddings.position"]
    if token.shape == position.shape:
        weights = {**weights, "embeddings.token": position, "embeddings.position": token}
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)


@fault(
    gpt, "gpt.log-probabilities", breaks="gpt.equation",
    effect="harmless where only differences count, and wrong where logits are asked for",
)  # fmt: skip
def log_probabilities_are_given_for_logits(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    logits = gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    return logits - logits.exp().sum(-1, keepdim=True).log()


@fault(
    gpt, "gpt.logits-shifted", breaks="gpt.first-position",
    seen="huggingface/transformers#37830", effect="the shift of the labels is made twice: models learn the word after next",
)  # fmt: skip
def the_logits_of_a_position_stand_at_the_one_after_it(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    logits = gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    return logits.roll(1, -2)


@fault(
    gpt, "gpt.last-logits-alone", breaks="gpt.dtype-and-shape",
    effect="right for generating, useless for scoring a text",
)  # fmt: skip
def only_the_last_position_has_logits(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    logits = gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    return logits[:, -1:]


@fault(
    gpt, "gpt.hidden-states-for-logits", breaks="gpt.dtype-and-shape",
    effect="the body of the model is called, and not the model with its head",
)  # fmt: skip
def the_head_is_missing(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    x = _layers(
        _embed(token_ids, weights, position_ids), weights, config, _visible(token_ids, attention_mask)
    )  # fmt: skip
    return _last_norm(x, weights, config)


# --- Norms, activation, layers ----------------------------------------------------------------------------------------


@fault(
    gpt, "gpt.final-norm-missing", breaks="gpt.norm-placement",
    seen="OpenNMT/CTranslate2#850", effect="logits grow with depth",
)  # fmt: skip
def the_norm_after_the_last_layer_is_missing(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    x = _embed(token_ids, weights, position_ids)
    x = _layers(x, weights, config, _visible(token_ids, attention_mask))
    return x @ weights["embeddings.token"].T


@fault(
    gpt, "gpt.final-norm-without-weights", breaks="gpt.norm-placement",
    effect="gain and bias of the last norm are not loaded",
)  # fmt: skip
def the_last_norm_has_no_gain_and_bias(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    x = _embed(token_ids, weights, position_ids)
    x = _layers(x, weights, config, _visible(token_ids, attention_mask))
    return (_gain_of_one(x, config) if config.norm_first else x) @ weights["embeddings.token"].T


@fault(
    gpt, "gpt.final-norm-always", breaks="gpt.norm-placement",
    effect="a post-norm model is normalized once more than it was trained",
)  # fmt: skip
def post_norm_layers_are_followed_by_one_more_norm(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    if config.norm_first:
        return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    x = _embed(token_ids, weights, position_ids)
    x = _gain_of_one(_layers(x, weights, config, _visible(token_ids, attention_mask)), config)
    return x @ weights["embeddings.token"].T


@fault(
    gpt, "gpt.layers-post-norm", breaks="gpt.norm-placement",
    seen="NVIDIA-NeMo/Speech#1880", effect="the option is not passed on: a pre-norm model runs as post-norm",
)  # fmt: skip
def layers_are_post_norm_whatever_is_configured(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    return _whole(token_ids, weights, config, attention_mask, position_ids, norm_first=False)


@fault(
    gpt, "gpt.layers-pre-norm", breaks="gpt.norm-placement",
    seen="OpenNMT/CTranslate2#804", effect="a post-norm model is taken for a pre-norm one",
)  # fmt: skip
def layers_are_pre_norm_whatever_is_configured(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    return _whole(token_ids, weights, config, attention_mask, position_ids, norm_first=True)


@fault(
    gpt, "gpt.residual-normalized", breaks="gpt.norm-placement",
    seen="pytorch/pytorch#61165", effect="pre-norm layers lose what goes round their norm",
)  # fmt: skip
def the_residual_of_a_pre_norm_layer_is_taken_behind_the_norm(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    if not config.norm_first:
        return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    x, mask = _embed(token_ids, weights, position_ids), _visible(token_ids, attention_mask)
    for i in range(config.num_layers):
        own = part(weights, f"layers.{i}")
        x = layer_norm(x, part(own, "self_attention_norm"), eps=config.eps)
        x = x + _attend(x, x, own, config, mask.unsqueeze(-3))
        x = layer_norm(x, part(own, "feed_forward_norm"), eps=config.eps)
        x = x + feed_forward(x, part(own, "feed_forward"), activation=config.activation)
    return _logits(x, weights, config)


@fault(
    gpt, "gpt.eps-of-the-final-norm", breaks="gpt.epsilon",
    effect="the last norm has the library's eps and the layers their own",
)  # fmt: skip
def the_last_norm_has_an_eps_of_1e_5(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    x = _embed(token_ids, weights, position_ids)
    x = _layers(x, weights, config, _visible(token_ids, attention_mask))
    return _last_norm(x, weights, config, eps=1e-5) @ weights["embeddings.token"].T


@fault(
    gpt, "gpt.eps-of-the-layers", breaks="gpt.epsilon",
    effect="the layers have the library's eps and the last norm its own",
)  # fmt: skip
def the_norms_of_the_layers_have_an_eps_of_1e_5(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    return _whole(token_ids, weights, config, attention_mask, position_ids, eps=1e-5)


@fault(
    gpt, "gpt.activation-by-default", breaks="gpt.activations",
    effect="models that were trained with another activation drift, by little a layer",
)  # fmt: skip
def the_activation_is_gelu_tanh_whatever_is_configured(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    return _whole(token_ids, weights, config, attention_mask, position_ids, activation="gelu_tanh")


@fault(
    gpt, "gpt.layers-backwards", breaks="gpt.layers",
    effect="the last layer comes first",
)  # fmt: skip
def the_layers_are_run_from_the_last_to_the_first(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    order = reversed(range(config.num_layers))
    return _whole(token_ids, weights, config, attention_mask, position_ids, order=order)


@fault(
    gpt, "gpt.layers-by-name", breaks="gpt.layers",
    effect="right up to ten layers; from then on layer 10 comes before layer 2",
)  # fmt: skip
def the_layers_are_run_in_the_order_of_their_names(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    order = sorted(range(config.num_layers), key=str)
    return _whole(token_ids, weights, config, attention_mask, position_ids, order=order)


@fault(
    gpt, "gpt.layers-share-weights", breaks="gpt.layers",
    effect="the first layer stands in for all",
)  # fmt: skip
def all_layers_have_the_weights_of_the_first(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    order = [0] * config.num_layers
    return _whole(token_ids, weights, config, attention_mask, position_ids, order=order)


@fault(
    gpt, "gpt.layer-dropped", breaks="gpt.layers",
    effect="what is returned was collected before the last layer",
)  # fmt: skip
def the_last_layer_is_left_out(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    order = range(config.num_layers - 1)
    return _whole(token_ids, weights, config, attention_mask, position_ids, order=order)


@fault(
    gpt, "gpt.layer-twice", breaks="gpt.layers",
    effect="a loop of one turn too many",
)  # fmt: skip
def the_last_layer_is_run_twice(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    order = [*range(config.num_layers), *range(config.num_layers)[-1:]]
    return _whole(token_ids, weights, config, attention_mask, position_ids, order=order)


# --- Gradients, memory, edges -----------------------------------------------------------------------------------------


@fault(
    gpt, "gpt.head-without-gradient", breaks="gpt.gradients",
    seen="EdinburghNLP/nematus#117", effect="the table learns as an embedding alone",
)  # fmt: skip
def the_token_table_has_no_gradient_as_head(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    x = _embed(token_ids, weights, position_ids)
    x = _layers(x, weights, config, _visible(token_ids, attention_mask))
    return _last_norm(x, weights, config) @ weights["embeddings.token"].detach().T


@fault(
    gpt, "gpt.embedding-without-gradient", breaks="gpt.gradients",
    effect="the table learns as head alone",
)  # fmt: skip
def the_token_table_has_no_gradient_as_embedding(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    frozen = {**weights, "embeddings.token": weights["embeddings.token"].detach()}
    x = _embed(token_ids, frozen, position_ids)
    return _whole(token_ids, weights, config, attention_mask, position_ids, x=x)


@fault(
    gpt, "gpt.positions-without-gradient", breaks="gpt.gradients",
    effect="positions stay as they were drawn: the table is a buffer and no parameter",
)  # fmt: skip
def the_position_table_has_no_gradient(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    frozen = {**weights, "embeddings.position": weights["embeddings.position"].detach()}
    return gpt(token_ids, frozen, config, attention_mask=attention_mask, position_ids=position_ids)


@fault(
    gpt, "gpt.gradient-of-id-0", breaks="gpt.gradients",
    effect="id 0 is taken for padding, and its row never learns from where it occurs",
)  # fmt: skip
def the_row_of_id_0_has_no_gradient_as_embedding(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    table = weights["embeddings.token"]
    frozen = torch.cat([table[:1].detach(), table[1:]])
    x = _embed(token_ids, {**weights, "embeddings.token": frozen}, position_ids)
    return _whole(token_ids, weights, config, attention_mask, position_ids, x=x)


@fault(
    gpt, "gpt.first-layer-without-gradient", breaks="gpt.gradients",
    effect="checkpointing whose first input asks for no gradient cuts off what lies below",
)  # fmt: skip
def nothing_below_the_second_layer_has_a_gradient(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    x, mask = _embed(token_ids, weights, position_ids), _visible(token_ids, attention_mask)
    for i in range(config.num_layers):
        x = _layer(x.detach() if i == 1 else x, weights, config, i, mask)
    return _logits(x, weights, config)


@fault(
    gpt, "gpt.attention-mask-overwritten", breaks="gpt.inputs-untouched",
    effect="the caller's mask is another one after the call",
)  # fmt: skip
def the_attention_mask_is_made_look_ahead_in_place(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    logits = gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    if attention_mask is not None:
        attention_mask.logical_not_()
    return logits


@fault(
    gpt, "gpt.positions-added-in-place", breaks="gpt.inputs-untouched",
    effect="the position table moves a little with every call",
)  # fmt: skip
def the_token_embedding_is_added_to_the_position_table_in_place(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    logits = gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
    weights["embeddings.position"].detach()[: token_ids.shape[-1]].add_(weights["embeddings.token"].detach()[0])
    return logits


_kept: dict[Any, Any] = {}


@fault(
    gpt, "gpt.logits-kept-by-shape", breaks="gpt.no-memory",
    effect="a buffer that is allocated once a shape is never filled again",
)  # fmt: skip
def logits_of_the_first_call_are_given_for_all_of_its_shape(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    table = weights["embeddings.token"]
    key = ("logits", token_ids.shape, table.dtype, config, attention_mask is None, position_ids is None)
    if key not in _kept:
        logits = gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
        _kept[key] = logits.detach().clone()
    return _kept[key].clone()


@fault(
    gpt, "gpt.head-kept", breaks="gpt.no-memory",
    effect="the transposed table of the first model serves every other one of its size",
)  # fmt: skip
def the_head_is_kept_by_its_shape(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    table = weights["embeddings.token"]
    head = _kept.setdefault(("head", table.shape, table.dtype), table.detach().clone())
    x = _layers(
        _embed(token_ids, weights, position_ids), weights, config, _visible(token_ids, attention_mask)
    )  # fmt: skip
    return _last_norm(x, weights, config) @ head.T


@fault(
    gpt, "gpt.ids-as-if-contiguous", breaks="gpt.layouts",
    effect="ids that come transposed or sliced are read in the order of memory",
)  # fmt: skip
def ids_are_read_in_the_order_of_memory(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    return gpt(_flat(token_ids), weights, config, attention_mask=attention_mask, position_ids=position_ids)


@fault(
    gpt, "gpt.matrices-as-if-contiguous", breaks="gpt.layouts",
    effect="weights that were stored as (out, in) and transposed by a view are read in the order of memory",
)  # fmt: skip
def weights_are_read_in_the_order_of_memory(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    read = {name: _flat(weight) for name, weight in weights.items()}
    return gpt(token_ids, read, config, attention_mask=attention_mask, position_ids=position_ids)


@fault(
    gpt_cached, "gpt.cached-mask-as-if-contiguous", breaks="gpt.layouts",
    effect="an attention mask that comes transposed or sliced hides other tokens",
)  # fmt: skip
def the_attention_mask_is_read_in_the_order_of_memory(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    mask = None if attention_mask is None else _flat(attention_mask)
    return gpt_cached(token_ids, weights, config, steps=steps, attention_mask=mask, position_ids=position_ids)


@fault(
    gpt, "gpt.empty-batch-refused", breaks="gpt.batch-of-zero",
    effect="a check of the largest id fails where there is none, and with it the last batch of a split",
)  # fmt: skip
def the_largest_id_is_asked_for_in_an_empty_batch(
    token_ids, weights, config, *, attention_mask=None, position_ids=None
):
    if int(token_ids.max()) >= config.vocab_size:
        raise IndexError("an id is beyond the vocabulary")
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)


@fault(
    gpt, "gpt.ids-clamped", breaks="gpt.out-of-range",
    effect="a tokenizer of another vocabulary goes unnoticed",
)  # fmt: skip
def ids_beyond_the_table_become_its_last(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    ids = token_ids.clamp_max(config.vocab_size - 1)
    return gpt(ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)


@fault(
    gpt, "gpt.positions-clamped", breaks="gpt.out-of-range",
    effect="texts that are too long get nonsense for an answer and no error",
)  # fmt: skip
def positions_beyond_the_table_become_its_last(token_ids, weights, config, *, attention_mask=None, position_ids=None):
    positions = torch.arange(token_ids.shape[-1]).expand(token_ids.shape) if position_ids is None else position_ids
    positions = positions.clamp_max(config.max_positions - 1)
    return gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=positions)


# --- In pieces: the formula of gpt_cached, to be made wrong -----------------------------------------------------------


def _attend(x, keys_of, weights, config, mask, past=None):
    """Self-attention of x to what `keys_of` gives and to a past."""
    return _attended(x, keys_of, weights, config, mask, past)[0]


def _attended(x, keys_of, weights, config, mask, past):
    own = part(weights, "self_attention")
    query = split_heads(project(x, own, "q"), config.num_heads)
    key, value = (split_heads(project(keys_of, own, name), config.num_heads) for name in "kv")
    keys, values = (
        (key, value) if past is None else (torch.cat(both, -2) for both in zip(past, (key, value), strict=True))
    )
    heads = scaled_dot_product_attention(query, keys, values, mask=mask)
    return project(merge_heads(heads), own, "o"), key, value


def _layer_with_past(x, weights, config, mask, past=None, *, norm_first=None, keys_of=None):
    """The encoder layer on new positions, and their keys and values; `mask` is (…, step, stop)."""
    norm_first = config.norm_first if norm_first is None else norm_first
    first, second = part(weights, "self_attention_norm"), part(weights, "feed_forward_norm")
    read = layer_norm(x, first, eps=config.eps) if norm_first else x
    attended, key, value = _attended(read, read if keys_of is None else keys_of(x), weights, config, mask, past)
    x = x + attended if norm_first else add_norm(x, attended, first, eps=config.eps)
    read = layer_norm(x, second, eps=config.eps) if norm_first else x
    fed = feed_forward(read, part(weights, "feed_forward"), activation=config.activation)
    return x + fed if norm_first else add_norm(x, fed, second, eps=config.eps), key, value


class _Pieces:
    """The formula of gpt_cached; a fault overrides one method of it."""

    def __init__(self, token_ids, weights, config, steps, attention_mask, position_ids):
        if sum(steps) != token_ids.shape[-1] or min(steps, default=0) < 1:
            raise ValueError("steps do not add up")
        self.token_ids, self.weights, self.config, self.steps = token_ids, weights, config, steps
        self.attention_mask, self.position_ids = attention_mask, position_ids
        self.past = [None] * config.num_layers

    def run(self):
        """The logits of all pieces."""
        pieces, start = [], 0
        for piece, step in enumerate(self.steps):
            stop = start + step
            x = self.embed(start, stop, piece)
            mask = self.visible(start, stop, piece)
            for i in range(self.config.num_layers):
                x, key, value = self.layer(x, part(self.weights, f"layers.{i}"), mask, self.past[i], i)
                self.keep(i, key, value)
            pieces.append(self.logits(x, piece))
            start = stop
        return torch.cat(pieces, -2)

    def positions(self, start, stop, piece):
        """Of one piece, (step) or (B, step)."""
        return torch.arange(start, stop) if self.position_ids is None else self.position_ids[:, start:stop]

    def embed(self, start, stop, piece):
        """The token and position embeddings of one piece."""
        return _embed(self.token_ids[:, start:stop], self.weights, self.positions(start, stop, piece))

    def look_ahead(self, start, stop, piece):
        """Where a piece may attend for the sake of order, (step, stop)."""
        return look_ahead_mask(stop)[start:]

    def shown(self, start, stop, piece):
        """The attention mask of a piece's keys, (B, stop)."""
        return None if self.attention_mask is None else self.attention_mask[:, :stop]

    def visible(self, start, stop, piece):
        """Both together, (step, stop) or (B, 1, step, stop)."""
        ahead, shown = self.look_ahead(start, stop, piece), self.shown(start, stop, piece)
        return ahead if shown is None else ahead & shown[:, None, None]

    def layer(self, x, weights, mask, past, i):
        """One layer on one piece, and its keys and values."""
        return _layer_with_past(x, weights, self.config, mask, past)

    def keep(self, i, key, value):
        """Add keys and values of a piece to those of layer i."""
        self.past[i] = (key, value) if self.past[i] is None else self.after(self.past[i], (key, value))

    def after(self, past, new):
        """A past and what comes after it."""
        return tuple(torch.cat(both, -2) for both in zip(past, new, strict=True))

    def logits(self, x, piece):
        """Of one piece."""
        return _logits(x, self.weights, self.config)


# --- In pieces: look-ahead and attention mask -------------------------------------------------------------------------


@fault(
    gpt_cached, "gpt.cached-look-ahead-top-left", breaks="gpt.cached-equation",
    seen="google/flax#5591", effect="a single new token sees the first key alone",
)  # fmt: skip
def the_look_ahead_mask_of_a_piece_is_aligned_with_the_first_key(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            return look_ahead_mask(stop)[: stop - start]

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-past-hidden", breaks="gpt.changed-token-shows",
    seen="hyprstream/hyprstream#1521", effect="every piece begins anew",
)  # fmt: skip
def a_piece_sees_nothing_of_the_past(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            return look_ahead_mask(stop)[start:] & (torch.arange(stop) >= start)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-prompt-without-look-ahead", breaks="gpt.cached-causality",
    seen="Mikyx-1/TinyLLM#17", effect="the prompt reads its own future, and its keys tell all later tokens",
)  # fmt: skip
def the_first_piece_has_no_look_ahead_mask(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            return look_ahead_mask(stop)[start:] | (start == 0)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-look-ahead-in-the-prompt", breaks="gpt.cached-causality",
    effect="right for single tokens; several at once, as in speculative decoding, see each other's future",
)  # fmt: skip
def pieces_with_a_past_have_no_look_ahead_mask(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            return look_ahead_mask(stop)[start:] | (start > 0)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-look-ahead-by-one", breaks="gpt.cached-causality",
    effect="after a past each token of a piece sees the next one",
)  # fmt: skip
def the_look_ahead_mask_of_a_piece_with_a_past_is_off_by_one(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            ahead = look_ahead_mask(stop)[start:]
            return ahead | torch.nn.functional.pad(ahead[:, :-1], (1, 0)) if start else ahead

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-own-token-hidden", breaks="gpt.cached-equation",
    effect="a token with a past does not attend to itself, whose key comes into the cache too late",
)  # fmt: skip
def a_piece_with_a_past_does_not_attend_to_its_own_last_token(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            ahead = look_ahead_mask(stop)[start:]
            return ahead & (torch.arange(stop) < stop - 1) if start else ahead

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-mask-for-look-ahead", breaks="gpt.everything-visible",
    seen="huggingface/transformers#31943", effect="a mask of ones and no mask give unlike results where there is a cache",
)  # fmt: skip
def an_attention_mask_takes_the_place_of_the_look_ahead_mask_in_pieces(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            return look_ahead_mask(stop)[start:] | (self.attention_mask is not None)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-mask-ignored", breaks="gpt.cached-hidden-tokens-do-not-matter",
    seen="deepspeedai/DeepSpeed#1466", effect="prompts padded on the left are continued from their padding",
)  # fmt: skip
def the_attention_mask_is_ignored_in_pieces(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    return gpt_cached(token_ids, weights, config, steps=steps, position_ids=position_ids)


@fault(
    gpt_cached, "gpt.cached-mask-ignored-in-one-piece", breaks="gpt.attention-mask",
    effect="a prompt that is the whole text goes by a fast path, which has no mask",
)  # fmt: skip
def one_piece_is_not_given_the_attention_mask(token_ids, weights, config, *, steps, attention_mask=None, **options):
    mask = attention_mask if len(steps) > 1 else None
    return gpt_cached(token_ids, weights, config, steps=steps, attention_mask=mask, **options)


@fault(
    gpt_cached, "gpt.cached-mask-ignored-alone", breaks="gpt.cached-hidden-tokens-do-not-matter",
    seen="huggingface/transformers#46773", effect="padding is seen where the batch is of one",
)  # fmt: skip
def the_attention_mask_is_ignored_in_pieces_of_a_batch_of_one(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    mask = attention_mask if len(token_ids) > 1 else None
    return gpt_cached(token_ids, weights, config, steps=steps, attention_mask=mask, position_ids=position_ids)


@fault(
    gpt_cached, "gpt.cached-mask-of-the-prompt-alone", breaks="gpt.cached-hidden-tokens-do-not-matter",
    seen="OpenNMT/OpenNMT-py#2532", effect="the prompt's padding is hidden from the prompt and seen by what follows",
)  # fmt: skip
def the_attention_mask_acts_in_the_first_piece_alone(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def shown(self, start, stop, piece):
            return None if piece else super().shown(start, stop, piece)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-mask-of-the-piece", breaks="gpt.cached-hidden-tokens-do-not-matter",
    seen="unslothai/unsloth#1066", effect="the mask is cut to the new tokens, and the padding before them is seen",
)  # fmt: skip
def the_attention_mask_is_cut_to_the_piece(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def shown(self, start, stop, piece):
            shown = super().shown(start, stop, piece)
            return None if shown is None else shown | (torch.arange(stop) < start)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-mask-aligned-at-the-end", breaks="gpt.cached-equation",
    effect="the mask of all tokens is cut from its end: a piece takes that of later tokens for its past",
)  # fmt: skip
def a_piece_takes_the_last_part_of_the_attention_mask(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def shown(self, start, stop, piece):
            return None if self.attention_mask is None else self.attention_mask[:, -stop:]

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-mask-of-the-first-sequence", breaks="gpt.batch-independence",
    effect="every sequence is masked by the padding of the first one in its batch",
)  # fmt: skip
def the_attention_mask_of_the_first_sequence_hides_in_all_pieces(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    mask = None if attention_mask is None else attention_mask[:1].expand(token_ids.shape)
    return gpt_cached(token_ids, weights, config, steps=steps, attention_mask=mask, position_ids=position_ids)


# --- In pieces: positions ---------------------------------------------------------------------------------------------


@fault(
    gpt_cached, "gpt.cached-positions-anew", breaks="gpt.cached-equation",
    seen="time-series-foundation-models/lag-llama#81", effect="every new token stands at position 0",
)  # fmt: skip
def positions_of_a_piece_count_from_0(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def positions(self, start, stop, piece):
            return torch.arange(stop - start) if self.position_ids is None else self.position_ids[:, start:stop]

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-positions-by-piece", breaks="gpt.cached-equation",
    effect="right for single tokens from the start; after a prompt positions go on from 1",
)  # fmt: skip
def positions_are_advanced_by_one_a_piece(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def positions(self, start, stop, piece):
            given = self.position_ids
            return torch.arange(piece, piece + stop - start) if given is None else given[:, start:stop]

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-positions-behind", breaks="gpt.cached-equation",
    effect="the first token after the prompt shares the position of its last",
)  # fmt: skip
def positions_after_the_first_piece_are_one_behind(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def positions(self, start, stop, piece):
            positions = super().positions(start, stop, piece)
            return positions - 1 if piece and self.position_ids is None else positions

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-position-ids-anew", breaks="gpt.cached-position-ids",
    effect="later pieces take the positions of the first tokens",
)  # fmt: skip
def every_piece_takes_the_first_of_the_position_ids(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def positions(self, start, stop, piece):
            return torch.arange(start, stop) if self.position_ids is None else self.position_ids[:, : stop - start]

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-position-ids-of-the-prompt", breaks="gpt.cached-position-ids",
    seen="huggingface/optimum#2326", effect="new tokens stand where padding and prompt together end",
)  # fmt: skip
def position_ids_count_in_the_first_piece_alone(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def positions(self, start, stop, piece):
            return torch.arange(start, stop) if piece else super().positions(start, stop, piece)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-position-ids-ignored", breaks="gpt.cached-position-ids",
    seen="unslothai/unsloth#3699", effect="prompts padded on the left begin at the wrong position",
)  # fmt: skip
def position_ids_are_ignored_in_pieces(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    return gpt_cached(token_ids, weights, config, steps=steps, attention_mask=attention_mask)


# --- In pieces: what is kept ------------------------------------------------------------------------------------------


@fault(
    gpt_cached, "gpt.cached-new-before-old", breaks="gpt.cached-equation",
    effect="masks fall on other keys than they are meant for; without a mask single tokens do not notice",
)  # fmt: skip
def new_keys_and_values_are_kept_in_front_of_the_old(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def after(self, past, new):
            return super().after(new, past)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-values-before-old", breaks="gpt.cached-equation",
    effect="keys and values do not belong together any more",
)  # fmt: skip
def new_values_are_kept_in_front_of_the_old(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def after(self, past, new):
            return torch.cat((past[0], new[0]), -2), torch.cat((new[1], past[1]), -2)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-keys-for-values", breaks="gpt.cached-equation",
    effect="one buffer serves for both, and the past is read by its keys",
)  # fmt: skip
def keys_are_kept_in_place_of_values(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def keep(self, i, key, value):
            super().keep(i, key, key)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-of-the-first-layer", breaks="gpt.cached-equation",
    effect="deeper layers attend to keys and values that are none of theirs",
)  # fmt: skip
def all_layers_attend_to_the_past_of_the_first(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        read: Any = None

        def layer(self, x, weights, mask, past, i):
            self.read = past if i == 0 else self.read
            return super().layer(x, weights, mask, self.read, i)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-of-the-last-layer", breaks="gpt.cached-equation",
    effect="one cache for all layers, in which the last one to write remains",
)  # fmt: skip
def all_layers_attend_to_the_past_of_the_last(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        read: Any = None

        def layer(self, x, weights, mask, past, i):
            self.read = self.past[-1] if i == 0 else self.read
            return super().layer(x, weights, mask, self.read, i)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-before-the-norm", breaks="gpt.cached-equation",
    effect="pre-norm models read their past at another scale than their present",
)  # fmt: skip
def keys_and_values_of_the_past_are_those_of_inputs_without_the_norm(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def layer(self, x, weights, mask, past, i):
            made = super().layer(x, weights, mask, past, i)
            own = part(weights, "self_attention")
            return made[0], *(split_heads(project(x, own, name), self.config.num_heads) for name in "kv")

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-of-the-output", breaks="gpt.cached-equation",
    effect="the past is kept after the layer has changed it",
)  # fmt: skip
def keys_and_values_of_the_past_are_those_of_the_layers_result(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def layer(self, x, weights, mask, past, i):
            x = super().layer(x, weights, mask, past, i)[0]
            norm, own = part(weights, "self_attention_norm"), part(weights, "self_attention")
            read = layer_norm(x, norm, eps=self.config.eps) if self.config.norm_first else x
            return x, *(split_heads(project(read, own, name), self.config.num_heads) for name in "kv")

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-of-the-first-sequence", breaks="gpt.batch-independence",
    seen="ggml-org/llama.cpp#7903", effect="right for one sequence; in a batch all are continued from the first",
)  # fmt: skip
def values_of_the_past_are_those_of_the_first_sequence(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def keep(self, i, key, value):
            super().keep(i, key, value[:1].expand(value.shape))

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-last-token-dropped", breaks="gpt.cached-equation",
    effect="the cache is one token short after the prompt, and what lies there is zero",
)  # fmt: skip
def the_last_token_of_a_piece_of_several_is_not_kept(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def keep(self, i, key, value):
            kept = (torch.arange(key.shape[-2]) < key.shape[-2] - 1) | (key.shape[-2] == 1)
            kept = kept.unsqueeze(-1).to(key.dtype)
            super().keep(i, key * kept, value * kept)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-last-token-alone", breaks="gpt.cached-equation",
    effect="right for single tokens; of a prompt only the end is remembered",
)  # fmt: skip
def a_piece_is_kept_as_its_last_token(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def keep(self, i, key, value):
            super().keep(i, key[..., -1:, :].expand(key.shape), value[..., -1:, :].expand(value.shape))

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-piece-before-alone", breaks="gpt.cached-equation",
    effect="the cache is overwritten and not extended; two pieces do not notice",
)  # fmt: skip
def a_piece_sees_itself_and_the_piece_before_it_alone(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            before = start - self.steps[piece - 1] if piece else 0
            return look_ahead_mask(stop)[start:] & (torch.arange(stop) >= before)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-prompt-alone", breaks="gpt.cached-equation",
    effect="a cache made for the memory of a decoder: what is generated is forgotten",
)  # fmt: skip
def only_the_first_piece_is_kept(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def look_ahead(self, start, stop, piece):
            own = torch.arange(stop) >= start
            return look_ahead_mask(stop)[start:] & (own | (torch.arange(stop) < self.steps[0]))

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-twice", breaks="gpt.cached-equation",
    seen="pkunlp-icler/FastV#46", effect="an extra pass for inspection enters every past token a second time",
)  # fmt: skip
def every_token_is_kept_twice(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def layer(self, x, weights, mask, past, i):
            if past is not None:
                start = past[0].shape[-2]
                past, mask = self.after(past, past), torch.cat((mask[..., :start], mask), -1)
            return super().layer(x, weights, mask, past, i)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-empty-slots-seen", breaks="gpt.cached-equation",
    seen="deepbeepmeep/Wan2GP#1628", effect="slots that hold no token yet take part, as keys of zero",
)  # fmt: skip
def empty_slots_of_the_cache_are_attended_to(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def layer(self, x, weights, mask, past, i):
            B, M = len(x), x.shape[-1]
            length = x.shape[-2] + (0 if past is None else past[0].shape[-2])
            slots = x.new_zeros(
                B, self.config.num_heads, self.config.max_positions - length, M // self.config.num_heads
            )
            empty = (slots, slots)
            mask = torch.nn.functional.pad(mask, (slots.shape[-2], 0), value=True)
            return super().layer(x, weights, mask, empty if past is None else self.after(empty, past), i)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-in-bfloat16", breaks="gpt.cached-equation",
    seen="google/flax#3571", effect="the cache has a dtype of its own, and the past loses all but three digits",
)  # fmt: skip
def the_cache_is_kept_in_bfloat16(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def keep(self, i, key, value):
            super().keep(i, *(kept.to(torch.bfloat16).to(kept.dtype) for kept in (key, value)))

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-in-the-first-layer", breaks="gpt.cached-equation",
    effect="deeper layers see the new piece alone",
)  # fmt: skip
def only_the_first_layer_has_a_cache(token_ids, weights, config, *, steps, attention_mask=None, position_ids=None):
    class Wrong(_Pieces):
        def layer(self, x, weights, mask, past, i):
            start = mask.shape[-1] - x.shape[-2]
            seen = mask & (torch.arange(mask.shape[-1]) >= start) if i else mask
            return super().layer(x, weights, seen, past, i)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


# --- In pieces: norms, logits, calls ----------------------------------------------------------------------------------


@fault(
    gpt_cached, "gpt.cached-final-norm-missing", breaks="gpt.cached-equation",
    effect="the path of single steps lacks the last norm that the prompt's path has",
)  # fmt: skip
def the_last_norm_is_missing_after_the_first_piece(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def logits(self, x, piece):
            return x @ self.weights["embeddings.token"].T if piece else super().logits(x, piece)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-pre-norm", breaks="gpt.cached-is-whole",
    effect="the path with a cache knows pre-norm layers alone",
)  # fmt: skip
def layers_are_pre_norm_in_pieces_whatever_is_configured(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def layer(self, x, weights, mask, past, i):
            return _layer_with_past(x, weights, self.config, mask, past, norm_first=True)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-last-logits-for-all", breaks="gpt.cached-causality",
    effect="right for generating; all tokens of a piece are scored by its last",
)  # fmt: skip
def all_tokens_of_a_piece_have_the_logits_of_its_last(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def logits(self, x, piece):
            logits = super().logits(x, piece)
            return logits[:, -1:].expand(logits.shape)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-last-logits-alone", breaks="gpt.dtype-and-shape",
    effect="a piece has one row of logits whatever its length",
)  # fmt: skip
def only_the_last_token_of_a_piece_has_logits(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def logits(self, x, piece):
            return super().logits(x, piece)[:, -1:]

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-pieces-exchanged", breaks="gpt.cached-pieces",
    effect="logits of the first piece come after those of the others",
)  # fmt: skip
def pieces_are_put_together_in_the_wrong_order(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    logits = gpt_cached(
        token_ids, weights, config, steps=steps, attention_mask=attention_mask, position_ids=position_ids
    )
    return logits.roll(-steps[0], -2)


@fault(
    gpt_cached, "gpt.cached-between-calls", breaks="gpt.cached-no-memory",
    seen="time-series-foundation-models/lag-llama#81", effect="a second text is continued from the first",
)  # fmt: skip
def the_cache_is_not_emptied_between_calls(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def layer(self, x, weights, mask, past, i):
            key = ("cache", i, len(x), self.config, x.dtype)
            stale = _kept.get(key) if past is None else None
            if stale is not None:
                past = stale
                mask = torch.nn.functional.pad(mask, (stale[0].shape[-2], 0), value=True)
            made = super().layer(x, weights, mask, past, i)
            if past is None:
                _kept[key] = tuple(kept.detach().clone() for kept in made[1:])
            return made

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-kept-by-shape", breaks="gpt.cached-no-memory",
    effect="keys of a prompt are reused for another prompt of its length",
)  # fmt: skip
def keys_of_the_first_piece_are_kept_by_their_shape(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def keep(self, i, key, value):
            if self.past[i] is None:
                key = _kept.setdefault(("keys", i, key.shape, key.dtype), key.detach().clone())
            super().keep(i, key, value)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()


@fault(
    gpt_cached, "gpt.cached-mask-overwritten", breaks="gpt.inputs-untouched",
    effect="what is read is marked in the caller's own mask",
)  # fmt: skip
def the_attention_mask_is_filled_as_pieces_are_read(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    logits = gpt_cached(
        token_ids, weights, config, steps=steps, attention_mask=attention_mask, position_ids=position_ids
    )
    if attention_mask is not None:
        attention_mask.fill_(True)
    return logits


@fault(
    gpt_cached, "gpt.cached-steps-repaired", breaks="gpt.cached-steps-add-up",
    effect="a wrong count is taken for another, and nobody is told",
)  # fmt: skip
def steps_that_do_not_add_up_are_taken_as_one_piece(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    length = token_ids.shape[-1]
    steps = steps if sum(steps) == length and min(steps, default=0) > 0 else (length,)
    return gpt_cached(token_ids, weights, config, steps=steps, attention_mask=attention_mask, position_ids=position_ids)


@fault(
    gpt_cached, "gpt.cached-positions-clamped", breaks="gpt.out-of-range",
    effect="texts that grow too long go on at the last position",
)  # fmt: skip
def positions_beyond_the_table_become_its_last_in_pieces(
    token_ids, weights, config, *, steps, attention_mask=None, position_ids=None
):
    class Wrong(_Pieces):
        def positions(self, start, stop, piece):
            return super().positions(start, stop, piece).clamp_max(self.config.max_positions - 1)

    return Wrong(token_ids, weights, config, steps, attention_mask, position_ids).run()
