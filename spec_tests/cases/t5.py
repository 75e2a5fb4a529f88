"""Inputs for T5: buckets, its attention, both stacks, the whole, and labels shifted right.

The inner width d_kv * heads is unlike d_model, and short sequences meet far buckets, for few buckets are configured.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import EXACT, WIDE, Case, Drawn, booleans, layouts, normal
from transpec.reference.t5 import (
    T5Config,
    relative_position_bucket,
    shift_right,
    t5,
    t5_attention,
    t5_decoder,
    t5_encoder,
)
from transpec.spec_tests.cases.models import (
    MODEL_DTYPES,
    PADDED_19,
    Weights,
    asked_at,
    attention_weights,
    matrix,
    nested,
    norm,
    real,
    stacked,
    steep,
    token_ids,
    transposed_weights,
    with_other_ids_where,
)

EMBEDDED = 0.7  # size of an entry of the embedding table: as large as what layers add


# --- Makers -----------------------------------------------------------------------------------------------------------


def config_of(
    *, V: int = 17, M: int = 10, E: int = 4, F: int = 11, H: int = 3, N: int = 2, L: int = 2, **more: Any
) -> T5Config:
    """A configuration of N encoder and L decoder layers; 8 buckets up to distance 6 unless told otherwise."""
    few = {"num_buckets": 8, "max_distance": 6} | more
    return T5Config(
        vocab_size=V, d_model=M, d_kv=E, d_ff=F, num_heads=H, num_encoder_layers=N, num_decoder_layers=L, **few
    )


def projections(name: str, M: int, HE: int) -> Weights:
    """Those of `t5_attention`."""
    return attention_weights(name, M, HE=HE, biases="")


def layer_weights(name: str, config: T5Config, *, decoder: bool) -> Weights:
    """Those of one layer."""
    M, F, HE = config.d_model, config.d_ff, config.num_heads * config.d_kv
    inner = {"w_1": matrix(f"{name} w_1", M, F), "w_2": matrix(f"{name} w_2", F, M)}
    if config.activation == "gated_gelu":
        inner["w_gate"] = matrix(f"{name} w_gate", M, F)
    names = ["self_attention", *(["cross_attention"] if decoder else [])]
    made = nested(feed_forward=inner, feed_forward_norm=norm(f"{name} feed", M, bias=False))
    for which in names:
        made |= nested(**{
            which: projections(f"{name} {which}", M, HE), f"{which}_norm": norm(f"{name} {which}", M, bias=False)
        })  # fmt: skip
    return made


def stack_weights(name: str, config: T5Config, *, decoder: bool) -> Weights:
    """Those of a stack without its embedding."""
    count = config.num_decoder_layers if decoder else config.num_encoder_layers
    made = stacked([layer_weights(f"{name} {i}", config, decoder=decoder) for i in range(count)])
    made |= {"relative_bias": normal(f"{name} bias", config.num_buckets, config.num_heads)}
    return made | nested(final_norm=norm(f"{name} final", config.d_model, bias=False))


def table_of(name: str, config: T5Config) -> Weights:
    """The one embedding."""
    return {"embedding.table": matrix(f"{name} table", config.vocab_size, config.d_model, size=EMBEDDED)}


def encoder(
    name: str, *, B: int = 2, S: int = 7, ids: Tensor | None = None, attention_mask: Tensor | None = None,
    dtypes: tuple[str, ...] = WIDE, **config: Any,
) -> Case:  # fmt: skip
    """A call of t5_encoder."""
    made = config_of(**config)
    ids = token_ids(name, made.vocab_size, B, S) if ids is None else ids
    weights = table_of(name, made) | stack_weights(f"{name} e", made, decoder=False)
    return Case(t5_encoder, name, (ids,), weights, {"attention_mask": attention_mask}, dtypes, config=made)


def decoder(
    name: str, *, B: int = 2, S: int = 7, T: int = 5, attention_mask: Tensor | None = None,
    decoder_attention_mask: Tensor | None = None, dtypes: tuple[str, ...] = WIDE, **config: Any,
) -> Case:  # fmt: skip
    """A call of t5_decoder."""
    made = config_of(**config)
    tensors = token_ids(name, made.vocab_size, B, T), normal(f"{name} memory", B, S, made.d_model)
    weights = table_of(name, made) | stack_weights(f"{name} d", made, decoder=True)
    options = {"attention_mask": attention_mask, "decoder_attention_mask": decoder_attention_mask}
    return Case(t5_decoder, name, tensors, weights, options, dtypes, config=made)


def model(
    name: str, *, B: int = 2, S: int = 7, T: int = 5, attention_mask: Tensor | None = None,
    decoder_attention_mask: Tensor | None = None, dtypes: tuple[str, ...] = WIDE, **config: Any,
) -> Case:  # fmt: skip
    """A call of t5."""
    made = config_of(**config)
    tensors = token_ids(f"{name} source", made.vocab_size, B, S), token_ids(f"{name} target", made.vocab_size, B, T)
    weights = table_of(name, made) | nested(
        encoder=stack_weights(f"{name} e", made, decoder=False), decoder=stack_weights(f"{name} d", made, decoder=True)
    )
    if not made.tied:
        weights["head"] = matrix(f"{name} head", made.d_model, made.vocab_size)
    options = {"attention_mask": attention_mask, "decoder_attention_mask": decoder_attention_mask}
    return Case(t5, name, tensors, weights, options, dtypes, config=made)


def attention(
    name: str, *, B: int = 2, T: int = 5, S: int = 7, M: int = 10, E: int = 4, H: int = 3, biased: bool = True,
    mask: Tensor | None = None, size: float = 1.0, one_memory: bool = False, dtypes: tuple[str, ...] = MODEL_DTYPES,
) -> Case:  # fmt: skip
    """A call of t5_attention; queries and keys of `size`, the keys being the values where there is `one_memory`."""
    shapes = {"query": (B, T, M), "key": (B, S, M), "value": (B, S, M)}
    query, key, value = (normal(f"{name} {which}", *shape) for which, shape in shapes.items())
    bias = normal(f"{name} bias", H, T, S) if biased else None
    options = {"num_heads": H, "bias": bias, "mask": mask}
    query, key = query * size, key * size
    tensors = query, key, key if one_memory else value
    return Case(t5_attention, name, tensors, projections(name, M, H * E), options, dtypes)


def bucket(name: str, relative: Tensor, *, bidirectional: bool, buckets: int = 32, far: int = 128) -> Case:
    """A call of relative_position_bucket."""
    options = {"bidirectional": bidirectional, "num_buckets": buckets, "max_distance": far}
    return Case(relative_position_bucket, name, (relative,), options=options, dtypes=(EXACT,))


def shifted(name: str, labels: list[list[int]], *, start_id: int = 0, pad_id: int = 0) -> Case:
    """A call of shift_right."""
    options = {"start_id": start_id, "pad_id": pad_id}
    return Case(shift_right, name, (torch.tensor(labels),), options=options, dtypes=(EXACT,))


# --- Buckets ----------------------------------------------------------------------------------------------------------

EVERY = torch.arange(-200, 201)
DIRECTIONS = {"both directions": True, "one direction": False}


def _table(T: int, S: int) -> Tensor:
    """Of a key's position less a query's, (T, S)."""
    return torch.arange(S) - torch.arange(T).unsqueeze(-1)


buckets = [
    bucket(f"distances to 200, {name}, {count} buckets to {far}", EVERY, bidirectional=both, buckets=count, far=far)
    for count, far in ((32, 128), (8, 6), (16, 20), (64, 150), (4, 3), (4, 100), (12, 50))
    for name, both in DIRECTIONS.items()
]
bucket_ranks = [
    case
    for name, both in DIRECTIONS.items()
    for case in (
        bucket(f"a scalar, {name}", torch.tensor(-3), bidirectional=both),
        bucket(f"a scalar ahead, {name}", torch.tensor(40), bidirectional=both),
        bucket(f"a table of 5 by 7, {name}", _table(5, 7) * 9, bidirectional=both),
        bucket(
            f"a table for two sequences, {name}", torch.stack([_table(3, 5), _table(3, 5) * -20]), bidirectional=both
        ),
    )
]
far_away = [
    bucket(f"far beyond the last edge, {name}", torch.tensor([-(10**9), -5000, 5000, 10**9]), bidirectional=both)
    for name, both in DIRECTIONS.items()
]
far_away += [
    bucket(f"beyond 16 and 32 bits, {name}", torch.tensor([-(2**16), 2**16, -(2**32), 2**32]), bidirectional=both)
    for name, both in DIRECTIONS.items()
]
bucket_layouts = [made for case in (bucket_ranks[2], bucket_ranks[7]) for made in layouts(case)]

# --- Labels -----------------------------------------------------------------------------------------------------------

labels = [
    shifted("labels", [[5, 3, 8, 1], [7, 2, 1, 9]], start_id=4, pad_id=6),
    shifted("start is pad", [[5, 3, 8, 1, 2]]),
    shifted("start is pad and not 0", [[5, -100, 8, 1, 2], [3, 7, 1, -100, -100]], start_id=6, pad_id=6),
    shifted(
        "ignored labels", [[5, 3, 1, -100, -100], [7, -100, 2, -100, 1], [-100, 4, -100, 3, 1]], pad_id=6, start_id=2
    ),
    shifted("ignored labels, pad is not 0", [[5, 1, -100]], start_id=0, pad_id=11),
    shifted("ignored first and last", [[-100, 4, 3, -100]], start_id=9, pad_id=2),
    shifted("one label", [[5], [-100]], start_id=3, pad_id=1),
    shifted("other negative labels", [[-1, -99, -101, 2]], start_id=3, pad_id=1),
    shifted("labels beyond 32 bits", [[2**31, 2**40 + 3, -100, 1]], start_id=4, pad_id=6),
    shifted("pad and start among labels", [[6, 4, 6, 4, 3]], start_id=4, pad_id=6),
]
label_layouts = layouts(labels[3])

# --- Attention --------------------------------------------------------------------------------------------------------

HIDING = torch.tensor([[1, 1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 0, 1, 1]]).bool()
BY_QUERY = torch.stack([HIDING[0] ^ (_table(5, 7) == 1), ~HIDING[1] | (_table(5, 7) > 2) | (_table(5, 7) == 0)])
ROLLED = torch.stack([HIDING[0].roll(i) for i in range(5)]).unsqueeze(1)

plain_attention = [
    attention("attention"),
    attention("attention without bias", biased=False, dtypes=WIDE),
    attention("attention, no more heads than one", H=1),
    attention("attention, as many sequences as heads", B=3),
    attention("attention, heads of 9", E=9, H=2),
    attention("attention of one key", S=1),
    attention("attention, every size 4", B=4, T=4, S=4, M=4, E=4, H=4),
    attention("attention of one query", T=1, B=1),
    attention("attention to a memory", one_memory=True),
    attention("attention to a memory without bias", one_memory=True, biased=False, dtypes=WIDE),
    attention("attention to a memory, one head", one_memory=True, H=1),
]
attention_beyond_blocks = [
    attention("attention of 17 sequences", B=17, dtypes=WIDE),
    attention("attention of 70 queries to 140 keys", B=1, T=70, S=140, H=2, dtypes=WIDE),
    attention("attention of 66 entries in heads of 65", B=1, M=66, E=65, H=2, dtypes=WIDE),
]
masked_attention = [
    attention("mask for each sequence", mask=HIDING.unsqueeze(1)),
    attention("mask for each query and sequence", mask=BY_QUERY),
    attention("mask for each query", mask=BY_QUERY[0]),
    attention("mask for all", mask=HIDING[1]),
    attention("mask without bias", mask=BY_QUERY, biased=False),
    attention("mask, two heads and sequences", mask=HIDING.unsqueeze(1), H=2),
    attention("mask, as many sequences as queries", B=5, mask=ROLLED),
    attention("mask for each query, as many sequences as queries", B=5, mask=BY_QUERY[0]),
    attention("mask of a memory", one_memory=True, mask=HIDING.unsqueeze(1)),
    attention("mask of a memory for each query and sequence", one_memory=True, mask=BY_QUERY),
]
steep_attention = [
    attention("scores of a thousand", size=20.0, dtypes=WIDE),
    attention("scores of a thousand, masked", size=20.0, mask=BY_QUERY, dtypes=WIDE),
    attention("scores of a thousand, to a memory", size=20.0, one_memory=True, dtypes=WIDE),
]
_offset = attention("offset", dtypes=WIDE)
offset_attention = [
    _offset.changed("a thousand on every bias", bias=_offset.options["bias"] + 1000),
    _offset.changed("a thousand below every bias", bias=_offset.options["bias"] - 1000),
    # A finite number in the place of what is hidden is above all that is visible here, where it is not far below.
    _offset.changed("a thousand below, keys hidden", bias=_offset.options["bias"] - 1000, mask=HIDING.unsqueeze(1)),
]
seen_attention = [
    case.changed("everything visible", mask=torch.ones(*shape, dtype=torch.bool))
    for case, shape in (
        (plain_attention[0], (2, 5, 7)),
        (plain_attention[1], (5, 7)),
        (plain_attention[2], (2, 1, 7)),
        (plain_attention[8], (2, 5, 7)),
    )
]
attention_layouts = [*layouts(replace(masked_attention[1], dtypes=WIDE)), transposed_weights(plain_attention[0])]
attention_of_zero = [attention("attention of a batch of zero", B=0)]
_fits = attention("attention that fits", B=1, one_memory=True, dtypes=WIDE)
impossible_attention = [
    _fits.changed("heads that do not divide", num_heads=5, bias=None),
    _fits.changed("more values than keys", (*_fits.tensors[:2], normal("nine values", 1, 9, 10))),
    _fits.changed("a bias for other heads", bias=normal("bias of two heads", 2, 5, 7)),
]

# --- The formula ------------------------------------------------------------------------------------------------------

FEW = {"M": 6, "E": 2, "H": 2, "F": 5}
encoders = [
    encoder("encoder"),
    encoder("encoder of no layer", N=0, dtypes=MODEL_DTYPES),
    encoder("encoder of one layer", N=1, dtypes=MODEL_DTYPES),
    encoder("encoder, gated", N=1, activation="gated_gelu", dtypes=MODEL_DTYPES),
]
decoders = [
    decoder("decoder"),
    decoder("decoder of no layer", L=0, dtypes=MODEL_DTYPES),
    decoder("decoder of one layer", L=1, dtypes=MODEL_DTYPES),
    decoder("decoder, gated", L=1, activation="gated_gelu", dtypes=MODEL_DTYPES),
]
models = [
    model("both stacks"),
    model("no layer", N=0, L=0, dtypes=MODEL_DTYPES),
    model("no layer, untied", N=0, L=0, tied=False, dtypes=MODEL_DTYPES),
    model("one layer each", N=1, L=1, dtypes=MODEL_DTYPES),
    model("version 1.1", N=1, L=1, activation="gated_gelu", tied=False, dtypes=MODEL_DTYPES),
]
sizes = [
    encoder("encoder, 33 tokens in 32 buckets to 128", B=1, S=33, N=1, num_buckets=32, max_distance=128, **FEW),
    encoder("encoder, as many sequences as heads", B=3, N=1),
    encoder("encoder, one head", H=1, N=1),
    encoder("encoder, one token", S=1, N=1),
    encoder("encoder, every size 4", B=4, S=4, V=4, M=4, E=1, F=4, H=4, N=1),
    decoder("decoder, 33 tokens in 32 buckets to 128", B=1, T=33, L=1, num_buckets=32, max_distance=128, **FEW),
    decoder("decoder, as many sequences as heads", B=3, L=1),
    decoder("decoder, as many tokens as in the memory", T=7, L=1),
    decoder("decoder, one head, a batch of one", B=1, H=1, L=1),
    decoder("decoder, one token", T=1, L=1),
    decoder("decoder, a memory of one", S=1, L=1),
    decoder("decoder, a memory of 33", B=1, S=33, T=2, L=1, **FEW),
    model("as many words as entries", V=10, N=1, L=1),
    model("as many words as entries, untied", V=10, N=1, L=1, tied=False),
    model("one token each, a batch of one", B=1, S=1, T=1, N=1, L=1),
    model("more targets than sources", S=3, T=8, N=1, L=1),
]
many_layers = [
    encoder("encoder of three layers", N=3),
    encoder("encoder of eleven layers", B=1, S=3, N=11, **FEW),
    decoder("decoder of three layers", L=3),
    decoder("decoder of eleven layers", B=1, S=3, T=3, L=11, **FEW),
    model("three layers and one", N=3, L=1),
    model("one layer and three", N=1, L=3),
    model("no layer and two", N=0, L=2),
    model("two layers and none", N=2, L=0),
]
epsilon = [
    encoder("encoder, eps 1", N=1, eps=1.0),
    encoder("encoder of no layer, eps 1", N=0, eps=1.0),
    decoder("decoder, eps 1", L=1, eps=1.0),
    decoder("decoder of no layer, eps 1", L=0, eps=1.0),
    model("eps 0.1", N=1, L=1, eps=0.1),
]


def _silent(case: Case) -> Case:
    """Sublayers that give zero, so that embedding, residual connections and the last norm are left."""
    last = ("attention.w_o", "feed_forward.w_2")
    weights = {
        name: torch.zeros_like(value) if name.endswith(last) else value for name, value in (case.weights or {}).items()
    }
    return case.changed("sublayers of zero", weights=weights)


def _shifted(case: Case) -> Case:
    """An embedding whose rows have means far from zero, which a norm that subtracts them would lose."""
    return case.changed("a mean of 2", weights={
        name: value + 2 if name == "embedding.table" else value for name, value in (case.weights or {}).items()
    })  # fmt: skip


def _large(case: Case) -> Case:
    """A residual path as large as those of checkpoints become, which nothing cuts off."""
    weights = dict(case.weights or {})
    weights["embedding.table"] = weights["embedding.table"] * 500
    return replace(case.changed("embeddings of hundreds", weights=weights), dtypes=WIDE)


large = [_large(case) for case in (encoders[2], decoders[2])]
silent = [_silent(case) for case in (*encoders[:1], *decoders[:1], *models[:1], epsilon[0])]
with_mean = [_shifted(case) for case in (*encoders[1:3], *decoders[1:3], models[3])]

# --- Relative bias ----------------------------------------------------------------------------------------------------

_usual = {"num_buckets": 32, "max_distance": 128}
biased = [
    encoder("encoder, 20 tokens, 32 buckets", B=1, S=20, N=1, **_usual, **FEW),
    encoder("encoder, 4 buckets", N=1, num_buckets=4, max_distance=3),
    encoder("encoder, 12 buckets to 7", S=11, B=1, N=1, num_buckets=12, max_distance=7),
    decoder("decoder, 20 tokens, 32 buckets", B=1, T=20, L=1, **_usual, **FEW),
    decoder("decoder, 4 buckets", L=1, num_buckets=4, max_distance=3),
    decoder("decoder, 12 buckets to 7", T=11, B=1, L=1, num_buckets=12, max_distance=7),
]
biased_at_length = [
    encoder("encoder, 70 tokens", B=1, S=70, N=1, **_usual, **FEW),
    decoder("decoder, 70 tokens", B=1, T=70, S=3, L=1, **_usual, **FEW),
]
heads_and_activations = [
    model(f"{activation}, {'tied' if tied else 'untied'}", N=1, L=1, activation=activation, tied=tied)
    for activation in ("relu", "gated_gelu")
    for tied in (True, False)
]

# --- Attention masks --------------------------------------------------------------------------------------------------

S_LENGTHS, T_LENGTHS = (7, 2, 4), (2, 5, 3)
RIGHT, LEFT = real(*S_LENGTHS, width=7), real(*S_LENGTHS, width=7, side="left")
OWN_RIGHT, OWN_LEFT = real(*T_LENGTHS, width=5), real(*T_LENGTHS, width=5, side="left")
HOLES = torch.cat([HIDING, ~HIDING[:1]])
OWN_HOLES = torch.tensor([[1, 1, 0, 1, 1], [1, 0, 1, 0, 1], [1, 0, 0, 1, 1]]).bool()


def _both(mask: Tensor, own: Tensor) -> dict[str, Tensor]:
    return {"attention_mask": mask, "decoder_attention_mask": own}


padded = [
    encoder("encoder, padded on the right", B=3, attention_mask=RIGHT),
    encoder("encoder, padded on the left", B=3, attention_mask=LEFT),
    decoder("decoder, padded on the right", B=3, **_both(RIGHT, OWN_RIGHT)),
    decoder("decoder, padded on the left", B=3, **_both(LEFT, OWN_LEFT)),
    model("padded on the right", B=3, N=1, **_both(RIGHT, OWN_RIGHT)),
    model("padded on the left", B=3, L=1, **_both(LEFT, OWN_LEFT)),
]
holes = [
    encoder("encoder, hidden tokens", B=3, attention_mask=HOLES),
    encoder("encoder, hidden tokens, a batch of one", B=1, N=1, attention_mask=HOLES[1:2]),
    encoder("encoder, hidden tokens, two heads and sequences", H=2, N=1, attention_mask=HOLES[:2]),
    decoder("decoder, hidden memory", B=3, attention_mask=HOLES),
    decoder("decoder, hidden memory, a batch of one", B=1, L=1, attention_mask=HOLES[1:2]),
    decoder("decoder, hidden tokens of its own", B=3, decoder_attention_mask=OWN_HOLES),
    decoder("decoder, hidden tokens and memory", B=3, L=1, **_both(HOLES, OWN_HOLES)),
    decoder("decoder, hidden, as many tokens as in the memory", B=3, S=5, L=1, **_both(OWN_HOLES.flip(0), OWN_HOLES)),
    decoder("decoder, hidden memory, two heads and sequences", H=2, L=1, attention_mask=HOLES[:2]),
    model("hidden source", B=3, N=1, L=1, attention_mask=HOLES),
    model("hidden target", B=3, N=1, L=1, decoder_attention_mask=OWN_HOLES),
    model("hidden source and target", B=3, **_both(HOLES, OWN_HOLES)),
]
masked = [*padded, *holes]
# More sequences, tokens and entries than fit into blocks, chunks or fixed tables; distances beyond the last bucket.
beyond_blocks = [
    encoder("encoder, 19 sequences", B=19, S=4, N=1, attention_mask=PADDED_19, **FEW),
    encoder("encoder, 140 tokens, 32 buckets", B=1, S=140, N=1, **_usual, **FEW),
    encoder("encoder, 66 entries, 130 inner entries", B=1, N=1, M=66, F=130),
    decoder("decoder, 19 sequences", B=19, S=4, T=4, L=1, **_both(PADDED_19.flip(0), PADDED_19), **FEW),
    decoder("decoder, 140 tokens, 32 buckets", B=1, T=140, S=70, L=1, **_usual, **FEW),
    decoder("decoder, 66 entries, 130 inner entries", B=1, L=1, M=66, F=130),
    model("19 sequences", B=19, S=4, T=4, N=1, L=1, **_both(PADDED_19, PADDED_19.flip(0)), **FEW),
    model("140 source tokens, 130 tokens, 32 buckets", B=1, S=140, T=130, N=1, L=1, **_usual, **FEW),
    model("66 entries, 130 inner entries", B=1, N=1, L=1, M=66, F=130),
]
# Every token sees the first one.
FIVE = booleans("hidden of five", 5, 5) | (torch.arange(5) == 0)


# Masks together with what may keep them from layers: their number, one head, gates, a head of its own, sizes alike.
crossed = [
    encoder(
        "encoder of three layers, one head, gated, hidden", H=1, N=3, activation="gated_gelu", attention_mask=HIDING
    ),
    decoder("decoder of three layers, one head, hidden", B=3, L=3, H=1, **_both(HOLES, OWN_HOLES)),
    decoder(
        "decoder, gated, as many sequences as tokens, hidden",
        B=5,
        S=5,
        L=1,
        activation="gated_gelu",
        **_both(FIVE.flip(0), FIVE),
    ),
    model(
        "untied, gated, hidden source and target",
        B=3,
        N=1,
        L=1,
        tied=False,
        activation="gated_gelu",
        **_both(HOLES, OWN_HOLES),
    ),
    encoder("encoder, hidden tokens, first and last alike", B=3, N=1, attention_mask=HOLES[[0, 1, 0]]),
    steep(encoder("encoder, hidden", N=1, attention_mask=HIDING)),
    steep(decoder("decoder, hidden", B=3, L=1, **_both(HOLES, OWN_HOLES))),
]


def _all_seen(case: Case) -> Case:
    """Every mask given, and nothing hidden."""
    if case.operation is t5_encoder:
        seen = {"attention_mask": case.tensors[0]}
    else:
        seen = dict(zip(("attention_mask", "decoder_attention_mask"), _ids_or_memory(case), strict=True))
    options = {name: torch.ones(value.shape[:2], dtype=torch.bool) for name, value in seen.items()}
    return case.changed("everything visible", **options)


def _ids_or_memory(case: Case) -> tuple[Tensor, Tensor]:
    """What has the length of the source, and the target's ids."""
    first, second = case.tensors
    return (second, first) if case.operation is t5_decoder else (first, second)


