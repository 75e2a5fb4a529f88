"""Mixed precision: GPT trained in bfloat16 under autocast, and in float16 with a scaled loss, beside float32."""

from dataclasses import dataclass

import torch
from torch import Tensor

from transpec.implementations import Implementation, Unsupported
from transpec.reference.gpt import GptConfig, gpt
from transpec.spec_tests.runs.kernels import trainable
from transpec.spec_tests.runs.language_modelling import (
    BYTES,
    Model,
    causal_losses,
    cross_entropy,
    initial_weights,
    parts,
    windows,
)
from transpec.spec_tests.runs.loop import Recipe, Weights, leaves_of, once, stream, train

# A small model and a low rate: where training itself is unstable, no curve in narrow floats follows one in float32.
SMALL = GptConfig(BYTES, d_model=64, d_ff=256, num_heads=2, num_layers=2, max_positions=32)
STEPS, RECIPE, TOKENS = 16, Recipe(steps=16, rate=1e-3, warm_up=4), 512
FIRST_SCALE = 2.0**18  # too much for float16 here: the first tries overflow, are skipped, and halve it


BAND = 1e-3  # of the loss


def band_around(losses: list[float]) -> list[float]:
    """How far narrow floats may take each loss: a thousandth of it.

    Measured: 5e-5 of it with the reference, in bfloat16 as in float16. The unit roundoff of bfloat16 is 4e-3, and a loss
    averages over 512 bytes whose errors are as often up as down; over the run it falls by a fifth.
    """
    return [BAND * loss for loss in losses]


def needs(implementation: Implementation, dtype: str) -> Model:
    """The forward pass of an implementation in torch that has this dtype."""
    if implementation.framework.name != "torch":
        raise Unsupported("autocast and half-precision weights are torch's: FRAMEWORK is not torch")
    if dtype not in implementation.dtypes:
        raise Unsupported(f"DTYPES does not declare {dtype}")
    return trainable(implementation, gpt)


def in_float32(implementation: Implementation) -> list[float]:
    """The losses that the narrow runs are compared with: the same implementation's own."""
    model, (data, _) = trainable(implementation, gpt), parts("moby_dick")
    return once(
        ("float32", implementation.source.given),
        lambda: train(initial_weights(SMALL), causal_losses(model, SMALL, data, "narrow", TOKENS), RECIPE).losses,
    )


def in_bfloat16(implementation: Implementation) -> list[float]:
    """Losses of a run whose products are of bfloat16 as torch.autocast chooses; weights and optimiser keep float32."""
    model, (data, _) = needs(implementation, "bfloat16"), parts("moby_dick")

    def cast(token_ids: Tensor, weights: Weights, config: object) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(token_ids, weights, config).float()

    return train(initial_weights(SMALL), causal_losses(cast, SMALL, data, "narrow", TOKENS), RECIPE).losses


@dataclass
class Scaled:
    """Losses of the steps that were taken, the scale after every try, and how many tries were skipped."""

    losses: list[float]
    scales: list[float]
    skipped: int


def in_float16(implementation: Implementation) -> Scaled:
    """A run in float16 with master weights in float32 and a dynamic loss scale (Micikevicius et al. 2018, section 3).

    Gradients are unscaled before they are clipped; where one is not finite the step is skipped, its batch tried again
    and the scale halved.
    """
    model, (data, _) = needs(implementation, "float16"), parts("moby_dick")
    masters = leaves_of(initial_weights(SMALL))
    optimiser = RECIPE.optimiser_of(masters)
    draw, width = stream("narrow"), SMALL.max_positions
    run, scale = Scaled([], [], 0), FIRST_SCALE
    while len(run.losses) < STEPS:
        batch = windows(data, width + 1, TOKENS // width, draw)
        while True:
            optimiser.zero_grad()
            half = {name: value.half() for name, value in masters.items()}
            loss = cross_entropy(model(batch[:, :-1].contiguous(), half, SMALL).float(), batch[:, 1:])
            (loss * scale).backward()
            run.scales.append(scale)
            gradients = [leaf.grad for leaf in masters.values() if leaf.grad is not None]
            if all(bool(gradient.isfinite().all()) for gradient in gradients):
                break
            scale, run.skipped = scale / 2, run.skipped + 1
            if scale < 1:
                raise OverflowError("gradients in float16 are not finite whatever the scale")
        for gradient in gradients:
            gradient.div_(scale)
        torch.nn.utils.clip_grad_norm_(masters.values(), RECIPE.clip)
        for group in optimiser.param_groups:
            group["lr"] = RECIPE.rate_at(len(run.losses))
        optimiser.step()
        run.losses.append(float(loss.detach()))
    return run
