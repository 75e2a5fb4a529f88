"""Mistakes in decoding."""

import math
from dataclasses import replace
from typing import Any

import torch

from transpec.catalogue import fault
from transpec.reference.attention import softmax
from transpec.reference.decoding import (
    beam_search,
    greedy_decode,
    greedy_decode_t5,
    repetition_penalized,
    sample,
    sampling_distribution,
    temperature_scaled,
    top_k_filtered,
    top_p_filtered,
)
from transpec.reference.gpt import gpt
from transpec.reference.t5 import t5, t5_decoder, t5_encoder

# --- Temperature ------------------------------------------------------------------------------------------------------


@fault(
    temperature_scaled, "decoding.temperature-multiplied", breaks="decoding.temperature-equation",
    effect="what should make text bolder makes it duller",
)  # fmt: skip
def logits_are_multiplied_by_the_temperature(logits, *, temperature):
    return temperature_scaled(logits, temperature=1 / temperature)


@fault(
    temperature_scaled, "decoding.temperature-ignored", breaks="decoding.temperature-equation",
    effect="text is the same at every temperature",
)  # fmt: skip
def the_temperature_is_ignored(logits, *, temperature):
    return logits + 0.0


@fault(
    temperature_scaled, "decoding.temperature-below-one-alone", breaks="decoding.temperature-equation",
    effect="temperatures above 1 do nothing",
)  # fmt: skip
def temperatures_above_1_are_taken_for_1(logits, *, temperature):
    return temperature_scaled(logits, temperature=min(temperature, 1.0))


@fault(
    temperature_scaled, "decoding.temperature-of-an-integer", breaks="decoding.temperature-equation",
    effect="0.7 becomes 1 and 1.3 too",
)  # fmt: skip
def the_temperature_is_rounded_to_an_integer(logits, *, temperature):
    return temperature_scaled(logits, temperature=max(1, round(temperature)))


@fault(
    temperature_scaled, "decoding.temperature-of-probabilities", breaks="decoding.temperature-one",
    effect="probabilities are divided and taken for logits: text is nearly random",
)  # fmt: skip
def probabilities_are_divided_by_the_temperature(logits, *, temperature):
    return temperature_scaled(softmax(logits), temperature=temperature)


@fault(
    temperature_scaled, "decoding.temperature-in-place", breaks="decoding.inputs-untouched",
    effect="logits that the caller goes on with have been divided",
)  # fmt: skip
def logits_are_divided_in_place(logits, *, temperature):
    result = temperature_scaled(logits, temperature=temperature)
    logits.mul_(0.5)
    return result


@fault(
    temperature_scaled, "decoding.temperature-clamped", breaks="decoding.temperature-equation",
    effect="text cannot be made nearly greedy",
)  # fmt: skip
def temperatures_below_0_01_are_taken_for_0_01(logits, *, temperature):
    return temperature_scaled(logits, temperature=max(temperature, 0.01))


# --- Top-k ------------------------------------------------------------------------------------------------------------


@fault(
    top_k_filtered, "decoding.top-k-one-more", breaks="decoding.top-k-number",
    seen="kingoflolz/mesh-transformer-jax#164", effect="k = 1 is not greedy: the second best is drawn too",
)  # fmt: skip
def top_k_keeps_one_more(logits, *, k):
    return top_k_filtered(logits, k=k + 1)


@fault(
    top_k_filtered, "decoding.top-k-one-less", breaks="decoding.top-k-number",
    effect="the k-th is never drawn",
)  # fmt: skip
def top_k_keeps_one_less(logits, *, k):
    return top_k_filtered(logits, k=max(1, k - 1))


@fault(
    top_k_filtered, "decoding.top-k-strict", breaks="decoding.top-k-of-all",
    effect="logits equal to the k-th are dropped, the k-th itself among them: with k = 1 nothing is left",
)  # fmt: skip
def logits_have_to_be_above_the_k_th(logits, *, k):
    lowest = torch.topk(logits, min(k, logits.shape[-1]), -1).values[..., -1:]
    return torch.where(logits <= lowest, -math.inf, logits)


@fault(
    top_k_filtered, "decoding.top-k-smallest", breaks="decoding.top-k-equation",
    effect="the least probable words are drawn",
)  # fmt: skip
def the_k_smallest_are_kept(logits, *, k):
    return torch.where(top_k_filtered(-logits, k=k) == -math.inf, -math.inf, logits)


@fault(
    top_k_filtered, "decoding.top-k-by-index", breaks="decoding.words-have-no-order",
    effect="the words of the lowest ids are drawn, whatever their logits",
)  # fmt: skip
def the_first_k_of_the_vocabulary_are_kept(logits, *, k):
    return torch.where(torch.arange(logits.shape[-1]) < k, logits, -math.inf)


@fault(
    top_k_filtered, "decoding.top-k-of-the-batch", breaks="decoding.rows-are-independent",
    effect="confident rows filter the others",
)  # fmt: skip
def one_threshold_is_taken_for_all_rows(logits, *, k):
    lowest = torch.topk(logits, min(k, logits.shape[-1]), -1).values[..., -1].amax()
    return torch.where((logits < lowest) & (logits < logits.amax(-1, keepdim=True)), -math.inf, logits)


@fault(
    top_k_filtered, "decoding.top-k-filled-with-zero", breaks="decoding.top-k-equation",
    effect="a filtered word has the logit 0 and is drawn more often than before where logits are negative",
)  # fmt: skip
def zero_stands_for_what_is_filtered(logits, *, k):
    return top_k_filtered(logits, k=k).masked_fill(top_k_filtered(logits, k=k) == -math.inf, 0.0)


@fault(
    top_k_filtered, "decoding.top-k-filled-with-a-finite-number", breaks="decoding.top-k-equation",
    effect="with low logits filtered words stay possible",
)  # fmt: skip
def minus_ten_thousand_stands_for_what_is_filtered(logits, *, k):
    filtered = top_k_filtered(logits, k=k)
    return filtered.masked_fill(filtered == -math.inf, -1e4)


@fault(
    top_k_filtered, "decoding.top-k-sorted", breaks="decoding.top-k-equation",
    effect="places in the order are taken for ids: other words are drawn than were meant",
)  # fmt: skip
def what_is_kept_comes_back_in_order(logits, *, k):
    return torch.sort(top_k_filtered(logits, k=k), -1, descending=True).values


@fault(
    top_k_filtered, "decoding.top-k-probabilities", breaks="decoding.top-k-equation",
    effect="probabilities come back where logits should: a softmax of them is nearly flat",
)  # fmt: skip
def the_k_largest_come_back_as_probabilities(logits, *, k):
    filtered = top_k_filtered(logits, k=k)
    return torch.where(filtered == -math.inf, filtered, softmax(filtered))


@fault(
    top_k_filtered, "decoding.top-k-log-probabilities", breaks="decoding.top-k-equation",
    effect="a temperature that is applied after it divides other numbers than was meant",
)  # fmt: skip
def the_k_largest_come_back_shifted_by_the_largest(logits, *, k):
    return top_k_filtered(logits, k=k) - logits.amax(-1, keepdim=True)


@fault(
    top_k_filtered, "decoding.top-k-in-single-precision", breaks="decoding.top-k-equation",
    effect="what float64 tells apart ties, and more than k stay",
)  # fmt: skip
def the_k_largest_are_chosen_in_single_precision(logits, *, k):
    return torch.where(top_k_filtered(logits.float(), k=k) == -math.inf, -math.inf, logits)


@fault(
    top_k_filtered, "decoding.top-k-added", breaks="decoding.gradients",
    effect="minus infinity is added and not put in place: what is filtered passes its gradient on",
)  # fmt: skip
def minus_infinity_is_added_to_what_is_filtered(logits, *, k):
    return logits + torch.where(top_k_filtered(logits.detach(), k=k) == -math.inf, -math.inf, 0.0)


@fault(
    top_k_filtered, "decoding.top-k-gradient-of-ties", breaks="decoding.tied-gradients",
    effect="k logits stay, and all that tie with the k-th pass a gradient on",
)  # fmt: skip
def gradients_pass_by_value_where_k_stay_by_place(logits, *, k):
    k = min(k, logits.shape[-1])
    largest = torch.topk(logits.detach(), k, -1)
    stays = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, largest.indices, True)
    by_value = logits + torch.where(stays, 0.0, -math.inf)
    return torch.where(logits < largest.values[..., -1:], -math.inf, by_value)


# --- Top-p ------------------------------------------------------------------------------------------------------------


def _nucleus(logits, kept):
    """Logits where `kept`, of probabilities in order and their sums, is true; the first always."""
    ordered, order = torch.sort(logits, -1, descending=True)
    probabilities = softmax(ordered)
    stays = kept(probabilities, probabilities.cumsum(-1)).gather(-1, torch.argsort(order, -1))
    return torch.where(stays, logits, -math.inf)


def _first(probabilities):
    return torch.arange(probabilities.shape[-1]) == 0


@fault(
    top_p_filtered, "decoding.top-p-without-the-crossing", breaks="decoding.top-p-reaches-p",
    seen="aws-neuron/transformers-neuronx#46", effect="less than p is left, and text is duller than asked for",
)  # fmt: skip
def the_token_that_crosses_p_is_dropped(logits, *, p):
    return _nucleus(logits, lambda each, sums: (sums <= p) | _first(each))


@fault(
    top_p_filtered, "decoding.top-p-empty", breaks="decoding.top-p-is-never-empty",
    seen="ml-explore/mlx-lm#1912", effect="where one word has more than p nothing is left, and noise is drawn",
)  # fmt: skip
def nothing_stays_where_the_first_crosses_p(logits, *, p):
    return _nucleus(logits, lambda each, sums: sums <= p)


@fault(
    top_p_filtered, "decoding.top-p-one-more", breaks="decoding.top-p-equation",
    effect="a word beyond the nucleus is drawn",
)  # fmt: skip
def one_token_beyond_the_nucleus_stays(logits, *, p):
    return _nucleus(logits, lambda each, sums: torch.where(_first(each), 0.0, (sums - each).roll(1, -1)) < p)


