"""Inputs for objectives. Numbers of sequences, tokens and words differ, and so do numbers of labels in each sequence."""

from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import EVERY_DTYPE, EXACT, WIDE, Case, Drawn, integers, layouts, normal
from transpec.reference.objectives import (
    IGNORED,
    accumulated_loss,
    cross_entropy,
    distillation_loss,
    language_modelling_loss,
    mask_tokens,
    mask_tokens_at_random,
    masked_language_modelling_loss,
    next_sentence_loss,
    span_corruption,
    span_noise_mask,
    text_to_text,
)

BLOCK_EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)
FIRST_BEYOND_FLOAT32 = 2**24 + 1  # float32 rounds it to the integer before it
SIGMAS = 6.0  # standard deviations that chance may take a count from what is expected


def logits_of(name: str, *shape: int, size: float = 2.0) -> Tensor:
    """Logits whose probabilities are neither even nor certain."""
    return normal(f"{name} logits", *shape) * size


def some_ignored(name: str, labels: Tensor, ignore_id: int = IGNORED) -> Tensor:
    """About a third of the labels taken away, not as many in each row; the first and the last position keep theirs."""
    kept = normal(f"{name} labelled", *labels.shape) > -0.4
    kept.view(-1)[0] = kept.view(-1)[-1] = True
    return torch.where(kept, labels, ignore_id)


def _ids(*rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64)


def _shown(*lengths: int, width: int) -> Tensor:
    """An attention mask of sequences of these lengths, padded on the right."""
    return torch.arange(width) < torch.tensor(lengths).unsqueeze(-1)


# --- Cross-entropy ----------------------------------------------------------------------------------------------------


def entropy(name: str, *shape: int, ignored: bool = False, size: float = 2.0, **fields: object) -> Case:
    """A call of cross_entropy on logits of this shape; options beside `ignore_id` and `label_smoothing` are fields."""
    options = {key: fields.pop(key) for key in ("ignore_id", "label_smoothing") if key in fields}
    labels = integers(f"{name} labels", shape[-1], *shape[:-1])
    labels = some_ignored(name, labels, options.get("ignore_id", IGNORED)) if ignored else labels
    return Case(cross_entropy, name, (logits_of(name, *shape, size=size), labels), None, options, **fields)


def _given(name: str, logits: list[list[float]], labels: list[int], **options: object) -> Case:
    return Case(cross_entropy, name, (torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)), None, options)


by_hand = [
    _given("ln 4: one word in four", [[0.0, 0.0, 0.0, 0.0]], [2]),
    _given("odds of two to one against", [[0.6931471805599453, 0.0]], [1]),
    _given("ln 2 and ln 3, their mean", [[0.0, 0.0, -40.0], [0.0, 0.0, 0.0]], [0, 2]),
]
generic = [
    entropy("generic", 3, 5, 7),
    entropy("more words than positions", 2, 3, 23),
    entropy("more positions than words", 3, 11, 4),
    entropy("as many sequences as tokens as words", 5, 5, 5),
    entropy("as many tokens as words", 3, 7, 7),
    entropy("one sequence", 1, 5, 7),
    entropy("sequences of one token", 4, 1, 7),
    entropy("two words", 3, 5, 2),
    entropy("rows that are not of one scale", 4, 6, 7, size=4.0),
]
leading_axes = [
    entropy("one row", 1, 7),
    entropy("no leading axes", 7),
    entropy("one leading axis", 6, 7),
    entropy("three leading axes", 2, 3, 4, 5),
]
ignoring = [
    entropy("some ignored", 3, 5, 7, ignored=True),
    entropy("some ignored in one leading axis", 11, 7, ignored=True),
    _given("one of three labelled", [[0.0, 2.0], [5.0, 0.0], [3.0, -1.0]], [IGNORED, 1, IGNORED]),
    Case(
        cross_entropy,
        "every row with another number of labels",
        (
            logits_of("numbers", 4, 5, 6),
            torch.where(_shown(1, 5, 0, 3, width=5), integers("numbers", 6, 4, 5), IGNORED),
        ),
    ),
    Case(
        cross_entropy,
        "a long row and a short one",
        (
            logits_of("long", 2, 29, 7) * torch.tensor([0.2, 3.0], dtype=torch.float64).view(2, 1, 1),
            torch.where(_shown(29, 2, width=29), integers("long", 7, 2, 29), IGNORED),
        ),
    ),
]
ignore_ids = [
    entropy("ignore id 0", 3, 5, 7, ignored=True, ignore_id=0),
    entropy("ignore id -1", 3, 5, 7, ignored=True, ignore_id=-1),
    entropy("ignore id among the words", 3, 5, 7, ignored=True, ignore_id=3),
    entropy("ignore id the last word", 3, 5, 7, ignored=True, ignore_id=6),
    entropy("ignore id beyond the words", 3, 5, 7, ignored=True, ignore_id=7),
    _given("words 0 and 2 around the ignored 1", [[1.0, 0.0, 3.0]] * 4, [0, 1, 2, 1], ignore_id=1),
]
smoothed = [
    entropy("smoothing 0.1", 3, 5, 7, label_smoothing=0.1, dtypes=WIDE),
    entropy("smoothing 0.5", 3, 5, 7, label_smoothing=0.5, size=4.0),
    entropy("smoothing 1, labels without a say", 2, 5, 4, label_smoothing=1.0, size=4.0),
    entropy("smoothing 0.1, some ignored", 4, 5, 3, ignored=True, label_smoothing=0.1, dtypes=WIDE),
    entropy("smoothing 0.3, ignore id 0", 4, 5, 6, ignored=True, label_smoothing=0.3, ignore_id=0, size=4.0),
    entropy("smoothing 0.2, two words", 3, 5, 2, label_smoothing=0.2, size=4.0, dtypes=WIDE),
    entropy("smoothing 0.1, 37 words", 3, 5, 37, label_smoothing=0.1, dtypes=WIDE),
    _given("smoothing 0.25 by hand", [[2.0, 0.0, 0.0, -2.0]], [0], label_smoothing=0.25),
]
sizes = [
    *(entropy(f"{words} words", 2, 3, words, dtypes=WIDE) for words in (*BLOCK_EDGES, 300, 1025)),
    *(entropy(f"{tokens} positions", tokens, 5, ignored=True, dtypes=WIDE) for tokens in (*BLOCK_EDGES, 255, 256, 257)),
    entropy("2500 positions", 5, 500, 3, ignored=True, dtypes=WIDE),
    Case(
        cross_entropy,
        "words beyond 16 bits",
        (logits_of("wide", 2, 66_001), torch.tensor([40_000, 66_000])),
        dtypes=WIDE,
    ),
]
_offsets = torch.tensor([1000.0, -1000.0, 10_000.0], dtype=torch.float64).view(3, 1, 1)
stable = [
    entropy("logits of 1e4", 3, 5, 7, size=1e4, dtypes=WIDE),
    entropy("logits of 100", 1, 3, 7, size=100.0),
    Case(
        cross_entropy,
        "common offsets",
        (logits_of("offsets", 3, 5, 7) + _offsets, integers("offsets", 7, 3, 5)),
        dtypes=WIDE,
    ),
    _given("certain of the right word", [[30.0, 0.0, 0.0], [0.0, 200.0, 0.0]], [0, 1]),
    _given("certain of a wrong word", [[200.0, 0.0, 0.0], [0.0, 800.0, 1.0]], [1, 2]),
    entropy("logits of 300, smoothing 0.1", 3, 5, 7, size=300.0, label_smoothing=0.1, dtypes=WIDE),
    # What is left to the other words shows in float64 and is nothing in float32.
    _given("nearly certain of the right word", [[22.0, 0.0], [0.0, 25.0]], [0, 1]),
    _given("nearly certain of a wrong word", [[22.0, 0.0, 1.0], [0.0, 27.0, 2.0]], [1, 2]),
]  # and every other loss of logits, at the end of its section
even = [
    Case(cross_entropy, f"{words} words, all alike", (torch.full((2, 3, words), 1.5), integers(f"even {words}", words, 2, 3)))
    for words in (2, 7, 33)
]  # fmt: skip
even = [replace(case, tensors=(case.tensors[0].double(), case.tensors[1])) for case in even]
in_eighths = [
    replace(case, tensors=((case.tensors[0] * 8).round() / 8, case.tensors[1]), name=f"{case.name}, in eighths")
    for case in (generic[0], ignoring[0], smoothed[0])
]

