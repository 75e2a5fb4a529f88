"""The arithmetic of random roundings and the budgets that are made of it."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from transpec import judgement, rounding
from transpec.cases import DTYPE, EVERY_DTYPE, Case, normal
from transpec.judgement import budget, gradient_budgets, oracle, oracle_gradients
from transpec.operations import OPERATIONS, Operation, uses
from transpec.reference.attention import attention_weights, scaled_dot_product_attention
from transpec.reference.embedding import token_embedding
from transpec.reference.feed_forward import feed_forward
from transpec.reference.masks import look_ahead_mask
from transpec.reference.normalization import layer_norm, rms_norm
from transpec.reference.positions import sinusoidal_positional_encoding
from transpec.requirements import load
from transpec.rounding import PRECISIONS, SuiteError
from transpec.spec_tests.cases.attention import attention, drawn_numbers, multi_head, weights_of

SINGLE = PRECISIONS["float32"]
U = SINGLE.roundoff


def perturbed(function, precision=SINGLE, seed=0) -> Tensor:
    """The result of `function` under random roundings."""
    with rounding.perturbed(precision, seed):
        return function()


def unit(function, of: Tensor, samples: int = 1) -> Tensor:
    """How far random roundings move the result of `function` at most, in roundoffs of `of`."""
    moved = torch.stack([(perturbed(function, seed=seed) - function()).abs() for seed in range(samples)])
    return moved.amax(0) / (U * of)


def designed() -> list[Case]:
    """The designed cases of all requirements with something floating, where the reference gives a result."""
    found = {}
    for requirement in load().values():
        for case in requirement.cases:
            if isinstance(case, Case) and case.is_floating and not is_refused(case):
                found.setdefault((case.operation.name, case.name), case)
    return list(found.values())


def is_refused(case: Case) -> bool:
    """Whether the reference raises for a case."""
    try:
        oracle(case.in_dtype("float64"))
    except (ValueError, RuntimeError, IndexError):
        return True
    return False


def identify(case: Case) -> str:
    """What a case is called in the name of a test."""
    return f"{case.operation.name}-{case.name}"


CASES = designed()
X, Y = normal("x", 60, 50), normal("y", 50, 70)
POSITIVE = X.abs() + 0.1
ROWS = normal("rows", 5, 7)
AFFINE = {"gain": normal("gain", 7), "bias": normal("bias", 7)}
NETWORK = {"w_1": normal("w_1", 7, 9), "b_1": normal("b_1", 9), "w_2": normal("w_2", 9, 7), "b_2": normal("b_2", 7)}
TYPICAL = [
    attention("typical", *drawn_numbers("typical")),
    attention("typical, masked", *drawn_numbers("typical masked"), mask=torch.ones(5, 7).tril().bool()),
    *weights_of([attention("typical", *drawn_numbers("typical weights"))]),
    multi_head("typical heads"),
    Case(layer_norm, "typical", (ROWS,), AFFINE, {"eps": 1e-5}),
    Case(rms_norm, "typical", (ROWS,), {"gain": AFFINE["gain"]}, {"eps": 1e-5}),
    Case(feed_forward, "typical", (ROWS,), NETWORK),
    Case(feed_forward, "typical, gelu", (ROWS,), NETWORK, {"activation": "gelu"}),
]
WITH_GENERATORS = [
    Case(token_embedding, "typical", (torch.tensor([[1, 0, 1, 2], [2, 2, 1, 1]]),), {"table": normal("table", 3, 6)}),
    Case(sinusoidal_positional_encoding, "typical", (5, 6), None, {"dtype": DTYPE}),
]

# --- The closed table -------------------------------------------------------------------------------------------------


class Names(TorchDispatchMode):
    """Collects the names of torch's operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note the name, call the operator."""
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def variants_of(operation: Operation) -> list[tuple]:
    """Nothing, and each choice and equal formulation of the operations that this one uses, each alone."""
    used = [other for other in OPERATIONS.values() if uses(operation, other)]
    return [(), *((v,) for other in used for v in (*other.choices.values(), *other.formulations))]


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=str)
def test_the_reference_keeps_to_the_table(operation):
    """All that the reference, its choices and its formulations call, forward and backward, has a rule."""
    given = [case.in_dtype("float32") for case in CASES if case.operation is operation]
    # Ids, masks and spans are compared exactly: nothing on the way to them is ever perturbed.
    cases = [case for case in given[:40] if judgement.oracle(case).is_floating_point()]
    with Names() as names:
        for case in cases:
            for variants in variants_of(operation):
                judgement.evaluate(case, variants)
                judgement.differentiate(case, variants)
    assert names.seen <= set(rounding._lookup())
    assert names.seen or not cases


