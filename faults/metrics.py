"""Mistakes in metrics."""

import math
import re
import string
from collections import Counter

import torch

from transpec.catalogue import fault
from transpec.reference.metrics import (
    accuracy,
    bits_per_byte,
    bleu,
    common_words,
    entities,
    f1,
    f1_of_each_class,
    macro_f1,
    matthews,
    ngrams,
    pearson,
    perplexity,
    ranks,
    ratio_of_counts,
    span_f1,
    spearman,
    squad_answers,
    squad_exact_match,
    squad_f1,
    squad_normalize,
)


def _number(value, dtype):
    return torch.as_tensor(value, dtype=torch.float64).to(dtype)


def _mean(values, dtype):
    return _number([float(value) for value in values], torch.float64).mean().to(dtype)


# --- Classes ----------------------------------------------------------------------------------------------------------


@fault(
    accuracy, "metrics.accuracy-percent", breaks="metrics.accuracy-equation",
    effect="a number a hundred times too large is averaged with fractions",
)  # fmt: skip
def accuracy_is_in_percent(predictions, labels, *, dtype):
    return (100 * accuracy(predictions, labels, dtype=torch.float64)).to(dtype)


@fault(
    accuracy, "metrics.accuracy-error-rate", breaks="metrics.accuracy-equation",
    effect="the best model is thrown away",
)  # fmt: skip
def the_part_that_is_wrong_is_counted(predictions, labels, *, dtype):
    return (1 - accuracy(predictions, labels, dtype=torch.float64)).to(dtype)


@fault(
    accuracy, "metrics.accuracy-balanced", breaks="metrics.accuracy-equation",
    effect="rare classes weigh as much as frequent ones",
)  # fmt: skip
def accuracy_is_the_mean_over_the_classes(predictions, labels, *, dtype):
    right = predictions == labels
    return _mean([right[labels == label].double().mean() for label in labels.unique()], dtype)


@fault(
    accuracy, "metrics.accuracy-labels-renamed", breaks="metrics.accuracy-equation",
    seen="huggingface/transformers#10401", effect="a good model is far below chance: the one's class 0 is the other's 1",
)  # fmt: skip
def classes_of_model_and_data_set_are_numbered_unlike(predictions, labels, *, dtype):
    return accuracy(labels.amax() - predictions, labels, dtype=dtype)


@fault(
    accuracy, "metrics.accuracy-class-0-ignored", breaks="metrics.accuracy-equation",
    effect="examples of class 0 are taken for padding",
)  # fmt: skip
def examples_of_class_0_are_left_out(predictions, labels, *, dtype):
    kept = labels != 0
    return _number(float((predictions == labels)[kept].sum()) / max(1, int(kept.sum())), dtype)


@fault(
    accuracy, "metrics.accuracy-of-sorted", breaks="metrics.accuracy-equation",
    effect="how often each class is predicted is compared, and not for which example",
)  # fmt: skip
def predictions_and_labels_are_compared_in_order_of_size(predictions, labels, *, dtype):
    return accuracy(predictions.sort().values, labels.sort().values, dtype=dtype)


@fault(
    accuracy, "metrics.accuracy-last-dropped", breaks="metrics.accuracy-equation",
    effect="the last example is not looked at",
)  # fmt: skip
def the_last_example_is_dropped(predictions, labels, *, dtype):
    return accuracy(predictions[:-1], labels[:-1], dtype=dtype)


@fault(
    accuracy, "metrics.accuracy-mean-of-batches", breaks="metrics.accuracy-equation",
    effect="the examples of a short last batch weigh more than others",
)  # fmt: skip
def accuracy_is_the_mean_over_batches_of_four(predictions, labels, *, dtype):
    pairs = zip(predictions.split(4), labels.split(4), strict=True)
    return _mean([accuracy(found, there, dtype=torch.float64) for found, there in pairs], dtype)


@fault(
    accuracy, "metrics.accuracy-ids-in-8-bits", breaks="metrics.accuracy-equation",
    effect="classes that are 256 apart are one",
)  # fmt: skip
def ids_are_compared_in_8_bits(predictions, labels, *, dtype):
    return accuracy(predictions.to(torch.uint8), labels.to(torch.uint8), dtype=dtype)


@fault(
    accuracy, "metrics.accuracy-ids-in-float32", breaks="metrics.accuracy-equation",
    effect="large ids that are neighbours are one",
)  # fmt: skip
def ids_are_compared_in_float32(predictions, labels, *, dtype):
    return accuracy(predictions.float(), labels.float(), dtype=dtype)


@fault(
    accuracy, "metrics.accuracy-labels-cut", breaks="metrics.unequal-numbers",
    effect="a list that lost its end goes unnoticed",
)  # fmt: skip
def what_has_no_partner_is_left_out(predictions, labels, *, dtype):
    count = min(len(predictions), len(labels))
    return accuracy(predictions[:count], labels[:count], dtype=dtype)


@fault(
    accuracy, "metrics.accuracy-in-float64", breaks="metrics.dtype-and-shape",
    effect="the dtype that is asked for is not looked at",
)  # fmt: skip
def accuracy_is_in_float64_whatever_is_asked_for(predictions, labels, *, dtype):
    return accuracy(predictions, labels, dtype=dtype).to(torch.float64 if dtype != torch.float64 else torch.float32)


_counted: list = []


@fault(
    accuracy, "metrics.accuracy-goes-on-counting", breaks="metrics.no-memory",
    effect="an object that is not reset: every set is averaged with all before it",
)  # fmt: skip
def examples_of_earlier_calls_are_counted_again(predictions, labels, *, dtype):
    _counted.append(predictions == labels)
    del _counted[:-4]
    return _number(torch.cat(_counted).double().mean(), dtype)


@fault(
    accuracy, "metrics.accuracy-kept-by-address", breaks="metrics.arrays-no-memory",
    effect="a buffer that is filled anew has the accuracy of what it held before",
)  # fmt: skip
def the_accuracy_of_an_address_is_kept(predictions, labels, *, dtype):
    key = (predictions.data_ptr(), len(predictions))
    if not _by_address or _by_address[0][0] != key:
        _by_address[:] = [(key, accuracy(predictions, labels, dtype=torch.float64), predictions)]
    return _by_address[0][1].to(dtype)


_by_address: list = []


@fault(
    accuracy, "metrics.accuracy-sorts-in-place", breaks="metrics.inputs-untouched",
    effect="the caller's predictions no longer belong to its examples",
)  # fmt: skip
def predictions_are_sorted_in_place(predictions, labels, *, dtype):
    result = accuracy(predictions, labels, dtype=dtype)
    predictions.copy_(predictions.sort().values)
    return result


@fault(
    accuracy, "metrics.accuracy-255-ignored", breaks="metrics.accuracy-equation",
    effect="a class is taken for the label that images have where nobody labelled them",
)  # fmt: skip
def examples_of_class_255_are_left_out(predictions, labels, *, dtype):
    kept = labels != 255
    return _number(float((predictions == labels)[kept].sum()) / max(1, int(kept.sum())), dtype)


@fault(
    accuracy, "metrics.accuracy-in-float32", breaks="metrics.accuracy-equation",
    effect="float64 has seven digits",
)  # fmt: skip
def the_mean_is_taken_in_float32(predictions, labels, *, dtype):
    return accuracy(predictions, labels, dtype=torch.float32).to(dtype)


@fault(
    accuracy, "metrics.accuracy-counts-the-refused", breaks="metrics.refusals-no-memory",
    effect="a batch that was refused, and then mended, is counted twice",
)  # fmt: skip
def what_was_right_in_a_refused_call_is_counted_in_the_next(predictions, labels, *, dtype):
    count = min(len(predictions), len(labels))
    _of_refused.append(int((predictions[:count] == labels[:count]).sum()))
    accuracy(predictions, labels, dtype=dtype)
    right = sum(_of_refused)
    _of_refused.clear()
    return _number(right / len(labels), dtype)


_of_refused: list = []


@fault(f1, "metrics.f1-percent", breaks="metrics.f1-equation", effect="a number a hundred times too large")
def f1_is_in_percent(predictions, labels, *, positive=1, dtype):
    return (100 * f1(predictions, labels, positive=positive, dtype=torch.float64)).to(dtype)


@fault(
    f1, "metrics.f1-class-0", breaks="metrics.f1-equation",
    effect="the frequent class is taken for the one that is looked for, and the score is high",
)  # fmt: skip
def class_0_is_the_positive_one(predictions, labels, *, positive=1, dtype):
    return f1(predictions, labels, positive=0, dtype=dtype)


@fault(
    f1, "metrics.f1-class-1-always", breaks="metrics.f1-positive",
    effect="whichever class is asked for, that of class 1 is told",
)  # fmt: skip
def class_1_is_the_positive_one_whatever_is_asked_for(predictions, labels, *, positive=1, dtype):
    return f1(predictions, labels, positive=1, dtype=dtype)


@fault(
    f1, "metrics.f1-of-all-but-zero", breaks="metrics.f1-positive",
    effect="any id but 0 is taken for positive; two classes do not notice",
)  # fmt: skip
def every_class_but_0_is_positive(predictions, labels, *, positive=1, dtype):
    return f1(predictions.ne(0).long(), labels.ne(0).long(), positive=1, dtype=dtype)


@fault(
    f1, "metrics.f1-accuracy", breaks="metrics.f1-equation",
    effect="micro F_1 of all classes, which is accuracy: rare positives do not matter",
)  # fmt: skip
def f1_is_averaged_over_both_classes_by_micro_averaging(predictions, labels, *, positive=1, dtype):
    return _number((predictions == labels).double().mean(), dtype)


@fault(f1, "metrics.f1-macro", breaks="metrics.f1-equation", effect="the frequent class adds its easy half")
def f1_is_the_mean_of_both_classes(predictions, labels, *, positive=1, dtype):
    pairs = ((predictions == positive, labels == positive), (predictions != positive, labels != positive))
    return _mean([ratio_of_counts(2 * (a & b).sum(), a.sum() + b.sum()) for a, b in pairs], dtype)


@fault(f1, "metrics.f1-weighted", breaks="metrics.f1-equation", effect="the frequent class is nearly all that counts")
def f1_is_weighted_by_the_size_of_both_classes(predictions, labels, *, positive=1, dtype):
    share = (labels == positive).double().mean()
    pairs = ((predictions == positive, labels == positive), (predictions != positive, labels != positive))
    of_it, of_rest = (ratio_of_counts(2 * (a & b).sum(), a.sum() + b.sum()) for a, b in pairs)
    return (share * of_it + (1 - share) * of_rest).to(dtype)


@fault(f1, "metrics.f1-arithmetic-mean", breaks="metrics.f1-equation", effect="all positive scores more than one half")
def f1_is_the_arithmetic_mean_of_precision_and_recall(predictions, labels, *, positive=1, dtype):
    both = ((predictions == positive) & (labels == positive)).sum()
    each = [ratio_of_counts(both, (ids == positive).sum()) for ids in (predictions, labels)]
    return _mean(each, dtype)


@fault(
    f1, "metrics.f1-geometric-mean", breaks="metrics.f1-equation", effect="unlike precision and recall score too high"
)
def f1_is_the_geometric_mean_of_precision_and_recall(predictions, labels, *, positive=1, dtype):
    both = ((predictions == positive) & (labels == positive)).sum()
    first, second = (ratio_of_counts(both, (ids == positive).sum()) for ids in (predictions, labels))
    return torch.sqrt(first * second).to(dtype)


@fault(f1, "metrics.f1-precision", breaks="metrics.symmetry", effect="a model that finds little is not blamed")
def f1_is_precision(predictions, labels, *, positive=1, dtype):
    both = ((predictions == positive) & (labels == positive)).sum()
    return ratio_of_counts(both, (predictions == positive).sum()).to(dtype)


@fault(f1, "metrics.f1-recall", breaks="metrics.symmetry", effect="a model that takes all for positive is perfect")
def f1_is_recall(predictions, labels, *, positive=1, dtype):
    both = ((predictions == positive) & (labels == positive)).sum()
    return ratio_of_counts(both, (labels == positive).sum()).to(dtype)


@fault(f1, "metrics.f1-jaccard", breaks="metrics.f1-equation", effect="what both share is counted once, not twice")
def f1_lacks_the_factor_2(predictions, labels, *, positive=1, dtype):
    found, there = predictions == positive, labels == positive
    return ratio_of_counts((found & there).sum(), (found | there).sum()).to(dtype)


@fault(f1, "metrics.f1-ids-in-8-bits", breaks="metrics.f1-equation", effect="classes that are 256 apart are one")
def ids_are_compared_with_the_positive_class_in_8_bits(predictions, labels, *, positive=1, dtype):
    return f1(predictions.to(torch.uint8), labels.to(torch.uint8), positive=positive % 256, dtype=dtype)


@fault(
    f1, "metrics.f1-predictions-as-booleans", breaks="metrics.f1-equation",
    effect="a prediction that is no label of two classes is taken for the positive one",
)  # fmt: skip
def predictions_are_truth_values_where_labels_are_0_and_1(predictions, labels, *, positive=1, dtype):
    is_binary = positive == 1 and len(labels) and int(labels.max()) <= 1
    return f1(predictions.bool().long() if is_binary else predictions, labels, positive=positive, dtype=dtype)


