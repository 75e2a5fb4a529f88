"""What is measured of attention, recurrence and convolution for the claims that are made of them."""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from transpec.cases import Case, normal
from transpec.implementations import Implementation, Unsupported
from transpec.judgement import NonConformance
from transpec.operations import Variant, inject
from transpec.reference.attention import attention_weights
from transpec.reference.bert import BertConfig
from transpec.reference.claims import convolution_stack
from transpec.reference.gpt import GptConfig, gpt
from transpec.runs import Curve, Image, forward, plot
from transpec.spec_tests.runs import bert, sentences
from transpec.spec_tests.runs.graph import Walk, walk
from transpec.spec_tests.runs.kernels import by_kernels, trainable
from transpec.spec_tests.runs.language_modelling import LONG, LONG_RECIPE, SHORT, SHORT_RECIPE, TOKENS, TUNING

# --- Graphs -------------------------------------------------------------------------------------------------------------


def graph_of(implementation: Implementation | None, case: Case, length: int, batch: int = 1) -> Walk:
    """The graph of the case's call on sequences of another length; that of the reference where no implementation is given.

    Raises Unsupported where the graph is not torch's.
    """
    operation, weights = case.operation, dict(case.weights or {})

    def call(x: Tensor) -> Tensor:
        given: list[Any] = [x] * len(case.tensors) + ([weights] if operation.takes_weights else [])
        if implementation is None:
            return operation(*given, **case.options)
        made: Tensor = implementation.run(operation.name, given, dict(case.options))
        return made

    if implementation is not None and implementation.framework.name != "torch":
        raise Unsupported(f"its graph cannot be walked: {implementation.framework.name} is not torch")
    x = case.tensors[0]
    return walk(call, normal(f"{case.name} {length}", batch, length, x.shape[-1]).to(x.dtype))


def depths(implementation: Implementation | None, case: Case, lengths: Iterable[int]) -> list[int]:
    """How many matrix products have to wait for each other at each length."""
    return [graph_of(implementation, case, length).depth for length in lengths]


@dataclass(frozen=True)
class Paths:
    """Of one length: the layers that connect all positions, and the longest of the shortest ways between two of them."""

    layers: int
    longest: float


def paths(implementation: Implementation | None, case: Case, length: int) -> Paths:
    """The way between the positions that are farthest apart, in as few layers as connect all of them.

    A causal layer, such as a recurrent one, connects each position with those before it and itself.
    """
    distances = graph_of(implementation, case, length, batch=length).distances
    causal = bool((distances.triu(1).isinf() | (torch.ones_like(distances).triu(1) == 0)).all())
    counts = range(1, length + 1) if case.operation is convolution_stack else (1,)
    for layers in counts:
        deeper = with_layers(case, layers) if case.operation is convolution_stack else case
        distances = graph_of(implementation, deeper, length, batch=length).distances
        connected = distances[torch.ones_like(distances).tril().bool()] if causal else distances
        if bool(connected.isfinite().all()):
            return Paths(layers, float(connected.max()))
    raise NonConformance(f"no number of layers up to {counts[-1]} connects all of {length} positions", case)


def with_layers(case: Case, count: int) -> Case:
    """A convolution stack of this many layers, all of them the first."""
    first = {part: (case.weights or {})[f"layers.0.{part}"] for part in "wb"}
    weights = {f"layers.{i}.{part}": value for i in range(count) for part, value in first.items()}
    return case.changed(f"{count} layers", weights=weights, num_layers=count)


def slope(lengths: list[int], numbers: list[float]) -> float:
    """The slope of a line through all the points; NaN where they lie on none."""
    rise = [(b - a) / (n - m) for m, n, a, b in zip(lengths, lengths[1:], numbers, numbers[1:], strict=False)]
    return rise[0] if all(each == rise[0] for each in rise) else math.nan


def of_layers(found: list[Paths]) -> float:
    """How many operations each further layer adds to the longest way; NaN where they do not all add as many."""
    longest = dict(sorted((path.layers, path.longest) for path in found))
    return slope(list(longest), list(longest.values())) if len(longest) > 1 else 0.0


def power(numbers: list[float], factor: int = 2) -> float:
    """p where each number is `factor` ** p times the one before it; NaN where there is no such p."""
    ratios = [b / a for a, b in itertools.pairwise(numbers)]
    return math.log(ratios[0], factor) if all(each == ratios[0] for each in ratios) else math.nan


