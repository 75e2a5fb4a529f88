"""Fine-tuning heads in plain numpy, written from Devlin et al. 2019, sections 4 and 5.3, and from conlleval."""

# What numpy computes from arrays of any dtype has the type Any.
# mypy: disable-error-code="no-any-return"

from typing import Any

import numpy as np

Array = np.ndarray
Weights = dict[str, np.ndarray]


def _body(name: str) -> Any:
    """BERT and its gradients stand in numpy_plain, which imports this file."""
    from transpec.impls import numpy_plain

    return getattr(numpy_plain, name)


def _split(weights: Weights) -> tuple[Weights, Array, Array]:
    """The weights of BERT, and W and b of the classifier."""
    own = ("classifier.w", "classifier.b")
    of_bert = {name: weight for name, weight in weights.items() if name not in own}
    return of_bert, weights["classifier.w"], weights["classifier.b"]


def _classify(body: str, token_ids: Array, weights: Weights, config: Any, options: dict[str, Any]) -> Array:
    """x W + b."""
    inner, w, b = _split(weights)
    return _body(body)(token_ids, inner, config, **options) @ w + b


def _classify_vjp(
    body: str, token_ids: Array, weights: Weights, config: Any, cotangent: Array, options: dict[str, Any]
) -> tuple[None, Weights]:
    """The gradients of x W + b, and through x those of BERT."""
    inner, w, _ = _split(weights)
    x = _body(body)(token_ids, inner, config, **options)
    _, gradients = _body(f"{body}_vjp")(token_ids, inner, config, cotangent @ w.T, **options)
    rows = cotangent.reshape(-1, w.shape[1])
    return None, {**gradients, "classifier.w": x.reshape(-1, w.shape[0]).T @ rows, "classifier.b": rows.sum(axis=0)}


def sequence_classification(token_ids: Array, weights: Weights, config: Any, **options: Any) -> Array:
    """pooled W + b, (batch, classes). Section 4.1; the options are those of bert, here and below."""
    return _classify("bert_pooled", token_ids, weights, config, options)


def sequence_classification_vjp(
    token_ids: Array, weights: Weights, config: Any, cotangent: Array, **options: Any
) -> tuple[None, Weights]:
    """Gradients by the weights."""
    return _classify_vjp("bert_pooled", token_ids, weights, config, cotangent, options)


def token_classification(token_ids: Array, weights: Weights, config: Any, **options: Any) -> Array:
    """h W + b at every token, (batch, T, classes). Section 5.3."""
    return _classify("bert", token_ids, weights, config, options)


def token_classification_vjp(
    token_ids: Array, weights: Weights, config: Any, cotangent: Array, **options: Any
) -> tuple[None, Weights]:
    """Gradients by the weights."""
    return _classify_vjp("bert", token_ids, weights, config, cotangent, options)


def question_answering(token_ids: Array, weights: Weights, config: Any, **options: Any) -> Array:
    """Logits of start and end at every token, (batch, T, 2). Section 4.2."""
    return _classify("bert", token_ids, weights, config, options)


def question_answering_vjp(
    token_ids: Array, weights: Weights, config: Any, cotangent: Array, **options: Any
) -> tuple[None, Weights]:
    """Gradients by the weights."""
    return _classify_vjp("bert", token_ids, weights, config, cotangent, options)


def best_span(
    start_logits: Array,
    end_logits: Array,
    *,
    allowed: Array,
    max_length: int,
    no_answer: bool = False,
    threshold: float = 0.0,
) -> Array:
    """Start and end of the best answer in every row, (batch, 2). Sections 4.2 and 4.3."""
    if max_length < 1:
        raise ValueError(f"an answer has one token or more; given a max_length of {max_length}")
    best = np.zeros((len(start_logits), 2), dtype=np.int64)
    for row, (starts, ends, shown) in enumerate(zip(start_logits, end_logits, allowed, strict=True)):
        found = [
            (float(starts[i]) + float(ends[j]), i, j)
            for i in np.flatnonzero(shown)
            for j in np.flatnonzero(shown)
            if i <= j < i + max_length
        ]
        score, *span = max(found)
        if not (no_answer and float(starts[0]) + float(ends[0]) > score + threshold):
            best[row] = span
    return best


def align_labels(word_ids: Array, labels: Array, *, ignore_id: int = -100) -> Array:
    """The labels of words at their first sub-words, (batch, T). Section 5.3."""
    aligned = np.full_like(word_ids, ignore_id)
    for row, words in enumerate(word_ids):
        last = -1
        for place, word in enumerate(words):
            if word >= 0 and word != last:
                aligned[row, place] = labels[row, word]
            last = word
    return aligned


def bio_spans(tags: Array, *, num_types: int) -> Array:
    """Type and last token at the first token of every entity, else -1, (batch, T, 2)."""
    spans = np.full((*tags.shape, 2), -1)
    for row, sentence in enumerate(tags):
        entity = None
        for place, tag in enumerate(sentence):
            if not 0 <= tag <= 2 * num_types:
                raise ValueError(f"tags go from 0 to {2 * num_types}; given {tag}")
            kind = (int(tag) + 1) // 2 - 1
            continues = tag > 0 and tag % 2 == 0 and entity is not None and spans[row, entity, 0] == kind
            if not continues:
                entity = place if tag > 0 else None
            if entity is not None:
                spans[row, entity] = kind, place
    return spans
