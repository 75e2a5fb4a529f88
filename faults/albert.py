"""Mistakes in ALBERT, its pooler and the heads of its pretraining."""

from typing import Any

import torch

from transpec.catalogue import fault
from transpec.faults.bert import layer_with_masks_per_head
from transpec.reference.albert import albert, albert_mlm, albert_pooled, albert_sop
from transpec.reference.attention import multi_head_attention
from transpec.reference.bert import embed, pool, predict_tokens
from transpec.reference.feed_forward import ACTIVATIONS, feed_forward
from transpec.reference.layers import encoder_layer, part
from transpec.reference.masks import look_ahead_mask
from transpec.reference.normalization import add_norm, layer_norm


def _summed(token_ids, weights, token_type_ids=None, position_ids=None):
    return embed(token_ids, part(weights, "embeddings"), token_type_ids, position_ids)


def _normed(x, weights, config):
    return layer_norm(x, part(weights, "embeddings.norm"), eps=config.eps)


def _projected(x, weights):
    return x @ weights["projection.w"] + weights["projection.b"]


def _layers(x, weights, config, attention_mask, mask=None, times=None, **changed):
    """The run through the layer, with other options, another mask or another number of times."""
    options = {"activation": config.activation, "eps": config.eps} | changed
    mask = mask if mask is not None or attention_mask is None else attention_mask.unsqueeze(-2)
    for _ in range(config.num_layers if times is None else times):
        x = encoder_layer(x, part(weights, "layer"), num_heads=config.num_heads, mask=mask, **options)
    return x


def _whole(token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None, **changed):
    """The formula with a layer that is applied otherwise."""
    x = _normed(_summed(token_ids, weights, token_type_ids, position_ids), weights, config)
    return _layers(_projected(x, weights), weights, config, attention_mask, **changed)


# --- Embeddings -------------------------------------------------------------------------------------------------------


@fault(
    albert, "albert.projection-without-bias", breaks="albert.embeddings",
    effect="the paper's product of two matrices, without the bias that checkpoints have",
)  # fmt: skip
def the_projection_has_no_bias(token_ids, weights, config, **options):
    bias = weights["projection.b"]
    return albert(token_ids, weights | {"projection.b": torch.zeros_like(bias)}, config, **options)