# --- Causal language modelling ----------------------------------------------------------------------------------------


def causal(
    name: str, batch: int, length: int, words: int, mask: Tensor | None = None, size: float = 3.0, **fields: object
) -> Case:
    """A call of language_modelling_loss."""
    tensors = (logits_of(name, batch, length, words, size=size), integers(f"{name} ids", words, batch, length))
    return Case(language_modelling_loss, name, tensors, None, {"attention_mask": mask}, **fields)


def _knowing(name: str, shift: int, **fields: object) -> Case:
    """Logits that are certain of the token `shift` positions further on."""
    ids = _ids([3, 1, 4, 0, 2, 5], [2, 5, 0, 3, 1, 4])
    logits = 8.0 * torch.nn.functional.one_hot(ids.roll(-shift, -1), 6).double()
    return Case(language_modelling_loss, name, (logits, ids), **fields)


knowing = [
    _knowing("certain of the next token", 1, dtypes=WIDE),
    _knowing("certain of its own token", 0),
    _knowing("certain of the token before", -1),
    _knowing("certain of the token after the next", 2),
]
sequences = [
    causal("generic", 3, 5, 7),
    causal("one sequence", 1, 6, 7),
    causal("as many sequences as tokens as words", 5, 5, 5),
    causal("two tokens", 4, 2, 7),
    causal("one token predicted by one", 1, 2, 7),
    causal("many words", 2, 4, 300, dtypes=WIDE),
    causal("three tokens of two words", 5, 3, 2),
    causal("as many tokens predicted as words", 3, 6, 5),
    causal("many sequences", 67, 3, 5, dtypes=WIDE),
]
lengths = [causal(f"{tokens} tokens", 2, tokens, 5, dtypes=WIDE) for tokens in (*BLOCK_EDGES, 257, 513)]
padded = [
    causal("padded on the right", 3, 7, 5, _shown(7, 3, 5, width=7)),
    causal("one long sequence, others of two", 4, 9, 6, _shown(9, 2, 2, 2, width=9)),
    causal("a sequence of one token among others", 3, 6, 7, _shown(1, 6, 4, width=6)),
    causal("a sequence of padding alone among others", 3, 6, 7, _shown(5, 0, 3, width=6)),
    causal("one pad in one sequence", 2, 6, 5, _shown(6, 5, width=6)),
    causal("every sequence padded", 2, 9, 5, _shown(5, 3, width=9)),
    causal("33 tokens, padded", 3, 33, 5, _shown(33, 17, 9, width=33), dtypes=WIDE),
    causal("more padding than tokens", 2, 65, 5, _shown(3, 5, width=65), dtypes=WIDE),
]
nothing_hidden = [
    causal("nothing hidden", 3, 5, 7, torch.ones(3, 5, dtype=torch.bool)),
    causal("nothing hidden, one sequence", 1, 6, 7, torch.ones(1, 6, dtype=torch.bool)),
]
after_padding = [
    causal("padded on the left", 3, 7, 5, _shown(7, 3, 5, width=7).flip(-1)),
    causal("padded at either end", 2, 8, 5, _shown(6, 7, width=8) & _shown(5, 7, width=8).flip(-1)),
    causal("a hole", 2, 7, 6, torch.tensor([[1, 1, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 1]]).bool()),
]
stable.append(causal("logits of 100, predicted", 2, 5, 7, size=100.0, dtypes=WIDE))

# --- Masked language modelling ----------------------------------------------------------------------------------------


def masked(
    name: str, batch: int, length: int, words: int, labels: Tensor | None = None, size: float = 3.0, **fields: object
) -> Case:
    """A call of masked_language_modelling_loss with about two thirds of the positions labelled."""
    options = {key: fields.pop(key) for key in ("ignore_id",) if key in fields}
    ids = integers(f"{name} ids", words, batch, length) if labels is None else labels
    ids = some_ignored(name, ids, options.get("ignore_id", IGNORED)) if labels is None else ids
    tensors = (logits_of(name, batch, length, words, size=size), ids)
    return Case(masked_language_modelling_loss, name, tensors, None, options, **fields)


_few = torch.full((4, 9), IGNORED).index_put(
    (torch.tensor([0, 0, 1, 3]), torch.tensor([2, 8, 0, 4])), torch.tensor([5, 0, 3, 6])
)
restored = [
    masked("generic masked", 3, 5, 7),
    masked("one masked sequence", 1, 6, 7),
    masked("masked, as many sequences as tokens as words", 5, 5, 5),
    masked("few labels, one row without", 4, 9, 7, _few),
    masked("one label, at the start", 2, 3, 7, _ids([4, IGNORED, IGNORED], [IGNORED] * 3)),
    masked("one label, at the end", 2, 3, 7, _ids([IGNORED] * 3, [IGNORED, IGNORED, 6])),
    masked("every position labelled", 3, 4, 5, integers("labelled", 5, 3, 4)),
    masked("word 0 as a label", 2, 4, 5, _ids([0, IGNORED, 0, 3], [IGNORED, 0, IGNORED, IGNORED])),
    masked("masked, ignore id 0", 3, 5, 7, ignore_id=0),
    masked("masked, ignore id -1", 3, 5, 7, ignore_id=-1),
    masked("masked, ignore id among the words", 3, 5, 7, ignore_id=4),
    *(masked(f"{tokens} masked tokens", 2, tokens, 5, dtypes=WIDE) for tokens in (16, 17, 33, 65, 129, 513)),
    masked("many masked sequences", 67, 3, 5, dtypes=WIDE),
    masked("300 words, masked", 2, 9, 300, 299 - 3 * integers("300 words", 15, 2, 9), dtypes=WIDE),  # none below 257
]
stable.append(masked("logits of 100, masked", 2, 5, 7, size=100.0, dtypes=WIDE))

# --- Next sentences ---------------------------------------------------------------------------------------------------


def pairs(name: str, logits: Tensor, is_next: list[bool], **fields: object) -> Case:
    """A call of next_sentence_loss."""
    return Case(next_sentence_loss, name, (logits, torch.tensor(is_next)), **fields)


_sure = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.5, -1.0]], dtype=torch.float64)
sentences = [
    pairs("index 0 is IsNext", _sure, [True, False, True]),
    pairs("each pair taken for the other", _sure, [False, True, False]),
    pairs("one next sentence", logits_of("one next", 1, 2), [True]),
    pairs("one random sentence", torch.tensor([[1.5, -0.5]], dtype=torch.float64), [False]),
    pairs("two of two", logits_of("two of two", 2, 2), [False, True]),
    pairs("all next", logits_of("all next", 5, 2), [True] * 5),
    pairs("none next", logits_of("none next", 5, 2), [False] * 5),
    pairs("seven pairs", logits_of("seven pairs", 7, 2), [True, False, False, True, True, False, True]),
    pairs("33 pairs", logits_of("33 pairs", 33, 2), (normal("33 pairs", 33) > 0.3).tolist(), dtypes=WIDE),
    pairs("257 pairs", logits_of("257 pairs", 257, 2), (normal("257 pairs", 257) > 0.3).tolist(), dtypes=WIDE),
]
_nearly = torch.tensor([[11.0, -11.0], [-12.0, 12.0], [13.0, -13.0], [-14.0, 14.0]], dtype=torch.float64)
sentences += [
    # A loss of 1e-10 is next to nothing in the narrower dtypes.
    replace(pairs("nearly sure of what is so", _nearly, [True, False, True, False]), dtypes=("float64",)),
    pairs("nearly sure of what is not so", _nearly, [False, True, False, True]),
]
_surest = torch.tensor([[80.0, -80.0], [-80.0, 80.0], [-300.0, 300.0]], dtype=torch.float64)
stable.append(pairs("sure of what is not so", _surest, [False, True, True]))

