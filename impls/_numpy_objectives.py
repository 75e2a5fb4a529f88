"""Losses and corruptions of pretraining in plain numpy, written from the papers.

Szegedy et al. 2016, "Rethinking the Inception Architecture"; Radford et al. 2018, GPT; Devlin et al. 2019, BERT; Hinton
et al. 2015, "Distilling the Knowledge in a Neural Network"; Ott et al. 2018, "Scaling Neural Machine Translation";
Raffel et al. 2020, T5.

Every loss is a weighted sum of token losses: its gradient by the logits is softmax minus target, times the weight.
"""

# What numpy computes from arrays of any dtype has the type Any.
# mypy: disable-error-code="no-any-return"

import numpy as np

Array = np.ndarray


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _targets(logits: Array, labels: Array, ignore_id: int, smoothing: float) -> tuple[Array, Array]:
    """The distribution that each row should have, (..., V), zero where there is no label, and where there is one."""
    if logits.shape[:-1] != labels.shape:
        raise ValueError(f"logits {logits.shape} need labels of the shape {logits.shape[:-1]}; given {labels.shape}")
    words = logits.shape[-1]
    labelled = labels != ignore_id
    if ((labels < 0) | (labels >= words))[labelled].any():
        raise ValueError(f"labels must be words from 0 to {words - 1}, or {ignore_id} where there is none")
    one_hot = (labels[..., None] == np.arange(words)).astype(logits.dtype)
    return (one_hot * (1 - smoothing) + smoothing / words) * labelled[..., None], labelled


def _mean_over(labelled: Array, logits: Array) -> Array:
    """1 / N as an array of the logits' dtype, NaN where N is 0."""
    count = int(labelled.sum())
    return np.asarray(1.0 / count if count else np.nan, dtype=logits.dtype)


def cross_entropy(logits: Array, labels: Array, *, ignore_id: int = -100, label_smoothing: float = 0.0) -> Array:
    """-1/N sum_n sum_v q_n(v) log p_n(v), q(v) = (1 - e) [v = label] + e / V. Szegedy et al. 2016, section 7.

    logits (..., V), labels (...), N the number of labels that are not ignore_id; returns ().
    """
    target, labelled = _targets(logits, labels, ignore_id, label_smoothing)
    return np.asarray(-(target * _log_softmax(logits)).sum() * _mean_over(labelled, logits))


def cross_entropy_vjp(
    logits: Array, labels: Array, cotangent: Array, *, ignore_id: int = -100, label_smoothing: float = 0.0
) -> tuple[Array, None]:
    """Gradient by the logits."""
    target, labelled = _targets(logits, labels, ignore_id, label_smoothing)
    by_logits = np.exp(_log_softmax(logits)) * labelled[..., None] - target
    return by_logits * _mean_over(labelled, logits) * cotangent, None


def _shifted(logits: Array, token_ids: Array, attention_mask: Array | None) -> tuple[Array, Array]:
    """What predicts and what is predicted: all logits but the last, all tokens but the first, -100 where hidden."""
    if logits.shape[:-1] != token_ids.shape:
        raise ValueError(f"there must be logits at each of the token ids; given {logits.shape} and {token_ids.shape}")
    following = token_ids[:, 1:]
    if attention_mask is not None:
        following = np.where(attention_mask[:, 1:], following, -100)
    return logits[:, :-1], following


def language_modelling_loss(logits: Array, token_ids: Array, *, attention_mask: Array | None = None) -> Array:
    """-1/N sum_t log P(u_{t+1} | u_1 ... u_t) over visible tokens. Radford et al. 2018, section 3.1, equation 1.

    logits (batch, T, V), token_ids and attention_mask (batch, T); returns ().
    """
    return cross_entropy(*_shifted(logits, token_ids, attention_mask))


def language_modelling_loss_vjp(
    logits: Array, token_ids: Array, cotangent: Array, *, attention_mask: Array | None = None
) -> tuple[Array, None]:
    """Gradient by the logits; nothing at the last position."""
    gradient = np.zeros_like(logits)
    gradient[:, :-1] = cross_entropy_vjp(*_shifted(logits, token_ids, attention_mask), cotangent)[0]
    return gradient, None


