"""BUG: the search stops where what is under way is behind at its present length, and could win once it is longer."""

import math

import torch

from transpec.reference import decoding as _d

CAUGHT_BY = "decoding.length-penalty"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def _best(prompt, weights, config, num_beams, longest, length_penalty, eos_id):
    best, best_score, done = prompt[:0], -math.inf, []
    under, scores = prompt.unsqueeze(0), torch.zeros(1, dtype=torch.float64)
    for length in range(1, longest + 1):
        logits = _d._next_logits(under, weights, config, torch.ones_like(under, dtype=torch.bool))
        lp = scores.unsqueeze(-1) + torch.log(_d.softmax(logits))
        ranked, order = torch.sort(lp.flatten(), descending=True, stable=True)
        parents, words = order // logits.shape[-1], order % logits.shape[-1]
        cont = torch.cat([under[parents], words.unsqueeze(-1)], -1)
        ends = (words == (-1 if eos_id is None else eos_id)) | (length == longest)
        for p in ends[:num_beams].nonzero().flatten():
            s = float(ranked[p]) / length**length_penalty
            done.append(s)
            if s > best_score:
                best, best_score = cont[p, len(prompt) :], s
        under, scores = cont[~ends][:num_beams], ranked[~ends][:num_beams]
        if len(scores) and len(done) >= num_beams:
            worst = sorted(done, reverse=True)[num_beams - 1]
            if float(scores[0]) / length**length_penalty <= worst:
                break
    return best


def beam_search(
    token_ids,
    weights,
    config,
    *,
    num_beams,
    max_new_tokens,
    length_penalty=0.0,
    eos_id=None,
    pad_id=0,
    attention_mask=None,
):
    if num_beams < 1:
        raise ValueError("num_beams must be at least 1")
    vis = _d._all_tokens(token_ids, attention_mask)
    out = torch.cat([token_ids, token_ids.new_full((len(token_ids), max_new_tokens), pad_id)], -1)
    for r in range(len(token_ids)):
        b = _best(token_ids[r][vis[r]], weights, config, num_beams, max_new_tokens, length_penalty, eos_id)
        out[r, token_ids.shape[-1] :][: len(b)] = b
    return out
