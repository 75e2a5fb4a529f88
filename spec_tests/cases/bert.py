"""Inputs for BERT and its heads. Rows of all three tables are of one size, so that none drowns the others before the norm.

What stands at padding is nobody's business, so results that pool have a first token in every sequence.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import WIDE, Case, Drawn, integers, layouts
from transpec.operations import Operation
from transpec.reference.bert import BertConfig, bert, bert_mlm, bert_nsp, bert_pooled
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


def model(
    name: str,
    operation: Operation[..., Any] = bert,
    *,
    B: int = 2,
    T: int = 5,
    V: int = 17,
    M: int = 12,
    F: int = 20,
    H: int = 3,
    L: int = 2,
    P: int = 11,
    types: int = 2,
    ids: Tensor | None = None,
    token_type_ids: Tensor | str | None = "told by the name",
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    embedded: float = 0.3,
    dtypes: tuple[str, ...] = WIDE,
    **config: Any,
) -> Case:
    """A call; every weight, ids, types and the rest of the configuration being told by the name."""
    made = BertConfig(
        vocab_size=V, d_model=M, d_ff=F, num_heads=H, num_layers=L, max_positions=P, num_token_types=types, **config
    )  # fmt: skip
    ids = token_ids(name, V, B, T) if ids is None else ids
    if isinstance(token_type_ids, str):
        token_type_ids = integers(f"{name} types", types, *ids.shape)
    options = {"token_type_ids": token_type_ids, "attention_mask": attention_mask, "position_ids": position_ids}
    weights = model_weights(name, made, embedded) | head_weights(name, operation, made)
    return Case(operation, name, (ids,), weights, options, dtypes, config=made)


def model_weights(name: str, config: BertConfig, embedded: float = 0.3) -> Weights:
    """Those of `bert` in the sizes of a configuration; entries of the tables are as large as `embedded`."""
    M = config.d_model
    made = embedding_weights(name, M, config, embedded)
    return made | stacked([encoder_layer_weights(f"{name} {i}", M, config.d_ff) for i in range(config.num_layers)])


def embedding_weights(name: str, width: int, config: Any, embedded: float = 0.3) -> Weights:
    """Three tables and a norm."""
    rows = {"token": config.vocab_size, "position": config.max_positions, "token_type": config.num_token_types}
    tables = {table: matrix(f"{name} {table}", count, width, size=embedded) for table, count in rows.items()}
    return nested(embeddings={**tables, **nested(norm=norm(f"{name} embeddings", width))})


def head_weights(name: str, operation: Operation[..., Any], config: Any, width: int = 0) -> Weights:
    """Those that a head has beside the model's; the MLM head goes to `width` columns, which is d_model where not given."""
    M, kind = config.d_model, operation.name.partition("_")[2]
    if kind == "mlm":
        width = width or M
        head = {"w": matrix(f"{name} mlm w", M, width), "b": matrix(f"{name} mlm b", width)}
        head |= nested(norm=norm(f"{name} mlm", width))
        return nested(mlm=head | {"output_bias": matrix(f"{name} output bias", config.vocab_size)})
    if not kind:
        return {}
    made = {"pooler.w": matrix(f"{name} pooler w", M, M), "pooler.b": matrix(f"{name} pooler b", M)}
    if kind != "pooled":
        # Labels are far apart, so that even the budget of bfloat16 tells one from the other.
        apart = torch.tensor([2.0, -2.0], dtype=torch.float64)
        made |= {f"{kind}.w": matrix(f"{name} {kind} w", M, 2), f"{kind}.b": matrix(f"{name} {kind} b", 2) + apart}
    return made


def of_each(
    operations: tuple[Operation[..., Any], ...], name: str, make: Callable[..., Case] = model, **how: Any
) -> list[Case]:
    """A call of each operation, all told by one name."""
    return [make(name, operation, **how) for operation in operations]


