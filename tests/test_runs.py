"""Runs: the implementation inside torch's graph, scores and bands that can fail, and what the report draws of them."""

import importlib.util
import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from support import implementation
from test_report import EMPTY, HOSTILE, requirement
from torch import Tensor

from transpec import charts, requirements
from transpec import report as reports
from transpec.cases import Case, integers, normal
from transpec.implementations import Implementation, Unsupported, find, load
from transpec.judgement import NonConformance
from transpec.judging import judge
from transpec.operations import Variant
from transpec.reference.feed_forward import feed_forward
from transpec.reference.gpt import GptConfig, gpt
from transpec.runs import Curve, Image, Score, assert_beats, assert_follows, forward, plot
from transpec.spec_tests.runs import messages, sentiment, translation
from transpec.spec_tests.runs.kernels import KERNELS

CONFIG = GptConfig(vocab_size=11, d_model=6, d_ff=10, num_heads=2, num_layers=1, max_positions=5)
M, F = CONFIG.d_model, CONFIG.d_ff


def gpt_weights() -> dict[str, Tensor]:
    """Weights of one layer, leaves that want gradients."""
    shapes = {"embeddings.token": (11, M), "embeddings.position": (5, M)}
    shapes |= {f"layers.0.self_attention.w_{name}": (M, M) for name in "qkvo"}
    shapes |= {"layers.0.feed_forward.w_1": (M, F), "layers.0.feed_forward.b_1": (F,)}
    shapes |= {"layers.0.feed_forward.w_2": (F, M), "layers.0.feed_forward.b_2": (M,)}
    norms = ("final_norm", "layers.0.self_attention_norm", "layers.0.feed_forward_norm")
    shapes |= {f"{norm}.{part}": (M,) for norm in norms for part in ("gain", "bias")}
    return {name: normal(name, *shape).float().requires_grad_() for name, shape in shapes.items()}


def gradients_through(judged: Implementation) -> dict[str, Tensor]:
    """Of a loss on an implementation's logits, by weight."""
    weights = gpt_weights()
    logits = forward(judged, gpt)(integers("ids", 11, 2, 4), weights, CONFIG)
    logits.square().mean().backward()
    return {name: weight.grad for name, weight in weights.items() if weight.grad is not None}


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.operation.name)
def test_the_kernels_that_the_reference_trains_with_are_its_formulas(kernel: Variant) -> None:
    """A kernel meets every equation and gradient of the operation that it stands for; it need not refuse what is wrong."""
    operation = kernel.operation
    made = implementation(**{operation.name: kernel.function}, DTYPES=("float64", "float32"), DIFFERENTIABLE=True)
    stated = [each for each in requirements.load().values() if each.id.endswith(("equation", "gradients"))]
    outcomes = [
        judge(each, made, case.in_dtype(dtype), explain=False)
        for each in stated
        for case in each.cases
        for dtype in case.dtypes
        if each.applies_to(made, case, dtype)
    ]
    assert [f"{each.requirement} {each.case}: {each.message}" for each in outcomes if each.outcome != "passed"] == []
    assert {each.requirement.rpartition("gradients")[1] for each in outcomes} == {"", "gradients"}


def test_numpys_own_gradients_reach_the_weights_as_autograd_does() -> None:
    """A loss on the logits of another framework has the gradients that it has on the reference's."""
    expected = gradients_through(load(find("reference")))
    found = gradients_through(load(find("numpy_plain")))
    assert found.keys() == expected.keys() == gpt_weights().keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_inputs_have_gradients_too() -> None:
    """What a layer is given is differentiated like its weights."""
    x = normal("x", 3, 4).requires_grad_()
    weights = {"w_1": normal("w", 4, 5), "b_1": normal("b", 5), "w_2": normal("v", 5, 4), "b_2": normal("c", 4)}
    (found,) = torch.autograd.grad(forward(load(find("numpy_plain")), feed_forward)(x, weights).sum(), x)
    (expected,) = torch.autograd.grad(feed_forward(x, weights).sum(), x)
    torch.testing.assert_close(found, expected)


def test_without_gradients_no_forward_pass_is_handed_out() -> None:
    """An implementation that declares no gradients is unsupported, and not trained with wrong ones."""
    with pytest.raises(Unsupported, match="DIFFERENTIABLE"):
        forward(implementation(gpt=lambda *_: None), gpt)


def case() -> Case:
    """Something to hang a failure on."""
    return Case(feed_forward, "made", (normal("x", 1, 1),), {"w_1": normal("w", 1, 1), "w_2": normal("v", 1, 1)})


@pytest.mark.parametrize(
    ("value", "higher", "beats"),
    [(3.0, False, True), (3.4, False, False), (3.5, False, False), (math.nan, False, False), (3.7, True, True)],
)
def test_a_score_has_to_beat_its_baseline_by_the_margin(value: float, higher: bool, beats: bool) -> None:
    """On the better side by more than the margin; NaN beats nothing; the score is recorded either way."""
    judged = implementation()
    score = Score("bits per byte", value, "bigram", 3.46, "bits/byte", higher)
    if beats:
        assert_beats(judged, case(), score, margin=0.1)
    else:
        with pytest.raises(NonConformance, match=r"should be below 3\.46"):
            assert_beats(judged, case(), score, margin=0.1)
    assert [recorded["name"] for recorded in judged.scores] == ["bits per byte"]


def test_a_curve_has_to_stay_in_its_band() -> None:
    """The first step outside the band is named; NaN is outside."""
    assert_follows(implementation(), case(), [3.0, 2.0], [3.0, 2.1], 0.2)
    for wrong in (2.4, math.nan):
        with pytest.raises(NonConformance, match="loss at step 1"):
            assert_follows(implementation(), case(), [3.0, wrong], [3.0, 2.1], 0.2)