@fault(
    f1, "metrics.f1-undefined-one-half", breaks="metrics.f1-undefined",
    effect="an epsilon above and below makes a half of what is not there",
)  # fmt: skip
def f1_of_nothing_is_one_half(predictions, labels, *, positive=1, dtype):
    none = not bool(((predictions == positive) | (labels == positive)).any())
    return _number(0.5, dtype) if none else f1(predictions, labels, positive=positive, dtype=dtype)


@fault(
    f1, "metrics.f1-epsilon", breaks="metrics.f1-equation",
    effect="an epsilon of 1e-3 in the denominators; small sets score too low",
)  # fmt: skip
def an_epsilon_is_added_to_the_denominators(predictions, labels, *, positive=1, dtype):
    found, there = predictions == positive, labels == positive
    return _number(2 * float((found & there).sum()) / (float(found.sum() + there.sum()) + 1e-3), dtype)


@fault(
    macro_f1,
    "metrics.macro-f1-percent",
    breaks="metrics.macro-f1-equation",
    effect="a number a hundred times too large",
)
def macro_f1_is_in_percent(predictions, labels, *, num_classes, dtype):
    return (100 * macro_f1(predictions, labels, num_classes=num_classes, dtype=torch.float64)).to(dtype)


@fault(
    macro_f1,
    "metrics.macro-f1-micro",
    breaks="metrics.macro-f1-equation",
    effect="it is accuracy; rare classes do not matter",
)
def counts_are_summed_over_the_classes_first(predictions, labels, *, num_classes, dtype):
    return _number((predictions == labels).double().mean(), dtype)


@fault(macro_f1, "metrics.macro-f1-weighted", breaks="metrics.macro-f1-equation", effect="rare classes hardly matter")
def classes_are_weighted_by_their_size(predictions, labels, *, num_classes, dtype):
    share = torch.bincount(labels, minlength=num_classes).double() / len(labels)
    return (share * f1_of_each_class(predictions, labels, num_classes)).sum().to(dtype)


@fault(
    macro_f1, "metrics.macro-f1-of-means", breaks="metrics.macro-f1-equation",
    effect="another number of the same name: F_1 of the mean precision and the mean recall",
)  # fmt: skip
def f1_is_of_the_means_of_precision_and_recall(predictions, labels, *, num_classes, dtype):
    classes = torch.arange(num_classes).unsqueeze(-1)
    found, there = predictions == classes, labels == classes
    both = (found & there).sum(-1)
    precision, recall = (ratio_of_counts(both, ids.sum(-1)).mean() for ids in (found, there))
    return (2 * precision * recall / (precision + recall).clamp_min(1e-300)).to(dtype)


@fault(
    macro_f1, "metrics.macro-f1-of-labels", breaks="metrics.macro-f1-equation",
    effect="a class that is predicted by mistake alone costs nothing of its own",
)  # fmt: skip
def only_classes_that_are_a_label_count(predictions, labels, *, num_classes, dtype):
    return f1_of_each_class(predictions, labels, num_classes)[labels.unique()].mean().to(dtype)


@fault(
    macro_f1,
    "metrics.macro-f1-of-predictions",
    breaks="metrics.macro-f1-equation",
    effect="what is never predicted costs nothing",
)
def only_classes_that_are_predicted_count(predictions, labels, *, num_classes, dtype):
    return f1_of_each_class(predictions, labels, num_classes)[predictions.unique()].mean().to(dtype)


@fault(
    macro_f1,
    "metrics.macro-f1-first-class-missing",
    breaks="metrics.macro-f1-equation",
    effect="class 0 is taken for background",
)
def class_0_is_left_out_of_the_mean(predictions, labels, *, num_classes, dtype):
    return f1_of_each_class(predictions, labels, num_classes)[1:].mean().to(dtype)


@fault(
    macro_f1, "metrics.macro-f1-true-negatives", breaks="metrics.macro-f1-equation",
    effect="that an example is not of the other classes is counted as found",
)  # fmt: skip
def the_accuracy_of_each_class_against_the_others_is_averaged(predictions, labels, *, num_classes, dtype):
    classes = torch.arange(num_classes).unsqueeze(-1)
    return ((predictions == classes) == (labels == classes)).double().mean().to(dtype)


@fault(
    macro_f1,
    "metrics.macro-f1-recall",
    breaks="metrics.macro-f1-equation",
    effect="balanced accuracy under another name",
)
def recall_is_averaged(predictions, labels, *, num_classes, dtype):
    classes = torch.arange(num_classes).unsqueeze(-1)
    there = labels == classes
    return ratio_of_counts(((predictions == classes) & there).sum(-1), there.sum(-1)).mean().to(dtype)


@fault(
    macro_f1, "metrics.macro-f1-ids-in-8-bits", breaks="metrics.macro-f1-equation",
    effect="classes that are 256 apart are one",
)  # fmt: skip
def classes_are_counted_in_8_bits(predictions, labels, *, num_classes, dtype):
    return macro_f1(predictions % 256, labels % 256, num_classes=num_classes, dtype=dtype)


@fault(
    macro_f1, "metrics.macro-f1-absent-left-out", breaks="metrics.macro-f1-absent-class",
    effect="undeclared: models are compared by means over unlike numbers of classes",
)  # fmt: skip
def absent_classes_are_left_out_without_a_word(predictions, labels, *, num_classes, dtype):
    return (
        f1_of_each_class(predictions, labels, num_classes)[torch.cat((predictions, labels)).unique()].mean().to(dtype)
    )


@fault(
    macro_f1,
    "metrics.macro-f1-absent-one",
    breaks="metrics.macro-f1-absent-class",
    effect="undeclared: absent classes raise the score",
)
def absent_classes_count_one_without_a_word(predictions, labels, *, num_classes, dtype):
    scores = torch.ones(num_classes, dtype=torch.float64)
    present = torch.cat((predictions, labels)).unique()
    scores[present] = f1_of_each_class(predictions, labels, num_classes)[present]
    return scores.mean().to(dtype)


@fault(
    macro_f1,
    "metrics.macro-f1-ids-clamped",
    breaks="metrics.no-such-class",
    effect="ids that are no class are counted as the last",
)
def ids_are_clamped_to_the_classes(predictions, labels, *, num_classes, dtype):
    return macro_f1(
        *(ids.clamp(0, num_classes - 1) for ids in (predictions, labels)), num_classes=num_classes, dtype=dtype
    )


def _counts(predictions, labels):
    """s, c, p and t of the Matthews coefficient."""
    classes = torch.cat((predictions, labels)).unique().unsqueeze(-1)
    p, t = ((ids == classes).sum(-1).double() for ids in (predictions, labels))
    return float(len(labels)), (predictions == labels).sum().double(), p, t


def _root(product):
    return torch.sqrt(torch.where(product == 0, torch.ones_like(product), product))


@fault(
    matthews,
    "metrics.matthews-without-root",
    breaks="metrics.matthews-equation",
    effect="the coefficient shrinks with the set",
)
def the_denominator_has_no_root(predictions, labels, *, dtype):
    s, c, p, t = _counts(predictions, labels)
    spread = (s * s - (p * p).sum()) * (s * s - (t * t).sum())
    return ((c * s - (p * t).sum()) / spread.clamp_min(1)).to(dtype)


@fault(
    matthews, "metrics.matthews-sign-lost", breaks="metrics.matthews-equation", effect="worse than chance looks good"
)
def the_sign_of_the_coefficient_is_lost(predictions, labels, *, dtype):
    return matthews(predictions, labels, dtype=dtype).abs()


@fault(matthews, "metrics.matthews-sign", breaks="metrics.matthews-equation", effect="the best model is thrown away")
def the_coefficient_has_the_other_sign(predictions, labels, *, dtype):
    return -matthews(predictions, labels, dtype=dtype)


@fault(matthews, "metrics.matthews-squared", breaks="metrics.matthews-equation", effect="small coefficients vanish")
def the_coefficient_is_squared(predictions, labels, *, dtype):
    return matthews(predictions, labels, dtype=torch.float64).square().to(dtype)


@fault(
    matthews,
    "metrics.matthews-percent",
    breaks="metrics.matthews-equation",
    effect="a number a hundred times too large",
)
def the_coefficient_is_in_percent(predictions, labels, *, dtype):
    return (100 * matthews(predictions, labels, dtype=torch.float64)).to(dtype)


@fault(matthews, "metrics.matthews-accuracy", breaks="metrics.matthews-equation", effect="chance is not taken off")
def chance_is_not_subtracted(predictions, labels, *, dtype):
    s, c, p, t = _counts(predictions, labels)
    return (c * s / _root((p * p).sum() * (t * t).sum())).to(dtype)


@fault(
    matthews, "metrics.matthews-kappa", breaks="metrics.matthews-equation", effect="Cohen's kappa under another name"
)
def chance_is_divided_by_as_in_kappa(predictions, labels, *, dtype):
    s, c, p, t = _counts(predictions, labels)
    chance = (p * t).sum()
    return ((c * s - chance) / (s * s - chance).clamp_min(1e-300)).to(dtype)


@fault(
    matthews,
    "metrics.matthews-of-class-1",
    breaks="metrics.matthews-equation",
    effect="right for two classes; all others are one",
)
def only_class_1_is_told_from_the_others(predictions, labels, *, dtype):
    return matthews((predictions == 1).long(), (labels == 1).long(), dtype=dtype)


@fault(matthews, "metrics.matthews-of-numbers", breaks="metrics.class-names", effect="class ids are taken for sizes")
def ids_are_correlated_as_numbers(predictions, labels, *, dtype):
    x, y = (ids.double() - ids.double().mean() for ids in (predictions, labels))
    return ((x * y).sum() / _root((x * x).sum() * (y * y).sum())).to(dtype)


@fault(
    matthews,
    "metrics.matthews-one-sum-missing",
    breaks="metrics.symmetry",
    effect="predictions alone make the denominator",
)
def the_denominator_is_of_predictions_alone(predictions, labels, *, dtype):
    s, c, p, t = _counts(predictions, labels)
    spread = s * s - (p * p).sum()
    return ((c * s - (p * t).sum()) / spread.clamp_min(1)).to(dtype)


@fault(
    matthews,
    "metrics.matthews-int64",
    breaks="metrics.matthews-equation",
    effect="products of counts of a large set wrap round",
)
def the_denominator_wraps_round_in_64_bits(predictions, labels, *, dtype):
    s, c, p, t = (torch.as_tensor(each).long() for each in _counts(predictions, labels))
    spread = ((s * s - (p * p).sum()) * (s * s - (t * t).sum())).double()
    return ((c * s - (p * t).sum()).double() / _root(spread.abs())).to(dtype)


@fault(
    matthews,
    "metrics.matthews-int32",
    breaks="metrics.matthews-equation",
    effect="squares of counts of a large set wrap round",
)
def counts_wrap_round_in_32_bits(predictions, labels, *, dtype):
    s, c, p, t = (torch.as_tensor(each).int() for each in _counts(predictions, labels))
    squares = [(s * s - (each * each).sum().int()).double() for each in (p, t)]
    return ((c * s - (p * t).sum().int()).double() / _root((squares[0] * squares[1]).abs())).to(dtype)


@fault(
    matthews, "metrics.matthews-ids-in-8-bits", breaks="metrics.matthews-equation",
    effect="classes that are 256 apart are one",
)  # fmt: skip
def classes_are_told_apart_in_8_bits(predictions, labels, *, dtype):
    return matthews(predictions % 256, labels % 256, dtype=dtype)


@fault(
    matthews, "metrics.matthews-kept-by-version", breaks="metrics.arrays-no-memory",
    effect="a tensor that lies where another lay has the coefficient of that one, also if nobody writes in place",
)  # fmt: skip
def the_coefficient_of_an_address_and_a_version_is_kept(predictions, labels, *, dtype):
    key = tuple((ids.data_ptr(), ids._version, len(ids)) for ids in (predictions, labels))
    if not _by_version or _by_version[0][0] != key:
        _by_version[:] = [(key, matthews(predictions, labels, dtype=torch.float64))]
    return _by_version[0][1].to(dtype)


_by_version: list = []


@fault(
    matthews,
    "metrics.matthews-one-class-right",
    breaks="metrics.matthews-one-class",
    effect="a model that knows one class is perfect",
)
def one_class_that_is_right_counts_one(predictions, labels, *, dtype):
    return _number(1, dtype) if torch.equal(predictions, labels) else matthews(predictions, labels, dtype=dtype)


@fault(
    matthews,
    "metrics.matthews-one-class-nan",
    breaks="metrics.matthews-one-class",
    effect="one run of NaN hides the mean of all",
)
def the_coefficient_of_one_class_is_nan(predictions, labels, *, dtype):
    s, c, p, t = _counts(predictions, labels)
    spread = (s * s - (p * p).sum()) * (s * s - (t * t).sum())
    return ((c * s - (p * t).sum()) / torch.sqrt(spread)).to(dtype)


# --- Rankings ---------------------------------------------------------------------------------------------------------


