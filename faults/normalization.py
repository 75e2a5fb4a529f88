"""Mistakes in LayerNorm, RMSNorm and Add & Norm."""

import math

import torch

from transpec.catalogue import fault
from transpec.reference.normalization import add_norm, layer_norm, rms_norm

# --- LayerNorm: epsilon and the root ----------------------------------------------------------------------------------


@fault(
    layer_norm, "normalization.epsilon-outside-the-root", breaks="normalization.layer-norm-epsilon",
    seen="hyunwoongko/transformer#7", effect="1e-5 at ordinary rows, a factor of many where the variance is small",
)  # fmt: skip
def eps_is_added_to_the_deviation(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / (torch.sqrt(variance) + eps), weights)


@fault(
    layer_norm, "normalization.epsilon-ignored", breaks="normalization.layer-norm-epsilon",
    effect="rows of small variance are blown up, rows of none become NaN",
)  # fmt: skip
def eps_is_not_added(x, weights, *, eps):
    return layer_norm(x, weights, eps=0.0)


@fault(
    layer_norm, "normalization.epsilon-by-default", breaks="normalization.layer-norm-epsilon",
    effect="a model of another eps, BERT's 1e-12 for one, runs with the library's own",
)  # fmt: skip
def eps_is_1e_5_whatever_is_given(x, weights, *, eps):
    return layer_norm(x, weights, eps=1e-5)


@fault(
    layer_norm, "normalization.epsilon-of-zero-replaced", breaks="normalization.epsilon-of-zero",
    effect="zero is taken for missing",
)  # fmt: skip
def an_eps_of_zero_becomes_the_default(x, weights, *, eps):
    return layer_norm(x, weights, eps=eps or 1e-5)


@fault(
    layer_norm, "normalization.epsilon-as-floor", breaks="normalization.layer-norm-epsilon",
    effect="ordinary rows miss eps altogether, small rows get too much of it",
)  # fmt: skip
def the_variance_is_raised_to_eps_and_eps_not_added(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / torch.sqrt(variance.clamp_min(eps)), weights)


@fault(
    layer_norm, "normalization.epsilon-squared", breaks="normalization.layer-norm-epsilon",
    effect="eps is taken for a deviation: 1e-5 works as 1e-10",
)  # fmt: skip
def eps_is_squared_before_it_is_added(x, weights, *, eps):
    return layer_norm(x, weights, eps=eps * eps)


@fault(
    layer_norm, "normalization.epsilon-not-below-1e-8", breaks="normalization.layer-norm-epsilon",
    effect="a tiny eps is taken for a mistake and raised",
)  # fmt: skip
def an_eps_below_1e_8_is_raised_to_it(x, weights, *, eps):
    return layer_norm(x, weights, eps=max(eps, 1e-8))


@fault(
    layer_norm, "normalization.root-of-the-deviation", breaks="normalization.layer-norm-equation",
    seen="hyunwoongko/transformer#7", effect="the fourth root of the variance: rows keep half of their scale",
)  # fmt: skip
def the_root_is_taken_of_the_deviation(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / torch.sqrt(torch.sqrt(variance) + eps), weights)


@fault(
    layer_norm, "normalization.root-missing", breaks="normalization.layer-norm-equation",
    effect="rows are divided by their variance: what was loud becomes quiet",
)  # fmt: skip
def the_root_is_missing(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / (variance + eps), weights)


@fault(
    layer_norm, "normalization.square-for-root", breaks="normalization.layer-norm-equation",
    seen="131250208/TPlinker-joint-extraction#37", effect="rows are divided by the square of their variance",
)  # fmt: skip
def the_power_is_two_and_not_one_half(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / (variance + eps) ** 2, weights)


@fault(
    layer_norm, "normalization.layer-norm-variance-floor", breaks="normalization.epsilon-of-zero",
    effect="with an eps of zero, rows of tiny entries come out too small",
)  # fmt: skip
def the_variance_is_at_least_1e_20(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / torch.sqrt((variance + eps).clamp_min(1e-20)), weights)


# --- LayerNorm: mean and variance -------------------------------------------------------------------------------------


@fault(
    layer_norm, "normalization.unbiased-variance", breaks="normalization.layer-norm-variance",
    effect="results are too small by the root of 1 - 1/M: a percent at 50 entries, half at 2",
)  # fmt: skip
def the_variance_divides_by_one_less_than_the_width(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / torch.sqrt(variance * _bessel(x) + eps), weights)


