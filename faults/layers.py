"""Mistakes in encoder and decoder layers: sums, norms and masks in the wrong place."""

import torch

from transpec.catalogue import fault
from transpec.reference.attention import merge_heads, multi_head_attention, project, softmax, split_heads
from transpec.reference.feed_forward import feed_forward
from transpec.reference.layers import decoder_layer, encoder_layer, part
from transpec.reference.masks import look_ahead_mask
from transpec.reference.normalization import layer_norm


def _norm(x, weights, name, eps):
    return layer_norm(x, part(weights, name), eps=eps)


def _self(x, weights, options, mask="mask"):
    own = part(weights, "self_attention")
    return multi_head_attention(x, x, x, own, num_heads=options["num_heads"], mask=options.get(mask))


def _cross(x, memory, weights, options):
    own = part(weights, "cross_attention")
    return multi_head_attention(x, memory, memory, own, num_heads=options["num_heads"], mask=options.get("memory_mask"))


def _feed(x, weights, options):
    return feed_forward(x, part(weights, "feed_forward"), activation=options["activation"])


def _post(x, added, weights, name, options):
    return _norm(x + added, weights, f"{name}_norm", options["eps"])


# --- Residuals and norms of the encoder layer -------------------------------------------------------------------------


@fault(
    encoder_layer, "layers.pre-norm-for-post-norm", breaks="layers.norm-placement",
    effect="weights of the paper's model run in another architecture",
)  # fmt: skip
def norms_go_first_whatever_is_asked(x, weights, **options):
    return encoder_layer(x, weights, **{**options, "norm_first": True})


@fault(
    encoder_layer, "layers.norm-first-ignored", breaks="layers.norm-placement",
    seen="NVIDIA-NeMo/Speech#1880", effect="pre-norm weights run through post-norm layers",
)  # fmt: skip
def norms_go_last_whatever_is_asked(x, weights, **options):
    return encoder_layer(x, weights, **{**options, "norm_first": False})


@fault(
    encoder_layer, "layers.residual-of-the-normalized", breaks="layers.norm-placement",
    seen="pytorch/pytorch#61165", effect="the residual stream is normalized at every layer: depth stops to train",
)  # fmt: skip
def the_residual_carries_the_normalized_input(x, weights, **options):
    if not options.get("norm_first"):
        return encoder_layer(x, weights, **options)
    read = _norm(x, weights, "self_attention_norm", options["eps"])
    x = read + _self(read, weights, options)
    read = _norm(x, weights, "feed_forward_norm", options["eps"])
    return read + _feed(read, weights, options)


@fault(
    encoder_layer, "layers.attention-residual-missing", breaks="layers.residuals",
    effect="every layer replaces its input by what it attends to",
)  # fmt: skip
def self_attention_has_no_residual(x, weights, **options):
    if options.get("norm_first"):
        x = _self(_norm(x, weights, "self_attention_norm", options["eps"]), weights, options)
        return x + _feed(_norm(x, weights, "feed_forward_norm", options["eps"]), weights, options)
    x = _norm(_self(x, weights, options), weights, "self_attention_norm", options["eps"])
    return _post(x, _feed(x, weights, options), weights, "feed_forward", options)


@fault(
    encoder_layer, "layers.feed-forward-residual-missing", breaks="layers.residuals",
    effect="what attention has found goes through the feed-forward network or is lost",
)  # fmt: skip
def the_feed_forward_network_has_no_residual(x, weights, **options):
    if options.get("norm_first"):
        x = x + _self(_norm(x, weights, "self_attention_norm", options["eps"]), weights, options)
        return _feed(_norm(x, weights, "feed_forward_norm", options["eps"]), weights, options)
    x = _post(x, _self(x, weights, options), weights, "self_attention", options)
    return _norm(_feed(x, weights, options), weights, "feed_forward_norm", options["eps"])


