"""BUG: with eps outside the root the gradient of a row of zeros is NaN, though it is cotangent * gain / eps."""

CAUGHT_BY = "normalization.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True
CHOICES = {"normalization.rms-epsilon": "outside"}


def rms_norm(x, weights, *, eps):
    root = x.square().mean(-1, keepdim=True).sqrt()  # BUG: sqrt'(0) = inf, times 0 is NaN
    return weights["gain"] * (x / (root + eps))
