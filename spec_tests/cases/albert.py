"""Inputs for ALBERT and its heads: embeddings of 7 entries, narrower than the 12 of the layer, which is applied L times."""

from typing import Any

import torch
from torch import Tensor

from transpec.cases import WIDE, Case, Drawn, integers
from transpec.operations import Operation
from transpec.reference.albert import AlbertConfig, albert, albert_mlm, albert_pooled, albert_sop
from transpec.spec_tests.cases import bert
from transpec.spec_tests.cases.bert import HOLES, LEFT, PERMUTED, RIGHT, counted
from transpec.spec_tests.cases.models import (
    HIDDEN_OF_140,
    MODEL_DTYPES,
    PADDED_19,
    asked_at,
    encoder_layer_weights,
    far_from_zero,
    matrix,
    nested,
    steep,
    token_ids,
    transposed_weights,
)


def model(
    name: str,
    operation: Operation[..., Any] = albert,
    *,
    B: int = 2,
    T: int = 5,
    V: int = 17,
    E: int = 7,
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
    made = AlbertConfig(
        vocab_size=V, embedding_size=E, d_model=M, d_ff=F, num_heads=H, num_layers=L, max_positions=P,
        num_token_types=types, **config,
    )  # fmt: skip
    ids = token_ids(name, V, B, T) if ids is None else ids
    if isinstance(token_type_ids, str):
        token_type_ids = integers(f"{name} types", types, *ids.shape)
    options = {"token_type_ids": token_type_ids, "attention_mask": attention_mask, "position_ids": position_ids}
    weights = bert.embedding_weights(name, E, made, embedded)
    weights |= nested(projection={"w": matrix(f"{name} projection", E, M), "b": matrix(f"{name} projection b", M)})
    weights |= nested(layer=encoder_layer_weights(f"{name} layer", M, F))
    weights |= bert.head_weights(name, operation, made, E)
    return Case(operation, name, (ids,), weights, options, dtypes, config=made)


def padded(name: str, attention_mask: Tensor, operation: Operation[..., Any] = albert, **more: Any) -> Case:
    """A call whose sequences are padded by a mask."""
    B, T = attention_mask.shape
    return model(name, operation, B=B, T=T, attention_mask=attention_mask, **more)


HEADS = (albert_pooled, albert_mlm, albert_sop)

# --- The formula ------------------------------------------------------------------------------------------------------


def _by_hand() -> Case:
    """No layer: sums k (1, -1) are normalized to k / sqrt(k^2 + 144), which is 5/13, 3/5, 4/5, and projected to three."""
    case = model("by hand", B=1, T=3, V=3, E=2, M=3, F=1, H=1, L=0, P=4, eps=144.0, dtypes=MODEL_DTYPES)
    rows, sign = {"token": [1, 5, 4], "position": [4, 1, 7, 2], "token_type": [0, 4]}, torch.tensor([1.0, -1.0])
    weights = {f"embeddings.{name}": torch.tensor(k).unsqueeze(-1) * sign for name, k in rows.items()}
    weights |= {"embeddings.norm.gain": torch.ones(2), "embeddings.norm.bias": torch.tensor([0.0, 1.0])}
    weights |= {"projection.w": torch.tensor([[13.0, 5, 0], [0, 5, 1]]), "projection.b": torch.tensor([0.0, 1, 10])}
    exact = {name: value.to(torch.float64) for name, value in weights.items()}
    types = torch.tensor([[0, 1, 1]])
    ids = torch.tensor([[0, 2, 1]])
    return case.changed("in whole numbers", (ids,), {**case.weights, **exact}, token_type_ids=types)  # type: ignore[dict-item]


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
    model("as many words as entries", V=7, P=7, L=1),
    model("embeddings as wide as the layer", E=12, L=1),
    model("embeddings wider than the layer", E=13, M=6, L=1),
    model("every size 4", B=4, T=4, V=4, E=4, M=4, F=4, H=4, P=4),
    model("one head", M=5, H=1, L=1),
    model("a batch of one", B=1),
    model("one token", T=1, L=1),
    model("as many tokens as positions", T=11, L=1),
    model("33 tokens", B=1, T=33, E=5, M=6, F=5, P=34, L=1),
]
other_configs = [
    model("three layers, relu, eps 0.1, one head, 3 token types", L=3, M=5, H=1, activation="relu", eps=0.1, types=3),
    model("gelu, eps 1e-5", activation="gelu", eps=1e-5),
]
activations = [model(activation, L=1, activation=activation) for activation in ("gelu_tanh", "gelu", "relu")]
epsilon = [
    model("eps 1", L=1, eps=1.0),
    model("eps 1 of the first norm alone", L=0, eps=1.0),
    # A variance near 1e-10 keeps apart 1e-12, 1e-5 and 0.
    model("eps 1e-12 of embeddings near 1e-5", L=1, embedded=1e-5),
]
far = [far_from_zero(model("no layer", V=5, L=0))]
projected = [*no_layers, sizes[4], sizes[5]]
shared = [*one_layer, *generic, model("three layers", L=3), model("six layers", B=1, T=3, L=6)]
shared += [model("thirteen layers", B=1, T=3, V=5, E=3, M=4, F=3, H=2, L=13, P=5)]

