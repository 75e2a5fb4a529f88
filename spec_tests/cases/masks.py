"""Inputs for masks. Token ids differ from each other, so that only the pad id can be what a mask looks at."""

from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import EXACT, Case, Drawn, booleans, integers, layouts, sliced
from transpec.reference.masks import combine_masks, look_ahead_mask, padding_mask

BLOCK_EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)
FIRST_BEYOND_FLOAT32 = 2**24 + 1  # float32 rounds it to the integer before it


def padding(name: str, token_ids: Tensor | list[list[int]], pad_id: int = 0) -> Case:
    """A call of padding_mask."""
    ids = torch.as_tensor(token_ids, dtype=torch.int64)
    return Case(padding_mask, name, (ids,), None, {"pad_id": pad_id})


def look_ahead(name: str, length: int) -> Case:
    """A call of look_ahead_mask."""
    return Case(look_ahead_mask, name, (length,))


def combination(name: str, *masks: Tensor) -> Case:
    """A call of combine_masks."""
    return Case(combine_masks, name, masks)


def drawn_masks(name: str, *shapes: tuple[int, ...]) -> Case:
    """A call of combine_masks on random masks of these shapes."""
    return combination(name, *(booleans(f"{name} {place}", *shape) for place, shape in enumerate(shapes)))


# --- Padding ----------------------------------------------------------------------------------------------------------

padded = [
    padding("padding at the end", [[5, 3, 2, 7, 0, 0, 0], [4, 9, 1, 8, 6, 2, 0]]),
    padding("padding at the start", [[0, 0, 5, 3, 2], [0, 4, 9, 1, 8], [0, 0, 0, 0, 6]]),
    padding("padding in the middle", [[5, 0, 3, 0, 0, 2], [4, 9, 0, 1, 0, 8]]),
    padding("one pad at either end", [[0, 5, 3, 2, 7], [5, 3, 2, 7, 0]]),
    padding("no padding", [[5, 3, 2, 7], [4, 9, 1, 8], [6, 2, 3, 1]]),
    padding("one sequence of padding alone", [[0, 0, 0, 0], [4, 9, 0, 0], [6, 2, 3, 0]]),
    padding("as many sequences as tokens", [[5, 0, 0], [4, 9, 0], [6, 2, 3]]),
    padding("one token that is none", [[0]]),
    padding("ids that 16 bits take for padding", [[65_536, 5, 131_072, 0, 0], [7, 65_537, 65_535, 65_536, 0]]),
]
pad_ids = [
    padding("pad id among lower and higher ids", [[3, 0, 5, 4, 3, 3], [4, 3, 2, 0, 6, 3]], pad_id=3),
    padding("pad id 1, id 0 a token", [[0, 2, 3, 1, 1], [5, 0, 0, 4, 1]], pad_id=1),
    padding("the same ids, another pad id", [[3, 0, 5, 4, 3, 3], [4, 3, 2, 0, 6, 3]], pad_id=4),
    padding("pad id the highest", [[5, 3, 9, 9], [0, 9, 9, 9]], pad_id=9),
    padding("pad id -1", [[0, 1, 5, -1, -1], [1, 0, -1, -1, -1]], pad_id=-1),
    padding("pad id -100", [[3, 0, -1, -100], [-100, 100, -99, -101]], pad_id=-100),
    padding("no token has the pad id", [[0, 1, 5], [4, 0, 2]], pad_id=7),
    padding("ids and pad id equal modulo 256", [[300, 44, 556], [44, 1, 300]], pad_id=44),
    padding(
        "ids that float32 cannot tell apart", [[2**24, FIRST_BEYOND_FLOAT32, 3], [1, 2**24 + 2, 2**24]], pad_id=2**24
    ),
]
padding_sizes = [
    padding("a batch of one", [[5, 3, 0, 2, 0]]),
    padding("a sequence of one", [[5], [0], [3]]),
    padding("many sequences", integers("many sequences", 3, 17, 5)),
    *(padding(f"{length} tokens", integers(f"{length} tokens", 3, 2, length)) for length in BLOCK_EDGES),
]
padding_batch_of_zero = [padding("a batch of zero", torch.zeros(0, 5))]

# --- Look-ahead -------------------------------------------------------------------------------------------------------

lengths = [
    look_ahead("one position", 1),
    look_ahead("two positions", 2),
    *(look_ahead(f"{length} positions", length) for length in (3, 4, 5, 7, 8, 11, *BLOCK_EDGES, 513)),
]
beyond_buffers = [look_ahead("1025 positions", 1025), look_ahead("2049 positions", 2049)]