def drawn() -> list[dict[str, Any]]:
    """One plot of each kind, with a name that tries to be markup."""
    judged = implementation()
    series = {HOSTILE: ([1, 10, 100], [1, 1e-3, 0.0]), "other": ([1, 10, 100], [2.0, math.nan, 1.0])}
    for log in (False, True):
        plot(judged, Curve(HOSTILE, "steps", "loss", series, log_x=log, log_y=log))
    plot(judged, Image("head 0", [[1.0, 0.0], [0.25, 0.75]], ["the", HOSTILE], ["the", "cat"]))
    plot(judged, Image("nothing", []))
    plot(judged, Curve("constant", "x", "y", {"one": ([1.0], [2.0])}))
    return judged.plots


def test_the_table_of_runs_is_no_wider_than_others() -> None:
    """Long names and large numbers are broken to fit 100 columns."""
    score = {"name": "a name of many words " * 6, "value": 123456.7, "baseline": 1.0, "unit": "operations", "note": ""}
    score |= {"higher_is_better": True, "baseline_name": "what a model says that knows nothing at all"}
    run = {"requirement": "claims.cost-against-length", "case": "", "outcome": "passed", "seconds": 1.0, "plots": []}
    drawn = reports._scores(reports.Column({"results": [], "runs": [run | {"scores": [score]}]}, "mine", 0), 100)
    assert max(map(len, drawn.splitlines())) <= 100


@pytest.mark.parametrize("index", range(5))
def test_a_plot_is_well_formed_svg(index: int) -> None:
    """Whatever the names and numbers are, the drawing parses, and every point is a number."""
    found = ElementTree.fromstring(str(charts.svg(drawn()[index])))
    lines = [line.get("points") or "" for line in found.iter() if line.tag.endswith("polyline")]
    assert all(math.isfinite(float(n)) for line in lines for pair in line.split() for n in pair.split(","))
    assert len(lines) == (2 if index < 2 else 1 if index == 4 else 0)


def test_runs_are_in_every_form_of_the_report() -> None:
    """Score, baseline and its name stand in the table, in Markdown and on the page, which has the plots as well."""
    score = {"name": "accuracy", "value": 0.875, "baseline_name": "majority", "baseline": 0.5, "unit": ""}
    score |= {"higher_is_better": True, "note": "three seeds"}
    plots = [one for one in drawn() if one["title"] != HOSTILE]
    run = {"requirement": "attention.r0", "case": "made", "outcome": "passed", "seconds": 2.0}
    one = {
        "name": "mine", "source": "mine.py", "version": None, "homepage": None, "framework": "numpy", "choices": {},
        "dtypes": ["float32"], "compute_dtype": None, "differentiable": True, "claimed": ["attention"], "unclaimed": [],
        "load_error": None, "verdict": "conforms", "verdict_reasons": [], "evidence": {}, "causes": [], "results": [],
        "runs": [run | {"scores": [score], "plots": plots}],
    }  # fmt: skip
    report = EMPTY | {"requirements": [requirement(0, catches=[])], "implementations": [one]}
    reports.validate(report)
    for text in (reports.table(report), reports.markdown(report), reports.html(report)):
        assert all(word in text for word in ("accuracy", "0.875", "majority", "0.5"))
    assert reports.html(report).count("<svg") >= len(plots)


# --- Data of the long forms -------------------------------------------------------------------------------------------


def bare(sentence: str) -> str:
    """A sentence without what does not make it another: case and punctuation."""
    return re.sub(r"[^\w]+", " ", sentence.lower()).strip()


def test_held_out_messages_are_nowhere_in_what_is_read() -> None:
    """Neither the English nor the German of a pair that is scored, or that the recipe was chosen by, is trained on."""
    parts = messages.corpus()
    read, other = ({bare(one) for pair in pairs for one in pair} for pairs in (parts.train, parts.development))
    scored = {bare(one) for pair in parts.held_out for one in pair}
    assert (len(parts.held_out), len(scored)) == (messages.HELD_OUT, 2 * messages.HELD_OUT)
    assert not scored & read
    assert not scored & other
    assert not other & read


def test_every_message_is_read_once_before_any_is_read_again() -> None:
    """As many batches as hold all pairs hold each of them once, each English with its own German."""
    count = -(-len(messages.corpus().train) // messages.BATCH)
    rows = [row for batch in messages.batches(count) for row in zip(*(part.tolist() for part in batch), strict=True)]
    read = {tuple(tuple(token for token in row if token) for row in pair) for pair in rows}
    by = messages.pieces()
    before, end = tuple(translation.encoded(messages.PREFIX, by)), (translation.END,)
    given = [[tuple(translation.encoded(text, by)) + end for text in pair] for pair in messages.corpus().train]
    assert len(rows) == len(given)
    assert read == {(before + english, german) for english, german in given}


def test_held_out_reviews_are_nowhere_in_what_is_read() -> None:
    """No review that is scored is trained on, and as many good as bad ones are scored."""
    parts = sentiment.corpus()
    read, other, scored = ({bare(one) for one, _ in part} for part in (parts.train, parts.development, parts.held_out))
    assert not scored & read
    assert not scored & other
    assert not other & read
    assert [sum(label for _, label in part) for part in (parts.development, parts.held_out)] == [150, 150]


def test_without_the_published_weights_the_run_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed the run says which one it needs."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match='the extra "minilm"'):
        sentiment.minilm.__wrapped__()