@fault(
    layer_norm, "normalization.unbiased-deviation-plus-epsilon", breaks="normalization.layer-norm-equation",
    seen="harvardnlp/annotated-transformer", effect="0.935 of LayerNorm at eight entries",
)  # fmt: skip
def the_unbiased_deviation_plus_eps_divides(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / (torch.sqrt(variance * _bessel(x)) + eps), weights)


@fault(
    layer_norm, "normalization.absolute-deviation", breaks="normalization.layer-norm-equation",
    effect="results are a quarter too large",
)  # fmt: skip
def the_mean_absolute_deviation_divides(x, weights, *, eps):
    centred, _ = _moments(x)
    return _weighted(centred / (centred.abs().mean(-1, keepdim=True) + eps), weights)


@fault(
    layer_norm, "normalization.one-pass-variance", breaks="normalization.layer-norm-stability",
    effect="a mean much larger than the deviation cancels every digit of the variance, and its root may be NaN",
)  # fmt: skip
def the_variance_is_the_mean_square_less_the_squared_mean(x, weights, *, eps):
    mean = x.mean(-1, keepdim=True)
    variance = (x * x).mean(-1, keepdim=True) - mean * mean
    return _weighted((x - mean) / torch.sqrt(variance + eps), weights)


@fault(
    layer_norm, "normalization.mean-not-subtracted", breaks="normalization.layer-norm-equation",
    effect="the variance is right and the mean stays in the result",
)  # fmt: skip
def the_mean_is_not_subtracted(x, weights, *, eps):
    _, variance = _moments(x)
    return _weighted(x / torch.sqrt(variance + eps), weights)


@fault(
    layer_norm, "normalization.rms-for-layer-norm", breaks="normalization.layer-norm-equation",
    effect="nearly the same for rows whose mean is nearly zero",
)  # fmt: skip
def layer_norm_is_rms_norm_plus_bias(x, weights, *, eps):
    return _weighted(x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps), weights)


@fault(
    layer_norm, "normalization.variance-about-zero", breaks="normalization.layer-norm-equation",
    effect="rows with a mean come out too small",
)  # fmt: skip
def the_variance_is_taken_about_zero_and_not_about_the_mean(x, weights, *, eps):
    centred, _ = _moments(x)
    return _weighted(centred / torch.sqrt((x * x).mean(-1, keepdim=True) + eps), weights)


# --- LayerNorm: axes --------------------------------------------------------------------------------------------------


@fault(
    layer_norm, "normalization.moments-over-the-sequence", breaks="normalization.token-independence",
    seen="patrick-kidger/equinox#471", effect="every token is told of all others, the future among them",
)  # fmt: skip
def the_moments_are_taken_over_the_sequence_too(x, weights, *, eps):
    return _over(x, weights, eps, (-2, -1) if x.dim() > 1 else (-1,))


@fault(
    layer_norm, "normalization.moments-over-the-batch", breaks="normalization.batch-independence",
    effect="batch normalization: what a row gives depends on who shares its batch",
)  # fmt: skip
def the_moments_are_taken_over_the_first_axis(x, weights, *, eps):
    return _over(x, weights, eps, (0,))


@fault(
    layer_norm, "normalization.moments-over-all-but-the-first-axis", breaks="normalization.token-independence",
    seen="Qualcomm-AI-research/geometric-algebra-transformer#8",
    effect="right for two axes, and a mixture of all tokens of a sequence for three",
)  # fmt: skip
def the_moments_are_taken_over_all_axes_but_the_first(x, weights, *, eps):
    return _over(x, weights, eps, tuple(range(1, x.dim())) or (0,))


@fault(
    layer_norm, "normalization.moments-over-the-third-axis", breaks="normalization.leading-axes",
    effect="right for three axes, wrong for four",
)  # fmt: skip
def the_moments_are_taken_over_the_third_axis_whichever_is_the_last(x, weights, *, eps):
    return _over(x, weights, eps, (min(2, x.dim() - 1),))