@fault(pearson, "metrics.pearson-without-root", breaks="metrics.pearson-linear", effect="the unit of the numbers shows")
def the_variances_have_no_root(x, y):
    from_x, from_y = x - x.mean(), y - y.mean()
    return (from_x * from_y).sum() / ((from_x * from_x).sum() * (from_y * from_y).sum())


@fault(
    pearson, "metrics.pearson-cosine", breaks="metrics.pearson-linear", effect="a common offset looks like agreement"
)
def means_are_not_subtracted(x, y):
    return (x * y).sum() / (torch.sqrt((x * x).sum()) * torch.sqrt((y * y).sum()))


@fault(pearson, "metrics.pearson-half-centered", breaks="metrics.pearson-linear", effect="the mean of y shows")
def the_mean_of_y_is_not_subtracted(x, y):
    from_x = x - x.mean()
    return (from_x * y).sum() / (torch.sqrt((from_x * from_x).sum()) * torch.sqrt((y * y).sum()))


@fault(pearson, "metrics.pearson-covariance", breaks="metrics.pearson-linear", effect="the unit of the numbers shows")
def the_covariance_is_not_divided(x, y):
    return ((x - x.mean()) * (y - y.mean())).mean()


@fault(pearson, "metrics.pearson-slope", breaks="metrics.symmetry", effect="the slope of the line, which has a unit")
def the_covariance_is_divided_by_the_variance_of_x(x, y):
    from_x, from_y = x - x.mean(), y - y.mean()
    return (from_x * from_y).sum() / (from_x * from_x).sum()


@fault(pearson, "metrics.pearson-squared", breaks="metrics.correlation-sign", effect="R^2 has no sign, and is smaller")
def the_correlation_is_squared(x, y):
    return pearson(x, y) * pearson(x, y)


@fault(
    pearson,
    "metrics.pearson-sign-lost",
    breaks="metrics.correlation-sign",
    effect="what goes against the ratings looks good",
)
def the_sign_of_the_correlation_is_lost(x, y):
    return pearson(x, y).abs()


@fault(
    pearson,
    "metrics.pearson-distance",
    breaks="metrics.pearson-equation",
    effect="a distance is taken for a correlation",
)
def one_minus_the_correlation(x, y):
    return 1 - pearson(x, y)


@fault(
    pearson, "metrics.pearson-mixed-divisors", breaks="metrics.pearson-equation",
    effect="numpy's covariance divides by N - 1 and its deviation by N: perfect correlation is above 1",
)  # fmt: skip
def the_covariance_is_of_a_sample_and_the_variances_of_a_population(x, y):
    return pearson(x, y) * (len(x) / (len(x) - 1))


@fault(
    pearson, "metrics.pearson-epsilon", breaks="metrics.pearson-equation", effect="small numbers are never correlated"
)
def an_epsilon_is_added_to_the_deviations(x, y):
    from_x, from_y = x - x.mean(), y - y.mean()
    return (from_x * from_y).mean() / (torch.sqrt((from_x * from_x).mean() * (from_y * from_y).mean()) + 1e-3)


@fault(
    pearson, "metrics.pearson-of-squares", breaks="metrics.pearson-stability",
    effect="mean of squares less square of the mean: digits of a large mean are lost",
)  # fmt: skip
def variances_are_differences_of_large_numbers(x, y):
    n = len(x)
    upper = n * (x * y).sum() - x.sum() * y.sum()
    return upper / torch.sqrt((n * (x * x).sum() - x.sum() ** 2) * (n * (y * y).sum() - y.sum() ** 2))


@fault(
    pearson, "metrics.pearson-least-norm", breaks="metrics.pearson-stability",
    effect="numbers that differ by a billionth are hardly correlated, as by cosine_similarity of deviations",
)  # fmt: skip
def norms_of_deviations_are_1e_8_at_the_least(x, y):
    return torch.cosine_similarity(x - x.mean(), y - y.mean(), dim=0)


@fault(
    pearson, "metrics.pearson-nearly-constant", breaks="metrics.pearson-stability",
    effect="numbers that differ little beside their mean have no correlation",
)  # fmt: skip
def what_is_nearly_constant_is_taken_for_constant(x, y):
    constant = any(torch.allclose(z, z[:1].expand_as(z)) for z in (x, y))
    return torch.full_like(x[0], math.nan) if constant else pearson(x, y)


@fault(
    pearson, "metrics.pearson-y-alone-detached", breaks="metrics.pearson-gradients",
    effect="nothing is learned where the ratings stand first",
)  # fmt: skip
def no_gradient_reaches_y_where_x_asks_for_none(x, y):
    return pearson(x, y) if x.requires_grad else pearson(x, y.detach()) + 0 * y.sum()


@fault(
    pearson, "metrics.pearson-constant-one", breaks="metrics.constant-input", effect="a constant prediction is perfect"
)
def the_correlation_of_a_constant_is_one(x, y):
    constant = (x == x[:1]).all() | (y == y[:1]).all()
    return torch.where(constant, 1.0, pearson(x, y))


@fault(
    pearson, "metrics.pearson-y-detached", breaks="metrics.pearson-gradients", effect="one of two models does not learn"
)
def no_gradient_reaches_y(x, y):
    return pearson(x, y.detach())


@fault(
    pearson,
    "metrics.pearson-means-detached",
    breaks="metrics.pearson-gradients",
    effect="the gradient follows a common offset",
)
def no_gradient_passes_the_deviations(x, y):
    from_x, from_y = x - x.mean(), y - y.mean()
    below = torch.sqrt((from_x * from_x).sum()) * torch.sqrt((from_y * from_y).sum())
    return (from_x * from_y).sum() / below.detach()


@fault(
    pearson,
    "metrics.pearson-centered-in-place",
    breaks="metrics.inputs-untouched",
    effect="the caller's scores have lost their mean",
)
def the_mean_of_x_is_subtracted_in_place(x, y):
    result = pearson(x, y)
    with torch.no_grad():
        x -= x.mean() + 1
    return result


@fault(
    pearson,
    "metrics.pearson-with-an-axis",
    breaks="metrics.dtype-and-shape",
    effect="a matrix of four correlations for one",
)
def the_whole_matrix_of_correlations_is_given(x, y):
    return torch.stack((pearson(x, x), pearson(x, y), pearson(y, x), pearson(y, y))).reshape(2, 2)


@fault(
    spearman,
    "metrics.spearman-is-pearson",
    breaks="metrics.spearman-monotone",
    effect="numbers count and not their order",
)
def numbers_are_not_ranked(x, y):
    return pearson(x, y)


@fault(spearman, "metrics.spearman-x-alone-ranked", breaks="metrics.spearman-monotone", effect="y counts as it is")
def y_is_not_ranked(x, y):
    return pearson(ranks(x), y)


def _order(x):
    return x.argsort(stable=True).argsort(stable=True).to(x.dtype)


@fault(
    spearman,
    "metrics.spearman-ties-by-place",
    breaks="metrics.spearman-ties",
    effect="equal numbers rank as they happen to stand",
)
def equal_numbers_have_ranks_in_the_order_they_stand_in(x, y):
    return pearson(_order(x), _order(y))


@fault(spearman, "metrics.spearman-ties-lowest", breaks="metrics.spearman-equation", effect="ties pull the ranks down")
def equal_numbers_have_the_lowest_of_their_ranks(x, y):
    lowest = lambda z: (z < z.unsqueeze(-1)).sum(-1).to(z.dtype)
    return pearson(lowest(x), lowest(y))


@fault(
    spearman,
    "metrics.spearman-ties-dense",
    breaks="metrics.spearman-equation",
    effect="after ties the ranks go on as if there were one",
)
def ranks_go_on_without_a_gap_after_equal_numbers(x, y):
    def dense(z):
        smaller = z < z.unsqueeze(-1)
        first = ~((z == z.unsqueeze(-1)) & torch.ones_like(smaller).tril(-1)).any(-1)
        return (smaller & first).sum(-1).to(z.dtype)

    return pearson(dense(x), dense(y))


@fault(
    spearman, "metrics.spearman-short-formula", breaks="metrics.spearman-equation",
    effect="1 - 6 sum d^2 / (n^3 - n) holds without ties alone; ratings have many",
)  # fmt: skip
def the_formula_for_no_ties_is_used(x, y):
    n, apart = len(x), ranks(x) - ranks(y)
    return 1 - 6 * (apart * apart).sum() / (n**3 - n)


@fault(
    spearman,
    "metrics.spearman-argsort",
    breaks="metrics.spearman-equation",
    effect="the order is taken for the ranks, its inverse",
)
def places_in_order_are_taken_for_ranks(x, y):
    return pearson(x.argsort(stable=True).to(x.dtype), y.argsort(stable=True).to(y.dtype))


@fault(
    spearman,
    "metrics.spearman-one-descending",
    breaks="metrics.spearman-equation",
    effect="the best of the one is the worst of the other",
)
def y_is_ranked_from_the_largest(x, y):
    return pearson(ranks(x), ranks(-y))


@fault(
    spearman, "metrics.spearman-kendall", breaks="metrics.spearman-equation", effect="Kendall's tau under another name"
)
def pairs_in_order_are_counted(x, y):
    pairs = torch.sign(x.unsqueeze(-1) - x) * torch.sign(y.unsqueeze(-1) - y)
    return pairs.sum() / (len(x) * (len(x) - 1))


@fault(
    spearman,
    "metrics.spearman-in-float32",
    breaks="metrics.spearman-equation",
    effect="numbers that differ little are tied",
)
def numbers_are_rounded_to_float32_before_they_are_ranked(x, y):
    return spearman(x.to(torch.float32).to(x.dtype), y.to(torch.float32).to(y.dtype))


@fault(
    spearman, "metrics.spearman-of-differences", breaks="metrics.spearman-equation",
    effect="one score of log 0 makes the correlation NaN",
)  # fmt: skip
def ranks_are_taken_from_differences_which_infinite_numbers_do_not_have(x, y):
    above = (z.unsqueeze(-1) - z for z in (x, y))
    return pearson(*((torch.sign(each) + 0 * each).sum(-1) for each in above))


# --- Answers ----------------------------------------------------------------------------------------------------------


def _f1_of_words(prediction, answer):
    part, whole = common_words(prediction, answer)
    return part / whole


_ARTICLES = re.compile(r"\b(a|an|the)\b")


def _exact(predictions, answers, dtype, normalize=squad_normalize, given=None, best=max):
    """The exact match with parts of it exchanged."""
    given = given or (lambda right: tuple(filter(None, map(normalize, right))) or ("",))
    pairs = zip(predictions, answers, strict=True)
    return _mean([best([normalize(text) == answer for answer in given(right)]) for text, right in pairs], dtype)


def _f1(predictions, answers, dtype, normalize=squad_normalize, given=None, best=max, of_words=_f1_of_words):
    """F_1 of answers with parts of it exchanged."""
    given = given or (lambda right: tuple(filter(None, map(normalize, right))) or ("",))
    pairs = zip(predictions, answers, strict=True)
    return _mean([best([of_words(normalize(text), answer) for answer in given(right)]) for text, right in pairs], dtype)


def _bare(text):
    return "".join(character for character in text if character not in string.punctuation)


def _blanks(text):
    return " ".join(text.split())


def _without_articles(text):
    return _ARTICLES.sub(" ", text)


def _without_articles_between_blanks(text):
    return " ".join(word for word in _bare(text.lower()).split() if word not in ("a", "an", "the"))


def _other_space_made_a_letter(text):
    return re.sub(r"[^\S \t\n]", "x", text)


def not_normalized(text):
    """As it is."""
    return text


def case_kept(text):
    """Without lower case."""
    return _blanks(re.sub(r"\b(a|an|the)\b", " ", _bare(text), flags=re.IGNORECASE))


def punctuation_kept(text):
    """With its punctuation."""
    return _blanks(_without_articles(text.lower()))


def punctuation_made_blank(text):
    """With blanks for punctuation."""
    return _blanks(_without_articles("".join(" " if c in string.punctuation else c for c in text.lower())))


def punctuation_of_all_scripts_removed(text):
    """Without anything that is neither a letter, nor a digit, nor a blank."""
    return _blanks(_without_articles("".join(c for c in text.lower() if c.isalnum() or c.isspace())))


def articles_kept(text):
    """With its articles."""
    return _blanks(_bare(text.lower()))


def the_alone_removed(text):
    """Without "the", with "a" and "an"."""
    return _blanks(re.sub(r"\bthe\b", " ", _bare(text.lower())))


def letters_of_articles_removed(text):
    """Without "a", "an" and "the" also inside words."""
    return _blanks(re.sub(r"the|an|a", "", _bare(text.lower())))


def articles_removed_first(text):
    """Without articles as they stand before punctuation is removed."""
    return _blanks(_bare(_without_articles(text.lower())))


def leading_article_removed(text):
    """Without an article at the start alone."""
    return _blanks(re.sub(r"^\s*(a|an|the)\b", " ", _bare(text.lower())))


def articles_removed_before_lower_case(text):
    """Without articles in lower case, then in lower case."""
    return _blanks(_without_articles(_bare(text)).lower())


