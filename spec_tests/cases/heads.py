"""Inputs for fine-tuning heads. The best span leads by more than rounding takes, so that spans are compared exactly."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import EXACT, WIDE, Case, Drawn, integers, layouts, normal
from transpec.operations import Operation
from transpec.reference.bert import bert, bert_pooled
from transpec.reference.heads import (
    align_labels,
    best_span,
    bio_spans,
    question_answering,
    sequence_classification,
    token_classification,
)
from transpec.spec_tests.cases import bert as models
from transpec.spec_tests.cases.models import matrix, nested, transposed_weights, with_other_ids_where

# --- Classifiers ------------------------------------------------------------------------------------------------------

HEADS: tuple[Operation[..., Any], ...] = (sequence_classification, token_classification, question_answering)


def headed(name: str, operation: Operation[..., Any], C: int = 4, **how: Any) -> Case:
    """A call of one of the heads with C classes, two where answers are asked for; sizes and options are those of BERT."""
    if how.get("attention_mask") is not None:
        how["B"], how["T"] = how["attention_mask"].shape
    body = models.model(name, bert_pooled if operation is sequence_classification else bert, **how)
    C = 2 if operation is question_answering else C
    M = body.config.d_model
    head = nested(classifier={"w": matrix(f"{name} classifier", M, C), "b": matrix(f"{name} classifier bias", C)})
    return replace(body, operation=operation, weights={**(body.weights or {}), **head})


def of_each(name: str, C: int = 4, **how: Any) -> list[Case]:
    """The same for each head."""
    return [headed(name, operation, C, **how) for operation in HEADS]


small = [of_each("no layer", L=0), of_each("one layer", L=1)]
_large = [
    of_each("generic", 5),
    of_each("one class", 1, L=1),
    of_each("two classes", 2, L=1),
    of_each("as many classes as tokens and entries", 5, M=5, H=1, L=1),
    of_each("every size 4", 4, B=4, T=4, V=4, M=4, F=4, H=4, P=4, L=1),
    of_each("many classes", 33, L=1),
    of_each("one token", 3, B=1, T=1, L=1),
    of_each("one sequence", 3, B=1, L=1),
    of_each("no types, positions permuted", 3, L=1, token_type_ids=None, position_ids=models.PERMUTED),
    of_each("relu, eps 1", 3, L=1, activation="relu", eps=1.0),
    of_each("one sequence of 131 tokens", 3, B=1, T=131, M=6, F=5, P=140, L=1),
    of_each("67 sequences of three tokens", 3, B=67, T=3, M=6, F=5, L=1),
]


def _as_at_the_start(case: Case) -> Case:
    """Gains of one and biases of zero, those of the classifier too, as before the first step of training."""
    weights = {
        name: value if value.dim() > 1 else torch.full_like(value, name.endswith(".gain"))
        for name, value in (case.weights or {}).items()
    }
    return case.changed("gains of one, biases of zero", weights=weights)


def _without_classes(case: Case) -> Case:
    """A classifier of zeros, as a head of one's own begins beside a model that was trained."""
    zeros = {name: 0 * value for name, value in (case.weights or {}).items() if name.startswith("classifier.")}
    return case.changed("a classifier of zeros", weights={**(case.weights or {}), **zeros})


at_the_start = [
    [_as_at_the_start(case) for case in of_each("before training", 3, L=1)],
    [_without_classes(case) for case in of_each("before training", 3, L=1)],
]
masked = [
    of_each("padded on the right", 3, attention_mask=models.RIGHT),
    of_each("hidden tokens", 3, attention_mask=models.HOLES, L=1),
]
with_heads = [*small, *_large, *at_the_start, *masked]
sequences, tokens, answers = ([group[place] for group in with_heads] for place in range(3))
batch_of_zero = of_each("a batch of zero", B=0, L=1)
strided = [transposed_weights(case) for case in small[1]]
differentiable = [case for group in (*small, *_large[:3], _large[8], *at_the_start) for case in group]
independent = [*small[0][1:], *of_each("no layer, ten tokens", L=0, T=10)[1:]]
shown = [*_large[0], *_large[3], *_large[8]]
every_head = [*_large[0], *_large[1], *small[1], *masked[1]]