@fault(
    layer_norm, "normalization.moments-over-tokens", breaks="normalization.layer-norm-equation",
    seen="OpenNMT/OpenNMT-tf#6", effect="the model translates badly and nobody knows why",
)  # fmt: skip
def the_moments_are_taken_over_the_axis_before_the_last(x, weights, *, eps):
    return _over(x, weights, eps, (-2,) if x.dim() > 1 else (-1,))


@fault(
    layer_norm, "normalization.last-entry-dropped", breaks="normalization.layer-norm-equation",
    effect="the mean of an odd number of entries misses the last one",
)  # fmt: skip
def the_mean_of_a_row_of_odd_width_misses_its_last_entry(x, weights, *, eps):
    _, variance = _moments(x)
    mean = x[..., : max(1, x.shape[-1] // 2 * 2)].mean(-1, keepdim=True)
    return _weighted((x - mean) / torch.sqrt(variance + eps), weights)


# --- LayerNorm: gain and bias -----------------------------------------------------------------------------------------


@fault(
    layer_norm, "normalization.gain-ignored", breaks="normalization.layer-norm-equation",
    effect="invisible while the gain is one, as it is at the start",
)  # fmt: skip
def the_gain_is_not_applied(x, weights, *, eps):
    return layer_norm(x, {**weights, "gain": torch.ones_like(weights["gain"])}, eps=eps)


@fault(
    layer_norm, "normalization.bias-ignored", breaks="normalization.layer-norm-equation",
    effect="invisible while the bias is zero, as it is at the start",
)  # fmt: skip
def the_bias_is_not_added(x, weights, *, eps):
    return layer_norm(x, {**weights, "bias": torch.zeros_like(weights["bias"])}, eps=eps)


@fault(
    layer_norm, "normalization.bias-before-gain", breaks="normalization.layer-norm-equation",
    effect="the bias is multiplied by the gain",
)  # fmt: skip
def the_bias_is_added_before_the_gain_multiplies(x, weights, *, eps):
    centred, variance = _moments(x)
    return (centred / torch.sqrt(variance + eps) + weights["bias"]) * weights["gain"]


@fault(
    layer_norm, "normalization.gain-plus-one", breaks="normalization.layer-norm-equation",
    effect="a gain is taken for one that is stored less one",
)  # fmt: skip
def one_is_added_to_the_gain(x, weights, *, eps):
    return layer_norm(x, {**weights, "gain": weights["gain"] + 1}, eps=eps)


@fault(
    layer_norm, "normalization.gain-of-the-input", breaks="normalization.layer-norm-equation",
    effect="the gain changes mean and variance and is normalized away in part",
)  # fmt: skip
def the_gain_multiplies_the_input(x, weights, *, eps):
    return layer_norm(x * weights["gain"], {**weights, "gain": torch.ones_like(weights["gain"])}, eps=eps)


@fault(
    layer_norm, "normalization.gain-not-on-the-mean", breaks="normalization.layer-norm-equation",
    effect="the gain multiplies x and not the mean that is subtracted",
)  # fmt: skip
def the_mean_is_subtracted_after_the_gain(x, weights, *, eps):
    _, variance = _moments(x)
    return (x * weights["gain"] - x.mean(-1, keepdim=True)) / torch.sqrt(variance + eps) + weights["bias"]


@fault(
    layer_norm, "normalization.gain-and-bias-exchanged", breaks="normalization.layer-norm-equation",
    effect="a loader mistakes one weight for the other, their shapes being the same",
)  # fmt: skip
def gain_and_bias_are_exchanged(x, weights, *, eps):
    return layer_norm(x, {"gain": weights["bias"], "bias": weights["gain"]}, eps=eps)


@fault(
    layer_norm, "normalization.gain-along-the-sequence", breaks="normalization.layer-norm-equation",
    effect="where there are as many tokens as entries, the gain runs along the wrong axis",
)  # fmt: skip
def the_gain_runs_along_the_sequence_where_it_fits(x, weights, *, eps):
    if x.dim() < 2 or x.shape[-2] != x.shape[-1]:
        return layer_norm(x, weights, eps=eps)
    centred, variance = _moments(x)
    return centred / torch.sqrt(variance + eps) * weights["gain"].unsqueeze(-1) + weights["bias"]


# --- LayerNorm: dtypes, memory, gradients -----------------------------------------------------------------------------


@fault(
    layer_norm, "normalization.float32-inside", breaks="normalization.layer-norm-equation",
    effect="float64 comes in and goes out, and half of its digits are lost on the way",
)  # fmt: skip
def float64_is_computed_in_float32(x, weights, *, eps):
    narrow = {name: weight.to(torch.float32) for name, weight in weights.items()}
    return layer_norm(x.to(torch.float32), narrow, eps=eps).to(x.dtype)


@fault(
    layer_norm, "normalization.float16-inside", breaks="normalization.layer-norm-stability",
    effect="squares overflow where entries pass 256, and the row becomes zero; the rest loses all but three digits",
)  # fmt: skip
def everything_is_computed_in_float16(x, weights, *, eps):
    narrow = {name: weight.to(torch.float16) for name, weight in weights.items()}
    return layer_norm(x.to(torch.float16), narrow, eps=eps).to(x.dtype)


@fault(
    layer_norm, "normalization.centred-in-place", breaks="normalization.inputs-untouched",
    effect="the residual that is added later has lost its mean",
)  # fmt: skip
def the_mean_is_subtracted_from_the_input_itself(x, weights, *, eps):
    return layer_norm(x.sub_(x.mean(-1, keepdim=True)), weights, eps=eps)


@fault(
    layer_norm, "normalization.mean-without-gradient", breaks="normalization.gradients",
    effect="the gradient keeps a part along the ones that the formula takes away",
)  # fmt: skip
def the_mean_has_no_gradient(x, weights, *, eps):
    centred = x - x.mean(-1, keepdim=True).detach()
    _, variance = _moments(x)
    return _weighted(centred / torch.sqrt(variance + eps), weights)


@fault(
    layer_norm, "normalization.variance-without-gradient", breaks="normalization.gradients",
    effect="the gradient keeps a part along the row itself that the formula takes away",
)  # fmt: skip
def the_variance_has_no_gradient(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / torch.sqrt(variance + eps).detach(), weights)


@fault(
    layer_norm, "normalization.gain-without-gradient", breaks="normalization.gradients",
    seen="paiml/aprender#2196", effect="the gain never learns",
)  # fmt: skip
def the_gain_has_no_gradient(x, weights, *, eps):
    return layer_norm(x, {**weights, "gain": weights["gain"].detach()}, eps=eps)


@fault(
    layer_norm, "normalization.bias-without-gradient", breaks="normalization.gradients",
    seen="paiml/aprender#2196", effect="the bias never learns",
)  # fmt: skip
def the_bias_has_no_gradient(x, weights, *, eps):
    return layer_norm(x, {**weights, "bias": weights["bias"].detach()}, eps=eps)


@fault(
    layer_norm, "normalization.input-without-gradient", breaks="normalization.gradients",
    seen="huggingface/candle#3613", effect="nothing below the layer learns",
)  # fmt: skip
def the_input_has_no_gradient(x, weights, *, eps):
    return layer_norm(x.detach(), weights, eps=eps)


@fault(
    layer_norm, "normalization.bias-gradient-of-one-token", breaks="normalization.gradients",
    effect="a backward pass that forgets to sum over every leading axis",
)  # fmt: skip
def the_bias_learns_from_the_first_entry_of_the_batch_alone(x, weights, *, eps):
    result = layer_norm(x, {**weights, "bias": weights["bias"].detach()}, eps=eps)
    if x.dim() < 2 or not len(x):
        return layer_norm(x, weights, eps=eps)
    first = weights["bias"] - weights["bias"].detach()
    return torch.cat([result[:1] + first, result[1:]])


@fault(
    layer_norm, "normalization.nan-gradient-of-constant-rows", breaks="normalization.gradients",
    effect="a row of equal entries, padding for instance, makes every gradient NaN",
)  # fmt: skip
def the_gradient_goes_through_the_root_of_the_bare_variance(x, weights, *, eps):
    centred, variance = _moments(x)
    return _weighted(centred / torch.sqrt(torch.sqrt(variance).square() + eps), weights)


@fault(
    layer_norm, "normalization.gradient-of-weights-with-that-of-x", breaks="normalization.gradients",
    effect="the first norm over data, or the first above a frozen part, does not learn",
)  # fmt: skip
def gain_and_bias_get_a_gradient_only_where_x_does(x, weights, *, eps):
    asked = any(weight.requires_grad for weight in weights.values())
    if asked and not x.requires_grad:
        weights = {name: weight.detach() for name, weight in weights.items()}
    return layer_norm(x, weights, eps=eps)


# --- RMSNorm ----------------------------------------------------------------------------------------------------------


@fault(
    rms_norm, "normalization.rms-epsilon-outside", breaks="normalization.rms-epsilon",
    seen="allenai/OLMo#281", effect="1e-6 at ordinary rows, a factor of many where the entries are small",
)  # fmt: skip
def rms_norm_adds_eps_to_the_root(x, weights, *, eps):
    return x / (torch.sqrt((x * x).mean(-1, keepdim=True)) + eps) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-epsilon-ignored", breaks="normalization.rms-epsilon",
    effect="small rows are blown up, rows of zeros become NaN",
)  # fmt: skip
def rms_norm_does_not_add_eps(x, weights, *, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True)) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-epsilon-by-default", breaks="normalization.rms-epsilon",
    effect="a model of another eps runs with the library's own",
)  # fmt: skip
def rms_norm_takes_an_eps_of_1e_6_whatever_is_given(x, weights, *, eps):
    return rms_norm(x, weights, eps=1e-6)


