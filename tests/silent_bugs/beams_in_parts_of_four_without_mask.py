"""BUG: beams run in parts of four, and from the fifth beam on nothing hides the padding of the prompt."""

import torch

from transpec.reference.gpt import gpt

CAUGHT_BY = "decoding.beam-search-equation"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")


def _logs(ids, visible, weights, config):
    visible = visible.expand(len(ids), -1).clone()
    visible[4:] = True
    positions = (visible.cumsum(-1) - 1).clamp_min(0)
    logits = gpt(ids, weights, config, attention_mask=visible, position_ids=positions)[:, -1]
    return torch.log_softmax(logits.double(), -1)


def _best(prompt, visible, weights, config, num_beams, longest, power, eos_id):
    under_way, scores, complete = prompt[None], torch.zeros(1, dtype=torch.float64), []
    for length in range(1, longest + 1):
        logs = scores[:, None] + _logs(under_way, visible, weights, config)
        ranked, order = logs.flatten().sort(descending=True, stable=True)
        words = order % logs.shape[-1]
        continued = torch.cat([under_way[order // logs.shape[-1]], words[:, None]], -1)
        ends = (words == eos_id) if eos_id is not None else torch.zeros_like(words, dtype=torch.bool)
        ends |= length == longest
        complete += [(float(ranked[i]) / length**power, continued[i]) for i in range(len(ends[:num_beams])) if ends[i]]
        under_way, scores = continued[~ends][:num_beams], ranked[~ends][:num_beams]
        visible = torch.cat([visible, torch.ones(1, dtype=torch.bool)])
    return max(complete, key=lambda pair: pair[0])[1]


def beam_search(
    token_ids, weights, config, *, num_beams, max_new_tokens, length_penalty=0.0, eos_id=None, pad_id=0,
    attention_mask=None,
):  # fmt: skip
    if num_beams < 1:
        raise ValueError(f"{num_beams} beams")
    visible = torch.ones_like(token_ids, dtype=torch.bool) if attention_mask is None else attention_mask
    made = token_ids.new_full((len(token_ids), token_ids.shape[-1] + max_new_tokens), pad_id)
    made[:, : token_ids.shape[-1]] = token_ids
    for row in range(len(token_ids) if max_new_tokens else 0):
        found = _best(token_ids[row], visible[row], weights, config, num_beams, max_new_tokens, length_penalty, eos_id)
        made[row, : len(found)] = found
    return made
