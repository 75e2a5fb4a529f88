"""Inputs for attention. Sizes differ wherever they can, so that no axis is mistaken for another by luck."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy
import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import WIDE, Case, Drawn, batch_last, booleans, cut_out, layouts, normal, sliced, transposed
from transpec.reference.attention import attention_weights, multi_head_attention, scaled_dot_product_attention

HIDDEN = 100.0  # what cannot be seen is a hundred times the ordinary
BLOCK_EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129)
USUAL_SIZES = (  # queries, keys, entries of keys, entries of values
    *((14, 18, 12, 14), (18, 19, 13, 15), (19, 24, 14, 18), (24, 48, 15, 19), (40, 96, 17, 24), (48, 80, 18, 40)),
    *(
        (80, 100, 19, 48),
        (96, 128, 24, 80),
        (100, 40, 48, 128),
        (128, 20, 80, 20),
        (256, 14, 96, 12),
        (20, 256, 20, 99),
    ),
)
CASE_FIELDS = ("dtypes",)  # of a case; every other name given to a case is an option of the call
Numbers = tuple[Tensor, Tensor, Tensor]


# --- Masks ------------------------------------------------------------------------------------------------------------


def causal(queries: int, keys: int) -> Tensor:
    """Query t may attend to the keys 0 to t."""
    return torch.ones(queries, keys, dtype=torch.bool).tril()


def up_to(*lengths: int, keys: int) -> Tensor:
    """One row for each batch item: its keys before `length` are visible."""
    return torch.arange(keys) < torch.tensor(lengths).unsqueeze(-1)


def with_a_visible_key(mask: Tensor) -> Tensor:
    """The mask, every row that would be empty made to see its own place, or the last key."""
    queries, keys = mask.shape[-2:]
    own = torch.nn.functional.one_hot(torch.arange(queries).clamp_max(keys - 1), keys).bool()
    return mask | (own & ~mask.any(-1, keepdim=True))


def random_mask(name: str, *shape: int) -> Tensor:
    """About two thirds of the keys visible, at least one to every query."""
    return with_a_visible_key(booleans(name, *shape))


def with_empty_rows(mask: Tensor, *rows: int, item: Any = 0) -> Tensor:
    """The mask, nothing visible to the queries `rows` of the first batch item, or of the items that `item` picks."""
    emptied = mask.clone()
    emptied[item, ..., list(rows), :] = False
    return emptied


def louder_where_hidden(content: Tensor, mask: Tensor) -> Tensor:
    """Keys or values (… S X) that no query may attend to, made a hundred times as large."""
    seen = mask.expand(*numpy.broadcast_shapes(mask.shape[:-2], content.shape[:-2]), *mask.shape[-2:]).any(-2)
    while seen.dim() > content.dim() - 1:
        seen = seen.any(0)
    return torch.where(seen.unsqueeze(-1), content, content * HIDDEN)


# --- Calls ------------------------------------------------------------------------------------------------------------


def attention(name: str, query: Tensor, key: Tensor, value: Tensor, **more: Any) -> Case:
    """A call of scaled_dot_product_attention; what is not a field of a case is an option."""
    fields = {field: more.pop(field) for field in CASE_FIELDS if field in more}
    return Case(scaled_dot_product_attention, name, (query, key, value), None, more, **fields)


def drawn_numbers(
    name: str, lead: tuple[int, ...] = (2, 3), T: int = 5, S: int = 7, E: int = 11, D: int = 13, size: float = 1.0
) -> Numbers:
    """Normal queries and keys times `size`, and normal values."""
    query, key = normal(f"{name} query", *lead, T, E) * size, normal(f"{name} key", *lead, S, E) * size
    return query, key, normal(f"{name} value", *lead, S, D)


def masked_case(
    name: str, mask: Tensor, lead: tuple[int, ...] = (2, 3), T: int = 5, size: float = 1.0, **more: Any
) -> Case:
    """A generic call under a mask, its hidden keys and values loud. `T` stands where the mask is one row for all."""
    T = mask.shape[-2] if mask.dim() > 1 and mask.shape[-2] > 1 else T
    query, key, value = drawn_numbers(name, lead, T=T, S=mask.shape[-1], size=size)
    full = mask.broadcast_to(*numpy.broadcast_shapes(mask.shape, (T, 1)))
    return attention(name, query, louder_where_hidden(key, full), louder_where_hidden(value, full), mask=mask, **more)


def weights_of(cases: Iterable[Case]) -> list[Case]:
    """The same queries, keys and options as calls of attention_weights."""
    fields: dict[str, Any] = {"operation": attention_weights, "numbers_of": None}
    return [replace(case, tensors=case.tensors[:2], **fields) for case in cases]


def among(cases: Iterable[Case], *names: str) -> list[Case]:
    """The cases of these names, in their order."""
    known = {case.name: case for case in cases}
    return [known[name] for name in names]


def rows(*numbers: list[float]) -> Tensor:
    """A matrix a person can read."""
    return torch.tensor(numbers, dtype=torch.float64)


# --- The formula ------------------------------------------------------------------------------------------------------

one_hot = [
    attention(
        "one-hot", rows([1, 0, 0, 0]), rows([1, 0, 0, 0], [0, 0, 0, 0]), rows([1], [0]), dtypes=(*WIDE, "float16")
    ),
    attention(
        "one-hot, two queries of three keys",
        *(rows([2, 0], [0, 2]), rows([1, 0], [0, 1], [1, 1]), rows([1, 0, 0], [0, 1, 0], [0, 0, 1])),
    ),
]
generic = [
    attention("generic", *drawn_numbers("generic")),
    attention("no leading axes", *drawn_numbers("no leading axes", ())),
    attention("one leading axis", *drawn_numbers("one leading axis", (3,), T=7, S=5)),
    attention("three leading axes", *drawn_numbers("three leading axes", (2, 3, 2))),
    attention("more queries than keys", *drawn_numbers("more queries", (2,), T=11, S=3, E=5, D=7)),
    attention("as many queries as keys", *drawn_numbers("as many queries", T=6, S=6)),
    attention("values wider than keys", *drawn_numbers("wide values", (2,), T=4, S=5, E=3, D=17)),
    attention("batch and heads of one size", *drawn_numbers("square", (3, 3), T=3, S=3, E=3, D=3)),
    attention("many batch items and heads", *drawn_numbers("many", (33, 17), T=2, S=3, E=3, D=2)),
    attention("129 batch items", *drawn_numbers("129 items", (129,), T=2, S=3, E=3, D=2), dtypes=WIDE),
]
lengths_of_one = [
    attention("one query", *drawn_numbers("one query", (2, 3), T=1)),
    attention("keys of one entry", *drawn_numbers("one entry", (2,), E=1, D=1)),
    attention("a batch of one", *drawn_numbers("batch of one", (1, 3))),
    attention("a batch of one, one head", *drawn_numbers("batch and head of one", (1, 1))),
]


def _nearly_alike_keys(name: str) -> Numbers:
    query, key, value = drawn_numbers(name, size=2.0)
    return query, key[..., :1, :] + 0.1 * key, value


def _equal_keys(name: str) -> Numbers:
    query, key, value = drawn_numbers(name, size=2.0)
    return query, key[..., [0, 1, 2, 0, 1, 2, 0], :], value


def _one_huge_value(name: str) -> Numbers:
    query, key, value = drawn_numbers(name)
    return query, key, torch.where(torch.arange(7).unsqueeze(-1) == 4, value * 1000, value)


def _correlated(name: str, E: int) -> Numbers:
    """Rank one plus noise, as trained models have it, and peaky."""
    query, key, value = drawn_numbers(name, (3,), E=E, D=E)
    direction = normal(f"{name} direction", E)
    return tuple(0.3 * x + x[..., :1] * direction for x in (query, key, value))  # type: ignore[return-value]


peaky = [
    attention("peaky", *drawn_numbers("peaky", size=3.0)),
    attention("one row of weights nearly one-hot", *drawn_numbers("one-hot rows", (2,), size=6.0), dtypes=WIDE),
    attention("keys nearly alike", *_nearly_alike_keys("alike"), dtypes=WIDE),
    attention("equal keys", *_equal_keys("ties")),
    attention("one huge value", *_one_huge_value("huge")),
    attention("correlated", *_correlated("correlated", 32), dtypes=WIDE),
]
long_rows = [
    attention(f"{S} keys, {T} queries", *drawn_numbers(f"{S} keys", (2,), T=T, S=S, E=5, D=3))
    for S, T in zip(BLOCK_EDGES, reversed(BLOCK_EDGES), strict=True)
]
longer_rows = [  # means of so many values are too near zero for bfloat16, and of the most for float16
    attention(
        f"{S} keys, {T} queries",
        *drawn_numbers(f"{S} keys", (2,), T=T, S=S, E=5, D=3),
        dtypes=WIDE if S > 2000 else (*WIDE, "float16"),
    )
    for S, T in [(257, 2), (513, 3), (1025, 1), (2, 257), (3, 513), (131, 130), (4097, 2), (2, 4097)]
]
# 256 of a row visible: what counts them in eight bits counts none.
long_masked_rows = [
    attention(
        "256 keys under a mask that hides none",
        *drawn_numbers("256 keys", (2,), T=2, S=256, E=5, D=3),
        mask=torch.ones(2, 256, dtype=torch.bool),
        dtypes=WIDE,
    ),
    attention(
        "256 of 300 keys visible",
        *drawn_numbers("256 of 300 keys", (2,), T=3, S=300, E=5, D=3),
        mask=up_to(256, 257, keys=300).unsqueeze(1),
        dtypes=WIDE,
    ),
]
wide_values = [
    attention(f"values of {D} entries", *drawn_numbers(f"values {D}", (2,), T=3, S=5, E=2, D=D))
    for D in (8, 16, 31, 33, 64, 65, 96, 129, 257)
]


def _of_sizes(T: int, S: int, E: int, D: int) -> Case:
    numbers = drawn_numbers(f"sizes {T} {S} {E} {D}", (2,), T=T, S=S, E=E, D=D, size=1.5)
    return attention(f"{T} queries, {S} keys of {E}, values of {D}", *numbers)


# Kernels have paths of their own for sizes that they find convenient, so no small size and no usual one is missing.
many_sizes = [
    *(_of_sizes(5 * n % 13 + 1, n, 3 * n % 11 + 1, 7 * n % 12 + 1) for n in range(2, 15)),
    *(_of_sizes(*sizes) for sizes in USUAL_SIZES),
]
# Four axes, and one size for queries, keys and values: what fast kernels take; the sizes above send them another way.
one_size = [
    attention("one size for keys and values", *drawn_numbers("one size", E=8, D=8)),
    attention(
        "one size for keys and values, long", *drawn_numbers("one size long", T=65, S=129, E=16, D=16), dtypes=WIDE
    ),
    attention("one size, look-ahead", *drawn_numbers("one size causal", T=33, S=33, E=8, D=8), mask=causal(33, 33)),
    attention(
        "one size, under a mask", *drawn_numbers("one size masked", E=8, D=8), mask=random_mask("one", 2, 3, 5, 7)
    ),
    attention("one size, scale 0.3", *drawn_numbers("one size scaled", E=8, D=8), scale=0.3),
]
one_key = [
    attention("one key", *drawn_numbers("one key", (2, 3), S=1)),
    attention("one query of one key", *drawn_numbers("one of one", (2,), T=1, S=1)),
    masked_case("only the last key visible", torch.arange(7).eq(6).expand(5, 7).clone()),
    masked_case("only its own place visible", torch.eye(6, dtype=torch.bool)),
]


def _no_query(name: str) -> Numbers:
    query, key, value = drawn_numbers(name)
    return torch.zeros_like(query), key, value


equal_scores = [
    attention("queries of zero", *_no_query("zero queries")),
    attention("queries of zero under a mask", *_no_query("zero queries, masked"), mask=random_mask("zero", 5, 7)),
    attention(
        "a scale of zero under a mask", *drawn_numbers("no scale"), mask=random_mask("no scale", 5, 7), scale=0.0
    ),
]


def _alike(name: str, *places: int, **more: Any) -> Case:
    """Queries, keys and values of one shape; `places` says which of three tensors stands for each of them."""
    numbers = drawn_numbers(name, (2,), T=6, S=6, E=8, D=8)
    query, key, value = (numbers[place] for place in places)
    return attention(name, query, key, value, **more)


# Code has paths for the very same tensor in two places: they are others for self-attention and cross-attention.
the_same_tensor = [
    _alike("queries are keys are values", 0, 0, 0, mask=causal(6, 6)),
    _alike("queries are keys", 0, 0, 2),
    _alike("keys are values", 0, 1, 1),
]


def _shared(name: str, query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], **more: Any) -> Case:
    """A call whose leading axes broadcast, five queries of four keys."""
    numbers = (normal(f"{name} q", *query, 5, 7), normal(f"{name} k", *key, 4, 7), normal(f"{name} v", *value, 4, 3))
    return attention(name, *numbers, **more)


broadcast = [
    _shared("one key and value for all heads", (2, 3), (2, 1), (2, 1)),
    _shared("one key and value for all heads under a mask", (2, 3), (2, 1), (2, 1), mask=random_mask("sh", 2, 1, 5, 4)),
    _shared("one query for all batch items", (1, 3), (2, 3), (2, 3)),
    _shared("queries and keys of unlike axes", (3, 1), (1, 2), (3, 2)),
    _shared("keys without leading axes", (2, 3), (), ()),
    _shared("keys without batch axis, as many heads as batch items", (3, 3), (3,), (3,)),
    _shared("queries without leading axes", (), (2,), (2,)),
    _shared("one key for all heads, values of their own", (2, 3), (2, 1), (2, 3)),
    _shared("keys without leading axes under a mask", (2, 3), (), (), mask=random_mask("bare keys", 5, 4)),
    _shared("queries without leading axes under a mask", (), (3,), (3,), mask=random_mask("bare queries", 5, 4)),
    _shared("keys and values of unlike axes under a mask", (2, 3), (3,), (), mask=random_mask("bare values", 5, 4)),
]
broadcast_values = [
    _shared("values with an axis that scores lack", (), (), (2,)),
    _shared("one value for all heads", (2, 3), (2, 3), (2, 1)),
]

# --- Scale ------------------------------------------------------------------------------------------------------------

scaled = [
    *(
        attention(f"scale {scale}", *drawn_numbers(f"scale {scale}", (2,), T=3, S=5), scale=scale)
        for scale in (1.0, 0.7, 3.0, -0.5, 0.0, 1 / 11)
    ),
    masked_case("scale 0.7 under a mask", random_mask("scale", 5, 7), scale=0.7),
    attention("scale 1 of one query", *drawn_numbers("scale of one", (2, 3), T=1), scale=1.0),
]
head_sizes = [
    attention(f"keys of {E} entries", *drawn_numbers(f"{E} entries", (2,), T=3, S=5, E=E, D=2))
    for E in (2, 3, 8, 16, 31, 33, 40, 64, 65, 128, 129, 257)
]

# --- Under masks ------------------------------------------------------------------------------------------------------

look_ahead = [
    masked_case("look-ahead", causal(7, 7)),
    masked_case("look-ahead, fewer queries than keys", causal(5, 7)),
    masked_case("look-ahead, more queries than keys", causal(7, 5)),
    *(masked_case(f"look-ahead over {T}", causal(T, T), (2,)) for T in (16, 17, 31, 32, 33, 64, 65)),
]
CORNERS = [[1, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 0, 1, 0, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
masked = [
    *look_ahead,
    *among(one_size, "one size, look-ahead", "one size, under a mask"),
    # A look-ahead mask is one in every row, not in the first and the last alone.
    masked_case("look-ahead in the first and last row alone", torch.tensor(CORNERS).bool()),
    # Whoever looks at the first of a batch sees nothing but the look-ahead, or below no padding at all.
    masked_case("look-ahead and padding", causal(7, 7) & up_to(7, 3, keys=7).view(2, 1, 1, 7)),
    masked_case("one key hidden", torch.arange(7).ne(2).expand(5, 7).clone()),
    masked_case("padding of unlike lengths", up_to(3, 6, keys=7).view(2, 1, 1, 7)),
    masked_case("left padding of unlike lengths", ~up_to(0, 4, keys=7).view(2, 1, 1, 7)),
    masked_case("unlike per batch", random_mask("unlike batch", 2, 1, 5, 7)),
    masked_case("unlike per head", random_mask("unlike head", 3, 5, 7)),
    masked_case("unlike everywhere", random_mask("unlike all", 2, 3, 5, 7)),
    masked_case("unlike per head, as many as batch items", random_mask("alike", 3, 5, 7), (3, 3)),
    masked_case("unlike per query, as many as batch items", random_mask("rows", 5, 7), (5,)),
    masked_case("no leading axes under a mask", random_mask("no axes", 5, 7), ()),
    masked_case("one leading axis under a mask", random_mask("one axis", 2, 5, 7), (2,)),
    masked_case("three leading axes under a mask", random_mask("three axes", 2, 1, 3, 5, 7), (2, 2, 3)),
    masked_case("a batch of one under a mask", random_mask("one item", 1, 1, 5, 7), (1, 3)),
    masked_case("one query under a mask", up_to(3, 6, keys=7).view(2, 1, 1, 7), T=1),
    masked_case("unlike per batch, peaky", random_mask("peaky mask", 2, 1, 5, 7), size=3.0, dtypes=WIDE),
    masked_case("block diagonal", torch.arange(6).floor_divide(2) == torch.arange(6).floor_divide(2).unsqueeze(-1)),
    masked_case("first blocks hidden", torch.arange(80).ge(67).expand(3, 80).clone(), (2,)),
    masked_case("last blocks hidden", torch.arange(80).lt(5).expand(3, 80).clone(), (2,)),
    masked_case("every second block hidden", (torch.arange(80) // 16 % 2).bool().expand(3, 80).clone(), (2,)),
    masked_case("unlike everywhere over many keys", random_mask("many keys", 2, 3, 17, 65)),
    attention(
        "unlike everywhere, 129 heads",
        *drawn_numbers("129 heads", (43, 3), T=2, S=3, E=3, D=2), mask=random_mask("129 heads", 43, 3, 2, 3), dtypes=WIDE,
    ),
]  # fmt: skip

mask_shapes = [
    masked_case("mask of keys alone", torch.arange(7).ne(2)),
    masked_case("mask of keys alone, as many as queries", torch.arange(7).ne(2), T=7),
    masked_case("mask of keys alone, without leading axes", torch.arange(7).ne(2), (), T=7),
    masked_case("mask of one row", torch.arange(7).ne(2).view(1, 7)),
    masked_case(
        "mask of one row a batch item, 131 queries", up_to(3, 6, keys=7).view(2, 1, 7), (2,), T=131, dtypes=WIDE
    ),
    masked_case("mask of one row a batch item, as many keys as queries", up_to(3, 6, keys=7).view(2, 1, 1, 7), T=7),
    masked_case("mask with a head axis of one", booleans("head of one", 2, 1, 1, 7) | torch.arange(7).eq(3)),
    masked_case("mask with a batch axis of one", random_mask("batch of one mask", 1, 3, 5, 7)),
    masked_case("mask of one row a head", booleans("row a head", 3, 1, 7) | torch.arange(7).eq(3)),
    attention("mask with a key axis of one", *drawn_numbers("key axis"), mask=torch.ones(2, 1, 5, 1, dtype=torch.bool)),
    attention("mask with axes that queries lack", *drawn_numbers("lacking", ()), mask=random_mask("lacking", 2, 5, 7)),
]
everything_visible = [
    masked_case("everything visible", torch.ones(5, 7, dtype=torch.bool)),
    masked_case("everything visible, as many queries as keys", torch.ones(2, 1, 6, 6, dtype=torch.bool)),
    masked_case("everything visible, one row", torch.ones(7, dtype=torch.bool)),
]
empty_rows = [
    attention(
        "a mask of rows, as many queries as keys",
        *drawn_numbers("column", (2, 3), T=6, S=6),
        mask=torch.tensor([True, True, False, True, False, True]).unsqueeze(-1),
    ),
    attention(
        "one row with no visible key",
        *drawn_numbers("one empty"), mask=with_empty_rows(random_mask("one empty", 2, 1, 5, 7), 2),
    ),
    attention(
        "first and last rows with no visible key",
        *drawn_numbers("two empty", (2,)), mask=with_empty_rows(random_mask("two empty", 2, 5, 7), 0, 4),
    ),
    attention(
        "peaky, one row with no visible key",
        *drawn_numbers("peaky empty", size=3.0), mask=with_empty_rows(random_mask("peaky empty", 2, 1, 5, 7), 3),
    ),
    attention(
        "rows with no visible key among many",
        *drawn_numbers("many empty", (2,), T=17, S=33, E=5, D=3),
        mask=with_empty_rows(random_mask("many empty", 2, 17, 33), 0, 15, 16),
    ),
    attention(
        "a batch item with no visible key",
        *drawn_numbers("item empty"), mask=up_to(0, 6, keys=7).view(2, 1, 1, 7),
    ),
    attention("no row with a visible key", *drawn_numbers("all hidden", (2,)), mask=torch.zeros(5, 7).bool()),
    attention(
        "the only key hidden from some queries",
        *drawn_numbers("only key", (2,), S=1), mask=torch.tensor([True, False, True, True, False]).unsqueeze(-1),
    ),
    attention(
        "the only key hidden in one batch item",
        *drawn_numbers("only key of an item", (2,), S=1), mask=torch.tensor([True, False]).view(2, 1, 1),
    ),
]  # fmt: skip

# --- Stability --------------------------------------------------------------------------------------------------------


def _with_scores_of(name: str, size: float, S: int = 7) -> Case:
    """Scores that rise from -size to size: keys along one direction, the rest generic, the last two keys rivals."""
    query, key, value = drawn_numbers(name, (2,), S=S)
    query[..., 0], key[..., 0] = 1.0, size * math.sqrt(11) * torch.linspace(-1, 1, S, dtype=torch.float64)
    key[..., -2, 0] = key[..., -1, 0]
    return attention(name, query, key, value, dtypes=WIDE)


def _with_common_offset(name: str, offset: float, **more: Any) -> Case:
    """Ordinary scores with `offset` added to all."""
    query, key, value = drawn_numbers(name, (2,))
    query[..., 0], key[..., 0] = 8.0, offset * math.sqrt(11) / 8
    return attention(name, query, key, value, dtypes=WIDE, **more)


def _with_rows_that_rise_and_fall(name: str) -> Case:
    """Scores that climb to 1500 along the keys for some queries and fall as far for others."""
    query, key, value = drawn_numbers(name, (2,), S=300)
    query[..., 0] = torch.tensor([1.0, -1.0, 1.0, -1.0, 0.5], dtype=torch.float64)
    key[..., 0] = math.sqrt(11) * torch.linspace(-1500, 1500, 300, dtype=torch.float64)
    return attention(name, query, key, value, dtypes=WIDE)


def _with_unlike_levels(name: str) -> Case:
    """Ordinary scores with an offset of their own added to each row, from -1000 to 1000."""
    query, key, value = drawn_numbers(name, (2,))
    query[..., 0], key[..., 0] = torch.linspace(-1000, 1000, 10, dtype=torch.float64).view(2, 5), math.sqrt(11)
    return attention(name, query, key, value, dtypes=WIDE)


def _with_many_weak_keys(name: str) -> Case:
    """A key far above 300 others, whose weights of about 7e-8 each make some 2e-5 of the output together."""
    # Of unlike scores: were all weights between half a unit and one in the last place of 1, a plain sum would round each up.
    far, weak = torch.arange(301) == 5, 0.5 * normal(name, 301)
    key, value = torch.where(far, 16.5, weak).unsqueeze(-1), (~far).to(torch.float64).unsqueeze(-1)
    return attention(name, torch.ones(1, 1, dtype=torch.float64), key, value, dtypes=WIDE)


hard_scores = [
    _with_scores_of("scores of ±1e4", 1e4),
    _with_scores_of("scores of ±100", 100.0),
    replace(_with_scores_of("scores of ±1e7", 1e7), dtypes=("float64",)),
    replace(_with_scores_of("scores of ±3000, a negative scale", 3e3), options={"scale": -(11**-0.5)}),
    _with_many_weak_keys("many keys far below one"),
    _with_scores_of("scores of ±1e4 over 40 keys", 1e4, S=40),
    _with_unlike_levels("rows of unlike levels"),
    _with_rows_that_rise_and_fall("scores that rise for some queries and fall for others, over 300 keys"),
    _with_common_offset("a common offset of 1000", 1000.0),
    _with_common_offset("a common offset of -1000", -1000.0),
    _with_common_offset("a common offset of -1000 under a mask", -1e3, mask=random_mask("low", 2, 5, 7)),
    _with_common_offset("a common offset of -30000 under a mask", -3e4, mask=random_mask("far", 2, 5, 7)),
    _with_common_offset("a common offset of -70000 under a mask", -7e4, mask=random_mask("farther", 2, 5, 7)),
    _with_common_offset("a common offset of 30000 under a mask", 3e4, mask=random_mask("high", 2, 5, 7)),
]

# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = [
    attention("a batch of zero", *drawn_numbers("none", (0, 3))),
    attention("a batch of zero under a mask", *drawn_numbers("none masked", (0, 3)), mask=causal(5, 7)),
]
impossible = [
    attention("unlike sizes", normal("bad q", 2, 5, 6), normal("bad k", 2, 7, 5), normal("bad v", 2, 7, 3)),
    attention("fewer values than keys", normal("few q", 2, 5, 6), normal("few k", 2, 7, 6), normal("few v", 2, 4, 3)),
    # Four axes and one size for queries, keys and values: what fast kernels take.
    *(
        attention(
            f"{keys} keys and {values} values, four axes",
            normal("q 4", 2, 3, 6, 8),
            normal(f"k {keys}", 2, 3, keys, 8),
            normal(f"v {values}", 2, 3, values, 8),
        )
        for keys, values in ((4, 7), (7, 4))
    ),
    attention("more values than keys", normal("many q", 2, 5, 6), normal("many k", 2, 3, 6), normal("many v", 2, 8, 3)),
]
strided = [
    *layouts(masked_case("strides", random_mask("strides", 2, 3, 5, 7))),
    *layouts(among(one_size, "one size, under a mask")[0]),
    *layouts(masked_case("strides without leading axes", random_mask("few strides", 5, 7), ())),
]


def _all(change: Callable[[Tensor], Tensor], name: str, **sizes: Any) -> Numbers:
    query, key, value = drawn_numbers(name, **sizes)
    return change(query), change(key), change(value)


def _of_one_buffer(name: str) -> Numbers:
    """Queries, keys and values side by side in the rows of one buffer, as one projection for all three gives them."""
    query, key, value = torch.cat(drawn_numbers(name, T=7, S=7), -1).split((11, 11, 13), -1)
    return query, key, value


def _shared_by_stride(name: str) -> Numbers:
    """Keys and values that all heads share, their head axis of stride zero."""
    query, key, value = drawn_numbers(name, S=33)
    return query, key[:, :1].expand(key.shape), value[:, :1].expand(value.shape)


strided_together = [
    attention(
        "heads split by a transposed view",
        *_all(lambda x: x.transpose(1, 2).contiguous().transpose(1, 2), "view", lead=(2, 3)),
    ),
    attention("everything transposed", *_all(transposed, "all transposed")),
    attention("everything sliced", *_all(sliced, "all sliced", S=33)),
    attention("everything batch-last", *_all(batch_last, "all batch-last")),
    attention("cut out of one buffer", *_of_one_buffer("one buffer")),
    *(
        attention(
            f"everything the corner of a larger buffer, {axes} axes",
            *_all(cut_out, f"corners {axes}", lead=lead, T=7),
            mask=cut_out(random_mask("corner", *lead[: axes - 2], 7, 7)),
        )
        for axes, lead in ((2, (2,)), (4, (2, 3)))
    ),
    attention(
        "keys and values of stride zero under a mask",
        *_shared_by_stride("stride zero"), mask=random_mask("stride zero", 2, 1, 5, 33),
    ),
]  # fmt: skip


def _with_nan_from(name: str, place: int, *lead: int) -> Numbers:
    query, key, value = drawn_numbers(name, lead)
    hidden = torch.arange(7).unsqueeze(-1) >= place
    return query, key.masked_fill(hidden, math.nan), value.masked_fill(hidden, math.nan)


hidden_nan = [
    attention(
        f"NaN where nothing looks, {axes} leading axes", *_with_nan_from("nan", 5, *lead), mask=torch.arange(7) < 5
    )
    for axes, lead in (("no", ()), ("one", (2,)), ("two", (2, 3)))
]

# --- Multi-head -------------------------------------------------------------------------------------------------------


def multi_head(
    name: str,
    *,
    B: int = 2,
    T: int = 5,
    S: int = 7,
    H: int = 3,
    E: int = 4,
    D: int | None = None,
    widths: tuple[int, int, int] | None = None,
    M: int | None = None,
    biases: str = "qkvo",
    **more: Any,
) -> Case:
    """A call of multi_head_attention. Without `D`, `widths` and `M` all are those of one model size, H E."""
    D = E if D is None else D
    widths, M = widths or (H * E, H * E, H * E), M or H * E
    shapes = {"w_q": (widths[0], H * E), "w_k": (widths[1], H * E), "w_v": (widths[2], H * D), "w_o": (H * D, M)}
    weights = {w: normal(f"{name} {w}", *shape) * 1.3 / math.sqrt(shape[0]) for w, shape in shapes.items()}
    weights |= {f"b_{w}": normal(f"{name} b_{w}", shapes[f"w_{w}"][1]) * 0.65 for w in biases}
    inputs = (
        normal(f"{name} query", B, T, widths[0]),
        normal(f"{name} key", B, S, widths[1]),
        normal(f"{name} value", B, S, widths[2]),
    )
    fields = {field: more.pop(field) for field in CASE_FIELDS if field in more}
    return Case(multi_head_attention, name, inputs, weights, {"num_heads": H, **more}, **fields)


def _one_hot_heads() -> Case:
    """Two heads of one entry each: the first reads entry 0, the second entry 1; the output exchanges them."""
    identity, x = torch.eye(2, dtype=torch.float64), rows([1, 0], [0, 2]).unsqueeze(0)
    weights = {"w_q": identity, "w_k": identity, "w_v": identity, "w_o": identity.flip(0)}
    return Case(multi_head_attention, "two one-hot heads", (x, x, x), weights, {"num_heads": 2})


def _self_attention(name: str, **more: Any) -> Case:
    """Queries, keys and values are the same numbers."""
    case = multi_head(name, T=6, S=6, **more)
    return replace(case, tensors=case.tensors[:1] * 3)


def _nearly_self_attention(name: str) -> Case:
    """Query, key and value of one shape that agree in the first token of each sequence alone."""
    case = multi_head(name, T=6, S=6)
    first = torch.arange(6).unsqueeze(-1) == 0
    query, *others = case.tensors
    return replace(case, tensors=(query, *(torch.where(first, query, other) for other in others)))


def _heads_alike(name: str, *places: int, **more: Any) -> Case:
    """Queries, keys and values of one shape; `places` says which of three tensors stands for each of them."""
    case = multi_head(name, T=6, S=6, **more)
    return replace(case, tensors=tuple(case.tensors[place] for place in places))


def _with_tied_weights(name: str) -> Case:
    """Keys and values have one weight in common."""
    case = multi_head(name)
    weights = case.weights or {}
    return replace(case, weights={**weights, "w_v": weights["w_k"]})


def _with_weights_in_another_order(case: Case) -> Case:
    order = [f"{kind}_{which}" for kind in "wb" for which in "vqok"]
    return replace(case, weights={name: (case.weights or {})[name] for name in order})


heads_one_hot = [_one_hot_heads()]
heads = [
    multi_head("generic heads"),
    multi_head("as many queries as keys, heads", T=6, S=6),
    _self_attention("self-attention"),
    _nearly_self_attention("first tokens alike, later ones not"),
    _heads_alike("heads, queries are keys", 0, 0, 2),
    _heads_alike("heads, keys are values", 0, 1, 1),
    _with_tied_weights("keys and values of one weight"),
    multi_head("as many heads as batch items", B=3, T=5, S=4),
    multi_head("as many heads as positions", B=2, T=3, S=3),
    multi_head("as many batch items as positions", B=6, T=6, S=6),
    multi_head("one head", H=1, E=7),
    multi_head("heads of one entry", H=5, E=1),
    multi_head("heads of five", E=5),
    multi_head("many heads", H=17, E=2),
    multi_head("many batch items", B=17, T=3, S=4, E=2),
    multi_head("one query, heads", T=1, S=6),
    multi_head("a batch of one, heads", B=1),
    _with_weights_in_another_order(multi_head("weights in another order")),
    multi_head("four heads of eight items", B=8, T=3, S=4, H=4, E=6),
    multi_head("eight heads of four items", B=4, T=9, S=10, H=8, E=8),
    multi_head("sixteen heads", B=2, T=4, S=3, H=16, E=3),
    multi_head("sixteen items", B=16, T=4, S=3, H=2, E=7),
    multi_head("block edges", B=1, T=33, S=65),
    multi_head("wide heads", H=2, E=33, T=3, S=4),
    multi_head("wider heads", H=2, E=80, D=3, T=3, S=4, widths=(5, 6, 7), M=5),
]


def _with_a_token_of_zeros(x: Tensor) -> Tensor:
    return x * (torch.arange(x.shape[-2]).unsqueeze(-1) != 1)


def _as_at_the_start(case: Case) -> Case:
    """Biases of zero, as before the first step of training, and one token of zeros among the others."""
    weights = {name: value * 0 if name.startswith("b_") else value for name, value in (case.weights or {}).items()}
    query, *others = case.tensors
    return case.changed("biases of zero and a token of zeros", (_with_a_token_of_zeros(query), *others), weights)


heads_at_the_start = [
    _as_at_the_start(multi_head("generic heads")),
    _as_at_the_start(_self_attention("self-attention")),
]
heads_with_zeros = [
    case.changed("a token of zeros", tuple(map(_with_a_token_of_zeros, case.tensors)))
    for case in (
        multi_head("generic heads, zeros"),
        multi_head("heads under a mask, zeros", mask=random_mask("zeros", 2, 5, 7)),
    )
]
heads_one_position = [multi_head("one position", T=1, S=1), multi_head("one key, heads", S=1)]
heads_of_differing_inputs = [
    multi_head("keys and values of their own widths", widths=(12, 5, 7)),
    multi_head("values smaller than keys", D=2, M=12),
    multi_head("values larger than keys", E=2, D=5, M=7),
    multi_head("every width its own", H=3, E=5, D=2, widths=(11, 7, 13), M=17),
    multi_head("every width its own, one head", H=1, E=5, D=2, widths=(11, 7, 13), M=17),
]
heads_without_biases = [
    multi_head("no biases", biases=""),
    multi_head("only the output's bias", biases="o"),
    multi_head("all biases but the output's", biases="qkv"),
    multi_head("all biases but the query's", biases="kvo"),
    multi_head("all biases but the key's", biases="qvo"),
    multi_head("all biases but the value's", biases="qko"),
    _self_attention("self-attention without biases", biases=""),
    _self_attention("self-attention without the key's bias", biases="qvo"),
    _self_attention("self-attention without the query's and the value's bias", biases="ko"),
]
heads_look_ahead = [
    multi_head("heads, look-ahead", T=6, S=6, mask=causal(6, 6)),
    multi_head("heads, look-ahead, fewer queries than keys", mask=causal(5, 7)),
]
heads_masked = [
    *heads_look_ahead,
    multi_head("heads, unlike per batch", mask=random_mask("heads unlike", 2, 5, 7)),
    multi_head("heads, first and last masks alike", B=3, mask=up_to(3, 6, 3, keys=7).unsqueeze(1)),
    multi_head("heads, as many as batch items", B=3, mask=random_mask("heads alike", 3, 5, 7)),
    multi_head("heads, as many batch items as queries", B=5, mask=random_mask("heads rows", 5, 7)),
    multi_head(
        "heads, 129 batch items under a mask", B=129, T=2, S=3, E=2, mask=random_mask("129 items", 129, 2, 3), dtypes=WIDE
    ),
    multi_head("heads, padding of unlike lengths", mask=up_to(3, 6, keys=7).unsqueeze(1)),
    multi_head("heads, self-attention under padding", T=7, mask=up_to(7, 4, keys=7).unsqueeze(1)),
    multi_head("heads, look-ahead and padding", T=7, mask=causal(7, 7) & up_to(7, 3, keys=7).unsqueeze(1)),
    multi_head("heads, 130 keys of unlike lengths", T=2, S=130, E=2, mask=up_to(3, 129, keys=130).unsqueeze(1)),
    multi_head("heads, mask of keys alone", mask=torch.arange(7).ne(2)),
    multi_head("heads, mask of keys alone, as many as queries", T=7, mask=torch.arange(7).ne(2)),
    multi_head("heads, mask with a batch axis of one", mask=random_mask("heads one", 1, 5, 7)),
    multi_head("heads, a batch of one under a mask", B=1, mask=random_mask("heads one item", 1, 5, 7)),
    multi_head("heads, one query under a mask", T=1, mask=up_to(3, 6, keys=7).unsqueeze(1)),
    multi_head("heads, one head under a mask", H=1, E=7, mask=random_mask("heads one head", 2, 5, 7)),
    multi_head("heads, four of eight items", B=8, T=3, S=4, H=4, E=6, mask=random_mask("four heads", 8, 3, 4)),
    multi_head("heads, eight of four items", B=4, T=9, S=10, H=8, E=8, mask=random_mask("eight heads", 4, 9, 10)),
    multi_head("heads, sixteen under a mask", B=2, T=4, S=3, H=16, E=3, mask=random_mask("sixteen heads", 2, 4, 3)),
    multi_head("heads, sixteen items", B=16, T=4, S=3, H=2, E=7, mask=random_mask("sixteen items", 16, 4, 3)),
    multi_head("heads, no biases under a mask", biases="", H=5, mask=random_mask("no biases", 2, 5, 7)),
    multi_head(
        "heads, everything its own under a mask",
        E=5, D=2, widths=(11, 7, 13), M=17, mask=random_mask("own", 2, 5, 7),
    ),
]  # fmt: skip
heads_empty_rows = [
    multi_head("heads, one row with no visible key", mask=with_empty_rows(random_mask("heads empty", 2, 5, 7), 2)),
    multi_head("heads, the only key hidden in one item", S=1, mask=torch.tensor([True, False]).view(2, 1, 1)),
]
heads_batch_of_zero = [multi_head("heads, a batch of zero", B=0)]


def _with_other_keys(name: str, keys: int) -> Case:
    case = multi_head(name)
    return replace(case, tensors=(case.tensors[0], case.tensors[1][:, :keys], case.tensors[2]))


heads_impossible = [
    replace(multi_head("heads that do not divide", H=3, E=4), options={"num_heads": 5}),
    replace(multi_head("more heads than columns", H=3, E=4), options={"num_heads": 24}),
    _with_other_keys("heads, fewer keys than values", 4),
]


def _with_fused_weights(name: str) -> Case:
    """The weights of queries, keys and values are columns of one matrix, their biases parts of one vector."""
    case = multi_head(name)
    weights = dict(case.weights or {})
    for kind in ("w", "b"):
        names = [f"{kind}_{which}" for which in "qkv"]
        fused = torch.cat([weights[each] for each in names], -1)
        weights |= dict(zip(names, fused.split([weights[each].shape[-1] for each in names], -1), strict=True))
    return replace(case, weights=weights)


heads_strided = [
    *layouts(multi_head("heads, strides", mask=random_mask("heads strides", 2, 5, 7))),
    _with_fused_weights("weights cut out of one matrix"),
    multi_head("heads, the corner of a larger mask", mask=cut_out(random_mask("corner", 5, 7))),
    multi_head("heads, the corner of a larger mask of three axes", mask=cut_out(random_mask("corner", 2, 5, 7))),
]

# --- Drawn ------------------------------------------------------------------------------------------------------------

SCALES = (None, 0.25, 1.0, 0.0, -0.5)
LENGTHS = st.integers(1, 9) | st.sampled_from([15, 16, 17, 33])


@st.composite
def attentions(draw: st.DrawFn) -> Case:
    """Attention of any small sizes, leading axes, some of which broadcast, magnitude, mask and scale."""
    sizes = {letter: draw(LENGTHS if letter in "TS" else st.integers(1, 9), label=letter) for letter in "TSED"}
    lead = tuple(draw(st.lists(st.integers(1, 3), max_size=3), label="lead"))
    size = draw(st.sampled_from([1.0, 0.1, 2.0]), label="size")
    kind = draw(st.sampled_from(["none", "look-ahead", "random", "first axis", "keys"]), label="mask")
    scale = draw(st.sampled_from(SCALES), label="scale")
    shared = draw(st.sampled_from(["nothing", "queries", "keys"]), label="shared along the first axis")
    seed = draw(st.integers(0, 999), label="seed")
    name = f"drawn {lead} {sizes} size {size:g} mask {kind} scale {scale} shared {shared} seed {seed}"
    T, S = sizes["T"], sizes["S"]
    masks = {
        "none": lambda: None,
        "look-ahead": lambda: causal(T, S),
        "random": lambda: random_mask(name, *lead, T, S),
        "first axis": lambda: random_mask(name, *lead[:1], *(1 for _ in lead[1:]), T, S),
        "keys": lambda: booleans(name, S) | (torch.arange(S) == seed % S),
    }
    query, key, value = drawn_numbers(name, lead, **sizes, size=size)
    if lead and shared == "queries":
        query = query[:1]
    elif lead and shared == "keys":
        key, value = key[:1], value[:1]
    return attention(name, query, key, value, mask=masks[kind](), scale=scale)


@st.composite
def multi_heads(draw: st.DrawFn) -> Case:
    """Multi-head attention of any small sizes, biases and mask."""
    sizes = {letter: draw(st.integers(1, 5), label=letter) for letter in "BTSHE"}
    own = draw(st.booleans(), label="sizes of their own")
    more: dict[str, Any] = (
        {"D": draw(st.integers(1, 5)), "M": draw(st.integers(1, 9)), "widths": (3, 5, 4)} if own else {}
    )
    biases = draw(st.sampled_from(["qkvo", "", "qv", "o"]), label="biases")
    kind = draw(st.sampled_from(["none", "look-ahead", "random", "padding"]), label="mask")
    name = f"drawn {sizes} {more} biases {biases} mask {kind}"
    B, T, S = sizes["B"], sizes["T"], sizes["S"]
    masks = {
        "none": lambda: None,
        "look-ahead": lambda: causal(T, S),
        "random": lambda: random_mask(name, B, T, S),
        "padding": lambda: up_to(*(1 + item % S for item in range(B)), keys=S).unsqueeze(1),
    }
    return multi_head(name, **sizes, **more, biases=biases, mask=masks[kind]())


drawn = [Drawn(scaled_dot_product_attention, attentions())]
drawn_weights = [Drawn(attention_weights, attentions().map(lambda case: weights_of([case])[0]))]
drawn_heads = [Drawn(multi_head_attention, multi_heads())]

# --- Groups for properties --------------------------------------------------------------------------------------------

in_batches = [
    *among(generic, "generic", "one leading axis", "three leading axes"),
    *among(
        masked, "padding of unlike lengths", "unlike per batch", "unlike everywhere", "one leading axis under a mask"
    ),
    *among(heads, "generic heads", "as many heads as batch items", "as many batch items as positions"),
    *among(heads_masked, "heads, unlike per batch", "heads, padding of unlike lengths"),
]
every_call = [
    *among(generic, "generic", "no leading axes"),
    *among(masked, "unlike per batch", "one key hidden", "a batch of one under a mask", "one query under a mask"),
    *among(scaled, "scale 0.7", "scale 0.7 under a mask"),
]
every_operation = [
    *every_call,
    *weights_of(every_call),
    *among(heads, "generic heads", "self-attention", "one head"),
    *among(heads_masked, "heads, unlike per batch", "heads, mask of keys alone"),
]
differentiable = [
    *among(one_size, "one size for keys and values", "one size, under a mask"),
    *the_same_tensor,
    *among(one_size, "one size for keys and values, long", "one size, look-ahead", "one size, scale 0.3"),
    *among(generic, "generic", "no leading axes", "more queries than keys", "three leading axes"),
    *among(peaky, "peaky", "keys nearly alike"),
    *among(lengths_of_one, "one query", "a batch of one"),
    *among(masked, "look-ahead, fewer queries than keys", "padding of unlike lengths", "unlike everywhere"),
    *among(masked, "a batch of one under a mask", "first blocks hidden"),
    *among(broadcast, "one key and value for all heads", "one key and value for all heads under a mask"),
    *among(broadcast, "queries and keys of unlike axes", "keys without leading axes", "queries without leading axes"),
    *among(scaled, "scale 0.7", "scale 0.0", "scale -0.5", "scale 0.7 under a mask"),
    *among(one_key, "one key", "one query of one key"),
    *among([*long_rows, *longer_rows], "33 keys, 33 queries", "65 keys, 17 queries", "257 keys, 2 queries"),
    *among(hard_scores, "scores of ±1e4", "a common offset of 1000", "rows of unlike levels"),
    *among(strided_together, "heads split by a transposed view", "everything sliced", "cut out of one buffer"),
    *(replace(case, dtypes=WIDE) for case in layouts(among(masked, "unlike per batch")[0]) if "mask" not in case.name),
    attention("keys of 128 and values of 96 entries", *drawn_numbers("128 and 96", (2,), E=128, D=96)),
    attention("correlated, 256 entries", *_correlated("correlated gradient", 256), dtypes=WIDE),
]
differentiable_under_every_shape_of_mask = [
    *(case for case in mask_shapes if "131" not in case.name),
    *among(broadcast, "keys without leading axes under a mask", "queries without leading axes under a mask"),
]
heads_differentiable = [
    *among(
        heads, "generic heads", "self-attention", "as many heads as batch items", "one head", "a batch of one, heads"
    ),
    *heads_of_differing_inputs,
    *among(heads_without_biases, "no biases", "only the output's bias"),
    *among(heads_masked, "heads, look-ahead, fewer queries than keys", "heads, unlike per batch"),
    *among(heads, "heads, queries are keys", "heads, keys are values", "keys and values of one weight"),
    *among(heads, "many batch items"),
    *heads_at_the_start,
]


# --- Changes that properties make -------------------------------------------------------------------------------------


def with_other_content_where_hidden(case: Case) -> Case:
    """Other numbers, a hundred times the ordinary, in keys and values that no query of their sequence may attend to."""
    query, key, value = case.tensors
    mask = case.options["mask"]
    others = [torch.where(x == louder_where_hidden(x, mask), x, _other(x)) for x in (key, value)]
    return case.changed("other content where hidden", (query, *others))


def _other(content: Tensor) -> Tensor:
    return (-content.flip(0) - HIDDEN).to(content.dtype)


def with_zero_where_hidden(case: Case) -> Case:
    """Zero where keys and values are NaN."""
    query, key, value = case.tensors
    return case.changed("zero where hidden", (query, key.nan_to_num(0.0), value.nan_to_num(0.0)))


def with_another_future(case: Case) -> tuple[Case, Tensor]:
    """Other keys and values from the middle on, and where in the result the future may not show."""
    query, key, value = case.tensors
    half = max(1, min(key.shape[-2], query.shape[-2]) // 2)
    later = torch.arange(key.shape[-2]).unsqueeze(-1) >= half
    changed = case.changed("another future", (query, *(torch.where(later, _other(x), x) for x in (key, value))))
    return changed, torch.arange(query.shape[-2]).unsqueeze(-1) < half


def with_heads_reordered(case: Case) -> Case:
    """The heads in every weight in reverse order."""
    count, weights = case.options["num_heads"], dict(case.weights or {})
    for name, weight in weights.items():
        if name != "b_o":
            axis = 0 if name == "w_o" else weight.dim() - 1
            weights[name] = weight.unflatten(axis, (count, -1)).flip(axis).flatten(axis, axis + 1)
    return case.changed("heads reordered", weights=weights)


def first_of_the_batch(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The first entry of the first axis alone, and how to pick it out of the result of all."""
    mask, axes = case.options.get("mask"), case.tensors[0].dim()
    first: dict[str, Any] = {} if mask is None else {"mask": mask[:1] if mask.dim() == axes and len(mask) > 1 else mask}
    return case.changed("alone", tuple(x[:1] for x in case.tensors), **first), lambda result: result[:1]


def with_other_numbers(case: Case) -> Case:
    """A call of the same shapes with every number another, the mask moved on by one key."""
    mask = case.options.get("mask")
    more = {} if mask is None else {"mask": mask.roll(1, -1)}
    weights = {name: 0.1 - weight for name, weight in case.weights.items()} if case.weights else None
    return case.changed("other numbers", tuple(x.flip(-1) - 0.5 for x in case.tensors), weights, **more)


def with_more_keys(case: Case) -> Case:
    """A call with the keys and values twice, all new keys visible."""
    query, *others = case.tensors
    mask = case.options.get("mask")
    more = {} if mask is None else {"mask": torch.cat([mask, torch.ones_like(mask)], -1)}
    return case.changed("more keys", (query, *(torch.cat([x, x], -2) for x in others)), **more)
