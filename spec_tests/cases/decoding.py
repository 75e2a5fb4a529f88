"""Inputs for decoding. What is chosen is chosen by a clear margin, so that no rounding can choose otherwise.

Nor does any case depend on what correct beam searches do unlike each other, on how complete hypotheses are kept beside
those under way: `margin_of` tells, and tests of the suite ask it for every case.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from transpec.cases import EVERY_DTYPE, WIDE, Case, integers, layouts, normal
from transpec.operations import Operation
from transpec.reference.attention import softmax
from transpec.reference.decoding import (
    beam_search,
    greedy_decode,
    greedy_decode_t5,
    repetition_penalized,
    sample,
    sampling_distribution,
    temperature_scaled,
    top_k_filtered,
    top_p_filtered,
)
from transpec.reference.gpt import GptConfig, gpt
from transpec.reference.t5 import t5
from transpec.spec_tests.cases import gpt as of_gpt
from transpec.spec_tests.cases import t5 as of_t5
from transpec.spec_tests.cases.models import real

MARGIN = 1e-3  # between what is chosen and what is not, in logits, log-probabilities and sums of probabilities
TWIN = 1.001
WIDE_MARGIN = 0.04  # the same where 16 bits are to see it


# --- From logits ------------------------------------------------------------------------------------------------------


def logits(name: str, *shape: int, size: float = 2.0) -> Tensor:
    """Logits, told by their name: no two of a row are near each other, neither as they are nor in 16 bits."""
    V = shape[-1]
    # Steps of 1/8 at the least between neighbours in order; a permutation per row says which token has which.
    rank = normal(f"{name} order", *shape).argsort(-1).argsort(-1)
    steps = 0.25 + normal(f"{name} steps", V).abs()
    ladder = steps.cumsum(-1)
    ladder = (ladder - ladder.mean()) / ladder.std() if V > 1 else ladder
    unlike = normal(f"{name} rows", *shape[:-1], 1)  # no row has the logits of another in another order
    return ladder[rank] * size * (1 + 0.1 * unlike.tanh()) + unlike


def filtering(
    operation: Operation[..., Any], name: str, given: Tensor, dtypes: tuple[str, ...] = EVERY_DTYPE, *,
    least: float | None = None, **options: Any,
) -> Case:  # fmt: skip
    """A call of an operation on logits alone. Raises ValueError where what is filtered is a near thing.

    A margin of `least` is for nuclei of so many words that none is as probable as the margins of others.
    """
    case = Case(operation, name, (given,), options=options, dtypes=dtypes)
    least = least or (WIDE_MARGIN if set(dtypes) - set(WIDE) else MARGIN)
    for dtype in case.dtypes:
        margin = _margin(case.in_dtype(dtype))
        if margin < least:
            raise ValueError(f"{name} in {dtype}: a margin of {margin:.2g}, less than {least}")
    return case


def _margin(case: Case) -> float:
    """The least distance of a logit to the k-th largest, and of a sum of probabilities to p."""
    scores = case.tensors[0].to(torch.float64) / case.options.get("temperature", 1.0)
    k, p = (case.options.get("k", case.options.get("top_k")), case.options.get("p", case.options.get("top_p")))
    margin, V = math.inf, scores.shape[-1]
    if not scores.numel():
        return margin
    if k is not None and k < V:
        ordered = scores.sort(-1, descending=True).values
        gap = ordered[..., k - 1] - ordered[..., k]
        margin = float(gap.nan_to_num(math.inf).amin())  # -inf less -inf: a tie of what is left out anyway
        scores = top_k_filtered(scores, k=k)
    if p is not None and p < 1:
        sums = softmax(scores.sort(-1, descending=True).values).cumsum(-1)
        margin = min(margin, float((sums - p).abs().amin()), 1 - p)
    if p is not None and p == 1:  # a probability that is lost in the sum of the others is lost to them
        margin = min(margin, float(softmax(scores)[scores.isfinite()].amin()))
    return margin


def of_probabilities(*rows: Sequence[float]) -> Tensor:
    """Logits of these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


def temperature(name: str, given: Tensor, value: float, dtypes: tuple[str, ...] = EVERY_DTYPE) -> Case:
    """A call of temperature_scaled."""
    return Case(temperature_scaled, name, (given,), options={"temperature": value}, dtypes=dtypes)


def banned(given: Tensor, *tokens: int) -> Tensor:
    """The logits with minus infinity at these tokens, as a mask of forbidden words leaves it."""
    made = given.clone()
    made[..., list(tokens)] = -math.inf
    return made


GENERIC = logits("generic", 3, 7)
# As many words as a model has, which fill no whole number of blocks, and whose ids 16 bits hold only without a sign.
VOCABULARY = 50_257
EVERY_WORD = logits("a vocabulary", 2, VOCABULARY, size=200.0)
FAR_BELOW = torch.tensor([[-30_000.0], [0.0], [-2000.0]], dtype=torch.float64)  # where no number stands for nothing
temperatures = [
    temperature("temperature 2", GENERIC, 2.0),
    temperature("temperature 0.5", GENERIC, 0.5),
    temperature("temperature 0.7, one row", logits("row", 5), 0.7),
    temperature("temperature 1.3, three axes", logits("three axes", 2, 3, 5), 1.3),
    temperature("temperature 0.001", logits("sharp", 2, 11), 0.001),
    temperature("temperature 100", logits("flat", 2, 11), 100.0),
    temperature("temperature 3, an integer", GENERIC, 3),
    temperature("words forbidden", banned(GENERIC, 0, 4), 1.7),
    temperature("300 rows of 33 words", logits("33 words", 300, 33), 0.9),
    temperature("50257 words", EVERY_WORD, 0.7, WIDE),
]
temperature_one = [
    temperature("temperature 1", GENERIC, 1.0),
    temperature("temperature 1, words forbidden", banned(GENERIC, 2), 1.0),
]

top_k = [
    *(filtering(top_k_filtered, f"the {k} largest of 7", GENERIC, k=k) for k in (1, 2, 3, 6)),
    filtering(top_k_filtered, "the 2 largest of one row", logits("row", 5), k=2),
    filtering(top_k_filtered, "the 4 largest, three axes", logits("three axes", 2, 3, 5), k=4),
    filtering(top_k_filtered, "as many rows as words", logits("square", 5, 5), k=3),
    filtering(top_k_filtered, "as many as rows", logits("as many", 3, 7), k=3),
    filtering(top_k_filtered, "all logits negative", logits("negative", 2, 7) - 9, k=3),
    filtering(top_k_filtered, "all logits positive", logits("positive", 2, 7) + 9, k=3),
    filtering(top_k_filtered, "words forbidden", banned(GENERIC, 0, 4), k=2),
    filtering(top_k_filtered, "largest first", GENERIC.sort(-1, descending=True).values, k=3),
    filtering(top_k_filtered, "largest last", GENERIC.sort(-1).values, k=3),
    filtering(top_k_filtered, "the 50 largest of 300", logits("300 words", 2, 300, size=40.0), k=50, dtypes=WIDE),
    filtering(top_k_filtered, "300 rows", logits("300 rows", 300, 9), k=4),
    filtering(top_k_filtered, "the 1000 largest of 50257", EVERY_WORD, k=1000, dtypes=WIDE),
    filtering(top_k_filtered, "rows far below zero", GENERIC + FAR_BELOW, k=3, dtypes=WIDE),
    # Steps that float64 sees and float32 does not.
    filtering(
        top_k_filtered,
        "small steps far from zero",
        torch.tensor([[3.0, 1.0, 5.0, 0.0, 4.0, 2.0]], dtype=torch.float64) / 100 + 1e7,
        dtypes=("float64",),
        k=2,
    ),
]
# What nothing is filtered from; a known fault has to be seen all the same.
top_k_of_all = [
    filtering(top_k_filtered, "all of 7", GENERIC, k=7),
    filtering(top_k_filtered, "more than there are", GENERIC, k=9),
    filtering(top_k_filtered, "one word", logits("one word", 3, 1), k=1),
    filtering(top_k_filtered, "more than are not forbidden", banned(GENERIC, 0, 1, 2, 5), k=5),
]