def counted(attention_mask: Tensor) -> Tensor:
    """Positions that count tokens and not padding; padding has whatever position."""
    return torch.where(attention_mask, attention_mask.cumsum(-1) - 1, 1)


HEADS = (bert_pooled, bert_mlm, bert_nsp)

# --- The formula ------------------------------------------------------------------------------------------------------


def _by_hand() -> Case:
    """No layer: sums are k times (1, 1, -1, -1), k being 5, 9 and 16, and k / sqrt(k^2 + 144) is 5/13, 3/5 and 4/5."""
    config = BertConfig(
        vocab_size=3, d_model=4, d_ff=1, num_heads=1, num_layers=0, max_positions=4, eps=144.0
    )  # fmt: skip
    rows = {"token": [1, 5, 4], "position": [4, 1, 7, 2], "token_type": [0, 4]}
    sign = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    weights = {f"embeddings.{name}": torch.tensor(k).unsqueeze(-1) * sign for name, k in rows.items()}
    weights |= {"embeddings.norm.gain": torch.ones_like(sign), "embeddings.norm.bias": torch.zeros_like(sign)}
    options = {"token_type_ids": torch.tensor([[0, 1, 1]])}
    return Case(bert, "by hand", (torch.tensor([[0, 2, 1]]),), weights, options, dtypes=MODEL_DTYPES, config=config)


by_hand = [_by_hand()]
no_layers = [
    model("no layer", L=0, dtypes=MODEL_DTYPES),
    model("no layer, 3 token types", L=0, types=3, token_type_ids=torch.tensor([[0, 1, 2, 1, 0], [2, 2, 1, 0, 1]])),
]
one_layer = [model("one layer", L=1, dtypes=MODEL_DTYPES)]
generic = [model("generic")]
sizes = [
    model("as many sequences as heads", B=3, L=1),
    model("as many sequences as tokens", B=4, T=4, L=1),
    model("as many tokens as heads", T=3, L=1),
    model("as many tokens as entries of a head", T=4, L=1),
    model("as many words as entries", V=12, P=12, L=1),
    model("every size 4", B=4, T=4, V=4, M=4, F=4, H=4, P=4),
    model("one head", M=7, H=1, L=1),
    model("a batch of one", B=1),
    model("one token", T=1, L=1),
    model("as many tokens as positions", T=11, L=1),
    model("33 tokens", B=1, T=33, M=6, F=5, P=34, L=1),
]
other_configs = [
    model("three layers, relu, eps 0.1, one head, 3 token types", L=3, M=5, H=1, activation="relu", eps=0.1, types=3),
    model("gelu_tanh, eps 1e-5", activation="gelu_tanh", eps=1e-5),
]
activations = [model(activation, L=1, activation=activation) for activation in ("gelu", "gelu_tanh", "relu")]
epsilon = [
    model("eps 1", L=1, eps=1.0),
    model("eps 1 of the first norm alone", L=0, eps=1.0),
    model("eps 1e-5", L=1, eps=1e-5),
    # A variance near 1e-10 keeps apart 1e-12, 1e-5 and 0.
    model("eps 1e-12 of embeddings near 1e-5", L=1, embedded=1e-5),
]
many_layers = [
    model("three layers", L=3),
    # Names of layers sort as words: 10 before 2.
    model("eleven layers", B=1, T=3, V=5, M=4, F=3, H=2, L=11, P=5),
]


silent = [with_silent_sublayers(case) for case in (*one_layer, *generic)]


far = [far_from_zero(model("no layer", V=5, L=0))]

# --- Token types and positions ----------------------------------------------------------------------------------------

