"""Inputs for the feed-forward network. Its sizes differ wherever they can; GELU's two forms part at |x| from 1 to 4."""

from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import WIDE, Case, Drawn, batch_last, cut_out, layouts, normal, sliced, transposed
from transpec.reference.feed_forward import feed_forward
from transpec.spec_tests.cases.tokens import BLOCK_EDGES, with_weights

# How far inner sums of about one have to stay from ReLU's kink, that no rounding carries them across: 100 spreads.
GAP = {"float64": 1e-12, "float32": 1e-4, "float16": 0.3, "bfloat16": 3.0}


def network(
    name: str, lead: tuple[int, ...] = (2, 3), M: int = 5, F: int = 11, size: float = 1.0, **fields: object
) -> Case:
    """A call with ReLU on normal numbers; the inner sums are of about `size`."""
    weights = {
        "w_1": normal(f"{name} w_1", M, F) * M**-0.5,
        "b_1": normal(f"{name} b_1", F) * 0.5 * size,
        "w_2": normal(f"{name} w_2", F, M) * F**-0.5,
        "b_2": normal(f"{name} b_2", M) * 0.5,
    }
    return Case(feed_forward, name, (normal(f"{name} x", *lead, M) * size,), weights, **fields)


def activation_alone(name: str, points: Tensor, **fields: object) -> Case:
    """Tokens of one entry each, through one inner unit of weight 1 and bias 0: the result is the activation itself."""
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    weights = {"w_1": one, "b_1": zero, "w_2": one, "b_2": zero}
    return Case(feed_forward, name, (points.unsqueeze(-1),), weights, **fields)


def with_activation(activation: str, cases: list[Case]) -> list[Case]:
    """The same calls with an activation that is not the default."""
    return [case.changed(activation, activation=activation) for case in cases]


def clear_of_kinks(case: Case) -> Case:
    """The case with `b_1` moved so that, for every unit, zero lies in the middle of the widest gap between its sums."""
    weights = case.weights or {}
    sums = (case.tensors[0] @ weights["w_1"] + weights["b_1"]).flatten(0, -2).sort(0).values
    below = sums.diff(dim=0).argmax(0, keepdim=True)
    low, high = sums.gather(0, below).squeeze(0), sums.gather(0, below + 1).squeeze(0)
    moved = with_weights(case, "clear of kinks", b_1=weights["b_1"] - (low + high) / 2)
    gap = float((high - low).min()) / 2
    return replace(moved, dtypes=tuple(dtype for dtype in case.dtypes if GAP[dtype] <= gap))


# --- The formula ------------------------------------------------------------------------------------------------------


def _by_hand() -> Case:
    """Two entries, three units, weights of 0, 1 and -1: one unit is inactive for each token."""
    x = torch.tensor([[1.0, 2], [3, -1]], dtype=torch.float64)
    weights = {
        "w_1": torch.tensor([[1.0, 0, -1], [0, 1, 1]], dtype=torch.float64),
        "b_1": torch.tensor([0.0, 0, 1], dtype=torch.float64),
        "w_2": torch.tensor([[1.0, 0], [0, 1], [1, -1]], dtype=torch.float64),
        "b_2": torch.tensor([10.0, 20], dtype=torch.float64),
    }
    return Case(feed_forward, "by hand", (x,), weights)


def _with_a_token_of_zeros(case: Case) -> Case:
    """What padding often is: its result is what the biases make."""
    (x,) = case.tensors
    return case.changed("a token of zeros among others", (x * (torch.arange(x.shape[-2]) != 1).unsqueeze(-1),))


by_hand = [_by_hand()]
grid = [activation_alone("the activation from -6 to 6", torch.arange(-24, 25, dtype=torch.float64) / 4)]
generic = [
    network("generic"),
    network("inner layer narrower than the model", M=7, F=3),
    network("inner layer as wide as the model", M=6, F=6),
    network("every axis of one size", (4, 4), M=4, F=4),
    network("one inner unit", F=1),
    network("tokens of one entry", M=1, F=7),
    network("one token", (1,)),
    network("a batch of one", (1, 3)),
    network("sequences of one token", (3, 1)),
    network("129 sequences", (129, 2), M=3, F=4, dtypes=WIDE),
    network("inner sums of 3", size=3.0),
    _with_a_token_of_zeros(network("zeros")),
]
units_at_rest = [  # sums near 9 are too coarse in bfloat16 to tell a GELU from another
    with_weights(network("every inner sum negative"), "b_1 of -9", b_1=torch.full((11,), -9.0, dtype=torch.float64)),
    with_weights(
        network("every inner sum positive", dtypes=(*WIDE, "float16")),
        "b_1 of 9",
        b_1=torch.full((11,), 9.0, dtype=torch.float64),
    ),
]
sizes = [
    network(f"{tokens} tokens of {M} entries, {F} inner units", (tokens,), M=M, F=F, dtypes=WIDE)
    for tokens, M, F in [
        *zip(BLOCK_EDGES[4:] + BLOCK_EDGES[:4], BLOCK_EDGES, reversed(BLOCK_EDGES), strict=True),
        (3, 257, 1025),
        (5, 1025, 257),
        (2, 5, 4097),
        (4097, 3, 5),
    ]
]
leading_axes = [
    network("no leading axes", ()),
    network("one leading axis", (3,)),
    network("two leading axes", (3, 4)),
    network("three leading axes", (2, 3, 4)),
    network("four leading axes", (2, 1, 3, 4)),
]