@fault(
    encoder_layer, "layers.residual-from-the-input", breaks="layers.encoder-equation",
    effect="the second residual skips what self-attention has added",
)  # fmt: skip
def the_second_residual_is_the_input_of_the_layer(x, weights, **options):
    if options.get("norm_first"):
        inner = x + _self(_norm(x, weights, "self_attention_norm", options["eps"]), weights, options)
        return x + _feed(_norm(inner, weights, "feed_forward_norm", options["eps"]), weights, options)
    inner = _post(x, _self(x, weights, options), weights, "self_attention", options)
    return _post(x, _feed(inner, weights, options), weights, "feed_forward", options)


@fault(
    encoder_layer, "layers.norms-exchanged", breaks="layers.norm-placement",
    effect="each sublayer has the gain and bias of the other",
)  # fmt: skip
def the_two_norms_are_exchanged(x, weights, **options):
    names = {"self_attention_norm": "feed_forward_norm", "feed_forward_norm": "self_attention_norm"}
    exchanged = {f"{names.get(key.rpartition('.')[0], key.rpartition('.')[0])}.{key.rpartition('.')[2]}": value
                 for key, value in weights.items()}  # fmt: skip
    return encoder_layer(x, exchanged, **options)


@fault(
    encoder_layer, "layers.one-norm-twice", breaks="layers.norm-placement",
    effect="one norm is shared by both sublayers, the other never used",
)  # fmt: skip
def the_first_norm_serves_both_sublayers(x, weights, **options):
    first = {f"feed_forward_norm.{end}": weights[f"self_attention_norm.{end}"] for end in ("gain", "bias")}
    return encoder_layer(x, {**weights, **first}, **options)


@fault(
    encoder_layer, "layers.attention-norm-missing", breaks="layers.norm-placement",
    effect="the scale of the residual grows with depth",
)  # fmt: skip
def nothing_is_normalized_around_self_attention(x, weights, **options):
    x = x + _self(x, weights, options)
    if options.get("norm_first"):
        return x + _feed(_norm(x, weights, "feed_forward_norm", options["eps"]), weights, options)
    return _post(x, _feed(x, weights, options), weights, "feed_forward", options)


@fault(
    encoder_layer, "layers.feed-forward-norm-missing", breaks="layers.norm-placement",
    effect="the scale of the residual grows with depth",
)  # fmt: skip
def nothing_is_normalized_around_the_feed_forward_network(x, weights, **options):
    if options.get("norm_first"):
        x = x + _self(_norm(x, weights, "self_attention_norm", options["eps"]), weights, options)
    else:
        x = _post(x, _self(x, weights, options), weights, "self_attention", options)
    return x + _feed(x, weights, options)


@fault(
    encoder_layer, "layers.sublayer-normalized-before-the-sum", breaks="layers.encoder-equation",
    effect="x + LayerNorm(f(x)): the residual is never normalized",
)  # fmt: skip
def the_norm_is_taken_of_the_sublayer_and_not_of_the_sum(x, weights, **options):
    if options.get("norm_first"):
        return encoder_layer(x, weights, **options)
    x = x + _norm(_self(x, weights, options), weights, "self_attention_norm", options["eps"])
    return x + _norm(_feed(x, weights, options), weights, "feed_forward_norm", options["eps"])


@fault(
    encoder_layer, "layers.values-not-normalized", breaks="layers.encoder-equation",
    effect="in pre-norm queries and keys are normalized and values are not",
)  # fmt: skip
def values_are_taken_before_the_norm(x, weights, **options):
    if not options.get("norm_first"):
        return encoder_layer(x, weights, **options)
    read, own = _norm(x, weights, "self_attention_norm", options["eps"]), part(weights, "self_attention")
    x = x + multi_head_attention(read, read, x, own, num_heads=options["num_heads"], mask=options.get("mask"))
    return x + _feed(_norm(x, weights, "feed_forward_norm", options["eps"]), weights, options)