typed = [
    no_layers[1],
    model("types in any order, unlike per sequence", L=1, token_type_ids=torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]])),
    model("all of type 1", L=1, token_type_ids=torch.ones(2, 5, dtype=torch.int64)),
    model("only the last token of type 1", B=1, L=1, token_type_ids=torch.tensor([[0, 0, 0, 0, 1]])),
    model("sequences alike but for their types", L=1, ids=torch.tensor([[4, 1, 4, 9, 1]] * 2)),
]  # fmt: skip
PERMUTED = torch.tensor([[3, 1, 4, 0, 2], [7, 2, 9, 5, 8]])
untyped = [
    model("no types", token_type_ids=None),
    model("no types, 3 token types", L=0, types=3, token_type_ids=None),
    model("no types, positions given", L=1, token_type_ids=None, position_ids=PERMUTED),
]
positioned = [
    model("positions permuted, unlike per sequence", position_ids=PERMUTED),
    model("positions from 4 and from 6", L=1, position_ids=torch.arange(5) + torch.tensor([[4], [6]])),
    model("positions all 0", L=1, position_ids=torch.zeros(2, 5, dtype=torch.int64)),
    model("positions of a batch of one", B=1, L=1, position_ids=PERMUTED[1:]),
    model(
        "ids and positions beyond 256", B=1, T=4, V=300, P=300, M=6, F=5, L=1,
        ids=torch.tensor([[299, 255, 3, 256]]), position_ids=torch.tensor([[298, 0, 256, 255]]),
    ),
]  # fmt: skip

# --- Attention masks --------------------------------------------------------------------------------------------------

HOLES = torch.tensor([[1, 1, 0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1, 1], [1, 0, 1, 1, 0, 1, 1]]).bool()
LENGTHS = (7, 4, 2)
RIGHT, LEFT = real(*LENGTHS, width=7), real(*LENGTHS, width=7, side="left")


def padded(name: str, attention_mask: Tensor, operation: Operation[..., Any] = bert, **more: Any) -> Case:
    """A call whose sequences are padded by a mask."""
    B, T = attention_mask.shape
    return model(name, operation, B=B, T=T, attention_mask=attention_mask, **more)


padded_right = [
    padded("padded on the right", RIGHT),
    padded("padded on the right, a batch of one", RIGHT[1:2], L=1),
]
padded_left = [
    padded("padded on the left", LEFT, position_ids=counted(LEFT)),
    padded("padded on the left, a batch of one", LEFT[1:2], position_ids=counted(LEFT[1:2]), L=1),
]
holes = [
    padded("hidden tokens unlike per sequence", HOLES),
    padded("hidden tokens, a batch of one", HOLES[1:2], L=1),
    padded("hidden tokens, as many sequences as heads and entries", HOLES, M=9, L=1),
    padded("hidden tokens, as many sequences as tokens", HOLES[:, :3], L=1),
    padded("hidden tokens, six sequences of two heads", torch.cat([HOLES, HOLES.flip(0)]), H=2, L=1),
    padded("padded on the left, positions of the padding too", LEFT, L=1),
    padded("one token of each", torch.eye(5).bool(), L=1),
]
masked = [*padded_right, *padded_left, *holes]
# Tokens beyond 64, heads beyond eight, inner units beyond 64; hidden tokens come in everywhere.
LONG = torch.arange(70).remainder(torch.tensor([[7], [3]])) != 2


crossed = [
    padded("hidden tokens, three layers of one head, three types", HOLES, L=3, M=5, H=1, types=3),
    padded("hidden tokens, 70 tokens, nine heads", LONG, M=18, F=65, H=9, P=71, L=1),
    steep(padded("hidden tokens", HOLES, L=1), "loud queries and keys"),
]
_shown = [*generic, sizes[7], sizes[8], positioned[0], untyped[0]]
# More sequences, tokens and entries than fit into blocks, chunks or fixed tables.
beyond_blocks = [
    padded("19 sequences, padded", PADDED_19, M=6, F=5, L=1),
    padded("140 tokens, hidden tokens", HIDDEN_OF_140.unsqueeze(0), M=6, F=5, P=141, L=1),
    model("66 entries, 130 inner entries", B=1, M=66, F=130, L=1),
]
nothing_hidden = [
    case.changed("everything visible", attention_mask=torch.ones(case.tensors[0].shape, dtype=torch.bool))
    for case in _shown
]