with_id_0 = encoder("encoder, id 0 among others", N=1, ids=torch.tensor([[3, 0, 7, 0, 5], [0, 2, 0, 16, 1]]))
nothing_hidden = [_all_seen(case) for case in (encoders[0], decoders[0], models[0], with_id_0)]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def calls(draw: st.DrawFn, make: Callable[..., Case]) -> Case:
    """Calls of any small sizes."""
    B, S, T = (draw(st.integers(1, 4), label=which) for which in "BST")
    H, E, M = draw(st.integers(1, 3), label="H"), draw(st.integers(1, 4), label="E"), draw(st.integers(2, 6), label="M")
    config: dict[str, Any] = {"V": draw(st.integers(2, 9), label="V"), "F": draw(st.integers(1, 7), label="F")}
    config |= {"N": draw(st.integers(0, 2), label="N"), "L": draw(st.integers(0, 2), label="L")}
    config["activation"] = draw(st.sampled_from(["relu", "gated_gelu"]), label="activation")
    side = draw(st.sampled_from(["", "left", "right"]), label="padding")
    name = f"drawn B{B} S{S} T{T} M{M} E{E} H{H} {config} {side}"
    masks = {"attention_mask": real(*(1 + b % S for b in range(B)), width=S, side=side)} if side else {}
    if make is not encoder:
        config["T"] = T
    if make is model:
        config["tied"] = draw(st.booleans(), label="tied")
    return make(name, B=B, S=S, M=M, E=E, H=H, **config, **masks)


