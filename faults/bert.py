"""Mistakes in BERT, its pooler and the heads of its pretraining."""

import torch

from transpec.catalogue import fault
from transpec.reference.attention import merge_heads, project, scaled_dot_product_attention, split_heads
from transpec.reference.bert import bert, bert_mlm, bert_nsp, bert_pooled, embed, predict_tokens
from transpec.reference.feed_forward import ACTIVATIONS, feed_forward
from transpec.reference.layers import encoder_layer, part
from transpec.reference.masks import look_ahead_mask
from transpec.reference.normalization import add_norm, layer_norm


def _embedded(token_ids, weights, config, token_type_ids=None, position_ids=None):
    x = embed(token_ids, part(weights, "embeddings"), token_type_ids, position_ids)
    return layer_norm(x, part(weights, "embeddings.norm"), eps=config.eps)


def _layers(x, weights, config, attention_mask, order=None, mask=None, **changed):
    """The run through the layers, with other options, another mask or in another order."""
    options = {"activation": config.activation, "eps": config.eps} | changed
    mask = mask if mask is not None or attention_mask is None else attention_mask.unsqueeze(-2)
    for i in range(config.num_layers) if order is None else order:
        x = encoder_layer(x, part(weights, f"layers.{i}"), num_heads=config.num_heads, mask=mask, **options)
    return x


def _whole(token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None, **changed):
    """The formula with layers that run otherwise."""
    x = _embedded(token_ids, weights, config, token_type_ids, position_ids)
    return _layers(x, weights, config, attention_mask, **changed)


def layer_with_masks_per_head(x, weights, config, mask):
    """An encoder layer that takes a mask of its own for each head, (B, H, T, T)."""
    own = part(weights, "self_attention")
    heads = (split_heads(project(x, own, name), config.num_heads) for name in "qkv")
    attended = project(merge_heads(scaled_dot_product_attention(*heads, mask=mask)), own, "o")
    x = add_norm(x, attended, part(weights, "self_attention_norm"), eps=config.eps)
    fed = feed_forward(x, part(weights, "feed_forward"), activation=config.activation)
    return add_norm(x, fed, part(weights, "feed_forward_norm"), eps=config.eps)


# --- Embeddings -------------------------------------------------------------------------------------------------------


@fault(
    bert, "bert.types-ignored", breaks="bert.token-types",
    seen="antonellof/ferrox#44", effect="the second sentence cannot be told from the first",
)  # fmt: skip
def every_token_is_of_type_0(token_ids, weights, config, *, token_type_ids=None, **options):
    return bert(token_ids, weights, config, **options)


@fault(
    bert, "bert.types-of-the-first-sequence", breaks="bert.token-types",
    effect="all pairs of a batch are cut where the first one is",
)  # fmt: skip
def all_sequences_take_the_types_of_the_first(token_ids, weights, config, *, token_type_ids=None, **options):
    types = None if token_type_ids is None else token_type_ids[:1].expand(token_ids.shape)
    return bert(token_ids, weights, config, token_type_ids=types, **options)


@fault(
    bert, "bert.types-above-1", breaks="bert.token-types",
    effect="models of more than two types lose all but two",
)  # fmt: skip
def types_above_1_become_1(token_ids, weights, config, *, token_type_ids=None, **options):
    types = None if token_type_ids is None else token_type_ids.clamp_max(1)
    return bert(token_ids, weights, config, token_type_ids=types, **options)


@fault(
    bert, "bert.types-missing-by-default", breaks="bert.default-types",
    effect="single sentences are embedded without the row of type 0 that training added",
)  # fmt: skip
def no_type_is_added_where_none_is_given(token_ids, weights, config, *, token_type_ids=None, **options):
    if token_type_ids is None:
        table = weights["embeddings.token_type"]
        weights = weights | {"embeddings.token_type": torch.zeros_like(table)}
    return bert(token_ids, weights, config, token_type_ids=token_type_ids, **options)


@fault(
    bert, "bert.types-1-by-default", breaks="bert.default-types",
    seen="john-hewitt/structural-probes#13", effect="a single sentence is taken for the second of a pair",
)  # fmt: skip
def types_are_1_where_none_are_given(token_ids, weights, config, *, token_type_ids=None, **options):
    types = torch.ones_like(token_ids) if token_type_ids is None else token_type_ids
    return bert(token_ids, weights, config, token_type_ids=types, **options)


