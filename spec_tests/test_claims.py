"""Requirements of recurrent and convolutional layers, and what is claimed of them and of attention, measured."""

import math

import torch

from transpec.judgement import (
    NonConformance,
    Observation,
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_gradients_conform,
    assert_identical,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    budget_of,
    compare,
    oracle,
    output_of,
)
from transpec.reference.attention import multi_head_attention, scaled_dot_product_attention
from transpec.reference.claims import convolution_stack, lstm, rnn
from transpec.requirements import cases, must, should
from transpec.runs import Score, assert_beats, assert_follows, forward, plot, record
from transpec.spec_tests.cases import claims
from transpec.spec_tests.cases.tokens import with_other_numbers
from transpec.spec_tests.runs import claims as measured

# --- The formulas -----------------------------------------------------------------------------------------------------


@must("claims.rnn-equation", "Elman 1990, Finding structure in time")
@cases(claims.rnn_by_hand, claims.rnns, claims.long[:1], claims.drawn_rnn)
def test_rnn_equation(implementation, case):
    """h_t = tanh(x_t W_x + h_{t-1} W_h + b) from h_0 = 0 on; the result is every state."""
    assert_conforms(implementation, case)


@must("claims.lstm-equation", "Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate")
@cases(claims.lstm_by_hand, claims.lstms, claims.long[1:], claims.kept, claims.drawn_lstm)
def test_lstm_equation(implementation, case):
    """c_t = f_t c_{t-1} + i_t g_t and h_t = o_t tanh(c_t) from zeros on; the result is every h_t."""
    assert_conforms(implementation, case)


@must("claims.convolution-equation", "van den Oord et al. 2016, section 2.1; Kalchbrenner et al. 2016, section 3")
@cases(claims.convolution_by_hand, claims.convolutions, claims.drawn_convolutions)
def test_convolution_equation(implementation, case):
    """Each layer is relu(sum_j x[t + j dilation - left] W[j] + b), zeros standing outside the sequence."""
    assert_conforms(implementation, case)


@must("claims.no-layers", "the contract of num_layers")
@cases(claims.no_convolution)
def test_no_layers(implementation, case):
    """A stack of no layers gives its input."""
    assert_conforms(implementation, case)


@must("claims.stability", "the formulas of tanh and sigmoid")
@cases(claims.saturated, claims.kept)
def test_stability(implementation, case):
    """Sums of ten thousand saturate the gates and nothing overflows."""
    assert_conforms(implementation, case)


@must("claims.causality", "Elman 1990; van den Oord et al. 2016, section 2.1")
@cases(claims.causal)
def test_causality(implementation, case):
    """Recurrent layers and causal convolutions give the past the same result whatever the future is."""
    changed, past = claims.with_another_future(case)
    assert_identical(implementation, case, changed, past)


@must("claims.prefix", "Elman 1990; van den Oord et al. 2016, section 2.1")
@cases(claims.causal)
def test_prefix(implementation, case):
    """The beginning of a sequence gives alone what it gives in the whole."""
    alone, pick = claims.prefix(case)
    assert_same(implementation, alone, case, pick)


# --- What holds for all -----------------------------------------------------------------------------------------------