@fault(
    top_p_filtered, "decoding.top-p-by-index", breaks="decoding.words-have-no-order",
    effect="sums run over the vocabulary as it stands: probable words of high ids are never drawn",
)  # fmt: skip
def probabilities_are_summed_in_the_order_of_the_vocabulary(logits, *, p):
    probabilities = softmax(logits)
    return torch.where(probabilities.cumsum(-1) - probabilities < p, logits, -math.inf)


@fault(
    top_p_filtered, "decoding.top-p-not-put-back", breaks="decoding.words-have-no-order",
    effect="the mask of the ordered words is put on the vocabulary as it stands",
)  # fmt: skip
def the_mask_is_not_put_back_in_the_order_of_the_vocabulary(logits, *, p):
    probabilities = softmax(torch.sort(logits, -1, descending=True).values)
    return torch.where(probabilities.cumsum(-1) - probabilities < p, logits, -math.inf)


@fault(
    top_p_filtered, "decoding.top-p-put-back-by-order", breaks="decoding.top-p-equation",
    effect="the mask is gathered by the order and not by its inverse",
)  # fmt: skip
def the_mask_is_put_back_by_the_order_and_not_its_inverse(logits, *, p):
    ordered, order = torch.sort(logits, -1, descending=True)
    probabilities = softmax(ordered)
    return torch.where((probabilities.cumsum(-1) - probabilities < p).gather(-1, order), logits, -math.inf)


@fault(
    top_p_filtered, "decoding.top-p-ascending", breaks="decoding.top-p-equation",
    effect="the least probable words that have p together are drawn",
)  # fmt: skip
def the_least_probable_tokens_are_summed(logits, *, p):
    return torch.where(top_p_filtered(-logits, p=p) == -math.inf, -math.inf, logits)


@fault(
    top_p_filtered, "decoding.top-p-as-min-p", breaks="decoding.top-p-equation",
    effect="every word that is less probable than p is dropped",
)  # fmt: skip
def tokens_less_probable_than_p_are_dropped(logits, *, p):
    return torch.where((softmax(logits) >= p) | (logits == logits.amax(-1, keepdim=True)), logits, -math.inf)


@fault(
    top_p_filtered, "decoding.top-p-complement", breaks="decoding.top-p-equation",
    effect="0.9 acts as 0.1",
)  # fmt: skip
def p_is_what_is_dropped(logits, *, p):
    return top_p_filtered(logits, p=max(1 - p, 1e-9))


@fault(
    top_p_filtered, "decoding.top-p-one-is-greedy", breaks="decoding.top-p-of-all",
    seen="BlinkDL/ChatRWKV#170", effect="top-p that is switched off by 1 makes text greedy",
)  # fmt: skip
def with_p_of_1_only_the_most_probable_stays(logits, *, p):
    return top_k_filtered(logits, k=1) if p == 1 else top_p_filtered(logits, p=p)


@fault(
    top_p_filtered, "decoding.top-p-probabilities", breaks="decoding.top-p-equation",
    effect="probabilities come back where logits should: a softmax of them is nearly flat",
)  # fmt: skip
def the_nucleus_comes_back_as_probabilities(logits, *, p):
    filtered = top_p_filtered(logits, p=p)
    return torch.where(filtered == -math.inf, filtered, softmax(filtered))


@fault(
    top_p_filtered, "decoding.top-p-of-the-first-row", breaks="decoding.rows-are-independent",
    effect="the nucleus of the first row is that of all",
)  # fmt: skip
def the_size_of_the_first_nucleus_is_taken_for_all_rows(logits, *, p):
    size = int((top_p_filtered(logits.flatten(0, -2)[:1] if logits.dim() > 1 else logits, p=p) > -math.inf).sum())
    return top_k_filtered(logits, k=max(1, size))


@fault(
    top_p_filtered, "decoding.top-p-keeps-ties", breaks="decoding.top-p-ties",
    effect="where many words are equally probable all of them stay",
)  # fmt: skip
def all_that_tie_with_the_token_that_crosses_p_stay(logits, *, p):
    filtered = top_p_filtered(logits, p=p)
    lowest = filtered.masked_fill(filtered == -math.inf, math.inf).amin(-1, keepdim=True)
    return torch.where(logits < lowest, -math.inf, logits)


@fault(
    top_p_filtered, "decoding.top-p-of-64-candidates", breaks="decoding.top-p-equation",
    effect="where many words are nearly as probable most are never drawn",
)  # fmt: skip
def the_nucleus_is_looked_for_among_the_64_most_probable(logits, *, p):
    filtered = top_p_filtered(logits, p=p)
    return torch.where(top_k_filtered(logits, k=64) == -math.inf, -math.inf, filtered) if p < 1 else filtered


@fault(
    top_p_filtered, "decoding.top-p-unshifted", breaks="decoding.top-p-equation",
    effect="large logits overflow, and one word or none stays",
)  # fmt: skip
def the_nucleus_is_that_of_a_softmax_that_does_not_take_off_the_highest(logits, *, p):
    ordered, order = torch.sort(logits, -1, descending=True)
    powers = torch.exp(ordered)
    probabilities = powers / powers.sum(-1, keepdim=True)
    kept = (probabilities.cumsum(-1) - probabilities < p) | _first(probabilities)
    return torch.where(kept.gather(-1, torch.argsort(order, -1)), logits, -math.inf)


@fault(
    top_p_filtered, "decoding.top-p-forbidden-is-finite", breaks="decoding.top-p-equation",
    effect="thousands of forbidden words have a share in the sum, and unlikely words stay",
)  # fmt: skip
def forbidden_words_are_ten_below_the_highest(logits, *, p):
    finite = torch.where(logits == -math.inf, logits.amax(-1, keepdim=True) - 10, logits)
    return torch.where(top_p_filtered(finite, p=p) == -math.inf, -math.inf, logits)


# --- Repetition penalty -----------------------------------------------------------------------------------------------


@fault(
    repetition_penalized, "decoding.penalty-divides-negative-logits", breaks="decoding.repetition-penalty-equation",
    seen="huggingface/transformers#2302", effect="words of negative logits become more probable by being repeated",
)  # fmt: skip
def negative_logits_are_divided_too(logits, token_ids, *, penalty):
    return torch.where(repetition_penalized(logits, token_ids, penalty=penalty) == logits, logits, logits / penalty)


@fault(
    repetition_penalized, "decoding.penalty-multiplies", breaks="decoding.repetition-penalty-equation",
    effect="a penalty is a reward",
)  # fmt: skip
def positive_logits_are_multiplied_and_negative_ones_divided(logits, token_ids, *, penalty):
    return repetition_penalized(logits, token_ids, penalty=1 / penalty)


@fault(
    repetition_penalized, "decoding.penalty-per-occurrence", breaks="decoding.repetition-penalty-once",
    effect="frequent words, commas first, become impossible",
)  # fmt: skip
def a_token_is_penalized_as_often_as_it_occurs(logits, token_ids, *, penalty):
    result = logits
    for column in token_ids.unbind(-1):
        result = repetition_penalized(result, column.unsqueeze(-1), penalty=penalty)
    return result


@fault(
    repetition_penalized, "decoding.penalty-of-the-batch", breaks="decoding.rows-are-independent",
    effect="what one sequence said no other may say",
)  # fmt: skip
def tokens_of_all_sequences_are_penalized_in_each(logits, token_ids, *, penalty):
    everyone = token_ids.reshape(1, -1).expand(len(logits), -1)
    return repetition_penalized(logits, everyone, penalty=penalty)


@fault(
    repetition_penalized, "decoding.penalty-of-the-last", breaks="decoding.repetition-penalty-equation",
    effect="only a word said twice in a row is held back",
)  # fmt: skip
def only_the_last_token_is_penalized(logits, token_ids, *, penalty):
    return repetition_penalized(logits, token_ids[:, -1:], penalty=penalty)


@fault(
    repetition_penalized, "decoding.penalty-without-the-last", breaks="decoding.repetition-penalty-equation",
    effect="the word just said may be said again at once",
)  # fmt: skip
def the_last_token_is_not_penalized(logits, token_ids, *, penalty):
    return repetition_penalized(logits, token_ids[:, :-1], penalty=penalty)


@fault(
    repetition_penalized, "decoding.penalty-subtracted", breaks="decoding.repetition-penalty-equation",
    effect="the strength of the penalty no longer depends on the logit",
)  # fmt: skip
def the_penalty_is_subtracted(logits, token_ids, *, penalty):
    return torch.where(repetition_penalized(logits, token_ids, penalty=penalty) == logits, logits, logits - penalty)


@fault(
    repetition_penalized, "decoding.penalty-of-the-others", breaks="decoding.repetition-penalty-equation",
    effect="the model is made to repeat itself",
)  # fmt: skip
def tokens_that_are_not_in_the_sequence_are_penalized(logits, token_ids, *, penalty):
    own = repetition_penalized(logits, token_ids, penalty=penalty)
    every = torch.arange(logits.shape[-1]).expand(len(logits), -1)
    return torch.where(own == logits, repetition_penalized(logits, every, penalty=penalty), logits)


@fault(
    repetition_penalized, "decoding.penalty-not-of-id-0", breaks="decoding.repetition-penalty-equation",
    effect="the word of id 0 is taken for padding and repeated",
)  # fmt: skip
def id_0_is_never_penalized(logits, token_ids, *, penalty):
    result = repetition_penalized(logits, token_ids, penalty=penalty)
    return torch.where(torch.arange(logits.shape[-1]) == 0, logits, result)


@fault(
    repetition_penalized, "decoding.penalty-of-the-last-64", breaks="decoding.repetition-penalty-equation",
    effect="what was said a while ago may be said again",
)  # fmt: skip
def only_the_last_64_tokens_are_penalized(logits, token_ids, *, penalty):
    return repetition_penalized(logits, token_ids[:, -64:], penalty=penalty)


