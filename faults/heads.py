"""Mistakes in fine-tuning heads: classifiers, answer spans, named entities."""

import torch

from transpec.catalogue import fault
from transpec.reference.bert import bert, bert_pooled
from transpec.reference.heads import (
    align_labels,
    best_span,
    bio_spans,
    question_answering,
    sequence_classification,
    token_classification,
)

# --- Classifiers ------------------------------------------------------------------------------------------------------


def _classified(x, weights):
    return x @ weights["classifier.w"] + weights["classifier.b"]


@fault(
    sequence_classification, "heads.sequence-not-pooled", breaks="heads.sequence-classification-equation",
    effect="the classifier reads the first token past the pooler",
)  # fmt: skip
def sequences_are_classified_without_the_pooler(token_ids, weights, config, **options):
    return _classified(bert(token_ids, weights, config, **options)[:, 0], weights)


@fault(
    sequence_classification, "heads.sequence-mean", breaks="heads.sequence-classification-equation",
    effect="the mean of all tokens, padding included, goes through the pooler",
)  # fmt: skip
def the_mean_of_all_tokens_is_classified(token_ids, weights, config, **options):
    mean = bert(token_ids, weights, config, **options).mean(-2)
    return _classified(torch.tanh(mean @ weights["pooler.w"] + weights["pooler.b"]), weights)


@fault(
    sequence_classification, "heads.sequence-last-token", breaks="heads.sequence-classification-equation",
    effect="a habit of GPT: the last token is classified, or padding",
)  # fmt: skip
def the_last_token_is_classified(token_ids, weights, config, **options):
    last = bert(token_ids, weights, config, **options)[:, -1]
    return _classified(torch.tanh(last @ weights["pooler.w"] + weights["pooler.b"]), weights)


@fault(
    sequence_classification, "heads.sequence-pooled-twice", breaks="heads.sequence-classification-equation",
    effect="a head with a tanh layer of its own is put upon the pooler",
)  # fmt: skip
def what_is_classified_has_gone_through_the_pooler_twice(token_ids, weights, config, **options):
    pooled = bert_pooled(token_ids, weights, config, **options)
    return _classified(torch.tanh(pooled @ weights["pooler.w"] + weights["pooler.b"]), weights)


@fault(
    sequence_classification, "heads.sequence-without-bias", breaks="heads.sequence-classification-equation",
    effect="rare classes are as likely as frequent ones",
)  # fmt: skip
def the_bias_of_the_sequence_classifier_is_missing(token_ids, weights, config, **options):
    return bert_pooled(token_ids, weights, config, **options) @ weights["classifier.w"]


@fault(
    sequence_classification, "heads.sequence-probabilities", breaks="heads.sequence-classification-equation",
    effect="probabilities where logits are due: a loss applies softmax to them once more",
)  # fmt: skip
def probabilities_of_classes_are_given(token_ids, weights, config, **options):
    exponentials = torch.exp(sequence_classification(token_ids, weights, config, **options))
    return exponentials / exponentials.sum(-1, keepdim=True)


@fault(
    sequence_classification, "heads.sequence-classes-rotated", breaks="heads.sequence-classification-equation",
    seen="huggingface/transformers#10401", effect="the model's classes and the data set's are in another order",
)  # fmt: skip
def the_classes_are_rotated(token_ids, weights, config, **options):
    return sequence_classification(token_ids, weights, config, **options).roll(1, -1)


@fault(
    sequence_classification, "heads.sequence-squeezed", breaks="heads.dtype-and-shape",
    effect="where there is one class its axis is gone, and a loss broadcasts (B) against (B, 1)",
)  # fmt: skip
def the_axis_of_one_class_is_squeezed(token_ids, weights, config, **options):
    return sequence_classification(token_ids, weights, config, **options).squeeze(-1)


@fault(
    sequence_classification, "heads.sequence-mask-dropped", breaks="heads.hidden-tokens-do-not-matter",
    effect="the head does not hand the attention mask on: a class depends on padding",
)  # fmt: skip
def the_sequence_head_does_not_pass_the_mask(token_ids, weights, config, *, attention_mask=None, **options):
    return sequence_classification(token_ids, weights, config, **options)


@fault(
    sequence_classification, "heads.sequence-types-dropped", breaks="heads.sequence-classification-equation",
    effect="the head does not hand the token types on: two sentences read as one",
)  # fmt: skip
def the_sequence_head_does_not_pass_the_token_types(token_ids, weights, config, *, token_type_ids=None, **options):
    return sequence_classification(token_ids, weights, config, **options)


@fault(
    sequence_classification, "heads.sequence-positions-dropped", breaks="heads.sequence-classification-equation",
    effect="the head does not hand the positions on",
)  # fmt: skip
def the_sequence_head_does_not_pass_the_positions(token_ids, weights, config, *, position_ids=None, **options):
    return sequence_classification(token_ids, weights, config, **options)


@fault(
    sequence_classification, "heads.sequence-body-frozen", breaks="heads.gradients",
    effect="only the classifier is trained",
)  # fmt: skip
def the_pooled_output_is_detached(token_ids, weights, config, **options):
    return _classified(bert_pooled(token_ids, weights, config, **options).detach(), weights)


def _of_tokens(x, weights):
    return torch.tanh(x @ weights["classifier.w"] + weights["classifier.b"])