TIED = torch.tensor([[1, 0, 0, 0, 2], [3, 3, 3, 3, 3], [-1, 2, 2, -1, 2], [2, 1, 0, 1, -1]], dtype=torch.float64)
top_k_ties = [
    *(Case(top_k_filtered, f"{k} of 5, some alike", (TIED,), options={"k": k}) for k in (1, 2, 3, 4)),
    Case(top_k_filtered, "37 of 100 alike", (torch.zeros(2, 100, dtype=torch.float64),), options={"k": 37}),
]

NUCLEI = of_probabilities(
    [0.5, 0.26, 0.15, 0.09], [0.09, 0.15, 0.26, 0.5], [0.26, 0.5, 0.09, 0.15], [0.3, 0.28, 0.22, 0.2]
)
FIVE = of_probabilities([0.4, 0.28, 0.2, 0.09, 0.03], [0.03, 0.2, 0.4, 0.28, 0.09], [0.09, 0.03, 0.28, 0.4, 0.2])
NEARLY_FLAT = logits("150 words, nearly flat", 2, 150, size=0.3)  # nuclei of 139
THOUSAND = logits("1000 words", 2, 1000, size=0.3)
ALL_BUT_THREE = torch.full((2, 303), -math.inf, dtype=torch.float64)
ALL_BUT_THREE[0, [7, 290, 150]] = of_probabilities([0.08, 0.9, 0.02])[0]
ALL_BUT_THREE[1, [0, 1, 302]] = of_probabilities([0.02, 0.08, 0.9])[0]
top_p = [
    *(filtering(top_p_filtered, f"p {p}", NUCLEI, p=p) for p in (0.05, 0.4, 0.65, 0.7, 0.85)),
    filtering(top_p_filtered, "the example of two", of_probabilities([0.5, 0.41, 0.09]), p=0.86),
    filtering(top_p_filtered, "one row", NUCLEI[0], p=0.7),
    filtering(top_p_filtered, "three axes", NUCLEI.unflatten(0, (2, 2)), p=0.7),
    filtering(top_p_filtered, "p 0.65, logits of an offset", NUCLEI + 9, p=0.65),
    filtering(top_p_filtered, "one word certain", of_probabilities([0.001, 0.99, 0.004, 0.005]), p=0.9),
    filtering(top_p_filtered, "p 1e-3", NUCLEI, p=1e-3, dtypes=WIDE),
    filtering(top_p_filtered, "words forbidden", banned(of_probabilities([0.3, 0.1, 0.2, 0.16, 0.24]), 0, 3), p=0.6),
    filtering(top_p_filtered, "p 0.9 of 33 words", logits("33 words", 3, 33), p=0.9, dtypes=WIDE),
    filtering(top_p_filtered, "p 0.958 of 150 words", NEARLY_FLAT, p=0.958, dtypes=WIDE),
    filtering(
        top_p_filtered,
        "p 0.995",
        of_probabilities([0.6, 0.3, 0.07, 0.02, 0.01], [0.01, 0.6, 0.02, 0.07, 0.3]),
        p=0.995,
        dtypes=WIDE,
    ),
    filtering(
        top_p_filtered,
        "offsets of thousands",
        NUCLEI + torch.tensor([[1000.0], [-1000.0], [100.0], [3000.0]], dtype=torch.float64),
        p=0.65,
        dtypes=WIDE,
    ),
    filtering(top_p_filtered, "rows far below zero", FIVE + FAR_BELOW, p=0.6, dtypes=WIDE),
    filtering(top_p_filtered, "all but 3 words forbidden", ALL_BUT_THREE, p=0.895, dtypes=WIDE),
    filtering(top_p_filtered, "a nucleus of 700 words", THOUSAND, p=0.809, dtypes=WIDE, least=2e-4),
    filtering(top_p_filtered, "a nucleus of thousands", EVERY_WORD / 100, p=0.9, dtypes=("float64",), least=1e-6),
    filtering(top_p_filtered, "299 rows", FIVE.repeat(100, 1)[:299], p=0.6),
]
top_p_of_all = [
    filtering(top_p_filtered, "p 1", NUCLEI, p=1.0),
    filtering(top_p_filtered, "p 1, an integer", NUCLEI, p=1),
    filtering(top_p_filtered, "one word", logits("one word", 3, 1), p=0.3),
]
# Sums of equal probabilities that are clear of p: which words stay is open, and how many is not.
top_p_ties = [
    filtering(top_p_filtered, "4 words alike", torch.zeros(3, 4, dtype=torch.float64), p=0.3),
    filtering(top_p_filtered, "some alike", of_probabilities([0.2, 0.4, 0.2, 0.2], [0.2, 0.2, 0.2, 0.4]), p=0.7),
    filtering(top_p_filtered, "100 words alike", torch.zeros(2, 100, dtype=torch.float64), p=0.305, dtypes=WIDE),
]


def penalty(name: str, given: Tensor, ids: Any, value: float, dtypes: tuple[str, ...] = EVERY_DTYPE) -> Case:
    """A call of repetition_penalized."""
    ids = torch.as_tensor(ids, dtype=torch.int64)
    return Case(repetition_penalized, name, (given, ids), options={"penalty": value}, dtypes=dtypes)