@fault(
    rms_norm, "normalization.rms-epsilon-in-the-sum", breaks="normalization.rms-epsilon",
    effect="eps is divided by the width",
)  # fmt: skip
def rms_norm_adds_eps_before_the_mean_is_taken(x, weights, *, eps):
    return x / torch.sqrt(((x * x).sum(-1, keepdim=True) + eps) / x.shape[-1]) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-mean-subtracted", breaks="normalization.rms-norm-equation",
    seen="Dao-AILab/flash-attention@a9a4b4e4",
    effect="LayerNorm without a bias: nearly the same for rows whose mean is nearly zero",
)  # fmt: skip
def rms_norm_subtracts_the_mean(x, weights, *, eps):
    centred, variance = _moments(x)
    return centred / torch.sqrt(variance + eps) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-of-the-deviation", breaks="normalization.rms-norm-equation",
    effect="rows with a mean come out too large",
)  # fmt: skip
def rms_norm_divides_by_the_deviation_about_the_mean(x, weights, *, eps):
    _, variance = _moments(x)
    return x / torch.sqrt(variance + eps) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-sum-for-mean", breaks="normalization.rms-norm-equation",
    effect="results are too small by the root of the width",
)  # fmt: skip
def rms_norm_takes_the_sum_of_the_squares_and_not_their_mean(x, weights, *, eps):
    return x / torch.sqrt((x * x).sum(-1, keepdim=True) + eps) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-unbiased", breaks="normalization.rms-norm-equation",
    effect="results are too small by the root of 1 - 1/M",
)  # fmt: skip
def rms_norm_divides_by_one_less_than_the_width(x, weights, *, eps):
    mean_square = (x * x).sum(-1, keepdim=True) / max(1, x.shape[-1] - 1)
    return x / torch.sqrt(mean_square + eps) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-root-missing", breaks="normalization.rms-norm-equation",
    effect="rows are divided by their mean square: what was loud becomes quiet",
)  # fmt: skip
def rms_norm_lacks_the_root(x, weights, *, eps):
    return x / ((x * x).mean(-1, keepdim=True) + eps) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-multiplied", breaks="normalization.rms-norm-equation",
    seen="mosaicml/llm-foundry#371", effect="rows grow by their own size and the loss diverges",
)  # fmt: skip
def rms_norm_divides_by_the_reciprocal_root(x, weights, *, eps):
    return x / torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-gain-ignored", breaks="normalization.rms-norm-equation",
    effect="invisible while the gain is one, as it is at the start",
)  # fmt: skip
def rms_norm_does_not_apply_the_gain(x, weights, *, eps):
    return rms_norm(x, {"gain": torch.ones_like(weights["gain"])}, eps=eps)