drawn_encoders = [Drawn(t5_encoder, calls(encoder), dtypes=WIDE, draws=3)]
drawn_decoders = [Drawn(t5_decoder, calls(decoder), dtypes=WIDE, draws=3)]
drawn = [Drawn(t5, calls(model), dtypes=WIDE, draws=3)]


def of(operation: Any, *groups: list[Case]) -> list[Case]:
    """The cases of these groups that call an operation."""
    return [case for group in groups for case in group if case.operation is operation]


_formula = (sizes, many_layers, epsilon, with_mean, large, biased, masked, beyond_blocks)
encoder_formula = [*encoders, *of(t5_encoder, *_formula), *drawn_encoders]
decoder_formula = [*decoders, *of(t5_decoder, *_formula), *drawn_decoders]
formula = [*models, *of(t5, *_formula), *heads_and_activations, *drawn]

# --- Groups for properties --------------------------------------------------------------------------------------------

_named = {case.name: case for case in [*sizes, *many_layers, *padded, *holes]}
causal = [
    decoders[0],
    decoders[3],
    _named["decoder, 33 tokens in 32 buckets to 128"],
    _named["decoder, as many tokens as in the memory"],
    nothing_hidden[1],
    *of(t5_decoder, padded, holes[5:6]),
    models[0],
    padded[4],
    nothing_hidden[2],
]
with_memory = [decoders[0], decoders[3], _named["decoder, as many tokens as in the memory"], *padded[2:4], *holes[3:4]]
seeing = [decoders[0], _named["decoder, as many tokens as in the memory"], _named["decoder, hidden memory"]]
own_stacks = [*models[:2], models[4], _named["three layers and one"], padded[4], padded[5], holes[-1]]
in_batches = [encoders[0], decoders[0], models[0], *(case for case in masked if len(case.tensors[0]) > 1)]
renamed = [encoders[0], decoders[0], models[0], models[3], _named["as many words as entries"]]
hidden_keys = [masked_attention[0], masked_attention[3], masked_attention[5], masked_attention[8]]
every_call = [masked_attention[1], encoders[3], decoders[3], models[4], padded[0], padded[3], holes[9], holes[10]]
every_call += [labels[3], bucket_ranks[2], bucket_ranks[3]]
shapes = [*every_call, encoders[1], decoders[1], models[1], models[2]]
remembered = [_named["encoder, one head"], decoders[2], models[3]]
remembered += [
    encoder("encoder, 40 tokens", B=1, S=40, N=1, **FEW),
    decoder("decoder, 40 tokens", B=1, T=40, L=1, **FEW),
]
batch_of_zero = [encoder("encoder of a batch of zero", B=0, N=1), decoder("decoder of a batch of zero", B=0, L=1)]
batch_of_zero += [model("a batch of zero", B=0, N=1, L=1), *attention_of_zero]


