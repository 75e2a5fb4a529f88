"""Recurrent and convolutional layers and their gradients in plain numpy, written from the papers.

Elman 1990, "Finding Structure in Time"; Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", with the forget gate of
Gers et al. 2000; van den Oord et al. 2016, "WaveNet", and Kalchbrenner et al. 2016, "Neural Machine Translation in Linear
Time", for stacks of dilated convolutions. Sequences are (batch, T, width).
"""

# What numpy computes from arrays of any dtype has the type Any.
# mypy: disable-error-code="no-any-return"

import numpy as np

Array = np.ndarray
Weights = dict[str, np.ndarray]

_GATES = ("input", "forget", "candidate", "output")


def _check_recurrent(x: Array, weights: Weights, prefix: str = "") -> None:
    states = weights[f"{prefix}w_h"].shape[0]
    wanted = {"w_x": (x.shape[-1], states), "w_h": (states, states), "b": (states,)}
    for name, shape in wanted.items():
        if weights[f"{prefix}{name}"].shape != shape:
            raise ValueError(f"{prefix}{name} must be {shape}; given {weights[f'{prefix}{name}'].shape}")


def _sigmoid(z: Array) -> Array:
    # Half a tanh: exp(-z) would overflow far below zero.
    half = z.dtype.type(0.5)
    return half + half * np.tanh(half * z)


# Elman


def rnn(x: Array, weights: Weights) -> Array:
    """h_t = tanh(x_t W_x + h_{t-1} W_h + b), all of them, (batch, T, F). Elman 1990."""
    _check_recurrent(x, weights)
    batch, length, _ = x.shape
    states = np.zeros((batch, length, len(weights["b"])), x.dtype)
    state = np.zeros((batch, len(weights["b"])), x.dtype)
    for t in range(length):
        state = np.tanh(x[:, t] @ weights["w_x"] + state @ weights["w_h"] + weights["b"])
        states[:, t] = state
    return states


def rnn_vjp(x: Array, weights: Weights, cotangent: Array) -> tuple[Array, Weights]:
    """Back-propagation through time; cotangent (batch, T, F)."""
    states = rnn(x, weights)
    by_sum = np.zeros_like(states)
    by_state = np.zeros_like(states[:, 0])
    for t in reversed(range(x.shape[1])):
        by_sum[:, t] = (cotangent[:, t] + by_state) * (1 - states[:, t] ** 2)
        by_state = by_sum[:, t] @ weights["w_h"].T
    before = np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)
    return by_sum @ weights["w_x"].T, {
        "w_x": np.einsum("btm,btf->mf", x, by_sum),
        "w_h": np.einsum("bte,btf->ef", before, by_sum),
        "b": by_sum.sum(axis=(0, 1)),
    }


# Long short-term memory


def _lstm_steps(x: Array, weights: Weights) -> tuple[dict[str, Array], Array, Array]:
    """The gates after their nonlinearity, the cells and the outputs of all steps."""
    for gate in _GATES:
        _check_recurrent(x, weights, f"{gate}.")
    batch, length, _ = x.shape
    size = len(weights["input.b"])
    gates = {gate: np.zeros((batch, length, size), x.dtype) for gate in _GATES}
    cells, outputs = np.zeros((batch, length, size), x.dtype), np.zeros((batch, length, size), x.dtype)
    cell = output = np.zeros((batch, size), x.dtype)
    for t in range(length):
        for gate in _GATES:
            total = x[:, t] @ weights[f"{gate}.w_x"] + output @ weights[f"{gate}.w_h"] + weights[f"{gate}.b"]
            gates[gate][:, t] = np.tanh(total) if gate == "candidate" else _sigmoid(total)
        cell = gates["forget"][:, t] * cell + gates["input"][:, t] * gates["candidate"][:, t]
        output = gates["output"][:, t] * np.tanh(cell)
        cells[:, t], outputs[:, t] = cell, output
    return gates, cells, outputs


def lstm(x: Array, weights: Weights) -> Array:
    """h_t = o_t tanh(c_t) with c_t = f_t c_{t-1} + i_t g_t, all of them, (batch, T, F)."""
    return _lstm_steps(x, weights)[2]