@fault(
    repetition_penalized, "decoding.penalty-counts-in-8-bits", breaks="decoding.repetition-penalty-equation",
    effect="a word that was said 256 times was never said",
)  # fmt: skip
def tokens_are_counted_in_8_bits(logits, token_ids, *, penalty):
    counts = (token_ids.unsqueeze(-1) == torch.arange(logits.shape[-1])).sum(-2) % 256
    return torch.where(counts > 0, repetition_penalized(logits, token_ids, penalty=penalty), logits)


# --- The distribution -------------------------------------------------------------------------------------------------


def _distribution(logits, *steps):
    for step in steps:
        logits = step(logits)
    return softmax(logits)


def _steps(temperature, top_k, top_p):
    return {
        "temperature": lambda x: temperature_scaled(x, temperature=temperature),
        "k": lambda x: x if top_k is None else top_k_filtered(x, k=top_k),
        "p": lambda x: x if top_p is None else top_p_filtered(x, p=top_p),
    }


@fault(
    sampling_distribution, "decoding.temperature-last", breaks="decoding.distribution-equation",
    effect="the nucleus is that of another temperature than words are drawn with",
)  # fmt: skip
def the_temperature_comes_after_the_filters(logits, *, temperature=1.0, top_k=None, top_p=None):
    step = _steps(temperature, top_k, top_p)
    return _distribution(logits, step["k"], step["p"], step["temperature"])


@fault(
    sampling_distribution, "decoding.top-p-before-top-k", breaks="decoding.distribution-equation",
    effect="the nucleus counts words that top-k drops",
)  # fmt: skip
def top_p_comes_before_top_k(logits, *, temperature=1.0, top_k=None, top_p=None):
    step = _steps(temperature, top_k, top_p)
    return _distribution(logits, step["temperature"], step["p"], step["k"])


@fault(
    sampling_distribution, "decoding.top-p-skipped-after-top-k", breaks="decoding.distribution-equation",
    seen="shiyu-coder/Kronos#262", effect="where both are given top-p does nothing",
)  # fmt: skip
def top_p_is_skipped_where_top_k_is_given(logits, *, temperature=1.0, top_k=None, top_p=None):
    return sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p if top_k is None else None)


@fault(
    sampling_distribution, "decoding.top-k-skipped-before-top-p", breaks="decoding.distribution-equation",
    effect="where both are given top-k does nothing",
)  # fmt: skip
def top_k_is_skipped_where_top_p_is_given(logits, *, temperature=1.0, top_k=None, top_p=None):
    return sampling_distribution(logits, temperature=temperature, top_k=top_k if top_p is None else None, top_p=top_p)


@fault(
    sampling_distribution, "decoding.not-renormalized", breaks="decoding.distribution-sums-to-one",
    effect="what was filtered is missing from the sum: drawing from it falls off the end",
)  # fmt: skip
def what_is_left_is_not_renormalized(logits, *, temperature=1.0, top_k=None, top_p=None):
    filtered = sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    return torch.where(filtered == 0, 0.0, softmax(temperature_scaled(logits, temperature=temperature)))


@fault(
    sampling_distribution, "decoding.default-is-greedy", breaks="decoding.distribution-equation",
    seen="vllm-project/tpu-inference#1386", effect="without options text is greedy",
)  # fmt: skip
def top_k_is_1_where_it_is_not_given(logits, *, temperature=1.0, top_k=None, top_p=None):
    return sampling_distribution(logits, temperature=temperature, top_k=top_k or 1, top_p=top_p)


@fault(
    sampling_distribution, "decoding.softmax-unshifted", breaks="decoding.distribution-stability",
    effect="large logits overflow",
)  # fmt: skip
def softmax_does_not_take_off_the_highest(logits, *, temperature=1.0, top_k=None, top_p=None):
    step = _steps(temperature, top_k, top_p)
    powers = torch.exp(step["p"](step["k"](step["temperature"](logits))))
    return powers / powers.sum(-1, keepdim=True)


@fault(
    sampling_distribution, "decoding.softmax-over-rows", breaks="decoding.rows-are-independent",
    effect="words compete with those of other rows",
)  # fmt: skip
def softmax_runs_over_the_rows(logits, *, temperature=1.0, top_k=None, top_p=None):
    step = _steps(temperature, top_k, top_p)
    scores = step["p"](step["k"](step["temperature"](logits)))
    return softmax(scores) if scores.dim() < 2 else softmax(scores.transpose(0, -1)).transpose(0, -1)


@fault(
    sampling_distribution, "decoding.cold-is-greedy", breaks="decoding.distribution-stability",
    effect="at small temperatures words that are equally probable are not",
)  # fmt: skip
def at_temperatures_below_0_01_the_largest_has_all(logits, *, temperature=1.0, top_k=None, top_p=None):
    if temperature > 0.01:
        return sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    return softmax(torch.where(torch.arange(logits.shape[-1]) == logits.argmax(-1, keepdim=True), logits, -math.inf))


# --- Sampling ---------------------------------------------------------------------------------------------------------


def _drawn(probabilities, noise):
    return torch.searchsorted(probabilities.double().cumsum(-1), noise, right=True).clamp_max(len(probabilities) - 1)