PAST = torch.tensor([[2, 5, 2, 0, 2], [6, 6, 1, 3, 6], [4, 0, 4, 4, 1]])
penalties = [
    penalty("penalty 1.2", GENERIC, PAST, 1.2),
    penalty("penalty 2", GENERIC, PAST, 2.0),
    penalty("penalty 0.5, a reward", GENERIC, PAST, 0.5),
    penalty("penalty 2, an integer", GENERIC, PAST, 2),
    penalty("all logits negative", logits("negative", 3, 7) - 9, PAST, 1.5),
    penalty("all logits positive", logits("positive", 3, 7) + 9, PAST, 1.5),
    penalty("by hand", torch.tensor([[-2.0, 3.0, -1.0, 1.0]], dtype=torch.float64), [[0, 1]], 2.0),
    penalty("one token", GENERIC, PAST[:, :1], 1.3),
    penalty("one token 256 times", GENERIC, PAST[:, :1].expand(3, 256), 1.3),
    penalty("every token", GENERIC[:2], torch.arange(7).repeat(2, 1), 1.3),
    penalty("the last token", GENERIC, torch.full((3, 2), 6), 1.3),
    penalty("a batch of one", GENERIC[:1], PAST[:1], 1.3),
    penalty("as many sequences as words", logits("square", 5, 5), integers("square past", 5, 5, 3), 1.4),
    penalty("as many tokens as words", logits("row", 2, 5), integers("row past", 5, 2, 5), 1.4),
    penalty("words forbidden", banned(GENERIC, 0, 4), PAST, 1.4),
    penalty("300 sequences", logits("300 rows", 300, 9), integers("300 pasts", 9, 300, 4), 1.2),
    penalty("300 words", logits("300 words", 2, 300, size=40.0), integers("300 past", 300, 2, 200), 1.2),
    penalty("50257 words", EVERY_WORD, integers("50257 past", VOCABULARY, 2, 300), 1.2, WIDE),
]
nothing_penalized = [
    penalty("penalty 1", GENERIC, PAST, 1.0),
    penalty("no tokens", GENERIC, PAST[:, :0], 1.5),
]


def distribution(name: str, given: Tensor, dtypes: tuple[str, ...] = EVERY_DTYPE, **options: Any) -> Case:
    """A call of sampling_distribution."""
    return filtering(sampling_distribution, name, given, dtypes, **options)


distributions = [
    distribution("softmax alone", GENERIC),
    distribution("temperature alone", FIVE, temperature=0.6),
    distribution("a temperature above 1", FIVE, temperature=2.5),
    distribution("top-k alone", FIVE, top_k=3),
    distribution("top-p alone", FIVE, top_p=0.6),
    distribution("temperature and top-k", FIVE, temperature=1.7, top_k=2),
    # In the other order the nucleus is another: at p = 0.5 it has two tokens as they are, one at this temperature.
    distribution("temperature and top-p", FIVE, temperature=0.5, top_p=0.5),
    distribution("a temperature above 1 and top-p", FIVE, temperature=4.0, top_p=0.55),
    # Of three, renormalized, two reach 0.7; of all they do not.
    distribution("top-k and top-p", FIVE, top_k=3, top_p=0.72),
    distribution("all three", FIVE, temperature=1.4, top_k=4, top_p=0.7),
    distribution("all three, another order of sizes", FIVE, temperature=0.7, top_k=4, top_p=0.86),
    distribution("one of all", FIVE, top_k=1),
    distribution("top-p that takes one", FIVE, top_p=0.2),
    distribution("one row", FIVE[0], temperature=0.8, top_k=3),
    distribution("three axes", FIVE.unsqueeze(1).expand(3, 2, 5).contiguous(), temperature=1.5, top_p=0.7),
    distribution("words forbidden", banned(FIVE, 1), temperature=1.5, top_k=3),
    distribution("33 words", logits("33 words", 4, 33), temperature=1.5, top_k=20, top_p=0.9, dtypes=WIDE),
    distribution("300 words", logits("300 words p", 2, 300), temperature=0.5, top_k=100, top_p=0.8, dtypes=WIDE),
    distribution("150 words and top-p alone", NEARLY_FLAT, top_p=0.958, dtypes=WIDE),
    distribution("all but 3 words forbidden", ALL_BUT_THREE, top_p=0.895, dtypes=WIDE),
    distribution("50257 words", EVERY_WORD, temperature=1.5, top_k=50, top_p=0.603, dtypes=WIDE),
    distribution("a nucleus of 700 words", THOUSAND, top_p=0.809, dtypes=WIDE, least=2e-4),
    distribution("299 rows", FIVE.repeat(100, 1)[:299], temperature=1.5, top_p=0.7),
]
far_logits = [
    distribution("an offset of 1000", FIVE + 1000, temperature=0.8, top_k=4, top_p=0.75, dtypes=WIDE),
    distribution("an offset of -1000", FIVE - 1000, temperature=0.8, top_k=4, top_p=0.75, dtypes=WIDE),
    distribution(
        "logits of 1e4", torch.tensor([[1e4, -1e4, 9998.0, 9999.0]], dtype=torch.float64), top_p=0.8, dtypes=WIDE
    ),
    # Of no row is the largest logit that of another, nor near it.
    distribution("rows far below zero", FIVE + FAR_BELOW, dtypes=WIDE),
    distribution("rows far below zero and both filters", FIVE + FAR_BELOW, top_k=4, top_p=0.75, dtypes=WIDE),
    distribution("a temperature of 0.01", FIVE, temperature=0.01, dtypes=WIDE),
    distribution("a temperature of 0.001 and logits of its size", FIVE / 1000, temperature=0.001, dtypes=WIDE),
]

# --- Sampling ---------------------------------------------------------------------------------------------------------

MANY = 100_000  # draws: six standard deviations of a frequency are then a hundredth at the most
SEEDS = 300
TELLING = 40  # draws that a mistake does not give by chance


def drawing(name: str, given: Tensor, number: int = MANY, *, seed: int = 1, **options: Any) -> Case:
    """A call of sample, whose draws differ from library to library: what is filtered is a clear matter all the same."""
    filtering(sampling_distribution, name, given, WIDE, **options)
    return Case(sample, name, (given,), options={"number": number, "seed": seed, **options}, dtypes=WIDE)


ONE = FIVE[1]
draws = [
    drawing("as the logits are", ONE),
    drawing("a temperature of 0.5", ONE, temperature=0.5),
    drawing("a temperature of 3", ONE, temperature=3.0),
    drawing("the 3 most probable", ONE, top_k=3),
    drawing("a nucleus of 0.6", ONE, top_p=0.6),
    drawing("all three options", ONE, temperature=1.4, top_k=4, top_p=0.7),
    drawing("two words alike", of_probabilities([0.5, 0.5])[0]),
    drawing("words forbidden", banned(FIVE[0], 0, 3)),
    drawing("an offset of 1000", ONE + 1000, temperature=0.5),
    drawing("17 words", logits("17 words to draw", 17), temperature=2.0),
    drawing("another seed", ONE, seed=20_240),
]
draws_of_one = [drawing("one word is left", ONE, 1000, top_k=1), drawing("a nucleus of one", ONE, 1000, top_p=0.1)]
draws_by_seed = [
    draws[0],
    draws[5],
    drawing("300 draws", ONE, 300),
    drawing("40 draws of 17 words", draws[9].tensors[0], 40),
    drawing("300 draws, the seed 0", ONE, 300, seed=0),
]
draws_alone = [drawing("one draw", ONE, 1), drawing("two draws", ONE, 2), drawing("as many draws as words", ONE, 5)]
# Uniform numbers have to be finer than words are many, by far.
draws_of_many_words = [drawing("1000 of 50257 words alike", torch.zeros(VOCABULARY, dtype=torch.float64), 1000)]
draws_in_pairs = [draws[0], draws[6], draws[5]]
draws_of_many_seeds = [
    drawing(f"{number} of {words} words alike", torch.zeros(words, dtype=torch.float64), number)
    for number, words in ((1, 400), (1, 2), (2, 50), (3, 2), (100, 100), (1000, 2))
]