# --- Distillation -----------------------------------------------------------------------------------------------------


def taught(
    name: str, *shape: int, temperature: float, alpha: float, sizes: tuple[float, float] = (2.0, 3.0), **fields: object
) -> Case:
    """A call of distillation_loss."""
    tensors = (
        logits_of(f"{name} student", *shape, size=sizes[0]),
        logits_of(f"{name} teacher", *shape, size=sizes[1]),
        integers(f"{name} labels", shape[-1], *shape[:-1]),
    )
    options = {"temperature": temperature, "alpha": alpha}
    return Case(distillation_loss, name, tensors, None, options, **fields)


distilled = [
    taught("generic distilled", 3, 5, 7, temperature=2.0, alpha=0.5),
    taught("temperature 1", 3, 5, 7, temperature=1.0, alpha=0.5),
    taught("temperature 4", 3, 5, 7, temperature=4.0, alpha=0.9, sizes=(4.0, 6.0)),
    taught("temperature below 1", 3, 5, 7, temperature=0.5, alpha=0.3),
    taught("soft targets alone", 3, 5, 7, temperature=2.0, alpha=1.0),
    taught("soft targets alone, temperature 1", 2, 5, 7, temperature=1.0, alpha=1.0),
    taught("labels alone", 3, 5, 7, temperature=3.0, alpha=0.0),
    taught("classes of a sentence", 6, 3, temperature=3.0, alpha=0.7, sizes=(4.0, 6.0)),
    taught("one row", 4, temperature=2.0, alpha=0.7, dtypes=WIDE),
    taught("one sequence distilled", 1, 5, 17, temperature=2.0, alpha=0.7),
    taught("distilled, all of one size", 5, 5, 5, temperature=2.0, alpha=0.7),
    taught("300 words distilled", 2, 5, 300, temperature=2.0, alpha=0.7, dtypes=WIDE),
    taught("129 tokens distilled", 129, 5, temperature=2.0, alpha=0.7, dtypes=WIDE),
]
distilled_stable = [
    taught("student and teacher at 1e3", 3, 5, 7, temperature=2.0, alpha=0.5, sizes=(1e3, 1e3), dtypes=WIDE),
    taught("a teacher that is certain", 3, 5, 7, temperature=1.0, alpha=0.5, sizes=(2.0, 3e3), dtypes=WIDE),
    # Its other words have 4e-13 each, which is seen in float64.
    replace(
        distilled[5], name="a teacher that is nearly certain of one in 300 words", dtypes=WIDE,
        tensors=(torch.zeros(1, 300).double(), -28.5 * (torch.arange(300) != 7).double().unsqueeze(0), torch.tensor([7])),
    ),
]  # fmt: skip
_soft = (distilled[0], distilled[4], distilled[5], distilled[7])
agreeing = [
    replace(case, name=f"{case.name}, student and teacher the same", tensors=(case.tensors[0], *case.tensors[0:1], case.tensors[2]),
            options={**case.options, "alpha": 1.0})
    for case in _soft
]  # fmt: skip
from_labels = [distilled[6], distilled[0].changed("alpha 0", alpha=0.0)]

# --- Accumulation -----------------------------------------------------------------------------------------------------


def accumulated(
    name: str, micro: int, batch: int, length: int, words: int, *, labels: Tensor | None = None, **fields: object
) -> Case:
    """A call of accumulated_loss; micro-batches differ in number of labels and, by their scale, in mean loss."""
    options = {key: fields.pop(key) for key in ("ignore_id",) if key in fields}
    ids = integers(f"{name} ids", words, micro, batch, length) if labels is None else labels
    ids = some_ignored(name, ids, options.get("ignore_id", IGNORED)) if labels is None else ids
    scale = 1.0 + torch.arange(micro).double().view(micro, 1, 1, 1)
    tensors = (logits_of(name, micro, batch, length, words) * scale, ids)
    return Case(accumulated_loss, name, tensors, None, options, **fields)


def _numbers(name: str, words: int, length: int, *lengths: list[int]) -> Tensor:
    """Labels of micro-batches whose sequences have these lengths."""
    shown = torch.stack([_shown(*row, width=length) for row in lengths])
    return torch.where(shown, integers(f"{name} ids", words, *shown.shape), IGNORED)


micro_batches = [
    accumulated("a long micro-batch and a short one", 2, 2, 6, 5, labels=_numbers("ls", 5, 6, [6, 5], [1, 1])),
    accumulated("generic micro-batches", 3, 2, 5, 7),
    accumulated("a micro-batch without a label", 3, 2, 4, 5, labels=_numbers("none", 5, 4, [4, 3], [0, 0], [1, 2])),
    accumulated("one micro-batch", 1, 67, 3, 7, dtypes=WIDE),
    accumulated("micro-batches of one sequence", 4, 1, 5, 7, labels=_numbers("one", 7, 5, [5], [1], [2], [4])),
    accumulated("micro-batches of one token", 5, 1, 1, 7, labels=integers("single", 7, 5, 1, 1)),
    accumulated("all axes of one size", 4, 4, 4, 4),
    accumulated("every label there", 2, 3, 2, 300, labels=integers("every", 300, 2, 3, 2), dtypes=WIDE),
    accumulated("accumulated, ignore id 0", 3, 2, 5, 7, ignore_id=0),
    accumulated("17 micro-batches", 17, 2, 3, 5, dtypes=WIDE),
    accumulated("micro-batches of 65 tokens", 2, 2, 65, 5, labels=_numbers("65", 5, 65, [65, 60], [2, 9]), dtypes=WIDE),
]
stable.append(replace(micro_batches[1], name="logits of 100, accumulated", dtypes=WIDE, tensors=(
    100 * micro_batches[1].tensors[0], micro_batches[1].tensors[1])))  # fmt: skip

# --- No label ---------------------------------------------------------------------------------------------------------

no_label = [
    Case(cross_entropy, "all ignored", (logits_of("all ignored", 2, 3, 5), torch.full((2, 3), IGNORED))),
    Case(
        cross_entropy, "all ignored, smoothing 0.1", (logits_of("all ignored s", 2, 3, 5), torch.full((2, 3), IGNORED)),
        options={"label_smoothing": 0.1},
    ),
    Case(cross_entropy, "one ignored row", (logits_of("one ignored", 1, 5), torch.full((1,), IGNORED))),
    masked("no masked token", 2, 3, 5, torch.full((2, 3), IGNORED)),
    causal("sequences of one token", 3, 1, 5),
    causal("only first tokens visible", 3, 4, 5, _shown(1, 1, 0, width=4)),
    accumulated("no label in any micro-batch", 2, 2, 3, 5, labels=torch.full((2, 2, 3), IGNORED)),
]  # fmt: skip

# --- Corruption, the draws given --------------------------------------------------------------------------------------


def uniform(name: str, *shape: int) -> Tensor:
    """Uniform numbers, none nearer than 1/2000 to a multiple of 1/1000, so that no threshold depends on a rounding."""
    return (integers(name, 1000, *shape).double() + 0.5) / 1000