# --- Heads ------------------------------------------------------------------------------------------------------------

small = [
    of_each(HEADS, "no layer, with a head", L=0, dtypes=MODEL_DTYPES),
    of_each(HEADS, "one layer, with a head", L=1, dtypes=MODEL_DTYPES),
]
large = [
    of_each(HEADS, "generic, with a head"),
    of_each(HEADS, "with a head, relu, eps 1", L=1, activation="relu", eps=1.0),
    of_each(HEADS, "with a head, gelu_tanh, eps 1e-5", L=1, activation="gelu_tanh", eps=1e-5),
    of_each(HEADS, "with a head, as many sequences as tokens", B=4, T=4, L=1),
    of_each(HEADS, "with a head, every size 4", B=4, T=4, V=4, M=4, F=4, H=4, P=4, L=1),
    of_each(HEADS, "with a head, one token", B=1, T=1, M=7, H=1, L=1),
    of_each(HEADS, "with a head, no types, positions permuted", L=1, token_type_ids=None, position_ids=PERMUTED),
    of_each(HEADS, "with a head, padded on the right", make=lambda *at, **how: padded(at[0], RIGHT, at[1], **how)),
    of_each(HEADS, "with a head, hidden tokens", make=lambda *at, **how: padded(at[0], HOLES, at[1], **how), L=1),
    of_each(HEADS, "with a head, three types", L=1, types=3, token_type_ids=torch.tensor([[0, 1, 2, 1, 0], [2, 2, 1, 0, 1]])),
    of_each(HEADS, "with a head, 19 sequences", make=lambda *at, **how: padded(at[0], PADDED_19, at[1], **how), M=6, F=5, L=1),
    of_each(HEADS, "with a head, 66 entries and 130 tokens", B=1, T=130, M=66, F=5, P=131, L=1),
]  # fmt: skip
with_heads = [*small, *large]
pooled, mlm, nsp = ([group[place] for group in with_heads] for place in range(3))
mlm.append(model("as many words as entries, with a head", bert_mlm, V=12, P=12, L=1))


def without_head(case: Case, operation: Operation[..., Any] = bert) -> Case:
    """The call of the model alone that the call of a head is made of."""
    if "without head" not in case.derived:
        heads = ("pooler.", "mlm.", "nsp.", "sop.")
        weights = {name: value for name, value in (case.weights or {}).items() if not name.startswith(heads)}
        name = f"{case.name}, without it"
        made = replace(case, operation=operation, name=name, weights=weights, numbers_of=None, origin=None)
        case.derived["without head"] = made
    return case.derived["without head"]


# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = [model("a batch of zero", B=0), model("a batch of zero, with a head", bert_nsp, B=0)]


def with_layouts(case: Case) -> list[Case]:
    """Ids and options one at a time in other layouts, and every matrix among the weights transposed in memory."""
    inputs = [
        replace(made, weights=case.weights, dtypes=case.dtypes, numbers_of=case if made.numbers_of else None)
        for made in layouts(replace(case, weights={}))
    ]
    return [*inputs, transposed_weights(case)]


strided = with_layouts(model("strides", L=1, position_ids=PERMUTED, dtypes=MODEL_DTYPES))
_of_mask = with_layouts(padded("strides of a mask", HOLES[:2, :5], L=1, dtypes=MODEL_DTYPES))
strided += [case for case in _of_mask if "attention_mask" in case.name]
strided += [transposed_weights(case) for case in small[1]]

_one = model("out of range", L=1, B=1, T=3)