@fault(
    token_classification, "heads.tokens-tanh", breaks="heads.token-classification-equation",
    effect="logits are bounded by 1: no token is ever certain",
)  # fmt: skip
def logits_of_tokens_go_through_tanh(token_ids, weights, config, **options):
    return _of_tokens(bert(token_ids, weights, config, **options), weights)


@fault(
    token_classification, "heads.tokens-without-bias", breaks="heads.token-classification-equation",
    effect="O is no more likely than any name",
)  # fmt: skip
def the_bias_of_the_token_classifier_is_missing(token_ids, weights, config, **options):
    return bert(token_ids, weights, config, **options) @ weights["classifier.w"]


@fault(
    token_classification, "heads.tokens-of-the-first", breaks="heads.token-independence",
    effect="every token has the class of the sequence",
)  # fmt: skip
def the_last_token_is_added_to_every_token(token_ids, weights, config, **options):
    hidden = bert(token_ids, weights, config, **options)
    return _classified(hidden + hidden[:, -1:], weights)


@fault(
    token_classification, "heads.tokens-shifted", breaks="heads.token-classification-equation",
    effect="[CLS] is cut off the logits and not off the labels: every tag is the next token's",
)  # fmt: skip
def logits_stand_one_token_early(token_ids, weights, config, **options):
    return token_classification(token_ids, weights, config, **options).roll(-1, -2)


@fault(
    token_classification, "heads.tokens-probabilities", breaks="heads.token-classification-equation",
    effect="logarithms of probabilities where logits are due: right for a loss, and wrong where logits are added up",
)  # fmt: skip
def log_probabilities_of_classes_are_given(token_ids, weights, config, **options):
    logits = token_classification(token_ids, weights, config, **options)
    return logits - torch.log(torch.exp(logits).sum(-1, keepdim=True))


@fault(
    token_classification, "heads.tokens-mask-dropped", breaks="heads.hidden-tokens-do-not-matter",
    effect="the head does not hand the attention mask on: tags depend on padding",
)  # fmt: skip
def the_token_head_does_not_pass_the_mask(token_ids, weights, config, *, attention_mask=None, **options):
    return token_classification(token_ids, weights, config, **options)


@fault(
    token_classification, "heads.tokens-types-dropped", breaks="heads.token-classification-equation",
    effect="the head does not hand the token types on",
)  # fmt: skip
def the_token_head_does_not_pass_the_token_types(token_ids, weights, config, *, token_type_ids=None, **options):
    return token_classification(token_ids, weights, config, **options)


@fault(
    token_classification, "heads.tokens-positions-dropped", breaks="heads.token-classification-equation",
    effect="the head does not hand the positions on",
)  # fmt: skip
def the_token_head_does_not_pass_the_positions(token_ids, weights, config, *, position_ids=None, **options):
    return token_classification(token_ids, weights, config, **options)


@fault(
    token_classification, "heads.tokens-body-frozen", breaks="heads.gradients",
    effect="only the classifier is trained",
)  # fmt: skip
def the_tokens_are_detached(token_ids, weights, config, **options):
    return _classified(bert(token_ids, weights, config, **options).detach(), weights)


@fault(
    question_answering, "heads.answers-exchanged", breaks="heads.question-answering-equation",
    effect="starts are read as ends: answers run backwards or are one token long",
)  # fmt: skip
def start_and_end_are_exchanged(token_ids, weights, config, **options):
    return question_answering(token_ids, weights, config, **options).flip(-1)


@fault(
    question_answering, "heads.answers-without-bias", breaks="heads.question-answering-equation",
    effect="logits are off by a number each, which a softmax forgives and a threshold does not",
)  # fmt: skip
def the_bias_of_start_and_end_is_missing(token_ids, weights, config, **options):
    return bert(token_ids, weights, config, **options) @ weights["classifier.w"]


@fault(
    question_answering, "heads.answers-start-twice", breaks="heads.question-answering-equation",
    effect="both logits come from one column: every answer is one token long",
)  # fmt: skip
def the_end_has_the_logits_of_the_start(token_ids, weights, config, **options):
    logits = question_answering(token_ids, weights, config, **options)
    return torch.cat([logits[..., :1], logits[..., :1]], -1)


@fault(
    question_answering, "heads.answers-over-two", breaks="heads.question-answering-equation",
    effect="a softmax over start and end, and not over tokens",
)  # fmt: skip
def logits_are_normalized_over_start_and_end(token_ids, weights, config, **options):
    logits = question_answering(token_ids, weights, config, **options)
    return torch.sigmoid(logits - logits.flip(-1))


@fault(
    question_answering, "heads.answers-mask-dropped", breaks="heads.hidden-tokens-do-not-matter",
    effect="the head does not hand the attention mask on: answers depend on padding",
)  # fmt: skip
def the_answer_head_does_not_pass_the_mask(token_ids, weights, config, *, attention_mask=None, **options):
    return question_answering(token_ids, weights, config, **options)


@fault(
    question_answering, "heads.answers-types-dropped", breaks="heads.question-answering-equation",
    effect="question and passage read as one",
)  # fmt: skip
def the_answer_head_does_not_pass_the_token_types(token_ids, weights, config, *, token_type_ids=None, **options):
    return question_answering(token_ids, weights, config, **options)


@fault(
    question_answering, "heads.answers-axes", breaks="heads.dtype-and-shape",
    effect="starts and ends come as (B, 2, T)",
)  # fmt: skip
def starts_and_ends_come_before_the_tokens(token_ids, weights, config, **options):
    return question_answering(token_ids, weights, config, **options).transpose(-2, -1)