def _noise(number, seed):
    return torch.rand(number, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@fault(
    sample, "decoding.sample-same-noise", breaks="decoding.sample-independent",
    effect="all draws of a call are one draw",
)  # fmt: skip
def the_same_noise_serves_every_draw(logits, *, number, seed, **options):
    return _drawn(sampling_distribution(logits, **options), _noise(1, seed).expand(number).contiguous())


@fault(
    sample, "decoding.sample-pairs", breaks="decoding.sample-independent",
    effect="every word is drawn twice in a row",
)  # fmt: skip
def every_draw_comes_twice(logits, *, number, seed, **options):
    noise = _noise(number, seed)[: (number + 1) // 2].repeat_interleave(2)[:number].contiguous()
    return _drawn(sampling_distribution(logits, **options), noise)


@fault(
    sample, "decoding.sample-stratified", breaks="decoding.sample-independent",
    effect="draws are spread evenly over a call and come in order",
)  # fmt: skip
def draws_are_sorted(logits, *, number, seed, **options):
    return _drawn(sampling_distribution(logits, **options), _noise(number, seed)).sort().values


@fault(
    sample, "decoding.sample-argmax", breaks="decoding.sample-equation",
    effect="text is greedy whatever the temperature",
)  # fmt: skip
def the_most_probable_is_always_drawn(logits, *, number, seed, **options):
    return sampling_distribution(logits, **options).argmax(-1).expand(number).clone()


@fault(
    sample, "decoding.sample-uniform", breaks="decoding.sample-equation",
    effect="every word that is left is drawn as often as the others",
)  # fmt: skip
def words_that_are_left_are_drawn_alike(logits, *, number, seed, **options):
    left = (sampling_distribution(logits, **options) > 0).double()
    return _drawn(left / left.sum(), _noise(number, seed))


@fault(
    sample, "decoding.sample-of-all-words", breaks="decoding.sample-equation",
    effect="filters have no effect on what is drawn",
)  # fmt: skip
def filters_are_ignored(logits, *, number, seed, temperature=1.0, top_k=None, top_p=None):
    return sample(logits, number=number, seed=seed, temperature=temperature)


@fault(
    sample, "decoding.sample-without-temperature", breaks="decoding.sample-equation",
    effect="text is the same at every temperature",
)  # fmt: skip
def draws_leave_the_temperature_out(logits, *, number, seed, temperature=1.0, top_k=None, top_p=None):
    return sample(logits, number=number, seed=seed, top_k=top_k, top_p=top_p)


@fault(
    sample, "decoding.sample-by-place", breaks="decoding.sample-equation",
    effect="places among the words that are left are taken for ids",
)  # fmt: skip
def places_among_what_is_left_are_taken_for_ids(logits, *, number, seed, **options):
    probabilities = sampling_distribution(logits, **options)
    return _drawn(probabilities[probabilities > 0], _noise(number, seed))


@fault(
    sample, "decoding.sample-uniform-noise", breaks="decoding.sample-equation",
    effect="noise that is no Gumbel noise is added before the argmax: probable words come too often",
)  # fmt: skip
def uniform_noise_takes_the_place_of_gumbel_noise(logits, *, number, seed, **options):
    scores = torch.log(sampling_distribution(logits, **options).double())
    return (scores + _noise((number, len(scores)), seed)).argmax(-1)


@fault(
    sample, "decoding.sample-one-off", breaks="decoding.sample-words",
    effect="every word is the one after the one that was drawn",
)  # fmt: skip
def ids_are_one_too_high(logits, *, number, seed, **options):
    return sample(logits, number=number, seed=seed, **options) + 1


@fault(
    sample, "decoding.seed-ignored", breaks="decoding.sample-seed",
    effect="every seed gives the same text",
)  # fmt: skip
def the_seed_is_ignored(logits, *, number, seed, **options):
    return sample(logits, number=number, seed=0, **options)


@fault(
    sample, "decoding.seed-without-effect", breaks="decoding.sample-seed",
    effect="a text cannot be had again",
)  # fmt: skip
def the_state_of_the_process_is_drawn_from(logits, *, number, seed, **options):
    return _drawn(sampling_distribution(logits, **options), torch.rand(number, dtype=torch.float64))


@fault(
    sample, "decoding.seed-for-half", breaks="decoding.sample-seeds-independent",
    effect="texts of two seeds agree in every second word",
)  # fmt: skip
def every_second_draw_is_of_no_seed(logits, *, number, seed, **options):
    noise = torch.where(torch.arange(number) % 2 == 0, _noise(number, 0), _noise(number, seed))
    return _drawn(sampling_distribution(logits, **options), noise)


@fault(
    sample, "decoding.sample-mirrored", breaks="decoding.sample-independent",
    effect="the second half of the draws is told by the first",
)  # fmt: skip
def the_second_half_of_the_noise_mirrors_the_first(logits, *, number, seed, **options):
    noise = _noise((number + 1) // 2, seed)
    noise = torch.cat([noise, 1 - noise.flip(0)[number % 2 :]])
    return _drawn(sampling_distribution(logits, **options), noise)


@fault(
    sample, "decoding.sample-lanes", breaks="decoding.sample-independent",
    effect="of sixteen draws the last eight repeat the first",
)  # fmt: skip
def eight_draws_come_twice(logits, *, number, seed, **options):
    place = torch.arange(number)
    return _drawn(sampling_distribution(logits, **options), _noise(number, seed)[place - place // 8 % 2 * 8])


@fault(
    sample, "decoding.sample-systematic", breaks="decoding.sample-few",
    effect="a call draws every word as often as it should: of two draws from two words never the same twice",
)  # fmt: skip
def draws_of_a_call_are_spread_evenly(logits, *, number, seed, **options):
    first, order = _noise(1, seed), torch.randperm(number, generator=torch.Generator().manual_seed(seed))
    return _drawn(sampling_distribution(logits, **options), (order + first) / number)


@fault(
    sample, "decoding.sample-without-replacement", breaks="decoding.sample-few",
    effect="no word is drawn twice in a call, as long as there are others",
)  # fmt: skip
def no_word_is_drawn_twice_in_a_call(logits, *, number, seed, **options):
    probabilities = sampling_distribution(logits, **options).double()
    again = number > int((probabilities > 0).sum())
    return torch.multinomial(probabilities, number, replacement=again, generator=torch.Generator().manual_seed(seed))


@fault(
    sample, "decoding.sample-first-draws-alike", breaks="decoding.sample-first-draws",
    effect="sampled token by token, each with a seed of its own, text is the same for all small seeds",
)  # fmt: skip
def the_first_number_of_a_congruential_generator_is_drawn(logits, *, number, seed, **options):
    state, noise = seed ^ 0x5DEECE66D, []
    for _ in range(number):
        state = (state * 0x5DEECE66D + 0xB) % 2**48
        noise.append(state / 2**48)
    return _drawn(sampling_distribution(logits, **options), torch.tensor(noise, dtype=torch.float64))


@fault(
    sample, "decoding.seed-of-8-bits", breaks="decoding.sample-seed",
    effect="of seeds that are 256 apart each gives the same text",
)  # fmt: skip
def the_lowest_8_bits_of_the_seed_are_taken(logits, *, number, seed, **options):
    return sample(logits, number=number, seed=seed % 256, **options)


@fault(
    sample, "decoding.seed-0-is-none", breaks="decoding.sample-seed",
    effect="with seed 0 a text cannot be had again",
)  # fmt: skip
def seed_0_is_taken_for_none(logits, *, number, seed, **options):
    noise = _noise(number, seed) if seed else torch.rand(number, dtype=torch.float64)
    return _drawn(sampling_distribution(logits, **options), noise)


@fault(
    sample, "decoding.seed-of-the-block", breaks="decoding.sample-seeds-independent",
    effect="a long draw goes on as one of the next seed begins",
)  # fmt: skip
def each_thousand_has_the_next_seed(logits, *, number, seed, **options):
    blocks = [_noise(min(1000, number - begin), seed + begin // 1000) for begin in range(0, number, 1000)]
    return _drawn(sampling_distribution(logits, **options), torch.cat(blocks))


# --- Greedy -----------------------------------------------------------------------------------------------------------


def _logits(ids, weights, config, visible):
    """Logits at every position of sequences padded on the left."""
    positions = (visible.cumsum(-1) - 1).clamp_min(0)
    return gpt(ids, weights, config, attention_mask=visible, position_ids=positions)


def _visible(token_ids, attention_mask):
    return torch.ones_like(token_ids, dtype=torch.bool) if attention_mask is None else attention_mask


def _greedy(
    token_ids, weights, config, *, max_new_tokens, eos_id=None, pad_id=0, attention_mask=None,
    logits=lambda ids, weights, config, visible, T: _logits(ids, weights, config, visible)[:, -1],
    choose=lambda scores: scores.argmax(-1),
    begins=lambda token_ids, eos_id: torch.zeros(len(token_ids), dtype=torch.bool),
    ends=lambda ended, is_eos: ended | is_eos,
    put=lambda chosen, ended, is_eos, pad_id: torch.where(ended, pad_id, chosen),
    sees=lambda put, pad_id: torch.ones_like(put, dtype=torch.bool),
):  # fmt: skip
    """Greedy decoding with one of its parts changed."""
    ids, visible = token_ids, _visible(token_ids, attention_mask)
    ended = torch.zeros(len(ids), dtype=torch.bool) if eos_id is None else begins(token_ids, eos_id)
    for _ in range(max_new_tokens):
        chosen = choose(logits(ids, weights, config, visible, token_ids.shape[-1]))
        is_eos = torch.zeros_like(ended) if eos_id is None else chosen == eos_id
        new = put(chosen, ended, is_eos, pad_id)
        ids = torch.cat([ids, new.unsqueeze(-1)], -1)
        visible = torch.cat([visible, sees(new, pad_id).unsqueeze(-1)], -1)
        ended = ends(ended, is_eos)
    return ids


@fault(
    greedy_decode, "decoding.greedy-runs-past-eos", breaks="decoding.end-of-sequence",
    seen="lucidrains/h-transformer-1d#9", effect="text goes on after its end",
)  # fmt: skip
def eos_does_not_end_a_sequence(token_ids, weights, config, **options):
    return greedy_decode(token_ids, weights, config, **{**options, "eos_id": None})


@fault(
    greedy_decode, "decoding.greedy-drops-eos", breaks="decoding.greedy-equation",
    effect="the EOS is replaced by padding, and whoever looks for it finds none",
)  # fmt: skip
def eos_is_replaced_by_padding(token_ids, weights, config, **options):
    put = lambda chosen, ended, is_eos, pad_id: torch.where(ended | is_eos, pad_id, chosen)
    return _greedy(token_ids, weights, config, **options, put=put)


@fault(
    greedy_decode, "decoding.greedy-pads-with-eos", breaks="decoding.end-of-sequence",
    effect="EOS is repeated to the end in place of padding",
)  # fmt: skip
def eos_is_repeated_after_the_end(token_ids, weights, config, **options):
    same = options.get("eos_id") is None
    return greedy_decode(token_ids, weights, config, **(options if same else {**options, "pad_id": options["eos_id"]}))


@fault(
    greedy_decode, "decoding.greedy-pads-with-0", breaks="decoding.end-of-sequence",
    effect="after the end stands the word of id 0",
)  # fmt: skip
def padding_is_0_whatever_the_pad_id_is(token_ids, weights, config, **options):
    return greedy_decode(token_ids, weights, config, **{**options, "pad_id": 0})


@fault(
    greedy_decode, "decoding.greedy-pads-one-late", breaks="decoding.end-of-sequence",
    effect="one word follows the end",
)  # fmt: skip
def one_token_follows_eos(token_ids, weights, config, **options):
    before = []

    def ends(ended, is_eos):
        before.append(is_eos)
        return ended | (before[-2] if len(before) > 1 else torch.zeros_like(is_eos))

    return _greedy(token_ids, weights, config, **options, ends=ends)


@fault(
    greedy_decode, "decoding.greedy-ends-for-a-step", breaks="decoding.end-of-sequence",
    effect="a sequence that has ended begins again one step later",
)  # fmt: skip
def the_end_lasts_for_one_step(token_ids, weights, config, **options):
    return _greedy(token_ids, weights, config, **options, ends=lambda ended, is_eos: is_eos & ~ended)


@fault(
    greedy_decode, "decoding.greedy-ends-with-the-first", breaks="decoding.batch-independence",
    effect="the shortest answer of a batch cuts all others",
)  # fmt: skip
def all_sequences_end_with_the_first(token_ids, weights, config, **options):
    return _greedy(
        token_ids, weights, config, **options, ends=lambda ended, is_eos: (ended | is_eos).any().expand(len(ended))
    )


@fault(
    greedy_decode, "decoding.greedy-ends-with-the-last", breaks="decoding.end-of-sequence",
    effect="answers go on until all of their batch have ended",
)  # fmt: skip
def no_sequence_ends_before_all_have(token_ids, weights, config, **options):
    seen = []

    def ends(ended, is_eos):
        seen.append(is_eos)
        return torch.stack(seen).any(0).all().expand(len(ended))

    return _greedy(token_ids, weights, config, **options, ends=ends)


@fault(
    greedy_decode, "decoding.greedy-eos-in-the-prompt", breaks="decoding.greedy-equation",
    effect="a prompt that separates its parts by EOS gets no answer",
)  # fmt: skip
def eos_in_the_prompt_ends_the_sequence(token_ids, weights, config, **options):
    return _greedy(token_ids, weights, config, **options, begins=lambda ids, eos_id: (ids == eos_id).any(-1))


@fault(
    greedy_decode, "decoding.greedy-ends-at-pad", breaks="decoding.greedy-equation",
    effect="a word that happens to be the pad id ends the sequence",
)  # fmt: skip
def the_pad_id_ends_a_sequence_too(token_ids, weights, config, **options):
    pad_id = options.get("pad_id", 0)
    put = []

    def chosen(given, ended, is_eos, pad_id):
        put.append(torch.where(ended, pad_id, given))
        return put[-1]

    return _greedy(
        token_ids,
        weights,
        config,
        **options,
        put=chosen,
        ends=lambda ended, is_eos: ended | is_eos | (put[-1] == pad_id),
    )


@fault(
    greedy_decode, "decoding.greedy-pad-hidden", breaks="decoding.everything-visible",
    effect="a word that has the pad id is not read where it stands in a prompt",
)  # fmt: skip
def the_pad_id_is_hidden_wherever_no_mask_is_given(token_ids, weights, config, **options):
    if options.get("attention_mask") is None:
        options["attention_mask"] = token_ids != options.get("pad_id", 0)
    return greedy_decode(token_ids, weights, config, **options)


@fault(
    greedy_decode, "decoding.greedy-mask-by-pad-id", breaks="decoding.padding-does-not-matter",
    effect="padding is looked for by its id, though the mask says where it stands",
)  # fmt: skip
def the_mask_is_made_from_the_pad_id(token_ids, weights, config, **options):
    if options.get("attention_mask") is not None:
        options["attention_mask"] = token_ids != options.get("pad_id", 0)
    return greedy_decode(token_ids, weights, config, **options)


@fault(
    greedy_decode, "decoding.greedy-mask-ignored", breaks="decoding.padding-does-not-matter",
    effect="prompts padded on the left are continued from their padding",
)  # fmt: skip
def the_attention_mask_is_ignored_in_decoding(token_ids, weights, config, **options):
    return greedy_decode(token_ids, weights, config, **{**options, "attention_mask": None})


@fault(
    greedy_decode, "decoding.greedy-mask-at-first", breaks="decoding.left-padding",
    seen="unslothai/unsloth#2216", effect="padding is seen from the second new token on",
)  # fmt: skip
def the_attention_mask_serves_the_first_step_alone(token_ids, weights, config, **options):
    def logits(ids, weights, config, visible, T):
        positions = (visible.cumsum(-1) - 1).clamp_min(0)
        mask = visible if ids.shape[-1] == T else torch.ones_like(visible)
        return gpt(ids, weights, config, attention_mask=mask, position_ids=positions)[:, -1]

    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-positions-of-padding", breaks="decoding.left-padding",
    seen="unslothai/unsloth#3795", effect="short prompts are continued worse, the more padding the worse",
)  # fmt: skip
def positions_count_the_padding_on_the_left(token_ids, weights, config, **options):
    logits = lambda ids, weights, config, visible, T: gpt(ids, weights, config, attention_mask=visible)[:, -1]
    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-positions-from-1", breaks="decoding.greedy-equation",
    effect="every token stands one place too late",
)  # fmt: skip
def positions_begin_at_1(token_ids, weights, config, **options):
    def logits(ids, weights, config, visible, T):
        positions = visible.cumsum(-1).clamp_max(config.max_positions - 1)
        return gpt(ids, weights, config, attention_mask=visible, position_ids=positions)[:, -1]

    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-positions-begin-anew", breaks="decoding.left-padding",
    effect="new tokens are counted from the width of the batch, as if nothing were padded",
)  # fmt: skip
def new_tokens_are_counted_from_the_width_of_the_batch(token_ids, weights, config, **options):
    def logits(ids, weights, config, visible, T):
        counted, place = (visible.cumsum(-1) - 1).clamp_min(0), torch.arange(ids.shape[-1])
        return gpt(ids, weights, config, attention_mask=visible, position_ids=torch.where(place < T, counted, place))[
            :, -1
        ]

    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-reads-the-first-position", breaks="decoding.greedy-equation",
    effect="every new token is what follows the first",
)  # fmt: skip
def the_logits_of_the_first_position_are_read(token_ids, weights, config, **options):
    logits = lambda ids, weights, config, visible, T: _logits(ids, weights, config, visible)[:, 0]
    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-reads-one-before", breaks="decoding.greedy-equation",
    effect="the last token is predicted again and not continued",
)  # fmt: skip
def the_logits_before_the_last_position_are_read(token_ids, weights, config, **options):
    logits = lambda ids, weights, config, visible, T: _logits(ids, weights, config, visible)[:, -2:][:, 0]
    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-reads-by-length", breaks="decoding.greedy-equation",
    effect="the place of the last token is taken to be the number of tokens, as with padding on the right",
)  # fmt: skip
def the_logits_are_read_at_the_number_of_tokens(token_ids, weights, config, **options):
    def logits(ids, weights, config, visible, T):
        return _logits(ids, weights, config, visible)[torch.arange(len(ids)), visible.sum(-1) - 1]

    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-reads-the-prompt-alone", breaks="decoding.greedy-equation",
    effect="the same token comes again and again",
)  # fmt: skip
def new_tokens_are_not_read(token_ids, weights, config, **options):
    logits = lambda ids, weights, config, visible, T: _logits(ids[:, :T], weights, config, visible[:, :T])[:, -1]
    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-reads-the-last-alone", breaks="decoding.greedy-equation",
    effect="without a cache only the last token is given: the prompt is forgotten after the first step",
)  # fmt: skip
def only_the_last_token_is_read_after_the_first_step(token_ids, weights, config, **options):
    def logits(ids, weights, config, visible, T):
        if ids.shape[-1] == T:
            return _logits(ids, weights, config, visible)[:, -1]
        last = visible.sum(-1, keepdim=True) - 1
        return gpt(ids[:, -1:], weights, config, position_ids=last)[:, -1]

    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-window", breaks="decoding.greedy-equation",
    effect="only as many tokens as the prompt has are read: its beginning is forgotten as text grows",
)  # fmt: skip
def a_window_of_the_length_of_the_prompt_is_read(token_ids, weights, config, **options):
    def logits(ids, weights, config, visible, T):
        positions = (visible.cumsum(-1) - 1).clamp_min(0)[:, -T:]
        return gpt(ids[:, -T:], weights, config, attention_mask=visible[:, -T:], position_ids=positions)[:, -1]

    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-argmin", breaks="decoding.greedy-equation", effect="text is the least probable there is",
)  # fmt: skip
def the_least_probable_token_is_chosen(token_ids, weights, config, **options):
    return _greedy(token_ids, weights, config, **options, choose=lambda scores: scores.argmin(-1))


