"""BUG: row b of a batch has the generator of seed + b, so that under the next seed every row is the one before it."""

import numpy as np

CAUGHT_BY = "objectives.masked-language-modelling-at-random-seed"
FRAMEWORK = "numpy"


def mask_tokens_at_random(token_ids, special, *, mask_id, vocab_size, seed, probability=0.15, ignore_id=-100):
    inputs, labels = token_ids.copy(), np.full_like(token_ids, ignore_id)
    for b, ids in enumerate(token_ids):
        generator = np.random.default_rng(seed + b)
        chosen = (generator.random(len(ids)) < probability) & ~special[b]
        fate, word = generator.random(len(ids)), generator.integers(0, vocab_size, len(ids))
        labels[b] = np.where(chosen, ids, ignore_id)
        inputs[b] = np.where(chosen & (fate < 0.8), mask_id, np.where(chosen & (fate < 0.9), word, ids))
    return np.stack((inputs, labels))
