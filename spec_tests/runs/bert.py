"""BERT's runs: pretraining on sentences, fine-tuning on tasks made of them; the implementation supplies `bert` alone.

The heads are the suite's own, so that whoever has `bert` and its gradients can take all runs.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from transpec.implementations import Implementation
from transpec.progress import progress
from transpec.reference.attention import attention_weights, project, split_heads
from transpec.reference.bert import BertConfig, bert, embed, pool, predict_tokens
from transpec.reference.heads import best_span
from transpec.reference.layers import encoder_layer, part
from transpec.reference.metrics import accuracy, span_f1
from transpec.reference.normalization import layer_norm
from transpec.reference.objectives import mask_tokens
from transpec.runs import Curve, Image, Score, plot
from transpec.spec_tests.runs import sentences
from transpec.spec_tests.runs.kernels import by_kernels, trainable
from transpec.spec_tests.runs.loop import Weights, layer_weights, norm_weights
from transpec.spec_tests.runs.sentences import IGNORED, KINDS, MASK, SPECIAL, TAGS, Batch

CONFIG = BertConfig(vocab_size=1800, d_model=64, d_ff=128, num_heads=4, num_layers=2, max_positions=64)
DEVIATION = 0.07  # of initial weights; the 0.02 of large models makes one of this size learn later
Model = Callable[..., Tensor]  # `bert` of an implementation, in torch's graph
HEADS = ("pooler.", "mlm.", "nsp.", "task.")  # weights that `bert` itself does not have


# --- Weights ----------------------------------------------------------------------------------------------------------


def initial_weights(config: BertConfig, seed: int, deviation: float = DEVIATION) -> Weights:
    """The weights of `bert`: normal, biases 0, gains 1; float32."""
    draw = torch.Generator().manual_seed(seed)
    M, F = config.d_model, config.d_ff

    def matrix(*shape: int) -> Tensor:
        return deviation * torch.randn(*shape, generator=draw)

    weights = {
        "embeddings.token": matrix(config.vocab_size, M),
        "embeddings.position": matrix(config.max_positions, M),
        "embeddings.token_type": matrix(config.num_token_types, M),
        **norm_weights("embeddings.norm", M),
    }
    for i in range(config.num_layers):
        weights |= {f"layers.{i}.{name}": value for name, value in layer_weights(M, F, matrix, matrix).items()}
    return weights


def pretraining_heads(config: BertConfig, seed: int) -> Weights:
    """The weights of the heads of pretraining, those of `bert_mlm` and `bert_nsp` beyond `bert`'s."""
    draw = torch.Generator().manual_seed(seed)
    M, V = config.d_model, config.vocab_size
    return {
        "pooler.w": M**-0.5 * torch.randn(M, M, generator=draw),
        "pooler.b": torch.zeros(M),
        "mlm.w": M**-0.5 * torch.randn(M, M, generator=draw),
        "mlm.b": torch.zeros(M),
        "mlm.norm.gain": torch.ones(M),
        "mlm.norm.bias": torch.zeros(M),
        "mlm.output_bias": torch.zeros(V),
        "nsp.w": M**-0.5 * torch.randn(M, 2, generator=draw),
        "nsp.b": torch.zeros(2),
    }


def hidden_of(model: Model, weights: Weights, config: BertConfig, batch: Batch) -> Tensor:
    """BERT's hidden states of a batch."""
    own = {name: value for name, value in weights.items() if not name.startswith(HEADS)}
    return model(batch.token_ids, own, config, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask)


# --- Pretraining ------------------------------------------------------------------------------------------------------

MASKED = 0.2  # of the tokens; a short run learns faster from more than the paper's 15 %


def masked(batch: Batch, seed: int) -> tuple[Batch, Tensor, Tensor]:
    """BERT's corruption of a batch: the batch, where something was chosen, and what was there."""
    draw, token_ids = torch.Generator().manual_seed(seed), batch.token_ids
    choice, replacement = (torch.rand(token_ids.shape, generator=draw) for _ in range(2))
    random_ids = torch.randint(len(SPECIAL), CONFIG.vocab_size, token_ids.shape, generator=draw)
    seen, labels = mask_tokens(
        token_ids, token_ids < len(SPECIAL), choice, replacement, random_ids, probability=MASKED, mask_id=MASK
    )
    chosen = labels != IGNORED
    return Batch(seen, batch.token_type_ids, batch.attention_mask, batch.labels), chosen, labels[chosen]


