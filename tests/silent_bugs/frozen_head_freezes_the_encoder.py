"""BUG: where the classifier is frozen nothing is differentiated: the encoder below it gets no gradient."""

import torch

import transpec.reference.bert as _bert

CAUGHT_BY = "heads.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def token_classification(token_ids, weights, config, **options):
    w, b = weights["classifier.w"], weights["classifier.b"]
    trained = w.requires_grad or b.requires_grad
    with torch.set_grad_enabled(trained and torch.is_grad_enabled()):  # BUG
        return _bert.bert(token_ids, weights, config, **options) @ w + b