def _strided() -> list[Case]:
    """Ids, memory and masks in every layout; all the weights at once, for one at a time would be hundreds."""
    bases = [
        encoder("encoder, strides", attention_mask=HOLES[:2], N=1),
        decoder("decoder, strides", L=1, **_both(HOLES[:2], OWN_HOLES[:2])),
        model("strides", N=1, L=1, **_both(HOLES[:2], OWN_HOLES[:2])),
    ]
    made = []
    for case in bases:
        inputs = layouts(replace(case, weights={}))
        made += [
            replace(each, weights=case.weights, dtypes=case.dtypes, numbers_of=case if each.numbers_of else None)
            for each in inputs
            # The first sequence at stride zero: a tensor in its own right, unlike the others.
            if "expanded" not in each.name or each.operation is not t5
        ]
        made.append(transposed_weights(case))
    return [*made, transposed_weights(models[2])]


strided = [*_strided(), *attention_layouts, *bucket_layouts, *label_layouts]

# None that hides tokens: those are below, whose gradients are asked for at tokens alone.
_with_gradients = [
    *plain_attention[:4],
    *masked_attention[1:2],
    *offset_attention[:1],
    *encoders[1:],
    *decoders[1:],
    *models[1:],
    encoders[0],
    decoders[0],
    _named["as many words as entries"],
    nothing_hidden[3],
    biased[0],
    biased[3],
]
differentiable = [replace(case, dtypes=WIDE) for case in _with_gradients]

