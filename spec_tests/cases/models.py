"""What the inputs of layers and models have in common: weights that can be told apart, token ids, and changes to both.

Weights are drawn from N(0, 0.3) with biases and gains of their own: initialisers of 0.02, zero biases and gains of one
make every softmax uniform and hide what is wired wrongly.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from transpec.cases import WIDE, Case, integers, normal

MODEL_DTYPES = (*WIDE, "bfloat16")
SIZE = 0.3  # of a weight

Weights = dict[str, Tensor]


def matrix(name: str, *shape: int, size: float = SIZE) -> Tensor:
    """Numbers of a weight, told by its name."""
    return normal(name, *shape) * size


def norm(name: str, width: int, *, bias: bool = True) -> Weights:
    """A gain about one and a bias about zero, each entry its own."""
    gain = {"gain": 1 + matrix(f"{name} gain", width)}
    return gain | {"bias": matrix(f"{name} bias", width)} if bias else gain


def attention_weights(name: str, M: int, *, HE: int = 0, memory: int = 0, biases: str = "qkvo") -> Weights:
    """Projections from M (keys and values from `memory`) to HE columns and back, with the biases that are named."""
    inner, read = HE or M, memory or M
    shapes = {"q": (M, inner), "k": (read, inner), "v": (read, inner), "o": (inner, M)}
    made = {f"w_{which}": matrix(f"{name} w_{which}", *shape) for which, shape in shapes.items()}
    return made | {f"b_{which}": matrix(f"{name} b_{which}", shapes[which][1]) for which in biases}


def feed_forward_weights(name: str, M: int, F: int) -> Weights:
    """Both linear layers and their biases."""
    return {
        "w_1": matrix(f"{name} w_1", M, F), "b_1": matrix(f"{name} b_1", F),
        "w_2": matrix(f"{name} w_2", F, M), "b_2": matrix(f"{name} b_2", M),
    }  # fmt: skip


def encoder_layer_weights(name: str, M: int, F: int) -> Weights:
    """Those of `encoder_layer`."""
    return nested(
        self_attention=attention_weights(f"{name} self", M), self_attention_norm=norm(f"{name} self", M),
        feed_forward=feed_forward_weights(name, M, F), feed_forward_norm=norm(f"{name} feed", M),
    )  # fmt: skip


def decoder_layer_weights(name: str, M: int, F: int, *, memory: int = 0) -> Weights:
    """Those of `decoder_layer`, over a memory of the width `memory`, which is M where not given."""
    cross = attention_weights(f"{name} cross", M, memory=memory)
    return encoder_layer_weights(name, M, F) | nested(cross_attention=cross, cross_attention_norm=norm(f"{name} c", M))


def nested(**parts: Weights) -> Weights:
    """One flat dict, every name behind that of its part and a dot."""
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}


def stacked(made: list[Weights]) -> Weights:
    """The weights of layer i under `layers.i.`."""
    return {f"layers.{i}.{key}": value for i, layer in enumerate(made) for key, value in layer.items()}


def token_ids(name: str, vocabulary: int, *shape: int) -> Tensor:
    """Token ids; every sequence holds several different ones."""
    return integers(f"{name} ids", vocabulary, *shape)


def real(*lengths: int, width: int, side: str = "right") -> Tensor:
    """True at the tokens of sequences of these lengths, False at their padding up to `width`, (B, width)."""
    place, counts = torch.arange(width), torch.tensor(lengths).unsqueeze(-1)
    return place < counts if side == "right" else place >= width - counts


# --- Changes that properties make -------------------------------------------------------------------------------------


def with_other_ids_where(case: Case, name: str, where: Tensor, vocabulary: int, place: int = 0) -> Case:
    """Other token ids where `where` is True, in the tensor at `place`."""
    ids = case.tensors[place]
    other = torch.where(where, (ids + 1 + torch.arange(ids.shape[-1])).remainder(vocabulary), ids)
    return case.changed(name, (*case.tensors[:place], other, *case.tensors[place + 1 :]))


def first_sequence(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The first sequence of the batch alone, and how to pick it out of the result of all."""
    options = {name: value[:1] if isinstance(value, Tensor) else value for name, value in case.options.items()}
    return case.changed("alone", tuple(x[:1] for x in case.tensors), **options), lambda result: result[:1]