def corrupted(
    name: str, batch: int, length: int, *, mask_id: int = 103, special: Tensor | None = None, **options: object
) -> Case:
    """A call of mask_tokens on tokens from 200 to 299 and random ones from 300 to 399, no two of which are confused."""
    shape = (batch, length)
    if special is None:
        special = (torch.arange(length) == 0).expand(shape).clone() | ~_shown(
            *[length - b % 3 for b in range(batch)], width=length
        )
    tensors = (
        200 + integers(f"{name} ids", 100, *shape), special, uniform(f"{name} choice", *shape),
        uniform(f"{name} replacement", *shape), 300 + integers(f"{name} random", 100, *shape),
    )  # fmt: skip
    return Case(mask_tokens, name, tensors, None, {"mask_id": mask_id, **options}, WIDE)


def _by_hand(name: str, choice: list[float], replacement: list[float], **options: object) -> Case:
    length = len(choice)
    tensors = (
        _ids(list(range(10, 10 + length))), torch.zeros(1, length, dtype=torch.bool),
        torch.tensor([choice], dtype=torch.float64), torch.tensor([replacement], dtype=torch.float64),
        _ids(list(range(50, 50 + length))),
    )  # fmt: skip
    return Case(mask_tokens, name, tensors, None, {"mask_id": 4, **options}, WIDE)


_all = torch.ones(2, 7, dtype=torch.bool)
corruptions = [
    _by_hand(
        "masked, random, kept, not chosen",
        [0.05, 0.1, 0.14, 0.16, 0.9, 0.01, 0.149, 0.151],
        [0.5, 0.85, 0.95, 0.5, 0.85, 0.79, 0.899, 0.1],
    ),
    _by_hand("around 0.8 and 0.9", [0.1] * 8, [0.0, 0.4, 0.79, 0.81, 0.85, 0.89, 0.91, 0.99]),
    _by_hand("around 0.15", [0.0, 0.05, 0.14, 0.16, 0.2, 0.5, 0.85, 0.99], [0.3] * 8),
    corrupted("generic corruption", 3, 17),
    corrupted("half of the tokens", 4, 17, probability=0.5),
    corrupted("every token", 3, 11, probability=1.0),
    corrupted("five sequences of five", 5, 5, probability=0.6),
    corrupted("one long sequence", 1, 129),
    corrupted("sequences of one token", 67, 1, probability=0.7, special=torch.zeros(67, 1, dtype=torch.bool)),
    corrupted("nothing special", 3, 11, probability=0.5, special=torch.zeros(3, 11, dtype=torch.bool)),
    corrupted("ignore id 0", 3, 17, probability=0.5, ignore_id=0),
    corrupted("ignore id -1", 3, 17, probability=0.5, ignore_id=-1),
    corrupted("another mask id", 3, 17, probability=0.5, mask_id=7),
    corrupted("mask id 0", 3, 17, probability=0.5, mask_id=0),
]
_large = corrupted("large", 2, 9, probability=0.9, special=torch.zeros(2, 9, dtype=torch.bool))
corruptions += [
    replace(_large, name="ids that float32 cannot hold", tensors=(
        _large.tensors[0] * 2 + FIRST_BEYOND_FLOAT32, *_large.tensors[1:4], _large.tensors[4] * 2 + FIRST_BEYOND_FLOAT32
    )),
    replace(_large, name="ids beyond 16 bits", tensors=(
        _large.tensors[0] + 70_000, *_large.tensors[1:4], _large.tensors[4] + 131_072
    )),
    replace(_large, name="token 0 and tokens that are the mask already", tensors=(
        _large.tensors[0] % 3 * 51 + _large.tensors[0] % 2, *_large.tensors[1:]
    ), options={**_large.options, "mask_id": 51}),
    replace(_large, name="ignore id among the tokens", tensors=(
        _large.tensors[0] % 3 + 200, *_large.tensors[1:]
    ), options={**_large.options, "ignore_id": 201}),
    replace(_large, name="ignore id among the random words", tensors=(
        *_large.tensors[:4], _large.tensors[4] % 3 + 300
    ), options={**_large.options, "ignore_id": 301}),
    replace(_large, name="ignore id the mask id", options={**_large.options, "ignore_id": 103}),
]  # fmt: skip
specials = [
    corrupted("all special", 2, 7, probability=0.9, special=_all),
    corrupted("every second special", 3, 8, probability=0.9, special=(torch.arange(8) % 2 == 0).expand(3, 8).clone()),
    corrupted("special at the end", 2, 9, probability=0.9, special=~_shown(6, 4, width=9)),
    corrupted("special at the start", 2, 9, probability=0.9, special=_shown(3, 5, width=9)),
]
thresholds = [
    _by_hand("a choice of exactly the probability", [0.25, 0.125, 0.5, 0.25], [0.1, 0.85, 0.1, 0.95], probability=0.25),
    _by_hand("a probability of 0", [0.0, 0.5, 0.0, 0.25], [0.0, 0.0, 0.85, 0.95], probability=0.0),
]

# --- Corruption, the draws of the implementation's own ----------------------------------------------------------------