_one, _other = decoder("out of range", B=1, T=3, S=2, L=1), model("out of range", B=1, T=3, S=2, N=1, L=1)
out_of_range = [
    encoder("encoder, a negative id", B=1, N=1, ids=torch.tensor([[3, -1, 2]])),
    encoder("encoder, an id after the last", B=1, N=1, ids=torch.tensor([[3, 17, 2]])),
    _one.changed("an id after the last", (torch.tensor([[3, 17, 2]]), _one.tensors[1])),
    _other.changed("a source id after the last", (torch.tensor([[3, 17]]), _other.tensors[1])),
    _other.changed("a target id after the last", (_other.tensors[0], torch.tensor([[3, 17, 2]]))),
]

# --- Changes that properties make -------------------------------------------------------------------------------------


def tokens_of(case: Case) -> Tensor | None:
    """Where in the result tokens stand and not padding, (B, length, 1); None where all are tokens."""
    own = "attention_mask" if case.operation is t5_encoder else "decoder_attention_mask"
    mask = case.options.get(own)
    return None if mask is None else mask.unsqueeze(-1)


differentiable += [replace(model("five layers each", B=1, S=3, T=3, N=5, L=5, **FEW), dtypes=WIDE)]
differentiable += asked_at(
    tokens_of, *padded, holes[5], holes[-1], beyond_blocks[1], beyond_blocks[4], beyond_blocks[6]
)