def distribution_of(case: Case) -> Case:
    """The call of sampling_distribution with the logits and options of a call of sample."""
    if "its distribution" not in case.derived:
        options = {name: value for name, value in case.options.items() if name not in ("number", "seed")}
        made = Case(
            sampling_distribution, f"{case.name}, its distribution", case.tensors, options=options, dtypes=case.dtypes
        )
        case.derived["its distribution"] = replace(made, dtype=case.dtype)
    return case.derived["its distribution"]


def six_sigma(probabilities: Tensor, number: int) -> Tensor:
    """How far frequencies among independent draws stay from their probabilities, but once in tens of millions of times.

    Bernstein's inequality at exp(-18): six standard deviations, and twelve draws for what is drawn so rarely that a
    normal law says nothing of it. What has no probability is never drawn.
    """
    allowed = 6 * (probabilities * (1 - probabilities) / number).sqrt() + 12 / number
    return torch.where(probabilities == 0, 0.0, allowed)


def of_many_seeds(case: Case) -> list[Case]:
    """The same draws of `SEEDS` seeds, from 0 on."""
    return [case.changed(f"seed {seed}", seed=seed) for seed in range(SEEDS)]


def alike(ids: Tensor, words: int) -> tuple[Tensor, Tensor, Tensor]:
    """How many of the pairs of draws of one call are alike, of one, how many should be, and the six sigma of that.

    `ids` has a row for every call. Words are equally probable: only then are two pairs that share a draw uncorrelated. Few
    draws have a longer tail than a normal law, and many that of chi squared, for which what is added is enough: 12 for
    what is rare, as of frequencies, and 18 times the draws of one word, the last term of Laurent and Massart's bound.
    """
    calls, number = ids.shape
    rows = torch.stack([_counts(each, words) for each in ids]).double()
    pairs, share = calls * number * (number - 1) / 2, torch.tensor(1 / words, dtype=torch.float64)
    found = (rows * (rows - 1) / 2).sum() / pairs
    more = min(6 * number, 12 + 18 * number / words)
    return found, share, 6 * (share * (1 - share) / pairs).sqrt() + more / pairs


def other_seeds(case: Case) -> list[Case]:
    """The same draws of the next seed, and of seeds that agree with this one in their lowest bits."""
    return [case.changed(f"seed {by} on", seed=case.options["seed"] + by) for by in (1, 2**8, 2**16, 2**24)]


def standardized(ids: Tensor, probabilities: Tensor) -> Tensor:
    """Draws as numbers of mean 0 and variance 1."""
    words = torch.arange(len(probabilities), dtype=torch.float64)
    mean = (probabilities * words).sum()
    return (ids - mean) / (probabilities * (words - mean).square()).sum().sqrt()


def correlations(first: Tensor, second: Tensor) -> Tensor:
    """Of standardized draws, the correlation of each of `first` with the one of `second` so many places behind it.

    Places before it stand at the end, as negative indices have them.
    """
    spectra = [torch.fft.rfft(each, 2 * len(each)) for each in (first, second)]
    return torch.fft.irfft(spectra[0].conj() * spectra[1], 2 * len(first)) / len(first)


def eight_sigma(number: int) -> Tensor:
    """Of a correlation: more than six, for the largest of two hundred thousand of them is looked at."""
    return torch.tensor(8 / math.sqrt(number), dtype=torch.float64)


def frequencies(ids: Tensor, words: int) -> Tensor:
    """How often each word stands among ids, of one. Ids that are no words are nowhere counted."""
    return _counts(ids, words).double() / len(ids)


def _counts(ids: Tensor, words: int) -> Tensor:
    return torch.bincount(ids[(ids >= 0) & (ids < words)], minlength=words)


# --- With a model -----------------------------------------------------------------------------------------------------


def decoding(
    operation: Operation[..., Any],
    name: str,
    seed: int,
    *,
    B: int = 3,
    T: int = 4,
    V: int = 7,
    M: int = 8,
    F: int = 5,
    H: int = 2,
    L: int = 1,
    P: int = 0,
    ids: Any = None,
    lengths: Sequence[int] = (),
    twins: bool = False,
    norm_first: bool = True,
    activation: str = "gelu_tanh",
    eps: float = 1e-5,
    **options: Any,
) -> Case:
    """A call that decodes, from prompts of these lengths padded on the left where lengths are given.

    `seed` tells the weights and prompts, and is chosen so that nothing is a near thing and correct searches agree, which
    tests of the suite look at by `margin_of`.
    """
    T = max(lengths, default=T)
    B = len(lengths) or B
    N = options["max_new_tokens"]
    config = GptConfig(
        vocab_size=V, d_model=M, d_ff=F, num_heads=H, num_layers=L, max_positions=P or T + N, norm_first=norm_first,
        activation=activation, eps=eps,
    )  # fmt: skip
    ids = integers(f"prompts {seed}", V, B, T) if ids is None else torch.as_tensor(ids, dtype=torch.int64)
    if lengths:
        options["attention_mask"] = real(*lengths, width=T, side="left")
    weights = _weights(seed, config)
    if twins:  # of every word of the first half: larger by a thousandth, which 16 bits do not see
        weights["embeddings.token"][(V + 1) // 2 :] = weights["embeddings.token"][: V // 2] * TWIN
    return Case(operation, name, (ids,), weights, options, WIDE, config=config)


def _weights(seed: int, config: GptConfig) -> dict[str, Tensor]:
    """Weights of a model that says something new at every step: with a tied head small layers repeat the last word."""
    factors = {"w": 3.0, "position": 1.5}
    made = of_gpt.model_weights(f"decoding {seed}", config)
    return {name: value * factors.get(name.rpartition(".")[2].partition("_")[0], 1.0) for name, value in made.items()}


def answering(
    name: str, seed: int, *, B: int = 3, S: int = 5, ids: Any = None, lengths: Sequence[int] = (), side: str = "right",
    max_new_tokens: int = 5, eos_id: int | None = None, pad_id: int = 0, **sizes: Any,
) -> Case:  # fmt: skip
    """A call of greedy_decode_t5, on sources of these lengths padded on a side where lengths are given."""
    S, B = max(lengths, default=S), len(lengths) or B
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "eos_id": eos_id, "pad_id": pad_id}
    if lengths:
        options["attention_mask"] = real(*lengths, width=S, side=side)
    # Of `model` the weights and the config are taken; what it reads is put in its place.
    made = of_t5.model(f"answers {seed}", **{"V": 7, "M": 8, "E": 3, "F": 5, "N": 1, "L": 1, "H": 2} | sizes)
    ids = integers(f"sources {seed}", made.config.vocab_size, B, S) if ids is None else torch.as_tensor(ids)
    # As of a GPT, weights are large: of small ones an answer is one word, time and again, whatever the source says.
    weights = {key: value * T5_FACTORS.get(key.rpartition(".")[2], 1.0) for key, value in (made.weights or {}).items()}
    return Case(greedy_decode_t5, name, (ids,), weights, options, WIDE, config=made.config)


