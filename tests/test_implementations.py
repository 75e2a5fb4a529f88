"""Misbehaviour: whatever an implementation does instead of returning a right result has an outcome and a message."""

import threading
import time
import warnings
from collections import Counter
from typing import Any

import ml_dtypes  # noqa: F401 - numpy's bfloat16, which the dev extra brings
import numpy
import pytest
import torch
from support import ROOT, implementation, outcome_of, small_case

from transpec import requirements
from transpec.cases import Drawn
from transpec.implementations import CaseTimeout, Implementation, find, limited, load
from transpec.judging import judge
from transpec.reference.attention import scaled_dot_product_attention as right
from transpec.reference.normalization import rms_norm

EQUATION, GRADIENTS = "attention.equation", "normalization.gradients"


def attention(function: Any, **more: Any) -> Implementation:
    """An implementation that has attention alone."""
    return implementation(scaled_dot_product_attention=function, **more)


def case_of_attention(requirement: str = EQUATION, dtype: str = "float32") -> Any:
    """The smallest case of attention in a requirement that other operations share."""
    return small_case(requirement, "scaled_dot_product_attention", dtype)


def drawn(requirement: str = EQUATION) -> Any:
    """The drawn cases of attention."""
    cases = requirements.load()[requirement].cases
    return next(case for case in cases if isinstance(case, Drawn) and case.operation is right).in_dtype("float32")


def judged(function: Any, case: Any = None, **more: Any) -> Any:
    """What becomes of an attention on the smallest case of its equation."""
    return outcome_of(EQUATION, attention(function, **more), case_of_attention() if case is None else case)


def raising(error: BaseException) -> Any:
    """An attention that raises."""

    def attend(query, key, value, *, mask=None, scale=None):
        raise error

    return attend


def returning(change: Any) -> Any:
    """An attention that is right and then changed."""
    return lambda query, key, value, **options: change(right(query, key, value, **options))


class Own(BaseException):
    """An exception that nobody expects."""


class Speechless(Exception):
    """An exception whose message raises."""

    def __str__(self) -> str:
        """Raise."""
        raise ValueError


# --- Instead of a result ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "said"),
    [
        (ValueError("bad"), "errored", "ValueError: bad (test_implementations.py, line"),
        (KeyError("mask"), "errored", "KeyError: 'mask'"),
        (TypeError("of its own"), "errored", "TypeError: of its own (test_implementations.py, line"),
        (RecursionError("deep"), "errored", "RecursionError: deep"),
        (MemoryError(), "errored", "MemoryError"),
        (AssertionError("mine"), "errored", "AssertionError: mine"),
        (Own("x"), "errored", "Own: x"),
        (GeneratorExit(), "errored", "GeneratorExit"),
        (pytest.skip.Exception("no"), "errored", "Skipped: no"),
        (pytest.exit.Exception("no"), "errored", "Exit: no"),
        (Speechless(), "errored", "Speechless: no message, for that raises ValueError"),
        (ValueError("\ud800 \n\n x"), "errored", "ValueError: \\ud800 x"),
        (SystemExit(0), "crashed", "scaled_dot_product_attention tried to end the process: SystemExit(0)"),
        (NotImplementedError("no masks"), "unsupported", "no masks"),
        (NotImplementedError(), "unsupported", "NotImplementedError without a reason"),
    ],
)
def test_what_is_raised_has_an_outcome(error, outcome, said):
    """Whatever is raised, the outcome says which, and the message where."""
    found = judged(raising(error))
    assert (found.outcome, found.message[: len(said)]) == (outcome, said)


def test_a_message_is_short():
    """However long a message is, the report stays readable."""
    assert len(judged(raising(ValueError("x" * 10**6))).message) < 600


def test_ctrl_c_is_not_caught():
    """The user's Ctrl-C ends the run and is no outcome of the implementation."""
    with pytest.raises(KeyboardInterrupt):
        judged(raising(KeyboardInterrupt()))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_raises_can_be_seen(dtype):
    """An error shows the call that raised it and a snippet to repeat it."""
    found = judged(raising(ValueError("bad")), case_of_attention(dtype=dtype))
    assert "scaled_dot_product_attention(" in found.call
    assert "import torch" in found.snippet