def with_another_future(case: Case) -> tuple[Case, Tensor]:
    """Other target tokens from the middle on, and where in the result that may not show: at tokens before."""
    place = 0 if case.operation is t5_decoder else 1
    T = case.tensors[place].shape[-1]
    later = torch.arange(T) >= (T + 1) // 2
    changed = with_other_ids_where(case, "another future", later, case.config.vocab_size, place)
    tokens, past = tokens_of(case), ~later.unsqueeze(-1)
    return changed, past if tokens is None else tokens & past


def with_other_hidden_content(case: Case) -> Case:
    """Other ids, and a memory a hundred times the ordinary, where masks hide them."""
    mask, own = case.options.get("attention_mask"), case.options.get("decoder_attention_mask")
    V = case.config.vocab_size
    if own is not None:
        place = 0 if case.operation is t5_decoder else 1
        case = with_other_ids_where(case, "other target where hidden", ~own, V, place)
    if mask is None:
        return case
    if case.operation is not t5_decoder:
        return with_other_ids_where(case, "other source where hidden", ~mask, V)
    ids, memory = case.tensors
    other = torch.where(mask.unsqueeze(-1), memory, 100.0 - memory)
    return case.changed("other memory where hidden", (ids, other))


def with_other_hidden_keys(case: Case) -> Case:
    """Of t5_attention, under a mask that is the same for all queries: other keys and values where it hides them."""
    query, key, value = case.tensors
    shown = case.options["mask"].broadcast_to(len(key), 1, key.shape[1]).mT  # B S 1
    other = torch.where(shown, key, 100.0 - key)
    changed = query, other, other if key is value else torch.where(shown, value, 100.0 + value)
    return case.changed("other content where hidden", changed)


