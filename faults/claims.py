"""Mistakes in recurrent and convolutional layers."""

import torch

from transpec.catalogue import fault
from transpec.reference.claims import convolution_stack, lstm, rnn

GATES = ("input", "forget", "candidate", "output")

# --- Elman ------------------------------------------------------------------------------------------------------------


def _states(x, weights, *, step=None, start=None, keep=lambda state: state):
    """The formula, with a step, a start or a memory of another kind."""
    inner = x @ weights["w_x"] + weights["b"]
    state, states = torch.zeros_like(inner[:, 0]) if start is None else start, []
    for t in range(x.shape[1]):
        past = keep(state) @ weights["w_h"]
        state = torch.tanh(inner[:, t] + past) if step is None else step(inner[:, t], past, state)
        states.append(state)
    return torch.stack(states, 1)


@fault(
    rnn, "claims.rnn-state-dropped", breaks="claims.rnn-equation",
    effect="every position stands alone: the layer has no memory at all",
)  # fmt: skip
def the_state_is_not_carried_on(x, weights):
    return _states(x, weights, step=lambda inner, past, state: torch.tanh(inner))


@fault(
    rnn, "claims.rnn-weights-transposed", breaks="claims.rnn-equation",
    effect="weights of a framework that stores (out, in) are used as they come; a square matrix fits both ways",
)  # fmt: skip
def the_state_meets_the_transposed_matrix(x, weights):
    return rnn(x, {**weights, "w_h": weights["w_h"].T})


@fault(
    rnn, "claims.rnn-without-bias", breaks="claims.rnn-equation",
    effect="the bias is lost on the way from a checkpoint",
)  # fmt: skip
def the_bias_is_left_out(x, weights):
    return rnn(x, {**weights, "b": torch.zeros_like(weights["b"])})


@fault(
    rnn, "claims.rnn-bias-twice", breaks="claims.rnn-equation",
    effect="of two biases, one of the input and one of the state, both are filled with the one there is",
)  # fmt: skip
def the_bias_is_added_for_the_input_and_for_the_state(x, weights):
    return rnn(x, {**weights, "b": 2 * weights["b"]})


@fault(
    rnn, "claims.rnn-sigmoid", breaks="claims.rnn-equation",
    effect="the logistic function of Elman's own simulations stands for tanh; states are never negative",
)  # fmt: skip
def states_are_sigmoids(x, weights):
    return _states(x, weights, step=lambda inner, past, state: torch.sigmoid(inner + past))


@fault(
    rnn, "claims.rnn-relu", breaks="claims.rnn-equation",
    effect="the library's other nonlinearity; states grow without bound",
)  # fmt: skip
def states_are_rectified(x, weights):
    return _states(x, weights, step=lambda inner, past, state: torch.relu(inner + past))


@fault(
    rnn, "claims.rnn-linear-state", breaks="claims.rnn-equation",
    effect="the nonlinearity is applied to the result alone and not to what is carried on",
)  # fmt: skip
def the_state_is_carried_on_before_tanh(x, weights):
    return torch.tanh(_states(x, weights, step=lambda inner, past, state: inner + past))


@fault(
    rnn, "claims.rnn-residual", breaks="claims.rnn-equation",
    effect="the state is added to itself, as in a residual network",
)  # fmt: skip
def the_old_state_is_added_to_the_new(x, weights):
    return _states(x, weights, step=lambda inner, past, state: state + torch.tanh(inner + past))


@fault(
    rnn, "claims.rnn-starts-at-one", breaks="claims.rnn-equation",
    effect="the first steps see a past that nobody gave",
)  # fmt: skip
def the_state_starts_with_ones(x, weights):
    return _states(x, weights, start=x.new_ones(len(x), weights["b"].shape[-1]))


@fault(
    rnn, "claims.rnn-state-late", breaks="claims.rnn-equation",
    effect="what comes out is the state before the position was read: the result lags by one",
)  # fmt: skip
def the_state_before_the_step_is_given(x, weights):
    states = rnn(x, weights)
    return torch.cat((torch.zeros_like(states[:, :1]), states[:, :-1]), 1)


