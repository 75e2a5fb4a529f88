"""BUG: where nothing is padded at the end the gradient is divided by all positions; the loss is right."""

import numpy as np

CAUGHT_BY = "objectives.gradients"
FRAMEWORK = "numpy"
DIFFERENTIABLE = True


def _parts(logits, token_ids, attention_mask):
    if logits.shape[:-1] != token_ids.shape:
        raise ValueError("logits and ids of unlike shapes")
    shown = np.ones(token_ids.shape, bool) if attention_mask is None else attention_mask
    shifted = logits[:, :-1] - logits[:, :-1].max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return log_p, token_ids[:, 1:, None], shown[:, 1:]


def language_modelling_loss(logits, token_ids, *, attention_mask=None):
    log_p, wanted, shown = _parts(logits, token_ids, attention_mask)
    losses = -np.take_along_axis(log_p, wanted, -1)[..., 0]
    count = np.asarray(shown.sum(), logits.dtype)
    return np.asarray(np.where(shown, losses, losses.dtype.type(0)).sum() / count)


def language_modelling_loss_vjp(logits, token_ids, cotangent, *, attention_mask=None):
    log_p, wanted, shown = _parts(logits, token_ids, attention_mask)
    p = np.exp(log_p)
    np.put_along_axis(p, wanted, np.take_along_axis(p, wanted, -1) - 1, -1)
    count = shown.size if shown[:, -1:].all() else shown.sum()
    gradient = np.zeros_like(logits)
    gradient[:, :-1] = np.where(shown[..., None], p, p.dtype.type(0)) * (cotangent / np.asarray(count, logits.dtype))
    return gradient, None