def cost(implementation: Implementation | None, case: Case, length: int, width: int) -> float:
    """Floating-point operations in matrix products of a call on one sequence, every width being the given one."""
    before = case.tensors[0].shape[-1]

    def resized(name: str, value: Tensor) -> Tensor:
        return normal(f"{name} {width}", *(width if size == before else size for size in value.shape)).to(value.dtype)

    tensors = tuple(resized("x", x) for x in case.tensors)
    weights = None if case.weights is None else {name: resized(name, value) for name, value in case.weights.items()}
    return float(graph_of(implementation, case.changed(f"width {width}", tensors, weights), length).flops)


# --- Gradients ----------------------------------------------------------------------------------------------------------


def reach(call: Callable[..., Tensor], case: Case) -> list[float]:
    """The norm of the gradient of the last result by the input of so many steps before it, 0, 1, 2 and so on.

    Root mean square over the batch, for one random direction in each result.
    """
    x = case.tensors[0].clone().requires_grad_()
    weights = {name: value.clone().requires_grad_() for name, value in (case.weights or {}).items()}
    result = call(*[x] * len(case.tensors), weights, **case.options)
    direction = normal("direction of reach", len(x), result.shape[-1]).to(result.dtype)
    (gradient,) = torch.autograd.grad((result[:, -1] * direction).sum(), x)
    squares = gradient.to(torch.float64).square().sum(-1).mean(0)
    return [float(norm) for norm in squares.sqrt().flip(0)]


def fading(name: str, norms: list[float], exact: list[float]) -> Curve:
    """Norms against the steps back, where they can be drawn on a scale of powers, and the formula's in float64."""
    drawn = {
        which: tuple(zip(*[(step, norm) for step, norm in enumerate(ys) if norm > 1e-45], strict=True))
        for which, ys in ((name, norms), ("formula in float64", exact))
    }
    series = {which: (list(xs), list(ys)) for which, (xs, ys) in drawn.items()}
    return Curve(f"Reach of the gradient: {name}", "steps back", "norm of the gradient", series, log_y=True)


@dataclass(frozen=True)
class Line:
    """A line of least squares and the share of the variance that it explains."""

    slope: float
    explained: float


def fitted(xs: list[float], ys: list[float]) -> Line:
    """The line of least squares through points."""
    x, y = (torch.tensor(values, dtype=torch.float64) for values in (xs, ys))
    dx, dy = x - x.mean(), y - y.mean()
    gradient = float((dx * dy).sum() / dx.square().sum())
    return Line(gradient, 1 - float((dy - gradient * dx).square().sum() / dy.square().sum()))


# --- Heads --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copier:
    """A GPT trained to say a sequence of random words again: how well it does on new ones, and how its heads look."""

    case: Case  # a call with the trained weights
    accuracy: float
    chance: float
    divergence: float  # of the two heads of a layer that differ most, in bits, the mean over queries and sequences
    divergence_before: float  # the same of the weights that training began with
    maps: Tensor  # of the first layer, the mean over sequences, of the second time's queries, H T S


STEPS, BATCH, RATE = 110, 16, 1e-2


