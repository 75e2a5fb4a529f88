"""Mistakes in losses and in the corruption of what is to be restored."""

import math

import torch
from torch import Tensor

from transpec.catalogue import fault
from transpec.reference.objectives import (
    IGNORED,
    PAD,
    accumulated_loss,
    cross_entropy,
    distillation_loss,
    language_modelling_loss,
    log_softmax,
    mask_tokens,
    mask_tokens_at_random,
    masked_language_modelling_loss,
    next_sentence_loss,
    span_corruption,
    span_noise_mask,
    text_to_text,
)

_kept: dict = {}


def _token_losses(log_p, labels, ignore_id, label_smoothing):
    """The losses at all positions, those of ignored ones being of word 0, and which have a label."""
    labelled = labels != ignore_id
    of_label = torch.gather(log_p, -1, torch.where(labelled, labels, 0).unsqueeze(-1)).squeeze(-1)
    return -((1 - label_smoothing) * of_label + label_smoothing * log_p.mean(-1)), labelled


def _mean(losses, labelled):
    return torch.where(labelled, losses, 0.0).sum() / labelled.sum()


# --- Cross-entropy ----------------------------------------------------------------------------------------------------


@fault(
    cross_entropy, "objectives.sum-over-labels", breaks="objectives.cross-entropy-equation",
    effect="the learning rate grows with the number of tokens in a batch",
)  # fmt: skip
def losses_are_summed_and_not_averaged(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return torch.where(labelled, losses, 0.0).sum()


@fault(
    cross_entropy, "objectives.mean-over-all-positions", breaks="objectives.mean-over-labels",
    seen="tracel-ai/burn#5568", effect="the more is ignored, the smaller are loss and gradient",
)  # fmt: skip
def the_sum_is_divided_by_the_number_of_all_positions(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return torch.where(labelled, losses, 0.0).mean()


@fault(
    cross_entropy, "objectives.mean-of-rows", breaks="objectives.mean-over-labels",
    effect="tokens of short sequences weigh more than those of long ones",
)  # fmt: skip
def the_mean_of_each_row_is_averaged(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    counts = labelled.sum(-1)
    rows = torch.where(labelled, losses, 0.0).sum(-1) / counts.clamp_min(1)
    return rows.sum() / (counts > 0).sum()


@fault(
    cross_entropy, "objectives.sum-of-rows", breaks="objectives.cross-entropy-equation",
    effect="the loss is one of a sequence, averaged over the batch, and grows with its length",
)  # fmt: skip
def losses_are_summed_in_each_sequence_and_averaged_over_the_batch(
    logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0
):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    sums = torch.where(labelled, losses, 0.0)
    return sums.sum() / (len(sums) if sums.dim() else 1)


@fault(
    cross_entropy, "objectives.ignored-counted", breaks="objectives.ignored-positions-do-not-matter",
    seen="EleutherAI/gpt-neo#45", effect="padding is learnt as word 0",
)  # fmt: skip
def ignored_positions_are_taken_for_word_zero(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)[0].mean()


@fault(
    cross_entropy, "objectives.ignore-id-by-default", breaks="objectives.ignore-id",
    seen="lucidrains/DALLE-pytorch#57", effect="with another ignore id padding is learnt",
)  # fmt: skip
def only_minus_100_is_ignored(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return cross_entropy(logits, labels, label_smoothing=label_smoothing)


@fault(
    cross_entropy, "objectives.ignore-id-negative", breaks="objectives.ignore-id",
    effect="with an ignore id that is a word, such as the pad id 0, padding is learnt",
)  # fmt: skip
def every_negative_label_is_ignored_and_no_other(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return _mean(_token_losses(log_softmax(logits), labels.clamp_min(0), IGNORED, label_smoothing)[0], labels >= 0)


@fault(
    cross_entropy, "objectives.word-zero-ignored", breaks="objectives.cross-entropy-equation",
    effect="word 0 is never learnt",
)  # fmt: skip
def label_zero_is_ignored_too(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return _mean(losses, labelled & (labels != 0))


@fault(
    cross_entropy, "objectives.up-to-the-ignore-id", breaks="objectives.ignore-id",
    effect="words below the pad id are never learnt",
)  # fmt: skip
def all_labels_up_to_the_ignore_id_are_ignored(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return _mean(losses, labelled & (labels > ignore_id))


@fault(
    cross_entropy, "objectives.softmax-twice", breaks="objectives.cross-entropy-equation",
    effect="probabilities are taken for logits: the loss can never be small, and training is slow",
)  # fmt: skip
def softmax_is_taken_of_probabilities(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    probabilities = torch.exp(log_softmax(logits))
    return cross_entropy(probabilities, labels, ignore_id=ignore_id, label_smoothing=label_smoothing)


@fault(
    cross_entropy, "objectives.softmax-missing", breaks="objectives.cross-entropy-equation",
    effect="the logit itself is maximized, without bound",
)  # fmt: skip
def logits_are_taken_for_log_probabilities(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return _mean(*_token_losses(logits, labels, ignore_id, label_smoothing))


@fault(
    cross_entropy, "objectives.logarithm-missing", breaks="objectives.cross-entropy-equation",
    effect="a negative loss that looks plausible and hardly learns from what is improbable",
)  # fmt: skip
def the_probability_is_averaged_and_not_its_logarithm(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return _mean(*_token_losses(torch.exp(log_softmax(logits)), labels, ignore_id, label_smoothing))


@fault(
    cross_entropy, "objectives.log-likelihood", breaks="objectives.cross-entropy-equation",
    effect="descending it, the model learns to avoid the labels",
)  # fmt: skip
def the_log_likelihood_has_no_minus(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return -cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=label_smoothing)


@fault(
    cross_entropy, "objectives.in-bits", breaks="objectives.cross-entropy-equation",
    effect="a perplexity of exp(loss) is wrong, and the rate is by 1.44 too large",
)  # fmt: skip
def the_loss_is_in_bits(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=label_smoothing) / math.log(2)


@fault(
    cross_entropy, "objectives.perplexity", breaks="objectives.cross-entropy-equation",
    effect="the gradient grows exponentially with the loss",
)  # fmt: skip
def the_result_is_perplexity(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return torch.exp(cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=label_smoothing))


@fault(
    cross_entropy, "objectives.softmax-over-tokens", breaks="objectives.cross-entropy-equation",
    effect="tokens compete with each other for a word",
)  # fmt: skip
def softmax_runs_over_the_tokens(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p = log_softmax(logits.movedim(0, -1)).movedim(-1, 0)
    return _mean(*_token_losses(log_p, labels, ignore_id, label_smoothing))


@fault(
    cross_entropy, "objectives.classes-second", breaks="objectives.cross-entropy-equation",
    effect="silent where a sequence has as many tokens as the vocabulary words; an error elsewhere",
)  # fmt: skip
def the_second_axis_is_taken_for_the_words_where_it_can_be(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    if logits.dim() == 3 and logits.shape[1] == logits.shape[2]:
        logits = logits.transpose(1, 2)
    return cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=label_smoothing)


@fault(
    cross_entropy, "objectives.probability-floor", breaks="objectives.cross-entropy-stability",
    effect="1e-9 is added before the logarithm: no loss is above 20.7, and certain mistakes have no gradient",
)  # fmt: skip
def the_logarithm_is_of_a_probability_plus_1e_9(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p = torch.log(torch.exp(log_softmax(logits)) + 1e-9)
    return _mean(*_token_losses(log_p, labels, ignore_id, label_smoothing))


@fault(
    cross_entropy, "objectives.log-of-softmax", breaks="objectives.cross-entropy-stability",
    seen="harvardnlp/annotated-transformer#109", effect="infinite where a probability is zero in its dtype",
)  # fmt: skip
def the_logarithm_is_of_a_probability_that_may_be_zero(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p = torch.log(torch.exp(log_softmax(logits)))
    return _mean(*_token_losses(log_p, labels, ignore_id, label_smoothing))


@fault(
    cross_entropy, "objectives.exponential-overflow", breaks="objectives.cross-entropy-stability",
    effect="NaN or infinite as soon as a logit is beyond 88 in float32",
)  # fmt: skip
def the_highest_logit_is_not_taken_away(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p = logits - torch.log(torch.exp(logits).sum(-1, keepdim=True))
    return _mean(*_token_losses(log_p, labels, ignore_id, label_smoothing))


@fault(
    cross_entropy, "objectives.in-bfloat16", breaks="objectives.cross-entropy-equation",
    effect="the loss is computed in the precision of mixed training",
)  # fmt: skip
def the_logits_are_rounded_to_bfloat16(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    rounded = logits.to(torch.bfloat16).to(logits.dtype)
    return cross_entropy(rounded, labels, ignore_id=ignore_id, label_smoothing=label_smoothing)


@fault(
    cross_entropy, "objectives.last-word-missing", breaks="objectives.cross-entropy-equation",
    effect="the last word of the vocabulary takes no part in the normalization",
)  # fmt: skip
def the_normalization_leaves_out_the_last_word(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    log_p = shifted - torch.log(torch.exp(shifted[..., :-1]).sum(-1, keepdim=True))
    return _mean(*_token_losses(log_p, labels, ignore_id, label_smoothing))


@fault(
    cross_entropy, "objectives.count-in-8-bits", breaks="objectives.cross-entropy-equation",
    effect="right for small batches; beyond 255 labels the loss explodes",
)  # fmt: skip
def labels_are_counted_in_8_bits(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return torch.where(labelled, losses, 0.0).sum() / labelled.sum().remainder(256)


@fault(
    cross_entropy, "objectives.labels-in-16-bits", breaks="objectives.cross-entropy-equation",
    effect="right for small vocabularies",
)  # fmt: skip
def labels_are_kept_in_16_bits(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    narrow = torch.where(labels == ignore_id, labels, labels.remainder(65_536))
    return cross_entropy(logits, narrow, ignore_id=ignore_id, label_smoothing=label_smoothing)


@fault(
    cross_entropy, "objectives.no-label-is-zero", breaks="objectives.no-label",
    effect="a batch without labels is not told from a perfect one; PyTorch gives NaN",
)  # fmt: skip
def the_mean_of_nothing_is_zero(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return torch.where(labelled, losses, 0.0).sum() / labelled.sum().clamp_min(1)


@fault(
    cross_entropy, "objectives.count-plus-epsilon", breaks="objectives.cross-entropy-equation",
    effect="against a division by zero; one label in a batch loses much of its weight",
)  # fmt: skip
def the_number_of_labels_is_increased_by_a_thousandth(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return torch.where(labelled, losses, 0.0).sum() / (labelled.sum() + 1e-3)


@fault(
    cross_entropy, "objectives.labels-clamped", breaks="objectives.out-of-range",
    effect="ids beyond the vocabulary are learnt as its last word",
)  # fmt: skip
def labels_beyond_the_words_become_the_nearest(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    nearest = torch.where(labels == ignore_id, ignore_id, labels.clamp(0, logits.shape[-1] - 1))
    return cross_entropy(logits, nearest, ignore_id=ignore_id, label_smoothing=label_smoothing)


@fault(
    cross_entropy, "objectives.cut-to-fit", breaks="objectives.impossible-shapes",
    effect="logits and labels that were made for one another wrongly go unnoticed",
)  # fmt: skip
def what_is_longer_is_cut(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    if labels.dim() == 2 == logits.dim() - 1:
        length, batch = min(labels.shape[1], logits.shape[1]), min(len(labels), len(logits))
        logits, labels = logits[:batch, :length], labels[:batch, :length]
    return cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=label_smoothing)


@fault(
    cross_entropy, "objectives.labels-changed", breaks="objectives.inputs-untouched",
    seen="NVIDIA-NeMo/Automodel#3917", effect="the next use of the labels learns padding as word 0",
)  # fmt: skip
def ignored_labels_are_overwritten_with_zero(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    loss = cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=label_smoothing)
    labels[labels == ignore_id] = 0
    return loss


@fault(
    cross_entropy, "objectives.token-losses", breaks="objectives.dtype-and-shape",
    effect="a loss for each token, which a caller averages with the ignored ones",
)  # fmt: skip
def the_losses_are_not_reduced(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return torch.where(labelled, losses, 0.0)


@fault(
    cross_entropy, "objectives.detached-normalization", breaks="objectives.gradients",
    effect="the loss is right; all words but the label have no gradient",
)  # fmt: skip
def the_normalization_has_no_gradient(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p = logits - (logits - log_softmax(logits)).detach()
    return _mean(*_token_losses(log_p, labels, ignore_id, label_smoothing))


@fault(
    cross_entropy, "objectives.gradient-of-the-sum", breaks="objectives.gradients",
    effect="the loss that is shown is the mean, the gradient that of the sum",
)  # fmt: skip
def the_gradient_is_that_of_the_sum(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    total = torch.where(labelled, losses, 0.0).sum()
    return (total / labelled.sum()).detach() + (total - total.detach())


@fault(
    cross_entropy, "objectives.ignored-in-an-earlier-call", breaks="objectives.no-memory",
    effect="which positions are ignored is decided by the first batch of a shape",
)  # fmt: skip
def which_labels_are_ignored_is_kept_by_their_shape(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, label_smoothing)
    return _mean(losses, _kept.setdefault(("labelled", labels.shape), labelled))


# --- Label smoothing --------------------------------------------------------------------------------------------------


@fault(
    cross_entropy, "objectives.smoothing-over-other-words", breaks="objectives.label-smoothing",
    effect="each other word gets e / (V - 1), and the label itself none of it",
)  # fmt: skip
def the_smoothed_mass_goes_to_the_other_words(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    words = logits.shape[-1]
    share = label_smoothing * words / (words - 1)  # of an even distribution over all words that amounts to the same
    return cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=share)


@fault(
    cross_entropy, "objectives.smoothing-without-padding", breaks="objectives.label-smoothing",
    effect="two words, the label and the pad, get none of the mass, each other e / (V - 2)",
)  # fmt: skip
def the_smoothed_mass_goes_to_all_words_but_the_label_and_word_zero(
    logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0
):
    log_p, words = log_softmax(logits), logits.shape[-1]
    hard, labelled = _token_losses(log_p, labels, ignore_id, 0.0)
    others = (log_p.sum(-1) + hard - log_p[..., 0]) / max(words - 2, 1)
    return _mean((1 - label_smoothing) * hard - label_smoothing * others, labelled)


@fault(
    cross_entropy, "objectives.smoothing-of-the-label-missing", breaks="objectives.label-smoothing",
    effect="the distribution sums to 1 - e / V",
)  # fmt: skip
def the_label_keeps_one_less_e_and_no_share(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p, words = log_softmax(logits), logits.shape[-1]
    hard, labelled = _token_losses(log_p, labels, ignore_id, 0.0)
    others = (log_p.sum(-1) + hard) / words
    return _mean((1 - label_smoothing) * hard - label_smoothing * others, labelled)


@fault(
    cross_entropy, "objectives.smoothing-added", breaks="objectives.label-smoothing",
    effect="the distribution sums to 1 + e",
)  # fmt: skip
def the_label_keeps_all_of_its_mass(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p = log_softmax(logits)
    hard, labelled = _token_losses(log_p, labels, ignore_id, 0.0)
    return _mean(hard - label_smoothing * log_p.mean(-1), labelled)


@fault(
    cross_entropy, "objectives.smoothing-summed", breaks="objectives.label-smoothing",
    effect="the smoothing grows with the vocabulary: each word gets e and not e / V",
)  # fmt: skip
def every_word_gets_all_of_the_smoothed_mass(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p = log_softmax(logits)
    hard, labelled = _token_losses(log_p, labels, ignore_id, 0.0)
    return _mean((1 - label_smoothing) * hard - label_smoothing * log_p.sum(-1), labelled)


@fault(
    cross_entropy, "objectives.smoothing-missing", breaks="objectives.label-smoothing",
    effect="the option has no effect",
)  # fmt: skip
def the_label_smoothing_is_ignored(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    return cross_entropy(logits, labels, ignore_id=ignore_id)


@fault(
    cross_entropy, "objectives.smoothing-inverted", breaks="objectives.label-smoothing",
    effect="the label gets e, all words together 1 - e",
)  # fmt: skip
def the_smoothing_is_taken_for_the_confidence(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    smoothing = 1 - label_smoothing if label_smoothing else 0.0
    return cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=smoothing)


@fault(
    cross_entropy, "objectives.smoothing-of-ignored", breaks="objectives.label-smoothing",
    seen="pytorch/pytorch#73205", effect="padding is pulled to the even distribution and counts",
)  # fmt: skip
def the_smoothed_part_is_averaged_over_ignored_positions_too(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    log_p = log_softmax(logits)
    hard, labelled = _token_losses(log_p, labels, ignore_id, 0.0)
    smooth = -log_p.mean(-1).sum() / labelled.sum()
    return (1 - label_smoothing) * _mean(hard, labelled) + label_smoothing * smooth


@fault(
    cross_entropy, "objectives.smoothing-relative-entropy", breaks="objectives.label-smoothing",
    effect="the gradient is right; the loss is by the entropy of the smoothed labels too small",
)  # fmt: skip
def the_entropy_of_the_smoothed_labels_is_taken_away(logits, labels, *, ignore_id=IGNORED, label_smoothing=0.0):
    words = logits.shape[-1]
    low = label_smoothing / words
    parts = [(1 - label_smoothing + low, 1), (low, words - 1)]
    entropy = -sum(count * p * math.log(p) for p, count in parts if p > 0)
    return cross_entropy(logits, labels, ignore_id=ignore_id, label_smoothing=label_smoothing) - entropy


# --- Causal language modelling ----------------------------------------------------------------------------------------


@fault(
    language_modelling_loss, "objectives.shift-missing", breaks="objectives.causal-language-modelling-shift",
    seen="huggingface/transformers#404", effect="the model learns to copy its input, and the loss falls to nothing",
)  # fmt: skip
def logits_predict_the_token_at_their_own_position(logits, token_ids, *, attention_mask=None):
    return cross_entropy(logits, _labels(token_ids, attention_mask))


@fault(
    language_modelling_loss, "objectives.shift-twice", breaks="objectives.causal-language-modelling-shift",
    seen="huggingface/transformers#47394", effect="the model learns the token after the next",
)  # fmt: skip
def labels_are_shifted_twice(logits, token_ids, *, attention_mask=None):
    if token_ids.shape[1] < 3:
        return cross_entropy(logits[:, :0], token_ids[:, :0])
    return cross_entropy(logits[:, :-2], _labels(token_ids, attention_mask)[:, 2:])


@fault(
    language_modelling_loss, "objectives.shift-backwards", breaks="objectives.causal-language-modelling-shift",
    effect="the model learns the token before, which it has seen",
)  # fmt: skip
def logits_predict_the_token_before(logits, token_ids, *, attention_mask=None):
    return cross_entropy(logits[:, 1:], _labels(token_ids, attention_mask)[:, :-1])


@fault(
    language_modelling_loss, "objectives.shift-rolled", breaks="objectives.causal-language-modelling-ends",
    effect="the last position learns the first token of its sequence",
)  # fmt: skip
def labels_are_rolled_round(logits, token_ids, *, attention_mask=None):
    return cross_entropy(logits, _labels(token_ids, attention_mask).roll(-1, 1))


@fault(
    language_modelling_loss, "objectives.shift-into-the-next-sequence", breaks="objectives.causal-language-modelling-ends",
    seen="huggingface/transformers#47395", effect="the end of a sequence learns the start of an unrelated one",
)  # fmt: skip
def the_batch_is_flattened_before_the_shift(logits, token_ids, *, attention_mask=None):
    labels = _labels(token_ids, attention_mask)
    return cross_entropy(logits.flatten(0, 1)[:-1], labels.flatten()[1:])


@fault(
    language_modelling_loss, "objectives.last-position-counted", breaks="objectives.causal-language-modelling-equation",
    effect="the sum is divided by T and not by T - 1",
)  # fmt: skip
def the_last_position_is_counted_though_it_predicts_nothing(logits, token_ids, *, attention_mask=None):
    labels = _labels(token_ids, attention_mask)
    return cross_entropy(logits[:, :-1], labels[:, 1:]) * ((labels[:, 1:] != IGNORED).sum() / (labels != IGNORED).sum())


@fault(
    language_modelling_loss, "objectives.last-token-missing", breaks="objectives.causal-language-modelling-equation",
    effect="the end of a sequence is never learnt, and a model never stops",
)  # fmt: skip
def the_last_token_is_not_predicted(logits, token_ids, *, attention_mask=None):
    return cross_entropy(logits[:, :-2], _labels(token_ids, attention_mask)[:, 1:-1])


@fault(
    language_modelling_loss, "objectives.first-prediction-missing", breaks="objectives.causal-language-modelling-equation",
    effect="the second token is never learnt",
)  # fmt: skip
def the_first_position_predicts_nothing(logits, token_ids, *, attention_mask=None):
    return cross_entropy(logits[:, 1:-1], _labels(token_ids, attention_mask)[:, 2:])


@fault(
    language_modelling_loss, "objectives.padding-predicted", breaks="objectives.causal-language-modelling-padding",
    effect="the model learns to predict padding, and the loss depends on how much there is",
)  # fmt: skip
def the_attention_mask_is_ignored(logits, token_ids, *, attention_mask=None):
    return language_modelling_loss(logits, token_ids)


@fault(
    language_modelling_loss, "objectives.padding-counted", breaks="objectives.causal-language-modelling-padding",
    effect="the more padding, the smaller are loss and gradient",
)  # fmt: skip
def padding_is_not_predicted_and_counted_all_the_same(logits, token_ids, *, attention_mask=None):
    loss = language_modelling_loss(logits, token_ids, attention_mask=attention_mask)
    return loss if attention_mask is None else loss * attention_mask[:, 1:].double().mean().to(loss.dtype)


@fault(
    language_modelling_loss, "objectives.attention-mask-not-shifted", breaks="objectives.causal-language-modelling-padding",
    effect="the first pad of each sequence is predicted",
)  # fmt: skip
def the_attention_mask_is_that_of_the_predicting_position(logits, token_ids, *, attention_mask=None):
    if attention_mask is None:
        return language_modelling_loss(logits, token_ids)
    return cross_entropy(logits[:, :-1], torch.where(attention_mask[:, :-1], token_ids[:, 1:], IGNORED))


@fault(
    language_modelling_loss, "objectives.attention-mask-shifted-twice",
    breaks="objectives.causal-language-modelling-equation",
    effect="the last token of each padded sequence, its EOS, is never learnt",
)  # fmt: skip
def the_last_visible_token_is_not_predicted(logits, token_ids, *, attention_mask=None):
    if attention_mask is not None:
        seen = torch.nn.functional.pad(attention_mask[:, 1:], (0, 1), value=True)
        attention_mask = attention_mask & seen
    return language_modelling_loss(logits, token_ids, attention_mask=attention_mask)


@fault(
    language_modelling_loss, "objectives.attention-mask-inverted", breaks="objectives.causal-language-modelling-equation",
    effect="padding alone is learnt",
)  # fmt: skip
def the_attention_mask_is_true_at_padding(logits, token_ids, *, attention_mask=None):
    mask = None if attention_mask is None else ~attention_mask
    return language_modelling_loss(logits, token_ids, attention_mask=mask)


@fault(
    language_modelling_loss, "objectives.attention-mask-of-the-first-sequence",
    breaks="objectives.causal-language-modelling-equation",
    effect="right for sequences of one length",
)  # fmt: skip
def all_sequences_are_masked_like_the_first(logits, token_ids, *, attention_mask=None):
    mask = None if attention_mask is None else attention_mask[:1].expand(attention_mask.shape)
    return language_modelling_loss(logits, token_ids, attention_mask=mask)


@fault(
    language_modelling_loss, "objectives.mean-of-sequences", breaks="objectives.mean-over-labels",
    effect="tokens of short sequences weigh more than those of long ones",
)  # fmt: skip
def the_loss_of_each_sequence_is_averaged(logits, token_ids, *, attention_mask=None):
    labels = _labels(token_ids, attention_mask)[:, 1:]
    losses, labelled = _token_losses(log_softmax(logits[:, :-1]), labels, IGNORED, 0.0)
    counts = labelled.sum(-1)
    return (torch.where(labelled, losses, 0.0).sum(-1) / counts.clamp_min(1)).sum() / (counts > 0).sum()


@fault(
    language_modelling_loss, "objectives.token-zero-is-padding", breaks="objectives.causal-language-modelling-equation",
    effect="token 0 is never learnt, whether it is padding or not",
)  # fmt: skip
def token_zero_is_taken_for_padding(logits, token_ids, *, attention_mask=None):
    return cross_entropy(
        logits[:, :-1], torch.where(token_ids == 0, IGNORED, _labels(token_ids, attention_mask))[:, 1:]
    )


@fault(
    language_modelling_loss, "objectives.after-padding-skipped",
    breaks="objectives.causal-language-modelling-after-padding",
    effect="with padding on the left the first token is not learnt",
)  # fmt: skip
def a_token_after_padding_is_skipped(logits, token_ids, *, attention_mask=None):
    if attention_mask is not None:
        attention_mask = attention_mask & torch.nn.functional.pad(attention_mask[:, :-1], (1, 0), value=True)
    return language_modelling_loss(logits, token_ids, attention_mask=attention_mask)


@fault(
    language_modelling_loss, "objectives.everything-visible-is-nothing",
    breaks="objectives.causal-language-modelling-nothing-hidden",
    effect="a batch without padding, whose mask is all ones, gives a loss of its own",
)  # fmt: skip
def a_mask_that_hides_nothing_hides_the_last_token(logits, token_ids, *, attention_mask=None):
    if attention_mask is not None:
        last = torch.arange(token_ids.shape[1]) == token_ids.shape[1] - 1
        attention_mask = attention_mask & ~(attention_mask.all() & last)
    return language_modelling_loss(logits, token_ids, attention_mask=attention_mask)


@fault(
    language_modelling_loss, "objectives.token-ids-shifted-in-place", breaks="objectives.inputs-untouched",
    effect="the caller's ids are the labels afterwards",
)  # fmt: skip
def the_ids_are_shifted_in_the_callers_own_array(logits, token_ids, *, attention_mask=None):
    loss = language_modelling_loss(logits, token_ids, attention_mask=attention_mask)
    token_ids[:, :-1] = token_ids[:, 1:].clone()
    return loss


@fault(
    language_modelling_loss, "objectives.causal-empty-sequences-count",
    breaks="objectives.causal-language-modelling-equation",
    effect="a row of padding alone, or of one token, makes the loss of the batch smaller",
)  # fmt: skip
def every_sequence_counts_as_one_token_at_least(logits, token_ids, *, attention_mask=None):
    labels = _labels(token_ids, attention_mask)[:, 1:]
    losses, labelled = _token_losses(log_softmax(logits[:, :-1]), labels, IGNORED, 0.0)
    return torch.where(labelled, losses, 0.0).sum() / labelled.sum(-1).clamp_min(1).sum()


@fault(
    language_modelling_loss, "objectives.causal-gradient-by-all-positions", breaks="objectives.gradients",
    effect="padding on the left makes the gradient smaller, and the loss is right",
)  # fmt: skip
def where_nothing_is_padded_at_the_end_the_gradient_is_divided_by_all_positions(
    logits, token_ids, *, attention_mask=None
):
    loss = language_modelling_loss(logits, token_ids, attention_mask=attention_mask)
    if attention_mask is None or not attention_mask[:, -1].all():
        return loss
    divided = loss * attention_mask[:, 1:].double().mean()
    return loss.detach() + (divided - divided.detach())


def _labels(token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    return token_ids if attention_mask is None else torch.where(attention_mask, token_ids, IGNORED)


# --- Masked language modelling and next sentences ---------------------------------------------------------------------


@fault(
    masked_language_modelling_loss, "objectives.masked-shifted", breaks="objectives.masked-language-modelling-equation",
    effect="the loss of a causal model: logits predict the masked token after them",
)  # fmt: skip
def masked_labels_are_shifted(logits, labels, *, ignore_id=IGNORED):
    return cross_entropy(logits[:, :-1], labels[:, 1:], ignore_id=ignore_id)


@fault(
    masked_language_modelling_loss, "objectives.masked-mean-of-sequences", breaks="objectives.mean-over-labels",
    effect="the one masked token of a short sequence weighs as much as many of a long one",
)  # fmt: skip
def the_masked_loss_of_each_sequence_is_averaged(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    counts = labelled.sum(-1)
    return (torch.where(labelled, losses, 0.0).sum(-1) / counts.clamp_min(1)).sum() / (counts > 0).sum()


@fault(
    masked_language_modelling_loss, "objectives.masked-counts-all", breaks="objectives.mean-over-labels",
    effect="the loss is smaller by the rate of masking",
)  # fmt: skip
def the_masked_loss_is_divided_by_the_number_of_all_tokens(logits, labels, *, ignore_id=IGNORED):
    labelled = (labels != ignore_id).sum()
    return cross_entropy(logits, labels, ignore_id=ignore_id) * (labelled / labels.numel())


@fault(
    masked_language_modelling_loss, "objectives.masked-ignore-id-by-default", breaks="objectives.ignore-id",
    effect="tokens without a label are learnt where their label is not -100",
)  # fmt: skip
def the_masked_loss_ignores_minus_100_alone(logits, labels, *, ignore_id=IGNORED):
    losses, _ = _token_losses(log_softmax(logits), labels.clamp_min(0), IGNORED, 0.0)
    return _mean(losses, labels != IGNORED)


@fault(
    masked_language_modelling_loss, "objectives.masked-per-sequence", breaks="objectives.masked-language-modelling-equation",
    effect="the masked losses are summed in a sequence, and grow with the number of masks",
)  # fmt: skip
def the_masked_loss_is_divided_by_the_batch(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    return torch.where(labelled, losses, 0.0).sum() / len(labels)


@fault(
    masked_language_modelling_loss, "objectives.masked-labels-in-8-bits",
    breaks="objectives.masked-language-modelling-equation",
    effect="word 256 is learnt as word 0: every word does well on vocabularies of a test alone",
)  # fmt: skip
def masked_labels_are_kept_in_8_bits(logits, labels, *, ignore_id=IGNORED):
    kept = torch.where(labels == ignore_id, labels, labels % 256)
    return masked_language_modelling_loss(logits, kept, ignore_id=ignore_id)


@fault(
    next_sentence_loss, "objectives.next-sentence-clamped", breaks="objectives.cross-entropy-stability",
    effect="a pair that is wrong by more than 100 nats has no gradient, as in torch's BCELoss",
)  # fmt: skip
def the_loss_of_a_pair_is_100_at_most(logits, is_next):
    losses, _ = _token_losses(log_softmax(logits), (~is_next).long(), IGNORED, 0.0)
    return losses.clamp_max(100).mean()


@fault(
    next_sentence_loss, "objectives.next-sentence-labels-swapped", breaks="objectives.next-sentence-label-order",
    seen="uclanlp/visualbert#26", effect="a pretrained head says the opposite of what it knows",
)  # fmt: skip
def index_1_stands_for_the_next_sentence(logits, is_next):
    return next_sentence_loss(logits, ~is_next)


@fault(
    next_sentence_loss, "objectives.next-sentence-summed", breaks="objectives.next-sentence-equation",
    effect="the loss grows with the batch and outweighs that of masked tokens",
)  # fmt: skip
def the_losses_of_pairs_are_summed(logits, is_next):
    return next_sentence_loss(logits, is_next) * len(is_next)


@fault(
    next_sentence_loss, "objectives.next-sentence-sigmoid", breaks="objectives.next-sentence-equation",
    effect="each logit is judged by itself, and both may be high",
)  # fmt: skip
def each_logit_has_a_sigmoid_of_its_own(logits, is_next):
    signs = torch.where(torch.stack((is_next, ~is_next), -1), -1.0, 1.0).to(logits.dtype)
    return torch.log1p(torch.exp(signs * logits)).mean()


@fault(
    next_sentence_loss, "objectives.next-sentence-of-next-alone", breaks="objectives.next-sentence-equation",
    effect="random sentences are not learnt: all pairs are said to be next",
)  # fmt: skip
def only_pairs_of_next_sentences_are_counted(logits, is_next):
    return cross_entropy(logits, torch.where(is_next, 0, IGNORED))


@fault(
    next_sentence_loss, "objectives.next-sentence-one-logit", breaks="objectives.next-sentence-equation",
    effect="the second logit is never trained",
)  # fmt: skip
def the_first_logit_alone_is_used(logits, is_next):
    return cross_entropy(torch.stack((logits[:, 0], 0 * logits[:, 1]), -1), torch.where(is_next, 0, 1))


# --- Distillation -----------------------------------------------------------------------------------------------------


def _divergence(target, other, temperature):
    """The mean of KL(target || other) at a temperature."""
    log_p, log_q = log_softmax(target / temperature), log_softmax(other / temperature)
    return (torch.exp(log_p) * (log_p - log_q)).sum(-1).mean()


@fault(
    distillation_loss, "objectives.temperature-square-missing", breaks="objectives.distillation-equation",
    effect="the higher the temperature, the less the teacher says",
)  # fmt: skip
def the_square_of_the_temperature_is_missing(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits, temperature)
    return alpha * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.temperature-not-squared", breaks="objectives.distillation-equation",
    effect="the gradient of the soft part falls with the temperature all the same",
)  # fmt: skip
def the_temperature_is_not_squared(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits, temperature)
    return alpha * temperature * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.divergence-reversed", breaks="objectives.distillation-equation",
    effect="the student seeks one mode of the teacher and drops the others",
)  # fmt: skip
def the_divergence_is_of_the_teacher_from_the_student(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(student_logits, teacher_logits.detach(), temperature)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


def _mixed_divergence(teacher, student):
    log_p, log_q = log_softmax(teacher.detach()), log_softmax(student)
    return (torch.exp(log_p) * (log_p - log_q)).sum(-1).mean()


@fault(
    distillation_loss, "objectives.temperature-of-the-student-missing", breaks="objectives.distillation-equation",
    effect="a student that agrees with its teacher is told to change",
)  # fmt: skip
def the_student_has_no_temperature(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _mixed_divergence(teacher_logits / temperature, student_logits)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.temperature-of-the-teacher-missing", breaks="objectives.distillation-of-itself",
    effect="a student that agrees with its teacher is told to change",
)  # fmt: skip
def the_teacher_has_no_temperature(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _mixed_divergence(teacher_logits, student_logits / temperature)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.temperature-of-the-labels", breaks="objectives.distillation-equation",
    effect="the true labels are learnt at the temperature of the teacher",
)  # fmt: skip
def cross_entropy_has_the_temperature_too(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits, temperature)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits / temperature, labels)


@fault(
    distillation_loss, "objectives.temperature-multiplied", breaks="objectives.distillation-equation",
    effect="a high temperature sharpens",
)  # fmt: skip
def logits_are_multiplied_by_the_temperature(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits, 1 / temperature)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.distillation-weights-exchanged", breaks="objectives.distillation-weights",
    effect="the teacher has the weight of the labels",
)  # fmt: skip
def alpha_is_the_weight_of_the_labels(student_logits, teacher_logits, labels, *, temperature, alpha):
    return distillation_loss(student_logits, teacher_logits, labels, temperature=temperature, alpha=1 - alpha)


@fault(
    distillation_loss, "objectives.distillation-labels-unweighted", breaks="objectives.distillation-soft-alone",
    effect="the labels have a weight of one whatever alpha is",
)  # fmt: skip
def the_labels_are_not_weighted(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits, temperature)
    return alpha * temperature**2 * soft + cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.distillation-mean-over-words", breaks="objectives.distillation-equation",
    seen="HikariTJU/LD#74", effect="the soft part is by the size of the vocabulary too small",
)  # fmt: skip
def the_divergence_is_averaged_over_words(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits, temperature) / student_logits.shape[-1]
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.distillation-mean-over-the-batch", breaks="objectives.distillation-equation",
    effect="'batchmean' of sequences: the soft part grows with their length",
)  # fmt: skip
def the_divergence_is_divided_by_the_batch_alone(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits, temperature)
    soft = soft * labels.numel() / (len(labels) if labels.dim() else 1)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.distillation-cross-entropy", breaks="objectives.distillation-of-itself",
    effect="the gradient is right; the loss is by the teacher's entropy too large and never zero",
)  # fmt: skip
def the_soft_part_is_cross_entropy(student_logits, teacher_logits, labels, *, temperature, alpha):
    p = torch.exp(log_softmax(teacher_logits.detach() / temperature))
    soft = -(p * log_softmax(student_logits / temperature)).sum(-1).mean()
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.distillation-logarithm-missing", breaks="objectives.distillation-of-itself",
    seen="microsoft/ProDA#20", effect="KLDivLoss wants log-probabilities of the student and is given probabilities",
)  # fmt: skip
def the_student_has_no_logarithm(student_logits, teacher_logits, labels, *, temperature, alpha):
    log_p = log_softmax(teacher_logits.detach() / temperature)
    q = torch.exp(log_softmax(student_logits / temperature))
    soft = (torch.exp(log_p) * (log_p - q)).sum(-1).mean()
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.distillation-of-logits", breaks="objectives.distillation-equation",
    effect="the limit of a high temperature, which it is not",
)  # fmt: skip
def the_soft_part_is_the_squared_difference_of_logits(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = (student_logits - teacher_logits.detach()).square().mean() / 2
    return alpha * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.distillation-student-taught-by-itself", breaks="objectives.distillation-equation",
    effect="labels are said to be learnt, by the teacher",
)  # fmt: skip
def the_loss_of_the_labels_is_the_teachers(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits, temperature)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(teacher_logits, labels)


@fault(
    distillation_loss, "objectives.distillation-zero-times-infinity", breaks="objectives.distillation-stability",
    effect="NaN as soon as a teacher is certain",
)  # fmt: skip
def logarithms_are_of_probabilities_that_may_be_zero(student_logits, teacher_logits, labels, *, temperature, alpha):
    p, q = (torch.exp(log_softmax(x / temperature)) for x in (teacher_logits.detach(), student_logits))
    soft = (p * (torch.log(p) - torch.log(q))).sum(-1).mean()
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.gradient-into-the-teacher", breaks="objectives.distillation-teacher-gradients",
    effect="a teacher that is not frozen learns from its student",
)  # fmt: skip
def the_teacher_learns_too(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits, student_logits, temperature)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


@fault(
    distillation_loss, "objectives.no-gradient-into-the-student", breaks="objectives.distillation-teacher-gradients",
    effect="the loss is right and nothing is learnt from the teacher",
)  # fmt: skip
def the_soft_part_has_no_gradient(student_logits, teacher_logits, labels, *, temperature, alpha):
    soft = _divergence(teacher_logits.detach(), student_logits.detach(), temperature)
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)


# --- Accumulation -----------------------------------------------------------------------------------------------------


@fault(
    accumulated_loss, "objectives.accumulation-mean-of-means", breaks="objectives.accumulation-equation",
    effect="tokens of micro-batches with few labels weigh more; the loss depends on how a batch is cut",
)  # fmt: skip
def the_means_of_micro_batches_are_averaged(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    counts = labelled.flatten(1).sum(-1)
    return (torch.where(labelled, losses, 0.0).flatten(1).sum(-1) / counts.clamp_min(1)).mean()


@fault(
    accumulated_loss, "objectives.accumulation-mean-of-means-with-labels", breaks="objectives.accumulation-equation",
    effect="as the mean of means, micro-batches without labels being left out",
)  # fmt: skip
def the_means_of_micro_batches_with_labels_are_averaged(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    counts = labelled.flatten(1).sum(-1)
    return (torch.where(labelled, losses, 0.0).flatten(1).sum(-1) / counts.clamp_min(1)).sum() / (counts > 0).sum()


@fault(
    accumulated_loss, "objectives.accumulation-not-divided", breaks="objectives.accumulation-equation",
    effect="the gradient is by the number of micro-batches too large",
)  # fmt: skip
def the_means_of_micro_batches_are_summed(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    counts = labelled.flatten(1).sum(-1)
    return (torch.where(labelled, losses, 0.0).flatten(1).sum(-1) / counts.clamp_min(1)).sum()


@fault(
    accumulated_loss, "objectives.accumulation-divided-twice", breaks="objectives.accumulation-equation",
    effect="the gradient is by the number of micro-batches too small",
)  # fmt: skip
def the_mean_over_labels_is_divided_by_the_number_of_micro_batches(logits, labels, *, ignore_id=IGNORED):
    return accumulated_loss(logits, labels, ignore_id=ignore_id) / len(labels)


@fault(
    accumulated_loss, "objectives.accumulation-of-the-last", breaks="objectives.accumulation-equation",
    effect="gradients are set to zero between micro-batches",
)  # fmt: skip
def the_last_micro_batch_alone_counts(logits, labels, *, ignore_id=IGNORED):
    return accumulated_loss(logits[-1:], labels[-1:], ignore_id=ignore_id)


@fault(
    accumulated_loss, "objectives.accumulation-without-the-last", breaks="objectives.accumulation-equation",
    effect="the step is taken one micro-batch too early",
)  # fmt: skip
def the_last_micro_batch_is_left_out(logits, labels, *, ignore_id=IGNORED):
    kept = max(len(labels) - 1, 1)
    return accumulated_loss(logits[:kept], labels[:kept], ignore_id=ignore_id)


@fault(
    accumulated_loss, "objectives.accumulation-count-of-the-first", breaks="objectives.accumulation-is-one-batch",
    effect="right where all micro-batches have as many labels as the first",
)  # fmt: skip
def the_number_of_labels_is_that_of_the_first_times_n(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    return torch.where(labelled, losses, 0.0).sum() / (labelled[0].sum() * len(labels))


@fault(
    accumulated_loss, "objectives.accumulation-counts-all", breaks="objectives.accumulation-equation",
    effect="ignored positions are counted",
)  # fmt: skip
def the_accumulated_sum_is_divided_by_all_positions(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    return torch.where(labelled, losses, 0.0).mean()


@fault(
    accumulated_loss, "objectives.accumulation-ignore-id-by-default", breaks="objectives.ignore-id",
    effect="with another ignore id padding is learnt",
)  # fmt: skip
def the_accumulated_loss_ignores_minus_100_alone(logits, labels, *, ignore_id=IGNORED):
    return accumulated_loss(logits, labels)


@fault(
    accumulated_loss, "objectives.accumulation-means-of-sequences", breaks="objectives.accumulation-equation",
    effect="tokens of short sequences weigh more",
)  # fmt: skip
def the_means_of_all_sequences_are_averaged(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    counts = labelled.sum(-1)
    return (torch.where(labelled, losses, 0.0).sum(-1) / counts.clamp_min(1)).sum() / (counts > 0).sum()


@fault(
    accumulated_loss, "objectives.accumulation-no-label-is-zero", breaks="objectives.no-label",
    effect="a step without labels is not told from a perfect one",
)  # fmt: skip
def the_accumulated_mean_of_nothing_is_zero(logits, labels, *, ignore_id=IGNORED):
    losses, labelled = _token_losses(log_softmax(logits), labels, ignore_id, 0.0)
    return torch.where(labelled, losses, 0.0).sum() / labelled.sum().clamp_min(1)


@fault(
    accumulated_loss, "objectives.accumulation-gradient-of-the-last", breaks="objectives.gradients",
    effect="the loss that is shown is that of all; all but the last micro-batch have lost their gradient",
)  # fmt: skip
def the_last_micro_batch_alone_has_a_gradient(logits, labels, *, ignore_id=IGNORED):
    cut = torch.cat((logits[:-1].detach(), logits[-1:]))
    return accumulated_loss(cut, labels, ignore_id=ignore_id)


# --- Corruption for masked language modelling -------------------------------------------------------------------------


def _corrupted(token_ids, split, random_ids, mask_id, ignore_id):
    """Inputs and labels, `split` being what is chosen, masked and randomized."""
    chosen, masked, randomized = split
    inputs = torch.where(masked, mask_id, torch.where(randomized, random_ids, token_ids))
    return torch.stack((inputs, torch.where(chosen, token_ids, ignore_id)))


def _split(special, choice, replacement, probability, masked=(0.0, 0.8), randomized=(0.8, 0.9)):
    """What is chosen, masked and randomized, the last two between bounds of `replacement`."""
    chosen = ~special & (choice < probability)
    between = [chosen & (replacement >= low) & (replacement < high) for low, high in (masked, randomized)]
    return chosen, *between


@fault(
    mask_tokens, "objectives.all-masked", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="no chosen token is kept or random: fine-tuning, which knows no masks, finds another model",
)  # fmt: skip
def all_chosen_tokens_are_masked(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(special, choice, replacement, probability, (0.0, 1.0), (1.0, 1.0))
    return _corrupted(token_ids, split, random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.random-words-masked", breaks="objectives.masked-language-modelling-corruption-equation",
    seen="lucidrains/mlm-pytorch#6", effect="almost no token is random: the mask is written over them",
)  # fmt: skip
def random_words_are_overwritten_with_the_mask(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(special, choice, replacement, probability, (0.0, 0.9), (1.0, 1.0))
    return _corrupted(token_ids, split, random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.random-words-too-few", breaks="objectives.masked-language-modelling-corruption-equation",
    seen="huggingface/transformers#32329", effect="a tenth of the rest, 2 % of all, is random, and 18 % are kept",
)  # fmt: skip
def a_tenth_of_what_is_not_masked_is_random(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(special, choice, replacement, probability, (0.0, 0.8), (0.8, 0.82))
    return _corrupted(token_ids, split, random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.no-word-kept", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="a token that is seen is never the label",
)  # fmt: skip
def what_is_not_masked_is_random(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(special, choice, replacement, probability, (0.0, 0.8), (0.8, 1.0))
    return _corrupted(token_ids, split, random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.no-word-random", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="a token that is seen is always the label, and can be copied",
)  # fmt: skip
def what_is_not_masked_is_kept(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(special, choice, replacement, probability, (0.0, 0.8), (1.0, 1.0))
    return _corrupted(token_ids, split, random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.random-and-masked-exchanged",
    breaks="objectives.masked-language-modelling-corruption-equation",
    effect="80 % are random words and 10 % masked",
)  # fmt: skip
def masked_and_random_are_exchanged(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(special, choice, replacement, probability, (0.8, 0.9), (0.0, 0.8))
    return _corrupted(token_ids, split, random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.kept-not-labelled", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="tokens that are kept are not predicted, and 13.5 % of tokens are labels",
)  # fmt: skip
def kept_tokens_have_no_label(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    _, masked, randomized = _split(special, choice, replacement, probability)
    return _corrupted(token_ids, (masked | randomized, masked, randomized), random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.masked-alone-labelled", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="random words are never put right",
)  # fmt: skip
def masked_tokens_alone_have_labels(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    _, masked, randomized = _split(special, choice, replacement, probability)
    return _corrupted(token_ids, (masked, masked, randomized), random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.labels-everywhere", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="most of the loss is that of copying the input",
)  # fmt: skip
def every_token_is_a_label(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    _, masked, randomized = _split(special, choice, replacement, probability)
    return _corrupted(token_ids, (torch.ones_like(special), masked, randomized), random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.labels-of-the-corrupted", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="labels are copied after the corruption: the mask is learnt",
)  # fmt: skip
def labels_are_the_corrupted_tokens(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    chosen, masked, randomized = _split(special, choice, replacement, probability)
    inputs = _corrupted(token_ids, (chosen, masked, randomized), random_ids, mask_id, ignore_id)[0]
    return torch.stack((inputs, torch.where(chosen, inputs, ignore_id)))


@fault(
    mask_tokens, "objectives.labels-inverted", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="what is not corrupted is predicted",
)  # fmt: skip
def labels_are_where_nothing_is_chosen(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    chosen, masked, randomized = _split(special, choice, replacement, probability)
    return _corrupted(token_ids, (~chosen, masked, randomized), random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.special-masked", breaks="objectives.masked-language-modelling-special-tokens",
    effect="[CLS], [SEP] and padding are masked and predicted",
)  # fmt: skip
def special_tokens_are_chosen_as_any_other(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(torch.zeros_like(special), choice, replacement, probability)
    return _corrupted(token_ids, split, random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.special-inverted", breaks="objectives.masked-language-modelling-special-tokens",
    effect="special tokens alone are masked",
)  # fmt: skip
def the_mask_of_special_tokens_is_inverted(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(~special, choice, replacement, probability)
    return _corrupted(token_ids, split, random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.special-corrupted-unlabelled",
    breaks="objectives.masked-language-modelling-special-tokens",
    effect="special tokens have no label and are masked all the same",
)  # fmt: skip
def special_tokens_are_masked_without_a_label(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    _, masked, randomized = _split(torch.zeros_like(special), choice, replacement, probability)
    chosen = ~special & (choice < probability)
    return _corrupted(token_ids, (chosen, masked, randomized), random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.probability-by-default", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="the option has no effect",
)  # fmt: skip
def the_probability_is_15_percent_whatever_is_given(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    return mask_tokens(token_ids, special, choice, replacement, random_ids, mask_id=mask_id, ignore_id=ignore_id)


@fault(
    mask_tokens, "objectives.probability-of-keeping", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="85 % of the tokens are corrupted",
)  # fmt: skip
def the_probability_is_that_of_keeping(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    split = _split(special, 1 - choice, replacement, 1 - probability)
    chosen = ~special & (choice >= probability)
    return _corrupted(token_ids, (chosen, *(chosen & ~x for x in split[1:])), random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.one-draw-for-both", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="what is chosen has low draws and is always masked",
)  # fmt: skip
def the_draw_that_chooses_decides_the_replacement_too(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    return mask_tokens(
        token_ids, special, choice, choice, random_ids, probability=probability, mask_id=mask_id, ignore_id=ignore_id
    )


@fault(
    mask_tokens, "objectives.threshold-included", breaks="objectives.masked-language-modelling-thresholds",
    effect="a probability of 0 chooses the tokens whose draw is 0",
)  # fmt: skip
def a_draw_of_the_probability_itself_is_enough(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    chosen = ~special & (choice <= probability)
    masked, randomized = chosen & (replacement < 0.8), chosen & (replacement >= 0.8) & (replacement < 0.9)
    return _corrupted(token_ids, (chosen, masked, randomized), random_ids, mask_id, ignore_id)


@fault(
    mask_tokens, "objectives.corruption-ignore-id-by-default",
    breaks="objectives.masked-language-modelling-corruption-equation",
    effect="a loss with another ignore id learns at all positions",
)  # fmt: skip
def labels_are_minus_100_elsewhere_whatever_is_given(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    return mask_tokens(token_ids, special, choice, replacement, random_ids, probability=probability, mask_id=mask_id)


@fault(
    mask_tokens, "objectives.mask-id-of-bert", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="103 is [MASK] in one vocabulary alone",
)  # fmt: skip
def the_mask_is_103_whatever_is_given(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    return mask_tokens(
        token_ids, special, choice, replacement, random_ids, probability=probability, mask_id=103, ignore_id=ignore_id
    )


@fault(
    mask_tokens, "objectives.corrupted-in-place", breaks="objectives.inputs-untouched",
    effect="the text of the next epoch is full of masks",
)  # fmt: skip
def the_callers_own_ids_are_corrupted(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    result = mask_tokens(
        token_ids,
        special,
        choice,
        replacement,
        random_ids,
        probability=probability,
        mask_id=mask_id,
        ignore_id=ignore_id,
    )
    token_ids.copy_(result[0])
    return result


@fault(
    mask_tokens, "objectives.labels-before-inputs", breaks="objectives.masked-language-modelling-corruption-equation",
    effect="the labels are read and the inputs predicted",
)  # fmt: skip
def labels_come_before_inputs(
    token_ids, special, choice, replacement, random_ids, *, probability=0.15, mask_id, ignore_id=IGNORED
):
    return mask_tokens(
        token_ids,
        special,
        choice,
        replacement,
        random_ids,
        probability=probability,
        mask_id=mask_id,
        ignore_id=ignore_id,
    ).flip(0)


# --- Draws of one's own -----------------------------------------------------------------------------------------------


def _draws(token_ids, vocab_size, seed):
    """The draws of the reference."""
    generator = torch.Generator().manual_seed(seed)
    choice, replacement = torch.rand((2, *token_ids.shape), generator=generator, dtype=torch.float64)
    return choice, replacement, torch.randint(vocab_size, token_ids.shape, generator=generator)


@fault(
    mask_tokens_at_random, "objectives.one-mask-for-the-batch",
    breaks="objectives.masked-language-modelling-at-random-independence",
    effect="all sequences of a batch are masked at the same positions",
)  # fmt: skip
def all_sequences_have_the_draws_of_the_first(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    drawn = (each[:1].expand(token_ids.shape) for each in _draws(token_ids, vocab_size, seed))
    return mask_tokens(token_ids, special, *drawn, probability=probability, mask_id=mask_id, ignore_id=ignore_id)


@fault(
    mask_tokens_at_random, "objectives.one-fate-for-a-sequence",
    breaks="objectives.masked-language-modelling-at-random-independence",
    effect="80 % of the sequences are masked and 10 % full of random words",
)  # fmt: skip
def a_sequence_has_one_draw_for_what_becomes_of_its_tokens(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    choice, replacement, random_ids = _draws(token_ids, vocab_size, seed)
    return mask_tokens(
        token_ids, special, choice, replacement[:, :1].expand(token_ids.shape), random_ids,
        probability=probability, mask_id=mask_id, ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.one-random-word",
    breaks="objectives.masked-language-modelling-at-random-independence",
    effect="all random words of a sequence are the same",
)  # fmt: skip
def a_sequence_has_one_random_word(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    choice, replacement, random_ids = _draws(token_ids, vocab_size, seed)
    return mask_tokens(
        token_ids, special, choice, replacement, random_ids[:, :1].expand(token_ids.shape),
        probability=probability, mask_id=mask_id, ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.random-words-of-the-batch",
    breaks="objectives.masked-language-modelling-at-random-words",
    effect="a random word is one of the text, and rare words never come",
)  # fmt: skip
def random_words_are_tokens_of_the_batch(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    choice, replacement, random_ids = _draws(token_ids, vocab_size, seed)
    random_ids = token_ids.flatten()[random_ids.flatten() * 7919 % token_ids.numel()].view(token_ids.shape)
    return mask_tokens(
        token_ids, special, choice, replacement, random_ids,
        probability=probability, mask_id=mask_id, ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.last-word-never-random",
    breaks="objectives.masked-language-modelling-at-random-words",
    effect="the upper bound is left out twice",
)  # fmt: skip
def the_last_word_is_never_drawn(token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED):
    choice, replacement, random_ids = _draws(token_ids, vocab_size - 1, seed)
    return mask_tokens(
        token_ids, special, choice, replacement, random_ids,
        probability=probability, mask_id=mask_id, ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.random-words-beyond-the-vocabulary",
    breaks="objectives.masked-language-modelling-at-random-labels",
    effect="an index error now and then, in the embedding",
)  # fmt: skip
def one_word_too_many_is_drawn(token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED):
    choice, replacement, random_ids = _draws(token_ids, vocab_size + 1, seed)
    return mask_tokens(
        token_ids, special, choice, replacement, random_ids,
        probability=probability, mask_id=mask_id, ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.masked-in-runs",
    breaks="objectives.masked-language-modelling-at-random-independence",
    effect="spans are masked and not tokens",
)  # fmt: skip
def tokens_are_chosen_in_pairs(token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED):
    choice, replacement, random_ids = _draws(token_ids, vocab_size, seed)
    pairs = torch.arange(token_ids.shape[1]) // 2 * 2
    return mask_tokens(
        token_ids, special, choice[:, pairs], replacement, random_ids,
        probability=probability, mask_id=mask_id, ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.masked-at-the-start",
    breaks="objectives.masked-language-modelling-at-random-independence",
    effect="candidates are not shuffled: the end of a sequence is rarely masked",
)  # fmt: skip
def the_first_half_of_a_sequence_is_chosen_more_often(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    choice, replacement, random_ids = _draws(token_ids, vocab_size, seed)
    early = torch.arange(token_ids.shape[1]) < token_ids.shape[1] // 2
    return mask_tokens(
        token_ids, special, choice / torch.where(early, 1.5, 0.5), replacement, random_ids,
        probability=probability, mask_id=mask_id, ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.rate-too-low", breaks="objectives.masked-language-modelling-at-random-equation",
    effect="0.15 of 0.8: what is kept or random is left out of the rate",
)  # fmt: skip
def tokens_are_chosen_with_four_fifths_of_the_probability(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    return mask_tokens_at_random(
        token_ids, special, mask_id=mask_id, vocab_size=vocab_size, seed=seed, probability=0.8 * probability,
        ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.seed-ignored", breaks="objectives.masked-language-modelling-at-random-seed",
    effect="every epoch masks the same tokens: static masking",
)  # fmt: skip
def the_seed_is_zero_whatever_is_given(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    return mask_tokens_at_random(
        token_ids, special, mask_id=mask_id, vocab_size=vocab_size, seed=0, probability=probability, ignore_id=ignore_id
    )


@fault(
    mask_tokens_at_random, "objectives.seeds-of-sequences-in-a-row",
    breaks="objectives.masked-language-modelling-at-random-seed",
    effect="the next epoch, whose seed is one more, masks every sequence as its neighbour was masked before",
)  # fmt: skip
def each_sequence_has_the_seed_after_that_of_the_one_before(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    options = {"mask_id": mask_id, "vocab_size": vocab_size, "probability": probability, "ignore_id": ignore_id}
    rows = range(len(token_ids))
    made = [mask_tokens_at_random(token_ids[b, None], special[b, None], seed=seed + b, **options) for b in rows]
    return torch.cat(made, 1)


@fault(
    mask_tokens_at_random, "objectives.seed-in-8-bits", breaks="objectives.masked-language-modelling-at-random-seed",
    effect="every 256th epoch masks the same tokens",
)  # fmt: skip
def of_the_seed_8_bits_are_used(token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED):
    return mask_tokens_at_random(
        token_ids, special, mask_id=mask_id, vocab_size=vocab_size, seed=seed % 256, probability=probability,
        ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.ends-never-chosen",
    breaks="objectives.masked-language-modelling-at-random-independence",
    effect="text that has no [CLS] and [SEP] loses two tokens of every sequence",
)  # fmt: skip
def the_first_and_the_last_token_are_taken_for_special(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    place = torch.arange(token_ids.shape[1])
    return mask_tokens_at_random(
        token_ids, special | (place == 0) | (place == len(place) - 1), mask_id=mask_id, vocab_size=vocab_size, seed=seed,
        probability=probability, ignore_id=ignore_id,
    )  # fmt: skip


@fault(
    mask_tokens_at_random, "objectives.generator-between-calls",
    breaks="objectives.masked-language-modelling-at-random-seed",
    effect="nothing can be repeated",
)  # fmt: skip
def draws_go_on_from_call_to_call(
    token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=IGNORED
):
    _kept["calls"] = _kept.get("calls", 0) + 1
    return mask_tokens_at_random(
        token_ids, special, mask_id=mask_id, vocab_size=vocab_size, seed=seed + 1000 * _kept["calls"],
        probability=probability, ignore_id=ignore_id,
    )  # fmt: skip


# --- Span corruption --------------------------------------------------------------------------------------------------


def _weave(
    token_ids, noise, first, eos_id, *, begins=None, step=-1, start=0, final=True, eos=(True, True), in_target=True,
    of_target=None,
):  # fmt: skip
    """Span corruption with something else in it; `begins` are the tokens of noise before which a sentinel stands."""
    marks = noise.tolist()
    if begins is None:
        begins = [on and not (i and marks[i - 1]) for i, on in enumerate(marks)]
    kept: list[int] = []
    target: list[int] = []
    count = start
    for token, on, begin in zip(token_ids.tolist(), marks, begins, strict=True):
        if begin:
            kept.append(first + step * count)
            target += [first + step * count] if in_target else []
            count += 1
        (target if on else kept).append(token)
    target += [first + step * count] if final else []
    rows = [
        row + [eos_id] * end for row, end in zip((kept, target if of_target is None else of_target), eos, strict=True)
    ]
    width = len(token_ids) + 3
    return torch.tensor([row[:width] + [PAD] * (width - len(row)) for row in rows])


@fault(
    span_corruption, "objectives.sentinels-count-up", breaks="objectives.span-corruption-sentinels",
    seen="huggingface/transformers#14282", effect="from the second span on pretrained sentinels are others",
)  # fmt: skip
def sentinels_count_up(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, step=1)


@fault(
    span_corruption, "objectives.sentinels-a-hundred", breaks="objectives.span-corruption-sentinels",
    effect="long texts have one sentinel for two spans",
)  # fmt: skip
def the_hundred_and_first_span_has_the_first_sentinel_again(token_ids, noise, *, first_sentinel_id, eos_id):
    rows = span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id)
    count = first_sentinel_id - rows
    return torch.where((count >= 100) & (count <= len(noise)), rows + count // 100 * 100, rows)


@fault(
    span_corruption, "objectives.one-sentinel", breaks="objectives.span-corruption-sentinels",
    effect="spans cannot be told apart in the target",
)  # fmt: skip
def all_spans_have_the_same_sentinel(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, step=0)


@fault(
    span_corruption, "objectives.sentinels-from-the-second", breaks="objectives.span-corruption-sentinels",
    effect="the count begins at one",
)  # fmt: skip
def the_first_sentinel_is_the_second(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, start=1)


@fault(
    span_corruption, "objectives.final-sentinel-missing", breaks="objectives.span-corruption-sentinels",
    effect="the target does not say that the last span has ended",
)  # fmt: skip
def the_target_has_no_final_sentinel(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, final=False)


@fault(
    span_corruption, "objectives.final-sentinel-before-text", breaks="objectives.span-corruption-final-sentinel",
    effect="as in T5's published code, whose targets are told from the text that follows",
)  # fmt: skip
def noise_at_the_end_has_no_final_sentinel(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, final=not (len(noise) and bool(noise[-1])))


@fault(
    span_corruption, "objectives.target-without-eos", breaks="objectives.span-corruption-equation",
    effect="the decoder never learns to stop",
)  # fmt: skip
def the_target_has_no_end_of_sequence(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, eos=(True, False))


@fault(
    span_corruption, "objectives.input-without-eos", breaks="objectives.span-corruption-equation",
    effect="fine-tuned inputs end otherwise than pretrained ones",
)  # fmt: skip
def the_input_has_no_end_of_sequence(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, eos=(False, True))


@fault(
    span_corruption, "objectives.spans-not-merged", breaks="objectives.span-corruption-sentinels",
    effect="each token of a span has a sentinel of its own, as if each were a span",
)  # fmt: skip
def neighbouring_noise_is_not_merged(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, begins=noise.tolist())


@fault(
    span_corruption, "objectives.spans-merged-over-a-token", breaks="objectives.span-corruption-sentinels",
    effect="two spans with one token between them share a sentinel",
)  # fmt: skip
def spans_one_token_apart_are_merged(token_ids, noise, *, first_sentinel_id, eos_id):
    marks = noise.tolist()
    begins = [on and not any(marks[max(i - 2, 0) : i]) for i, on in enumerate(marks)]
    return _weave(token_ids, noise, first_sentinel_id, eos_id, begins=begins)


@fault(
    span_corruption, "objectives.target-is-the-text", breaks="objectives.span-corruption-complementary",
    effect="all of the text is to be restored, as in BART, and the targets are long",
)  # fmt: skip
def the_target_is_the_whole_text(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, of_target=token_ids.tolist())


@fault(
    span_corruption, "objectives.target-without-sentinels", breaks="objectives.span-corruption-sentinels",
    effect="the spans run into each other",
)  # fmt: skip
def the_target_is_the_noise_alone(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, noise, first_sentinel_id, eos_id, in_target=False, final=False)


@fault(
    span_corruption, "objectives.noise-kept", breaks="objectives.span-corruption-complementary",
    effect="the input holds what is to be restored",
)  # fmt: skip
def the_last_token_of_a_span_stays_in_the_input(token_ids, noise, *, first_sentinel_id, eos_id):
    rows = span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id)
    shorter = noise & torch.nn.functional.pad(noise[1:], (0, 1)) & torch.nn.functional.pad(noise[:-1], (1, 0))
    begins = noise & ~torch.nn.functional.pad(noise[:-1], (1, 0))
    left = _weave(token_ids, begins | shorter, first_sentinel_id, eos_id)[0]
    return torch.stack((left, rows[1]))


@fault(
    span_corruption, "objectives.noise-inverted", breaks="objectives.span-corruption-equation",
    effect="85 % of the text are dropped",
)  # fmt: skip
def what_is_no_noise_is_dropped(token_ids, noise, *, first_sentinel_id, eos_id):
    return _weave(token_ids, ~noise, first_sentinel_id, eos_id)


@fault(
    span_corruption, "objectives.input-and-target-exchanged", breaks="objectives.span-corruption-equation",
    effect="the spans are read and the text is restored",
)  # fmt: skip
def input_and_target_are_exchanged(token_ids, noise, *, first_sentinel_id, eos_id):
    return span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id).flip(0)


@fault(
    span_corruption, "objectives.noise-deleted", breaks="objectives.span-corruption-sentinels",
    effect="the input does not show where something is missing",
)  # fmt: skip
def the_input_has_no_sentinels(token_ids, noise, *, first_sentinel_id, eos_id):
    rows = span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id)
    kept = [*token_ids[~noise].tolist(), eos_id]
    return torch.stack((torch.tensor(kept + [PAD] * (rows.shape[1] - len(kept))), rows[1]))


@fault(
    span_corruption, "objectives.noise-masked", breaks="objectives.span-corruption-equation",
    effect="the length of a span is given away",
)  # fmt: skip
def every_token_of_a_span_becomes_its_sentinel(token_ids, noise, *, first_sentinel_id, eos_id):
    rows = span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id)
    begins = noise & ~torch.nn.functional.pad(noise[:-1], (1, 0))
    kept = [*torch.where(noise, first_sentinel_id + 1 - begins.cumsum(0), token_ids).tolist(), eos_id]
    return torch.stack((torch.tensor(kept + [PAD] * (rows.shape[1] - len(kept))), rows[1]))


@fault(
    span_corruption, "objectives.end-sentinel-is-the-last", breaks="objectives.span-corruption-sentinels",
    effect="the final sentinel is that of the last span once more",
)  # fmt: skip
def the_final_sentinel_is_that_of_the_last_span(token_ids, noise, *, first_sentinel_id, eos_id):
    rows = span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id)
    end = int((rows[1] != PAD).sum()) - 2
    rows[1, end] = min(int(rows[1, end]) + 1, first_sentinel_id)
    return rows


@fault(
    span_corruption, "objectives.span-at-the-start-missed", breaks="objectives.span-corruption-at-the-start",
    effect="a span begins where something kept comes before it; noise at the start has no sentinel",
)  # fmt: skip
def noise_at_the_start_has_no_sentinel(token_ids, noise, *, first_sentinel_id, eos_id):
    marks = noise.tolist()
    begins = [bool(i) and on and not marks[i - 1] for i, on in enumerate(marks)]
    return _weave(token_ids, noise, first_sentinel_id, eos_id, begins=begins)


@fault(
    span_corruption, "objectives.padded-with-zero", breaks="objectives.span-corruption-equation",
    effect="padding is not told from token 0",
)  # fmt: skip
def rows_are_padded_with_zero(token_ids, noise, *, first_sentinel_id, eos_id):
    rows = span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id)
    return torch.where(rows == PAD, 0, rows)


@fault(
    span_corruption, "objectives.spans-in-place", breaks="objectives.inputs-untouched",
    effect="the text of the next epoch is full of sentinels",
)  # fmt: skip
def sentinels_are_written_into_the_callers_text(token_ids, noise, *, first_sentinel_id, eos_id):
    rows = span_corruption(token_ids, noise, first_sentinel_id=first_sentinel_id, eos_id=eos_id)
    token_ids[noise] = first_sentinel_id
    return rows


# --- The noise mask ---------------------------------------------------------------------------------------------------


def _numbers(length, density, mean_span, rounded=round):
    count = min(max(rounded(length * density), 1), length - 1)
    return count, min(max(rounded(count / mean_span), 1), length - count)


def _alternate(kept, noise):
    lengths = torch.stack((torch.as_tensor(kept), torch.as_tensor(noise)), -1).flatten()
    return torch.tensor([False, True]).repeat(len(lengths) // 2).repeat_interleave(lengths)


def _cut(total, spans, seed):
    cuts = torch.randperm(total - 1, generator=torch.Generator().manual_seed(seed))[: spans - 1].sort().values + 1
    return torch.diff(torch.cat((torch.tensor([0]), cuts, torch.tensor([total]))))


def _even(total, spans):
    return torch.tensor([total // spans + (i < total % spans) for i in range(spans)])


def _recut(length, density, mean_span, seed, rounded):
    count, spans = _numbers(length, density, mean_span, rounded)
    return _alternate(_cut(length - count, spans, seed), _cut(count, spans, seed + 1))


@fault(
    span_noise_mask, "objectives.noise-rounded-down", breaks="objectives.span-corruption-noise-mask-equation",
    effect="a token or a span too few",
)  # fmt: skip
def numbers_of_noise_and_spans_are_rounded_down(length, *, density=0.15, mean_span=3.0, seed):
    return _recut(length, density, mean_span, seed, math.floor)


@fault(
    span_noise_mask, "objectives.noise-rounded-up", breaks="objectives.span-corruption-noise-mask-equation",
    effect="a token or a span too many",
)  # fmt: skip
def numbers_of_noise_and_spans_are_rounded_up(length, *, density=0.15, mean_span=3.0, seed):
    return _recut(length, density, mean_span, seed, math.ceil)


@fault(
    span_noise_mask, "objectives.noise-by-token", breaks="objectives.span-corruption-noise-mask-equation",
    effect="tokens are dropped one by one, and their number is random",
)  # fmt: skip
def every_token_is_noise_by_itself(length, *, density=0.15, mean_span=3.0, seed):
    return torch.rand(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) < density


@fault(
    span_noise_mask, "objectives.noise-scattered", breaks="objectives.span-corruption-noise-mask-equation",
    effect="the number of noise tokens is right, that of spans is not",
)  # fmt: skip
def noise_is_shuffled_token_by_token(length, *, density=0.15, mean_span=3.0, seed):
    count, _ = _numbers(length, density, mean_span)
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed)) < count


@fault(
    span_noise_mask, "objectives.noise-starts-spans", breaks="objectives.span-corruption-noise-mask-equation",
    effect="the density is that of spans, and 45 % of the tokens are dropped",
)  # fmt: skip
def the_density_is_that_of_spans(length, *, density=0.15, mean_span=3.0, seed):
    return span_noise_mask(
        length, density=min(density * mean_span, 1 - 1 / max(mean_span, 1.5)), mean_span=mean_span, seed=seed
    )


@fault(
    span_noise_mask, "objectives.noise-mask-inverted", breaks="objectives.span-corruption-noise-mask-equation",
    effect="True is what is kept",
)  # fmt: skip
def the_noise_mask_is_true_where_tokens_are_kept(length, *, density=0.15, mean_span=3.0, seed):
    return ~span_noise_mask(length, density=density, mean_span=mean_span, seed=seed)


@fault(
    span_noise_mask, "objectives.noise-first", breaks="objectives.span-corruption-noise-mask-equation",
    effect="the text begins with noise and ends with what is kept",
)  # fmt: skip
def the_noise_mask_begins_with_noise(length, *, density=0.15, mean_span=3.0, seed):
    return span_noise_mask(length, density=density, mean_span=mean_span, seed=seed).flip(0)


@fault(
    span_noise_mask, "objectives.noise-density-by-default", breaks="objectives.span-corruption-noise-mask-equation",
    effect="the option has no effect",
)  # fmt: skip
def the_density_is_15_percent_whatever_is_given(length, *, density=0.15, mean_span=3.0, seed):
    return span_noise_mask(length, mean_span=mean_span, seed=seed)


@fault(
    span_noise_mask, "objectives.noise-span-by-default", breaks="objectives.span-corruption-noise-mask-equation",
    effect="the option has no effect",
)  # fmt: skip
def the_mean_span_is_3_whatever_is_given(length, *, density=0.15, mean_span=3.0, seed):
    count, spans = _numbers(length, density, 3.0)
    return _alternate(_cut(length - count, spans, seed), _cut(count, spans, seed + 1))


@fault(
    span_noise_mask, "objectives.spans-of-one-length", breaks="objectives.span-corruption-noise-mask-lengths",
    effect="the length of a span is no surprise",
)  # fmt: skip
def all_spans_have_the_mean_length(length, *, density=0.15, mean_span=3.0, seed):
    count, spans = _numbers(length, density, mean_span)
    return _alternate(_cut(length - count, spans, seed), _even(count, spans))


@fault(
    span_noise_mask, "objectives.gaps-of-one-length", breaks="objectives.span-corruption-noise-mask-lengths",
    effect="noise comes at regular intervals",
)  # fmt: skip
def all_gaps_have_the_mean_length(length, *, density=0.15, mean_span=3.0, seed):
    count, spans = _numbers(length, density, mean_span)
    return _alternate(_even(length - count, spans), _cut(count, spans, seed))


@fault(
    span_noise_mask, "objectives.spans-sorted", breaks="objectives.span-corruption-noise-mask-lengths",
    effect="short spans come first",
)  # fmt: skip
def spans_are_sorted_by_length(length, *, density=0.15, mean_span=3.0, seed):
    count, spans = _numbers(length, density, mean_span)
    return _alternate(_cut(length - count, spans, seed), _cut(count, spans, seed + 1).sort().values)


@fault(
    span_noise_mask, "objectives.noise-seed-ignored", breaks="objectives.span-corruption-noise-mask-seed",
    effect="every text loses the same positions",
)  # fmt: skip
def the_seed_of_the_noise_is_zero(length, *, density=0.15, mean_span=3.0, seed):
    return span_noise_mask(length, density=density, mean_span=mean_span, seed=0)


@fault(
    span_noise_mask, "objectives.noise-and-text-cut-alike", breaks="objectives.span-corruption-noise-mask-lengths",
    effect="long spans stand behind long gaps",
)  # fmt: skip
def noise_and_text_are_cut_by_one_draw(length, *, density=0.15, mean_span=3.0, seed):
    count, spans = _numbers(length, density, mean_span)
    return _alternate(_cut(length - count, spans, seed), _cut(count, spans, seed))


@fault(
    span_noise_mask, "objectives.noise-seeds-in-a-row", breaks="objectives.span-corruption-noise-mask-seed",
    effect="the gaps of one text are the spans of the next, whose seed is one more",
)  # fmt: skip
def noise_is_cut_by_the_seed_after_that_of_the_text(length, *, density=0.15, mean_span=3.0, seed):
    return _recut(length, density, mean_span, seed, round)


@fault(
    span_noise_mask, "objectives.noise-in-one-buffer", breaks="objectives.span-corruption-noise-mask-seed",
    effect="the masks of a batch, drawn one after another, are all the last one",
)  # fmt: skip
def masks_of_one_length_share_their_memory(length, *, density=0.15, mean_span=3.0, seed):
    mask = span_noise_mask(length, density=density, mean_span=mean_span, seed=seed)
    return _kept.setdefault(("mask", length), torch.empty_like(mask)).copy_(mask)


@fault(
    span_noise_mask, "objectives.noise-between-calls", breaks="objectives.span-corruption-noise-mask-seed",
    effect="nothing can be repeated",
)  # fmt: skip
def noise_goes_on_from_call_to_call(length, *, density=0.15, mean_span=3.0, seed):
    _kept["noise"] = _kept.get("noise", 0) + 1
    return span_noise_mask(length, density=density, mean_span=mean_span, seed=seed + 1000 * _kept["noise"])


@fault(
    span_noise_mask, "objectives.too-short-is-nothing", breaks="objectives.span-corruption-noise-mask-too-short",
    effect="a text that is too short is a text without noise",
)  # fmt: skip
def a_text_of_fewer_than_two_tokens_has_no_noise(length, *, density=0.15, mean_span=3.0, seed):
    if length < 2:
        return torch.zeros(length, dtype=torch.bool)
    return span_noise_mask(length, density=density, mean_span=mean_span, seed=seed)


# --- Text to text -----------------------------------------------------------------------------------------------------


def _rows(made, pad_id, length):
    """Lists of ids as rows of a length, cut and padded on the right."""
    return torch.tensor([(row + [pad_id] * length)[:length] for row in made]).reshape(len(made), length)


def _ended(text, eos_id, length):
    """A text cut to a length and ended."""
    return [*text[: length - 1], eos_id]


def _texts(token_ids, pad_id):
    """Every text without its padding."""
    return [row[row != pad_id].tolist() for row in token_ids]


@fault(
    text_to_text, "objectives.text-to-text-prefix-missing", breaks="objectives.text-to-text-equation",
    effect="the model is not told what to do, and a pretrained one does something else",
)  # fmt: skip
def the_prefix_is_missing(prefix_ids, token_ids, **options):
    return text_to_text(prefix_ids[:0], token_ids, **options)


@fault(
    text_to_text, "objectives.text-to-text-prefix-last", breaks="objectives.text-to-text-equation",
    effect="the task stands behind the text, where no pretrained model looks for it",
)  # fmt: skip
def the_prefix_stands_behind_the_text(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [_ended(text + prefix_ids.tolist(), eos_id, length) for text in _texts(token_ids, pad_id)]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-prefix-once", breaks="objectives.text-to-text-rows",
    effect="all tasks of a batch but the first are unknown",
)  # fmt: skip
def only_the_first_row_has_the_prefix(prefix_ids, token_ids, **options):
    result = text_to_text(prefix_ids[:0], token_ids, **options)
    result[:1] = text_to_text(prefix_ids, token_ids[:1], **options)
    return result


_last_prefix: dict = {}


@fault(
    text_to_text, "objectives.text-to-text-prefix-on-targets", breaks="objectives.no-memory",
    effect="the model learns to repeat its task before it answers",
)  # fmt: skip
def the_targets_have_the_prefix_of_the_inputs_before(prefix_ids, token_ids, **options):
    if len(prefix_ids):
        _last_prefix["ids"] = prefix_ids
    return text_to_text(_last_prefix.get("ids", prefix_ids), token_ids, **options)


@fault(
    text_to_text, "objectives.text-to-text-prefix-with-eos", breaks="objectives.text-to-text-equation",
    effect="the prefix was encoded as a text of its own: the input ends before it begins",
)  # fmt: skip
def the_prefix_has_an_eos_of_its_own(prefix_ids, token_ids, *, pad_id, eos_id, length):
    if len(prefix_ids):
        prefix_ids = torch.cat((prefix_ids, prefix_ids.new_tensor([eos_id])))
    return text_to_text(prefix_ids, token_ids, pad_id=pad_id, eos_id=eos_id, length=length)


@fault(
    text_to_text, "objectives.text-to-text-prefix-not-counted", breaks="objectives.text-to-text-equation",
    effect="the EOS stands where the text alone would end: as many tokens as the prefix has are lost",
)  # fmt: skip
def the_end_is_counted_without_the_prefix(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [
        _ended(prefix_ids.tolist() + text, eos_id, min(len(text) + 1, length)) for text in _texts(token_ids, pad_id)
    ]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-padding-inside", breaks="objectives.text-to-text-equation",
    effect="short texts, which were padded on the left, stand far from their prefix",
)  # fmt: skip
def padding_stands_between_prefix_and_text(prefix_ids, token_ids, *, pad_id, eos_id, length):
    width = token_ids.shape[1]
    made = [
        _ended(prefix_ids.tolist() + [pad_id] * (width - len(text)) + text, eos_id, length)
        for text in _texts(token_ids, pad_id)
    ]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-padding-kept", breaks="objectives.text-to-text-padding",
    effect="the EOS is put behind the padded batch: of short texts the end is not where they end",
)  # fmt: skip
def eos_stands_behind_the_padding_of_the_text(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [_ended(prefix_ids.tolist() + row, eos_id, length) for row in token_ids.tolist()]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-end-of-the-longest", breaks="objectives.text-to-text-rows",
    effect="all texts of a batch seem to be as long as the longest",
)  # fmt: skip
def all_rows_end_where_the_longest_does(prefix_ids, token_ids, *, pad_id, eos_id, length):
    texts = _texts(token_ids, pad_id)
    longest = max(map(len, texts), default=0)
    made = [_ended(prefix_ids.tolist() + text + [pad_id] * (longest - len(text)), eos_id, length) for text in texts]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-eos-last", breaks="objectives.text-to-text-equation",
    effect="the model learns to pad before it ends",
)  # fmt: skip
def eos_stands_at_the_end_of_the_row(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [
        _ended(prefix_ids.tolist() + text + [pad_id] * length, eos_id, length) for text in _texts(token_ids, pad_id)
    ]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-eos-missing", breaks="objectives.text-to-text-equation",
    seen="huggingface/transformers#5866", effect="the model never learns to end",
)  # fmt: skip
def no_row_has_an_eos(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [_ended(prefix_ids.tolist() + text, pad_id, length) for text in _texts(token_ids, pad_id)]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-eos-cut-off", breaks="objectives.text-to-text-truncation",
    seen="elixir-nx/bumblebee#307", effect="texts that are too long have no end, and answers as long as they run on",
)  # fmt: skip
def eos_is_cut_off_with_the_rest(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [prefix_ids.tolist() + text + [eos_id] for text in _texts(token_ids, pad_id)]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-eos-over-the-last-token", breaks="objectives.text-to-text-equation",
    effect="every text loses its last token, be it cut or not",
)  # fmt: skip
def eos_stands_in_place_of_the_last_token(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [[*(prefix_ids.tolist() + text)[:length][:-1], eos_id] for text in _texts(token_ids, pad_id)]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-eos-twice", breaks="objectives.text-to-text-equation",
    effect="what has encoded the text has put an EOS there already",
)  # fmt: skip
def two_eos_end_a_row(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [_ended(prefix_ids.tolist() + text + [eos_id], eos_id, length) for text in _texts(token_ids, pad_id)]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-ends-at-eos", breaks="objectives.text-to-text-equation",
    effect="a text whose parts an EOS separates loses all but the first",
)  # fmt: skip
def a_text_ends_at_the_first_eos_in_it(prefix_ids, token_ids, *, pad_id, eos_id, length):
    texts = [text[: text.index(eos_id)] if eos_id in text else text for text in _texts(token_ids, pad_id)]
    return _rows([_ended(prefix_ids.tolist() + text, eos_id, length) for text in texts], pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-cut-at-the-start", breaks="objectives.text-to-text-truncation",
    effect="of a long text the prefix is what is lost first",
)  # fmt: skip
def what_has_no_room_is_cut_at_the_start(prefix_ids, token_ids, *, pad_id, eos_id, length):
    whole = [prefix_ids.tolist() + text for text in _texts(token_ids, pad_id)]
    return _rows([[*text[max(0, len(text) - length + 1) :], eos_id] for text in whole], pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-text-cut-at-the-start", breaks="objectives.text-to-text-truncation",
    effect="the prefix stays, and the beginning of the text is lost behind it",
)  # fmt: skip
def the_text_is_cut_at_its_start_behind_the_prefix(prefix_ids, token_ids, *, pad_id, eos_id, length):
    prefix = prefix_ids.tolist()[: length - 1]
    room = length - 1 - len(prefix)
    texts = [text[max(0, len(text) - room) :] for text in _texts(token_ids, pad_id)]
    return _rows([prefix + text + [eos_id] for text in texts], pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-one-token-short", breaks="objectives.text-to-text-truncation",
    effect="room is left for a start token that nobody puts there",
)  # fmt: skip
def one_place_is_left_free_in_a_row_that_is_cut(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [_ended(prefix_ids.tolist() + text, eos_id, max(1, length - 1)) for text in _texts(token_ids, pad_id)]
    return _rows(made, pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-pad-first", breaks="objectives.text-to-text-targets",
    seen="huggingface/transformers#7077", effect="shifted right, a target begins with two start tokens",
)  # fmt: skip
def a_start_token_stands_before_the_text(prefix_ids, token_ids, *, pad_id, eos_id, length):
    start = torch.cat((prefix_ids.new_tensor([pad_id]), prefix_ids))
    return text_to_text(start, token_ids, pad_id=pad_id, eos_id=eos_id, length=length)


@fault(
    text_to_text, "objectives.text-to-text-padded-on-the-left", breaks="objectives.text-to-text-equation",
    effect="targets begin with padding, which the decoder takes for its start token",
)  # fmt: skip
def rows_are_padded_on_the_left(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [_ended(prefix_ids.tolist() + text, eos_id, length) for text in _texts(token_ids, pad_id)]
    return _rows([[pad_id] * (length - len(row)) + row for row in made], pad_id, length)


@fault(
    text_to_text, "objectives.text-to-text-padded-with-0", breaks="objectives.text-to-text-equation",
    effect="with another pad id word 0 stands behind every text, visible and learnt",
)  # fmt: skip
def rows_are_padded_with_0(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [_ended(prefix_ids.tolist() + text, eos_id, length) for text in _texts(token_ids, pad_id)]
    return _rows(made, 0, length)


@fault(
    text_to_text, "objectives.text-to-text-padded-with-eos", breaks="objectives.text-to-text-equation",
    effect="the end of a text is as long as the room that it leaves",
)  # fmt: skip
def rows_are_padded_with_eos(prefix_ids, token_ids, *, pad_id, eos_id, length):
    made = [_ended(prefix_ids.tolist() + text, eos_id, length) for text in _texts(token_ids, pad_id)]
    return _rows(made, eos_id, length)


@fault(
    text_to_text, "objectives.text-to-text-as-wide-as-the-longest", breaks="objectives.dtype-and-shape",
    effect="every batch has another width than what was asked for",
)  # fmt: skip
def rows_are_as_wide_as_the_longest(prefix_ids, token_ids, *, pad_id, eos_id, length):
    longest = max((len(text) for text in _texts(token_ids, pad_id)), default=0)
    width = min(length, len(prefix_ids) + longest + 1)
    return text_to_text(prefix_ids, token_ids, pad_id=pad_id, eos_id=eos_id, length=width)


@fault(
    text_to_text, "objectives.text-to-text-in-place", breaks="objectives.inputs-untouched",
    effect="the next call with the same texts finds an EOS in them",
)  # fmt: skip
def eos_is_written_into_the_texts(prefix_ids, token_ids, *, pad_id, eos_id, length):
    result = text_to_text(prefix_ids, token_ids, pad_id=pad_id, eos_id=eos_id, length=length)
    token_ids[token_ids == pad_id] = eos_id
    return result


@fault(
    text_to_text, "objectives.text-to-text-no-room-is-nothing", breaks="objectives.text-to-text-no-room",
    effect="rows of nothing are trained on",
)  # fmt: skip
def without_a_length_there_are_rows_of_nothing(prefix_ids, token_ids, *, pad_id, eos_id, length):
    if length < 1:
        return token_ids[:, :0]
    return text_to_text(prefix_ids, token_ids, pad_id=pad_id, eos_id=eos_id, length=length)
