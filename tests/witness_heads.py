"""The second witness on fine-tuning heads: Devlin et al. 2019, sections 4 and 5.3, and conlleval, one number at a time."""

from __future__ import annotations

import itertools
from typing import Any

import witness_models
from witness import Matrix, Nested, Weights, mp


def _affine(row: list[Any], weights: Weights) -> list[Any]:
    w, b = weights["classifier.w"], weights["classifier.b"]
    return [mp.fsum([mp.mpf(b[c]), *(x * mp.mpf(w[m][c]) for m, x in enumerate(row))]) for c in range(len(b))]


def sequence_classification(token_ids: Nested, weights: Weights, config: Any, **options: Any) -> Nested:
    """A linear layer on what is pooled."""
    return [_affine(row, weights) for row in witness_models.bert_pooled(token_ids, weights, config, **options)]


def token_classification(token_ids: Nested, weights: Weights, config: Any, **options: Any) -> Nested:
    """A linear layer on every token."""
    return [[_affine(row, weights) for row in x] for x in witness_models.bert(token_ids, weights, config, **options)]


def question_answering(token_ids: Nested, weights: Weights, config: Any, **options: Any) -> Nested:
    """The same, whose two classes are start and end."""
    return token_classification(token_ids, weights, config, **options)


def best_span(
    start_logits: Matrix, end_logits: Matrix, *, allowed: Nested, max_length: int, no_answer: bool = False,
    threshold: float = 0.0,
) -> Nested:  # fmt: skip
    """Every span is tried; the best one has to lead, or the case is none."""
    if max_length < 1:
        raise ValueError(f"max_length {max_length}")
    return [
        _best(starts, ends, shown, max_length, threshold if no_answer else None)
        for starts, ends, shown in zip(start_logits, end_logits, allowed, strict=True)
    ]


def _best(starts: list[Any], ends: list[Any], shown: list[bool], longest: int, threshold: float | None) -> list[int]:
    spans = [(i, j) for i, j in itertools.product(range(len(starts)), repeat=2) if i <= j and j - i + 1 <= longest]
    sums = {(i, j): mp.mpf(starts[i]) + ends[j] for i, j in spans if shown[i] and shown[j]}
    best, *others = sorted(sums, key=lambda span: -sums[span])
    if others and sums[best] - sums[others[0]] < 0.04:
        raise AssertionError(f"{best} and {others[0]} are too near to each other")
    if threshold is not None and mp.mpf(starts[0]) + ends[0] - sums[best] > threshold:
        return [0, 0]
    return list(best)


def align_labels(word_ids: Nested, labels: Nested, *, ignore_id: int = -100) -> Nested:
    """Runs of one word: the label at the head of each, if it is a word."""
    return [
        [
            given[word] if word >= 0 and place == 0 else ignore_id
            for word, run in itertools.groupby(words)
            for place, _ in enumerate(run)
        ]
        for words, given in zip(word_ids, labels, strict=True)
    ]


def bio_spans(tags: Nested, *, num_types: int) -> Nested:
    """Token t begins an entity by startOfChunk; the entity is as long as endOfChunk is not met."""
    names = ["O", *(f"{prefix}-{kind}" for kind in range(num_types) for prefix in "BI")]
    if any(not 0 <= tag < len(names) for row in tags for tag in row):
        raise ValueError(f"tags {tags}")
    return [_entities([names[tag] for tag in row]) for row in tags]


def _entities(names: list[str]) -> list[list[int]]:
    """conlleval's rules on names such as B-1 and I-1."""

    def starts(t: int) -> bool:
        before = names[t - 1] if t else "O"
        return names[t][0] == "B" or (names[t][0] == "I" and (before == "O" or before[2:] != names[t][2:]))

    made = []
    for t, name in enumerate(names):
        last = t
        while last + 1 < len(names) and names[last + 1] != "O" and not starts(last + 1):
            last += 1
        made.append([int(name[2:]), last] if starts(t) else [-1, -1])
    return made
