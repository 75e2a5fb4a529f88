"""Requirements of optimization, in the order of the reference: Adam, schedules, clipping, loss scaling, then all."""

import torch

from transpec.judgement import (
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_derived,
    assert_identical,
    assert_ignores_default_dtype,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    budget_of,
    output_of,
)
from transpec.reference.optimization import adam
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import optimization

# --- Adam -------------------------------------------------------------------------------------------------------------


@must("optimization.adam-direction-equation", "Kingma & Ba 2015, algorithm 1")
@cases(optimization.directions, optimization.drawn_directions)
def test_adam_direction_equation(implementation, case):
    """d_t = mhat_t / (sqrt(vhat_t) + eps), both moments being zero at t = 0, corrected for it, and updated before use."""
    assert_conforms(implementation, case)


@must("optimization.adam-equation", "Kingma & Ba 2015, algorithm 1")
@cases(optimization.adams, optimization.drawn_adams)
def test_adam_equation(implementation, case):
    """theta_t = theta_{t-1} - alpha_t mhat_t / (sqrt(vhat_t) + eps), t = 1, 2, …, N."""
    assert_conforms(implementation, case)


@must(
    "optimization.adam-epsilon",
    "Kingma & Ba 2015, algorithm 1; the end of section 2 for the other order",
    choices=("algorithm", "hat"),
)
@cases(*optimization.epsilon)
def test_adam_epsilon(implementation, case):
    """The eps that is given is added to the root of the corrected moment, or of the uncorrected one where so declared."""
    assert_conforms(implementation, case)


@must("optimization.adam-betas", "Kingma & Ba 2015, algorithm 1")
@cases(*optimization.betas)
def test_adam_betas(implementation, case):
    """The first beta is the mean's and the second the mean square's, be either of them 0."""
    assert_conforms(implementation, case)


@must("optimization.adam-bias-correction", "Kingma & Ba 2015, section 3", tested_when=("algorithm",),
      choice_of="optimization.adam-epsilon")  # fmt: skip
@cases(optimization.first_steps)
def test_adam_bias_correction(implementation, case):
    """The first step is alpha_1 g / (|g| + eps), whatever the betas are: nothing is left of the zeros at the start."""
    result, allowed = output_of(implementation, case), budget_of(implementation, case)[0]
    numbers, eps = [each.to(torch.float64) for each in case.tensors], case.options.get("eps", 1e-8)
    gradient = numbers[min(1, len(numbers) - 1)][0]
    expected = gradient / (gradient.abs() + eps)
    if case.operation is adam:
        expected = numbers[0] - numbers[2][0] * expected
    assert_derived(implementation, case, result, result[0], expected, allowed, "first step")


@must("optimization.adam-scale-of-gradients", "Kingma & Ba 2015, section 2.1: invariant to the scale of the gradients")
@cases(optimization.of_directions)
def test_adam_scale_of_gradients(implementation, case):
    """Gradients and eps sixteen times as large give the same steps."""
    assert_same(implementation, case, optimization.enlarged(case))


@must("optimization.adam-entries", "Kingma & Ba 2015, algorithm 1: element-wise")
@cases(optimization.independent)
def test_adam_entries(implementation, case):
    """Other gradients and another parameter in one entry leave all other entries the same."""
    changed, kept = optimization.with_another_entry(case)
    assert_identical(implementation, case, changed, kept)


@must("optimization.adam-causality", "Kingma & Ba 2015, algorithm 1: step by step")
@cases(optimization.of_every_adam)
def test_adam_causality(implementation, case):
    """The last gradient, and the last rate, change no step before the last."""
    changed, before = optimization.with_another_last_step(case)
    assert_identical(implementation, case, changed, before)


@must("optimization.adam-prefix", "Kingma & Ba 2015, algorithm 1: step by step")
@cases(optimization.of_every_adam)
def test_adam_prefix(implementation, case):
    """The first three steps are those that three gradients alone give."""
    assert_same(implementation, optimization.first_steps_of(case, 3), case, lambda result: result[:3])


@must("optimization.adam-learning-rates", "Kingma & Ba 2015, algorithm 1: alpha; section 4 for alpha_t")
@cases(optimization.rated)
def test_adam_learning_rates(implementation, case):
    """Step t has the rate alpha_t, and no rate of another step; a rate of 0 leaves the parameter as it was."""
    assert_conforms(implementation, case)


