"""Inputs for GPT, whole and in pieces. What look-ahead hides anyway shows nothing: masks hide tokens in front as well.

Embeddings are as large as what layers add to them, so that neither drowns the other in the logits.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import WIDE, Case, Drawn, layouts
from transpec.operations import Operation
from transpec.reference.gpt import GptConfig, gpt, gpt_cached
from transpec.spec_tests.cases.models import (
    HIDDEN_OF_140,
    MODEL_DTYPES,
    PADDED_19,
    Weights,
    asked_at,
    encoder_layer_weights,
    far_from_zero,
    matrix,
    nested,
    norm,
    real,
    stacked,
    steep,
    token_ids,
    transposed_weights,
    with_other_ids_and_weights,
    with_other_ids_where,
    with_silent_sublayers,
)

EMBEDDED = 0.7  # size of an entry of either table


def model(
    name: str,
    *,
    B: int = 2,
    T: int = 5,
    V: int = 17,
    M: int = 12,
    F: int = 20,
    H: int = 3,
    L: int = 2,
    P: int = 11,
    ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    dtypes: tuple[str, ...] = WIDE,
    **config: Any,
) -> Case:
    """A call of gpt; every weight, ids and the rest of the configuration being told by the name."""
    made = GptConfig(vocab_size=V, d_model=M, d_ff=F, num_heads=H, num_layers=L, max_positions=P, **config)
    ids = token_ids(name, V, B, T) if ids is None else ids
    options = {"attention_mask": attention_mask, "position_ids": position_ids}
    return Case(gpt, name, (ids,), model_weights(name, made), options, dtypes, config=made)


def model_weights(name: str, config: GptConfig) -> Weights:
    """Those of `gpt` in the sizes of a configuration."""
    V, M, P = config.vocab_size, config.d_model, config.max_positions
    token = matrix(f"{name} token", V, M, size=EMBEDDED)
    made = {"embeddings.token": token, "embeddings.position": matrix(f"{name} position", P, M, size=EMBEDDED)}
    made |= stacked([encoder_layer_weights(f"{name} {i}", M, config.d_ff) for i in range(config.num_layers)])
    return made | (nested(final_norm=norm(f"{name} final", M)) if config.norm_first else {})


def in_pieces(case: Case, *steps: int, name: str = "") -> Case:
    """The same call in pieces of these lengths."""
    said = name or f"in pieces of {', '.join(map(str, steps))}"
    return _as(gpt_cached, case, f"{case.name}, {said}", {**case.options, "steps": steps})


def whole(case: Case) -> Case:
    """The call of gpt that a call of gpt_cached is to agree with."""
    options = {name: value for name, value in case.options.items() if name != "steps"}
    return _kept(case, "whole", lambda: _as(gpt, case, f"{case.name}, whole", options))


def _as(operation: Operation[..., Any], case: Case, name: str, options: dict[str, Any]) -> Case:
    return replace(case, operation=operation, name=name, options=options, numbers_of=None, origin=None)


def _kept(case: Case, name: str, make: Callable[[], Case]) -> Case:
    """What `make` gives, made once for a case, so that implementations share what the oracle says of it."""
    if name not in case.derived:
        case.derived[name] = make()
    return case.derived[name]


def counted(attention_mask: Tensor) -> Tensor:
    """Positions that count tokens and not padding; padding has whatever position."""
    return torch.where(attention_mask, attention_mask.cumsum(-1) - 1, 1)


# --- The formula ------------------------------------------------------------------------------------------------------


def _by_hand() -> Case:
    """No layer and no norm: logits are (E_token + E_position) E_token^T, in whole numbers."""
    config = GptConfig(
        vocab_size=3, d_model=2, d_ff=1, num_heads=1, num_layers=0, max_positions=4, norm_first=False
    )  # fmt: skip
    weights = {"token": [[1, 0], [0, 1], [1, 1]], "position": [[0, 0], [2, 0], [0, 3], [5, 5]]}
    tables = {f"embeddings.{name}": torch.tensor(rows, dtype=torch.float64) for name, rows in weights.items()}
    return Case(gpt, "by hand", (torch.tensor([[0, 2, 1]]),), tables, dtypes=MODEL_DTYPES, config=config)


by_hand = [_by_hand()]
no_layers = [
    model("no layer, pre-norm", L=0, dtypes=MODEL_DTYPES),
    model("no layer, post-norm", L=0, norm_first=False, dtypes=MODEL_DTYPES),
]
one_layer = [
    model("one layer, pre-norm", L=1, dtypes=MODEL_DTYPES),
    model("one layer, post-norm", L=1, norm_first=False, activation="gelu", dtypes=MODEL_DTYPES),
]
generic = [
    model("generic"),
    model("post-norm", norm_first=False),
]
sizes = [
    model("as many sequences as heads", B=3),
    model("as many sequences as tokens", B=4, T=4),
    model("as many sequences as entries of a head", B=4, T=3),
    model("as many tokens as heads", T=3),
    model("as many tokens as entries of a head", T=4),
    model("as many words as entries", V=12, P=12),
    model("as many positions as words", V=11),
    model("as many inner units as entries", F=12),
    model("every size 4", B=4, T=4, V=4, M=4, F=4, H=4, P=4),
    model("one head", M=7, H=1),
    model("heads of one entry", M=5, H=5, L=1),
    model("a batch of one", B=1),
    model("one token", T=1),
    model("one token in a batch of one", B=1, T=1, norm_first=False),
    model("as many tokens as positions", T=11),
    model("more sequences than tokens", B=7, T=2, L=1),
    model("17 tokens", B=1, T=17, M=6, F=5, P=19, L=1),
    model("33 tokens", B=1, T=33, M=6, F=5, P=34, L=1),
]
ids = [
    model("only id 0", ids=torch.zeros(2, 5, dtype=torch.int64), L=1),
    model("only the last id", ids=torch.full((2, 5), 16), L=1),
    model("id 0 among others", ids=torch.tensor([[3, 0, 7, 0, 5], [0, 2, 0, 16, 1]])),
    model(
        "ids and positions beyond 256",
        B=1,
        T=4,
        V=300,
        P=300,
        M=6,
        F=5,
        L=1,
        ids=torch.tensor([[299, 255, 3, 256]]),
        position_ids=torch.tensor([[298, 0, 256, 255]]),
    ),
    model("sequences alike", ids=torch.tensor([[4, 1, 4, 9, 1]] * 2), L=1),
]
sized = {case.name: case for case in [*sizes, *ids]}
everything = [
    model("post-norm, relu, eps 0.1", norm_first=False, activation="relu", eps=0.1),
    model("three layers, gelu, eps 1e-12, one head", L=3, M=5, H=1, activation="gelu", eps=1e-12),
]

activations = [
    model(f"{activation}, {'pre' if norm_first else 'post'}-norm", L=1, activation=activation, norm_first=norm_first)
    for activation in ("gelu_tanh", "gelu", "relu")
    for norm_first in (True, False)
]
epsilon = [
    model("eps 1", L=1, eps=1.0),
    model("eps 1, post-norm", L=1, eps=1.0, norm_first=False),
    model("eps 0.1", eps=0.1),
    model("eps 1 of the last norm alone", L=0, eps=1.0),
    model("eps 1e-3", L=1, eps=1e-3),
    model("eps 0", L=1, eps=0.0),
]
many_layers = [
    model("three layers", L=3),
    model("three layers, post-norm", L=3, norm_first=False),
    # Names of layers sort as words: 10 before 2.
    model("eleven layers", B=1, T=3, V=5, M=4, F=3, H=2, L=11, P=5),
]


silent = [with_silent_sublayers(case) for case in (*one_layer, *generic)]


far = [far_from_zero(model("no layer", V=5, L=0))]

# --- Positions --------------------------------------------------------------------------------------------------------

PERMUTED = torch.tensor([[3, 1, 4, 0, 2], [7, 2, 9, 5, 8]])
positioned = [
    model("positions permuted, unlike per sequence", position_ids=PERMUTED),
    model("positions permuted, one layer", L=1, position_ids=PERMUTED.flip(0), norm_first=False),
    model("positions from 4 and from 6", position_ids=torch.arange(5) + torch.tensor([[4], [6]])),
    model("positions all 0", position_ids=torch.zeros(2, 5, dtype=torch.int64)),
    model("positions that start anew", position_ids=torch.tensor([[0, 1, 0, 1, 2], [0, 1, 2, 3, 0]])),
    model("positions of a batch of one", B=1, position_ids=PERMUTED[1:]),
]
unpositioned = [
    *generic,
    one_layer[0],
    no_layers[0],
    sized["as many tokens as heads"],
    sized["a batch of one"],
    sized["as many tokens as positions"],
]

# --- Attention masks --------------------------------------------------------------------------------------------------

HOLES = torch.tensor([[1, 1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 0, 1, 1], [1, 0, 1, 1, 0, 1, 1]]).bool()
LENGTHS = (7, 4, 2)
RIGHT, LEFT = real(*LENGTHS, width=7), real(*LENGTHS, width=7, side="left")


def padded(name: str, attention_mask: Tensor, **more: Any) -> Case:
    """A call whose sequences are padded by a mask."""
    B, T = attention_mask.shape
    return model(name, B=B, T=T, attention_mask=attention_mask, **more)


padded_right = [
    padded("padded on the right", RIGHT),
    padded("padded on the right, post-norm", RIGHT, norm_first=False),
    padded("padded on the right, a batch of one", RIGHT[1:2], L=1),
]
padded_left = [
    padded("padded on the left", LEFT, position_ids=counted(LEFT)),
    padded("padded on the left, post-norm", LEFT, position_ids=counted(LEFT), norm_first=False),
    padded("padded on the left, a batch of one", LEFT[1:2], position_ids=counted(LEFT[1:2]), L=1),
    padded("padded on the left, as many sequences as heads and entries", LEFT, position_ids=counted(LEFT), M=9, L=1),
]
holes = [
    padded("hidden tokens unlike per sequence", HOLES),
    padded("hidden tokens, post-norm", HOLES, norm_first=False, L=1),
    padded("hidden tokens, a batch of one", HOLES[1:2]),
    padded("hidden tokens, as many as heads", HOLES[:2], H=2, L=1),
    padded("hidden tokens, as many sequences as tokens", HOLES[:, :3], L=1),
    padded("hidden tokens, six sequences of two heads", torch.cat([HOLES, HOLES.flip(0)]), H=2, L=1),
    padded("hidden tokens, first and last sequences alike", HOLES[[0, 1, 0]], L=1),
    padded("hidden tokens at positions counted without them", HOLES, position_ids=counted(HOLES)),
    padded("padded on the left, positions of the padding too", LEFT, L=1),
    padded("one token of each", torch.eye(5).bool(), L=1, position_ids=torch.arange(5).repeat(5, 1)),
]
holed = {case.name: case for case in holes}
masked = [*padded_right, *padded_left, *holes]
# Tokens beyond 64, heads beyond eight, inner units beyond 64; hidden tokens come in everywhere.
LONG = torch.arange(70).remainder(torch.tensor([[7], [3]])) != 2


crossed = [
    padded("hidden tokens, three layers of one head", HOLES, L=3, M=5, H=1, activation="gelu"),
    padded("hidden tokens, three layers, post-norm", HOLES, L=3, norm_first=False),
    padded("hidden tokens, 70 tokens, nine heads", LONG, M=18, F=65, H=9, P=71, L=1),
    steep(padded("hidden tokens", HOLES, L=1), "loud queries and keys"),
]
# More sequences, tokens and entries than fit into blocks, chunks or fixed tables.
beyond_blocks = [
    padded("19 sequences, padded", PADDED_19, M=6, F=5, L=1),
    padded("140 tokens, hidden tokens", HIDDEN_OF_140.unsqueeze(0), M=6, F=5, P=141, L=1),
    model("66 entries, 130 inner entries", B=1, M=66, F=130, L=1),
]
nothing_hidden = [
    case.changed("everything visible", attention_mask=torch.ones(case.tensors[0].shape, dtype=torch.bool))
    for case in (*generic, sized["id 0 among others"], sized["a batch of one"], sized["one token"], positioned[0])
]

# --- In pieces --------------------------------------------------------------------------------------------------------

in_steps = [
    in_pieces(generic[0], 1, 1, 1, 1, 1),
    in_pieces(generic[0], 2, 3),
    in_pieces(generic[0], 3, 1, 1),
    in_pieces(generic[0], 5),
    in_pieces(generic[0], 1, 3, 1),
    in_pieces(generic[1], 2, 3),
    in_pieces(generic[1], 2, 1, 1, 1),
    in_pieces(sized["as many tokens as positions"], 4, 1, 5, 1),
    in_pieces(many_layers[0], 2, 2, 1),
    in_pieces(everything[0], 2, 1, 2),
    in_pieces(everything[1], 3, 1, 1),
    in_pieces(activations[4], 2, 3),
    in_pieces(epsilon[0], 2, 3),
]
in_steps_of_sizes = [
    in_pieces(sized["as many sequences as heads"], 3, 2),
    in_pieces(sized["as many sequences as tokens"], 2, 2),
    in_pieces(sized["as many sequences as entries of a head"], 2, 1),
    in_pieces(sized["as many words as entries"], 2, 3),
    in_pieces(sized["every size 4"], 2, 1, 1),
    in_pieces(sized["one head"], 2, 3),
    in_pieces(sized["heads of one entry"], 4, 1),
    in_pieces(sized["a batch of one"], 2, 3),
    in_pieces(sized["one token"], 1),
    in_pieces(sized["one token in a batch of one"], 1),
    in_pieces(sized["17 tokens"], 16, 1),
    in_pieces(sized["33 tokens"], 15, 16, 2),
    in_pieces(sized["id 0 among others"], 2, 3),
    in_pieces(sized["ids and positions beyond 256"], 3, 1),
    in_pieces(sized["sequences alike"], 2, 3),
    in_pieces(many_layers[2], 2, 1),
]
in_steps_small = [
    in_pieces(no_layers[0], 2, 3),
    in_pieces(no_layers[1], 2, 1, 2),
    in_pieces(one_layer[0], 2, 3),
    in_pieces(one_layer[1], 2, 3),
    in_pieces(one_layer[0], 3, 1, 1),
]
in_steps_positioned = [
    in_pieces(positioned[0], 2, 3),
    in_pieces(positioned[0], 3, 1, 1),
    in_pieces(positioned[1], 1, 1, 3),
    in_pieces(positioned[2], 4, 1),
    in_pieces(positioned[4], 2, 3),
    in_pieces(positioned[5], 2, 3),
]
in_steps_left = [
    in_pieces(padded_left[0], 5, 1, 1, name="prompt, then token by token"),
    in_pieces(padded_left[0], 3, 4),
    in_pieces(padded_left[1], 4, 2, 1),
    in_pieces(padded_left[2], 4, 3),
    in_pieces(padded_left[2], 1, 1, 1, 1, 1, 1, 1),
]
in_steps_right = [
    in_pieces(padded_right[0], 3, 4),
    in_pieces(padded_right[1], 5, 1, 1),
    in_pieces(padded_right[2], 2, 5),
]
# A prompt padded on the right is followed by tokens that are there in every sequence.
PROMPTS = torch.cat([real(4, 2, 3, width=4), torch.ones(3, 3, dtype=torch.bool)], -1)
prompts = [
    padded("prompts padded on the right", PROMPTS, position_ids=counted(PROMPTS)),
    padded("prompts padded on the right, post-norm", PROMPTS, position_ids=counted(PROMPTS), norm_first=False, L=1),
]
prompts_in_steps = [
    in_pieces(prompts[0], 4, 1, 1, 1),
    in_pieces(prompts[0], 4, 3),
    in_pieces(prompts[1], 4, 2, 1),
]
in_steps_masked = [
    *in_steps_left,
    *in_steps_right,
    *prompts_in_steps,
    in_pieces(holed["hidden tokens unlike per sequence"], 2, 3, 2),
    in_pieces(holed["hidden tokens, post-norm"], 3, 1, 3),
    in_pieces(holed["hidden tokens, a batch of one"], 2, 5),
    in_pieces(holed["hidden tokens, as many as heads"], 4, 1, 2),
    in_pieces(holed["hidden tokens, six sequences of two heads"], 3, 4),
    in_pieces(holed["hidden tokens at positions counted without them"], 1, 3, 3),
]
in_steps_crossed = [
    in_pieces(crossed[0], 7, name="in one piece"),
    in_pieces(crossed[1], 3, 2, 2),
    in_pieces(crossed[2], 60, 1, 6, 1, 2),
    in_pieces(crossed[3], 4, 3),
]
in_steps_nothing_hidden = [
    in_pieces(nothing_hidden[0], 2, 3),
    in_pieces(nothing_hidden[1], 3, 1, 1),
    in_pieces(nothing_hidden[2], 2, 3),
    in_pieces(nothing_hidden[3], 1, 4),
]
every_step = [*in_steps, *in_steps_of_sizes, *in_steps_small, *in_steps_positioned, *in_steps_masked]
in_steps_beyond_blocks = [
    in_pieces(beyond_blocks[0], 2, 2),
    in_pieces(beyond_blocks[1], 1, 68, 70, 1),
    in_pieces(beyond_blocks[2], 4, 1),
    # One token after the other until there are more than fit into a first cache.
    in_pieces(model("34 tokens", B=1, T=34, M=6, F=5, P=35, L=1), *[1] * 34, name="one by one"),
]
stepped = {case.name: case for case in every_step}

# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = [
    model("a batch of zero", B=0),
    in_pieces(model("a batch of zero", B=0), 2, 3),
]


def _strided() -> list[Case]:
    case = padded("strides", HOLES[:2, :5], L=1, position_ids=PERMUTED, dtypes=MODEL_DTYPES)
    # Layouts of the weights are for all of them at once: one at a time would be a hundred cases.
    inputs = [
        replace(made, weights=case.weights, dtypes=case.dtypes, numbers_of=case if made.numbers_of else None)
        for made in layouts(replace(case, weights={}))
    ]
    return [*inputs, transposed_weights(case)]


strided = _strided()
strided_in_steps = [in_pieces(case, 2, 3) for case in strided if "expanded" not in case.name]

_one = model("out of range", L=1, B=1, T=3)
out_of_range = [
    _one.changed("an id after the last", (torch.tensor([[3, 17, 2]]),)),
    _one.changed("an id far beyond the table", (torch.tensor([[3, 1, 1000]]),)),
    _one.changed("a negative id", (torch.tensor([[3, -1, 2]]),)),
    _one.changed("a position after the last", position_ids=torch.tensor([[0, 11, 2]])),
    _one.changed("more tokens than positions", (torch.arange(12).unsqueeze(0),)),
]
out_of_range_in_steps = [
    in_pieces(out_of_range[0], 2, 1),
    in_pieces(out_of_range[3], 1, 2),
    in_pieces(out_of_range[4], 11, 1),
]
steps_that_do_not_add_up = [
    in_pieces(generic[0], 2, 2),
    in_pieces(generic[0], 2, 4),
    in_pieces(generic[0], 5, 1),
    in_pieces(generic[0], name="no pieces"),
    in_pieces(generic[0], 2, 0, 3),
    in_pieces(generic[0], 6, -1),
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def models(draw: st.DrawFn) -> Case:
    """GPTs of any small sizes, norm placement, activation, mask and positions."""
    B, T, V = draw(st.integers(1, 4), label="B"), draw(st.integers(1, 7), label="T"), draw(st.integers(2, 9), label="V")
    H, E = draw(st.integers(1, 3), label="H"), draw(st.integers(2, 4), label="E")
    F, L = draw(st.integers(1, 9), label="F"), draw(st.integers(0, 2), label="L")
    norm_first = draw(st.booleans(), label="norm_first")
    activation = draw(st.sampled_from(["gelu_tanh", "gelu", "relu"]), label="activation")
    kind = draw(st.sampled_from(["none", "left", "right"]), label="padding")
    name = f"drawn B{B} T{T} V{V} H{H} E{E} F{F} L{L} {'pre' if norm_first else 'post'} {activation} padding {kind}"
    mask = None if kind == "none" else real(*(1 + (3 * b + T) % T for b in range(B)), width=T, side=kind)
    positions = counted(mask) if mask is not None and kind == "left" else None
    return model(
        name, B=B, T=T, V=V, M=H * E, F=F, H=H, L=L, P=T + 2, norm_first=norm_first, activation=activation,
        attention_mask=mask, position_ids=positions,
    )  # fmt: skip


@st.composite
def pieces(draw: st.DrawFn) -> Case:
    """The same in any pieces."""
    case = draw(models())
    left, steps = case.tensors[0].shape[-1], []
    while left:
        steps.append(draw(st.integers(1, left), label="step"))
        left -= steps[-1]
    return in_pieces(case, *steps)


drawn = [Drawn(gpt, models(), dtypes=WIDE, draws=5)]
drawn_in_steps = [Drawn(gpt_cached, pieces(), dtypes=WIDE, draws=3)]

# --- Groups for properties --------------------------------------------------------------------------------------------

causal = [
    *generic,
    one_layer[0],
    *many_layers[:2],
    sized["as many sequences as entries of a head"],
    sized["as many tokens as heads"],
    sized["every size 4"],
    sized["a batch of one"],
    sized["33 tokens"],
    positioned[0],
]
causal_masked = [*padded_right[:2], *padded_left[:3], *holes[:3], *nothing_hidden[:2]]
causal_in_steps = [
    # A piece of three after a past of two; the future begins inside it.
    stepped["generic, in pieces of 2, 3"],
    stepped["generic, in pieces of 3, 1, 1"],
    stepped["generic, in pieces of 5"],
    stepped["generic, in pieces of 1, 3, 1"],
    stepped["post-norm, in pieces of 2, 3"],
    stepped["post-norm, relu, eps 0.1, in pieces of 2, 1, 2"],
    stepped["33 tokens, in pieces of 15, 16, 2"],
    stepped["as many sequences as entries of a head, in pieces of 2, 1"],
    stepped["padded on the left, in pieces of 3, 4"],
    stepped["hidden tokens unlike per sequence, in pieces of 2, 3, 2"],
    in_steps_nothing_hidden[0],
]
shown = [
    *generic,
    one_layer[0],
    many_layers[0],
    sized["as many sequences as entries of a head"],
    sized["33 tokens"],
    positioned[0],
    padded_left[0],
    holed["hidden tokens unlike per sequence"],
]
shown_in_steps = [
    stepped["generic, in pieces of 2, 3"],
    stepped["generic, in pieces of 3, 1, 1"],
    stepped["post-norm, in pieces of 2, 3"],
    stepped["padded on the left, in pieces of 3, 4"],
    stepped["hidden tokens unlike per sequence, in pieces of 2, 3, 2"],
]
in_steps_cut_anew = [
    stepped["generic, in pieces of 2, 3"],
    stepped["generic, in pieces of 1, 3, 1"],
    stepped["post-norm, in pieces of 2, 1, 1, 1"],
    stepped["33 tokens, in pieces of 15, 16, 2"],
    stepped["positions permuted, unlike per sequence, in pieces of 3, 1, 1"],
    *in_steps_left[:3],
]
prefixes = [
    *generic,
    many_layers[0],
    sized["as many tokens as heads"],
    sized["33 tokens"],
    positioned[0],
    padded_left[0],
]
tied = [generic[0], one_layer[1], sized["as many words as entries"], sized["as many positions as words"]]
tied_in_steps = [stepped["generic, in pieces of 2, 3"]]
in_batches = [
    *generic,
    sized["as many sequences as heads"],
    sized["as many sequences as tokens"],
    positioned[0],
    padded_left[0],
    holed["hidden tokens unlike per sequence"],
    holed["hidden tokens, as many as heads"],
    holed["hidden tokens, as many sequences as tokens"],
]
in_batches_in_steps = [
    stepped["generic, in pieces of 2, 3"],
    stepped["generic, in pieces of 3, 1, 1"],
    stepped["as many sequences as tokens, in pieces of 2, 2"],
    stepped["positions permuted, unlike per sequence, in pieces of 2, 3"],
    stepped["padded on the left, prompt, then token by token"],
    stepped["padded on the left, in pieces of 3, 4"],
]
every_call = [
    generic[0],
    one_layer[1],
    positioned[1],
    padded_right[2],
    padded_left[3],
    holed["hidden tokens, as many as heads"],
]
every_call_in_steps = [
    stepped["generic, in pieces of 2, 3"],
    stepped["one layer, post-norm, in pieces of 2, 3"],
    stepped["positions permuted, one layer, in pieces of 1, 1, 3"],
    stepped["padded on the left, a batch of one, in pieces of 4, 3"],
    stepped["hidden tokens, as many as heads, in pieces of 4, 1, 2"],
]
remembered = [generic[0], one_layer[1], no_layers[0]]
remembered_in_steps = [stepped["generic, in pieces of 3, 1, 1"], stepped["one layer, post-norm, in pieces of 2, 3"]]
# None that hides tokens: those are below, whose gradients are asked for at tokens alone.
_with_gradients = [
    *one_layer,
    *generic,
    *no_layers,
    sized["as many words as entries"],
    sized["one head"],
    sized["a batch of one"],
    sized["only id 0"],
    sized["sequences alike"],
    epsilon[0],
]
_with_gradients += [positioned[0], positioned[3], nothing_hidden[0], transposed_weights(one_layer[1])]
_with_gradients += [stepped["generic, in pieces of 3, 1, 1"], stepped["one layer, post-norm, in pieces of 2, 3"]]
_with_gradients += [stepped["positions permuted, one layer, in pieces of 1, 1, 3"]]
differentiable = [replace(case, dtypes=WIDE) for case in _with_gradients]

# --- Changes that properties make -------------------------------------------------------------------------------------


def tokens_of(case: Case) -> Tensor:
    """Where in the result tokens stand and not padding, (B, T, 1)."""
    ids = case.tensors[0]
    mask = case.options.get("attention_mask")
    return (torch.ones_like(ids, dtype=torch.bool) if mask is None else mask).unsqueeze(-1)


# On the right: a query that sees no key at all may be anything, and so may what goes back through it.
differentiable += [
    replace(case, dtypes=WIDE)
    for case in (model("five layers", B=1, T=3, M=6, L=5), stepped["generic, in pieces of 1, 1, 1, 1, 1"])
]
_seen_first = padded("hidden tokens, the first visible", HOLES[[0, 2]], L=1)
differentiable += asked_at(tokens_of, *padded_right[:2], _seen_first, beyond_blocks[1], in_steps_right[0])


def with_another_future(case: Case) -> tuple[Case, Tensor]:
    """Other tokens from the middle on, and where in the result that may not show: at tokens before."""
    T = case.tensors[0].shape[-1]
    later = torch.arange(T) >= max(1, (T + 1) // 2)
    changed = with_other_ids_where(case, "another future", later, case.config.vocab_size)
    return changed, tokens_of(case) & ~later.unsqueeze(-1)


def with_another_token(case: Case) -> Case:
    """Another second token (the first, where there is but one) in every sequence."""
    T = case.tensors[0].shape[-1]
    return with_other_ids_where(case, "another token", torch.arange(T) == min(1, T - 1), case.config.vocab_size)


def with_other_hidden_tokens(case: Case) -> Case:
    """Other tokens, at other positions, where the attention mask hides them."""
    mask, positions = case.options["attention_mask"], case.options.get("position_ids")
    changed = with_other_ids_where(case, "other ids where hidden", ~mask, case.config.vocab_size)
    if positions is None:
        return changed
    other = torch.where(mask, positions, case.config.max_positions - 1 - positions)
    return changed.changed("other positions there", position_ids=other)


def with_positions_counted(case: Case) -> Case:
    """The same with the position ids 0, 1, ... given."""
    ids = case.tensors[0]
    return case.changed("positions given", position_ids=torch.arange(ids.shape[-1]).expand(ids.shape).contiguous())


def prefix(case: Case, length: int) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The first tokens of every sequence alone, and how to pick their logits out of those of all."""
    options = {name: value[:, :length] for name, value in case.options.items() if isinstance(value, Tensor)}
    return case.changed(f"first {length}", (case.tensors[0][:, :length],), **options), lambda x: x[:, :length]