@fault(
    encoder_layer, "layers.sublayers-exchanged", breaks="layers.encoder-equation",
    effect="tokens are transformed before they have looked at each other",
)  # fmt: skip
def the_feed_forward_network_goes_first(x, weights, **options):
    if options.get("norm_first"):
        x = x + _feed(_norm(x, weights, "feed_forward_norm", options["eps"]), weights, options)
        return x + _self(_norm(x, weights, "self_attention_norm", options["eps"]), weights, options)
    x = _post(x, _feed(x, weights, options), weights, "feed_forward", options)
    return _post(x, _self(x, weights, options), weights, "self_attention", options)


@fault(
    encoder_layer, "layers.parallel", breaks="layers.encoder-equation",
    effect="both sublayers read the same input, as in other architectures",
)  # fmt: skip
def attention_and_feed_forward_run_side_by_side(x, weights, **options):
    if not options.get("norm_first"):
        return encoder_layer(x, weights, **options)
    attended = _self(_norm(x, weights, "self_attention_norm", options["eps"]), weights, options)
    return x + attended + _feed(_norm(x, weights, "feed_forward_norm", options["eps"]), weights, options)


@fault(
    encoder_layer, "layers.relu-whatever-is-named", breaks="layers.activations",
    effect="a model with GELU runs with ReLU",
)  # fmt: skip
def the_activation_is_relu_whatever_is_named(x, weights, **options):
    return encoder_layer(x, weights, **{**options, "activation": "relu"})


@fault(
    encoder_layer, "layers.tanh-for-erf", breaks="layers.activations",
    seen="kyutai-labs/pocket-tts#278", effect="5e-4 off in every layer",
)  # fmt: skip
def gelu_is_the_tanh_approximation(x, weights, **options):
    activation = "gelu_tanh" if options["activation"] == "gelu" else options["activation"]
    return encoder_layer(x, weights, **{**options, "activation": activation})


@fault(
    encoder_layer, "layers.epsilon-by-default", breaks="layers.epsilon",
    effect="the library's own eps stands for the model's",
)  # fmt: skip
def eps_is_1e_5_whatever_is_given(x, weights, **options):
    return encoder_layer(x, weights, **{**options, "eps": 1e-5})


@fault(
    encoder_layer, "layers.epsilon-of-the-second-norm-by-default", breaks="layers.epsilon",
    effect="the eps that is given reaches the first norm alone",
)  # fmt: skip
def the_second_norm_has_an_eps_of_its_own(x, weights, **options):
    if options.get("norm_first"):
        x = x + _self(_norm(x, weights, "self_attention_norm", options["eps"]), weights, options)
        return x + _feed(_norm(x, weights, "feed_forward_norm", 1e-5), weights, options)
    x = _post(x, _self(x, weights, options), weights, "self_attention", options)
    return _norm(x + _feed(x, weights, options), weights, "feed_forward_norm", 1e-5)


@fault(
    encoder_layer, "layers.biases-needed", breaks="layers.biases",
    effect="models whose attention has no biases do not load",
)  # fmt: skip
def attention_without_biases_is_an_error(x, weights, **options):
    if any(f"self_attention.b_{which}" not in weights for which in "qkvo"):
        raise KeyError("self_attention.b_q")
    return encoder_layer(x, weights, **options)


@fault(
    encoder_layer, "layers.mask-ignored", breaks="layers.masks",
    seen="deepspeedai/DeepSpeed#1912", effect="padding is attended to",
)  # fmt: skip
def the_mask_is_not_handed_on(x, weights, **options):
    return encoder_layer(x, weights, **{**options, "mask": None})


@fault(
    encoder_layer, "layers.mask-of-the-first-item", breaks="layers.batch-independence",
    effect="all sequences are padded like the first one of their batch",
)  # fmt: skip
def the_mask_of_the_first_batch_item_hides_in_all(x, weights, **options):
    mask = options.get("mask")
    mask = mask[:1] if mask is not None and mask.dim() == 3 else mask
    return encoder_layer(x, weights, **{**options, "mask": mask})