@fault(
    rms_norm, "normalization.rms-gain-plus-one", breaks="normalization.rms-norm-equation",
    effect="a gain is taken for one that is stored less one",
)  # fmt: skip
def rms_norm_adds_one_to_the_gain(x, weights, *, eps):
    return rms_norm(x, {"gain": weights["gain"] + 1}, eps=eps)


@fault(
    rms_norm, "normalization.rms-gain-of-the-input", breaks="normalization.rms-norm-equation",
    effect="the gain is normalized away in part",
)  # fmt: skip
def rms_norm_multiplies_the_input_by_the_gain(x, weights, *, eps):
    return rms_norm(x * weights["gain"], {"gain": torch.ones_like(weights["gain"])}, eps=eps)


@fault(
    rms_norm, "normalization.rms-over-the-sequence", breaks="normalization.token-independence",
    effect="every token is told how loud all others are, the future among them",
)  # fmt: skip
def rms_norm_takes_the_mean_over_the_sequence_too(x, weights, *, eps):
    axes = (-2, -1) if x.dim() > 1 else (-1,)
    return x / torch.sqrt((x * x).mean(axes, keepdim=True) + eps) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-float32-inside", breaks="normalization.rms-norm-equation",
    effect="float64 comes in and goes out, and half of its digits are lost on the way",
)  # fmt: skip
def rms_norm_computes_float64_in_float32(x, weights, *, eps):
    return rms_norm(x.to(torch.float32), {"gain": weights["gain"].to(torch.float32)}, eps=eps).to(x.dtype)


