"""The reference against the second witness: values, derivatives, and numbers from papers or by hand."""

import functools
import importlib
import importlib.util
import math
from collections.abc import Callable

import pytest
import torch
import witness
import witness_models
from torch import Tensor
from witness import mp

from transpec.cases import Case, booleans, normal
from transpec.judgement import budget, cotangent, differentiate, evaluate, gradient_budgets, oracle
from transpec.operations import OPERATIONS, uses
from transpec.profiles import PROFILES
from transpec.reference.attention import attention_weights, multi_head_attention, scaled_dot_product_attention
from transpec.reference.claims import convolution_stack, lstm, rnn
from transpec.reference.embedding import token_embedding
from transpec.reference.feed_forward import feed_forward
from transpec.reference.masks import combine_masks, look_ahead_mask, padding_mask
from transpec.reference.normalization import add_norm, layer_norm, rms_norm
from transpec.reference.positions import sinusoidal_positional_encoding
from transpec.requirements import load
from transpec.spec_tests.cases.attention import attention, drawn_numbers, multi_head, weights_of
from transpec.spec_tests.cases.claims import convolving, elman, gated

RANDOM = (
    "mask_tokens_at_random",
    "span_noise_mask",
    "sample",
)  # draw for themselves: no result of theirs is the right one
SMALL = 2000  # numbers in a call and its result; 50 digits are slow
OTHERWISE = ("decoding",)  # chapters whose witness is another program, in a test of its own
RIGHT = 0.5  # of a budget: what is right stays below it, or the budget is too small


def said_of(name: str) -> Callable[..., object]:
    """What the witness has to say of an operation."""
    own = f"witness_{OPERATIONS[name].chapter}"  # some chapters have a witness of their own
    modules = (witness, witness_models, *([importlib.import_module(own)] if importlib.util.find_spec(own) else []))
    found: Callable[..., object] = next(getattr(module, name) for module in modules if hasattr(module, name))
    return found


WITNESSED = [name for name in OPERATIONS if name not in RANDOM and OPERATIONS[name].chapter not in OTHERWISE]


# --- The designed cases -----------------------------------------------------------------------------------------------


def designed() -> list[Case]:
    """The small designed cases of all requirements, each call once and in one layout, as the reference judges them."""
    found = {}
    for requirement in load().values():
        for case in requirement.cases:
            if isinstance(case, Case) and case.size <= SMALL and all(map(has_plain_numbers, case.flat())):
                found.setdefault((case.operation.name, *case.options, *map(content, case.flat())), case)
    stated = [case for case in found.values() if case.operation.name in WITNESSED]
    return [case.in_dtype("float64" if case.is_floating else "exact") for case in stated]


def has_plain_numbers(value: object) -> bool:
    """Whether a value is no tensor, or one of finite numbers, at least one, that lie one behind the other in memory."""
    if not isinstance(value, Tensor):
        return True
    return value.numel() > 0 and value.is_contiguous() and bool(value.isfinite().all())


def content(value: object) -> object:
    """What tells a value from another: a tensor's shape and numbers."""
    return (*value.shape, value.numpy().tobytes()) if isinstance(value, Tensor) else repr(value)


def size_of_result(case: Case) -> float:
    """How many numbers the reference gives for a case; NaN where it refuses, infinity where its one number is NaN."""
    try:
        result = oracle(case)
        return math.inf if result.dim() == 0 and bool(result.isnan()) else result.numel()
    except (ValueError, RuntimeError, IndexError):
        return math.nan


def identify(case: Case) -> str:
    """What a case is called in the name of a test."""
    return f"{case.operation.name}-{case.name}"


CASES = {case: size_of_result(case) for case in designed()}
REFUSED = [case for case, size in CASES.items() if math.isnan(size)]
DEFINED = [case for case, size in CASES.items() if case.size + size <= SMALL]
FLOATING = [case for case in DEFINED if oracle(case).is_floating_point() and bool(oracle(case).isfinite().all())]
EXACT = [case for case in DEFINED if not oracle(case).is_floating_point()]
FORMULATED = [operation for operation in OPERATIONS.values() if operation.formulations]


def nested(value: object) -> object:
    """A tensor as nested lists of its numbers."""
    return value.tolist() if isinstance(value, Tensor) else value


@functools.cache
def by_the_witness(case: Case) -> object:
    """What the witness gives for a case, in nested lists."""
    positional, options = case.arguments(nested, None)
    options.pop("dtype", None)  # the witness computes in no dtype
    return said_of(case.operation.name)(*positional, **options)


