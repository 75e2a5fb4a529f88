"""Inputs for optimizers, schedules, clipping and loss scaling. Gradients are given, and every step has its own rate.

What an optimizer does wrong shows where the sizes of gradients differ from entry to entry and from step to step, where the
epsilon is as large as they are, and after several steps. Loss scales are powers of two, by which nothing is rounded.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import DTYPE, WIDE, Case, Drawn, integers, layouts, normal, sliced
from transpec.operations import Operation
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

# --- Adam -------------------------------------------------------------------------------------------------------------

ADAMS: tuple[Operation[..., Any], ...] = (adam_direction, adam, adamw)


def stepped(
    name: str,
    operation: Operation[..., Any],
    *shape: int,
    N: int = 7,
    gradients: Tensor | None = None,
    parameter: Tensor | None = None,
    rates: Tensor | None = None,
    **options: Any,
) -> Case:
    """A call of one of the Adams on a parameter of the shape; every number that is not given is told by the name."""
    gradients = normal(f"{name} gradients", N, *shape) if gradients is None else gradients
    if operation is adamw:
        options = {"weight_decay": 0.1, **options}
    else:
        options.pop("weight_decay", None)
    if operation is adam_direction:
        return Case(operation, name, (gradients,), None, options, WIDE)
    N, parameter = len(gradients), normal(f"{name} parameter", *shape) if parameter is None else parameter
    rates = 0.02 * (1 + integers(f"{name} rates", 7, N).double()) if rates is None else rates
    return Case(operation, name, (parameter, gradients, rates), None, options, WIDE)


def of_each(name: str, *shape: int, **how: Any) -> list[Case]:
    """The same for each of the Adams."""
    return [stepped(name, operation, *shape, **how) for operation in ADAMS]


def numbers(*rows: Any) -> Tensor:
    """A tensor of float64."""
    return torch.tensor(rows, dtype=torch.float64)


_hand: dict[str, Any] = {
    "gradients": numbers([3.0], [-1.0], [0.5]), "parameter": numbers(2.0), "rates": numbers(0.5, 0.25, 0.125),
    "betas": (0.5, 0.75), "eps": 0.5, "weight_decay": 0.5,
}  # fmt: skip
by_hand = of_each("by hand", 1, **_hand)
generic = [
    of_each("generic", 5),
    of_each("a matrix", 3, 4, N=6),
    of_each("three axes", 2, 3, 5, N=4),
    of_each("as many steps as entries", 6, N=6),
]
sizes = [
    of_each("one step", 5, N=1),
    of_each("two steps", 5, N=2),
    of_each("a number", N=5),
    of_each("one entry", 1, N=5),
    of_each("a square", 4, 4, N=4),
    of_each("many entries", 261, N=3),
]
long = of_each("many steps", 3, N=120)
betas = [
    of_each("betas of the Transformer", 5, betas=(0.9, 0.98), eps=1e-9),
    of_each("betas 0.5 and 0.9", 5, betas=(0.5, 0.9)),
    of_each("the first beta the larger", 5, betas=(0.99, 0.7), N=12),
    of_each("a first beta of 0", 5, betas=(0.0, 0.99)),
    of_each("a second beta of 0", 5, betas=(0.8, 0.0)),
    of_each("both betas 0", 5, betas=(0.0, 0.0), eps=0.5),
]
epsilon = [
    of_each("eps 1", 5, eps=1.0),
    of_each("eps 1e-3", 5, eps=1e-3, gradients=normal("eps 1e-3", 7, 5) * 1e-3),
    of_each("eps 1e-8 of gradients as small", 5, gradients=normal("eps 1e-8", 7, 5) * 1e-8),
    of_each("eps 1e-6, one step", 5, eps=1e-6, gradients=normal("eps 1e-6", 1, 5) * 1e-6),
    of_each("eps 0.1, betas 0.9 and 0.95, many steps", 3, eps=0.1, betas=(0.9, 0.95), N=60),
    of_each("eps 0", 5, eps=0.0),
]
_constant = normal("constant", 5).expand(9, 5).contiguous()
_sparse = normal("sparse", 8, 6) * (normal("sparse where", 8, 6) > 0.3)
_rows = (
    normal("rows", 8, 4, 3)
    * torch.tensor([[1, 1, 0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1, 0, 0], [1] * 8, [1] * 7 + [0]]).T[..., None]
)
_once = torch.cat([normal("once", 1, 5), torch.zeros(7, 5, dtype=torch.float64)])
shaped = [
    of_each("gradients of every size", 6, gradients=normal("every size", 8, 6) * 10.0 ** numbers(-6, -4, -2, 0, 2, 4)),
    of_each("gradients that grow", 4, gradients=normal("grow", 9, 4) * 4.0 ** torch.arange(9.0)[:, None]),
    of_each("gradients that shrink", 4, gradients=normal("shrink", 9, 4) * 0.25 ** torch.arange(9.0)[:, None]),
    of_each("the same gradient again and again", 5, gradients=_constant),
    of_each("gradients that change their sign", 5, gradients=_constant * (-1.0) ** torch.arange(9.0)[:, None]),
    of_each("gradients of zero among others", 6, gradients=_sparse),
    of_each("rows without a gradient at some steps, as of words that no text holds", 4, 3, gradients=_rows),
    of_each(
        "a step without a gradient among others",
        3,
        2,
        gradients=normal("a step without", 6, 3, 2) * (torch.arange(6) != 3)[:, None, None],
    ),
    of_each("one gradient, then zeros", 5, gradients=_once),
    of_each("a first gradient of zero", 5, gradients=_once.flip(0)[5:]),
    of_each("an entry that has none but zeros", 5, gradients=normal("dead", 6, 5) * (torch.arange(5) != 2)),
]
rated = [
    stepped(name, operation, 5, rates=rates)
    for operation in (adam, adamw)
    for name, rates in {
        "rates that warm up": numbers(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
        "rates that decay to zero": numbers(0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0),
        "a first rate of zero": numbers(0.0, 0.1, 0.2, 0.3, 0.2, 0.1, 0.4),
        "one rate": torch.full((7,), 0.1, dtype=torch.float64),
        "one rate of a thousandth": torch.full((7,), 1e-3, dtype=torch.float64),
    }.items()
]
decayed = [
    stepped("weight decay 1", adamw, 5, weight_decay=1.0),
    stepped("weight decay 0.01", adamw, 5, weight_decay=0.01),
    stepped("weight decay of large parameters", adamw, 5, parameter=normal("large", 5) * 100, weight_decay=0.5),
    stepped("weight decay of a matrix", adamw, 3, 4, weight_decay=0.7),
    stepped("weight decay of a number", adamw, weight_decay=0.7),
    stepped("weight decay, large rates", adamw, 5, rates=numbers(0.9, 0.5, 1.2, 0.8, 0.7, 0.3, 0.6), weight_decay=0.9),
    stepped("weight decay, gradients of a thousand", adamw, 5, gradients=normal("thousand", 7, 5) * 1e3, weight_decay=0.7),
]  # fmt: skip
_still = torch.zeros(6, 5, dtype=torch.float64)
without_gradients = [
    stepped("gradients of zero alone", adamw, 5, gradients=_still, weight_decay=0.3),
    stepped("gradients of zero alone, rates that warm up", adamw, 5, gradients=_still, weight_decay=0.8,
            rates=numbers(0.05, 0.1, 0.2, 0.4, 0.8, 0.4)),
    stepped("gradients of zero alone, a number", adamw, gradients=_still[:, 0], weight_decay=0.6),
]  # fmt: skip
undecayed = [
    stepped("weight decay 0", adamw, 5, weight_decay=0.0),
    stepped("weight decay 0 of a matrix", adamw, 3, 4, weight_decay=0.0, betas=(0.8, 0.9), eps=0.1),
]


def only(operation: Operation[..., Any], *groups: list[Any]) -> list[Case]:
    """The cases of one operation, of groups whose members may be lists."""
    flat = [case for group in groups for member in group for case in (member if isinstance(member, list) else [member])]
    return [case for case in flat if case.operation is operation]


_EVERY_ADAM: list[Any] = [by_hand, *generic, *sizes, long, *betas, *epsilon, *shaped, of_each("300 steps", 2, N=300)]
directions, adams, adamws = (only(operation, _EVERY_ADAM, rated, decayed, undecayed) for operation in ADAMS)
first_steps = [*only(adam_direction, generic, betas, shaped[:5]), *only(adam, generic, betas)]
of_directions = only(adam_direction, generic, betas, epsilon, shaped)
of_every_adam = [*generic[0], *generic[1], *generic[2], *shaped[0], *betas[2]]
empty = [
    stepped("a parameter of no entry", operation, 0, N=4, gradients=torch.zeros(4, 0, dtype=torch.float64))
    for operation in ADAMS
]
impossible = [
    stepped("gradients of another size", adam, 5, gradients=normal("other size", 7, 4)),
    stepped("gradients of another size", adamw, 5, gradients=normal("other size", 7, 4)),
    stepped("fewer rates than gradients", adam, 5, rates=numbers(0.1, 0.2, 0.3)),
    stepped("more rates than gradients", adamw, 5, rates=torch.full((9,), 0.1, dtype=torch.float64)),
]
impossible_betas = [
    stepped("a first beta of 1", adam_direction, 5, betas=(1.0, 0.999)),
    stepped("a second beta of 1", adam_direction, 5, betas=(0.9, 1.0)),
    stepped("a negative beta", adam_direction, 5, betas=(-0.1, 0.9)),
]

# --- Schedules --------------------------------------------------------------------------------------------------------


def noam(name: str, steps: Tensor | list[int], d_model: int, warmup_steps: int) -> Case:
    """A call of noam_schedule."""
    options = {"d_model": d_model, "warmup_steps": warmup_steps, "dtype": DTYPE}
    return Case(noam_schedule, name, (torch.as_tensor(steps, dtype=torch.int64),), None, options, WIDE)


def scheduled(
    operation: Operation[..., Any], name: str, steps: Tensor | list[int], peak: float, warmup_steps: int, total: int
) -> Case:
    """A call of linear_schedule or cosine_schedule."""
    options = {"peak": peak, "warmup_steps": warmup_steps, "total_steps": total, "dtype": DTYPE}
    return Case(operation, name, (torch.as_tensor(steps, dtype=torch.int64),), None, options, WIDE)


noams = [
    noam("the first steps", [1, 2, 3], 512, 4000),
    noam("the base model about its warm-up", [1, 2, 3999, 4000, 4001, 4002, 16_000, 100_000], 512, 4000),
    noam("from the first step beyond the warm-up", torch.arange(1, 14), 6, 5),
    noam("warm-up alone", torch.arange(1, 300), 30, 1000),
    noam("decay alone", torch.arange(50, 60), 30, 10),
    noam("a warm-up of one step", torch.arange(1, 8), 7, 1),
    noam("a model of one entry", torch.arange(1, 9), 1, 3),
    noam("as wide as it warms up", torch.arange(1, 30, 3), 16, 16),
    noam("any order, some steps twice", [9, 2, 5, 9, 1, 40, 2, 6], 12, 6),
    noam("one step", [7], 1024, 5),
    noam("steps beyond 32 bits", [1, 2**31 - 1, 2**31, 2**32 + 1, 3 * 10**11], 512, 375_000_000),
    noam("a million steps", [10**6, 10**6 - 1, 1, 25_000, 10_000, 10_001], 768, 10_000),
]
_LINE = [0, 1, 2, 5, 9, 10, 11, 12, 20, 54, 98, 99]


def of_each_schedule(name: str, steps: Tensor | list[int], peak: float, warmup_steps: int, total: int) -> list[Case]:
    """The same for both."""
    return [scheduled(which, name, steps, peak, warmup_steps, total) for which in (linear_schedule, cosine_schedule)]


warmed = [
    of_each_schedule("about the warm-up and before the end", _LINE, 1e-3, 10, 100),
    of_each_schedule("every step", torch.arange(14), 0.5, 4, 13),
    of_each_schedule("a peak of 1", torch.arange(12), 1.0, 3, 11),
    of_each_schedule("no warm-up", torch.arange(9), 2e-5, 0, 8),
    of_each_schedule("a warm-up of one step", torch.arange(9), 3e-4, 1, 8),
    of_each_schedule("a warm-up of all steps but one", torch.arange(9), 0.25, 7, 8),
    of_each_schedule("warm-up alone, and 300 steps", torch.arange(300), 0.7, 500, 700),
    of_each_schedule("decay alone", torch.arange(60, 71), 0.7, 20, 70),
    of_each_schedule("a warm-up longer than the decay", torch.arange(0, 31, 2), 0.1, 20, 30),
    of_each_schedule("any order, some steps twice", [9, 2, 5, 9, 0, 12, 2, 6], 0.3, 5, 12),
    of_each_schedule("one step", [7], 1e-4, 3, 9),
    of_each_schedule("by tokens, more than 32 bits count", [0, 1, 375_000_000, 2**31, 2**32 + 5, 26 * 10**10, 10**10], 6e-4,
                     375_000_000, 3 * 10**11),
    of_each_schedule("BERT's warm-up of 10 000 in a million", [0, 1, 9_999, 10_000, 10_001, 500_000, 10**6], 1e-4, 10**4, 10**6),
]  # fmt: skip
ends = [
    scheduled(which, name, steps, peak, warmup, total)
    for which in (linear_schedule, cosine_schedule)
    for name, steps, peak, warmup, total in [
        ("beyond the end", [0, 1, 12, 13, 14, 20, 27, 39], 0.5, 4, 13),
        ("beyond the end, no warm-up", [6, 7, 8, 9, 100], 2e-5, 0, 8),
    ]
]
linear_ends, cosine_ends = (only(which, ends) for which in (linear_schedule, cosine_schedule))
linears, cosines = (only(which, warmed) for which in (linear_schedule, cosine_schedule))
warm = [case for case in (*linears, *cosines) if case.options["warmup_steps"] > 1]
every_schedule = [noams[1], noams[2], *warmed[0], *warmed[3], *linear_ends]
no_steps = [
    noam("no steps", [], 512, 4000), scheduled(linear_schedule, "no steps", [], 0.1, 2, 9),
    scheduled(cosine_schedule, "no steps", [], 0.1, 2, 9),
]  # fmt: skip

# --- Clipping ---------------------------------------------------------------------------------------------------------


def clipped(name: str, *gradients: Tensor, max_norm: float = 1.0) -> Case:
    """A call of clip_by_global_norm."""
    return Case(clip_by_global_norm, name, gradients, None, {"max_norm": max_norm}, WIDE)


def of_shapes(name: str, *shapes: tuple[int, ...], max_norm: float = 1.0, sizes: tuple[float, ...] = (1, 1, 1)) -> Case:
    """The same on normal numbers in these shapes, each of a size of its own."""
    made = [normal(f"{name} {i}", *shape) * size for i, (shape, size) in enumerate(zip(shapes, sizes, strict=True))]
    return clipped(name, *made, max_norm=max_norm)


above = [
    clipped("(3), (0, 4), (12): a norm of 13 to one of 6.5", numbers(3), numbers(0, 4), numbers(12), max_norm=6.5),
    of_shapes("a matrix, a vector, a number", (3, 4), (5,), ()),
    of_shapes("three axes, a matrix, a vector", (2, 3, 5), (4, 3), (7,), max_norm=2.5),
    of_shapes("one shape", (3, 3), (3, 3), (3, 3), max_norm=0.5),
    of_shapes("one large among small", (4,), (3, 2), (5,), sizes=(0.01, 100, 0.01)),
    of_shapes("entries of every size", (4,), (3, 2), (5,), sizes=(1e-4, 1, 1e3), max_norm=3.0),
    of_shapes("each below the norm, not all together", (4,), (5,), (6,), sizes=(0.3, 0.3, 0.3), max_norm=1.0),
    of_shapes("a norm of a thousandth", (4,), (3, 2), (5,), max_norm=1e-3),
    of_shapes("many entries", (129, 7), (64,), (33, 3), max_norm=1.0),
    of_shapes("a norm of zero", (4,), (3, 2), (5,), max_norm=0.0),
    clipped("entries of one tensor alone", normal("alone", 4), *torch.zeros(2, 3, 2, dtype=torch.float64)),
    clipped("one tensor twice", *[normal("twice", 4)] * 2, normal("twice 2", 2, 3)),
    clipped("a tensor of no entry", normal("none", 4), torch.zeros(0, dtype=torch.float64), normal("none 2", 2, 3)),
    clipped("negative entries alone", -normal("negative", 4).abs(), -normal("negative 2", 2, 3).abs(), numbers(-2.0)),
]  # fmt: skip
below = [
    of_shapes("below the norm", (3, 4), (5,), (), sizes=(0.1, 0.1, 0.1)),
    of_shapes("far below the norm", (3, 4), (5,), (2,), max_norm=1e4),
    of_shapes("entries above the norm's root, not the norm", (3,), (2,), (2,), max_norm=7.0),
    clipped("just below the norm", numbers(3), numbers(0, 4), numbers(12), max_norm=13.5),
]
at_the_norm = [
    clipped("exactly the norm", numbers(3), numbers(0, 4), numbers(12), max_norm=13.0),
    clipped("just above the norm", numbers(3), numbers(0, 4), numbers(12), max_norm=12.5),
]
small = [
    of_shapes("gradients of a millionth", (3, 4), (5,), (2,), sizes=(1e-6, 1e-6, 1e-6), max_norm=1e-6),
    of_shapes("gradients of a hundred-thousandth", (3, 4), (5,), (2,), sizes=(1e-5, 1e-5, 1e-5), max_norm=1e-5),
]
_nothing = [torch.zeros(shape, dtype=torch.float64) for shape in ((4,), (2, 3), (1,))]
zeros = [clipped("zeros alone", *_nothing), clipped("zeros alone, to a norm of zero", *_nothing, max_norm=0.0)]
clippings = [*above, *below, *at_the_norm]

# --- Loss scaling -----------------------------------------------------------------------------------------------------


def scaled_loss(
    name: str,
    *shape: int,
    N: int = 8,
    at: dict[int, float] | None = None,
    gradients: Tensor | None = None,
    **options: Any,
) -> Case:
    """A call of loss_scaled_steps; `at` step n one entry of the gradient, another one each time, is no finite number."""
    gradients = normal(f"{name} gradients", N, *shape) if gradients is None else gradients.clone()
    flat = gradients.view(N, -1)
    for n, value in (at or {}).items():
        flat[n, (3 * n + 1) % flat.shape[-1]] = value
    given = {"lr": 0.1, "initial_scale": 1024.0, "growth_interval": 3, **options}
    return Case(loss_scaled_steps, name, (normal(f"{name} parameter", *shape), gradients), None, given, WIDE)


INF, NAN = math.inf, math.nan
without_overflow = [
    scaled_loss("one step", 3, N=1, growth_interval=2),
    scaled_loss("fewer steps than the growth takes", 5, N=4, growth_interval=9),
    scaled_loss("growth after every step", 5, N=4, growth_interval=1, initial_scale=2.0**22),
    scaled_loss("growth after three steps", 5),
    scaled_loss("growth after the last step", 4, N=6, growth_interval=6),
    scaled_loss("growth by four", 5, growth_interval=2, growth_factor=4.0),
    scaled_loss("a matrix", 3, 4, N=7),
    scaled_loss("a number", N=7),
    scaled_loss("a scale of 65536", 5, initial_scale=65536.0),
    scaled_loss("a scale of 1", 5, initial_scale=1.0),
    scaled_loss("a scale below 1", 5, initial_scale=0.25),
    # Their squares overflow in float32, and they themselves do not.
    scaled_loss("large gradients that do not overflow", 5, gradients=normal("large gradients", 8, 5) * 1e18),
    # In float32 their sum does.
    scaled_loss("a sum that overflows", 6, gradients=torch.full((3, 6), 7.0, dtype=torch.float64), N=3,
                initial_scale=2.0**123, growth_interval=9),
]  # fmt: skip
overflowing = [
    scaled_loss("an overflow", 5, at={3: INF}),
    scaled_loss("an overflow at the first step", 5, at={0: INF}),
    scaled_loss("an overflow at the last step", 5, at={7: -INF}),
    scaled_loss("a NaN", 5, at={3: NAN}),
    scaled_loss("a negative infinity", 5, at={3: -INF}),
    scaled_loss("an overflow in the first entry", 5, at={3: INF}),
    scaled_loss("an overflow in a matrix of many entries", 13, 11, N=35, at={25: INF, 31: NAN}),
    scaled_loss("overflows in a row", 5, at={4: INF, 5: NAN, 6: -INF}, growth_interval=2),
    scaled_loss("an overflow where the scale would grow", 5, at={2: INF}),
    scaled_loss("an overflow just after the scale has grown", 5, at={3: INF}),
    scaled_loss("an overflow before every growth", 5, N=10, at={1: INF, 4: INF, 7: NAN}),
    scaled_loss("an overflow, and growth by its own count", 5, N=12, at={1: INF}, growth_interval=4),
    scaled_loss("a quarter after an overflow", 5, at={3: INF}, backoff_factor=0.25),
    scaled_loss("growth by four, an eighth after an overflow", 5, at={4: INF}, growth_factor=4.0, backoff_factor=0.125),
    scaled_loss("a scale that falls below 1", 5, at={0: INF, 1: INF, 2: INF, 3: INF}, initial_scale=2.0),
    scaled_loss("nothing but overflows", 4, N=3, at={0: INF, 1: NAN, 2: -INF}),
    scaled_loss("an infinity and its opposite", 4, N=6, gradients=torch.where(
        (torch.arange(6)[:, None] == 2) & (torch.arange(4) < 2), numbers(INF, -INF, 1.0, 1.0), normal("opposite", 6, 4))),
]  # fmt: skip
with_norm = [
    scaled_loss("clipped", 5, max_norm=0.5),
    scaled_loss("clipped where the scale is 65536", 5, max_norm=0.5, initial_scale=65536.0),
    scaled_loss("some clipped and some not", 5, max_norm=2.0, N=9),
    scaled_loss("a norm above every gradient", 5, max_norm=100.0, initial_scale=65536.0),
    scaled_loss("clipped, a matrix", 3, 4, max_norm=1.0),
    scaled_loss("clipped, with an overflow", 5, max_norm=0.5, at={3: INF}),
    scaled_loss("clipped, with a NaN", 5, max_norm=0.5, at={3: NAN}),
    scaled_loss("a norm of zero", 5, N=3, max_norm=0.0),
    scaled_loss(
        "clipped, one gradient of zeros",
        5,
        N=4,
        max_norm=0.5,
        gradients=normal("of zeros", 4, 5) * (torch.arange(4) != 1)[:, None],
    ),
]
steps_of_scaled_losses = [*without_overflow, *overflowing, *with_norm]

# --- Layouts and types ------------------------------------------------------------------------------------------------

strided = [
    *(made for case in of_each("strides", 3, 4, N=5) for made in layouts(case)),
    *layouts(of_shapes("strides", (3, 4), (2, 3, 5), (6,))),
    *layouts(scaled_loss("strides", 3, 4, N=5, growth_interval=2)),
    noam("steps sliced", sliced(torch.arange(1, 9)), 12, 4),
    *(scheduled(which, "steps sliced", sliced(torch.arange(9)), 0.5, 3, 9) for which in (linear_schedule, cosine_schedule)),
]  # fmt: skip
narrow_steps = [
    replace(case, tensors=(case.tensors[0].to(torch.int32),)) for case in (noams[1], noams[11], *warmed[0], *warmed[12])
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def adams_of(draw: st.DrawFn, operation: Operation[..., Any]) -> Case:
    """Parameters of any small shape, any betas and eps, gradients of any size."""
    shape, N = draw(st.lists(st.integers(1, 4), max_size=3), label="shape"), draw(st.integers(1, 9), label="N")
    betas = draw(st.sampled_from([(0.9, 0.999), (0.9, 0.98), (0.5, 0.9), (0.0, 0.99)]), label="betas")
    eps, size = draw(st.sampled_from([1e-8, 1e-3, 0.5])), 10.0 ** draw(st.integers(-4, 3), label="size")
    name = f"drawn {shape} N {N} betas {betas} eps {eps} size {size}"
    return stepped(name, operation, *shape, gradients=normal(name, N, *shape) * size, betas=betas, eps=eps)


@st.composite
def schedules(draw: st.DrawFn, operation: Operation[..., Any]) -> Case:
    """Any warm-up, total and steps."""
    warmup, more = draw(st.integers(0, 12), label="warmup"), draw(st.integers(1, 12), label="more")
    steps = draw(st.lists(st.integers(0, warmup + more), min_size=1, max_size=8), label="steps")
    if operation is noam_schedule:
        return noam(f"drawn {steps} {warmup}", [1 + step for step in steps], 1 + more, 1 + warmup)
    return scheduled(operation, f"drawn {steps} {warmup} {more}", steps, 0.5, warmup, warmup + more)


@st.composite
def losses(draw: st.DrawFn) -> Case:
    """Any growth, overflows at any steps."""
    N, interval = draw(st.integers(1, 9), label="N"), draw(st.integers(1, 4), label="interval")
    at = draw(st.dictionaries(st.integers(0, N - 1), st.sampled_from([INF, -INF, NAN]), max_size=3), label="at")
    norm = draw(st.sampled_from([None, 0.5]), label="norm")
    return scaled_loss(f"drawn {N} {interval} {at} {norm}", 4, N=N, at=at, growth_interval=interval, max_norm=norm)


drawn_directions, drawn_adams, drawn_adamws = (
    [Drawn(operation, adams_of(operation), dtypes=WIDE, draws=4)] for operation in ADAMS
)
drawn_noams, drawn_linears, drawn_cosines = (
    [Drawn(operation, schedules(operation), dtypes=WIDE, draws=6)]
    for operation in (noam_schedule, linear_schedule, cosine_schedule)
)
drawn_losses = [Drawn(loss_scaled_steps, losses(), dtypes=WIDE, draws=6)]

# --- Groups for properties --------------------------------------------------------------------------------------------

every_operation = [
    *generic[0], *sizes[2], *betas[2], noams[2], *warmed[1], above[1], below[0], without_overflow[3], overflowing[0],
    with_norm[0],
]  # fmt: skip
with_inputs = [*every_operation, *sizes[0], *decayed[:1], *above[:2], zeros[0], overflowing[3], with_norm[5]]
independent = [*generic[0], *generic[1], *shaped[0], *epsilon[0]]
skipped = [*(overflowing[i] for i in (0, 1, 3, 6, 7, 10)), *with_norm[5:]]
unscaled = [*without_overflow[3:4], *without_overflow[6:7], *with_norm[:5], overflowing[10]]

# --- Changes that properties make -------------------------------------------------------------------------------------


def first_steps_of(case: Case, count: int) -> Case:
    """The same with the first `count` gradients alone, and their rates."""
    if len(case.tensors) == 1:
        return case.changed(f"{count} steps", (case.tensors[0][:count],))
    parameter, *by_step = case.tensors
    return case.changed(f"{count} steps", (parameter, *(each[:count] for each in by_step)))


def with_another_last_step(case: Case) -> tuple[Case, Tensor]:
    """Another last gradient, and rate, and where in the result that may not show."""
    place = 0 if len(case.tensors) == 1 else 1
    tensors = [
        torch.cat([each[:-1], each[-1:] * 2 + 0.5]) if i >= place else each for i, each in enumerate(case.tensors)
    ]
    gradients = case.tensors[place]
    before = torch.arange(len(gradients)) < len(gradients) - 1
    return case.changed("another last step", tuple(tensors)), before.view(-1, *[1] * (gradients.dim() - 1))


def with_another_entry(case: Case) -> tuple[Case, Tensor]:
    """Other gradients and another parameter in the last entry, and where in the result that may not show."""
    place = 0 if len(case.tensors) == 1 else 1
    gradients = case.tensors[place]
    kept = (torch.arange(gradients[0].numel()) < gradients[0].numel() - 1).view(gradients.shape[1:])
    tensors = [
        torch.where(kept, each, each * -7 + 3) if i <= place else each for i, each in enumerate(case.tensors)
    ]  # fmt: skip
    return case.changed("another entry", tuple(tensors)), kept.expand(gradients.shape)


def enlarged(case: Case) -> Case:
    """Gradients and eps, 1e-8 unless given, sixteen times as large."""
    eps = case.options.get("eps", 1e-8)
    return case.changed("sixteen times as large", (case.tensors[0] * 16,), eps=16 * eps)


def without_decay(case: Case) -> Case:
    """A call of adam with the numbers of a call of adamw."""
    options = {name: value for name, value in case.options.items() if name != "weight_decay"}
    if "adam" not in case.derived:
        name = f"{case.name}, by adam"
        case.derived["adam"] = replace(
            case, operation=adam, name=name, options=options, numbers_of=None, origin=None, dtype=case.dtype
        )
    return case.derived["adam"]


def with_steps_in_another_order(case: Case) -> Case:
    """The same steps, the last one first, and the first one once more."""
    steps = case.tensors[0]
    return case.changed("in another order", (torch.cat([steps.flip(0), steps[:1]]),))


def at_steps(case: Case, name: str, steps: list[int]) -> Case:
    """The same schedule at other steps."""
    return case.changed(name, (torch.tensor(steps),))


def with_other_numbers_where_it_overflows(case: Case) -> Case:
    """Other finite entries in every gradient that has an infinite one or a NaN."""
    parameter, gradients = case.tensors
    overflows = ~gradients.isfinite().flatten(1).all(-1).view(-1, *[1] * parameter.dim())
    other = torch.where(overflows & gradients.isfinite(), gradients * 3 - 1, gradients)
    return case.changed("other numbers in what overflows", (parameter, other))


def others_than(case: Case) -> list[Case]:
    """Calls of the same shapes that a careless memory would take for this one."""
    if case.operation in ADAMS:
        turned = tuple(-0.5 * each if i < len(case.tensors) - 1 else each for i, each in enumerate(case.tensors))
        moved = case.changed("other numbers", turned if len(turned) > 1 else (-0.5 * case.tensors[0].flip(0),))
        return [moved, case.changed("other betas", betas=(0.3, 0.6)), case.changed("eps 1", eps=1.5)]
    if case.operation is loss_scaled_steps:
        parameter, gradients = case.tensors
        moved = case.changed("other numbers", (parameter * 2, gradients.flip(0)))
        return [moved, case.changed("another scale", initial_scale=64.0), case.changed("another rate", lr=0.3)]
    if case.operation is clip_by_global_norm:
        return [case.changed("other numbers", tuple(3 * each.flip(-1) if each.dim() else -each for each in case.tensors)),
                case.changed("another norm", max_norm=0.3)]  # fmt: skip
    later = case.changed("other steps", (case.tensors[0] + 1,))
    return [later, case.changed("another warm-up", warmup_steps=case.options["warmup_steps"] + 1)]
