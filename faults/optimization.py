"""Mistakes in optimization: Adam, schedules, clipping, loss scaling."""

import math
from typing import Any

import torch

from transpec.catalogue import fault
from transpec.reference.optimization import (
    adam,
    adam_direction,
    adamw,
    clip_by_global_norm,
    cosine_schedule,
    linear_schedule,
    loss_scaled_steps,
    noam_schedule,
)

# --- Moments ----------------------------------------------------------------------------------------------------------


class _Moments:
    """Algorithm 1 in pieces, each of which a mistake may replace."""

    def __init__(self, gradients, betas, eps):
        self.gradients, self.betas, self.eps = gradients, betas, eps

    def run(self):
        first = second = torch.zeros_like(self.gradients[0])
        directions = []
        for t, gradient in enumerate(self.gradients.unbind(0), 1):
            first, second = self.first(first, gradient, t), self.second(second, gradient, t)
            directions.append(self.direction(first, second, gradient, t))
        return torch.stack(directions)

    def first(self, moment, gradient, t):
        return self.betas[0] * moment + (1 - self.betas[0]) * gradient

    def second(self, moment, gradient, t):
        return self.betas[1] * moment + (1 - self.betas[1]) * gradient * gradient

    def corrections(self, t):
        return 1 - self.betas[0] ** t, 1 - self.betas[1] ** t

    def direction(self, first, second, gradient, t):
        by_first, by_second = self.corrections(t)
        return first / by_first / (torch.sqrt(second / by_second) + self.eps)


@fault(
    adam_direction, "optimization.adam-bias-uncorrected", breaks="optimization.adam-bias-correction",
    effect="with the usual betas the first steps are three times too large, as in the optimizer of BERT's first release",
)  # fmt: skip
def neither_moment_is_corrected_for_its_zero_start(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def corrections(self, t):
            return 1, 1

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-first-uncorrected", breaks="optimization.adam-bias-correction",
    effect="the first steps are ten times too small: a warm-up that nobody asked for",
)  # fmt: skip
def the_first_moment_is_not_corrected(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def corrections(self, t):
            return 1, 1 - self.betas[1] ** t

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-second-uncorrected", breaks="optimization.adam-bias-correction",
    effect="the first steps are thirty times too large",
)  # fmt: skip
def the_second_moment_is_not_corrected(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def corrections(self, t):
            return 1 - self.betas[0] ** t, 1

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-corrections-exchanged", breaks="optimization.adam-direction-equation",
    effect="each moment is corrected by the other's beta; right after thousands of steps",
)  # fmt: skip
def each_moment_is_corrected_by_the_beta_of_the_other(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def corrections(self, t):
            return 1 - self.betas[1] ** t, 1 - self.betas[0] ** t

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-step-ahead", breaks="optimization.adam-bias-correction",
    effect="the counter is raised twice: the first step is corrected as if it were the second",
)  # fmt: skip
def steps_are_counted_from_two(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def corrections(self, t):
            return super().corrections(t + 1)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-step-behind", breaks="optimization.adam-direction-equation",
    effect="the counter starts at 0, its division by zero is patched, and every later correction is one step late",
)  # fmt: skip
def steps_are_counted_from_zero_and_the_first_is_taken_twice(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def corrections(self, t):
            return super().corrections(max(1, t - 1))

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-step-stands-still", breaks="optimization.adam-direction-equation",
    effect="the counter is never raised: right at the first step, many times too large soon",
)  # fmt: skip
def every_step_is_corrected_as_the_first(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def corrections(self, t):
            return super().corrections(1)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-corrected-once", breaks="optimization.adam-direction-equation",
    effect="right at the first step alone",
)  # fmt: skip
def only_the_first_step_is_corrected(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def corrections(self, t):
            return super().corrections(t) if t == 1 else (1, 1)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-correction-kept", breaks="optimization.adam-direction-equation",
    effect="corrected moments are stored as the state: each step corrects what was corrected before",
)  # fmt: skip
def what_is_kept_is_the_corrected_moment(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def first(self, moment, gradient, t):
            return super().first(moment, gradient, t) / super().corrections(t)[0]

        def second(self, moment, gradient, t):
            return super().second(moment, gradient, t) / super().corrections(t)[1]

        def corrections(self, t):
            return 1, 1

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-correction-beside-the-root", breaks="optimization.adam-direction-equation",
    effect="the second correction is applied to the root and not under it",
)  # fmt: skip
def the_root_is_divided_by_the_correction_and_not_by_its_root(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def direction(self, first, second, gradient, t):
            by_first, by_second = self.corrections(t)
            return first / by_first / (torch.sqrt(second) / by_second + self.eps)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-epsilon-squared-inside", breaks="optimization.adam-epsilon",
    effect="gradients as small as epsilon are divided by less than they should be",
)  # fmt: skip
def the_square_of_epsilon_is_added_inside_the_root(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def direction(self, first, second, gradient, t):
            by_first, by_second = self.corrections(t)
            return first / by_first / torch.sqrt(second / by_second + self.eps**2)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-epsilon-inside", breaks="optimization.adam-epsilon",
    effect="1e-8 becomes 1e-4 where it is added: rare words with small gradients hardly learn",
)  # fmt: skip
def epsilon_is_added_inside_the_root(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def direction(self, first, second, gradient, t):
            by_first, by_second = self.corrections(t)
            return first / by_first / torch.sqrt(second / by_second + self.eps)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-epsilon-hat", breaks="optimization.adam-epsilon",
    effect="an eps of another meaning: at the first steps it counts thirty times as much",
)  # fmt: skip
def epsilon_is_added_to_the_root_of_the_uncorrected_moment(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def direction(self, first, second, gradient, t):
            by_first, by_second = self.corrections(t)
            return first / by_first * math.sqrt(by_second) / (torch.sqrt(second) + self.eps)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-epsilon-ignored", breaks="optimization.adam-epsilon",
    effect="an eps that was raised for stability does nothing",
)  # fmt: skip
def an_eps_of_1e_8_is_taken_whatever_is_given(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients, betas=betas)


@fault(
    adam_direction, "optimization.adam-epsilon-default", breaks="optimization.adam-epsilon",
    effect="the default of another library: small gradients make smaller steps",
)  # fmt: skip
def the_default_eps_is_1e_7(gradients, *, betas=(0.9, 0.999), eps=1e-7):
    return adam_direction(gradients, betas=betas, eps=eps)


@fault(
    adam_direction, "optimization.adam-epsilon-bound", breaks="optimization.adam-epsilon",
    effect="gradients larger than eps do not feel it",
)  # fmt: skip
def the_root_is_at_least_epsilon_and_nothing_is_added(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def direction(self, first, second, gradient, t):
            by_first, by_second = self.corrections(t)
            return first / by_first / torch.sqrt(second / by_second).clamp_min(self.eps)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-betas-exchanged", breaks="optimization.adam-betas",
    effect="a momentum of a thousand steps over a scale of ten",
)  # fmt: skip
def the_betas_are_exchanged(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients, betas=(betas[1], betas[0]), eps=eps)


@fault(
    adam_direction, "optimization.adam-betas-ignored", breaks="optimization.adam-betas",
    effect="a second beta of 0.98, as papers have it, is never used",
)  # fmt: skip
def the_default_betas_are_taken_whatever_is_given(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients, eps=eps)


@fault(
    adam_direction, "optimization.adam-second-beta-default", breaks="optimization.adam-direction-equation",
    effect="the default of a recipe and not of the paper",
)  # fmt: skip
def the_default_second_beta_is_0_98(gradients, *, betas=(0.9, 0.98), eps=1e-8):
    return adam_direction(gradients, betas=betas, eps=eps)


@fault(
    adam_direction, "optimization.adam-one-beta", breaks="optimization.adam-betas",
    effect="both moments forget as fast as the first",
)  # fmt: skip
def both_moments_have_the_first_beta(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients, betas=(betas[0], betas[0]), eps=eps)


@fault(
    adam_direction, "optimization.adam-beta-of-zero", breaks="optimization.adam-betas",
    effect="momentum that was switched off is there",
)  # fmt: skip
def a_first_beta_of_zero_stands_for_the_default(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients, betas=(betas[0] or 0.9, betas[1]), eps=eps)