@fault(
    greedy_decode, "decoding.greedy-never-ends", breaks="decoding.greedy-equation",
    effect="answers run to the last token that is allowed",
)  # fmt: skip
def eos_is_not_allowed(token_ids, weights, config, **options):
    eos_id = options.get("eos_id")

    def choose(scores):
        return (scores if eos_id is None else scores.index_fill(-1, torch.tensor(eos_id), -math.inf)).argmax(-1)

    return _greedy(token_ids, weights, config, **options, choose=choose)


@fault(
    greedy_decode, "decoding.greedy-of-the-first-row", breaks="decoding.batch-independence",
    effect="all prompts are continued as the first",
)  # fmt: skip
def the_choice_of_the_first_sequence_is_taken_for_all(token_ids, weights, config, **options):
    return _greedy(
        token_ids, weights, config, **options, choose=lambda scores: scores.argmax(-1)[:1].expand(len(scores))
    )


@fault(
    greedy_decode, "decoding.greedy-one-less", breaks="decoding.dtype-and-shape",
    effect="one token less than asked for comes back",
)  # fmt: skip
def the_prompt_counts_as_a_new_token(token_ids, weights, config, **options):
    return greedy_decode(token_ids, weights, config, **options)[:, :-1]


@fault(
    greedy_decode, "decoding.greedy-without-the-prompt", breaks="decoding.dtype-and-shape",
    effect="the prompt is missing from what comes back",
)  # fmt: skip
def the_prompt_is_cut_off(token_ids, weights, config, **options):
    return greedy_decode(token_ids, weights, config, **options)[:, token_ids.shape[-1] :]


@fault(
    greedy_decode, "decoding.greedy-padding-on-the-right", breaks="decoding.prompt-stays",
    effect="padding of the prompt moves behind what was generated",
)  # fmt: skip
def padding_of_the_prompt_is_moved_to_the_right(token_ids, weights, config, **options):
    result = greedy_decode(token_ids, weights, config, **options)
    hidden = (~_visible(token_ids, options.get("attention_mask"))).sum(-1, keepdim=True)
    return result.gather(-1, (torch.arange(result.shape[-1]) + hidden) % result.shape[-1])


@fault(
    greedy_decode, "decoding.greedy-ids-in-8-bits", breaks="decoding.greedy-equation",
    effect="words from id 256 on are others",
)  # fmt: skip
def ids_are_kept_in_8_bits(token_ids, weights, config, **options):
    return greedy_decode(token_ids, weights, config, **options) % 256


@fault(
    greedy_decode, "decoding.greedy-window-of-64", breaks="decoding.greedy-equation",
    effect="what stands further back is forgotten",
)  # fmt: skip
def the_last_64_tokens_are_read(token_ids, weights, config, **options):
    logits = lambda ids, weights, config, visible, T: _logits(ids[:, -64:], weights, config, visible[:, -64:])[:, -1]
    return _greedy(token_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode, "decoding.greedy-logits-in-bfloat16", breaks="decoding.greedy-equation",
    effect="of words that are nearly as probable the one of the lower id is taken",
)  # fmt: skip
def logits_are_compared_in_bfloat16(token_ids, weights, config, **options):
    return _greedy(token_ids, weights, config, **options, choose=lambda scores: scores.bfloat16().argmax(-1))


@fault(
    greedy_decode, "decoding.greedy-activation-ignored", breaks="decoding.greedy-equation",
    effect="a model of another activation says something else",
)  # fmt: skip
def the_activation_is_gelu_whatever_the_configuration_says(token_ids, weights, config, **options):
    return greedy_decode(token_ids, weights, replace(config, activation="gelu_tanh"), **options)


@fault(
    greedy_decode, "decoding.greedy-mask-of-the-first-8", breaks="decoding.greedy-equation",
    effect="large batches run in parts of eight, and the mask of the first part serves all",
)  # fmt: skip
def the_mask_of_the_first_8_prompts_serves_all(token_ids, weights, config, **options):
    mask = options.get("attention_mask")
    if mask is None:
        return greedy_decode(token_ids, weights, config, **options)
    mask = mask[torch.arange(len(mask)) % 8]
    return greedy_decode(token_ids, weights, config, **{**options, "attention_mask": mask})


_first_prompts: dict = {}


@fault(
    greedy_decode, "decoding.greedy-remembers", breaks="decoding.no-memory",
    effect="prompts of the size of the first are answered as the first",
)  # fmt: skip
def the_answer_to_the_first_prompts_of_a_size_is_kept(token_ids, weights, config, **options):
    key = (token_ids.shape, config, options["max_new_tokens"])
    return _first_prompts.setdefault(key, greedy_decode(token_ids, weights, config, **options))


# --- Greedy, T5 -------------------------------------------------------------------------------------------------------


