"""The second witness on metrics: exact fractions and mpmath, written from the papers and the contract alone.

van Rijsbergen 1979; Gorodkin 2004 (by covariances); Kendall 1948, chapter 3 (ranks by counting); Rajpurkar et al. 2016
and 2018 (words one by one); Tjong Kim Sang & De Meulder 2003 (entities tag by tag); Papineni et al. 2002, section 2 (of
each n-gram, how often); Gao et al. 2020. One example at a time, and nothing is rounded before the last step.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import groupby

from witness import mp

Texts = Sequence[str]


def _mp(value: Fraction) -> object:
    return mp.mpf(value.numerator) / value.denominator


def _mean(values: Iterable[Fraction]) -> Fraction:
    kept = list(values)
    return sum(kept, Fraction(0)) / len(kept)


def _f1(pairs: Sequence[tuple[bool, bool]]) -> Fraction:
    """F_1 of what is found and what is there, as the harmonic mean; 0 where nothing is both."""
    both = sum(found and there for found, there in pairs)
    if not both:
        return Fraction(0)
    precision, recall = (Fraction(both, sum(pair[side] for pair in pairs)) for side in (0, 1))
    return 1 / ((1 / precision + 1 / recall) / 2)


# --- Classes ----------------------------------------------------------------------------------------------------------


def accuracy(predictions: list[int], labels: list[int]) -> object:
    """Manning et al. 2008, section 8.3."""
    return _mp(_mean(Fraction(found == there) for found, there in zip(predictions, labels, strict=True)))


def f1(predictions: list[int], labels: list[int], *, positive: int = 1) -> object:
    """van Rijsbergen 1979, chapter 7."""
    return _mp(_f1([(found == positive, there == positive) for found, there in zip(predictions, labels, strict=True)]))


def macro_f1(predictions: list[int], labels: list[int], *, num_classes: int) -> object:
    """Manning et al. 2008, section 13.6."""
    if not set(predictions) | set(labels) <= set(range(num_classes)):
        raise ValueError("an id is no class")
    pairs = list(zip(predictions, labels, strict=True))
    return _mp(_mean(_f1([(found == k, there == k) for found, there in pairs]) for k in range(num_classes)))


def matthews(predictions: list[int], labels: list[int]) -> object:
    """Gorodkin 2004, section 2: covariances of indicators, summed over the classes."""
    if len(predictions) != len(labels):
        raise ValueError("not as many predictions as labels")

    def covariance(first: list[int], second: list[int]) -> Fraction:
        total = Fraction(0)
        for k in set(predictions) | set(labels):
            x, y = ([Fraction(each == k) for each in ids] for ids in (first, second))
            total += _mean(a * b for a, b in zip(x, y, strict=True)) - _mean(x) * _mean(y)
        return total

    spread = covariance(predictions, predictions) * covariance(labels, labels)
    return _mp(covariance(predictions, labels)) / mp.sqrt(_mp(spread)) if spread else mp.mpf(0)


# --- Rankings ---------------------------------------------------------------------------------------------------------


def pearson(x: list[float], y: list[float]) -> object:
    """Pearson 1895, by exact moments; NaN where one is constant."""
    pairs = [(Fraction(a), Fraction(b)) for a, b in zip(x, y, strict=True)]
    mean_x, mean_y = (_mean(pair[side] for pair in pairs) for side in (0, 1))
    of_x, of_y = _mean((a - mean_x) ** 2 for a, _ in pairs), _mean((b - mean_y) ** 2 for _, b in pairs)
    both = _mean((a - mean_x) * (b - mean_y) for a, b in pairs)
    return _mp(both) / mp.sqrt(_mp(of_x * of_y)) if of_x and of_y else mp.nan


def spearman(x: list[float], y: list[float]) -> object:
    """Kendall 1948, chapter 3: a number's rank is its mean place among all orders in which equal ones may stand."""

    def ranks(numbers: list[float]) -> list[float]:
        places: dict[float, list[int]] = {}
        for place, number in enumerate(sorted(numbers)):
            places.setdefault(number, []).append(place)
        return [sum(places[number]) / len(places[number]) for number in numbers]

    return pearson(ranks(x), ranks(y))


# --- Answers ----------------------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    """The words of a normalized answer, letter by letter."""
    kept = [letter for letter in text.lower() if not (letter.isascii() and unicodedata.category(letter)[0] in "PS")]
    # Runs of letters and digits, and of all else; where such a run is an article a blank comes in its place.
    runs = ("".join(run) for _, run in groupby(kept, key=lambda letter: letter.isalnum()))
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def _answers(right: Texts) -> list[list[str]]:
    with_words = [_words(answer) for answer in right if _words(answer)]
    return with_words if with_words else [[]]