@fault(
    adam_direction, "optimization.adam-epsilon-of-zero", breaks="optimization.adam-epsilon",
    effect="an eps of 0 is none",
)  # fmt: skip
def an_eps_of_zero_stands_for_a_thousandth(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients, betas=betas, eps=eps or 1e-3)


@fault(
    adam_direction, "optimization.adam-weights-reversed", breaks="optimization.adam-direction-equation",
    effect="the newest gradient has nine tenths of the weight",
)  # fmt: skip
def beta_is_the_weight_of_the_new_gradient(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def first(self, moment, gradient, t):
            return (1 - self.betas[0]) * moment + self.betas[0] * gradient

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-momentum-undamped", breaks="optimization.adam-direction-equation",
    effect="the first moment is a momentum as in gradient descent, ten times too large",
)  # fmt: skip
def the_new_gradient_is_added_whole(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def first(self, moment, gradient, t):
            return self.betas[0] * moment + gradient

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-square-undamped", breaks="optimization.adam-direction-equation",
    effect="the second moment grows to a thousand times its size",
)  # fmt: skip
def the_new_square_is_added_whole(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def second(self, moment, gradient, t):
            return self.betas[1] * moment + gradient * gradient

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-squares-summed", breaks="optimization.adam-direction-equation",
    effect="AdaGrad's sum in Adam's place: steps shrink for ever",
)  # fmt: skip
def squares_are_averaged_over_all_steps_alike(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def second(self, moment, gradient, t):
            return moment + gradient * gradient

        def direction(self, first, second, gradient, t):
            return first / self.corrections(t)[0] / (torch.sqrt(second / t) + self.eps)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-first-missing", breaks="optimization.adam-direction-equation",
    effect="RMSProp: the step has no momentum",
)  # fmt: skip
def the_step_is_along_the_gradient_itself(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients, betas=(0.0, betas[1]), eps=eps)