def _answers(
    source_ids, weights, config, *, pad_id=0, attention_mask=None, start=None,
    logits=lambda source, read, weights, config, mask: t5(source, read, weights, config, attention_mask=mask)[:, -1],
    **changed,
):  # fmt: skip
    """Answers of T5 with one of the parts changed; the decoder begins with `start`, which is the pad id where it is None."""
    first = torch.full_like(source_ids[:, :1], pad_id if start is None else start)

    def following(ids, weights, config, visible, T):
        return logits(source_ids, ids, weights, config, attention_mask)

    return _greedy(first, weights, config, pad_id=pad_id, **changed, logits=following)[:, 1:]


def _in_parts(source, read, weights, config, encoder_mask, memory_mask, **masks):
    """The last logits of T5, what the encoder sees and what the decoder sees of the memory being told apart."""
    parts = {which: {"embedding.table": weights["embedding.table"]} for which in ("encoder", "decoder")}
    for name, value in weights.items():
        which, _, rest = name.partition(".")
        if which in parts:
            parts[which][rest] = value
    memory = t5_encoder(source, parts["encoder"], config, attention_mask=encoder_mask)
    x = t5_decoder(read, memory, parts["decoder"], config, attention_mask=memory_mask, **masks)[:, -1]
    return x @ (weights["embedding.table"].T if config.tied else weights["head"])


@fault(
    greedy_decode_t5, "decoding.greedy-t5-runs-past-eos", breaks="decoding.end-of-sequence",
    effect="an answer goes on after its end",
)  # fmt: skip
def eos_does_not_end_an_answer(source_ids, weights, config, **options):
    return greedy_decode_t5(source_ids, weights, config, **{**options, "eos_id": None})


@fault(
    greedy_decode_t5, "decoding.greedy-t5-drops-eos", breaks="decoding.greedy-t5-equation",
    effect="the EOS is replaced by padding, and whoever looks for it finds none",
)  # fmt: skip
def eos_of_an_answer_is_replaced_by_padding(source_ids, weights, config, **options):
    put = lambda chosen, ended, is_eos, pad_id: torch.where(ended | is_eos, pad_id, chosen)
    return _answers(source_ids, weights, config, **options, put=put)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-pads-with-eos", breaks="decoding.end-of-sequence",
    effect="EOS is repeated to the end in place of padding",
)  # fmt: skip
def eos_is_repeated_after_an_answer(source_ids, weights, config, **options):
    eos_id = options.get("eos_id")
    put = lambda chosen, ended, is_eos, pad_id: chosen if eos_id is None else torch.where(ended, eos_id, chosen)
    return _answers(source_ids, weights, config, **options, put=put)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-pads-with-0", breaks="decoding.end-of-sequence",
    effect="after the end stands the word of id 0",
)  # fmt: skip
def padding_of_answers_is_0(source_ids, weights, config, **options):
    put = lambda chosen, ended, is_eos, pad_id: torch.where(ended, 0, chosen)
    return _answers(source_ids, weights, config, **options, put=put)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-pads-one-late", breaks="decoding.end-of-sequence",
    effect="one word follows the end",
)  # fmt: skip
def one_token_follows_the_eos_of_an_answer(source_ids, weights, config, **options):
    before = []

    def ends(ended, is_eos):
        before.append(is_eos)
        return ended | (before[-2] if len(before) > 1 else torch.zeros_like(is_eos))

    return _answers(source_ids, weights, config, **options, ends=ends)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-ends-with-the-first", breaks="decoding.batch-independence",
    effect="the shortest answer of a batch cuts all others",
)  # fmt: skip
def all_answers_end_with_the_first(source_ids, weights, config, **options):
    return _answers(
        source_ids, weights, config, **options, ends=lambda ended, is_eos: (ended | is_eos).any().expand(len(ended))
    )


@fault(
    greedy_decode_t5, "decoding.greedy-t5-ends-together", breaks="decoding.end-of-sequence",
    seen="Dao-AILab/flash-attention#2784", effect="answers of unlike lengths never end, but run on to the last token",
)  # fmt: skip
def answers_end_only_where_all_do_at_one_step(source_ids, weights, config, **options):
    return _answers(
        source_ids, weights, config, **options, ends=lambda ended, is_eos: ended | is_eos.all().expand(len(ended))
    )


@fault(
    greedy_decode_t5, "decoding.greedy-t5-ends-at-pad", breaks="decoding.greedy-t5-equation",
    effect="a word that happens to be the pad id ends the answer",
)  # fmt: skip
def the_pad_id_ends_an_answer_too(source_ids, weights, config, **options):
    pad_id = options.get("pad_id", 0)
    last = []

    def choose(scores):
        last.append(scores.argmax(-1))
        return last[-1]

    ends = lambda ended, is_eos: ended | is_eos | (last[-1] == pad_id)
    return _answers(source_ids, weights, config, **options, choose=choose, ends=ends)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-never-ends", breaks="decoding.greedy-t5-equation",
    effect="answers run to the last token that is allowed",
)  # fmt: skip
def eos_is_not_allowed_in_an_answer(source_ids, weights, config, **options):
    eos_id = options.get("eos_id")

    def choose(scores):
        return (scores if eos_id is None else scores.index_fill(-1, torch.tensor(eos_id), -math.inf)).argmax(-1)

    return _answers(source_ids, weights, config, **options, choose=choose)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-starts-with-eos", breaks="decoding.greedy-t5-start",
    effect="the first word is one that follows an end, and with it all others",
)  # fmt: skip
def the_decoder_begins_with_eos(source_ids, weights, config, **options):
    return _answers(source_ids, weights, config, **options, start=options.get("eos_id"))


@fault(
    greedy_decode_t5, "decoding.greedy-t5-starts-with-0", breaks="decoding.greedy-t5-start",
    effect="with another vocabulary the decoder begins with some word",
)  # fmt: skip
def the_decoder_begins_with_0(source_ids, weights, config, **options):
    return _answers(source_ids, weights, config, **options, start=0)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-starts-with-the-source", breaks="decoding.greedy-t5-equation",
    effect="the source is given to the decoder too, as if to a model without an encoder",
)  # fmt: skip
def the_decoder_begins_with_the_source(source_ids, weights, config, *, attention_mask=None, **options):
    def logits(ids, weights, config, visible, T):
        return t5(source_ids, ids, weights, config, attention_mask=attention_mask)[:, -1]

    return _greedy(source_ids, weights, config, **options, logits=logits)[:, source_ids.shape[-1] :]


@fault(
    greedy_decode_t5, "decoding.greedy-t5-start-dropped", breaks="decoding.greedy-t5-equation",
    effect="from the second word on the decoder reads its answer without what it always began with in training",
)  # fmt: skip
def the_start_token_is_read_at_the_first_step_alone(source_ids, weights, config, **options):
    def logits(source, read, weights, config, mask):
        return t5(source, read if read.shape[-1] == 1 else read[:, 1:], weights, config, attention_mask=mask)[:, -1]

    return _answers(source_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-start-hidden", breaks="decoding.greedy-t5-equation",
    effect="a mask made from ids takes the start token for padding, whose id it has",
)  # fmt: skip
def the_start_token_is_hidden_as_padding(source_ids, weights, config, **options):
    def logits(source, read, weights, config, mask):
        shown = torch.ones_like(read, dtype=torch.bool)
        shown[:, 0] = read.shape[-1] == 1
        return _in_parts(source, read, weights, config, mask, mask, decoder_attention_mask=shown)

    return _answers(source_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-pad-words-hidden", breaks="decoding.greedy-t5-equation",
    effect="a word that has the pad id is not read once it is generated",
)  # fmt: skip
def generated_words_of_the_pad_id_are_hidden(source_ids, weights, config, **options):
    pad_id = options.get("pad_id", 0)

    def logits(source, read, weights, config, mask):
        shown = read != pad_id
        shown[:, 0] = True
        return _in_parts(source, read, weights, config, mask, mask, decoder_attention_mask=shown)

    return _answers(source_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-start-counted", breaks="decoding.greedy-t5-equation",
    effect="the start token comes back as the first word, and the last is missing",
)  # fmt: skip
def the_start_token_counts_as_the_first_new_one(source_ids, weights, config, **options):
    answers = greedy_decode_t5(source_ids, weights, config, **options)
    return torch.cat([torch.full_like(answers[:, :1], options.get("pad_id", 0)), answers], -1)[:, : answers.shape[-1]]


@fault(
    greedy_decode_t5, "decoding.greedy-t5-start-returned", breaks="decoding.dtype-and-shape",
    effect="every answer begins with the start token",
)  # fmt: skip
def the_start_token_comes_back_too(source_ids, weights, config, **options):
    answers = greedy_decode_t5(source_ids, weights, config, **options)
    return torch.cat([torch.full_like(source_ids[:, :1], options.get("pad_id", 0)), answers], -1)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-mask-ignored", breaks="decoding.padding-does-not-matter",
    seen="huggingface/transformers#23179", effect="short sources are answered as if their padding were text",
)  # fmt: skip
def the_mask_of_the_sources_is_ignored(source_ids, weights, config, **options):
    return greedy_decode_t5(source_ids, weights, config, **{**options, "attention_mask": None})


@fault(
    greedy_decode_t5, "decoding.greedy-t5-decoder-sees-padding", breaks="decoding.padding-does-not-matter",
    effect="the encoder has the mask, and attention to the memory goes to its padding too",
)  # fmt: skip
def the_decoder_attends_to_padding_of_the_sources(source_ids, weights, config, **options):
    logits = lambda source, read, weights, config, mask: _in_parts(source, read, weights, config, mask, None)
    return _answers(source_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-encoder-sees-padding", breaks="decoding.padding-does-not-matter",
    seen="bojone/bert4keras#387", effect="the memory of a short source changes with how far it is padded",
)  # fmt: skip
def the_encoder_attends_to_padding_of_the_sources(source_ids, weights, config, **options):
    logits = lambda source, read, weights, config, mask: _in_parts(source, read, weights, config, None, mask)
    return _answers(source_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-mask-by-pad-id", breaks="decoding.padding-does-not-matter",
    effect="padding is looked for by its id, though the mask says where it stands",
)  # fmt: skip
def the_mask_of_the_sources_is_made_from_the_pad_id(source_ids, weights, config, **options):
    if options.get("attention_mask") is not None:
        options["attention_mask"] = _without_empty(source_ids != options.get("pad_id", 0))
    return greedy_decode_t5(source_ids, weights, config, **options)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-pad-hidden", breaks="decoding.everything-visible",
    effect="a word that has the pad id is not read where it stands in a source",
)  # fmt: skip
def the_pad_id_is_hidden_in_sources_without_a_mask(source_ids, weights, config, **options):
    if options.get("attention_mask") is None:
        options["attention_mask"] = _without_empty(source_ids != options.get("pad_id", 0))
    return greedy_decode_t5(source_ids, weights, config, **options)