@fault(
    bert, "bert.embeddings-without-norm", breaks="bert.embeddings",
    effect="the first layer is given numbers of another size than it was trained on",
)  # fmt: skip
def the_norm_of_the_embeddings_is_missing(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = embed(token_ids, part(weights, "embeddings"), token_type_ids, position_ids)
    return _layers(x, weights, config, attention_mask)


@fault(
    bert, "bert.embeddings-scaled", breaks="bert.embeddings",
    effect="a habit of the Transformer of 2017: positions and types drown in the tokens",
)  # fmt: skip
def token_embeddings_are_scaled_by_the_root_of_the_width(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    scaled = weights | {"embeddings.token": weights["embeddings.token"] * config.d_model**0.5}
    x = _embedded(token_ids, scaled, config, token_type_ids, position_ids)
    return _layers(x, weights, config, attention_mask)


@fault(
    bert, "bert.norm-of-tokens-alone", breaks="bert.embeddings",
    effect="types and positions are added after the norm, at another size than they were trained at",
)  # fmt: skip
def types_and_positions_are_added_after_the_norm(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    tables = part(weights, "embeddings")
    x = layer_norm(tables["token"][token_ids], part(weights, "embeddings.norm"), eps=config.eps)
    bare = tables | {"token": torch.zeros_like(tables["token"])}
    return _layers(x + embed(token_ids, bare, token_type_ids, position_ids), weights, config, attention_mask)


@fault(
    bert, "bert.positions-from-2", breaks="bert.default-positions",
    effect="positions of RoBERTa, which count from 2, in a BERT",
)  # fmt: skip
def positions_count_from_2(token_ids, weights, config, *, position_ids=None, **options):
    if position_ids is None:
        position_ids = (
            (torch.arange(token_ids.shape[-1]) + 2).clamp_max(config.max_positions - 1).expand(token_ids.shape)
        )
    return bert(token_ids, weights, config, position_ids=position_ids, **options)


@fault(
    bert, "bert.positions-from-the-mask", breaks="bert.attention-mask",
    effect="sequences padded in front are embedded at other places than BERT was trained to find them",
)  # fmt: skip
def positions_count_visible_tokens_where_none_are_given(
    token_ids, weights, config, *, attention_mask=None, position_ids=None, **options
):
    if position_ids is None and attention_mask is not None:
        position_ids = (attention_mask.cumsum(-1) - 1).clamp_min(0)
    return bert(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids, **options)


@fault(
    bert, "bert.position-ids-ignored", breaks="bert.position-ids",
    effect="what is padded on the left, or packed, begins at the wrong position",
)  # fmt: skip
def position_ids_are_ignored(token_ids, weights, config, *, position_ids=None, **options):
    return bert(token_ids, weights, config, **options)


@fault(
    bert, "bert.position-ids-of-the-first-sequence", breaks="bert.position-ids",
    effect="sequences padded unlike the first one begin at the wrong position",
)  # fmt: skip
def all_sequences_take_the_positions_of_the_first(token_ids, weights, config, *, position_ids=None, **options):
    positions = None if position_ids is None else position_ids[:1].expand(token_ids.shape)
    return bert(token_ids, weights, config, position_ids=positions, **options)


@fault(
    bert, "bert.strides-ignored", breaks="bert.layouts",
    effect="positions that are a view of others are read from its memory, as if it were contiguous",
)  # fmt: skip
def position_ids_are_read_as_they_lie_in_memory(token_ids, weights, config, *, position_ids=None, **options):
    if position_ids is not None and not position_ids.is_contiguous():
        memory = position_ids.untyped_storage().nbytes() // position_ids.element_size() - position_ids.storage_offset()
        read = position_ids.as_strided((min(memory, position_ids.numel()),), (1,)).clamp(0, config.max_positions - 1)
        missing = read.new_zeros(position_ids.numel() - len(read))
        position_ids = torch.cat([read, missing]).view(position_ids.shape)
    return bert(token_ids, weights, config, position_ids=position_ids, **options)


@fault(
    bert, "bert.ids-wrapped", breaks="bert.out-of-range",
    effect="an id of another vocabulary is silently taken for another word",
)  # fmt: skip
def ids_and_types_beyond_the_tables_start_again_from_0(token_ids, weights, config, *, token_type_ids=None, **options):
    types = None if token_type_ids is None else token_type_ids % config.num_token_types
    return bert(token_ids % config.vocab_size, weights, config, token_type_ids=types, **options)


# --- What attends to what ---------------------------------------------------------------------------------------------


@fault(
    bert, "bert.look-ahead", breaks="bert.bidirectional",
    effect="BERT reads from left to right and is a GPT without its head",
)  # fmt: skip
def positions_attend_to_themselves_and_what_is_before_alone(
    token_ids, weights, config, *, attention_mask=None, **options
):
    mask = look_ahead_mask(token_ids.shape[-1])
    mask = mask if attention_mask is None else mask & attention_mask.unsqueeze(-2)
    return _whole(token_ids, weights, config, mask=mask, **options)


@fault(
    bert, "bert.attention-mask-ignored", breaks="bert.hidden-tokens-do-not-matter",
    seen="deepspeedai/DeepSpeed#1912", effect="what a sequence means depends on how far it is padded",
)  # fmt: skip
def the_attention_mask_is_ignored(token_ids, weights, config, *, attention_mask=None, **options):
    return bert(token_ids, weights, config, **options)


@fault(
    bert, "bert.attention-mask-ignored-alone", breaks="bert.hidden-tokens-do-not-matter",
    seen="huggingface/transformers#46773", effect="right in a batch; a padded sequence alone attends to its padding",
)  # fmt: skip
def the_attention_mask_is_ignored_in_a_batch_of_one(token_ids, weights, config, *, attention_mask=None, **options):
    mask = attention_mask if len(token_ids) > 1 else None
    return bert(token_ids, weights, config, attention_mask=mask, **options)


@fault(
    bert, "bert.attention-mask-inverted", breaks="bert.padding-right",
    seen="rasbt/LLMs-from-scratch#1061", effect="tokens attend to padding alone",
)  # fmt: skip
def the_attention_mask_is_true_at_padding(token_ids, weights, config, *, attention_mask=None, **options):
    mask = None if attention_mask is None else ~attention_mask
    return bert(token_ids, weights, config, attention_mask=mask, **options)


@fault(
    bert, "bert.attention-mask-hides-queries", breaks="bert.hidden-tokens-do-not-matter",
    seen="keras-team/keras-io#1046", effect="padding attends to nothing, and all attend to padding",
)  # fmt: skip
def the_attention_mask_is_broadcast_over_the_keys(token_ids, weights, config, *, attention_mask=None, **options):
    mask = (
        None if attention_mask is None else attention_mask.unsqueeze(-1).expand(*token_ids.shape, token_ids.shape[-1])
    )
    return _whole(token_ids, weights, config, mask=mask, **options)


@fault(
    bert, "bert.attention-mask-of-the-first-sequence", breaks="bert.batch-independence",
    effect="every sequence is masked by the padding of the first one in its batch",
)  # fmt: skip
def the_attention_mask_of_the_first_sequence_hides_in_all(
    token_ids, weights, config, *, attention_mask=None, **options
):
    mask = None if attention_mask is None else attention_mask[:1].expand(token_ids.shape)
    return bert(token_ids, weights, config, attention_mask=mask, **options)


@fault(
    bert, "bert.attention-mask-per-head", breaks="bert.hidden-tokens-do-not-matter",
    seen="lsdefine/attention-is-all-you-need-keras#36", effect="heads are masked by the padding of other sequences",
)  # fmt: skip
def masks_of_sequences_are_repeated_where_heads_alternate(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _embedded(token_ids, weights, config, token_type_ids, position_ids)
    if attention_mask is None:
        return _layers(x, weights, config, None)
    (B, T), H = token_ids.shape, config.num_heads
    mixed = attention_mask.repeat(H, 1).view(B, H, 1, T)
    for i in range(config.num_layers):
        x = layer_with_masks_per_head(x, part(weights, f"layers.{i}"), config, mixed)
    return x


@fault(
    bert, "bert.attention-mask-in-the-first-layer", breaks="bert.hidden-tokens-do-not-matter",
    effect="padding comes in through every layer but the first",
)  # fmt: skip
def only_the_first_layer_is_given_the_attention_mask(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _embedded(token_ids, weights, config, token_type_ids, position_ids)
    x = _layers(x, weights, config, attention_mask, range(min(1, config.num_layers)))
    return _layers(x, weights, config, None, range(1, config.num_layers))


@fault(
    bert, "bert.attention-mask-in-two-layers", breaks="bert.attention-mask",
    effect="models of two layers are right; from the third layer on padding is attended to",
)  # fmt: skip
def layers_from_the_third_on_are_not_given_the_attention_mask(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x, L = _embedded(token_ids, weights, config, token_type_ids, position_ids), config.num_layers
    x = _layers(x, weights, config, attention_mask, range(min(2, L)))
    return _layers(x, weights, config, None, range(2, L))


@fault(
    bert, "bert.attention-mask-ignored-by-one-head", breaks="bert.attention-mask",
    effect="a shortcut for one head, which hands no mask on",
)  # fmt: skip
def one_head_is_not_given_the_attention_mask(token_ids, weights, config, *, attention_mask=None, **options):
    mask = attention_mask if config.num_heads > 1 else None
    return bert(token_ids, weights, config, attention_mask=mask, **options)


@fault(
    bert, "bert.padding-zeroed", breaks="bert.attention-mask",
    effect="padding is attended to, as a token that is zero: more of it, and less of the sentence",
)  # fmt: skip
def the_embeddings_of_padding_are_made_zero_in_place_of_being_hidden(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _embedded(token_ids, weights, config, token_type_ids, position_ids)
    x = x if attention_mask is None else torch.where(attention_mask.unsqueeze(-1), x, 0.0)
    return _layers(x, weights, config, None)


@fault(
    bert, "bert.padding-taken-to-be-right", breaks="bert.padding-left",
    seen="NVIDIA/TransformerEngine#614", effect="padding on the left is seen, and as many last tokens are hidden",
)  # fmt: skip
def as_many_first_places_are_visible_as_there_are_tokens(token_ids, weights, config, *, attention_mask=None, **options):
    mask = attention_mask
    if mask is not None:
        mask = torch.arange(token_ids.shape[-1]) < mask.sum(-1, keepdim=True)
    return bert(token_ids, weights, config, attention_mask=mask, **options)


@fault(
    bert, "bert.id-0-taken-for-padding", breaks="bert.everything-visible",
    seen="facebookresearch/fairseq#710", effect="where no mask is given the word of id 0 is invisible",
)  # fmt: skip
def id_0_is_hidden_where_no_attention_mask_is_given(token_ids, weights, config, *, attention_mask=None, **options):
    mask = token_ids != 0 if attention_mask is None else attention_mask
    return bert(token_ids, weights, config, attention_mask=mask, **options)


# --- Layers -----------------------------------------------------------------------------------------------------------


@fault(
    bert, "bert.pre-norm", breaks="bert.post-norm",
    seen="OpenNMT/CTranslate2#804", effect="weights of a post-norm model in pre-norm layers",
)  # fmt: skip
def layers_are_pre_norm(token_ids, weights, config, **options):
    return _whole(token_ids, weights, config, norm_first=True, **options)


@fault(
    bert, "bert.norm-after-the-stack", breaks="bert.post-norm",
    effect="a last norm, as a pre-norm stack has it, on what is normalized already",
)  # fmt: skip
def the_stack_ends_in_one_more_norm(token_ids, weights, config, **options):
    x, M = bert(token_ids, weights, config, **options), config.d_model
    return layer_norm(x, {"gain": x.new_ones(M), "bias": x.new_zeros(M)}, eps=config.eps)


@fault(
    bert, "bert.gelu-tanh", breaks="bert.activations",
    effect="an approximation of GELU in place of GELU: checkpoints are off from the third digit on",
)  # fmt: skip
def gelu_is_approximated_by_tanh(token_ids, weights, config, **options):
    return _whole(
        token_ids, weights, config, **({"activation": "gelu_tanh"} if config.activation == "gelu" else {}), **options
    )


@fault(
    bert, "bert.eps-1e-5", breaks="bert.epsilon",
    effect="a framework's default in the place of 1e-12",
)  # fmt: skip
def norms_of_layers_have_eps_1e_5(token_ids, weights, config, **options):
    return _whole(token_ids, weights, config, eps=1e-5, **options)


@fault(
    bert, "bert.eps-of-embeddings", breaks="bert.epsilon",
    effect="the embeddings' norm keeps the default of its framework while the layers are configured",
)  # fmt: skip
def the_norm_of_the_embeddings_has_eps_1e_5(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = embed(token_ids, part(weights, "embeddings"), token_type_ids, position_ids)
    x = layer_norm(x, part(weights, "embeddings.norm"), eps=1e-5)
    return _layers(x, weights, config, attention_mask)


@fault(
    bert, "bert.layers-alike", breaks="bert.layers",
    effect="BERT that shares its weights as ALBERT does",
)  # fmt: skip
def every_layer_has_the_weights_of_the_first(token_ids, weights, config, **options):
    return _whole(token_ids, weights, config, order=[0] * config.num_layers, **options)


@fault(
    bert, "bert.layers-by-name", breaks="bert.layers",
    effect="from eleven layers on the order is that of words: layer 10 follows layer 1",
)  # fmt: skip
def layers_follow_each_other_as_their_names_sort(token_ids, weights, config, **options):
    return _whole(token_ids, weights, config, order=sorted(range(config.num_layers), key=str), **options)


@fault(
    bert, "bert.first-token-for-all", breaks="bert.equation",
    seen="abhinavkashyap/sciwing#234", effect="every token is given the vector of the first",
)  # fmt: skip
def all_tokens_have_the_result_of_the_first(token_ids, weights, config, **options):
    x = bert(token_ids, weights, config, **options)
    return x[:, :1].expand(x.shape)


@fault(
    bert, "bert.kept-by-shape", breaks="bert.no-memory",
    effect="embeddings of the first batch are reused for all batches of its size",
)  # fmt: skip
def embeddings_are_kept_by_the_shape_of_the_ids(
    token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None
):
    x = _embedded(token_ids, weights, config, token_type_ids, position_ids)
    x = _kept.setdefault((token_ids.shape, config, x.dtype), x.detach().clone())
    return _layers(x, weights, config, attention_mask)


_kept: dict[object, torch.Tensor] = {}


@fault(
    bert, "bert.mask-overwritten", breaks="bert.inputs-untouched",
    effect="the caller's mask is inverted for a library that is True where it hides, and stays so",
)  # fmt: skip
def the_attention_mask_is_inverted_in_place(token_ids, weights, config, *, attention_mask=None, **options):
    x = bert(token_ids, weights, config, attention_mask=attention_mask, **options)
    if attention_mask is not None:
        attention_mask.logical_not_()
    return x


# --- Pooler -----------------------------------------------------------------------------------------------------------


def _pooled(x, weights):
    return torch.tanh(x @ weights["pooler.w"] + weights["pooler.b"])


@fault(
    bert_pooled, "bert.pooled-without-tanh", breaks="bert.pooled-equation",
    effect="heads are given numbers that they have not been trained on",
)  # fmt: skip
def the_pooler_has_no_tanh(token_ids, weights, config, **options):
    return bert(token_ids, weights, config, **options)[:, 0] @ weights["pooler.w"] + weights["pooler.b"]


@fault(
    bert_pooled, "bert.pooled-last-token", breaks="bert.pooled-from-the-encoder",
    effect="a habit of GPT: what is pooled is the last token, or padding",
)  # fmt: skip
def the_last_token_is_pooled(token_ids, weights, config, **options):
    return _pooled(bert(token_ids, weights, config, **options)[:, -1], weights)


@fault(
    bert_pooled, "bert.pooled-mean", breaks="bert.pooled-from-the-encoder",
    effect="a habit of sentence embeddings: the mean of all tokens, padding included",
)  # fmt: skip
def the_mean_of_all_tokens_is_pooled(token_ids, weights, config, **options):
    return _pooled(bert(token_ids, weights, config, **options).mean(-2), weights)


@fault(
    bert_pooled, "bert.pooled-with-all-tokens", breaks="bert.dtype-and-shape",
    effect="the pooler gives a row for every token",
)  # fmt: skip
def every_token_is_pooled(token_ids, weights, config, **options):
    return _pooled(bert(token_ids, weights, config, **options), weights)


# --- Heads ------------------------------------------------------------------------------------------------------------


@fault(
    bert_mlm, "bert.mlm-without-transform", breaks="bert.mlm-equation",
    effect="logits are those of a GPT: hidden states by the table, without what lies between",
)  # fmt: skip
def the_mlm_head_has_no_transform(token_ids, weights, config, **options):
    x = layer_norm(bert(token_ids, weights, config, **options), part(weights, "mlm.norm"), eps=config.eps)
    return x @ weights["embeddings.token"].T + weights["mlm.output_bias"]


@fault(
    bert_mlm, "bert.mlm-without-norm", breaks="bert.mlm-equation",
    effect="logits of another size: perplexity is off, and the first guess often right",
)  # fmt: skip
def the_mlm_head_has_no_norm(token_ids, weights, config, **options):
    x = bert(token_ids, weights, config, **options) @ weights["mlm.w"] + weights["mlm.b"]
    return ACTIVATIONS[config.activation](x) @ weights["embeddings.token"].T + weights["mlm.output_bias"]


@fault(
    bert_mlm, "bert.mlm-gelu", breaks="bert.mlm-equation",
    effect="the activation of the head is fixed while the layers' is configured",
)  # fmt: skip
def the_mlm_heads_activation_is_always_gelu(token_ids, weights, config, **options):
    return predict_tokens(bert(token_ids, weights, config, **options), weights, "gelu", config.eps)


@fault(
    bert_mlm, "bert.mlm-eps", breaks="bert.mlm-equation",
    effect="the eps of the head's norm is a framework's default",
)  # fmt: skip
def the_norm_of_the_mlm_head_has_eps_1e_5(token_ids, weights, config, **options):
    return predict_tokens(bert(token_ids, weights, config, **options), weights, config.activation, 1e-5)


@fault(
    bert_mlm, "bert.mlm-without-output-bias", breaks="bert.mlm-equation",
    effect="a bias that is not restored with the tied table: frequent words lose",
)  # fmt: skip
def the_output_bias_is_missing(token_ids, weights, config, **options):
    return bert_mlm(token_ids, weights, config, **options) - weights["mlm.output_bias"]


@fault(
    bert_mlm, "bert.mlm-bias-by-rank", breaks="bert.tied-head",
    effect="the output bias stays in the order of another vocabulary",
)  # fmt: skip
def the_output_bias_is_in_descending_order(token_ids, weights, config, **options):
    bias = weights["mlm.output_bias"]
    return bert_mlm(token_ids, weights, config, **options) - bias + bias.sort(descending=True).values


@fault(
    bert_mlm, "bert.mlm-types-above-1", breaks="bert.mlm-equation",
    effect="the head reads another encoder, which knows of two types alone",
)  # fmt: skip
def the_mlm_head_takes_types_above_1_for_1(token_ids, weights, config, *, token_type_ids=None, **options):
    types = None if token_type_ids is None else token_type_ids.clamp_max(1)
    return bert_mlm(token_ids, weights, config, token_type_ids=types, **options)


@fault(
    bert_mlm, "bert.mlm-table-detached", breaks="bert.gradients",
    effect="the tied table learns as an embedding alone",
)  # fmt: skip
def the_table_has_no_gradient_from_the_logits(token_ids, weights, config, **options):
    hidden = bert(token_ids, weights, config, **options)
    fixed = weights | {"embeddings.token": weights["embeddings.token"].detach()}
    return predict_tokens(hidden, fixed, config.activation, config.eps)


@fault(
    bert_nsp, "bert.nsp-labels-exchanged", breaks="bert.nsp-equation",
    seen="uclanlp/visualbert#26", effect="a pair that belongs together is called random, with confidence",
)  # fmt: skip
def label_1_is_is_the_next_sentence(token_ids, weights, config, **options):
    return bert_nsp(token_ids, weights, config, **options).flip(-1)


@fault(
    bert_nsp, "bert.nsp-not-pooled", breaks="bert.nsp-equation",
    effect="the classifier reads the first token past the pooler",
)  # fmt: skip
def the_nsp_head_reads_the_first_token_without_the_pooler(token_ids, weights, config, **options):
    return bert(token_ids, weights, config, **options)[:, 0] @ weights["nsp.w"] + weights["nsp.b"]


@fault(
    bert_nsp, "bert.nsp-probabilities", breaks="bert.nsp-equation",
    effect="probabilities where logits are due: a loss applies softmax to them once more",
)  # fmt: skip
def probabilities_are_given_in_place_of_logits(token_ids, weights, config, **options):
    logits = bert_nsp(token_ids, weights, config, **options)
    return torch.sigmoid(logits - logits.flip(-1))
