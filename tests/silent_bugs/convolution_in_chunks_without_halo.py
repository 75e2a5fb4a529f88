"""BUG: long sequences are read in chunks of 64 that see what is before them, and zeros for what comes after."""

import numpy as np

CAUGHT_BY = "claims.convolution-equation"
FRAMEWORK = "numpy"


def _layers(x, weights, num_layers, base, causal):
    for i in range(num_layers):
        w, dilation = weights[f"layers.{i}.w"], base**i
        reach = (len(w) - 1) * dilation
        left = reach if causal else reach // 2
        padded = np.pad(x, ((0, 0), (left, reach - left), (0, 0)))
        taps = (padded[:, j * dilation : j * dilation + x.shape[1]] @ w[j] for j in range(len(w)))
        x = np.maximum(sum(taps) + weights[f"layers.{i}.b"], 0).astype(x.dtype)
    return x


def convolution_stack(x, weights, *, num_layers, dilation_base=1, causal=False):
    ends = [*range(64, x.shape[1], 64), x.shape[1]]
    read = (_layers(x[:, :end], weights, num_layers, dilation_base, causal) for end in ends)
    return np.concatenate([part[:, (end - 1) // 64 * 64 :] for part, end in zip(read, ends, strict=True)], 1)