def with_memory_permuted(case: Case) -> Case:
    """The memory's positions in another order, and its mask with them."""
    ids, memory = case.tensors
    order = torch.arange(memory.shape[1]).flip(0).roll(2)
    mask = case.options.get("attention_mask")
    permuted = {} if mask is None else {"attention_mask": mask[:, order]}
    return case.changed("memory permuted", (ids, memory[:, order]), **permuted)


def with_another_last_of_the_memory(case: Case) -> Case:
    """Another last position of the memory."""
    ids, memory = case.tensors
    last = (torch.arange(memory.shape[1]) == memory.shape[1] - 1).unsqueeze(-1)
    return case.changed("another last of the memory", (ids, torch.where(last, 1 - memory, memory)))


def with_heads_permuted(case: Case) -> Case:
    """Of t5_attention: the heads in another order, in every weight and in the bias."""
    H = case.options["num_heads"]
    order = torch.arange(H).roll(1)
    weights = dict(case.weights or {})
    for name, value in weights.items():
        axis = 0 if name == "w_o" else 1
        weights[name] = value.unflatten(axis, (H, -1)).index_select(axis, order).flatten(axis, axis + 1)
    return case.changed("heads permuted", weights=weights, bias=case.options["bias"][order])


def with_bias_shifted(case: Case) -> Case:
    """A constant of its own on every row of the bias, which a softmax does not see."""
    bias = case.options["bias"]
    rows = normal(f"{case.name} rows", *bias.shape[:2], 1).to(bias.dtype)
    return case.changed("rows of the bias shifted", bias=bias + rows)