@fault(
    albert, "albert.norm-after-projection", breaks="albert.embeddings",
    seen="lucidrains/reformer-pytorch#129", effect="the norm is taken at the width of the layer, not of the embeddings",
)  # fmt: skip
def what_is_projected_is_normalized_after_it(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x, norm = _projected(_summed(token_ids, weights, token_type_ids, position_ids), weights), "embeddings.norm"
    # The gain and bias that there are fill the width that they are now needed at.
    filled = {
        name: value.repeat(-(-x.shape[-1] // len(value)))[: x.shape[-1]] for name, value in part(weights, norm).items()
    }
    return _layers(layer_norm(x, filled, eps=config.eps), weights, config, attention_mask)


@fault(
    albert, "albert.embeddings-without-norm", breaks="albert.embeddings",
    effect="what is projected has another size than it had in training",
)  # fmt: skip
def the_norm_of_the_embeddings_is_missing(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _projected(_summed(token_ids, weights, token_type_ids, position_ids), weights)
    return _layers(x, weights, config, attention_mask)


@fault(
    albert, "albert.embeddings-scaled", breaks="albert.embeddings",
    effect="a habit of the Transformer of 2017: positions and types drown in the tokens",
)  # fmt: skip
def token_embeddings_are_scaled_by_the_root_of_their_size(token_ids, weights, config, **options):
    scaled = weights["embeddings.token"] * config.embedding_size**0.5
    return albert(token_ids, weights | {"embeddings.token": scaled}, config, **options)


@fault(
    albert, "albert.projection-in-every-layer", breaks="albert.shared-layer",
    effect="the bias of the projection is added anew in each pass",
)  # fmt: skip
def the_bias_of_the_projection_is_added_before_every_pass(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _normed(_summed(token_ids, weights, token_type_ids, position_ids), weights, config) @ weights["projection.w"]
    for _ in range(config.num_layers):
        x = _layers(x + weights["projection.b"], weights, config, attention_mask, times=1)
    return x if config.num_layers else x + weights["projection.b"]


@fault(
    albert, "albert.types-ignored", breaks="albert.token-types",
    seen="antonellof/ferrox#44", effect="the second segment cannot be told from the first",
)  # fmt: skip
def every_token_is_of_type_0(token_ids, weights, config, *, token_type_ids=None, **options):
    return albert(token_ids, weights, config, **options)


@fault(
    albert, "albert.types-missing-by-default", breaks="albert.default-types",
    effect="single segments are embedded without the row of type 0 that training added",
)  # fmt: skip
def no_type_is_added_where_none_is_given(token_ids, weights, config, *, token_type_ids=None, **options):
    if token_type_ids is None:
        weights = weights | {"embeddings.token_type": torch.zeros_like(weights["embeddings.token_type"])}
    return albert(token_ids, weights, config, token_type_ids=token_type_ids, **options)


@fault(
    albert, "albert.position-ids-ignored", breaks="albert.position-ids",
    effect="what is padded on the left, or packed, begins at the wrong position",
)  # fmt: skip
def position_ids_are_ignored(token_ids, weights, config, *, position_ids=None, **options):
    return albert(token_ids, weights, config, **options)


@fault(
    albert, "albert.positions-from-1", breaks="albert.default-positions",
    effect="every token takes its neighbour's row, and the last place is out of range",
)  # fmt: skip
def positions_count_from_one(token_ids, weights, config, *, position_ids=None, **options):
    counted = torch.arange(1, token_ids.shape[-1] + 1).clamp_max(config.max_positions - 1).expand(token_ids.shape)
    return albert(token_ids, weights, config, position_ids=counted if position_ids is None else position_ids, **options)


@fault(
    albert, "albert.strides-ignored", breaks="albert.layouts",
    effect="positions that are a view of others are read from its memory, as if it were contiguous",
)  # fmt: skip
def position_ids_are_read_as_they_lie_in_memory(token_ids, weights, config, *, position_ids=None, **options):
    if position_ids is not None and not position_ids.is_contiguous():
        memory = position_ids.untyped_storage().nbytes() // position_ids.element_size() - position_ids.storage_offset()
        read = position_ids.as_strided((min(memory, position_ids.numel()),), (1,)).clamp(0, config.max_positions - 1)
        missing = read.new_zeros(position_ids.numel() - len(read))
        position_ids = torch.cat([read, missing]).view(position_ids.shape)
    return albert(token_ids, weights, config, position_ids=position_ids, **options)


@fault(
    albert, "albert.ids-wrapped", breaks="albert.out-of-range",
    effect="an id of another vocabulary is silently taken for another word",
)  # fmt: skip
def ids_beyond_the_table_start_again_from_0(token_ids, weights, config, **options):
    return albert(token_ids % config.vocab_size, weights, config, **options)


# --- What attends to what ---------------------------------------------------------------------------------------------


@fault(
    albert, "albert.look-ahead", breaks="albert.bidirectional",
    effect="ALBERT reads from left to right alone",
)  # fmt: skip
def positions_attend_to_themselves_and_what_is_before_alone(
    token_ids, weights, config, *, attention_mask=None, **options
):
    mask = look_ahead_mask(token_ids.shape[-1])
    mask = mask if attention_mask is None else mask & attention_mask.unsqueeze(-2)
    return _whole(token_ids, weights, config, mask=mask, **options)


@fault(
    albert, "albert.attention-mask-ignored", breaks="albert.hidden-tokens-do-not-matter",
    seen="deepspeedai/DeepSpeed#1912", effect="what a sequence means depends on how far it is padded",
)  # fmt: skip
def the_attention_mask_is_ignored(token_ids, weights, config, *, attention_mask=None, **options):
    return albert(token_ids, weights, config, **options)


@fault(
    albert, "albert.attention-mask-ignored-alone", breaks="albert.padding-right",
    seen="huggingface/transformers#46773", effect="right in a batch; a padded sequence alone attends to its padding",
)  # fmt: skip
def the_attention_mask_is_ignored_in_a_batch_of_one(token_ids, weights, config, *, attention_mask=None, **options):
    mask = attention_mask if len(token_ids) > 1 else None
    return albert(token_ids, weights, config, attention_mask=mask, **options)


@fault(
    albert, "albert.attention-mask-of-the-first-sequence", breaks="albert.batch-independence",
    effect="every sequence is masked by the padding of the first one in its batch",
)  # fmt: skip
def the_attention_mask_of_the_first_sequence_hides_in_all(
    token_ids, weights, config, *, attention_mask=None, **options
):
    mask = None if attention_mask is None else attention_mask[:1].expand(token_ids.shape)
    return albert(token_ids, weights, config, attention_mask=mask, **options)


@fault(
    albert, "albert.attention-mask-per-head", breaks="albert.hidden-tokens-do-not-matter",
    seen="lsdefine/attention-is-all-you-need-keras#36", effect="heads are masked by the padding of other sequences",
)  # fmt: skip
def masks_of_sequences_are_repeated_where_heads_alternate(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _projected(_normed(_summed(token_ids, weights, token_type_ids, position_ids), weights, config), weights)
    if attention_mask is None:
        return _layers(x, weights, config, None)
    (B, T), H = token_ids.shape, config.num_heads
    for _ in range(config.num_layers):
        x = layer_with_masks_per_head(x, part(weights, "layer"), config, attention_mask.repeat(H, 1).view(B, H, 1, T))
    return x


@fault(
    albert, "albert.attention-mask-in-the-first-pass", breaks="albert.hidden-tokens-do-not-matter",
    effect="padding comes in through every pass but the first",
)  # fmt: skip
def only_the_first_pass_is_given_the_attention_mask(token_ids, weights, config, *, attention_mask=None, **options):
    x = _whole(token_ids, weights, config, attention_mask=attention_mask, times=min(1, config.num_layers), **options)
    return _layers(x, weights, config, None, times=max(0, config.num_layers - 1))


@fault(
    albert, "albert.attention-mask-in-two-passes", breaks="albert.attention-mask",
    effect="two passes are right; from the third on padding is attended to",
)  # fmt: skip
def passes_from_the_third_on_are_not_given_the_attention_mask(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _projected(_normed(_summed(token_ids, weights, token_type_ids, position_ids), weights, config), weights)
    masked = min(2, config.num_layers)
    x = _layers(x, weights, config, attention_mask, times=masked)
    return _layers(x, weights, config, None, times=config.num_layers - masked)


@fault(
    albert, "albert.padding-zeroed", breaks="albert.attention-mask",
    effect="padding is attended to, as a token that is zero: more of it, and less of the sentence",
)  # fmt: skip
def the_embeddings_of_padding_are_made_zero_in_place_of_being_hidden(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _projected(_normed(_summed(token_ids, weights, token_type_ids, position_ids), weights, config), weights)
    x = x if attention_mask is None else torch.where(attention_mask.unsqueeze(-1), x, 0.0)
    return _layers(x, weights, config, None)


@fault(
    albert, "albert.padding-taken-to-be-right", breaks="albert.padding-left",
    seen="NVIDIA/TransformerEngine#614", effect="padding on the left is seen, and as many last tokens are hidden",
)  # fmt: skip
def as_many_first_places_are_visible_as_there_are_tokens(token_ids, weights, config, *, attention_mask=None, **options):
    mask = attention_mask
    if mask is not None:
        mask = torch.arange(token_ids.shape[-1]) < mask.sum(-1, keepdim=True)
    return albert(token_ids, weights, config, attention_mask=mask, **options)


@fault(
    albert, "albert.id-0-taken-for-padding", breaks="albert.everything-visible",
    seen="facebookresearch/fairseq#710", effect="where no mask is given the word of id 0 is invisible",
)  # fmt: skip
def id_0_is_hidden_where_no_attention_mask_is_given(token_ids, weights, config, *, attention_mask=None, **options):
    mask = token_ids != 0 if attention_mask is None else attention_mask
    return albert(token_ids, weights, config, attention_mask=mask, **options)


# --- The layer --------------------------------------------------------------------------------------------------------


@fault(
    albert, "albert.one-pass", breaks="albert.shared-layer",
    effect="one layer's weights are taken for a model of one layer",
)  # fmt: skip
def the_layer_is_applied_once(token_ids, weights, config, **options):
    return _whole(token_ids, weights, config, times=min(1, config.num_layers), **options)


@fault(
    albert, "albert.twelve-passes", breaks="albert.shared-layer",
    effect="the number of passes of the base model is the most that there are",
)  # fmt: skip
def no_more_than_twelve_passes_are_made(token_ids, weights, config, **options):
    return _whole(token_ids, weights, config, times=min(12, config.num_layers), **options)


@fault(
    albert, "albert.fresh-second-layer", breaks="albert.shared-layer",
    seen="google-research/albert#200", effect="a loader made for BERT restores no sharing: deeper layers stay as they were",
)  # fmt: skip
def the_later_passes_have_other_weights(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    given = {"token_type_ids": token_type_ids, "position_ids": position_ids}
    x = _whole(token_ids, weights, config, attention_mask=attention_mask, times=min(1, config.num_layers), **given)
    fresh = {name: value.flip(0) if ".w_" in name else value for name, value in weights.items()}
    return _layers(x, fresh, config, attention_mask, times=max(0, config.num_layers - 1))


@fault(
    albert, "albert.gradient-of-the-last-pass", breaks="albert.gradients",
    effect="the shared layer learns from its last pass alone",
)  # fmt: skip
def the_gradient_of_the_layer_is_that_of_its_last_pass(token_ids, weights, config, *, attention_mask=None, **options):
    fixed = {name: value.detach() if name.startswith("layer.") else value for name, value in weights.items()}
    times = max(0, config.num_layers - 1)
    x = _whole(token_ids, fixed, config, attention_mask=attention_mask, times=times, **options)
    return _layers(x, weights, config, attention_mask, times=config.num_layers - times)


@fault(
    albert, "albert.sublayers-exchanged", breaks="albert.equation",
    effect="the feed-forward sublayer goes first, as its weights are shared and nobody sees an order",
)  # fmt: skip
def feed_forward_goes_before_attention(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _projected(_normed(_summed(token_ids, weights, token_type_ids, position_ids), weights, config), weights)
    own, mask = part(weights, "layer"), None if attention_mask is None else attention_mask.unsqueeze(-2)
    for _ in range(config.num_layers):
        fed = feed_forward(x, part(own, "feed_forward"), activation=config.activation)
        x = add_norm(x, fed, part(own, "feed_forward_norm"), eps=config.eps)
        attention = part(own, "self_attention")
        attended = multi_head_attention(x, x, x, attention, num_heads=config.num_heads, mask=mask)
        x = add_norm(x, attended, part(own, "self_attention_norm"), eps=config.eps)
    return x


@fault(
    albert, "albert.pre-norm", breaks="albert.shared-layer",
    effect="weights of a post-norm layer in a pre-norm one",
)  # fmt: skip
def the_layer_is_pre_norm(token_ids, weights, config, **options):
    return _whole(token_ids, weights, config, norm_first=True, **options)


@fault(
    albert, "albert.gelu", breaks="albert.activations",
    effect="BERT's GELU, by the error function, in place of the approximation: off from the third digit on",
)  # fmt: skip
def gelu_is_not_approximated(token_ids, weights, config, **options):
    activation = "gelu" if config.activation == "gelu_tanh" else config.activation
    return _whole(token_ids, weights, config, activation=activation, **options)


@fault(
    albert, "albert.eps-1e-5", breaks="albert.epsilon",
    effect="a framework's default in the place of 1e-12",
)  # fmt: skip
def norms_of_the_layer_have_eps_1e_5(token_ids, weights, config, **options):
    return _whole(token_ids, weights, config, eps=1e-5, **options)


@fault(
    albert, "albert.kept-by-shape", breaks="albert.no-memory",
    effect="projected embeddings of the first batch are reused for all batches of its size",
)  # fmt: skip
def embeddings_are_kept_by_the_shape_of_the_ids(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _projected(_normed(_summed(token_ids, weights, token_type_ids, position_ids), weights, config), weights)
    x = _kept.setdefault((token_ids.shape, config, x.dtype), x.detach().clone())
    return _layers(x, weights, config, attention_mask)


_kept: dict[object, torch.Tensor] = {}


@fault(
    albert_mlm, "albert.activation-kept", breaks="albert.no-memory",
    effect="a model of the same sizes is taken from a store, whatever its activation",
)  # fmt: skip
def the_activation_of_the_first_model_of_its_sizes_stays(token_ids, weights, config, **options):
    sizes = (config.d_model, config.d_ff, config.embedding_size, config.num_heads, config.num_layers, config.eps)
    return albert_mlm(token_ids, weights, _configs.setdefault(sizes, config), **options)


_configs: dict[object, Any] = {}


@fault(
    albert, "albert.types-overwritten", breaks="albert.inputs-untouched",
    effect="the caller's types are made zero where padding stands",
)  # fmt: skip
def types_at_padding_are_made_zero_in_place(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, **options
):
    if token_type_ids is not None and attention_mask is not None:
        token_type_ids.mul_(attention_mask)
    return albert(token_ids, weights, config, token_type_ids=token_type_ids, attention_mask=attention_mask, **options)


# --- Pooler and heads -------------------------------------------------------------------------------------------------


@fault(
    albert_pooled, "albert.pooled-without-tanh", breaks="albert.pooled-equation",
    effect="heads are given numbers that they have not been trained on",
)  # fmt: skip
def the_pooler_has_no_tanh(token_ids, weights, config, **options):
    return albert(token_ids, weights, config, **options)[:, 0] @ weights["pooler.w"] + weights["pooler.b"]


@fault(
    albert_pooled, "albert.pooled-last-token", breaks="albert.pooled-from-the-encoder",
    effect="a habit of GPT: what is pooled is the last token, or padding",
)  # fmt: skip
def the_last_token_is_pooled(token_ids, weights, config, **options):
    return pool(albert(token_ids, weights, config, **options).flip(1), weights)


@fault(
    albert_pooled, "albert.pooled-with-all-tokens", breaks="albert.dtype-and-shape",
    effect="the pooler gives a row for every token",
)  # fmt: skip
def every_token_is_pooled(token_ids, weights, config, **options):
    return torch.tanh(albert(token_ids, weights, config, **options) @ weights["pooler.w"] + weights["pooler.b"])


@fault(
    albert_mlm, "albert.mlm-without-norm", breaks="albert.mlm-equation",
    effect="logits of another size: perplexity is off, and the first guess often right",
)  # fmt: skip
def the_mlm_head_has_no_norm(token_ids, weights, config, **options):
    x = albert(token_ids, weights, config, **options) @ weights["mlm.w"] + weights["mlm.b"]
    return ACTIVATIONS[config.activation](x) @ weights["embeddings.token"].T + weights["mlm.output_bias"]


@fault(
    albert_mlm, "albert.mlm-without-activation", breaks="albert.mlm-equation",
    effect="the way back is a mere product, as the way in is",
)  # fmt: skip
def the_mlm_head_has_no_activation(token_ids, weights, config, **options):
    x = albert(token_ids, weights, config, **options) @ weights["mlm.w"] + weights["mlm.b"]
    x = layer_norm(x, part(weights, "mlm.norm"), eps=config.eps)
    return x @ weights["embeddings.token"].T + weights["mlm.output_bias"]


@fault(
    albert_mlm, "albert.mlm-by-the-projection", breaks="albert.mlm-equation",
    effect="the way back is tied to the way in, as the table is, and the head's own matrix unused",
)  # fmt: skip
def the_mlm_head_goes_back_by_the_projection(token_ids, weights, config, **options):
    tied = weights | {"mlm.w": weights["projection.w"].T}
    return predict_tokens(albert(token_ids, weights, config, **options), tied, config.activation, config.eps)


@fault(
    albert_mlm, "albert.mlm-without-output-bias", breaks="albert.mlm-equation",
    effect="frequent words lose what training gave them",
)  # fmt: skip
def the_output_bias_is_missing(token_ids, weights, config, **options):
    return albert_mlm(token_ids, weights, config, **options) - weights["mlm.output_bias"]


@fault(
    albert_mlm, "albert.mlm-bias-by-rank", breaks="albert.tied-head",
    effect="the output bias stays in the order of another vocabulary",
)  # fmt: skip
def the_output_bias_is_in_descending_order(token_ids, weights, config, **options):
    bias = weights["mlm.output_bias"]
    return albert_mlm(token_ids, weights, config, **options) - bias + bias.sort(descending=True).values


@fault(
    albert_sop, "albert.sop-labels-exchanged", breaks="albert.sop-equation",
    seen="uclanlp/visualbert#26", effect="segments in order are called exchanged, with confidence",
)  # fmt: skip
def label_1_is_in_order(token_ids, weights, config, **options):
    return albert_sop(token_ids, weights, config, **options).flip(-1)


@fault(
    albert_sop, "albert.sop-not-pooled", breaks="albert.sop-equation",
    effect="the classifier reads the first token past the pooler",
)  # fmt: skip
def the_sop_head_reads_the_first_token_without_the_pooler(token_ids, weights, config, **options):
    return albert(token_ids, weights, config, **options)[:, 0] @ weights["sop.w"] + weights["sop.b"]