# --- Combined ---------------------------------------------------------------------------------------------------------

_two, _three = ([tuple(bool(row >> place & 1) for place in range(n)) for row in range(2**n)] for n in (2, 3))
every_row_of_the_truth_table = [
    combination("truth table of two", *torch.tensor(_two).unbind(-1)),
    combination("truth table of three", *torch.tensor(_three).unbind(-1)),
]
of_one_shape = [
    drawn_masks("two masks", (2, 5, 7), (2, 5, 7)),
    drawn_masks("three masks", (5, 7), (5, 7), (5, 7)),
    drawn_masks("four masks", (2, 3, 5, 7), (2, 3, 5, 7), (2, 3, 5, 7), (2, 3, 5, 7)),
    drawn_masks("masks of keys", (7,), (7,)),
    drawn_masks("masks of one entry", (1, 1), (1, 1)),
    combination("a mask that hides nothing", torch.ones(5, 7, dtype=torch.bool), booleans("nothing hidden", 5, 7)),
    combination("a mask that hides everything", booleans("all hidden", 5, 7), torch.zeros(5, 7, dtype=torch.bool)),
    combination("the same mask twice", booleans("twice", 2, 5, 7), booleans("twice", 2, 5, 7)),
    combination("a mask and its opposite", booleans("opposite", 5, 7), ~booleans("opposite", 5, 7)),
    *(
        combination(
            f"{count} masks, each of which hides a place of its own",
            *(torch.arange(count + 1) != torch.arange(count).unsqueeze(-1)),
        )
        for count in (5, 6, 7, 9, 11)
    ),
]
broadcast = [
    combination(
        "padding and look-ahead",
        torch.tensor([[5, 3, 2, 0, 0], [4, 0, 9, 1, 8]]).ne(0).unsqueeze(1), torch.ones(5, 5, dtype=torch.bool).tril(),
    ),
    combination(
        "look-ahead and padding",
        torch.ones(4, 4, dtype=torch.bool).tril(),
        torch.tensor([[0, 3, 2, 1], [0, 0, 9, 1], [7, 5, 8, 0]]).ne(0).unsqueeze(1),
    ),
    drawn_masks("a row and a column", (1, 7), (5, 1)),
    drawn_masks("keys alone and queries by keys", (7,), (5, 7)),
    drawn_masks("a head axis and a batch axis", (3, 5, 7), (2, 1, 5, 7)),
    drawn_masks("four axes and two", (2, 3, 1, 5), (4, 5)),
    drawn_masks("three of unlike axes", (2, 1, 7), (5, 7), (7,)),
    drawn_masks("the last the largest", (1, 1), (5, 1), (3, 1, 1, 7)),
    drawn_masks("square, so that axes may be mistaken", (3, 1, 3), (3, 3)),
    combination("a scalar and a mask", torch.tensor(True), booleans("scalar", 5, 7)),
    *(drawn_masks(f"{keys} keys", (2, 1, keys), (3, keys)) for keys in BLOCK_EDGES),
    combination("the padding of queries and of keys", *(booleans("pads", 2, 5).unsqueeze(axis) for axis in (1, 2))),
    combination(
        "masks that hide nothing, of unlike shapes", *(torch.ones(s, dtype=torch.bool) for s in [(2, 1, 5), (5, 1)])
    ),
]  # fmt: skip
single = [
    drawn_masks("one mask", (2, 5, 7)),
    drawn_masks("one mask of keys", (7,)),
    drawn_masks("one mask of four axes", (2, 3, 5, 7)),
    combination("one mask that hides everything", torch.zeros(2, 3, dtype=torch.bool)),
]
combined_batch_of_zero = [
    combination("a batch of zero", torch.ones(0, 1, 7, dtype=torch.bool), booleans("zero", 5, 7)),
    combination("one mask of a batch of zero", torch.ones(0, 5, 7, dtype=torch.bool)),
]

# --- Layouts and types ------------------------------------------------------------------------------------------------

strided = [
    *layouts(padding("strides", integers("strides", 4, 5, 7))),
    *layouts(padding("strides of pad id -1", integers("strides -1", 4, 5, 7) - 1, pad_id=-1)),
    *layouts(drawn_masks("strides", (2, 5, 7), (5, 7), (7,))),
    *layouts(drawn_masks("strides of one mask", (2, 5, 7))),
    combination("everything sliced", sliced(booleans("sliced 1", 2, 5, 7)), sliced(booleans("sliced 2", 5, 7))),
]
narrow_ids = [
    replace(case, tensors=(case.tensors[0].to(torch.int32),))
    for case in (padded[0], padded[2], pad_ids[0], pad_ids[3], padding_sizes[0])
]