@fault(
    rms_norm, "normalization.rms-in-place", breaks="normalization.inputs-untouched",
    seen="GeeeekExplorer/nano-vllm#170", effect="the residual that is added later has been normalized",
)  # fmt: skip
def rms_norm_scales_the_input_itself(x, weights, *, eps):
    return x.mul_(torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)) * weights["gain"]


@fault(
    rms_norm, "normalization.rms-without-gradient", breaks="normalization.gradients",
    effect="the gradient keeps a part along the row itself that the formula takes away",
)  # fmt: skip
def the_root_mean_square_has_no_gradient(x, weights, *, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps).detach() * weights["gain"]


@fault(
    rms_norm, "normalization.rms-gain-without-gradient", breaks="normalization.gradients",
    seen="huggingface/candle#3613", effect="the gain never learns",
)  # fmt: skip
def the_gain_of_rms_norm_has_no_gradient(x, weights, *, eps):
    return rms_norm(x, {"gain": weights["gain"].detach()}, eps=eps)


# --- Add & Norm -------------------------------------------------------------------------------------------------------


@fault(
    add_norm, "normalization.residual-missing", breaks="normalization.add-norm-equation",
    effect="the layer has nothing to go round it: deep stacks do not train",
)  # fmt: skip
def the_residual_is_not_added(x, sublayer_output, weights, *, eps):
    return layer_norm(sublayer_output + torch.zeros_like(x), weights, eps=eps)


@fault(
    add_norm, "normalization.sublayer-missing", breaks="normalization.add-norm-equation",
    effect="the sublayer does nothing",
)  # fmt: skip
def the_sublayer_output_is_not_added(x, sublayer_output, weights, *, eps):
    return layer_norm(x + torch.zeros_like(sublayer_output), weights, eps=eps)


@fault(
    add_norm, "normalization.norm-of-x-plus-sublayer", breaks="normalization.add-norm-equation",
    effect="the sublayer's output bypasses the norm and adds up from layer to layer",
)  # fmt: skip
def the_sublayer_output_is_added_after_the_norm(x, sublayer_output, weights, *, eps):
    return layer_norm(x, weights, eps=eps) + sublayer_output


@fault(
    add_norm, "normalization.x-plus-norm-of-sublayer", breaks="normalization.add-norm-equation",
    effect="the residual bypasses the norm and grows from layer to layer",
)  # fmt: skip
def the_residual_is_added_after_the_norm(x, sublayer_output, weights, *, eps):
    return x + layer_norm(sublayer_output, weights, eps=eps)


@fault(
    add_norm, "normalization.sum-of-norms", breaks="normalization.add-norm-equation",
    effect="input and sublayer count the same, however loud they are",
)  # fmt: skip
def both_are_normalized_and_then_added(x, sublayer_output, weights, *, eps):
    return layer_norm(x, weights, eps=eps) + layer_norm(sublayer_output, weights, eps=eps)


@fault(
    add_norm, "normalization.norm-missing", breaks="normalization.add-norm-equation",
    effect="the sum is not normalized at all",
)  # fmt: skip
def the_sum_is_not_normalized(x, sublayer_output, weights, *, eps):
    return x + sublayer_output


