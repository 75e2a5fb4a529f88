"""What every run shares: data, weights to start from, and the loop that trains them.

The suite owns all but the forward pass and its gradients. Everything is drawn from frozen streams (numpy's RandomState),
so that two implementations see the same batches in the same order from the same weights.
"""

import gzip
import importlib
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy
import torch
from torch import Tensor

from transpec.progress import progress
from transpec.runs import Curve, Score

Weights = dict[str, Tensor]
Loss = Callable[[Weights], Tensor]

ROUNDOFF = 2.0**-24  # of float32
SEEDS_OF_BAND = 4
FACTOR = 64.0  # of the band around the reference's curve; fused kernels took up 0.72 of a band of 16
WHOLE, AFTER = 1.0, 0.1  # of the learning rate: what warm-up reaches, and what the cosine ends at
salt = ""  # of every stream; `benchmarks.seeds` changes it, to see how far scores depend on what was drawn


def stream(name: str) -> numpy.random.RandomState:
    """Random numbers that are the same for the same name on every machine and every run."""
    return numpy.random.RandomState(zlib.crc32(f"{salt}{name}".encode()))


def text(name: str) -> str:
    """A text that is kept in `data`."""
    packed = resources.files("transpec.spec_tests.runs").joinpath("data", f"{name}.txt.gz").read_bytes()
    return gzip.decompress(packed).decode()