def beyond_the_tables(case: Case) -> list[Case]:
    """Ids, types and positions that the tables of one sequence of three tokens do not have."""
    V, P, types = case.config.vocab_size, case.config.max_positions, case.config.num_token_types
    return [
        case.changed("an id after the last", (torch.tensor([[3, V, 2]]),)),
        case.changed("an id far beyond the table", (torch.tensor([[3, 1, 1000]]),)),
        case.changed("an id below 0", (torch.tensor([[3, -1, 2]]),)),
        case.changed("a type after the last", token_type_ids=torch.tensor([[0, 1, types]])),
        case.changed("a position after the last", position_ids=torch.tensor([[0, P, 2]])),
        case.changed("a position below 0", position_ids=torch.tensor([[0, -1, 2]])),
        case.changed("more tokens than positions", (torch.arange(P + 1)[None],), token_type_ids=None),
    ]


out_of_range = beyond_the_tables(_one)

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def models(draw: st.DrawFn, make: Callable[..., Case] = model, operation: Operation[..., Any] = bert) -> Case:
    """Models of any small sizes, activation, mask, types and positions."""
    B, T, V = draw(st.integers(1, 4), label="B"), draw(st.integers(1, 7), label="T"), draw(st.integers(2, 9), label="V")
    H, E = draw(st.integers(1, 3), label="H"), draw(st.integers(2, 4), label="E")
    F, L, types = draw(st.integers(1, 9), label="F"), draw(st.integers(0, 2), label="L"), draw(st.integers(1, 3))
    activation = draw(st.sampled_from(["gelu", "gelu_tanh", "relu"]), label="activation")
    kind = draw(st.sampled_from(["none", "right", "left"]), label="padding")
    name = f"drawn B{B} T{T} V{V} H{H} E{E} F{F} L{L} types {types} {activation} padding {kind}"
    mask = None if kind == "none" else real(*(1 + (3 * b + T) % T for b in range(B)), width=T, side=kind)
    positions = counted(mask) if mask is not None and kind == "left" else None
    return make(
        name, operation, B=B, T=T, V=V, M=H * E, F=F, H=H, L=L, P=T + 2, types=types, activation=activation,
        attention_mask=mask, position_ids=positions,
    )  # fmt: skip


drawn = [Drawn(bert, models(), dtypes=WIDE, draws=4)]

# --- Groups for properties --------------------------------------------------------------------------------------------

sized = {case.name: case for case in sizes}
shown = [*generic, *one_layer, sized["33 tokens"], sized["as many tokens as heads"], padded_left[0]]
in_batches = [
    *generic,
    sized["as many sequences as heads"],
    sized["as many sequences as tokens"],
    typed[1],
    positioned[0],
    padded_left[0],
    *holes[:4],
    *large[0],
]
every_call = [generic[0], typed[1], positioned[1], padded_right[1], holes[2], untyped[0], *small[1], *large[8]]
remembered = [generic[0], one_layer[0], *small[1]]
tied = [mlm[0], mlm[2], mlm[-1]]
# None that hides tokens, but where the first alone is pooled: gradients of the others are asked for at tokens alone.
masked_or_positioned = [
    padded("with a head, hidden tokens", HOLES[:2, :5], operation, L=1, position_ids=PERMUTED)
    for operation in (bert_pooled, bert_nsp)
]
masked_or_positioned += [
    padded("with a head, everything visible", torch.ones(2, 5).bool(), bert_mlm, L=1, position_ids=PERMUTED)
]
_with_gradients = [
    *one_layer,
    *generic,
    *no_layers,
    many_layers[0],
    sized["a batch of one"],
    typed[2],
    untyped[0],
    positioned[2],
    nothing_hidden[0],
    epsilon[0],
    activations[1],
    transposed_weights(one_layer[0]),
    *small[1],
    *large[0],
    *masked_or_positioned,
    mlm[-1],
]


def wide(cases: list[Case]) -> list[Case]:
    """The same cases without the narrow dtypes."""
    return [replace(case, dtypes=WIDE) for case in cases]


differentiable = wide(_with_gradients)

# --- Changes that properties make -------------------------------------------------------------------------------------