@fault(
    encoder_layer, "layers.padding-made-zero", breaks="layers.masks",
    effect="padded tokens are set to zero in place of being hidden: they are attended to all the same",
)  # fmt: skip
def hidden_tokens_are_zeroed_and_attended_to(x, weights, **options):
    mask = options.get("mask")
    if mask is None:
        return encoder_layer(x, weights, **options)
    kept = mask.broadcast_to(len(x), x.shape[1], x.shape[1]).any(1).unsqueeze(-1)
    return encoder_layer(torch.where(kept, x, 0.0), weights, **{**options, "mask": None})


@fault(
    encoder_layer, "layers.look-ahead-by-the-first-item", breaks="layers.masks",
    effect="a causal kernel is chosen for a whole batch by the mask of its first item",
)  # fmt: skip
def a_batch_is_causal_where_its_first_item_is(x, weights, **options):
    mask, ahead = options.get("mask"), look_ahead_mask(x.shape[1])
    if mask is not None and mask.dim() == 3 and mask[:1].shape == ahead[None].shape and torch.equal(mask[0], ahead):
        options = {**options, "mask": ahead}
    return encoder_layer(x, weights, **options)


@fault(
    encoder_layer, "layers.biases-all-or-none", breaks="layers.biases",
    effect="models of which one projection has no bias lose those of the others",
)  # fmt: skip
def one_missing_bias_of_attention_drops_all(x, weights, **options):
    names = [f"self_attention.b_{which}" for which in "qkvo"]
    complete = all(name in weights for name in names)
    return encoder_layer(x, {k: v for k, v in weights.items() if complete or k not in names}, **options)


def _with_attention(x, weights, options, attend, norm=_norm):
    """The encoder layer with another self-attention, or other norms."""
    own, eps = part(weights, "self_attention"), options["eps"]
    if options.get("norm_first"):
        x = x + attend(norm(x, weights, "self_attention_norm", eps), own)
        return x + _feed(norm(x, weights, "feed_forward_norm", eps), weights, options)
    x = norm(x + attend(x, own), weights, "self_attention_norm", eps)
    return norm(x + _feed(x, weights, options), weights, "feed_forward_norm", eps)


@fault(
    encoder_layer, "layers.hidden-scores-lose-ten-thousand", breaks="layers.masks",
    effect="padding shines through as soon as scores are large",
)  # fmt: skip
def what_is_hidden_is_ten_thousand_below(x, weights, **options):
    if (mask := options.get("mask")) is None:
        return encoder_layer(x, weights, **options)

    def attend(y, own):
        query, key, value = (split_heads(project(y, own, which), options["num_heads"]) for which in "qkv")
        seen = mask.broadcast_to(len(y), y.shape[1], y.shape[1]).unsqueeze(1)
        scores = query @ key.mT / query.shape[-1] ** 0.5 - 1e4 * (~seen).to(y.dtype)
        return project(merge_heads(softmax(scores) @ value), own, "o")

    return _with_attention(x, weights, options, attend)


@fault(
    encoder_layer, "layers.last-tile-of-keys-dropped", breaks="layers.masks",
    effect="a kernel that goes through 64 keys at a time leaves out those that fill no tile",
)  # fmt: skip
def keys_beyond_the_last_full_64_are_left_out(x, weights, **options):
    whole = x.shape[1] if x.shape[1] < 64 else x.shape[1] // 64 * 64
    mask = options.get("mask")

    def attend(y, own):
        shown = None if mask is None else mask[..., :whole]
        return multi_head_attention(y, y[:, :whole], y[:, :whole], own, num_heads=options["num_heads"], mask=shown)

    return _with_attention(x, weights, options, attend)


@fault(
    encoder_layer, "layers.variance-in-one-pass", breaks="layers.norm-placement",
    effect="where the mean is far above the deviation nothing is left of the variance",
)  # fmt: skip
def a_variance_is_the_mean_of_squares_less_the_squared_mean(x, weights, **options):
    def norm(y, w, name, eps):
        mean = y.mean(-1, keepdim=True)
        variance = ((y * y).mean(-1, keepdim=True) - mean**2).clamp_min(0)
        return (y - mean) / torch.sqrt(variance + eps) * w[f"{name}.gain"] + w[f"{name}.bias"]

    def attend(y, own):
        return multi_head_attention(y, y, y, own, num_heads=options["num_heads"], mask=options.get("mask"))

    return _with_attention(x, weights, options, attend, norm)


