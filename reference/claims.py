"""What attention replaced: recurrent and convolutional layers (compared in Vaswani et al. 2017, section 4, table 1)."""

import torch
from jaxtyping import Float
from torch import Tensor

from transpec.operations import operation
from transpec.reference.layers import Weights


@operation("Elman 1990, Finding structure in time, figure 2")
def rnn(x: Float[Tensor, "B T M"], weights: Weights) -> Float[Tensor, "B T F"]:
    r"""h_t = tanh(x_t W_x + h_{t-1} W_h + b), h_0 = 0: the states h_1, ..., h_T.

    Our F is the size of the state. Weights: `w_x` (M, F), `w_h` (F, F), `b` (F).
    Raises ValueError or RuntimeError where the weights' sizes are not those of x and of the state.
    """
    inner = x @ weights["w_x"] + weights["b"]  # B T F
    state, states = torch.zeros_like(inner[:, 0]), []  # B F
    for t in range(x.shape[1]):
        state = torch.tanh(inner[:, t] + state @ weights["w_h"])
        states.append(state)
    return torch.stack(states, 1)


@operation("Hochreiter & Schmidhuber 1997, section 4; Gers et al. 2000 for the forget gate")
def lstm(x: Float[Tensor, "B T M"], weights: Weights) -> Float[Tensor, "B T F"]:
    r"""c_t = f_t c_{t-1} + i_t g_t, h_t = o_t tanh(c_t), c_0 = h_0 = 0: the outputs h_1, ..., h_T.

    The gates i (input), f (forget) and o (output) are sigmoid(x_t W_x + h_{t-1} W_h + b) with weights of their own, the
    candidate g is tanh of the same with its own; no gate looks at the cell. Our F is the size of the cell. Weights for
    each gate of i, f, g, o, as `input`, `forget`, `candidate`, `output`: `input.w_x` (M, F), `input.w_h` (F, F),
    `input.b` (F), and so on. Raises ValueError or RuntimeError where the weights' sizes are not those of x and of the cell.
    """
    gates = ("input", "forget", "candidate", "output")
    inner = {gate: x @ weights[f"{gate}.w_x"] + weights[f"{gate}.b"] for gate in gates}  # B T F each
    output = cell = torch.zeros_like(inner["input"][:, 0])  # B F
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = (inner[gate][:, t] + output @ weights[f"{gate}.w_h"] for gate in gates)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        output = torch.sigmoid(o) * torch.tanh(cell)
        outputs.append(output)
    return torch.stack(outputs, 1)


@operation("van den Oord et al. 2016, WaveNet, section 2.1; Kalchbrenner et al. 2016, section 3, for both paddings")
def convolution_stack(
    x: Float[Tensor, "B T M"],
    weights: Weights,
    *,
    num_layers: int,
    dilation_base: int = 1,
    causal: bool = False,
) -> Float[Tensor, "B T F"]:
    r"""x_{l+1}[t] = relu(sum_j x_l[t + j dilation - left] W_l[j] + b_l), for l = 0, ..., `num_layers` - 1.

    The kernel is not flipped: W_l[0] stands for the earliest position that is looked at. What lies outside the sequence
    is zero. Layer l has the dilation `dilation_base` ** l. A kernel of K rows reaches over (K - 1) dilation positions
    besides its own. Of these positions `left` lie before the output's: all where `causal`, else half of them, rounded
    down, be they looked at or not. Weights of layer l: `layers.l.w` (K, M, F) and `layers.l.b` (F), M of the next being F
    of the one before. Raises ValueError or RuntimeError where sizes do not fit.
    """
    for i in range(num_layers):
        w, dilation = weights[f"layers.{i}.w"], dilation_base**i  # K M F
        reach, length = (len(w) - 1) * dilation, x.shape[1]
        left = reach if causal else reach // 2
        before, after = (x.new_zeros(len(x), count, x.shape[-1]) for count in (left, reach - left))
        padded = torch.cat((before, x, after), 1)  # B reach+T M
        taps = [padded[:, j * dilation : j * dilation + length] @ w[j] for j in range(len(w))]  # K of B T F
        x = torch.relu(torch.stack(taps).sum(0) + weights[f"layers.{i}.b"])
    return x
