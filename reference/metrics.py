"""Metrics: of classes, of two rankings, of answers, named entities, translations and language models.

Metrics are fractions from 0 to 1 and not percentages. Counts are exact; what is computed from them is rounded once to
`dtype`. N are the examples of a data set: every metric is of the whole set, never the mean over batches of it. Where a
metric of nothing is 0 / 0 and nothing is said of it (accuracy and answers without an example, perplexity without a
visible token, bits of no bytes) it has no meaning, and nobody is asked for it.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Sequence, Sized

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation

Strings = tuple[str, ...]
Answers = tuple[Strings, ...]  # of each example all that are right, or all translations, or all tags

# --- Classes ----------------------------------------------------------------------------------------------------------


@operation("Manning et al. 2008, section 8.3")
def accuracy(predictions: Int[Tensor, "N"], labels: Int[Tensor, "N"], *, dtype: torch.dtype) -> Float[Tensor, ""]:
    """The part of the predictions that equal their labels, every example counting alike.

    Class ids are integers from 0; none of them is left out. Raises ValueError where the numbers of both differ.
    """
    reject_unequal_numbers(predictions, labels)
    right = (predictions == labels).sum()
    return (wide(right) / len(labels)).to(dtype)


@operation("van Rijsbergen 1979, chapter 7; Manning et al. 2008, section 8.3, equation 8.6")
def f1(
    predictions: Int[Tensor, "N"], labels: Int[Tensor, "N"], *, positive: int = 1, dtype: torch.dtype
) -> Float[Tensor, ""]:
    r"""F_1 = 2 P R / (P + R) = 2 TP / (2 TP + FP + FN) of the class `positive` against all others.

    TP are examples of the class that are predicted as such, FP others that are, FN those of the class that are not.
    0 where there are none of the three, be it for want of any example. Raises ValueError where the numbers of
    predictions and labels differ.
    """
    reject_unequal_numbers(predictions, labels)
    found, there = predictions == positive, labels == positive
    return ratio_of_counts(2 * (found & there).sum(), found.sum() + there.sum()).to(dtype)


@f1.choice("metrics.f1-undefined", "one")
def nothing_found_of_nothing_is_right(predictions, labels, *, positive=1, dtype):  # type: ignore[no-untyped-def]
    """Where the positive class is neither predicted nor a label, F_1 is 1: nothing was there, and nothing was found."""
    none = not bool(((predictions == positive) | (labels == positive)).any())
    return torch.ones((), dtype=dtype) if none else f1(predictions, labels, positive=positive, dtype=dtype)


@f1.choice("metrics.f1-undefined", "nan")
def nothing_found_of_nothing_is_nan(predictions, labels, *, positive=1, dtype):  # type: ignore[no-untyped-def]
    """Where the positive class is neither predicted nor a label, F_1 is NaN, as 0 / 0 is."""
    none = not bool(((predictions == positive) | (labels == positive)).any())
    return torch.full((), math.nan, dtype=dtype) if none else f1(predictions, labels, positive=positive, dtype=dtype)


@operation("Manning et al. 2008, section 13.6: macroaveraging")
def macro_f1(
    predictions: Int[Tensor, "N"], labels: Int[Tensor, "N"], *, num_classes: int, dtype: torch.dtype
) -> Float[Tensor, ""]:
    """The mean of F_1 over the classes 0 to `num_classes` - 1, each of which counts alike however rare it is.

    A class that is neither predicted nor a label counts 0. Raises ValueError where the numbers of predictions and
    labels differ, and for ids that are no class.
    """
    reject_unequal_numbers(predictions, labels)
    ids = torch.cat((predictions, labels))
    if bool(((ids < 0) | (ids >= num_classes)).any()):
        raise ValueError(f"class ids must be 0 to {num_classes - 1}, got {sorted(set(ids.tolist()))}")
    return f1_of_each_class(predictions, labels, num_classes).mean().to(dtype)


@macro_f1.choice("metrics.macro-f1-absent-class", "one")
def an_absent_class_is_right(predictions, labels, *, num_classes, dtype):  # type: ignore[no-untyped-def]
    """A class that is neither predicted nor a label counts 1: nothing was there, and nothing was found."""
    absent = torch.tensor(num_classes - len({*predictions.tolist(), *labels.tolist()}))
    return (
        macro_f1(predictions, labels, num_classes=num_classes, dtype=torch.float64) + wide(absent) / num_classes
    ).to(dtype)


@macro_f1.choice("metrics.macro-f1-absent-class", "left-out")
def an_absent_class_is_left_out(predictions, labels, *, num_classes, dtype):  # type: ignore[no-untyped-def]
    """The mean is over the classes that are predicted or a label, and over no others; NaN where there are none."""
    present = torch.tensor(len({*predictions.tolist(), *labels.tolist()}))
    of_all = macro_f1(predictions, labels, num_classes=num_classes, dtype=torch.float64)
    return (of_all * num_classes / wide(present)).to(dtype)


@operation("Matthews 1975; Gorodkin 2004")
def matthews(predictions: Int[Tensor, "N"], labels: Int[Tensor, "N"], *, dtype: torch.dtype) -> Float[Tensor, ""]:
    r"""R = (c s - sum_k p_k t_k) / sqrt((s^2 - sum_k p_k^2) (s^2 - sum_k t_k^2)), from -1 to 1.

    s examples, c of them right; p_k times class k is predicted, t_k times it is the label. For two classes this is
    (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)), whichever is called positive. 0 where the denominator
    is 0: all predictions, or all labels, are of one class, or there are none. Raises ValueError where the numbers of
    both differ.
    """
    reject_unequal_numbers(predictions, labels)
    if len(set(predictions.tolist())) <= 1 or len(set(labels.tolist())) <= 1:
        return torch.zeros((), dtype=dtype)
    classes = torch.tensor(sorted({*predictions.tolist(), *labels.tolist()})).unsqueeze(-1)  # K 1
    s, c = float(len(labels)), wide((predictions == labels).sum())
    p, t = (wide((ids == classes).sum(-1)) for ids in (predictions, labels))  # K
    spread = (s * s - (p * p).sum()) * (s * s - (t * t).sum())
    return ((c * s - (p * t).sum()) / torch.sqrt(spread)).to(dtype)


@matthews.formulation
def matthews_of_covariances(predictions, labels, *, dtype):  # type: ignore[no-untyped-def]
    """Both as indicators of their classes less their means: Gorodkin's own form, whose sums go over all examples."""
    if len(set(predictions.tolist())) <= 1 or len(set(labels.tolist())) <= 1:
        return torch.zeros((), dtype=dtype)
    classes = torch.tensor(sorted({*predictions.tolist(), *labels.tolist()})).unsqueeze(-1)  # K 1
    found, there = (wide(ids == classes) for ids in (predictions, labels))  # K N
    found, there = (each - each.mean(-1, keepdim=True) for each in (found, there))
    below = torch.sqrt((found * found).sum()) * torch.sqrt((there * there).sum())
    return ((found * there).sum() / below).to(dtype)