@fault(
    encoder_layer, "layers.wide-inner-layer-by-a-kernel-for-relu", breaks="layers.activations",
    effect="inner layers of more than 64 entries run in a fused kernel that knows ReLU alone",
)  # fmt: skip
def a_wide_inner_layer_has_relu(x, weights, **options):
    wide = weights["feed_forward.w_1"].shape[1] > 64
    return encoder_layer(x, weights, **{**options, "activation": "relu" if wide else options["activation"]})


# --- Decoder layer ----------------------------------------------------------------------------------------------------


def _decode(x, memory, weights, options, *, cross=_cross, order=("self", "cross", "feed"), norms=None):
    """The decoder layer with another attention to the memory, another order of sublayers, or other norms."""
    names = {"self": "self_attention", "cross": "cross_attention", "feed": "feed_forward"}
    sublayers = {
        "self": lambda y: _self(y, weights, options, "self_mask"),
        "cross": lambda y: cross(y, memory, weights, options),
        "feed": lambda y: _feed(y, weights, options),
    }
    for which in order:
        norm = (norms or {}).get(which, names[which])
        if options.get("norm_first"):
            x = x + sublayers[which](_norm(x, weights, f"{norm}_norm", options["eps"]))
        else:
            x = _post(x, sublayers[which](x), weights, norm, options)
    return x


@fault(
    decoder_layer, "layers.decoder-norm-first-ignored", breaks="layers.norm-placement",
    seen="k2-fsa/snowfall#184", effect="pre-norm weights run through post-norm layers",
)  # fmt: skip
def the_decoder_is_post_norm_whatever_is_asked(x, memory, weights, **options):
    return decoder_layer(x, memory, weights, **{**options, "norm_first": False})


@fault(
    decoder_layer, "layers.memory-mask-of-queries-for-padding", breaks="layers.memory-masks",
    effect="a mask of queries and keys hides per batch item where there are as many items as queries",
)  # fmt: skip
def a_memory_mask_with_a_row_for_every_item_is_padding(x, memory, weights, **options):
    mask = options.get("memory_mask")
    if mask is not None and mask.dim() == 2 and len(mask) == len(x):
        options = {**options, "memory_mask": mask.unsqueeze(1)}
    return decoder_layer(x, memory, weights, **options)


@fault(
    decoder_layer, "layers.cross-attention-missing", breaks="layers.memory",
    effect="the decoder never looks at the source",
)  # fmt: skip
def attention_to_the_memory_is_left_out(x, memory, weights, **options):
    return _decode(x, memory, weights, options, order=("self", "feed"))


@fault(
    decoder_layer, "layers.cross-attention-first", breaks="layers.decoder-equation",
    effect="the source is looked at before the target is",
)  # fmt: skip
def attention_to_the_memory_goes_first(x, memory, weights, **options):
    return _decode(x, memory, weights, options, order=("cross", "self", "feed"))


@fault(
    decoder_layer, "layers.cross-attention-last", breaks="layers.decoder-equation",
    effect="the feed-forward network runs before the source is looked at",
)  # fmt: skip
def attention_to_the_memory_goes_last(x, memory, weights, **options):
    return _decode(x, memory, weights, options, order=("self", "feed", "cross"))


@fault(
    decoder_layer, "layers.cross-attention-norm-of-self-attention", breaks="layers.norm-placement",
    effect="one norm serves two sublayers, one is never used",
)  # fmt: skip
def the_norm_of_self_attention_serves_cross_attention_too(x, memory, weights, **options):
    return _decode(x, memory, weights, options, norms={"cross": "self_attention"})


@fault(
    decoder_layer, "layers.cross-attention-residual-missing", breaks="layers.residuals",
    effect="the target is forgotten where the source is read",
)  # fmt: skip
def attention_to_the_memory_has_no_residual(x, memory, weights, **options):
    return _decode(x, memory, weights, options, cross=lambda y, *rest: _cross(y, *rest) - (
        y if not options.get("norm_first") else 0.0))  # fmt: skip


