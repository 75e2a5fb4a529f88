"""The reference of optimization against the libraries that people train with, on the designed cases of its equations."""

import math

import pytest
import torch
import transformers
from torch import Tensor

from transpec.cases import Case
from transpec.judgement import budget, oracle, worst_ratio
from transpec.operations import inject
from transpec.reference.optimization import (
    adam,
    adam_direction,
    adamw,
    clip_by_global_norm,
    cosine_schedule,
    noam_schedule,
)
from transpec.spec_tests.cases import optimization

RIGHT = 1.0  # of a budget


def ratio_of(case: Case, actual: Tensor, *variants) -> float:
    """The worst error of a result in budgets of the reference."""
    exact = case.in_dtype("float64")
    return worst_ratio({"": actual}, {"": oracle(exact, variants)}, {"": budget(exact, variants)})


def trained(optimizer: type[torch.optim.Optimizer], case: Case) -> Tensor:
    """The parameter after every step of one of torch's optimizers, whose rate is set before each."""
    given, gradients, rates = case.tensors
    parameter = torch.nn.Parameter(given.clone())
    options = {"weight_decay": 0.0, **case.options}
    engine, steps = optimizer([parameter], lr=1.0, **options), []
    for gradient, rate in zip(gradients, rates.tolist(), strict=True):
        engine.param_groups[0]["lr"] = rate
        parameter.grad = gradient.clone()
        engine.step()
        steps.append(parameter.detach().clone())
    return torch.stack(steps)


@pytest.mark.parametrize("case", optimization.adams, ids=str)
def test_adam_is_that_of_torch(case):
    """torch.optim.Adam takes the same steps."""
    assert ratio_of(case, trained(torch.optim.Adam, case)) <= RIGHT


@pytest.mark.parametrize("case", [*optimization.adamws, *optimization.without_gradients], ids=str)
def test_adamw_is_that_of_torch(case):
    """torch.optim.AdamW takes the same steps."""
    assert ratio_of(case, trained(torch.optim.AdamW, case)) <= RIGHT


def scheduled(made: torch.optim.lr_scheduler.LambdaLR, case: Case) -> Tensor:
    """The rates of one of transformers' schedules at the steps of a case."""
    [share] = made.lr_lambdas
    return case.options["peak"] * torch.tensor([share(step) for step in case.tensors[0].tolist()], dtype=torch.float64)


def engine() -> torch.optim.Optimizer:
    """An optimizer to hang a schedule on."""
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


@pytest.mark.parametrize("case", [*optimization.linears, *optimization.linear_ends], ids=str)
def test_the_linear_schedule_is_that_of_transformers(case):
    """get_linear_schedule_with_warmup gives the same rates."""
    sizes = case.options["warmup_steps"], case.options["total_steps"]
    made = transformers.get_linear_schedule_with_warmup(engine(), *sizes)
    assert ratio_of(case, scheduled(made, case)) <= RIGHT


@pytest.mark.parametrize("case", [*optimization.cosines, *optimization.cosine_ends], ids=str)
def test_the_cosine_schedule_is_that_of_transformers(case):
    """get_cosine_schedule_with_warmup gives the same rates, and after the end those of the choice `rises`."""
    sizes = case.options["warmup_steps"], case.options["total_steps"]
    rises = cosine_schedule.choices["optimization.cosine-after-the-end", "rises"]
    made = transformers.get_cosine_schedule_with_warmup(engine(), *sizes)
    assert ratio_of(case, scheduled(made, case), rises) <= RIGHT


@pytest.mark.parametrize("case", [*optimization.clippings, *optimization.small], ids=str)
def test_clipping_is_that_of_torch(case):
    """torch.nn.utils.clip_grad_norm_ gives the same under the choice `1e-6`."""
    parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in case.tensors]
    for parameter, gradient in zip(parameters, case.tensors, strict=True):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(parameters, case.options["max_norm"])
    clipped = torch.cat([parameter.grad.flatten() for parameter in parameters])
    choice = clip_by_global_norm.choices["optimization.clipping-epsilon", "1e-6"]
    assert ratio_of(case, clipped, choice) <= RIGHT


@pytest.mark.parametrize("case", optimization.steps_of_scaled_losses, ids=str)
def test_loss_scaling_is_that_of_torch(case):
    """torch.amp.GradScaler, its gradients clipped after unscale_, takes the same steps and scales."""
    given, gradients = case.tensors
    options = dict(case.options)
    parameter, lr, max_norm = torch.nn.Parameter(given.clone()), options.pop("lr"), options.pop("max_norm", None)
    sgd, rows = torch.optim.SGD([parameter], lr=lr), []
    scaler = torch.amp.GradScaler("cpu", init_scale=options.pop("initial_scale"), **options)
    for gradient in gradients:
        parameter.grad = scaler.scale(gradient.clone())
        scaler.unscale_(sgd)
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_([parameter], max_norm)
        scaler.step(sgd)
        scaler.update()
        rows.append(torch.cat([torch.tensor([scaler.get_scale()]), parameter.detach().flatten()]))
    choice = clip_by_global_norm.choices["optimization.clipping-epsilon", "1e-6"]
    assert ratio_of(case, torch.stack(rows), choice) <= RIGHT


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_adam_by_hand():
    """Betas 1/2 and 3/4, eps 1/2, gradients 3, then -1: 3 / (3 + 1/2); (0.25 / 0.75) / (sqrt((1.6875 + 0.25) / 0.4375) + 0.5)."""
    gradients = torch.tensor([[3.0], [-1.0]], dtype=torch.float64)
    found = adam_direction(gradients, betas=(0.5, 0.75), eps=0.5).flatten().tolist()
    assert found == pytest.approx([6 / 7, (1 / 3) / (math.sqrt(1.9375 / 0.4375) + 0.5)], rel=1e-14)


def test_decay_by_hand():
    """A parameter of 8, no gradient, the rate 1/2 and the decay 1/2: 6, then 4.5."""
    zero, rates = torch.zeros(2, 1, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    steps = adamw(torch.tensor([8.0], dtype=torch.float64), zero, rates, weight_decay=0.5)
    assert steps.flatten().tolist() == [6.0, 4.5]


def test_the_peak_of_the_base_model():
    """Vaswani et al. 2017: d_model 512 and 4000 steps of warm-up have their highest rate, 1 / sqrt(2048000), at step 4000."""
    steps = torch.tensor([3999, 4000, 4001])
    rates = noam_schedule(steps, d_model=512, warmup_steps=4000, dtype=torch.float64).tolist()
    assert rates[1] == max(rates) == pytest.approx(2_048_000**-0.5, rel=1e-14)


@pytest.mark.parametrize("operation", [adam_direction, adam, adamw])
def test_the_order_of_tensorflow_differs(operation):
    """The choice `hat` is another formula where eps counts, and reaches all that is built on it."""
    case = next(case for case in optimization.epsilon[0] if case.operation is operation)
    hat = adam_direction.choices["optimization.adam-epsilon", "hat"]
    positional, options = case.arguments(lambda value: value, None)
    with inject(hat):
        steps = operation(*positional, **options)
    assert ratio_of(case, steps) > 1e6