def in_bytes(text: str) -> Tensor:
    """The text as the numbers of its UTF-8 bytes."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()


def tokenizers() -> Any:
    """The library that trains tokenizers, which nothing but runs needs."""
    try:
        return importlib.import_module("tokenizers")
    except ModuleNotFoundError as missing:
        brings = 'the extra "training" brings it: pip install "transpec[training]"'
        raise ModuleNotFoundError(f"the library tokenizers is not installed; {brings}") from missing


# --- Weights to start from --------------------------------------------------------------------------------------------


def drawn(draw: numpy.random.RandomState, deviation: float, *shape: int) -> Tensor:
    """Normal numbers in float32."""
    return torch.from_numpy((draw.standard_normal(shape) * deviation).astype("float32"))


def norm_weights(name: str, M: int) -> Weights:
    """Those of a LayerNorm: gains of one, biases of zero."""
    return {f"{name}.gain": torch.ones(M), f"{name}.bias": torch.zeros(M)}


def layer_weights(M: int, F: int, matrix: Callable[..., Tensor], onto_residual: Callable[..., Tensor]) -> Weights:
    """Those of an encoder layer; `onto_residual` draws the two matrices whose products are added to the residual path."""
    layer = {f"self_attention.w_{which}": matrix(M, M) for which in "qkv"}
    layer |= {"self_attention.w_o": onto_residual(M, M)}
    layer |= {f"self_attention.b_{which}": torch.zeros(M) for which in "qkvo"}
    layer |= {"feed_forward.w_1": matrix(M, F), "feed_forward.b_1": torch.zeros(F)}
    layer |= {"feed_forward.w_2": onto_residual(F, M), "feed_forward.b_2": torch.zeros(M)}
    return layer | norm_weights("self_attention_norm", M) | norm_weights("feed_forward_norm", M)


def leaves_of(weights: Mapping[str, Tensor]) -> Weights:
    """Copies in float32 that autograd keeps gradients for."""
    return {name: value.detach().to(torch.float32, copy=True).requires_grad_() for name, value in weights.items()}


# --- Training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How weights are trained: AdamW, linear warm-up, then a cosine down to a tenth; gradients clipped by global norm.

    Biases and gains are not decayed.
    """

    steps: int
    rate: float
    warm_up: int = 20
    decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0

    def optimiser_of(self, leaves: Weights) -> torch.optim.AdamW:
        """AdamW on the leaves, its rate to be set step by step."""
        matrices = [leaf for leaf in leaves.values() if leaf.dim() > 1]
        others = [leaf for leaf in leaves.values() if leaf.dim() < 2]
        groups = [{"params": matrices, "weight_decay": self.decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.rate, betas=self.betas)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        along = math.cos(math.pi * step / self.steps)
        return self.rate * min(WHOLE, (step + 1) / self.warm_up) * (AFTER + (WHOLE - AFTER) * (1 + along) / 2)


@dataclass
class Trained:
    """What came of a training run: the loss before every step, the weights at the end and at the steps asked for."""

    losses: list[float]
    weights: Weights
    kept: dict[int, Weights] = field(default_factory=dict)


def train(
    weights: Mapping[str, Tensor],
    losses: Iterable[Loss],
    recipe: Recipe,
    *,
    until: int | None = None,
    keep: Iterable[int] = (),
    after_step: Callable[[Weights], None] | None = None,
) -> Trained:
    """Train copies of the weights on one loss after the other, `until` steps of the recipe or all of them."""
    leaves = leaves_of(weights)
    optimiser = recipe.optimiser_of(leaves)
    run, wanted = Trained([], leaves), set(keep)
    with torch.enable_grad():
        for step, loss_of in zip(range(until or recipe.steps), losses, strict=False):
            if step in wanted:
                run.kept[step] = detached(leaves)
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate_at(step)
            optimiser.zero_grad()
            loss = loss_of(leaves)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(leaves.values(), recipe.clip)
            optimiser.step()
            run.losses.append(float(loss.detach()))
            if step % 10 == 0:
                progress("training", step, until or recipe.steps)
            if after_step is not None:
                after_step(leaves)
    run.weights = detached(leaves)
    return run


def detached(weights: Weights) -> Weights:
    """Copies without history."""
    return {name: value.detach().clone() for name, value in weights.items()}


def perturbing(seed: int) -> Callable[[Weights], None]:
    """Moves every weight by up to one unit roundoff of float32 of its own size, at random."""
    draw = stream(f"perturbation {seed}")

    def perturb(weights: Weights) -> None:
        with torch.no_grad():
            for value in weights.values():
                moved = torch.from_numpy(draw.uniform(-1, 1, tuple(value.shape)))
                value.copy_((value.double() * (1 + ROUNDOFF * moved)).float())

    return perturb


def band_around(losses: list[float], others: list[list[float]]) -> list[float]:
    """How far rounding in float32 alone may take each loss from the reference's.

    `others` are the losses of the same run whose weights were moved after every step by one unit roundoff, at random:
    the least that any other order of summation does. A correct implementation rounds some tens of times between two
    steps, and a seed may be lucky; both are what FACTOR is for. What one step is off by, later ones inherit: so the
    band never narrows. The loss itself is rounded too.
    """
    band, widest = [], 0.0
    for step, loss in enumerate(losses):
        widest = max(widest, *(abs(other[step] - loss) for other in others))
        band.append(FACTOR * (widest + ROUNDOFF * abs(loss)))
    return band


_made: dict[Any, Any] = {}


def once(key: Any, make: Callable[[], Any]) -> Any:
    """What `make` gives, made once in a process: several requirements ask for the same trained model."""
    if key not in _made:
        _made[key] = make()
    return _made[key]


def forget() -> None:
    """Train and score anew from now on."""
    _made.clear()


# --- What a report shows ----------------------------------------------------------------------------------------------


def worst_of(losses: list[float], expected: list[float], band: list[float]) -> Score:
    """The deviation that takes up most of its band, beside that band."""
    steps = range(len(expected))
    worst = max(steps, key=lambda step: abs(losses[step] - expected[step]) / band[step])
    return Score(
        "deviation from the reference's loss", abs(losses[worst] - expected[worst]), "the band allowed", band[worst],
        "nats", False, f"step {worst}, the worst of {len(expected)}",
    )  # fmt: skip


def loss_curves(title: str, series: Mapping[str, list[float]]) -> Curve:
    """Losses against steps."""
    return Curve(title, "step", "loss in nats", {name: (range(len(each)), each) for name, each in series.items()})