@pytest.mark.parametrize("case", [*TYPICAL, *WITH_GENERATORS], ids=identify)
def test_samples_keep_to_the_table(case):
    """Output and gradients of every kind of operation are budgeted without an operator that has no rule."""
    allowed = [budget(case.in_dtype("float32")), *gradient_budgets(case.in_dtype("float32")).values()]
    assert min(float(value.min()) for value in allowed) > 0


FUSED = {
    "_softmax": lambda x: torch.softmax(x, -1),
    "_log_softmax": lambda x: torch.log_softmax(x, -1),
    "logsumexp": lambda x: torch.logsumexp(x, -1),
    "native_layer_norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "addmm": lambda x: torch.addmm(x[0, : len(x)], x, x.T),
    "var": lambda x: x.var(-1),
    "linalg_vector_norm": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "add_": lambda x: x.clone().add_(1),
    "cumprod": lambda x: x.cumprod(-1),
}


@pytest.mark.parametrize("name", FUSED)
def test_an_operator_outside_the_table(name):
    """What has no rule is an error of the suite that names it, and is never passed unperturbed."""
    with pytest.raises(SuiteError, match=f"'{name}'"):
        perturbed(lambda: FUSED[name](ROWS))


def test_an_operator_outside_the_table_in_a_budget():
    """So it is where a budget is made, among samples that are batched."""
    fused = Operation(lambda x: torch.softmax(x, -1), "nobody")
    fused.tensors = ("x",)
    with pytest.raises(SuiteError, match="'_softmax'"):
        budget(Case(fused, "fused", (ROWS,)).in_dtype("float32"))


def test_kinds_do_not_overlap():
    """No operator stands in the table twice."""
    kinds = (rounding.EXACT, rounding.ELEMENTWISE, rounding.TRANSCENDENTAL, rounding.SUMS)
    names = " ".join([*kinds, rounding.SCATTERS, rounding.CONTRACTIONS]).split()
    assert len(names) == len(set(names))


# --- Sizes of perturbations -------------------------------------------------------------------------------------------