@fault(
    rnn, "claims.rnn-backwards", breaks="claims.causality",
    effect="a language model that reads from the end knows the answer",
)  # fmt: skip
def the_sequence_is_read_from_its_end(x, weights):
    return rnn(x.flip(1), weights).flip(1)


@fault(
    rnn, "claims.rnn-both-ways", breaks="claims.causality",
    effect="a bidirectional layer stands where the next word is to be predicted",
)  # fmt: skip
def both_directions_are_averaged(x, weights):
    return (rnn(x, weights) + rnn(x.flip(1), weights).flip(1)) / 2


@fault(
    rnn, "claims.rnn-axes-exchanged", breaks="claims.batch-independence",
    effect="time is taken for the batch: state runs from sequence to sequence",
)  # fmt: skip
def the_recurrence_runs_along_the_batch(x, weights):
    if not len(x):
        return rnn(x, weights)
    return rnn(x.transpose(0, 1), weights).transpose(0, 1)


@fault(
    rnn, "claims.rnn-last-state-alone", breaks="claims.rnn-equation",
    effect="every position gets the state of the last",
)  # fmt: skip
def every_position_has_the_last_state(x, weights):
    states = rnn(x, weights)
    return states[:, -1:].expand(states.shape)


@fault(
    rnn, "claims.rnn-truncated", breaks="claims.rnn-equation",
    effect="memory ends at a block's edge: right on all short sequences",
)  # fmt: skip
def the_state_starts_anew_every_sixteen_positions(x, weights):
    return torch.cat([rnn(piece, weights) for piece in x.split(16, 1)], 1)


@fault(
    rnn, "claims.rnn-state-detached", breaks="claims.gradients",
    effect="training sees one step back; the forward pass is right",
)  # fmt: skip
def no_gradient_goes_back_through_the_state(x, weights):
    return _states(x, weights, keep=lambda state: state.detach())


@fault(
    rnn, "claims.rnn-gradient-truncated", breaks="claims.gradients",
    effect="truncated back-propagation through time is left on where the whole gradient is asked for",
)  # fmt: skip
def the_gradient_goes_back_sixteen_steps_at_most(x, weights):
    step, inner = 0, x @ weights["w_x"] + weights["b"]
    state, states = torch.zeros_like(inner[:, 0]), []
    for step in range(x.shape[1]):
        state = state.detach() if step and step % 16 == 0 else state
        state = torch.tanh(inner[:, step] + state @ weights["w_h"])
        states.append(state)
    return torch.stack(states, 1)


_kept: dict = {}


@fault(
    rnn, "claims.rnn-stateful", breaks="claims.no-memory",
    effect="a second text is read as if it followed the first",
)  # fmt: skip
def a_call_starts_from_the_state_of_the_call_before(x, weights):
    key = (x.shape, x.dtype, weights["b"].shape)
    states = _states(x, weights, start=_kept.get(key))
    _kept[key] = states[:, -1].detach().clone()
    return states


@fault(
    rnn, "claims.rnn-input-overwritten", breaks="claims.inputs-untouched",
    effect="a buffer is saved and the caller's input is lost",
)  # fmt: skip
def the_input_is_set_to_zero_after_use(x, weights):
    states = rnn(x, weights)
    x.zero_()
    return states


# --- LSTM -------------------------------------------------------------------------------------------------------------


def _named(weights, exchange):
    """The weights with gates under the names of others."""
    changed = {
        f"{new}.{part}": weights[f"{old}.{part}"] for new, old in exchange.items() for part in ("w_x", "w_h", "b")
    }
    return {**weights, **changed}


def _cells(x, weights, update, give=lambda o, cell: torch.sigmoid(o) * torch.tanh(cell), look=lambda output: output):
    """The formula with another update of the cell or another output."""
    inner = {gate: x @ weights[f"{gate}.w_x"] + weights[f"{gate}.b"] for gate in GATES}
    output = cell = torch.zeros_like(inner["input"][:, 0])
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = (inner[gate][:, t] + look(output) @ weights[f"{gate}.w_h"] for gate in GATES)
        cell = update(i, f, g, cell)
        output = give(o, cell)
        outputs.append(output)
    return torch.stack(outputs, 1)


