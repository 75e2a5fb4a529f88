"""Decoding: from logits to the next token, and from a model to a continuation.

What is taken from logits works on any leading axes; what runs a model runs `gpt`, or `t5` where it is named so. A logit
of minus infinity is that of a word which is forbidden; no row forbids all of its words.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation
from transpec.reference.attention import softmax
from transpec.reference.gpt import GptConfig, gpt
from transpec.reference.layers import Weights
from transpec.reference.t5 import T5Config, t5


@operation("Hinton et al. 2015, section 2, equation 1; Holtzman et al. 2020, section 3.3, equation 4")
def temperature_scaled(logits: Float[Tensor, "... V"], *, temperature: float) -> Float[Tensor, "... V"]:
    """Logits over the temperature: below 1 their softmax gets sharper, above 1 flatter.

    Raises ValueError where the temperature is not positive: 0 is a limit and no division.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature!r}")
    return logits / temperature


@operation("Fan et al. 2018, section 5.4; Holtzman et al. 2020, section 3.2")
def top_k_filtered(logits: Float[Tensor, "... V"], *, k: int) -> Float[Tensor, "... V"]:
    """The k largest logits of a row as they are, minus infinity in place of the others.

    With k of V or more nothing is filtered. Among logits that tie with the k-th which of them stay is open, and whether
    all do, as long as k logits stay.
    Raises ValueError where k is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    lowest = torch.topk(logits, min(k, logits.shape[-1]), -1).values[..., -1:]  # ... 1
    return torch.where(logits < lowest, -math.inf, logits)


@operation("Holtzman et al. 2020, section 3.1, equations 2 and 3")
def top_p_filtered(logits: Float[Tensor, "... V"], *, p: float) -> Float[Tensor, "... V"]:
    """The nucleus as it is, minus infinity in place of all other logits.

    The nucleus of a row is the smallest set of its most probable tokens whose probability reaches p: the token whose
    probability takes the sum to p or past it belongs to it, and so it is never empty. With p = 1 it is everything. Which
    of equally probable tokens belong to it is open, how many is not; nor is a sum judged that meets p but for rounding.
    Raises ValueError where p is not above 0 and at most 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"p must be above 0 and at most 1, got {p!r}")
    ordered, order = torch.sort(logits, -1, descending=True)
    probabilities = softmax(ordered)
    before = torch.cumsum(probabilities, -1) - probabilities  # ... V: of all that are more probable
    # A sum of all but improbable words rounds to 1, and at p = 1 they belong to the nucleus all the same.
    kept = (before < p) | (torch.arange(logits.shape[-1]) == 0) | (p == 1)
    return torch.where(kept.gather(-1, torch.argsort(order, -1)), logits, -math.inf)


@operation("Keskar et al. 2019, section 4.1")
def repetition_penalized(
    logits: Float[Tensor, "B V"], token_ids: Int[Tensor, "B T"], *, penalty: float
) -> Float[Tensor, "B V"]:
    """Logits of the tokens in a sequence over the penalty where they are positive, times the penalty where negative.

    So a penalty above 1 makes every token that the sequence holds less probable, however often it holds it. The paper
    divides whatever the sign is; the published code makes the distinction that is meant. A logit of 0 stays 0, and which of
    the two slopes its gradient has is open.
    Raises ValueError where the penalty is not positive, IndexError for ids that there is no logit of.
    """
    if not penalty > 0:
        raise ValueError(f"penalty must be positive, got {penalty!r}")
    if token_ids.numel() and not 0 <= int(token_ids.min()) <= int(token_ids.max()) < logits.shape[-1]:
        raise IndexError(f"ids must be from 0 to {logits.shape[-1] - 1}")
    seen = (token_ids.unsqueeze(-1) == torch.arange(logits.shape[-1])).any(-2)  # B V
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