ELEMENTWISE = {
    "add": lambda: X + 1.5,
    "sub": lambda: X - 1.5,
    "rsub": lambda: 1.5 - X,
    "mul": lambda: X * 1.5,
    "div": lambda: X / 1.5,
    "sqrt": lambda: POSITIVE.sqrt(),
    "reciprocal": lambda: X.reciprocal(),
}
TRANSCENDENTAL = {
    "exp": lambda: X.exp(),
    "exp2": lambda: X.exp2(),
    "log": lambda: POSITIVE.log(),
    "pow": lambda: POSITIVE**2.5,
    "rsqrt": lambda: POSITIVE.rsqrt(),
    "sin": lambda: X.sin(),
    "cos": lambda: X.cos(),
    "tanh": lambda: X.tanh(),
    "erf": lambda: X.erf(),
    "sigmoid": lambda: X.sigmoid(),
}
CONTRACTIONS = {
    "mm": (lambda x, y: x @ y, X, Y),
    "bmm": (lambda x, y: x @ y, normal("batched x", 4, 30, 50), normal("batched y", 4, 50, 20)),
    "mv": (lambda x, y: x @ y, normal("rows of mv", 900, 50), Y[:, 0]),
    "einsum": (lambda x, y: torch.einsum("ij,jk->ki", x, y).T, X, Y),
}
SUMS = {
    "sum": lambda x: x.sum(-1),
    "sum of the first axis": lambda x: x.sum(0),
    "sum of all": lambda x: x.sum().reshape(1),
    "mean": lambda x: x.mean(-1),
    "mean, axis kept": lambda x: x.mean(-1, keepdim=True),
}
EXACT = {
    "neg": lambda x: -x,
    "abs": lambda x: x.abs(),
    "relu": lambda x: x.relu(),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "floor": lambda x: x.floor(),
    "maximum": lambda x: torch.maximum(x, x.flip(0)),
    "amax": lambda x: x.amax(-1),
    "max": lambda x: x.max(-1).values,
    "where": lambda x: torch.where(x > 0, x, 2.0),
    "masked_fill": lambda x: x.masked_fill(x > 0, -math.inf),
    "transpose": lambda x: x.transpose(0, 1).contiguous(),
    "slice": lambda x: x[1:, ::2],
    "index": lambda x: x[torch.tensor([2, 0, 2])],
    "gather": lambda x: x.gather(0, torch.zeros(1, 7, dtype=torch.int64)),
    "cat": lambda x: torch.cat((x, x)),
    "stack and flatten": lambda x: torch.stack((x, x), -1).flatten(-2),
    "unflatten": lambda x: x[:, :6].unflatten(-1, (2, 3)),
    "expand": lambda x: x.expand(2, 5, 7),
    "tril": lambda x: x.tril(),
    "clone": lambda x: x.clone(),
    "sum of one term": lambda x: x[:, :1].sum(-1),
    "mean of one term": lambda x: x[:, :1].mean(-1),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name):
    """An elementary operation is off by up to one roundoff of its result."""
    moved = unit(ELEMENTWISE[name], ELEMENTWISE[name]().abs())
    assert 0.99 < float(moved.max()) <= 1 + 1e-6


@pytest.mark.parametrize("name", TRANSCENDENTAL)
def test_transcendental(name):
    """A transcendental function is off by up to four roundoffs of its result."""
    moved = unit(TRANSCENDENTAL[name], TRANSCENDENTAL[name]().abs())
    assert 3.96 < float(moved.max()) <= 4 + 1e-6


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_contraction(name):
    """A product of matrices over k terms is off by up to sqrt(k) roundoffs of the sum of the terms' magnitudes."""
    function, left, right = CONTRACTIONS[name]
    moved = unit(lambda: function(left, right), math.sqrt(50) * function(left.abs(), right.abs()))
    assert 0.99 < float(moved.max()) <= 1 + 1e-6


def test_dot():
    """A scalar product is off by up to sqrt(k) roundoffs of the sum of the terms' magnitudes, over many samples."""
    x, y = X[0], Y[:, 0]
    moved = unit(lambda: x @ y, math.sqrt(50) * (x.abs() @ y.abs()), samples=100)
    assert 0.9 < float(moved) <= 1 + 1e-6


@pytest.mark.parametrize("name", SUMS)
def test_sum(name):
    """A sum or mean over n terms is off by up to sqrt(n) roundoffs of the sum or mean of the magnitudes."""
    function, terms = SUMS[name], X.numel() / SUMS[name](X).numel()
    moved = unit(lambda: function(X), math.sqrt(terms) * function(X.abs()), samples=50)
    assert 0.9 < float(moved.max()) <= 1 + 1e-6


def test_running_sum():
    """A running sum is perturbed as the longest of its sums is."""
    moved = unit(lambda: X.cumsum(-1), math.sqrt(50) * X.abs().cumsum(-1))
    assert 0.99 < float(moved.max()) <= 1 + 1e-6


def test_scatter():
    """Rows that meet are perturbed, rows that nothing is added to stay zero."""
    place = (torch.tensor([0, 0, 3, 0, 3]),)
    moved = unit(lambda: torch.zeros(4, 7, dtype=torch.float64).index_put(place, ROWS, accumulate=True), torch.ones(()))
    assert (moved > 0).all(-1).tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", EXACT)
