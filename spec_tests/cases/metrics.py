"""Inputs for metrics. Classes are of unequal sizes, and mistakes of one kind are not as many as those of another."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from transpec.cases import DTYPE, EVERY_DTYPE, WIDE, Case, Drawn, booleans, copy, integers, layouts, normal
from transpec.operations import Operation
from transpec.reference.metrics import (
    accuracy,
    bits_per_byte,
    bleu,
    f1,
    macro_f1,
    matthews,
    pearson,
    perplexity,
    span_f1,
    spearman,
    squad_exact_match,
    squad_f1,
)

Strings = tuple[str, ...]
Numbers = Tensor | Sequence[float]
Pairs = list[tuple[str, Strings]]

LARGE = 100_003  # examples, whose squares 32 bits do not hold, nor 64 the product of two of their sums


def of_classes(
    operation: Operation[..., Tensor], name: str, predictions: Numbers, labels: Numbers, *,
    dtypes: tuple[str, ...] = EVERY_DTYPE, **options: int,
) -> Case:  # fmt: skip
    """A call of accuracy, f1, macro_f1 or matthews."""
    ids = tuple(torch.as_tensor(given, dtype=torch.int64) for given in (predictions, labels))
    return Case(operation, name, ids, None, {**options, "dtype": DTYPE}, dtypes)


def correlation(
    operation: Operation[..., Tensor], name: str, x: Numbers, y: Numbers, dtypes: tuple[str, ...] = EVERY_DTYPE
) -> Case:
    """A call of pearson or spearman."""
    return Case(operation, name, tuple(torch.as_tensor(given, dtype=torch.float64) for given in (x, y)), dtypes=dtypes)


def of_texts(
    operation: Operation[..., Tensor], name: str, pairs: Sequence[tuple[str, Strings]], *,
    dtypes: tuple[str, ...] = EVERY_DTYPE, **options: int,
) -> Case:  # fmt: skip
    """A call of squad_exact_match, squad_f1 or bleu on pairs of a text and those that are right."""
    texts, right = (tuple(part) for part in zip(*pairs, strict=True))
    return Case(operation, name, (texts, right), None, {**options, "dtype": DTYPE}, dtypes)


def of_tags(name: str, *pairs: tuple[str, str], dtypes: tuple[str, ...] = WIDE) -> Case:
    """A call of span_f1 on pairs of predicted and true tags with blanks between them."""
    predicted, true = (tuple(tuple(tags.split()) for tags in part) for part in zip(*pairs, strict=True))
    return Case(span_f1, name, (predicted, true), None, {"dtype": DTYPE}, dtypes)


# --- Classes ----------------------------------------------------------------------------------------------------------

# Predictions and labels, which number of classes, and why they are there.
_SEEN = {
    "two classes": ([1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0], [1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1], 2),
    "more of class 0 found than there": ([0, 0, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1, 1], 2),
    "more of class 1 found than there": ([1, 1, 0, 1, 1, 1, 0, 1], [1, 0, 0, 1, 0, 0, 0, 1], 2),
    "worse than chance": ([1, 0, 1, 0, 0, 1, 0], [0, 1, 0, 1, 1, 1, 0], 2),
    "one of class 1 among many": ([0] * 17 + [1, 1], [0] * 18 + [1], 2),
    "three classes of unequal size": (
        [0, 0, 0, 1, 2, 1, 0, 2, 0, 0, 0, 1, 0],
        [0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 0, 1, 0],
        3,
    ),
    "four classes": ([0, 1, 1, 1, 2, 3, 3, 0, 1, 2, 1], [0, 1, 1, 2, 2, 3, 1, 3, 1, 0, 1], 4),
    "a class that is never predicted": ([0, 1, 1, 0, 1, 0, 0], [0, 1, 2, 0, 2, 1, 0], 3),
    "a class that is only predicted": ([0, 1, 2, 0, 2, 1, 0, 1], [0, 1, 1, 0, 0, 0, 0, 1], 3),
}
_two = ("two classes", "more of class 0 found than there", "more of class 1 found than there", "worse than chance")
_ids = {name: (torch.tensor(found), torch.tensor(there), classes) for name, (found, there, classes) in _SEEN.items()}


def _drawn_ids(name: str, classes: int, number: int) -> tuple[Tensor, Tensor]:
    """Labels and predictions that are right about half of the time."""
    labels = integers(f"{name} labels", classes, number)
    return torch.where(normal(name, number) > 0, labels, integers(f"{name} others", classes, number)), labels


_sizes = (2, 3, 5, 16, 17, 64, 65, 129, 1025)
_many_classes = tuple(torch.cat((torch.arange(20), ids)) for ids in _drawn_ids("many classes", 20, 61))
_classes_of_300 = tuple(torch.cat((torch.arange(300), ids)) for ids in _drawn_ids("classes of 300", 300, 301))
_many = _drawn_ids("many", 3, LARGE)
# 1 to what keeps 6, 8 or 16 bits of an id; 255 is what some take for no class at all.
_wide_ids = ([257, 1, 0, 65, 1, 65537, 255, 0, 255, 1], [1, 1, 257, 1, 0, 1, 255, 255, 0, 1])
_pair_of_many = _drawn_ids("many of two", 2, LARGE)

accuracies = [
    of_classes(accuracy, "three of four", [2, 0, 1, 1], [2, 0, 1, 3]),
    of_classes(accuracy, "one example, right", [3], [3]),
    of_classes(accuracy, "one example, wrong", [0], [3]),
    of_classes(accuracy, "all right", [4, 0, 1, 4, 2], [4, 0, 1, 4, 2]),
    of_classes(accuracy, "none right", [0, 1, 2], [1, 2, 0]),
    of_classes(accuracy, "class 0 counts", [0, 0, 0, 1, 0], [0, 0, 1, 0, 0]),
    of_classes(accuracy, "right as sets, not in their places", [0, 1, 2, 3, 1], [1, 0, 2, 1, 3]),
    of_classes(accuracy, "the first wrong", [1, 2, 3, 4, 5], [0, 2, 3, 4, 5]),
    of_classes(accuracy, "the last wrong", [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 0]),
    of_classes(accuracy, "ids equal modulo 256", [300, 44, 7, 1], [44, 300, 7, 257]),
    of_classes(accuracy, "ids that float32 cannot tell apart", [2**24 + 1, 5, 2**24], [2**24, 5, 2**24]),
    *(of_classes(accuracy, name, found, there) for name, (found, there, _) in _ids.items()),
    of_classes(accuracy, "ids beyond 6, 8 and 16 bits", *_wide_ids),
    of_classes(accuracy, "class 255 among others", [255, 0, 1, 255, 2, 7], [255, 0, 2, 3, 255, 255]),
    *(of_classes(accuracy, f"{n} examples", *_drawn_ids(f"{n} examples", 3, n), dtypes=WIDE) for n in _sizes[:-1]),
    # Also in dtypes that do not hold these counts, which are exact all the same.
    of_classes(accuracy, f"{_sizes[-1]} examples", *_drawn_ids(f"{_sizes[-1]} examples", 3, _sizes[-1])),
    of_classes(accuracy, "many examples", *_many),
]
f1s = [
    of_classes(f1, "two thirds", [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]),
    of_classes(f1, "one of three found", [0, 1, 0, 0], [1, 1, 0, 1]),
    of_classes(f1, "one example, right", [1], [1]),
    of_classes(f1, "all found", [1, 0, 1, 0, 0], [1, 0, 1, 0, 0]),
    of_classes(f1, "everything taken for positive", [1] * 7, [0, 0, 1, 0, 0, 1, 0]),
    of_classes(f1, "nothing found of what is there", [0, 0, 0, 0], [0, 1, 0, 1]),
    of_classes(f1, "found where nothing is", [0, 1, 1], [0, 0, 0]),
    *(of_classes(f1, name, *_ids[name][:2]) for name in (*_two, "one of class 1 among many")),
    of_classes(f1, "class 1 of three", *_ids["three classes of unequal size"][:2]),
    of_classes(f1, "predicted what is no label", [2, 1, 0, 3, 1], [0, 1, 0, 1, 1]),
    of_classes(f1, "ids beyond 6, 8 and 16 bits", *_wide_ids),
    *(of_classes(f1, f"{n} examples", *_drawn_ids(f"{n} of two", 2, n), dtypes=WIDE) for n in _sizes[2:-1]),
    of_classes(f1, f"{_sizes[-1]} examples", *_drawn_ids(f"{_sizes[-1]} of two", 2, _sizes[-1])),
    of_classes(f1, "many examples", *_pair_of_many),
]
f1s_of_another = [
    *(of_classes(f1, f"{name}, class 0 positive", *_ids[name][:2], positive=0) for name in _two),
    of_classes(f1, "class 2 of three", *_ids["three classes of unequal size"][:2], positive=2),
    of_classes(f1, "class 0 of three", *_ids["three classes of unequal size"][:2], positive=0),
    of_classes(f1, "class 3 of four", *_ids["four classes"][:2], positive=3),
    of_classes(f1, "class 255 among wide ids", *_wide_ids, positive=255),
    of_classes(f1, "class 257 among wide ids", *_wide_ids, positive=257),
    of_classes(f1, "class 7 of 4 and 7", [7, 4, 4, 7, 4], [7, 7, 4, 4, 7], positive=7),
]
nothing_to_find = [
    of_classes(f1, "no example positive, none predicted", [0, 0, 0], [0, 0, 0]),
    of_classes(f1, "class 3 is not there", [0, 1, 2, 1], [0, 2, 2, 1], positive=3),
]
macro_f1s = [
    *(of_classes(macro_f1, name, found, there, num_classes=n) for name, (found, there, n) in _ids.items()),
    of_classes(macro_f1, "all right", [0, 1, 2, 0], [0, 1, 2, 0], num_classes=3),
    of_classes(macro_f1, "none right", [1, 2, 0, 2], [0, 1, 2, 0], num_classes=3),
    of_classes(macro_f1, "one class", [0, 0], [0, 0], num_classes=1),
    *(
        of_classes(macro_f1, f"{n} examples", *_drawn_ids(f"{n} of three", 3, n), num_classes=3, dtypes=WIDE)
        for n in _sizes[4:]
    ),
    of_classes(macro_f1, "20 classes", *_many_classes, num_classes=20),
    of_classes(macro_f1, "300 classes", *_classes_of_300, num_classes=300, dtypes=WIDE),
    of_classes(macro_f1, "many examples", *_many, num_classes=3),
]  # fmt: skip
absent_classes = [
    of_classes(macro_f1, "the last of four absent", *_ids["three classes of unequal size"][:2], num_classes=4),
    of_classes(macro_f1, "two of five absent", [0, 3, 4, 4, 0, 3], [0, 3, 4, 3, 3, 3], num_classes=5),
    of_classes(macro_f1, "the first absent", [1, 2, 1, 2, 1], [1, 2, 2, 2, 2], num_classes=3),
    of_classes(macro_f1, "three of 300 there", [0, 2, 257, 0, 2, 0], [0, 2, 257, 2, 257, 0], num_classes=300),
    of_classes(macro_f1, "one class alone of two", [1, 1, 1], [1, 1, 1], num_classes=2),
]
matthewses = [
    *(of_classes(matthews, name, found, there) for name, (found, there, _) in _ids.items()),
    of_classes(matthews, "all right", [1, 0, 0, 1, 0], [1, 0, 0, 1, 0]),
    of_classes(matthews, "all wrong", [1, 0, 0, 1, 0], [0, 1, 1, 0, 1]),
    of_classes(matthews, "all right of four", [0, 1, 2, 3, 1], [0, 1, 2, 3, 1]),
    of_classes(matthews, "two classes with ids 3 and 8", [3, 8, 8, 3, 3, 8, 3], [3, 8, 3, 3, 8, 8, 3]),
    of_classes(matthews, "three classes, the first without an example", [1, 2, 3, 1, 1, 3], [1, 2, 3, 2, 1, 1]),
    of_classes(matthews, "predictions that have nothing to do with the labels", [0, 0, 1, 1], [0, 1, 0, 1]),
    *(of_classes(matthews, f"{n} examples", *_drawn_ids(f"{n} of three", 3, n), dtypes=WIDE) for n in _sizes[4:]),
    of_classes(matthews, "20 classes", *_many_classes),
    of_classes(matthews, "ids beyond 6, 8 and 16 bits", *_wide_ids),
    # What counts lose in 32 bits is seen in any dtype; sums over so many examples lose a part of float64 themselves.
    of_classes(matthews, "many examples", *_many, dtypes=EVERY_DTYPE[1:]),
    of_classes(matthews, "many examples of two", *_pair_of_many, dtypes=EVERY_DTYPE[1:]),
    # The product of four sums is more than 64 bits hold.
    of_classes(matthews, "200003 examples of two", *_drawn_ids("more of two", 2, 200_003), dtypes=("float32",)),
]
one_class = [
    of_classes(matthews, "one class predicted", [0, 0, 0, 0, 0], [0, 1, 0, 1, 1]),
    of_classes(matthews, "class 1 predicted throughout", [1, 1, 1, 1], [0, 1, 1, 1]),
    of_classes(matthews, "one class is there", [0, 1, 0, 0], [0, 0, 0, 0]),
    of_classes(matthews, "one class and that right", [1, 1, 1], [1, 1, 1]),
    of_classes(matthews, "one class of three predicted", [2, 2, 2, 2], [0, 1, 2, 1]),
    of_classes(matthews, "one example", [1], [1]),
]

# --- Rankings ---------------------------------------------------------------------------------------------------------

by_hand = [
    ("two go together", [1, 2], [3, 7]),
    ("two go against each other", [1, 2], [7, 3]),
    ("three, by hand", [1, 2, 3], [1, 3, 2]),
    ("on a line", [1, 2, 4, 8], [3, 5, 9, 17]),
    ("on a falling line", [1, 2, 4, 8], [-2, -4, -8, -16]),
    ("growing, not on a line", [1, 2, 3, 4, 5], [1, 4, 9, 16, 25]),
    ("falling, not on a line", [1, 2, 3, 4, 5], [16, 8, 4, 2, 1]),
]
tied = [
    ("two tied in x", [1, 2, 2, 4], [1, 3, 2, 4]),
    ("two tied in y", [4, 1, 3, 2, 5], [2, 1, 2, 4, 3]),
    ("ties in both", [1, 1, 2, 3, 3, 3, 4], [2, 1, 1, 5, 5, 2, 3]),
    ("the smallest tied", [1, 1, 1, 2, 5], [3, 1, 2, 5, 4]),
    ("the largest tied", [6, 6, 2, 6, 5], [3, 1, 2, 5, 4]),
    ("ratings from 1 to 5", [5, 3, 4, 1, 1, 2, 5, 4, 3, 3, 2], [4, 3, 5, 2, 1, 2, 5, 5, 1, 3, 3]),
    ("two values each", [0, 1, 1, 0, 1, 0, 0], [0, 1, 0, 0, 1, 1, 0]),
    ("one apart from equal ones", [2, 2, 2, 2, 7], [1, 4, 2, 3, 5]),
    ("negative, zero and positive", [-1, 0, 0, 2, -1, 3], [0.5, -0.5, 0, 0, -2, 4]),
]


def _going_together(name: str, number: int, share: float) -> tuple[str, Tensor, Tensor]:
    """x, and as much of x in y as `share` says."""
    x = normal(f"{name} x", number)
    return name, x, share * x + normal(f"{name} y", number)


generic = [
    _going_together("generic", 7, 1.5),
    _going_together("going against each other", 11, -0.8),
    _going_together("hardly related", 13, 0.1),
    _going_together("closely related", 9, 6.0),
]
numbers_of_examples = [_going_together(f"{n} examples", n, 0.6) for n in (3, 4, 5, 16, 17, 33, 65)]
_ratings = (integers(f"rating {rater}", 5, 301).to(torch.float64) for rater in "xyz")
_x, _y, _z = _ratings
more_examples = [
    *(_going_together(f"{n} examples", n, 0.6) for n in (129, 257)),
    ("301 ratings from 1 to 5", _x + 1, torch.where(_z > 1, _x, _y) + 1),
    _going_together("1500 examples", 1500, 0.6),
]
# Of these few numbers bfloat16 keeps too little to tell a mistake from rounding.
_not_in_bfloat16 = tuple(dtype for dtype in EVERY_DTYPE if dtype != "bfloat16")
_too_few_for_bfloat16 = ("three, by hand", "two tied in x", "generic")
pearsons = [
    *(
        correlation(pearson, name, x, y, _not_in_bfloat16 if name in _too_few_for_bfloat16 else EVERY_DTYPE)
        for name, x, y in (*by_hand, *tied[:3], *generic[:2])
    ),
    *(
        correlation(pearson, name, x, y, WIDE)
        for name, x, y in (*tied[3:], *generic[2:], *numbers_of_examples, *more_examples)
    ),
]
spearmans = [
    *(correlation(spearman, name, x, y) for name, x, y in (*by_hand, *tied[:3])),
    *(
        correlation(spearman, name, x, y, WIDE)
        for name, x, y in (*tied[3:], *generic, *numbers_of_examples, *more_examples)
    ),
]
close_numbers = [
    correlation(
        spearman, "numbers that float32 cannot tell apart",
        1 + 2.0**-40 * torch.tensor([3, 0, 4, 1, 2], dtype=torch.float64), [2, 1, 5, 4, 3], ("float64",),
    ),
    correlation(spearman, "numbers of very unlike size", [1e-30, 1e30, -1e-30, 1, -1e30], [3, 5, 1, 4, 2], WIDE),
    correlation(spearman, "infinite numbers", [-torch.inf, 0, 1, 2, torch.inf], [1, 2, 5, 3, torch.inf], WIDE),
    correlation(spearman, "zeros of either sign", [0.0, -0.0, 1, -1, 2], [2, 1, 3, 4, 5], _not_in_bfloat16),
]  # fmt: skip
hard = [
    correlation(pearson, f"{name}, {about}", scale_x * x + mean_x, scale_y * y + mean_y, WIDE)
    for name, x, y in (_going_together("7 hard ones", 7, 0.7), _going_together("33 hard ones", 33, -0.9))
    for about, scale_x, mean_x, scale_y, mean_y in (
        ("x about 1e6", 1e3, 1e6, 1, 0), ("y about -1e6", 1, 0, 1e3, -1e6), ("both about 1e6", 1e3, 1e6, 1e3, 1e6),
        # float32 holds the squares of these, and not the product of both sums of squares
        ("of very unlike size", 1e6, 0, 1e-6, 0), ("both large", 1e12, 0, 1e11, 0), ("both small", 1e-12, 0, 1e-11, 0),
    )
] + [
    correlation(pearson, f"{name}, apart by little", x + 1e6, 1e-3 * y - 1e3, ("float64",))
    for name, x, y in (_going_together("7 hard ones", 7, 0.7), _going_together("33 hard ones", 33, -0.9))
]  # fmt: skip
constant = [
    correlation(operation, name, x, y)
    for operation in (pearson, spearman)
    for name, x, y in (
        ("x constant", [2, 2, 2, 2], [1, 3, 2, 5]),
        ("y constant", [1, 3, 2, 5], [-4, -4, -4, -4]),
        ("both constant", [1, 1, 1, 1], [8, 8, 8, 8]),
        ("x zero", [0, 0, 0, 0], [1, 3, 2, 5]),
    )
]
for_gradients = [
    *(correlation(pearson, name, x, y) for name, x, y in (*tied[:3], *generic, *numbers_of_examples[2:5])),
    *(correlation(pearson, name, x, y, WIDE) for name, x, y in (*more_examples[:2], more_examples[3])),
]

# --- Answers ----------------------------------------------------------------------------------------------------------

# Pairs of a prediction and its answers; the same for the exact match and for F1.
_plain: dict[str, Pairs] = {
    "the same": [("Denver Broncos", ("Denver Broncos",))],
    "another": [("Carolina Panthers", ("Denver Broncos",))],
    "part of it": [("Broncos", ("Denver Broncos",))],
    "more than it": [("Denver Broncos of Colorado", ("Denver Broncos",))],
    "half of either": [("north west", ("south west",))],
    "the words in another order": [("Broncos Denver", ("Denver Broncos",))],
    "in unlike lengths": [("in the late summer of 1969", ("summer 1969",))],
    "one of three right": [("one", ("one",)), ("two", ("three",)), ("four", ("five",))],
    "some right, some in part": [
        ("red car", ("red car",)),
        ("red", ("red car", "car")),
        ("blue", ("red car",)),
        ("a red old car", ("red car",)),
        ("one two three", ("two three four five six",)),
    ],
}
_normalized: dict[str, Pairs] = {
    "case": [("dENVER bRONCOS", ("Denver Broncos",))],
    "case beyond ASCII": [("ÉCOLE ΔΈΛΤΑ", ("école δέλτα",))],
    "sharp s is not two": [("STRASSE", ("straße",))],
    "punctuation at the end": [("Broncos.", ("Broncos",))],
    "punctuation around": [('"(Broncos)!"', ("Broncos",))],
    "every mark of ASCII": [("x!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~y", ("xy",))],
    "a mark joins what it parts": [("twenty-one", ("twentyone",))],
    "a mark is no blank": [("twenty-one", ("twenty one",))],
    "points of a number": [("3.14", ("314",))],
    "marks outside ASCII stay": [("“Broncos”", ("Broncos",))],
    "a dash outside ASCII stays": [("1990–1995", ("19901995",))],
    "an apostrophe": [("Levi's", ("Levis",))],
    "article the": [("the Broncos", ("Broncos",))],
    "article a": [("a horse", ("horse",))],
    "article an": [("an apple", ("apple",))],
    "articles inside": [("king of the an a hill", ("king of hill",))],
    "article at the end": [("Broncos the", ("Broncos",))],
    "articles in capitals": [("THE Broncos", ("Broncos",))],
    "article before a mark": [("the, Broncos", ("Broncos",))],
    "articles inside words": [("theory of another banana", ("ory of or b",))],
    "an article that a mark makes a word's part": [("a-team", ("ateam",))],
    "an article out of marks": [("t.h.e Broncos", ("Broncos",))],
    "other short words stay": [("this is in one", ("is in one",))],
    "an article beside a letter outside ASCII": [("éa caféthe", ("é café",))],
    "an article beside a digit": [("a1 2the", ("1 2",))],
    "accents stay": [("cafe", ("café",))],
    "digits are no words": [("3", ("three",))],
    "white space": [("  Denver \t Broncos\n", ("Denver Broncos",))],
    "line ends and page ends": [("red\r\nold\fcar\vnow\r", ("red old car now",))],
    "two articles side by side": [("of the a cappella", ("of cappella",))],
    "answers are normalized too": [("broncos", ("The  BRONCOS!",))],
    "no blank is not one": [("DenverBroncos", ("Denver Broncos",))],
}
_beyond_ascii: dict[str, Pairs] = {
    "an article beside a mark outside ASCII": [("the’x", ("’x",))],
    "an article between quotation marks": [("“The” end", ("“ ” end",))],
    "a space that does not break": [("red\u00a0car", ("red car",))],
    "an article beside a space that does not break": [("the\u00a0car", ("car",))],
    "a wide space": [("red\u3000car", ("red car",))],
}
_several: dict[str, Pairs] = {
    "the second right": [("Broncos", ("Denver Broncos", "Broncos"))],
    "the first right": [("Denver Broncos", ("Denver Broncos", "Broncos", "the team"))],
    "the last of three right": [("1969", ("in July", "the summer", "1969"))],
    "none of three right": [("1970", ("in July", "the summer", "1969"))],
    "the best of three": [("late summer of 1969", ("in July 1969", "1969", "summer of 1969"))],
    "the words of two answers": [("north west", ("north", "west"))],
    "the best of each example": [
        ("red car", ("red", "red car")),
        ("blue", ("blue", "blue sky", "sky")),
        ("sea", ("land",)),
        ("old tree", ("tree", "house")),
    ],
    "the last of 17 right": [("no 17", tuple(f"no {n}" for n in range(1, 18))), ("two", ("one", "two"))],
    "unlike numbers of answers": [("x", ("y", "z", "w", "v")), ("x", ("x",)), ("x", ("y", "x"))],
}
_repeated: dict[str, Pairs] = {
    "a word twice, once in the answer": [("new new york", ("new york",))],
    "a word once, twice in the answer": [("york new", ("new new york",))],
    "a word twice in both": [("tom and tom", ("tom or tom",))],
    "three times and twice": [("ha ha ha", ("ha ha",))],
    "one word many times": [("no no no no no", ("no",))],
    "one word 300 times, and 270 times": [(" ".join(["no"] * 300), (" ".join(["no"] * 270 + ["yes"]),))],
}
_words_of_long = [f"word{n}" for n in range(300)]
_long: dict[str, Pairs] = {
    "300 words": [(" ".join(_words_of_long), (" ".join(_words_of_long),))],
    "300 words, the last third another's": [
        (" ".join(_words_of_long), (" ".join([*_words_of_long[:200], *("other",) * 50]),))
    ],
    "long texts that differ at the end": [(" ".join([*_words_of_long, "one"]), (" ".join([*_words_of_long, "two"]),))],
    # The first part is right less often than the rest, whichever number of whole batches it is of.
    "301 examples": [(f"red {n}", (f"red {n}" if n > 200 and n % 5 else f"blue {n}",)) for n in range(301)],
}
_unanswerable: dict[str, Pairs] = {
    "no answers, nothing said": [("", ())],
    "no answers, something said": [("Broncos", ())],
    "an empty answer, nothing said": [("", ("",))],
    "an empty answer, something said": [("Broncos", ("",))],
    "an article said, no answers": [("the", ())],
    "an article said, an empty answer": [("The.", ("",))],
    "marks said, no answers": [("?!", ())],
    "nothing said, an answer": [("", ("Broncos",))],
    "an article said, an answer": [("the", ("the Broncos",))],
    "nothing said, two answers": [("", ("Broncos", "Denver Broncos"))],
    "answerable and not": [
        ("", ()),
        ("Broncos", ("Broncos", "Denver Broncos")),
        ("Broncos", ()),
        ("", ("Broncos",)),
        ("", ("",)),
        ("red", ("red car",)),
        ("maybe", ("",)),
    ],
    "the word unanswerable": [("unanswerable", ())],
}
_without_words: dict[str, Pairs] = {
    "an article for an answer, nothing said": [("", ("the",))],
    "an article for an answer and said": [("a", ("A",))],
    "an article for an answer, a letter said": [("B", ("A",))],
    "an answer and an article, nothing said": [("", ("the", "Broncos"))],
    "an answer and marks, nothing said": [("", ("Paris", "???"))],
    "an answer and an empty one, nothing said": [("", ("Paris", ""))],
    "an answer and marks, it said": [("Paris", ("???", "Paris"))],
}


def _answers(pairs: dict[str, Pairs], dtypes: tuple[str, ...] = WIDE) -> list[Case]:
    """Both operations on every set of pairs."""
    return [
        of_texts(operation, name, each, dtypes=dtypes)
        for operation in (squad_exact_match, squad_f1)
        for name, each in pairs.items()
    ]


answered = _answers(_plain, EVERY_DTYPE)
normalized = _answers(_normalized)
beyond_ascii = _answers(_beyond_ascii)
long_answers = _answers(_long)
several_answers = _answers(_several)
repeated_words = _answers(_repeated)
unanswerable = _answers(_unanswerable)
without_words = _answers(_without_words)
_all_but_unanswerable = (*_plain.values(), *_several.values(), *_repeated.values(), *_normalized.values())
_all_but_normalized = (*_plain.values(), *_several.values(), *_unanswerable.values())
every_answer = _answers(
    {
        "a data set": [pair for pairs in _all_but_unanswerable for pair in pairs],
        "a data set with questions that have no answer": [pair for pairs in _all_but_normalized for pair in pairs],
    },
    EVERY_DTYPE,
)
exact_matches, answer_f1s = (
    [case for case in (*answered, *several_answers, *repeated_words, *long_answers,
                 *unanswerable[:6], *unanswerable[-6:], *every_answer)
     if case.operation is operation]
    for operation in (squad_exact_match, squad_f1)
)  # fmt: skip

# --- Named entities ---------------------------------------------------------------------------------------------------

tagged = [
    of_tags("one entity found", ("B-PER I-PER O", "B-PER I-PER O"), dtypes=EVERY_DTYPE),
    of_tags("one of two found", ("B-PER O O O", "B-PER O B-LOC I-LOC"), dtypes=EVERY_DTYPE),
    of_tags("one found too many", ("B-PER O B-ORG O", "B-PER O O O")),
    of_tags("one of two, two too many", ("B-PER O B-ORG B-ORG O", "B-PER O O O B-LOC")),
    of_tags("none found", ("O O O", "B-PER O B-LOC")),
    of_tags("of entities of unlike length", ("B-PER I-PER I-PER O B-LOC", "B-PER I-PER I-PER O B-ORG")),
    of_tags(
        "several sentences",
        ("B-PER I-PER O O B-LOC", "B-PER I-PER O O B-LOC"),
        ("O B-ORG I-ORG O", "O B-ORG I-ORG I-ORG"),
        ("O O", "O O"),
        ("B-MISC O B-PER", "B-MISC O B-LOC"),
        ("B-LOC", "B-LOC"),
        dtypes=EVERY_DTYPE,
    ),
    of_tags(
        "many of one sentence, few of the others",
        ("B-A B-A B-A B-A O", "B-A B-A B-A B-A B-A"),
        ("O O B-B", "B-B O O"),
        ("O B-C", "O O"),
    ),
]
boundaries = [
    of_tags("too short", ("B-PER O O", "B-PER I-PER O")),
    of_tags("too long", ("B-PER I-PER I-PER", "B-PER I-PER O")),
    of_tags("begun too late", ("O B-PER I-PER O B-LOC", "B-PER I-PER I-PER O B-LOC")),
    of_tags("begun too early", ("B-LOC I-LOC I-LOC O B-PER", "O B-LOC I-LOC O B-PER")),
    of_tags("one in the place of two", ("B-PER I-PER O B-ORG", "B-PER B-PER O B-ORG")),
    of_tags("two in the place of one", ("B-PER B-PER O B-ORG", "B-PER I-PER O B-ORG")),
    of_tags("at the end of a sentence", ("O B-PER I-PER", "O B-PER I-PER"), ("B-LOC O", "O B-LOC")),
    of_tags("adjacent ones", ("B-LOC B-LOC I-LOC B-LOC O", "B-LOC B-LOC I-LOC B-LOC B-LOC")),
    of_tags("an entity of one word throughout", ("B-A I-A I-A I-A", "B-A I-A I-A I-A"), ("B-A I-A O", "B-A I-A I-A")),
    of_tags("the same places of different sentences", ("B-PER O", "O O"), ("O O", "B-PER O"), ("B-PER O", "B-PER O")),
    of_tags(
        "a sentence does not run on into the next",
        ("O B-PER", "O B-PER"), ("I-PER O", "I-PER O"), ("O O B-LOC", "O O O"),
    ),
    of_tags("an end that the next sentence would move", ("O B-PER", "O B-PER"), ("I-PER I-PER O", "B-PER I-PER O")),
]  # fmt: skip
types = [
    of_tags("of another type", ("B-PER I-PER O B-LOC", "B-ORG I-ORG O B-LOC")),
    of_tags("types exchanged", ("B-PER O B-LOC O B-ORG", "B-LOC O B-PER O B-ORG")),
    of_tags("type changes without a B", ("B-PER I-LOC O", "B-PER I-LOC O"), ("B-A O", "O B-A")),
    of_tags("type changes without a B, in one", ("B-PER I-LOC O B-A", "B-PER I-PER O B-A")),
    of_tags("type changes without a B, in the other a B", ("B-PER I-LOC O B-A", "B-PER B-LOC O O")),
    of_tags("type changes and comes back", ("B-PER I-LOC I-PER O", "B-PER I-LOC B-PER B-A")),
    of_tags("types with a hyphen, ends alike", ("B-NEW-YORK O B-A", "B-OLD-YORK O B-A")),
    of_tags("types with a hyphen, beginnings alike", ("B-WORK-ART O B-A", "B-WORK-LAW O B-A")),
    of_tags("types with a hyphen go on", ("B-X-A I-X-A O B-C", "B-X-A I-X-A O O")),
    of_tags("types of one letter, case matters", ("B-per O B-LOC", "B-PER O B-LOC"), ("B-A O", "B-C O")),
    of_tags("a type that begins with another", ("B-A I-AB O B-C", "B-A I-AB O B-C"), ("B-A I-A O", "B-A I-AB O")),
    of_tags("a type that ends with another", ("B-B I-AB O B-C", "B-B I-AB O B-C"), ("B-B I-B O", "B-B I-AB O")),
    of_tags("a type that another begins with", ("B-AB I-A O B-C", "B-AB I-A O B-C"), ("B-AB I-AB O", "B-AB I-A O")),
    of_tags("a type that another ends with", ("B-AB I-B O B-C", "B-AB I-B O B-C"), ("B-AB I-AB O", "B-AB I-B O")),
    of_tags("types that are called as the tags", ("B-O B-I I-I B-B O", "B-O B-I I-I O B-B")),
]
continuations = [
    of_tags("I at the start", ("I-PER I-PER O", "I-PER I-PER O"), ("B-A O", "O B-A")),
    of_tags("I at the start, B in the other", ("I-PER I-PER O B-A", "B-PER I-PER O O")),
    of_tags("I after O", ("O I-LOC I-LOC O B-A", "O B-LOC I-LOC O O")),
    of_tags("I after O, nothing in the other", ("O I-LOC O B-A", "O O O B-A")),
    of_tags("I throughout, as in IOB1", ("I-PER O I-LOC I-LOC", "I-PER O I-LOC I-LOC"), ("B-A O", "O B-A")),
    of_tags("adjacent ones in IOB1", ("I-PER B-PER I-PER O", "I-PER I-PER I-PER O"), ("I-A", "B-A")),
    of_tags("I after O within", ("B-PER O I-PER", "B-PER O B-PER"), ("B-PER O I-PER", "B-PER I-PER I-PER")),
    of_tags("I alone at the end", ("O O I-ORG", "O O B-ORG"), ("B-A", "B-C")),
]
no_entities = [
    of_tags("no entities at all", ("O O O", "O O O")),
    of_tags("no entities in two sentences", ("O", "O"), ("O O", "O O")),
]
empty_sentences = [
    of_tags("an empty sentence between others", ("B-PER O", "B-PER O"), ("", ""), ("O B-LOC", "B-LOC O")),
    of_tags("an empty sentence parts entities", ("O B-PER", "O B-PER"), ("", ""), ("I-PER B-A", "I-PER O")),
]


def _long_tags(name: str, length: int) -> tuple[str, str]:
    """Predicted and true tags of a sentence, of which about two thirds agree."""
    there = integers(f"{name} tags", 6, length).tolist()
    found = integers(f"{name} others", 6, length).tolist()
    agree = booleans(f"{name} agree", length).tolist()
    tags = ("O", "O", "B-A", "I-A", "B-B", "I-B")
    predicted = (a if same else b for a, b, same in zip(there, found, agree, strict=True))
    return " ".join(tags[k] for k in predicted), " ".join(tags[k] for k in there)


long_sentences = [
    of_tags("a sentence of 300 words, one entity at its end", (" ".join(("O",) * 299 + ("B-A",)),) * 2),
    of_tags("sentences of 300 words", *(_long_tags(f"sentence {n}", 300 + n) for n in range(3))),
    # The first part is right less often than the rest, whichever number of whole batches it is of.
    of_tags("301 sentences", *(("O B-A", "O B-A" if n > 200 and n % 5 else "B-A O") for n in range(301))),
]
span_f1s = [*tagged, *boundaries, *types, *continuations, *long_sentences]

# --- Translations -----------------------------------------------------------------------------------------------------

CAT, MAT = "the cat sat on the mat", "there is a cat on the mat"


def translation(name: str, *pairs: tuple[str, Strings], dtypes: tuple[str, ...] = WIDE, **options: int) -> Case:
    """A call of bleu on pairs of a hypothesis and its references."""
    return of_texts(bleu, name, pairs, dtypes=dtypes, **options)


one_reference = [
    translation("the same", (CAT, (CAT,)), dtypes=EVERY_DTYPE),
    translation("one word another", ("the cat sat on the rug", (CAT,)), dtypes=EVERY_DTYPE),
    translation("five words for six, one more at the end", ("the cat sat on the mat now", (CAT,))),
    translation("two words changed", ("a big dog ran over the old bridge today", ("a big dog ran across the old bridge now",))),
    translation("four words", ("one two three four", ("one two three four five",))),
    translation("words between other words", ("so a b c d e and x y z w", ("a b c d e or x y z w v u",))),
]  # fmt: skip
brevity = [
    translation("a word short", ("the cat sat on the", (CAT,))),
    translation("half as long", ("there is a cat on the mat", (f"{MAT} and there is a dog at the door",))),
    translation("one word longer", (f"{CAT} today", (CAT,))),
    translation("twice as long", (f"{CAT} and there is a dog", (CAT,))),
    translation("as long, not the same", ("the cat sat on a mat", (CAT,)), max_order=3),
    translation(
        "one too short, one too long, together as long",
        ("one two three four", ("one two three four five six",)), ("a b c d e f", ("a b c d",)),
    ),
    translation(
        "one too short, one too long, together too short",
        ("one two three four", ("one two three four five six seven",)), ("a b c d e f", ("a b c d e",)),
    ),
    translation("an empty one among others", (CAT, (CAT,)), ("", ("a b c",)), ("a b c d", ("a b c d e",))),
]  # fmt: skip
closest = [
    translation("the longer one closer", ("a b c d e f", ("a b c", "a b c d e f g h"))),
    translation("the shorter one closer", ("a b c d e f", ("a b c d e", "a b c d x e f g h i"))),
    translation("the first one closer", ("a b c d e f", ("a b c d e f g", "x y z"))),
    translation("the last of three closer", ("a b c d e", ("x y", "a b c d e f g h i j", "a b c d e f"))),
    translation("the shorter one as close", ("a b c d e f", ("a b c d", "a b c d e f g h"))),
    translation("the shorter one as close, and last", ("a b c d e f", ("a b c d e f g h", "a b c d"))),
    translation(
        "of each hypothesis its own",
        ("a b c d e", ("a b c d e f", "a b")),
        ("k l m n o p", ("k l m n o p q r s", "k l m n o p q")),
    ),
    translation(
        "three lengths, none alike", ("a b c d e f g", ("a b c", "a b c d e f g h i", "a b c d e f g h i j k"))
    ),
]
several_references = [
    translation("either helps", ("a b c d e f g h", ("a b c d e x y z", "u v c d e f g h"))),
    translation("the second alone is right", (CAT, (MAT, CAT))),
    translation("unlike numbers of references", (CAT, (CAT, MAT)), (MAT, (MAT,)), ("a b c d e", ("a b c d", "b c d e", "e d c"))),
    translation("the last of 17", ("a b c d e f", (*(f"x{n} y z w v u" for n in range(16)), "a b c d e g")), (CAT, (MAT, CAT))),
    translation(
        "references of another hypothesis do not help",
        ("a b c d e", ("a b c d x",)), ("k l m n o", ("a b c d k l m n",)),
    ),
]  # fmt: skip
clipped = [
    translation("the the the", ("the the the the the the the", (CAT, MAT)), max_order=1),
    translation("a word four times, twice in one, once in another", ("on x on y on z on", ("on a on b", "on x c")), max_order=1),
    translation("counts of references are not added", ("go go go go now", ("go go a now", "go b go now", "go c")), max_order=2),
    translation("a pair three times, once in the reference", ("a b a b a b c d", ("a b c d e f g h",))),
    translation("a word repeated in the reference alone", ("it is what it is", ("it is it is it is what it is it",))),
    translation("clipped in each sentence", ("b b a c d e", ("b a c d e f",)), ("x y z w", ("b b x y z w",))),
    translation("a word 300 times, 270 times in the reference", ("no " * 300 + CAT, ("no " * 270 + CAT,))),
]  # fmt: skip
corpora = [
    translation("two sentences of unlike length", (CAT, (CAT,)),
                ("a dog barked at me in the street today", ("a dog barked at us in our street today",))),
    translation("one without a pair in common", (CAT, (CAT,)), ("x y z", ("z y x",))),
    translation("single words beside a sentence", ("yes", ("yes",)), (CAT, (CAT,)), ("no", ("nay",))),
    translation(
        "five sentences",
        (CAT, (CAT, MAT)), (MAT, (MAT,)), ("a b c d", ("a b c e",)), ("good morning", ("good morning to you",)),
        ("he said that he would come", ("he said he would come", "he has said that he will come")),
        dtypes=EVERY_DTYPE,
    ),
]  # fmt: skip
orders = [
    translation("order 1", ("the cat sat there", (CAT,)), max_order=1),
    translation("order 1, words in another order", ("mat the on sat cat the", (CAT,)), max_order=1),
    translation("order 2", ("the cat is on the mat", (CAT,)), max_order=2),
    translation("order 3", ("the cat sat here on the mat", (CAT,)), max_order=3),
    translation("order 5", ("so the cat sat on the mat", (CAT,)), max_order=5),
    translation("order 10", ("so a b c d e f g h i j k l m n", ("now a b c d e f g h i j k l m o",)), max_order=10),
    translation("a single word, order 1", ("yes", ("yes indeed",)), max_order=1),
]
as_written = [
    translation("case counts", ("The cat sat on the mat", (CAT,))),
    translation("marks belong to their words", ("the cat sat on the mat.", (CAT,))),
    translation("marks that are words", ("the cat , sat on the mat .", ("the cat , sat on a mat .",))),
    translation("blanks, tabs and line ends", ("  the  cat sat\ton the\nmat  ", (" the cat sat  on the rug ",))),
    translation("line ends and page ends", ("the  cat sat on\tthe mat\r\nand slept\fwell\vtoo\r", (f"{CAT}\r\nand slept well",))),
    translation("parts of words do not match", ("the cats sat on the mats and slept", (f"{CAT} and slept",)), max_order=2),
    translation("words that join to the same", ("ab c x y z w", ("a bc x y z w",))),
]  # fmt: skip


def _sentence(name: str, length: int) -> str:
    """Words of a vocabulary of nine, of which the first are frequent."""
    return " ".join("abcdefghi"[int(i)] for i in (integers(name, 9, length) * integers(f"{name} too", 9, length)) // 8)


long_corpora = [
    translation("200 words", (_sentence("hypothesis", 200), (_sentence("reference", 211), _sentence("another", 190)))),
    translation(
        "60 sentences",
        *(
            (
                _sentence(f"hypothesis {n}", 3 + n % 19),
                tuple(_sentence(f"{n} {m}", 2 + n % 23) for m in range(1 + n % 3)),
            )
            for n in range(60)
        ),
    ),
    translation(
        "301 sentences",
        *((f"a b {n} d e", (f"a b {n} d e" if n > 200 and n % 5 else f"a b {n} e d",)) for n in range(301)),
    ),
]
no_match = [
    translation("no four words in common", ("the cat on the mat sat", (CAT,))),
    translation("no word in common", ("a dog barked loudly today", (CAT,))),
    translation("a single word", ("mat", (CAT,))),
    translation("three words of order 4", ("the cat sat", ("the cat sat",))),
    translation("nothing said", ("", (CAT,))),
    translation("of order 8 none", ("a b c d e f g x h", ("a b c d e f g h i",)), max_order=8),
    translation("no pair in common", ("a x b y c", ("a b c d e",)), max_order=2),
    translation("the same four words in unlike sentences", ("a b c d", ("x y z w",)), ("x y z w", ("a b c d",))),
]
bleus = [
    *one_reference, *brevity, *closest, *several_references, *clipped, *corpora, *orders, *as_written,
    *long_corpora,
]  # fmt: skip

# --- Language models --------------------------------------------------------------------------------------------------


def model_of(name: str, log_probabilities: Tensor, mask: Tensor, dtypes: tuple[str, ...] = EVERY_DTYPE) -> Case:
    """A call of perplexity, with -500 where the mask hides."""
    return Case(perplexity, name, (torch.where(mask, log_probabilities, -500.0), mask), dtypes=dtypes)


def _log_probabilities(name: str, *shape: int) -> Tensor:
    """Negative numbers of about -2."""
    return -2 - 0.7 * normal(name, *shape).clamp(-2.5, 2.5)


def _first(*lengths: int) -> Tensor:
    """A mask that is True at the first tokens of every sequence, as many as it has."""
    return torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)


def _lens(name: str, *lengths: int, dtypes: tuple[str, ...] = EVERY_DTYPE) -> Case:
    return model_of(name, _log_probabilities(name, len(lengths), max(lengths)), _first(*lengths), dtypes)


nothing_hidden = [
    model_of("two tokens, by hand", torch.tensor([[0.5, 0.125]], dtype=torch.float64).log(), _first(2)),
    model_of("one token", torch.tensor([[0.25]], dtype=torch.float64).log(), _first(1)),
    model_of("certain of everything", torch.zeros(2, 3, dtype=torch.float64), _first(3, 3)),
    _lens("one sequence", 7),
    _lens("as many tokens in each", 5, 5, 5),
    _lens("sequences of one token", 1, 1, 1, 1),
]
padded = [
    _lens("padding at the end", 7, 3),
    _lens("unlike lengths", 2, 11, 5, 1),
    _lens("as many sequences as tokens", 3, 1, 2),
    model_of("padding at the start", _log_probabilities("start", 3, 5), _first(2, 5, 4).flip(-1)),
    model_of("holes", _log_probabilities("holes", 3, 7), booleans("holes of perplexity", 3, 7)),
    model_of(
        "one sequence of nothing visible", _log_probabilities("nothing", 3, 5),
        torch.tensor([5, 0, 2]).unsqueeze(-1) > torch.arange(5),
    ),
    model_of("one token visible", _log_probabilities("visible", 2, 5), torch.eye(2, 5, dtype=torch.bool) & (torch.arange(5) == 1)),
    *(
        Case(
            perplexity, f"{name} where the mask hides",
            (torch.where(_first(7, 3), _log_probabilities(name, 2, 7), number), _first(7, 3)),
        )
        for name, number in (("minus infinity", -torch.inf), ("NaN", torch.nan))
    ),
    _lens("many sequences", *range(1, 34), dtypes=WIDE),
    _lens("301 sequences", *(1 + n % 3 for n in range(301)), dtypes=WIDE),
    _lens("many tokens", 1025, 700, dtypes=WIDE),
]  # fmt: skip
uniform = [
    model_of(
        f"uniform over {size} words", torch.full((2, 5), 1 / size, dtype=torch.float64).log(), _first(5, 3), dtypes
    )
    for size, dtypes in ((2, EVERY_DTYPE), (10, EVERY_DTYPE), (30_522, WIDE), (50_257, WIDE))
]
improbable = [model_of("hardly possible tokens", 14 * _log_probabilities("hardly possible", 2, 5), _first(5, 2), WIDE)]
perplexities = [*nothing_hidden[:2], *nothing_hidden[3:], *padded, *uniform[:3], *improbable]
impossible_tokens = [
    model_of(
        "a token of probability 0",
        torch.where(torch.arange(5) == 2, -torch.inf, _log_probabilities("impossible", 2, 5)),
        _first(5, 2),
        WIDE,
    )
]


def compression(
    name: str, log_probabilities: Numbers, num_bytes: Sequence[int], dtypes: tuple[str, ...] = EVERY_DTYPE
) -> Case:
    """A call of bits_per_byte."""
    numbers = torch.as_tensor(log_probabilities, dtype=torch.float64)
    return Case(bits_per_byte, name, (numbers, torch.tensor(num_bytes)), dtypes=dtypes)


def _texts(name: str, num_bytes: Sequence[int], dtypes: tuple[str, ...] = EVERY_DTYPE) -> Case:
    return compression(name, 2 * _log_probabilities(name, len(num_bytes)), num_bytes, dtypes)


compressions = [
    compression("one bit for two bytes", torch.tensor([0.5], dtype=torch.float64).log(), [2]),
    compression("two texts, by hand", torch.tensor([0.5, 0.125], dtype=torch.float64).log(), [1, 7]),
    _texts("one text", [11]),
    _texts("texts of unlike length", [3, 17, 1, 40]),
    _texts("a byte each", [1, 1, 1, 1, 1]),
    _texts("tokens of no bytes among others", [4, 0, 3, 0, 0, 5]),
    _texts("tokens", [2, 5, 1, 4, 3, 6, 2, 2, 7, 1, 3]),
    _texts("many tokens", [1 + place % 7 for place in range(1025)], WIDE),
    compression("long texts", [-2e6, -7e7, -3e5], [1_000_003, 40_000_000, 70_001], WIDE),
    compression("more bytes than 32 bits count", [-4e9, -1e9], [2**31 + 5, 2**31 + 11], WIDE),
    compression("texts of 255 and 256 bytes", [-150.0, -90.0, -12.0], [255, 256, 1]),
]

# --- Layouts and types ------------------------------------------------------------------------------------------------

_seventeen = _drawn_ids("strides", 3, 17)
strided = [
    *layouts(of_classes(accuracy, "strides", *_seventeen)),
    *layouts(of_classes(f1, "strides", *_seventeen, positive=2)),
    *layouts(of_classes(macro_f1, "strides", *_seventeen, num_classes=3)),
    *layouts(of_classes(matthews, "strides", *_seventeen)),
    *layouts(correlation(pearson, *_going_together("strides", 7, 0.7))),
    *layouts(correlation(spearman, *_going_together("strides", 7, 0.7))),
    *layouts(Case(perplexity, "strides", (_log_probabilities("strides", 4, 11), _first(2, 11, 5, 1)))),
    *layouts(compressions[3]),
]
narrow_ids = [
    replace(case, tensors=tuple(ids.to(torch.int32) for ids in case.tensors))
    for case in (accuracies[0], accuracies[-2], f1s[0], f1s[-1], macro_f1s[0], macro_f1s[-1], matthewses[0], matthewses[-1])
]  # fmt: skip

# --- As few as there can be ------------------------------------------------------------------------------------------

smallest = [
    of_classes(f1, "no examples", [], []),
    of_classes(macro_f1, "no examples", [], [], num_classes=3),
    of_classes(matthews, "no examples", [], []),
    *(correlation(operation, "one pair", [2], [3]) for operation in (pearson, spearman)),
    Case(span_f1, "no sentences", ((), ()), None, {"dtype": DTYPE}, WIDE),
    Case(span_f1, "a sentence without words", (((),), ((),)), None, {"dtype": DTYPE}, WIDE),
    Case(bleu, "no hypotheses", ((), ()), None, {"dtype": DTYPE}, WIDE),
]

# What is declared of 0 / 0; where nothing is, the contract says what it gives.
choice_of = {
    f1: "metrics.f1-undefined",
    macro_f1: "metrics.macro-f1-absent-class",
    pearson: "metrics.constant-input",
    spearman: "metrics.constant-input",
    span_f1: "metrics.span-f1-undefined",
    matthews: "",
    bleu: "",
}

# --- Impossible -------------------------------------------------------------------------------------------------------

unequal_numbers = [
    *(of_classes(operation, "a label too few", [1, 0, 1, 1, 0], [1, 0, 1, 0]) for operation in (accuracy, f1, matthews)),
    of_classes(macro_f1, "a label too few", [1, 0, 1, 1, 0], [1, 0, 1, 0], num_classes=2),
    *(correlation(operation, "one of y too few", [1, 3, 2, 5], [1, 2, 4]) for operation in (pearson, spearman)),
    *(
        Case(operation, name, (("one", "two", "three"), right), None, {"dtype": DTYPE})
        for operation in (squad_exact_match, squad_f1, bleu)
        for name, right in (("an answer too few", (("one",), ("two",))), ("an answer too many", (("one",),) * 4))
    ),
    of_tags("a tag too few", ("B-PER O B-LOC", "B-PER O")),
    of_tags("a tag too few in the second sentence", ("B-PER O", "B-PER O"), ("B-LOC O", "B-LOC O O")),
    Case(span_f1, "a sentence too few", ((("B-PER",), ("O",)), (("B-PER",),)), None, {"dtype": DTYPE}),
    Case(perplexity, "a mask of other length", (_log_probabilities("length", 2, 5), _first(4, 3))),
    Case(bits_per_byte, "a number of bytes too few", (_log_probabilities("bytes", 5), torch.tensor([1, 2, 3, 4]))),
]  # fmt: skip
no_references = [translation("no reference", (CAT, (CAT,)), (MAT, ()))]
no_class = [
    of_classes(macro_f1, "a label that is no class", [0, 1, 2, 0], [0, 1, 3, 0], num_classes=3),
    of_classes(macro_f1, "a prediction that is no class", [0, -1, 2, 0], [0, 1, 2, 0], num_classes=3),
]

# --- Drawn ------------------------------------------------------------------------------------------------------------


@st.composite
def drawn_classes(draw: st.DrawFn, operation: Operation[..., Tensor]) -> Case:
    """Two to five classes, of which each is there: what an absent class counts is a choice of its own."""
    classes = draw(st.integers(2, 5), label="classes")
    number, seed = draw(st.integers(1, 40), label="examples"), draw(st.integers(0, 999), label="seed")
    name = f"drawn {number} of {classes} seed {seed}"
    found, there = _drawn_ids(name, classes, number)
    found, there = (torch.cat((torch.arange(classes), ids)) for ids in (found, there))
    options = {"num_classes": classes} if operation is macro_f1 else {}
    return of_classes(operation, name, found.roll(draw(st.integers(0, 1), label="roll")), there, **options)


@st.composite
def drawn_correlations(draw: st.DrawFn, operation: Operation[..., Tensor]) -> Case:
    """Numbers with ties or without; the first two of both differ, so that nothing is constant."""
    number, seed = draw(st.integers(0, 30), label="examples"), draw(st.integers(0, 999), label="seed")
    share, steps = draw(st.sampled_from([0.0, 0.5, -2.0]), label="share"), draw(st.sampled_from([1, 64]), label="steps")
    name, x, y = _going_together(f"drawn {number} seed {seed}", number, share)
    ends = torch.tensor([-1.5, 1.5], dtype=torch.float64)
    x, y = (torch.cat((ends, (steps * each).round() / steps)) for each in (x, y))
    return correlation(operation, f"{name} share {share} steps {steps}", x, y)


_text = st.lists(st.sampled_from(["a", "the", "red", "Red,", "car.", "car", "sky", "-", "an"]), max_size=5).map(
    " ".join
)
_words = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=9).map(" ".join)
_tags = st.sampled_from(["O", "O", "B-A", "I-A", "B-B", "I-B"])


def drawn_answers(operation: Operation[..., Tensor]) -> st.SearchStrategy[Case]:
    """Predictions and answers of few words, so that much is in common; where no word is left there is no other answer."""
    some = st.lists(_text, max_size=3).map(tuple).filter(lambda given: len(given) < 2 or all(map(_has_words, given)))
    pairs = st.lists(st.tuples(_text, some), min_size=1, max_size=5)
    return pairs.map(lambda each: of_texts(operation, f"drawn {each}", each))


def _has_words(text: str) -> bool:
    return bool(set(text.lower().split()) - {"a", "an", "the", "-"})


@st.composite
def drawn_tags(draw: st.DrawFn) -> Case:
    """Up to four sentences of tags; a true entity stands before them, for without any the metric is a choice."""
    pairs = [("O B-A", "B-A O")]
    for length in draw(st.lists(st.integers(1, 8), max_size=4), label="lengths"):
        predicted, true = (" ".join(draw(_tags) for _ in range(length)) for _ in range(2))
        pairs.append((predicted, true))
    return of_tags(f"drawn {pairs}", *pairs)


drawn_bleus = st.builds(
    lambda pairs, order: of_texts(bleu, f"drawn {pairs} order {order}", pairs, max_order=order),
    st.lists(st.tuples(_words, st.lists(_words, min_size=1, max_size=3).map(tuple)), min_size=1, max_size=4),
    st.integers(1, 4),
)


@st.composite
def drawn_models(draw: st.DrawFn) -> Case:
    """Sequences of any small lengths, hidden anywhere; the first token of the first is visible."""
    batch, length = draw(st.integers(1, 5), label="batch"), draw(st.integers(1, 12), label="length")
    name = f"drawn {batch} by {length} seed {draw(st.integers(0, 999), label='seed')}"
    mask = booleans(f"mask {name}", batch, length)
    mask[0, 0] = True
    return model_of(name, _log_probabilities(name, batch, length), mask)


drawn_compressions = st.builds(
    lambda sizes, seed: _texts(f"drawn {sizes} seed {seed}", [1, *sizes]),
    st.lists(st.integers(0, 60), max_size=12),
    st.integers(0, 999),
)

drawn: dict[Operation[..., Tensor], Drawn] = {
    **{each: Drawn(each, drawn_classes(each)) for each in (accuracy, f1, macro_f1, matthews)},
    **{each: Drawn(each, drawn_correlations(each)) for each in (pearson, spearman)},
    **{each: Drawn(each, drawn_answers(each)) for each in (squad_exact_match, squad_f1)},
    span_f1: Drawn(span_f1, drawn_tags()),
    bleu: Drawn(bleu, drawn_bleus),
    perplexity: Drawn(perplexity, drawn_models()),
    bits_per_byte: Drawn(bits_per_byte, drawn_compressions),
}

# --- Groups for properties --------------------------------------------------------------------------------------------

# Of every operation a few that have several examples, none of which is like another.
_examples: dict[Operation[..., Tensor], list[Case]] = {
    accuracy: [accuracies[11], accuracies[16]],
    f1: [f1s[7], f1s_of_another[4]],
    macro_f1: [macro_f1s[5], macro_f1s[6]],
    matthews: [matthewses[0], matthewses[5]],
    pearson: [case for case in pearsons if case.name in ("generic", "ties in both")],
    spearman: [case for case in spearmans if case.name in ("generic", "ties in both")],
    squad_exact_match: [case for case in every_answer if case.operation is squad_exact_match],
    squad_f1: [case for case in every_answer if case.operation is squad_f1],
    span_f1: [tagged[6], tagged[7]],
    bleu: [corpora[3], several_references[2]],
    perplexity: [padded[1], padded[4]],
    bits_per_byte: [compressions[3], compressions[6]],
}
of_several_examples = [case for cases in _examples.values() for case in cases]
symmetric = [
    case
    for case in (*accuracies[:6], *f1s[7:11], *f1s_of_another[:5], *macro_f1s[:9], *matthewses[:9],
                 *pearsons[10:20], *spearmans[5:20], *span_f1s)
]  # fmt: skip
of_named_classes = [*accuracies[11:19], *macro_f1s[:9], *matthewses[:9]]
every_operation = [cases[0] for cases in _examples.values()]
with_tensors = [case for case in every_operation if any(isinstance(value, Tensor) for value in case.flat())]
several_tokens = [*padded[:7], nothing_hidden[3], nothing_hidden[4]]
monotone = [correlation(spearman, name, x, y, WIDE) for name, x, y in (*generic, *tied)]
linear = [correlation(pearson, name, x, y, WIDE) for name, x, y in (*generic, *tied[:4])]

# --- Changes that properties make -------------------------------------------------------------------------------------


def _pick(value: Tensor | tuple[object, ...], order: Sequence[int]) -> Tensor | tuple[object, ...]:
    return value[list(order)] if isinstance(value, Tensor) else tuple(value[place] for place in order)


def with_examples(case: Case, name: str, order: Callable[[int], Sequence[int]]) -> Case:
    """The case with the examples of the given places, in that order."""
    places = order(len(case.tensors[0]))
    return case.changed(name, tuple(_pick(value, places) for value in case.tensors))


def in_another_order(case: Case) -> Case:
    """The last example first, the rest turned round by threes."""
    return with_examples(case, "in another order", lambda n: sorted(range(n), key=lambda place: (-place % 3, -place)))


def twice(case: Case) -> Case:
    """Every example twice."""
    return with_examples(case, "everything twice", lambda n: [*range(n), *range(n)])


def exchanged(case: Case) -> Case:
    """What is predicted and what is right exchanged."""
    return case.changed("exchanged", case.tensors[::-1])


def with_other_names(case: Case) -> Case:
    """Class k renamed to k + 1, and the last class to 0."""
    classes = 1 + max(int(ids.max()) for ids in case.tensors)
    return case.changed("classes renamed", tuple((ids + 1) % classes for ids in case.tensors))


def moved(case: Case) -> Case:
    """x times 4 and moved by 3, y times 1/2 and moved by -5: all exact in binary for what is a multiple of 1/64."""
    x, y = ((64 * each).round() / 64 for each in case.tensors)
    return case.changed("moved", (4 * x + 3, y / 2 - 5))


def unmoved(case: Case) -> Case:
    """The case in multiples of 1/64."""
    return case.changed("in 64ths", tuple((64 * each).round() / 64 for each in case.tensors))


def turned(case: Case) -> Case:
    """x with the other sign."""
    return case.changed("x turned", (-case.tensors[0], case.tensors[1]))


def stretched(case: Case) -> Case:
    """x and y put through growing functions: the cube, and the power of two."""
    x, y = case.tensors
    return case.changed("stretched", (x**3, torch.exp2(y)))


def with_other_hidden_tokens(case: Case) -> Case:
    """Other log-probabilities where the mask hides."""
    numbers, mask = case.tensors
    return replace(
        case, name=f"{case.name}, other hidden tokens", origin=None, numbers_of=None,
        tensors=(torch.where(mask, copy(numbers), torch.full_like(numbers, -7.0)), mask),
    )  # fmt: skip


def in_one_row(case: Case) -> Case:
    """All sequences one after the other in one."""
    return case.changed("in one row", tuple(value.reshape(1, -1) for value in case.tensors))


def joined(case: Case) -> Case:
    """All texts one after the other in one."""
    return case.changed("joined", tuple(value.sum().reshape(1) for value in case.tensors))


def others_than(case: Case) -> list[Case]:
    """Calls of the same operation that a careless memory would take for this one: other content of one size, another size."""
    first, second = case.tensors
    half = with_examples(case, "half of it", lambda n: range((n + 1) // 2, n))
    if case.operation in (bits_per_byte, perplexity):
        return [case.changed("other numbers", (first / 2, second)), half]
    if isinstance(first, Tensor):
        return [case.changed("first turned round", (first.flip(0), second)), half]
    return [
        case.changed("first moved by one", ((*first[1:], first[0]), second))
        if case.operation is not span_f1
        else exchanged(case),
        half,
    ]