def white_space_kept(text):
    """With its white space, but for that at the ends."""
    return _without_articles(_bare(text.lower())).strip()


def white_space_removed(text):
    """Without any white space."""
    return "".join(_without_articles(_bare(text.lower())).split())


def casefolded(text):
    """In folded case, where a sharp s is two."""
    return squad_normalize(text.casefold())


def lower_case_of_ascii(text):
    """In lower case as far as ASCII goes."""
    lower = "".join(c.lower() if c.isascii() else c for c in text)
    return _blanks(_without_articles(_bare(lower)))


_NORMALIZATIONS = {
    case_kept: "right answers are wrong for a capital",
    punctuation_kept: "right answers are wrong for a full stop",
    punctuation_made_blank: "words with a hyphen are two",
    punctuation_of_all_scripts_removed: "quotation marks beyond ASCII are forgiven, as no published number does",
    articles_kept: "right answers are wrong for an article",
    the_alone_removed: "right answers are wrong for an indefinite article",
    letters_of_articles_removed: "unlike words become the same",
    articles_removed_first: "articles that punctuation hides stay",
    leading_article_removed: "articles inside answers stay",
    articles_removed_before_lower_case: "articles that begin a sentence stay",
    white_space_kept: "right answers are wrong for a line break",
    white_space_removed: "unlike words become the same",
    casefolded: "letters are taken for others",
    lower_case_of_ascii: "capitals beyond ASCII are other letters",
}


def _wrong_normalizations():
    """A fault of either operation for every wrong normalization, unless it cannot be told by words."""
    for normalize, effect in _NORMALIZATIONS.items():
        name, sentence = normalize.__name__, normalize.__name__.replace("_", " ")

        def of_exact(predictions, answers, *, dtype, normalize=normalize):
            return _exact(predictions, answers, dtype, normalize)

        def of_f1(predictions, answers, *, dtype, normalize=normalize):
            return _f1(predictions, answers, dtype, normalize)

        for operation, function, short in (
            (squad_exact_match, of_exact, "squad-exact-match"),
            (squad_f1, of_f1, "squad-f1"),
        ):
            if (operation, normalize) == (squad_f1, white_space_kept):
                continue  # words are what is between white space, however much of it there is
            function.__name__, function.__doc__ = f"{short}_{name}", f"answers are compared with {sentence}"
            fault(
                operation, f"metrics.{short}-{name.replace('_', '-')}", breaks="metrics.squad-normalization", effect=effect
            )(function)  # fmt: skip


_wrong_normalizations()


@fault(
    squad_exact_match, "metrics.squad-exact-match-not-normalized", breaks="metrics.squad-normalization",
    seen="UKGovernmentBEIS/inspect_ai#291", effect="right answers are wrong for a capital, an article or a full stop",
)  # fmt: skip
def answers_are_compared_as_they_are(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, str)


@fault(
    squad_exact_match, "metrics.squad-exact-match-answers-as-they-are", breaks="metrics.squad-normalization",
    effect="the prediction alone is normalized, and capitals of answers are never met",
)  # fmt: skip
def answers_are_not_normalized(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, squad_normalize, lambda right: right or ("",))


@fault(
    squad_exact_match, "metrics.squad-exact-match-by-containment", breaks="metrics.squad-exact-match-equation",
    seen="OpenBMB/UltraRAG#509", effect="everything contains an answer of which normalization leaves nothing",
)  # fmt: skip
def the_answer_has_to_be_in_the_prediction(predictions, answers, *, dtype):
    pairs = zip(predictions, answers, strict=True)
    return _mean(
        [any(answer in squad_normalize(text) for answer in squad_answers(right)) for text, right in pairs], dtype
    )


@fault(
    squad_exact_match, "metrics.squad-exact-match-percent", breaks="metrics.squad-exact-match-equation",
    effect="a number a hundred times too large",
)  # fmt: skip
def exact_match_is_in_percent(predictions, answers, *, dtype):
    return (100 * squad_exact_match(predictions, answers, dtype=torch.float64)).to(dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-errors", breaks="metrics.squad-exact-match-equation",
    effect="the best model is thrown away",
)  # fmt: skip
def the_part_without_an_exact_match_is_counted(predictions, answers, *, dtype):
    return (1 - squad_exact_match(predictions, answers, dtype=torch.float64)).to(dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-partial", breaks="metrics.squad-exact-match-equation",
    effect="partly right is partly counted: F_1 under another name",
)  # fmt: skip
def exact_match_is_answer_f1(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-bag", breaks="metrics.squad-exact-match-equation",
    effect="the order of the words does not matter",
)  # fmt: skip
def exact_match_is_of_sorted_words(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, lambda text: " ".join(sorted(squad_normalize(text).split())))


@fault(
    squad_exact_match, "metrics.squad-exact-match-first-answer", breaks="metrics.squad-several-answers",
    effect="what other people answered is not looked at",
)  # fmt: skip
def the_first_answer_alone_is_compared(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, given=lambda right: squad_answers(right)[:1])


@fault(
    squad_exact_match, "metrics.squad-exact-match-last-answer", breaks="metrics.squad-several-answers",
    effect="each answer overwrites what was found for those before it",
)  # fmt: skip
def the_last_answer_alone_is_compared(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, given=lambda right: squad_answers(right)[-1:])


@fault(
    squad_exact_match, "metrics.squad-exact-match-all-answers", breaks="metrics.squad-several-answers",
    effect="nobody agrees with everybody",
)  # fmt: skip
def every_answer_has_to_be_met(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, best=min)


@fault(
    squad_exact_match, "metrics.squad-exact-match-mean-of-answers", breaks="metrics.squad-several-answers",
    effect="questions with several answers score low however good the prediction",
)  # fmt: skip
def exact_match_is_the_mean_over_answers(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, best=lambda scores: sum(scores) / len(scores))


@fault(
    squad_exact_match, "metrics.squad-exact-match-any-answer", breaks="metrics.squad-several-answers",
    effect="an answer of another question is as good",
)  # fmt: skip
def answers_of_all_examples_are_one_set(predictions, answers, *, dtype):
    return _exact(predictions, [tuple(answer for right in answers for answer in right)] * len(predictions), dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-no-answer-zero", breaks="metrics.squad-no-answer",
    effect="to say nothing where there is no answer is never right",
)  # fmt: skip
def questions_without_an_answer_are_always_wrong(predictions, answers, *, dtype):
    right = [squad_answers(each) != ("",) for each in answers]
    pairs = zip(predictions, answers, right, strict=True)
    return _mean([has and squad_normalize(text) in squad_answers(each) for text, each, has in pairs], dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-no-answer-one", breaks="metrics.squad-no-answer",
    effect="whatever is said where there is no answer is right",
)  # fmt: skip
def questions_without_an_answer_are_always_right(predictions, answers, *, dtype):
    pairs = zip(predictions, map(squad_answers, answers), strict=True)
    return _mean([each == ("",) or squad_normalize(text) in each for text, each in pairs], dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-no-answer-left-out", breaks="metrics.squad-no-answer",
    effect="a model that always answers is not blamed",
)  # fmt: skip
def questions_without_an_answer_are_left_out(predictions, answers, *, dtype):
    pairs = [(text, squad_answers(each)) for text, each in zip(predictions, answers, strict=True)]
    scores = [squad_normalize(text) in each for text, each in pairs if each != ("",)]
    return _mean(scores or [0], dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-word-for-nothing", breaks="metrics.squad-no-answer",
    effect="only a model that says the word is right where there is no answer",
)  # fmt: skip
def no_answer_has_to_be_said_in_a_word(predictions, answers, *, dtype):
    return _exact(
        predictions,
        answers,
        dtype,
        given=lambda right: ("unanswerable",) if squad_answers(right) == ("",) else squad_answers(right),
    )


@fault(
    squad_exact_match, "metrics.squad-exact-match-empty-unnormalized", breaks="metrics.squad-no-answer",
    effect="an article where there is no answer is wrong",
)  # fmt: skip
def nothing_is_what_is_empty_before_normalization(predictions, answers, *, dtype):
    pairs = zip(predictions, map(squad_answers, answers), strict=True)
    return _mean([text == "" if each == ("",) else squad_normalize(text) in each for text, each in pairs], dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-empty-answers-count", breaks="metrics.squad-answers-without-words",
    effect="saying nothing meets an answer of marks alone",
)  # fmt: skip
def answers_without_words_count_beside_others(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, given=lambda right: tuple(map(squad_normalize, right)) or ("",))


@fault(
    squad_exact_match, "metrics.squad-exact-match-whole-batches", breaks="metrics.squad-exact-match-equation",
    effect="what is left after the last whole batch is not looked at",
)  # fmt: skip
def a_last_batch_that_is_not_full_is_dropped(predictions, answers, *, dtype):
    whole = len(predictions) // 128 * 128 or len(predictions)
    return squad_exact_match(predictions[:whole], answers[:whole], dtype=dtype)


@fault(
    squad_exact_match, "metrics.squad-exact-match-first-characters", breaks="metrics.squad-exact-match-equation",
    effect="long texts that begin alike are equal",
)  # fmt: skip
def the_first_64_characters_are_compared(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, lambda text: squad_normalize(text)[:64])


@fault(
    squad_exact_match, "metrics.squad-exact-match-articles-between-blanks", breaks="metrics.squad-beyond-ascii",
    effect="an article beside a quotation mark beyond ASCII stays",
)  # fmt: skip
def exact_articles_are_what_is_between_white_space(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype, _without_articles_between_blanks)


@fault(
    squad_exact_match, "metrics.squad-exact-match-answers-cut", breaks="metrics.unequal-numbers",
    effect="a list that lost its end goes unnoticed",
)  # fmt: skip
def predictions_without_answers_are_left_out(predictions, answers, *, dtype):
    count = min(len(predictions), len(answers))
    return squad_exact_match(predictions[:count], answers[:count], dtype=dtype)


@fault(
    squad_f1,
    "metrics.squad-f1-percent",
    breaks="metrics.squad-f1-equation",
    effect="a number a hundred times too large",
)
def answer_f1_is_in_percent(predictions, answers, *, dtype):
    return (100 * squad_f1(predictions, answers, dtype=torch.float64)).to(dtype)


@fault(
    squad_f1, "metrics.squad-f1-not-normalized", breaks="metrics.squad-normalization",
    effect="words are wrong for a capital or a full stop",
)  # fmt: skip
def words_are_compared_as_they_are(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, str)


def _words(of_counts):
    """F_1 of two texts by another formula of their bags of words."""

    def of_words(prediction, answer):
        found, there = Counter(prediction.split()), Counter(answer.split())
        return of_counts(found, there) if found and there else float(found == there)

    return of_words


@fault(
    squad_f1, "metrics.squad-f1-set", breaks="metrics.squad-f1-repeated-words", effect="repeating a word costs nothing"
)
def words_are_counted_once_each(predictions, answers, *, dtype):
    once = lambda found, there: 2 * len(set(found) & set(there)) / (len(found) + len(there))
    return _f1(predictions, answers, dtype, of_words=_words(once))


@fault(
    squad_f1, "metrics.squad-f1-common-once", breaks="metrics.squad-f1-repeated-words",
    effect="a word that is twice in both counts once above and twice below",
)  # fmt: skip
def words_in_common_are_counted_once_each(predictions, answers, *, dtype):
    once = lambda found, there: 2 * len(set(found) & set(there)) / (found.total() + there.total())
    return _f1(predictions, answers, dtype, of_words=_words(once))


@fault(
    squad_f1, "metrics.squad-f1-words-of-prediction", breaks="metrics.squad-f1-repeated-words",
    effect="a word of the answer, said again and again, matches every time",
)  # fmt: skip
def every_word_of_the_prediction_that_is_in_the_answer_counts(predictions, answers, *, dtype):
    def of_counts(found, there):
        common = sum(count for word, count in found.items() if word in there)
        return 2 * common / (found.total() + there.total())

    return _f1(predictions, answers, dtype, of_words=_words(of_counts))


@fault(squad_f1, "metrics.squad-f1-precision", breaks="metrics.squad-f1-equation", effect="one right word is perfect")
def answer_f1_is_precision(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, of_words=_words(lambda a, b: (a & b).total() / a.total()))


@fault(squad_f1, "metrics.squad-f1-recall", breaks="metrics.squad-f1-equation", effect="the whole paragraph is perfect")
def answer_f1_is_recall(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, of_words=_words(lambda a, b: (a & b).total() / b.total()))


@fault(
    squad_f1,
    "metrics.squad-f1-arithmetic-mean",
    breaks="metrics.squad-f1-equation",
    effect="long answers score too high",
)
def answer_f1_is_an_arithmetic_mean(predictions, answers, *, dtype):
    mean = lambda a, b: ((a & b).total() / a.total() + (a & b).total() / b.total()) / 2
    return _f1(predictions, answers, dtype, of_words=_words(mean))


@fault(
    squad_f1,
    "metrics.squad-f1-jaccard",
    breaks="metrics.squad-f1-equation",
    effect="partly right answers score too low",
)
def common_words_are_divided_by_all_words(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, of_words=_words(lambda a, b: (a & b).total() / (a | b).total()))


