"""Metrics in plain numpy and the standard library, written from the papers and the official evaluation scripts.

Counts are Python integers or integer arrays; one division at the end makes a number of them, in the dtype that is asked
for. Gradients of the metrics that have them stand beside them.
"""

# What numpy computes from arrays of any dtype has the type Any.
# mypy: disable-error-code="no-any-return"

import math
import re
import string
from collections import defaultdict
from typing import Any

import numpy as np

Array = np.ndarray
Texts = tuple[str, ...]

_ARTICLES = ("a", "an", "the")
_WORD = re.compile(r"\w+")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _together(first: Any, second: Any) -> int:
    """The number of both; raises ValueError where they differ."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} of the one cannot belong to {len(second)} of the other")
    return len(first)


# Classes


def accuracy(predictions: Array, labels: Array, *, dtype: Any) -> Array:
    """The part of predictions that equal their labels. Manning et al. 2008, section 8.3."""
    return np.asarray(np.count_nonzero(predictions == labels) / _together(predictions, labels), dtype)


def _f1_score(true_positive: int, false_positive: int, false_negative: int) -> float:
    """2 P R / (P + R) with P = TP / (TP + FP) and R = TP / (TP + FN); 0 where TP is."""
    if true_positive == 0:
        return 0.0
    precision = true_positive / (true_positive + false_positive)
    recall = true_positive / (true_positive + false_negative)
    return 2 * precision * recall / (precision + recall)


def _f1_of_class(predictions: Array, labels: Array, k: int) -> float:
    hits = np.count_nonzero((predictions == k) & (labels == k))
    return _f1_score(hits, np.count_nonzero(predictions == k) - hits, np.count_nonzero(labels == k) - hits)


def f1(predictions: Array, labels: Array, *, positive: int = 1, dtype: Any) -> Array:
    """The harmonic mean of precision and recall of one class. van Rijsbergen 1979, chapter 7."""
    _together(predictions, labels)
    return np.asarray(_f1_of_class(predictions, labels, positive), dtype)


def macro_f1(predictions: Array, labels: Array, *, num_classes: int, dtype: Any) -> Array:
    """The mean over all classes of their F1. Manning et al. 2008, section 13.6."""
    _together(predictions, labels)
    for ids in (predictions, labels):
        if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
            raise ValueError(f"ids from {ids.min()} to {ids.max()} are not all among {num_classes} classes")
    return np.asarray(sum(_f1_of_class(predictions, labels, k) for k in range(num_classes)) / num_classes, dtype)


def matthews(predictions: Array, labels: Array, *, dtype: Any) -> Array:
    """Covariance of the two as indicator vectors over the root of their variances. Gorodkin 2004, section 2.

    With X and Y of one column a class and one row an example, R = cov(X, Y) / sqrt(cov(X, X) cov(Y, Y)), in which a
    covariance is the sum of those of the columns. Python's integers hold every product.
    """
    n = _together(predictions, labels)
    if n == 0:
        return np.asarray(0.0, dtype)
    _, ids = np.unique(np.concatenate((predictions, labels)), return_inverse=True)
    confusion = np.zeros((ids.max() + 1,) * 2, np.int64)
    np.add.at(confusion, (ids[:n], ids[n:]), 1)
    table = confusion.tolist()
    rows, columns = [sum(row) for row in table], [sum(column) for column in zip(*table, strict=True)]
    both = n * sum(table[k][k] for k in range(len(table))) - sum(r * c for r, c in zip(rows, columns, strict=True))
    of_rows, of_columns = (sum(each * (n - each) for each in sums) for sums in (rows, columns))
    return np.asarray(both / math.sqrt(of_rows * of_columns) if of_rows and of_columns else 0.0, dtype)


# Rankings


def _standardized(x: Array) -> tuple[Array, Any]:
    """The deviations from the mean divided by their length, and that length."""
    apart = x - x.mean()
    largest = np.abs(apart).max()
    length = largest * np.sqrt(np.sum(np.square(apart / largest)))  # in range for whatever size x has
    return apart / length, length


def pearson(x: Array, y: Array) -> Array:
    """The product of both as unit vectors of deviations; NaN where one is constant. Pearson 1895."""
    _together(x, y)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sum(_standardized(x)[0] * _standardized(y)[0]), x.dtype)


def pearson_vjp(x: Array, y: Array, cotangent: Array) -> tuple[Array, Array]:
    """dr/dx = (v - r u) / |x - mean x|, with unit vectors u of x and v of y, which are both of mean 0."""
    (u, of_x), (v, of_y) = _standardized(x), _standardized(y)
    r = np.sum(u * v)
    return cotangent * (v - r * u) / of_x, cotangent * (u - r * v) / of_y


def _average_ranks(x: Array) -> Array:
    """Ranks from 1; of a run of equal numbers each has the mean of the first and the last."""
    ordered = np.sort(x)
    return (np.searchsorted(ordered, x, "left") + 1 + np.searchsorted(ordered, x, "right")) / 2


def spearman(x: Array, y: Array) -> Array:
    """Pearson's correlation of average ranks. Spearman 1904; Kendall 1948, chapter 3."""
    _together(x, y)
    return pearson(_average_ranks(x), _average_ranks(y)).astype(x.dtype)


# Answers


def _answer_words(text: str) -> list[str]:
    """The words that are left of a text: in lower case, without ASCII punctuation and articles."""
    bare = text.lower().translate(_WITHOUT_PUNCTUATION)
    # An article is a whole run of letters and digits; marks beyond ASCII end such a run.
    return _WORD.sub(lambda found: " " if found[0] in _ARTICLES else found[0], bare).split()