def test_exact(name):
    """What chooses, moves or compares numbers rounds nothing."""
    assert torch.equal(perturbed(lambda: EXACT[name](ROWS)), EXACT[name](ROWS))


@pytest.mark.parametrize("function", [lambda: ROWS > 0, lambda: torch.arange(5) + 2, lambda: torch.arange(5).sum()])
def test_integers_and_booleans(function):
    """Integers and booleans round nothing, whatever is computed with them."""
    assert torch.equal(perturbed(function), function())


def test_perturbations_go_both_ways():
    """Perturbations are uniform: half are upwards, and their mean square is a third of the largest."""
    moved = (perturbed(lambda: X * 1.5) - X * 1.5) / (U * (X * 1.5).abs())
    assert abs(float(moved.mean())) < 0.05
    assert float(moved.square().mean()) == pytest.approx(1 / 3, rel=0.05)


def test_perturbations_of_one_call_are_its_own():
    """The same operation on the same numbers is perturbed anew: errors add up as independent ones do."""
    moved = perturbed(lambda: X * 1.5 - X * 1.5) / (U * (X * 1.5).abs())
    assert float(moved.square().mean()) == pytest.approx(2 / 3, rel=0.05)


@pytest.mark.parametrize(("dtype", "own"), [("float64", 1.0), ("float32", 0.0), ("bfloat16", 0.0), ("float16", 0.0)])
def test_perturbations_are_of_the_dtype(dtype, own):
    """The roundoff is that of the dtype under test; in float64 the arithmetic itself rounds once more."""
    exact, precision = X * 1.5, PRECISIONS[dtype]
    size = precision.roundoff * exact.abs() + precision.tiny
    moved = (perturbed(lambda: X * 1.5, precision) - exact).abs() / size
    assert 0.99 < float(moved.max()) <= 1 + own + 1e-6


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1,
        lambda x: x * 2,
        lambda x: x / 3,
        lambda x: x.sum(-1, keepdim=True),
        lambda x: x.mean(-1, keepdim=True),
        lambda x: x.cumsum(-1),
        lambda x: x - 1,
    ],
)
def test_infinity_stays(function):
    """What is minus infinity stays so and never becomes NaN."""
    x = torch.tensor([[1.0, -math.inf, 2.0], [-math.inf, -math.inf, -math.inf]], dtype=torch.float64)
    result = perturbed(lambda: function(x))
    assert torch.equal(result == -math.inf, function(x) == -math.inf)
    assert not result.isnan().any()


def test_what_vanishes_stays_zero():
    """exp of minus infinity is zero in every sample: hidden weights have no noise."""
    assert torch.equal(
        perturbed(lambda: torch.exp(torch.full((9,), -math.inf, dtype=torch.float64))), torch.zeros(9).double()
    )


def test_underflow():
    """In float16 a result below the smallest number that is kept may be off by as much as that: it may become zero."""
    half = PRECISIONS["float16"]
    moved = perturbed(lambda: torch.full((500,), half.tiny, dtype=torch.float64) * 1e-6, half) / half.tiny
    assert 0.9 < float(moved.abs().max()) < 1.1


@pytest.mark.parametrize("dtype", EVERY_DTYPE[1:])
def test_underflow_in_a_sum_of_products(dtype):
    """So may a sum of products in every dtype: hardware that flushes loses all that is below the smallest normal."""
    small = torch.full((50, 50), math.sqrt(PRECISIONS[dtype].tiny) * 1e-3, dtype=torch.float64)
    moved = perturbed(lambda: small @ small, PRECISIONS[dtype]) / PRECISIONS[dtype].tiny
    assert 0.9 < float(moved.abs().max()) < 1.1