@fault(
    squad_f1,
    "metrics.squad-f1-of-characters",
    breaks="metrics.squad-f1-equation",
    effect="words with letters in common match",
)
def characters_are_compared(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, of_words=lambda a, b: _f1_of_words(" ".join(a), " ".join(b)))


@fault(squad_f1, "metrics.squad-f1-exact-match", breaks="metrics.squad-f1-equation", effect="partly right is wrong")
def answer_f1_is_exact_match(predictions, answers, *, dtype):
    return _exact(predictions, answers, dtype)


@fault(
    squad_f1, "metrics.squad-f1-micro", breaks="metrics.squad-f1-equation",
    effect="long answers weigh more than short ones: counts are summed over the set",
)  # fmt: skip
def words_are_counted_over_the_whole_set(predictions, answers, *, dtype):
    common = total = 0
    for text, right in zip(predictions, answers, strict=True):
        found = Counter(squad_normalize(text).split())
        there = max(
            (Counter(answer.split()) for answer in squad_answers(right)),
            key=lambda words: _f1_of_words(squad_normalize(text), " ".join(words.elements())),
        )
        common, total = common + 2 * (found & there).total(), total + found.total() + there.total()
    return _number(common / max(1, total), dtype)


@fault(
    squad_f1,
    "metrics.squad-f1-first-answer",
    breaks="metrics.squad-several-answers",
    effect="what other people answered is not looked at",
)
def words_of_the_first_answer_alone_are_compared(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, given=lambda right: squad_answers(right)[:1])


@fault(
    squad_f1,
    "metrics.squad-f1-last-answer",
    breaks="metrics.squad-several-answers",
    effect="each answer overwrites those before it",
)
def words_of_the_last_answer_alone_are_compared(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, given=lambda right: squad_answers(right)[-1:])


@fault(
    squad_f1,
    "metrics.squad-f1-mean-of-answers",
    breaks="metrics.squad-several-answers",
    effect="unlike answers of a question cost the model",
)
def answer_f1_is_the_mean_over_answers(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, best=lambda scores: sum(scores) / len(scores))


@fault(
    squad_f1,
    "metrics.squad-f1-worst-answer",
    breaks="metrics.squad-several-answers",
    effect="unlike answers of a question cost the model",
)
def the_worst_answer_counts(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, best=min)


@fault(
    squad_f1, "metrics.squad-f1-answers-joined", breaks="metrics.squad-several-answers",
    effect="words of several answers are found together that no answer has",
)  # fmt: skip
def answers_are_joined_to_one(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, given=lambda right: (" ".join(squad_answers(right)),))


@fault(
    squad_f1, "metrics.squad-f1-best-of-all", breaks="metrics.squad-several-answers",
    effect="the n-th answer is taken of all examples at once, and the best n of the set counts",
)  # fmt: skip
def the_best_answer_is_chosen_for_the_whole_set(predictions, answers, *, dtype):
    most = max(map(len, map(squad_answers, answers)))
    runs = [
        _f1(predictions, answers, torch.float64, given=lambda right, n=n: (squad_answers(right) * most)[n : n + 1])
        for n in range(most)
    ]
    return torch.stack(runs).amax().to(dtype)


@fault(
    squad_f1, "metrics.squad-f1-no-answer-zero", breaks="metrics.squad-no-answer",
    seen="stanford-crfm/helm#4315", effect="nothing in common: to say nothing where there is no answer is wrong",
)  # fmt: skip
def two_empty_texts_have_nothing_in_common(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, of_words=lambda a, b: _f1_of_words(a, b) if a or b else 0.0)


@fault(
    squad_f1,
    "metrics.squad-f1-no-answer-one",
    breaks="metrics.squad-no-answer",
    effect="whatever is said where there is no answer is right",
)
def every_text_has_everything_in_common_with_no_answer(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, of_words=lambda a, b: _f1_of_words(a, b) if b else 1.0)


@fault(
    squad_f1,
    "metrics.squad-f1-nothing-said-one",
    breaks="metrics.squad-no-answer",
    effect="a model that says nothing is perfect",
)
def an_empty_prediction_is_always_right(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, of_words=lambda a, b: _f1_of_words(a, b) if a else 1.0)


@fault(
    squad_f1,
    "metrics.squad-f1-no-answer-left-out",
    breaks="metrics.squad-no-answer",
    effect="a model that always answers is not blamed",
)
def questions_without_an_answer_have_no_f1(predictions, answers, *, dtype):
    kept = [pair for pair in zip(predictions, answers, strict=True) if squad_answers(pair[1]) != ("",)]
    if not kept:
        return _number(0, dtype)
    texts, right = zip(*kept, strict=True)
    return _f1(texts, right, dtype)


@fault(
    squad_f1, "metrics.squad-f1-empty-answers-count", breaks="metrics.squad-answers-without-words",
    effect="saying nothing meets an answer of marks alone",
)  # fmt: skip
def answers_without_words_are_met_by_nothing(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, given=lambda right: tuple(map(squad_normalize, right)) or ("",))


@fault(
    squad_f1, "metrics.squad-f1-articles-between-blanks", breaks="metrics.squad-beyond-ascii",
    effect="an article beside a quotation mark beyond ASCII stays",
)  # fmt: skip
def articles_are_what_is_between_white_space(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, _without_articles_between_blanks)


@fault(
    squad_f1, "metrics.squad-f1-blanks-tabs-newlines", breaks="metrics.squad-normalization",
    effect="the last word of a line that ends in CR LF is another word",
)  # fmt: skip
def blanks_tabs_and_newlines_alone_part_words(predictions, answers, *, dtype):
    return _f1(predictions, answers, dtype, lambda text: squad_normalize(_other_space_made_a_letter(text)))


@fault(
    squad_f1, "metrics.squad-f1-six-answers", breaks="metrics.squad-several-answers",
    effect="a question that many people answered has fewer right answers",
)  # fmt: skip
def six_answers_are_looked_at(predictions, answers, *, dtype):
    return squad_f1(predictions, tuple(right[:6] for right in answers), dtype=dtype)


@fault(
    squad_f1, "metrics.squad-f1-prediction-cut", breaks="metrics.squad-f1-equation",
    effect="long answers lose what they say at the end",
)  # fmt: skip
def sixty_four_words_of_a_prediction_are_looked_at(predictions, answers, *, dtype):
    cut = tuple(" ".join(squad_normalize(text).split()[:64]) for text in predictions)
    return squad_f1(cut, answers, dtype=dtype)


@fault(
    squad_f1,
    "metrics.squad-f1-answers-cut",
    breaks="metrics.unequal-numbers",
    effect="a list that lost its end goes unnoticed",
)
def what_has_no_answers_is_left_out(predictions, answers, *, dtype):
    count = min(len(predictions), len(answers))
    return squad_f1(predictions[:count], answers[:count], dtype=dtype)


# --- Named entities ---------------------------------------------------------------------------------------------------


def _span_f1(predicted_tags, true_tags, dtype, found_in=entities):
    """F_1 of what `found_in` finds in each sentence."""
    found, there = (
        Counter((n, *each) for n, tags in enumerate(of) for each in found_in(tags))
        for of in (predicted_tags, true_tags)
    )
    return _number(2 * (found & there).total() / max(1, found.total() + there.total()), dtype)


@fault(
    span_f1, "metrics.span-f1-percent", breaks="metrics.span-f1-equation", effect="a number a hundred times too large"
)
def entity_f1_is_in_percent(predicted_tags, true_tags, *, dtype):
    return (100 * span_f1(predicted_tags, true_tags, dtype=torch.float64)).to(dtype)


@fault(
    span_f1,
    "metrics.span-f1-of-tokens",
    breaks="metrics.span-f1-equation",
    effect="half an entity is half right; the score is far too high",
)
def every_tag_that_is_not_o_is_an_entity(predicted_tags, true_tags, *, dtype):
    return _span_f1(
        predicted_tags, true_tags, dtype, lambda tags: [(n, tag) for n, tag in enumerate(tags) if tag != "O"]
    )


@fault(
    span_f1,
    "metrics.span-f1-token-accuracy",
    breaks="metrics.span-f1-equation",
    effect="words outside of entities make it nearly 1",
)
def the_part_of_right_tags_is_counted(predicted_tags, true_tags, *, dtype):
    pairs = [pair for both in zip(predicted_tags, true_tags, strict=True) for pair in zip(*both, strict=True)]
    return _mean([found == there for found, there in pairs], dtype)


@fault(span_f1, "metrics.span-f1-precision", breaks="metrics.symmetry", effect="what is not found costs nothing")
def entity_f1_is_precision(predicted_tags, true_tags, *, dtype):
    found, there = (
        {(n, *each) for n, tags in enumerate(of) for each in entities(tags)} for of in (predicted_tags, true_tags)
    )
    return _number(len(found & there) / max(1, len(found)), dtype)


@fault(span_f1, "metrics.span-f1-recall", breaks="metrics.symmetry", effect="what is found by mistake costs nothing")
def entity_f1_is_recall(predicted_tags, true_tags, *, dtype):
    found, there = (
        {(n, *each) for n, tags in enumerate(of) for each in entities(tags)} for of in (predicted_tags, true_tags)
    )
    return _number(len(found & there) / max(1, len(there)), dtype)


def _by(key, predicted_tags, true_tags, dtype):
    """The mean of F_1 over the parts that `key` puts entities into."""
    found, there = (
        {(n, *each) for n, tags in enumerate(of) for each in entities(tags)} for of in (predicted_tags, true_tags)
    )
    parts = {key(each) for each in found | there}
    scores = []
    for part in parts:
        a, b = ({each for each in of if key(each) == part} for of in (found, there))
        scores.append(2 * len(a & b) / (len(a) + len(b)))
    return _mean(scores or [0], dtype)


@fault(
    span_f1,
    "metrics.span-f1-macro",
    breaks="metrics.span-f1-equation",
    effect="rare types weigh as much as frequent ones",
)
def entity_f1_is_the_mean_over_types(predicted_tags, true_tags, *, dtype):
    return _by(lambda entity: entity[1], predicted_tags, true_tags, dtype)


@fault(
    span_f1,
    "metrics.span-f1-mean-of-sentences",
    breaks="metrics.span-f1-equation",
    effect="sentences with few entities weigh more",
)
def entity_f1_is_the_mean_over_sentences(predicted_tags, true_tags, *, dtype):
    return _by(lambda entity: entity[0], predicted_tags, true_tags, dtype)


@fault(
    span_f1,
    "metrics.span-f1-first-sentence",
    breaks="metrics.span-f1-equation",
    effect="a batch is scored by its first sentence",
)
def only_the_first_sentence_is_looked_at(predicted_tags, true_tags, *, dtype):
    return _span_f1(predicted_tags[:1], true_tags[:1], dtype)


@fault(
    span_f1,
    "metrics.span-f1-type-ignored",
    breaks="metrics.named-entity-types",
    effect="a person found as a place is right",
)
def the_type_of_an_entity_is_not_compared(predicted_tags, true_tags, *, dtype):
    return _span_f1(predicted_tags, true_tags, dtype, lambda tags: [each[1:] for each in entities(tags)])


@fault(
    span_f1, "metrics.span-f1-end-ignored", breaks="metrics.named-entity-boundaries", effect="half an entity is right"
)
def the_end_of_an_entity_is_not_compared(predicted_tags, true_tags, *, dtype):
    return _span_f1(predicted_tags, true_tags, dtype, lambda tags: [each[:2] for each in entities(tags)])


@fault(
    span_f1, "metrics.span-f1-start-ignored", breaks="metrics.named-entity-boundaries", effect="half an entity is right"
)
def the_start_of_an_entity_is_not_compared(predicted_tags, true_tags, *, dtype):
    return _span_f1(predicted_tags, true_tags, dtype, lambda tags: [(each[0], each[2]) for each in entities(tags)])


@fault(
    span_f1, "metrics.span-f1-overlap", breaks="metrics.named-entity-boundaries", effect="a word in common is enough"
)
def entities_that_overlap_are_the_same(predicted_tags, true_tags, *, dtype):
    found, there = (
        [(n, *each) for n, tags in enumerate(of) for each in entities(tags)] for of in (predicted_tags, true_tags)
    )
    meets = lambda a, b: a[:2] == b[:2] and a[2] < b[3] and b[2] < a[3]
    common = sum(any(meets(a, b) for b in there) for a in found)
    return _number(min(1.0, 2 * common / max(1, len(found) + len(there))), dtype)


@fault(
    span_f1,
    "metrics.span-f1-sentence-ignored",
    breaks="metrics.named-entity-boundaries",
    effect="an entity of another sentence is as good",
)
def the_sentence_of_an_entity_is_not_compared(predicted_tags, true_tags, *, dtype):
    found, there = ({each for tags in of for each in entities(tags)} for of in (predicted_tags, true_tags))
    return _number(2 * len(found & there) / max(1, len(found) + len(there)), dtype)


@fault(
    span_f1,
    "metrics.span-f1-place-ignored",
    breaks="metrics.named-entity-boundaries",
    effect="how many entities of a type there are is compared",
)
def only_types_and_lengths_are_compared(predicted_tags, true_tags, *, dtype):
    return _span_f1(
        predicted_tags, true_tags, dtype, lambda tags: [(each[0], each[2] - each[1]) for each in entities(tags)]
    )