def copier(implementation: Implementation, case: Case, seed: int) -> Copier:
    """Train the case's GPT through the implementation on words said twice; only the second time is learned and tested.

    What an implementation without gradients is tested on is what the reference has learned.
    """
    call = trainable(implementation, gpt) if implementation.differentiates(gpt) else by_kernels(gpt)
    config, half, generator = case.config, case.config.max_positions // 2, torch.Generator().manual_seed(seed)
    before = {
        name: torch.randn(value.shape, generator=generator) * value.std() if value.dim() > 1 else value.clone()
        for name, value in (case.weights or {}).items()
    }
    weights = {name: value.clone().requires_grad_() for name, value in before.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=RATE, betas=(0.9, 0.98))
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20, (STEPS - step) / 40)
        words = _said_twice(config.vocab_size, BATCH, half, generator)
        logits = call(words[:, :-1], weights, config)[:, half - 1 :]
        loss = functional.cross_entropy(logits.flatten(0, 1), words[:, half:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = {name: value.detach() for name, value in weights.items()}
    words = _said_twice(config.vocab_size, 256, half, generator)
    tested = case.changed(f"trained, seed {seed}", (words[:2, :-1],), trained)
    said = implementation.call(replace(tested, tensors=(words[:, :-1],)))[:, half - 1 :].argmax(-1)
    maps = [attention_maps(words[:, :-1], these, config)[:, :, :, half - 1 :] for these in (trained, before)]
    return Copier(
        tested, float((said == words[:, half:]).double().mean()), 1 / config.vocab_size,
        divergence(maps[0]), divergence(maps[1]), maps[0][0].mean(0),
    )  # fmt: skip


def _said_twice(vocabulary: int, batch: int, length: int, generator: torch.Generator) -> Tensor:
    words = torch.randint(vocabulary, (batch, length), generator=generator)
    return torch.cat((words, words), 1)


def attention_maps(token_ids: Tensor, weights: dict[str, Tensor], config: Any) -> Tensor:
    """The attention weights of every layer of the reference's GPT, (layers, B, H, T, T)."""
    seen: list[Tensor] = []

    def watched(*args: Any, **options: Any) -> Tensor:
        seen.append(attention_weights(*args, **options))
        return seen[-1]

    with torch.no_grad(), inject(Variant(attention_weights, watched, "watched", "attention weights, kept")):
        gpt(token_ids, weights, config)
    return torch.stack(seen)


def divergence(maps: Tensor) -> float:
    """The Jensen-Shannon divergence in bits, from 0 to 1, of the two heads of a layer that differ most from each other.

    maps (layers, B, H, T, S); the mean over queries and sequences.
    """
    maps = maps.double()
    heads = range(maps.shape[2])
    parts = [
        _entropy((maps[:, :, i] + maps[:, :, j]) / 2) - (_entropy(maps[:, :, i]) + _entropy(maps[:, :, j])) / 2
        for i in heads
        for j in heads
        if i < j
    ]
    return float(torch.stack(parts).mean((2, 3)).max())


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.special.xlogy(probabilities, probabilities).sum(-1) / math.log(2)


def plot_heads(implementation: Implementation, maps: Tensor) -> None:
    """Two heads' maps that differ most from each other."""
    heads = range(len(maps))
    apart = {(i, j): divergence(maps[None, None, [i, j]]) for i in heads for j in heads if i < j}
    for head in max(apart, key=lambda pair: apart[pair]):
        plot(implementation, Image(f"Attention of head {head}, trained to copy", maps[head].tolist()))


# --- Cost ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Some training: its name, the numbers that a token is multiplied with, and the tokens seen, with repetition."""

    name: str
    parameters: int
    tokens: int

    @property
    def flops(self) -> int:
        """6 N a token (Kaplan et al. 2020, section 2.1), N without tables, which are only looked up in."""
        return 6 * self.parameters * self.tokens


def stages() -> list[tuple[Stage, Stage]]:
    """Pretraining beside fine-tuning: GPT in its short and its long form, and BERT, whose heads are not counted."""
    short, long = parameters(SHORT), parameters(LONG)
    tuning = Stage("GPT's fine-tuning", short, TUNING.steps * TOKENS)
    encoder = parameters(bert.CONFIG) - bert.CONFIG.vocab_size * bert.CONFIG.d_model
    pairs = sentences.next_sentences(sentences.corpus().read, 500, 0)
    tagged = sentences.named_entities(500, 0, held_out=False)
    seen = bert.STEPS * bert.BATCH, bert.NAMED_ENTITY.steps * bert.BATCH
    return [
        (Stage("GPT's pretraining", short, SHORT_RECIPE.steps * TOKENS), tuning),
        (Stage("GPT's long pretraining", long, LONG_RECIPE.steps * TOKENS), tuning),
        (
            Stage("BERT's pretraining", encoder, round(seen[0] * _mean_tokens(pairs))),
            Stage("BERT's fine-tuning", encoder, round(seen[1] * _mean_tokens(tagged))),
        ),
    ]


def _mean_tokens(batch: sentences.Batch) -> float:
    return float(batch.attention_mask.sum()) / len(batch)


def parameters(config: GptConfig | BertConfig) -> int:
    """The numbers of all matrices that a token is multiplied with: 4 M^2 + 2 M F a layer, and V M at the end."""
    M, F = config.d_model, config.d_ff
    return config.num_layers * (4 * M * M + 2 * M * F) + config.vocab_size * M


def flops_of_a_step(implementation: Implementation, case: Case) -> int:
    """Floating-point operations in matrix products of one forward and one backward pass, counted while torch computes.

    Raises Unsupported where it is not torch that computes.
    """
    if implementation.framework.name != "torch" or implementation.claims_vjp(case.operation):
        raise Unsupported("its operations cannot be counted: they are not torch's")
    call = forward(implementation, case.operation)
    weights = {name: value.clone().requires_grad_() for name, value in (case.weights or {}).items()}
    with FlopCounterMode(display=False) as counter:
        call(case.tensors[0], weights, case.config).square().mean().backward()
    return int(counter.get_total_flops())


def expected_flops(config: GptConfig, batch: int, length: int) -> int:
    """6 N a token, and 12 L n M for scores and sums of values, which no parameter takes part in."""
    return batch * length * (6 * parameters(config) + 12 * config.num_layers * length * config.d_model)


def by_length(title: str, y_label: str, lengths: list[int], numbers: dict[str, list[float]], **scales: bool) -> Curve:
    """Numbers against the length of the sequence."""
    return Curve(title, "length n", y_label, {name: (lengths, ys) for name, ys in numbers.items()}, **scales)