# --- Precisions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_precisions_are_those_of_torch(dtype):
    """Roundoff is half of eps; tiny is the smallest normal, in float16, which nobody flushes, the smallest number."""
    found = torch.finfo(getattr(torch, dtype))
    tiny = found.smallest_normal * found.eps if dtype == "float16" else found.smallest_normal
    assert PRECISIONS[dtype] == rounding.Precision(dtype, found.eps / 2, tiny, found.max)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("float32", None, "float32"),
        ("float64", "float32", "float32"),
        ("float32", "float64", "float32"),
        ("float32", "float16", "float16"),
        ("float16", "bfloat16", "bfloat16"),
        ("bfloat16", "float32", "bfloat16"),
    ],
)
def test_the_coarser_of_two(first, second, expected):
    """The precision of a budget is that of the dtype with the larger roundoff."""
    assert rounding.coarser(first, second) == PRECISIONS[expected]


# --- Angles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_angles_are_no_rounded_numbers(dtype):
    """Operations without floating input are perturbed by no more than float32's roundoff."""
    roundoff = min(PRECISIONS[dtype].roundoff, 2.0**-24)
    call = lambda: sinusoidal_positional_encoding(5, 6, dtype=torch.float64)
    moved = (perturbed(call, PRECISIONS[dtype]) - call()).abs() / roundoff
    assert 1 < float(moved.max()) < 100


def test_angles_inside_another_operation():
    """So they are inside an operation with floating input, whose own roundings have their full size."""
    half, table = PRECISIONS["bfloat16"], {"table": torch.zeros(2, 6, dtype=torch.float64)}
    call = lambda: token_embedding(torch.tensor([0, 1, 0]), table)
    moved = (perturbed(call, half) - call()).abs() / (half.roundoff * call().abs().clamp_min(1e-9))
    assert 0.5 < float(moved.max()) < 1.01


def test_the_roundoff_returns_after_angles():
    """After an operation without floating input the roundoff is the dtype's again, also where it raised."""
    half = PRECISIONS["bfloat16"]
    with rounding.perturbed(half, 0):
        with pytest.raises(RuntimeError, match="no dtype"):
            sinusoidal_positional_encoding(5, 6, dtype="no dtype")
        moved = X * 1.5
    assert float(((moved - X * 1.5).abs() / (X * 1.5).abs()).max()) > 0.9 * half.roundoff


def test_nothing_is_perturbed_after_the_context():
    """A context that has ended, by an exception too, perturbs nothing."""
    with pytest.raises(SuiteError), rounding.perturbed(SINGLE, 0):
        torch.softmax(X, -1)
    assert rounding._active is None
    assert torch.equal(X * 1.5, X * 1.5)


# --- Samples ----------------------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("gradients", [False, True], ids=["output", "gradients"])


def exact_of(case: Case, gradients: bool) -> dict[str, Tensor]:
    """Gradients by name, or the output under the name ""."""
    return oracle_gradients(case) if gradients else {"": oracle(case)}