# --- Wrong signatures ------------------------------------------------------------------------------------------------


def test_a_wrong_signature_is_told_with_the_contract():
    """A signature that does not fit is told beside that of the contract."""
    message = judged(lambda q, k: q).message
    assert message.startswith("TypeError: wrong signature: too many positional arguments; the contract is ")
    assert "scaled_dot_product_attention(query, key, value, *, mask=None, scale=None)" in message
    assert "yours is scaled_dot_product_attention(q, k)" in message


def test_a_missing_option_is_a_wrong_signature():
    """An option that the contract has and the function lacks is named."""
    found = outcome_of("masks.padding-equation", implementation(padding_mask=lambda token_ids: token_ids))
    assert "wrong signature: got an unexpected keyword argument 'pad_id'" in found.message
    assert "yours is padding_mask(token_ids)" in found.message


def test_a_type_error_inside_is_no_wrong_signature():
    """A TypeError from inside a function whose signature fits is told as it is, with its line."""
    found = judged(lambda query, key, value, *, mask=None, scale=None: None + query)
    assert "wrong signature" not in found.message
    assert "(test_implementations.py, line" in found.message


# --- Results that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: None, "returned a builtins.NoneType, should be a torch.Tensor"),
        (lambda x: x.numpy(), "returned a numpy.ndarray, should be a torch.Tensor"),
        (lambda x: x.tolist(), "returned a builtins.list"),
        (lambda x: (x, x), "returned a builtins.tuple"),
        (lambda x: x.to_sparse(), "returned a torch.Tensor that is nested or sparse"),
        (
            lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8),
            "returned a torch.Tensor that is quantized",
        ),
        (lambda x: x.to("meta"), "returned a Tensor that cannot be read (NotImplementedError: Cannot copy out of meta"),
        (lambda x: x[None], "output has the shape (1, "),
        (lambda x: x[..., :0], "0), should have ("),
        (lambda x: x.sum(), "output has the shape (), should have ("),
        (lambda x: x.double(), "output has the dtype float64, should have float32, that of the inputs"),
        (lambda x: x.half(), "output has the dtype float16, should have float32"),
        (lambda x: x.to(torch.int64), "output has the dtype int64"),
        (lambda x: x.to(torch.complex64), "output has the dtype complex64"),
        (lambda x: x > 0, "output has the dtype bool"),
        (lambda x: x * torch.nan, "= nan, should be "),
        (lambda x: x / 0, "= inf, should be "),
    ],
)
def test_a_result_of_another_kind_does_not_conform(change, said):
    """A result of the wrong type, shape, dtype or with NaN does not conform, and the message says what it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that it is going to drop quantized tensors
        found = judged(returning(change))
    assert found.outcome == "failed"
    assert said in found.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.astype(object), "returned a numpy.ndarray of dtype object, should be a numpy.ndarray"),
        (lambda x: x.astype(str), "returned a numpy.ndarray of dtype <U32"),
        (lambda x: x.astype(numpy.longdouble), "returned a numpy.ndarray of dtype"),
        (lambda x: torch.from_numpy(x), "returned a torch.Tensor, should be a numpy.ndarray"),
        (lambda x: float(x.sum()), "returned a builtins.float"),
    ],
)
def test_an_array_of_another_kind_does_not_conform(change, said):
    """Arrays that hold no numbers of the contract do not conform."""
    found = judged(in_numpy(change), FRAMEWORK="numpy")
    assert (found.outcome, said in found.message) == ("failed", True), found.message


def in_numpy(change: Any) -> Any:
    """An attention of numpy arrays that is right and then changed."""

    def attend(query, key, value, *, mask=None, scale=None):
        seen = None if mask is None else torch.from_numpy(numpy.array(mask))
        result = right(*(torch.from_numpy(numpy.array(x)) for x in (query, key, value)), mask=seen, scale=scale)
        return change(result.numpy())

    return attend


# --- Results that are right ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda x: numpy.ascontiguousarray(x[..., ::-1])[..., ::-1],
        lambda x: x.astype(x.dtype.newbyteorder(">")),
        lambda x: numpy.asfortranarray(x),
        lambda x: numpy.broadcast_to(x, x.shape),
        lambda x: x.view(numpy.matrix) if x.ndim == 2 else x,
        lambda x: numpy.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    ],
    ids=["negative strides", "big-endian", "by columns", "read-only", "subclass", "buffer"],
)
def test_any_array_with_the_right_numbers_conforms(change):
    """Strides, byte order, subclasses and read-only memory are no business of the contract."""
    assert judged(in_numpy(change), FRAMEWORK="numpy").outcome == "passed"


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.clone().requires_grad_(),
        lambda x: x.mT.contiguous().mT,
        lambda x: torch.nn.Parameter(x.detach()),
        lambda x: x.as_subclass(Plain),
    ],
    ids=["requires grad", "transposed", "parameter", "subclass"],
)
def test_any_tensor_with_the_right_numbers_conforms(change):
    """History, strides and subclasses are no business of the contract."""
    assert judged(returning(change)).outcome == "passed"


class Plain(torch.Tensor):
    """A tensor of another class."""


def test_bfloat16_in_numpy():
    """numpy's bfloat16 goes there and back without a loss."""
    made = implementation(FRAMEWORK="numpy", DTYPES=("bfloat16",), rms_norm=None)
    numbers = torch.tensor([1.0, -2.5, 3e38, torch.inf], dtype=torch.bfloat16)
    there = made.framework.to(numbers)
    assert there.dtype == made.framework.dtype("bfloat16")
    assert torch.equal(made.framework.back(there[::-1]), numbers.flip(0))