# --- Token types, positions, attention masks --------------------------------------------------------------------------

typed = [
    no_layers[1],
    model("types in any order", L=1, token_type_ids=torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]])),
    model("only the last token of type 1", B=1, L=1, token_type_ids=torch.tensor([[0, 0, 0, 0, 1]])),
]
untyped = [
    model("no types", token_type_ids=None),
    model("no types, 3 token types", L=0, types=3, token_type_ids=None),
    model("no types, positions given", L=1, token_type_ids=None, position_ids=PERMUTED),
]
positioned = [
    model("positions permuted, unlike per sequence", position_ids=PERMUTED),
    model("positions from 4 and from 6", L=1, position_ids=torch.arange(5) + torch.tensor([[4], [6]])),
    model("positions of a batch of one", B=1, L=1, position_ids=PERMUTED[1:]),
    model(
        "ids and positions beyond 256", B=1, T=4, V=300, P=300, E=5, M=6, F=5, L=1,
        ids=torch.tensor([[299, 255, 3, 256]]), position_ids=torch.tensor([[298, 0, 256, 255]]),
    ),
]  # fmt: skip
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
    padded("hidden tokens, as many sequences as heads and entries", HOLES, M=9, L=1),
    padded("hidden tokens, as many sequences as tokens", HOLES[:, :3], L=1),
    padded("hidden tokens, six sequences of two heads", torch.cat([HOLES, HOLES.flip(0)]), H=2, L=1),
]
masked = [*padded_right, *padded_left, *holes]
crossed = [
    padded("hidden tokens, three passes of one head, three types", HOLES, L=3, M=5, H=1, types=3),
    padded("hidden tokens, 70 tokens, nine heads", bert.LONG, M=18, F=65, H=9, P=71, L=1),
    steep(padded("hidden tokens", HOLES, L=1), "loud queries and keys"),
]
sized = {case.name: case for case in sizes}
beyond_blocks = [
    padded("19 sequences, padded", PADDED_19, M=6, F=5, L=1),
    padded("140 tokens, hidden tokens", HIDDEN_OF_140.unsqueeze(0), M=6, F=5, P=141, L=1),
    model("66 entries, 130 inner entries, embeddings of 40", B=1, E=40, M=66, F=130, L=1),
]
nothing_hidden = [
    case.changed("everything visible", attention_mask=torch.ones(case.tensors[0].shape, dtype=torch.bool))
    for case in (*generic, sized["a batch of one"], sized["one token"], positioned[0])
]

# --- Heads ------------------------------------------------------------------------------------------------------------


def _with_head(name: str, **how: Any) -> list[Case]:
    return [model(name, operation, **how) for operation in HEADS]