def last_sequence(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence of the batch alone, and how to pick it out of the result of all."""
    options = {name: value[-1:] for name, value in case.options.items() if isinstance(value, Tensor)}
    return case.changed("last alone", (case.tensors[0][-1:],), **options), lambda x: x[-1:]


def last_unpadded(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence alone without its padding, at positions 0, 1, ..., and how to pick it out of the result of all."""
    shown = case.options["attention_mask"][-1]
    options: dict[str, Any] = {"attention_mask": None, "position_ids": None}
    if "steps" in case.options:
        count = int(shown.sum())
        options["steps"] = (count - 1, 1) if count > 1 else (1,)
    return case.changed("last unpadded", (case.tensors[0][-1:, shown],), **options), lambda x: x[-1:, shown]


def in_other_pieces(case: Case) -> Case:
    """The pieces in reverse order of length; one piece, or pieces that are the same backwards, as single tokens."""
    steps, T = case.options["steps"], case.tensors[0].shape[-1]
    other = steps[::-1] if steps[::-1] != steps else (1,) * T if steps != (1,) * T else (T,)
    return case.changed("in other pieces", steps=other)


def others_than(case: Case) -> list[Case]:
    """Calls that a careless memory would take for this one: other ids, weights, lengths, another eps."""
    ids, V = case.tensors[0], case.config.vocab_size
    steps = case.options.get("steps")
    shorter = {} if steps is None else {"steps": (1, 2)}
    longer = {} if steps is None else {"steps": (1, 2, *steps[:-1], steps[-1] + 1)}
    return [
        case.changed("other ids", ((ids + 3).remainder(V),)),
        with_other_ids_and_weights(case),
        case.changed("shorter", (ids[:, 2:5],), **shorter),
        case.changed("longer", (torch.cat([ids[:, 1:4].flip(0), ids, ids[:, :1]], -1),), **longer),
        last_sequence(case)[0],
        case.changed("another eps", config=replace(case.config, eps=0.5)),
        case.changed("another activation", config=replace(case.config, activation="relu")),
    ]
