"""Objectives against torch's own losses, derivatives in mpmath, numbers by hand, and what random draws must come to."""

import math
from collections import Counter

import pytest
import torch
import witness
import witness_objectives
from torch import Tensor
from witness import mp

from transpec.cases import Case, normal
from transpec.judgement import budget, cotangent, differentiate, gradient_budgets, oracle
from transpec.operations import Variant
from transpec.reference.objectives import (
    cross_entropy,
    distillation_loss,
    language_modelling_loss,
    mask_tokens_at_random,
    next_sentence_loss,
    span_corruption,
    span_noise_mask,
)
from transpec.spec_tests.cases import objectives

RIGHT = 0.5  # of a budget
TINY = [
    objectives.entropy("tiny", 2, 3, 4, ignored=True),
    objectives.entropy("tiny, smoothed", 2, 3, 4, ignored=True, label_smoothing=0.3),
    objectives.causal("tiny", 2, 3, 4),
    objectives.causal("tiny, padded", 2, 4, 3, objectives._shown(4, 2, width=4)),
    objectives.masked("tiny", 2, 3, 4),
    objectives.pairs("tiny", normal("tiny pairs", 3, 2), [True, False, True]),
    objectives.accumulated("tiny", 2, 1, 3, 4),
    objectives.taught("tiny", 2, 2, 3, temperature=2.0, alpha=0.7),
    objectives.taught("tiny, temperature below 1", 3, 4, temperature=0.5, alpha=0.3),
]


def identify(case: Case) -> str:
    """What a case is called in the name of a test."""
    return f"{case.operation.name}-{case.name}"


def derivatives(case: Case) -> dict[str, list]:
    """Vector-Jacobian products by the second witness, the teacher's among them."""
    named = {name: value.tolist() for name, value in case.differentiable().items()}

    def call(*values: object) -> object:
        given = dict(zip(named, values, strict=True))
        plain = [value.tolist() for value in case.tensors]
        arguments = [given.get(name, value) for name, value in zip(case.operation.tensors, plain, strict=True)]
        options = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in case.options.items()}
        return getattr(witness_objectives, case.operation.name)(*arguments, **options)

    found = witness.vector_jacobian_product(call, list(named.values()), cotangent(case).tolist())
    return dict(zip(named, found, strict=True))


def worst(actual: Tensor, exact: list, allowed: Tensor) -> float:
    """The largest error in budgets."""
    triples = zip(actual.flatten().tolist(), witness.numbers(exact), allowed.flatten().tolist(), strict=True)
    return max(float(abs(got - right) / mp.mpf(budgeted)) for got, right, budgeted in triples)


@pytest.mark.parametrize("case", [case.in_dtype("float64") for case in TINY], ids=identify)
def test_derivatives(case):
    """In float64 the gradients equal the witness's, the teacher's where it is declared to have one."""
    chosen: tuple[Variant, ...] = tuple(
        variant for (id, _), variant in case.operation.choices.items() if id.endswith("teacher-gradients")
    )
    gradients, allowed, exact = differentiate(case, chosen), gradient_budgets(case, chosen), derivatives(case)
    assert max(worst(gradients[name], exact[name], allowed[name]) for name in gradients) <= RIGHT


@pytest.mark.parametrize(
    "case", [case.in_dtype("float64") for case in TINY if "teacher_logits" in case.operation.tensors]
)
def test_a_teacher_is_a_constant(case):
    """Unless declared otherwise the gradient by the teacher's logits is exactly zero."""
    gradients = differentiate(case, ())
    assert gradients["teacher_logits"].abs().max() == 0
    assert gradients["student_logits"].abs().max() > 0.01


# --- torch's own losses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [*objectives.generic, *objectives.ignoring, *objectives.ignore_ids, *objectives.smoothed]
)
def test_torch_cross_entropy(case):
    """torch.nn.functional.cross_entropy, given the same options, gives the same."""
    logits, labels = case.tensors
    ignore_id, smoothing = case.options.get("ignore_id", -100), case.options.get("label_smoothing", 0.0)
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=ignore_id, label_smoothing=smoothing
    )
    wide = case.in_dtype("float64")
    assert abs(loss - oracle(wide)) <= budget(wide)


@pytest.mark.parametrize("case", [case for case in objectives.distilled if case.tensors[0].dim() == 2])
def test_torch_kl_div(case):
    """torch.nn.functional.kl_div with batchmean, of log-probabilities of the student and probabilities of the teacher."""
    student, teacher, labels = case.tensors
    temperature, alpha = case.options["temperature"], case.options["alpha"]
    functional = torch.nn.functional
    soft = functional.kl_div(
        functional.log_softmax(student / temperature, -1),
        functional.softmax(teacher / temperature, -1),
        reduction="batchmean",
    )
    loss = alpha * temperature**2 * soft + (1 - alpha) * functional.cross_entropy(student, labels)
    wide = case.in_dtype("float64")
    assert abs(loss - oracle(wide)) <= budget(wide)


