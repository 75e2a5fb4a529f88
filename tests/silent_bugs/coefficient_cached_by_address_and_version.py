"""BUG: results are kept by address, version and length of both tensors: others that come to lie there get the old one."""

import torch

CAUGHT_BY = "metrics.arrays-no-memory"
FRAMEWORK = "torch"
_CACHE = {}


def _matthews(predictions, labels):
    if len(predictions) != len(labels):
        raise ValueError(f"{len(predictions)} predictions and {len(labels)} labels")
    classes = torch.cat((predictions, labels)).unique().unsqueeze(-1)
    n, right = len(labels), int((predictions == labels).sum())
    found, there = ((ids == classes).sum(-1).tolist() for ids in (predictions, labels))
    above = right * n - sum(p * t for p, t in zip(found, there, strict=True))
    below = (n * n - sum(p * p for p in found)) * (n * n - sum(t * t for t in there))
    return above / below**0.5 if below else 0.0


def matthews(predictions, labels, *, dtype):
    key = tuple((ids.data_ptr(), ids._version, len(ids)) for ids in (predictions, labels))
    if key not in _CACHE:
        _CACHE[key] = _matthews(predictions, labels)
    return torch.tensor(_CACHE[key], dtype=dtype)