def with_vocabulary_permuted(case: Case, tables: tuple[str, ...], tensors: int = 1) -> tuple[Case, Tensor]:
    """The rows of the named tables in another order, and the ids in the first `tensors` tensors renamed to match.

    Also the order: new id i was id `order[i]`, so logits are to be compared with `expected[..., order]`.
    """
    weights = dict(case.weights or {})
    order = torch.arange(weights[tables[0]].shape[0]).flip(0).roll(3)
    for table in tables:
        weights[table] = weights[table][order]
    renamed = tuple(order.argsort()[ids] for ids in case.tensors[:tensors])
    return case.changed("vocabulary permuted", (*renamed, *case.tensors[tensors:]), weights), order


def in_model_dtypes(cases: list[Case]) -> list[Case]:
    """The same cases in the dtypes in which whole models are judged."""
    return [replace(case, dtypes=tuple(dtype for dtype in case.dtypes if dtype in MODEL_DTYPES)) for case in cases]


def transposed_weights(case: Case) -> Case:
    """Every matrix among the weights transposed in memory, as one loaded from a framework that stores (out, in)."""
    weights = {
        name: value.mT.contiguous().mT if value.dim() > 1 else value for name, value in (case.weights or {}).items()
    }
    return replace(case.changed("matrices transposed in memory", weights=weights), numbers_of=case)


# --- Changed weights --------------------------------------------------------------------------------------------------


def steep(case: Case, name: str = "scores of 100 000") -> Case:
    """Queries and keys of 300 times the size: a finite number for what is hidden is not below all that is visible."""
    large = ("attention.w_q", "attention.w_k")
    weights = {key: value * 300 if key.endswith(large) else value for key, value in (case.weights or {}).items()}
    return case.changed(name, weights=weights)


def with_silent_sublayers(case: Case) -> Case:
    """Sublayers that give zero, so that what is left is embeddings and norms."""
    last = ("self_attention.w_o", "self_attention.b_o", "feed_forward.w_2", "feed_forward.b_2")
    weights = {
        name: torch.zeros_like(value) if name.endswith(last) else value for name, value in (case.weights or {}).items()
    }
    return case.changed("sublayers of zero", weights=weights)


def far_from_zero(case: Case, offset: float = 300.0) -> Case:
    """Embeddings whose mean is large beside what they differ by: a variance that is a difference of squares is lost."""
    name = "embeddings.position"
    weights = dict(case.weights or {})
    return case.changed("far from zero", weights=weights | {name: weights[name] + offset})


def with_other_ids_and_weights(case: Case) -> Case:
    """A call of the same shapes, options and all, with other ids and weights."""
    ids, V = case.tensors[0], case.config.vocab_size
    weights = {name: value.flip(-1) * 0.75 for name, value in (case.weights or {}).items()}
    return case.changed("other numbers", ((ids + 5).remainder(V),), weights)


def asked_at(tokens: Callable[[Case], Tensor | None], *cases: Case) -> list[Case]:
    """Cases whose gradients are those of the result at tokens: what stands at padding is open, and nobody's loss."""
    return [replace(case, dtypes=WIDE, where=tokens(case)) for case in cases]


# Where tokens stand in more sequences, and in longer ones, than fit into blocks, chunks or fixed tables; no block of
# sequences is padded as another is.
PADDED_19 = real(4, 2, 3, 1, 4, 4, 1, 2, 3, 3, 1, 4, 2, 2, 4, 1, 3, 4, 2, width=4)
HIDDEN_OF_140 = torch.arange(140).remainder(7) != 2