@must("optimization.adamw-equation", "Loshchilov & Hutter 2019, algorithm 2")
@cases(optimization.adamws, optimization.drawn_adamws)
def test_adamw_equation(implementation, case):
    """theta_t = theta_{t-1} - alpha_t mhat_t / (sqrt(vhat_t) + eps) - alpha_t lambda theta_{t-1}."""
    assert_conforms(implementation, case)


@must(
    "optimization.adamw-decay",
    "Loshchilov & Hutter 2019, algorithm 2, line 12; some libraries decay after the step",
    choices=("previous", "updated"),
)
@cases(optimization.decayed)
def test_adamw_decay(implementation, case):
    """What decays is the parameter before the step, or, where so declared, the one after it; its moments see no decay."""
    assert_conforms(implementation, case)


@must("optimization.adamw-decay-alone", "Loshchilov & Hutter 2019, algorithm 2")
@cases(optimization.without_gradients)
def test_adamw_decay_alone(implementation, case):
    """Where all gradients are zero every step multiplies the parameter by 1 - alpha_t lambda."""
    result, allowed = output_of(implementation, case), budget_of(implementation, case)
    parameter, _, rates = (each.to(torch.float64) for each in case.tensors)
    kept = (1 - rates * case.options["weight_decay"]).cumprod(0)
    assert_derived(
        implementation, case, result, result, kept.view(-1, *[1] * parameter.dim()) * parameter, allowed, "parameter"
    )


@must("optimization.adamw-without-decay", "Loshchilov & Hutter 2019, algorithm 2, with lambda = 0")
@cases(optimization.undecayed)
def test_adamw_without_decay(implementation, case):
    """With a weight decay of 0 AdamW is the implementation's own Adam, where it has one."""
    assert_conforms(implementation, case)
    if implementation.claims(adam):
        assert_same(implementation, optimization.without_decay(case), case)


# --- Schedules --------------------------------------------------------------------------------------------------------


@must("optimization.noam-equation", "Vaswani et al. 2017, section 5.3, equation 3")
@cases(optimization.noams, optimization.drawn_noams)
def test_noam_equation(implementation, case):
    """rate = d_model^-0.5 min(step^-0.5, step warmup_steps^-1.5), the first step being step 1."""
    assert_conforms(implementation, case)


@must("optimization.noam-warm-up", "Vaswani et al. 2017, section 5.3: linearly for the first warmup_steps")
@cases(optimization.noams[2:5], optimization.noams[8:9])
def test_noam_warm_up(implementation, case):
    """The rate is highest at step `warmup_steps`, where it is 1 / sqrt(d_model warmup_steps)."""
    warmup, width = case.options["warmup_steps"], case.options["d_model"]
    three = optimization.at_steps(case, "about the peak", [max(1, warmup - 1), warmup, warmup + 1])
    rates, allowed = output_of(implementation, three), budget_of(implementation, three)
    expected = torch.full((), (width * warmup) ** -0.5, dtype=torch.float64)
    assert_derived(implementation, three, rates, rates.amax(), expected, allowed.amax(), "highest rate")
    assert_derived(implementation, three, rates, rates[1], expected, allowed[1], "rate at the end of the warm-up")


@must("optimization.linear-equation", "Hugging Face Transformers, get_linear_schedule_with_warmup")
@cases(optimization.linears, optimization.drawn_linears)
def test_linear_equation(implementation, case):
    """The rate rises from 0 at step 0 to `peak` at `warmup_steps` and falls to 0 at `total_steps`, both in a line."""
    assert_conforms(implementation, case)


@must("optimization.linear-after-the-end", "Hugging Face Transformers, get_linear_schedule_with_warmup")
@cases(optimization.linear_ends)
def test_linear_after_the_end(implementation, case):
    """From `total_steps` on the rate is 0, and never negative."""
    assert_conforms(implementation, case)


@must("optimization.cosine-equation", "Loshchilov & Hutter 2017, section 3, equation 5")
@cases(optimization.cosines, optimization.drawn_cosines)
def test_cosine_equation(implementation, case):
    """After a linear warm-up the rate is peak (1 + cos(pi p)) / 2, p being what has passed of the steps that are left."""
    assert_conforms(implementation, case)


