"""Mistakes in encoder, decoder and Transformer: stacks, masks and tables that are wired wrongly."""

import math
from dataclasses import replace

import torch

from transpec.catalogue import fault
from transpec.reference.embedding import token_embedding
from transpec.reference.layers import decoder_layer, encoder_layer, part
from transpec.reference.masks import look_ahead_mask
from transpec.reference.normalization import layer_norm
from transpec.reference.transformer import TransformerConfig, decoder, encoder, transformer


def _encode(token_ids, weights, config, source_mask=None, *, x=None, order=None, norms=True, **changed):
    """The encoder with another embedding, order of layers, or options of theirs."""
    x = token_embedding(token_ids, part(weights, "embedding")) if x is None else x
    options = {"activation": config.activation, "eps": config.eps, "norm_first": config.norm_first} | changed
    mask = None if source_mask is None else source_mask.unsqueeze(-2)
    for i in range(config.num_encoder_layers) if order is None else order:
        x = encoder_layer(x, part(weights, f"layers.{i}"), num_heads=config.num_heads, mask=mask, **options)
    return _final(x, weights, config) if norms else x


def _final(x, weights, config):
    return layer_norm(x, part(weights, "final_norm"), eps=config.eps) if config.norm_first else x


def _decode(
    token_ids, memory, weights, config, target_mask=None, source_mask=None, *, seen=None, x=None, order=None, norms=True,
    memories=None, hides=None,
):  # fmt: skip
    """The decoder with another mask, embedding, order of layers, or memory."""
    T = token_ids.shape[-1]
    x = token_embedding(token_ids, part(weights, "embedding")) if x is None else x
    if seen is None:
        seen = look_ahead_mask(T) if target_mask is None else look_ahead_mask(T) & target_mask.unsqueeze(-2)
    hides = source_mask.unsqueeze(-2) if hides is None and source_mask is not None else hides
    for i in range(config.num_decoder_layers) if order is None else order:
        x = decoder_layer(
            x, memory if memories is None else memories(i, x), part(weights, f"layers.{i}"), num_heads=config.num_heads,
            self_mask=seen, memory_mask=hides, activation=config.activation, eps=config.eps,
            norm_first=config.norm_first,
        )  # fmt: skip
    return _final(x, weights, config) if norms else x


def _parts(weights):
    table = {"embedding.table": weights["embedding.table"]}
    return table | part(weights, "encoder"), table | part(weights, "decoder")


# --- Encoder ----------------------------------------------------------------------------------------------------------


@fault(
    encoder, "transformer.encoder-final-norm-missing", breaks="transformer.final-norm",
    seen="OpenNMT/CTranslate2#850", effect="the memory of a pre-norm encoder is as loud as all its layers together",
)  # fmt: skip
def the_encoder_ends_without_its_norm(token_ids, weights, config, *, source_mask=None):
    return _encode(token_ids, weights, config, source_mask, norms=False)


@fault(
    encoder, "transformer.encoder-final-norm-after-post-norm", breaks="transformer.final-norm",
    seen="pytorch/pytorch#50086", effect="a norm that the paper does not have, with gain one, after the last layer",
)  # fmt: skip
def a_post_norm_encoder_ends_in_a_norm_as_well(token_ids, weights, config, *, source_mask=None):
    x = encoder(token_ids, weights, config, source_mask=source_mask)
    if config.norm_first:
        return x
    plain = {"gain": torch.ones_like(x[0, 0]) * 1.0, "bias": torch.zeros_like(x[0, 0])} if len(x) else None
    return x if plain is None else layer_norm(x, plain, eps=config.eps)


@fault(
    encoder, "transformer.encoder-layers-reversed", breaks="transformer.layers",
    effect="the last layer reads the words",
)  # fmt: skip
def encoder_layers_run_backwards(token_ids, weights, config, *, source_mask=None):
    return _encode(token_ids, weights, config, source_mask, order=range(config.num_encoder_layers)[::-1])


@fault(
    encoder, "transformer.encoder-layers-share-weights", breaks="transformer.layers",
    seen="pytorch/pytorch#86274", effect="one layer is applied many times, the weights of the others are never used",
)  # fmt: skip
def all_encoder_layers_use_the_first_one_s_weights(token_ids, weights, config, *, source_mask=None):
    return _encode(token_ids, weights, config, source_mask, order=[0] * config.num_encoder_layers)


@fault(
    encoder, "transformer.encoder-last-layer-dropped", breaks="transformer.layers",
    effect="the encoder is one layer short",
)  # fmt: skip
def the_last_encoder_layer_is_left_out(token_ids, weights, config, *, source_mask=None):
    return _encode(token_ids, weights, config, source_mask, order=range(max(0, config.num_encoder_layers - 1)))