# --- Answers ----------------------------------------------------------------------------------------------------------

GAP = 0.05  # by which the best span leads, far more than rounding takes from sums of these logits


def spans(name: str, start: Any, end: Any, allowed: Any = None, max_length: int = 30, **options: Any) -> Case:
    """A call of best_span; everything is allowed where nothing else is said."""
    start, end = (torch.as_tensor(logits, dtype=torch.float64) for logits in (start, end))
    allowed = torch.ones(start.shape) if allowed is None else torch.as_tensor(allowed)
    given = {"allowed": allowed.bool(), "max_length": max_length, **options}
    return Case(best_span, name, (start, end), None, given, WIDE)


def random_spans(name: str, B: int, T: int, max_length: int = 30, allowed: Any = None, **options: Any) -> Case:
    """The same on logits whose sums all differ by at least the gap: whole multiples of it, starts and ends in two digits."""
    order = normal(f"{name} starts", B, T).argsort(-1), normal(f"{name} ends", B, T).argsort(-1)
    start, end = order[0] * GAP * T - T * T * GAP / 2, order[1] * GAP
    flipped = normal(f"{name} which", B, 1) > 0  # either may be the one that counts more
    return spans(
        name, torch.where(flipped, start, end), torch.where(flipped, end, start), allowed, max_length, **options
    )  # fmt: skip


def crowded_spans(name: str, T: int, *starts: int) -> Case:
    """In every row a best span from its start on, five tokens long, though 30 other tokens are better starts."""
    start, end = (torch.zeros(len(starts), T, dtype=torch.float64) for _ in range(2))
    for row, first in enumerate(starts):
        others = (torch.arange(30) + first + 20) % T
        start[row, others] = 3 - torch.arange(30).double() / 1000
        end[row, others] = 2 + torch.arange(30).double() / 1000
        start[row, first], end[row, first + 4] = 2.5, 6.0
    return spans(name, start, end, max_length=9)