# --- Stability --------------------------------------------------------------------------------------------------------

far_out = [
    activation_alone(
        "the activation of ±9 to ±1e4",
        torch.tensor([9.0, -9, 20, -20, 50, -50, 100, -100, 1e3, -1e3, 1e4, -1e4], dtype=torch.float64),
        dtypes=WIDE,
    ),
    network("inner sums of 1000", size=1000.0, dtypes=WIDE),
]
near_zero = [
    activation_alone(
        "the activation about zero", torch.tensor([0.0, 1e-7, -1e-7, 1e-3, -1e-3], dtype=torch.float64), dtypes=WIDE
    ),
    network("inner sums of 1e-3", size=1e-3, dtypes=WIDE),
]

# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = [network("a batch of zero", (0, 3))]
strided = layouts(network("strides", (3, 4)))
strided_together = [
    case.changed(
        name,
        (layout(case.tensors[0]),),
        {w: layout(v) if v.dim() > 1 else sliced(v) for w, v in (case.weights or {}).items()},
    )
    for case in [network("all at once", (3, 33), M=17, F=7, dtypes=WIDE)]
    for name, layout in {
        "transposed": transposed,
        "sliced": sliced,
        "batch-last": batch_last,
        "cut out": cut_out,
    }.items()
]
_sound = network("shapes that do not fit")
impossible = [
    _sound.changed("x wider than the rows of w_1", (normal("wide x", 2, 3, 6),)),
    _sound.changed("x narrower than the rows of w_1", (normal("narrow x", 2, 3, 4),)),
    with_weights(_sound, "b_1 of another width", b_1=normal("bad b_1", 10)),
    with_weights(_sound, "w_2 with fewer rows than inner units", w_2=normal("bad w_2", 10, 5)),
    with_weights(_sound, "w_2 with more rows than inner units", w_2=normal("bad w_2 2", 12, 5)),
    with_weights(_sound, "b_2 of another width", b_2=normal("bad b_2", 4)),
]
unknown_activation = with_activation("swish", [network("an activation of no such name")])

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn, activation: str) -> Case:
    """The network with any small sizes, leading axes and magnitude."""
    sizes = {letter: draw(st.integers(1, 17), label=letter) for letter in "MF"}
    lead = tuple(draw(st.lists(st.integers(1, 4), max_size=3), label="lead"))
    size = draw(st.sampled_from([1.0, 0.1, 3.0]), label="size")
    seed = draw(st.integers(0, 999), label="seed")
    case = network(f"drawn {lead} {sizes} size {size:g} seed {seed}", lead, **sizes, size=size)
    return case if activation == "relu" else with_activation(activation, [case])[0]


drawn_relu = [Drawn(feed_forward, networks("relu"))]
drawn_gelu = [Drawn(feed_forward, networks("gelu"))]
drawn_gelu_tanh = [Drawn(feed_forward, networks("gelu_tanh"))]

# --- Groups for properties --------------------------------------------------------------------------------------------

tokens = [generic[0], generic[3], generic[7], generic[8], *leading_axes[1:], *with_activation("gelu", [generic[0]])]
in_batches = [generic[0], generic[3], generic[8], leading_axes[3], *with_activation("gelu", [generic[0]])]
inner_units = [generic[0], generic[2], sizes[5], *with_activation("gelu_tanh", [generic[0]])]
every_activation = [
    generic[0],
    leading_axes[1],
    *with_activation("gelu", [generic[0]]),
    *with_activation("gelu_tanh", [generic[0]]),
]
smooth = [
    generic[0], *generic[1:3], generic[5], *units_at_rest, leading_axes[0], leading_axes[1], leading_axes[3], sizes[5],
    strided[0], far_out[0], grid[0],
]  # fmt: skip
differentiable = [
    *(
        clear_of_kinks(case)
        for case in [*generic[:6], generic[10], leading_axes[1], leading_axes[3], sizes[5], strided[0]]
    ),
    *units_at_rest,
    *with_activation("gelu", smooth),
    *with_activation("gelu_tanh", smooth),
]


def with_inner_units_reordered(case: Case) -> Case:
    """The inner units in reverse order in every weight."""
    weights = dict(case.weights or {})
    turned = {"w_1": weights["w_1"].flip(-1), "b_1": weights["b_1"].flip(-1), "w_2": weights["w_2"].flip(0)}
    return with_weights(case, "inner units reordered", **turned)