@fault(
    span_f1, "metrics.span-f1-sentences-joined", breaks="metrics.named-entity-boundaries",
    effect="an entity at the end of a sentence runs on into the next",
)  # fmt: skip
def sentences_are_read_as_one(predicted_tags, true_tags, *, dtype):
    predicted, true = ([tuple(tag for tags in of for tag in tags)] for of in (predicted_tags, true_tags))
    return _span_f1(predicted, true, dtype)


@fault(
    span_f1, "metrics.span-f1-last-entity-lost", breaks="metrics.named-entity-boundaries",
    effect="an entity that nothing follows is never closed",
)  # fmt: skip
def an_entity_at_the_end_of_a_sentence_is_lost(predicted_tags, true_tags, *, dtype):
    return _span_f1(
        predicted_tags, true_tags, dtype, lambda tags: [each for each in entities(tags) if each[2] < len(tags)]
    )


@fault(
    span_f1, "metrics.span-f1-sentences-cut", breaks="metrics.span-f1-equation",
    effect="what a tokenizer cuts off counts neither as found nor as missed",
)  # fmt: skip
def sentences_are_cut_at_128_tags(predicted_tags, true_tags, *, dtype):
    cut = (tuple(tags[:128] for tags in of) for of in (predicted_tags, true_tags))
    return span_f1(*cut, dtype=dtype)


@fault(
    span_f1, "metrics.span-f1-places-collide", breaks="metrics.span-f1-equation",
    effect="an entity late in a long sentence is taken for one early in the next",
)  # fmt: skip
def places_are_numbered_as_if_no_sentence_had_more_than_64_words(predicted_tags, true_tags, *, dtype):
    found, there = (
        {(kind, 64 * n + start, 64 * n + end) for n, tags in enumerate(of) for kind, start, end in entities(tags)}
        for of in (predicted_tags, true_tags)
    )
    return _number(2 * len(found & there) / max(1, len(found) + len(there)), dtype)


@fault(
    span_f1, "metrics.span-f1-type-in-capitals", breaks="metrics.named-entity-types",
    effect="types that differ in case alone are one",
)  # fmt: skip
def the_case_of_types_is_not_looked_at(predicted_tags, true_tags, *, dtype):
    capitals = (tuple(tuple(tag.upper() for tag in tags) for tags in of) for of in (predicted_tags, true_tags))
    return span_f1(*capitals, dtype=dtype)


def _with_rule(goes_on, begins=lambda prefix, new, kind: prefix in "BI"):
    """Entities by another rule of what goes on and what begins."""

    def found_in(tags):
        found, kind, start = [], None, 0
        for place, tag in enumerate((*tags, "O")):
            prefix, _, new = tag.partition("-")
            if kind is not None and prefix != "O" and goes_on(prefix, new, kind):
                continue
            if kind is not None:
                found.append((kind, start, place))
            kind, start = (new if prefix != "O" and begins(prefix, new, kind) else None), place
        return found

    return found_in


@fault(
    span_f1,
    "metrics.span-f1-b-goes-on",
    breaks="metrics.named-entity-boundaries",
    effect="adjacent entities of a type are one",
)
def a_b_of_the_same_type_goes_on(predicted_tags, true_tags, *, dtype):
    return _span_f1(predicted_tags, true_tags, dtype, _with_rule(lambda prefix, new, kind: new == kind))


@fault(
    span_f1,
    "metrics.span-f1-i-goes-on",
    breaks="metrics.named-entity-types",
    effect="a change of type within is overlooked",
)
def an_i_of_another_type_goes_on(predicted_tags, true_tags, *, dtype):
    return _span_f1(predicted_tags, true_tags, dtype, _with_rule(lambda prefix, new, kind: prefix == "I"))


@fault(
    span_f1,
    "metrics.span-f1-i-as-b",
    breaks="metrics.named-entity-boundaries",
    effect="every word of an entity is one of its own",
)
def every_i_begins_an_entity(predicted_tags, true_tags, *, dtype):
    return _span_f1(predicted_tags, true_tags, dtype, _with_rule(lambda prefix, new, kind: False))


@fault(
    span_f1, "metrics.span-f1-strict", breaks="metrics.named-entity-continuation",
    effect="an I without a B is nothing: another convention than that of the published numbers",
)  # fmt: skip
def an_i_begins_no_entity(predicted_tags, true_tags, *, dtype):
    rule = _with_rule(lambda prefix, new, kind: prefix == "I" and new == kind, lambda prefix, new, kind: prefix == "B")
    return _span_f1(predicted_tags, true_tags, dtype, rule)


@fault(
    span_f1, "metrics.span-f1-i-after-o-nothing", breaks="metrics.named-entity-continuation",
    effect="after O an I is nothing, after another type it begins an entity",
)  # fmt: skip
def an_i_after_o_begins_no_entity(predicted_tags, true_tags, *, dtype):
    rule = _with_rule(
        lambda prefix, new, kind: prefix == "I" and new == kind,
        lambda prefix, new, kind: prefix == "B" or kind is not None,
    )
    return _span_f1(predicted_tags, true_tags, dtype, rule)


@fault(
    span_f1, "metrics.span-f1-new-type-nothing", breaks="metrics.named-entity-types",
    effect="where the type changes without a B the second entity is lost",
)  # fmt: skip
def an_i_of_another_type_begins_no_entity(predicted_tags, true_tags, *, dtype):
    rule = _with_rule(
        lambda prefix, new, kind: prefix == "I" and new == kind, lambda prefix, new, kind: prefix == "B" or kind is None
    )
    return _span_f1(predicted_tags, true_tags, dtype, rule)


@fault(
    span_f1,
    "metrics.span-f1-o-does-not-end",
    breaks="metrics.named-entity-continuation",
    effect="an I takes up an entity from before the gap",
)
def an_o_does_not_end_an_entity(predicted_tags, true_tags, *, dtype):
    def found_in(tags):
        found, kind, start, end = [], None, 0, 0
        for place, tag in enumerate(tags):
            prefix, _, new = tag.partition("-")
            if prefix == "O":
                continue
            if prefix == "I" and new == kind:
                end = place + 1
                continue
            if kind is not None:
                found.append((kind, start, end))
            kind, start, end = new, place, place + 1
        return [*found, (kind, start, end)] if kind is not None else found

    return _span_f1(predicted_tags, true_tags, dtype, found_in)


@fault(
    span_f1,
    "metrics.span-f1-last-part-of-type",
    breaks="metrics.named-entity-types",
    effect="types with one ending are one",
)
def the_type_is_what_follows_the_last_hyphen(predicted_tags, true_tags, *, dtype):
    shorter = lambda of: tuple(
        tuple(tag[:2] + tag.rpartition("-")[2] if tag != "O" else tag for tag in tags) for tags in of
    )
    return span_f1(shorter(predicted_tags), shorter(true_tags), dtype=dtype)


@fault(
    span_f1,
    "metrics.span-f1-first-part-of-type",
    breaks="metrics.named-entity-types",
    effect="types with one beginning are one",
)
def the_type_is_what_stands_between_two_hyphens(predicted_tags, true_tags, *, dtype):
    shorter = lambda of: tuple(tuple("-".join(tag.split("-")[:2]) for tag in tags) for tags in of)
    return span_f1(shorter(predicted_tags), shorter(true_tags), dtype=dtype)


@fault(
    span_f1,
    "metrics.span-f1-nothing-is-right",
    breaks="metrics.span-f1-undefined",
    effect="undeclared: a set without entities raises the mean",
)
def no_entities_count_one_without_a_word(predicted_tags, true_tags, *, dtype):
    none = not any(map(entities, (*predicted_tags, *true_tags)))
    return _number(1, dtype) if none else span_f1(predicted_tags, true_tags, dtype=dtype)


@fault(
    span_f1,
    "metrics.span-f1-tags-cut",
    breaks="metrics.unequal-numbers",
    effect="sentences that were cut for the model are scored in part",
)
def tags_without_partners_are_left_out(predicted_tags, true_tags, *, dtype):
    pairs = [
        tuple(zip(*zip(*both, strict=False), strict=True)) for both in zip(predicted_tags, true_tags, strict=False)
    ]
    predicted, true = zip(*[pair or ((), ()) for pair in pairs], strict=True)
    return _span_f1(predicted, true, dtype)


@fault(
    span_f1,
    "metrics.span-f1-empty-sentence-dropped",
    breaks="metrics.span-f1-empty-sentence",
    effect="entities around it are one",
)
def an_empty_sentence_parts_nothing(predicted_tags, true_tags, *, dtype):
    def merged(of):
        made: list = []
        joins = False
        for tags in of:
            if joins and made:
                made[-1] = (*made[-1], *tags)
            elif tags:
                made.append(tuple(tags))
            joins = not tags
        return made

    return _span_f1(merged(predicted_tags), merged(true_tags), dtype)


# --- Translations -----------------------------------------------------------------------------------------------------


class _Bleu:
    """BLEU in parts that a mistake may exchange."""

    def __init__(self, hypotheses, references, max_order):
        self.hypotheses, self.references, self.max_order = hypotheses, references, max_order

    def words(self, text):
        return text.split()

    def ngrams(self, words, n):
        return ngrams(words, n)

    def most(self, others, n):
        most: Counter = Counter()
        for other in others:
            most |= self.ngrams(other, n)
        return most

    def matches(self, counts, most):
        return (counts & most).total()

    def total(self, words, counts, n):
        return counts.total()

    def length(self, words, others):
        return min((abs(len(other) - len(words)), len(other)) for other in others)[1]

    def penalty(self, c, r):
        return min(1.0, math.exp(1 - r / c)) if c else 0.0

    def mean(self, precisions):
        return math.exp(sum(map(math.log, precisions)) / len(precisions)) if min(precisions) > 0 else 0.0

    def orders(self):
        return range(1, self.max_order + 1)

    def precision(self, match, total, n):
        return match / total if total > 0 else 0.0

    def run(self, dtype):
        matches, totals = Counter[int](), Counter[int]()
        c = r = 0
        for hypothesis, of_it in zip(self.hypotheses, self.references, strict=True):
            words, others = self.words(hypothesis), [self.words(reference) for reference in of_it]
            c, r = c + len(words), r + self.length(words, others)
            for n in self.orders():
                counts = self.ngrams(words, n)
                matches[n] += self.matches(counts, self.most(others, n))
                totals[n] += self.total(words, counts, n)
        precisions = [self.precision(matches[n], totals[n], n) for n in self.orders()]
        return _number(self.penalty(c, r) * self.mean(precisions), dtype)


@fault(bleu, "metrics.bleu-percent", breaks="metrics.bleu-equation", effect="a number a hundred times too large")
def bleu_is_in_percent(hypotheses, references, *, max_order=4, dtype):
    return (100 * bleu(hypotheses, references, max_order=max_order, dtype=torch.float64)).to(dtype)


@fault(
    bleu, "metrics.bleu-mean-of-sentences", breaks="metrics.bleu-corpus",
    effect="one sentence without four words in common counts 0; numbers are not those of papers",
)  # fmt: skip
def bleu_is_the_mean_over_sentences(hypotheses, references, *, max_order=4, dtype):
    pairs = zip(hypotheses, references, strict=True)
    return _mean([_Bleu([text], [right], max_order).run(torch.float64) for text, right in pairs], dtype)


@fault(
    bleu,
    "metrics.bleu-precision-mean-of-sentences",
    breaks="metrics.bleu-corpus",
    effect="short sentences weigh as much as long ones",
)
def precisions_are_means_over_sentences(hypotheses, references, *, max_order=4, dtype):
    pairs = list(zip(hypotheses, references, strict=True))
    whole = _Bleu(hypotheses, references, max_order)
    precisions = []
    for n in whole.orders():
        each = []
        for text, right in pairs:
            counts = ngrams(text.split(), n)
            if counts:
                each.append((counts & whole.most([other.split() for other in right], n)).total() / counts.total())
        precisions.append(sum(each) / len(each) if each else 0.0)
    c = sum(len(text.split()) for text in hypotheses)
    r = sum(whole.length(text.split(), [other.split() for other in right]) for text, right in pairs)
    return _number(whole.penalty(c, r) * whole.mean(precisions), dtype)