_inside = torch.tensor([[0, 0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1]])
_reversed_start, _reversed_end = [[0.0, 1, 2, 5, 3]], [[0.5, 6, 2.2, 1, 1.4]]
_null_start, _null_end = (
    [[3.0, 0, 2, 1, 0.5], [1.0, 0, 2, 1, 0.5]],
    [[3.0, 0.1, 0.3, 2.5, 0.7], [1.2, 0.1, 0.3, 2.5, 0.7]],
)
_passage = [[0, 0, 1, 1, 1]] * 2
best_spans = [
    spans("start before end", [[0.0, 3, 1, 0]], [[0.5, 0.2, 2.7, 1]]),
    spans("the best end before the best start", _reversed_start, _reversed_end),
    spans("one token", [[0.0, 4, 1]], [[0.3, 4, 1.1]]),
    spans("the first token", [[5.0, 1, 0, 2]], [[6.0, 0.5, 0, 1]]),
    spans("the last token", [[1.0, 0, 2, 7]], [[0.5, 1, 0, 4]]),
    spans("the whole", [[5.0, 1, 0, 2]], [[0.5, 1, 0, 4]]),
    spans("a sequence of one", [[0.7]], [[-0.3]]),
    spans("negative logits alone", [[-9.0, -3, -5, -8]], [[-7.0, -9.5, -4, -2.2]]),
    spans("exactly as long as allowed", [[9.0, 1, 0, 2, 0]], [[0.5, 1, 0, 8, 3]], max_length=4),
    spans("one longer than allowed", [[9.0, 1, 0, 2, 0]], [[0.5, 1, 0, 8.5, 3]], max_length=3),
    spans("no longer than one token", _reversed_start, _reversed_end, max_length=1),
    spans("no longer than two tokens", _reversed_start, _reversed_end, max_length=2),
    spans("a start that is not allowed", [[9.0, 3, 1, 0]], [[0.5, 0.2, 2.7, 1]], [[0, 1, 1, 1]]),
    spans("an end that is not allowed", [[0.0, 3, 1, 0]], [[0.5, 0.2, 2.7, 8]], [[1, 1, 1, 0]]),
    spans("across what is not allowed", [[0.0, 5, 1, 0.3, 2]], [[0.5, 0.2, 2.7, 1, 6]], [[0, 1, 0, 1, 1]]),
    spans("one token is allowed", [[9.0, 3, 1, 8]], [[0.5, 0.2, 2.7, 9]], [[0, 0, 1, 0]]),
    random_spans("generic", 3, 7),
    random_spans("a passage of its own in every row", 3, 7, allowed=_inside),
    random_spans("a passage of its own, short answers", 3, 7, max_length=2, allowed=_inside),
    random_spans("many rows", 19, 6, max_length=3),
    random_spans("many tokens", 2, 65, max_length=15),
    random_spans("as many rows as tokens", 6, 6, max_length=4),
    spans("large logits", [[1e4, 1, 0, 2]], [[0.5, 1, -1e4, 4]]),
    spans(
        "logits of minus three thousand millions",
        [[-3e9, -3.4e9, -3.2e9, 9]],
        [[-3.5e9, -3.1e9, -3.6e9, 9]],
        [[1, 1, 1, 0]],
    ),
    random_spans("four passages of 384 tokens", 4, 384),
    crowded_spans("across tokens 64 and 128, 30 better starts", 140, 62, 126, 30),
    replace(
        spans("sums that float32 takes for one", [[2**27, 2**27 + 1, 0]], [[0, 0, 0]], max_length=1),
        dtypes=("float64",),
    ),
]
unanswered = [
    spans("an answer and none", _null_start, _null_end, _passage, no_answer=True),
    spans("[CLS] counts for nothing where there is an answer", _null_start, _null_end, _passage),
    spans("a threshold that needs more", _null_start, _null_end, _passage, no_answer=True, threshold=2.0),
    spans("a threshold that needs less", _null_start, _null_end, _passage, no_answer=True, threshold=-3.0),
    spans(
        "the best answer is no longer than allowed", _null_start, _null_end, _passage, 1, no_answer=True, threshold=1.0
    ),
    spans(
        "[CLS] starts well and ends badly", [[9.0, 0, 2, 1]], [[-9.0, 0.1, 0.3, 2.5]], [[0, 0, 1, 1]], no_answer=True
    ),
    spans(
        "[CLS] ends well and starts badly", [[-9.0, 0, 2, 1]], [[9.0, 0.1, 0.3, 2.5]], [[0, 0, 1, 1]], no_answer=True
    ),
    spans(
        "far below zero, an answer and none",
        [[-4e9, -3e9, -2e9], [-1e9, -3e9, -2e9]],
        [[-4e9, -2e9, -3.5e9], [-1e9, -2e9, -3.5e9]],
        [[0, 1, 1]] * 2,
        no_answer=True,
    ),
    spans("negative logits, no answer", [[-1.0, -4, -5, -6]], [[-1.0, -3, -4, -2]], [[0, 0, 1, 1]], no_answer=True),
    spans("[CLS] is just as good", [[2.0, 1, 0]], [[1.0, 2, 0]], [[0, 1, 1]], no_answer=True),
    spans("[CLS] is better by the threshold", [[2.0, 1, 0]], [[1.0, 1, 0]], [[0, 1, 1]], no_answer=True, threshold=1.0),
]
edges = [best_spans[place] for place in (3, 4, 5, 6)]
hidden = [*best_spans[12:16], *best_spans[17:19]]
shiftable = [*best_spans[:8], *best_spans[16:22]]
impossible_lengths = [spans("a length of zero", _reversed_start, _reversed_end, max_length=0)]