T5_FACTORS = {"relative_bias": 2.0, "w_q": 2.0, "w_k": 2.0} | dict.fromkeys(("w_v", "w_o", "w_1", "w_2", "w_gate"), 4.0)


def margin_of(case: Case) -> float:
    """The smallest margin of any choice in a call that decodes; minus infinity where correct beam searches differ."""
    ids, options = case.tensors[0], dict(case.options)
    visible = options.pop("attention_mask", None)
    visible = torch.ones_like(ids, dtype=torch.bool) if visible is None else visible
    prompts = [tuple(row[seen].tolist()) for row, seen in zip(ids, visible, strict=True)]
    words = options["max_new_tokens"], options.get("eos_id")
    if case.operation is greedy_decode_t5:
        pad_id = options.get("pad_id", 0)
        return min((_answer_margin(case, source, *words, pad_id) for source in prompts), default=math.inf)
    if case.operation is greedy_decode:
        return min((_greedy_margin(case, prompt, *words) for prompt in prompts), default=math.inf)
    penalty, beams = options.get("length_penalty", 0.0), options["num_beams"]
    return min((_beam_margin(case, prompt, *words, beams, penalty) for prompt in prompts), default=math.inf)


def _log_probabilities(case: Case, sequences: list[tuple[int, ...]]) -> list[list[float]]:
    """log P of every next word, after sequences of one length without padding; asked again, it is not computed again."""
    seen: dict[tuple[int, ...], list[float]] = case.known.setdefault("log probabilities", {})
    new = [sequence for sequence in sequences if sequence not in seen]
    if new:
        scores = gpt(torch.tensor(new), dict(case.weights or {}), case.config)[:, -1]
        seen.update(zip(new, torch.log(softmax(scores)).tolist(), strict=True))
    return [seen[sequence] for sequence in sequences]


def _greedy_margin(case: Case, prompt: tuple[int, ...], longest: int, eos_id: int | None) -> float:
    margin = math.inf
    for _ in range(longest):
        (row,) = _log_probabilities(case, [prompt])
        first, second = sorted(row, reverse=True)[:2]
        margin, prompt = min(margin, first - second), (*prompt, row.index(first))
        if prompt[-1] == eos_id:
            break
    return margin


def _answer_margin(case: Case, source: tuple[int, ...], longest: int, eos_id: int | None, pad_id: int) -> float:
    margin, read = math.inf, [pad_id]
    for _ in range(longest):
        scores = t5(torch.tensor([source]), torch.tensor([read]), dict(case.weights or {}), case.config)[0, -1]
        first, second = scores.sort(descending=True).values[:2].tolist()
        margin, read = min(margin, first - second), [*read, int(scores.argmax())]
        if read[-1] == eos_id:
            break
    return margin


def _beam_margin(
    case: Case, prompt: tuple[int, ...], longest: int, eos_id: int | None, beams: int, penalty: float
) -> float:
    """The margin of the search as it is stated, and whether searches that keep what is complete otherwise agree.

    Others keep every end, or let what is complete take part in the beam, by log P or by score.
    """
    margin, best = _searched(case, prompt, longest, eos_id, beams, penalty, lambda place: place < beams)
    _, of_all_ends = _searched(case, prompt, longest, eos_id, beams, penalty, lambda place: True)
    in_the_beam = [
        _with_complete_ones_in_the_beam(case, prompt, longest, eos_id, beams, penalty, by) for by in (0.0, penalty)
    ]
    return margin if all(other == best for other in (of_all_ends, *in_the_beam)) else -math.inf


def _searched(
    case: Case, prompt: tuple[int, ...], longest: int, eos_id: int | None, beams: int, penalty: float,
    kept: Callable[[int], bool],
) -> tuple[float, tuple[int, ...]]:  # fmt: skip
    under_way: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    complete: list[tuple[float, tuple[int, ...]]] = []
    margin = math.inf
    for length in range(1, longest + 1):
        ranked = _continued(case, prompt, under_way)
        ends = [length == longest or hypothesis[-1] == eos_id for _, hypothesis in ranked]
        complete += [(s / length**penalty, y) for place, (s, y) in enumerate(ranked) if ends[place] and kept(place)]
        others = [pair for pair, end in zip(ranked, ends, strict=True) if not end]
        margin = min([margin, *(a[beams - 1][0] - a[beams][0] for a in (ranked, others) if len(a) > beams)])
        under_way = others[:beams]
    complete.sort(reverse=True)
    if len(complete) > 1:
        margin = min(margin, complete[0][0] - complete[1][0])
    return margin, complete[0][1]


def _with_complete_ones_in_the_beam(
    case: Case, prompt: tuple[int, ...], longest: int, eos_id: int | None, beams: int, penalty: float, by: float
) -> tuple[int, ...]:
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for _ in range(longest):
        under_way = [(s, y) for s, y in beam if not y or y[-1] != eos_id]
        ended = [(s, y) for s, y in beam if y and y[-1] == eos_id]
        every = ended + (_continued(case, prompt, under_way) if under_way else [])
        beam = sorted(every, key=lambda pair: pair[0] / len(pair[1]) ** by, reverse=True)[:beams]
    return max(beam, key=lambda pair: pair[0] / len(pair[1]) ** penalty)[1]


def _continued(
    case: Case, prompt: tuple[int, ...], under_way: list[tuple[float, tuple[int, ...]]]
) -> list[tuple[float, tuple[int, ...]]]:
    """Every hypothesis continued by every word, the most probable first."""
    following = _log_probabilities(case, [(*prompt, *y) for _, y in under_way])
    pairs = zip(under_way, following, strict=True)
    every = [(s + more, (*y, word)) for (s, y), row in pairs for word, more in enumerate(row)]
    return sorted(every, key=lambda pair: -pair[0])


def best_of_all(case: Case) -> Tensor:
    """The result of an exhaustive search: every hypothesis there is, scored by the formula."""
    options, ids = case.options, case.tensors[0]
    longest, eos_id, penalty = options["max_new_tokens"], options.get("eos_id"), options.get("length_penalty", 0.0)
    found = ids.new_full((len(ids), longest), options.get("pad_id", 0))
    for row, prompt in enumerate(ids.tolist()):
        scored: dict[tuple[int, ...], float] = {}
        under_way: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for length in range(1, longest + 1):
            every = _continued(case, tuple(prompt), under_way)
            done = [(s, y) for s, y in every if y[-1] == eos_id or length == longest]
            scored |= {y: s / length**penalty for s, y in done}
            under_way = [(s, y) for s, y in every if y not in scored]
        best = max(scored, key=scored.__getitem__)
        found[row, : len(best)] = torch.tensor(best)
    return torch.cat([ids, found], -1)


