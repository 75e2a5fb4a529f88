"""The second witness on recurrent and convolutional layers: their formulas in mpmath, one number at a time.

Elman 1990; Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; van den Oord et al. 2016, section 2.1.
"""

from __future__ import annotations

from typing import Any

from witness import Matrix, Nested, Weights, mp


def rnn(x: Nested, weights: Weights) -> Nested:
    """States of every sequence."""
    return [_states(sequence, weights) for sequence in x]


def _states(sequence: Matrix, weights: Weights) -> Matrix:
    state = [mp.mpf(0)] * len(weights["b"])
    states = []
    for row in sequence:
        state = [mp.tanh(total) for total in _totals(row, state, weights["w_x"], weights["w_h"], weights["b"])]
        states.append(state)
    return states


def _totals(row: list[Any], state: list[Any], w_x: Matrix, w_h: Matrix, b: list[Any]) -> list[Any]:
    """sum_m x_m W_x[m, f] + sum_e h_e W_h[e, f] + b_f for every f."""
    if any(len(line) != len(b) for line in (*w_x, *w_h)):
        raise ValueError("every row of a matrix has a column for each number of the state")
    return [
        mp.fsum(
            [mp.mpf(b[f])]
            + [mp.mpf(number) * line[f] for number, line in zip(row, w_x, strict=True)]
            + [mp.mpf(number) * line[f] for number, line in zip(state, w_h, strict=True)]
        )
        for f in range(len(b))
    ]


def lstm(x: Nested, weights: Weights) -> Nested:
    """Outputs of every sequence."""
    return [_outputs(sequence, weights) for sequence in x]


def _outputs(sequence: Matrix, weights: Weights) -> Matrix:
    size = len(weights["input.b"])
    cell, output = [mp.mpf(0)] * size, [mp.mpf(0)] * size
    outputs = []
    for row in sequence:
        totals = {
            gate: _totals(row, output, *(weights[f"{gate}.{part}"] for part in ("w_x", "w_h", "b")))
            for gate in ("input", "forget", "candidate", "output")
        }
        cell = [
            _logistic(totals["forget"][f]) * cell[f] + _logistic(totals["input"][f]) * mp.tanh(totals["candidate"][f])
            for f in range(size)
        ]
        output = [_logistic(totals["output"][f]) * mp.tanh(cell[f]) for f in range(size)]
        outputs.append(output)
    return outputs


def _logistic(z: Any) -> Any:
    return 1 / (1 + mp.exp(-z))


def convolution_stack(
    x: Nested, weights: Weights, *, num_layers: int, dilation_base: int = 1, causal: bool = False
) -> Nested:
    """Results of the last layer for every sequence."""
    for i in range(num_layers):
        kernel, bias = weights[f"layers.{i}.w"], weights[f"layers.{i}.b"]
        x = [_convolved(sequence, kernel, bias, dilation_base**i, causal) for sequence in x]
    return x


def _convolved(sequence: Matrix, kernel: Nested, bias: list[Any], dilation: int, causal: bool) -> Matrix:
    reach = dilation * (len(kernel) - 1)
    first = -reach if causal else -(reach // 2)
    if any(len(line) != len(bias) for rows in kernel for line in rows):
        raise ValueError("every row of a kernel has a column for each bias")
    result = []
    for t in range(len(sequence)):
        totals = []
        for f in range(len(bias)):
            terms = [mp.mpf(bias[f])]
            for j, rows in enumerate(kernel):
                place = t + first + j * dilation
                if 0 <= place < len(sequence):
                    terms += [mp.mpf(number) * line[f] for number, line in zip(sequence[place], rows, strict=True)]
            totals.append(max(mp.mpf(0), mp.fsum(terms)))
        result.append(totals)
    return result