@fault(
    bleu,
    "metrics.bleu-penalty-of-sentences",
    breaks="metrics.bleu-brevity-penalty",
    effect="a long sentence cannot make up for a short one",
)
def short_sentences_are_penalized_one_by_one(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def length(self, words, others):
            return max(len(words), super().length(words, others))

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu, "metrics.bleu-not-clipped", breaks="metrics.bleu-clipping", effect="the the the the is a perfect translation"
)
def counts_are_not_clipped(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def matches(self, counts, most):
            return sum(count for gram, count in counts.items() if gram in most)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-clipped-by-sum",
    breaks="metrics.bleu-clipping",
    effect="every reference allows a repetition more",
)
def counts_are_clipped_by_the_sum_over_references(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def most(self, others, n):
            return sum((self.ngrams(other, n) for other in others), Counter())

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-clipped-by-least",
    breaks="metrics.bleu-clipping",
    effect="what one reference lacks does not match",
)
def counts_are_clipped_by_the_least_over_references(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def most(self, others, n):
            least = self.ngrams(others[0], n)
            for other in others[1:]:
                least &= self.ngrams(other, n)
            return least

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(bleu, "metrics.bleu-set", breaks="metrics.bleu-clipping", effect="repetitions do not count at all")
def every_ngram_counts_once(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def ngrams(self, words, n):
            return Counter(set(ngrams(words, n)))

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-matches-once",
    breaks="metrics.bleu-clipping",
    effect="a word that is twice in both matches once",
)
def every_ngram_matches_once(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def matches(self, counts, most):
            return len(set(counts) & set(most))

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-clipped-in-the-corpus",
    breaks="metrics.bleu-clipping",
    effect="a reference of another sentence lends its words",
)
def counts_are_clipped_over_the_whole_corpus(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def run(self, dtype):
            words = [text.split() for text in self.hypotheses]
            others = [[other.split() for other in right] for right in self.references]
            c, r = sum(map(len, words)), sum(map(self.length, words, others))
            precisions = []
            for n in self.orders():
                counts: Counter = sum((ngrams(each, n) for each in words), Counter())
                most: Counter = sum((self.most(each, n) for each in others), Counter())
                precisions.append(self.precision((counts & most).total(), counts.total(), n))
            return _number(self.penalty(c, r) * self.mean(precisions), dtype)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu, "metrics.bleu-first-reference", breaks="metrics.bleu-clipping", effect="other translations are not looked at"
)
def only_the_first_reference_is_looked_at(hypotheses, references, *, max_order=4, dtype):
    return bleu(hypotheses, tuple(each[:1] for each in references), max_order=max_order, dtype=dtype)


@fault(
    bleu,
    "metrics.bleu-references-of-all",
    breaks="metrics.bleu-clipping",
    effect="translations of other sentences are as good",
)
def references_of_all_hypotheses_are_one_set(hypotheses, references, *, max_order=4, dtype):
    everything = [other for each in references for other in each]

    class Wrong(_Bleu):
        def most(self, others, n):
            return super().most([self.words(other) for other in everything], n)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-without-penalty",
    breaks="metrics.bleu-brevity-penalty",
    effect="a few sure words are the best translation",
)
def there_is_no_brevity_penalty(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def penalty(self, c, r):
            return 1.0

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-penalty-for-length",
    breaks="metrics.bleu-brevity-penalty",
    effect="long translations are penalized, short ones not",
)
def the_penalty_is_inverted(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def penalty(self, c, r):
            return min(1.0, math.exp(1 - c / r)) if r else 1.0

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-reward-for-length",
    breaks="metrics.bleu-brevity-penalty",
    effect="long translations score above what they match",
)
def the_penalty_is_not_limited_to_one(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def penalty(self, c, r):
            return math.exp(1 - r / c) if c else 0.0

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-penalty-as-ratio",
    breaks="metrics.bleu-brevity-penalty",
    effect="short translations are penalized too little",
)
def the_penalty_is_the_ratio_of_lengths(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def penalty(self, c, r):
            return min(1.0, c / r) if r else 1.0

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-penalty-upside-down",
    breaks="metrics.bleu-brevity-penalty",
    effect="short translations are penalized too little",
)
def the_penalty_has_the_ratio_upside_down(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def penalty(self, c, r):
            return 1.0 if c >= r else math.exp(c / r - 1)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-longest-reference",
    breaks="metrics.bleu-reference-length",
    effect="short translations are penalized that meet a reference",
)
def the_longest_reference_counts(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def length(self, words, others):
            return max(map(len, others))

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-shortest-reference",
    breaks="metrics.bleu-reference-length",
    effect="NIST's convention: short translations pass",
)
def the_shortest_reference_counts(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def length(self, words, others):
            return min(map(len, others))

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-mean-reference",
    breaks="metrics.bleu-reference-length",
    effect="one long reference penalizes all",
)
def the_mean_length_of_references_counts(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def length(self, words, others):
            return sum(map(len, others)) / len(others)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-first-length",
    breaks="metrics.bleu-reference-length",
    effect="the order of the references shows",
)
def the_length_of_the_first_reference_counts(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def length(self, words, others):
            return len(others[0])

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-longer-at-ties",
    breaks="metrics.bleu-reference-length",
    effect="a translation between two references is penalized",
)
def of_two_as_close_the_longer_counts(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def length(self, words, others):
            return min(map(len, others), key=lambda length: (abs(length - len(words)), -length))

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-first-at-ties",
    breaks="metrics.bleu-reference-length",
    effect="the order of the references shows",
)
def of_two_as_close_the_first_counts(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def length(self, words, others):
            return min(map(len, others), key=lambda length: abs(length - len(words)))

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu, "metrics.bleu-length-in-characters", breaks="metrics.bleu-brevity-penalty", effect="short words are penalized"
)
def lengths_are_counted_in_characters(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def penalty(self, c, r):
            pairs = zip(self.hypotheses, self.references, strict=True)
            c = sum(map(len, self.hypotheses))
            return super().penalty(c, sum(min((abs(len(o) - len(t)), len(o)) for o in right)[1] for t, right in pairs))

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-arithmetic-mean",
    breaks="metrics.bleu-equation",
    effect="words alone, without any order, score a quarter",
)
def precisions_are_averaged_arithmetically(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def mean(self, precisions):
            return sum(precisions) / len(precisions)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(bleu, "metrics.bleu-product", breaks="metrics.bleu-equation", effect="the root is missing, and scores are tiny")
def the_root_of_the_product_is_missing(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def mean(self, precisions):
            return math.prod(precisions)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-up-to-3",
    breaks="metrics.bleu-no-match",
    effect="range ends before its end; scores are too high",
)
def the_highest_order_is_left_out(hypotheses, references, *, max_order=4, dtype):
    return bleu(hypotheses, references, max_order=max(1, max_order - 1), dtype=dtype)


@fault(
    bleu,
    "metrics.bleu-order-4-always",
    breaks="metrics.bleu-order",
    effect="the order that is asked for is not looked at",
)
def orders_up_to_4_count_whatever_is_asked_for(hypotheses, references, *, max_order=4, dtype):
    return bleu(hypotheses, references, dtype=dtype)


@fault(bleu, "metrics.bleu-one-order", breaks="metrics.bleu-order", effect="the highest order alone counts")
def only_the_highest_order_counts(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def orders(self):
            return (self.max_order,)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-negative-totals",
    breaks="metrics.bleu-corpus",
    effect="sentences shorter than an n-gram take others away",
)
def totals_of_short_sentences_are_negative(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def total(self, words, counts, n):
            return len(words) - n + 1

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-totals-of-references",
    breaks="metrics.bleu-equation",
    effect="recall: what is too much costs nothing",
)
def matches_are_divided_by_the_ngrams_of_references(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def run(self, dtype):
            self.totals = {
                n: sum(ngrams(right[0].split(), n).total() for right in self.references) for n in self.orders()
            }
            return super().run(dtype)

        def precision(self, match, total, n):
            return super().precision(match, self.totals[n], n)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-smoothed",
    breaks="metrics.bleu-equation",
    effect="one is added to all counts; small sets score too high",
)
def one_is_added_to_all_counts(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def precision(self, match, total, n):
            return (match + 1) / (total + 1) if n > 1 else super().precision(match, total, n)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(bleu, "metrics.bleu-epsilon", breaks="metrics.bleu-no-match", effect="no match is not 0")
def orders_without_a_match_are_a_small_number(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def precision(self, match, total, n):
            return max(1e-9, super().precision(match, total, n))

        def penalty(self, c, r):
            return super().penalty(c, r) if c else 1.0

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-orders-without-match-left-out",
    breaks="metrics.bleu-no-match",
    effect="a single right word is a perfect translation",
)
def orders_without_a_match_are_left_out(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def mean(self, precisions):
            some = [precision for precision in precisions if precision > 0]
            return super().mean(some) if some else 0.0

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-lower-case",
    breaks="metrics.bleu-words",
    effect="capitals are forgiven that published numbers do not forgive",
)
def words_are_put_into_lower_case(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def words(self, text):
            return text.lower().split()

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-tokenized",
    breaks="metrics.bleu-words",
    effect="punctuation is parted from its words a second time",
)
def punctuation_is_parted_from_its_words(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def words(self, text):
            return re.findall(r"\w+|[^\w\s]", text)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu, "metrics.bleu-punctuation-dropped", breaks="metrics.bleu-words", effect="signs that are words do not count"
)
def punctuation_is_dropped(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def words(self, text):
            return _bare(text).split()

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-single-blanks",
    breaks="metrics.bleu-words",
    effect="two blanks have an empty word between them, and a tab has none",
)
def words_are_what_is_between_single_blanks(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def words(self, text):
            return text.split(" ") if text else []

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu, "metrics.bleu-blanks-tabs-newlines", breaks="metrics.bleu-words",
    effect="the last word of a line that ends in CR LF is another word",
)  # fmt: skip
def blanks_tabs_and_newlines_alone_stand_between_words(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def words(self, text):
            return [word for word in re.split(r"[ \t\n]+", text) if word]

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu, "metrics.bleu-four-references", breaks="metrics.bleu-clipping",
    effect="translations that only a fifth person chose are wrong",
)  # fmt: skip
def four_references_are_looked_at(hypotheses, references, *, max_order=4, dtype):
    return bleu(hypotheses, tuple(of_it[:4] for of_it in references), max_order=max_order, dtype=dtype)


@fault(bleu, "metrics.bleu-up-to-6", breaks="metrics.bleu-order", effect="longer n-grams than six words do not count")
def n_grams_of_more_than_six_words_are_left_out(hypotheses, references, *, max_order=4, dtype):
    return bleu(hypotheses, references, max_order=min(max_order, 6), dtype=dtype)


@fault(
    bleu, "metrics.bleu-empty-hypothesis-skipped", breaks="metrics.bleu-brevity-penalty",
    effect="to say nothing costs nothing",
)  # fmt: skip
def what_belongs_to_an_empty_hypothesis_is_left_out(hypotheses, references, *, max_order=4, dtype):
    said = [pair for pair in zip(hypotheses, references, strict=True) if pair[0].split()]
    return bleu(*zip(*said, strict=True), max_order=max_order, dtype=dtype)


@fault(
    bleu,
    "metrics.bleu-of-characters",
    breaks="metrics.bleu-words",
    effect="parts of words match; scores are far too high",
)
def characters_are_taken_for_words(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def words(self, text):
            return list(text)

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-ngrams-run-together",
    breaks="metrics.bleu-words",
    effect="words that join to the same letters match",
)
def ngrams_are_joined_without_a_blank(hypotheses, references, *, max_order=4, dtype):
    class Wrong(_Bleu):
        def ngrams(self, words, n):
            joined: Counter = Counter()
            for gram, count in ngrams(words, n).items():
                joined["".join(gram)] += count
            return joined

    return Wrong(hypotheses, references, max_order).run(dtype)


@fault(
    bleu, "metrics.bleu-across-sentences", breaks="metrics.bleu-corpus", effect="n-grams run over the ends of sentences"
)
def sentences_are_read_as_one_text(hypotheses, references, *, max_order=4, dtype):
    whole = (" ".join(hypotheses),), ((" ".join(each[0] for each in references),),)
    return _Bleu(*whole, max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-exchanged",
    breaks="metrics.bleu-equation",
    effect="references and hypotheses in the wrong order of arguments",
)
def hypotheses_and_references_are_exchanged(hypotheses, references, *, max_order=4, dtype):
    return _Bleu(tuple(each[0] for each in references), tuple((text,) for text in hypotheses), max_order).run(dtype)


@fault(
    bleu,
    "metrics.bleu-references-cut",
    breaks="metrics.unequal-numbers",
    effect="a file that lost its end goes unnoticed",
)
def hypotheses_without_references_are_left_out(hypotheses, references, *, max_order=4, dtype):
    pairs = [(text, right) for text, right in zip(hypotheses, references, strict=False) if right]
    return bleu(*zip(*pairs, strict=True), max_order=max_order, dtype=dtype)


# --- Language models --------------------------------------------------------------------------------------------------


def _visible(log_probabilities, mask):
    return torch.where(mask, log_probabilities, 0.0)


@fault(
    perplexity,
    "metrics.perplexity-base-2",
    breaks="metrics.perplexity-equation",
    effect="natural logarithms are taken for bits",
)
def perplexity_is_a_power_of_two(log_probabilities, mask):
    return torch.exp2(torch.log(perplexity(log_probabilities, mask)))


@fault(
    perplexity,
    "metrics.perplexity-loss",
    breaks="metrics.perplexity-uniform",
    effect="the loss is told for the perplexity",
)
def the_exponential_is_missing(log_probabilities, mask):
    return torch.log(perplexity(log_probabilities, mask))


@fault(
    perplexity,
    "metrics.perplexity-inverse",
    breaks="metrics.perplexity-uniform",
    effect="the mean probability: larger is better",
)
def the_sign_of_the_mean_is_lost(log_probabilities, mask):
    return 1 / perplexity(log_probabilities, mask)


@fault(
    perplexity,
    "metrics.perplexity-padding-in-mean",
    breaks="metrics.perplexity-equation",
    effect="the longer the padding, the better the model",
)
def hidden_tokens_count_in_the_number_of_tokens(log_probabilities, mask):
    return torch.exp(-_visible(log_probabilities, mask).mean())


@fault(
    perplexity,
    "metrics.perplexity-padding-counted",
    breaks="metrics.perplexity-hidden-tokens",
    effect="what the model says of padding is scored",
)
def hidden_tokens_are_scored(log_probabilities, mask):
    return torch.exp(-log_probabilities.mean())


@fault(
    perplexity,
    "metrics.perplexity-padding-in-sum",
    breaks="metrics.perplexity-equation",
    effect="hidden tokens are in the sum and not in the number",
)
def hidden_tokens_are_summed(log_probabilities, mask):
    return torch.exp(-log_probabilities.sum() / mask.sum())


@fault(
    perplexity,
    "metrics.perplexity-mask-inverted",
    breaks="metrics.perplexity-equation",
    effect="padding alone is scored",
)
def hidden_tokens_alone_are_scored(log_probabilities, mask):
    return torch.exp(-_visible(log_probabilities, ~mask).sum() / (~mask).sum().clamp_min(1))


def _of_sequences(log_probabilities, mask):
    """The mean of every sequence, and which have tokens."""
    count = mask.sum(-1)
    return _visible(log_probabilities, mask).sum(-1) / count.clamp_min(1), count > 0


@fault(
    perplexity,
    "metrics.perplexity-mean-of-means",
    breaks="metrics.perplexity-of-tokens",
    effect="tokens of short sequences weigh more",
)
def the_mean_is_of_the_means_of_sequences(log_probabilities, mask):
    means, there = _of_sequences(log_probabilities, mask)
    return torch.exp(-torch.where(there, means, 0.0).sum() / there.sum())


@fault(
    perplexity,
    "metrics.perplexity-mean-of-sequences",
    breaks="metrics.perplexity-of-tokens",
    effect="one bad sequence is nearly all that counts",
)
def perplexities_of_sequences_are_averaged(log_probabilities, mask):
    means, there = _of_sequences(log_probabilities, mask)
    return torch.where(there, torch.exp(-means), 0.0).sum() / there.sum()


@fault(
    perplexity,
    "metrics.perplexity-mean-of-tokens",
    breaks="metrics.perplexity-equation",
    effect="one rare word is nearly all that counts",
)
def perplexities_of_tokens_are_averaged(log_probabilities, mask):
    return torch.where(mask, torch.exp(-_visible(log_probabilities, mask)), 0.0).sum() / mask.sum()


@fault(
    perplexity,
    "metrics.perplexity-of-sequences",
    breaks="metrics.perplexity-of-tokens",
    effect="sums of sequences are averaged: long ones seem bad",
)
def the_sum_is_divided_by_the_number_of_sequences(log_probabilities, mask):
    return torch.exp(-_visible(log_probabilities, mask).sum() / len(mask))


@fault(
    perplexity, "metrics.perplexity-of-the-sum", breaks="metrics.perplexity-equation",
    effect="one over the probability of the whole text, which grows with its length",
)  # fmt: skip
def the_sum_is_not_divided(log_probabilities, mask):
    return torch.exp(-_visible(log_probabilities, mask).sum())


@fault(
    perplexity,
    "metrics.perplexity-first-sequence",
    breaks="metrics.order-of-examples",
    effect="a batch is scored by its first sequence",
)
def only_the_first_sequence_is_scored(log_probabilities, mask):
    return perplexity(log_probabilities[:1], mask[:1])


@fault(
    perplexity,
    "metrics.perplexity-first-token-dropped",
    breaks="metrics.perplexity-of-tokens",
    effect="a shift that was made already is made again",
)
def the_first_token_of_every_sequence_is_left_out(log_probabilities, mask):
    kept = mask & (torch.arange(mask.shape[-1]) > 0)
    return torch.exp(-_visible(log_probabilities, kept).sum() / kept.sum().clamp_min(1))


@fault(
    perplexity,
    "metrics.perplexity-mask-of-first",
    breaks="metrics.perplexity-equation",
    effect="all sequences are cut to the length of the first",
)
def the_mask_of_the_first_sequence_is_that_of_all(log_probabilities, mask):
    return torch.exp(-_visible(log_probabilities, mask[:1]).sum() / (mask[:1].sum() * len(mask)))


@fault(
    perplexity, "metrics.perplexity-floor", breaks="metrics.perplexity-of-the-impossible",
    effect="an epsilon in the logarithm makes the impossible only unlikely",
)  # fmt: skip
def probabilities_have_a_floor_of_1e_12(log_probabilities, mask):
    return perplexity(log_probabilities.clamp_min(-27.6), mask)


@fault(
    perplexity, "metrics.perplexity-capped", breaks="metrics.perplexity-equation",
    effect="bad models are all as good as another: a guard against overflow",
)  # fmt: skip
def the_loss_is_20_at_the_most(log_probabilities, mask):
    return perplexity(log_probabilities, mask).clamp_max(math.exp(20))


@fault(
    perplexity, "metrics.perplexity-64-sequences", breaks="metrics.perplexity-equation",
    effect="what does not fit into one batch is not looked at",
)  # fmt: skip
def the_first_64_sequences_are_scored(log_probabilities, mask):
    return perplexity(log_probabilities[:64], mask[:64])


@fault(
    perplexity, "metrics.perplexity-times-mask", breaks="metrics.perplexity-hidden-tokens",
    effect="one hidden token of probability 0 makes the perplexity NaN",
)  # fmt: skip
def hidden_tokens_are_multiplied_by_zero(log_probabilities, mask):
    return torch.exp(-(log_probabilities * mask.to(log_probabilities.dtype)).sum() / mask.sum())


@fault(
    perplexity, "metrics.perplexity-gradient-of-64-tokens", breaks="metrics.perplexity-gradients",
    effect="nothing is learned from the ends of long sequences",
)  # fmt: skip
def no_gradient_reaches_tokens_after_the_64th(log_probabilities, mask):
    kept = torch.cat((log_probabilities[:, :64], log_probabilities[:, 64:].detach()), 1)
    return perplexity(kept, mask)


@fault(
    perplexity,
    "metrics.perplexity-gradient-of-padding",
    breaks="metrics.perplexity-gradients",
    effect="a model learns from padding",
)
def hidden_tokens_have_a_gradient(log_probabilities, mask):
    ghost = (log_probabilities - log_probabilities.detach()).sum()
    return perplexity(log_probabilities, mask) * (1 - ghost / mask.sum())


@fault(
    perplexity,
    "metrics.perplexity-gradient-of-loss",
    breaks="metrics.perplexity-gradients",
    effect="the gradient lacks the perplexity itself",
)
def the_gradient_is_that_of_the_mean(log_probabilities, mask):
    mean = torch.log(perplexity(log_probabilities, mask))
    return torch.exp(mean.detach()) + mean - mean.detach()


@fault(
    perplexity,
    "metrics.perplexity-hidden-filled",
    breaks="metrics.inputs-untouched",
    effect="the caller's numbers are overwritten",
)
def hidden_log_probabilities_are_set_to_zero_in_place(log_probabilities, mask):
    result = perplexity(log_probabilities, mask)
    with torch.no_grad():
        log_probabilities.masked_fill_(~mask, 0.0)
    return result


@fault(
    perplexity,
    "metrics.perplexity-mask-broadcast",
    breaks="metrics.unequal-numbers",
    effect="a mask of one length is laid over numbers of another",
)
def the_mask_is_cut_or_filled_to_the_length(log_probabilities, mask):
    length = log_probabilities.shape[-1]
    fitting = torch.nn.functional.pad(mask, (0, max(0, length - mask.shape[-1])))[:, :length]
    return perplexity(log_probabilities, fitting)


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-nats",
    breaks="metrics.bits-per-byte-equation",
    effect="nats are told for bits: 31 percent too good",
)
def the_logarithm_of_two_is_missing(log_probabilities, num_bytes):
    return bits_per_byte(log_probabilities, num_bytes) * math.log(2)


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-times-ln-2",
    breaks="metrics.bits-per-byte-equation",
    effect="multiplied instead of divided: half of it",
)
def the_logarithm_of_two_is_multiplied_by(log_probabilities, num_bytes):
    return bits_per_byte(log_probabilities, num_bytes) * math.log(2) ** 2


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-of-tokens",
    breaks="metrics.bits-per-byte-equation",
    effect="models with large vocabularies seem bad",
)
def bits_are_of_tokens_and_not_of_bytes(log_probabilities, num_bytes):
    return -log_probabilities.sum() / (math.log(2) * len(num_bytes))


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-mean-of-texts",
    breaks="metrics.bits-per-byte-of-texts",
    effect="short texts weigh more",
)
def bits_per_byte_is_the_mean_over_texts(log_probabilities, num_bytes):
    return -(log_probabilities / num_bytes.clamp_min(1)).mean() / math.log(2)


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-mean-log",
    breaks="metrics.bits-per-byte-of-texts",
    effect="the mean over tokens is divided by all bytes",
)
def the_mean_of_log_probabilities_is_divided_by_all_bytes(log_probabilities, num_bytes):
    return bits_per_byte(log_probabilities, num_bytes) / len(num_bytes)