def greedy(name: str, seed: int, **options: Any) -> Case:
    """A call of greedy_decode."""
    return decoding(greedy_decode, name, seed, **{"max_new_tokens": 5, **options})


def beams(name: str, seed: int, **options: Any) -> Case:
    """A call of beam_search."""
    return decoding(beam_search, name, seed, **{"max_new_tokens": 5, "num_beams": 3, **options})


greedy_plain = [
    greedy("six new tokens", 20, max_new_tokens=6),
    greedy("post-norm", 22, norm_first=False),
    greedy("three layers, ReLU and an epsilon of 0.1", 0, L=3, activation="relu", eps=0.1, max_new_tokens=6),
]
greedy_ended = [
    greedy("EOS at the first step, later, and never", 17, max_new_tokens=6, eos_id=3, pad_id=4),
    greedy("EOS at unlike steps", 12, max_new_tokens=6, eos_id=0, pad_id=5),
    greedy("every sequence ends", 8, max_new_tokens=7, eos_id=5, pad_id=2),
    greedy("EOS at the last step", 56, eos_id=0, pad_id=3),
    greedy("padding with id 0", 28, eos_id=3),
    greedy("EOS and padding are one id", 8, eos_id=0, pad_id=0),
    greedy("EOS never comes", 22, eos_id=1, pad_id=2),
    greedy("EOS is the last id", 19, eos_id=6, pad_id=1, max_new_tokens=7),
    greedy(
        "EOS in the prompt", 18, eos_id=5, pad_id=2, ids=[[5, 1, 5, 3], [2, 5, 0, 5], [5, 5, 4, 5]], max_new_tokens=4
    ),
    greedy("the pad id in the prompt", 23, pad_id=3, ids=[[3, 3, 1, 4], [2, 3, 0, 3], [3, 6, 3, 1]]),
    greedy("words of the pad id", 20, pad_id=0, eos_id=5),
]
greedy_left = [
    greedy("prompts of 5, 3 and 1", 20, lengths=(5, 3, 1)),
    greedy("prompts of 2, 4 and 3, EOS", 17, lengths=(2, 4, 3), eos_id=3, pad_id=4),
    greedy("prompts of 1 and 6, two layers", 23, lengths=(1, 6), L=2),
    greedy("prompts of unlike lengths, post-norm", 24, lengths=(3, 1, 4), norm_first=False),
    greedy(
        "padding with a word of the prompts",
        22,
        lengths=(4, 2, 3),
        pad_id=5,
        ids=[[0, 5, 2, 5], [5, 5, 1, 5], [5, 2, 5, 4]],
    ),
]
greedy_sizes = [
    greedy("a batch of one", 20, B=1),
    greedy("prompts of one token", 22, T=1),
    greedy("one new token", 20, max_new_tokens=1),
    greedy("as many sequences as tokens", 17, B=4),
    greedy("more sequences than words", 23, B=9, T=2, max_new_tokens=3),
    greedy("the last position is read", 20, P=8),
    greedy("positions to spare", 20, P=30),
    greedy("300 words", 0, V=300, B=2),
    greedy("one head", 12, H=1, M=6),
    greedy("17 new tokens", 22, B=2, max_new_tokens=17, T=2),
    # Of these and of what is as long below, what is chosen is told by what stands far back and by what stands near.
    greedy("prompts of 140", 34, B=2, T=140, max_new_tokens=4),
    greedy("36 new tokens", 3, B=1, T=3, max_new_tokens=36),
    greedy("words a thousandth apart", 1, twins=True),
    greedy(
        "19 prompts of unlike lengths",
        0,
        lengths=(5, 3, 1, 4, 2, 5, 1, 3, 2, 4, 1, 5, 3, 2, 1, 4, 5, 2, 3),
        max_new_tokens=3,
    ),
]

beams_plain = [
    beams("three beams", 20),
    beams("three beams, none greedy", 22),
    beams("two beams, post-norm", 24, num_beams=2, norm_first=False),
    beams("four beams, two layers", 23, num_beams=4, L=2),
    beams(
        "three layers, ReLU and an epsilon of 0.1",
        0,
        num_beams=2,
        L=3,
        activation="relu",
        eps=0.1,
        max_new_tokens=6,
    ),
]
beams_ended = [
    beams("EOS in some sequences", 4, eos_id=3, pad_id=6),
    beams("EOS where greedy goes on", 1, eos_id=3, pad_id=5),
    beams("EOS at once, and later", 8, eos_id=0, pad_id=3),
    beams("every sequence ends at once", 31, eos_id=5, pad_id=2),
    beams("padding with id 0", 18, eos_id=3),
    beams("EOS and padding are one id", 24, eos_id=0, pad_id=0),
    beams("two beams, EOS", 23, num_beams=2, eos_id=5, pad_id=4),
    beams("four beams, EOS", 20, num_beams=4, eos_id=3, pad_id=1),
    beams("EOS never comes", 21, eos_id=1, pad_id=2),
    beams("EOS in the prompt", 4, eos_id=5, pad_id=2, ids=[[5, 1, 5, 3], [2, 5, 0, 5], [5, 5, 4, 5]], max_new_tokens=4),
    beams("the pad id in the prompt", 23, eos_id=5, pad_id=3, ids=[[3, 3, 1, 4], [2, 3, 0, 3], [3, 6, 3, 1]]),
]
SMALL: dict[str, Any] = {"V": 4, "B": 1, "T": 2, "max_new_tokens": 6, "pad_id": 2}
# The same weights and prompts under several penalties: the winner is another.
beams_penalized = [
    beams(f"length penalty {value:g}, {name}", seed, **{"length_penalty": value, "eos_id": eos_id, "pad_id": 6, **more})
    for name, seed, eos_id, values, more in (
        ("mean", 4, 3, (1.0, 2.0), {}),
        ("longer wins late", 3, 0, (0.0, 1.0, -1.0), {}),
        ("one of many lengths", 4, 5, (0.0, 1.0, -1.0), {}),
        ("EOS against more words", 17, 5, (1.0, 2.0), {}),
        ("four of the longest", 27, 3, (0.0, 1.0, 2.0), {}),
        ("four beams", 24, 3, (0.5, 1.0), {"num_beams": 4}),
        ("two beams", 29, 5, (1.0, 2.0), {"num_beams": 2}),
        ("prompts longer than what follows", 4, 5, (0.0, 0.5, 1.0), {"T": 7}),
        ("prompts longer than what follows, EOS 0", 2, 0, (0.5, 1.0), {"T": 7}),
        # A shorter one wins that what is under way, were it as long as can be, seems to be behind.
        ("the bound of the longest", 61, 2, (-1.0,), {"V": 4, "max_new_tokens": 8, "pad_id": 3}),
        # The best is not among as many complete ones as there are beams that have the highest log P.
        # As many are complete as there are beams, and better than what is under way is now, which wins once it is longer.
        ("the longer one wins after all", 2995, 1, (2.0,), SMALL),
        ("the longer one wins after all, two beams", 530, 1, (2.0,), SMALL | {"num_beams": 2}),
        ("more complete ones than beams", 133, 1, (1.0,), {"V": 4, "max_new_tokens": 6, "pad_id": 2}),
    )
    for value in values
]
beams_left = [
    beams("prompts of 5, 3 and 1", 20, lengths=(5, 3, 1)),
    beams("prompts of 2, 4 and 3, EOS", 17, lengths=(2, 4, 3), eos_id=3, pad_id=4),
    beams("prompts of 1 and 6, two layers", 23, lengths=(1, 6), L=2, num_beams=2),
    beams(
        "prompts of unlike lengths and a penalty",
        4,
        lengths=(3, 1, 4),
        eos_id=1,
        pad_id=2,
        length_penalty=1.0,
        max_new_tokens=4,
    ),
]
beams_of_one = [
    beams("one beam", 20, num_beams=1),
    beams("one beam, EOS", 13, num_beams=1, eos_id=3, pad_id=4),
    beams("one beam, padded", 23, num_beams=1, lengths=(1, 6), L=2),
]
beams_sizes = [
    beams("a batch of one", 22, B=1),
    beams("prompts of one token", 18, T=1),
    beams("one new token", 20, max_new_tokens=1),
    beams("as many beams as sequences and tokens", 20, B=3, T=3),
    beams("as many beams as words", 22, V=5, num_beams=5, max_new_tokens=4),
    beams("more beams than words", 18, V=5, num_beams=8, max_new_tokens=4),
    beams("the last position is read", 22, P=8),
    beams("33 words", 24, V=33, num_beams=4),
    beams("seven sequences", 30, B=7, T=2, max_new_tokens=3),
    beams("more beams than words and one step", 20, V=5, num_beams=7, max_new_tokens=1),
    beams("six beams, padded", 25, lengths=(5, 2, 3), num_beams=6),
    beams("20 beams", 150, num_beams=20),
    beams("20 new tokens", 0, B=1, T=2, num_beams=2, max_new_tokens=20),
    beams("prompts of 70", 18, B=2, T=70, max_new_tokens=4),
]
# With as many beams as there are sequences nothing is ever left out.
beams_of_all = [
    beams("16 beams for every start of four words", 2, V=4, B=2, num_beams=16, max_new_tokens=3),
    *(
        beams(
            f"16 beams, EOS, length penalty {value:g}",
            seed,
            V=4,
            B=2,
            num_beams=16,
            max_new_tokens=3,
            eos_id=1,
            pad_id=3,
            length_penalty=value,
        )
        for value, seed in ((0.0, 8), (1.0, 0), (2.0, 10), (-1.0, 3))
    ),
    beams(
        "27 beams of three words", 1, V=3, B=2, num_beams=27, max_new_tokens=4, eos_id=2, pad_id=0, length_penalty=0.7
    ),
]


