"""Inputs for recurrent and convolutional layers. Weights of about one keep the past alive; small ones would hide it."""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy
import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import WIDE, Case, Drawn, integers, layouts, normal
from transpec.reference.attention import multi_head_attention, scaled_dot_product_attention
from transpec.reference.claims import convolution_stack, lstm, rnn
from transpec.reference.gpt import GptConfig, gpt
from transpec.reference.positions import sinusoidal_positional_encoding
from transpec.spec_tests.cases.feed_forward import GAP
from transpec.spec_tests.cases.layers import encoder_case as layering
from transpec.spec_tests.cases.models import matrix, nested, transposed_weights
from transpec.spec_tests.cases.tokens import with_weights
from transpec.spec_tests.cases.transformer import encoding
from transpec.spec_tests.runs.language_modelling import SHORT

GATES = ("input", "forget", "candidate", "output")


def _cell(name: str, M: int, F: int, size: float) -> dict[str, Tensor]:
    # Each step passes on about `size` of what the state says, whatever its width.
    return {
        "w_x": matrix(f"{name} w_x", M, F, size=M**-0.5), "w_h": matrix(f"{name} w_h", F, F, size=size * F**-0.5),
        "b": matrix(f"{name} b", F),
    }  # fmt: skip


def elman(name: str, *, B: int = 2, T: int = 5, M: int = 3, F: int = 4, size: float = 0.8, **fields: Any) -> Case:
    """A call of rnn."""
    return Case(rnn, name, (normal(f"{name} x", B, T, M),), _cell(name, M, F, size), **fields)


def gated(name: str, *, B: int = 2, T: int = 5, M: int = 3, F: int = 4, size: float = 0.8, **fields: Any) -> Case:
    """A call of lstm, every gate with numbers of its own."""
    weights = nested(**{gate: _cell(f"{name} {gate}", M, F, size) for gate in GATES})
    return Case(lstm, name, (normal(f"{name} x", B, T, M),), weights, **fields)


def convolving(
    name: str, *widths: int, B: int = 2, T: int = 5, K: int | tuple[int, ...] = 3, dilation_base: int = 1,
    causal: bool = False, **fields: Any,
) -> Case:  # fmt: skip
    """A call of convolution_stack through these widths, that of x first, with kernels of K rows in every layer or in each."""
    count = len(widths) - 1
    kernels = (K,) * count if isinstance(K, int) else K
    weights = {}
    for i, (kernel, read, written) in enumerate(zip(kernels, widths, widths[1:], strict=False)):
        weights[f"layers.{i}.w"] = matrix(f"{name} w {i}", kernel, read, written, size=(2 / (kernel * read)) ** 0.5)
        weights[f"layers.{i}.b"] = matrix(f"{name} b {i}", written)
    options = {"num_layers": count, "dilation_base": dilation_base, "causal": causal}
    return Case(convolution_stack, name, (normal(f"{name} x", B, T, widths[0]),), weights, options, **fields)


# --- Recurrent layers -------------------------------------------------------------------------------------------------


