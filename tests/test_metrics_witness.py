"""Metrics against the libraries that people use, and against numbers of papers and official scripts worked out by hand.

The libraries are called here as their users call them, on the designed cases of the equations; exact fractions and
mpmath decide the same cases in test_reference_witness.py.
"""

import math
import sys

import pytest
import torch

from transpec.cases import Case
from transpec.implementations import find, load
from transpec.judgement import budget, evaluate, oracle
from transpec.operations import OPERATIONS
from transpec.reference import metrics as reference
from transpec.requirements import load as requirements
from transpec.spec_tests.cases import metrics

LIBRARIES = ("sklearn", "scipy", "sacrebleu", "seqeval")
EXTRA = '{} is not installed; the extra "evaluation" brings it: pip install "transpec[evaluation]"'
RIGHT = 0.5  # of a budget: what is right stays below it
CLAIMED = ("accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman", "span_f1", "bleu")
DEFINED = [
    case.in_dtype(dtype)
    for requirement in requirements().values()
    if requirement.chapter == "metrics" and requirement.id.endswith(("equation", "stability", "no-match", "undefined", "class"))
    for case in requirement.cases
    if isinstance(case, Case) and case.operation.name in CLAIMED and requirement.id != "metrics.no-such-class"
    for dtype in ("float64", "float32")
    if dtype in case.dtypes
]  # fmt: skip


@pytest.fixture(scope="module")
def libraries():
    """The adapter of the libraries; skipped where one of them is not installed."""
    for library in LIBRARIES:
        pytest.importorskip(library, reason=EXTRA.format(library))
    return load(find("metrics_libraries"))


def test_the_libraries_claim_what_they_have(libraries):
    """Every operation for which a library is kept is claimed."""
    assert libraries.load_error is None
    assert tuple(name for name, one in OPERATIONS.items() if libraries.claims(one)) == CLAIMED


@pytest.mark.parametrize("case", DEFINED, ids=lambda case: f"{case.operation.name}-{case}")
def test_the_library_agrees(libraries, case):
    """scikit-learn, SciPy, sacreBLEU and seqeval equal the reference within half a budget, on every designed case."""
    ratio = (libraries.call(case).double() - oracle(case)).abs() / budget(case)
    assert float(ratio) <= RIGHT


SCORED = [
    case.in_dtype("float32")
    for case in (*metrics.exact_matches, *metrics.answer_f1s, *metrics.perplexities)
    if "float32" in case.dtypes and all(case.tensors[1] if case.operation.name.startswith("squad") else [True])
]


@pytest.mark.parametrize("case", SCORED, ids=lambda case: f"{case.operation.name}-{case}")
def test_torchmetrics_agrees(case):
    """torchmetrics equals the reference within half a budget, on every designed case that its SQuAD of 1.1 has an answer to."""
    pytest.importorskip("torchmetrics", reason=EXTRA.format("torchmetrics"))
    expected, allowed = oracle(case), budget(case)
    error = (load(find("torchmetrics_functional")).call(case).double() - expected).abs()
    assert bool((error <= RIGHT * allowed).all())


@pytest.mark.parametrize("case", metrics.constant, ids=lambda case: f"{case.operation.name}-{case}")
def test_the_library_says_nan_of_constants(libraries, case):
    """SciPy's correlations of constants are NaN, as the reference's are."""
    exact = case.in_dtype("float64")
    assert libraries.call(exact).isnan() and oracle(exact).isnan()  # noqa: PT018 - the one is nothing without the other


def test_the_missing_extra_is_named(monkeypatch):
    """Without the libraries the adapter does not load, and says which extra it needs."""
    monkeypatch.delitem(sys.modules, "transpec.impls.metrics_libraries", raising=False)
    for library in LIBRARIES:
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.setitem(sys.modules, f"{library}.metrics", None)
    made = load(find("metrics_libraries"))
    assert 'pip install "transpec[evaluation]"' in (made.load_error or "")


# --- By hand ----------------------------------------------------------------------------------------------------------


def ids(*numbers: int) -> torch.Tensor:
    """Class ids."""
    return torch.tensor(numbers)


def number(value: torch.Tensor) -> object:
    """A result as it is to be compared."""
    return pytest.approx(value.item(), rel=1e-14, abs=1e-15)


WIDE = {"dtype": torch.float64}


def test_f1_by_hand():
    """Of 3 predicted and 2 true ones 1 is both: P = 1/3, R = 1/2, F_1 = 2/5."""
    assert number(reference.f1(ids(1, 1, 1, 0, 0), ids(1, 0, 0, 1, 0), **WIDE)) == 0.4


def test_macro_f1_by_hand():
    """Classes of F_1 2/3, 0 and 1 have the mean 5/9."""
    found, there = ids(0, 0, 2, 2), ids(0, 1, 2, 2)
    assert number(reference.macro_f1(found, there, num_classes=3, **WIDE)) == 5 / 9


def test_matthews_by_hand():
    """TP 3, TN 1, FP 1 and FN 0: 3 / sqrt(4 * 3 * 2 * 1) = 0.6123724356957945."""
    assert number(reference.matthews(ids(1, 1, 1, 1, 0), ids(1, 1, 1, 0, 0), **WIDE)) == 0.6123724356957945