small = [
    _with_head("no layer, with a head", L=0, dtypes=MODEL_DTYPES),
    # A tanh keeps the pooled token near one, where bfloat16 tells little apart.
    [
        model("one layer, under a head", operation, L=1, dtypes=WIDE if operation is albert_pooled else MODEL_DTYPES)
        for operation in HEADS
    ],
]
large = [
    _with_head("generic, with a head"),
    _with_head("with a head, relu, eps 1", L=1, activation="relu", eps=1.0),
    _with_head("with a head, gelu, eps 1e-5", L=1, activation="gelu", eps=1e-5),
    _with_head("with a head, embeddings as wide as the layer", E=12, L=1),
    _with_head("with a head, every size 4", B=4, T=4, V=4, E=4, M=4, F=4, H=4, P=4, L=1),
    _with_head("with a head, one token", B=1, T=1, M=5, H=1, L=1),
    _with_head("with a head, no types, positions permuted", L=1, token_type_ids=None, position_ids=PERMUTED),
    [padded("with a head, padded on the right", RIGHT, operation) for operation in HEADS],
    [padded("with a head, hidden tokens", HOLES, operation, L=1) for operation in HEADS],
    _with_head(
        "with a head, three types", L=1, types=3, token_type_ids=torch.tensor([[0, 1, 2, 1, 0], [2, 2, 1, 0, 1]])
    ),
    [padded("with a head, 19 sequences, padded", PADDED_19, operation, M=6, F=5, L=1) for operation in HEADS],
    _with_head("with a head, 66 entries and 130 tokens", B=1, T=130, E=40, M=66, F=5, P=131, L=1),
]
with_heads = [*small, *large]
pooled, mlm, sop = ([group[place] for group in with_heads] for place in range(3))
mlm.append(model("as many words as entries, with a head", albert_mlm, V=7, P=7, L=1))

# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = [model("a batch of zero", B=0), model("a batch of zero, with a head", albert_sop, B=0)]
strided = bert.with_layouts(model("strides", L=1, position_ids=PERMUTED, dtypes=MODEL_DTYPES))
_of_mask = bert.with_layouts(padded("strides of a mask", HOLES[:2, :5], L=1, dtypes=MODEL_DTYPES))
strided += [case for case in _of_mask if "attention_mask" in case.name]
strided += [transposed_weights(case) for case in small[1]]
out_of_range = bert.beyond_the_tables(model("out of range", L=1, B=1, T=3))
drawn = [Drawn(albert, bert.models(model, albert), dtypes=WIDE, draws=4)]

# --- Groups for properties --------------------------------------------------------------------------------------------

shown = [*generic, *one_layer, sized["33 tokens"], padded_left[0]]
in_batches = [
    *generic,
    sized["as many sequences as heads"],
    sized["as many sequences as tokens"],
    positioned[0],
    padded_left[0],
    *holes[:3],
    *large[0],
]
every_call = [generic[0], typed[1], positioned[1], padded_right[1], holes[2], untyped[0], *small[1], *large[8]]
remembered = [generic[0], one_layer[0], *small[1]]
tied = [mlm[0], mlm[2], mlm[-1]]
# None that hides tokens, but where the first alone is pooled: gradients of the others are asked for at tokens alone.
masked_or_positioned = [
    padded("with a head, hidden tokens", HOLES[:2, :5], operation, L=1, position_ids=PERMUTED)
    for operation in (albert_pooled, albert_sop)
]
masked_or_positioned += [
    padded("with a head, everything visible", torch.ones(2, 5).bool(), albert_mlm, L=1, position_ids=PERMUTED)
]
_with_gradients = [
    *no_layers,
    *shared[:3],
    sized["a batch of one"],
    sized["embeddings wider than the layer"],
    untyped[0],
    positioned[0],
    nothing_hidden[0],
    epsilon[0],
    activations[1],
    transposed_weights(one_layer[0]),
    *small[1],
    *large[0],
    *masked_or_positioned,
    mlm[-1],
]
differentiable = bert.wide(_with_gradients)
differentiable += bert.wide([model("five layers", B=1, T=3, M=6, L=5)])
differentiable += asked_at(bert.tokens_of, padded_right[0], padded_left[1], holes[1], *beyond_blocks[:2])
