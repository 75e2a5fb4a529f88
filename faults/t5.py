"""Mistakes in T5: buckets, its attention, both stacks, the head, and labels shifted right."""

import math
from dataclasses import replace
from typing import Any

import torch

from transpec.catalogue import fault
from transpec.reference.attention import merge_heads, project, softmax, split_heads
from transpec.reference.feed_forward import gelu, gelu_tanh
from transpec.reference.layers import part
from transpec.reference.masks import look_ahead_mask
from transpec.reference.normalization import layer_norm, rms_norm
from transpec.reference.t5 import (
    relative_position_bucket,
    shift_right,
    t5,
    t5_attention,
    t5_decoder,
    t5_encoder,
)

# --- Buckets ----------------------------------------------------------------------------------------------------------


@fault(
    relative_position_bucket, "t5.bucket-sign", breaks="t5.bucket-equation",
    effect="past and future change places; a decoder takes all of its past for distance 0",
)  # fmt: skip
def the_query_position_is_taken_less_the_key_position(relative_position, *, bidirectional, num_buckets, max_distance):
    return relative_position_bucket(
        -relative_position, bidirectional=bidirectional, num_buckets=num_buckets, max_distance=max_distance
    )


@fault(
    relative_position_bucket, "t5.bucket-both-directions", breaks="t5.bucket-equation",
    effect="a decoder uses half of its table, and tells near distances apart half as far",
)  # fmt: skip
def buckets_are_those_of_both_directions_always(relative_position, *, bidirectional, num_buckets, max_distance):
    return relative_position_bucket(
        relative_position, bidirectional=True, num_buckets=num_buckets, max_distance=max_distance
    )


def _bucket(relative_position, bidirectional, num_buckets, exact, far):
    """Buckets of distances with another rule, `far` of float distances, for those of `exact` and more."""
    half = num_buckets // 2 if bidirectional else num_buckets
    ahead = (relative_position > 0) * half * bidirectional
    distance = relative_position.abs() if bidirectional else (-relative_position).clamp_min(0)
    beyond = far(distance.clamp_min(1).double(), half).clamp(0, half - 1).long()
    return ahead + torch.where(distance < exact(half), distance, beyond)


def _logarithmic(distance, half, max_distance, whole):
    exact = half // 2
    along = (distance / exact).log() / math.log(max_distance / exact)
    # A distance on the edge of two buckets belongs to the second, whatever rounding makes of its logarithm.
    return exact + whole(along * (half - exact) + 1e-9)