def test_correlations_by_hand():
    """(1, 2, 3) and (1, 3, 2): 1/2; ranks (1, 2.5, 2.5, 4) and (1, 3, 2, 4): 4.5 / sqrt(4.5 * 5)."""
    x, y = (torch.tensor(numbers, dtype=torch.float64) for numbers in ([1, 2, 3], [1, 3, 2]))
    assert number(reference.pearson(x, y)) == 0.5
    x, y = (torch.tensor(numbers, dtype=torch.float64) for numbers in ([5, 7, 7, 9], [1, 3, 2, 4]))
    assert number(reference.spearman(x, y)) == 4.5 / math.sqrt(4.5 * 5)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The Denver Broncos.", "denver broncos"),
        ("a  an\tthe\n", ""),
        ("U.S.A. and the U.K.", "usa and uk"),
        ("theatre, another banana", "theatre another banana"),
        ("“The” – a test", "“ ” – test"),
    ],
)
def test_normalization_by_hand(text, normalized):
    """Lower case, then no ASCII punctuation, then no articles, then single blanks: the order of the official script."""
    assert reference.squad_normalize(text) == normalized


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("", (), 1, 1),
        ("", ("",), 1, 1),
        ("x", (), 0, 0),
        ("", ("x",), 0, 0),
        ("the", ("",), 1, 1),
        ("", ("the", "x"), 0, 0),
        ("new new york", ("new york",), 0, 0.8),
        ("b", ("a", "b c", "b"), 1, 1),
        ("b d", ("b c", "b c d e f g h i"), 0, 0.5),
    ],
)
def test_squad_by_hand(prediction, answers, exact, f1):
    """What the evaluation script of SQuAD 2.0 gives for one example."""
    assert number(reference.squad_exact_match((prediction,), (answers,), **WIDE)) == exact
    assert number(reference.squad_f1((prediction,), (answers,), **WIDE)) == f1


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-A I-A O B-B", {("A", 0, 2), ("B", 3, 4)}),
        ("I-A I-A B-A", {("A", 0, 2), ("A", 2, 3)}),
        ("B-A I-B I-B", {("A", 0, 1), ("B", 1, 3)}),
        ("O O", set()),
        ("B-X-A I-X-B", {("X-A", 0, 1), ("X-B", 1, 2)}),
        ("B I B", {("", 0, 2), ("", 2, 3)}),
    ],
)
def test_entities_by_hand(tags, found):
    """Entities as conlleval and seqeval find them: type, first place, place after the last."""
    assert reference.entities(tuple(tags.split())) == found


def test_the_papers_unigrams():
    """Papineni et al. 2002, section 2.1, example 2: the modified unigram precision of seven times "the" is 2/7."""
    case = next(case for case in metrics.clipped if case.name == "the the the").in_dtype("float64")
    assert number(oracle(case)) == 2 / 7


@pytest.mark.parametrize(("candidate", "precision"), [(1, 17 / 18), (2, 8 / 14)])
def test_the_papers_candidates(candidate, precision):
    """Papineni et al. 2002, section 2.1, example 1: 17/18 and 8/14 of the words of both candidates match."""
    texts = {
        1: "It is a guide to action which ensures that the military always obeys the commands of the party",
        2: "It is to insure the troops forever hearing the activity guidebook that party direct",
    }
    references = (
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "It is the guiding principle which guarantees the military forces always being under the command of the Party",
        "It is the practical guide for the army always to heed the directions of the party",
    )
    [score] = [reference.bleu((texts[candidate],), (references,), max_order=1, **WIDE)]
    lengths = sorted((abs(len(r.split()) - len(texts[candidate].split())), len(r.split())) for r in references)
    penalty = min(1, math.exp(1 - lengths[0][1] / len(texts[candidate].split())))
    assert number(score) == penalty * precision


def test_perplexity_by_hand():
    """Probabilities of 1/2 and 1/8 have the geometric mean 1/4: perplexity 4."""
    log_probabilities = torch.tensor([[0.5, 0.125, 0.9]], dtype=torch.float64).log()
    assert number(reference.perplexity(log_probabilities, torch.tensor([[True, True, False]]))) == 4


def test_bits_per_byte_by_hand():
    """1 bit and 3 bits for 8 bytes are half a bit for each."""
    log_probabilities = torch.tensor([0.5, 0.125], dtype=torch.float64).log()
    assert number(reference.bits_per_byte(log_probabilities, ids(1, 7))) == 0.5


# --- Choices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "requirement", "value", "case", "expected"),
    [
        ("f1", "f1-undefined", "one", metrics.nothing_to_find[1], 1),
        ("f1", "f1-undefined", "nan", metrics.nothing_to_find[0], math.nan),
        ("f1", "f1-undefined", "one", metrics.f1s[0], 2 / 3),
        ("macro_f1", "macro-f1-absent-class", "one", metrics.absent_classes[4], 1),
        ("macro_f1", "macro-f1-absent-class", "left-out", metrics.absent_classes[4], 1),
        ("macro_f1", "macro-f1-absent-class", "left-out", metrics.absent_classes[1], 2 / 3),
        ("macro_f1", "macro-f1-absent-class", "one", metrics.absent_classes[1], 0.8),
        ("span_f1", "span-f1-undefined", "one", metrics.no_entities[0], 1),
        ("span_f1", "span-f1-undefined", "nan", metrics.no_entities[1], math.nan),
        ("span_f1", "span-f1-undefined", "nan", metrics.tagged[4], 0),
        ("pearson", "constant-input", "zero", metrics.constant[0], 0),
        ("pearson", "constant-input", "zero", metrics.constant[4], 0),
        ("pearson", "constant-input", "zero", metrics.pearsons[2], 0.5),
    ],
)
def test_choices_by_hand(operation, requirement, value, case, expected):
    """What is undefined is as declared, and what is defined stays as it is."""
    chosen = OPERATIONS[operation].choices[f"metrics.{requirement}", value]
    assert evaluate(case.in_dtype("float64"), (chosen,)).item() == pytest.approx(expected, rel=1e-14, nan_ok=True)
