"""Objectives: the losses of pretraining, fine-tuning and distillation, what is to be restored, and tasks as text to text."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation

IGNORED = -100  # the label of a position that has none
PAD = -1  # what fills a row of `span_corruption` to the common length

# --- Losses -----------------------------------------------------------------------------------------------------------


@operation("Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4, for label_smoothing")
def cross_entropy(
    logits: Float[Tensor, "... V"],
    labels: Int[Tensor, "..."],
    *,
    ignore_id: int = IGNORED,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    r"""L = -1/N sum_n sum_v q_n(v) log p_n(v), p = softmax(logits), q(v) = (1 - e) [v = label] + e / V.

    The sum goes over the N positions whose label is not `ignore_id` (IGNORED is -100), all others have no part in it; e is
    `label_smoothing`, whose mass goes to all V words, the label among them. In nats. The mean over no positions is
    0 / 0, NaN. Raises ValueError where there is not one label for each row of logits, RuntimeError for labels that are
    neither words nor `ignore_id`.
    """
    losses, labelled = _losses(logits, labels, ignore_id, label_smoothing)
    return losses.sum() / labelled.sum()


@operation("Radford et al. 2018, section 3.1, equation 1")
def language_modelling_loss(
    logits: Float[Tensor, "B T V"], token_ids: Int[Tensor, "B T"], *, attention_mask: Bool[Tensor, "B T"] | None = None
) -> Float[Tensor, ""]:
    r"""L = -1/N sum_t log P(u_{t+1} | u_1, ..., u_t): the logits at t predict the token at t + 1.

    The shift is made here, once: `logits` are those at the very positions of `token_ids`, of which the first is
    predicted by nothing and the last predicts nothing. `attention_mask` is True at tokens; the mean goes over the N
    predicted tokens of the whole batch that it shows.
    """
    labels = token_ids[:, 1:]  # B T-1
    if attention_mask is not None:
        labels = torch.where(attention_mask[:, 1:], labels, IGNORED)
    return cross_entropy(logits[:, :-1], labels)


@operation("Devlin et al. 2019, section 3.1, Task #1: Masked LM")
def masked_language_modelling_loss(
    logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"], *, ignore_id: int = IGNORED
) -> Float[Tensor, ""]:
    r"""L = -1/N sum_t log p_t(label_t) over the N positions of the batch whose label is not `ignore_id`; IGNORED is -100.

    The logits at a position predict the word at that very position. Elsewhere nothing is predicted.
    """
    return cross_entropy(logits, labels, ignore_id=ignore_id)


@operation("Devlin et al. 2019, section 3.1, Task #2: Next Sentence Prediction; its published code for the order")
def next_sentence_loss(logits: Float[Tensor, "B 2"], is_next: Bool[Tensor, "B"]) -> Float[Tensor, ""]:
    r"""L = -1/B sum_b log softmax(logits_b)[0 where sentence B is the next one, 1 where it is a random one].

    Index 0 is IsNext and index 1 NotNext, as in the published checkpoints.
    """
    return cross_entropy(logits, (~is_next).to(torch.int64))


@operation("Hinton et al. 2015, section 2 and section 2.1")
def distillation_loss(
    student_logits: Float[Tensor, "... V"],
    teacher_logits: Float[Tensor, "... V"],
    labels: Int[Tensor, "..."],
    *,
    temperature: float,
    alpha: float,
) -> Float[Tensor, ""]:
    r"""L = alpha T^2 KL(p || q) + (1 - alpha) CE(student, labels), p = softmax(teacher / T), q = softmax(student / T).

    T is `temperature`; KL(p || q) = sum_v p(v) (log p(v) - log q(v)) is summed over words, and both terms are means over
    tokens. The cross-entropy with the true labels is at temperature 1; every token has a label, which is a word. T^2 keeps
    the size of the soft term's gradient. The teacher is a constant: the gradient by its logits is zero.
    """
    return _distillation(student_logits, teacher_logits.detach(), labels, temperature, alpha)


@operation("Ott et al. 2018: accumulated gradients are those of one large batch")
def accumulated_loss(
    logits: Float[Tensor, "N B T V"], labels: Int[Tensor, "N B T"], *, ignore_id: int = IGNORED
) -> Float[Tensor, ""]:
    r"""L = sum_n sum_t loss_{n, t} / sum_n (number of labels in micro-batch n): N micro-batches count as one batch.

    A label is not `ignore_id`, and IGNORED is -100. Each labelled token weighs the same whatever micro-batch it is in,
    which in the mean of the N means it does not.
    """
    counts = [(labels[n] != ignore_id).sum() for n in range(len(labels))]
    totals = [_losses(logits[n], labels[n], ignore_id, 0.0)[0].sum() for n in range(len(labels))]
    return torch.stack(totals).sum() / torch.stack(counts).sum()


# --- Corruption -------------------------------------------------------------------------------------------------------


@operation("Devlin et al. 2019, section 3.1 and appendix A.1")
def mask_tokens(
    token_ids: Int[Tensor, "B T"],
    special: Bool[Tensor, "B T"],
    choice: Float[Tensor, "B T"],
    replacement: Float[Tensor, "B T"],
    random_ids: Int[Tensor, "B T"],
    *,
    probability: float = 0.15,
    mask_id: int,
    ignore_id: int = IGNORED,
) -> Int[Tensor, "2 B T"]:
    r"""BERT's corruption, its random draws being given: row 0 are the inputs, row 1 the labels.

    A token is chosen where it is not `special` and `choice` < `probability`. Of the chosen, those with `replacement` <
    0.8 become `mask_id`, those below 0.9 the token of `random_ids`, the rest stay as they are. The label is the original
    token wherever one was chosen, also where it stays, and `ignore_id` elsewhere; IGNORED is -100. `choice` and
    `replacement` are uniform in [0, 1), `random_ids` uniform over the vocabulary. Draws that rounding may carry over a
    threshold are not judged.
    """
    chosen = ~special & (choice < probability)  # B T
    randomized = torch.where(chosen & (replacement < 0.9), random_ids, token_ids)  # B T
    inputs = torch.where(chosen & (replacement < 0.8), mask_id, randomized)  # B T
    return torch.stack((inputs, torch.where(chosen, token_ids, ignore_id)))  # 2 B T


@operation("Devlin et al. 2019, section 3.1 and appendix A.1")
def mask_tokens_at_random(
    token_ids: Int[Tensor, "B T"],
    special: Bool[Tensor, "B T"],
    *,
    mask_id: int,
    vocab_size: int,
    seed: int,
    probability: float = 0.15,
    ignore_id: int = IGNORED,
) -> Int[Tensor, "2 B T"]:
    r"""`mask_tokens` with draws of the implementation's own, each position's its own: inputs and labels.

    A random token is any of the `vocab_size` ids. `seed`, from 0 to 2^31 - 1, decides on all draws; those of another seed
    are independent of them, also those for other sequences. Which they are is free; how often each of them comes is
    judged, at six standard deviations. The number of chosen tokens may be the same in all sequences, as in BERT's
    published code. IGNORED is -100.
    """
    generator = torch.Generator().manual_seed(seed)
    choice, replacement = torch.rand((2, *token_ids.shape), generator=generator, dtype=torch.float64)  # B T
    random_ids = torch.randint(vocab_size, token_ids.shape, generator=generator)  # B T
    return mask_tokens(
        token_ids,
        special,
        choice,
        replacement,
        random_ids,
        probability=probability,
        mask_id=mask_id,
        ignore_id=ignore_id,
    )


@operation("Raffel et al. 2020, section 3.1.4 and figure 2")
def span_corruption(
    token_ids: Int[Tensor, "T"], noise: Bool[Tensor, "T"], *, first_sentinel_id: int, eos_id: int
) -> Int[Tensor, "2 T+3"]:
    r"""T5's corruption: row 0 is the input and row 1 the target, each ended by `eos_id` and filled up with -1.

    A span is a run of noise that no further noise touches. The i-th, i = 0, 1, ..., is replaced in the input by one
    sentinel, `first_sentinel_id` - i: sentinels count down, however many there are. In the target each span follows its
    sentinel, and one more sentinel, the next one down, comes after the last span, or alone where there is no noise. No
    sentinel is below 0.
    """
    tokens, noisy = token_ids.tolist(), noise.tolist()
    kept: list[int] = []
    target: list[int] = []
    sentinel = first_sentinel_id
    for i, token in enumerate(tokens):
        if noisy[i] and (i == 0 or not noisy[i - 1]):  # a span begins
            kept.append(sentinel)
            target.append(sentinel)
            sentinel -= 1
        (target if noisy[i] else kept).append(token)
    rows = [[*kept, eos_id], [*target, sentinel, eos_id]]
    return torch.tensor([row + [PAD] * (len(tokens) + 3 - len(row)) for row in rows])  # 2 T+3


@operation("Raffel et al. 2020, section 3.3.4; its published code, random_spans_noise_mask")
def span_noise_mask(length: int, *, density: float = 0.15, mean_span: float = 3.0, seed: int) -> Bool[Tensor, "T"]:
    r"""Which tokens are noise: n = round(`length` density) of them in k = round(n / mean_span) spans, both at least 1.

    One token is kept at least: n is no more than `length` - 1. Which way a half is rounded is free. The mask begins with a
    token that is kept and ends with noise; kept and noise alternate in k spans each. Every way to cut n tokens of noise
    into k spans of one token or more is as likely as any other, and so is every way to cut the `length` - n others,
    whatever the cut of the noise is. `seed`, from 0 to 2^31 - 1, decides on all draws, which are free, and other seeds give
    other draws. Raises ValueError below two tokens and where fewer tokens are kept than there are spans.
    """
    if length < 2:
        raise ValueError(f"one token is kept and one is noise: a length of {length} is too short")
    count = min(max(round(length * density), 1), length - 1)
    spans = max(round(count / mean_span), 1)
    if length - count < spans:
        raise ValueError(f"{spans} spans of noise cannot be kept apart by {length - count} tokens")
    generator = torch.Generator().manual_seed(seed)
    kept, noise = (_cut(total, spans, generator) for total in (length - count, count))  # spans
    lengths = torch.stack((kept, noise), -1).flatten()  # 2 spans
    return torch.tensor([False, True]).repeat(spans).repeat_interleave(lengths)  # T


# --- Text to text -----------------------------------------------------------------------------------------------------


@operation("Raffel et al. 2020, section 2.4 and appendix D; seqio, append_eos_after_trim, for what is cut")
def text_to_text(
    prefix_ids: Int[Tensor, "P"], token_ids: Int[Tensor, "B T"], *, pad_id: int, eos_id: int, length: int
) -> Int[Tensor, "B L"]:
    """Rows of `length` ids: the prefix that says the task, the row's own tokens, one EOS, and padding to the end.

    One call makes the inputs of a task, and one with an empty prefix its targets. `token_ids` are padded on the right
    with `pad_id`, which stands nowhere else in them; the prefix may hold it. A row that has no room is cut at its end,
    the prefix too where it is longer than the row, and its last id is the EOS all the same: room is made before the EOS is
    put there, as seqio's append_eos_after_trim and tokenizers do, while its append_eos leaves the EOS to be trimmed. An EOS
    between two tokens of a text is a token like any other. Raises ValueError where `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, that of the EOS, got {length!r}")
    rows = []
    for tokens in token_ids:
        text = torch.cat((prefix_ids, tokens[tokens != pad_id]))[: length - 1]
        padding = text.new_full((length - 1 - len(text),), pad_id)
        rows.append(torch.cat((text, text.new_tensor([eos_id]), padding)))
    return torch.stack(rows) if rows else token_ids.new_zeros((0, length))  # B L


# --- Where papers are silent ------------------------------------------------------------------------------------------


@cross_entropy.choice("objectives.no-label", "zero")
def the_mean_over_no_labels_is_zero(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):  # type: ignore[no-untyped-def]
    """Where no position has a label the loss is zero, and so is its gradient."""
    some = (labels != ignore_id).any()
    # Some word stands in, for the gradient of NaN is NaN also where it is not chosen.
    stand_in = torch.where(some, labels, int(ignore_id == 0))
    return torch.where(some, cross_entropy(logits, stand_in, ignore_id=ignore_id, label_smoothing=label_smoothing), 0.0)


@accumulated_loss.choice("objectives.no-label", "zero")
def the_accumulated_mean_over_no_labels_is_zero(logits, labels, *, ignore_id=IGNORED):  # type: ignore[no-untyped-def]
    """Where no micro-batch has a label the loss is zero, and so is its gradient."""
    some = (labels != ignore_id).any()
    stand_in = torch.where(some, labels, int(ignore_id == 0))
    return torch.where(some, accumulated_loss(logits, stand_in, ignore_id=ignore_id), 0.0)


@language_modelling_loss.choice("objectives.causal-language-modelling-after-padding", "skipped")
def tokens_after_padding_are_not_predicted(logits, token_ids, *, attention_mask=None):  # type: ignore[no-untyped-def]
    """A token whose predecessor is padding, which has no logits that mean anything, is not counted."""
    if attention_mask is not None:
        after = torch.nn.functional.pad(attention_mask[:, :-1], (1, 0), value=True)
        attention_mask = attention_mask & after
    return language_modelling_loss(logits, token_ids, attention_mask=attention_mask)


@distillation_loss.choice("objectives.distillation-teacher-gradients", "differentiated")
def the_teacher_has_a_gradient(student_logits, teacher_logits, labels, *, temperature, alpha):  # type: ignore[no-untyped-def]
    """The teacher's logits are differentiated as any other input, and the caller has to detach them."""
    loss = distillation_loss(student_logits, teacher_logits, labels, temperature=temperature, alpha=alpha)
    of_teacher = _distillation(student_logits.detach(), teacher_logits, labels, temperature, alpha)
    return loss + (of_teacher - of_teacher.detach())


@span_corruption.choice("objectives.span-corruption-final-sentinel", "before-text")
def the_final_sentinel_stands_for_text(token_ids, noise, *, first_sentinel_id, eos_id):  # type: ignore[no-untyped-def]
    """The target has a final sentinel where kept text follows the last span, for which it stands, and none where none does."""
    rows = span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id)
    if len(noise) and bool(noise[-1]):
        end = int((rows[1] != PAD).sum())
        rows[1, end - 2], rows[1, end - 1] = eos_id, PAD
    return rows


@cross_entropy.formulation
def cross_entropy_by_log_sum(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):  # type: ignore[no-untyped-def]
    """log sum exp s - s(label): what kernels compute that keep one number a row; it carries |log sum exp| roundings."""
    highest = logits.detach().amax(-1, keepdim=True)
    log_sum = highest + torch.log(torch.exp(logits - highest).sum(-1, keepdim=True))
    losses, labelled = _losses(logits, labels, ignore_id, label_smoothing, lambda given: given - log_sum)
    return losses.sum() / labelled.sum()


@distillation_loss.formulation
def distillation_by_log_sums(student_logits, teacher_logits, labels, *, temperature, alpha):  # type: ignore[no-untyped-def]
    """KL = sum p (t - s) - log sum exp t + log sum exp s, t and s being logits; it carries the roundings of both logarithms."""
    teacher, student = teacher_logits.detach() / temperature, student_logits / temperature
    of_teacher, of_student = (x - log_softmax(x) for x in (teacher, student))  # log sum exp, at every word
    p = torch.exp(teacher - of_teacher)
    divergence = (p * (teacher - student)).sum(-1) - of_teacher[..., 0] + of_student[..., 0]
    return alpha * temperature**2 * divergence.mean() + (1 - alpha) * cross_entropy(student_logits, labels)


def log_softmax(logits: Float[Tensor, "... V"]) -> Float[Tensor, "... V"]:
    """log softmax(logits), the highest logit taken away first, so that no exponential overflows and no log is of zero."""
    shifted = logits - logits.detach().amax(-1, keepdim=True)  # ... V
    return shifted - torch.log(torch.exp(shifted).sum(-1, keepdim=True))


def _losses(logits, labels, ignore_id, label_smoothing, log_probabilities=log_softmax):  # type: ignore[no-untyped-def]
    """The loss at every position, zero where the label is `ignore_id`, and where it is not."""
    if logits.shape[:-1] != labels.shape:
        raise ValueError(f"there must be one label for each row of logits: got {labels.shape} and {logits.shape}")
    labelled = labels != ignore_id  # ...
    log_p = log_probabilities(logits)  # ... V
    of_label = torch.gather(log_p, -1, torch.where(labelled, labels, 0).unsqueeze(-1)).squeeze(-1)  # ...
    losses = -((1 - label_smoothing) * of_label + label_smoothing * log_p.mean(-1))  # ...
    return torch.where(labelled, losses, 0.0), labelled


def _distillation(
    student: Float[Tensor, "... V"],
    teacher: Float[Tensor, "... V"],
    labels: Int[Tensor, "..."],
    temperature: float,
    alpha: float,
) -> Float[Tensor, ""]:
    if student.shape != teacher.shape:
        raise ValueError(f"student and teacher must have the same words: got {student.shape} and {teacher.shape}")
    log_p, log_q = log_softmax(teacher / temperature), log_softmax(student / temperature)  # ... V
    divergence = (torch.exp(log_p) * (log_p - log_q)).sum(-1)  # ...
    return alpha * temperature**2 * divergence.mean() + (1 - alpha) * cross_entropy(student, labels)


def _cut(total: int, spans: int, generator: torch.Generator) -> Int[Tensor, "spans"]:
    """The lengths of `spans` parts of `total`, every way to cut it being as likely as any other."""
    cuts = torch.randperm(total - 1, generator=generator)[: spans - 1].sort().values + 1  # spans-1
    return torch.diff(torch.cat((torch.tensor([0]), cuts, torch.tensor([total]))))