@fault(
    adam_direction, "optimization.adam-absolute", breaks="optimization.adam-direction-equation",
    effect="a mean of sizes in place of the root of a mean of squares; right where all are of one size",
)  # fmt: skip
def the_second_moment_is_of_absolute_values(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def second(self, moment, gradient, t):
            return self.betas[1] * moment + (1 - self.betas[1]) * gradient.abs()

        def direction(self, first, second, gradient, t):
            by_first, by_second = self.corrections(t)
            return first / by_first / (second / by_second + self.eps)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-largest", breaks="optimization.adam-direction-equation",
    effect="AdaMax: one large gradient keeps steps small for long",
)  # fmt: skip
def the_second_moment_is_the_largest_gradient(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def second(self, moment, gradient, t):
            return torch.maximum(self.betas[1] * moment, gradient.abs())

        def direction(self, first, second, gradient, t):
            return first / self.corrections(t)[0] / (second + self.eps)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-amsgrad", breaks="optimization.adam-direction-equation",
    effect="AMSGrad: steps never grow again after large gradients",
)  # fmt: skip
def the_largest_second_moment_so_far_is_used(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        largest: Any = 0.0

        def direction(self, first, second, gradient, t):
            self.largest = second.clamp_min(self.largest) if t == 1 else torch.maximum(second, self.largest)
            return super().direction(first, self.largest, gradient, t)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-root-missing", breaks="optimization.adam-direction-equation",
    effect="small gradients make huge steps",
)  # fmt: skip
def the_root_of_the_second_moment_is_missing(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def direction(self, first, second, gradient, t):
            by_first, by_second = self.corrections(t)
            return first / by_first / (second / by_second + self.eps)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-variance", breaks="optimization.adam-direction-equation",
    effect="AdaBelief: constant gradients make ever larger steps",
)  # fmt: skip
def the_second_moment_is_of_the_distance_from_the_first(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def first(self, moment, gradient, t):
            self.mean = super().first(moment, gradient, t)
            return self.mean

        def second(self, moment, gradient, t):
            away = gradient - self.mean
            return self.betas[1] * moment + (1 - self.betas[1]) * away * away

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-nesterov", breaks="optimization.adam-direction-equation",
    effect="NAdam: every step looks one ahead",
)  # fmt: skip
def the_gradient_is_mixed_in_once_more(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def direction(self, first, second, gradient, t):
            return super().direction(self.first(first, gradient, t), second, gradient, t)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-first-stale", breaks="optimization.adam-direction-equation",
    effect="a step uses the mean that was there before its gradient: the first goes nowhere",
)  # fmt: skip
def the_first_moment_is_used_before_it_is_updated(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        before = None

        def direction(self, first, second, gradient, t):
            stale = torch.zeros_like(first) if self.before is None else self.before
            self.before = first
            return super().direction(stale, second, gradient, t)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-one-scale", breaks="optimization.adam-entries",
    effect="one second moment for the whole parameter: large gradients set the steps of small ones",
)  # fmt: skip
def the_second_moment_is_a_mean_over_the_parameter(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def second(self, moment, gradient, t):
            square = (gradient * gradient).mean().expand(gradient.shape)
            return self.betas[1] * moment + (1 - self.betas[1]) * square

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-state-in-bfloat16", breaks="optimization.adam-direction-equation",
    effect="a second moment of three digits forgets: 0.999 of it is rounded back to it",
)  # fmt: skip
def the_state_is_kept_in_bfloat16(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def second(self, moment, gradient, t):
            return super().second(moment, gradient, t).to(torch.bfloat16).to(gradient.dtype)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-lazy", breaks="optimization.adam-direction-equation",
    effect="entries without a gradient keep their moments: embeddings of words that are not in the batch stand still",
)  # fmt: skip
def an_entry_whose_gradient_is_zero_is_left_out(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def first(self, moment, gradient, t):
            return torch.where(gradient == 0, moment, super().first(moment, gradient, t))

        def second(self, moment, gradient, t):
            return torch.where(gradient == 0, moment, super().second(moment, gradient, t))

        def direction(self, first, second, gradient, t):
            return super().direction(first, second, gradient, t) * (gradient != 0)

    return Wrong(gradients, betas, eps).run()


@fault(
    adam_direction, "optimization.adam-gradients-accumulated", breaks="optimization.adam-direction-equation",
    effect="gradients are not set to zero between steps and add up",
)  # fmt: skip
def every_gradient_is_added_to_those_before_it(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients.cumsum(0), betas=betas, eps=eps)


@fault(
    adam_direction, "optimization.adam-gradients-clipped", breaks="optimization.adam-scale-of-gradients",
    effect="a bound of 1 that nobody asked for",
)  # fmt: skip
def gradients_are_clamped_to_one(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return adam_direction(gradients.clamp(-1, 1), betas=betas, eps=eps)


@fault(
    adam_direction, "optimization.adam-state-between-calls", breaks="optimization.no-memory",
    effect="moments of one model start the next",
)  # fmt: skip
def moments_are_kept_between_calls(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    class Wrong(_Moments):
        def first(self, moment, gradient, t):
            key = (gradient.shape, gradient.dtype)
            _kept[key] = super().first(_kept.get(key, moment) if t == 1 else moment, gradient, t).detach().clone()
            return _kept[key]

    return Wrong(gradients, betas, eps).run()


_kept: dict[object, torch.Tensor] = {}


@fault(
    adam_direction, "optimization.adam-gradients-overwritten", breaks="optimization.inputs-untouched",
    effect="gradients that were given are replaced by their steps",
)  # fmt: skip
def directions_are_written_over_the_gradients(gradients, *, betas=(0.9, 0.999), eps=1e-8):
    return gradients.copy_(adam_direction(gradients, betas=betas, eps=eps))


# --- Adam -------------------------------------------------------------------------------------------------------------


def _rated(learning_rates, gradients):
    return learning_rates.view(-1, *[1] * (gradients.dim() - 1))


@fault(
    adam, "optimization.adam-uphill", breaks="optimization.adam-equation",
    effect="the loss is maximized",
)  # fmt: skip
def steps_go_along_the_gradient_and_not_against_it(parameter, gradients, learning_rates, **options):
    return adam(parameter, -gradients, learning_rates, **options)


@fault(
    adam, "optimization.adam-first-rate-for-all", breaks="optimization.adam-learning-rates",
    effect="a schedule is set up and never asked again",
)  # fmt: skip
def all_steps_have_the_rate_of_the_first(parameter, gradients, learning_rates, **options):
    return adam(parameter, gradients, learning_rates[:1].expand(learning_rates.shape), **options)


@fault(
    adam, "optimization.adam-rate-of-the-step-before", breaks="optimization.adam-learning-rates",
    effect="the first two steps share a rate, and all later ones lag behind",
)  # fmt: skip
def every_step_has_the_rate_of_the_one_before(parameter, gradients, learning_rates, **options):
    rates = torch.cat([learning_rates[:1], learning_rates[:-1]])
    return adam(parameter, gradients, rates, **options)


@fault(
    adam, "optimization.adam-rate-of-the-next-step", breaks="optimization.adam-learning-rates",
    seen="ThilinaRajapakse/pytorch-transformers-classification#21", effect="the schedule is advanced before the step",
)  # fmt: skip
def every_step_has_the_rate_of_the_next(parameter, gradients, learning_rates, **options):
    return adam(parameter, gradients, torch.cat([learning_rates[1:], learning_rates[-1:]]), **options)


@fault(
    adam, "optimization.adam-rate-in-the-gradient", breaks="optimization.adam-equation",
    effect="Adam divides the rate away again: it has no influence",
)  # fmt: skip
def the_rate_multiplies_the_gradients_and_not_the_steps(parameter, gradients, learning_rates, **options):
    ones = torch.ones_like(learning_rates)
    return adam(parameter, gradients * _rated(learning_rates, gradients), ones, **options)


@fault(
    adam, "optimization.adam-before-the-step", breaks="optimization.adam-equation",
    effect="what is saved after a step is the parameter before it",
)  # fmt: skip
def the_result_of_a_step_is_the_parameter_before_it(parameter, gradients, learning_rates, **options):
    return torch.cat([parameter.unsqueeze(0), adam(parameter, gradients, learning_rates, **options)[:-1]])


@fault(
    adam, "optimization.adam-not-accumulated", breaks="optimization.adam-equation",
    effect="every step starts from the first parameter",
)  # fmt: skip
def every_step_starts_from_the_parameter_that_was_given(parameter, gradients, learning_rates, **options):
    return parameter - _rated(learning_rates, gradients) * adam_direction(gradients, **options)


@fault(
    adam, "optimization.adam-aliased", breaks="optimization.adam-equation",
    effect="one buffer is appended to a list again and again: all steps read as the last",
)  # fmt: skip
def all_steps_are_one_tensor_with_the_last(parameter, gradients, learning_rates, **options):
    steps = adam(parameter, gradients, learning_rates, **options)
    return steps[-1:].expand(steps.shape)


@fault(
    adam, "optimization.adam-parameter-overwritten", breaks="optimization.inputs-untouched",
    effect="the caller's parameter is stepped in place",
)  # fmt: skip
def the_parameter_is_stepped_in_place(parameter, gradients, learning_rates, **options):
    steps = adam(parameter, gradients, learning_rates, **options)
    parameter.copy_(steps[-1])
    return steps


# --- AdamW ------------------------------------------------------------------------------------------------------------


@fault(
    adamw, "optimization.adamw-l2", breaks="optimization.adamw-equation",
    effect="Adam with L2 regularization: weights with large gradients hardly decay",
)  # fmt: skip
def the_decay_is_added_to_the_gradients(
    parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8
):
    theta, steps, given = parameter, [], []
    for n, gradient in enumerate(gradients.unbind(0)):
        given.append(gradient + weight_decay * theta)
        direction = adam_direction(torch.stack(given), betas=betas, eps=eps)[-1]
        theta = theta - learning_rates[n] * direction
        steps.append(theta)
    return torch.stack(steps)


def _decayed(parameter, gradients, rates, betas, eps, decay):
    """AdamW, `decay` being what it subtracts besides, of the parameter, the step's place and its rate."""
    steps = []
    directions = adam_direction(gradients, betas=betas, eps=eps)
    for n, (rate, direction) in enumerate(zip(rates.unbind(0), directions.unbind(0), strict=True)):
        parameter = parameter - rate * direction - decay(parameter, n, rate)
        steps.append(parameter)
    return torch.stack(steps)


@fault(
    adamw, "optimization.adamw-decay-without-rate", breaks="optimization.adamw-decay-alone",
    effect="decay of 0.01 at every step, a thousand times too much, and none of the schedule",
)  # fmt: skip
def the_decay_is_not_multiplied_by_the_rate(
    parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8
):
    return _decayed(parameter, gradients, learning_rates, betas, eps, lambda theta, n, rate: weight_decay * theta)


@fault(
    adamw, "optimization.adamw-decay-by-first-rate", breaks="optimization.adamw-decay-alone",
    effect="decay does not follow the schedule",
)  # fmt: skip
def the_decay_has_the_rate_of_the_first_step(
    parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8
):
    return _decayed(
        parameter, gradients, learning_rates, betas, eps, lambda theta, n, rate: learning_rates[0] * weight_decay * theta
    )  # fmt: skip


@fault(
    adamw, "optimization.adamw-decay-by-rate-twice", breaks="optimization.adamw-decay-alone",
    effect="nearly no decay at small rates",
)  # fmt: skip
def the_decay_is_multiplied_by_the_rate_twice(
    parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8
):
    return _decayed(
        parameter, gradients, learning_rates, betas, eps, lambda theta, n, rate: rate * rate * weight_decay * theta
    )  # fmt: skip


@fault(
    adamw, "optimization.adamw-decay-doubled", breaks="optimization.adamw-decay-alone",
    effect="the derivative of lambda |theta|^2 in place of half of it",
)  # fmt: skip
def the_decay_is_twice_as_large(parameter, gradients, learning_rates, *, weight_decay, **options):
    return adamw(parameter, gradients, learning_rates, weight_decay=2 * weight_decay, **options)


@fault(
    adamw, "optimization.adamw-growth", breaks="optimization.adamw-decay-alone",
    effect="parameters grow exponentially",
)  # fmt: skip
def the_decay_is_added(parameter, gradients, learning_rates, *, weight_decay, **options):
    return adamw(parameter, gradients, learning_rates, weight_decay=-weight_decay, **options)


@fault(
    adamw, "optimization.adamw-decay-ignored", breaks="optimization.adamw-decay-alone",
    effect="AdamW by name, Adam by deed",
)  # fmt: skip
def there_is_no_decay(parameter, gradients, learning_rates, *, weight_decay, **options):
    return adamw(parameter, gradients, learning_rates, weight_decay=0.0, **options)


@fault(
    adamw, "optimization.adamw-decay-default", breaks="optimization.adamw-without-decay",
    effect="decay that was switched off is there",
)  # fmt: skip
def a_decay_of_zero_stands_for_the_default(parameter, gradients, learning_rates, *, weight_decay, **options):
    return adamw(parameter, gradients, learning_rates, weight_decay=weight_decay or 0.01, **options)


@fault(
    adamw, "optimization.adamw-decay-after-the-step", breaks="optimization.adamw-decay",
    effect="what decays is the parameter after the step; a difference of the second order in the rate",
)  # fmt: skip
def the_decay_is_of_the_updated_parameter(
    parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8
):
    steps = []
    directions = adam_direction(gradients, betas=betas, eps=eps)
    for rate, direction in zip(learning_rates.unbind(0), directions.unbind(0), strict=True):
        parameter = (parameter - rate * direction) * (1 - rate * weight_decay)
        steps.append(parameter)
    return torch.stack(steps)


@fault(
    adamw, "optimization.adamw-decay-of-the-start", breaks="optimization.adamw-decay-alone",
    effect="every step subtracts a share of the first parameter, past zero and on",
)  # fmt: skip
def what_decays_is_the_parameter_that_was_given(
    parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8
):
    return _decayed(
        parameter, gradients, learning_rates, betas, eps, lambda theta, n, rate: rate * weight_decay * parameter
    )  # fmt: skip


@fault(
    adamw, "optimization.adamw-decay-absolute", breaks="optimization.adamw-decay-alone",
    effect="an L1 decay: small weights are overshot",
)  # fmt: skip
def the_decay_is_of_the_sign(parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8):
    return _decayed(
        parameter, gradients, learning_rates, betas, eps, lambda theta, n, rate: rate * weight_decay * torch.sign(theta)
    )  # fmt: skip


@fault(
    adamw, "optimization.adamw-decay-of-matrices", breaks="optimization.adamw-decay-alone",
    effect="what is meant for norms and biases is decided by the number of axes: a vector does not decay",
)  # fmt: skip
def parameters_of_one_axis_do_not_decay(parameter, gradients, learning_rates, *, weight_decay, **options):
    kept = weight_decay if gradients.dim() > 2 else 0.0
    return adamw(parameter, gradients, learning_rates, weight_decay=kept, **options)


@fault(
    adamw, "optimization.adamw-decay-with-gradient", breaks="optimization.adamw-equation",
    effect="words that are not in the batch do not decay",
)  # fmt: skip
def entries_whose_gradient_is_zero_do_not_decay(
    parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8
):
    return _decayed(
        parameter, gradients, learning_rates, betas, eps,
        lambda theta, n, rate: rate * weight_decay * theta * (gradients[n] != 0),
    )  # fmt: skip


@fault(
    adamw, "optimization.adamw-first-rate-for-all", breaks="optimization.adam-learning-rates",
    effect="a schedule is set up and never asked again",
)  # fmt: skip
def all_steps_of_adamw_have_the_rate_of_the_first(parameter, gradients, learning_rates, **options):
    return adamw(parameter, gradients, learning_rates[:1].expand(learning_rates.shape), **options)


@fault(
    adamw, "optimization.adamw-rate-of-the-step-before", breaks="optimization.adam-learning-rates",
    effect="the first two steps share a rate, and all later ones lag behind",
)  # fmt: skip
def every_step_of_adamw_has_the_rate_of_the_one_before(parameter, gradients, learning_rates, **options):
    return adamw(parameter, gradients, torch.cat([learning_rates[:1], learning_rates[:-1]]), **options)


@fault(
    adamw, "optimization.adamw-uphill", breaks="optimization.adamw-equation",
    effect="the loss is maximized, slowed down by the decay",
)  # fmt: skip
def steps_of_adamw_go_along_the_gradient(parameter, gradients, learning_rates, **options):
    return adamw(parameter, -gradients, learning_rates, **options)


# --- Schedules --------------------------------------------------------------------------------------------------------


@fault(
    noam_schedule, "optimization.noam-max", breaks="optimization.noam-equation",
    effect="the first step has the rate of a million steps of warm-up",
)  # fmt: skip
def the_larger_of_the_two_is_taken(steps, *, d_model, warmup_steps, dtype):
    step = steps.to(torch.float64)
    return (d_model**-0.5 * torch.maximum(step**-0.5, step * warmup_steps**-1.5)).to(dtype)


@fault(
    noam_schedule, "optimization.noam-width-missing", breaks="optimization.noam-warm-up",
    effect="rates are 22 times too large for the base model",
)  # fmt: skip
def the_width_of_the_model_is_left_out(steps, *, d_model, warmup_steps, dtype):
    return noam_schedule(steps, d_model=1, warmup_steps=warmup_steps, dtype=dtype)


@fault(
    noam_schedule, "optimization.noam-width-not-inverse", breaks="optimization.noam-warm-up",
    effect="wider models take larger steps",
)  # fmt: skip
def the_rate_grows_with_the_root_of_the_width(steps, *, d_model, warmup_steps, dtype):
    return d_model * noam_schedule(steps, d_model=d_model, warmup_steps=warmup_steps, dtype=dtype)


@fault(
    noam_schedule, "optimization.noam-width-without-root", breaks="optimization.noam-warm-up",
    effect="rates are 22 times too small for the base model",
)  # fmt: skip
def the_rate_is_divided_by_the_width_and_not_by_its_root(steps, *, d_model, warmup_steps, dtype):
    return noam_schedule(steps, d_model=d_model**2, warmup_steps=warmup_steps, dtype=dtype)


@fault(
    noam_schedule, "optimization.noam-rescaled", breaks="optimization.noam-warm-up",
    effect="the curve is scaled to a highest rate of 1",
)  # fmt: skip
def the_highest_rate_is_one(steps, *, d_model, warmup_steps, dtype):
    rate = noam_schedule(steps, d_model=d_model, warmup_steps=warmup_steps, dtype=dtype)
    return rate * (d_model * warmup_steps) ** 0.5


@fault(
    noam_schedule, "optimization.noam-step-ahead", breaks="optimization.noam-warm-up",
    effect="steps that are counted from 1 are taken to be counted from 0",
)  # fmt: skip
def the_warm_up_is_one_step_ahead(steps, *, d_model, warmup_steps, dtype):
    return noam_schedule(steps + 1, d_model=d_model, warmup_steps=warmup_steps, dtype=dtype)


@fault(
    noam_schedule, "optimization.noam-step-behind", breaks="optimization.noam-warm-up",
    seen="tugstugi/pytorch-saltnet#7", effect="the first two steps share a rate",
)  # fmt: skip
def the_warm_up_is_one_step_behind(steps, *, d_model, warmup_steps, dtype):
    return noam_schedule((steps - 1).clamp_min(1), d_model=d_model, warmup_steps=warmup_steps, dtype=dtype)


@fault(
    noam_schedule, "optimization.noam-warm-up-longer", breaks="optimization.noam-warm-up",
    effect="the highest rate comes a step late",
)  # fmt: skip
def the_warm_up_takes_one_step_more(steps, *, d_model, warmup_steps, dtype):
    return noam_schedule(steps, d_model=d_model, warmup_steps=warmup_steps + 1, dtype=dtype)


@fault(
    noam_schedule, "optimization.noam-warm-up-ignored", breaks="optimization.noam-warm-up",
    effect="4000 steps whatever is configured",
)  # fmt: skip
def the_warm_up_takes_4000_steps_whatever_is_given(steps, *, d_model, warmup_steps, dtype):
    return noam_schedule(steps, d_model=d_model, warmup_steps=4000, dtype=dtype)


@fault(
    noam_schedule, "optimization.noam-for-ever", breaks="optimization.noam-equation",
    effect="the rate rises for ever",
)  # fmt: skip
def the_warm_up_never_ends(steps, *, d_model, warmup_steps, dtype):
    return (d_model**-0.5 * steps.to(torch.float64) * warmup_steps**-1.5).to(dtype)


@fault(
    noam_schedule, "optimization.noam-without-warm-up", breaks="optimization.noam-equation",
    effect="training diverges at the first steps",
)  # fmt: skip
def there_is_no_warm_up(steps, *, d_model, warmup_steps, dtype):
    return (d_model**-0.5 * steps.to(torch.float64) ** -0.5).to(dtype)


@fault(
    noam_schedule, "optimization.noam-without-decay", breaks="optimization.noam-equation",
    effect="the highest rate is kept",
)  # fmt: skip
def the_rate_stays_after_the_warm_up(steps, *, d_model, warmup_steps, dtype):
    return noam_schedule(steps.clamp_max(warmup_steps), d_model=d_model, warmup_steps=warmup_steps, dtype=dtype)


@fault(
    noam_schedule, "optimization.noam-decay-from-the-peak", breaks="optimization.noam-equation",
    effect="the decay counts its steps from the end of the warm-up",
)  # fmt: skip
def the_decay_counts_from_the_end_of_the_warm_up(steps, *, d_model, warmup_steps, dtype):
    rate = noam_schedule(steps, d_model=d_model, warmup_steps=warmup_steps, dtype=dtype)
    since = (steps.to(torch.float64) - warmup_steps + 1).clamp_min(1)
    later = ((d_model * warmup_steps) ** -0.5 * since**-0.5).to(dtype)
    return torch.where(steps > warmup_steps, later, rate)


@fault(
    noam_schedule, "optimization.noam-exponential", breaks="optimization.noam-equation",
    seen="tensorflow/tensor2tensor#555", effect="the warm-up rises exponentially",
)  # fmt: skip
def the_warm_up_is_exponential(steps, *, d_model, warmup_steps, dtype):
    step = steps.to(torch.float64)
    rising = (d_model * warmup_steps) ** -0.5 * torch.exp(math.log(0.01) * (1 - step / warmup_steps))
    rate = noam_schedule(steps, d_model=d_model, warmup_steps=warmup_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rising.to(dtype), rate)


@fault(
    linear_schedule, "optimization.linear-from-one", breaks="optimization.warm-up",
    effect="the first step has a rate, and the highest comes a step early",
)  # fmt: skip
def the_linear_warm_up_is_one_step_ahead(steps, *, peak, warmup_steps, total_steps, dtype):
    warming = (peak * (steps.to(torch.float64) + 1) / max(1, warmup_steps)).to(dtype)
    rate = linear_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, warming, rate)


@fault(
    linear_schedule, "optimization.linear-step-behind", breaks="optimization.warm-up",
    effect="the first two steps have no rate, and the end is never reached",
)  # fmt: skip
def the_linear_schedule_is_one_step_behind(steps, *, peak, warmup_steps, total_steps, dtype):
    behind = (steps - 1).clamp_min(0)
    return linear_schedule(behind, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)


@fault(
    linear_schedule, "optimization.linear-without-warm-up", breaks="optimization.warm-up",
    effect="the first step has the highest rate",
)  # fmt: skip
def the_linear_schedule_has_no_warm_up(steps, *, peak, warmup_steps, total_steps, dtype):
    return linear_schedule(steps, peak=peak, warmup_steps=0, total_steps=total_steps, dtype=dtype)


@fault(
    linear_schedule, "optimization.linear-decay-from-the-start", breaks="optimization.linear-equation",
    effect="the decay has begun before the warm-up ends: the rate falls at its end by a step",
)  # fmt: skip
def the_linear_decay_counts_from_step_zero(steps, *, peak, warmup_steps, total_steps, dtype):
    rate = linear_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    whole = linear_schedule(steps, peak=peak, warmup_steps=0, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, whole)


@fault(
    linear_schedule, "optimization.linear-product", breaks="optimization.linear-equation",
    effect="warm-up and decay are multiplied: the peak is never reached",
)  # fmt: skip
def the_linear_warm_up_decays_already(steps, *, peak, warmup_steps, total_steps, dtype):
    rate = linear_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    whole = linear_schedule(steps, peak=1.0, warmup_steps=0, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate * whole, peak * whole)


@fault(
    linear_schedule, "optimization.linear-total-after-the-warm-up", breaks="optimization.linear-equation",
    effect="training ends before the rate is 0",
)  # fmt: skip
def the_total_does_not_include_the_warm_up(steps, *, peak, warmup_steps, total_steps, dtype):
    return linear_schedule(
        steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps + warmup_steps, dtype=dtype
    )


@fault(
    linear_schedule, "optimization.linear-negative", breaks="optimization.linear-after-the-end",
    effect="who trains on climbs the loss",
)  # fmt: skip
def the_linear_rate_is_negative_after_the_end(steps, *, peak, warmup_steps, total_steps, dtype):
    step = steps.to(torch.float64)
    falling = peak * (total_steps - step) / (total_steps - warmup_steps)
    rate = linear_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, falling.to(dtype))


@fault(
    linear_schedule, "optimization.linear-without-decay", breaks="optimization.linear-equation",
    seen="facebookresearch/ParlAI#4384", effect="the rate stays at its peak",
)  # fmt: skip
def the_linear_rate_stays_after_the_warm_up(steps, *, peak, warmup_steps, total_steps, dtype):
    before = steps.clamp_max(warmup_steps)
    return linear_schedule(before, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)


@fault(
    linear_schedule, "optimization.linear-square", breaks="optimization.linear-equation",
    effect="the rate falls early, as with a power of two",
)  # fmt: skip
def the_linear_decay_is_squared(steps, *, peak, warmup_steps, total_steps, dtype):
    rate = linear_schedule(steps, peak=1.0, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return peak * torch.where(steps < warmup_steps, rate, rate * rate)


@fault(
    linear_schedule, "optimization.linear-to-a-tenth", breaks="optimization.linear-equation",
    effect="the rate ends at a tenth of its peak",
)  # fmt: skip
def the_linear_rate_does_not_fall_below_a_tenth(steps, *, peak, warmup_steps, total_steps, dtype):
    rate = linear_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, rate.clamp_min(peak / 10))


@fault(
    linear_schedule, "optimization.linear-last-step-early", breaks="optimization.linear-equation",
    effect="the rate is 0 a step early: the last step is wasted",
)  # fmt: skip
def the_linear_rate_ends_one_step_early(steps, *, peak, warmup_steps, total_steps, dtype):
    total = max(total_steps - 1, warmup_steps + 1)
    return linear_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total, dtype=dtype)


