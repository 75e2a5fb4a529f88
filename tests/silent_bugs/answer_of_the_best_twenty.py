"""BUG: only the 20 best starts and the 20 best ends are combined: in long passages the best span may not be of them."""

import numpy as np

CAUGHT_BY = "heads.question-answering-span-equation"
FRAMEWORK = "numpy"


def best_span(start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0):
    if max_length < 1:
        raise ValueError("a span holds a token")
    spans = []
    for start, end, within in zip(start_logits, end_logits, allowed, strict=True):
        places = np.flatnonzero(within)
        best, span = -np.inf, None
        for few in (20, len(places)):
            starts, ends = (places[np.argsort(-logits[places], kind="stable")[:few]] for logits in (start, end))
            for i in starts:
                for j in ends:
                    if 0 <= j - i < max_length and start[i] + end[j] > best:
                        best, span = start[i] + end[j], (i, j)
            if span is not None:
                break
        spans.append((0, 0) if no_answer and start[0] + end[0] > best + threshold else span)
    return np.array(spans, dtype=np.int64).reshape(-1, 2)