@must(
    "optimization.cosine-after-the-end",
    "not said by Loshchilov & Hutter 2017, who restart; libraries differ",
    choices=("zero", "rises"),
)
@cases(optimization.cosine_ends)
def test_cosine_after_the_end(implementation, case):
    """After `total_steps` the rate is 0, or, where so declared, rises again as the cosine does."""
    assert_conforms(implementation, case)


@must("optimization.warm-up", "Devlin et al. 2019, appendix A.2, and its published code: linear warm-up")
@cases(optimization.warm)
def test_warm_up(implementation, case):
    """With a warm-up the rate of step 0 is 0, that of step 1 peak / warmup_steps, that of step `warmup_steps` the peak."""
    warmup, peak = case.options["warmup_steps"], case.options["peak"]
    three = optimization.at_steps(case, "of the warm-up", [0, 1, warmup])
    rates, allowed = output_of(implementation, three), budget_of(implementation, three)
    expected = torch.tensor([0, peak / warmup, peak], dtype=torch.float64)
    assert_derived(implementation, three, rates, rates, expected, allowed, "rate")


@must("optimization.steps-in-any-order", "Vaswani et al. 2017, section 5.3: a function of the step")
@cases(optimization.noams[2:3], optimization.warmed[0], optimization.warmed[1])
def test_steps_in_any_order(implementation, case):
    """A rate is that of its step, wherever it stands among the steps, and however often."""
    other = optimization.with_steps_in_another_order(case)
    assert_same(implementation, case, other, lambda result: result[:-1].flip(0))


# --- Clipping ---------------------------------------------------------------------------------------------------------


@must("optimization.clipping-equation", "Pascanu et al. 2013, section 3.2, algorithm 1")
@cases(optimization.clippings)
def test_clipping_equation(implementation, case):
    """Clipped are g min(1, max_norm / ||g||), the norm being that of all gradients together, and put behind each other."""
    assert_conforms(implementation, case)


@must(
    "optimization.clipping-epsilon",
    "Pascanu et al. 2013, algorithm 1, has none; torch.nn.utils.clip_grad_norm_ adds 1e-6",
    choices=("none", "1e-6"),
)
@cases(optimization.small)
def test_clipping_epsilon(implementation, case):
    """Nothing is added to the norm, or, where so declared, a millionth."""
    assert_conforms(implementation, case)


@must("optimization.clipping-below-the-norm", "Pascanu et al. 2013, algorithm 1: if ||g|| >= threshold")
@cases(optimization.below, optimization.zeros)
def test_clipping_below_the_norm(implementation, case):
    """Gradients whose norm is less than `max_norm`, zeros among them, stay as they are and are never made larger."""
    result, allowed = output_of(implementation, case), budget_of(implementation, case)
    expected = torch.cat([each.to(torch.float64).flatten() for each in case.tensors])
    assert_derived(implementation, case, result, result, expected, allowed, "gradient")


@must("optimization.clipping-direction", "Pascanu et al. 2013, section 3.2: scaled down")
@cases(optimization.above)
def test_clipping_direction(implementation, case):
    """Clipping keeps the direction: every entry is the same share of its gradient."""
    result, allowed = output_of(implementation, case), budget_of(implementation, case)
    gradient = torch.cat([each.to(torch.float64).flatten() for each in case.tensors])
    wide, largest = result.to(torch.float64), int(gradient.abs().argmax())
    actual, expected = wide * gradient[largest], wide[largest] * gradient
    within = allowed * gradient[largest].abs() + allowed[largest] * gradient.abs()
    assert_derived(implementation, case, result, actual, expected, within, "gradient times the largest entry")


@must("optimization.clipping-order", "Pascanu et al. 2013, section 3.2: one norm")
@cases(optimization.above)
def test_clipping_order(implementation, case):
    """The order of the parameters matters to the order of the result alone."""
    other = case.changed("the last first", (case.tensors[2], *case.tensors[:2]))
    assert_same(implementation, case, other, lambda result: result.roll(-case.tensors[2].numel()))


# --- Loss scaling -----------------------------------------------------------------------------------------------------


