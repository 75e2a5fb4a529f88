"""Optimization: Adam and AdamW, learning-rate schedules, clipping by the global norm, steps under a loss scale.

N is the number of steps. Every call starts anew, with all state at zero. Judged are float64 and float32 alone, in which
training in mixed precision keeps parameters and moments too; nothing is said of steps in narrower dtypes.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from transpec.operations import operation

# --- Adam -------------------------------------------------------------------------------------------------------------


@operation("Kingma & Ba 2015, algorithm 1")
def adam_direction(
    gradients: Float[Tensor, "N ..."], *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Float[Tensor, "N ..."]:
    r"""d_t = mhat_t / (sqrt(vhat_t) + eps), mhat_t = m_t / (1 - beta_1^t), vhat_t = v_t / (1 - beta_2^t), t = 1, 2, ...

    m_t = beta_1 m_{t-1} + (1 - beta_1) g_t and v_t = beta_2 v_{t-1} + (1 - beta_2) g_t^2, both zero at t = 0, element by
    element. `gradients` are g_1 to g_N of one parameter of any shape; the result is what each of N steps subtracts, a
    learning rate apart. Gradients whose squares overflow their dtype are not judged. Raises ValueError for betas outside [0, 1).
    """
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be at least 0 and below 1, got {betas}")
    first = second = torch.zeros_like(gradients[0])  # ...
    directions = []
    for t, gradient in enumerate(gradients.unbind(0), 1):
        first = betas[0] * first + (1 - betas[0]) * gradient  # ...
        second = betas[1] * second + (1 - betas[1]) * gradient * gradient  # ...
        corrected, spread = first / (1 - betas[0] ** t), second / (1 - betas[1] ** t)
        directions.append(corrected / (torch.sqrt(spread) + eps))
    return torch.stack(directions)  # N ...


@adam_direction.choice("optimization.adam-epsilon", "hat")
def epsilon_is_added_before_the_bias_correction(gradients, *, betas=(0.9, 0.999), eps=1e-8):  # type: ignore[no-untyped-def]
    """sqrt(1 - beta_2^t) / (1 - beta_1^t) m_t / (sqrt(v_t) + eps): the order at the end of section 2, as in TensorFlow."""
    first = second = torch.zeros_like(gradients[0])
    # Powers are rounded element by element, for the formulations below do not reach beneath a choice.
    rounded = [torch.ones_like(gradients[0]) * beta for beta in betas]
    powers = [torch.ones_like(gradients[0])] * 2
    directions = []
    for gradient in gradients.unbind(0):
        powers = [power * beta for power, beta in zip(powers, rounded, strict=True)]
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * (gradient * gradient)
        factor = torch.sqrt(1 - powers[1]) / (1 - powers[0])
        directions.append(factor * first / (torch.sqrt(second) + eps))
    return torch.stack(directions)


@adam_direction.formulation
def corrections_in_the_dtype_of_the_gradients(gradients, *, betas=(0.9, 0.999), eps=1e-8):  # type: ignore[no-untyped-def]
    """The betas and their powers rounded like everything else: 1 - beta_2^t then carries many roundings, as in optax."""
    first = second = torch.zeros_like(gradients[0])
    # One for each element, so that every sample rounds its own.
    rounded = [torch.ones_like(gradients[0]) * beta for beta in betas]
    powers = [torch.ones_like(gradients[0])] * 2
    directions = []
    for gradient in gradients.unbind(0):
        powers = [power * beta for power, beta in zip(powers, rounded, strict=True)]
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * (gradient * gradient)
        directions.append(first / (1 - powers[0]) / (torch.sqrt(second / (1 - powers[1])) + eps))
    return torch.stack(directions)


@adam_direction.formulation
def moments_moved_towards_the_gradient(gradients, *, betas=(0.9, 0.999), eps=1e-8):  # type: ignore[no-untyped-def]
    """m + (1 - beta) (g - m): where gradients shrink, it carries the roundings of the moment before."""
    first = second = torch.zeros_like(gradients[0])
    directions = []
    for t, gradient in enumerate(gradients.unbind(0), 1):
        first = first + (1 - betas[0]) * (gradient - first)
        second = (second + (1 - betas[1]) * (gradient * gradient - second)).clamp_min(0)
        root = torch.sqrt(second) / math.sqrt(1 - betas[1] ** t)
        directions.append(first / (1 - betas[0] ** t) / (root + eps))
    return torch.stack(directions)


@operation("Kingma & Ba 2015, algorithm 1")
def adam(
    parameter: Float[Tensor, "..."],
    gradients: Float[Tensor, "N ..."],
    learning_rates: Float[Tensor, "N"],
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> Float[Tensor, "N ..."]:
    r"""theta_t = theta_{t-1} - alpha_t d_t, d_t being that of `adam_direction`: the parameter after each of N steps.

    `gradients` are g_1 to g_N, given whatever the parameter becomes; `learning_rates` are alpha_1 to alpha_N.
    """
    steps = []
    directions = adam_direction(gradients, betas=betas, eps=eps)  # N ...
    for rate, direction in zip(learning_rates.unbind(0), directions.unbind(0), strict=True):
        parameter = parameter - rate * direction  # ...
        steps.append(parameter)
    return torch.stack(steps)  # N ...


@operation("Loshchilov & Hutter 2019, algorithm 2")
def adamw(
    parameter: Float[Tensor, "..."],
    gradients: Float[Tensor, "N ..."],
    learning_rates: Float[Tensor, "N"],
    *,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> Float[Tensor, "N ..."]:
    r"""theta_t = theta_{t-1} - alpha_t d_t - alpha_t lambda theta_{t-1}: `adam` with decay that no moment sees.

    lambda is `weight_decay`. The paper's schedule eta_t and its alpha are one number here, alpha_t, which multiplies
    both terms, as in most libraries.
    """
    steps = []
    directions = adam_direction(gradients, betas=betas, eps=eps)  # N ...
    for rate, direction in zip(learning_rates.unbind(0), directions.unbind(0), strict=True):
        parameter = parameter - rate * weight_decay * parameter - rate * direction  # ...
        steps.append(parameter)
    return torch.stack(steps)  # N ...


@adamw.choice("optimization.adamw-decay", "updated")
def what_decays_is_the_updated_parameter(  # type: ignore[no-untyped-def]
    parameter, gradients, learning_rates, *, weight_decay, betas=(0.9, 0.999), eps=1e-8
):
    """theta' = theta_{t-1} - alpha_t d_t, theta_t = theta' - alpha_t lambda theta': the decay after the step."""
    steps = []
    directions = adam_direction(gradients, betas=betas, eps=eps)
    for rate, direction in zip(learning_rates.unbind(0), directions.unbind(0), strict=True):
        parameter = parameter - rate * direction
        parameter = parameter - rate * weight_decay * parameter
        steps.append(parameter)
    return torch.stack(steps)