def last_sequence(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence of the batch alone, and how to pick it out of the result of all."""
    options = {name: value[-1:] for name, value in case.options.items()}
    return case.changed("last alone", tuple(x[-1:] for x in case.tensors), **options), lambda x: x[-1:]


def last_unpadded(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence alone without its padding, and how to pick it out of the result of all."""
    masks = [case.options.get("attention_mask"), case.options.get("decoder_attention_mask")]
    if case.operation is t5_decoder:
        masks.reverse()
    shown = [None if mask is None else mask[-1] for mask in masks]
    tensors = tuple(x[-1:] if s is None else x[-1:, s] for x, s in zip(case.tensors, shown, strict=False))
    own = tokens_of(case)
    nothing = {name: None for name in case.options}
    picked = slice(None) if own is None else own[-1, :, 0]
    return case.changed("last unpadded", tensors, **nothing), lambda x: x[-1:, picked]


def in_two_calls(case: Case, memory: Callable[[Case], Tensor]) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """Of t5: the decoder's call on the memory that the encoder's call has given, and what makes logits of its result."""
    source, target = case.tensors
    weights = case.weights or {}
    table = {"embedding.table": weights["embedding.table"]}
    stacks = {side: table | _under(weights, side) for side in ("encoder", "decoder")}
    masks = {name: case.options.get(name) for name in ("attention_mask", "decoder_attention_mask")}
    common = {"config": case.config, "dtypes": case.dtypes, "dtype": case.dtype}
    first = Case(
        t5_encoder, f"{case.name}, encoder", (source,), stacks["encoder"],
        {"attention_mask": masks["attention_mask"]}, **common,
    )  # fmt: skip
    second = Case(t5_decoder, f"{case.name}, decoder", (target, memory(first)), stacks["decoder"], masks, **common)
    wide = table["embedding.table"].double().T * case.config.d_model**-0.5
    head = wide if case.config.tied else weights["head"].double()
    return second, lambda x: x.double() @ head


def _under(weights: Any, side: str) -> Weights:
    return {name.removeprefix(f"{side}."): value for name, value in weights.items() if name.startswith(f"{side}.")}


def with_other_numbers(case: Case) -> Case:
    """A call of the same shapes with other ids and weights."""
    weights = {name: value.flip(-1) * 0.75 for name, value in (case.weights or {}).items()}
    return case.changed("other numbers", _other_tensors(case), weights)


def others_than(case: Case) -> list[Case]:
    """Calls that a careless memory would take for this one: other inputs, other weights, shorter, one sequence, other configs."""
    return [
        case.changed("other inputs", _other_tensors(case)),
        with_other_numbers(case),
        case.changed("shorter", tuple(x[:, 1:4] for x in case.tensors)),
        last_sequence(case)[0],
        case.changed("another max_distance", config=replace(case.config, max_distance=30)),
        case.changed("another eps", config=replace(case.config, eps=0.5)),
    ]


def _other_tensors(case: Case) -> tuple[Tensor, ...]:
    V = case.config.vocab_size
    return tuple(x.flip(-1) if x.is_floating_point() else (x + 3).remainder(V) for x in case.tensors)