@fault(
    linear_schedule, "optimization.linear-whole-division", breaks="optimization.linear-equation",
    effect="whole numbers are divided: no rate but 0 and the peak",
)  # fmt: skip
def the_linear_shares_are_whole_numbers(steps, *, peak, warmup_steps, total_steps, dtype):
    rate = linear_schedule(steps, peak=1.0, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return peak * torch.floor(rate)


@fault(
    linear_schedule, "optimization.linear-peak-ignored", breaks="optimization.linear-equation",
    effect="the share is returned in place of the rate",
)  # fmt: skip
def the_linear_peak_is_one(steps, *, peak, warmup_steps, total_steps, dtype):
    return linear_schedule(steps, peak=1.0, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)


@fault(
    cosine_schedule, "optimization.cosine-from-one", breaks="optimization.warm-up",
    effect="the first step has a rate, and the highest comes a step early",
)  # fmt: skip
def the_cosines_warm_up_is_one_step_ahead(steps, *, peak, warmup_steps, total_steps, dtype):
    warming = (peak * (steps.to(torch.float64) + 1) / max(1, warmup_steps)).to(dtype)
    rate = cosine_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, warming, rate)


@fault(
    cosine_schedule, "optimization.cosine-without-warm-up", breaks="optimization.warm-up",
    effect="the first step has the highest rate",
)  # fmt: skip
def the_cosine_has_no_warm_up(steps, *, peak, warmup_steps, total_steps, dtype):
    return cosine_schedule(steps, peak=peak, warmup_steps=0, total_steps=total_steps, dtype=dtype)