# --- Schedules --------------------------------------------------------------------------------------------------------


@operation("Vaswani et al. 2017, section 5.3, equation 3")
def noam_schedule(
    steps: Int[Tensor, "N"], *, d_model: int, warmup_steps: int, dtype: torch.dtype
) -> Float[Tensor, "N"]:
    r"""d_model^-0.5 min(step^-0.5, step warmup_steps^-1.5), the first step being step 1."""
    step = steps.to(torch.float64)  # N
    rate = d_model**-0.5 * torch.minimum(step**-0.5, step * warmup_steps**-1.5)
    return rate.to(dtype)


@operation("Devlin et al. 2019, appendix A.2; Hugging Face Transformers, get_linear_schedule_with_warmup")
def linear_schedule(
    steps: Int[Tensor, "N"], *, peak: float, warmup_steps: int, total_steps: int, dtype: torch.dtype
) -> Float[Tensor, "N"]:
    r"""peak step / warmup_steps before step `warmup_steps`, then peak (total_steps - step) / (total_steps - warmup_steps).

    The first step is step 0, whose rate is 0 where there is any warm-up; at `warmup_steps` it is `peak`, from
    `total_steps` on 0. `warmup_steps` may be 0 and is less than `total_steps`.
    """
    step = steps.to(torch.float64)  # N
    warming = step / max(1, warmup_steps)
    decaying = (total_steps - step).clamp_min(0) / (total_steps - warmup_steps)
    return (peak * torch.where(steps < warmup_steps, warming, decaying)).to(dtype)


@linear_schedule.formulation
def one_minus_what_has_passed(steps, *, peak, warmup_steps, total_steps, dtype):  # type: ignore[no-untyped-def]
    """1 - (step - warmup_steps) / (total_steps - warmup_steps): near the end it carries the roundings of 1."""
    step = steps.to(torch.float64)
    passed = (step - warmup_steps) / (total_steps - warmup_steps)
    decaying = (1 - passed).clamp_min(0)
    return (peak * torch.where(steps < warmup_steps, step / max(1, warmup_steps), decaying)).to(dtype)