def _without_empty(mask):
    """A mask that hides no whole row."""
    return mask | ~mask.any(-1, keepdim=True)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-mask-of-the-first", breaks="decoding.batch-independence",
    effect="all sources are taken to be as long as the first",
)  # fmt: skip
def the_mask_of_the_first_source_serves_for_all(source_ids, weights, config, **options):
    mask = options.get("attention_mask")
    if mask is not None:
        options["attention_mask"] = mask[:1].expand_as(mask)
    return greedy_decode_t5(source_ids, weights, config, **options)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-reads-the-first-position", breaks="decoding.greedy-t5-equation",
    effect="every word is the first one",
)  # fmt: skip
def the_logits_at_the_start_token_are_read(source_ids, weights, config, **options):
    logits = lambda source, read, weights, config, mask: t5(source, read, weights, config, attention_mask=mask)[:, 0]
    return _answers(source_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-reads-the-last-alone", breaks="decoding.greedy-t5-equation",
    effect="without a cache only the last word is given: of the answer all others are forgotten",
)  # fmt: skip
def the_decoder_reads_the_last_token_alone(source_ids, weights, config, **options):
    def logits(source, read, weights, config, mask):
        return t5(source, read[:, -1:], weights, config, attention_mask=mask)[:, -1]

    return _answers(source_ids, weights, config, **options, logits=logits)


@fault(
    greedy_decode_t5, "decoding.greedy-t5-bias-without-the-cache", breaks="decoding.greedy-t5-equation",
    seen="huggingface/candle#899", effect="with a cache every word is taken for the first: no distance is ever other than 0",
)  # fmt: skip
def relative_positions_leave_out_what_is_cached(source_ids, weights, config, **options):
    bias = weights["decoder.relative_bias"]
    return greedy_decode_t5(
        source_ids, {**weights, "decoder.relative_bias": bias[:1].expand_as(bias)}, config, **options
    )


@fault(
    greedy_decode_t5, "decoding.greedy-t5-argmin", breaks="decoding.greedy-t5-equation",
    effect="an answer is the least probable there is",
)  # fmt: skip
def the_least_probable_answer_is_given(source_ids, weights, config, **options):
    return _answers(source_ids, weights, config, **options, choose=lambda scores: scores.argmin(-1))


@fault(
    greedy_decode_t5, "decoding.greedy-t5-of-the-first-row", breaks="decoding.batch-independence",
    effect="all sources are answered as the first",
)  # fmt: skip
def the_choice_for_the_first_source_is_taken_for_all(source_ids, weights, config, **options):
    return _answers(
        source_ids, weights, config, **options, choose=lambda scores: scores.argmax(-1)[:1].expand(len(scores))
    )


@fault(
    greedy_decode_t5, "decoding.greedy-t5-of-the-batch", breaks="decoding.batch-independence",
    effect="argmax without an axis counts through the whole batch: what is said depends on who else is asked",
)  # fmt: skip
def one_argmax_is_taken_of_the_whole_batch(source_ids, weights, config, **options):
    def choose(scores):
        return (scores.flatten().argmax() % scores.shape[-1]).expand(len(scores))

    return _answers(source_ids, weights, config, **options, choose=choose)


_first_sources: dict = {}


@fault(
    greedy_decode_t5, "decoding.greedy-t5-remembers", breaks="decoding.no-memory",
    effect="sources of the size of the first are answered as the first: its memory is kept",
)  # fmt: skip
def the_answer_to_the_first_sources_of_a_size_is_kept(source_ids, weights, config, **options):
    key = (source_ids.shape, config, options["max_new_tokens"])
    return _first_sources.setdefault(key, greedy_decode_t5(source_ids, weights, config, **options))


# --- Beam search ------------------------------------------------------------------------------------------------------


def _searched(
    token_ids, weights, config, *, num_beams, max_new_tokens, length_penalty=0.0, eos_id=None, pad_id=0,
    attention_mask=None,
    logs=lambda logits: torch.log(softmax(logits)),
    add=lambda scores, logs: scores.unsqueeze(-1) + logs,
    normalized=lambda score, length, longest, T, penalty: score / length**penalty,
    kept=lambda place, beams: place < beams,
    at_the_end=True,
    reordered=lambda parents: parents,
    first=1,
    stop=lambda complete, under_way, length, longest, beams: False,
    carried=lambda score: score,
    choose=lambda complete: max(complete, key=lambda pair: pair[0]),
    with_eos=True,
):  # fmt: skip
    """Beam search with one of its parts changed."""
    visible, T = _visible(token_ids, attention_mask), token_ids.shape[-1]
    made = token_ids.new_full((len(token_ids), max_new_tokens), pad_id)
    for row, (padded, tokens) in enumerate(zip(token_ids, visible, strict=True)):
        prompt, complete, longest = padded[tokens], [], max_new_tokens
        ids, scores = prompt.expand(first, -1), torch.zeros(first, dtype=torch.float64)
        for length in range(1, longest + 1):
            each = add(scores, logs(gpt(ids, weights, config)[:, -1]))
            ranked, order = torch.sort(each.flatten(), descending=True, stable=True)
            parents, words = order // each.shape[-1], order % each.shape[-1]
            continued = torch.cat([ids[reordered(parents)], words.unsqueeze(-1)], -1)
            is_eos = words == (-1 if eos_id is None else eos_id)
            ends = is_eos | (at_the_end and length == longest)
            complete += [
                (normalized(float(ranked[i]), length, longest, T, length_penalty), continued[i, len(prompt) :])
                for i in ends.nonzero().flatten().tolist() if kept(i, num_beams)
            ]  # fmt: skip
            ids, scores = continued[~ends][:num_beams], carried(ranked[~ends][:num_beams])
            if not len(ids) or stop(complete, scores, length, longest, num_beams):
                break
        if not complete:
            complete = [(float(scores[0]), ids[0, len(prompt) :])]
        best = choose(complete)[1]
        best = best if with_eos or not len(best) or best[-1] != eos_id else best[:-1]
        made[row, : len(best)] = best
    return torch.cat([token_ids, made], -1)


@fault(
    beam_search, "decoding.beams-greedy", breaks="decoding.beam-search-equation",
    effect="the number of beams has no effect",
)  # fmt: skip
def one_beam_is_searched_whatever_their_number(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, config, **{**options, "num_beams": 1})


@fault(
    beam_search, "decoding.beams-start-alike", breaks="decoding.beam-search-equation",
    effect="all beams are copies of the first, and the search is greedy in the cost of many",
)  # fmt: skip
def beams_begin_as_equal_copies(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, first=options["num_beams"])


@fault(
    beam_search, "decoding.beams-one-more", breaks="decoding.beam-search-equation",
    effect="the search is wider than asked for",
)  # fmt: skip
def one_beam_more_is_searched(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, config, **{**options, "num_beams": options["num_beams"] + 1})


@fault(
    beam_search, "decoding.beams-not-reordered", breaks="decoding.beam-search-equation",
    effect="words are appended to hypotheses that they do not continue",
)  # fmt: skip
def beams_are_not_reordered(token_ids, weights, config, **options):
    return _searched(
        token_ids, weights, config, **options,
        reordered=lambda parents: torch.arange(len(parents)) % (int(parents.max()) + 1),
    )  # fmt: skip


@fault(
    beam_search, "decoding.beams-of-probabilities", breaks="decoding.beam-search-equation",
    effect="probabilities are summed: what is likely at one step outweighs all others",
)  # fmt: skip
def probabilities_are_summed_in_place_of_their_logarithms(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, logs=softmax)


@fault(
    beam_search, "decoding.beams-of-logits", breaks="decoding.beam-search-equation",
    effect="logits are summed without their softmax: beams with large logits win",
)  # fmt: skip
def logits_are_summed_without_softmax(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, logs=lambda logits: logits)


@fault(
    beam_search, "decoding.beams-last-score", breaks="decoding.beam-search-equation",
    effect="a hypothesis is worth what its last word is",
)  # fmt: skip
def scores_of_earlier_steps_are_forgotten(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, add=lambda scores, logs: logs)


@fault(
    beam_search, "decoding.beams-of-the-beam", breaks="decoding.beam-search-equation",
    effect="every beam goes on by its own best word: beams never meet and never part",
)  # fmt: skip
def every_beam_is_continued_by_its_own_best_word(token_ids, weights, config, **options):
    def add(scores, logs):
        every = scores.unsqueeze(-1) + logs
        return every if len(scores) == 1 else torch.where(every == every.amax(-1, keepdim=True), every, -math.inf)

    return _searched(token_ids, weights, config, **options, add=add)


@fault(
    beam_search, "decoding.beams-worst", breaks="decoding.beam-search-equation",
    effect="of what was found the worst is given",
)  # fmt: skip
def the_worst_complete_hypothesis_is_given(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, choose=lambda found: min(found, key=lambda pair: pair[0]))


@fault(
    beam_search, "decoding.beams-finished-forgotten", breaks="decoding.end-of-sequence",
    effect="hypotheses that end are dropped: text never ends early",
)  # fmt: skip
def complete_hypotheses_are_forgotten(token_ids, weights, config, **options):
    longest = options["max_new_tokens"]
    return _searched(
        token_ids, weights, config, **options,
        choose=lambda found: max(found, key=lambda pair: (len(pair[1]) == longest, pair[0])),
    )  # fmt: skip


@fault(
    beam_search, "decoding.beams-unfinished-dropped", breaks="decoding.beam-search-equation",
    effect="what has not ended by itself is never given: answers are too short",
)  # fmt: skip
def hypotheses_that_reach_the_limit_are_dropped(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, at_the_end=False)