def scatter_of(samples: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """The root mean square of the samples' deviations, by name."""
    return {name: float((samples[name] - exact[name]).square().mean().sqrt()) for name in exact}


@BOTH
@pytest.mark.parametrize("case", TYPICAL, ids=identify)
def test_samples_at_once_and_one_by_one(case, gradients):
    """Samples that vmap draws at once scatter as samples that a plain loop draws: within a factor of two, by far."""
    case, runs = case.in_dtype("float32"), []
    exact = exact_of(case, gradients)
    at_once = scatter_of(judgement._samples(case, (), SINGLE, 0, 24, gradients=gradients), exact)
    for seed in range(24):
        with rounding.perturbed(SINGLE, 100 + seed):
            runs.append(judgement.differentiate(case, ()) if gradients else {"": judgement.evaluate(case, ())})
    one_by_one = scatter_of({name: torch.stack([run[name] for run in runs]) for name in exact}, exact)
    assert at_once == {name: pytest.approx(value, rel=0.5) for name, value in one_by_one.items()}


@BOTH
@pytest.mark.parametrize("case", [*TYPICAL, *WITH_GENERATORS[:1]], ids=identify)
def test_samples_are_reproducible(case, gradients):
    """The same case has the same samples on every run, whatever torch's own generator is at."""
    case, found = case.in_dtype("float32"), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(judgement._samples(case, (), SINGLE, 0, 4, gradients=gradients))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("case", [TYPICAL[0], WITH_GENERATORS[0]], ids=identify)
def test_samples_leave_the_generator_alone(case):
    """Making a budget draws nothing from torch's own generator."""
    before = torch.get_rng_state()
    judgement._samples(case.in_dtype("float32"), (), SINGLE, 0, 4, gradients=True)
    assert torch.equal(torch.get_rng_state(), before)


@BOTH
@pytest.mark.parametrize("case", [*TYPICAL, *WITH_GENERATORS[:1]], ids=identify)
def test_samples_differ(case, gradients):
    """No two samples of a result, or of any gradient, are the same."""
    samples = judgement._samples(case.in_dtype("float32"), (), SINGLE, 0, 8, gradients=gradients)
    assert {name: len(values.unique(dim=0)) for name, values in samples.items()} == dict.fromkeys(samples, 8)


def test_other_seeds_give_other_samples():
    """Another seed gives other samples."""
    first, second = (
        judgement._samples(TYPICAL[0].in_dtype("float32"), (), SINGLE, s, 2, gradients=False) for s in (0, 1)
    )
    assert not torch.equal(first[""], second[""])


def test_roundings_of_the_way_back():
    """The gradient of a bias, a sum of cotangents that no rounding of the way forward reaches, has its own noise."""
    case = Case(feed_forward, "way back", (normal("way back", 6, 5, 7),), NETWORK).in_dtype("float32")
    samples = judgement._samples(case, (), SINGLE, 0, 16, gradients=True)["weights['b_2']"]
    magnitudes = judgement.cotangent(case).double().abs().sum((0, 1))
    moved = (samples - oracle_gradients(case)["weights['b_2']"]).abs().amax(0) / (U * math.sqrt(30) * magnitudes)
    assert 0.5 < float(moved.min()) <= float(moved.max()) <= 1 + 1e-6


def test_products_of_the_way_back():
    """The products of the backward pass are perturbed as those of the forward pass are."""
    x, y, cotangent = X.clone().requires_grad_(), Y.clone(), normal("cotangent", 60, 70)
    moved = unit(lambda: torch.autograd.grad(x @ y, x, cotangent)[0], math.sqrt(70) * (cotangent.abs() @ y.T.abs()))
    assert 0.99 < float(moved.max()) <= 1 + 1e-6


# --- Budgets ----------------------------------------------------------------------------------------------------------


def unregistered(function) -> Operation:
    """An operation of one tensor that stands in no catalogue."""
    made = Operation(lambda x: function(x), "nobody")
    made.tensors = ("x",)
    return made


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_budget_of_what_rounds_nothing(dtype):
    """Where nothing rounds, the budget is four roundings of the result and four times the smallest number."""
    case = Case(unregistered(lambda x: x.clone()), "copy", (ROWS,)).in_dtype(dtype)
    precision = PRECISIONS[dtype]
    expected = 4 * (precision.roundoff * oracle(case).abs() + precision.tiny)
    assert torch.equal(budget(case), expected)


def test_gradient_budget_of_what_rounds_nothing():
    """Where nothing rounds, the budget of a gradient is sixteen roundings of it."""
    case = Case(unregistered(lambda x: x.clone()), "copy", (ROWS,)).in_dtype("float32")
    expected = 16 * (U * judgement.cotangent(case).double().abs() + SINGLE.tiny)
    assert torch.equal(gradient_budgets(case)["x"], expected)


def test_budget_of_one_rounding():
    """One operation has a budget of three to eight roundings of its result or, where that is larger, its row's RMS."""
    case = Case(unregistered(lambda x: x * 1.5), "product", (normal("product", 50, 40),)).in_dtype("float32")
    size = oracle(case).abs()
    roundings = budget(case) / (U * torch.maximum(size, size.square().mean(-1, keepdim=True).sqrt()))
    assert 3 < float(roundings.min()) <= float(roundings.max()) < 8 + 1e-6


@pytest.mark.parametrize("case", [*TYPICAL, *WITH_GENERATORS], ids=identify)
def test_budgets_grow_with_the_roundoff(case):
    """The budgets of float32 are those of float64 times the ratio of the roundoffs, within a factor of two."""
    ratio = (budget(case.in_dtype("float32")) / budget(case.in_dtype("float64"))).median() / 2**29
    assert 0.5 < float(ratio) < 2


@pytest.mark.parametrize("case", [*TYPICAL, *WITH_GENERATORS[:1]], ids=identify)
def test_a_narrower_compute_dtype_widens_the_budget(case):
    """A float64 result computed in float32 has the budget of float32."""
    wide = case.in_dtype("float64")
    ratio = float((budget(wide, (), "float32") / budget(case.in_dtype("float32"))).median())
    assert ratio == pytest.approx(1, rel=1e-3)


def test_a_wider_compute_dtype_changes_nothing():
    """A float32 result computed in float64 keeps the budget of float32: results are rounded at least once."""
    case = TYPICAL[0].in_dtype("float32")
    assert torch.equal(budget(case, (), "float64"), budget(case))


def test_masks_have_no_budget():
    """What is boolean is compared exactly."""
    case = Case(look_ahead_mask, "mask", (4,)).in_dtype("exact")
    assert torch.equal(budget(case), torch.zeros(4, 4, dtype=torch.float64))


def test_hidden_weights_have_no_budget_of_their_own():
    """A weight that is zero in every sample may be off by what its row may be, and no NaN is near it."""
    mask = torch.ones(5, 7).tril().bool()
    case = weights_of([attention("hidden", *drawn_numbers("hidden"), mask=mask)])[0].in_dtype("float32")
    assert budget(case).isfinite().all()
    assert float(budget(case).max()) < 100 * U


def test_formulations_widen_the_budget():
    """Half of the samples take the equal formulation: s - log sum exp s is 0 for one key, and rounds twice at |s|."""
    query, key = torch.full((6, 1), 8.0, dtype=torch.float64), torch.full((1, 1), 125.0, dtype=torch.float64)
    case = Case(attention_weights, "one key, a score of 1000", (query, key), None, {"scale": 1.0}).in_dtype("float32")
    roundings = budget(case) / (4 * U)
    assert 200 < float(roundings.min()) <= float(roundings.max()) < 2100


def test_finite_everywhere_but_in_a_sample():
    """A sample that is NaN where the oracle is finite is an error of the suite."""
    case = Case(unregistered(lambda x: torch.sqrt(1 - x * x)), "edge", (torch.ones(9, dtype=torch.float64),))
    with pytest.raises(SuiteError, match="edge"):
        budget(case.in_dtype("float32"))


CHOSEN = [
    (requirement, value, variant)
    for operation in OPERATIONS.values()
    for (requirement, value), variant in operation.choices.items()
    if requirement in load()
]


@pytest.mark.parametrize(
    ("variant", "case"),
    [
        pytest.param(variant, case.in_dtype(dtype), id=f"{value}-{identify(case)}-{dtype}")
        for requirement, value, variant in CHOSEN
        for case in load()[requirement].cases
        if isinstance(case, Case) and case in CASES
        for dtype in case.dtypes
    ],
)
def test_choices_have_budgets(variant, case):
    """Every allowed choice has a finite, positive budget, also in rows where it gives NaN."""
    allowed = budget(case, (variant,))
    assert allowed.shape == oracle(case, (variant,)).shape
    assert bool((allowed.isfinite() & (allowed > 0)).all())


@pytest.mark.parametrize("value", ["mean", "nan"])
def test_choices_leave_other_rows_alone(value):
    """A row of NaN or of the mean has a budget of its own size, and leaves those of other rows as they are."""
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    case = attention("one empty row", *drawn_numbers("one empty row", (), D=9), mask=mask).in_dtype("float32")
    variant = attention_weights.choices["attention.empty-row", value]
    others = [0, 1, 3, 4]
    ratio = budget(case, (variant,))[others] / budget(case)[others]
    assert float(budget(case, (variant,))[2].max()) < 100 * U
    assert 0.2 < float(ratio.min()) <= float(ratio.max()) < 5


# --- The reserve ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "whole", "axes"),
    [
        ((3, 9), False, (-1,)),
        ((3, 4, 7), False, (-2, -1)),
        ((7,), False, (-1,)),
        ((4, 5, 9), True, (1, 2)),
        ((5, 9), True, (0, 1)),
        ((9,), True, (0,)),
    ],
)
def test_reserve(shape, whole, axes):
    """A spread is at least its RMS along the last axis, the last two where it is short, or over a gradient's item."""
    spread = normal("spread", *shape).abs()
    expected = torch.maximum(spread, spread.square().mean(axes, keepdim=True).sqrt().expand(shape))
    assert torch.allclose(rounding.reserve(spread, whole=whole), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1.0, 1e160])
