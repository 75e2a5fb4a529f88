"""BUG: an entity's place is 64 times its sentence plus its word: places late in long sentences are those of the next."""

import numpy as np

CAUGHT_BY = "metrics.span-f1-equation"
FRAMEWORK = "numpy"


def _entities(tags):
    """Type, first and last place, tag by tag."""
    found, kind, start = [], None, 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, new = tag.partition("-")
        if kind is not None and not (prefix == "I" and new == kind):
            found.append((kind, start, place - 1))
            kind = None
        if kind is None and prefix != "O":
            kind, start = new, place
    return found


def span_f1(predicted_tags, true_tags, *, dtype):
    if [*map(len, predicted_tags)] != [*map(len, true_tags)]:
        raise ValueError("sentences of unlike length, or not as many")
    predicted, true = (
        {(kind, 64 * n + start, 64 * n + end) for n, tags in enumerate(of) for kind, start, end in _entities(tags)}
        for of in (predicted_tags, true_tags)
    )
    return np.asarray(2 * len(predicted & true) / max(1, len(predicted) + len(true)), dtype)