@fault(
    cosine_schedule, "optimization.cosine-from-the-start", breaks="optimization.cosine-equation",
    effect="the cosine has begun before the warm-up ends: the rate falls at its end by a step",
)  # fmt: skip
def the_cosine_counts_from_step_zero(steps, *, peak, warmup_steps, total_steps, dtype):
    rate = cosine_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    whole = cosine_schedule(steps, peak=peak, warmup_steps=0, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, whole)


@fault(
    cosine_schedule, "optimization.cosine-whole-period", breaks="optimization.cosine-equation",
    effect="the rate is back at its peak at the end",
)  # fmt: skip
def the_cosine_has_a_whole_period(steps, *, peak, warmup_steps, total_steps, dtype):
    passed = (steps.to(torch.float64) - warmup_steps) / (total_steps - warmup_steps)
    falling = (peak * 0.5 * (1 + torch.cos(2 * math.pi * passed.clamp_max(1)))).to(dtype)
    rate = cosine_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, falling)


@fault(
    cosine_schedule, "optimization.cosine-quarter", breaks="optimization.cosine-equation",
    effect="a quarter of the period: the rate ends in a steep fall",
)  # fmt: skip
def the_cosine_has_a_quarter_of_a_period(steps, *, peak, warmup_steps, total_steps, dtype):
    passed = (steps.to(torch.float64) - warmup_steps) / (total_steps - warmup_steps)
    falling = (peak * torch.cos(0.5 * math.pi * passed.clamp_max(1))).to(dtype)
    rate = cosine_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, falling)


@fault(
    cosine_schedule, "optimization.cosine-half-missing", breaks="optimization.cosine-equation",
    effect="the rate jumps to twice its peak where the warm-up ends",
)  # fmt: skip
def the_cosine_is_not_halved(steps, *, peak, warmup_steps, total_steps, dtype):
    rate = cosine_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, 2 * rate)


@fault(
    cosine_schedule, "optimization.cosine-linear", breaks="optimization.cosine-equation",
    effect="a linear decay under the cosine's name",
)  # fmt: skip
def the_decay_is_linear(steps, *, peak, warmup_steps, total_steps, dtype):
    return linear_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)


@fault(
    cosine_schedule, "optimization.cosine-rises", breaks="optimization.cosine-after-the-end",
    effect="who trains on comes back to the peak",
)  # fmt: skip
def the_cosine_rises_again_after_the_end(steps, *, peak, warmup_steps, total_steps, dtype):
    passed = (steps.to(torch.float64) - warmup_steps) / (total_steps - warmup_steps)
    falling = (peak * 0.5 * (1 + torch.cos(math.pi * passed))).to(dtype)
    rate = cosine_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, falling)


