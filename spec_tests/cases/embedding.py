"""Inputs for token embeddings. Ids repeat, and sizes differ, so that no axis is taken for another by luck."""

import math
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import EVERY_DTYPE, WIDE, Case, Drawn, batch_last, integers, layouts, normal, sliced, transposed
from transpec.reference.embedding import token_embedding


def embedding(
    name: str,
    token_ids: Tensor | list[int] | list[list[int]],
    table: Tensor,
    *,
    offset: int = 0,
    dtypes: tuple[str, ...] = EVERY_DTYPE,
) -> Case:
    """A call of token_embedding."""
    ids = torch.as_tensor(token_ids, dtype=torch.int64)
    return Case(token_embedding, name, (ids,), {"table": table}, {"offset": offset}, dtypes)


def drawn_ids(name: str, *shape: int, words: int = 11, d_model: int = 6, size: float = 1.0, **more: Any) -> Case:
    """Random ids of a shape, and a normal table times `size`."""
    return embedding(name, integers(name, words, *shape), normal(name, words, d_model) * size, **more)


# --- The formula ------------------------------------------------------------------------------------------------------

by_hand = [
    embedding("one token of two channels", [[1]], torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)),
    embedding("two tokens of a one-hot table", [[2, 0]], torch.eye(4, dtype=torch.float64)),
]
generic = [
    drawn_ids("generic", 2, 5),
    drawn_ids("more tokens than words", 3, 17, words=5, d_model=8),
    drawn_ids("as many sequences as tokens", 4, 4, d_model=10),
    drawn_ids("more sequences than tokens", 7, 3, d_model=5),
    drawn_ids("as many words as channels", 2, 5, words=7, d_model=7),
    drawn_ids("tokens, words and channels alike", 3, 3, words=3, d_model=3),
    drawn_ids("the paper's width", 2, 5, d_model=512, dtypes=WIDE),
]
leading_axes = [
    drawn_ids("no leading axes", 5),
    drawn_ids("two leading axes", 2, 3, 5),
    drawn_ids("two leading axes, one of one", 2, 1, 4),
    drawn_ids("three leading axes", 2, 1, 3, 4, d_model=7),
]
lengths_of_one = [
    drawn_ids("one token", 3, 1),
    drawn_ids("a batch of one", 1, 5),
    drawn_ids("one token in a batch of one", 1, 1),
    drawn_ids("one token without leading axes", 1),
    drawn_ids("a vocabulary of one", 2, 3, words=1),
    drawn_ids("one token of one channel", 1, 1, d_model=1),
]
lengths = [drawn_ids(f"{length} tokens", 2, length) for length in (2, 16, 17, 32, 33, 63, 65, 128, 129, 513)]
lengths += [drawn_ids("2100 tokens", 1, 2100), drawn_ids("19 sequences", 19, 3)]
widths = [
    drawn_ids(f"{width} channels", 2, 3, d_model=width)
    for width in (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 33, 64, 65, 513)
]
magnitudes = [
    drawn_ids("table of large entries", 2, 5, size=100.0, dtypes=WIDE),
    drawn_ids("table of tiny entries", 2, 5, size=1e-3),
    embedding(
        "one large row", [[3, 1, 4], [1, 5, 3]],
        torch.where(torch.arange(7).unsqueeze(-1) == 3, 300.0, 1.0) * normal("large row", 7, 5), dtypes=WIDE,
    ),
]  # fmt: skip

# --- Ids --------------------------------------------------------------------------------------------------------------