def _update(i, f, g, cell):
    return torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)


@fault(
    lstm, "claims.lstm-gates-of-another-order", breaks="claims.lstm-equation",
    effect="a checkpoint packs i, g, f, o and is unpacked as i, f, g, o",
)  # fmt: skip
def forget_gate_and_candidate_are_exchanged(x, weights):
    return lstm(x, _named(weights, {"forget": "candidate", "candidate": "forget"}))


@fault(
    lstm, "claims.lstm-input-and-forget-exchanged", breaks="claims.lstm-equation",
    effect="a checkpoint packs f before i; what should be kept is dropped",
)  # fmt: skip
def input_and_forget_gate_are_exchanged(x, weights):
    return lstm(x, _named(weights, {"forget": "input", "input": "forget"}))


@fault(
    lstm, "claims.lstm-output-and-candidate-exchanged", breaks="claims.lstm-equation",
    effect="a checkpoint packs i, f, o, g and is unpacked as i, f, g, o",
)  # fmt: skip
def candidate_and_output_gate_are_exchanged(x, weights):
    return lstm(x, _named(weights, {"output": "candidate", "candidate": "output"}))


@fault(
    lstm, "claims.lstm-without-forget-gate", breaks="claims.lstm-equation",
    effect="the cell of 1997, which never forgets and saturates on long inputs",
)  # fmt: skip
def the_cell_forgets_nothing(x, weights):
    return _cells(x, weights, lambda i, f, g, cell: cell + torch.sigmoid(i) * torch.tanh(g))


@fault(
    lstm, "claims.lstm-coupled-gates", breaks="claims.lstm-equation",
    effect="a variant with one gate less: what is forgotten is what is let in",
)  # fmt: skip
def the_input_gate_is_what_the_forget_gate_leaves(x, weights):
    return _cells(x, weights, lambda i, f, g, cell: torch.sigmoid(f) * cell + (1 - torch.sigmoid(f)) * torch.tanh(g))


@fault(
    lstm, "claims.lstm-forget-gate-inverted", breaks="claims.lstm-equation",
    effect="one where it should keep is zero: memory is shortest where it should be longest",
)  # fmt: skip
def the_forget_gate_says_what_to_forget(x, weights):
    return _cells(x, weights, lambda i, f, g, cell: (1 - torch.sigmoid(f)) * cell + torch.sigmoid(i) * torch.tanh(g))


@fault(
    lstm, "claims.lstm-forget-bias-added", breaks="claims.lstm-equation",
    effect="the one that some libraries add to the forget gate at run time is added to a bias that has it already",
)  # fmt: skip
def one_is_added_to_the_forget_gate(x, weights):
    return lstm(x, {**weights, "forget.b": weights["forget.b"] + 1})


@fault(
    lstm, "claims.lstm-candidate-sigmoid", breaks="claims.lstm-equation",
    effect="nothing can be taken from the cell, for the candidate is never negative",
)  # fmt: skip
def the_candidate_is_a_sigmoid(x, weights):
    return _cells(x, weights, lambda i, f, g, cell: torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.sigmoid(g))


@fault(
    lstm, "claims.lstm-cell-without-tanh", breaks="claims.lstm-equation",
    effect="outputs grow beyond one with the cell",
)  # fmt: skip
def the_output_is_the_cell_without_tanh(x, weights):
    return _cells(x, weights, _update, lambda o, cell: torch.sigmoid(o) * cell)


@fault(
    lstm, "claims.lstm-cell-given", breaks="claims.lstm-equation",
    effect="cell and output, returned as a pair, are taken for each other",
)  # fmt: skip
def the_cell_is_given_for_the_output(x, weights):
    cells = []

    def update(i, f, g, cell):
        cells.append(_update(i, f, g, cell))
        return cells[-1]

    _cells(x, weights, update)
    return torch.stack(cells, 1)