@must("optimization.loss-scaling-equation", "Micikevicius et al. 2018, section 3.2")
@cases(optimization.steps_of_scaled_losses, optimization.drawn_losses)
def test_loss_scaling_equation(implementation, case):
    """Gradients are unscaled, then clipped, then stepped along; an overflow lowers the scale, steps in a row raise it."""
    assert_conforms(implementation, case)


@must("optimization.loss-scaling-overflow", "Micikevicius et al. 2018, section 3.2: skip the weight update")
@cases(optimization.skipped)
def test_loss_scaling_overflow(implementation, case):
    """A step whose gradient holds an infinity or a NaN leaves the parameter exactly as it was."""
    result = output_of(implementation, case)
    before = torch.cat([case.tensors[0].to(result.dtype).flatten().unsqueeze(0), result[:-1, 1:]])
    overflows = ~case.tensors[1].isfinite().flatten(1).all(-1, keepdim=True)
    expected = torch.where(overflows, before, result[:, 1:])
    assert_derived(implementation, case, result, result[:, 1:], expected, torch.zeros(expected.shape), "parameter")


@must("optimization.loss-scaling-overflow-alone", "Micikevicius et al. 2018, section 3.2: skip the weight update")
@cases(optimization.skipped)
def test_loss_scaling_overflow_alone(implementation, case):
    """What else stands in a gradient that overflows shows nowhere, in no later step either."""
    assert_identical(implementation, case, optimization.with_other_numbers_where_it_overflows(case))


@must("optimization.loss-scaling-unscaled", "Micikevicius et al. 2018, section 3.2: unscaled before any other use")
@cases(optimization.unscaled)
def test_loss_scaling_unscaled(implementation, case):
    """The parameter takes the same way under another scale, also where gradients are clipped."""
    other = case.changed("another scale", initial_scale=case.options["initial_scale"] / 64)
    columns = torch.arange(1 + case.tensors[0].numel()) > 0
    assert_same(implementation, case, other, where=columns)


# --- All --------------------------------------------------------------------------------------------------------------


@should("optimization.nothing", "the contract: a size may be zero")
@cases(optimization.empty, optimization.no_steps)
def test_nothing(implementation, case):
    """A parameter without an entry and a schedule of no steps give empty results."""
    assert_conforms(implementation, case)


@must("optimization.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(optimization.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded parameters, gradients, rates and steps give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("optimization.inputs-untouched", "the contract: inputs are left as they are")
@cases(optimization.with_inputs)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of the parameter, the gradients and the rates that it is given."""
    assert_untouched(implementation, case)


@must("optimization.no-memory", "the contract: an operation is a function of its arguments")
@cases(optimization.every_operation)
def test_no_memory(implementation, case):
    """Every call starts anew: no moment, count or scale is left from the calls before, and no result is changed later."""
    assert_remembers_nothing(implementation, case, *optimization.others_than(case))
    assert_no_memory(implementation, case, optimization.others_than(case))
    assert_ignores_default_dtype(implementation, case, torch.bfloat16)


@must("optimization.dtype-and-shape", "the contract: a row for every step, in the parameter's dtype")
@cases(optimization.every_operation, *optimization.sizes[:3], optimization.above[:3])
def test_dtype_and_shape(implementation, case):
    """The result has a row for every step, in the dtype of the gradients, or of schedules in the one that is given."""
    assert_contract(implementation, case)


@should("optimization.int32-steps", "the contract: steps are integers")
@cases(optimization.narrow_steps)
def test_int32_steps(implementation, case):
    """Steps of 32 bits are taken like those of 64."""
    assert_conforms(implementation, case)


@should("optimization.impossible-shapes", "the contract: what no broadcast gives a meaning")
@cases(optimization.impossible)
def test_impossible_shapes(implementation, case):
    """Gradients that do not fit their parameter, and another number of rates than of gradients, raise with a message."""
    assert_refuses(implementation, case)


@should("optimization.impossible-betas", "Kingma & Ba 2015, algorithm 1: beta_1 and beta_2 in [0, 1)")
@cases(optimization.impossible_betas)
def test_impossible_betas(implementation, case):
    """Betas outside [0, 1) raise with a message."""
    assert_refuses(implementation, case)