def masked_language_modelling_loss(logits: Array, labels: Array, *, ignore_id: int = -100) -> Array:
    """-1/N sum_t log p_t(label_t) over labelled positions. Devlin et al. 2019, section 3.1, Task #1.

    logits (batch, T, V), labels (batch, T); returns ().
    """
    return cross_entropy(logits, labels, ignore_id=ignore_id)


def masked_language_modelling_loss_vjp(
    logits: Array, labels: Array, cotangent: Array, *, ignore_id: int = -100
) -> tuple[Array, None]:
    """Gradient by the logits."""
    return cross_entropy_vjp(logits, labels, cotangent, ignore_id=ignore_id)


def next_sentence_loss(logits: Array, is_next: Array) -> Array:
    """-1/B sum_b log p_b(IsNext or NotNext), which are indices 0 and 1. Devlin et al. 2019, section 3.1, Task #2.

    logits (batch, 2), is_next (batch,) boolean; returns ().
    """
    return cross_entropy(logits, np.where(is_next, 0, 1))


def next_sentence_loss_vjp(logits: Array, is_next: Array, cotangent: Array) -> tuple[Array, None]:
    """Gradient by the logits."""
    return cross_entropy_vjp(logits, np.where(is_next, 0, 1), cotangent)


def distillation_loss(
    student_logits: Array, teacher_logits: Array, labels: Array, *, temperature: float, alpha: float
) -> Array:
    """alpha T^2 mean KL(teacher_T || student_T) + (1 - alpha) CE(student, labels). Hinton et al. 2015, section 2.

    logits (..., V), labels (...); returns ().
    """
    _check_teacher(student_logits, teacher_logits)
    student, teacher = (_log_softmax(logits / temperature) for logits in (student_logits, teacher_logits))
    divergence = (np.exp(teacher) * (teacher - student)).sum(axis=-1).mean()
    hard = cross_entropy(student_logits, labels)
    return np.asarray(divergence * (alpha * temperature**2) + hard * (1 - alpha))


def distillation_loss_vjp(
    student_logits: Array, teacher_logits: Array, labels: Array, cotangent: Array, *, temperature: float, alpha: float
) -> tuple[Array, Array, None]:
    """Gradients by the student's logits and by the teacher's, which are constants: zero."""
    student, teacher = (np.exp(_log_softmax(logits / temperature)) for logits in (student_logits, teacher_logits))
    soft = (student - teacher) * (alpha * temperature / labels.size)  # T^2 times the 1/T of the inner derivative
    hard = cross_entropy_vjp(student_logits, labels, cotangent)[0] * (1 - alpha)
    return soft * cotangent + hard, np.zeros_like(teacher_logits), None


def _check_teacher(student: Array, teacher: Array) -> None:
    if student.shape != teacher.shape:
        raise ValueError(f"student and teacher must have logits for the same words; {student.shape}, {teacher.shape}")


def accumulated_loss(logits: Array, labels: Array, *, ignore_id: int = -100) -> Array:
    """The token losses of all micro-batches over the number of all their labels. Ott et al. 2018.

    logits (N, batch, T, V), labels (N, batch, T); returns ().
    """
    total = np.zeros((), dtype=logits.dtype)
    for of_micro_batch, its_labels in zip(logits, labels, strict=True):
        target, _ = _targets(of_micro_batch, its_labels, ignore_id, 0.0)
        total = total - (target * _log_softmax(of_micro_batch)).sum()
    return np.asarray(total * _mean_over(labels != ignore_id, logits))


def accumulated_loss_vjp(
    logits: Array, labels: Array, cotangent: Array, *, ignore_id: int = -100
) -> tuple[Array, None]:
    """Gradient by the logits: that of one batch."""
    return cross_entropy_vjp(logits, labels, cotangent, ignore_id=ignore_id)


def mask_tokens(
    token_ids: Array,
    special: Array,
    choice: Array,
    replacement: Array,
    random_ids: Array,
    *,
    probability: float = 0.15,
    mask_id: int,
    ignore_id: int = -100,
) -> Array:
    """Inputs and labels of masked language modelling, (2, batch, T): 80 % masked, 10 % random, 10 % the same.

    Devlin et al. 2019, appendix A.1. All arrays (batch, T).
    """
    inputs, labels = token_ids.copy(), np.full_like(token_ids, ignore_id)
    chosen = np.logical_and(choice < probability, np.logical_not(special))
    labels[chosen] = token_ids[chosen]
    inputs[chosen & (replacement < 0.8)] = mask_id
    random = chosen & (replacement >= 0.8) & (replacement < 0.9)
    inputs[random] = random_ids[random]
    return np.stack([inputs, labels])


