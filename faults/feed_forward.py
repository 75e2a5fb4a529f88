"""Mistakes in the feed-forward network."""

import math
from typing import Any

import torch

from transpec.catalogue import fault
from transpec.reference.feed_forward import ACTIVATIONS, feed_forward, gelu, gelu_tanh

# --- Where the activation stands --------------------------------------------------------------------------------------


@fault(
    feed_forward, "feed_forward.activation-missing", breaks="feed_forward.equation",
    effect="two matrices in a row are one: the network becomes linear in every layer",
)  # fmt: skip
def no_activation_stands_between_the_two_matrices(x, weights, *, activation="relu"):
    return _inner_sums(x, weights) @ weights["w_2"] + weights["b_2"]


@fault(
    feed_forward, "feed_forward.activation-at-the-end-too", breaks="feed_forward.equation",
    effect="the residual stream can only grow; half of what the layer could say is cut off",
)  # fmt: skip
def the_activation_is_applied_to_the_result_too(x, weights, *, activation="relu"):
    return ACTIVATIONS[activation](feed_forward(x, weights, activation=activation))


@fault(
    feed_forward, "feed_forward.activation-at-the-end-only", breaks="feed_forward.equation",
    effect="the inner layer is linear and the result is never negative",
)  # fmt: skip
def the_activation_is_applied_to_the_result_and_not_to_the_inner_sums(x, weights, *, activation="relu"):
    return ACTIVATIONS[activation](_inner_sums(x, weights) @ weights["w_2"] + weights["b_2"])


@fault(
    feed_forward, "feed_forward.activation-of-the-input", breaks="feed_forward.equation",
    effect="what is negative in the residual stream is invisible to the layer",
)  # fmt: skip
def the_activation_is_applied_to_the_input_and_not_to_the_inner_sums(x, weights, *, activation="relu"):
    return _inner_sums(ACTIVATIONS[activation](x), weights) @ weights["w_2"] + weights["b_2"]


@fault(
    feed_forward, "feed_forward.activation-twice", breaks="feed_forward.gelu-equation",
    effect="ReLU does not show it, for it is its own square; GELU shrinks what is positive",
)  # fmt: skip
def the_activation_is_applied_twice_to_the_inner_sums(x, weights, *, activation="relu"):
    f = ACTIVATIONS[activation]
    return f(f(_inner_sums(x, weights))) @ weights["w_2"] + weights["b_2"]


@fault(
    feed_forward, "feed_forward.activation-before-bias", breaks="feed_forward.equation",
    effect="a unit's threshold does not move: its bias only shifts the result",
)  # fmt: skip
def the_first_bias_is_added_after_the_activation(x, weights, *, activation="relu"):
    inner = ACTIVATIONS[activation](x @ weights["w_1"]) + weights["b_1"]
    return inner @ weights["w_2"] + weights["b_2"]


# --- Which activation it is -------------------------------------------------------------------------------------------


@fault(
    feed_forward, "feed_forward.activation-ignored", breaks="feed_forward.gelu-equation",
    effect="a model trained with GELU runs with ReLU: a little worse everywhere",
)  # fmt: skip
def the_activation_is_relu_whatever_is_asked_for(x, weights, *, activation="relu"):
    return feed_forward(x, weights)


@fault(
    feed_forward, "feed_forward.default-is-gelu", breaks="feed_forward.equation",
    effect="who names no activation gets another network than the paper's",
)  # fmt: skip
def the_activation_is_gelu_where_none_is_named(x, weights, *, activation="gelu"):
    return feed_forward(x, weights, activation=activation)


@fault(
    feed_forward, "feed_forward.gelu-tanh-for-gelu", breaks="feed_forward.gelu-equation",
    effect="up to 4.7e-4 for each inner unit and layer; weights trained with the other form lose quality",
)  # fmt: skip
def gelu_is_computed_by_its_tanh_approximation(x, weights, *, activation="relu"):
    return feed_forward(x, weights, activation="gelu_tanh" if activation == "gelu" else activation)


@fault(
    feed_forward, "feed_forward.gelu-for-gelu-tanh", breaks="feed_forward.gelu-tanh-equation",
    seen="kyutai-labs/pocket-tts#278",
    effect="up to 4.7e-4 for each inner unit and layer, where weights were trained with tanh",
)  # fmt: skip
def gelu_tanh_is_computed_by_the_error_function(x, weights, *, activation="relu"):
    return feed_forward(x, weights, activation="gelu" if activation == "gelu_tanh" else activation)


