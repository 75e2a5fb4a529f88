"""Inputs for encoder and decoder layers. What a layer adds, norms and masks shows where its parts have weights of their own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import EVERY_DTYPE, WIDE, Case, Drawn, booleans, layouts, normal
from transpec.reference.layers import decoder_layer, encoder_layer
from transpec.spec_tests.cases.models import (
    decoder_layer_weights,
    encoder_layer_weights,
    real,
    steep,
    transposed_weights,
)

HIDDEN = 30.0  # far from the ordinary


def encoder_case(
    name: str, *, B: int = 2, T: int = 5, M: int = 12, H: int = 4, F: int = 7, mask: Tensor | None = None,
    activation: str = "relu", eps: float = 1e-5, norm_first: bool = False, dtypes: tuple[str, ...] = WIDE, **more: Any,
) -> Case:  # fmt: skip
    """A call of encoder_layer; every weight, gain and bias its own."""
    options = {
        "num_heads": H, "mask": mask, "activation": activation, "eps": eps, "norm_first": norm_first,
    }  # fmt: skip
    return Case(
        encoder_layer, name, (normal(f"{name} x", B, T, M),), encoder_layer_weights(name, M, F), options, dtypes, **more
    )


def decoder_case(
    name: str, *, B: int = 2, T: int = 5, S: int = 7, M: int = 12, Ms: int = 0, H: int = 4, F: int = 11,
    self_mask: Tensor | None = None, memory_mask: Tensor | None = None, activation: str = "relu", eps: float = 1e-5,
    norm_first: bool = False, dtypes: tuple[str, ...] = WIDE,
) -> Case:  # fmt: skip
    """A call of decoder_layer, the memory as wide as the model where `Ms` is not given."""
    options = {
        "num_heads": H, "self_mask": self_mask, "memory_mask": memory_mask, "activation": activation, "eps": eps,
        "norm_first": norm_first,
    }  # fmt: skip
    tensors = (normal(f"{name} x", B, T, M), normal(f"{name} memory", B, S, Ms or M))
    return Case(decoder_layer, name, tensors, decoder_layer_weights(name, M, F, memory=Ms), options, dtypes)


def ahead(length: int) -> Tensor:
    """The look-ahead mask."""
    return torch.ones(length, length, dtype=torch.bool).tril()


def seen(name: str, *shape: int) -> Tensor:
    """A random mask in which every query sees at least the first key."""
    return booleans(name, *shape) | (torch.arange(shape[-1]) == 0)


# --- Encoder ----------------------------------------------------------------------------------------------------------

encoders = [
    encoder_case("post-norm"),
    encoder_case("pre-norm", norm_first=True),
    encoder_case("look-ahead", mask=ahead(5)),
    encoder_case("pre-norm, padding of unlike lengths", norm_first=True, mask=real(5, 3, width=5).unsqueeze(1)),
]
encoder_sizes = [
    encoder_case("one head", M=7, H=1),
    encoder_case("heads of one entry", M=5, H=5),
    encoder_case("as many heads as batch items", B=3, T=4, M=6, H=3),
    encoder_case("as many tokens as heads", T=3, H=3),
    encoder_case("as many tokens as batch items, pre-norm", B=4, T=4, M=8, H=2, norm_first=True),
    encoder_case("every size 4", B=4, T=4, M=4, H=4, F=4),
    encoder_case("one token", T=1),
    encoder_case("a batch of one", B=1, norm_first=True),
    encoder_case("17 tokens", B=1, T=17, M=6, H=2),
    encoder_case("33 tokens, look-ahead", B=1, T=33, M=6, H=2, mask=ahead(33), norm_first=True),
    encoder_case("17 inner entries", F=17),
    encoder_case("as many inner entries as the model", F=12),
    encoder_case("a narrow inner layer", F=1),
]
# What is read in blocks, chunks or fixed tables: more items, tokens and entries than fit into the usual ones.
encoder_beyond_blocks = [
    encoder_case("17 batch items, masked", B=17, T=3, M=6, H=2, mask=seen("encoder 17", 17, 3, 3)),
    encoder_case("140 tokens, masked", B=1, T=140, M=6, H=2, mask=seen("encoder 140", 1, 140, 140), norm_first=True),
    encoder_case("66 entries, 130 inner entries", B=1, T=3, M=66, H=3, F=130, activation="gelu"),
]
activations = [
    encoder_case(f"{activation}, {'pre' if first else 'post'}-norm", activation=activation, norm_first=first)
    for activation in ("gelu", "gelu_tanh", "relu")
    for first in (False, True)
]
activations += [encoder_case("gelu, 65 inner entries, pre-norm", F=65, activation="gelu", norm_first=True)]
epsilon = [
    encoder_case("eps 0.5", eps=0.5),
    encoder_case("eps 0.5, pre-norm", eps=0.5, norm_first=True),
    encoder_case("eps 0.1, gelu, look-ahead, pre-norm", eps=0.1, activation="gelu", mask=ahead(5), norm_first=True),
]
encoder_masks = [
    encoder_case("mask of keys alone", mask=torch.arange(5) != 2),
    encoder_case("mask of queries and keys", mask=seen("encoder rows", 5, 5)),
    encoder_case("mask with a batch axis of one", mask=seen("encoder one", 1, 5, 5), norm_first=True),
    encoder_case("padding of unlike lengths", mask=real(5, 3, width=5).unsqueeze(1)),
    encoder_case("padding on the left", mask=real(4, 2, width=5, side="left").unsqueeze(1), norm_first=True),
    encoder_case("unlike per batch item", mask=seen("encoder unlike", 2, 5, 5)),
    encoder_case("unlike per batch item, pre-norm", mask=seen("encoder unlike 2", 2, 5, 5), norm_first=True),
    encoder_case("as many batch items as heads, masked", B=3, mask=seen("encoder heads", 3, 5, 5), H=3),
    encoder_case("six batch items of two heads, masked", B=6, H=2, T=4, mask=seen("encoder six", 6, 4, 4)),
    encoder_case("a batch of one, masked", B=1, mask=seen("encoder alone", 1, 5, 5), norm_first=True),
    encoder_case("one head, masked", M=7, H=1, mask=seen("encoder one head", 2, 5, 5)),
    # The first item alone is no sign of what the others are.
    encoder_case("look-ahead in the first item alone", mask=torch.stack((ahead(5), torch.ones(5, 5).bool()))),
    encoder_case("first and last masks alike", B=3, mask=seen("encoder ends", 2, 5, 5)[[0, 1, 0]]),
    encoder_case("65 tokens, nine heads, masked", T=65, M=9, H=9, mask=seen("encoder 65", 2, 65, 65)),
    steep(encoder_case("unlike per batch item", mask=seen("encoder steep", 2, 5, 5))),
]
encoder_everything_visible = [
    encoder_case("nothing hidden", mask=torch.ones(5, 5, dtype=torch.bool)),
    encoder_case("nothing hidden, pre-norm", mask=torch.ones(2, 1, 5, dtype=torch.bool), norm_first=True),
]

# --- Decoder ----------------------------------------------------------------------------------------------------------

decoders = [
    decoder_case("post-norm", self_mask=ahead(5)),
    decoder_case("pre-norm", self_mask=ahead(5), norm_first=True),
    decoder_case("no masks"),
    decoder_case("no masks, pre-norm", norm_first=True),
    decoder_case("both masks", self_mask=ahead(5), memory_mask=real(7, 4, width=7).unsqueeze(1)),
    decoder_case(
        "both masks, pre-norm", self_mask=ahead(5), memory_mask=real(3, 7, width=7).unsqueeze(1), norm_first=True
    ),
    decoder_case("gelu, eps 0.1", self_mask=ahead(5), activation="gelu", eps=0.1),
    decoder_case("gelu_tanh, eps 0.5, pre-norm", activation="gelu_tanh", eps=0.5, norm_first=True),
]
decoder_sizes = [
    decoder_case("one head", M=7, H=1, self_mask=ahead(5)),
    decoder_case("as many queries as keys", S=5, self_mask=ahead(5)),
    decoder_case("as many queries as keys, pre-norm", S=5, norm_first=True),
    decoder_case("more queries than keys", T=7, S=3, self_mask=ahead(7)),
    decoder_case("one query", T=1, norm_first=True),
    decoder_case("one key of memory", S=1),
    decoder_case("a batch of one", B=1, self_mask=ahead(5)),
    decoder_case("as many heads as batch items", B=3, T=4, S=3, norm_first=True, H=3),
    decoder_case("every size 4", B=4, T=4, S=4, M=4, H=4, F=4, self_mask=ahead(4)),
    decoder_case("17 queries, 33 keys", B=1, T=17, S=33, M=6, H=2, self_mask=ahead(17)),
]


def _of_itself(case: Case, copied: bool) -> Case:
    x = case.tensors[0]
    return case.changed(f"over {'its equal' if copied else 'itself'}", (x, x.clone() if copied else x))


decoder_over_itself = [
    _of_itself(decoder_case("masked", S=5, self_mask=ahead(5), norm_first=first), copied)
    for first in (False, True)
    for copied in (False, True)
]
decoder_beyond_blocks = [
    decoder_case("17 batch items, masked", B=17, T=3, S=4, M=6, H=2, memory_mask=seen("decoder 17", 17, 3, 4)),
    decoder_case(
        "140 queries, 150 keys, both masked", B=1, T=140, S=150, M=6, H=2, self_mask=ahead(140),
        memory_mask=seen("decoder 150", 1, 140, 150),
    ),
    decoder_case("66 entries, 130 inner entries", B=1, T=3, S=4, M=66, H=3, F=130, norm_first=True),
]  # fmt: skip
memory_widths = [
    decoder_case("a memory narrower than the model", Ms=5, self_mask=ahead(5)),
    decoder_case("a memory wider than the model, pre-norm", Ms=17, norm_first=True),
]
decoder_activations = [
    decoder_case("gelu, pre-norm", activation="gelu", norm_first=True),
    decoder_case("gelu_tanh, post-norm", activation="gelu_tanh"),
]
# Self-attention looks ahead where its mask allows it: none of these is the look-ahead mask alone.
self_masks = [
    decoder_case("self mask of keys alone", self_mask=torch.arange(5) != 2),
    decoder_case("self mask of queries and keys", self_mask=seen("self rows", 5, 5), norm_first=True),
    decoder_case("self mask with a batch axis of one", self_mask=seen("self one", 1, 5, 5)),
    decoder_case("target padded at unlike lengths", self_mask=real(5, 3, width=5).unsqueeze(1), norm_first=True),
    decoder_case("self mask unlike per batch item", self_mask=seen("self unlike", 2, 5, 5)),
    decoder_case(
        "look-ahead and padding, memory padded", self_mask=ahead(5) & real(3, 5, width=5).unsqueeze(1),
        memory_mask=real(7, 4, width=7).unsqueeze(1), norm_first=True,
    ),
    decoder_case("as many batch items as heads, self mask", B=3, self_mask=seen("self heads", 3, 5, 5), H=3),
    decoder_case("a batch of one, self mask", B=1, self_mask=seen("self alone", 1, 1, 5)),
]  # fmt: skip
memory_masks = [
    decoder_case("memory mask of keys alone", memory_mask=torch.arange(7) != 3),
    decoder_case("memory mask of queries and keys", memory_mask=seen("memory rows", 5, 7), norm_first=True),
    decoder_case("memory mask with a batch axis of one", memory_mask=seen("memory one", 1, 5, 7)),
    decoder_case("memory mask unlike per batch item", memory_mask=seen("memory unlike", 2, 5, 7)),
    decoder_case("memory padded at unlike lengths", self_mask=ahead(5), memory_mask=real(7, 2, width=7).unsqueeze(1)),
    decoder_case("both masks of one shape, S = T", S=5, self_mask=ahead(5), memory_mask=seen("memory square", 5, 5)),
    decoder_case(
        "both masks of one shape, S = T, pre-norm",
        S=5, self_mask=ahead(5), memory_mask=seen("memory square 2", 2, 5, 5), norm_first=True,
    ),
    decoder_case("as many batch items as heads, masked", B=3, memory_mask=seen("memory heads", 3, 1, 7), H=3),
    decoder_case("one query, memory masked", T=1, memory_mask=real(7, 4, width=7).unsqueeze(1)),
    decoder_case("a batch of one, memory masked", B=1, memory_mask=seen("memory alone", 1, 1, 7), norm_first=True),
    decoder_case("as many batch items as queries, memory masked", B=5, memory_mask=seen("memory rows of five", 5, 7)),
    decoder_case("one head, both masked", M=7, H=1, self_mask=ahead(5), memory_mask=seen("memory one head", 2, 5, 7)),
    decoder_case("257 keys, nine heads, masked", B=1, T=2, S=257, M=9, H=9, memory_mask=seen("memory 257", 257)),
    decoder_case(
        "first and last masks alike", B=3, self_mask=seen("own ends", 2, 5, 5)[[0, 1, 0]],
        memory_mask=seen("memory ends", 2, 5, 7)[[0, 1, 0]],
    ),
    steep(decoder_case("unlike per batch item", self_mask=ahead(5), memory_mask=seen("memory steep", 2, 5, 7))),
]  # fmt: skip
decoder_everything_visible = [
    decoder_case(
        "nothing hidden",
        self_mask=torch.ones(5, 5, dtype=torch.bool), memory_mask=torch.ones(2, 1, 7, dtype=torch.bool),
    ),
    decoder_case(
        "nothing hidden, pre-norm", self_mask=torch.ones(1, 5, 5, dtype=torch.bool),
        memory_mask=torch.ones(7, dtype=torch.bool), norm_first=True,
    ),
]  # fmt: skip

# --- What only sums and norms are left of -----------------------------------------------------------------------------


def silenced(case: Case, name: str, *kept: str) -> Case:
    """The last projection of every sublayer zero, but for those in `kept`: the others add nothing to the residual."""
    last = {"self_attention": "w_o b_o", "cross_attention": "w_o b_o", "feed_forward": "w_2 b_2"}
    silent = {f"{part}.{weight}" for part, names in last.items() if part not in kept for weight in names.split()}
    weights = {key: torch.zeros_like(value) if key in silent else value for key, value in (case.weights or {}).items()}
    return case.changed(name, weights=weights)


silent = [
    *(silenced(case, "sublayers silent") for case in (encoders[0], encoders[1], encoders[3], epsilon[0], epsilon[1])),
    *(silenced(case, "sublayers silent") for case in (*decoders[:4], decoders[6], decoders[7])),
]
# A mean far above the deviation, of which a variance taken as a difference of squares leaves nothing.
silent += [
    case.changed("a mean of 10 000", (case.tensors[0] + 1e4, *case.tensors[1:])) for case in (silent[0], silent[5])
]
half_silent = [
    *(silenced(case, f"{kept} alone", kept) for case in encoders[:2] for kept in ("self_attention", "feed_forward")),
    *(
        silenced(case, f"{kept} alone", kept)
        for case in decoders[4:6]
        for kept in ("self_attention", "cross_attention", "feed_forward")
    ),
]
# Where sublayers are silent, roundings do not grow, and a mistake shows in 16 bits too.
narrow = [
    replace(silenced(case, "sublayers silent, narrow"), dtypes=EVERY_DTYPE)
    for case in (
        encoder_case("for narrow dtypes", eps=0.1), encoder_case("for narrow dtypes, pre-norm", norm_first=True),
        decoder_case("for narrow dtypes", eps=0.1), decoder_case("for narrow dtypes, pre-norm", norm_first=True),
    )
]  # fmt: skip


def _without_biases(case: Case) -> Case:
    weights = {name: value for name, value in (case.weights or {}).items() if "attention.b_" not in name}
    return case.changed("no biases in attention", weights=weights)


def _without(case: Case, bias: str) -> Case:
    """One bias missing from every attention, for each may be missing by itself."""
    weights = {name: value for name, value in (case.weights or {}).items() if not name.endswith(f"attention.{bias}")}
    return case.changed(f"no {bias}", weights=weights)


without_biases = [
    *(_without_biases(case) for case in (*encoders[:2], *decoders[4:6])),
    *(_without(case, bias) for case in (encoders[1], decoders[4]) for bias in ("b_q", "b_k", "b_v", "b_o")),
]

# --- Edges ------------------------------------------------------------------------------------------------------------

batch_of_zero = [encoder_case("a batch of zero", B=0), decoder_case("a batch of zero", B=0)]
strided = [
    *(made for made in layouts(encoders[2]) if made.name.split(", ")[-1].split()[0] in ("x", "mask")),
    *(made for made in layouts(decoders[4]) if made.name.split(", ")[-1].split()[0] in ("x", "memory", "self_mask")),
    *map(transposed_weights, (encoders[0], encoders[1], decoders[4], decoders[5])),
]


def _impossible(case: Case, name: str, **fields: Any) -> Case:
    return replace(case, name=name, **fields)


impossible = [
    _impossible(encoders[0], "heads that do not divide", options={**encoders[0].options, "num_heads": 5}),
    _impossible(decoders[2], "decoder heads that do not divide", options={**decoders[2].options, "num_heads": 5}),
]
unlike_batches = [
    _impossible(
        decoders[2], "a memory of another batch", tensors=(decoders[2].tensors[0], normal("bad memory", 3, 7, 12))
    )
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def encoder_layers(draw: st.DrawFn) -> Case:
    """Encoder layers of any small sizes, norm placement, activation and mask."""
    B, T, H = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    E, F, first = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.booleans())
    activation = draw(st.sampled_from(["relu", "gelu", "gelu_tanh"]))
    kind = draw(st.sampled_from(["none", "look-ahead", "random"]))
    name = f"drawn B{B} T{T} H{H} E{E} F{F} {'pre' if first else 'post'}-norm {activation} mask {kind}"
    masks: dict[str, Callable[[], Tensor | None]] = {
        "none": lambda: None, "look-ahead": lambda: ahead(T), "random": lambda: seen(name, B, T, T),
    }  # fmt: skip
    return encoder_case(
        name, B=B, T=T, M=H * E, H=H, F=F, activation=activation, norm_first=first, eps=0.01, mask=masks[kind]()
    )


@st.composite
def decoder_layers(draw: st.DrawFn) -> Case:
    """Decoder layers of any small sizes, norm placement and masks."""
    B, T, S, H = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    E, first, Ms = draw(st.integers(1, 4)), draw(st.booleans()), draw(st.sampled_from([0, 3]))
    hides = draw(st.booleans())
    name = f"drawn B{B} T{T} S{S} H{H} E{E} memory {Ms} {'pre' if first else 'post'}-norm masks {hides}"
    masks = {"self_mask": ahead(T), "memory_mask": seen(name, B, 1, S)} if hides else {}
    return decoder_case(name, B=B, T=T, S=S, M=H * E, Ms=Ms, H=H, norm_first=first, eps=0.01, **masks)


drawn_encoders = [Drawn(encoder_layer, encoder_layers(), dtypes=WIDE, draws=6)]
drawn_decoders = [Drawn(decoder_layer, decoder_layers(), dtypes=WIDE, draws=6)]

# --- Groups for properties --------------------------------------------------------------------------------------------

causal = [
    encoders[2], epsilon[2], encoder_sizes[9], *decoders[:2], *decoders[4:7], decoder_sizes[0], decoder_sizes[3],
]  # fmt: skip
with_hidden_keys = [
    *(encoder_masks[place] for place in (0, 3, 4)), encoders[3], *decoders[4:6], memory_masks[0], memory_masks[4],
    memory_masks[7], memory_masks[9], self_masks[0], self_masks[3],
]  # fmt: skip
cross = [*decoders[:6], *memory_widths, memory_masks[1], memory_masks[3], decoder_sizes[1]]
in_batches = [
    *encoders,
    encoder_masks[5],
    encoder_masks[7],
    *decoders[:6],
    memory_masks[3],
    memory_masks[7],
    self_masks[4],
]
unmasked = [*encoders[:2], encoder_sizes[4]]
every_call = [encoders[0], encoders[3], *decoders[4:6]]
differentiable = [
    *encoders[:3], encoder_masks[6], epsilon[1], *activations[:3],
    *decoders[:2], decoders[4], decoders[5], *memory_widths, memory_masks[3],
]  # fmt: skip

# --- Changes that properties make -------------------------------------------------------------------------------------


def with_another_future(case: Case) -> tuple[Case, Tensor]:
    """Other tokens from the middle on, and where in the result they may not show."""
    x, *memory = case.tensors
    later = (torch.arange(x.shape[1]) >= (x.shape[1] + 1) // 2).unsqueeze(-1)
    return case.changed("another future", (torch.where(later, _other(x), x), *memory)), ~later


def with_other_content_where_hidden(case: Case) -> tuple[Case, Tensor]:
    """Other tokens, far from the ordinary, where no other query may attend to them; where in the result they may not show.

    A token that is hidden from others is still its own residual, so its own row of the result may change.
    """
    x, *memory = case.tensors
    mask = case.options.get("mask", case.options.get("self_mask"))
    square = (len(x), x.shape[1], x.shape[1])
    hidden = torch.zeros(square[:2], dtype=torch.bool) if mask is None else ~mask.broadcast_to(square).any(1)
    tensors = [torch.where(hidden.unsqueeze(-1), _other(x), x)]
    if memory and "memory_mask" in case.options:
        shown = case.options["memory_mask"].broadcast_to(len(x), x.shape[1], memory[0].shape[1]).any(1)
        memory = [torch.where(shown.unsqueeze(-1), memory[0], _other(memory[0]))]
    return case.changed("other content where hidden", (*tensors, *memory)), ~hidden.unsqueeze(-1)


def with_memory_reordered(case: Case) -> Case:
    """The positions of the memory in reverse order, and those of its mask with them."""
    x, memory = case.tensors
    mask = case.options.get("memory_mask")
    more = {} if mask is None else {"memory_mask": mask.flip(-1)}
    return case.changed("memory reordered", (x, memory.flip(1)), **more)


def with_tokens_reordered(case: Case) -> Case:
    """The tokens in reverse order."""
    return case.changed("tokens reordered", (case.tensors[0].flip(1),))


def last_of_the_batch(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last batch item alone, with its own masks, and how to pick it out of the result of all."""
    count = len(case.tensors[0])
    options = {
        name: value[-1:] for name, value in case.options.items()
        if isinstance(value, Tensor) and value.dim() == 3 and len(value) == count
    }  # fmt: skip
    return case.changed("last alone", tuple(x[-1:] for x in case.tensors), **options), lambda x: x[-1:]


def with_other_numbers(case: Case) -> Case:
    """A call of the same shapes with other tensors and weights."""
    weights = {name: value.flip(-1) * 0.75 for name, value in (case.weights or {}).items()}
    return case.changed("other numbers", tuple(x.flip(-1) - 0.5 for x in case.tensors), weights)


def _other(x: Tensor) -> Tensor:
    return (-x.flip(0) - HIDDEN).to(x.dtype)