# --- Named entities ---------------------------------------------------------------------------------------------------


def aligned(name: str, word_ids: Any, labels: Any, **options: Any) -> Case:
    """A call of align_labels."""
    return Case(align_labels, name, (torch.as_tensor(word_ids), torch.as_tensor(labels)), None, options)


alignments = [
    aligned("special tokens about, words of one to three", [[-1, 0, 1, 1, 2, 2, 2, 3, -1]], [[5, 0, 7, 2]]),
    aligned("padding", [[-1, 0, 0, 1, -1, -1, -1], [-1, 0, 1, 2, 2, 3, -1]], [[3, 1, 9, 9], [2, 4, 6, 8]]),
    aligned("no special tokens", [[0, 0, 1, 2, 2], [0, 1, 1, 1, 2]], [[3, 1, 2], [6, 5, 4]]),
    aligned("one word alone, in two rows", [[0, 0, 0], [0, 0, 0]], [[3], [1]]),
    aligned(
        "rows that begin as the row before ends", [[0, 1, 1], [1, 2, 2], [2, 2, 0]], [[3, 1, 2], [6, 5, 4], [9, 8, 7]]
    ),
    aligned("a pair, whose words are counted anew", [[-1, 0, 1, -1, 0, 0, 1, -1]], [[4, 6]]),
    aligned("words without a sub-word", [[-1, 0, 2, 2, 5, -1]], [[1, 2, 3, 4, 5, 6]]),
    aligned("a window that begins within a text", [[-1, 3, 3, 4, 5, 5, -1]], [[1, 2, 3, 4, 5, 6]]),
    aligned("nothing but special tokens", [[-1, -1, -1], [-1, 0, -1]], [[5], [6]]),
    aligned("a label that is ignored already", [[-1, 0, 1, 1, 2, -1]], [[3, -100, 4]]),
    aligned("ignored is -1", [[-1, 0, 0, 1, -1]], [[3, 2]], ignore_id=-1),
    aligned("ignored is 0", [[-1, 0, 0, 1, -1]], [[3, 2]], ignore_id=0),
    aligned("one token", [[0]], [[7]]),
    aligned("more labels than tokens", [[-1, 4, 4]], [[1, 2, 3, 4, 5, 6, 7]]),
    aligned("neighbours with one label", [[-1, 0, 1, 1, 2, -1]], [[2, 2, 2]]),
    aligned("as many rows as tokens and words", [[0, 1, 1], [0, 0, 2], [-1, 1, 2]], [[3, 1, 2], [6, 5, 4], [9, 8, 7]]),
    aligned("labels beyond 16 bits", [[-1, 0, 0, 1, -1]], [[70_000, 65_536]]),
    aligned(
        "many tokens and words in many rows", torch.arange(3).repeat(13).view(-1, 1) + torch.arange(280) // 2 - 1,
        integers("many tokens and words", 9, 39, 142),
    ),
]  # fmt: skip


def tagged(name: str, tags: Any, num_types: int = 3) -> Case:
    """A call of bio_spans."""
    return Case(bio_spans, name, (torch.as_tensor(tags, dtype=torch.int64),), None, {"num_types": num_types})


def _lasting(name: str, B: int, runs: int, of: int) -> Tensor:
    """Tags of runs of `of` tokens, each O or an entity of a type or, next to one of its type, the rest of that entity."""
    types = integers(f"{name} types", 3, B, runs).repeat_interleave(of, -1) - 1  # -1 is O
    begins = integers(f"{name} begins", 2, B, runs).bool().repeat_interleave(of, -1) & (
        torch.arange(runs * of) % of == 0
    )
    return torch.where(types < 0, 0, 2 * types + torch.where(begins, 1, 2))