def test_a_scalar_of_numpy_is_an_array():
    """numpy gives scalars where there is no axis left; they count as arrays."""
    made = implementation(FRAMEWORK="numpy")
    assert made.framework.back(numpy.float32(2.5)) == torch.tensor(2.5)


@pytest.mark.parametrize(
    ("answer", "more", "said"),
    [
        (
            0.0,
            {"CHOICES": {"attention.empty-row": "nan"}},
            'this is the answer "zero" to attention.empty-row, CHOICES declares "nan"',
        ),
        (torch.nan, {}, 'this is the answer "nan" to attention.empty-row, without a CHOICE holds "zero"'),
    ],
)
def test_an_answer_that_was_not_declared_is_named(answer, more, said):
    """A result that another choice would allow is told by that choice, and is taken for no mistake."""

    def attend(query, key, value, *, mask=None, scale=None):
        result = right(query, key, value, mask=mask, scale=scale)
        return result if mask is None else torch.where(mask.any(-1, keepdim=True), result, answer)

    case = small_case("attention.empty-row", "scaled_dot_product_attention")
    outcome = outcome_of("attention.empty-row", attention(attend, **more), case)
    assert (outcome.outcome, outcome.diagnosis) == ("failed", [])
    assert said in outcome.message


JUDGED = [requirement for requirement in requirements.load().values() if requirement.cases and not requirement.run]


@pytest.mark.parametrize("requirement", JUDGED, ids=[requirement.id for requirement in JUDGED])
def test_nothing_for_a_result_fails_every_requirement(requirement):
    """An implementation that returns None fails each requirement, and is never taken for an error of the suite."""
    for operation in requirement.operations:
        first = next((c for c in requirement.cases if c.operation is operation and not isinstance(c, Drawn)), None)
        if first is not None:
            nothing = implementation(**{operation.name: lambda *_, **__: None}, DIFFERENTIABLE=True)
            outcome = judge(requirement, nothing, first.in_dtype(first.dtypes[0]), explain=False)
            assert outcome.outcome == "failed", outcome.message


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("kind", [float, numpy.float64, numpy.float32])
@pytest.mark.parametrize("requirement", ["metrics.accuracy-equation", "metrics.no-memory", "metrics.arrays-no-memory"])
def test_a_number_is_a_metric_of_counts(framework, kind, requirement):
    """Where an operation is told its dtype and has no floating input, a number or a scalar stands for its array."""
    judged = implementation(
        FRAMEWORK=framework, accuracy=lambda found, there, *, dtype: kind((found == there).sum() / len(found))
    )
    case = small_case(requirement, "accuracy")
    assert outcome_of(requirement, judged, case).outcome == "passed"