@fault(
    add_norm, "normalization.residual-doubled", breaks="normalization.add-norm-equation",
    effect="the sublayer's voice is halved, as where the sublayer has added the residual already",
)  # fmt: skip
def the_residual_is_added_twice(x, sublayer_output, weights, *, eps):
    return layer_norm(x + sublayer_output + x, weights, eps=eps)


@fault(
    add_norm, "normalization.residual-after-the-norm-too", breaks="normalization.add-norm-equation",
    effect="the residual stream is added to its own normalized self",
)  # fmt: skip
def the_residual_is_added_again_after_the_norm(x, sublayer_output, weights, *, eps):
    return add_norm(x, sublayer_output, weights, eps=eps) + x


@fault(
    add_norm, "normalization.residual-subtracted", breaks="normalization.add-norm-equation",
    effect="the sublayer's voice has the wrong sign",
)  # fmt: skip
def the_sublayer_output_is_subtracted(x, sublayer_output, weights, *, eps):
    return layer_norm(x - sublayer_output, weights, eps=eps)


@fault(
    add_norm, "normalization.residual-averaged", breaks="normalization.add-norm-equation",
    effect="the norm hides the half but for eps, which then counts fourfold",
)  # fmt: skip
def the_mean_is_normalized_and_not_the_sum(x, sublayer_output, weights, *, eps):
    return layer_norm((x + sublayer_output) / 2, weights, eps=eps)


@fault(
    add_norm, "normalization.add-norm-without-mean", breaks="normalization.add-norm-equation",
    effect="RMSNorm stands where LayerNorm is due",
)  # fmt: skip
def the_sum_is_normalized_without_its_mean(x, sublayer_output, weights, *, eps):
    return rms_norm(x + sublayer_output, {"gain": weights["gain"]}, eps=eps) + weights["bias"]


@fault(
    add_norm, "normalization.residual-overwritten", breaks="normalization.inputs-untouched",
    effect="the input is changed under the caller's hands, and with it whatever else uses it",
)  # fmt: skip
def the_sublayer_output_is_added_to_x_in_place(x, sublayer_output, weights, *, eps):
    return layer_norm(x.add_(sublayer_output), weights, eps=eps)


@fault(
    add_norm, "normalization.residual-without-gradient", breaks="normalization.gradients",
    effect="the gradient has no way round the sublayer",
)  # fmt: skip
def the_residual_has_no_gradient(x, sublayer_output, weights, *, eps):
    return add_norm(x.detach(), sublayer_output, weights, eps=eps)


@fault(
    add_norm, "normalization.gradient-of-one-tensor-for-both", breaks="normalization.gradients",
    effect="a tensor that is added to itself gets half of its gradient",
)  # fmt: skip
def a_tensor_that_is_both_parts_of_the_sum_gets_the_gradient_of_one(x, sublayer_output, weights, *, eps):
    sublayer_output = sublayer_output.detach() if x is sublayer_output else sublayer_output
    return add_norm(x, sublayer_output, weights, eps=eps)


@fault(
    add_norm, "normalization.gradient-of-shared-sublayer-output", breaks="normalization.gradients",
    effect="a sublayer output that the batch shares learns from the first sequence alone",
)  # fmt: skip
def a_sublayer_output_for_all_gets_the_gradient_of_the_first(x, sublayer_output, weights, *, eps):
    if sublayer_output.dim() == x.dim() > 1 and len(sublayer_output) == 1 < len(x):
        first = (torch.arange(len(x)) == 0).view(-1, *[1] * (x.dim() - 1))
        sublayer_output = torch.where(first, sublayer_output, sublayer_output.detach())
    return add_norm(x, sublayer_output, weights, eps=eps)


def _moments(x):
    """The row less its mean, and its variance."""
    centred = x - x.mean(-1, keepdim=True)
    return centred, (centred * centred).mean(-1, keepdim=True)


def _bessel(x):
    """M / (M - 1), by which the variance becomes the unbiased one; NaN for one entry, whose variance is 0 / 0."""
    width = x.shape[-1]
    return width / (width - 1) if width > 1 else math.nan


def _weighted(normalized, weights):
    return normalized * weights["gain"] + weights["bias"]


def _over(x, weights, eps, axes):
    """The formula, mean and variance over the given axes."""
    centred = x - x.mean(axes, keepdim=True)
    return _weighted(centred / torch.sqrt((centred * centred).mean(axes, keepdim=True) + eps), weights)