B0, I0, B1, I1, B2, I2 = range(1, 7)
entities = [
    tagged("entities of one and of several tokens", [[0, B0, I0, I0, 0, B1, 0, B2, I2]]),
    tagged("no entity", [[0, 0, 0, 0]]),
    tagged("one entity, the whole", [[B1, I1, I1, I1]]),
    tagged("an entity at either end", [[B0, I0, 0, 0, B2]]),
    tagged("neighbours of one type", [[0, B1, I1, B1, B1, I1, 0]]),
    tagged("neighbours of two types", [[B0, I0, B1, I1, I1, B2]]),
    tagged("one token", [[B2]]),
    tagged("one type", [[0, B0, I0, 0, B0, B0, I0]], num_types=1),
    tagged("rows that end as the next begins", [[0, B0, I0], [I0, I0, 0], [0, 0, B1], [I1, I1, B1]]),
    tagged("300 types", [[599, 600, 0, 513, 514, 514, 1, 2, 600, 0, 127, 128, 256, 255]], num_types=300),
    tagged("as many rows as tokens", [[B0, I0, 0], [0, B1, I1], [B2, B2, I2]]),
    tagged("many tokens", integers("many tokens", 7, 3, 65)),
    tagged("long entities in many rows", _lasting("long entities", 35, 38, 7)),
]
stray = [
    tagged("an I after O", [[0, I0, I0, 0, I1, 0]]),
    tagged("an I at the start", [[I2, I2, 0, B0]]),
    tagged("an I at the start alone", [[I1]]),
    tagged("an I of another type after a B", [[0, B0, I1, I1, 0]]),
    tagged("an I of another type after an I", [[B0, I0, I1, I2, I2, I0]]),
    tagged("an I of its type after one of another", [[B0, I1, I0, I0]]),
    tagged("a B after an I of another type", [[I0, I0, B1, I1]]),
    tagged("an I at the end", [[B0, 0, I0]]),
]
impossible = [
    aligned("a word without a label", [[-1, 0, 3]], [[1, 2, 3]]),
    tagged("a tag beyond the types", [[0, 7, 0]]),
    tagged("a tag below 0", [[0, -1, 0]]),
]
batch_of_none = [
    aligned("a batch of zero", torch.zeros(0, 5, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.int64)),
    tagged("a batch of zero", torch.zeros(0, 5)),
]
strided += [
    *layouts(aligned("strides", [[-1, 0, 0, 1], [0, 1, 2, 2], [0, 0, 1, -1]], integers("labels", 9, 3, 4))),
    *layouts(tagged("strides", integers("tags", 7, 3, 5))),
    *layouts(random_spans("strides", 3, 5, allowed=[[0, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 1, 1, 0]])),
]
# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def alignments_of(draw: st.DrawFn) -> Case:
    """Words of one to three sub-words, special tokens at either end or not."""
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6), label="lengths")
    words = [word for word, length in enumerate(lengths) for _ in range(length)]
    before, after = ([-1] * draw(st.integers(0, 2), label=side) for side in ("before", "after"))
    name = f"drawn {before} {lengths} {after}"
    return aligned(name, [[*before, *words, *after]], integers(name, 9, 1, len(lengths)))


@st.composite
def tags_of(draw: st.DrawFn) -> Case:
    """Any tags."""
    types, T = draw(st.integers(1, 3), label="types"), draw(st.integers(1, 9), label="T")
    rows = draw(st.lists(st.lists(st.integers(0, 2 * types), min_size=T, max_size=T), min_size=1, max_size=3))
    return tagged(f"drawn {rows} {types}", rows, types)


@st.composite
def spans_of(draw: st.DrawFn) -> Case:
    """Any small sizes and lengths, the first token allowed in every row, so that there is a span."""
    B, T = draw(st.integers(1, 3), label="B"), draw(st.integers(1, 9), label="T")
    length, seed = draw(st.integers(1, 10), label="length"), draw(st.integers(0, 99), label="seed")
    name = f"drawn {B} {T} {length} {seed}"
    allowed = (normal(name, B, T) > -0.4) | (torch.arange(T) == 0)
    return random_spans(name, B, T, length, allowed)