@fault(
    beam_search, "decoding.beams-run-past-eos", breaks="decoding.end-of-sequence",
    seen="awslabs/sockeye#233", effect="hypotheses go on behind their end",
)  # fmt: skip
def eos_does_not_end_a_hypothesis(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, config, **{**options, "eos_id": None})


@fault(
    beam_search, "decoding.beams-first-ended", breaks="decoding.length-penalty",
    seen="joeynmt/joeynmt#148", effect="a longer hypothesis that is better is never found",
)  # fmt: skip
def the_search_stops_at_the_first_that_ends(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, stop=lambda complete, *_: bool(complete))


@fault(
    beam_search, "decoding.beams-early-stop", breaks="decoding.length-penalty",
    effect="the search stops as soon as there are as many complete hypotheses as beams",
)  # fmt: skip
def the_search_stops_when_enough_are_complete(token_ids, weights, config, **options):
    stop = lambda complete, scores, length, longest, beams: len(complete) >= beams
    return _searched(token_ids, weights, config, **options, stop=stop)


@fault(
    beam_search, "decoding.beams-wrong-bound", breaks="decoding.length-penalty",
    seen="huggingface/transformers#20901", effect="a positive length penalty ends the search too early",
)  # fmt: skip
def what_is_attainable_is_judged_by_the_present_length(token_ids, weights, config, **options):
    penalty = options.get("length_penalty", 0.0)

    def stop(complete, scores, length, longest, beams):
        return bool(complete) and max(score for score, _ in complete) >= float(scores[0]) / length**penalty

    return _searched(token_ids, weights, config, **options, stop=stop)


@fault(
    beam_search, "decoding.length-penalty-multiplied", breaks="decoding.length-penalty",
    effect="a penalty that should favour long answers favours short ones",
)  # fmt: skip
def the_length_multiplies_the_score(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, config, **{**options, "length_penalty": -options.get("length_penalty", 0.0)})


@fault(
    beam_search, "decoding.length-penalty-ignored", breaks="decoding.length-penalty", effect="short answers win",
)  # fmt: skip
def the_length_penalty_is_ignored(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, config, **{**options, "length_penalty": 0.0})


@fault(
    beam_search, "decoding.length-penalty-always-1", breaks="decoding.beam-search-equation",
    effect="the mean is taken whatever was asked for",
)  # fmt: skip
def the_length_penalty_is_always_1(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, config, **{**options, "length_penalty": 1.0})


@fault(
    beam_search, "decoding.length-penalty-of-the-prompt", breaks="decoding.length-penalty",
    effect="with a long prompt the length penalty has hardly an effect",
)  # fmt: skip
def the_length_counts_the_prompt(token_ids, weights, config, **options):
    normalized = lambda score, length, longest, T, penalty: score / (T + length) ** penalty
    return _searched(token_ids, weights, config, **options, normalized=normalized)


@fault(
    beam_search, "decoding.length-penalty-without-eos", breaks="decoding.length-penalty",
    seen="huggingface/transformers#8722", effect="hypotheses that end are taken to be one token shorter",
)  # fmt: skip
def the_length_leaves_the_last_token_out(token_ids, weights, config, **options):
    normalized = lambda score, length, longest, T, penalty: score / max(length - (length < longest), 0.5) ** penalty
    return _searched(token_ids, weights, config, **options, normalized=normalized)


@fault(
    beam_search, "decoding.length-penalty-of-wu", breaks="decoding.length-penalty",
    effect="the strength of the penalty is another than asked for",
)  # fmt: skip
def the_length_penalty_is_that_of_wu_and_not_a_power(token_ids, weights, config, **options):
    normalized = lambda score, length, longest, T, penalty: score / ((5 + length) / 6) ** penalty
    return _searched(token_ids, weights, config, **options, normalized=normalized)


@fault(
    beam_search, "decoding.length-penalty-in-the-beam", breaks="decoding.length-penalty",
    effect="scores that are already normalized are added to and normalized again",
)  # fmt: skip
def scores_are_normalized_at_every_step(token_ids, weights, config, **options):
    penalty = options.get("length_penalty", 0.0)
    steps: list[Any] = []

    def add(scores, logs):
        steps[:] = [1] if len(scores) == 1 and not scores.any() else [*steps, 1]
        return (scores.unsqueeze(-1) + logs) / len(steps) ** penalty

    return _searched(token_ids, weights, config, **options, add=add, normalized=lambda score, *_: score)


@fault(
    beam_search, "decoding.beams-cross-rows", breaks="decoding.batch-independence",
    effect="beams of one prompt are filled with hypotheses of another",
)  # fmt: skip
def beams_of_one_prompt_answer_another(token_ids, weights, config, **options):
    result = beam_search(token_ids, weights, config, **options)
    T = token_ids.shape[-1]
    return torch.cat([token_ids, result[:, T:].roll(1, 0)], -1)


@fault(
    beam_search, "decoding.beams-mask-not-repeated", breaks="decoding.left-padding",
    effect="masks are repeated in another order than prompts: beams see the padding of other prompts",
)  # fmt: skip
def the_mask_of_another_row_serves(token_ids, weights, config, **options):
    mask = options.get("attention_mask")
    if mask is None:
        return beam_search(token_ids, weights, config, **options)
    return beam_search(token_ids, weights, config, **{**options, "attention_mask": mask.roll(1, 0)})


@fault(
    beam_search, "decoding.beams-mask-ignored", breaks="decoding.padding-does-not-matter",
    effect="prompts padded on the left are continued from their padding",
)  # fmt: skip
def the_attention_mask_is_ignored_in_the_search(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, config, **{**options, "attention_mask": None})


@fault(
    beam_search, "decoding.beams-drop-eos", breaks="decoding.beam-search-equation",
    effect="the EOS of the best hypothesis is cut off",
)  # fmt: skip
def eos_is_cut_off_the_best_hypothesis(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, with_eos=False)


@fault(
    beam_search, "decoding.beams-pad-with-0", breaks="decoding.end-of-sequence",
    effect="behind the end stands the word of id 0",
)  # fmt: skip
def hypotheses_are_padded_with_0(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, config, **{**options, "pad_id": 0})


@fault(
    beam_search, "decoding.beams-pad-with-eos", breaks="decoding.end-of-sequence",
    effect="behind the end EOS is repeated",
)  # fmt: skip
def hypotheses_are_padded_with_eos(token_ids, weights, config, **options):
    eos_id = options.get("eos_id")
    return beam_search(token_ids, weights, config, **(options if eos_id is None else {**options, "pad_id": eos_id}))


@fault(
    beam_search, "decoding.beams-reset-scores", breaks="decoding.beam-search-equation",
    effect="beams under way are taken to be equally good at every step",
)  # fmt: skip
def beams_go_on_with_the_score_of_the_best(token_ids, weights, config, **options):
    return _searched(token_ids, weights, config, **options, carried=lambda scores: scores[:1].expand(len(scores)))


@fault(
    beam_search, "decoding.beams-positions-of-padding", breaks="decoding.left-padding",
    seen="unslothai/unsloth#3795", effect="short prompts are continued worse, the more padding the worse",
)  # fmt: skip
def positions_count_the_padding_in_the_search(token_ids, weights, config, **options):
    mask = options.pop("attention_mask", None)
    if mask is None or not len(mask):
        return beam_search(token_ids, weights, config, **options)
    table = weights["embeddings.position"]
    rows = [
        beam_search(
            token_ids[row : row + 1], {**weights, "embeddings.position": table.roll(-int((~mask[row]).sum()), 0)}, config,
            **options, attention_mask=mask[row : row + 1],
        )
        for row in range(len(mask))
    ]  # fmt: skip
    return torch.cat(rows)


@fault(
    beam_search, "decoding.beams-activation-ignored", breaks="decoding.beam-search-equation",
    effect="a model of another activation says something else",
)  # fmt: skip
def the_activation_is_gelu_in_the_search_whatever_the_configuration_says(token_ids, weights, config, **options):
    return beam_search(token_ids, weights, replace(config, activation="gelu_tanh"), **options)


@fault(
    beam_search, "decoding.length-penalty-of-padding", breaks="decoding.left-padding",
    effect="the more a prompt is padded the less the length penalty does",
)  # fmt: skip
def the_length_counts_the_padding_of_the_prompt(token_ids, weights, config, **options):
    mask = options.pop("attention_mask", None)
    if mask is None or not len(mask):
        return beam_search(token_ids, weights, config, **options)
    normalized = lambda hidden: lambda score, length, longest, T, penalty: score / (hidden + length) ** penalty
    rows = [
        _searched(
            token_ids[row : row + 1], weights, config, **options, attention_mask=mask[row : row + 1],
            normalized=normalized(int((~mask[row]).sum())),
        )
        for row in range(len(mask))
    ]  # fmt: skip
    return torch.cat(rows)


@fault(
    beam_search, "decoding.beams-bound-of-the-longest", breaks="decoding.length-penalty",
    effect="with a negative length penalty the search ends before a better hypothesis does",
)  # fmt: skip
def what_is_attainable_is_judged_by_the_greatest_length(token_ids, weights, config, **options):
    penalty = options.get("length_penalty", 0.0)

    def stop(complete, scores, length, longest, beams):
        return bool(complete) and max(score for score, _ in complete) >= float(scores[0]) / longest**penalty

    return _searched(token_ids, weights, config, **options, stop=stop)


@fault(
    beam_search, "decoding.beams-complete-by-probability", breaks="decoding.length-penalty",
    effect="of many complete hypotheses those are kept that have the highest log P, and not the highest score",
)  # fmt: skip
def complete_hypotheses_are_kept_by_log_p(token_ids, weights, config, **options):
    penalty, beams = options.get("length_penalty", 0.0), options["num_beams"]

    def choose(complete):
        ranked = sorted(complete, key=lambda pair: pair[0] * len(pair[1]) ** penalty, reverse=True)
        return max(ranked[:beams], key=lambda pair: pair[0])

    return _searched(token_ids, weights, config, **options, choose=choose)