@operation("Holtzman et al. 2020, sections 3.1 to 3.3")
def sampling_distribution(
    logits: Float[Tensor, "... V"], *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Float[Tensor, "... V"]:
    """The probabilities that a token is drawn by: softmax(top-p(top-k(logits / temperature))).

    In this order: the nucleus is that of the probabilities which temperature and top-k, renormalized, have left. What is
    None is left out.
    """
    scores = temperature_scaled(logits, temperature=temperature)
    if top_k is not None:
        scores = top_k_filtered(scores, k=top_k)
    if top_p is not None:
        scores = top_p_filtered(scores, p=top_p)
    return softmax(scores)


@operation("Holtzman et al. 2020, section 3; draws are the implementation's own")
def sample(
    logits: Float[Tensor, "V"],
    *,
    number: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int,
) -> Int[Tensor, "N"]:
    """`number` token ids, drawn independently of each other with the probabilities of `sampling_distribution`.

    The same seed gives the same ids, and another seed gives others that say nothing of them; seeds are integers from 0 to
    2^31 - 1. How ids are drawn is the implementation's own business: no two libraries draw the same, so only what is drawn
    how often can be told right from wrong. Their integers may be of any size.
    """
    probabilities = sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    drawn = torch.rand(number, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    # Inverse transform: the first token whose cumulative probability is above a uniform number. A token of probability
    # zero never is, and what rounding leaves above the last sum belongs to the last that can be drawn.
    sums = torch.cumsum(probabilities.to(torch.float64), -1)
    last = (probabilities > 0).nonzero().amax()
    return torch.searchsorted(sums, drawn, right=True).clamp_max(last)


@operation("Radford et al. 2019, section 3; the argmax at every step")
def greedy_decode(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: GptConfig,
    *,
    max_new_tokens: int,
    eos_id: int | None = None,
    pad_id: int = 0,
    attention_mask: Bool[Tensor, "B T"] | None = None,
) -> Int[Tensor, "B T+N"]:
    """The prompts, each followed by `max_new_tokens` ids: the most probable token after all before it, time and again.

    `eos_id` ends a sequence when it is generated, be it in the prompt or not, and is kept; from there on stands `pad_id`,
    which otherwise is a token like any other. `attention_mask` is True at tokens and False at padding, which stands on the
    left, is never attended to, and has no part in counting positions. The last token is not read: T + N - 1 positions are
    enough. Which of equally probable tokens is taken is open.
    """
    ids, visible = token_ids, _all_tokens(token_ids, attention_mask)
    ended = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        chosen = _next_logits(ids, weights, config, visible).argmax(-1)  # B
        ids = torch.cat([ids, torch.where(ended, pad_id, chosen).unsqueeze(-1)], -1)
        visible = torch.cat([visible, torch.ones_like(visible[:, :1])], -1)
        ended = ended if eos_id is None else ended | (chosen == eos_id)
    return ids


@operation("Raffel et al. 2020, section 3.1.2: the highest-probability logit at every timestep")
def greedy_decode_t5(
    source_ids: Int[Tensor, "B S"],
    weights: Weights,
    config: T5Config,
    *,
    max_new_tokens: int,
    eos_id: int | None = None,
    pad_id: int = 0,
    attention_mask: Bool[Tensor, "B S"] | None = None,
) -> Int[Tensor, "B N"]:
    """Answers to the sources of `max_new_tokens` ids: the most probable token after all before it, time and again.

    What the decoder reads begins with `pad_id`, T5's start token, which is no part of the answer. `eos_id` ends an answer
    when it is generated, be it in the source or not, and is kept; from there on stands `pad_id`, which otherwise is a
    token like any other, seen where it is read. `attention_mask` is True at the tokens of the sources and False at their
    padding, which stands on either side and which neither encoder nor decoder attends to.
    """
    read = torch.full((len(source_ids), 1), pad_id, dtype=source_ids.dtype)  # B 1+N
    ended = torch.zeros(len(source_ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        chosen = t5(source_ids, read, weights, config, attention_mask=attention_mask)[:, -1].argmax(-1)  # B
        read = torch.cat([read, torch.where(ended, pad_id, chosen).unsqueeze(-1)], -1)
        ended = ended if eos_id is None else ended | (chosen == eos_id)
    return read[:, 1:]


@operation("Sutskever et al. 2014, section 3.2; Wu et al. 2016, section 7, with a plain power as length normalization")
def beam_search(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: GptConfig,
    *,
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float = 0.0,
    eos_id: int | None = None,
    pad_id: int = 0,
    attention_mask: Bool[Tensor, "B T"] | None = None,
) -> Int[Tensor, "B T+N"]:
    r"""The prompts, each followed by the best hypothesis Y, padded: that of the highest log P(Y | prompt) / |Y|^length_penalty.

    A hypothesis ends with `eos_id` or has `max_new_tokens` tokens; |Y| counts what is generated, the EOS too. At every
    step the `num_beams` best of those under way, by log P, are continued by every token. Of these continuations, ranked
    by log P, those among the first `num_beams` that end are kept as complete, and the first `num_beams` that do not end
    are under way. Nothing stops the search but `max_new_tokens`, so a longer hypothesis may win late. The length
    penalty is that of libraries, a plain power, and not ((5 + |Y|) / 6)^alpha of Wu et al.; below 0 it favours what is
    short. The other options are those of `greedy_decode`, and so are the positions that are read. Searches that keep
    every end, or let what is complete take the place of what is under way, are correct too: only what all of these find
    is judged. Raises ValueError where `num_beams` is below 1.
    """
    if num_beams < 1:
        raise ValueError(f"num_beams must be at least 1, got {num_beams!r}")
    visible = _all_tokens(token_ids, attention_mask)
    decoded = torch.cat([token_ids, token_ids.new_full((len(token_ids), max_new_tokens), pad_id)], -1)  # B T+N
    for row, (prompt, tokens) in enumerate(zip(token_ids, visible, strict=True)):
        best = _best_hypothesis(
            prompt[tokens], weights, config, num_beams=num_beams, longest=max_new_tokens, eos_id=eos_id,
            length_penalty=length_penalty,
        )  # fmt: skip
        decoded[row, token_ids.shape[-1] :][: len(best)] = best
    return decoded


def _best_hypothesis(
    prompt: Int[Tensor, "T"],
    weights: Weights,
    config: GptConfig,
    *,
    num_beams: int,
    longest: int,
    length_penalty: float,
    eos_id: int | None,
) -> Int[Tensor, "N"]:
    """What beam search finds to follow one prompt, without padding."""
    best, best_score = prompt[:0], -math.inf
    under_way, scores = prompt.unsqueeze(0), torch.zeros(1, dtype=torch.float64)  # K T, K
    for length in range(1, longest + 1):
        logits = _next_logits(under_way, weights, config, torch.ones_like(under_way, dtype=torch.bool))  # K V
        log_probabilities = scores.unsqueeze(-1) + torch.log(softmax(logits))  # K V
        ranked, order = torch.sort(log_probabilities.flatten(), descending=True, stable=True)  # KV
        parents, words = order // logits.shape[-1], order % logits.shape[-1]
        continued = torch.cat([under_way[parents], words.unsqueeze(-1)], -1)  # KV T
        ends = (words == (-1 if eos_id is None else eos_id)) | (length == longest)
        for place in ends[:num_beams].nonzero().flatten():
            score = float(ranked[place]) / length**length_penalty
            if score > best_score:
                best, best_score = continued[place, len(prompt) :], score
        under_way, scores = continued[~ends][:num_beams], ranked[~ends][:num_beams]
    return best


def _all_tokens(token_ids: Int[Tensor, "B T"], attention_mask: Bool[Tensor, "B T"] | None) -> Bool[Tensor, "B T"]:
    return torch.ones_like(token_ids, dtype=torch.bool) if attention_mask is None else attention_mask


def _next_logits(
    ids: Int[Tensor, "B T"], weights: Weights, config: GptConfig, visible: Bool[Tensor, "B T"]
) -> Float[Tensor, "B V"]:
    """The logits after the last token, positions being counted from the first token that is visible."""
    positions = (visible.cumsum(-1) - 1).clamp_min(0)  # B T; that of padding matters to nobody
    return gpt(ids, weights, config, attention_mask=visible, position_ids=positions)[:, -1]  # B V