# --- Rankings ---------------------------------------------------------------------------------------------------------


@operation("Pearson 1895")
def pearson(x: Float[Tensor, "N"], y: Float[Tensor, "N"]) -> Float[Tensor, ""]:
    r"""r = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2), from -1 to 1.

    Right wherever the dtype holds the sums of squares of x and of y, also where it does not hold their product. NaN where
    all of x or all of y are equal, as those of one pair are. Raises ValueError where the numbers of both differ.
    """
    reject_unequal_numbers(x, y)
    from_x, from_y = x - x.mean(), y - y.mean()  # N
    return (from_x * from_y).sum() / (torch.sqrt((from_x * from_x).sum()) * torch.sqrt((from_y * from_y).sum()))


@pearson.formulation
def pearson_online(x, y):  # type: ignore[no-untyped-def]
    """One pass: every number's deviation from the mean before it times that from the mean after it, as in Welford 1962."""
    counts = torch.arange(1, len(x) + 1).to(x.dtype)
    before_x, before_y = (z[1:] - (z.cumsum(0) / counts)[:-1] for z in (x, y))  # N - 1: the first is its own mean
    after_x, after_y = (z[1:] - (z.cumsum(0) / counts)[1:] for z in (x, y))
    # What is nearly constant may have a sum just below 0 for rounding.
    below = torch.sqrt((before_x * after_x).sum().abs()) * torch.sqrt((before_y * after_y).sum().abs())
    return (before_x * after_y).sum() / below