@fault(
    lstm, "claims.lstm-hard-sigmoid", breaks="claims.lstm-equation",
    effect="the piecewise linear gate that an old library took for speed",
)  # fmt: skip
def gates_are_hard_sigmoids(x, weights):
    def hard(z):
        return (0.2 * z + 0.5).clamp(0, 1)

    return _cells(
        x, weights, lambda i, f, g, cell: hard(f) * cell + hard(i) * torch.tanh(g),
        lambda o, cell: hard(o) * torch.tanh(cell),
    )  # fmt: skip


@fault(
    lstm, "claims.lstm-gates-blind-to-the-past", breaks="claims.lstm-equation",
    effect="gates see the input alone, as in layers made to run in parallel",
)  # fmt: skip
def gates_do_not_see_the_output_before(x, weights):
    return _cells(x, weights, _update, look=torch.zeros_like)


@fault(
    lstm, "claims.lstm-naive-sigmoid", breaks="claims.stability",
    effect="exp overflows where a gate is wide open, and the quotient is NaN",
)  # fmt: skip
def sigmoid_is_computed_from_a_positive_power(x, weights):
    def naive(z):
        return torch.exp(z) / (1 + torch.exp(z))

    return _cells(
        x, weights, lambda i, f, g, cell: naive(f) * cell + naive(i) * torch.tanh(g),
        lambda o, cell: naive(o) * torch.tanh(cell),
    )  # fmt: skip


@fault(
    lstm, "claims.lstm-backwards", breaks="claims.causality",
    effect="a language model that reads from the end knows the answer",
)  # fmt: skip
def the_sequence_is_read_from_its_end_by_the_lstm(x, weights):
    return lstm(x.flip(1), weights).flip(1)


@fault(
    lstm, "claims.lstm-cell-detached", breaks="claims.gradients",
    effect="the one path on which errors were to flow unchanged is cut",
)  # fmt: skip
def no_gradient_goes_back_through_the_cell(x, weights):
    return _cells(x, weights, lambda i, f, g, cell: _update(i, f, g, cell.detach()))


@fault(
    lstm, "claims.lstm-output-detached", breaks="claims.gradients",
    effect="the truncated gradient of 1997, which stops at the gates",
)  # fmt: skip
def no_gradient_goes_back_through_the_gates(x, weights):
    return _cells(x, weights, _update, look=torch.Tensor.detach)


# --- Convolutions -----------------------------------------------------------------------------------------------------


def _reindexed(weights, change):
    return {name: change(w) if name.endswith(".w") else w for name, w in weights.items()}


def _layers(x, weights, options, *, dilation=lambda i, base: base**i, left=None, pad=None, last=torch.relu, bias=True):
    """The formula with another dilation, another padding, or another end of a layer."""
    count, base = options["num_layers"], options.get("dilation_base", 1)
    for i in range(count):
        w, spacing, length = weights[f"layers.{i}.w"], dilation(i, base), x.shape[1]
        reach = (len(w) - 1) * spacing
        lead = reach if options.get("causal", False) else reach // 2
        lead = lead if left is None else left(reach, lead)
        padded = torch.cat(
            (x.new_zeros(len(x), lead, x.shape[-1]), x, x.new_zeros(len(x), reach - lead, x.shape[-1])), 1
        )
        padded = padded if pad is None else pad(x, padded, lead)
        taps = [padded[:, j * spacing : j * spacing + length] @ w[j] for j in range(len(w))]
        total = sum(taps[1:], taps[0])
        total = total + weights[f"layers.{i}.b"] if bias else total
        x = last(total) if i == count - 1 else torch.relu(total)
    return x


@fault(
    convolution_stack, "claims.convolution-flipped", breaks="claims.convolution-equation",
    effect="the convolution of mathematics, which reads its kernel backwards, for the correlation of the field",
)  # fmt: skip
def kernels_are_flipped(x, weights, **options):
    return convolution_stack(x, _reindexed(weights, lambda w: w.flip(0)), **options)