@fault(
    question_answering, "heads.answers-weights-overwritten", breaks="heads.inputs-untouched",
    effect="the classifier is normalized in place",
)  # fmt: skip
def the_classifier_is_halved_in_place(token_ids, weights, config, **options):
    logits = question_answering(token_ids, weights, config, **options)
    weights["classifier.w"].mul_(0.5)
    return logits


# --- Answers ----------------------------------------------------------------------------------------------------------


def _best(start, end, possible, allowed, no_answer=False, threshold=0.0, null=None):
    """The best of all possible spans, or none."""
    T = start.shape[-1]
    scores = start.unsqueeze(-1) + end.unsqueeze(-2)
    possible = possible & allowed.unsqueeze(-1) & allowed.unsqueeze(-2)
    scores = torch.where(possible, scores, -torch.inf).flatten(-2)
    best = scores.argmax(-1)
    null = start[:, 0] + end[:, 0] if null is None else null
    none = (null > scores.amax(-1) + threshold) & no_answer
    return torch.where(none.unsqueeze(-1), 0, torch.stack((best // T, best % T), -1))


def _length(start):
    place = torch.arange(start.shape[-1])
    return place - place.unsqueeze(-1) + 1


@fault(
    best_span, "heads.span-each-best", breaks="heads.question-answering-span-equation",
    effect="start and end are chosen apart: some answers end before they begin",
)  # fmt: skip
def start_and_end_are_chosen_apart(start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0):
    possible = torch.ones_like(_length(start_logits), dtype=torch.bool)
    return _best(start_logits, end_logits, possible, allowed, no_answer, threshold)


@fault(
    best_span, "heads.span-backwards", breaks="heads.question-answering-span-equation",
    effect="only the distance is bounded: some answers end before they begin",
)  # fmt: skip
def an_answer_may_end_before_it_begins(
    start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0
):
    possible = (_length(start_logits) - 1).abs() < max_length
    return _best(start_logits, end_logits, possible, allowed, no_answer, threshold)


@fault(
    best_span, "heads.span-repaired", breaks="heads.question-answering-span-equation",
    effect="an answer that ends before it begins is turned round",
)  # fmt: skip
def start_and_end_are_chosen_apart_and_put_in_order(
    start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0
):
    apart = start_and_end_are_chosen_apart(start_logits, end_logits, allowed=allowed, max_length=max_length)
    return torch.stack((apart.amin(-1), apart.amax(-1)), -1)


@fault(
    best_span, "heads.span-greedy", breaks="heads.question-answering-span-equation",
    effect="the best start is kept, whatever end is left to it",
)  # fmt: skip
def the_end_is_the_best_after_the_best_start(
    start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0
):
    start = torch.where(allowed, start_logits, -torch.inf).argmax(-1, keepdim=True)
    place = torch.arange(start_logits.shape[-1])
    possible = allowed & (place >= start) & (place < start + max_length)
    end = torch.where(possible, end_logits, -torch.inf).argmax(-1, keepdim=True)
    return torch.cat([start, end], -1)


@fault(
    best_span, "heads.span-of-the-best-twenty", breaks="heads.question-answering-span-equation",
    effect="in long passages a good answer is lost whose start and end are not among the best twenty of all",
)  # fmt: skip
def the_best_twenty_starts_and_ends_alone_are_combined(
    start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0
):
    def good(logits):
        within = torch.where(allowed, logits, -torch.inf)
        return within >= within.topk(min(20, within.shape[-1])).values[:, -1:]

    length = _length(start_logits)
    possible = (length >= 1) & (length <= max_length)
    few = possible & good(start_logits).unsqueeze(-1) & good(end_logits).unsqueeze(-2)
    some = (few & allowed.unsqueeze(-1) & allowed.unsqueeze(-2)).flatten(1).any(-1)
    return _best(
        start_logits, end_logits, torch.where(some.view(-1, 1, 1), few, possible), allowed, no_answer, threshold
    )


@fault(
    best_span, "heads.span-in-blocks", breaks="heads.question-answering-span-equation",
    effect="an answer that lies across the border of two blocks is not found",
)  # fmt: skip
def no_answer_lies_across_a_multiple_of_64(
    start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0
):
    length, block = _length(start_logits), torch.arange(start_logits.shape[-1]) // 64
    possible = (length >= 1) & (length <= max_length) & (block == block.unsqueeze(-1))
    return _best(start_logits, end_logits, possible, allowed, no_answer, threshold)


@fault(
    best_span, "heads.span-in-float32", breaks="heads.question-answering-span-equation",
    effect="the first of two answers is given where the second is better by less than seven digits",
)  # fmt: skip
def sums_are_made_in_float32(start_logits, end_logits, **options):
    return best_span(start_logits.float(), end_logits.float(), **options)


@fault(
    best_span, "heads.span-not-one-token", breaks="heads.question-answering-span-equation",
    effect="an answer of one word is never found",
)  # fmt: skip
def an_answer_has_at_least_two_tokens(start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0):
    length = _length(start_logits)
    possible = (length >= min(2, max_length, length.shape[-1])) & (length <= max_length)
    return _best(start_logits, end_logits, possible, allowed, no_answer, threshold)


@fault(
    best_span, "heads.span-one-longer", breaks="heads.question-answering-span-equation",
    effect="the distance of the ends is bounded and not the number of tokens",
)  # fmt: skip
def an_answer_may_be_one_token_longer(start_logits, end_logits, *, allowed, max_length, **options):
    return best_span(start_logits, end_logits, allowed=allowed, max_length=max_length + 1, **options)


@fault(
    best_span, "heads.span-one-shorter", breaks="heads.question-answering-span-equation",
    effect="answers as long as allowed are cut",
)  # fmt: skip
def an_answer_has_to_be_one_token_shorter(start_logits, end_logits, *, allowed, max_length, **options):
    return best_span(start_logits, end_logits, allowed=allowed, max_length=max(1, max_length - 1), **options)


@fault(
    best_span, "heads.span-of-any-length", breaks="heads.question-answering-span-equation",
    effect="whole passages are given as answers",
)  # fmt: skip
def the_length_is_not_bounded(start_logits, end_logits, *, allowed, max_length, **options):
    return best_span(start_logits, end_logits, allowed=allowed, max_length=start_logits.shape[-1], **options)


@fault(
    best_span, "heads.span-cut", breaks="heads.question-answering-span-equation",
    effect="a long answer is cut to the length that is allowed, and the best short one is not looked for",
)  # fmt: skip
def a_long_answer_is_cut(start_logits, end_logits, *, allowed, max_length, **options):
    span = best_span(start_logits, end_logits, allowed=allowed, max_length=start_logits.shape[-1], **options)
    return torch.stack((span[:, 0], torch.minimum(span[:, 1], span[:, 0] + max_length - 1)), -1)


@fault(
    best_span, "heads.span-in-the-question", breaks="heads.question-answering-hidden-tokens",
    effect="answers are quoted from the question",
)  # fmt: skip
def everything_is_allowed(start_logits, end_logits, *, allowed, max_length, **options):
    return best_span(start_logits, end_logits, allowed=torch.ones_like(allowed), max_length=max_length, **options)


@fault(
    best_span, "heads.span-ends-anywhere", breaks="heads.question-answering-hidden-tokens",
    effect="answers run on into the padding",
)  # fmt: skip
def only_starts_have_to_be_allowed(start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0):
    length = _length(start_logits)
    possible = (length >= 1) & (length <= max_length) & allowed.unsqueeze(-1)
    return _best(start_logits, end_logits, possible, torch.ones_like(allowed), no_answer, threshold)


@fault(
    best_span, "heads.span-starts-anywhere", breaks="heads.question-answering-hidden-tokens",
    effect="answers begin in the question",
)  # fmt: skip
def only_ends_have_to_be_allowed(start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0):
    length = _length(start_logits)
    possible = (length >= 1) & (length <= max_length) & allowed.unsqueeze(-2)
    return _best(start_logits, end_logits, possible, torch.ones_like(allowed), no_answer, threshold)


@fault(
    best_span, "heads.span-hidden-at-zero", breaks="heads.question-answering-span-equation",
    effect="what is not allowed has the logit 0 and wins where all others are negative",
)  # fmt: skip
def logits_that_are_not_allowed_become_zero(start_logits, end_logits, *, allowed, max_length, **options):
    start, end = (torch.where(allowed, logits, 0.0) for logits in (start_logits, end_logits))
    return best_span(start, end, allowed=torch.ones_like(allowed), max_length=max_length, **options)


@fault(
    best_span, "heads.span-mask-of-the-first-row", breaks="heads.question-answering-span-equation",
    effect="every answer is looked for where the first passage is",
)  # fmt: skip
def the_passage_of_the_first_row_is_everyones(start_logits, end_logits, *, allowed, max_length, **options):
    return best_span(
        start_logits, end_logits, allowed=allowed[:1].expand(allowed.shape), max_length=max_length, **options
    )


@fault(
    best_span, "heads.span-product", breaks="heads.question-answering-shift",
    effect="logits are multiplied: two that are very negative win",
)  # fmt: skip
def start_and_end_are_multiplied(start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0):
    length, T = _length(start_logits), start_logits.shape[-1]
    possible = (length >= 1) & (length <= max_length) & allowed.unsqueeze(-1) & allowed.unsqueeze(-2)
    scores = torch.where(possible, start_logits.unsqueeze(-1) * end_logits.unsqueeze(-2), -torch.inf).flatten(-2)
    best = scores.argmax(-1)
    return torch.stack((best // T, best % T), -1)


@fault(
    best_span, "heads.span-exclusive", breaks="heads.question-answering-span-equation",
    effect="the end is the token after the answer",
)  # fmt: skip
def the_end_is_one_past_the_last_token(start_logits, end_logits, **options):
    return best_span(start_logits, end_logits, **options) + torch.tensor([0, 1])


@fault(
    best_span, "heads.span-exchanged", breaks="heads.question-answering-span-equation",
    effect="ends are looked for among starts",
)  # fmt: skip
def the_logits_of_start_and_end_are_exchanged(start_logits, end_logits, **options):
    return best_span(end_logits, start_logits, **options)


@fault(
    best_span, "heads.span-not-at-the-first", breaks="heads.question-answering-edges",
    seen="deepset-ai/FARM#564", effect="an answer at the first token is taken for none",
)  # fmt: skip
def an_answer_cannot_begin_at_the_first_token(start_logits, end_logits, *, allowed, max_length, **options):
    later = allowed & (torch.arange(allowed.shape[-1]) > 0)
    later = torch.where(later.any(-1, keepdim=True), later, allowed)
    return best_span(start_logits, end_logits, allowed=later, max_length=max_length, **options)


@fault(
    best_span, "heads.span-not-at-the-last", breaks="heads.question-answering-edges",
    seen="explosion/spacy-experimental#27", effect="an answer at the last token is never found",
)  # fmt: skip
def an_answer_cannot_end_at_the_last_token(start_logits, end_logits, *, allowed, max_length, **options):
    before = allowed & (torch.arange(allowed.shape[-1]) < allowed.shape[-1] - 1)
    before = torch.where(before.any(-1, keepdim=True), before, allowed)
    return best_span(start_logits, end_logits, allowed=before, max_length=max_length, **options)


@fault(
    best_span, "heads.span-always-answered", breaks="heads.question-answering-no-answer",
    effect="questions without an answer are answered",
)  # fmt: skip
def there_is_always_an_answer(start_logits, end_logits, *, no_answer=False, **options):
    return best_span(start_logits, end_logits, **options)


@fault(
    best_span, "heads.span-never-asked", breaks="heads.question-answering-no-answer",
    effect="with a data set where all questions have answers some stay without",
)  # fmt: skip
def none_is_always_a_candidate(start_logits, end_logits, *, no_answer=False, **options):
    return best_span(start_logits, end_logits, no_answer=True, **options)


@fault(
    best_span, "heads.span-threshold-ignored", breaks="heads.question-answering-no-answer",
    effect="a threshold that was tuned on other data does nothing",
)  # fmt: skip
def the_threshold_is_zero_whatever_is_given(start_logits, end_logits, *, threshold=0.0, **options):
    return best_span(start_logits, end_logits, **options)


@fault(
    best_span, "heads.span-threshold-reversed", breaks="heads.question-answering-no-answer",
    effect="a higher threshold gives more questions no answer",
)  # fmt: skip
def the_threshold_is_added_to_none(start_logits, end_logits, *, threshold=0.0, **options):
    return best_span(start_logits, end_logits, threshold=-threshold, **options)


@fault(
    best_span, "heads.span-none-by-start", breaks="heads.question-answering-no-answer",
    effect="whether there is an answer is read from the start of [CLS] twice",
)  # fmt: skip
def none_is_scored_by_its_start_alone(start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0):
    length = _length(start_logits)
    possible = (length >= 1) & (length <= max_length)
    return _best(start_logits, end_logits, possible, allowed, no_answer, threshold, null=2 * start_logits[:, 0])


@fault(
    best_span, "heads.span-none-at-the-threshold", breaks="heads.question-answering-no-answer",
    effect="where both are as good there is no answer",
)  # fmt: skip
def none_is_given_at_the_threshold_too(
    start_logits, end_logits, *, allowed, max_length, no_answer=False, threshold=0.0
):
    span = best_span(start_logits, end_logits, allowed=allowed, max_length=max_length)
    best = start_logits.gather(1, span[:, :1]) + end_logits.gather(1, span[:, 1:])
    none = (start_logits[:, :1] + end_logits[:, :1] >= best + threshold) & no_answer
    return torch.where(none, 0, span)


@fault(
    best_span, "heads.span-none-must-be-allowed", breaks="heads.question-answering-no-answer",
    effect="[CLS] is no token of the passage, so there is always an answer",
)  # fmt: skip
def none_has_to_be_allowed(start_logits, end_logits, *, allowed, no_answer=False, **options):
    chosen = best_span(start_logits, end_logits, allowed=allowed, no_answer=no_answer, **options)
    answer = best_span(start_logits, end_logits, allowed=allowed, **options)
    return torch.where(allowed[:, :1], chosen, answer)


@fault(
    best_span, "heads.span-logits-overwritten", breaks="heads.inputs-untouched",
    effect="logits that are not allowed are filled in place",
)  # fmt: skip
def logits_are_overwritten(start_logits, end_logits, **options):
    span = best_span(start_logits, end_logits, **options)
    start_logits.fill_(-1.0)
    return span


# --- Named entities ---------------------------------------------------------------------------------------------------


def _aligned(word_ids, labels, ignore_id, is_first, own=None):
    own = labels.gather(-1, word_ids.clamp_min(0)) if own is None else own
    return torch.where(is_first & (word_ids >= 0), own, ignore_id)


def _before(word_ids, outside=-1):
    return torch.cat([torch.full_like(word_ids[:, :1], outside), word_ids[:, :-1]], -1)


@fault(
    align_labels, "heads.labels-everywhere", breaks="heads.named-entity-alignment-equation",
    effect="long words count as often as they have sub-words",
)  # fmt: skip
def every_sub_word_has_the_label(word_ids, labels, *, ignore_id=-100):
    return _aligned(word_ids, labels, ignore_id, torch.ones_like(word_ids, dtype=torch.bool))


@fault(
    align_labels, "heads.labels-at-the-last", breaks="heads.named-entity-alignment-equation",
    effect="training reads the last sub-word, evaluation the first",
)  # fmt: skip
def the_last_sub_word_has_the_label(word_ids, labels, *, ignore_id=-100):
    after = torch.cat([word_ids[:, 1:], torch.full_like(word_ids[:, :1], -1)], -1)
    return _aligned(word_ids, labels, ignore_id, word_ids != after)


@fault(
    align_labels, "heads.labels-by-place", breaks="heads.named-entity-alignment-equation",
    effect="labels are those of tokens and not of words: all are shifted after the first long word",
)  # fmt: skip
def labels_are_taken_in_the_order_of_tokens(word_ids, labels, *, ignore_id=-100):
    place = torch.arange(word_ids.shape[-1]).clamp_max(labels.shape[-1] - 1)
    return _aligned(word_ids, labels, ignore_id, word_ids != _before(word_ids), labels[:, place])


@fault(
    align_labels, "heads.labels-by-count", breaks="heads.named-entity-alignment-equation",
    effect="labels are dealt out one by one: a word without a sub-word shifts all that follow",
)  # fmt: skip
def the_next_first_sub_word_has_the_next_label(word_ids, labels, *, ignore_id=-100):
    is_first = (word_ids >= 0) & (word_ids != _before(word_ids))
    count = (is_first.cumsum(-1) - 1).clamp(0, labels.shape[-1] - 1)
    return _aligned(word_ids, labels, ignore_id, is_first, labels.gather(-1, count))


@fault(
    align_labels, "heads.labels-one-early", breaks="heads.named-entity-alignment-equation",
    effect="[CLS] is not counted: every label stands one token early",
)  # fmt: skip
def labels_stand_one_token_early(word_ids, labels, *, ignore_id=-100):
    made = align_labels(word_ids, labels, ignore_id=ignore_id)
    return torch.cat([made[:, 1:], torch.full_like(made[:, :1], ignore_id)], -1)


@fault(
    align_labels, "heads.labels-special", breaks="heads.named-entity-alignment-equation",
    effect="-1 is taken as an index: special tokens have the label of the last word",
)  # fmt: skip
def special_tokens_have_the_label_of_the_last_word(word_ids, labels, *, ignore_id=-100):
    last = labels[:, -1:].expand(word_ids.shape)
    return torch.where(word_ids < 0, last, align_labels(word_ids, labels, ignore_id=ignore_id))


@fault(
    align_labels, "heads.labels-special-are-o", breaks="heads.named-entity-alignment-equation",
    effect="special tokens and padding are trained as O, and fill the accuracy",
)  # fmt: skip
def special_tokens_have_the_label_zero(word_ids, labels, *, ignore_id=-100):
    return torch.where(word_ids < 0, 0, align_labels(word_ids, labels, ignore_id=ignore_id))


@fault(
    align_labels, "heads.labels-others-are-o", breaks="heads.named-entity-alignment-equation",
    effect="the rest of a word is trained as O",
)  # fmt: skip
def later_sub_words_have_the_label_zero(word_ids, labels, *, ignore_id=-100):
    later = (word_ids >= 0) & (word_ids == _before(word_ids))
    return torch.where(later, 0, align_labels(word_ids, labels, ignore_id=ignore_id))


@fault(
    align_labels, "heads.labels-first-word-lost", breaks="heads.named-entity-alignment-equation",
    effect="`if word_id`: word 0 is taken for none",
)  # fmt: skip
def word_zero_has_no_label(word_ids, labels, *, ignore_id=-100):
    return torch.where(word_ids > 0, align_labels(word_ids, labels, ignore_id=ignore_id), ignore_id)


@fault(
    align_labels, "heads.labels-wrapped", breaks="heads.named-entity-alignment-equation",
    effect="the first token is compared with the last of its row",
)  # fmt: skip
def the_first_token_comes_after_the_last(word_ids, labels, *, ignore_id=-100):
    return _aligned(word_ids, labels, ignore_id, word_ids != word_ids.roll(1, -1))


@fault(
    align_labels, "heads.labels-across-rows", breaks="heads.named-entity-alignment-equation",
    effect="the last word of a row is remembered in the next: its first word may go without a label",
)  # fmt: skip
def the_first_token_comes_after_the_row_before(word_ids, labels, *, ignore_id=-100):
    before = word_ids.flatten().roll(1).view(word_ids.shape).clone()
    before[:1, :1] = -1
    return _aligned(word_ids, labels, ignore_id, word_ids != before)


@fault(
    align_labels, "heads.labels-start-at-zero", breaks="heads.named-entity-alignment-equation",
    effect="what came before the first token is taken to be word 0: it has no label where there is no [CLS]",
)  # fmt: skip
def nothing_before_the_first_token_is_word_zero(word_ids, labels, *, ignore_id=-100):
    return _aligned(word_ids, labels, ignore_id, word_ids != _before(word_ids, 0))


@fault(
    align_labels, "heads.labels-once", breaks="heads.named-entity-alignment-equation",
    effect="words of the second text of a pair are taken to be seen already",
)  # fmt: skip
def a_word_has_a_label_at_its_first_place_in_the_row_alone(word_ids, labels, *, ignore_id=-100):
    same = word_ids.unsqueeze(-1) == word_ids.unsqueeze(-2)
    return _aligned(word_ids, labels, ignore_id, ~same.tril(-1).any(-1))


@fault(
    align_labels, "heads.labels-counted-up", breaks="heads.named-entity-alignment-equation",
    effect="a word is new where its number is higher: the second text of a pair begins without a label",
)  # fmt: skip
def a_word_is_new_where_its_number_is_higher(word_ids, labels, *, ignore_id=-100):
    highest = torch.cat([torch.full_like(word_ids[:, :1], -1), word_ids.cummax(-1).values[:, :-1]], -1)
    return _aligned(word_ids, labels, ignore_id, word_ids > highest)


@fault(
    align_labels, "heads.labels-told-by-label", breaks="heads.named-entity-alignment-equation",
    effect="neighbours with one label are taken for one word",
)  # fmt: skip
def a_word_is_new_where_its_label_is_another(word_ids, labels, *, ignore_id=-100):
    everywhere = every_sub_word_has_the_label(word_ids, labels, ignore_id=ignore_id)
    return torch.where(everywhere == _before(everywhere, ignore_id), ignore_id, everywhere)


@fault(
    align_labels, "heads.labels-of-the-first-row", breaks="heads.batch-independence",
    effect="every sentence has the labels of the first",
)  # fmt: skip
def the_labels_of_the_first_row_are_everyones(word_ids, labels, *, ignore_id=-100):
    return align_labels(word_ids, labels[:1].expand(labels.shape), ignore_id=ignore_id)


@fault(
    align_labels, "heads.labels-ignored-by-default", breaks="heads.named-entity-alignment-equation",
    effect="-100 is given whatever the loss ignores",
)  # fmt: skip
def what_is_ignored_is_minus_100_whatever_is_given(word_ids, labels, *, ignore_id=-100):
    return align_labels(word_ids, labels)


@fault(
    align_labels, "heads.labels-narrow", breaks="heads.named-entity-alignment-equation",
    effect="labels are kept in 16 bits",
)  # fmt: skip
def labels_are_kept_in_16_bits(word_ids, labels, *, ignore_id=-100):
    return align_labels(word_ids, labels, ignore_id=ignore_id).to(torch.int16).to(labels.dtype)


@fault(
    align_labels, "heads.labels-clamped", breaks="heads.impossible-ids",
    effect="a word that was cut off the labels has the label of the last",
)  # fmt: skip
def a_word_without_a_label_has_that_of_the_last(word_ids, labels, *, ignore_id=-100):
    return align_labels(word_ids.clamp_max(labels.shape[-1] - 1), labels, ignore_id=ignore_id)


@fault(
    align_labels, "heads.labels-overwritten", breaks="heads.inputs-untouched",
    effect="word ids of special tokens are replaced in place",
)  # fmt: skip
def word_ids_are_clamped_in_place(word_ids, labels, *, ignore_id=-100):
    made = align_labels(word_ids, labels, ignore_id=ignore_id)
    word_ids.clamp_(min=0)
    return made


def _spans(tags, begins, goes_on):
    """Spans told by two questions about a tag and the one before it, both (kind, is_inside), kind -1 being O."""
    made = torch.full((*tags.shape, 2), -1)
    for row, entries in enumerate(tags.tolist()):
        start, before = None, (-1, False)
        for t, tag in enumerate(entries):
            own = ((tag - 1) // 2, tag % 2 == 0) if tag else (-1, False)
            if start is not None and goes_on(own, before):
                made[row, start, 1] = t
            elif begins(own, before):
                start = t
                made[row, t] = torch.tensor([own[0], t])
            else:
                start = None
            before = own
    return made


def _starts(own, before):
    return own[0] >= 0


def _goes_on(own, before):
    return own[1] and own[0] == before[0]


@fault(
    bio_spans, "heads.entities-strict", breaks="heads.named-entity-stray-inside",
    effect="entities that lack their B are lost, where conlleval counts them",
)  # fmt: skip
def an_i_without_a_b_begins_nothing(tags, *, num_types):
    return _spans(tags, lambda own, before: own[0] >= 0 and not own[1], _goes_on)


@fault(
    bio_spans, "heads.entities-of-any-type", breaks="heads.named-entity-stray-inside",
    effect="an I of another type goes on with the entity before it",
)  # fmt: skip
def an_i_of_another_type_goes_on(tags, *, num_types):
    return _spans(tags, _starts, lambda own, before: own[1])


@fault(
    bio_spans, "heads.entities-end-at-another-type", breaks="heads.named-entity-stray-inside",
    effect="an I of another type ends an entity and begins none",
)  # fmt: skip
def an_i_of_another_type_begins_nothing(tags, *, num_types):
    def begins(own, before):
        return own[0] >= 0 and (not own[1] or before[0] == -1)

    return _spans(tags, begins, _goes_on)


@fault(
    bio_spans, "heads.entities-stray-at-the-start", breaks="heads.named-entity-stray-inside",
    effect="an I as the first tag has nothing before it, and is lost",
)  # fmt: skip
def an_i_as_the_first_tag_begins_nothing(tags, *, num_types):
    cut = tags.clone()
    while bool((first := (cut % 2 == 0) & (cut > 0) & (_before(cut, -1) == -1)).any()):
        cut = torch.where(first, -1, cut)
    return bio_spans(cut.clamp_min(0), num_types=num_types)


@fault(
    bio_spans, "heads.entities-io", breaks="heads.named-entity-spans-equation",
    effect="B and I are not told apart: neighbours of one type are one entity",
)  # fmt: skip
def a_b_after_its_own_type_goes_on(tags, *, num_types):
    return _spans(tags, _starts, lambda own, before: own[0] >= 0 and own[0] == before[0])


@fault(
    bio_spans, "heads.entities-one-token", breaks="heads.named-entity-spans-equation",
    effect="every token is an entity of its own",
)  # fmt: skip
def every_tag_is_an_entity(tags, *, num_types):
    return _spans(tags, _starts, lambda own, before: False)


@fault(
    bio_spans, "heads.entities-b-alone", breaks="heads.named-entity-spans-equation",
    effect="entities are as long as their B",
)  # fmt: skip
def an_entity_ends_at_its_b(tags, *, num_types):
    spans = bio_spans(tags, num_types=num_types)
    own = torch.arange(tags.shape[-1]).expand(tags.shape)
    return torch.where(spans >= 0, torch.stack((spans[..., 0], own), -1), -1)


@fault(
    bio_spans, "heads.entities-exclusive", breaks="heads.named-entity-spans-equation",
    effect="the end is the token after the entity",
)  # fmt: skip
def the_end_of_an_entity_is_one_past_its_last_token(tags, *, num_types):
    spans = bio_spans(tags, num_types=num_types)
    return torch.where(spans >= 0, spans + torch.tensor([0, 1]), -1)


@fault(
    bio_spans, "heads.entities-last-lost", breaks="heads.named-entity-spans-equation",
    effect="an entity is written down where it ends: one at the end of the sentence is lost",
)  # fmt: skip
def an_entity_at_the_end_is_lost(tags, *, num_types):
    spans = bio_spans(tags, num_types=num_types)
    return torch.where((spans[..., 1:] == tags.shape[-1] - 1), -1, spans)


@fault(
    bio_spans, "heads.entities-in-blocks", breaks="heads.named-entity-spans-equation",
    effect="an entity across the border of two blocks is two of them",
)  # fmt: skip
def an_entity_ends_at_a_multiple_of_64(tags, *, num_types):
    if not tags.shape[1]:
        return bio_spans(tags, num_types=num_types)
    blocks = [bio_spans(block, num_types=num_types) for block in tags.split(64, 1)]
    offset = torch.tensor([0, 64])
    return torch.cat([torch.where(block >= 0, block + i * offset, -1) for i, block in enumerate(blocks)], 1)


@fault(
    bio_spans, "heads.entities-in-8-bits", breaks="heads.named-entity-spans-equation",
    effect="the 65th type and those after it are others",
)  # fmt: skip
def tags_are_kept_in_8_bits(tags, *, num_types):
    spans = bio_spans(tags, num_types=num_types)
    kind = torch.where(spans[..., 0] >= 0, (tags - 1).to(torch.int8).long() // 2, -1)
    return torch.stack((kind, spans[..., 1]), -1)


@fault(
    bio_spans, "heads.entities-across-rows", breaks="heads.batch-independence",
    effect="tags are flattened: an entity goes on into the next sentence",
)  # fmt: skip
def an_entity_goes_on_into_the_next_row(tags, *, num_types):
    whole = bio_spans(tags.reshape(1, -1), num_types=num_types).view(*tags.shape, 2)
    row = torch.arange(len(tags)).view(-1, 1) * tags.shape[-1]
    return torch.where(whole >= 0, torch.stack((whole[..., 0], whole[..., 1] - row), -1), -1)


@fault(
    bio_spans, "heads.entities-i-first", breaks="heads.named-entity-spans-equation",
    effect="the tags' numbers are in another order: I before B",
)  # fmt: skip
def odd_tags_are_i_and_even_ones_b(tags, *, num_types):
    exchanged = torch.where(tags == 0, 0, torch.where(tags % 2 == 1, tags + 1, tags - 1))
    return bio_spans(exchanged, num_types=num_types)


@fault(
    bio_spans, "heads.entities-blocks", breaks="heads.named-entity-spans-equation",
    effect="the tags' numbers are in another order: all B before all I",
)  # fmt: skip
def the_first_half_of_the_tags_are_b(tags, *, num_types):
    inside = tags > num_types
    kind = torch.where(inside, tags - num_types, tags) - 1
    return bio_spans(torch.where(tags == 0, 0, 2 * kind + 1 + inside.long()), num_types=num_types)


@fault(
    bio_spans, "heads.entities-type-from-one", breaks="heads.named-entity-spans-equation",
    effect="types are counted from 1",
)  # fmt: skip
def types_are_counted_from_one(tags, *, num_types):
    spans = bio_spans(tags, num_types=num_types)
    return torch.where(spans >= 0, spans + torch.tensor([1, 0]), -1)


@fault(
    bio_spans, "heads.entities-none-is-zero", breaks="heads.named-entity-spans-equation",
    effect="tokens that begin no entity read as one of type 0 that ends at the first token",
)  # fmt: skip
def what_begins_no_entity_is_zero(tags, *, num_types):
    return bio_spans(tags, num_types=num_types).clamp_min(0)


@fault(
    bio_spans, "heads.entities-bridged", breaks="heads.named-entity-spans-equation",
    effect="an I after a gap goes on with the last entity of its type",
)  # fmt: skip
def one_o_within_an_entity_is_overlooked(tags, *, num_types):
    before, after = _before(tags, 0), torch.cat([tags[:, 1:], torch.zeros_like(tags[:, :1])], -1)
    bridged = (tags == 0) & (after > 0) & (after % 2 == 0) & ((before - 1) // 2 == (after - 1) // 2) & (before > 0)
    return bio_spans(torch.where(bridged, after, tags), num_types=num_types)


@fault(
    bio_spans, "heads.entities-clamped", breaks="heads.impossible-ids",
    effect="tags of another scheme are taken for types that are there",
)  # fmt: skip
def tags_beyond_the_types_are_clamped(tags, *, num_types):
    return bio_spans(tags.clamp(0, 2 * num_types), num_types=num_types)