def at_random(
    name: str, batch: int, length: int, vocab_size: int, *, seed: int, special: Tensor | None = None, **options: object
) -> Case:
    """A call of mask_tokens_at_random. The tokens, of the lower half of the vocabulary alone, are never the mask."""
    ids = integers(f"{name} ids", vocab_size // 2, batch, length)
    mask_id = vocab_size // 2
    if special is None:  # one at either end, of so many that it does not matter of what the probability is one
        special = ((torch.arange(length) == 0) | (torch.arange(length) == length - 1)).expand(batch, length).clone()
    given = {"mask_id": mask_id, "vocab_size": vocab_size, "seed": seed, **options}
    return Case(mask_tokens_at_random, name, (ids, special), None, given)


many_draws = [
    at_random("200 sequences of 1000", 200, 1000, 1009, seed=0),
    at_random(
        "nothing special, a probability of 0.9", 250, 800, 53, seed=7, probability=0.9,
        special=torch.zeros(250, 800, dtype=torch.bool),
    ),
    at_random("a vocabulary of 4, a probability of 0.9", 200, 1000, 4, seed=12_345, probability=0.9),
    at_random("one sequence of 100 000", 1, 100_000, 53, seed=3, ignore_id=-1),
    at_random("the last seed but one", 200, 1000, 53, seed=2**31 - 2, probability=0.9),
    at_random("a vocabulary of 250 002", 200, 1000, 250_002, seed=11, probability=0.9),
    at_random("a probability of 1 / 64", 200, 1024, 53, seed=99_999_999, probability=1 / 64),
]  # fmt: skip
few_draws = [
    at_random("a few tokens", 2, 9, 53, seed=1, probability=0.6),
    at_random("a few tokens, ignore id -7", 3, 8, 31, seed=2, probability=0.6, ignore_id=-7),
    at_random("half of them special", 5, 40, 101, seed=3, special=_shown(20, 35, 1, 40, 12, width=40), probability=0.6),
    at_random("all of them special", 3, 40, 101, seed=3, special=_shown(40, 40, 40, width=40), probability=0.6),
    at_random("every token chosen", 3, 40, 101, seed=4, special=_shown(0, 1, 2, width=40), probability=1.0),
    at_random("the smallest vocabulary", 40, 50, 4, seed=5, probability=0.9),
]


def rates(case: Case, result: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How often tokens are chosen, and the chosen masked, changed and kept; what is expected; what chance may do."""
    (ids, special), (inputs, labels), options = case.tensors, result, case.options
    p, V = options.get("probability", 0.15), options["vocab_size"]
    chosen = labels != options.get("ignore_id", IGNORED)
    hidden, same = chosen & (inputs == options["mask_id"]), chosen & (inputs == ids)
    free, count = (~special).sum(), chosen.sum().clamp_min(1)
    found = torch.stack((chosen.sum() / free, *(x.sum() / count for x in (hidden, chosen & ~hidden & ~same, same))))
    # A random token is the mask or the original one time in V each.
    expected = torch.tensor([p, 0.8 + 0.1 / V, 0.1 - 0.2 / V, 0.1 + 0.1 / V], dtype=torch.float64)
    counts = torch.stack((free, *[p * free] * 3)).double()
    return found.double(), expected, SIGMAS * (expected * (1 - expected) / counts).sqrt()


def violations(case: Case, result: Tensor) -> Tensor:
    """How many special positions are chosen, labels are not the token, inputs are changed unchosen, ids are no words."""
    (ids, special), (inputs, labels) = case.tensors, result
    chosen = labels != case.options.get("ignore_id", IGNORED)
    wrong = (chosen & special, chosen & (labels != ids), ~chosen & (inputs != ids))
    outside = (inputs < 0) | (inputs >= case.options["vocab_size"])
    return torch.stack([each.sum() for each in (*wrong, outside)])


def _chances_of_words(case: Case) -> Tensor:
    """How likely each word is to be what a token is seen to be changed to; no token is changed to itself or the mask."""
    ids, V = case.tensors[0], case.options["vocab_size"]
    weight = 1 - torch.bincount(ids.flatten(), minlength=V).double() / ids.numel()
    weight[case.options["mask_id"]] = 0.0
    return weight / weight.sum()


def random_words(case: Case, result: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How often each word, or group of neighbouring words, replaces a token; what is expected; what chance may do."""
    (ids, special), (inputs, labels), V = case.tensors, result, case.options["vocab_size"]
    changed = (labels != case.options.get("ignore_id", IGNORED)) & (inputs != ids) & (inputs != case.options["mask_id"])
    group = torch.arange(V) // -(-V // 53)
    found = torch.bincount(group[inputs[changed].clamp(0, V - 1)], minlength=int(group[-1]) + 1).double()
    number = 0.1 * (1 - 2 / V) * case.options.get("probability", 0.15) * (~special).sum()
    expected = torch.zeros_like(found).index_add(0, group, _chances_of_words(case) * number)
    return found, expected, SIGMAS * expected.clamp_min(1).sqrt()


def dependence(case: Case, result: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How often what is drawn agrees between neighbours, and how much counts vary; as chance has it; what it may do.

    Fewer differences between rows than of chance are no fault: exactly 15 % of every sequence may be chosen.
    """
    (ids, special), (inputs, labels) = case.tensors, result
    p, V = case.options.get("probability", 0.15), case.options["vocab_size"]
    chosen = labels != case.options.get("ignore_id", IGNORED)
    inner = chosen[:, ~special.any(0)].double()
    both, rows = inner[:, 1:] * inner[:, :-1], inner[1:] * inner[:-1]
    fate, word = (inputs == case.options["mask_id"])[chosen].double(), inputs[chosen & (inputs != ids)]
    word, same = word[word != case.options["mask_id"]], float(_chances_of_words(case).square().sum())
    pairs = [
        (both, p**2), (rows, p**2), (fate[1:] * fate[:-1], (0.8 + 0.1 / V) ** 2),
        ((word[1:] == word[:-1]).double(), same), ((word[2:] == word[:-2]).double(), same),
    ]  # fmt: skip
    pairs = [pair for pair in pairs if pair[0] is not rows or len(inner) > 1]
    found = [each.sum() / max(each.numel(), 1) for each, _ in pairs]
    expected = [chance for _, chance in pairs]
    # Neighbouring pairs share a member, which makes the variance of their number up to three times as large.
    allowed = [SIGMAS * (3 * chance * (1 - chance) / max(each.numel(), 1)) ** 0.5 for each, chance in pairs]
    spreads = [
        ((inner.sum(axis) - p * inner.shape[axis]).square() / (p * (1 - p) * inner.shape[axis])).mean().clamp_min(1)
        for axis in (0, 1)
    ]
    counts = (inner.shape[1], inner.shape[0])
    # Of one row a deviation is what its rate says already.
    known = [(s, n) for s, n in zip(spreads, counts, strict=True) if n > 9 and min(inner.shape) > 9]
    found += [s for s, _ in known]
    expected += [1.0 for _ in known]
    allowed += [SIGMAS * (2 / n) ** 0.5 for _, n in known]
    return torch.stack([f.double() for f in found]), torch.tensor(expected).double(), torch.tensor(allowed).double()


def agreement(case: Case, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How often two seeds choose the same position, of a sequence and of the next one; chance's number; what it may do."""
    p, ignore_id = case.options.get("probability", 0.15), case.options.get("ignore_id", IGNORED)
    free = ~case.tensors[1].any(0)
    chosen, again = ((labels != ignore_id)[:, free] for labels in (first[1], second[1]))
    pairs = [chosen & again, *([chosen[1:] & again[:-1], again[1:] & chosen[:-1]] if len(chosen) > 1 else [])]
    found, counts = (
        torch.stack([of(pair) for pair in pairs])
        for of in (
            lambda pair: pair.double().mean(),
            lambda pair: torch.tensor(float(pair.numel()), dtype=torch.float64),
        )
    )
    chance = torch.full_like(found, p**2)
    return found, chance, SIGMAS * (2 * chance * (1 - chance) / counts).sqrt()


# --- Span corruption --------------------------------------------------------------------------------------------------


def spans(
    name: str, noise: str, *, first_sentinel_id: int = 32_099, eos_id: int = 1, ids: Tensor | None = None
) -> Case:
    """A call of span_corruption; x is noise, and no two tokens are the same."""
    given = torch.tensor([mark == "x" for mark in noise], dtype=torch.bool)
    ids = 100 + torch.arange(len(noise)) if ids is None else ids
    return Case(span_corruption, name, (ids, given), None, {"first_sentinel_id": first_sentinel_id, "eos_id": eos_id})


between = [
    spans("figure 2: for inviting, last", "..xx....x.."),
    spans("one span of one token", "..x."),
    spans("one span of three tokens", ".xxx.."),
    spans("spans of 1, 2, 3 and 4", ".x..xx.xxx...xxxx."),
    spans("spans one token apart", ".x.x.x.x."),
    spans("five tokens apart", "...x.....x...."),
    spans("no noise", "......"),
    spans("one token, no noise", "."),
    spans("one kept token at either end", ".xxxxxxx."),
    spans("twelve spans", ".x." * 12),
    spans("131 spans", ".xx." * 131),
    spans("a long text", "." * 40 + "xxx" + "." * 84 + "xx" + "."),
    spans("other sentinels", "..xx....x..", first_sentinel_id=50, eos_id=7),
    spans("end of sequence 0", "..xx....x..", first_sentinel_id=900, eos_id=0),
    spans("tokens that are all the same", ".x..xx..", ids=torch.full((8,), 5)),
    spans("token 0, and ends of sentences in the text", ".x..xx..", ids=torch.tensor([0, 0, 1, 5, 1, 0, 5, 1])),
    spans("ids that float32 cannot hold", ".x..xx..", ids=FIRST_BEYOND_FLOAT32 + 2 * torch.arange(8)),
    spans("sentinels beyond 16 bits", ".x..xx..", first_sentinel_id=250_099),
    spans("sentinels down to 0", "..xx....x..", first_sentinel_id=2, eos_id=7),
]
noise_at_the_end = [
    spans("noise at the end", "..xx...xxx"),
    spans("the last token is noise", "..xx...x"),
    spans("one span, at the end", "....xx"),
    spans("as T5 draws it", ".x...xxx..xx......xxxx"),
]
noise_at_the_start = [
    spans("noise at the start", "xx...x.."),
    spans("the first token is noise", "x..xx..."),
    spans("one span, at the start", "xxx..."),
]
noise_at_both_ends = [
    spans("noise at both ends", "xx...xx"),
    spans("noise alone", "xxxxx"),
    spans("one token, of noise", "x"),
    spans("every second token, both ends", "x.x.x"),
]


def counted(case: Case, rows: Tensor) -> tuple[Tensor, Tensor]:
    """How often each token is in the input and in the target; how often it should be."""
    ids, noise = case.tensors
    words = ids.unique()
    found = (rows.unsqueeze(-1) == words).sum(-2)  # 2 words
    kept, lost = (ids[where].unsqueeze(-1) == words for where in (~noise, noise))
    return found, torch.stack((kept.sum(0), lost.sum(0)))


def sentinels(case: Case, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Which sentinels are in the input, in order, then those in the target; which should be. Others are -1."""
    first, noise = case.options["first_sentinel_id"], case.tensors[1]
    starts = noise & ~torch.nn.functional.pad(noise[:-1], (1, 0))
    count, width = int(starts.sum()), len(noise)
    down = first - torch.arange(width + 3)
    expected = torch.stack([torch.where(torch.arange(width + 3) < n, down, -1) for n in (count, count + 1)])
    is_sentinel = (rows <= first) & (rows > first - width - 3)
    order = torch.argsort((~is_sentinel).long(), dim=-1, stable=True)
    return torch.where(is_sentinel, rows, -1).gather(-1, order), expected


# --- The noise mask ---------------------------------------------------------------------------------------------------


def noise_mask(name: str, length: int, *, seed: int, **options: float) -> Case:
    """A call of span_noise_mask."""
    return Case(span_noise_mask, name, (length,), None, {"seed": seed, **options})


# No product of a length and a density, nor a quotient, is so near a half that it depends on how halves are rounded.
noise_masks = [
    *(noise_mask(f"{length} tokens", length, seed=length) for length in (2, 3, 5, 17, 20, 27, 64, 100, 109, 114, 257, 512, 1000)),
    noise_mask("a density of 0.5", 101 - 1, seed=1, density=0.5),
    noise_mask("a density of 0.25, spans of 2.5", 40, seed=2, density=0.25, mean_span=2.5),
    noise_mask("a density of 0.3, spans of 10", 512, seed=3, density=0.3, mean_span=10.0),
    noise_mask("a density of 0.01", 60, seed=4, density=0.01),
    noise_mask("spans of 1", 200, seed=5, mean_span=1.0),
    noise_mask("one span, for they are long", 60, seed=6, mean_span=50.0),
    noise_mask("a density of 0.9, spans of 20", 200, seed=7, density=0.9, mean_span=20.0),
]  # fmt: skip
long_masks = [
    noise_mask("300 017 tokens", 300_017, seed=1),
    # As many tokens are noise as are kept: one draw that cuts both of them cuts them alike.
    noise_mask("400 010 tokens, a density of 0.5, spans of 5", 400_010, seed=0, density=0.5, mean_span=5.0),
    noise_mask("300 017 tokens, another seed", 300_017, seed=987_654),
    noise_mask("300 017 tokens, the last seed", 300_017, seed=2**31 - 1),
]


def tally(case: Case, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Number of noise tokens, number of spans, whether the first token is noise and whether the last is; as it should be."""
    length, options = case.tensors[0], case.options
    count = min(max(round(length * options.get("density", 0.15)), 1), length - 1)
    number = max(round(count / options.get("mean_span", 3.0)), 1)
    begun = mask & ~torch.nn.functional.pad(mask[:-1], (1, 0))
    found = torch.stack((mask.sum(), begun.sum(), mask[0].long(), mask[-1].long()))
    return found, torch.tensor([count, number, 0, 1])


def lengths_of_runs(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The lengths of the runs of noise and of those of kept tokens, in order."""
    values, counts = torch.unique_consecutive(mask, return_counts=True)
    return counts[values], counts[~values]


def shares_of_lengths(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many runs have one token, two, and one next to one; how many would where all cuts are as likely; allowed."""
    found, expected, allowed = [], [], []
    for runs in lengths_of_runs(mask):
        n, k = int(runs.sum()), len(runs)
        one = (k - 1) / max(n - 1, 1)
        chances = (one, one * (n - k) / max(n - 2, 1), one * (k - 2) / max(n - 2, 1))
        ones = runs == 1
        found += [ones.sum(), (runs == 2).sum(), (ones[1:] & ones[:-1]).sum()]
        expected += [k * chance for chance in chances]
        allowed += [SIGMAS * (factor * k * c * (1 - c)) ** 0.5 for factor, c in zip((1, 1, 3), chances, strict=True)]
    return torch.stack(found).double(), torch.tensor(expected).double(), torch.tensor(allowed).double()


def overlap(case: Case, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How often a token is noise under two seeds; how often chance would have it; what it may do, runs considered."""
    share = (first & second).sum() / len(first)
    chance = (first.double().mean() * second.double().mean()).double()
    mean_span = case.options.get("mean_span", 3.0)
    return share.double(), chance, SIGMAS * (2 * mean_span * chance * (1 - chance) / len(first)).sqrt()


def likeness(noise: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The correlation of the lengths of spans with those of the gaps; none; what chance may do."""
    spans, gaps = lengths_of_runs(noise)[0], lengths_of_runs(kept)[1]
    both = min(len(spans), len(gaps))  # as many of either, but in a wrong mask
    together = torch.stack((spans[:both], gaps[:both])).double()
    return together.corrcoef()[0, 1], torch.zeros(()).double(), torch.tensor(SIGMAS / max(both, 1) ** 0.5).double()


# --- Text to text -----------------------------------------------------------------------------------------------------


def tasks(
    name: str, prefix: int | list[int], *lengths: int, length: int, width: int = 0, pad_id: int = 0, eos_id: int = 1,
    ids: list[list[int]] | None = None, first: int = 100,
) -> Case:  # fmt: skip
    """A call of text_to_text on texts of these lengths, or of these ids; else no two tokens are the same, from `first` on."""
    before = _ids(prefix).squeeze(0) if isinstance(prefix, list) else first + torch.arange(prefix)
    starts = [first + len(before) + sum(lengths[:row]) for row in range(len(lengths))]
    texts = [list(range(start, start + n)) for start, n in zip(starts, lengths, strict=True)] if ids is None else ids
    width = width or max(map(len, texts))
    padded = _ids(*(text + [pad_id] * (width - len(text)) for text in texts))
    options = {"pad_id": pad_id, "eos_id": eos_id, "length": length}
    return Case(text_to_text, name, (before, padded), None, options)


with_room = [
    tasks("a prefix of three, texts of 4, 2 and 5", 3, 4, 2, 5, length=12),
    tasks("one text", 2, 3, length=8),
    tasks("a prefix of one", 1, 3, 5, length=9),
    tasks("a prefix longer than the texts", 7, 2, 1, 3, length=13),
    tasks("texts of one token", 3, 1, 1, length=7),
    tasks("no text in the second row", 3, 4, 0, 2, length=9),
    tasks("texts of one length", 2, 4, 4, 4, length=11),
    tasks("the longest has just room", 3, 2, 5, 4, length=9),
    tasks("more padding than the result has", 2, 3, 1, length=8, width=19),
    tasks("padding 5 and EOS 7", 3, 4, 2, 5, length=12, pad_id=5, eos_id=7),
    tasks("padding 1 and EOS 0", 3, 4, 2, 5, length=12, pad_id=1, eos_id=0),
    tasks("padding and EOS above all words", 2, 3, 5, length=10, pad_id=250_100, eos_id=250_101),
    tasks("padding -100", 2, 3, 1, length=9, pad_id=-100),
    tasks("padding and EOS are one id", 2, 3, 5, length=10, pad_id=2, eos_id=2),
    tasks("EOS between the tokens of a text", 2, length=11, ids=[[8, 1, 9, 1, 7], [6, 5, 1, 4], [1, 3]]),
    tasks("a prefix that holds the ids of padding and EOS", [0, 100, 1, 0], 4, 2, 0, length=11),
    tasks("a prefix that begins with the one id of padding and EOS", [2, 100, 101], 3, 5, length=10, pad_id=2, eos_id=2),
    tasks("tokens that are all the same", 3, length=10, ids=[[100] * 4, [100] * 2, [100]]),
    tasks("texts that begin as the prefix does", 3, length=12, ids=[[100, 101, 102, 7], [100, 101], [102, 101, 100, 5, 6]]),
    tasks("the same text twice", 2, length=9, ids=[[7, 8, 9], [7, 8, 9], [7, 8]]),
    tasks("ids that float32 cannot hold", 3, 4, 2, length=9, first=FIRST_BEYOND_FLOAT32),
    tasks("as many texts as places", 2, 3, 1, 2, 4, 3, 1, length=7),
    tasks("nine texts", 2, 1, 2, 3, 4, 5, 4, 3, 2, 1, length=8),
    tasks("a long text and a short one", 5, 290, 17, length=301),
]  # fmt: skip
without_prefix = [
    tasks("targets of 4, 2 and 5", 0, 4, 2, 5, length=8),
    tasks("one target of one token", 0, 1, length=4),
    tasks("a target of nothing among others", 0, 3, 0, 2, length=6),
    tasks("targets with padding -100", 0, 3, 1, length=7, pad_id=-100),
    tasks("a target too long", 0, 6, 2, length=5),
    tasks("the longest target has just room", 0, 2, 5, length=6),
]
without_room = [
    tasks("one token too many", 3, 2, 6, 4, length=9),
    tasks("all texts too long", 2, 8, 5, 7, length=6),
    tasks("room for all but the EOS", 3, 2, 5, 4, length=8),
    tasks("room for one token", 3, 4, 2, length=5),
    tasks("room for the prefix alone", 3, 4, 2, length=4),
    tasks("a prefix too long", 6, 3, 1, length=5),
    tasks("a prefix too long that holds the ids of padding and EOS", [100, 0, 1, 0, 101], 3, 1, length=5),
    tasks("room for the EOS alone", 2, 3, 1, length=1),
    tasks("room for one token of the prefix", 3, 2, 4, length=2),
    tasks("too long, padding 5 and EOS 7", 3, 9, 2, 5, length=8, pad_id=5, eos_id=7),
    tasks("too long, an EOS where it is cut", 2, length=7, ids=[[8, 9, 7, 1, 6, 5], [8, 9, 7, 6, 1, 5], [4, 1]]),
    tasks("a long text", 4, 300, 20, length=129),
    tasks("seventeen texts, all too long", 2, *range(5, 22), length=6),
]
no_room_at_all = [tasks("a length of 0", 2, 3, 1, length=0)]


def with_wider_padding(case: Case) -> Case:
    """Five more columns of padding behind the texts."""
    prefix, ids = case.tensors
    wider = torch.nn.functional.pad(ids, (0, 5), value=case.options["pad_id"])
    return case.changed("wider padding", (prefix, wider))


def last_text_alone(case: Case) -> Case:
    """The last text alone, without padding."""
    prefix, ids = case.tensors
    return case.changed("the last text alone", (prefix, ids[-1:, : int((ids[-1] != case.options["pad_id"]).sum())]))


def texts_exchanged(case: Case) -> Case:
    """The texts in reverse order; the prefix as it is."""
    return case.changed("texts in reverse order", (case.tensors[0], case.tensors[1].flip(0)))


# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def entropies(draw: st.DrawFn) -> Case:
    """Cross-entropy of any small sizes, with and without ignored labels and smoothing."""
    shape = [draw(st.integers(1, 5)) for _ in range(draw(st.integers(1, 3), label="axes"))]
    words = draw(st.integers(2, 19), label="words")
    smoothing = draw(st.sampled_from([0.0, 0.1, 0.4]), label="smoothing")
    ignore_id = draw(st.sampled_from([IGNORED, 0, -1]), label="ignore id")
    name = f"drawn {shape} of {words}, smoothing {smoothing}, ignore id {ignore_id}, seed {draw(st.integers(0, 999))}"
    return entropy(
        name, *shape, words, ignored=True, ignore_id=ignore_id, label_smoothing=smoothing, dtypes=EVERY_DTYPE
    )


@st.composite
def causals(draw: st.DrawFn) -> Case:
    """Sequences of any small lengths, padded on the right."""
    batch, length = draw(st.integers(1, 5), label="batch"), draw(st.integers(2, 20), label="length")
    own = [length, *(draw(st.integers(0, length)) for _ in range(batch - 1))]
    name = f"drawn {own}, seed {draw(st.integers(0, 999), label='seed')}"
    return causal(name, batch, length, draw(st.integers(2, 11), label="words"), _shown(*own, width=length))


@st.composite
def span_corruptions(draw: st.DrawFn) -> Case:
    """Any noise between two tokens that are kept."""
    noise = "".join(draw(st.lists(st.sampled_from(".x"), max_size=40), label="noise"))
    return spans(f"drawn .{noise}.", f".{noise}.", first_sentinel_id=draw(st.sampled_from([32_099, 999])))


drawn_entropy = [Drawn(cross_entropy, entropies())]
drawn_causal = [Drawn(language_modelling_loss, causals())]
drawn_spans = [Drawn(span_corruption, span_corruptions(), dtypes=(EXACT,))]

# --- Groups for properties --------------------------------------------------------------------------------------------

losses = [
    generic[0], ignoring[0], smoothed[0], sequences[0], padded[0], restored[0], sentences[7], distilled[0], micro_batches[1],
]  # fmt: skip
others = [corruptions[3], few_draws[0], between[3], noise_masks[4], with_room[0]]
every_operation = [*losses, *others, leading_axes[1], sentences[2], many_draws[1], noise_masks[0], without_room[0]]
with_inputs = [case for case in every_operation if case.operation is not span_noise_mask] + [
    ignore_ids[0], padded[3], after_padding[0], restored[8], micro_batches[8],
]  # fmt: skip
remembered = [
    *losses,
    corruptions[3],
    between[3],
    ignore_ids[2],
    padded[1],
    distilled[2],
    with_room[0],
    without_room[0],
]
strided = [variant for case in (*losses, corruptions[3], between[3], with_room[0]) for variant in layouts(case)]
ignored_somewhere = [
    *ignoring,
    *ignore_ids,
    smoothed[3],
    *restored[:6],
    *restored[8:11],
    *micro_batches[:3],
    micro_batches[8],
]
rebatched = [*micro_batches[:5], *micro_batches[6:9]]
# Of logits of hundreds gradients are not asked: kernels go back with exp(s - log sum) of the sum that they rounded.
differentiable = [
    *by_hand, *generic[:5], generic[7], *leading_axes, *ignoring, *ignore_ids, *smoothed, sizes[2], sizes[5], stable[3], stable[4],
    *stable[6:8],
    *knowing, *sequences, *padded, *nothing_hidden, *after_padding, *restored, *sentences, *micro_batches,
]  # fmt: skip
taught_differentiable = [*distilled, *distilled_stable]


def _other_shape(case: Case, name: str, logits: Tensor) -> Case:
    return case.changed(name, (logits, *case.tensors[1:]))


out_of_range = [
    _given("a label that is no word", [[0.0, 1.0, 2.0]] * 2, [1, 3]),
    _given("a negative label that is not ignored", [[0.0, 1.0, 2.0]] * 2, [1, -1]),
    _given("-100 with another ignore id", [[0.0, 1.0, 2.0]] * 2, [1, IGNORED], ignore_id=-1),
    masked("a masked label that is no word", 1, 2, 3, _ids([3, 1])),
]
impossible = [
    _other_shape(generic[0], "a token fewer than labels", logits_of("fewer", 3, 4, 7)),
    _other_shape(generic[0], "a token more than labels", logits_of("more", 3, 6, 7)),
    _other_shape(generic[0], "a sequence more than labels", logits_of("more b", 4, 5, 7)),
    _other_shape(sequences[0], "more tokens than ids", logits_of("more causal", 3, 6, 7)),
    _other_shape(restored[0], "fewer tokens than labels", logits_of("fewer masked", 3, 4, 7)),
    _other_shape(distilled[0], "a student with more words than the teacher", logits_of("more words", 3, 5, 8)),
]
too_short = [noise_mask("one token", 1, seed=0), noise_mask("no token", 0, seed=0)]

# --- Changes that properties make -------------------------------------------------------------------------------------


def shifted(case: Case) -> Case:
    """A constant of its own added to every row of logits; sums of such numbers are exact."""
    logits = case.tensors[0]
    rows = logits[..., 0].numel()
    constants = torch.arange(rows).remainder(5).view(logits.shape[:-1]).unsqueeze(-1) * 2.0 - 3.0
    return _other_shape(case, "shifted", logits + constants.to(logits.dtype))


def words_renamed(case: Case) -> Case:
    """The words in reverse order, in logits and labels alike."""
    words, labels = case.tensors[0].shape[-1], case.tensors[1]
    ignore_id = case.options.get("ignore_id", IGNORED)
    renamed = torch.where(labels == ignore_id, ignore_id, words - 1 - labels)
    return case.changed("words renamed", (case.tensors[0].flip(-1), renamed))


def with_other_ignored(case: Case) -> Case:
    """Other logits wherever no label is, a hundred times the ordinary."""
    logits, labels = case.tensors
    seen = (labels != case.options.get("ignore_id", IGNORED)).unsqueeze(-1)
    absurd = (100.0 * normal(f"{case.name} absurd", *logits.shape)).to(logits.dtype)
    return _other_shape(case, "others where ignored", torch.where(seen, logits, absurd))


def with_other_ends(case: Case) -> Case:
    """Other logits at the last position, which predicts nothing, and another first token, which nothing predicts."""
    logits, ids = case.tensors
    words = logits.shape[-1]
    last, first = torch.zeros_like(logits[..., :1]).bool(), torch.zeros_like(ids).bool()
    last[:, -1], first[:, 0] = True, True
    absurd = (100.0 * normal(f"{case.name} ends", *logits.shape)).to(logits.dtype)
    tensors = (torch.where(last, absurd, logits), torch.where(first, (ids + 1) % words, ids))
    return case.changed("other ends", tensors)


def with_other_padding(case: Case) -> Case:
    """Other ids and logits at padding on the right, and other logits at the last token before it, which predicts a pad."""
    logits, ids = case.tensors
    shown = case.options["attention_mask"]
    after = torch.nn.functional.pad(shown[:, 1:], (0, 1), value=False)
    absurd = (100.0 * normal(f"{case.name} pads", *logits.shape)).to(logits.dtype)
    tensors = (
        torch.where(after.unsqueeze(-1), logits, absurd),
        torch.where(shown, ids, (ids + 1) % logits.shape[-1]),
    )
    return case.changed("other padding", tensors)


def with_more_padding(case: Case) -> Case:
    """Three more pads after each sequence."""
    logits, ids = case.tensors
    pad = torch.nn.functional.pad
    more = (100.0 * normal(f"{case.name} more pads", len(logits), 3, logits.shape[-1])).to(logits.dtype)
    mask = pad(case.options["attention_mask"], (0, 3), value=False)
    return case.changed("more padding", (torch.cat((logits, more), 1), pad(ids, (0, 3))), attention_mask=mask)


def as_masked(case: Case) -> Case:
    """The masked language modelling of the same logits, the labels shifted by hand."""
    logits, ids = case.tensors
    shown = case.options.get("attention_mask", torch.ones_like(ids).bool())
    labels = torch.where(shown, ids, IGNORED)[:, 1:]
    return Case(cross_entropy, f"{case.name}, shifted by hand", (logits[:, :-1], labels), dtypes=case.dtypes).in_dtype(
        case.dtype
    )


def sequences_exchanged(case: Case) -> Case:
    """The first axis in reverse order, in everything."""
    options = {name: value.flip(0) if isinstance(value, Tensor) else value for name, value in case.options.items()}
    return case.changed("in reverse order", tuple(value.flip(0) for value in case.tensors), **options)


def columns_exchanged(case: Case) -> Case:
    """Both logits of each pair exchanged, and what they stand for."""
    return case.changed("exchanged", (case.tensors[0].flip(-1), ~case.tensors[1]))


def with_another_teacher(case: Case) -> Case:
    """Another teacher."""
    student, teacher, labels = case.tensors
    return case.changed("another teacher", (student, teacher.flip(-1) * 2 + 1, labels))


def with_other_labels(case: Case) -> Case:
    """Other labels, the words still being words."""
    student, teacher, labels = case.tensors
    return case.changed("other labels", (student, teacher, (labels + 1) % student.shape[-1]))


def in_other_micro_batches(case: Case) -> Case:
    """Every sequence a micro-batch of its own."""
    return case.changed("cut anew", tuple(value.flatten(0, 1).unsqueeze(1) for value in case.tensors))


def in_one_batch(case: Case) -> Case:
    """One micro-batch of all sequences."""
    return case.changed("one batch", tuple(value.flatten(0, 1).unsqueeze(0) for value in case.tensors))


def with_another_seed(case: Case) -> Case:
    """The next seed to 0, a neighbour of one that float32 cannot hold, and to others one that is the same in 8 bits and in 16."""
    seed = case.options["seed"]
    other = seed ^ 1 if seed == 0 or seed > 2**24 else seed + 2**16
    return case.changed("another seed", seed=other)


def others_than(case: Case) -> list[Case]:
    """Calls of the same operation that a careless memory would take for this one: other content, other sizes."""
    if case.operation is span_corruption:
        return [with_other_numbers(case)]
    if case.operation is text_to_text:
        return [with_other_numbers(case), case.changed("no prefix", (case.tensors[0][:0], case.tensors[1]))]
    return [with_other_numbers(case), case.changed("half", _halved(case), **_halved_options(case))]


def _halved(case: Case) -> tuple[Tensor, ...]:
    return tuple(value[: max(1, len(value) // 2)] for value in case.tensors)


def _halved_options(case: Case) -> dict[str, Tensor]:
    return {k: v[: max(1, len(v) // 2)] for k, v in case.options.items() if isinstance(v, Tensor)}


def others_of_the_same_shapes(case: Case) -> list[Case]:
    """Calls with other numbers, and, where there is a mask, with that of another sequence alone."""
    turned = {name: value.flip(0) for name, value in case.options.items() if isinstance(value, Tensor)}
    return [with_other_numbers(case), *([case.changed("masks exchanged", **turned)] if turned else [])]


def with_other_numbers(case: Case) -> Case:
    """Other logits and, by their order, other labels, ids and draws, of the same shapes."""
    if case.operation is text_to_text:  # padding stays on the right
        pad_id = case.options["pad_id"]
        tensors = tuple(torch.where(value == pad_id, pad_id, value + 500) for value in case.tensors)
        return case.changed("other numbers", tensors)
    return case.changed(
        "other numbers",
        tuple(
            value * -3 + 1 if value.is_floating_point() and value.min() < 0 else value.flip(*range(value.dim()))
            for value in case.tensors
        ),
    )