def mask_tokens_at_random(
    token_ids: Array,
    special: Array,
    *,
    mask_id: int,
    vocab_size: int,
    seed: int,
    probability: float = 0.15,
    ignore_id: int = -100,
) -> Array:
    """The same with draws of its own. token_ids and special (batch, T); returns (2, batch, T)."""
    generator = np.random.default_rng(seed)
    inputs, labels = token_ids.copy(), np.full_like(token_ids, ignore_id)
    chosen = np.flatnonzero(~special.ravel() & (generator.random(special.size) < probability))
    labels.ravel()[chosen] = token_ids.ravel()[chosen]
    fate = generator.choice(3, size=len(chosen), p=[0.8, 0.1, 0.1])
    inputs.ravel()[chosen[fate == 0]] = mask_id
    replaced = chosen[fate == 1]
    inputs.ravel()[replaced] = generator.integers(0, vocab_size, size=len(replaced))
    return np.stack([inputs, labels])


def span_corruption(token_ids: Array, noise: Array, *, first_sentinel_id: int, eos_id: int) -> Array:
    """Input and target of span corruption, (2, T + 3), filled up with -1. Raffel et al. 2020, section 3.1.4.

    token_ids and noise (T,).
    """
    before = np.concatenate([[False], noise[:-1]])
    begins = noise & ~before
    sentinels = first_sentinel_id + 1 - np.cumsum(begins)  # at every token, that of the span it is in or follows
    kept = np.where(begins, sentinels, token_ids)[~noise | begins]
    lost = np.stack([np.where(begins, sentinels, -1), np.where(noise, token_ids, -1)], axis=-1)
    target = lost[np.stack([begins, noise], axis=-1)]
    result = np.full((2, len(token_ids) + 3), -1, dtype=np.int64)
    result[0, : len(kept) + 1] = [*kept, eos_id]
    result[1, : len(target) + 2] = [*target, first_sentinel_id - begins.sum(), eos_id]
    return result


def text_to_text(prefix_ids: Array, token_ids: Array, *, pad_id: int, eos_id: int, length: int) -> Array:
    """Prefix, text, end and padding of every row, (batch, length). Raffel et al. 2020, section 2.4.

    prefix_ids (P,), token_ids (batch, T).
    """
    if length < 1:
        raise ValueError(f"an end needs a length of 1 or more; given {length}")
    count = len(prefix_ids) + (token_ids != pad_id).sum(axis=-1)
    end = np.minimum(count, length - 1)[:, None]  # where each row ends
    wide = np.pad(token_ids, ((0, 0), (0, length)), constant_values=pad_id)
    joined = np.concatenate([np.broadcast_to(prefix_ids, (len(wide), len(prefix_ids))), wide], axis=-1)[:, :length]
    place = np.arange(length)
    return np.where(place < end, joined, np.where(place == end, eos_id, pad_id))


def span_noise_mask(length: int, *, density: float = 0.15, mean_span: float = 3.0, seed: int) -> Array:
    """A random mask with an exact number of noise tokens in an exact number of spans, (length,).

    As random_spans_noise_mask in the published code of Raffel et al. 2020: segments are cut by shuffled marks.
    """
    if length < 2:
        raise ValueError(f"a text of {length} tokens cannot hold both noise and something that is kept")
    generator = np.random.default_rng(seed)
    noise = int(np.clip(np.round(length * density), 1, length - 1))
    spans = max(int(np.round(noise / mean_span)), 1)

    def segments(total: int) -> Array:
        marks = np.arange(total - 1) < spans - 1
        generator.shuffle(marks)
        starts = np.concatenate([[False], marks])
        return np.bincount(np.cumsum(starts))

    kept_lengths, noise_lengths = segments(length - noise), segments(noise)
    lengths = np.stack([kept_lengths, noise_lengths], axis=1).ravel()
    return np.repeat(np.arange(2 * spans) % 2 == 1, lengths)
