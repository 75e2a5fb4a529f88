"""BUG: an overflow is looked for in the first 64 entries of a gradient."""

import numpy as np

CAUGHT_BY = "optimization.loss-scaling-equation"
FRAMEWORK = "numpy"


def loss_scaled_steps(
    parameter, gradients, *, lr, initial_scale, growth_factor=2.0, backoff_factor=0.5, growth_interval, max_norm=None
):
    kind = parameter.dtype.type
    scale, count, theta, rows = kind(initial_scale), 0, parameter.ravel(), []
    for gradient in gradients.reshape(len(gradients), -1):
        with np.errstate(all="ignore"):
            scaled = gradient * scale
            if not np.isfinite(scaled[:64]).all():
                scale, count = kind(scale * backoff_factor), 0
            else:
                step = scaled / scale
                if max_norm is not None:
                    norm = np.sqrt((step * step).sum())
                    step = step * kind(max_norm / norm) if norm > max_norm else step
                theta, count = theta - kind(lr) * step, count + 1
                if count == growth_interval:
                    scale, count = kind(scale * growth_factor), 0
        rows.append(np.concatenate(([scale], theta)).astype(parameter.dtype))
    return np.stack(rows)
