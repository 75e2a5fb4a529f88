"""Inputs for attention. Sizes differ wherever they can, so that no axis is mistaken for another by luck."""

import math
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import WIDE, Case, Drawn, batch_last, booleans, layouts, normal, sliced, transposed
from transpec.reference.attention import attention_weights, multi_head_attention, scaled_dot_product_attention

HIDDEN = 100.0  # what cannot be seen is a hundred times the ordinary
BLOCK_EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129)


def causal(queries: int, keys: int) -> Tensor:
    """Query t may attend to the keys 0 to t."""
    return torch.ones(queries, keys, dtype=torch.bool).tril()


def with_a_visible_key(mask: Tensor) -> Tensor:
    """The mask, every row that would be empty made to see its own place, or the last key."""
    queries, keys = mask.shape[-2:]
    own = torch.nn.functional.one_hot(torch.arange(queries).clamp_max(keys - 1), keys).bool()
    return mask | (own & ~mask.any(-1, keepdim=True))


def louder_where_hidden(content: Tensor, mask: Tensor) -> Tensor:
    """Keys or values (… S X) that no query may attend to, made a hundred times as large."""
    seen = mask.expand(*torch.broadcast_shapes(mask.shape[:-2], content.shape[:-2]), *mask.shape[-2:]).any(-2)
    while seen.dim() > content.dim() - 1:
        seen = seen.any(0)
    return torch.where(seen.unsqueeze(-1), content, content * HIDDEN)


def attention(name: str, query: Tensor, key: Tensor, value: Tensor, **more: object) -> Case:
    """A call of scaled_dot_product_attention; what is not a field of a case is an option."""
    fields = {field: more.pop(field) for field in ("dtypes",) if field in more}
    return Case(scaled_dot_product_attention, name, (query, key, value), None, more, **fields)  # type: ignore[arg-type]