@fault(
    cosine_schedule, "optimization.cosine-total-after-the-warm-up", breaks="optimization.cosine-equation",
    effect="training ends before the rate is 0",
)  # fmt: skip
def the_cosines_total_does_not_include_the_warm_up(steps, *, peak, warmup_steps, total_steps, dtype):
    return cosine_schedule(
        steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps + warmup_steps, dtype=dtype
    )


@fault(
    cosine_schedule, "optimization.cosine-to-a-tenth", breaks="optimization.cosine-equation",
    effect="the rate ends at a tenth of its peak",
)  # fmt: skip
def the_cosine_falls_to_a_tenth(steps, *, peak, warmup_steps, total_steps, dtype):
    rate = cosine_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total_steps, dtype=dtype)
    return torch.where(steps < warmup_steps, rate, 0.1 * peak + 0.9 * rate)


@fault(
    cosine_schedule, "optimization.cosine-half-open", breaks="optimization.cosine-equation",
    effect="the rate ends a step early",
)  # fmt: skip
def the_cosine_ends_one_step_early(steps, *, peak, warmup_steps, total_steps, dtype):
    total = max(total_steps - 1, warmup_steps + 1)
    return cosine_schedule(steps, peak=peak, warmup_steps=warmup_steps, total_steps=total, dtype=dtype)


# --- Clipping ---------------------------------------------------------------------------------------------------------