# What an answer says is told by sources and seed; EOS is then a word that comes where the name says.
answers_plain = [
    answering("five new tokens", 8),
    answering("six new tokens", 22, max_new_tokens=6),
    answering("answers that begin alike", 121),
    answering("two layers on either side, answers that begin alike", 24, N=2, L=2),
    answering("two layers on either side, answers that begin unlike", 62, N=2, L=2),
    answering("gated GELU and a head of its own", 11, activation="gated_gelu", tied=False),
    answering("a head of its own", 21, tied=False),
]
answers_ended = [
    answering("EOS at unlike steps, and never", 121, eos_id=3),
    answering("every answer ends", 8, eos_id=1),
    answering("EOS at the second step, at the last, and never", 8, eos_id=4),
    answering("EOS at once, later, and never", 3, eos_id=3, pad_id=2),
    answering("words of the pad id", 3, eos_id=4, pad_id=2),
    answering("EOS 0 and padding 6", 13, eos_id=0, pad_id=6),
    answering("EOS is the last id", 79, eos_id=6),
    answering("EOS and padding are one id", 3, eos_id=2, pad_id=2),
    answering("EOS never comes", 8, eos_id=5),
    answering("EOS in the sources", 48, eos_id=2, ids=[[2, 1, 2, 5, 3], [2, 2, 6, 2, 0], [4, 2, 1, 1, 2]]),
    answering("the pad id in the sources", 48, eos_id=2, ids=[[0, 1, 0, 5, 0], [3, 0, 0, 2, 0], [0, 0, 4, 1, 6]]),
]
answers_padded = [
    answering("sources of 5, 3 and 1", 65, lengths=(5, 3, 1)),
    answering("sources of 5, 3 and 1, EOS", 85, lengths=(5, 3, 1), eos_id=0, pad_id=0),
    answering("sources of 2, 4 and 3, EOS", 0, lengths=(2, 4, 3), eos_id=6, pad_id=4),
    answering("sources of 1 and 6, two layers", 9, lengths=(1, 6), N=2, L=2),
    answering("sources of 4, 2 and 5, padded on the left", 13, lengths=(4, 2, 5), side="left"),
    answering("sources of 4, 2 and 5, padded on the left, EOS", 8, lengths=(4, 2, 5), side="left", eos_id=1),
    answering(
        "padding with the pad id", 65, lengths=(5, 2, 3), pad_id=0,
        ids=[[6, 1, 2, 5, 4], [3, 5, 0, 0, 0], [2, 0, 6, 0, 0]],
    ),
]  # fmt: skip
answers_started = [
    answering(f"the start is {pad_id}", seed, pad_id=pad_id, eos_id=eos_id)
    for seed, pad_id, eos_id in ((14, 2, 1), (22, 2, 0), (3, 6, 1), (21, 6, 5), (13, 6, 0))
]
answers_sizes = [
    answering("one source", 13, B=1),
    answering("sources of one token", 85, S=1),
    answering("one new token", 30, max_new_tokens=1),
    answering("nine sources of two tokens", 317, B=9, S=2, max_new_tokens=3),
    answering("as many sources as tokens", 8, B=5),
    answering("33 words", 15, V=33),
    answering("one head", 33, H=1, M=6),
    answering("17 new tokens", 4, B=2, S=3, max_new_tokens=17),
    answering("sources of 17", 8, B=2, S=17, max_new_tokens=4),
    answering("sources of 150", 97, B=2, S=150, max_new_tokens=4),
    answering("24 new tokens", 13, B=2, S=3, max_new_tokens=24),
]


# --- Groups and changes for properties --------------------------------------------------------------------------------