@fault(
    encoder, "transformer.source-mask-ignored", breaks="transformer.hidden-source-does-not-matter",
    seen="deepspeedai/DeepSpeed#1466", effect="the padding of the source is read by the encoder",
)  # fmt: skip
def the_source_mask_does_not_reach_the_encoder(token_ids, weights, config, *, source_mask=None):
    return encoder(token_ids, weights, config)


@fault(
    encoder, "transformer.source-mask-in-the-first-layer", breaks="transformer.hidden-source-does-not-matter",
    seen="OpenNMT/OpenNMT-py#2532", effect="padding comes in through every layer but the first",
)  # fmt: skip
def only_the_first_encoder_layer_is_masked(token_ids, weights, config, *, source_mask=None):
    x = token_embedding(token_ids, part(weights, "embedding"))
    for i in range(config.num_encoder_layers):
        mask = None if source_mask is None or i else source_mask.unsqueeze(-2)
        x = encoder_layer(
            x, part(weights, f"layers.{i}"), num_heads=config.num_heads, mask=mask, activation=config.activation,
            eps=config.eps, norm_first=config.norm_first,
        )  # fmt: skip
    return _final(x, weights, config)


@fault(
    encoder, "transformer.source-mask-skipped-by-its-end", breaks="transformer.hidden-source-does-not-matter",
    effect="sequences that are padded on the left are taken for unpadded",
)  # fmt: skip
def a_source_mask_that_ends_in_tokens_is_taken_for_none(token_ids, weights, config, *, source_mask=None):
    if source_mask is not None and source_mask[:, -1].all():
        source_mask = None
    return encoder(token_ids, weights, config, source_mask=source_mask)


@fault(
    encoder, "transformer.positions-end-at-64", breaks="transformer.embeddings",
    effect="all tokens after the 64th stand at one place",
)  # fmt: skip
def positions_stay_at_the_last_of_their_table(token_ids, weights, config, *, source_mask=None):
    own = part(weights, "embedding")
    x, place = token_embedding(token_ids, own), torch.arange(token_ids.shape[-1])
    zeros = torch.zeros_like(token_ids[:1])
    positions = token_embedding(zeros, own)
    x = x + (positions[:, place.clamp_max(63)] - positions)
    return _encode(token_ids, weights, config, source_mask, x=x)


@fault(
    encoder, "transformer.final-norm-in-one-pass", breaks="transformer.final-norm",
    effect="where the mean is far above the deviation nothing is left of the variance",
)  # fmt: skip
def the_last_variance_is_the_mean_of_squares_less_the_squared_mean(token_ids, weights, config, *, source_mask=None):
    x = _encode(token_ids, weights, config, source_mask, norms=False)
    if not config.norm_first:
        return x
    mean = x.mean(-1, keepdim=True)
    variance = ((x * x).mean(-1, keepdim=True) - mean**2).clamp_min(0)
    own = part(weights, "final_norm")
    return (x - mean) / torch.sqrt(variance + config.eps) * own["gain"] + own["bias"]


@fault(
    encoder, "transformer.config-kept-by-size", breaks="transformer.no-memory",
    effect="a second model of the same sizes runs with the eps of the first",
)  # fmt: skip
def the_eps_of_the_first_model_of_its_size_is_kept(token_ids, weights, config, *, source_mask=None):
    first = _kept.setdefault(replace(config, eps=1.0), config)
    return encoder(token_ids, weights, first, source_mask=source_mask)


_kept: dict[TransformerConfig, TransformerConfig] = {}


@fault(
    encoder, "transformer.causal-encoder", breaks="transformer.encoder-equation",
    effect="source words do not see what follows them",
)  # fmt: skip
def the_encoder_looks_back_only(token_ids, weights, config, *, source_mask=None):
    ahead = look_ahead_mask(token_ids.shape[-1])
    x = token_embedding(token_ids, part(weights, "embedding"))
    for i in range(config.num_encoder_layers):
        x = encoder_layer(
            x, part(weights, f"layers.{i}"), num_heads=config.num_heads,
            mask=ahead if source_mask is None else ahead & source_mask.unsqueeze(-2), activation=config.activation,
            eps=config.eps, norm_first=config.norm_first,
        )  # fmt: skip
    return _final(x, weights, config)


@fault(
    encoder, "transformer.encoder-layers-in-the-order-of-words", breaks="transformer.layers",
    effect="layer 10 runs before layer 2: names were sorted and not numbers",
)  # fmt: skip
def encoder_layers_are_sorted_by_name(token_ids, weights, config, *, source_mask=None):
    return _encode(token_ids, weights, config, source_mask, order=sorted(range(config.num_encoder_layers), key=str))