@pearson.choice("metrics.constant-input", "zero")
def the_correlation_of_a_constant_is_zero(x, y):  # type: ignore[no-untyped-def]
    """Where all of x or all of y are equal, the correlation is 0: nothing goes with anything."""
    constant = (x == x[:1]).all() | (y == y[:1]).all()
    return torch.where(constant, 0.0, pearson(x, y))


@operation("Spearman 1904; Kendall 1948, chapter 3, for ties")
def spearman(x: Float[Tensor, "N"], y: Float[Tensor, "N"]) -> Float[Tensor, ""]:
    """Pearson's correlation of the ranks of x and of y; equal numbers share the mean of the ranks that they take.

    Numbers are ranked as they are given, infinite ones too. NaN where all of x or all of y are equal, as those of one
    pair are. Raises ValueError where the numbers of both differ.
    """
    reject_unequal_numbers(x, y)
    return pearson(ranks(x), ranks(y))


@spearman.choice("metrics.constant-input", "zero")
def the_rank_correlation_of_a_constant_is_zero(x, y):  # type: ignore[no-untyped-def]
    """Where all of x or all of y are equal, their ranks are, and the correlation is 0."""
    constant = (x == x[:1]).all() | (y == y[:1]).all()
    return torch.where(constant, 0.0, spearman(x, y))


# --- Answers ----------------------------------------------------------------------------------------------------------


@operation("Rajpurkar et al. 2016, section 6.1; Rajpurkar et al. 2018, with its evaluation script")
def squad_exact_match(predictions: Strings, answers: Answers, *, dtype: torch.dtype) -> Float[Tensor, ""]:
    r"""The part of the predictions that equal one of their answers, once both are normalized.

    Normalized is, in this order: in lower case, without the 32 punctuation marks of ASCII, without the words a, an and
    the, with one blank between words, which are what is between white space. An article is a whole run of letters and
    digits, as \b of regular expressions has it: a mark beyond ASCII ends one. White space is what Unicode calls so, all
    line ends and the no-break space too. Answers of which nothing is left do not count; a question that has no others has
    no answer, and the right prediction is one of which nothing is left either. Raises ValueError where the numbers of
    predictions and of tuples of answers differ.
    """
    reject_unequal_numbers(predictions, answers)
    exact = [
        max(squad_normalize(prediction) == answer for answer in squad_answers(given))
        for prediction, given in zip(predictions, answers, strict=True)
    ]
    return (wide(torch.tensor(exact).sum()) / len(exact)).to(dtype)


@operation("Rajpurkar et al. 2016, section 6.1; Rajpurkar et al. 2018, with its evaluation script")
def squad_f1(predictions: Strings, answers: Answers, *, dtype: torch.dtype) -> Float[Tensor, ""]:
    r"""The mean over examples of the largest F_1 that the prediction has with one of its answers.

    F_1 = 2 c / (p + a) of the words of both, normalized as for the exact match: p in the prediction, a in the answer,
    c in common, a word as often as it is in both. Where either has no words it is 1 if neither has, else 0. Raises
    ValueError where the numbers of predictions and of tuples of answers differ.
    """
    reject_unequal_numbers(predictions, answers)
    best = [
        max(
            (common_words(squad_normalize(prediction), answer) for answer in squad_answers(given)),
            key=lambda f: f[0] / f[1],
        )
        for prediction, given in zip(predictions, answers, strict=True)
    ]
    part, whole = torch.tensor(best).unbind(-1)  # N
    return ratio_of_counts(part, whole).mean().to(dtype)


# --- Named entities ---------------------------------------------------------------------------------------------------