@fault(
    decoder_layer, "layers.memory-for-queries", breaks="layers.memory",
    effect="the memory attends to itself, and the target's own queries are never asked",
)  # fmt: skip
def queries_come_from_the_memory(x, memory, weights, **options):
    if memory.shape != x.shape:
        raise ValueError("no room for as many queries")
    return _decode(x, memory, weights, options, cross=lambda y, m, w, o: _cross(m, m, w, o))


@fault(
    decoder_layer, "layers.values-from-the-target", breaks="layers.memory",
    effect="the source says where to look, and what is found there is the target",
)  # fmt: skip
def values_come_from_the_decoder_where_they_fit(x, memory, weights, **options):
    def cross(y, m, w, o):
        own = part(w, "cross_attention")
        value = y if y.shape == m.shape else m
        return multi_head_attention(y, m, value, own, num_heads=o["num_heads"], mask=o.get("memory_mask"))

    return _decode(x, memory, weights, options, cross=cross)


@fault(
    decoder_layer, "layers.keys-from-the-target", breaks="layers.memory",
    effect="where to look is asked of the target, what is found there is the source",
)  # fmt: skip
def keys_come_from_the_decoder_where_they_fit(x, memory, weights, **options):
    def cross(y, m, w, o):
        own = part(w, "cross_attention")
        key = y if y.shape == m.shape else m
        return multi_head_attention(y, key, m, own, num_heads=o["num_heads"], mask=o.get("memory_mask"))

    return _decode(x, memory, weights, options, cross=cross)


@fault(
    decoder_layer, "layers.memory-normalized", breaks="layers.memory",
    effect="in pre-norm the memory goes through the decoder's norm as well",
)  # fmt: skip
def the_memory_is_normalized_too(x, memory, weights, **options):
    if options.get("norm_first") and memory.shape[-1] == x.shape[-1]:
        memory = _norm(memory, weights, "cross_attention_norm", options["eps"])
    return decoder_layer(x, memory, weights, **options)


@fault(
    decoder_layer, "layers.weights-of-self-attention-for-cross", breaks="layers.decoder-equation",
    effect="one attention module is used twice",
)  # fmt: skip
def self_attention_and_cross_attention_share_weights(x, memory, weights, **options):
    def cross(y, m, w, o):
        own = part(w, "self_attention" if m.shape[-1] == y.shape[-1] else "cross_attention")
        return multi_head_attention(y, m, m, own, num_heads=o["num_heads"], mask=o.get("memory_mask"))

    return _decode(x, memory, weights, options, cross=cross)


@fault(
    decoder_layer, "layers.self-mask-ignored", breaks="layers.causality",
    seen="meta-pytorch/torchtune#959", effect="training reads the answer",
)  # fmt: skip
def the_mask_of_self_attention_is_not_handed_on(x, memory, weights, **options):
    return decoder_layer(x, memory, weights, **{**options, "self_mask": None})


@fault(
    decoder_layer, "layers.self-mask-of-the-first-item", breaks="layers.masks",
    effect="all targets are padded like the first one of their batch",
)  # fmt: skip
def the_self_mask_of_the_first_batch_item_hides_in_all(x, memory, weights, **options):
    mask = options.get("self_mask")
    mask = mask[:1] if mask is not None and mask.dim() == 3 else mask
    return decoder_layer(x, memory, weights, **{**options, "self_mask": mask})


@fault(
    decoder_layer, "layers.look-ahead-not-asked-for", breaks="layers.masks",
    effect="a mask that lets a query see what follows, as of a prefix, does not",
)  # fmt: skip
def the_decoder_looks_back_only_whatever_its_mask_says(x, memory, weights, **options):
    ahead = look_ahead_mask(x.shape[1])
    mask = ahead if options.get("self_mask") is None else options["self_mask"] & ahead
    return decoder_layer(x, memory, weights, **{**options, "self_mask": mask})