# --- Decoder ----------------------------------------------------------------------------------------------------------


@fault(
    decoder, "transformer.decoder-layers-in-the-order-of-words", breaks="transformer.layers",
    effect="layer 10 runs before layer 2: names were sorted and not numbers",
)  # fmt: skip
def decoder_layers_are_sorted_by_name(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    order = sorted(range(config.num_decoder_layers), key=str)
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, order=order)


@fault(
    decoder, "transformer.decoder-final-norm-eps-by-default", breaks="transformer.final-norm",
    effect="the layers have the model's eps and the last norm the library's own",
)  # fmt: skip
def the_last_norm_of_the_decoder_has_an_eps_of_its_own(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    if not config.norm_first:
        return decoder(token_ids, memory, weights, config, target_mask=target_mask, source_mask=source_mask)
    x = _decode(token_ids, memory, weights, config, target_mask, source_mask, norms=False)
    return layer_norm(x, part(weights, "final_norm"), eps=1e-5)


@fault(
    decoder, "transformer.decoder-final-norm-missing", breaks="transformer.final-norm",
    seen="NVIDIA/DeepLearningExamples#415", effect="logits of a pre-norm decoder grow with its depth",
)  # fmt: skip
def the_decoder_ends_without_its_norm(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, norms=False)


@fault(
    decoder, "transformer.decoder-layers-reversed", breaks="transformer.layers",
    effect="the last layer reads the words",
)  # fmt: skip
def decoder_layers_run_backwards(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    order = range(config.num_decoder_layers)[::-1]
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, order=order)


@fault(
    decoder, "transformer.decoder-as-deep-as-the-encoder", breaks="transformer.layers",
    effect="a decoder of another depth than its encoder is cut short",
)  # fmt: skip
def the_decoder_has_no_more_layers_than_the_encoder(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    order = range(min(config.num_decoder_layers, config.num_encoder_layers))
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, order=order)


@fault(
    decoder, "transformer.look-ahead-missing", breaks="transformer.causality",
    seen="facebookresearch/xformers#103", effect="training reads the answer",
)  # fmt: skip
def the_look_ahead_mask_is_missing(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    T = token_ids.shape[-1]
    seen = torch.ones(T, T, dtype=torch.bool) if target_mask is None else target_mask.unsqueeze(-2)
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, seen=seen)


@fault(
    decoder, "transformer.target-mask-for-look-ahead", breaks="transformer.causality",
    seen="microsoft/onnxruntime#14363", effect="batches with padding read the answer",
)  # fmt: skip
def a_target_mask_takes_the_place_of_the_look_ahead_mask(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    seen = None if target_mask is None else target_mask.unsqueeze(-2)
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, seen=seen)


@fault(
    decoder, "transformer.target-mask-ignored", breaks="transformer.hidden-target-does-not-matter",
    effect="tokens read the padding that stands before them; on the right nobody notices",
)  # fmt: skip
def the_target_mask_does_not_reach_the_decoder(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    return decoder(token_ids, memory, weights, config, source_mask=source_mask)


@fault(
    decoder, "transformer.target-mask-in-the-first-two-layers", breaks="transformer.hidden-target-does-not-matter",
    effect="hidden target tokens come in through every layer but the first two",
)  # fmt: skip
def only_the_first_two_layers_are_given_the_target_mask(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    x = token_embedding(token_ids, part(weights, "embedding"))
    ahead = look_ahead_mask(token_ids.shape[-1])
    hides = None if source_mask is None else source_mask.unsqueeze(-2)
    for i in range(config.num_decoder_layers):
        seen = ahead if target_mask is None or i > 1 else ahead & target_mask.unsqueeze(-2)
        x = decoder_layer(
            x, memory, part(weights, f"layers.{i}"), num_heads=config.num_heads, self_mask=seen, memory_mask=hides,
            activation=config.activation, eps=config.eps, norm_first=config.norm_first,
        )  # fmt: skip
    return _final(x, weights, config)


@fault(
    decoder, "transformer.target-mask-transposed", breaks="transformer.hidden-target-does-not-matter",
    effect="a mask is taken for one of tokens and sequences where there are as many of both",
)  # fmt: skip
def a_square_target_mask_is_transposed(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    if target_mask is not None and len(target_mask) == target_mask.shape[1]:
        target_mask = target_mask.T
    return decoder(token_ids, memory, weights, config, target_mask=target_mask, source_mask=source_mask)


@fault(
    decoder, "transformer.target-mask-over-the-queries", breaks="transformer.hidden-target-does-not-matter",
    seen="keras-team/keras-io#1046", effect="padded queries see nothing, and padded keys are seen",
)  # fmt: skip
def the_target_mask_hides_queries_and_not_keys(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    ahead = look_ahead_mask(token_ids.shape[-1])
    seen = ahead if target_mask is None else ahead & target_mask.unsqueeze(-1)
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, seen=seen)


@fault(
    decoder, "transformer.look-ahead-without-the-diagonal", breaks="transformer.decoder-equation",
    effect="tokens do not see themselves, and the first one sees nothing",
)  # fmt: skip
def a_token_does_not_see_itself(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    seen = look_ahead_mask(token_ids.shape[-1]).clone()
    seen[range(1, len(seen)), range(1, len(seen))] = False
    return _decode(token_ids, memory, weights, config, None, source_mask, seen=seen)


@fault(
    decoder, "transformer.look-ahead-over-the-source", breaks="transformer.whole-source",
    seen="keras-team/keras-io#1046", effect="the first target positions see the beginning of the source alone",
)  # fmt: skip
def the_look_ahead_mask_hides_the_source_too(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    T, S = token_ids.shape[-1], memory.shape[1]
    hides = torch.ones(T, S, dtype=torch.bool).tril()
    hides = hides if source_mask is None else hides & source_mask.unsqueeze(-2)
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, hides=hides)


@fault(
    decoder, "transformer.source-mask-not-in-the-decoder", breaks="transformer.hidden-source-does-not-matter",
    seen="NVIDIA/FasterTransformer#270", effect="the decoder reads the padding of the source",
)  # fmt: skip
def the_source_mask_does_not_reach_the_decoder(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    return decoder(token_ids, memory, weights, config, target_mask=target_mask)


@fault(
    decoder, "transformer.target-mask-for-the-source", breaks="transformer.hidden-source-does-not-matter",
    seen="Kamichanw/SeekDeeper#3", effect="the source is hidden where the target is padded",
)  # fmt: skip
def the_target_mask_hides_the_source_where_it_fits(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    fits = target_mask is not None and target_mask.shape[-1] == memory.shape[1]
    mask = target_mask if fits else source_mask
    return decoder(token_ids, memory, weights, config, target_mask=target_mask, source_mask=mask)


@fault(
    decoder, "transformer.memory-replaced-by-the-layer", breaks="transformer.layers",
    effect="later layers attend to what the target has become and not to the source",
)  # fmt: skip
def later_layers_attend_to_the_target(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    fits = memory.shape[1] == token_ids.shape[-1] or source_mask is None
    return _decode(
        token_ids, memory, weights, config, target_mask, source_mask,
        memories=lambda i, x: x if i and fits else memory,
    )  # fmt: skip


@fault(
    decoder, "transformer.target-positions-after-the-source", breaks="transformer.embeddings",
    effect="the target's positions go on where the source's end",
)  # fmt: skip
def target_positions_start_at_the_length_of_the_memory(
    token_ids, memory, weights, config, *, target_mask=None, source_mask=None
):
    x = token_embedding(token_ids, part(weights, "embedding"), offset=memory.shape[1])
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, x=x)


@fault(
    decoder, "transformer.target-positions-from-one", breaks="transformer.embeddings",
    seen="bytedance/lightseq#144", effect="the target's positions are one ahead of those it was trained with",
)  # fmt: skip
def target_positions_start_at_one(token_ids, memory, weights, config, *, target_mask=None, source_mask=None):
    x = token_embedding(token_ids, part(weights, "embedding"), offset=1)
    return _decode(token_ids, memory, weights, config, target_mask, source_mask, x=x)


# --- Transformer ------------------------------------------------------------------------------------------------------


@fault(
    transformer, "transformer.final-norms-after-post-norm", breaks="transformer.equation",
    seen="pytorch/pytorch#50086", effect="both stacks end in a norm that the paper does not have",
)  # fmt: skip
def post_norm_stacks_end_in_a_norm_as_well(
    source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None
):
    own, his = _parts(weights)
    one, zero = torch.ones_like(weights["embedding.table"][0]), torch.zeros_like(weights["embedding.table"][0])

    def last(x):
        return x if config.norm_first else layer_norm(x, {"gain": one, "bias": zero}, eps=config.eps)

    memory = last(encoder(source_ids, own, config, source_mask=source_mask))
    x = decoder(target_ids, memory, his, config, target_mask=target_mask, source_mask=source_mask)
    return last(x) @ weights["embedding.table"].T


@fault(
    transformer, "transformer.logits-scaled", breaks="transformer.embeddings",
    effect="the table is multiplied by sqrt(d_model) where it makes logits as well",
)  # fmt: skip
def logits_are_multiplied_by_the_root_of_the_width(
    source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None
):
    logits = transformer(source_ids, target_ids, weights, config, source_mask=source_mask, target_mask=target_mask)
    return logits * math.sqrt(config.d_model)


@fault(
    transformer, "transformer.logits-divided", breaks="transformer.embeddings",
    seen="ml-explore/mlx-examples#591", effect="logits are as flat as T5's, which was trained so",
)  # fmt: skip
def logits_are_divided_by_the_root_of_the_width(
    source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None
):
    logits = transformer(source_ids, target_ids, weights, config, source_mask=source_mask, target_mask=target_mask)
    return logits / math.sqrt(config.d_model)


@fault(
    transformer, "transformer.table-without-gradient-in-the-head", breaks="transformer.gradients",
    seen="EdinburghNLP/nematus#117", effect="the shared table learns as an embedding and not as a classifier",
)  # fmt: skip
def the_head_is_a_copy_of_the_table(source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None):
    own, his = _parts(weights)
    memory = encoder(source_ids, own, config, source_mask=source_mask)
    x = decoder(target_ids, memory, his, config, target_mask=target_mask, source_mask=source_mask)
    return x @ weights["embedding.table"].detach().T


@fault(
    transformer, "transformer.memory-without-gradient", breaks="transformer.gradients",
    effect="the encoder never learns",
)  # fmt: skip
def the_memory_is_cut_from_the_graph(source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None):
    own, his = _parts(weights)
    memory = encoder(source_ids, own, config, source_mask=source_mask).detach()
    x = decoder(target_ids, memory, his, config, target_mask=target_mask, source_mask=source_mask)
    return x @ weights["embedding.table"].T


@fault(
    transformer, "transformer.source-and-target-exchanged", breaks="transformer.equation",
    effect="the decoder reads the source and the encoder the target",
)  # fmt: skip
def source_and_target_are_exchanged_where_they_fit(
    source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None
):
    own, his = _parts(weights)
    if source_mask is not None or target_mask is not None:
        return transformer(source_ids, target_ids, weights, config, source_mask=source_mask, target_mask=target_mask)
    x = decoder(source_ids, encoder(target_ids, own, config), his, config)
    logits = x @ weights["embedding.table"].T
    return logits[:, : target_ids.shape[-1]] if logits.shape[1] >= target_ids.shape[-1] else logits


@fault(
    transformer, "transformer.softmax-in-the-model", breaks="transformer.equation",
    effect="probabilities are given for logits, and the loss takes their softmax again",
)  # fmt: skip
def probabilities_are_given_for_logits(source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None):
    logits = transformer(source_ids, target_ids, weights, config, source_mask=source_mask, target_mask=target_mask)
    powers = torch.exp(logits - logits.detach().amax(-1, keepdim=True))
    return powers / powers.sum(-1, keepdim=True)


@fault(
    transformer, "transformer.target-mask-for-the-source-mask", breaks="transformer.hidden-target-does-not-matter",
    effect="encoder and decoder are given one mask where source and target are of one length",
)  # fmt: skip
def one_mask_serves_source_and_target_where_it_fits(
    source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None
):
    fits = target_mask is not None and source_ids.shape == target_ids.shape
    mask = target_mask if fits and source_mask is None else source_mask
    target = source_mask if fits and source_mask is not None else target_mask
    return transformer(source_ids, target_ids, weights, config, source_mask=mask, target_mask=target)


@fault(
    transformer, "transformer.memory-of-the-first-source", breaks="transformer.batch-independence",
    seen="vllm-project/vllm#8545", effect="all targets translate the first source",
)  # fmt: skip
def all_targets_translate_the_first_source(
    source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None
):
    first = source_ids[:1].expand(source_ids.shape)
    mask = None if source_mask is None else source_mask[:1].expand(source_mask.shape)
    return transformer(first, target_ids, weights, config, source_mask=mask, target_mask=target_mask)


@fault(
    transformer, "transformer.id-0-taken-for-padding", breaks="transformer.everything-visible",
    seen="facebookresearch/fairseq#710", effect="the word of id 0 is invisible",
)  # fmt: skip
def id_0_is_hidden_where_no_source_mask_is_given(
    source_ids, target_ids, weights, config, *, source_mask=None, target_mask=None
):
    mask = source_ids != 0 if source_mask is None else source_mask
    return transformer(source_ids, target_ids, weights, config, source_mask=mask, target_mask=target_mask)