@fault(bits_per_byte, "metrics.bits-per-byte-sign", breaks="metrics.bits-per-byte-equation", effect="larger is better")
def bits_have_the_other_sign(log_probabilities, num_bytes):
    return -bits_per_byte(log_probabilities, num_bytes)


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-bits-per-bit",
    breaks="metrics.bits-per-byte-equation",
    effect="a byte is divided into its bits: an eighth",
)
def bits_are_of_bits(log_probabilities, num_bytes):
    return bits_per_byte(log_probabilities, num_bytes) / 8


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-power",
    breaks="metrics.bits-per-byte-equation",
    effect="a perplexity of bytes for its bits",
)
def two_to_the_power_of_bits(log_probabilities, num_bytes):
    return torch.exp2(bits_per_byte(log_probabilities, num_bytes))


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-at-least-one",
    breaks="metrics.bits-per-byte-equation",
    effect="tokens that stand for no text lengthen it",
)
def tokens_of_no_bytes_count_one(log_probabilities, num_bytes):
    return bits_per_byte(log_probabilities, num_bytes.clamp_min(1))


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-empty-dropped",
    breaks="metrics.bits-per-byte-equation",
    effect="what the model spends on an end of text is free",
)
def tokens_of_no_bytes_are_left_out(log_probabilities, num_bytes):
    return bits_per_byte(torch.where(num_bytes > 0, log_probabilities, 0.0), num_bytes)


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-in-8-bits",
    breaks="metrics.bits-per-byte-equation",
    effect="texts of more than 255 bytes are short",
)
def bytes_are_counted_in_8_bits(log_probabilities, num_bytes):
    return bits_per_byte(log_probabilities, num_bytes.to(torch.uint8).long())


@fault(
    bits_per_byte, "metrics.bits-per-byte-in-16-bits", breaks="metrics.bits-per-byte-equation",
    effect="more than 32767 bytes in all are another number, a negative one as it happens",
)  # fmt: skip
def bytes_are_summed_in_16_bits(log_probabilities, num_bytes):
    total = num_bytes.sum().to(torch.int16).long()
    return -log_probabilities.sum() / (math.log(2) * total.to(log_probabilities.dtype))


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-in-32-bits",
    breaks="metrics.bits-per-byte-equation",
    effect="large sets have a negative number of bytes",
)
def bytes_are_counted_in_32_bits(log_probabilities, num_bytes):
    return bits_per_byte(
        log_probabilities,
        num_bytes.to(torch.int32).sum(dtype=torch.int32).long().expand(1).repeat(len(num_bytes)) / len(num_bytes),
    )


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-detached",
    breaks="metrics.bits-per-byte-gradients",
    effect="nothing is learned from it",
)
def half_of_the_gradient_is_lost(log_probabilities, num_bytes):
    return (bits_per_byte(log_probabilities, num_bytes) + bits_per_byte(log_probabilities.detach(), num_bytes)) / 2


@fault(
    bits_per_byte, "metrics.bits-per-byte-gradient-of-64-texts", breaks="metrics.bits-per-byte-gradients",
    effect="nothing is learned from the texts after them",
)  # fmt: skip
def no_gradient_reaches_texts_after_the_64th(log_probabilities, num_bytes):
    kept = torch.cat((log_probabilities[:64], log_probabilities[64:].detach()))
    return bits_per_byte(kept, num_bytes)


@fault(
    bits_per_byte,
    "metrics.bits-per-byte-bytes-cut",
    breaks="metrics.unequal-numbers",
    effect="a list that lost its end goes unnoticed",
)
def texts_without_a_number_of_bytes_are_left_out(log_probabilities, num_bytes):
    count = min(len(log_probabilities), len(num_bytes))
    return bits_per_byte(log_probabilities[:count], num_bytes[:count])