# --- Impossible -------------------------------------------------------------------------------------------------------

nothing = [combination("no mask")]
impossible = [
    drawn_masks("unlike numbers of keys", (5, 7), (5, 6)),
    drawn_masks("unlike numbers of queries", (2, 5, 7), (4, 7)),
    drawn_masks("unlike batches", (2, 1, 7), (3, 5, 7)),
    drawn_masks("a third that does not fit", (5, 7), (5, 7), (3, 7)),
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def paddings(draw: st.DrawFn) -> Case:
    """Token ids of any small sizes, the pad id among them or not."""
    batch, length = draw(st.integers(1, 6), label="batch"), draw(st.integers(1, 20), label="length")
    lowest, pad_id = draw(st.sampled_from([0, -2, 1]), label="lowest"), draw(st.integers(-2, 6), label="pad id")
    seed = draw(st.integers(0, 999), label="seed")
    name = f"drawn {batch} by {length} from {lowest} pad id {pad_id} seed {seed}"
    return padding(name, integers(name, 5, batch, length) + lowest, pad_id)


@st.composite
def combinations(draw: st.DrawFn) -> Case:
    """One to five masks of one to four axes, each axis whole or one; leading axes may be missing."""
    full = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4), label="shape")
    shapes = []
    for _ in range(draw(st.integers(1, 5), label="masks")):
        whole = [draw(st.booleans()) for _ in full]
        shape = tuple(size if is_whole else 1 for size, is_whole in zip(full, whole, strict=True))
        shapes.append(shape[draw(st.integers(0, len(full) - 1)) :])
    return drawn_masks(f"drawn {shapes} seed {draw(st.integers(0, 999), label='seed')}", *shapes)


drawn_padding = [Drawn(padding_mask, paddings(), dtypes=(EXACT,))]
drawn_lengths = [
    Drawn(look_ahead_mask, st.integers(1, 200).map(lambda n: look_ahead(f"drawn {n}", n)), dtypes=(EXACT,))
]
drawn_combinations = [Drawn(combine_masks, combinations(), dtypes=(EXACT,))]

# --- Groups for properties --------------------------------------------------------------------------------------------

several = [*of_one_shape, *broadcast[:9]]
in_batches = [padded[0], padded[2], padded[6], *pad_ids[:2], padding_sizes[2]]
every_operation = [
    padded[0], pad_ids[0], lengths[4], lengths[8], *of_one_shape[:3], broadcast[0], broadcast[6], *single,
]  # fmt: skip
with_inputs = [case for case in (*every_operation, *strided) if case.operation is not look_ahead_mask]

# --- Changes that properties make -------------------------------------------------------------------------------------


def longer(case: Case) -> Case:
    """A look-ahead mask of one position more."""
    return case.changed("one position more", (case.tensors[0] + 1,))


def combined_again(case: Case, combined: Tensor) -> Case:
    """What an implementation made of the masks, combined with the first of them once more."""
    # No `changed`: that would keep the mask of one implementation for the next.
    return replace(case, name=f"{case.name}, combined again", tensors=(combined, case.tensors[0]))


def others_than(case: Case) -> list[Case]:
    """Calls of the same operation that a careless memory would take for this one: other content, other sizes."""
    if case.operation is look_ahead_mask:
        return [case.changed("other length", (length,)) for length in (case.tensors[0] + 3, 1, 2 * case.tensors[0])]
    if case.operation is padding_mask:
        ids, pad_id = case.tensors[0], case.options.get("pad_id", 0)
        moved = torch.where(ids == pad_id, pad_id + 1, pad_id)
        return [case.changed("other ids", (moved,)), case.changed("other pad id", pad_id=int(ids[0, 0]) + 1)]
    turned = tuple(~mask for mask in case.tensors)
    return [case.changed("other masks", turned), case.changed("first alone", case.tensors[:1])]


def others_of_the_same_shapes(case: Case) -> list[Case]:
    """Those of them that the very arrays of the case can hold."""
    if case.operation is look_ahead_mask:
        return []
    shapes = [mask.shape for mask in case.tensors]
    return [other for other in others_than(case) if [mask.shape for mask in other.tensors] == shapes]