@fault(
    relative_position_bucket, "t5.bucket-edge", breaks="t5.bucket-equation",
    effect="the distance at which the logarithm begins is still one of those that are told apart",
)  # fmt: skip
def the_first_logarithmic_distance_is_taken_for_an_exact_one(
    relative_position, *, bidirectional, num_buckets, max_distance
):
    def far(distance, half):
        exact = half // 2 + 1
        return exact + ((distance / exact).log() / math.log(max_distance / exact) * (half - exact) + 1e-9).floor()

    return _bucket(relative_position, bidirectional, num_buckets, lambda half: half // 2 + 1, far)


@fault(
    relative_position_bucket, "t5.bucket-rounded", breaks="t5.bucket-equation",
    effect="every edge of a logarithmic bucket lies half a bucket too near",
)  # fmt: skip
def logarithmic_buckets_are_rounded_and_not_cut_off(relative_position, *, bidirectional, num_buckets, max_distance):
    def far(distance, half):
        return _logarithmic(distance, half, max_distance, torch.round)

    return _bucket(relative_position, bidirectional, num_buckets, lambda half: half // 2, far)


@fault(
    relative_position_bucket, "t5.bucket-linear", breaks="t5.bucket-equation",
    effect="distances beyond the exact ones all fall into the last bucket soon",
)  # fmt: skip
def distances_are_cut_off_and_not_grouped(relative_position, *, bidirectional, num_buckets, max_distance):
    return _bucket(relative_position, bidirectional, num_buckets, lambda half: half, lambda distance, half: distance)


@fault(
    relative_position_bucket, "t5.bucket-unclamped", breaks="t5.bucket-far",
    effect="far keys take the buckets of the other direction or run off the table",
)  # fmt: skip
def the_last_bucket_is_not_the_last(relative_position, *, bidirectional, num_buckets, max_distance):
    half = num_buckets // 2 if bidirectional else num_buckets
    distance = relative_position.abs() if bidirectional else (-relative_position).clamp_min(0)
    far = _logarithmic(distance.clamp_min(1).double(), half, max_distance, torch.floor).long()
    ahead = (relative_position > 0) * half * bidirectional
    return ahead + torch.where(distance < half // 2, distance, far)


@fault(
    relative_position_bucket, "t5.bucket-ahead-as-behind", breaks="t5.bucket-equation",
    effect="in one direction keys ahead are told apart by their distance",
)  # fmt: skip
def distances_are_absolute_in_one_direction(relative_position, *, bidirectional, num_buckets, max_distance):
    position = relative_position if bidirectional else -relative_position.abs()
    return relative_position_bucket(
        position, bidirectional=bidirectional, num_buckets=num_buckets, max_distance=max_distance
    )


# --- Labels -----------------------------------------------------------------------------------------------------------


@fault(
    shift_right, "t5.shift-ignored-left", breaks="t5.shift-equation",
    seen="huggingface/transformers#9134", effect="-100 is looked up in the embedding: a row from its end, or a crash",
)  # fmt: skip
def ignored_labels_are_read_as_they_are(labels, *, start_id, pad_id):
    return torch.cat((torch.full_like(labels[:, :1], start_id), labels[:, :-1]), -1)


@fault(
    shift_right, "t5.shift-start-is-pad", breaks="t5.shift-equation",
    effect="right for T5's own checkpoints, whose start is pad; wrong for all that have a start of their own",
)  # fmt: skip
def the_pad_id_stands_first(labels, *, start_id, pad_id):
    return shift_right(labels, start_id=pad_id, pad_id=pad_id)


@fault(
    shift_right, "t5.shift-ignored-is-0", breaks="t5.shift-equation",
    effect="ignored labels become a word wherever padding is not 0",
)  # fmt: skip
def ignored_labels_become_id_0(labels, *, start_id, pad_id):
    return shift_right(labels, start_id=start_id, pad_id=0)


@fault(
    shift_right, "t5.shift-start-of-a-pad-is-0", breaks="t5.shift-equation",
    effect="a start id that is also the pad id is taken for T5's own, 0",
)  # fmt: skip
def a_start_that_is_pad_becomes_0(labels, *, start_id, pad_id):
    return shift_right(labels, start_id=0 if start_id == pad_id else start_id, pad_id=pad_id)


@fault(
    relative_position_bucket, "t5.bucket-in-16-bits", breaks="t5.bucket-far",
    effect="distances beyond 32767 come round to near ones",
)  # fmt: skip
def distances_are_kept_in_16_bits(relative_position, *, bidirectional, num_buckets, max_distance):
    return relative_position_bucket(
        relative_position.to(torch.int16).to(torch.int64),
        bidirectional=bidirectional, num_buckets=num_buckets, max_distance=max_distance,
    )  # fmt: skip


@fault(
    shift_right, "t5.shift-all-negative", breaks="t5.shift-equation",
    effect="other marks below zero vanish without a word",
)  # fmt: skip
def every_negative_label_becomes_pad(labels, *, start_id, pad_id):
    shifted = shift_right(labels, start_id=start_id, pad_id=pad_id)
    return torch.where(shifted < 0, pad_id, shifted)


@fault(
    shift_right, "t5.shift-missing", breaks="t5.shift-equation",
    effect="the decoder reads the word that it is to predict; the loss is wonderful",
)  # fmt: skip
def labels_are_read_unshifted(labels, *, start_id, pad_id):
    return torch.where(labels == -100, pad_id, labels)


@fault(
    shift_right, "t5.shift-left", breaks="t5.shift-equation",
    effect="the decoder reads two words ahead",
)  # fmt: skip
def labels_are_shifted_to_the_left(labels, *, start_id, pad_id):
    shifted = torch.cat((labels[:, 1:], torch.full_like(labels[:, :1], start_id)), -1)
    return torch.where(shifted == -100, pad_id, shifted)


@fault(
    shift_right, "t5.shift-rolled", breaks="t5.shift-equation",
    effect="the last label comes first where the start id should stand",
)  # fmt: skip
def labels_are_rolled(labels, *, start_id, pad_id):
    shifted = labels.roll(1, -1)
    return torch.where(shifted == -100, pad_id, shifted)


@fault(
    shift_right, "t5.shift-in-place", breaks="t5.inputs-untouched",
    effect="the labels lose their -100, and the loss counts padding",
)  # fmt: skip
def ignored_labels_are_overwritten_in_the_caller_s_tensor(labels, *, start_id, pad_id):
    shifted = shift_right(labels, start_id=start_id, pad_id=pad_id)
    labels[labels == -100] = pad_id
    return shifted


# --- Attention --------------------------------------------------------------------------------------------------------


def _attend(query, key, value, weights, num_heads, bias, mask, *, scale=1.0, low=-math.inf, after=None, soft=softmax):
    """The formula with another scale, another score where hidden, a bias on the weights, or another softmax."""
    query, key, value = (
        split_heads(project(x, weights, name), num_heads) for x, name in ((query, "q"), (key, "k"), (value, "v"))
    )
    scores = query @ key.transpose(-2, -1) * scale
    scores = scores if bias is None else scores + bias
    if mask is not None:
        seen = mask.broadcast_to(len(scores), *scores.shape[-2:]).unsqueeze(1)
        scores = torch.where(seen, scores, low)
    made = soft(scores)
    made = made if after is None else made + after
    return project(merge_heads(made @ value), weights, "o")


@fault(
    t5_attention, "t5.attention-scaled", breaks="t5.attention-equation",
    seen="ml-explore/mlx-examples#1013", effect="fast attention's default: every softmax is too flat for the checkpoint",
)  # fmt: skip
def scores_are_divided_by_the_root_of_the_key_size(query, key, value, weights, *, num_heads, bias=None, mask=None):
    size = weights["w_q"].shape[1] // num_heads
    return _attend(query, key, value, weights, num_heads, bias, mask, scale=size**-0.5)


@fault(
    t5_attention, "t5.attention-bias-scaled", breaks="t5.attention-equation",
    effect="the bias is divided with the scores where only they were to be made larger before",
)  # fmt: skip
def the_bias_is_divided_by_the_root_of_the_key_size(query, key, value, weights, *, num_heads, bias=None, mask=None):
    size = weights["w_q"].shape[1] // num_heads
    scaled = None if bias is None else bias * size**-0.5
    return t5_attention(query, key, value, weights, num_heads=num_heads, bias=scaled, mask=mask)


@fault(
    t5_attention, "t5.attention-bias-ignored", breaks="t5.attention-equation",
    effect="no word has a position",
)  # fmt: skip
def the_bias_is_ignored(query, key, value, weights, *, num_heads, bias=None, mask=None):
    return t5_attention(query, key, value, weights, num_heads=num_heads, mask=mask)


@fault(
    t5_attention, "t5.attention-bias-after", breaks="t5.attention-bias",
    effect="the bias is no logit but a weight, and rows no longer sum to one",
)  # fmt: skip
def the_bias_is_added_after_the_softmax(query, key, value, weights, *, num_heads, bias=None, mask=None):
    return _attend(query, key, value, weights, num_heads, None, mask, after=bias)


@fault(
    t5_attention, "t5.attention-bias-of-one-head", breaks="t5.attention-equation",
    effect="all heads look near and far alike",
)  # fmt: skip
def all_heads_have_the_bias_of_the_first(query, key, value, weights, *, num_heads, bias=None, mask=None):
    first = None if bias is None else bias[:1].expand(bias.shape)
    return t5_attention(query, key, value, weights, num_heads=num_heads, bias=first, mask=mask)


@fault(
    t5_attention, "t5.attention-bias-per-sequence", breaks="t5.attention-equation",
    effect="where there are as many sequences as heads, a bias belongs to a sequence",
)  # fmt: skip
def the_bias_is_taken_for_one_of_each_sequence(query, key, value, weights, *, num_heads, bias=None, mask=None):
    if bias is None or num_heads != len(query):
        return t5_attention(query, key, value, weights, num_heads=num_heads, bias=bias, mask=mask)
    return _attend(query, key, value, weights, num_heads, bias.unsqueeze(1), mask)


@fault(
    t5_attention, "t5.attention-bias-hidden", breaks="t5.attention-equation",
    effect="only one of mask and bias reaches a kernel that takes one of them",
)  # fmt: skip
def the_bias_is_left_out_where_there_is_a_mask(query, key, value, weights, *, num_heads, bias=None, mask=None):
    bias = bias if mask is None else None
    return t5_attention(query, key, value, weights, num_heads=num_heads, bias=bias, mask=mask)


@fault(
    t5_attention, "t5.attention-mask-weak", breaks="t5.attention-hidden-keys-do-not-matter",
    effect="padding shines through as soon as scores, which nothing divides, are large",
)  # fmt: skip
def hidden_scores_lose_ten(query, key, value, weights, *, num_heads, bias=None, mask=None):
    if mask is None:
        return t5_attention(query, key, value, weights, num_heads=num_heads, bias=bias)
    less = torch.where(mask, 0.0, -10.0).broadcast_to(len(query), query.shape[1], key.shape[1]).unsqueeze(1)
    bias = less if bias is None else bias + less
    return _attend(query, key, value, weights, num_heads, bias, None)


@fault(
    t5_attention, "t5.attention-mask-inverted", breaks="t5.attention-equation",
    effect="queries attend to padding and to nothing else",
)  # fmt: skip
def the_mask_is_true_where_it_hides(query, key, value, weights, *, num_heads, bias=None, mask=None):
    mask = None if mask is None else ~mask
    return t5_attention(query, key, value, weights, num_heads=num_heads, bias=bias, mask=mask)


@fault(
    t5_attention, "t5.attention-mask-of-the-first", breaks="t5.attention-equation",
    effect="every sequence is masked as the first of its batch",
)  # fmt: skip
def the_mask_of_the_first_sequence_hides_in_all(query, key, value, weights, *, num_heads, bias=None, mask=None):
    if mask is not None and mask.dim() == 3:
        mask = mask[:1].expand(mask.shape)
    return t5_attention(query, key, value, weights, num_heads=num_heads, bias=bias, mask=mask)


@fault(
    t5_attention, "t5.attention-highest-kept", breaks="t5.attention-stability",
    effect="exp overflows where scores are large, and all weights are NaN",
)  # fmt: skip
def the_highest_score_is_not_taken_away(query, key, value, weights, *, num_heads, bias=None, mask=None):
    def soft(scores):
        powers = scores.exp()
        return powers / powers.sum(-1, keepdim=True)

    return _attend(query, key, value, weights, num_heads, bias, mask, soft=soft)


@fault(
    t5_attention, "t5.attention-scores-capped", breaks="t5.attention-stability",
    effect="scores beyond fifty are alike",
)  # fmt: skip
def scores_are_clamped(query, key, value, weights, *, num_heads, bias=None, mask=None):
    def soft(scores):
        return softmax(torch.where(scores.isfinite(), scores.clamp(-50, 50), scores))

    return _attend(query, key, value, weights, num_heads, bias, mask, soft=soft)


@fault(
    t5_attention, "t5.attention-heads-cut", breaks="t5.attention-impossible-shapes",
    effect="columns that are left over are dropped, and nobody is told",
)  # fmt: skip
def columns_that_do_not_divide_are_left_out(query, key, value, weights, *, num_heads, bias=None, mask=None):
    columns = weights["w_q"].shape[1] // num_heads * num_heads
    cut = {name: x[:columns] if name == "w_o" else x[:, :columns] for name, x in weights.items()}
    return t5_attention(query, key, value, cut, num_heads=num_heads, bias=bias, mask=mask)


@fault(
    t5_attention, "t5.attention-heads-interleaved", breaks="t5.attention-equation",
    effect="entries of a head are taken from every num_heads-th column of the checkpoint",
)  # fmt: skip
def columns_belong_to_heads_in_turn(query, key, value, weights, *, num_heads, bias=None, mask=None):
    def dealt(x):
        return x.unflatten(-1, (-1, num_heads)).transpose(-2, -1).flatten(-2)

    dealt_out = {name: weights[name] if name == "w_o" else dealt(weights[name]) for name in weights}
    return t5_attention(query, key, value, dealt_out, num_heads=num_heads, bias=bias, mask=mask)


@fault(
    t5_attention, "t5.attention-bias-without-gradient", breaks="t5.gradients",
    effect="the table of relative biases stays as it was initialised",
)  # fmt: skip
def the_bias_is_detached(query, key, value, weights, *, num_heads, bias=None, mask=None):
    bias = None if bias is None else bias.detach()
    return t5_attention(query, key, value, weights, num_heads=num_heads, bias=bias, mask=mask)


# --- Encoder and decoder ----------------------------------------------------------------------------------------------


def _bias(length, weights, config, both):
    place = torch.arange(length)
    buckets = relative_position_bucket(
        place - place.unsqueeze(-1), bidirectional=both,
        num_buckets=config.num_buckets, max_distance=config.max_distance,
    )  # fmt: skip
    return weights["relative_bias"][buckets].permute(2, 0, 1)


def _rms(x, gain, config):
    return rms_norm(x, {"gain": gain}, eps=config.eps)


def _feed(x, own, config, gelu=gelu_tanh, exchanged=False):
    first = x @ own["feed_forward.w_1"]
    if config.activation != "gated_gelu":
        return torch.relu(first) @ own["feed_forward.w_2"]
    gate = x @ own["feed_forward.w_gate"]
    gate, first = (first, gate) if exchanged else (gate, first)
    return (gelu(gate) * first) @ own["feed_forward.w_2"]


def _sublayer(x, f, gain, config, normed):
    return x + f(normed(x, gain, config))


def _after(x, f, gain, config, normed):
    return normed(x + f(x), gain, config)


def _no_bias(i, bias):
    return bias if i == 0 else None


def _same_bias(i, bias):
    return bias


def _stack(
    token_ids, weights, config, *, memory=None, memory_mask=None, own_mask=None, embedded=1.0, normed=_rms,
    sublayer=_sublayer, bias_of=_same_bias, both=None, cross_bias=None, order=None, feed=_feed, last=_rms, ahead=None,
    masked_to=1000, read=lambda i, x, memory: (memory, memory), memory_normed=lambda memory, own, config: memory,
    cross_first=False,
):  # fmt: skip
    """Encoder, or decoder where there is a memory, with something else in a place."""
    is_decoder, length = memory is not None, token_ids.shape[-1]
    x = weights["embedding.table"][token_ids] * embedded
    bias = _bias(length, weights, config, not is_decoder if both is None else both)
    seen = None if own_mask is None else own_mask.unsqueeze(-2)
    if is_decoder if ahead is None else ahead:
        seen = look_ahead_mask(length) if seen is None else look_ahead_mask(length) & seen
    hidden = None if memory_mask is None else memory_mask.unsqueeze(-2)
    count = config.num_decoder_layers if is_decoder else config.num_encoder_layers
    for i in range(count) if order is None else order(count):
        own = part(weights, f"layers.{i}")

        def attend(x, own=own, i=i):
            mask = seen if i < masked_to else None
            return t5_attention(
                x, x, x, part(own, "self_attention"), num_heads=config.num_heads, bias=bias_of(i, bias), mask=mask
            )

        def look(x, own=own, i=i):
            key, value = read(i, x, memory_normed(memory, own, config))
            given = None if cross_bias is None else cross_bias(length, memory.shape[1], weights, config)
            return t5_attention(
                x, key, value, part(own, "cross_attention"), num_heads=config.num_heads, bias=given, mask=hidden
            )

        steps = [(attend, "self_attention_norm.gain")]
        steps += [(look, "cross_attention_norm.gain")] if is_decoder else []
        steps = steps[::-1] if cross_first else steps
        for step, gain in [*steps, (lambda x, own=own: feed(x, own, config), "feed_forward_norm.gain")]:
            x = sublayer(x, step, own[gain], config, normed)
    return last(x, weights["final_norm.gain"], config)


def _decode(token_ids, memory, weights, config, attention_mask, decoder_attention_mask, **changed):
    return _stack(
        token_ids,
        weights,
        config,
        memory=memory,
        memory_mask=attention_mask,
        own_mask=decoder_attention_mask,
        **changed,
    )


@fault(
    t5_encoder, "t5.embeddings-scaled", breaks="t5.encoder-equation",
    effect="a habit of the first Transformer: sublayers add next to nothing to embeddings this large",
)  # fmt: skip
def embeddings_are_multiplied_by_the_root_of_the_model_size(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, embedded=math.sqrt(config.d_model))


def _layer_norm(x, gain, config):
    return layer_norm(x, {"gain": gain, "bias": torch.zeros_like(gain)}, eps=config.eps)


@fault(
    t5_encoder, "t5.layer-norm", breaks="t5.norms",
    effect="the mean of every row is lost",
)  # fmt: skip
def norms_subtract_the_mean(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, normed=_layer_norm, last=_layer_norm)


@fault(
    t5_encoder, "t5.last-norm-is-layer-norm", breaks="t5.norms",
    seen="Dao-AILab/flash-attention@a9a4b4e4", effect="the memory has lost the mean of every row",
)  # fmt: skip
def the_last_norm_alone_subtracts_the_mean(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, last=_layer_norm)


@fault(
    t5_encoder, "t5.final-norm-missing", breaks="t5.norms",
    effect="the memory is as large as the residual path has grown",
)  # fmt: skip
def the_encoder_ends_without_a_norm(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, last=lambda x, gain, config: x)


@fault(
    t5_encoder, "t5.post-norm", breaks="t5.encoder-equation",
    effect="the first Transformer's order; no checkpoint fits it",
)  # fmt: skip
def norms_follow_the_sums(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, sublayer=_after)


def _multiplied(x, gain, config):
    return x * torch.sqrt((x * x).mean(-1, keepdim=True) + config.eps) * gain


def _eps_outside(x, gain, config):
    return x / (torch.sqrt((x * x).mean(-1, keepdim=True)) + config.eps) * gain


@fault(
    t5_encoder, "t5.norm-multiplied", breaks="t5.encoder-equation",
    seen="mosaicml/llm-foundry#371", effect="large rows grow larger in place of being normalized",
)  # fmt: skip
def rows_are_multiplied_by_their_size(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, normed=_multiplied, last=_multiplied)


@fault(
    t5_encoder, "t5.eps-outside", breaks="t5.epsilon",
    seen="allenai/OLMo#281", effect="rows that are small come out too large or too small",
)  # fmt: skip
def eps_is_added_to_the_root(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, normed=_eps_outside, last=_eps_outside)


@fault(
    t5_encoder, "t5.eps-fixed", breaks="t5.epsilon",
    effect="the configured eps is read by nobody",
)  # fmt: skip
def eps_is_always_a_millionth(token_ids, weights, config, *, attention_mask=None):
    return t5_encoder(token_ids, weights, replace(config, eps=1e-6), attention_mask=attention_mask)


@fault(
    t5_encoder, "t5.bias-in-the-first-layer", breaks="t5.relative-bias",
    effect="the table is stored with the first layer, and only there it is used",
)  # fmt: skip
def only_the_first_layer_has_the_bias(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, bias_of=_no_bias)


@fault(
    t5_encoder, "t5.bias-of-one-direction", breaks="t5.relative-bias",
    effect="all that lies ahead of a word is at distance 0 for the encoder",
)  # fmt: skip
def the_encoder_has_the_buckets_of_one_direction(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, both=False)


@fault(
    t5_encoder, "t5.buckets-fixed", breaks="t5.relative-bias",
    effect="the configured number of buckets is that of the table alone",
)  # fmt: skip
def max_distance_is_always_128(token_ids, weights, config, *, attention_mask=None):
    return t5_encoder(token_ids, weights, replace(config, max_distance=128), attention_mask=attention_mask)


@fault(
    t5_encoder, "t5.encoder-looks-back", breaks="t5.encoder-equation",
    effect="the encoder reads from left to right, as a decoder does",
)  # fmt: skip
def the_encoder_has_the_look_ahead_mask(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, ahead=True)


@fault(
    t5_encoder, "t5.source-mask-ignored", breaks="t5.hidden-tokens-do-not-matter",
    effect="the memory depends on how far a batch is padded",
)  # fmt: skip
def the_encoder_ignores_its_mask(token_ids, weights, config, *, attention_mask=None):
    return t5_encoder(token_ids, weights, config)


@fault(
    t5_encoder, "t5.source-mask-in-the-first-layer", breaks="t5.hidden-tokens-do-not-matter",
    effect="padding comes in through every layer but the first",
)  # fmt: skip
def only_the_first_layer_is_given_the_source_mask(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, masked_to=1)


@fault(
    t5_encoder, "t5.source-mask-in-the-first-two-layers", breaks="t5.masks",
    effect="padding comes in through every layer but the first two",
)  # fmt: skip
def only_the_first_two_layers_are_given_the_source_mask(token_ids, weights, config, *, attention_mask=None):
    return _stack(token_ids, weights, config, own_mask=attention_mask, masked_to=2)


@fault(
    t5_encoder, "t5.gated-without-a-mask", breaks="t5.masks",
    effect="models of version 1.1 attend to padding",
)  # fmt: skip
def a_gated_encoder_is_given_no_mask(token_ids, weights, config, *, attention_mask=None):
    mask = None if config.activation == "gated_gelu" else attention_mask
    return t5_encoder(token_ids, weights, config, attention_mask=mask)


@fault(
    t5_encoder, "t5.relative-bias-of-64", breaks="t5.relative-bias",
    effect="all tokens after the 64th stand at one place",
)  # fmt: skip
def the_bias_of_the_64th_token_is_that_of_all_after(token_ids, weights, config, *, attention_mask=None):
    place = torch.arange(token_ids.shape[-1]).clamp_max(63)
    return _stack(
        token_ids, weights, config, own_mask=attention_mask,
        bias_of=lambda i, bias: bias[:, place][:, :, place],
    )  # fmt: skip


@fault(
    t5_encoder, "t5.config-kept-by-size", breaks="t5.no-memory",
    effect="a second model of the same sizes runs with the max_distance of the first",
)  # fmt: skip
def the_max_distance_of_the_first_model_of_its_size_is_kept(token_ids, weights, config, *, attention_mask=None):
    first = _kept.setdefault(replace(config, max_distance=10**6), config)
    return t5_encoder(token_ids, weights, first, attention_mask=attention_mask)


@fault(
    t5_decoder, "t5.target-mask-transposed", breaks="t5.masks",
    effect="a mask is taken for one of tokens and sequences where there are as many of both",
)  # fmt: skip
def a_square_target_mask_is_transposed(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    own = decoder_attention_mask
    own = own.T if own is not None and len(own) == own.shape[1] else own
    return t5_decoder(token_ids, memory, weights, config, attention_mask=attention_mask, decoder_attention_mask=own)


@fault(
    t5_decoder, "t5.memory-mask-not-in-deep-decoders", breaks="t5.masks",
    effect="decoders of three layers and more attend to the source's padding",
)  # fmt: skip
def a_decoder_of_three_layers_or_more_does_not_mask_its_memory(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    mask = attention_mask if config.num_decoder_layers < 3 else None
    return t5_decoder(
        token_ids, memory, weights, config, attention_mask=mask, decoder_attention_mask=decoder_attention_mask
    )


@fault(
    t5_encoder, "t5.id-0-hidden", breaks="t5.everything-visible",
    effect="the word of id 0 is invisible wherever no mask is given",
)  # fmt: skip
def id_0_is_hidden_where_there_is_no_mask(token_ids, weights, config, *, attention_mask=None):
    mask = token_ids != 0 if attention_mask is None else attention_mask
    return t5_encoder(token_ids, weights, config, attention_mask=mask)


@fault(
    t5_encoder, "t5.gelu-exact", breaks="t5.activations",
    effect="version 1.1 is off in the fourth digit",
)  # fmt: skip
def the_gate_is_the_exact_gelu(token_ids, weights, config, *, attention_mask=None):
    def feed(x, own, config):
        return _feed(x, own, config, gelu)

    return _stack(token_ids, weights, config, own_mask=attention_mask, feed=feed)


@fault(
    t5_encoder, "t5.gate-exchanged", breaks="t5.activations",
    effect="the gate's weights are those of the other projection",
)  # fmt: skip
def gelu_is_on_the_other_projection(token_ids, weights, config, *, attention_mask=None):
    def feed(x, own, config):
        return _feed(x, own, config, exchanged=True)

    return _stack(token_ids, weights, config, own_mask=attention_mask, feed=feed)


@fault(
    t5_encoder, "t5.layers-by-name", breaks="t5.layers",
    effect="layer 10 comes before layer 2",
)  # fmt: skip
def layers_follow_each_other_as_words(token_ids, weights, config, *, attention_mask=None):
    def order(count):
        return sorted(range(count), key=str)

    return _stack(token_ids, weights, config, own_mask=attention_mask, order=order)


@fault(
    t5_decoder, "t5.bias-in-cross-attention", breaks="t5.memory-has-no-order",
    seen="huggingface/transformers#8518", effect="the memory's places count where only its content should",
)  # fmt: skip
def attention_to_the_memory_has_a_relative_bias(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def cross_bias(T, S, weights, config):
        buckets = relative_position_bucket(
            torch.arange(S) - torch.arange(T).unsqueeze(-1), bidirectional=False,
            num_buckets=config.num_buckets, max_distance=config.max_distance,
        )  # fmt: skip
        return weights["relative_bias"][buckets].permute(2, 0, 1)

    return _decode(token_ids, memory, weights, config, attention_mask, decoder_attention_mask, cross_bias=cross_bias)


@fault(
    t5_decoder, "t5.decoder-both-directions", breaks="t5.relative-bias",
    effect="half of the decoder's table is never read",
)  # fmt: skip
def the_decoder_has_the_buckets_of_both_directions(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    return _decode(token_ids, memory, weights, config, attention_mask, decoder_attention_mask, both=True)


@fault(
    t5_decoder, "t5.decoder-bias-in-the-first-layer", breaks="t5.relative-bias",
    effect="the decoder's later layers know the order of words by the look-ahead mask alone",
)  # fmt: skip
def only_the_first_layer_of_the_decoder_has_the_bias(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    return _decode(token_ids, memory, weights, config, attention_mask, decoder_attention_mask, bias_of=_no_bias)


@fault(
    t5_decoder, "t5.decoder-sees-ahead", breaks="t5.causality",
    effect="training reads the answer: the loss is wonderful",
)  # fmt: skip
def the_look_ahead_mask_is_missing(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    return _decode(token_ids, memory, weights, config, attention_mask, decoder_attention_mask, ahead=False)


@fault(
    t5_decoder, "t5.decoder-mask-for-look-ahead", breaks="t5.causality",
    effect="the first batch with padded targets reads the future",
)  # fmt: skip
def a_mask_of_the_target_takes_the_place_of_the_look_ahead_mask(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    ahead = decoder_attention_mask is None
    return _decode(token_ids, memory, weights, config, attention_mask, decoder_attention_mask, ahead=ahead)


@fault(
    t5_decoder, "t5.decoder-mask-ignored", breaks="t5.hidden-tokens-do-not-matter",
    effect="targets that are padded on the left begin with their padding",
)  # fmt: skip
def the_decoder_ignores_the_mask_of_its_own_tokens(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    return t5_decoder(token_ids, memory, weights, config, attention_mask=attention_mask)


@fault(
    t5_decoder, "t5.memory-mask-ignored", breaks="t5.hidden-tokens-do-not-matter",
    seen="NVIDIA/FasterTransformer#270", effect="words depend on how far the source is padded",
)  # fmt: skip
def the_decoder_ignores_the_mask_of_the_memory(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    return t5_decoder(token_ids, memory, weights, config, decoder_attention_mask=decoder_attention_mask)


@fault(
    t5_decoder, "t5.memory-mask-of-the-first", breaks="t5.batch-independence",
    effect="every sequence reads the source up to the length of the first one",
)  # fmt: skip
def the_mask_of_the_first_memory_hides_in_all(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    mask = None if attention_mask is None else attention_mask[:1].expand(attention_mask.shape)
    return t5_decoder(
        token_ids, memory, weights, config, attention_mask=mask, decoder_attention_mask=decoder_attention_mask
    )


@fault(
    t5_decoder, "t5.memory-seen-up-to-the-query", breaks="t5.whole-memory-shows",
    seen="Kamichanw/SeekDeeper#3", effect="the first words are made of the first words of the source alone",
)  # fmt: skip
def the_look_ahead_mask_is_on_the_memory_too(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def cross_bias(T, S, weights, config):
        hidden = torch.where(torch.ones(T, S, dtype=torch.bool).tril(), 0.0, -math.inf)
        return hidden.to(memory.dtype).expand(config.num_heads, T, S)

    if attention_mask is not None:
        return t5_decoder(
            token_ids, memory, weights, config,
            attention_mask=attention_mask, decoder_attention_mask=decoder_attention_mask,
        )  # fmt: skip
    return _decode(token_ids, memory, weights, config, None, decoder_attention_mask, cross_bias=cross_bias)


@fault(
    t5_decoder, "t5.memory-values-of-the-decoder", breaks="t5.decoder-equation",
    effect="keys are the encoder's and values the decoder's, where their numbers happen to agree",
)  # fmt: skip
def values_are_the_decoders_own(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def read(i, x, memory):
        return memory, x if x.shape == memory.shape else memory

    return _decode(token_ids, memory, weights, config, attention_mask, decoder_attention_mask, read=read)


@fault(
    t5_decoder, "t5.memory-normed", breaks="t5.decoder-equation",
    effect="the memory, which has a norm behind it, goes through that of cross-attention as well",
)  # fmt: skip
def the_memory_goes_through_the_norm_of_cross_attention(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def memory_normed(memory, own, config):
        return _rms(memory, own["cross_attention_norm.gain"], config)

    return _decode(
        token_ids, memory, weights, config, attention_mask, decoder_attention_mask, memory_normed=memory_normed
    )


@fault(
    t5_decoder, "t5.cross-attention-first", breaks="t5.decoder-equation",
    effect="the memory is read before the words so far",
)  # fmt: skip
def attention_to_the_memory_comes_before_self_attention(
    token_ids, memory, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    return _decode(token_ids, memory, weights, config, attention_mask, decoder_attention_mask, cross_first=True)


# --- The whole --------------------------------------------------------------------------------------------------------


def _whole(
    source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, *,
    logits=None, stacks=("encoder", "decoder"), memory_mask=True, of_memory=lambda memory: memory, configs=None,
):  # fmt: skip
    """The formula with another head, other weights of a stack, another mask or another memory."""
    table = {"embedding.table": weights["embedding.table"]}
    encoder, decoder = (table | part(weights, name) for name in stacks)
    first, second = configs or (config, config)
    memory = of_memory(t5_encoder(source_ids, encoder, first, attention_mask=attention_mask))
    x = t5_decoder(
        target_ids, memory, decoder, second,
        attention_mask=attention_mask if memory_mask else None, decoder_attention_mask=decoder_attention_mask,
    )  # fmt: skip
    if logits is not None:
        return logits(x)
    return x * config.d_model**-0.5 @ weights["embedding.table"].T if config.tied else x @ weights["head"]


@fault(
    t5, "t5.untied-head-scaled", breaks="t5.head",
    seen="ml-explore/mlx-examples#591", effect="version 1.1 samples as if it were far less sure",
)  # fmt: skip
def a_head_of_its_own_is_scaled_as_well(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    right = t5(
        source_ids, target_ids, weights, config,
        attention_mask=attention_mask, decoder_attention_mask=decoder_attention_mask,
    )  # fmt: skip
    return right if config.tied else right * config.d_model**-0.5


@fault(
    t5, "t5.tied-head-unscaled", breaks="t5.head",
    effect="logits are the root of d_model times too large, and sampling is nearly greedy",
)  # fmt: skip
def the_tied_head_is_not_scaled(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def logits(x):
        return x @ (weights["embedding.table"].T if config.tied else weights["head"])

    return _whole(source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, logits=logits)


@fault(
    t5, "t5.head-scaled-by-the-heads", breaks="t5.head",
    effect="right as long as heads divide the model",
)  # fmt: skip
def the_tied_head_is_scaled_by_the_inner_width(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def logits(x):
        inner = (config.num_heads * config.d_kv) ** -0.5
        return x * inner @ weights["embedding.table"].T if config.tied else x @ weights["head"]

    return _whole(source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, logits=logits)


@fault(
    t5, "t5.head-always-tied", breaks="t5.head",
    effect="the head of version 1.1 is never read",
)  # fmt: skip
def the_head_is_the_embedding_whatever_is_configured(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def logits(x):
        return x * config.d_model**-0.5 @ weights["embedding.table"].T

    return _whole(source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, logits=logits)


@fault(
    t5, "t5.head-without-gradient", breaks="t5.gradients",
    effect="the table learns from what it embeds and not from what it predicts",
)  # fmt: skip
def the_tied_head_is_detached(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def logits(x):
        tied = weights["embedding.table"].detach().T
        return x * config.d_model**-0.5 @ tied if config.tied else x @ weights["head"]

    return _whole(source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, logits=logits)


@fault(
    t5, "t5.memory-mask-not-handed-on", breaks="t5.hidden-tokens-do-not-matter",
    effect="the encoder hides the source's padding, and the decoder reads what it has made of it",
)  # fmt: skip
def the_source_mask_does_not_reach_the_decoder(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    return _whole(source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, memory_mask=False)


@fault(
    t5, "t5.memory-unused", breaks="t5.equation",
    effect="a language model that has never seen what it is asked",
)  # fmt: skip
def the_memory_is_zero(source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None):
    return _whole(
        source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, of_memory=torch.zeros_like
    )


@fault(
    t5, "t5.memory-detached", breaks="t5.gradients",
    effect="the encoder is never trained",
)  # fmt: skip
def the_memory_is_detached(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    return _whole(
        source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, of_memory=torch.detach
    )


@fault(
    t5, "t5.untied-without-a-memory-mask", breaks="t5.masks",
    effect="the decoder of version 1.1 attends to the source's padding",
)  # fmt: skip
def an_untied_decoder_is_given_no_mask_of_its_memory(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    if config.tied:
        return t5(
            source_ids, target_ids, weights, config,
            attention_mask=attention_mask, decoder_attention_mask=decoder_attention_mask,
        )  # fmt: skip
    table = {"embedding.table": weights["embedding.table"]}
    memory = t5_encoder(source_ids, table | part(weights, "encoder"), config, attention_mask=attention_mask)
    x = t5_decoder(
        target_ids, memory, table | part(weights, "decoder"), config, decoder_attention_mask=decoder_attention_mask
    )
    return x @ weights["head"]


@fault(
    t5, "t5.one-relative-bias", breaks="t5.equation",
    effect="the encoder's table is taken for the decoder's too",
)  # fmt: skip
def the_decoder_reads_the_relative_bias_of_the_encoder(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    shared = dict(weights) | {"decoder.relative_bias": weights["encoder.relative_bias"]}
    return _whole(source_ids, target_ids, shared, config, attention_mask, decoder_attention_mask)


@fault(
    t5, "t5.layers-of-the-encoder", breaks="t5.layers",
    effect="of a decoder that is deeper than its encoder the last layers are left out",
)  # fmt: skip
def the_decoder_has_as_many_layers_as_the_encoder(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    fewer = replace(config, num_decoder_layers=min(config.num_decoder_layers, config.num_encoder_layers))
    return _whole(
        source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, configs=(config, fewer)
    )


@fault(
    t5, "t5.target-shifted-inside", breaks="t5.equation",
    effect="targets that the caller has shifted are shifted once more",
)  # fmt: skip
def the_target_is_shifted_once_more(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    shifted = shift_right(target_ids, start_id=0, pad_id=0)
    return _whole(source_ids, shifted, weights, config, attention_mask, decoder_attention_mask)


@fault(
    t5, "t5.memory-kept", breaks="t5.no-memory",
    effect="a second text of the same length is answered with the memory of the first",
)  # fmt: skip
def the_memory_is_kept_by_its_shape(
    source_ids, target_ids, weights, config, *, attention_mask=None, decoder_attention_mask=None
):
    def of_memory(memory):
        return _kept.setdefault((memory.shape, memory.dtype), memory.detach().clone())

    return _whole(source_ids, target_ids, weights, config, attention_mask, decoder_attention_mask, of_memory=of_memory)


_kept: dict[Any, Any] = {}
