"""Decoding in plain numpy: filters of logits, draws, greedy decoding and beam search, written from the papers.

Hinton et al. 2015 (temperature); Fan et al. 2018 (top-k); Holtzman et al. 2020 (nucleus); Keskar et al. 2019 (penalty);
Sutskever et al. 2014 and Wu et al. 2016 (beam search); Raffel et al. 2020 (answers of T5). Masks are True at tokens.
`<operation>_vjp` gives gradients.
"""

# What numpy computes from arrays of any dtype has the type Any.
# mypy: disable-error-code="no-any-return"

import heapq
import math
from typing import Any

import numpy as np

Array = np.ndarray
Weights = dict[str, np.ndarray]
Hypothesis = tuple[int, ...]


# --- From logits ------------------------------------------------------------------------------------------------------


def _probabilities(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def temperature_scaled(logits: Array, *, temperature: float) -> Array:
    """Logits divided by a temperature above zero."""
    if temperature <= 0:
        raise ValueError(f"a temperature is above zero; given {temperature}")
    return logits / logits.dtype.type(temperature)


def temperature_scaled_vjp(logits: Array, cotangent: Array, *, temperature: float) -> tuple[Array]:
    """The gradient, over the temperature as well."""
    return (temperature_scaled(cotangent, temperature=temperature),)


def _among_the_largest(logits: Array, k: int) -> Array:
    """True at the k largest of each row."""
    if k < 1:
        raise ValueError(f"k is 1 or more; given {k}")
    if k >= logits.shape[-1]:
        return np.ones(logits.shape, bool)
    return logits >= np.partition(logits, -k, axis=-1)[..., -k, None]


def top_k_filtered(logits: Array, *, k: int) -> Array:
    """The k largest logits of each row, the others minus infinity."""
    return np.where(_among_the_largest(logits, k), logits, logits.dtype.type(-np.inf))


def top_k_filtered_vjp(logits: Array, cotangent: Array, *, k: int) -> tuple[Array]:
    """The gradient where a logit stays."""
    return (np.where(_among_the_largest(logits, k), cotangent, cotangent.dtype.type(0)),)


def _in_nucleus(logits: Array, p: float) -> Array:
    """True at the smallest set of most probable words whose probability reaches p; row by row, word by word."""
    if not 0 < p <= 1:
        raise ValueError(f"p lies between 0 and 1; given {p}")
    inside = np.zeros(logits.shape, bool)
    if p == 1:
        return ~inside
    probabilities = _probabilities(logits.astype(np.float64))
    for row in np.ndindex(logits.shape[:-1]):
        reached = 0.0
        for word in np.argsort(-probabilities[row]):
            inside[(*row, word)] = True
            reached += probabilities[row][word]
            if reached >= p:
                break
    return inside


def top_p_filtered(logits: Array, *, p: float) -> Array:
    """The nucleus of each row, the others minus infinity."""
    return np.where(_in_nucleus(logits, p), logits, logits.dtype.type(-np.inf))


def top_p_filtered_vjp(logits: Array, cotangent: Array, *, p: float) -> tuple[Array]:
    """The gradient where a logit stays."""
    return (np.where(_in_nucleus(logits, p), cotangent, cotangent.dtype.type(0)),)


def _slopes_of_penalty(logits: Array, token_ids: Array, penalty: float) -> Array:
    """What each logit is multiplied by."""
    if penalty <= 0:
        raise ValueError(f"a penalty is above zero; given {penalty}")
    if token_ids.size and (token_ids.min() < 0 or token_ids.max() >= logits.shape[-1]):
        raise IndexError(f"ids lie between 0 and {logits.shape[-1] - 1}")
    slopes = np.ones_like(logits)
    for row, ids in enumerate(token_ids):
        held = np.unique(ids)
        slopes[row, held] = np.where(logits[row, held] > 0, 1 / penalty, penalty)
    return slopes


def repetition_penalized(logits: Array, token_ids: Array, *, penalty: float) -> Array:
    """Logits of words that a sequence holds over the penalty, those below zero times the penalty."""
    return logits * _slopes_of_penalty(logits, token_ids, penalty)


def repetition_penalized_vjp(
    logits: Array, token_ids: Array, cotangent: Array, *, penalty: float
) -> tuple[Array, None]:
    """The gradient, over the penalty or times it as its logit."""
    return cotangent * _slopes_of_penalty(logits, token_ids, penalty), None


def sampling_distribution(
    logits: Array, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Array:
    """softmax of the nucleus of the k largest of the logits over the temperature."""
    left = temperature_scaled(logits, temperature=temperature)
    left = left if top_k is None else top_k_filtered(left, k=top_k)
    left = left if top_p is None else top_p_filtered(left, p=top_p)
    return _probabilities(left)


def sampling_distribution_vjp(
    logits: Array, cotangent: Array, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> tuple[Array]:
    """The gradient of softmax; what is filtered has the probability zero, and so no gradient."""
    probabilities = sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    mean = (probabilities * cotangent).sum(axis=-1, keepdims=True)
    return (probabilities * (cotangent - mean) / probabilities.dtype.type(temperature),)


def sample(
    logits: Array,
    *,
    number: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int,
) -> Array:
    """`number` words of a generator of this seed: each the largest of its logits and Gumbel noise (Gumbel 1954)."""
    probabilities = sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    words = np.flatnonzero(probabilities)
    noise = np.random.default_rng(seed).gumbel(size=(number, len(words)))
    return words[(np.log(probabilities[words].astype(np.float64)) + noise).argmax(axis=-1)]


# --- With a model -----------------------------------------------------------------------------------------------------


def _tokens_of(token_ids: Array, attention_mask: Array | None) -> list[Hypothesis]:
    """Every prompt without its padding."""
    if attention_mask is None:
        return [tuple(row) for row in token_ids.tolist()]
    return [tuple(row[seen].tolist()) for row, seen in zip(token_ids, attention_mask, strict=True)]


def _log_probabilities(sequences: list[Hypothesis], weights: Weights, config: Any) -> Array:
    """log P of every word to follow sequences of one length that have no padding."""
    from transpec.impls.numpy_plain import gpt

    logits = gpt(np.array(sequences), weights, config)[:, -1].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _followed(token_ids: Array, found: list[Hypothesis], length: int, pad_id: int) -> Array:
    """Prompts as they are, each followed by what was found for it and padding."""
    made = np.full((len(token_ids), length), pad_id, dtype=token_ids.dtype)
    for row, words in enumerate(found):
        made[row, : len(words)] = words
    return np.concatenate((token_ids, made), axis=1)


def greedy_decode(
    token_ids: Array,
    weights: Weights,
    config: Any,
    *,
    max_new_tokens: int,
    eos_id: int | None = None,
    pad_id: int = 0,
    attention_mask: Array | None = None,
) -> Array:
    """Prompts followed by the most probable word, time and again, until EOS; one after the other, without padding."""
    found = []
    for prompt in _tokens_of(token_ids, attention_mask):
        words: Hypothesis = ()
        while len(words) < max_new_tokens and (eos_id is None or eos_id not in words):
            words = (*words, int(_log_probabilities([prompt + words], weights, config).argmax()))
        found.append(words)
    return _followed(token_ids, found, max_new_tokens, pad_id)


def greedy_decode_t5(
    source_ids: Array,
    weights: Weights,
    config: Any,
    *,
    max_new_tokens: int,
    eos_id: int | None = None,
    pad_id: int = 0,
    attention_mask: Array | None = None,
) -> Array:
    """The most probable word after the start, which is padding, time and again; one source after the other, unpadded."""
    from transpec.impls.numpy_plain import t5

    answers = np.full((len(source_ids), max_new_tokens), pad_id, dtype=source_ids.dtype)
    for source, answer in zip(_tokens_of(source_ids, attention_mask), answers, strict=True):
        read = [pad_id]
        while len(read) <= max_new_tokens and (eos_id is None or eos_id not in read[1:]):
            read.append(int(t5(np.array([source]), np.array([read]), weights, config)[0, -1].argmax()))
        answer[: len(read) - 1] = read[1:]
    return answers


def beam_search(
    token_ids: Array,
    weights: Weights,
    config: Any,
    *,
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float = 0.0,
    eos_id: int | None = None,
    pad_id: int = 0,
    attention_mask: Array | None = None,
) -> Array:
    """Prompts followed by the best hypothesis that a beam search completes.

    At every step the best continuations of those under way are looked at in order, until `num_beams` go on: an end is
    complete if it comes before `num_beams` others.
    """
    if num_beams < 1:
        raise ValueError(f"a search has beams; given {num_beams}")
    found = []
    for prompt in _tokens_of(token_ids, attention_mask):
        under_way: dict[Hypothesis, float] = {(): 0.0}
        complete: dict[Hypothesis, float] = {(): -math.inf}
        for length in range(1, max_new_tokens + 1):
            following = _log_probabilities([prompt + words for words in under_way], weights, config)
            continued = {
                (*words, word): score + float(more)
                for (words, score), row in zip(under_way.items(), following, strict=True)
                for word, more in enumerate(row)
            }
            under_way = {}
            for place, words in enumerate(heapq.nlargest(2 * num_beams, continued, key=continued.__getitem__)):
                if length == max_new_tokens or words[-1] == eos_id:
                    if place < num_beams:
                        complete[words] = continued[words] / length**length_penalty
                elif len(under_way) < num_beams:
                    under_way[words] = continued[words]
        found.append(max(complete, key=complete.__getitem__))
    return _followed(token_ids, found, max_new_tokens, pad_id)