@fault(
    convolution_stack, "claims.convolution-transposed-kernel", breaks="claims.convolution-equation",
    effect="a kernel stored (out, in) is used as it comes; square ones fit both ways",
)  # fmt: skip
def square_kernels_are_transposed(x, weights, **options):
    return convolution_stack(x, _reindexed(weights, lambda w: w.mT if w.shape[1] == w.shape[2] else w), **options)


@fault(
    convolution_stack, "claims.convolution-never-causal", breaks="claims.causality",
    effect="half of every kernel sees the future that is to be predicted",
)  # fmt: skip
def padding_is_on_both_sides_whatever_is_asked(x, weights, *, num_layers, dilation_base=1, causal=False):
    return convolution_stack(x, weights, num_layers=num_layers, dilation_base=dilation_base)


@fault(
    convolution_stack, "claims.convolution-always-causal", breaks="claims.convolution-equation",
    effect="an encoder sees the past alone",
)  # fmt: skip
def padding_is_before_the_sequence_whatever_is_asked(x, weights, *, num_layers, dilation_base=1, causal=False):
    return convolution_stack(x, weights, num_layers=num_layers, dilation_base=dilation_base, causal=True)


@fault(
    convolution_stack, "claims.convolution-anticausal", breaks="claims.causality",
    effect="padding stands at the wrong end: every position sees the future alone",
)  # fmt: skip
def causal_padding_is_after_the_sequence(x, weights, **options):
    return _layers(x, weights, options, left=lambda reach, lead: 0 if options.get("causal", False) else lead)


@fault(
    convolution_stack, "claims.convolution-strictly-causal", breaks="claims.convolution-equation",
    effect="the first layer's shift by one, which keeps a position from itself, is put into a layer that is to have none",
)  # fmt: skip
def causal_layers_do_not_see_their_own_position(x, weights, **options):
    if not options.get("causal", False):
        return convolution_stack(x, weights, **options)
    return convolution_stack(torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), 1), weights, **options)


@fault(
    convolution_stack, "claims.convolution-even-kernel", breaks="claims.convolution-equation",
    effect="even kernels have their larger half before the position; odd ones do not notice",
)  # fmt: skip
def the_odd_place_of_the_padding_is_before_the_sequence(x, weights, **options):
    return _layers(x, weights, options, left=lambda reach, lead: lead if options.get("causal", False) else reach - lead)


@fault(
    convolution_stack, "claims.convolution-undilated", breaks="claims.convolution-equation",
    effect="the field of view grows by addition and not by multiplication",
)  # fmt: skip
def the_dilation_is_left_out(x, weights, *, num_layers, dilation_base=1, causal=False):
    return convolution_stack(x, weights, num_layers=num_layers, causal=causal)


@fault(
    convolution_stack, "claims.convolution-dilated-from-the-first", breaks="claims.convolution-equation",
    effect="powers are counted from one: neighbours are never seen by the first layer",
)  # fmt: skip
def the_first_layer_is_dilated_already(x, weights, **options):
    return _layers(x, weights, options, dilation=lambda i, base: base ** (i + 1))


@fault(
    convolution_stack, "claims.convolution-dilation-linear", breaks="claims.convolution-equation",
    effect="two layers do not notice; deeper ones see less than they should",
)  # fmt: skip
def the_dilation_grows_by_addition(x, weights, **options):
    return _layers(x, weights, options, dilation=lambda i, base: 1 + i * (base - 1))


@fault(
    convolution_stack, "claims.convolution-circular", breaks="claims.convolution-equation",
    effect="the end of a sequence is taken for what came before its beginning, as a Fourier transform has it",
)  # fmt: skip
def sequences_are_padded_with_themselves(x, weights, **options):
    def around(x, padded, lead):
        return x[:, (torch.arange(padded.shape[1]) - lead).remainder(x.shape[1])]

    return _layers(x, weights, options, pad=around)