@fault(
    feed_forward, "feed_forward.gelu-by-sigmoid", breaks="feed_forward.gelu-equation",
    effect="up to 0.02 for each inner unit",
)  # fmt: skip
def gelu_is_approximated_by_x_times_the_sigmoid_of_1_702_x(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu", lambda y: y * torch.sigmoid(1.702 * y))


@fault(
    feed_forward, "feed_forward.gelu-tanh-by-sigmoid", breaks="feed_forward.gelu-tanh-equation",
    effect="up to 0.02 for each inner unit",
)  # fmt: skip
def gelu_tanh_is_approximated_by_x_times_the_sigmoid_of_1_702_x(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: y * torch.sigmoid(1.702 * y))


@fault(
    feed_forward, "feed_forward.silu-for-gelu", breaks="feed_forward.gelu-equation",
    effect="a smooth activation of the same look, off by up to 0.2",
)  # fmt: skip
def gelu_is_replaced_by_x_times_the_sigmoid_of_x(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu", lambda y: y * torch.sigmoid(y))


@fault(
    feed_forward, "feed_forward.leaky-relu", breaks="feed_forward.equation",
    effect="units that should rest let a hundredth through",
)  # fmt: skip
def relu_lets_a_hundredth_of_the_negative_through(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "relu", lambda y: torch.where(y > 0, y, 0.01 * y))


@fault(
    feed_forward, "feed_forward.relu-capped-at-six", breaks="feed_forward.equation",
    effect="nothing shows before an inner sum passes 6, which normal inputs do not reach",
)  # fmt: skip
def relu_is_capped_at_six(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "relu", lambda y: y.clamp(0, 6))


@fault(
    feed_forward, "feed_forward.relu-of-the-magnitude", breaks="feed_forward.equation",
    effect="no unit ever rests",
)  # fmt: skip
def relu_takes_the_magnitude_of_what_is_negative(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "relu", torch.abs)


# --- The formulas of GELU ---------------------------------------------------------------------------------------------


@fault(
    feed_forward, "feed_forward.gelu-without-root-two", breaks="feed_forward.gelu-equation",
    effect="the slope at zero stays, the curve is too steep",
)  # fmt: skip
def the_argument_of_the_error_function_is_not_divided_by_the_root_of_two(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu", lambda y: 0.5 * y * (1 + torch.erf(y)))


@fault(
    feed_forward, "feed_forward.gelu-without-x", breaks="feed_forward.gelu-equation",
    effect="the activation is the distribution function itself, between 0 and 1",
)  # fmt: skip
def gelu_lacks_its_factor_x(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu", lambda y: 0.5 * (1 + torch.erf(y / math.sqrt(2))))


@fault(
    feed_forward, "feed_forward.gelu-tanh-without-x", breaks="feed_forward.gelu-tanh-equation",
    seen="tensorflow/tfjs#8224", effect="the activation is bounded by 1: GELU of 9 is 1 and not 9",
)  # fmt: skip
def gelu_tanh_lacks_its_factor_x(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: 0.5 * (1 + torch.tanh(_argument(y))))


@fault(
    feed_forward, "feed_forward.gelu-tanh-without-half", breaks="feed_forward.gelu-tanh-equation",
    effect="everything positive comes out doubled",
)  # fmt: skip
def gelu_tanh_lacks_its_factor_of_one_half(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: 2 * gelu_tanh(y))


@fault(
    feed_forward, "feed_forward.gelu-tanh-without-cube", breaks="feed_forward.gelu-tanh-equation",
    effect="off by up to 0.04 where x is 1 to 3",
)  # fmt: skip
def gelu_tanh_lacks_its_cubic_term(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: _gelu_tanh(y, cubic=0.0))


@fault(
    feed_forward, "feed_forward.gelu-tanh-square-for-cube", breaks="feed_forward.gelu-tanh-equation",
    effect="what is negative is bent the wrong way",
)  # fmt: skip
def gelu_tanh_has_a_square_in_place_of_the_cube(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: _gelu_tanh(y, power=2))


@fault(
    feed_forward, "feed_forward.gelu-tanh-cube-outside", breaks="feed_forward.gelu-tanh-equation",
    effect="the cubic term is a fifth too large",
)  # fmt: skip
def gelu_tanh_has_the_cubic_term_outside_the_bracket(x, weights, *, activation="relu"):
    outside = lambda y: 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * y + 0.044715 * y**3))
    return _with(x, weights, activation, "gelu_tanh", outside)


@fault(
    feed_forward, "feed_forward.gelu-tanh-rounded-constant", breaks="feed_forward.gelu-tanh-equation",
    effect="off by 3e-6, below every usual tolerance",
)  # fmt: skip
def the_constant_0_044715_is_rounded_to_0_04471(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: _gelu_tanh(y, cubic=0.04471))


@fault(
    feed_forward, "feed_forward.gelu-tanh-misplaced-point", breaks="feed_forward.gelu-tanh-equation",
    effect="the cubic term is ten times too large",
)  # fmt: skip
def the_constant_0_044715_is_0_44715(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: _gelu_tanh(y, cubic=0.44715))


@fault(
    feed_forward, "feed_forward.gelu-tanh-without-root", breaks="feed_forward.gelu-tanh-equation",
    effect="the slope of the tanh is 0.64 in place of 0.80",
)  # fmt: skip
def the_factor_is_two_over_pi_and_not_its_root(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: _gelu_tanh(y, factor=2 / math.pi))


@fault(
    feed_forward, "feed_forward.gelu-tanh-rounded-factor", breaks="feed_forward.gelu-tanh-equation",
    effect="off by 3e-5",
)  # fmt: skip
def the_root_of_two_over_pi_is_rounded_to_0_7979(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: _gelu_tanh(y, factor=0.7979))


@fault(
    feed_forward, "feed_forward.gelu-tanh-by-exponentials", breaks="feed_forward.stability",
    effect="NaN as soon as an inner sum is so large that its exponential overflows",
)  # fmt: skip
def tanh_is_computed_from_exponentials_that_overflow(x, weights, *, activation="relu"):
    def naive(y):
        power = torch.exp(2 * _argument(y))
        return 0.5 * y * (1 + (power - 1) / (power + 1))

    return _with(x, weights, activation, "gelu_tanh", naive)


# --- Matrices and biases ----------------------------------------------------------------------------------------------


@fault(
    feed_forward, "feed_forward.first-bias-missing", breaks="feed_forward.equation",
    effect="every unit has its threshold at zero; invisible while biases are zero, as they are at the start",
)  # fmt: skip
def the_first_bias_is_not_added(x, weights, *, activation="relu"):
    return ACTIVATIONS[activation](x @ weights["w_1"]) @ weights["w_2"] + weights["b_2"]


@fault(
    feed_forward, "feed_forward.second-bias-missing", breaks="feed_forward.equation",
    effect="the result lacks a constant; invisible while biases are zero, as they are at the start",
)  # fmt: skip
def the_second_bias_is_not_added(x, weights, *, activation="relu"):
    return _inner(x, weights, activation) @ weights["w_2"]


@fault(
    feed_forward, "feed_forward.second-bias-twice", breaks="feed_forward.equation",
    effect="the result has a constant too much, as when every device of several adds the bias",
)  # fmt: skip
def the_second_bias_is_added_twice(x, weights, *, activation="relu"):
    return feed_forward(x, weights, activation=activation) + weights["b_2"]


@fault(
    feed_forward, "feed_forward.second-bias-inside", breaks="feed_forward.equation",
    effect="shows only where the inner layer is as wide as the model; elsewhere the shapes forbid it",
)  # fmt: skip
def the_second_bias_is_added_before_the_second_matrix_where_it_fits(x, weights, *, activation="relu"):
    inner = _inner(x, weights, activation)
    if weights["b_1"].shape != weights["b_2"].shape:
        return feed_forward(x, weights, activation=activation)
    return (inner + weights["b_2"]) @ weights["w_2"]


@fault(
    feed_forward, "feed_forward.square-transposed", breaks="feed_forward.equation",
    effect="weights of another framework are turned by their shape, and square ones wrongly",
)  # fmt: skip
def square_matrices_are_transposed(x, weights, *, activation="relu"):
    turned = {w: m.mT if m.dim() == 2 and m.shape[0] == m.shape[1] else m for w, m in weights.items()}
    return feed_forward(x, turned, activation=activation)


@fault(
    feed_forward, "feed_forward.matrices-tied", breaks="feed_forward.equation",
    effect="the second matrix is never used and never learns",
)  # fmt: skip
def the_transposed_first_matrix_stands_in_for_the_second(x, weights, *, activation="relu"):
    return feed_forward(x, {**weights, "w_2": weights["w_1"].mT}, activation=activation)


@fault(
    feed_forward, "feed_forward.first-layer-skipped", breaks="feed_forward.equation",
    effect="shows only where the inner layer is as wide as the model; elsewhere the shapes forbid it",
)  # fmt: skip
def only_the_second_matrix_is_applied_where_it_fits(x, weights, *, activation="relu"):
    if weights["w_2"].shape[0] != x.shape[-1]:
        return feed_forward(x, weights, activation=activation)
    return x @ weights["w_2"] + weights["b_2"]


@fault(
    feed_forward, "feed_forward.residual-inside", breaks="feed_forward.equation",
    effect="where the layer adds its residual too, x is counted twice",
)  # fmt: skip
def the_input_is_added_to_the_result(x, weights, *, activation="relu"):
    return x + feed_forward(x, weights, activation=activation)


@fault(
    feed_forward, "feed_forward.last-inner-unit-dropped", breaks="feed_forward.equation",
    effect="an inner layer of odd size loses its last unit to a kernel that takes two at a time",
)  # fmt: skip
def an_inner_layer_of_odd_size_lacks_its_last_unit(x, weights, *, activation="relu"):
    inner = _inner(x, weights, activation)
    return inner[..., : inner.shape[-1] // 2 * 2] @ weights["w_2"][: inner.shape[-1] // 2 * 2] + weights["b_2"]


@fault(
    feed_forward, "feed_forward.dropout-at-inference", breaks="feed_forward.equation",
    effect="the inner layer is scaled as in training, though nothing is dropped",
)  # fmt: skip
def the_inner_layer_is_scaled_for_a_dropout_that_does_not_happen(x, weights, *, activation="relu"):
    return _inner(x, weights, activation) / 0.9 @ weights["w_2"] + weights["b_2"]


# --- Tokens, dtypes, memory -------------------------------------------------------------------------------------------


@fault(
    feed_forward, "feed_forward.tokens-mixed", breaks="feed_forward.position-wise",
    effect="a convolution over more than one position: the future leaks, or the past counts twice",
)  # fmt: skip
def the_inner_layer_sees_the_token_before_too(x, weights, *, activation="relu"):
    if x.dim() < 2:
        return feed_forward(x, weights, activation=activation)
    before = torch.cat([torch.zeros_like(x[..., :1, :]), x[..., :-1, :]], dim=-2)
    return feed_forward(x + 0.1 * before, weights, activation=activation)


@fault(
    feed_forward, "feed_forward.batches-mixed", breaks="feed_forward.batch-independence",
    effect="what one sequence gives depends on who shares its batch",
)  # fmt: skip
def the_inner_sums_are_centred_over_the_batch(x, weights, *, activation="relu"):
    if x.dim() < 3 or not len(x):
        return feed_forward(x, weights, activation=activation)
    inner = _inner_sums(x, weights)
    return ACTIVATIONS[activation](inner - inner.mean(0, keepdim=True)) @ weights["w_2"] + weights["b_2"]


@fault(
    feed_forward, "feed_forward.position-dependent", breaks="feed_forward.token-order",
    effect="the same token gives another result at another place",
)  # fmt: skip
def inner_sums_grow_with_the_position(x, weights, *, activation="relu"):
    inner = _inner_sums(x, weights)
    if x.dim() > 1:
        inner = inner * (1 + 0.01 * torch.arange(x.shape[-2], dtype=x.dtype).unsqueeze(-1))
    return ACTIVATIONS[activation](inner) @ weights["w_2"] + weights["b_2"]


@fault(
    feed_forward, "feed_forward.batch-of-one-squeezed", breaks="feed_forward.leading-axes",
    effect="axes of one vanish: a batch of one comes back without its batch axis",
)  # fmt: skip
def leading_axes_of_one_are_squeezed_out(x, weights, *, activation="relu"):
    result = feed_forward(x, weights, activation=activation)
    return result.reshape(*(size for size in result.shape[:-1] if size != 1), result.shape[-1])


@fault(
    feed_forward, "feed_forward.float32-inside", breaks="feed_forward.equation",
    effect="float64 comes in and goes out, and half of its digits are lost on the way",
)  # fmt: skip
def float64_is_computed_in_float32(x, weights, *, activation="relu"):
    narrow = {name: weight.to(torch.float32) for name, weight in weights.items()}
    return feed_forward(x.to(torch.float32), narrow, activation=activation).to(x.dtype)


@fault(
    feed_forward, "feed_forward.result-over-input", breaks="feed_forward.inputs-untouched",
    effect="the residual that is added later is no longer the input",
)  # fmt: skip
def the_result_is_written_over_the_input(x, weights, *, activation="relu"):
    return x.copy_(feed_forward(x, weights, activation=activation))


@fault(
    feed_forward, "feed_forward.bias-accumulates", breaks="feed_forward.inputs-untouched",
    effect="the second bias is used as the place for the sum: weights drift from call to call",
)  # fmt: skip
def the_second_bias_is_overwritten(x, weights, *, activation="relu"):
    result = feed_forward(x, weights, activation=activation)
    weights["b_2"].add_(1.0)
    return result


_packed: dict[str, tuple[Any, Any]] = {}


@fault(
    feed_forward, "feed_forward.weights-by-identity", breaks="feed_forward.no-memory",
    effect="after an optimizer's step in place the layer goes on with the weights from before it",
)  # fmt: skip
def a_weight_that_was_packed_is_kept_by_its_identity(x, weights, *, activation="relu"):
    held, kept = _packed.get("last", (None, None))
    if held is not weights["w_1"]:
        held, kept = weights["w_1"], weights["w_1"].clone()
    _packed["last"] = held, kept
    return feed_forward(x, {**weights, "w_1": kept}, activation=activation)


# --- Gradients --------------------------------------------------------------------------------------------------------


@fault(
    feed_forward, "feed_forward.gradient-through-resting-units", breaks="feed_forward.gradients",
    effect="units that rest are trained as if they had spoken",
)  # fmt: skip
def the_slope_of_relu_is_one_everywhere(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "relu", lambda y: y + (torch.relu(y) - y).detach())


@fault(
    feed_forward, "feed_forward.gelu-slope-is-phi", breaks="feed_forward.gradients",
    effect="the slope of GELU lacks x times the density: right at zero and far out, wrong between",
)  # fmt: skip
def the_slope_of_gelu_is_the_distribution_function_alone(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu", lambda y: y * (0.5 * (1 + torch.erf(y / math.sqrt(2)))).detach())


@fault(
    feed_forward, "feed_forward.gelu-tanh-slope-of-gelu", breaks="feed_forward.gradients",
    effect="forward and backward belong to two forms of GELU",
)  # fmt: skip
def the_slope_of_gelu_tanh_is_that_of_gelu(x, weights, *, activation="relu"):
    return _with(x, weights, activation, "gelu_tanh", lambda y: gelu(y) + (gelu_tanh(y) - gelu(y)).detach())


@fault(
    feed_forward, "feed_forward.first-matrix-without-gradient", breaks="feed_forward.gradients",
    effect="the first matrix never learns",
)  # fmt: skip
def the_first_matrix_has_no_gradient(x, weights, *, activation="relu"):
    return feed_forward(x, {**weights, "w_1": weights["w_1"].detach()}, activation=activation)


@fault(
    feed_forward, "feed_forward.biases-without-gradient", breaks="feed_forward.gradients",
    effect="the biases stay at zero for ever",
)  # fmt: skip
def the_biases_have_no_gradient(x, weights, *, activation="relu"):
    detached = {name: weight.detach() if name.startswith("b_") else weight for name, weight in weights.items()}
    return feed_forward(x, detached, activation=activation)


@fault(
    feed_forward, "feed_forward.input-without-gradient", breaks="feed_forward.gradients",
    effect="nothing below this layer learns but through the residual",
)  # fmt: skip
def the_input_has_no_gradient(x, weights, *, activation="relu"):
    return feed_forward(x.detach(), weights, activation=activation)


def _inner_sums(x, weights):
    return x @ weights["w_1"] + weights["b_1"]


def _inner(x, weights, activation):
    return ACTIVATIONS[activation](_inner_sums(x, weights))


def _with(x, weights, activation, name, wrong):
    """The network, the activation `name` being `wrong`."""
    f = wrong if activation == name else ACTIVATIONS[activation]
    return f(_inner_sums(x, weights)) @ weights["w_2"] + weights["b_2"]


def _argument(y):
    return math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)


def _gelu_tanh(y, factor=0.7978845608028654, cubic=0.044715, power=3):
    return 0.5 * y * (1 + torch.tanh(factor * (y + cubic * y**power)))