@pytest.mark.parametrize("value", [True, "0.75", None, 10**400, 0.75j])
def test_what_is_no_number_is_no_metric(value):
    """Truth values, texts and what no float can hold do not stand for an array."""
    judged = implementation(FRAMEWORK="numpy", accuracy=lambda found, there, *, dtype: value)
    case = small_case("metrics.dtype-and-shape", "accuracy")
    assert outcome_of("metrics.dtype-and-shape", judged, case).outcome == "failed"


def test_an_array_of_another_dtype_is_no_metric():
    """An array has to have the dtype that was asked for, also one without axes."""
    wide = numpy.array(0.75)
    judged = implementation(FRAMEWORK="numpy", accuracy=lambda found, there, *, dtype: wide)
    assert (
        outcome_of("metrics.dtype-and-shape", judged, small_case("metrics.dtype-and-shape", "accuracy")).outcome
        == "failed"
    )


@pytest.mark.parametrize("operation", ["pearson", "bits_per_byte"])
def test_a_number_is_no_metric_of_numbers(operation):
    """What has floating inputs has their dtype, and a plain float has none."""
    judged = implementation(FRAMEWORK="numpy", **{operation: lambda *given: 0.5})
    assert (
        outcome_of("metrics.dtype-and-shape", judged, small_case("metrics.dtype-and-shape", operation)).outcome
        == "failed"
    )


@pytest.mark.parametrize("framework", ["torch", "numpy"])
def test_a_result_is_kept_apart(framework):
    """A result that the next call writes over is kept as it was."""
    buffer = torch.zeros(1) if framework == "torch" else numpy.zeros(1, numpy.float32)
    made = implementation(FRAMEWORK=framework)
    kept = made.framework.back(buffer)
    buffer += 1
    assert float(kept) == 0.0


# --- What lasts longer than a call -----------------------------------------------------------------------------------


def test_inputs_are_copies():
    """An implementation that spoils its inputs fails that requirement and spoils no later call."""

    def attend(query, key, value, **options):
        result = right(query, key, value, **options)
        query.fill_(torch.nan)
        return result

    case = case_of_attention("attention.inputs-untouched")
    made, kept = attention(attend), case.tensors[0].clone()
    found = outcome_of("attention.inputs-untouched", made, case)
    assert "query[" in found.message
    assert torch.equal(case.tensors[0], kept)
    assert judged(attend).outcome == "passed"


def test_warnings_are_recorded():
    """Warnings are noted once, never raised, and forgotten with the next case."""

    def attend(query, key, value, **options):
        warnings.warn("slow path", stacklevel=1)
        return right(query, key, value, **options)

    made = attention(attend)
    assert outcome_of(EQUATION, made, case_of_attention()).warnings == ["UserWarning: slow path"]
    made.target.scaled_dot_product_attention = right
    assert outcome_of(EQUATION, made, case_of_attention()).warnings == []


def test_settings_that_a_call_leaves_behind():
    """What a call sets for the process binds later calls of the same implementation alone."""
    seen = []

    def attend(query, key, value, **options):
        seen.append(torch.get_default_dtype())
        torch.set_default_dtype(torch.float64)
        return right(query, key, value, **options)

    made = attention(attend)
    outcome_of(EQUATION, made, case_of_attention())
    outcome_of(EQUATION, made, case_of_attention())
    assert (seen, torch.get_default_dtype()) == ([torch.float32, torch.float64], torch.float32)


def test_evidence_is_looked_for_only_where_it_counts():
    """A passed equation says whether the case could have seen a mistake, a failed one says nothing."""
    assert judged(right).evidence is True
    assert judged(returning(lambda x: -x)).evidence is None


# --- Calls that do not end -------------------------------------------------------------------------------------------


def endless(query, key, value, *, mask=None, scale=None):
    """An attention that never returns."""
    while True:
        pass