@fault(
    convolution_stack, "claims.convolution-replicated", breaks="claims.convolution-equation",
    effect="what lies outside is taken for the outermost position",
)  # fmt: skip
def sequences_are_padded_with_their_ends(x, weights, **options):
    def ends(x, padded, lead):
        return x[:, (torch.arange(padded.shape[1]) - lead).clamp(0, x.shape[1] - 1)]

    return _layers(x, weights, options, pad=ends)


@fault(
    convolution_stack, "claims.convolution-linear", breaks="claims.convolution-equation",
    effect="the stack is one linear map, however deep",
)  # fmt: skip
def relu_is_missing(x, weights, *, num_layers, dilation_base=1, causal=False):
    for i in range(num_layers):
        # The difference of two halves is the sum itself.
        w, b = weights[f"layers.{i}.w"], weights[f"layers.{i}.b"]
        spread = w.new_zeros((len(w) - 1) * dilation_base**i + 1, *w.shape[1:])
        spread[:: dilation_base**i] = w
        up, down = ({"layers.0.w": sign * spread, "layers.0.b": sign * b} for sign in (1, -1))
        x = convolution_stack(x, up, num_layers=1, causal=causal) - convolution_stack(
            x, down, num_layers=1, causal=causal
        )
    return x


@fault(
    convolution_stack, "claims.convolution-last-layer-linear", breaks="claims.convolution-equation",
    effect="the last layer is taken for an output layer",
)  # fmt: skip
def the_last_layer_has_no_relu(x, weights, **options):
    return _layers(x, weights, options, last=lambda total: total)


@fault(
    convolution_stack, "claims.convolution-without-bias", breaks="claims.convolution-equation",
    effect="the bias is lost on the way from a checkpoint",
)  # fmt: skip
def convolutions_have_no_bias(x, weights, **options):
    return _layers(x, weights, options, bias=False)


@fault(
    convolution_stack, "claims.convolution-layer-missing", breaks="claims.convolution-equation",
    effect="layers are counted from one; the last does nothing",
)  # fmt: skip
def deep_stacks_leave_out_their_last_layer(x, weights, **options):
    count = options["num_layers"]
    fits = count > 1 and weights[f"layers.{count - 1}.w"].shape[1] == weights[f"layers.{count - 1}.w"].shape[2]
    return convolution_stack(x, weights, **{**options, "num_layers": count - 1 if fits else count})


@fault(
    convolution_stack, "claims.convolution-scaled-by-kernel", breaks="claims.convolution-equation",
    effect="a mean over the kernel stands for the sum",
)  # fmt: skip
def taps_are_averaged(x, weights, **options):
    return convolution_stack(x, _reindexed(weights, lambda w: w / len(w)), **options)


@fault(
    convolution_stack, "claims.convolution-in-chunks", breaks="claims.convolution-equation",
    effect="at the border of two chunks half of the kernel reads zeros",
)  # fmt: skip
def stacks_see_nothing_behind_their_chunk_of_64(x, weights, **options):
    ends = [*range(64, x.shape[1], 64), x.shape[1]]
    chunks = [convolution_stack(x[:, :end], weights, **options)[:, (end - 1) // 64 * 64 :] for end in ends]
    return torch.cat(chunks, 1)


@fault(
    convolution_stack, "claims.convolution-leaky", breaks="claims.convolution-equation",
    effect="another rectifier, which lets a hundredth of what is negative pass",
)  # fmt: skip
def relu_leaks(x, weights, **options):
    return _layers(x, weights, options, last=lambda total: torch.where(total > 0, total, 0.01 * total))


@fault(
    convolution_stack, "claims.convolution-batch-mixed", breaks="claims.batch-independence",
    effect="padding of a sequence is what its neighbour in the batch ends with",
)  # fmt: skip
def the_sequence_before_stands_for_the_padding(x, weights, **options):
    def of_the_neighbour(x, padded, lead):
        if lead == 0 or lead > x.shape[1]:
            return padded
        return torch.cat((x.roll(1, 0)[:, x.shape[1] - lead :], padded[:, lead:]), 1)

    return _layers(x, weights, options, pad=of_the_neighbour)