def _numbers(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# tanh(log 2) = 3/5 and sigmoid(log 3) = 3/4: a state of one number can be followed with a pencil.
_log2, _log3 = _numbers(2.0).log(), _numbers(3.0).log()
_one = {"w_x": _numbers([1.0]), "w_h": _numbers([1.0]), "b": _numbers(0.0)}
rnn_by_hand = [Case(rnn, "by hand", (torch.stack([_log2, _log2 - 0.6]).unsqueeze(0),), _one)]
_gate = {"w_x": _numbers([0.0]), "w_h": _numbers([0.0])}
lstm_by_hand = [
    Case(
        lstm, "by hand", (_numbers([[0.0], [0.0]]),),
        nested(input=_gate | {"b": _log3}, forget=_gate | {"b": -_log3}, candidate=_gate | {"b": _log2},
               output=_gate | {"b": _numbers(0.0)}),
        dtypes=WIDE,
    )
]  # fmt: skip


def _recurrent(make: Callable[..., Case]) -> list[Case]:
    return [
        make("generic"),
        make("a state smaller than its input", M=5, F=2),
        make("an input of one number", M=1, F=3),
        make("a state of one number", M=3, F=1, T=6),
        make("one position", T=1),
        make("two positions", T=2, B=3),
        make("a batch of one", B=1, T=7),
        make("every size 4", B=4, T=4, M=4, F=4),
        make("as many positions as sequences", B=5, T=5, M=2, F=3),
        make("17 positions", T=17, B=1, size=1.2),
        make("33 positions", T=33, M=2, F=3, size=1.0, dtypes=WIDE),
        make("65 positions", T=65, B=1, M=2, F=5, size=0.9, dtypes=WIDE),
        make("a wide state", T=3, M=7, F=67, dtypes=WIDE),
        make("many sequences", B=33, T=3, M=2, F=3, dtypes=WIDE),
    ]


rnns, lstms = _recurrent(elman), _recurrent(gated)
long = [make("261 positions", T=261, B=1, M=2, F=2, size=0.9, dtypes=WIDE) for make in (elman, gated)]


def loud(case: Case) -> Case:
    """Inputs of a hundred, at which tanh and sigmoid are flat and a careless exp overflows."""
    return case.changed("inputs of a hundred", tuple(x * 100 for x in case.tensors))


def loudest(case: Case) -> Case:
    """Inputs of ten thousand."""
    return case.changed("inputs of ten thousand", tuple(x * 1e4 for x in case.tensors))


saturated = [loud(rnns[0]), loudest(elman("saturated", dtypes=WIDE)), loud(lstms[0])]
saturated += [loudest(gated("saturated", dtypes=WIDE))]

# The cell keeps what it has: gates nearly shut and nearly open, for long.
_kept = gated("a cell that forgets little", B=1, T=40, M=2, F=3, dtypes=WIDE)
kept = [with_weights(_kept, "forget gate open", **{"forget.b": torch.full((3,), 4.0, dtype=torch.float64)})]

# --- Convolutions -----------------------------------------------------------------------------------------------------

# A probe of one at place 3 shows the kernel itself, row by row, and whether it is flipped: 1, 2, 4.
_probe = (torch.arange(7) == 3).to(torch.float64).view(1, 7, 1)
_kernel = {"layers.0.w": _numbers([[1.0]], [[2.0]], [[4.0]]), "layers.0.b": _numbers(0.0)}
convolution_by_hand = [
    Case(convolution_stack, "by hand", (_probe,), _kernel, {"num_layers": 1}),
    Case(convolution_stack, "by hand, causal", (_probe,), _kernel, {"num_layers": 1, "causal": True}),
]
convolutions = [
    convolving("one layer", 3, 4),
    convolving("one layer, causal", 3, 4, causal=True),
    convolving("two layers", 3, 4, 2),
    convolving("two layers, causal", 3, 4, 2, causal=True),
    convolving("three layers, dilated", 3, 4, 2, 5, T=11, dilation_base=2, dtypes=WIDE),
    convolving("three layers, dilated, causal", 3, 4, 2, 5, T=11, dilation_base=2, causal=True, dtypes=WIDE),
    convolving("two layers, dilated by three", 2, 3, 4, T=13, dilation_base=3, dtypes=WIDE),
    convolving("a kernel of one", 67, 4, 5, K=1),
    convolving("an even kernel", 3, 4, K=2),
    convolving("an even kernel, causal", 3, 4, K=2, causal=True),
    convolving("a kernel of four, dilated", 3, 4, 2, K=4, T=9, dilation_base=2, dtypes=WIDE),
    convolving("a kernel of nine", 2, 3, K=9, T=13),
    convolving("five kernels of unlike size", 2, 3, 4, 3, 2, 3, K=(3, 5, 1, 2, 4), T=7, dtypes=WIDE),
    convolving("a kernel longer than the sequence", 2, 3, K=7, T=3),
    convolving("a kernel longer than the sequence, causal", 2, 3, K=7, T=3, causal=True),
    convolving("one position", 3, 4, T=1),
    convolving("one position, causal", 3, 4, T=1, causal=True),
    convolving("a batch of one", 3, 4, 3, B=1),
    convolving("every size 4", 4, 4, 4, B=4, T=4, K=4, dtypes=WIDE),
    convolving("131 positions", 3, 4, 2, B=1, T=131, dtypes=WIDE),
    convolving("65 positions, dilated, causal", 2, 3, 2, 3, B=1, T=65, dilation_base=4, causal=True, dtypes=WIDE),
    convolving("many sequences", 2, 3, B=33, T=4, dtypes=WIDE),
]
no_convolution = [convolving("no layers", 3)]

# --- What is measured -------------------------------------------------------------------------------------------------

WIDTH = 8
_measured = {"B": 1, "T": 4, "M": WIDTH, "F": WIDTH, "dtypes": ("float32",)}


def attending(name: str, *, B: int, T: int, M: int, H: int = 2, size: float = 0.3, **fields: Any) -> Case:
    """A call of multi_head_attention in which a sequence attends to itself."""
    x = normal(f"{name} x", B, T, M)
    weights = {f"w_{which}": matrix(f"{name} w_{which}", M, M, size=size) for which in "qkvo"}
    return Case(multi_head_attention, name, (x, x, x), weights, {"num_heads": H}, **fields)


self_attention = attending("self-attention", B=1, T=4, M=WIDTH, dtypes=("float32",))
convolution = convolving("convolution", WIDTH, WIDTH, B=1, T=4, dtypes=("float32",))
wide_convolution = convolving("convolution, a kernel of seven", WIDTH, WIDTH, B=1, T=4, K=7, dtypes=("float32",))
dilated = convolving("dilated convolution", WIDTH, WIDTH, B=1, T=4, dilation_base=3, causal=True, dtypes=("float32",))
recurrent = [elman("recurrence", **_measured), gated("gated recurrence", **_measured)]
layers = [self_attention, *recurrent, convolution, wide_convolution, dilated]

_rows = normal("attention alone", 1, 4, WIDTH)
attention_alone = Case(scaled_dot_product_attention, "attention", (_rows, _rows, _rows), dtypes=("float32",))
costs = [attention_alone, *recurrent, convolution, wide_convolution]


def layers_that_connect(case: Case, length: int) -> int:
    """How many layers connect all positions by table 1: one; of convolutions (n - 1) / (k / 2), or log_k n where dilated."""
    if case.operation is not convolution_stack:
        return 1
    kernel = len((case.weights or {})["layers.0.w"])
    if "dilation_base" not in case.options:
        return -(-(length - 1) // (kernel // 2))
    return next(layers for layers in range(length) if kernel**layers >= length)


def _as_initialised(case: Case, forget: float = 0.0) -> Case:
    """Weights uniform up to 1 / sqrt(F) in either direction, as libraries draw them, and a bias for the forget gate."""
    weights = dict(case.weights or {})
    for name, value in weights.items():
        kind = name.rpartition(".")[2]
        bound = {"b": 0.0}.get(kind, value.shape[-1] ** -0.5)
        drawn = numpy.random.RandomState(zlib.crc32(f"{case.name} {name}".encode())).uniform(-bound, bound, value.shape)
        weights[name] = torch.from_numpy(drawn) + (forget if name == "forget.b" else 0.0)
    return with_weights(case, "as initialised", **weights)


STEPS = 512
_long = {"B": 4, "T": STEPS + 1, "M": 32, "dtypes": ("float32",)}
reached = [
    _as_initialised(elman("recurrence", F=32, **_long)),
    _as_initialised(gated("gated recurrence", F=32, **_long), forget=1.0),
    attending("self-attention", H=4, size=32**-0.5, **_long),
]

COPIER = GptConfig(vocab_size=16, d_model=32, d_ff=128, num_heads=4, num_layers=2, max_positions=24)


def _gpt_as_initialised(name: str, config: GptConfig, ids: Tensor) -> Case:
    """GPT-2's initial weights: deviation 0.02, biases of zero, gains of one."""
    M, F, V, T = config.d_model, config.d_ff, config.vocab_size, config.max_positions
    layer: dict[str, tuple[int, ...]] = {f"self_attention.w_{which}": (M, M) for which in "qkvo"} | {
        f"self_attention.b_{which}": (M,) for which in "qkvo"
    }
    layer |= {
        "feed_forward.w_1": (M, F),
        "feed_forward.b_1": (F,),
        "feed_forward.w_2": (F, M),
        "feed_forward.b_2": (M,),
    }
    layer |= {
        f"{norm}.{part}": (M,) for norm in ("self_attention_norm", "feed_forward_norm") for part in ("gain", "bias")
    }
    shapes: dict[str, tuple[int, ...]] = {"embeddings.token": (V, M), "embeddings.position": (T, M)}
    shapes |= {f"layers.{i}.{key}": shape for i in range(config.num_layers) for key, shape in layer.items()}
    shapes |= {"final_norm.gain": (M,), "final_norm.bias": (M,)}
    weights = {
        key: normal(f"{name} {key}", *shape) * 0.02 if len(shape) > 1
        else torch.full(shape, float(key.endswith("gain")), dtype=torch.float64)
        for key, shape in shapes.items()
    }  # fmt: skip
    return Case(gpt, name, (ids,), weights, dtypes=("float32",), config=config)


copying = [_gpt_as_initialised("words said twice", COPIER, integers("said twice", 16, 2, 23))]
counted = [_gpt_as_initialised("bytes", SHORT, integers("bytes", 256, 2, 64))]

# --- Order -----------------------------------------------------------------------------------------------------------


def _ordered(name: str, *, S: int = 7, M: int = 12, hidden: int | None = None, **config: Any) -> Case:
    """A call of encoder on two sequences of words of their own, whose table takes off the positions that will be added."""
    ids = torch.arange(2 * S).view(2, S)
    mask = None if hidden is None else (torch.arange(S) != hidden).expand(2, S).contiguous()
    case = encoding(name, B=2, S=S, M=M, V=2 * S, ids=ids, mask=mask, **config)
    return with_weights(
        case, "positions taken off", **{"embedding.table": _without_positions(normal(name, 2 * S, M), S)}
    )


def _without_positions(content: Tensor, length: int) -> Tensor:
    """The table whose row i, at position i modulo `length`, leaves `content` when it is scaled and its position is added."""
    width = content.shape[-1]
    positions = sinusoidal_positional_encoding(length, width, dtype=torch.float64)
    return (content - positions.repeat(len(content) // length, 1)) / width**0.5


in_no_order = [
    _ordered("no order"),
    _ordered("no order, pre-norm", norm_first=True),
    _ordered("no order, one layer, gelu", N=1, activation="gelu"),
    _ordered("no order, a hidden word", hidden=2),
    _ordered("no order, 17 words", S=17, N=1),
]
in_order = [
    encoding("an order", S=7),
    encoding("an order, pre-norm", S=7, norm_first=True),
    encoding("an order, 17", S=17),
]
layers_in_no_order = [
    layering("a layer, no order", T=7), layering("a layer, no order, pre-norm", T=7, norm_first=True),
    layering("a layer, no order, 33 positions", T=33, B=1),
]  # fmt: skip


def new_order(length: int) -> Tensor:
    """A permutation that leaves no position where it was and is not its own inverse."""
    return torch.arange(length).flip(0).roll(2 if length % 2 else 1)


def with_content_reordered(case: Case) -> Case:
    """The same words at other positions: the table is made anew, for it is the positions that take off what they add."""
    length = case.tensors[0].shape[1]
    positions = sinusoidal_positional_encoding(length, case.config.d_model, dtype=torch.float64).repeat(2, 1)
    content = (case.weights or {})["embedding.table"].double() * case.config.d_model**0.5 + positions
    reordered = content.view(2, length, -1)[:, new_order(length)].flatten(0, 1)
    table = _without_positions(reordered, length).to((case.weights or {})["embedding.table"].dtype)
    weights = {**(case.weights or {}), "embedding.table": table}
    mask = case.options.get("source_mask")
    options = {} if mask is None else {"source_mask": mask[:, new_order(length)]}
    return case.changed("words in another order", weights=weights, **options)


def reordered(case: Case) -> Case:
    """The same tokens, or the same rows, in another order."""
    (x,) = case.tensors
    return case.changed("in another order", (x[:, new_order(x.shape[1])],))


# --- What concerns all ------------------------------------------------------------------------------------------------

everything = [rnns[0], lstms[0], convolutions[2], convolutions[3]]
batches = [*everything, rnns[7], lstms[7], convolutions[18], convolutions[4]]
causal = [rnns[0], rnns[9], lstms[0], lstms[9], *(case for case in convolutions if case.options.get("causal"))]
causal = [case for case in causal if case.tensors[0].shape[1] > 1]
reaching = [rnns[0], lstms[0]]
batch_of_zero = [elman("a batch of zero", B=0), gated("a batch of zero", B=0), convolving("a batch of zero", 3, 4, B=0)]
strided = [
    variant
    for case in (elman("strides", B=3), gated("strides", B=3), convolving("strides", 3, 4, B=3))
    for variant in (*layouts(case), transposed_weights(case))
]
_sound = [elman("sizes that do not fit"), gated("sizes that do not fit"), convolving("sizes that do not fit", 3, 4)]
impossible = [
    with_weights(_sound[0], "w_x of another width", w_x=matrix("bad w_x", 2, 4)),
    with_weights(_sound[0], "w_h of another width", w_h=matrix("bad w_h", 3, 4)),
    with_weights(_sound[0], "b of another width", b=matrix("bad b", 3)),
    with_weights(_sound[1], "input.w_x of another width", **{"input.w_x": matrix("bad gate", 2, 4)}),
    with_weights(_sound[1], "forget.w_h of another width", **{"forget.w_h": matrix("bad state", 3, 4)}),
    with_weights(_sound[2], "a kernel of another width", **{"layers.0.w": matrix("bad kernel", 3, 2, 4)}),
    with_weights(_sound[2], "a bias of another width", **{"layers.0.b": matrix("bad bias", 3)}),
]


def clear_of_kinks(case: Case) -> Case:
    """The case, each bias moved so that for its unit zero lies in the middle of the widest gap between its sums."""
    weights, x, narrowest = dict(case.weights or {}), case.tensors[0], math.inf
    for i in range(case.options["num_layers"]):
        sums = _sums(x, weights[f"layers.{i}.w"], case.options.get("dilation_base", 1) ** i, case.options)
        ordered = sums.flatten(0, 1).sort(0).values
        below = ordered.diff(dim=0).argmax(0, keepdim=True)
        low, high = ordered.gather(0, below).squeeze(0), ordered.gather(0, below + 1).squeeze(0)
        weights[f"layers.{i}.b"] = -(low + high) / 2
        narrowest = min(narrowest, float((high - low).min()) / 2)
        x = torch.relu(sums + weights[f"layers.{i}.b"])
    dtypes = tuple(dtype for dtype in case.dtypes if GAP[dtype] <= narrowest)
    return replace(case.changed("clear of kinks", weights=weights), dtypes=dtypes)


def _sums(x: Tensor, kernel: Tensor, dilation: int, options: Mapping[str, Any]) -> Tensor:
    """What ReLU gets in one layer without a bias: a bias of a thousand carries every sum over the kink, and is taken off."""
    spread = kernel.new_zeros((len(kernel) - 1) * dilation + 1, *kernel.shape[1:])
    spread[::dilation] = kernel
    one = {"layers.0.w": spread, "layers.0.b": kernel.new_full(kernel.shape[-1:], 1000.0)}
    return convolution_stack(x, one, num_layers=1, causal=options.get("causal", False)) - 1000.0


differentiable = [*rnns, *lstms, saturated[0], saturated[2], *kept]
differentiable += [clear_of_kinks(case) for case in convolutions if case.tensors[0].shape[1] > 1]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def recurrences(draw: st.DrawFn, make: Callable[..., Case]) -> Case:
    """A recurrent layer of any small size."""
    sizes = {letter: draw(st.integers(1, 6), label=letter) for letter in "BTMF"}
    size, seed = draw(st.sampled_from([0.3, 0.8, 1.2]), label="size"), draw(st.integers(0, 999), label="seed")
    return make(f"drawn {sizes} size {size:g} seed {seed}", **sizes, size=size)


@st.composite
def stacks(draw: st.DrawFn) -> Case:
    """A convolution stack of up to three layers of any small width, kernel and dilation."""
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4), label="widths")
    kernels = tuple(draw(st.integers(1, 4), label="K") for _ in widths[1:])
    sizes = {"B": draw(st.integers(1, 3), label="B"), "T": draw(st.integers(1, 9), label="T")}
    base, causal = draw(st.integers(1, 3), label="dilation base"), draw(st.booleans(), label="causal")
    seed = draw(st.integers(0, 999), label="seed")
    name = f"drawn {sizes} widths {widths} kernels {kernels} base {base} causal {causal} seed {seed}"
    return convolving(name, *widths, **sizes, K=kernels, dilation_base=base, causal=causal)


drawn_rnn = [Drawn(rnn, recurrences(elman))]
drawn_lstm = [Drawn(lstm, recurrences(gated))]
drawn_convolutions = [Drawn(convolution_stack, stacks(), dtypes=WIDE)]


# --- Changes that properties make -------------------------------------------------------------------------------------


def with_another_future(case: Case) -> tuple[Case, Tensor]:
    """Other numbers from the middle of every sequence on, and where in the result that may not show."""
    (x,) = case.tensors
    past = (torch.arange(x.shape[1]) < (x.shape[1] + 1) // 2).view(1, -1, 1)
    return case.changed("another future", (torch.where(past, x, x * 100 + 30),)), past


def last_sequence(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence of the batch alone, which a state that runs along the batch reaches, and how to pick it out."""
    return case.changed("the last alone", (case.tensors[0][-1:],)), lambda result: result[-1:]


def prefix(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """All positions but the last two, or but the last, alone; and how to pick them out of the result of all."""
    (x,) = case.tensors
    kept = max(1, x.shape[1] - 2)
    return case.changed("the beginning alone", (x[:, :kept],)), lambda result: result[:, :kept]
