"""BUG: the transposed weights are kept by the memory they come from: what is written into it later is not seen."""

import numpy as np

CAUGHT_BY = "claims.no-memory"
FRAMEWORK = "numpy"
_READ = {}


def rnn(x, weights):
    key = tuple(id(weights[name]) for name in ("w_x", "w_h", "b"))
    if key not in _READ:
        copies = [np.array(weights[name]) for name in ("w_x", "w_h", "b")]
        _READ[key] = (*copies, list(weights.values()))  # held, so that no other array has their ids
    w_x, w_h, b, _ = _READ[key]
    inner = x @ w_x + b
    states = np.zeros((*x.shape[:2], len(b)), x.dtype)
    state = np.zeros((len(x), len(b)), x.dtype)
    for t in range(x.shape[1]):
        state = np.tanh(inner[:, t] + state @ w_h)
        states[:, t] = state
    return states