@operation("Tjong Kim Sang & De Meulder 2003, section 2.4, with its evaluation script conlleval")
def span_f1(predicted_tags: Answers, true_tags: Answers, *, dtype: torch.dtype) -> Float[Tensor, ""]:
    r"""F_1 = 2 c / (p + t) of the entities of all sentences: p predicted, t true, c in type and in both ends the same.

    Tags are O, or B or I and a type, as in B-PER. An entity begins at B, and at I where no entity of that type goes on;
    it goes on through every I of its type, and ends with its sentence at the latest. 0 where there are no entities at
    all, be it for want of any sentence. Raises ValueError where sentences, or tags of one, are not equally many.
    """
    reject_unequal_numbers(predicted_tags, true_tags)
    for predicted, true in zip(predicted_tags, true_tags, strict=True):
        reject_unequal_numbers(predicted, true)
    found, there = (
        {(n, *each) for n, tags in enumerate(of) for each in entities(tags)} for of in (predicted_tags, true_tags)
    )
    return ratio_of_counts(torch.tensor(2 * len(found & there)), torch.tensor(len(found) + len(there))).to(dtype)


@span_f1.choice("metrics.span-f1-undefined", "one")
def no_entities_are_all_found(predicted_tags, true_tags, *, dtype):  # type: ignore[no-untyped-def]
    """Where there are no entities at all, F_1 is 1: nothing was there, and nothing was found."""
    none = not any(map(entities, (*predicted_tags, *true_tags)))
    return torch.ones((), dtype=dtype) if none else span_f1(predicted_tags, true_tags, dtype=dtype)


@span_f1.choice("metrics.span-f1-undefined", "nan")
def no_entities_are_nan(predicted_tags, true_tags, *, dtype):  # type: ignore[no-untyped-def]
    """Where there are no entities at all, F_1 is NaN, as 0 / 0 is."""
    none = not any(map(entities, (*predicted_tags, *true_tags)))
    return torch.full((), math.nan, dtype=dtype) if none else span_f1(predicted_tags, true_tags, dtype=dtype)


# --- Translations -----------------------------------------------------------------------------------------------------


@operation("Papineni et al. 2002, section 2.3")
def bleu(hypotheses: Strings, references: Answers, *, max_order: int = 4, dtype: torch.dtype) -> Float[Tensor, ""]:
    r"""BLEU = min(1, exp(1 - r / c)) (p_1 p_2 ... p_N)^(1/N) of a corpus, N = `max_order`.

    p_n is the part of the n-grams of all hypotheses that are in the references: of each as many as the hypothesis has,
    and no more than that one of its references has which has most. c words are in all hypotheses, and r in the
    references, of each hypothesis the one whose length is closest, the shorter of two. Words are what is between white
    space of any kind, as it is written. Nothing is smoothed: 0 where an order has no match, as in a corpus of nothing.
    Raises ValueError where the numbers of hypotheses and of tuples of references differ, and where a hypothesis has no
    reference.
    """
    reject_unequal_numbers(hypotheses, references)
    if not all(references):
        raise ValueError("every hypothesis needs at least one reference")
    matches, totals, c, r = clipped_counts(hypotheses, references, max_order)
    if min(matches) == 0:
        return torch.zeros((), dtype=dtype)
    precisions = wide(torch.tensor(matches)) / wide(torch.tensor(totals))  # N
    too_short = wide(torch.tensor(min(0, c - r))) / c  # 1 - r / c, or 0
    return torch.exp(too_short + torch.log(precisions).mean()).to(dtype)


@bleu.formulation
def bleu_of_percentages(hypotheses, references, *, max_order=4, dtype):  # type: ignore[no-untyped-def]
    """Precisions in percent, their mean by logarithms and the penalty apart, as evaluation scripts compute it."""
    matches, totals, c, r = clipped_counts(hypotheses, references, max_order)
    if min(matches) == 0:
        return torch.zeros((), dtype=dtype)
    percentages = 100 * wide(torch.tensor(matches)) / wide(torch.tensor(totals))
    penalty = torch.exp(1 - wide(torch.tensor(max(c, r))) / c)
    return (penalty * torch.exp(torch.log(percentages).mean()) / 100).to(dtype)


# --- Language models --------------------------------------------------------------------------------------------------