# --- By hand ----------------------------------------------------------------------------------------------------------


def plain(*rows: list[float]) -> Tensor:
    """A matrix in float64."""
    return torch.tensor(rows, dtype=torch.float64)


def test_cross_entropy_by_hand():
    """Odds of 3 to 1: -ln(3/4) and -ln(1/4), whose mean is ln 4 - ln(3) / 2."""
    logits = plain([math.log(3), 0], [math.log(3), 0])
    assert float(cross_entropy(logits, torch.tensor([0, 1]))) == pytest.approx(math.log(4) - math.log(3) / 2, abs=1e-15)


def test_label_smoothing_by_hand():
    """With e = 0.2 and two words the label has 0.9 and the other 0.1: 0.9 ln(4/3) + 0.1 ln 4."""
    loss = cross_entropy(plain([math.log(3), 0]), torch.tensor([0]), label_smoothing=0.2)
    assert float(loss) == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4), abs=1e-15)


def test_language_modelling_by_hand():
    """Of three tokens two are predicted, here with 3/4 and 1/4; the last row of logits has no say."""
    logits = plain([math.log(3), 0], [math.log(3), 0], [50, -50]).unsqueeze(0)
    loss = language_modelling_loss(logits, torch.tensor([[1, 0, 1]]))
    assert float(loss) == pytest.approx(math.log(4) - math.log(3) / 2, abs=1e-15)


def test_next_sentence_by_hand():
    """Logits of ln 3 and 0 say IsNext with 3/4."""
    loss = next_sentence_loss(plain([math.log(3), 0]), torch.tensor([True]))
    assert float(loss) == pytest.approx(math.log(4 / 3), abs=1e-15)


def test_distillation_by_hand():
    """At T = 2 logits 2 ln 3 and 0 have odds of 3 to 1; the student is even: KL = 3/4 ln(3/2) + 1/4 ln(1/2)."""
    student, teacher = plain([0, 0]), plain([2 * math.log(3), 0])
    loss = distillation_loss(student, teacher, torch.tensor([0]), temperature=2.0, alpha=0.75)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(loss) == pytest.approx(0.75 * 4 * divergence + 0.25 * math.log(2), abs=1e-15)


def test_figure_2():
    """Raffel et al., figure 2: Thank you <X> me to your party <Y> week. <X> for inviting <Y> last <Z>."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    table = {word: 10 + place for place, word in enumerate(words)} | {"<X>": 99, "<Y>": 98, "<Z>": 97, "</s>": 1}
    noise = torch.tensor([word in ("for", "inviting", "last") for word in words])
    rows = span_corruption(torch.tensor([table[word] for word in words]), noise, first_sentinel_id=99, eos_id=1)
    names = {id: word for word, id in table.items()} | {-1: ""}
    texts = [" ".join(names[id] for id in row).strip() for row in rows.tolist()]
    assert texts == ["Thank you <X> me to your party <Y> week . </s>", "<X> for inviting <Y> last <Z> </s>"]


# --- Draws ------------------------------------------------------------------------------------------------------------


def test_every_cut_is_as_likely():
    """Six tokens of noise in three spans can be cut in ten ways; over 4000 seeds each comes within six sigma of 400."""
    seen: Counter[tuple[int, ...]] = Counter()
    for seed in range(4000):
        mask = span_noise_mask(13, density=6 / 13, mean_span=2.0, seed=seed)
        seen[tuple(objectives.lengths_of_runs(mask)[0].tolist())] += 1
    assert len(seen) == 10
    assert max(abs(count - 400) for count in seen.values()) <= 6 * math.sqrt(400 * 0.9)


def test_tokens_are_chosen_as_often_over_seeds():
    """Each of eight positions, the special one aside, is chosen 300 times in 2000 seeds, within six sigma."""
    ids, special = torch.arange(10, 18).unsqueeze(0), torch.arange(8).unsqueeze(0) == 3
    chosen = torch.zeros(8)
    for seed in range(2000):
        chosen += mask_tokens_at_random(ids, special, mask_id=5, vocab_size=30, seed=seed)[1, 0] != -100
    assert chosen[3] == 0
    assert (chosen[~special[0]] - 300).abs().max() <= 6 * math.sqrt(300 * 0.85)