ids = [
    embedding("every id once, backwards", [[6, 5, 4, 3], [2, 1, 0, 6]], normal("backwards", 7, 6)),
    embedding("only id 0", [[0, 0, 0], [0, 0, 0]], normal("only 0", 7, 6)),
    embedding("only the last id", [[6, 6, 6], [6, 6, 6]], normal("only the last", 7, 6)),
    embedding("padded with id 0", [[3, 1, 4, 0, 0], [5, 2, 0, 0, 0]], normal("padded", 7, 6)),
    embedding("padded with id 1", [[1, 1, 3, 4], [1, 5, 2, 6]], normal("padded with 1", 7, 6)),
    embedding("one id everywhere", [[4, 4, 4, 4, 4]], normal("everywhere", 7, 6)),
    embedding("sequences alike", [[3, 1, 4, 1, 5]] * 3, normal("alike", 7, 6)),
    embedding("ids in order", [[0, 1, 2, 3, 4, 5, 6]], normal("in order", 7, 6)),
    embedding("ids beyond 255", [[255, 256, 257, 511, 512, 299]], normal("beyond 255", 513, 4)),
    embedding("ids beyond 2048", [[2047, 2048, 2049, 4095, 4099, 2051]], normal("beyond 2048", 4100, 2)),
    embedding("ids beyond 32767", [[32767, 32768, 32769, 32999]], normal("beyond 32767", 33000, 2)),
    # Beyond what 7 bits hold.
    *(
        embedding(
            f"the last ids of {words}",
            [[words - 1, 0, words - 2], [1, words // 2, words - 1]],
            normal(f"{words}", words, 3),
        )
        for words in (200, 300)
    ),
]

# --- Positions --------------------------------------------------------------------------------------------------------

zero_tables = [
    embedding("table of zeros", [[3, 1, 4, 1], [5, 2, 6, 0]], torch.zeros(7, 6, dtype=torch.float64)),
    embedding("table of zeros, odd", [[3, 1, 4], [5, 2, 6]], torch.zeros(7, 9, dtype=torch.float64), offset=7),
    embedding("table of zeros, two leading axes", [[[1, 0, 2]], [[2, 2, 1]]], torch.zeros(3, 12, dtype=torch.float64)),
]
sequences_alike = [
    ids[6],
    embedding("two sequences alike from 9", [[2, 0, 2, 6]] * 2, normal("alike from 9", 7, 9), offset=9),
    embedding("sequences of one token alike", [[3]] * 4, normal("alike of one", 7, 6)),
    embedding("leading axes of sequences alike", [[[1, 4, 1]] * 2] * 3, normal("leading alike", 7, 5)),
]
offsets = [
    *(drawn_ids(f"from position {offset}", 2, 5, offset=offset) for offset in (1, 2, 5, 63, 511, 1000)),
    drawn_ids("from position 3, odd", 3, 4, d_model=7, offset=3),
    drawn_ids("from position 12, one token", 3, 1, offset=12),
    drawn_ids("from position 6, no leading axes", 5, offset=6),
]
far = [drawn_ids(f"from position {offset}", 2, 3, d_model=12, offset=offset) for offset in (1857, 4095, 5000, 8000)]
farthest = [
    *(
        drawn_ids(f"from position {offset}", 2, 3, d_model=12, offset=offset, dtypes=WIDE)
        for offset in (16_383, 32_767, 65_535, 131_071)
    ),
    drawn_ids("around position 1e6", 2, 5, d_model=12, offset=999_998, dtypes=("float64",)),
    drawn_ids("a position that float32 cannot hold", 2, 1, d_model=9, offset=2**24 + 1, dtypes=("float64",)),
]
continued = [
    drawn_ids("continued", 2, 7),
    drawn_ids("continued, odd", 3, 6, d_model=9),
    drawn_ids("continued from 40", 2, 5, d_model=12, offset=40),
    drawn_ids("continued, no leading axes", 9),
]

# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = [
    embedding("a batch of zero", torch.zeros(0, 5), normal("zero", 11, 6)),
    embedding("a batch of zero from 3", torch.zeros(2, 0, 4), normal("zero from 3", 11, 7), offset=3),
]
strided = [
    *layouts(drawn_ids("strides", 2, 3, 5)),
    *layouts(drawn_ids("strides, odd, from 3", 4, 5, d_model=7, offset=3)),
    embedding("everything transposed", transposed(integers("transposed", 11, 3, 5)), transposed(normal("t", 11, 6))),
    embedding("everything sliced", sliced(integers("sliced", 11, 3, 5)), sliced(normal("s", 11, 6))),
    embedding("everything batch-last", batch_last(integers("b", 11, 2, 3, 5)), batch_last(normal("b", 11, 6))),
]
narrow_ids = [
    replace(case, tensors=(case.tensors[0].to(torch.int32),), numbers_of=case)
    for case in (generic[0], leading_axes[0], leading_axes[1], ids[0], ids[9], offsets[1])
]
impossible = [
    embedding("the id after the last", [[3, 7, 1]], normal("after the last", 7, 6)),
    embedding("an id of -1", [[3, -1, 1]], normal("before the first", 7, 6)),
    embedding("a label of -100 among ids", [[3, 1, -100]], normal("a label", 7, 6)),
    embedding("an id far beyond the table", [[3, 1], [2, 1000]], normal("far beyond", 7, 6)),
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def embeddings(draw: st.DrawFn) -> Case:
    """Embeddings of any small sizes, leading axes and offset."""
    shape = (*draw(st.lists(st.integers(1, 4), max_size=2), label="lead"), draw(st.integers(1, 12), label="T"))
    words, d_model = draw(st.integers(1, 20), label="words"), draw(st.integers(1, 40), label="d_model")
    size = draw(st.sampled_from([1.0, 0.1, 10.0]), label="size")
    offset = draw(st.integers(0, 30) | st.sampled_from([100, 1000, 5000]), label="offset")
    seed = draw(st.integers(0, 99), label="seed")
    name = f"drawn {shape} of {words} by {d_model} from {offset} size {size:g} seed {seed}"
    return drawn_ids(name, *shape, words=words, d_model=d_model, size=size, offset=offset)


drawn = [Drawn(token_embedding, embeddings())]

# --- Groups for properties --------------------------------------------------------------------------------------------

linear = [*generic[:5], *leading_axes, *widths[:9], ids[0], ids[3], offsets[2]]
in_batches = [*generic[:4], leading_axes[1], *ids[3:5], offsets[1], offsets[6]]
every_operation = [generic[0], generic[3], *leading_axes[:3], lengths_of_one[5], offsets[6], strided[0], strided[-2]]
remembered = [
    generic[0], generic[0].changed("from position 5", offset=5), generic[1], generic[5], leading_axes[0], ids[3],
    offsets[6], lengths_of_one[2],
]  # fmt: skip
# Widths that nothing else has, so that the first call of that width is in another dtype.
widths_of_their_own = [
    drawn_ids(f"{width} channels, first in other dtypes", 2, 4, d_model=width, dtypes=(dtype,))
    for width, dtype in zip((84, 86), WIDE, strict=True)
]
# In bfloat16 torch itself adds up in bfloat16, and stops where a sum no longer grows.
often = replace(drawn_ids("two words, 600 tokens", 2, 300, words=2, d_model=8), dtypes=WIDE)
differentiable = [
    *generic[:6], *leading_axes, *widths[:3], widths[-1], *ids[:7], offsets[1], far[0], magnitudes[2],
    *lengths_of_one[:5], lengths[4], drawn_ids("200 tokens", 2, 100), often, *strided,
]  # fmt: skip

# --- Changes that properties make -------------------------------------------------------------------------------------


def with_table_doubled(case: Case) -> Case:
    """The same tokens of a table twice as large, which is exact."""
    assert case.weights is not None
    return case.changed("table doubled", weights={"table": 2 * case.weights["table"]})


def scaled_rows(case: Case) -> Tensor:
    """sqrt(d_model) times the row of every token, in float64."""
    assert case.weights is not None
    table = case.weights["table"].to(torch.float64)
    return math.sqrt(table.shape[-1]) * table[case.tensors[0]]


def last_of_the_batch(case: Case) -> Case:
    """The last entry of the first axis alone."""
    return case.changed("last alone", (case.tensors[0][-1:],))


def rest(case: Case, start: int) -> Case:
    """The tokens from `start` on, at the positions that they had."""
    offset = case.options.get("offset", 0) + start
    return case.changed(f"from token {start}", (case.tensors[0][..., start:],), offset=offset)


def others_than(case: Case, dtypes: tuple[str, ...]) -> list[Case]:
    """Calls that a careless memory would take for this one: another dtype, other ids, table, offset, length."""
    token_ids = case.tensors[0]
    return [
        *(case.in_dtype(dtype) for dtype in dtypes if dtype != case.dtype),
        *others_of_the_same_shapes(case),
        case.changed("longer", (torch.cat((token_ids, token_ids), -1),)),
    ]


def others_of_the_same_shapes(case: Case) -> list[Case]:
    """Calls with other ids, another table or another offset."""
    assert case.weights is not None
    token_ids, table, offset = case.tensors[0], case.weights["table"], case.options.get("offset", 0)
    return [
        case.changed("other ids", (len(table) - 1 - token_ids,)),
        case.changed("other table", weights={"table": (1 - table).to(table.dtype)}),
        case.changed("other offset", offset=offset + 4),
    ]