def last_alone(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last prompt without the others, and how to pick it out of the result of all."""
    options = {name: value[-1:] if isinstance(value, Tensor) else value for name, value in case.options.items()}
    return case.changed("last alone", (case.tensors[0][-1:],), **options), lambda result: result[-1:]


def last_unpadded(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The last prompt or source alone and without its padding, and how to pick it out of the result of all."""
    seen = case.options["attention_mask"][-1]
    alone = case.changed("last unpadded", (case.tensors[0][-1:, seen],), attention_mask=None)
    start = 0 if case.operation is greedy_decode_t5 else int((~seen).sum())  # where its part of the result begins
    return alone, lambda result: result[-1:, start:]


def new_tokens_of(case: Case, result: Tensor) -> Tensor:
    """What was generated, without the prompt."""
    return result if case.operation is greedy_decode_t5 else result[:, case.tensors[0].shape[-1] :]


def that_matters(case: Case) -> Tensor | None:
    """Where a result is looked at: everywhere but at the padding of prompts."""
    if case.operation is greedy_decode_t5:
        return None
    return torch.nn.functional.pad(case.options["attention_mask"], (0, case.options["max_new_tokens"]), value=True)


def with_other_padding(case: Case) -> Case:
    """Other ids where the attention mask hides them."""
    ids, V = case.tensors[0], case.config.vocab_size
    other = torch.where(case.options["attention_mask"], ids, (ids + 1 + torch.arange(ids.shape[-1])).remainder(V))
    return case.changed("other padding", (other,))


def nothing_hidden(case: Case) -> Case:
    """The same with an attention mask that hides nothing."""
    return case.changed("everything visible", attention_mask=torch.ones_like(case.tensors[0], dtype=torch.bool))


def shorter(case: Case) -> tuple[Case, Callable[[Tensor], Tensor]]:
    """The same, stopped two tokens before, and how to cut the result of the whole."""
    count = case.options["max_new_tokens"] - 2
    return case.changed("stopped before", max_new_tokens=count), lambda result: result[:, :-2]


def as_greedy(case: Case) -> Case:
    """The call of greedy_decode that a call of beam_search with one beam is to agree with."""
    if "greedy" not in case.derived:
        options = {name: value for name, value in case.options.items() if name not in ("num_beams", "length_penalty")}
        made = replace(
            case, operation=greedy_decode, name=f"{case.name}, greedy", options=options, origin=None, numbers_of=None
        )
        case.derived["greedy"] = made
    return case.derived["greedy"]


def rows_reversed(case: Case) -> Case:
    """The rows of everything that has rows in reverse order."""
    options = {name: value.flip(0) if isinstance(value, Tensor) else value for name, value in case.options.items()}
    return case.changed("rows reversed", tuple(value.flip(0) for value in case.tensors), **options)


def words_reversed(case: Case) -> Case:
    """Logits of the words in reverse order; ids of the words are renamed to match."""
    given, *ids = case.tensors
    return case.changed("words reversed", (given.flip(-1), *(given.shape[-1] - 1 - each for each in ids)))


def others_than(case: Case) -> list[Case]:
    """Calls that a careless memory would take for this one."""
    if case.operation in (greedy_decode, greedy_decode_t5, beam_search):
        weights = {name: value.flip(-1) * 0.75 for name, value in (case.weights or {}).items()}
        others = [
            case.changed("other weights", weights=weights),
            case.changed("other ids", ((case.tensors[0] + 3) % case.config.vocab_size,)),
            last_alone(case)[0],
        ]
        # What another call gives has a margin too: looked at here, for it is compared with the formula.
        return [other for other in others if margin_of(other) >= MARGIN]
    return [words_reversed(case), case.changed("half of it", (case.tensors[0] * 0.5, *case.tensors[1:]))]


on_logits = [*temperatures[:5], *top_k[:8], *top_p[:9], *penalties[:7], *distributions[:14]]
every_filter = [
    temperatures[0],
    top_k[1],
    top_k[5],
    top_p[2],
    top_p[8],
    penalties[0],
    penalties[2],
    distributions[9],
    distributions[4],
]
every_operation = [
    *every_filter, draws_alone[2], greedy_ended[0], greedy_left[1], beams_penalized[1], beams_left[1],
    answers_ended[0], answers_padded[2],
]  # fmt: skip
decoded = [*greedy_plain, *greedy_ended, *greedy_left, *greedy_sizes]
answered = [*answers_plain, *answers_ended, *answers_padded, *answers_started, *answers_sizes]
searched = [*beams_plain, *beams_ended, *beams_penalized[:6], *beams_left, *beams_sizes, beams_of_all[0]]
ended = [case for case in greedy_ended if "eos_id" in case.options] + [
    greedy_left[1],
    *beams_ended,
    *beams_penalized[2:8],
    beams_left[1],
    beams_left[3],
    *answers_ended,
    answers_padded[1],
    answers_padded[2],
    answers_padded[5],
]
left = [*greedy_left, *beams_left, beams_of_one[2]]
padded = [*left, *answers_padded]
in_batches = [
    *greedy_plain,
    *greedy_ended[:3],
    *greedy_left,
    *beams_plain,
    *beams_ended[:5],
    *beams_left,
    beams_sizes[8],
    *answers_plain,
    *answers_ended[:4],
    *answers_padded,
    answers_sizes[3],
]
unpadded = [
    greedy_plain[0],
    greedy_plain[2],
    greedy_ended[0],
    greedy_ended[10],
    beams_plain[0],
    beams_ended[0],
    beams_ended[10],
]
visible = [*unpadded, answers_plain[0], answers_plain[3], answers_ended[0], answers_ended[10]]
prefixes = [
    *greedy_plain, *greedy_ended[:3], *greedy_left[:2], greedy_sizes[9],
    *answers_plain, *answers_ended[:3], *answers_padded[:2], answers_sizes[7],
]  # fmt: skip
differentiable = [
    temperatures[0],
    temperatures[3],
    top_k[2],
    top_k[5],
    top_p[2],
    top_p[7],
    penalties[0],
    penalties[2],
    penalties[8],
    *distributions[:12],
]

_laid_out = (top_k[5], top_p[7], temperatures[3], penalties[0], distributions[14], draws_alone[2])
strided = [
    *(case for call in _laid_out for case in layouts(call)),
    *(
        case
        for call in (greedy_left[1], beams_left[1], answers_padded[2])
        for case in layouts(call)
        if "_ids" in case.name or "attention_mask" in case.name
    ),
]
_few, _beam, _answer = greedy_sizes[2], beams_sizes[2], answers_sizes[2]
batch_of_zero = [
    *(case.changed("a batch of zero", tuple(each[:0] for each in case.tensors)) for case in every_filter[::2]),
    *(case.changed("a batch of zero", (case.tensors[0][:0],)) for case in (_few, _beam, _answer)),
]
no_new_tokens = [case.changed("nothing new", max_new_tokens=0) for case in (_few, _beam, _answer)]
bad_options = [
    temperatures[0].changed("a temperature below zero", temperature=-1.0),
    distributions[1].changed("a temperature below zero", temperature=-0.6),
    top_p[0].changed("a probability below zero", p=-0.1),
    penalties[0].changed("a penalty below zero", penalty=-1.2),
    beams_sizes[2].changed("no beams", num_beams=0),
]
out_of_range = [
    *(case.changed("an id after the last", (torch.full_like(case.tensors[0], 7),)) for case in (_few, _beam, _answer)),
    *(case.changed("more tokens than positions", max_new_tokens=8) for case in (_few, _beam)),
    penalties[0].changed("an id after the last", (penalties[0].tensors[0], torch.full((3, 2), 7))),
]