def squad_exact_match(predictions: Texts, answers: Sequence[Texts]) -> object:
    """Rajpurkar et al. 2016, section 6.1, and 2018."""
    pairs = zip(predictions, answers, strict=True)
    return _mp(_mean(Fraction(_words(text) in _answers(right)) for text, right in pairs))


def _overlap(found: list[str], there: list[str]) -> Fraction:
    if not found or not there:
        return Fraction(found == there)
    common = sum(min(found.count(word), there.count(word)) for word in set(found))
    if not common:
        return Fraction(0)
    precision, recall = Fraction(common, len(found)), Fraction(common, len(there))
    return 2 * precision * recall / (precision + recall)


def squad_f1(predictions: Texts, answers: Sequence[Texts]) -> object:
    """Rajpurkar et al. 2016, section 6.1, and 2018."""
    pairs = zip(predictions, answers, strict=True)
    return _mp(_mean(max(_overlap(_words(text), words) for words in _answers(right)) for text, right in pairs))


# --- Named entities ---------------------------------------------------------------------------------------------------


def _entities(tags: Texts) -> list[tuple[str, tuple[int, ...]]]:
    """Types and places of entities, as tags are read one by one."""
    read: list[tuple[str, tuple[int, ...]]] = []
    for place, tag in enumerate(tags):
        if tag == "O":
            continue
        letter, type_ = tag[0], tag[2:]
        if letter == "I" and read and read[-1][0] == type_ and read[-1][1][-1] == place - 1:
            read[-1] = (type_, (*read[-1][1], place))
        else:
            read.append((type_, (place,)))
    return read


def span_f1(predicted_tags: Sequence[Texts], true_tags: Sequence[Texts]) -> object:
    """Tjong Kim Sang & De Meulder 2003, section 2.4."""
    pairs: list[tuple[bool, bool]] = []
    for predicted, true in zip(predicted_tags, true_tags, strict=True):
        if len(predicted) != len(true):
            raise ValueError("not as many tags of the one as of the other")
        found, there = _entities(predicted), _entities(true)
        pairs += [(entity in found, entity in there) for entity in {*found, *there}]
    return _mp(_f1(pairs))


# --- Translations -----------------------------------------------------------------------------------------------------


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[place : place + n]) for place in range(len(words)) if place + n <= len(words)]


def bleu(hypotheses: Texts, references: Sequence[Texts], *, max_order: int = 4) -> object:
    """Papineni et al. 2002, section 2.3, with 2.1.1 for precisions and 2.2.2 for lengths."""
    pairs = list(zip(hypotheses, references, strict=True))
    if not all(right for _, right in pairs):
        raise ValueError("a hypothesis has no reference")
    product = Fraction(1)
    for n in range(1, max_order + 1):
        clipped = there = 0
        for text, right in pairs:
            grams = _grams(text, n)
            there += len(grams)
            clipped += sum(min(grams.count(g), max(_grams(other, n).count(g) for other in right)) for g in set(grams))
        if not clipped:
            return mp.mpf(0)
        product *= Fraction(clipped, there)
    c, r = sum(len(text.split()) for text, _ in pairs), 0
    for text, right in pairs:
        lengths = sorted(len(other.split()) for other in right)  # of two as close, min finds the shorter first
        r += min(lengths, key=lambda length: abs(length - len(text.split())))
    penalty = mp.mpf(1) if c > r else mp.exp(1 - mp.mpf(r) / c)
    return penalty * mp.root(_mp(product), max_order)


# --- Language models --------------------------------------------------------------------------------------------------


def perplexity(log_probabilities: list[list[float]], mask: list[list[bool]]) -> object:
    """Jelinek et al. 1977: the product of probabilities to the power of -1 / (number of tokens)."""
    product, count = mp.mpf(1), 0
    for row, shown in zip(log_probabilities, mask, strict=True):
        for log_probability, is_shown in zip(row, shown, strict=True):
            if is_shown:
                product, count = product * mp.exp(mp.mpf(log_probability)), count + 1
    return product ** (mp.mpf(-1) / count)


def bits_per_byte(log_probabilities: list[float], num_bytes: list[int]) -> object:
    """Gao et al. 2020, section 3.1: the binary logarithms of the probabilities, over all bytes."""
    bits, count = mp.mpf(0), 0
    for log_probability, size in zip(log_probabilities, num_bytes, strict=True):
        bits, count = bits - mp.mpf(log_probability) / mp.log(2), count + size
    return bits / count