def test_reserve_of_any_size(size):
    """Spreads whose squares would vanish or overflow have the RMS they should."""
    spread = torch.tensor([3.0, 4.0] * 5, dtype=torch.float64) * size
    expected = torch.tensor([math.sqrt(12.5), 4.0] * 5, dtype=torch.float64) * size
    assert torch.allclose(rounding.reserve(spread, whole=False), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_reserve_is_not_smeared(value):
    """What is not finite does not reach its neighbours."""
    spread = torch.tensor([value, *[1.0] * 9], dtype=torch.float64)
    assert rounding.reserve(spread, whole=False)[1:].tolist() == [1.0] * 9


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), ()])
def test_reserve_of_nothing(shape):
    """No numbers and a single number stay as they are."""
    spread = torch.ones(shape, dtype=torch.float64)
    assert torch.equal(rounding.reserve(spread, whole=False), spread)


# --- Headroom ---------------------------------------------------------------------------------------------------------


def test_largest_intermediate():
    """The peak is that of every step on the way, whatever the result is; infinity is none."""
    assert rounding.largest_intermediate(lambda: (torch.tensor([-3.0, math.inf]) * 1000 - 1) * 0.001) == 3001.0


def test_largest_intermediate_of_an_operation():
    """Scores count before they are scaled."""
    query = torch.full((1, 4), 10.0, dtype=torch.float64)
    assert rounding.largest_intermediate(lambda: scaled_dot_product_attention(query, query, query)) == 400.0