def _right_answers(answers: Texts) -> list[list[str]]:
    return [words for words in map(_answer_words, answers) if words] or [[]]


def squad_exact_match(predictions: Texts, answers: tuple[Texts, ...], *, dtype: Any) -> Array:
    """The part of predictions that have the words of an answer. Rajpurkar et al. 2016, section 6.1, and 2018."""
    n = _together(predictions, answers)
    exact = sum(_answer_words(text) in _right_answers(right) for text, right in zip(predictions, answers, strict=True))
    return np.asarray(exact / n, dtype)


def _f1_of_words(found: list[str], there: list[str]) -> float:
    if not found or not there:
        return float(found == there)
    left = list(there)
    for word in found:
        if word in left:
            left.remove(word)
    common = len(there) - len(left)
    return _f1_score(common, len(found) - common, len(there) - common)


def squad_f1(predictions: Texts, answers: tuple[Texts, ...], *, dtype: Any) -> Array:
    """The mean over examples of the best F1 of words. Rajpurkar et al. 2016, section 6.1, and 2018."""
    n = _together(predictions, answers)
    best = (
        max(_f1_of_words(_answer_words(text), words) for words in _right_answers(right))
        for text, right in zip(predictions, answers, strict=True)
    )
    return np.asarray(math.fsum(best) / n, dtype)


# Named entities


def _spans(tags: Texts) -> set[tuple[int, int, str]]:
    """First place, last place and type of each entity: maximal runs that no other begins within."""
    pairs = [("O", ""), *((tag[:1], tag[2:]) for tag in tags), ("O", "")]
    spans, begun = set(), 0
    for place in range(1, len(pairs)):
        (before, type_before), (here, type_here) = pairs[place - 1], pairs[place]
        parted = here != "I" or before == "O" or type_before != type_here
        if before != "O" and parted:
            spans.add((begun, place - 1, type_before))
        if here != "O" and parted:
            begun = place
    return spans


def span_f1(predicted_tags: tuple[Texts, ...], true_tags: tuple[Texts, ...], *, dtype: Any) -> Array:
    """F1 of entities, exact in type and ends. Tjong Kim Sang & De Meulder 2003, section 2.4, and conlleval."""
    _together(predicted_tags, true_tags)
    hits = too_many = missing = 0
    for predicted, true in zip(predicted_tags, true_tags, strict=True):
        _together(predicted, true)
        found, there = _spans(predicted), _spans(true)
        hits, too_many, missing = hits + len(found & there), too_many + len(found - there), missing + len(there - found)
    return np.asarray(_f1_score(hits, too_many, missing), dtype)


# Translations


def _ngram_counts(words: list[str], n: int) -> dict[Texts, int]:
    counts: dict[Texts, int] = defaultdict(int)
    for gram in zip(*(words[shift:] for shift in range(n)), strict=False):
        counts[gram] += 1
    return counts


def bleu(hypotheses: Texts, references: tuple[Texts, ...], *, max_order: int = 4, dtype: Any) -> Array:
    """Brevity penalty times geometric mean of clipped precisions, of a corpus. Papineni et al. 2002, section 2.3."""
    _together(hypotheses, references)
    matches, totals = np.zeros(max_order, np.int64), np.zeros(max_order, np.int64)
    length = wanted = 0
    for hypothesis, of_it in zip(hypotheses, references, strict=True):
        if not of_it:
            raise ValueError(f"no reference for {hypothesis!r}")
        words, others = hypothesis.split(), [reference.split() for reference in of_it]
        length += len(words)
        wanted += sorted((abs(len(words) - len(other)), len(other)) for other in others)[0][1]
        for n in range(1, max_order + 1):
            allowed = [_ngram_counts(other, n) for other in others]
            for gram, count in _ngram_counts(words, n).items():
                matches[n - 1] += min(count, max(counts.get(gram, 0) for counts in allowed))
                totals[n - 1] += count
    if not matches.all():
        return np.asarray(0.0, dtype)
    penalty = 1.0 if length > wanted else math.exp(1 - wanted / length)
    return np.asarray(penalty * np.prod(matches / totals) ** (1 / max_order), dtype)


# Language models


def perplexity(log_probabilities: Array, mask: Array) -> Array:
    """exp of minus the mean log-probability of visible tokens. Jelinek et al. 1977."""
    if log_probabilities.shape != mask.shape:
        raise ValueError(f"log-probabilities of shape {log_probabilities.shape} have a mask of shape {mask.shape}")
    return np.asarray(np.exp(-log_probabilities[mask].mean()), log_probabilities.dtype)


def perplexity_vjp(log_probabilities: Array, mask: Array, cotangent: Array) -> tuple[Array, None]:
    """-perplexity / (number of visible tokens) at each of them."""
    share = -cotangent * perplexity(log_probabilities, mask) / np.count_nonzero(mask)
    return np.where(mask, share, 0).astype(log_probabilities.dtype), None


def bits_per_byte(log_probabilities: Array, num_bytes: Array) -> Array:
    """Minus the sum of log-probabilities in bits, over the sum of bytes. Gao et al. 2020, section 3.1."""
    _together(log_probabilities, num_bytes)
    return np.asarray(-log_probabilities.sum() / math.log(2) / int(num_bytes.sum()), log_probabilities.dtype)


def bits_per_byte_vjp(log_probabilities: Array, num_bytes: Array, cotangent: Array) -> tuple[Array, None]:
    """-1 / (ln 2 times the sum of bytes) at each text."""
    share = -cotangent / math.log(2) / int(num_bytes.sum())
    return np.full_like(log_probabilities, share), None