@must("claims.gradients", "the formulas, differentiated")
@cases(claims.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's, back through all steps, for the input and every weight."""
    assert_gradients_conform(implementation, case)


@must("claims.batch-independence", "the formulas: every sequence by itself")
@cases(claims.batches)
def test_batch_independence(implementation, case):
    """A sequence gives the same alone as in a batch."""
    alone, pick = claims.last_sequence(case)
    assert_same(implementation, alone, case, pick)


@must("claims.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(claims.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("claims.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(claims.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded inputs and weights give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("claims.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(claims.everything)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its inputs and weights."""
    assert_untouched(implementation, case)


@must("claims.no-memory", "the contract: h_0 = c_0 = 0 in every call")
@cases(claims.everything)
def test_no_memory(implementation, case):
    """A call starts from zeros and not from the state of the call before, and changes no result that was kept."""
    assert_remembers_nothing(implementation, case, with_other_numbers(case))
    assert_no_memory(implementation, case, [with_other_numbers(case)])


@must("claims.dtype-and-shape", "the contract: results have the inputs' dtype")
@cases(claims.everything, claims.rnns[1:3], claims.lstms[1:3], claims.convolutions[7:9])
def test_dtype_and_shape(implementation, case):
    """The result has the dtype of the input and one row for every position."""
    assert_contract(implementation, case)


@should("claims.impossible-shapes", "the contract: what no broadcast gives a meaning")
@cases(claims.impossible)
def test_impossible_shapes(implementation, case):
    """Weights of another width than what they multiply or are added to raise with a message."""
    assert_refuses(implementation, case)


# --- Order --------------------------------------------------------------------------------------------------------------


@must("claims.permutation-equivariance", "Vaswani et al. 2017, section 3.5: no recurrence and no convolution")
@cases(claims.in_no_order)
def test_permutation_equivariance(implementation, case):
    """An encoder whose positions are taken off again knows no order: its words reordered, so is its result, and no more."""
    other, order = claims.with_content_reordered(case), claims.new_order(case.tensors[0].shape[1])
    result, moved = output_of(implementation, case), output_of(implementation, other)
    # What the words lose where positions are added and taken off is rounded in the table, before any call.
    lost = (oracle(other) - oracle(case)[:, order]).abs().clamp_max(1e-5)
    allowed = budget_of(implementation, case)[:, order] + budget_of(implementation, other) + lost
    observed = (Observation(case, {"": result}), Observation(other, {"": moved}))
    mask = other.options.get("source_mask")  # what stands at a hidden word is nobody's business
    shown = torch.ones(moved.shape[:2], dtype=torch.bool) if mask is None else mask
    moved = torch.where(shown.unsqueeze(-1), moved, result[:, order])
    compare(implementation, other, moved, result[:, order], allowed, observed=observed)


@must("claims.layer-permutation-equivariance", "Vaswani et al. 2017, section 3.5: no recurrence and no convolution")
@cases(claims.layers_in_no_order)
def test_layer_permutation_equivariance(implementation, case):
    """An encoder layer knows no order: its rows reordered, so is its result, and no more."""
    back = claims.new_order(case.tensors[0].shape[1]).argsort()
    assert_same(implementation, case, claims.reordered(case), lambda result: result[:, back])


@must("claims.positions-break-equivariance", "Vaswani et al. 2017, section 3.5: positions give the order")
@cases(claims.in_order)
def test_positions_break_equivariance(implementation, case):
    """With positions the result of reordered words differs from the reordered result, as much as the formula says."""
    other, order = claims.reordered(case), claims.new_order(case.tensors[0].shape[1])
    result, moved = output_of(implementation, case), output_of(implementation, other)
    actual, expected = moved.double() - result.double()[:, order], oracle(other) - oracle(case)[:, order]
    allowed = budget_of(implementation, case)[:, order] + budget_of(implementation, other)
    observed = (Observation(case, {"": result}), Observation(other, {"": moved}))
    compare(implementation, other, actual, expected, allowed, what="change by the order", observed=observed)


# --- Table 1 ------------------------------------------------------------------------------------------------------------

LENGTHS = [4, 8, 16, 32, 64]
WIDTHS = [8, 16, 32, 64]
PATHS = [3, 5, 9, 17, 33]  # one more than a power of two, for which the layers of a convolution add up
RECURRENT = (rnn, lstm)


@must("claims.sequential-operations", "Vaswani et al. 2017, section 4, table 1", run="short")
@cases(claims.layers)
def test_sequential_operations(implementation, case):
    """Products that wait for each other are O(n) in the graph of recurrence, one more for each position, elsewhere O(1)."""
    depths = measured.depths(implementation, case, LENGTHS)
    attention = measured.depths(None, claims.self_attention.in_dtype(case.dtype), LENGTHS)
    growth, grows = measured.slope(LENGTHS, depths), case.operation in RECURRENT
    name, note = f"sequential operations at n = {LENGTHS[-1]}: {case.name}", f"{growth:g} more for each position"
    record(implementation, Score(name, depths[-1], "self-attention", attention[-1], "products", False, note))
    curves = {case.name: depths, "self-attention, reference": attention}
    plot(implementation, measured.by_length("Sequential operations", "products in a row", LENGTHS, curves))
    if not (growth >= 1 if grows else growth == 0):
        raise NonConformance(f"{depths} products in a row at n = {LENGTHS}, should be O({'n' if grows else 1})", case)


@should("claims.maximum-path-length", "Vaswani et al. 2017, section 4, table 1", run="short")
@cases(claims.layers)
def test_maximum_path_length(implementation, case):
    """The longest way between two positions is O(n) in recurrence, O(n/k) or O(log_k n) in convolutions, else O(1)."""
    found = [measured.paths(implementation, case, length) for length in PATHS]
    longest, layers = [path.longest for path in found], [path.layers for path in found]
    expected = [claims.layers_that_connect(case, length) for length in PATHS]
    name, note = f"longest way at n = {PATHS[-1]}: {case.name}", f"{layers[-1]} layers"
    record(implementation, Score(name, longest[-1], f"at n = {PATHS[0]}", longest[0], "operations", False, note))
    plot(implementation, measured.by_length("Longest way", "operations", PATHS, {case.name: longest}))
    stacked = case.operation is convolution_stack
    growth = measured.of_layers(found) if stacked else measured.slope(PATHS, longest)
    if layers != expected or not (growth > 0 if stacked or case.operation in RECURRENT else growth == 0):
        raise NonConformance(
            f"{layers} layers and {longest} operations at n = {PATHS}, should be {expected} layers", case
        )


@should("claims.cost-against-length", "Vaswani et al. 2017, section 4, table 1", run="short")
@cases(claims.costs)
def test_cost_against_length(implementation, case):
    """Products cost O(n^2 d) in attention and O(n d^2) in recurrence and convolutions; attention is cheaper where n < d."""
    by_length = [measured.cost(implementation, case, length, 16) for length in LENGTHS]
    by_width = [measured.cost(implementation, case, 16, width) for width in WIDTHS]
    powers = measured.power(by_length), measured.power(by_width)
    recurrence = [measured.cost(None, claims.recurrent[0].in_dtype(case.dtype), length, 16) for length in LENGTHS]
    curves = {case.name: by_length, "recurrence, reference": recurrence}
    plot(implementation, measured.by_length("Cost, d = 16", "operations", LENGTHS, curves, log_x=True, log_y=True))
    for place, length in [(0, LENGTHS[0]), (2, LENGTHS[2]), (4, LENGTHS[4])]:
        note = f"n^{powers[0]:g} d^{powers[1]:g}"
        record(implementation, Score(f"cost at n = {length}, d = 16: {case.name}", by_length[place], "recurrence",
                                     recurrence[place], "operations", False, note))  # fmt: skip
    expected = (2.0, 1.0) if case.operation is scaled_dot_product_attention else (1.0, 2.0)
    if powers != expected:
        raise NonConformance(
            f"costs n^{powers[0]:g} d^{powers[1]:g}, should cost n^{expected[0]:g} d^{expected[1]:g}", case
        )


@must(
    "claims.gradient-reach", "Bengio et al. 1994; Hochreiter et al. 2001; Vaswani et al. 2017, section 4", run="short"
)
@cases(claims.reached)
def test_gradient_reach(implementation, case):
    """At initialisation the gradient fades exponentially in recurrence, more slowly through gates, not in attention."""
    norms = measured.reach(forward(implementation, case.operation), case)
    exact = measured.reach(case.operation, case.origin.in_dtype("float64"))
    seen = [step for step, norm in enumerate(exact) if norm > 1e-30]  # float32 ends at 1e-38
    assert_follows(implementation, case, [math.log10(max(norms[step], 1e-45)) for step in seen],
                   [math.log10(exact[step]) for step in seen], 0.02, "logarithm of the gradient")  # fmt: skip
    line = measured.fitted(seen[1:], [math.log10(exact[step]) for step in seen[1:]])
    note = f"{line.slope:.3g} decades a step, {100 * line.explained:.1f} % of the variance explained by a line"
    record(implementation, Score(f"gradient {claims.STEPS} steps back: {case.name}", norms[-1], "1 step back", norms[1],
                                 note=note))  # fmt: skip
    plot(implementation, measured.fading(case.name, norms, exact))
    if case.operation is multi_head_attention:
        met = norms[-1] > norms[1] / 10
    else:
        met = line.explained > 0.99 and line.slope < (-0.1 if case.operation is rnn else -0.01)
    if not met:
        raise NonConformance(f"the gradient goes from {norms[1]:.3g} to {norms[-1]:.3g}, {note}", case)


# --- Trained ------------------------------------------------------------------------------------------------------------


@must("claims.heads-differ", "Vaswani et al. 2017, section 3.2.2 and the appendix's figures", run="short")
@cases(claims.copying)
def test_heads_differ(implementation, case):
    """A GPT trained to say words again does so, and its heads attend more differently than before they were trained."""
    runs = [measured.copier(implementation, case, seed) for seed in range(3)]
    accuracy, apart, before = (
        [getattr(run, name) for run in runs] for name in ("accuracy", "divergence", "divergence_before")
    )
    measured.plot_heads(implementation, runs[0].maps)
    assert_conforms(implementation, runs[0].case)
    score = Score(
        "words said again", min(accuracy), "chance", runs[0].chance, note=f"the worst of seeds 0, 1, 2: {accuracy}"
    )
    assert_beats(implementation, case, score, margin=0.9 - runs[0].chance)
    note = f"the least of seeds 0, 1, 2: {[round(number, 3) for number in apart]}"
    score = Score("divergence of heads", min(apart), "untrained", max(before), "bits", note=note)
    assert_beats(implementation, case, score, margin=0.1)


@should("claims.pretraining-cost", "Kaplan et al. 2020, section 2.1; Devlin et al. 2019, section 3.2", run="short")
@cases(claims.counted)
def test_pretraining_cost(implementation, case):
    """A step costs 6 N operations a token and those of attention's scores; so pretraining costs many times fine-tuning."""
    counted = measured.flops_of_a_step(implementation, case)
    expected = measured.expected_flops(case.config, *case.tensors[0].shape)
    record(implementation, Score("operations of a step", counted, "6 N a token and attention", expected, "FLOP", False))
    for stage, tuning in measured.stages():
        note = f"N = {stage.parameters}"
        record(
            implementation,
            Score(f"tokens of {stage.name}", stage.tokens, tuning.name, tuning.tokens, "tokens", note=note),
        )
        score = Score(f"cost of {stage.name}", stage.flops, tuning.name, tuning.flops, "FLOP", note=note)
        assert_beats(implementation, case, score, margin=4 * tuning.flops)
    assert_follows(
        implementation, case, [counted / expected], [1.0], 0.25, "operations of a step over what is expected"
    )