def worst(actual: Tensor, exact: object, allowed: Tensor) -> float:
    """The largest error in budgets; infinite where shapes differ or a number is not finite."""
    if witness.shape(exact) != tuple(actual.shape) or not actual.isfinite().all():
        return math.inf
    triples = zip(actual.flatten().tolist(), witness.numbers(exact), allowed.flatten().tolist(), strict=True)
    return max(float(abs(got - right) / mp.mpf(budgeted)) for got, right, budgeted in triples)


@pytest.fixture
def note(request):
    """Notes the worst error of a test, in budgets, among the properties that a JUnit report shows, and returns it."""

    def add(ratio: float) -> float:
        request.node.user_properties.append(("budgets", ratio))
        return ratio

    return add


@pytest.mark.parametrize("name", WITNESSED)
def test_every_operation_meets_the_witness(name):
    """Every operation of the reference stands in the witness and is called by at least one case."""
    assert callable(said_of(name))
    assert any(case.operation.name == name for case in DEFINED)


@pytest.mark.parametrize("case", FLOATING, ids=identify)
def test_values(case, note):
    """In float64 the reference equals the witness within half a budget."""
    ratio = worst(oracle(case), by_the_witness(case), budget(case))
    assert note(ratio) <= RIGHT


@pytest.mark.parametrize("case", EXACT, ids=identify)
def test_exact_results(case):
    """Masks, buckets and ids equal their definition, entry by entry."""
    assert oracle(case).tolist() == by_the_witness(case)


@pytest.mark.parametrize(
    "case", [case for case in FLOATING if any(uses(case.operation, o) for o in FORMULATED)], ids=identify
)
def test_formulations(case, note):
    """What is marked as an equal formulation of an operation equals the witness too."""
    variants = tuple(operation.formulations[0] for operation in FORMULATED if uses(case.operation, operation))
    ratio = worst(evaluate(case, variants), by_the_witness(case), budget(case))
    assert note(ratio) <= RIGHT


@pytest.mark.parametrize("case", REFUSED, ids=identify)
def test_refusals(case):
    """What the reference refuses has no meaning for the witness either."""
    with pytest.raises((ValueError, IndexError)):
        by_the_witness(case)


# --- Derivatives ------------------------------------------------------------------------------------------------------


def weighted(operation, name: str, tensors: tuple[Tensor, ...], shapes: dict[str, tuple[int, ...]], **options) -> Case:
    """A call on normal weights of the given shapes."""
    weights = {weight: normal(f"{name} {weight}", *shape) for weight, shape in shapes.items()}
    return Case(operation, name, tensors, weights, options)


NETWORK = {"w_1": (3, 4), "b_1": (4,), "w_2": (4, 3), "b_2": (3,)}
AFFINE = {"gain": (5,), "bias": (5,)}
CONSTANT = torch.full((1, 5), 0.75, dtype=torch.float64)
HEADS = {"B": 2, "T": 2, "S": 3, "H": 2, "E": 1}
OWN_WIDTHS = {"E": 3, "D": 2, "widths": (3, 1, 2), "M": 3}