def asleep(query, key, value, *, mask=None, scale=None):
    """An attention that sleeps."""
    time.sleep(1000)


def stubborn(query, key, value, *, mask=None, scale=None):
    """An attention that catches what would end it, three times."""
    for _ in range(3):
        try:
            time.sleep(1000)
        except BaseException:
            continue
    time.sleep(1000)


def deadlocked(query, key, value, *, mask=None, scale=None):
    """An attention that waits for a lock that it holds."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@pytest.mark.parametrize("attend", [endless, asleep, stubborn, deadlocked])
def test_a_call_that_does_not_end_is_ended(attend):
    """A call that does not end in time is ended and told."""
    made = attention(attend)
    made.case_timeout = 0.1
    begun = time.perf_counter()
    found = outcome_of(EQUATION, made, case_of_attention())
    assert (found.outcome, found.message) == ("timed out", "scaled_dot_product_attention did not return within 0.1 s")
    assert time.perf_counter() - begun < 5


def test_drawn_cases_that_do_not_end_cost_one_timeout():
    """Where one drawn case does not end, others are not tried for a smaller one."""
    made = attention(asleep)
    made.case_timeout, begun = 0.3, time.perf_counter()
    found = outcome_of(EQUATION, made, drawn())
    assert found.outcome == "timed out"
    assert found.case.startswith("drawn")
    assert "scaled_dot_product_attention(" in found.call
    assert time.perf_counter() - begun < 5


def test_no_alarm_outlives_its_call():
    """However often calls are ended, no alarm rings in what comes after them."""

    def swallow() -> None:
        try:
            time.sleep(1000)
        except CaseTimeout:
            time.sleep(0.05)

    for _ in range(20):
        limited(0.005, swallow)
    begun = time.perf_counter()
    time.sleep(0.3)
    assert time.perf_counter() - begun >= 0.3


def test_a_limit_of_none():
    """A limit of 0 is no limit, and what a call returns is passed on."""
    assert limited(0, lambda: 3) == 3


def test_outside_the_main_thread_there_is_no_alarm():
    """Where no alarm can be set the call is made without."""
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(limited(1, lambda: 3)))
    thread.start()
    thread.join()
    assert results == [3]


# --- Drawn cases -----------------------------------------------------------------------------------------------------


def test_a_failure_that_does_not_repeat_itself():
    """What fails once and then no more is a failure, not an error of the suite."""
    failed = []

    def attend(query, key, value, **options):
        failed.append(len(failed) == 2)
        return right(query, key, value, **options) + 100.0 * failed[-1]

    found = outcome_of(EQUATION, attention(attend), drawn())
    assert (found.outcome, found.case[:5]) == ("failed", "drawn")
    assert found.call


def test_an_error_in_a_drawn_case_shows_the_case():
    """An error in a drawn case names the case and shows its call."""
    found = outcome_of(EQUATION, attention(raising(ValueError("bad"))), drawn())
    assert (found.outcome, found.case[:5]) == ("errored", "drawn")
    assert "scaled_dot_product_attention(" in found.call


def test_drawn_cases_that_are_unsupported_are_told():
    """One unsupported case among drawn ones is noted; where all are, the test is unsupported."""
    calls = []

    def attend(query, key, value, **options):
        calls.append(1)
        if len(calls) == 2:
            raise NotImplementedError("not twice")
        return right(query, key, value, **options)

    assert outcome_of(EQUATION, attention(attend), drawn()).warnings == ["unsupported: not twice"]
    assert outcome_of(EQUATION, attention(raising(NotImplementedError("never"))), drawn()).outcome == "unsupported"


# --- Gradients -------------------------------------------------------------------------------------------------------


def gradient_outcome(vjp: Any) -> Any:
    """What becomes of gradients of RMSNorm that are brought along."""
    made = implementation(DIFFERENTIABLE=True, rms_norm=rms_norm, rms_norm_vjp=vjp)
    return outcome_of(GRADIENTS, made, small_case(GRADIENTS, "rms_norm", "float64"))


@pytest.mark.parametrize(
    ("vjp", "said"),
    [
        (lambda x, w, c, *, eps: x, "rms_norm_vjp returned a Tensor, should return a tuple of 2 gradients"),
        (lambda x, w, c, *, eps: (x,), "rms_norm_vjp returned a tuple of 1, should return a tuple of 2"),
        (lambda x, w, c, *, eps: (x, x), "should end in a dict of the weights' gradients, ends in a Tensor"),
        (lambda x, w, c, *, eps: (x, {}), "returned no gradient for weights['gain']"),
        (lambda x, w, c, *, eps: (None, w), "the gradient of x is a builtins.NoneType, should be a torch.Tensor"),
        (lambda x, w, c, *, eps: (x[:0], w), "gradient of x has the shape (0"),
    ],
)
def test_gradients_of_another_form(vjp, said):
    """Gradients that are brought along in another form do not conform, and the message says which form it should be."""
    found = gradient_outcome(vjp)
    assert (found.outcome, said in found.message) == ("failed", True), found.message


def test_gradients_that_are_cut_off():
    """A result that autograd cannot follow back is an error that says so."""
    made = implementation(DIFFERENTIABLE=True, rms_norm=lambda x, w, *, eps: rms_norm(x, w, eps=eps).detach())
    found = outcome_of(GRADIENTS, made, small_case(GRADIENTS, "rms_norm", "float64"))
    assert "the result is not connected to the inputs" in found.message


# --- Errors of the suite ---------------------------------------------------------------------------------------------


def test_an_error_of_the_suite_is_no_verdict(monkeypatch):
    """Where the suite itself is at fault the outcome says so and blames no implementation."""
    monkeypatch.setattr("transpec.judging.has_evidence", lambda *_: 1 / 0)
    found = judged(right)
    assert (found.outcome, found.message) == ("suite error", "ZeroDivisionError: division by zero")


def test_a_failure_stays_one_where_its_cause_cannot_be_found(monkeypatch):
    """A failure is told also where looking for its cause goes wrong."""
    monkeypatch.setattr("transpec.judging.diagnose", lambda *_: 1 / 0)
    monkeypatch.setattr("transpec.judging._diagnosed", Counter())
    found = judged(returning(lambda x: -x))
    assert found.outcome == "failed"
    assert "(no diagnosis: ZeroDivisionError" in found.message


def test_what_did_not_load_claims_nothing():
    """An implementation that could not be loaded claims nothing and fails the requirement that says so."""
    made = load(find(str(ROOT / "pyproject.toml")))
    found = judge(requirements.load()["contract.loads"], made, None)
    assert (found.outcome, found.message[:15]) == ("errored", "does not load: ")
    assert not made.claims(right)


# --- Declarations by operation -----------------------------------------------------------------------------------------


def test_gradients_may_be_declared_by_operation():
    """An implementation that names the operations it differentiates is held to the gradients of these alone."""
    made = attention(right, DIFFERENTIABLE=("rms_norm",))
    assert [made.differentiates(each) for each in (right, rms_norm)] == [False, True]


def test_the_dtype_of_computation_may_be_declared_by_operation():
    """A dtype of computation that is declared for one operation widens the budgets of this one alone."""
    made = attention(right, COMPUTE_DTYPE={"rms_norm": "float32"})
    assert [made.computes_in(each) for each in (right, rms_norm)] == [None, "float32"]


@pytest.mark.parametrize("declared", [{"DIFFERENTIABLE": ("rms_nrom",)}, {"COMPUTE_DTYPE": {"rms_nrom": "float32"}}])
def test_declarations_name_operations(declared):
    """What is declared for an operation that does not exist is an error that names it."""
    with pytest.raises(ValueError, match="'rms_nrom', which is no operation"):
        attention(right, **declared)


@pytest.mark.parametrize(
    "requirement", ["attention.convex-hull", "attention.causality", "attention.everything-visible"]
)
def test_nan_is_no_property(requirement):
    """Two results that are NaN are not equal, and NaN lies in no range."""
    made = attention(returning(lambda output: output * float("nan")))
    assert outcome_of(requirement, made, case_of_attention(requirement)).outcome == "failed"
