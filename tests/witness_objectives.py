"""The second witness of objectives: losses in mpmath at 50 digits, corruptions by their definition, token by token.

Written from the papers, not from reference/: nested lists, one sum at a time, no torch. The way from an equation to its
value is the shortest: probabilities are exponentials over their sum, and nothing is subtracted first.

Papers: Szegedy et al. 2016 (label smoothing), Radford et al. 2018 (GPT), Devlin et al. 2019 (BERT), Hinton et al. 2015
(distillation), Ott et al. 2018 (accumulation), Raffel et al. 2020 (T5).
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from witness import mp, shape

Nested = Any  # a number, or a list of such


def _probabilities(logits: list[Any], temperature: Any = 1) -> list[Any]:
    powers = [mp.exp(mp.mpf(logit) / mp.mpf(temperature)) for logit in logits]
    total = mp.fsum(powers)
    return [power / total for power in powers]


def _rows(logits: Nested, labels: Nested) -> list[tuple[list[Any], int]]:
    """Each row of logits with its label."""
    if shape(logits)[:-1] != shape(labels):
        raise ValueError(f"{shape(logits)} logits and {shape(labels)} labels")
    if isinstance(labels, list):
        return [pair for of_row, its in zip(logits, labels, strict=True) for pair in _rows(of_row, its)]
    return [(logits, labels)]


def _mean(numbers: list[Any]) -> Any:
    if not numbers:
        raise ValueError("the mean of nothing has no value")
    return mp.fsum(numbers) / len(numbers)


def cross_entropy(logits: Nested, labels: Nested, *, ignore_id: int = -100, label_smoothing: float = 0.0) -> Any:
    """The mean over labelled rows of -sum_v q(v) ln p(v), q(v) = (1 - e) [v = label] + e / V."""
    e, losses = mp.mpf(label_smoothing), []
    for row, label in _rows(logits, labels):
        if label == ignore_id:
            continue
        if not 0 <= label < len(row):
            raise ValueError(f"{label} is no word")
        wanted = [(1 - e) * (v == label) + e / len(row) for v in range(len(row))]
        losses.append(-mp.fsum(q * mp.log(p) for q, p in zip(wanted, _probabilities(row), strict=True)))
    return _mean(losses)


def language_modelling_loss(logits: Nested, token_ids: Nested, *, attention_mask: Nested = None) -> Any:
    """The mean over visible tokens u_t but the first of each sequence of -ln P(u_t), by the logits before it."""
    if shape(logits)[:-1] != shape(token_ids):
        raise ValueError(f"{shape(logits)} logits and {shape(token_ids)} ids")
    losses = []
    for b, tokens in enumerate(token_ids):
        for t in range(1, len(tokens)):
            if attention_mask is None or attention_mask[b][t]:
                losses.append(-mp.log(_probabilities(logits[b][t - 1])[tokens[t]]))
    return _mean(losses)


def masked_language_modelling_loss(logits: Nested, labels: Nested, *, ignore_id: int = -100) -> Any:
    """The mean over labelled positions of -ln P(label)."""
    return cross_entropy(logits, labels, ignore_id=ignore_id)


def next_sentence_loss(logits: Nested, is_next: list[bool]) -> Any:
    """The mean over pairs of -ln P(IsNext), index 0, or -ln P(NotNext), index 1."""
    return _mean(
        [-mp.log(_probabilities(row)[0 if follows else 1]) for row, follows in zip(logits, is_next, strict=True)]
    )


def distillation_loss(
    student_logits: Nested, teacher_logits: Nested, labels: Nested, *, temperature: float, alpha: float
) -> Any:
    """alpha T^2 mean KL(p || q) + (1 - alpha) CE, with p of the teacher and q of the student at the temperature."""
    if shape(student_logits) != shape(teacher_logits):
        raise ValueError(f"{shape(student_logits)} logits of the student and {shape(teacher_logits)} of the teacher")
    a, T, divergences = mp.mpf(alpha), mp.mpf(temperature), []
    pairs = zip(_rows(student_logits, labels), _rows(teacher_logits, labels), strict=True)
    for (student, _), (teacher, _) in pairs:
        p, q = _probabilities(teacher, T), _probabilities(student, T)
        divergences.append(mp.fsum(x * mp.log(x / y) for x, y in zip(p, q, strict=True)))
    return a * T**2 * _mean(divergences) + (1 - a) * cross_entropy(student_logits, labels)


def accumulated_loss(logits: Nested, labels: Nested, *, ignore_id: int = -100) -> Any:
    """The mean over all labelled tokens of all micro-batches: that of one batch."""
    joined = [row for micro_batch in logits for row in micro_batch]
    return cross_entropy(joined, [row for micro_batch in labels for row in micro_batch], ignore_id=ignore_id)


def mask_tokens(
    token_ids: Nested,
    special: Nested,
    choice: Nested,
    replacement: Nested,
    random_ids: Nested,
    *,
    probability: float = 0.15,
    mask_id: int,
    ignore_id: int = -100,
) -> Nested:
    """One token at a time: 80 % of the chosen are masked, 10 % random and 10 % stay."""
    inputs, labels = [], []
    for rows in zip(token_ids, special, choice, replacement, random_ids, strict=True):
        inputs.append([])
        labels.append([])
        for token, is_special, chance, fate, random in zip(*rows, strict=True):
            if is_special or chance >= probability:
                inputs[-1].append(token)
                labels[-1].append(ignore_id)
                continue
            labels[-1].append(token)
            inputs[-1].append(mask_id if fate < 0.8 else random if fate < 0.9 else token)
    return [inputs, labels]


def span_corruption(token_ids: list[int], noise: list[bool], *, first_sentinel_id: int, eos_id: int) -> Nested:
    """Runs of noise become sentinels in the input; the target is each sentinel with its run, and one sentinel more."""
    kept: list[int] = []
    target: list[int] = []
    unused = iter(range(first_sentinel_id, first_sentinel_id - len(noise) - 1, -1))
    for is_noise, run in groupby(zip(noise, token_ids, strict=True), key=lambda pair: pair[0]):
        tokens = [token for _, token in run]
        if is_noise:
            sentinel = next(unused)
            kept += [sentinel]
            target += [sentinel, *tokens]
        else:
            kept += tokens
    rows = [[*kept, eos_id], [*target, next(unused), eos_id]]
    return [row + [-1] * (len(noise) + 3 - len(row)) for row in rows]


def text_to_text(
    prefix_ids: list[int], token_ids: list[list[int]], *, pad_id: int, eos_id: int, length: int
) -> list[list[int]]:
    """Tokens are put into a row of padding one by one, as long as there is a place before the last for them."""
    rows = []
    for tokens in token_ids:
        row, place = [pad_id] * length, 0
        for token in [*prefix_ids, *(token for token in tokens if token != pad_id)]:
            if place < length - 1:
                row[place] = token
                place += 1
        row[place] = eos_id
        rows.append(row)
    return rows