_attentions = [
    attention("tiny", *drawn_numbers("tiny", (), T=2, S=3, E=2, D=3)),
    attention("tiny, one key", *drawn_numbers("tiny one", (2,), T=2, S=1, E=3, D=2)),
    attention("tiny, scaled", *drawn_numbers("tiny scaled", (), T=3, S=2, E=3, D=1), scale=0.3),
    attention("tiny, peaky", *drawn_numbers("tiny peaky", (), T=3, S=4, E=2, D=2, size=4.0)),
    attention(
        "tiny, masked", *drawn_numbers("tiny masked", (2,), T=3, S=3, E=2, D=2), mask=torch.ones(3, 3).tril().bool()
    ),
    attention(
        "tiny, one row of nothing visible",
        *drawn_numbers("tiny empty", (), T=3, S=2, E=2, D=2),
        mask=torch.tensor([[True, False], [False, False], [True, True]]),
    ),
    attention("tiny, shared keys", normal("q", 2, 2, 2), normal("k", 1, 3, 2), normal("v", 3, 2)),
]
TINY = [
    *_attentions,
    *(make("tiny", B=2, T=3, M=2, F=2) for make in (elman, gated)),
    convolving("tiny", 2, 3, 2, B=2, T=4),
    convolving("tiny, causal and dilated", 2, 3, 2, B=1, T=5, K=2, dilation_base=2, causal=True),
    *weights_of(_attentions),
    multi_head("tiny heads", **HEADS),
    multi_head("tiny heads, no biases", **HEADS, biases=""),
    multi_head("tiny heads, masked", **HEADS, mask=booleans("tiny heads", 2, 2, 3)),
    multi_head("tiny heads, own widths", **(HEADS | OWN_WIDTHS)),
    weighted(token_embedding, "tiny", (torch.tensor([[1, 3, 1], [0, 1, 4]]),), {"table": (5, 3)}, offset=2),
    *(
        weighted(feed_forward, f"tiny {name}", (normal(name, 2, 2, 3),), NETWORK, activation=name)
        for name in witness.ACTIVATIONS
    ),
    weighted(layer_norm, "tiny", (normal("rows", 2, 5),), AFFINE, eps=1e-5),
    weighted(layer_norm, "tiny, large eps", (normal("rows", 2, 5),), AFFINE, eps=2.0),
    weighted(layer_norm, "tiny, constant row", (CONSTANT,), AFFINE, eps=1e-5),
    weighted(layer_norm, "tiny, large mean", (normal("rows", 2, 5) + 1000,), AFFINE, eps=1e-5),
    weighted(rms_norm, "tiny", (normal("rows", 2, 5),), {"gain": (5,)}, eps=1e-5),
    weighted(rms_norm, "tiny, large eps", (normal("rows", 2, 5),), {"gain": (5,)}, eps=2.0),
    weighted(rms_norm, "tiny, zero row", (CONSTANT * 0,), {"gain": (5,)}, eps=1e-5),
    weighted(add_norm, "tiny", (normal("rows", 2, 5), normal("sublayer", 2, 5)), AFFINE, eps=1e-5),
]


def derivatives_by_the_witness(case: Case) -> dict[str, object]:
    """Vector-Jacobian products by the names that `differentiate` gives them."""
    named = {name: nested(value) for name, value in case.differentiable().items()}
    positional, options = case.arguments(nested, None)

    def call(*values: object) -> object:
        given = dict(zip(named, values, strict=True))
        arguments = [given.get(name, value) for name, value in zip(case.operation.tensors, positional, strict=False)]
        if case.weights is not None:
            arguments.append({name: given[f"weights[{name!r}]"] for name in case.weights})
        return said_of(case.operation.name)(*arguments, **options)

    found = witness.vector_jacobian_product(call, list(named.values()), cotangent(case).tolist())
    return dict(zip(named, found, strict=True))


@pytest.mark.parametrize("case", [case.in_dtype("float64") for case in TINY], ids=identify)
def test_derivatives(case, note):
    """In float64 the vector-Jacobian product of the reference equals the witness's within half a budget."""
    gradients, allowed = differentiate(case, ()), gradient_budgets(case)
    exact = derivatives_by_the_witness(case)
    ratio = max(worst(gradients[name], exact[name], allowed[name]) for name in gradients)
    assert note(ratio) <= RIGHT


def test_every_floating_operation_is_differentiated():
    """Every operation of Core that has floating inputs has its derivatives compared; models are made of these."""
    has_none = {padding_mask, look_ahead_mask, combine_masks, sinusoidal_positional_encoding}
    of_core = {operation for operation in OPERATIONS.values() if operation.chapter in PROFILES["Core"]}
    recurrent = {rnn, lstm, convolution_stack}
    assert {case.operation for case in TINY} == (of_core - has_none) | recurrent