def narrowest(case: Case) -> str:
    """The dtype of a case whose largest number is the smallest."""
    return min(case.dtypes, key=lambda dtype: PRECISIONS[dtype].largest)


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_headroom(case):
    """No number on the way to an oracle's result is above a quarter of what any dtype of the case holds."""
    narrow = case.in_dtype(narrowest(case))
    if not judgement.oracle(narrow).is_floating_point() or (case.is_floating and not case.differentiable()):
        pytest.skip("exact, or made of counts, which nobody keeps in a narrow dtype")
    given = [
        v.double().abs().nan_to_num(0.0, 0.0) for v in narrow.flat() if isinstance(v, Tensor) and v.is_floating_point()
    ]
    largest = max([float(v.max()) for v in given if v.numel()], default=0.0)
    largest = max(largest, rounding.largest_intermediate(lambda: judgement.evaluate(narrow, ())))
    assert largest <= PRECISIONS[narrow.dtype].largest / 4


@pytest.mark.parametrize(
    "case",
    [c for r in load().values() if r.needs_gradients for c in r.cases if isinstance(c, Case) and c in CASES],
    ids=identify,
)
def test_headroom_on_the_way_back(case):
    """Nor is any on the way to its gradients."""
    narrow = case.in_dtype(narrowest(case))
    oracle_gradients(narrow)  # the cotangent is made on the way, and is no part of it
    largest = rounding.largest_intermediate(lambda: judgement.differentiate(narrow, ()))
    assert largest <= PRECISIONS[narrow.dtype].largest / 4