def optimiser_of(weights: Weights, rate: float, steps: int, warm_up: int) -> tuple[Any, Any]:
    """AdamW and a rate that rises linearly for `warm_up` steps and falls linearly to 0."""
    optimiser = torch.optim.AdamW(weights.values(), lr=rate, weight_decay=0.01, fused=True)

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, max(0.0, (steps - step) / (steps - warm_up)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


STEPS, BATCH, RATE = 2400, 16, 3e-3
CHECKPOINTS = (0, 600, 2400)  # numbers of steps after which the weights are kept


@dataclass
class Pretrained:
    """What pretraining left: weights, losses step by step, and the weights after some numbers of steps."""

    weights: Weights
    mlm_losses: list[float] = field(default_factory=list)
    nsp_losses: list[float] = field(default_factory=list)
    checkpoints: dict[int, Weights] = field(default_factory=dict)


def pretrain(model: Model, *, steps: int = STEPS, seed: int = 0, dtype: torch.dtype = torch.float32) -> Pretrained:
    """Minimise the sum of both losses of pretraining for some of the steps of the whole."""
    weights = initial_weights(CONFIG, seed) | pretraining_heads(CONFIG, seed + 1)
    weights = {name: value.to(dtype).requires_grad_() for name, value in weights.items()}
    pairs = sentences.next_sentences(sentences.corpus().read, steps * BATCH, seed)
    optimiser, schedule = optimiser_of(weights, RATE, STEPS, warm_up=STEPS // 10)
    run = Pretrained(weights)
    for step in range(steps):
        if step % 10 == 0:
            progress("pretraining BERT", step, steps)
        if step in CHECKPOINTS:
            run.checkpoints[step] = bare(weights)
        batch, chosen, hidden_tokens = masked(trimmed(pairs.rows(slice(step * BATCH, (step + 1) * BATCH))), step)
        hidden = hidden_of(model, weights, CONFIG, batch)
        mlm = cross_entropy(token_logits(hidden[chosen], weights), hidden_tokens)
        nsp = cross_entropy(pair_logits(hidden, weights), batch.labels)
        optimiser.zero_grad(set_to_none=True)
        (mlm + nsp).backward()
        optimiser.step()
        schedule.step()
        run.mlm_losses.append(float(mlm.detach()))
        run.nsp_losses.append(float(nsp.detach()))
    run.checkpoints[steps] = bare(weights)
    return run


FIRST_STEPS = 8
ROUNDINGS = 16.0  # float32 against float64, where the reference's own difference is one


@cache
def first_losses() -> tuple[list[float], list[float]]:
    """The reference's losses of the first steps in float64, and how far from them a correct float32 run may be.

    That is 16 times the largest difference that the reference's own float32 run has had until then, which is at least
    one rounding of the loss: rounding grows from step to step, for the optimiser divides by the gradients' own size.
    """
    exact = pretrain(bert, steps=FIRST_STEPS, dtype=torch.float64)
    rounded = pretrain(bert, steps=FIRST_STEPS)
    expected = [mlm + nsp for mlm, nsp in zip(exact.mlm_losses, exact.nsp_losses, strict=True)]
    found = [mlm + nsp for mlm, nsp in zip(rounded.mlm_losses, rounded.nsp_losses, strict=True)]
    band, largest = [], 0.0
    for number, wanted in zip(found, expected, strict=True):
        largest = max(largest, abs(number - wanted), 2.0**-24 * wanted)
        band.append(ROUNDINGS * largest)
    return expected, band


def loss_curve(run: Pretrained) -> Curve:
    """Both losses, each the mean of 40 steps."""
    steps = list(range(40, len(run.mlm_losses) + 1, 40))
    series = {
        name: (steps, [fmean(losses[step - 40 : step]) for step in steps])
        for name, losses in {"masked tokens": run.mlm_losses, "next sentence": run.nsp_losses}.items()
    }
    return Curve("BERT's pretraining", "steps", "loss in nats", series)


def bare(weights: Weights) -> Weights:
    """A copy of the weights of `bert` alone."""
    return {name: value.detach().clone() for name, value in weights.items() if not name.startswith(HEADS)}


def token_logits(hidden: Tensor, weights: Weights) -> Tensor:
    """Logits of the masked language model."""
    return predict_tokens(hidden, weights, CONFIG.activation, CONFIG.eps)


def pair_logits(hidden: Tensor, weights: Weights) -> Tensor:
    """Logits of "is the next sentence" and "is not"."""
    return pool(hidden, weights) @ weights["nsp.w"] + weights["nsp.b"]


_pretrained: dict[str, Pretrained] = {}


def pretrained(implementation: Implementation) -> Pretrained:
    """An implementation's pretraining, done once in a process. Raises Unsupported where it has no gradients."""
    if implementation.source.given not in _pretrained:
        _pretrained[implementation.source.given] = pretrain(trainable(implementation, bert))
    return _pretrained[implementation.source.given]


def checkpoints(implementation: Implementation) -> dict[int, Weights]:
    """The weights along the implementation's trajectory, or along the reference's where it cannot be trained."""
    if implementation.differentiates(bert):
        return pretrained(implementation).checkpoints
    return _of_reference().checkpoints


@cache
def _of_reference() -> Pretrained:
    return pretrain(by_kernels(bert))


@dataclass(frozen=True)
class HeldOut:
    """Scores of pretraining on sentences and pairs that were not read, each beside a guess without a model."""

    mlm: float
    unigram: float
    nsp: float
    majority: float
    tokens: int
    pairs: int


@torch.no_grad()
def held_out_scores(model: Model, weights: Weights) -> HeldOut:
    """Accuracy at masked tokens, and of next-sentence prediction on whole pairs."""
    pairs = sentences.next_sentences(sentences.corpus().held_out, 1000, 17)
    batch, chosen, expected = masked(pairs, 3)
    guessed = token_logits(hidden_of(model, weights, CONFIG, batch)[chosen], weights).argmax(-1)
    found = pair_logits(hidden_of(model, weights, CONFIG, pairs), weights).argmax(-1)
    return HeldOut(
        mlm=share(guessed == expected),
        unigram=share(expected == most_frequent_token()),
        nsp=share(found == pairs.labels),
        majority=max(share(pairs.labels == 0), share(pairs.labels == 1)),
        tokens=len(expected),
        pairs=len(pairs),
    )


def share(right: Tensor) -> float:
    """How much of a boolean tensor is true."""
    return float(right.double().mean())


@cache
def most_frequent_token() -> int:
    """The token that a unigram model of what was read guesses everywhere."""
    texts = (sentence.text for paragraph in sentences.corpus().read for sentence in paragraph)
    return Counter(token for text in texts for token in sentences.encoding_of(text).ids).most_common(1)[0][0]


def attention_maps(weights: Weights, token_ids: Tensor) -> Tensor:
    """Attention weights (layers, heads, T, T) of one unpadded sentence of ids (T), by the reference."""
    maps, x = [], embed(token_ids[None], part(weights, "embeddings"), None, None)
    x = layer_norm(x, part(weights, "embeddings.norm"), eps=CONFIG.eps)
    for i in range(CONFIG.num_layers):
        own = part(weights, f"layers.{i}")
        query, key = (
            split_heads(project(x, part(own, "self_attention"), name), CONFIG.num_heads) for name in ("q", "k")
        )
        maps.append(attention_weights(query, key)[0])
        x = encoder_layer(x, own, num_heads=CONFIG.num_heads, activation=CONFIG.activation, eps=CONFIG.eps)
    return torch.stack(maps).detach()


def call_on_sentences(weights: Weights) -> dict[str, Any]:
    """A call of `bert` on pairs that were not read, few enough to be judged element by element."""
    batch = sentences.next_sentences(sentences.corpus().held_out, 4, 11)
    return {
        "tensors": (batch.token_ids,),
        "weights": weights,
        "token_type_ids": batch.token_type_ids,
        "attention_mask": batch.attention_mask,
    }


SHOWN = "people in iceland speak icelandic ."  # the sentence whose attention maps are shown


def shown_tokens() -> tuple[Tensor, list[str]]:
    """The ids and the tokens of the sentence whose attention maps are shown."""
    _, token_ids, _, _ = sentences.encoded([(SHOWN,)])
    return token_ids[0], [sentences.tokenizer().id_to_token(each) for each in token_ids[0].tolist()]


def trimmed(batch: Batch) -> Batch:
    """The batch without columns that hold padding alone."""
    width = int(batch.attention_mask.sum(1).max())
    labels = batch.labels[:, :width] if batch.labels.shape == batch.token_ids.shape else batch.labels
    return Batch(batch.token_ids[:, :width], batch.token_type_ids[:, :width], batch.attention_mask[:, :width], labels)


def attention_images(run: Pretrained) -> list[Image]:
    """What the heads of the last layer attend to in the sentence that is shown."""
    token_ids, tokens = shown_tokens()
    maps = attention_maps(run.weights, token_ids)
    layer = CONFIG.num_layers
    return [
        Image(f"BERT, layer {layer}, head {head + 1}", weights.tolist(), tokens, tokens)
        for head, weights in enumerate(maps[-1])
    ]


# --- Fine-tuning ------------------------------------------------------------------------------------------------------

SIZES = (8, 32, 128, 512)
SEEDS = (0, 1, 2)
LOOKS = (5, 10, 20, 40)  # steps after which there is a score, beside the last


@dataclass(frozen=True)
class Task:
    """A labelled task: how its examples are made, its head, loss and score; score 1 is the best."""

    name: str
    unit: str
    examples: Callable[..., Batch]
    head: Callable[[BertConfig, int], Weights]
    loss: Callable[[Tensor, Weights, Batch], Tensor]
    score: Callable[[Tensor, Weights, Batch], float]
    steps: int
    rate: float = 1e-3
    looks: tuple[int, ...] = LOOKS


def linear_head(outputs: int, pooled: bool = False) -> Callable[[BertConfig, int], Weights]:
    """A linear layer; before it a pooler of its own where the task is one of whole sentences."""

    def made(config: BertConfig, seed: int) -> Weights:
        draw, M = torch.Generator().manual_seed(seed), config.d_model
        head = {"task.w": M**-0.5 * torch.randn(M, outputs, generator=draw), "task.b": torch.zeros(outputs)}
        pooler = {"pooler.w": M**-0.5 * torch.randn(M, M, generator=draw), "pooler.b": torch.zeros(M)}
        return head | pooler if pooled else head

    return made


def tag_logits(hidden: Tensor, weights: Weights) -> Tensor:
    """Logits of every tag, or of start and end, at every token."""
    return hidden @ weights["task.w"] + weights["task.b"]


def class_logits(hidden: Tensor, weights: Weights) -> Tensor:
    """Logits of every class of a sentence."""
    return pool(hidden, weights) @ weights["task.w"] + weights["task.b"]


def tag_loss(hidden: Tensor, weights: Weights, batch: Batch) -> Tensor:
    """Cross entropy over the tokens that have a tag."""
    return cross_entropy(tag_logits(hidden, weights).flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)


def class_loss(hidden: Tensor, weights: Weights, batch: Batch) -> Tensor:
    """Cross entropy of the class."""
    return cross_entropy(class_logits(hidden, weights), batch.labels)


def places(hidden: Tensor, weights: Weights, batch: Batch) -> Tensor:
    """Logits (B, 2, T) of start and end over the tokens of the context, which is of token type 1."""
    return tag_logits(hidden, weights).transpose(1, 2).masked_fill(batch.token_type_ids[:, None] == 0, -math.inf)


def answer_loss(hidden: Tensor, weights: Weights, batch: Batch) -> Tensor:
    """The mean of the cross entropies of start and end (Devlin et al. 2019, section 4.2)."""
    logits = places(hidden, weights, batch)
    return cross_entropy(logits.flatten(0, 1), batch.labels.flatten())


def class_score(hidden: Tensor, weights: Weights, batch: Batch) -> float:
    """Accuracy."""
    return float(accuracy(class_logits(hidden, weights).argmax(-1), batch.labels, dtype=torch.float64))


def answer_score(hidden: Tensor, weights: Weights, batch: Batch) -> float:
    """Exact match of the best span."""
    start, end = places(hidden, weights, batch).unbind(1)
    found = best_span(start, end, allowed=batch.token_type_ids == 1, max_length=start.shape[-1])
    return share((found == batch.labels).all(-1))


def span_score(hidden: Tensor, weights: Weights, batch: Batch) -> float:
    """Span F1, micro-averaged: a span counts where its words and its kind are right."""
    guessed = tag_logits(hidden, weights).argmax(-1)

    def words(tags: Tensor) -> tuple[tuple[str, ...], ...]:
        pairs = zip(tags, batch.labels, strict=True)
        return tuple(tuple(TAGS[tag] for tag in row[labels != IGNORED].tolist()) for row, labels in pairs)

    return float(span_f1(words(guessed), words(batch.labels), dtype=torch.float64))


NAMED_ENTITY = Task(
    "named entities",
    "span F1",
    sentences.named_entities,
    linear_head(len(TAGS)),
    tag_loss,
    span_score,
    steps=60,
    rate=3e-3,
)
CLASSIFICATION = Task(
    "classification",
    "accuracy",
    sentences.classified,
    linear_head(len(KINDS), pooled=True),
    class_loss,
    class_score,
    60,
)
QUESTION_ANSWERING = Task(
    "question answering",
    "exact match",
    sentences.questions,
    linear_head(2),
    answer_loss,
    answer_score,
    steps=60,
    rate=2e-3,
)


@dataclass(frozen=True)
class Tuned:
    """One fine-tuning: the held-out score after some numbers of steps, the last of them the end."""

    steps: list[int]
    scores: list[float]

    @property
    def score(self) -> float:
        """The score at the end."""
        return self.scores[-1]


def fine_tune(
    model: Model, task: Task, start: Weights, size: int, seed: int, *, config: BertConfig = CONFIG,
    batch_size: int = 16, held_out: int = 200,
) -> Tuned:  # fmt: skip
    """Train all weights on `size` labels from weights of `bert`, and score on held-out examples as it goes."""
    train = task.examples(size, 1000 * size + seed, held_out=False)
    test = trimmed(task.examples(held_out, 177, held_out=True))
    weights = {name: value.requires_grad_() for name, value in (bare(start) | task.head(config, seed)).items()}
    optimiser, schedule = optimiser_of(weights, task.rate, task.steps, warm_up=max(1, task.steps // 10))
    draw = torch.Generator().manual_seed(seed)
    order = torch.cat([torch.randperm(size, generator=draw) for _ in range(task.steps * batch_size // size + 1)])
    tuned = Tuned([], [])
    for step in range(task.steps):
        if step % 10 == 0:
            progress(f"{task.name}, {size} labels", step, task.steps)
        batch = trimmed(train.rows(order[step * batch_size : (step + 1) * batch_size]))
        loss = task.loss(hidden_of(model, weights, config, batch), weights, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step + 1 in task.looks or step + 1 == task.steps:
            with torch.no_grad():  # a few rows at a time stay in the processor's cache
                pieces = (test.rows(rows) for rows in torch.arange(len(test)).split(50))
                hidden = torch.cat([hidden_of(model, weights, config, piece) for piece in pieces])
                tuned.scores.append(task.score(hidden, weights, test))
            tuned.steps.append(step + 1)
    return tuned


@dataclass(frozen=True)
class Compared:
    """Fine-tuning at one number of labels, from pretrained weights and from scratch, seed by seed."""

    task: Task
    size: int
    pretrained: list[Tuned]
    scratch: list[Tuned]

    @property
    def score(self) -> Score:
        """The mean scores at the end."""
        mean, without = self.ends(self.pretrained), self.ends(self.scratch)
        note = f"{len(mean)} seeds: {spread(mean)} against {spread(without)}"
        name = f"{self.task.name}, {self.task.unit}, {self.size} labels"
        return Score(name, fmean(mean), "from scratch", fmean(without), note=note)

    @property
    def steps(self) -> Score:
        """How many steps it takes from pretrained weights to the best score from scratch, by the means of all seeds."""
        with_it, without = self.curve(self.pretrained), self.curve(self.scratch)
        best, looked_at = max(without), self.pretrained[0].steps
        first = next((step for step, score in zip(looked_at, with_it, strict=True) if score >= best), math.inf)
        name = f"{self.task.name}, steps to {self.task.unit} {best:.2f}, {self.size} labels"
        of_scratch = looked_at[without.index(best)]
        return Score(name, first, "from scratch", of_scratch, unit="steps", higher_is_better=False)

    def drawn(self, held_out: str) -> Curve:
        """The mean scores against steps, from pretrained weights and from scratch."""
        title = f"BERT, {self.task.name}, {self.size} labels: mean of {len(self.scratch)} seeds on {held_out}"
        curves = {"pretrained": self.curve(self.pretrained), "from scratch": self.curve(self.scratch)}
        steps = self.scratch[0].steps
        return Curve(title, "steps", self.task.unit, {name: (steps, scores) for name, scores in curves.items()})

    @staticmethod
    def ends(runs: Sequence[Tuned]) -> list[float]:
        """The score at the end of each run."""
        return [run.score for run in runs]

    @staticmethod
    def curve(runs: Sequence[Tuned]) -> list[float]:
        """The mean score at each look."""
        return [fmean(scores) for scores in zip(*(run.scores for run in runs), strict=True)]


def spread(scores: Sequence[float]) -> str:
    """The lowest and the highest of some scores."""
    return f"{min(scores):.2f} to {max(scores):.2f}"


def compared(implementation: Implementation, task: Task, size: int) -> Compared:
    """Fine-tune on `size` labels from the implementation's own pretrained weights and from scratch, over all seeds."""
    model, start = trainable(implementation, bert), pretrained(implementation).weights
    with_it = [fine_tune(model, task, start, size, seed) for seed in SEEDS]
    without = [fine_tune(model, task, initial_weights(CONFIG, 100 + seed), size, seed) for seed in SEEDS]
    made = Compared(task, size, with_it, without)
    plot(implementation, made.drawn("held-out names"))
    return made