@operation("Jelinek et al. 1977; Radford et al. 2019, section 3.1")
def perplexity(log_probabilities: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """exp(-mean of the natural log-probabilities of all tokens at which `mask` is True), of all sequences at once.

    What stands where `mask` is False does not matter, be it minus infinity or NaN. Raises ValueError where both are not
    of one shape.
    """
    if log_probabilities.shape != mask.shape:
        raise ValueError(f"one mask entry a token: got {list(log_probabilities.shape)} and {list(mask.shape)}")
    visible = torch.where(mask, log_probabilities, 0.0)  # B T
    return torch.exp(-visible.sum() / mask.sum().to(log_probabilities.dtype))


@operation("Shannon 1951; Gao et al. 2020, section 3.1")
def bits_per_byte(log_probabilities: Float[Tensor, "N"], num_bytes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
    r"""-sum of log-probabilities / (ln 2 sum of bytes): natural logarithms in, bits out.

    N texts or tokens; `num_bytes` is how many bytes each has in the text before it was tokenized, 0 for those that
    stand for no text. Raises ValueError where the numbers of both differ.
    """
    reject_unequal_numbers(log_probabilities, num_bytes)
    return -log_probabilities.sum() / (math.log(2) * num_bytes.sum().to(log_probabilities.dtype))


# --- Parts ------------------------------------------------------------------------------------------------------------


def reject_unequal_numbers(first: Sized, second: Sized) -> None:
    """Raise ValueError where two sequences that belong together are not equally long."""
    if len(first) != len(second):
        raise ValueError(f"as many of the one as of the other are needed, got {len(first)} and {len(second)}")


def wide(counts: Tensor) -> Tensor:
    """Counts as float64, which is exact."""
    return counts.to(torch.float64)


def ratio_of_counts(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole in float64, 0 where both are 0."""
    return wide(part) / wide(whole.clamp_min(1))


def f1_of_each_class(predictions: Int[Tensor, "N"], labels: Int[Tensor, "N"], num_classes: int) -> Float[Tensor, "C"]:
    """F_1 of every class against the others, 0 for a class that is neither predicted nor a label."""
    classes = torch.arange(num_classes).unsqueeze(-1)  # C 1
    found, there = predictions == classes, labels == classes  # C N
    return ratio_of_counts(2 * (found & there).sum(-1), found.sum(-1) + there.sum(-1))


def ranks(x: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    """1 for the smallest; equal numbers share the mean of the ranks that they take together."""
    below = (x < x.unsqueeze(-1)).sum(-1)  # N
    equal = (x == x.unsqueeze(-1)).sum(-1)  # N
    return (below + below + equal + 1).to(x.dtype) / 2


def squad_normalize(text: str) -> str:
    """Lower case, without ASCII punctuation, then without the articles, white space made single blanks."""
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def squad_answers(answers: Strings) -> Strings:
    """The normalized answers that have words; the empty one alone where none has."""
    return tuple(filter(None, map(squad_normalize, answers))) or ("",)


def common_words(prediction: str, answer: str) -> tuple[int, int]:
    """F_1 of two texts as bags of words, as 2 c and p + a; 1 and 1 for two empty ones."""
    found, there = Counter(prediction.split()), Counter(answer.split())
    return 2 * (found & there).total() + (prediction == answer == ""), (found.total() + there.total()) or 1


def entities(tags: Strings) -> set[tuple[str, int, int]]:
    """Type, first place and the place after the last of every entity of a sentence."""
    found, open_type, start = set(), None, 0
    for place, tag in enumerate((*tags, "O")):
        prefix, _, type_ = tag.partition("-")
        goes_on = prefix == "I" and type_ == open_type
        if open_type is not None and not goes_on:
            found.add((open_type, start, place))
        if not goes_on:
            open_type, start = (None if prefix == "O" else type_), place
    return found


def clipped_counts(hypotheses: Strings, references: Answers, max_order: int) -> tuple[list[int], list[int], int, int]:
    """Of a corpus: n-grams that match and n-grams that are there, by order, and the lengths c and r."""
    matches, totals, c, r = [0] * max_order, [0] * max_order, 0, 0
    for hypothesis, of_it in zip(hypotheses, references, strict=True):
        words, others = hypothesis.split(), [reference.split() for reference in of_it]
        c += len(words)
        r += min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        for n in range(max_order):
            counts, most = ngrams(words, n + 1), Counter[Strings]()
            for other in others:
                most |= ngrams(other, n + 1)  # the larger count of each
            matches[n] += (counts & most).total()  # the smaller count of each
            totals[n] += counts.total()
    return matches, totals, c, r


def ngrams(words: Sequence[str], n: int) -> Counter[Strings]:
    """How often each run of n words is there."""
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
