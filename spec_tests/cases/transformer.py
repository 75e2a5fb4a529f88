"""Inputs for encoder, decoder and Transformer, from token ids: source and target, layers and masks unlike each other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import WIDE, Case, Drawn, booleans, normal
from transpec.reference.transformer import TransformerConfig, decoder, encoder, transformer
from transpec.spec_tests.cases.models import (
    HIDDEN_OF_140,
    MODEL_DTYPES,
    PADDED_19,
    asked_at,
    decoder_layer_weights,
    encoder_layer_weights,
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

TINY = {"V": 5, "M": 4, "F": 3, "H": 2}


def _config(V: int, M: int, F: int, H: int, N: int, L: int, **more: Any) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=V, d_model=M, d_ff=F, num_heads=H, num_encoder_layers=N, num_decoder_layers=L, **more
    )


def _stack(name: str, M: int, F: int, count: int, *, decoding: bool, final: bool) -> dict[str, Tensor]:
    layer = decoder_layer_weights if decoding else encoder_layer_weights
    made = stacked([layer(f"{name} layer {i}", M, F) for i in range(count)])
    return made | (nested(final_norm=norm(f"{name} final", M)) if final else {})


def encoding(
    name: str, *, B: int = 2, S: int = 5, mask: Tensor | None = None, ids: Tensor | None = None,
    dtypes: tuple[str, ...] = WIDE, V: int = 13, M: int = 12, F: int = 7, H: int = 4, N: int = 2, **config: Any,
) -> Case:  # fmt: skip
    """A call of encoder."""
    made = _config(V, M, F, H, N, 1, **config)
    table = {"embedding.table": matrix(f"{name} table", V, M)}
    weights = table | _stack(name, M, F, N, decoding=False, final=made.norm_first)
    source = token_ids(name, V, B, S) if ids is None else ids
    return Case(encoder, name, (source,), weights, {"source_mask": mask}, dtypes, config=made)


def decoding(
    name: str, *, B: int = 2, T: int = 5, S: int = 7, target_mask: Tensor | None = None,
    source_mask: Tensor | None = None, dtypes: tuple[str, ...] = WIDE, V: int = 13, M: int = 12, F: int = 7, H: int = 4,
    L: int = 2, **config: Any,
) -> Case:  # fmt: skip
    """A call of decoder."""
    made = _config(V, M, F, H, 1, L, **config)
    table = {"embedding.table": matrix(f"{name} table", V, M)}
    weights = table | _stack(name, M, F, L, decoding=True, final=made.norm_first)
    tensors = (token_ids(name, V, B, T), normal(f"{name} memory", B, S, M))
    options = {"target_mask": target_mask, "source_mask": source_mask}
    return Case(decoder, name, tensors, weights, options, dtypes, config=made)


def translating(
    name: str, *, B: int = 2, S: int = 5, T: int = 4, source_mask: Tensor | None = None,
    target_mask: Tensor | None = None, dtypes: tuple[str, ...] = WIDE, V: int = 13, M: int = 12, F: int = 7, H: int = 4,
    N: int = 2, L: int = 1, **config: Any,
) -> Case:  # fmt: skip
    """A call of transformer."""
    made = _config(V, M, F, H, N, L, **config)
    weights = {"embedding.table": matrix(f"{name} table", V, M)}
    weights |= nested(
        encoder=_stack(f"{name} encoder", M, F, N, decoding=False, final=made.norm_first),
        decoder=_stack(f"{name} decoder", M, F, L, decoding=True, final=made.norm_first),
    )
    tensors = (token_ids(f"{name} source", V, B, S), token_ids(f"{name} target", V, B, T))
    options = {"source_mask": source_mask, "target_mask": target_mask}
    return Case(transformer, name, tensors, weights, options, dtypes, config=made)


# --- Encoder ----------------------------------------------------------------------------------------------------------

encoders = [
    encoding("two layers"),
    encoding("two layers, pre-norm", norm_first=True),
    encoding("three layers, gelu, eps 0.1", N=3, activation="gelu", eps=0.1),
    encoding("three layers, gelu_tanh, pre-norm", N=3, activation="gelu_tanh", norm_first=True, eps=0.1),
    encoding("padding of unlike lengths", mask=real(5, 3, width=5)),
    encoding("padding of unlike lengths, pre-norm", mask=real(2, 5, width=5), norm_first=True),
    encoding("hidden tokens within", mask=torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]]).bool(), N=1),
    encoding("one token", S=1, N=1),
    encoding("one token, pre-norm", S=1, B=3, norm_first=True),
    encoding("a batch of one, padded", B=1, mask=real(3, width=5)),
    encoding("one head", M=7, H=1, N=1),
    encoding("an odd width", M=9, H=3, N=1, norm_first=True),
    encoding("as many sequences as heads, padded", H=3, B=3, mask=real(5, 2, 4, width=5)),
    encoding("as many sequences as tokens", B=5, N=1, mask=real(5, 2, 4, 1, 3, width=5)),
    encoding("every size 4", B=4, S=4, V=4, M=4, F=4, H=4, mask=real(4, 2, 3, 1, width=4)),
    encoding("17 tokens", B=1, S=17, M=6, H=2, N=1),
    encoding("33 tokens, padded", B=2, S=33, M=6, H=2, N=1, mask=real(33, 20, width=33), norm_first=True),
    encoding("words alike", ids=torch.tensor([[4, 4, 4, 4], [4, 4, 4, 4]]), N=1),
    encoding("id 0 among others", ids=torch.tensor([[0, 3, 0, 1], [5, 0, 2, 0]]), N=1),
    encoding("one layer, gelu, pre-norm", N=1, activation="gelu", norm_first=True),
]
encoder_without_layers = [
    encoding("no layers", N=0, dtypes=MODEL_DTYPES),
    encoding("no layers, pre-norm", N=0, norm_first=True, dtypes=MODEL_DTYPES),
    encoding("no layers, eps 0.5, pre-norm", N=0, norm_first=True, eps=0.5, dtypes=MODEL_DTYPES),
]

# --- Decoder ----------------------------------------------------------------------------------------------------------

decoders = [
    decoding("two layers"),
    decoding("two layers, pre-norm", norm_first=True),
    decoding("three layers, gelu, eps 0.1", L=3, activation="gelu", eps=0.1),
    decoding("both padded", target_mask=real(5, 3, width=5), source_mask=real(4, 7, width=7)),
    decoding(
        "both padded, pre-norm", target_mask=real(4, 5, width=5), source_mask=real(7, 2, width=7), norm_first=True
    ),
    decoding("source padded", source_mask=real(7, 3, width=7), L=1),
    decoding("target padded", target_mask=real(2, 5, width=5), L=1, norm_first=True),
    decoding(
        "as long as its source, both padded", S=5, target_mask=real(5, 3, width=5), source_mask=real(2, 5, width=5)
    ),
    decoding("longer than its source", T=7, S=3, L=1),
    decoding("one token", T=1, L=1, norm_first=True),
    decoding("one position of memory", S=1, L=1),
    decoding("a batch of one, padded", B=1, target_mask=real(3, width=5), source_mask=real(4, width=7)),
    decoding("as many sequences as heads", H=3, B=3, source_mask=real(7, 2, 4, width=7), L=1),
    decoding("every size 4", B=4, T=4, S=4, V=4, M=4, F=4, H=4, source_mask=real(4, 2, 3, 1, width=4)),
    decoding("17 tokens, 33 of memory", B=1, T=17, S=33, M=6, H=2, L=1),
    decoding("two layers, gelu_tanh, eps 0.1, pre-norm", activation="gelu_tanh", eps=0.1, norm_first=True),
    decoding("one layer, gelu, pre-norm", L=1, activation="gelu", norm_first=True),
]
# A mask that reaches the first layers and not the last.
deep_and_padded = [
    encoding("three layers, padded", N=3, mask=real(5, 2, width=5)),
    decoding("three layers, both padded", L=3, target_mask=real(5, 3, width=5), source_mask=real(3, 7, width=7)),
    translating("three layers each, source padded", N=3, L=3, source_mask=real(2, 5, width=5), norm_first=True),
]
decoder_without_layers = [
    decoding("no layers", L=0, dtypes=MODEL_DTYPES),
    decoding("no layers, pre-norm", L=0, norm_first=True, dtypes=MODEL_DTYPES),
    decoding("no layers, eps 0.5, pre-norm", L=0, norm_first=True, eps=0.5, dtypes=MODEL_DTYPES),
]
# Padding that tokens come after. At the end of a sequence it hides nothing from them that the future does not: there a
# target mask may be left out altogether and nobody sees it. Every token sees at least the first one.
HOLES = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 0, 0, 1]]).bool()
decoder_holes = [
    decoding("hidden target tokens within", target_mask=HOLES),
    decoding("hidden target tokens within, pre-norm", target_mask=HOLES.flip(0), norm_first=True),
    decoding(
        "hidden tokens within source and target, of one length",
        S=5, target_mask=HOLES, source_mask=HOLES.flip(0), norm_first=True,
    ),
    decoding("a batch of one, hidden target tokens within", B=1, target_mask=HOLES[:1], L=1),
]  # fmt: skip

# Five sequences of five tokens, of which many are hidden; every token sees the first one.
MANY = booleans("many hidden tokens", 5, 5) | (torch.arange(5) == 0)


# --- Transformer ------------------------------------------------------------------------------------------------------

translations = [
    translating("two layers and one"),
    translating("two layers and one, pre-norm", norm_first=True),
    translating("one layer and two, gelu", N=1, L=2, activation="gelu"),
    translating(
        "one layer and three, gelu_tanh, eps 0.1, pre-norm", N=1, L=3, activation="gelu_tanh", eps=0.1, norm_first=True
    ),
    translating("source padded", source_mask=real(5, 3, width=5)),
    translating("both padded", source_mask=real(2, 5, width=5), target_mask=real(4, 2, width=4)),
    translating(
        "both padded, pre-norm", source_mask=real(5, 2, width=5), target_mask=real(3, 4, width=4), norm_first=True
    ),
    translating("as many source as target tokens, padded", S=4, source_mask=real(4, 2, width=4)),
    translating("target longer than source", S=3, T=6),
    translating("one source token", S=1, N=1),
    translating("one target token", T=1, N=1, norm_first=True),
    translating("a batch of one, padded", B=1, source_mask=real(3, width=5)),
    translating("one head, odd width", M=7, H=1, N=1),
    translating("as many sequences as heads", H=3, B=3, N=1, source_mask=real(5, 2, 3, width=5)),
    translating("as many words as entries", V=12, N=1),
]
holes = [
    translating("hidden target tokens within", T=5, S=7, target_mask=HOLES),
    translating(
        "hidden target tokens within, as many source as target tokens", T=5, target_mask=HOLES, norm_first=True
    ),
    translating("hidden tokens within source and target", T=5, source_mask=HOLES.flip(0), target_mask=HOLES, N=1),
]
# Masks together with what may keep them from layers: their number, one head, sizes alike, padding on the left.
crossed = [
    encoding("one head, padded on the left", M=7, H=1, N=1, B=2, mask=real(5, 3, width=5, side="left")),
    encoding(
        "hidden tokens within and none at the end, as many sequences as tokens", B=5, mask=MANY | (torch.arange(5) == 4)
    ),
    decoding("three layers, one head, hidden target tokens within", L=3, M=7, H=1, target_mask=HOLES),
    decoding(
        "as many sequences as tokens, hidden within source and target, pre-norm",
        B=5,
        S=5,
        target_mask=MANY,
        source_mask=MANY.flip(0),
        norm_first=True,
    ),
    translating("padded on the left", N=1, source_mask=real(5, 3, width=5, side="left"), norm_first=True),
    translating(
        "three layers, hidden target tokens within", T=5, N=1, L=3, target_mask=HOLES, source_mask=HOLES.flip(0)
    ),
    encoding("hidden tokens within, first and last alike", B=3, mask=HOLES[[0, 1, 0]], N=1),
    decoding(
        "hidden tokens within, first and last alike",
        B=3,
        S=5,
        target_mask=HOLES[[0, 1, 0]],
        source_mask=HOLES[[1, 0, 1]],
        L=1,
    ),
    steep(encoding("hidden tokens within", mask=HOLES, N=1)),
    steep(decoding("hidden tokens within", S=5, target_mask=HOLES, source_mask=HOLES.flip(0), L=1)),
]
crossed_source = [case for case in crossed if "source_mask" in case.options]
crossed_target = [case for case in crossed if "target_mask" in case.options]
long = [
    encoding("no layers, 520 tokens", N=0, B=1, S=520, **TINY),
    decoding("no layers, 70 tokens", L=0, B=1, T=70, **TINY),
    translating("65 source tokens, no decoder layers, 70 tokens", N=1, L=0, B=1, S=65, T=70, **TINY),
]
# More sequences, tokens and entries than fit into blocks, chunks or fixed tables.
NARROW = {"V": 5, "M": 6, "F": 5, "H": 2}
encoders_beyond_blocks = [
    encoding("19 sequences, padded", B=19, S=4, N=1, mask=PADDED_19, **NARROW),
    encoding("140 tokens, hidden tokens within", B=1, S=140, N=1, mask=HIDDEN_OF_140.unsqueeze(0), **NARROW),
    encoding("66 entries, 130 inner entries, 40 words", B=1, V=40, M=66, F=130, H=3, N=1, norm_first=True),
]
decoders_beyond_blocks = [
    decoding(
        "19 sequences, padded", B=19, T=4, S=4, L=1, target_mask=PADDED_19, source_mask=PADDED_19.flip(0), **NARROW
    ),
    decoding("140 tokens, 140 source tokens", B=1, T=140, S=140, L=1, source_mask=HIDDEN_OF_140.unsqueeze(0), **NARROW),
    decoding("66 entries, 130 inner entries, 40 words", B=1, V=40, M=66, F=130, H=3, L=1, norm_first=True),
]
beyond_blocks = [
    translating(
        "19 sequences, padded", B=19, S=4, T=4, N=1, source_mask=PADDED_19, target_mask=PADDED_19.flip(0), **NARROW
    ),
    translating(
        "140 source tokens, 130 tokens", B=1, S=140, T=130, N=1, source_mask=HIDDEN_OF_140.unsqueeze(0), **NARROW
    ),
    translating("66 entries, 130 inner entries, 40 words", B=1, V=40, M=66, F=130, H=3, N=1, norm_first=True),
]
without_layers = [
    translating("no layers", N=0, L=0, dtypes=MODEL_DTYPES),
    translating("no layers, pre-norm", N=0, L=0, norm_first=True, dtypes=MODEL_DTYPES),
    translating("no decoder layers", L=0, dtypes=MODEL_DTYPES),
    translating("no encoder layers, pre-norm", N=0, L=2, norm_first=True),
]


def _with_a_mean(case: Case) -> Case:
    """Embeddings of means of thousands, far above the deviation: a difference of squares leaves nothing of a variance."""
    weights = {
        name: value + 3000 if name == "embedding.table" else value for name, value in (case.weights or {}).items()
    }
    return replace(case.changed("a mean of thousands", weights=weights), dtypes=WIDE)


with_mean = [_with_a_mean(case) for case in (encoder_without_layers[1], decoder_without_layers[1], without_layers[1])]


def quiet(case: Case) -> Case:
    """What every sublayer adds made twenty times as small: roundings do not grow, and a mistake shows in 16 bits too."""
    last = ("w_o", "b_o", "w_2", "b_2")
    weights = {name: value / 20 if name.endswith(last) else value for name, value in (case.weights or {}).items()}
    return replace(case.changed("quiet", weights=weights), dtypes=MODEL_DTYPES)


quiet_encoders = [quiet(encoding("one layer", N=1)), quiet(encoding("one layer, pre-norm", N=1, norm_first=True))]
quiet_decoders = [quiet(decoding("one layer", L=1)), quiet(decoding("one layer, pre-norm", L=1, norm_first=True))]
quiet_translations = [
    quiet(translating("one layer each", N=1)),
    quiet(translating("one layer each, pre-norm", N=1, norm_first=True)),
]
many_layers = [
    encoding("three layers", N=3), encoding("four layers, pre-norm", N=4, norm_first=True),
    decoding("three layers", L=3, norm_first=True), decoding("four layers", L=4),
    translating("three layers and two", N=3, L=2), translating("two layers and three, pre-norm", L=3, norm_first=True),
    # Layer 10 comes after layer 2, though not in the order of words.
    encoding("eleven layers", N=11, **TINY), decoding("eleven layers, pre-norm", L=11, norm_first=True, **TINY),
    translating("eleven layers and one", N=11, **TINY), translating("one layer and eleven", N=1, L=11, **TINY),
]  # fmt: skip
nothing_hidden = [
    encoding("nothing hidden", mask=real(5, 5, width=5)),
    decoding("nothing hidden", target_mask=real(5, 5, width=5), source_mask=real(7, 7, width=7), norm_first=True),
    translating("nothing hidden", source_mask=real(5, 5, width=5), target_mask=real(4, 4, width=4)),
]
strided = [*map(transposed_weights, (encoders[1], decoders[1], translations[0], translations[6]))]
batch_of_zero = [
    encoding("a batch of zero", B=0),
    decoding("a batch of zero", B=0),
    translating("a batch of zero", B=0),
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def translators(draw: st.DrawFn) -> Case:
    """Transformers of any small sizes, layers, norm placement and padding."""
    B, S, T, H = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    E, N, L = draw(st.integers(1, 4)), draw(st.integers(0, 2)), draw(st.integers(0, 2))
    first, padded = draw(st.booleans()), draw(st.booleans())
    name = f"drawn B{B} S{S} T{T} H{H} E{E} N{N} L{L} {'pre' if first else 'post'}-norm padded {padded}"
    mask = real(*(1 + (3 * b + S) % S for b in range(B)), width=S) if padded else None
    return translating(name, B=B, S=S, T=T, H=H, M=H * E, N=N, L=L, norm_first=first, eps=0.01, source_mask=mask)


drawn = [Drawn(transformer, translators(), dtypes=WIDE, draws=5)]

# --- Groups for properties --------------------------------------------------------------------------------------------

hidden_targets = [*decoder_holes, *holes]
causal = [
    *decoder_holes[:3], holes[0], *decoders[:2], *decoders[3:5], decoders[7],
    *translations[:2], translations[5], translations[8],
]  # fmt: skip
changed_shows = [decoder_holes[0], *decoders[:2], *translations[:2], translations[5]]
padded_source = [
    encoders[4], encoders[5], encoders[6], encoders[9], encoders[12], *decoders[3:6], decoders[7],
    decoders[11], translations[4], translations[5], translations[6], translations[7], translations[11],
    *deep_and_padded,
]  # fmt: skip
padded_right = [
    *deep_and_padded,
    encoders[4],
    encoders[5],
    encoders[12],
    *decoders[3:5],
    decoders[11],
    *translations[4:7],
]
memory_seen = [*decoders[:2], decoders[3], decoders[7], decoders[8]]
renamed = [translations[0], translations[1], translations[14]]
in_batches = [*encoders[4:6], encoders[12], *decoders[3:5], decoders[12], *translations[4:7], translations[13]]
every_call = [encoders[4], encoders[1], decoders[3], translations[6]]
# None is padded: those are below, whose gradients are asked for at tokens alone.
differentiable = [
    encoders[0], encoders[3], decoders[0], decoders[1], decoders[5],
    *translations[:4], replace(translations[14], dtypes=WIDE),
]  # fmt: skip

# --- Changes that properties make -------------------------------------------------------------------------------------


def tokens_of(case: Case) -> Tensor:
    """Where in the result tokens stand and not padding: of the source for an encoder, else of the target."""
    ids = case.tensors[1] if case.operation is transformer else case.tensors[0]
    mask = case.options.get("source_mask" if case.operation is encoder else "target_mask")
    return (torch.ones(ids.shape, dtype=torch.bool) if mask is None else mask).unsqueeze(-1)


differentiable += [translating("five layers each", B=1, S=3, T=3, N=5, L=5, **NARROW)]
differentiable += asked_at(
    tokens_of,
    encoders[4],
    encoders_beyond_blocks[1],
    decoders[4],
    decoders_beyond_blocks[0],
    *translations[4:7],
    holes[0],
)


def with_another_future(case: Case) -> tuple[Case, Tensor]:
    """Other target tokens from the middle on, and where in the result that may not show."""
    place = 1 if case.operation is transformer else 0
    T = case.tensors[place].shape[-1]
    later = torch.arange(T) >= (T + 1) // 2
    changed = with_other_ids_where(case, "another future", later, case.config.vocab_size, place)
    return changed, tokens_of(case) & ~later.unsqueeze(-1)


def with_other_padding(case: Case) -> Case:
    """Other source tokens, or another memory, where the source mask hides them."""
    mask = case.options["source_mask"]
    if case.operation is not decoder:
        return with_other_ids_where(case, "other padding", ~mask, case.config.vocab_size)
    ids, memory = case.tensors
    other = torch.where(mask.unsqueeze(-1), memory, (-memory.flip(0) - 30).to(memory.dtype))
    return case.changed("other padding", (ids, other))


def with_other_hidden_targets(case: Case) -> Case:
    """Other target tokens where the target mask hides them."""
    place = 1 if case.operation is transformer else 0
    return with_other_ids_where(
        case, "other hidden targets", ~case.options["target_mask"], case.config.vocab_size, place
    )


def last_unpadded(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence alone without its padding, and how to pick it out of the result of all."""
    source, target = (
        None if case.options.get(name) is None else case.options[name][-1] for name in ("source_mask", "target_mask")
    )

    def cut(x: Tensor, shown: Tensor | None) -> Tensor:
        return x[-1:] if shown is None else x[-1:, shown]

    of_operation = {encoder: (source,), decoder: (target, source), transformer: (source, target)}
    masks = of_operation[case.operation]
    tensors = tuple(cut(x, shown) for x, shown in zip(case.tensors, masks, strict=True))
    own = source if case.operation is encoder else target
    alone = case.changed("last unpadded", tensors, **dict.fromkeys(case.options))
    return alone, lambda x: cut(x, own)


def last_sequence(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last sequence of the batch alone, with its masks, and how to pick it out of the result of all."""
    options = {name: value[-1:] for name, value in case.options.items() if isinstance(value, Tensor)}
    return case.changed("last alone", tuple(x[-1:] for x in case.tensors), **options), lambda x: x[-1:]


def with_memory_reordered(case: Case) -> Case:
    """The positions of the memory in reverse order, and those of its mask with them."""
    ids, memory = case.tensors
    mask = case.options.get("source_mask")
    more = {} if mask is None else {"source_mask": mask.flip(-1)}
    return case.changed("memory reordered", (ids, memory.flip(1)), **more)


def with_another_epsilon(case: Case) -> Case:
    """A call of the same sizes under another eps."""
    return case.changed("another eps", config=replace(case.config, eps=0.5))


def with_other_numbers(case: Case) -> Case:
    """A call of the same shapes with other ids, memory and weights."""
    weights = {name: value.flip(-1) * 0.75 for name, value in (case.weights or {}).items()}
    V = case.config.vocab_size
    tensors = tuple(x * 0.5 if x.is_floating_point() else (x + 5).remainder(V) for x in case.tensors)
    return case.changed("other numbers", tensors, weights)