def _flat(*gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def _norm(gradient):
    return torch.sqrt((gradient * gradient).sum())


@fault(
    clip_by_global_norm, "optimization.clipping-per-tensor", breaks="optimization.clipping-direction",
    effect="every parameter has a bound of its own: the direction changes, and the whole is larger than the bound",
)  # fmt: skip
def every_tensor_is_clipped_by_its_own_norm(first, second, third, *, max_norm):
    none = first.new_zeros(0)
    return _flat(*(clip_by_global_norm(each, none, none, max_norm=max_norm) for each in (first, second, third)))


@fault(
    clip_by_global_norm, "optimization.clipping-by-value", breaks="optimization.clipping-direction",
    effect="entries are clamped one by one: the direction changes",
)  # fmt: skip
def every_entry_is_clamped_to_the_norm(first, second, third, *, max_norm):
    return _flat(first, second, third).clamp(-max_norm, max_norm)


@fault(
    clip_by_global_norm, "optimization.clipping-sum-of-norms", breaks="optimization.clipping-equation",
    effect="norms are added and not their squares: everything is clipped too much",
)  # fmt: skip
def the_norms_of_all_tensors_are_added(first, second, third, *, max_norm):
    total = sum(_norm(each) for each in (first, second, third))
    return _flat(first, second, third) * (max_norm / total).clamp_max(1.0)


@fault(
    clip_by_global_norm, "optimization.clipping-scales-up", breaks="optimization.clipping-below-the-norm",
    effect="small gradients are made as large as the bound: training never settles",
)  # fmt: skip
def gradients_below_the_norm_are_scaled_up_to_it(first, second, third, *, max_norm):
    gradient = _flat(first, second, third)
    return gradient * (max_norm / _norm(gradient).clamp_min(1e-30))


@fault(
    clip_by_global_norm, "optimization.clipping-of-zeros", breaks="optimization.clipping-below-the-norm",
    effect="0 / 0: one batch without a loss makes every weight NaN",
)  # fmt: skip
def zeros_are_divided_by_their_norm(first, second, third, *, max_norm):
    gradient = _flat(first, second, third)
    norm = _norm(gradient)
    return gradient / norm * torch.minimum(norm, torch.full_like(norm, max_norm))


@fault(
    clip_by_global_norm, "optimization.clipping-missing", breaks="optimization.clipping-equation",
    effect="the norm is computed and logged, and nothing is clipped",
)  # fmt: skip
def nothing_is_clipped(first, second, third, *, max_norm):
    return _flat(first, second, third)


@fault(
    clip_by_global_norm, "optimization.clipping-to-one", breaks="optimization.clipping-equation",
    effect="1 is the bound whatever is configured",
)  # fmt: skip
def the_norm_is_one_whatever_is_given(first, second, third, *, max_norm):
    return clip_by_global_norm(first, second, third, max_norm=1.0)


@fault(
    clip_by_global_norm, "optimization.clipping-unit", breaks="optimization.clipping-equation",
    effect="what is clipped gets the norm 1 and not the bound",
)  # fmt: skip
def what_is_clipped_has_the_norm_one(first, second, third, *, max_norm):
    gradient = _flat(first, second, third)
    norm = _norm(gradient)
    return torch.where(norm > max_norm, gradient / norm, gradient)


@fault(
    clip_by_global_norm, "optimization.clipping-root-missing", breaks="optimization.clipping-equation",
    effect="the bound is compared with the square of the norm",
)  # fmt: skip
def the_norm_is_squared(first, second, third, *, max_norm):
    gradient = _flat(first, second, third)
    return gradient * (max_norm / (gradient * gradient).sum()).clamp_max(1.0)


@fault(
    clip_by_global_norm, "optimization.clipping-by-root-mean-square", breaks="optimization.clipping-equation",
    effect="a mean in place of a sum: large models are never clipped",
)  # fmt: skip
def the_norm_is_the_root_of_a_mean(first, second, third, *, max_norm):
    gradient = _flat(first, second, third)
    return gradient * (max_norm / torch.sqrt((gradient * gradient).mean())).clamp_max(1.0)


@fault(
    clip_by_global_norm, "optimization.clipping-by-largest", breaks="optimization.clipping-equation",
    effect="the largest entry is bounded, and the norm is far above the bound",
)  # fmt: skip
def the_norm_is_the_largest_entry(first, second, third, *, max_norm):
    gradient = _flat(first, second, third)
    return gradient * (max_norm / gradient.abs().amax()).clamp_max(1.0)


@fault(
    clip_by_global_norm, "optimization.clipping-by-sum", breaks="optimization.clipping-equation",
    effect="the sum of absolute values is far above the norm: everything is clipped too much",
)  # fmt: skip
def the_norm_is_the_sum_of_absolute_values(first, second, third, *, max_norm):
    gradient = _flat(first, second, third)
    return gradient * (max_norm / gradient.abs().sum()).clamp_max(1.0)


@fault(
    clip_by_global_norm, "optimization.clipping-first-tensor", breaks="optimization.clipping-order",
    effect="an iterator is used up by the norm: what is measured is the first parameter alone",
)  # fmt: skip
def the_norm_is_that_of_the_first_tensor(first, second, third, *, max_norm):
    return _flat(first, second, third) * (max_norm / _norm(first)).clamp_max(1.0)


@fault(
    clip_by_global_norm, "optimization.clipping-without-last", breaks="optimization.clipping-order",
    effect="the last group of parameters is forgotten",
)  # fmt: skip
def the_last_tensor_is_not_clipped(first, second, third, *, max_norm):
    clipped = clip_by_global_norm(first, second, third, max_norm=max_norm)
    kept = clipped.numel() - third.numel()
    return torch.cat([clipped[:kept], third.flatten()])


@fault(
    clip_by_global_norm, "optimization.clipping-epsilon-of-a-millionth", breaks="optimization.clipping-epsilon",
    effect="gradients of the size of a millionth are halved",
)  # fmt: skip
def a_millionth_is_added_to_the_norm(first, second, third, *, max_norm):
    gradient = _flat(first, second, third)
    return gradient * (max_norm / (_norm(gradient) + 1e-6)).clamp_max(1.0)


@fault(
    clip_by_global_norm, "optimization.clipping-in-place", breaks="optimization.inputs-untouched",
    effect="gradients that another consumer still reads are clipped too",
)  # fmt: skip
def the_gradients_are_clipped_in_place(first, second, third, *, max_norm):
    clipped = clip_by_global_norm(first, second, third, max_norm=max_norm)
    first.copy_(clipped[: first.numel()].view(first.shape))
    return clipped


# --- Loss scaling -----------------------------------------------------------------------------------------------------


class _Scaled:
    """Steps under a loss scale in pieces, each of which a mistake may replace."""

    def __init__(
        self, parameter, gradients, *, lr, initial_scale, growth_factor=2.0, backoff_factor=0.5, growth_interval,
        max_norm=None,
    ):  # fmt: skip
        self.parameter, self.gradients, self.lr, self.max_norm = parameter, gradients, lr, max_norm
        self.initial, self.interval = initial_scale, growth_interval
        self.growth, self.backoff = growth_factor, backoff_factor

    def run(self):
        theta, rows = self.parameter, []
        scale, count = theta.new_full((), self.initial), torch.zeros((), dtype=torch.int64)
        for gradient in self.gradients.unbind(0):
            scaled = gradient * scale
            overflows = self.overflows(scaled)
            theta = self.step(theta, self.clip(self.unscale(scaled, scale), scale), overflows)
            scale, count = self.update(scale, count, overflows)
            rows.append(torch.cat([scale.reshape(1), theta.flatten()]))
        return torch.stack(rows)

    def overflows(self, scaled):
        return ~scaled.isfinite().all()

    def unscale(self, scaled, scale):
        return scaled / scale

    def clip(self, gradient, scale):
        if self.max_norm is None:
            return gradient
        none = gradient.new_zeros(0)
        return clip_by_global_norm(gradient, none, none, max_norm=self.max_norm).view(gradient.shape)

    def step(self, theta, gradient, overflows):
        return torch.where(overflows, theta, theta - self.lr * gradient)

    def update(self, scale, count, overflows):
        count = torch.where(overflows, 0, count + 1)
        grows = count == self.interval
        scale = torch.where(overflows, scale * self.backoff, torch.where(grows, scale * self.growth, scale))
        return scale, torch.where(grows, 0, count)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-clipped-first", breaks="optimization.loss-scaling-unscaled",
    seen="Lightning-AI/pytorch-lightning#9330", effect="scaled gradients are clipped, then unscaled: almost no learning",
)  # fmt: skip
def gradients_are_clipped_before_they_are_unscaled(parameter, gradients, **options):
    class Wrong(_Scaled):
        def clip(self, gradient, scale):
            return super().clip(gradient * scale, scale) / scale

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-clipped-instead", breaks="optimization.loss-scaling-equation",
    effect="clipping is taken to undo the scale: gradients are as large as the bound allows",
)  # fmt: skip
def gradients_that_are_clipped_are_not_unscaled(parameter, gradients, **options):
    class Wrong(_Scaled):
        def clip(self, gradient, scale):
            return gradient if self.max_norm is None else super().clip(gradient * scale, scale)

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-unscaled-twice", breaks="optimization.loss-scaling-unscaled",
    seen="Lightning-AI/pytorch-lightning#15555",
    effect="gradients are far too small wherever clipping has unscaled them before",
)  # fmt: skip
def gradients_are_unscaled_twice(parameter, gradients, **options):
    class Wrong(_Scaled):
        def unscale(self, scaled, scale):
            return scaled / scale / scale

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-not-unscaled", breaks="optimization.loss-scaling-unscaled",
    effect="steps a thousand times too large; Adam hides it, for it divides by the scale",
)  # fmt: skip
def gradients_are_not_unscaled(parameter, gradients, **options):
    class Wrong(_Scaled):
        def unscale(self, scaled, scale):
            return scaled

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-by-first-scale", breaks="optimization.loss-scaling-equation",
    effect="after the scale has changed, gradients are too large or too small",
)  # fmt: skip
def gradients_are_unscaled_by_the_initial_scale(parameter, gradients, **options):
    class Wrong(_Scaled):
        def unscale(self, scaled, scale):
            return scaled / self.initial

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-by-new-scale", breaks="optimization.loss-scaling-equation",
    effect="the scale is updated before the step: where it grows, the step is halved",
)  # fmt: skip
def gradients_are_unscaled_by_the_scale_of_the_next_step(parameter, gradients, **options):
    class Wrong(_Scaled):
        count = 0

        def unscale(self, scaled, scale):
            after, self.count = self.update(scale, self.count, self.overflows(scaled))
            return scaled / after

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-not-skipped", breaks="optimization.loss-scaling-overflow",
    effect="what overflows is set to zero and the rest is stepped along",
)  # fmt: skip
def entries_that_overflow_are_zero_and_the_step_is_made(parameter, gradients, **options):
    class Wrong(_Scaled):
        def step(self, theta, gradient, overflows):
            return theta - self.lr * torch.where(gradient.isfinite(), gradient, 0.0)

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-never-skipped", breaks="optimization.loss-scaling-equation",
    effect="one overflow makes every weight infinite",
)  # fmt: skip
def a_step_that_overflows_is_made(parameter, gradients, **options):
    class Wrong(_Scaled):
        def step(self, theta, gradient, overflows):
            return theta - self.lr * gradient

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-skipped-by-entry", breaks="optimization.loss-scaling-overflow",
    effect="entries that overflow stand still while all others are stepped",
)  # fmt: skip
def only_the_entries_that_overflow_are_skipped(parameter, gradients, **options):
    class Wrong(_Scaled):
        def clip(self, gradient, scale):
            self.hit = ~gradient.isfinite()
            return torch.where(self.hit, 0.0, super().clip(torch.where(self.hit, 0.0, gradient), scale))

        def step(self, theta, gradient, overflows):
            return theta - self.lr * gradient

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-nan-missed", breaks="optimization.loss-scaling-equation",
    effect="infinities are looked for and NaN is not: it goes into every weight",
)  # fmt: skip
def a_nan_is_no_overflow(parameter, gradients, **options):
    class Wrong(_Scaled):
        def overflows(self, scaled):
            return scaled.isinf().any()

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-infinity-missed", breaks="optimization.loss-scaling-equation",
    effect="NaN is looked for and infinities are not: one goes into a weight",
)  # fmt: skip
def an_infinity_is_no_overflow(parameter, gradients, **options):
    class Wrong(_Scaled):
        def overflows(self, scaled):
            return (scaled != scaled).any()

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-negative-missed", breaks="optimization.loss-scaling-equation",
    effect="only entries above a bound are looked for",
)  # fmt: skip
def a_negative_infinity_is_no_overflow(parameter, gradients, **options):
    class Wrong(_Scaled):
        def overflows(self, scaled):
            return ((scaled != scaled) | (scaled == math.inf)).any()

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-norm-checked", breaks="optimization.loss-scaling-equation",
    effect="large gradients whose squares overflow are skipped, though they do not",
)  # fmt: skip
def overflows_are_looked_for_in_the_norm(parameter, gradients, **options):
    class Wrong(_Scaled):
        def overflows(self, scaled):
            return ~(scaled * scaled).sum().isfinite()

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-first-entry-checked", breaks="optimization.loss-scaling-equation",
    effect="only the first entry is looked at",
)  # fmt: skip
def only_the_first_entry_is_looked_at_for_overflows(parameter, gradients, **options):
    class Wrong(_Scaled):
        def overflows(self, scaled):
            return ~scaled.flatten()[0].isfinite()

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-block-checked", breaks="optimization.loss-scaling-equation",
    effect="an overflow behind the first block of a large parameter makes it infinite",
)  # fmt: skip
def only_the_first_64_entries_are_looked_at_for_overflows(parameter, gradients, **options):
    class Wrong(_Scaled):
        def overflows(self, scaled):
            return ~scaled.flatten()[:64].isfinite().all()

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-all-entries", breaks="optimization.loss-scaling-equation",
    effect="all() in place of any(): a step is skipped only where every entry has overflowed",
)  # fmt: skip
def a_step_is_skipped_where_every_entry_overflows(parameter, gradients, **options):
    class Wrong(_Scaled):
        def overflows(self, scaled):
            return (~scaled.isfinite()).all()

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-not-lowered", breaks="optimization.loss-scaling-equation",
    effect="every later step overflows and is skipped: training stands still",
)  # fmt: skip
def the_scale_is_not_lowered_after_an_overflow(parameter, gradients, **options):
    return loss_scaled_steps(parameter, gradients, **options | {"backoff_factor": 1.0})


@fault(
    loss_scaled_steps, "optimization.loss-scaling-never-raised", breaks="optimization.loss-scaling-equation",
    effect="the scale falls and never recovers: small gradients vanish",
)  # fmt: skip
def the_scale_never_grows(parameter, gradients, **options):
    return loss_scaled_steps(parameter, gradients, **options | {"growth_factor": 1.0})