def drawn_numbers(
    name: str, lead: tuple[int, ...] = (2, 3), T: int = 5, S: int = 7, E: int = 11, D: int = 13, size: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Normal queries and keys times `size`, and normal values."""
    query, key = normal(f"{name} query", *lead, T, E) * size, normal(f"{name} key", *lead, S, E) * size
    return query, key, normal(f"{name} value", *lead, S, D)


def weights_of(cases: list[Case]) -> list[Case]:
    """The same queries, keys and options as calls of attention_weights."""
    return [replace(case, operation=attention_weights, tensors=case.tensors[:2], numbers_of=None, known={}, rounded={}) for case in cases]


# --- The formula ------------------------------------------------------------------------------------------------------

one_hot = [
    attention(
        "one-hot",
        torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64),
        torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.float64),
        torch.tensor([[1.0], [0]], dtype=torch.float64),
    ),
    attention(
        "one-hot, two queries of three keys",
        torch.tensor([[2.0, 0], [0, 2]], dtype=torch.float64),
        torch.tensor([[1.0, 0], [0, 1], [1, 1]], dtype=torch.float64),
        torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64),
    ),
]
generic = [
    attention("generic", *drawn_numbers("generic")),
    attention("no leading axes", *drawn_numbers("no leading axes", ())),
    attention("one leading axis", *drawn_numbers("one leading axis", (3,), T=7, S=5)),
    attention("more queries than keys", *drawn_numbers("more queries", (2,), T=11, S=3, E=5, D=7)),
    attention("values wider than keys", *drawn_numbers("wide values", (2,), T=4, S=5, E=3, D=17)),
    attention("batch and heads of one size", *drawn_numbers("square", (3, 3), T=3, S=3, E=3, D=3)),
]
lengths_of_one = [
    attention("one query", *drawn_numbers("one query", (2, 3), T=1)),
    attention("one key", *drawn_numbers("one key", (2, 3), S=1)),
    attention("one query of one key", *drawn_numbers("one of one", (2,), T=1, S=1)),
    attention("keys of one entry", *drawn_numbers("one entry", (2,), E=1, D=1)),
    attention("a batch of one", *drawn_numbers("batch of one", (1, 3))),
]
peaky = [
    attention("peaky", *drawn_numbers("peaky", size=3.0)),
    attention("one row of weights nearly one-hot", *drawn_numbers("one-hot rows", (2,), size=6.0), dtypes=WIDE),
    attention(
        "keys nearly alike", *(lambda q, k, v: (q, k[..., :1, :] + 0.1 * k, v))(*drawn_numbers("alike", size=2.0)), dtypes=WIDE
    ),
    attention("equal keys", *(lambda q, k, v: (q, k[..., [0, 1, 2, 0, 1, 2, 0], :], v))(*drawn_numbers("ties", size=2.0))),
    attention(
        "one huge value",
        *(lambda q, k, v: (q, k, torch.where(torch.arange(7).unsqueeze(-1) == 4, v * 1000, v)))(*drawn_numbers("huge")),
    ),
]
long_rows = [
    attention(f"{keys} keys, {queries} queries", *drawn_numbers(f"{keys} keys", (2,), T=queries, S=keys, E=5, D=3), dtypes=WIDE)
    for keys, queries in zip(BLOCK_EDGES, reversed(BLOCK_EDGES), strict=True)
]
broadcast = [
    attention(
        "one key and value for all heads",
        normal("shared q", 2, 3, 5, 7), normal("shared k", 2, 1, 4, 7), normal("shared v", 2, 1, 4, 3),
    ),
    attention("keys without leading axes", normal("bare q", 2, 3, 5, 7), normal("bare k", 4, 7), normal("bare v", 4, 3)),
    attention("queries without leading axes", normal("bare q 2", 5, 7), normal("bare k 2", 2, 4, 7), normal("bare v 2", 2, 4, 3)),
    attention(
        "values with an axis that scores lack", normal("v q", 5, 7), normal("v k", 4, 7), normal("v v", 2, 4, 3),
    ),
]  # fmt: skip

# --- Scale ------------------------------------------------------------------------------------------------------------

scaled = [
    attention(f"scale {scale}", *drawn_numbers(f"scale {scale}", (2,), T=3, S=5), scale=scale)
    for scale in (1.0, 0.3, 0.0, 1 / 11)
]
head_sizes = [
    attention(f"keys of {size} entries", *drawn_numbers(f"{size} entries", (2,), T=3, S=5, E=size, D=2), dtypes=WIDE)
    for size in (2, 3, 8, 16, 40, 64, 65, 128)
]

# --- Masks ------------------------------------------------------------------------------------------------------------


def masked_case(name: str, mask: Tensor, lead: tuple[int, ...] = (2, 3), size: float = 1.0, **more: object) -> Case:
    """A generic call under a mask, its hidden keys and values loud."""
    queries, keys = mask.shape[-2] if mask.dim() > 1 else 5, mask.shape[-1]
    queries = 5 if queries == 1 else queries
    query, key, value = drawn_numbers(name, lead, T=queries, S=keys, size=size)
    full = mask.broadcast_to(*torch.broadcast_shapes(mask.shape, (queries, keys)))
    loud = (louder_where_hidden(key, full), louder_where_hidden(value, full))
    return attention(name, query, *loud, mask=mask, **more)


masked = [
    masked_case("look-ahead", causal(7, 7)),
    masked_case("look-ahead, fewer queries than keys", causal(5, 7)),
    masked_case("look-ahead, more queries than keys", causal(7, 5)),
    masked_case("one key hidden", torch.arange(7).ne(2).expand(5, 7).clone()),
    masked_case("padding of unlike lengths", torch.arange(7) < torch.tensor([3, 6]).view(2, 1, 1, 1)),
    masked_case("left padding of unlike lengths", torch.arange(7) >= torch.tensor([4, 1]).view(2, 1, 1, 1)),
    masked_case("unlike per batch", with_a_visible_key(booleans("unlike batch", 2, 1, 5, 7))),
    masked_case("unlike per head", with_a_visible_key(booleans("unlike head", 3, 5, 7))),
    masked_case("unlike everywhere", with_a_visible_key(booleans("unlike all", 2, 3, 5, 7))),
    masked_case("only the last key visible", torch.arange(7).eq(6).expand(5, 7).clone()),
    masked_case("look-ahead and padding", causal(5, 7) & (torch.arange(7) < torch.tensor([3, 6]).view(2, 1, 1, 1))),
    masked_case("unlike per batch, peaky", with_a_visible_key(booleans("peaky mask", 2, 1, 5, 7)), size=3.0, dtypes=WIDE),
    masked_case("block diagonal", torch.arange(6).div(2, rounding_mode="floor").unsqueeze(-1) == torch.arange(6).div(2, rounding_mode="floor")),
    *(
        masked_case(f"look-ahead over {length}", causal(length, length), (2,), dtypes=WIDE)
        for length in (16, 17, 31, 32, 33, 64, 65)
    ),
]  # fmt: skip
mask_shapes = [
    masked_case("mask of keys alone", torch.arange(7).ne(2)),
    masked_case("mask of one row", torch.arange(7).ne(2).view(1, 7)),
    masked_case("mask with a head axis of one", booleans("head of one", 2, 1, 1, 7) | torch.arange(7).eq(3)),
    masked_case("mask with a batch axis of one", with_a_visible_key(booleans("batch of one mask", 1, 3, 5, 7))),
    masked_case("mask with a key axis of one", torch.ones(2, 1, 5, 1, dtype=torch.bool), lead=(2, 3)),
    attention(
        "mask with axes that queries and keys lack",
        *drawn_numbers("lacking", ()), mask=with_a_visible_key(booleans("lacking mask", 2, 5, 7)),
    ),
]  # fmt: skip
everything_visible = [masked_case("everything visible", torch.ones(5, 7, dtype=torch.bool))]


def _with_an_empty_row(name: str, rows: tuple[int, ...], size: float = 1.0, lead: tuple[int, ...] = (2, 3)) -> Case:
    mask = with_a_visible_key(booleans(f"{name} mask", *lead[:1], *([1] * (len(lead) - 1)), 5, 7))
    mask[0, ..., list(rows), :] = False
    return attention(name, *drawn_numbers(name, lead, size=size), mask=mask)


empty_rows = [
    _with_an_empty_row("one row with no visible key", (2,)),
    _with_an_empty_row("first and last rows with no visible key", (0, 4), lead=(2,)),
    _with_an_empty_row("peaky, one row with no visible key", (3,), size=3.0),
    attention("no row with a visible key", *drawn_numbers("all hidden", (2,)), mask=torch.zeros(5, 7, dtype=torch.bool)),
]

# --- Stability --------------------------------------------------------------------------------------------------------


def _with_scores_of(name: str, size: float) -> Case:
    """Scores spread over ±size: keys along one direction, the rest generic, so that some rows have near rivals."""
    query, key, value = drawn_numbers(name, (2,))
    query[..., 0], key[..., 0] = 1.0, size * math.sqrt(11) * torch.linspace(-1, 1, 7, dtype=torch.float64)
    key[..., -2, 0] = key[..., -1, 0]
    return attention(name, query, key, value, dtypes=WIDE)


def _with_common_offset(name: str, offset: float, **more: object) -> Case:
    """Ordinary scores with `offset` added to all."""
    query, key, value = drawn_numbers(name, (2,))
    query[..., 0], key[..., 0] = 8.0, offset * math.sqrt(11) / 8
    return attention(name, query, key, value, dtypes=WIDE, **more)


hard_scores = [
    _with_scores_of("scores of ±1e4", 1e4),
    _with_scores_of("scores of ±100", 100.0),
    _with_common_offset("a common offset of 1000", 1000.0),
    _with_common_offset("a common offset of -1000", -1000.0),
    _with_common_offset("a common offset of -30000 under a mask", -3e4, mask=with_a_visible_key(booleans("far", 2, 5, 7))),
    _with_common_offset("a common offset of 30000 under a mask", 3e4, mask=with_a_visible_key(booleans("high", 2, 5, 7))),
]

# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = [
    attention("a batch of zero", *drawn_numbers("none", (0, 3))),
    attention("a batch of zero under a mask", *drawn_numbers("none masked", (0, 3)), mask=causal(5, 7)),
]
impossible = [
    attention("queries and keys of unlike size", normal("bad q", 2, 5, 6), normal("bad k", 2, 7, 5), normal("bad v", 2, 7, 3)),
    attention("fewer values than keys", normal("bad q 2", 2, 5, 6), normal("bad k 2", 2, 7, 6), normal("bad v 2", 2, 4, 3)),
    attention("more values than keys", normal("bad q 3", 2, 5, 6), normal("bad k 3", 2, 3, 6), normal("bad v 3", 2, 8, 3)),
]
strided = [variant for case in [masked_case("strides", with_a_visible_key(booleans("strides", 2, 3, 5, 7)))] for variant in layouts(case)]
strided_together = [
    attention("heads split by a transposed view", *(x.transpose(1, 2).contiguous().transpose(1, 2) for x in drawn_numbers("view", (2, 3)))),
    attention("everything transposed", *(transposed(x) for x in drawn_numbers("all transposed", (2, 3)))),
    attention("everything sliced", *(sliced(x) for x in drawn_numbers("all sliced", (2, 3), S=33)), dtypes=WIDE),
    attention("everything batch-last", *(batch_last(x) for x in drawn_numbers("all batch-last", (2, 3)))),
]  # fmt: skip
hidden_nan = [
    attention(
        "NaN where nothing looks",
        *(lambda q, k, v: (q, *(torch.where(torch.arange(7).unsqueeze(-1) > 4, math.nan, x) for x in (k, v))))(*drawn_numbers("nan")),
        mask=torch.arange(7) <= 4,
    )
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
    **more: object,
) -> Case:
    """A call of multi_head_attention. Without `D`, `widths` and `M` all are those of one model size, H E."""
    D = E if D is None else D
    widths, M = widths or (H * E, H * E, H * E), M or H * E
    shapes = {"w_q": (widths[0], H * E), "w_k": (widths[1], H * E), "w_v": (widths[2], H * D), "w_o": (H * D, M)}
    shapes |= {f"b_{which}": (shapes[f"w_{which}"][1],) for which in biases}
    weights = {w: normal(f"{name} {w}", *shape) * (shape[0] ** -0.5 if len(shape) > 1 else 0.5) * 1.3 for w, shape in shapes.items()}
    inputs = (
        normal(f"{name} query", B, T, widths[0]),
        normal(f"{name} key", B, S, widths[1]),
        normal(f"{name} value", B, S, widths[2]),
    )
    fields = {field: more.pop(field) for field in ("dtypes",) if field in more}
    return Case(multi_head_attention, name, inputs, weights, {"num_heads": H, **more}, **fields)  # type: ignore[arg-type]


def _one_hot_heads() -> Case:
    """Two heads of one entry each: the first reads entry 0, the second entry 1; the output exchanges them."""
    identity = torch.eye(2, dtype=torch.float64)
    x = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]], dtype=torch.float64)
    weights = {"w_q": identity, "w_k": identity, "w_v": identity, "w_o": identity.flip(0)}
    return Case(multi_head_attention, "two one-hot heads", (x, x, x), weights, {"num_heads": 2})


heads_one_hot = [_one_hot_heads()]
heads = [
    multi_head("generic heads"),
    multi_head("self-attention sizes", T=6, S=6),
    multi_head("as many heads as batch items", B=3, T=5, S=4),
    multi_head("as many heads as positions", B=2, T=3, S=3),
    multi_head("one head", H=1, E=7),
    multi_head("heads of one entry", H=5, E=1),
    multi_head("heads of five", E=5),
    multi_head("one position", T=1, S=1),
    multi_head("one query", T=1, S=6),
    multi_head("a batch of one", B=1),
    multi_head("block edges", B=1, T=33, S=65, dtypes=WIDE),
]
heads_of_differing_inputs = [
    multi_head("keys and values of their own widths", widths=(12, 5, 7)),
    multi_head("values smaller than keys", D=2, M=12),
    multi_head("values larger than keys", E=2, D=5, M=7),
    multi_head("every width its own", H=3, E=5, D=2, widths=(11, 7, 13), M=17),
]
heads_without_biases = [
    multi_head("no biases", biases=""),
    multi_head("only the output's bias", biases="o"),
    multi_head("all biases but the output's", biases="qkv"),
    multi_head("all biases but the key's", biases="qvo"),
]
heads_masked = [
    multi_head("heads, look-ahead", T=6, S=6, mask=causal(6, 6)),
    multi_head("heads, look-ahead, fewer queries than keys", mask=causal(5, 7)),
    multi_head("heads, unlike per batch", mask=with_a_visible_key(booleans("heads unlike", 2, 5, 7))),
    multi_head("heads, as many as batch items", B=3, mask=with_a_visible_key(booleans("heads alike", 3, 5, 7))),
    multi_head("heads, padding of unlike lengths", mask=(torch.arange(7) < torch.tensor([3, 6]).view(2, 1, 1))),
    multi_head("heads, mask of keys alone", mask=torch.arange(7).ne(2)),
    multi_head("heads, mask with a batch axis of one", mask=with_a_visible_key(booleans("heads one", 1, 5, 7))),
    multi_head("heads, everything its own under a mask", E=5, D=2, widths=(11, 7, 13), M=17, mask=with_a_visible_key(booleans("own", 2, 5, 7))),
]  # fmt: skip
heads_empty_rows = [
    multi_head("heads, one row with no visible key", mask=booleans("heads empty", 2, 5, 7) & torch.tensor([1, 1, 0, 1, 1]).bool().unsqueeze(-1) | torch.arange(5).eq(3).unsqueeze(-1)),
]  # fmt: skip
heads_batch_of_zero = [multi_head("heads, a batch of zero", B=0)]
heads_impossible = [
    replace(multi_head("heads that do not divide", H=3, E=4), options={"num_heads": 5}),
    replace(multi_head("more heads than columns", H=3, E=4), options={"num_heads": 24}),
]
heads_strided = layouts(multi_head("heads, strides", mask=with_a_visible_key(booleans("heads strides", 2, 5, 7))))

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def attentions(draw: st.DrawFn) -> Case:
    """Attention of any small sizes, leading axes, magnitude, mask and scale."""
    sizes = {letter: draw(st.integers(1, 9), label=letter) for letter in "TSED"}
    lead = tuple(draw(st.lists(st.integers(1, 3), max_size=2), label="lead"))
    size = draw(st.sampled_from([1.0, 0.1, 3.0]), label="size")
    kind = draw(st.sampled_from(["none", "look-ahead", "random", "keys"]), label="mask")
    scale = draw(st.sampled_from([None, 0.25]), label="scale")
    seed = draw(st.integers(0, 999), label="seed")
    name = f"drawn {lead} {sizes} size {size:g} mask {kind} scale {scale} seed {seed}"
    masks = {
        "none": None,
        "look-ahead": causal(sizes["T"], sizes["S"]),
        "random": with_a_visible_key(booleans(name, *lead, sizes["T"], sizes["S"])),
        "keys": booleans(name, sizes["S"]) | (torch.arange(sizes["S"]) == seed % sizes["S"]),
    }
    return attention(name, *drawn_numbers(name, lead, **sizes, size=size), mask=masks[kind], scale=scale)


@st.composite
def multi_heads(draw: st.DrawFn) -> Case:
    """Multi-head attention of any small sizes, biases and mask."""
    sizes = {letter: draw(st.integers(1, 5), label=letter) for letter in "BTSHE"}
    own = draw(st.booleans(), label="sizes of their own")
    more = {"D": draw(st.integers(1, 5)), "M": draw(st.integers(1, 9)), "widths": (3, 5, 4)} if own else {}
    biases = draw(st.sampled_from(["qkvo", "", "qv", "o"]), label="biases")
    is_masked = draw(st.booleans(), label="masked")
    name = f"drawn {sizes} {more} biases {biases} masked {is_masked}"
    mask = with_a_visible_key(booleans(name, sizes["B"], sizes["T"], sizes["S"])) if is_masked else None
    return multi_head(name, **sizes, **more, biases=biases, mask=mask)  # type: ignore[arg-type]


drawn = [Drawn(scaled_dot_product_attention, attentions())]
drawn_weights = [Drawn(attention_weights, attentions().map(lambda case: weights_of([case])[0]))]
drawn_heads = [Drawn(multi_head_attention, multi_heads())]

# --- Groups for properties ----------------------------------------------------------------------------------------------

look_ahead = [case for case in masked if case.name.startswith("look-ahead") and "padding" not in case.name]
heads_look_ahead = [case for case in heads_masked if "look-ahead" in case.name]
in_batches = [generic[0], generic[2], masked[4], masked[6], masked[8], heads[0], heads[2], heads_masked[2], heads_masked[4]]
every_operation = [generic[0], masked[6], *weights_of([generic[0], masked[6]]), heads[0], heads_masked[2]]
differentiable = [
    generic[0], generic[3], peaky[0], masked[1], masked[4], masked[8], *broadcast[:3], scaled[1], long_rows[5], lengths_of_one[0],
    hard_scores[2], strided_together[0],
]  # fmt: skip
heads_differentiable = [heads[0], heads[2], *heads_of_differing_inputs, heads_without_biases[0], heads_masked[1], heads_masked[2]]


# --- Changes that properties make ---------------------------------------------------------------------------------------


def with_other_content_where_hidden(case: Case) -> Case:
    """Other numbers, a hundred times the ordinary, in keys and values that no query of their sequence may attend to."""
    query, key, value = case.tensors
    mask = case.options["mask"]
    others = [
        torch.where(content == louder_where_hidden(content, mask), content, _other(content)) for content in (key, value)
    ]
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
    return replace(case.changed("heads reordered"), weights=weights)


def first_of_the_batch(case: Case) -> tuple[Case, object]:
    """The first entry of the first axis alone, and how to pick it out of the result of all."""
    mask, axes = case.options.get("mask"), case.tensors[0].dim()
    first = {} if mask is None else {"mask": mask[:1] if mask.dim() == axes and len(mask) > 1 else mask}
    return case.changed("alone", tuple(x[:1] for x in case.tensors), **first), lambda result: result[:1]


def with_other_numbers(case: Case) -> Case:
    """A call of the same shapes with every number another, the mask turned over where that leaves a visible key."""
    mask = case.options.get("mask")
    more = {} if mask is None else {"mask": with_a_visible_key(~mask)}
    return case.changed("other numbers", tuple(_other(x) for x in case.tensors), **more)