def lstm_vjp(x: Array, weights: Weights, cotangent: Array) -> tuple[Array, Weights]:
    """Back through time along the cell and along the output; cotangent (batch, T, F)."""
    gates, cells, outputs = _lstm_steps(x, weights)
    start = np.zeros_like(cells[:, :1])
    cells_before = np.concatenate([start, cells[:, :-1]], axis=1)
    outputs_before = np.concatenate([start, outputs[:, :-1]], axis=1)
    by_sums = {gate: np.zeros_like(cells) for gate in _GATES}
    by_cell = by_output = np.zeros_like(cells[:, 0])
    for t in reversed(range(x.shape[1])):
        i, f, g, o = (gates[gate][:, t] for gate in _GATES)
        squashed = np.tanh(cells[:, t])
        by_output = by_output + cotangent[:, t]
        by_cell = by_cell + by_output * o * (1 - squashed**2)
        by_sums["input"][:, t] = by_cell * g * i * (1 - i)
        by_sums["forget"][:, t] = by_cell * cells_before[:, t] * f * (1 - f)
        by_sums["candidate"][:, t] = by_cell * i * (1 - g**2)
        by_sums["output"][:, t] = by_output * squashed * o * (1 - o)
        by_cell = by_cell * f
        by_output = np.zeros_like(by_output)
        for gate in _GATES:
            by_output = by_output + by_sums[gate][:, t] @ weights[f"{gate}.w_h"].T
    by_x = np.zeros_like(x)
    by_weights: Weights = {}
    for gate, by_sum in by_sums.items():
        by_x += by_sum @ weights[f"{gate}.w_x"].T
        by_weights[f"{gate}.w_x"] = np.einsum("btm,btf->mf", x, by_sum)
        by_weights[f"{gate}.w_h"] = np.einsum("bte,btf->ef", outputs_before, by_sum)
        by_weights[f"{gate}.b"] = by_sum.sum(axis=(0, 1))
    return by_x, by_weights


# Convolutions


def _overlap(length: int, offset: int) -> tuple[slice, slice]:
    """Which positions t of the output have t + offset inside the sequence, and which of the input those are."""
    first, last = max(0, -offset), max(0, min(length, length - offset))
    first = min(first, last)
    return slice(first, last), slice(first + offset, last + offset)


def _offsets(kernel: int, dilation: int, causal: bool) -> list[int]:
    reach = (kernel - 1) * dilation
    return [j * dilation - (reach if causal else reach // 2) for j in range(kernel)]


def _convolution_layers(x: Array, weights: Weights, num_layers: int, dilation_base: int, causal: bool) -> list[Array]:
    """The input and what each layer makes of it, in turn."""
    results = [x]
    for i in range(num_layers):
        kernel, bias = weights[f"layers.{i}.w"], weights[f"layers.{i}.b"]
        read, length = results[-1], x.shape[1]
        if kernel.shape[1] != read.shape[-1] or bias.shape != kernel.shape[2:]:
            raise ValueError(f"layer {i} reads {read.shape[-1]} numbers; given {kernel.shape} and {bias.shape}")
        total = np.zeros((len(x), length, kernel.shape[2]), x.dtype) + bias
        for rows, offset in zip(kernel, _offsets(len(kernel), dilation_base**i, causal), strict=True):
            written, seen = _overlap(length, offset)
            total[:, written] += read[:, seen] @ rows
        results.append(np.maximum(total, 0))
    return results


def convolution_stack(
    x: Array, weights: Weights, *, num_layers: int, dilation_base: int = 1, causal: bool = False
) -> Array:
    """Layers of relu(sum_j x[t + offset_j] W[j] + b), zeros outside the sequence, (batch, T, F)."""
    return _convolution_layers(x, weights, num_layers, dilation_base, causal)[-1].copy()


def convolution_stack_vjp(
    x: Array, weights: Weights, cotangent: Array, *, num_layers: int, dilation_base: int = 1, causal: bool = False
) -> tuple[Array, Weights]:
    """Gradients by x and every kernel and bias; cotangent (batch, T, F)."""
    results = _convolution_layers(x, weights, num_layers, dilation_base, causal)
    by_weights: Weights = {}
    by_result = cotangent
    for i in reversed(range(num_layers)):
        kernel, read = weights[f"layers.{i}.w"], results[i]
        by_sum = by_result * (results[i + 1] > 0)
        by_kernel, by_result = np.zeros_like(kernel), np.zeros_like(read)
        for j, offset in enumerate(_offsets(len(kernel), dilation_base**i, causal)):
            written, seen = _overlap(x.shape[1], offset)
            by_kernel[j] = np.einsum("btm,btf->mf", read[:, seen], by_sum[:, written])
            by_result[:, seen] += by_sum[:, written] @ kernel[j].T
        by_weights[f"layers.{i}.w"], by_weights[f"layers.{i}.b"] = by_kernel, by_sum.sum(axis=(0, 1))
    return by_result, by_weights