@operation("Loshchilov & Hutter 2017, section 3, equation 5, without restarts, after a linear warm-up")
def cosine_schedule(
    steps: Int[Tensor, "N"], *, peak: float, warmup_steps: int, total_steps: int, dtype: torch.dtype
) -> Float[Tensor, "N"]:
    r"""peak step / warmup_steps before step `warmup_steps`, then peak (1 + cos(pi p)) / 2.

    p = (step - warmup_steps) / (total_steps - warmup_steps) is what has passed since the warm-up, and no more than 1:
    from `total_steps` on the rate is 0. The first step is step 0. `warmup_steps` may be 0 and is less than `total_steps`.
    """
    step = steps.to(torch.float64)  # N
    passed = ((step - warmup_steps) / (total_steps - warmup_steps)).clamp_max(1)
    falling = 0.5 * (1 + torch.cos(math.pi * passed))
    return (peak * torch.where(steps < warmup_steps, step / max(1, warmup_steps), falling)).to(dtype)


@cosine_schedule.choice("optimization.cosine-after-the-end", "rises")
def the_cosine_goes_on(steps, *, peak, warmup_steps, total_steps, dtype):  # type: ignore[no-untyped-def]
    """The rate rises again after `total_steps`, as the cosine does."""
    step = steps.to(torch.float64)
    passed = (step - warmup_steps) / (total_steps - warmup_steps)
    falling = 0.5 * (1 + torch.cos(math.pi * passed))
    return (peak * torch.where(steps < warmup_steps, step / max(1, warmup_steps), falling)).to(dtype)


# --- Clipping and loss scaling ----------------------------------------------------------------------------------------


@operation("Pascanu et al. 2013, section 3.2, algorithm 1")
def clip_by_global_norm(
    first: Float[Tensor, "..."], second: Float[Tensor, "..."], third: Float[Tensor, "..."], *, max_norm: float
) -> Float[Tensor, "K"]:
    r"""g min(1, max_norm / ||g||), g being the gradients of all parameters together, here of three of any shapes.

    The norm is the Euclidean one over every entry of all three. The result is the clipped gradients, flattened in C
    order and put behind each other. Gradients of nothing but zeros stay zeros, whatever `max_norm`; those whose squares,
    or the sum of which, overflow their dtype are not judged. One tensor that is given twice is two gradients.
    """
    gradient = torch.cat([first.flatten(), second.flatten(), third.flatten()])  # K
    norm = torch.sqrt((gradient * gradient).sum())
    return gradient * (max_norm / norm.masked_fill(norm == 0, 1.0)).clamp_max(1.0)


@clip_by_global_norm.choice("optimization.clipping-epsilon", "1e-6")
def a_millionth_is_added_to_the_norm(first, second, third, *, max_norm):  # type: ignore[no-untyped-def]
    """g min(1, max_norm / (||g|| + 1e-6)), as torch.nn.utils.clip_grad_norm_ has it."""
    gradient = torch.cat([first.flatten(), second.flatten(), third.flatten()])
    norm = torch.sqrt((gradient * gradient).sum())
    return gradient * (max_norm / (norm + 1e-6)).clamp_max(1.0)


@operation("Micikevicius et al. 2018, section 3.2; Pascanu et al. 2013 for max_norm")
def loss_scaled_steps(
    parameter: Float[Tensor, "..."],
    gradients: Float[Tensor, "N ..."],
    *,
    lr: float,
    initial_scale: float,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int,
    max_norm: float | None = None,
) -> Float[Tensor, "N K"]:
    r"""N steps of gradient descent, theta - lr g, whose gradients come from a loss that is multiplied by a scale s.

    `gradients` are those of the loss itself; what a step is given is s g. Where an entry of it is infinite or NaN, the
    step is skipped and s becomes s `backoff_factor`. Else it is divided by s, then clipped by `max_norm` where that is
    given, and then a step is made; after `growth_interval` such steps in a row s becomes s `growth_factor`, and the count
    starts anew. s has no bounds. Row n is s after step n, and behind it the parameter, flattened in C order.
    """
    scale, count = parameter.new_full((), initial_scale), torch.zeros((), dtype=torch.int64)
    none, rows = parameter.new_zeros(0), []
    for gradient in gradients.unbind(0):
        scaled = gradient * scale  # ...
        overflows = ~scaled.isfinite().all()
        step = (scaled / scale).flatten()
        if max_norm is not None:
            step = clip_by_global_norm(step, none, none, max_norm=max_norm)
        parameter = torch.where(overflows, parameter, parameter - lr * step.view(parameter.shape))  # ...
        count = torch.where(overflows, 0, count + 1)
        grows = count == growth_interval
        scale = torch.where(overflows, scale * backoff_factor, torch.where(grows, scale * growth_factor, scale))
        count = torch.where(grows, 0, count)
        rows.append(torch.cat([scale.reshape(1), parameter.flatten()]))  # K
    return torch.stack(rows)  # N K