# --- Choices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "weight", "output"),
    [("mean", [0.25, 0.25, 0.25, 0.25], [2.5]), ("nan", [math.nan] * 4, [math.nan])],
)
def test_rows_with_no_visible_key(value, weight, output):
    """Where nothing is visible, the choice "mean" weighs all keys alike and "nan" gives NaN; other rows stay."""
    mask = torch.tensor([[False] * 4, [True, False, False, False]])
    values = torch.tensor([[1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
    case = attention("empty", normal("q", 2, 3), normal("k", 4, 3), values, mask=mask).in_dtype("float64")
    chosen = (attention_weights.choices["attention.empty-row", value],)
    of_weights = evaluate(weights_of([case])[0].in_dtype("float64"), chosen)
    assert of_weights.flatten().tolist() == pytest.approx([*weight, 1, 0, 0, 0], nan_ok=True)
    assert evaluate(case, chosen).flatten().tolist() == pytest.approx([*output, 1], nan_ok=True)


@pytest.mark.parametrize("eps", [1e-5, 0.1, 2.0])
def test_epsilon_outside_the_root(eps):
    """Under the choice "outside" the epsilon of RMSNorm is added to the root of the mean of squares."""
    case = weighted(rms_norm, "outside", (normal("rows", 2, 5),), {"gain": (5,)}, eps=eps).in_dtype("float64")
    chosen = (rms_norm.choices["normalization.rms-epsilon", "outside"],)
    exact = witness.rms_norm(case.tensors[0].tolist(), {"gain": case.weights["gain"].tolist()}, eps=eps, outside=True)
    assert worst(evaluate(case, chosen), exact, budget(case, chosen)) <= RIGHT


# --- Numbers from the papers, or by hand ------------------------------------------------------------------------------


def exact(*rows: list[float]) -> Tensor:
    """A float64 tensor of these rows."""
    return torch.tensor(rows, dtype=torch.float64)


def plain(*sizes: int) -> Tensor:
    """The identity where there are two sizes, zeros where there is one: weights that change nothing."""
    return torch.eye(*sizes, dtype=torch.float64) if len(sizes) == 2 else torch.zeros(*sizes, dtype=torch.float64)


def near(*numbers: float) -> object:
    """Equal to as many digits as are written in this file."""
    return pytest.approx(list(numbers), rel=1e-14, abs=1e-15)


def test_two_scores_by_hand():
    """Scores of 1/2 and 0 have the weights e^(1/2) / (e^(1/2) + 1) = 0.6225 and 0.3775: d_k = 4 divides 1 by 2."""
    weights = attention_weights(exact([1, 0, 0, 0]), exact([1, 0, 0, 0], [0, 0, 0, 0]))
    assert weights.flatten().tolist() == near(0.6224593312018546, 0.37754066879814546)


def test_attention_by_hand():
    """Scores of log 1, log 2 and log 5 weigh the values 8, 4 and 16 with 1/8, 2/8 and 5/8: 12 in all."""
    key, value = exact([0], [math.log(2)], [math.log(5)]), exact([8], [4], [16])
    assert scaled_dot_product_attention(exact([1]), key, value).flatten().tolist() == near(12)


def test_attention_by_hand_under_a_mask():
    """With the last key hidden, scores of log 1 and log 2 weigh the values 8 and 4 with 1/3 and 2/3: 16/3."""
    key, value = exact([0], [math.log(2)], [math.log(5)]), exact([8], [4], [16])
    output = scaled_dot_product_attention(exact([1]), key, value, mask=torch.tensor([[True, True, False]]))
    assert output.flatten().tolist() == near(16 / 3)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("scale", "variance"), [(1.0, lambda d: d), (None, lambda d: 1)])
def test_footnote_four(size, scale, variance):
    """Footnote 4: q . k of components of mean 0 and variance 1 has mean 0 and variance d_k; if scaled, 1."""
    signs = torch.cartesian_prod(*[exact([-1, 1])[0]] * size).reshape(-1, size)  # every vector of ±1: exact moments
    keys = torch.cat((signs, torch.zeros(1, size, dtype=torch.float64)))  # log(w / w of the zero key) is the score
    weights = attention_weights(signs, keys, scale=scale)
    scores = torch.log(weights[:, :-1] / weights[:, -1:])
    assert [float(scores.mean()), float((scores**2).mean())] == pytest.approx([0, variance(size)], abs=1e-13)


def test_two_heads_by_hand():
    """Head 1 sees entry 0 and head 2 entry 1 of the rows (1, 0) and (0, 2): logistic(1), 1/2, 1 and 2 logistic(4)."""
    weights = {name: plain(2, 2) for name in ("w_q", "w_k", "w_v", "w_o")}
    x = exact([1, 0], [0, 2]).unsqueeze(0)
    output = multi_head_attention(x, x, x, weights, num_heads=2)
    assert output.flatten().tolist() == near(0.7310585786300049, 1, 0.5, 1.964027580075817)


def test_columns_belong_to_heads_in_blocks():
    """Of two heads of two entries the first owns columns 0 and 1: keys that differ in column 1 move head 1 alone."""
    weights = {name: plain(4, 4) for name in ("w_q", "w_k", "w_v", "w_o")}
    query = exact([0, math.log(3) * math.sqrt(2), 0, 0]).unsqueeze(0)
    key, value = exact([0, 1, 0, 0], [0] * 4).unsqueeze(0), exact([4, 8, 4, 8], [0] * 4).unsqueeze(0)
    assert multi_head_attention(query, key, value, weights, num_heads=2).flatten().tolist() == near(3, 6, 2, 4)


@pytest.mark.parametrize(
    ("position", "row"),
    [
        (0, (0, 1, 0, 1)),
        (1, (0.8414709848078965, 0.5403023058681398, 0.009999833334166664, 0.9999500004166653)),
        (2, (0.9092974268256817, -0.4161468365471424, 0.01999866669333308, 0.9998000066665778)),
    ],
)
def test_positions_by_hand(position, row):
    """For d_model = 4 the row is sin p, cos p, sin(p / 100), cos(p / 100), for 10000^(2/4) = 100."""
    encoding = sinusoidal_positional_encoding(1, 4, offset=position, dtype=torch.float64)
    assert encoding.flatten().tolist() == near(*row)


def test_wavelengths():
    """Section 3.5: wavelengths form a geometric progression from 2 pi; at d_model = 8 their ratio is 10."""
    encoding = sinusoidal_positional_encoding(1, 8, offset=1, dtype=torch.float64).flatten()
    wavelengths = 2 * math.pi / torch.atan2(encoding[0::2], encoding[1::2])
    assert wavelengths.tolist() == near(*(2 * math.pi * 10.0**i for i in range(4)))


@pytest.mark.parametrize("offset", [1, 2, 7, 100])
def test_an_offset_is_a_rotation(offset):
    """Section 3.5: PE(pos + k) is a linear function of PE(pos): sine and cosine of a pair turn by the same angle."""
    here, there = (sinusoidal_positional_encoding(5, 6, offset=o, dtype=torch.float64) for o in (3, 3 + offset))
    here, there = torch.view_as_complex(here.unflatten(-1, (3, 2))), torch.view_as_complex(there.unflatten(-1, (3, 2)))
    turns = there / here
    assert torch.view_as_real(turns - turns[:1]).abs().max() < 1e-13


def test_the_root_of_the_model_size():
    """Section 3.4: embeddings are multiplied by sqrt(512) = 22.6274; at position 0 the encoding adds 0, 1, 0, 1, ..."""
    embedded = token_embedding(torch.tensor([1]), {"table": torch.ones(2, 512, dtype=torch.float64)})
    assert embedded[0, :2].tolist() == near(22.627416997969522, 23.627416997969522)


@pytest.mark.parametrize(
    ("activation", "of_one", "of_minus_one"),
    [
        ("relu", 1.0, 0.0),
        ("gelu", 0.8413447460685429, -0.15865525393145705),
        ("gelu_tanh", 0.8411919906082768, -0.15880800939172324),
    ],
)
def test_activations_by_hand(activation, of_one, of_minus_one):
    """With weights of 1 and biases of 0 the network is its activation: GELU(1) = Phi(1)."""
    weights = {"w_1": plain(1, 1), "b_1": plain(1), "w_2": plain(1, 1), "b_2": plain(1)}
    output = feed_forward(exact([1], [-1]), weights, activation=activation)
    assert output.flatten().tolist() == near(of_one, of_minus_one)


def test_feed_forward_by_hand():
    """(1, -1) has the inner sums 1 - 2 + 1, 3 - 4 - 1 and 5 - 6 + 4; the last, 3, alone passes: 3 (5, 6) + (1, 2)."""
    weights = {"w_1": exact([1, 3, 5], [2, 4, 6]), "b_1": exact([1, -1, 4])[0], "b_2": exact([1, 2])[0]}
    output = feed_forward(exact([1, -1]), {**weights, "w_2": exact([1, 2], [3, 4], [5, 6])})
    assert output.flatten().tolist() == near(16, 20)


def test_layer_norm_by_hand():
    """(1, 2, 3) has the mean 2 and the variance 2/3, divided by H and not by H - 1: (-sqrt(3/2), 0, sqrt(3/2))."""
    weights = {"gain": torch.ones(3, dtype=torch.float64), "bias": plain(3)}
    output = layer_norm(exact([1, 2, 3]), weights, eps=0.0)
    assert output.flatten().tolist() == near(-1.224744871391589, 0, 1.224744871391589)


def test_epsilon_of_layer_norm_by_hand():
    """(1, 3) has the variance 1; an eps of 3 makes the divisor 2; gains 2 and 4, biases 10 and 20: (9, 22)."""
    weights = {"gain": exact([2, 4])[0], "bias": exact([10, 20])[0]}
    assert layer_norm(exact([1, 3]), weights, eps=3.0).flatten().tolist() == near(9, 22)


def test_rms_norm_by_hand():
    """(3, 4) has the mean of squares 12.5: (3, 4) / sqrt(12.5)."""
    output = rms_norm(exact([3, 4]), {"gain": torch.ones(2, dtype=torch.float64)}, eps=0.0)
    assert output.flatten().tolist() == near(0.848528137423857, 1.131370849898476)


@pytest.mark.parametrize(("value", "expected"), [("inside", [1.5, 4]), ("outside", [1, 8 / 3])])
def test_epsilon_of_rms_norm_by_hand(value, expected):
    """(3, 4) / sqrt(12.5 + 3.5) = (3, 4) / 4; with 6 - sqrt(12.5) outside the root (3, 4) / 6; gains 2 and 4."""
    eps = 3.5 if value == "inside" else 6 - math.sqrt(12.5)
    variant = rms_norm.choices.get(("normalization.rms-epsilon", value))
    function = rms_norm if variant is None else variant.function
    assert function(exact([3, 4]), {"gain": exact([2, 4])[0]}, eps=eps).flatten().tolist() == near(*expected)


def test_rms_norm_and_layer_norm_agree_where_the_mean_is_zero():
    """Zhang & Sennrich, section 4: where the mean of the inputs is zero, LayerNorm is exactly RMSNorm."""
    x, gain = exact([-3, 1, 2], [5, -4, -1]), exact([1, 2, 3])[0]
    of_rms = rms_norm(x, {"gain": gain}, eps=0.1).flatten().tolist()
    assert layer_norm(x, {"gain": gain, "bias": plain(3)}, eps=0.1).flatten().tolist() == near(*of_rms)


def test_add_norm_by_hand():
    """(0, 2, 1) + (1, 0, 2) = (1, 2, 3), then as LayerNorm by hand: the sum is normalized, not a summand."""
    weights = {"gain": torch.ones(3, dtype=torch.float64), "bias": plain(3)}
    output = add_norm(exact([0, 2, 1]), exact([1, 0, 2]), weights, eps=0.0)
    assert output.flatten().tolist() == near(-1.224744871391589, 0, 1.224744871391589)


def test_look_ahead_by_hand():
    """Position 0 sees itself, position 1 itself and 0, position 2 all three."""
    assert look_ahead_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


@pytest.mark.parametrize("length", [*range(1, 10), 16, 17, 33])
def test_look_ahead_by_definition(length):
    """Entry (i, j) is True if and only if j <= i."""
    assert look_ahead_mask(length).tolist() == witness.look_ahead_mask(length)


@pytest.mark.parametrize("pad_id", [0, 1, 3, -1])
def test_padding_by_definition(pad_id):
    """Entry (b, 0, s) is True if and only if token s of sequence b is not the pad id."""
    token_ids = torch.tensor([[3, 1, 0, 0], [-1, 3, 3, 2], [0, 0, 0, 0]])
    assert padding_mask(token_ids, pad_id=pad_id).tolist() == witness.padding_mask(token_ids.tolist(), pad_id=pad_id)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_combination_by_definition(count):
    """Of every combination of truth values, the one of nothing but True alone is True."""
    columns = torch.cartesian_prod(*[torch.tensor([False, True])] * count).reshape(-1, count).unbind(-1)
    assert combine_masks(*columns).tolist() == [False] * (2**count - 1) + [True]


# --- The witness itself -----------------------------------------------------------------------------------------------


def test_the_witness_has_fifty_digits():
    """The witness knows sqrt(2) to fifty digits, and keeps its precision to itself."""
    assert abs(mp.sqrt(2) - mp.mpf("1.41421356237309504880168872420969807856967187537694")) < mp.mpf("1e-49")


def test_the_witness_differentiates_to_thirty_digits():
    """The derivative of c x^3 at x = 2 with c = 5 is 60 to thirty digits."""
    [found] = witness.vector_jacobian_product(lambda x: [x[0] ** 3], [[2.0]], [5.0])
    assert abs(found[0] - 60) < mp.mpf("1e-28")
