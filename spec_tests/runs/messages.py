"""T5 on real sentences: what Home Assistant says to those who use it, from English to German.

They are short and formulaic, so that a model that is trained for minutes learns something of them. None that is scored
was trained on, nor was its German; its phrases may well have been.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transpec.implementations import REFERENCE, Implementation
from transpec.reference.metrics import bleu
from transpec.reference.t5 import T5Config, t5
from transpec.runs import forward
from transpec.spec_tests.runs.kernels import by_kernels
from transpec.spec_tests.runs.loop import Recipe, Trained, once, stream, text, train
from transpec.spec_tests.runs.translation import (
    PAD,
    PREFIX,
    Model,
    Pair,
    as_called,
    as_text,
    initial_weights,
    loss_of,
    pieces_of,
    translated,
    trimmed,
)

HELD_OUT = 400  # sentences that are scored, and as many to choose the recipe by
PIECES = 2000
LONGEST = 40  # tokens of an answer
BATCH = 32  # pairs of a step
SORTED = 16  # steps whose pairs are sorted by length together, for padding costs as much as words
CONFIG = T5Config(PIECES, d_model=128, d_kv=32, d_ff=512, num_heads=4, num_encoder_layers=2, num_decoder_layers=2)
RECIPE = Recipe(3000, 2e-3, warm_up=100, betas=(0.9, 0.98))


# BLEU. On the part for development this recipe had 11.6. Copying has 0, for it shares no four words in a row; the German of
# the most similar sentence that is read has 26, so this run says that T5 learns, and not that it translates well.
CLEARLY = 5.0


# --- Corpus -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Pairs to train on, to choose a recipe by, and to score."""

    train: list[Pair]
    development: list[Pair]
    held_out: list[Pair]


def corpus() -> Corpus:
    """The messages, in an order drawn once for all; no English and no German of one part stands in another."""
    return once("messages", _corpus)


def _corpus() -> Corpus:
    lines = [line.split("\t") for line in text("messages").splitlines()]
    pairs = [(lines[i][0], lines[i][1]) for i in stream("held-out messages").permutation(len(lines))]
    return Corpus(pairs[2 * HELD_OUT :], pairs[:HELD_OUT], pairs[HELD_OUT : 2 * HELD_OUT])


def pieces() -> Any:
    """Byte-pair encoding trained on what is trained on, in both languages."""
    return once("pieces of messages", lambda: pieces_of(corpus().train, PIECES))


def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """English behind the prefix, and German, of like length; all pairs are seen once before any is seen again."""
    draw, by = stream("messages"), pieces()
    english, german = zip(*corpus().train, strict=True)
    sources, targets = as_text(english, PREFIX, by), as_text(german, "", by)
    lengths = [
        ((target != PAD).sum().item(), (source != PAD).sum().item())
        for source, target in zip(sources, targets, strict=True)
    ]
    made: list[list[int]] = []
    for _ in range(count):
        if not made:
            made = _of_like_length(draw.permutation(len(lengths)), lengths.__getitem__)
            draw.shuffle(made)
        chosen = made.pop()
        yield trimmed(sources[chosen]), trimmed(targets[chosen])


def _of_like_length(order: Sequence[int], length: Any) -> list[list[int]]:
    whole = [sorted(order[i : i + BATCH * SORTED], key=length) for i in range(0, len(order), BATCH * SORTED)]
    return [part[i : i + BATCH] for part in whole for i in range(0, len(part), BATCH)]


# --- Run --------------------------------------------------------------------------------------------------------------


def run(implementation: Implementation) -> Trained:
    """The implementation's T5 after training; one without gradients gets what the reference has learnt."""
    if not implementation.differentiates(t5) or implementation.source.kind == REFERENCE:
        return once("messages of the reference", lambda: _run(by_kernels(t5)))
    return once(("messages", implementation.source.given), lambda: _run(forward(implementation, t5)))


def _run(model: Model) -> Trained:
    losses = (loss_of(model, *batch, CONFIG) for batch in batches(RECIPE.steps))
    return train(initial_weights(CONFIG), losses, RECIPE)


def scores(implementation: Implementation, pairs: Sequence[Pair]) -> tuple[float, float]:
    """BLEU of greedy translations of the English, and of the English as it stands; 100 is the best."""
    english, answers = [one for one, _ in pairs], [(german,) for _, german in pairs]
    given = _translations(as_called(implementation), run(implementation), english)
    ours, copied = (100 * float(bleu(each, answers, dtype=torch.float64)) for each in (given, english))
    return ours, copied


def _translations(model: Model, trained: Trained, english: Sequence[str]) -> list[str]:
    """Sentences of like length are translated together."""
    order = sorted(range(len(english)), key=lambda i: len(english[i]))
    found: dict[int, str] = {}
    for start in range(0, len(order), 100):
        places = order[start : start + 100]
        asked = [english[i] for i in places]
        answers = translated(model, trained.weights, asked, config=CONFIG, pieces=pieces(), longest=LONGEST)
        found |= dict(zip(places, answers, strict=True))
    return [found[i] for i in range(len(english))]


def sizes() -> str:
    """How large the run is, for the report."""
    count = sum(weight.numel() for weight in initial_weights(CONFIG).values())
    pairs = f"{len(corpus().train):,} pairs read, {HELD_OUT} scored"
    return f"{count / 1e6:.2f} M parameters, {RECIPE.steps} steps of {BATCH} pairs; {pairs}"