drawn_alignments = [Drawn(align_labels, alignments_of(), dtypes=(EXACT,))]
drawn_tags = [Drawn(bio_spans, tags_of(), dtypes=(EXACT,))]
drawn_spans = [Drawn(best_span, spans_of(), dtypes=WIDE, draws=6)]

# --- Groups and changes for properties --------------------------------------------------------------------------------

exact_calls = [*best_spans[:2], best_spans[17], unanswered[0], *alignments[:3], entities[0], entities[8], stray[0]]
every_operation = [*every_head, *exact_calls]
in_batches = [
    *_large[0], *_large[4], *masked[1], best_spans[17], best_spans[21], *unanswered[:1], *alignments[1:5],
    alignments[15], entities[8], entities[10],
]  # fmt: skip


def tokens_of(case: Case) -> Tensor | None:
    """Where in the result tokens stand and not padding; all of it where nothing is hidden or it is pooled."""
    mask = case.options.get("attention_mask")
    return None if mask is None or case.operation is sequence_classification else mask.unsqueeze(-1)


def last_of_the_batch(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last row alone, and how to pick it out of the result of all."""
    options = {name: value[-1:] if isinstance(value, Tensor) else value for name, value in case.options.items()}
    return case.changed("last alone", tuple(x[-1:] for x in case.tensors), **options), lambda result: result[-1:]


def with_classes_permuted(case: Case) -> tuple[Case, Tensor]:
    """The columns of the classifier in another order, and that order."""
    weights = dict(case.weights or {})
    order = torch.arange(weights["classifier.b"].shape[-1]).flip(0).roll(1)
    changed = {name: weights[name][..., order] for name in ("classifier.w", "classifier.b")}
    return case.changed("classes permuted", weights={**weights, **changed}), order


def with_another_last_token(case: Case) -> tuple[Case, Tensor]:
    """Another last token, and where in the result of a head without a layer it may not show."""
    T = case.tensors[0].shape[-1]
    changed = with_other_ids_where(case, "another last token", torch.arange(T) == T - 1, case.config.vocab_size)
    return changed, (torch.arange(T) < T - 1).unsqueeze(-1)


def without_head(case: Case) -> Case:
    """The call of BERT, pooled where the head reads that, that the call of a head is made of."""
    if "without head" not in case.derived:
        weights = {name: value for name, value in (case.weights or {}).items() if not name.startswith("classifier.")}
        body = bert_pooled if case.operation is sequence_classification else bert
        made = replace(
            case, operation=body, name=f"{case.name}, without it", weights=weights, numbers_of=None, origin=None
        )
        case.derived["without head"] = made
    return case.derived["without head"]


def with_loud_logits_where_not_allowed(case: Case) -> Case:
    """Other, larger logits where no answer may start or end."""
    allowed = case.options["allowed"]
    return case.changed("loud where not allowed", tuple(torch.where(allowed, x, 50 - x) for x in case.tensors))


def shifted(case: Case) -> Case:
    """All starts one number higher and all ends another lower."""
    return case.changed("shifted", (case.tensors[0] + 3, case.tensors[1] - 2))


def others_than(case: Case) -> list[Case]:
    """Calls of the same shapes that a careless memory would take for this one."""
    if case.operation in HEADS:
        V = case.config.vocab_size
        weights = {name: value.flip(-1) * 0.75 for name, value in (case.weights or {}).items()}
        ids = (case.tensors[0] + 3).remainder(V)
        return [case.changed("other ids", (ids,)), case.changed("other weights", weights=weights)]
    turned = {name: value.flip(-1) for name, value in case.options.items() if isinstance(value, Tensor)}
    reverse = case.changed("reversed", tuple(x.flip(-1) for x in case.tensors))
    return [reverse, *([reverse.changed("what is allowed too", **turned)] if turned else [])]