@fault(
    decoder_layer, "layers.look-ahead-for-the-self-mask", breaks="layers.masks",
    effect="the padding of the target is read wherever a mask is given",
)  # fmt: skip
def any_self_mask_is_taken_for_the_look_ahead_mask(x, memory, weights, **options):
    mask = None if options.get("self_mask") is None else look_ahead_mask(x.shape[1])
    return decoder_layer(x, memory, weights, **{**options, "self_mask": mask})


@fault(
    decoder_layer, "layers.memory-mask-ignored", breaks="layers.hidden-content-does-not-matter",
    seen="NVIDIA/FasterTransformer#270", effect="the padding of the source is read",
)  # fmt: skip
def the_mask_of_the_memory_is_not_handed_on(x, memory, weights, **options):
    return decoder_layer(x, memory, weights, **{**options, "memory_mask": None})


@fault(
    decoder_layer, "layers.self-mask-for-the-memory", breaks="layers.memory-masks",
    seen="Kamichanw/SeekDeeper#3", effect="the first target tokens see the beginning of the source alone",
)  # fmt: skip
def the_mask_of_self_attention_hides_the_memory_where_it_fits(x, memory, weights, **options):
    mask = options.get("self_mask")
    fits = mask is not None and mask.shape[-1] == memory.shape[1]
    return decoder_layer(x, memory, weights, **{**options, "memory_mask": mask if fits else options.get("memory_mask")})


@fault(
    decoder_layer, "layers.masks-exchanged", breaks="layers.memory-masks",
    seen="facebookresearch/detr#528", effect="each attention is masked by the other's mask where shapes allow it",
)  # fmt: skip
def the_two_masks_are_exchanged_where_they_fit(x, memory, weights, **options):
    masks = options.get("self_mask"), options.get("memory_mask")
    if None in masks or masks[0].shape[-1] != masks[1].shape[-1]:
        return decoder_layer(x, memory, weights, **options)
    return decoder_layer(x, memory, weights, **{**options, "self_mask": masks[1], "memory_mask": masks[0]})


@fault(
    decoder_layer, "layers.memory-of-the-first-item", breaks="layers.batch-independence",
    seen="vllm-project/vllm#8545", effect="all targets translate the first source",
)  # fmt: skip
def all_batch_items_attend_to_the_first_memory(x, memory, weights, **options):
    return decoder_layer(x, memory[:1].expand(memory.shape), weights, **options)


@fault(
    decoder_layer, "layers.memory-cut-to-the-target", breaks="layers.memory-order",
    effect="a source longer than the target is read in part",
)  # fmt: skip
def no_more_of_the_memory_is_read_than_the_target_is_long(x, memory, weights, **options):
    length, mask = min(x.shape[1], memory.shape[1]), options.get("memory_mask")
    more = {} if mask is None else {"memory_mask": mask[..., :length]}
    return decoder_layer(x, memory[:, :length], weights, **{**options, **more})


@fault(
    decoder_layer, "layers.decoder-relu-whatever-is-named", breaks="layers.activations",
    effect="a model with GELU runs with ReLU in its decoder",
)  # fmt: skip
def the_decoder_uses_relu_whatever_is_named(x, memory, weights, **options):
    return decoder_layer(x, memory, weights, **{**options, "activation": "relu"})


@fault(
    decoder_layer, "layers.decoder-tanh-for-erf", breaks="layers.activations",
    effect="5e-4 off in every layer of the decoder",
)  # fmt: skip
def gelu_is_the_tanh_approximation_in_the_decoder(x, memory, weights, **options):
    activation = "gelu_tanh" if options["activation"] == "gelu" else options["activation"]
    return decoder_layer(x, memory, weights, **{**options, "activation": activation})


@fault(
    decoder_layer, "layers.decoder-epsilon-by-default", breaks="layers.epsilon",
    effect="the library's own eps stands for the model's in the decoder",
)  # fmt: skip
def the_decoder_has_an_eps_of_its_own(x, memory, weights, **options):
    return decoder_layer(x, memory, weights, **{**options, "eps": 1e-5})