def tokens_of(case: Case) -> Tensor | None:
    """Where in the result tokens stand and not padding, (B, T, 1); all of it where nothing is hidden or it is pooled."""
    mask = case.options.get("attention_mask")
    is_pooled = not case.operation.name.endswith(("bert", "mlm"))
    return None if mask is None or is_pooled else mask.unsqueeze(-1)


differentiable += wide([model("five layers", B=1, T=3, M=6, L=5)])
differentiable += asked_at(tokens_of, padded_right[0], padded_left[1], holes[1], *beyond_blocks[:2])


def with_another_last_token(case: Case) -> Case:
    """Another last token in every sequence."""
    T = case.tensors[0].shape[-1]
    return with_other_ids_where(case, "another last token", torch.arange(T) == T - 1, case.config.vocab_size)


def with_other_later_tokens(case: Case) -> Case:
    """Other ids everywhere but at the first place."""
    later = torch.arange(case.tensors[0].shape[-1]) > 0
    return with_other_ids_where(case, "other later tokens", later, case.config.vocab_size)


def with_loud_pooler(case: Case) -> Case:
    """A pooler whose tanh has much to hold back."""
    weights = {name: value * 4 if name.startswith("pooler.") else value for name, value in (case.weights or {}).items()}
    return case.changed("loud pooler", weights=weights)


def with_other_hidden_tokens(case: Case) -> Case:
    """Other ids and types, at other positions, where the attention mask hides them."""
    mask, positions = case.options["attention_mask"], case.options.get("position_ids")
    changed = with_other_ids_where(case, "other ids where hidden", ~mask, case.config.vocab_size)
    types = case.options.get("token_type_ids", torch.zeros_like(case.tensors[0]))
    last = case.config.num_token_types - 1
    positions = torch.arange(mask.shape[-1]).expand(mask.shape) if positions is None else positions
    other = torch.where(mask, positions, case.config.max_positions - 1 - positions)
    return changed.changed(
        "other types and positions", token_type_ids=torch.where(mask, types, last - types), position_ids=other
    )


def with_defaults_given(case: Case, name: str) -> Case:
    """The same with the position ids 0, 1, ... or the type ids 0 given."""
    ids = case.tensors[0]
    given = {"position_ids": torch.arange(ids.shape[-1]).expand(ids.shape).contiguous()}
    given["token_type_ids"] = torch.zeros_like(ids)
    return case.changed(f"{name} given", **{name: given[name]})


def last_sequence(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence of the batch alone, and how to pick it out of the result of all."""
    options = {name: value[-1:] for name, value in case.options.items() if isinstance(value, Tensor)}
    return case.changed("last alone", (case.tensors[0][-1:],), **options), lambda x: x[-1:]


def last_unpadded(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence alone without its padding, at positions 0, 1, ..., and how to pick it out of the result of all."""
    shown = case.options["attention_mask"][-1]
    options: dict[str, Any] = {"attention_mask": None, "position_ids": None}
    if "token_type_ids" in case.options:
        options["token_type_ids"] = case.options["token_type_ids"][-1:, shown]
    alone = case.changed("last unpadded", (case.tensors[0][-1:, shown],), **options)
    is_pooled = not case.operation.name.endswith(("bert", "mlm"))
    return alone, lambda x: x[-1:] if is_pooled else x[-1:, shown]


def others_than(case: Case) -> list[Case]:
    """Calls that a careless memory would take for this one: another eps, other ids, types, weights."""
    ids, V = case.tensors[0], case.config.vocab_size
    types = case.options["token_type_ids"]
    return [
        case.changed("other ids", ((ids + 3).remainder(V),)),
        case.changed("other types", token_type_ids=1 - types),
        with_other_ids_and_weights(case),
        case.changed("shorter", (ids[:, 2:5],), token_type_ids=types[:, 2:5]),
        last_sequence(case)[0],
        case.changed("another eps", config=replace(case.config, eps=0.5)),
        case.changed("another activation", config=replace(case.config, activation="relu")),
    ]