@fault(
    loss_scaled_steps, "optimization.loss-scaling-lowered-once", breaks="optimization.loss-scaling-equation",
    effect="a scale that is far too high overflows again and again",
)  # fmt: skip
def overflows_in_a_row_lower_the_scale_once(parameter, gradients, **options):
    class Wrong(_Scaled):
        before = torch.tensor(False)

        def update(self, scale, count, overflows):
            after, count = super().update(scale, count, overflows)
            again, self.before = self.before & overflows, overflows
            return torch.where(again, scale, after), count

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-restored", breaks="optimization.loss-scaling-equation",
    effect="after an overflow the scale is the initial one again",
)  # fmt: skip
def an_overflow_lowers_the_initial_scale(parameter, gradients, **options):
    class Wrong(_Scaled):
        def update(self, scale, count, overflows):
            after, count = super().update(scale, count, overflows)
            return torch.where(overflows, self.initial * self.backoff, after), count

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-count-goes-on", breaks="optimization.loss-scaling-equation",
    effect="the scale grows soon after it was lowered, and overflows again",
)  # fmt: skip
def the_count_goes_on_after_an_overflow(parameter, gradients, **options):
    class Wrong(_Scaled):
        def update(self, scale, count, overflows):
            later = torch.where(overflows, count, count + 1)
            grows = ~overflows & (later == self.interval)
            return (
                torch.where(overflows, scale * self.backoff, torch.where(grows, scale * self.growth, scale)),
                torch.where(grows, 0, later),
            )

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-skipped-counted", breaks="optimization.loss-scaling-equation",
    effect="skipped steps count towards the growth",
)  # fmt: skip
def the_scale_grows_after_so_many_steps_skipped_or_not(parameter, gradients, **options):
    class Wrong(_Scaled):
        def update(self, scale, count, overflows):
            grows = count + 1 == self.interval
            scale = torch.where(overflows, scale * self.backoff, torch.where(grows, scale * self.growth, scale))
            return scale, torch.where(grows, 0, count + 1)

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-count-from-the-overflow", breaks="optimization.loss-scaling-equation",
    effect="the count after an overflow starts at one: the scale grows a step early",
)  # fmt: skip
def the_step_that_overflows_counts_as_the_first(parameter, gradients, **options):
    class Wrong(_Scaled):
        def update(self, scale, count, overflows):
            after, count = super().update(scale, count, overflows)
            return after, torch.where(overflows, 1, count)

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-count-not-reset", breaks="optimization.loss-scaling-equation",
    effect="the scale grows once and then never",
)  # fmt: skip
def the_count_is_not_reset_when_the_scale_grows(parameter, gradients, **options):
    class Wrong(_Scaled):
        def update(self, scale, count, overflows):
            after, _ = super().update(scale, count, overflows)
            return after, torch.where(overflows, 0, count + 1)

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-grows-on", breaks="optimization.loss-scaling-equation",
    effect="once the count is reached, the scale grows at every step",
)  # fmt: skip
def the_scale_grows_at_every_step_from_the_interval_on(parameter, gradients, **options):
    class Wrong(_Scaled):
        def update(self, scale, count, overflows):
            count = torch.where(overflows, 0, count + 1)
            grown = torch.where(count >= self.interval, scale * self.growth, scale)
            return torch.where(overflows, scale * self.backoff, grown), count

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-grows-late", breaks="optimization.loss-scaling-equation",
    effect="the scale grows a step late",
)  # fmt: skip
def the_interval_is_one_step_longer(parameter, gradients, *, growth_interval, **options):
    return loss_scaled_steps(parameter, gradients, growth_interval=growth_interval + 1, **options)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-grows-early", breaks="optimization.loss-scaling-equation",
    effect="the scale grows a step early",
)  # fmt: skip
def the_interval_is_one_step_shorter(parameter, gradients, *, growth_interval, **options):
    return loss_scaled_steps(parameter, gradients, growth_interval=max(1, growth_interval - 1), **options)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-growth-ignored", breaks="optimization.loss-scaling-equation",
    effect="2 is the factor whatever is configured",
)  # fmt: skip
def the_scale_is_doubled_whatever_is_given(parameter, gradients, *, growth_factor=2.0, **options):
    return loss_scaled_steps(parameter, gradients, **options)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-backoff-ignored", breaks="optimization.loss-scaling-equation",
    effect="the scale is halved whatever is configured",
)  # fmt: skip
def the_scale_is_halved_whatever_is_given(parameter, gradients, *, backoff_factor=0.5, **options):
    return loss_scaled_steps(parameter, gradients, **options)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-at-least-one", breaks="optimization.loss-scaling-equation",
    effect="large gradients overflow for ever",
)  # fmt: skip
def the_scale_does_not_fall_below_one(parameter, gradients, **options):
    class Wrong(_Scaled):
        def update(self, scale, count, overflows):
            after, count = super().update(scale, count, overflows)
            return after.clamp_min(1.0), count

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-bounded", breaks="optimization.loss-scaling-equation",
    effect="the scale grows to 2^24 and no further, a bound that some libraries set by default",
)  # fmt: skip
def the_scale_does_not_grow_above_a_bound(parameter, gradients, **options):
    class Wrong(_Scaled):
        def update(self, scale, count, overflows):
            after, count = super().update(scale, count, overflows)
            return torch.minimum(after, scale.clamp_min(2.0**24)), count

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-norm-zero-is-none", breaks="optimization.loss-scaling-equation",
    effect="what is to be frozen by a norm of 0 is trained without one",
)  # fmt: skip
def a_norm_of_zero_is_taken_for_none(parameter, gradients, *, max_norm=None, **options):
    return loss_scaled_steps(parameter, gradients, max_norm=max_norm or None, **options)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-norm-ignored", breaks="optimization.loss-scaling-equation",
    effect="gradients are not clipped where there is a loss scale",
)  # fmt: skip
def the_norm_is_ignored(parameter, gradients, *, max_norm=None, **options):
    return loss_scaled_steps(parameter, gradients, **options)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-scale-before", breaks="optimization.loss-scaling-equation",
    effect="what is logged is the scale before the step",
)  # fmt: skip
def a_row_holds_the_scale_before_its_step(parameter, gradients, **options):
    rows = loss_scaled_steps(parameter, gradients, **options)
    first = rows.new_full((1,), options["initial_scale"])
    return torch.cat([torch.cat([first, rows[:-1, 0]]).unsqueeze(-1), rows[:, 1:]], -1)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-uphill", breaks="optimization.loss-scaling-equation",
    effect="the loss is maximized",
)  # fmt: skip
def scaled_steps_go_along_the_gradient(parameter, gradients, *, lr, **options):
    return loss_scaled_steps(parameter, gradients, lr=-lr, **options)


@fault(
    loss_scaled_steps, "optimization.loss-scaling-skip-replayed", breaks="optimization.loss-scaling-overflow-alone",
    effect="the finite entries of a skipped gradient are left in the buffer and added to the next",
)  # fmt: skip
def what_is_left_of_a_skipped_gradient_is_added_to_the_next(parameter, gradients, **options):
    class Wrong(_Scaled):
        left = None

        def clip(self, gradient, scale):
            own = super().clip(gradient, scale) if self.left is None else super().clip(gradient + self.left, scale)
            finite = gradient.isfinite()
            self.left = torch.where(finite.all(), 0.0, torch.where(finite, gradient, 0.0))
            return own

    return Wrong(parameter, gradients, **options).run()


@fault(
    loss_scaled_steps, "optimization.loss-scaling-parameter-overwritten", breaks="optimization.inputs-untouched",
    effect="the caller's parameter is stepped in place",
)  # fmt: skip
def the_parameter_is_stepped_where_it_stands(parameter, gradients, **options):
    rows = loss_scaled_steps(parameter, gradients, **options)
    parameter.copy_(rows[-1, 1:].view(parameter.shape))
    return rows


@fault(
    loss_scaled_steps, "optimization.loss-scaling-gradients-overwritten", breaks="optimization.inputs-untouched",
    effect="the caller's gradients are scaled in place",
)  # fmt: skip
def the_gradients_are_scaled_in_place(parameter, gradients, **options):
    rows = loss_scaled_steps(parameter, gradients, **options)
    gradients.mul_(options["initial_scale"])
    return rows


@fault(
    loss_scaled_steps, "optimization.loss-scaling-scale-between-calls", breaks="optimization.no-memory",
    effect="a second training starts with the scale of the first",
)  # fmt: skip
def the_scale_is_kept_between_calls(parameter, gradients, **options):
    rows = loss_scaled_steps(
        parameter, gradients, **options | {"initial_scale": _scales.get("last", options["initial_scale"])}
    )
    _scales["last"] = float(rows.detach()[-1, 0])
    return rows


_scales: dict[str, float] = {}
