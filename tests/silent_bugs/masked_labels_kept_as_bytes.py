"""BUG: labels are kept as bytes: the loss is right as long as no label is above 255."""

import numpy as np

CAUGHT_BY = "objectives.masked-language-modelling-equation"
FRAMEWORK = "numpy"


def masked_language_modelling_loss(logits, labels, *, ignore_id=-100):
    if logits.shape[:-1] != labels.shape:
        raise ValueError("one label for each row of logits")
    labelled = labels != ignore_id
    rows, wanted = logits[labelled], labels[labelled]
    if ((wanted < 0) | (wanted >= logits.shape[-1])).any():
        raise ValueError("labels are words")
    shifted = rows - rows.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_p, wanted.astype(np.uint8)[:, None].astype(np.int64), -1)
    return np.asarray(losses.sum() / np.asarray(len(rows), logits.dtype))
