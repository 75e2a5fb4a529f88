"""T5: span corruption on the sentences of a corpus, then English to German, text to text with a prefix.

Dates and numbers are unlimited, exact and learnable in seconds; those that are held out are none that was trained on.
"""

import datetime
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from transpec.cases import Case
from transpec.implementations import REFERENCE, Implementation
from transpec.reference.objectives import PAD as FILLED
from transpec.reference.objectives import span_corruption, text_to_text
from transpec.reference.t5 import T5Config, shift_right, t5
from transpec.runs import forward
from transpec.spec_tests.runs.kernels import by_kernels
from transpec.spec_tests.runs.loop import (
    SEEDS_OF_BAND,
    Loss,
    Recipe,
    Trained,
    Weights,
    band_around,
    drawn,
    once,
    perturbing,
    stream,
    tokenizers,
    train,
)

Model = Callable[..., Tensor]  # of source, target, weights, config and masks
Pair = tuple[str, str]

PREFIX = "translate English to German:"
ASKED, ANSWER = "That is good.", "Das ist gut."
DATES, NUMBERS_TIMES = 2000, 2  # that are trained on, and how often numbers stand in the lot that is drawn from
# Fewer numbers than dates, for they are harder: a part of 0.83 to 0.87 of them is exact, against 0.98 of the dates.
HELD_OUT = {"dates": 80, "numbers": 40}
PIECES, SENTINELS = 360, 8  # the vocabulary, and the last of its ids
PAD, END = 0, 1
LONGEST = 28  # tokens of an answer
BATCH = 32

CONFIG = T5Config(PIECES, d_model=96, d_kv=24, d_ff=256, num_heads=4, num_encoder_layers=2, num_decoder_layers=2)
CORRUPTION, TRANSLATION = Recipe(40, 1.5e-3, betas=(0.9, 0.98)), Recipe(800, 3e-3, betas=(0.9, 0.98))


# --- Corpus -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Pairs to train on, and pairs of each kind that are held out."""

    train: list[Pair]
    hidden: dict[str, list[Pair]]

    @property
    def held_out(self) -> list[Pair]:
        """Those of all kinds."""
        return [pair for pairs in self.hidden.values() for pair in pairs]


def tables() -> dict[str, Any]:
    """Names, patterns and number words in both languages; `data/make_translation.py` made them."""
    folder = resources.files("transpec.spec_tests.runs").joinpath("data")
    found: dict[str, Any] = json.loads(folder.joinpath("translation.json").read_text(encoding="utf-8"))
    return found


def corpus() -> Corpus:
    """2,000 dates of 1970 to 2029, the number words from 0 to 999 and a few phrases; no held-out one is trained on."""
    return once("corpus", _corpus)


def _corpus() -> Corpus:
    given, draw = tables(), stream("dates and numbers")
    first, last = (datetime.date(year, 1, 1).toordinal() for year in (1970, 2030))
    drawn_days = draw.choice(last - first, DATES + HELD_OUT["dates"], replace=False) + first
    dates = [_date(given, datetime.date.fromordinal(int(day))) for day in drawn_days]
    numbers = [(given["numbers"]["en"][i], given["numbers"]["de"][i]) for i in draw.permutation(1000)]
    phrases = [(english, german) for english, german in given["phrases"]]
    hidden_dates, hidden_numbers = dates[: HELD_OUT["dates"]], numbers[: HELD_OUT["numbers"]]
    seen = [*dates[len(hidden_dates) :], *numbers[len(hidden_numbers) :], *phrases]
    return Corpus(seen, {"dates": hidden_dates, "numbers": hidden_numbers})


def _date(given: dict[str, Any], date: datetime.date) -> Pair:
    english, german = (
        given["dates"][language].format(
            day=given["days"][language][date.weekday()], month=given["months"][language][date.month - 1],
            number=date.day, year=date.year,
        )
        for language in ("en", "de")
    )  # fmt: skip
    return english, german


def tokenizer() -> Any:
    """Byte-pair encoding trained on what is trained on, in both languages; the last ids are sentinels."""
    return once("tokenizer", _tokenizer)


def _tokenizer() -> Any:
    return pieces_of(corpus().train, PIECES - SENTINELS)


def pieces_of(pairs: Sequence[Pair], count: int) -> Any:
    """A tokenizer of byte-pair encoding with so many pieces, trained on pairs and the prefix."""
    library = tokenizers()
    made = library.Tokenizer(library.models.BPE(unk_token="<unk>"))
    made.normalizer = library.normalizers.NFC()
    before = [library.pre_tokenizers.Metaspace(), library.pre_tokenizers.Punctuation()]
    made.pre_tokenizer = library.pre_tokenizers.Sequence(before)
    made.decoder = library.decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = library.trainers.BpeTrainer(vocab_size=count, special_tokens=special, show_progress=False)
    sentences = [f"{PREFIX} {english}" for english, _ in pairs] + [german for _, german in pairs]
    made.train_from_iterator(sentences, trainer)
    if made.get_vocab_size() != count:
        raise ValueError(f"the tokenizer has {made.get_vocab_size()} pieces, should have {count}")
    return made


def encoded(sentence: str, pieces: Any = None) -> list[int]:
    """Ids, without an end, by the tokenizer of dates and numbers or by another."""
    found: list[int] = (pieces or tokenizer()).encode(sentence).ids
    return found


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """All rows at the length of the longest, padding on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])


def as_text(sentences: Sequence[str], prefix: str = "", pieces: Any = None) -> Tensor:
    """What T5 reads, behind a prefix, or writes, behind none: ids, an end, and padding to the length of the longest."""
    before = torch.tensor(encoded(prefix, pieces), dtype=torch.int64)
    ids = padded([encoded(sentence, pieces) for sentence in sentences])
    return text_to_text(before, ids, pad_id=PAD, eos_id=END, length=len(before) + ids.shape[-1] + 1)


# --- Models -----------------------------------------------------------------------------------------------------------


def initial_weights(config: T5Config) -> Weights:
    """The table with deviation 1, every matrix with the inverse root of what it reads; what joins the residual path half.

    Queries are drawn five times as large as in Mesh TensorFlow: attention that is peaky from the start learns to copy
    within the few steps that there are.
    """
    draw, M, F = stream("t5 weights"), config.d_model, config.d_ff
    inner = config.num_heads * config.d_kv

    def attention() -> Weights:
        return {
            "w_q": drawn(draw, 5 * (M * config.d_kv) ** -0.5, M, inner), "w_k": drawn(draw, M**-0.5, M, inner),
            "w_v": drawn(draw, M**-0.5, M, inner), "w_o": drawn(draw, 0.5 * inner**-0.5, inner, M),
        }  # fmt: skip

    def stack(name: str, layers: int, sublayers: tuple[str, ...]) -> Weights:
        made = {f"{name}.relative_bias": drawn(draw, M**-0.5, config.num_buckets, config.num_heads)}
        for i in range(layers):
            for sublayer in sublayers:
                prefix = f"{name}.layers.{i}.{sublayer}"
                made |= {f"{prefix}.{key}": value for key, value in attention().items()}
                made[f"{prefix}_norm.gain"] = torch.ones(M)
            made[f"{name}.layers.{i}.feed_forward.w_1"] = drawn(draw, M**-0.5, M, F)
            made[f"{name}.layers.{i}.feed_forward.w_2"] = drawn(draw, 0.5 * F**-0.5, F, M)
            made[f"{name}.layers.{i}.feed_forward_norm.gain"] = torch.ones(M)
        return made | {f"{name}.final_norm.gain": torch.ones(M)}

    encoder = stack("encoder", config.num_encoder_layers, ("self_attention",))
    decoder = stack("decoder", config.num_decoder_layers, ("self_attention", "cross_attention"))
    return {"embedding.table": drawn(draw, 1.0, config.vocab_size, M)} | encoder | decoder


def loss_of(model: Model, sources: Tensor, labels: Tensor, config: T5Config = CONFIG) -> Loss:
    """Mean cross-entropy of the labels' tokens; the decoder reads them shifted right behind the padding token."""
    read = shift_right(labels, start_id=PAD, pad_id=PAD)
    told = labels.masked_fill(labels == PAD, -100)

    def loss(weights: Weights) -> Tensor:
        logits = model(sources, read, weights, config, attention_mask=sources != PAD)
        return torch.nn.functional.cross_entropy(logits.flatten(0, -2), told.flatten(), ignore_index=-100)

    return loss


# --- Span corruption --------------------------------------------------------------------------------------------------


def corrupted(ids: Sequence[int], draw: Any, rate: float = 0.15, mean_span: float = 3.0) -> tuple[list[int], list[int]]:
    """A sentence with spans replaced by sentinels, and the spans behind theirs (Raffel et al. 2020, section 3.1.4).

    The sentinels are the last ids, downward; the target ends with one more of them.
    """
    hidden = max(1, round(len(ids) * rate))
    spans = min(max(1, round(hidden / mean_span)), len(ids) - hidden)
    lengths = _cut(hidden, spans, draw)
    gaps = _cut(len(ids) - hidden, spans, draw)  # every span has something before it
    noise = torch.tensor([side for pair in zip(gaps, lengths, strict=True) for side in pair])
    noise = torch.tensor([False, True]).repeat(spans).repeat_interleave(noise)
    source, target = span_corruption(torch.tensor(ids), noise, first_sentinel_id=PIECES - 1, eos_id=END)
    return source[source != FILLED].tolist(), target[target != FILLED].tolist()


def _cut(total: int, count: int, draw: Any) -> list[int]:
    """`total` cut at random into `count` positive parts."""
    cuts = [0, *sorted(draw.choice(total - 1, count - 1, replace=False) + 1), total]
    return [int(stop - start) for start, stop in itertools.pairwise(cuts)]


def corruption_batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Sources and targets of sentences in either language."""
    draw = stream("span corruption")
    sentences = [sentence for pair in corpus().train for sentence in pair]
    ids = once("sentences", lambda: [encoded(sentence) for sentence in sentences])
    for _ in range(count):
        pairs = [corrupted(ids[i], draw) for i in draw.randint(0, len(ids), BATCH) if len(ids[i]) > 2]
        yield padded([source for source, _ in pairs]), padded([target for _, target in pairs])


# --- Translation ------------------------------------------------------------------------------------------------------


def translation_batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """English behind the prefix, and German; dates and numbers are as frequent, and each phrase as thirty others."""
    draw, pairs = stream("translation"), corpus().train
    english, german = zip(*pairs, strict=True)
    sources, targets = once("pairs", lambda: (as_text(english, PREFIX), as_text(german)))
    numbers = range(DATES, len(pairs) - len(tables()["phrases"]))
    phrases = range(numbers.stop, len(pairs))
    places = [*range(DATES), *NUMBERS_TIMES * list(numbers), *30 * list(phrases)]
    for _ in range(count):
        chosen = [places[i] for i in draw.randint(0, len(places), BATCH)]
        yield trimmed(sources[chosen]), trimmed(targets[chosen])


def trimmed(rows: Tensor) -> Tensor:
    """Rows without the columns in which all have padding."""
    return rows[:, : int((rows != PAD).sum(-1).max())]


def translated(
    model: Model, weights: Weights, sentences: Sequence[str], *, config: T5Config = CONFIG, pieces: Any = None,
    longest: int = LONGEST,
) -> list[str]:  # fmt: skip
    """Greedy answers to English sentences, the text of the answers up to the end or to as many tokens as are allowed."""
    sources = as_text(sentences, PREFIX, pieces)
    read = torch.full((len(sources), 1), PAD)
    ended = torch.zeros(len(sources), dtype=torch.bool)
    with torch.no_grad():
        for _ in range(longest):
            logits = model(sources, read, weights, config, attention_mask=sources != PAD)[:, -1]
            following = logits.argmax(-1).masked_fill(ended, PAD)
            read, ended = torch.cat([read, following.unsqueeze(-1)], -1), ended | (following == END)
            if bool(ended.all()):
                break
    return [(pieces or tokenizer()).decode(row, skip_special_tokens=True) for row in read.tolist()]


# --- Runs -------------------------------------------------------------------------------------------------------------

STAGES = ("pretrained", "trained")
FOLLOWED = 15  # steps whose losses are compared with the reference's


@dataclass(frozen=True)
class Both:
    """Span corruption, and translation from what it has learnt."""

    pretrained: Trained
    trained: Trained


def runs(implementation: Implementation) -> Both:
    """The implementation's T5 after both; one without gradients gets what the reference has learnt."""
    if not implementation.differentiates(t5) or implementation.source.kind == REFERENCE:
        return reference_runs()
    return once(("t5", implementation.source.given), lambda: _both(forward(implementation, t5)))


def reference_runs() -> Both:
    """The reference's own."""
    return once("t5 of the reference", lambda: _both(by_kernels(t5)))


def _both(model: Model) -> Both:
    pretrained = _on_spans(model)
    batches = translation_batches(TRANSLATION.steps)
    return Both(pretrained, train(pretrained.weights, (loss_of(model, *batch) for batch in batches), TRANSLATION))


def _on_spans(model: Model, **more: Any) -> Trained:
    batches = corruption_batches(CORRUPTION.steps)
    return train(initial_weights(CONFIG), (loss_of(model, *batch) for batch in batches), CORRUPTION, **more)


def first_losses() -> tuple[list[float], list[float]]:
    """The reference's losses of the first steps of span corruption, and the band that float32 leaves around each."""

    def make() -> tuple[list[float], list[float]]:
        plain = _on_spans(t5, until=FOLLOWED).losses
        others = [_on_spans(t5, until=FOLLOWED, after_step=perturbing(seed)).losses for seed in range(SEEDS_OF_BAND)]
        return plain, band_around(plain, others)

    return once("first losses of t5", make)


def at_stage(case: Case, stage: str) -> Case:
    """The case with the weights that the reference has after a stage."""
    weights = getattr(reference_runs(), stage).weights
    return case.changed(stage, weights=weights)  # already in the dtype of the case


def as_called(implementation: Implementation) -> Model:
    """An implementation's t5 as a function of torch tensors, without gradients."""

    def model(source: Tensor, target: Tensor, weights: Weights, config: T5Config, **masks: Tensor) -> Tensor:
        return implementation.call(
            Case(t5, "held-out text", (source, target), weights, masks, ("float32",), "float32", config=config)
        )

    return model


# --- Scores -----------------------------------------------------------------------------------------------------------


def span_scores(implementation: Implementation) -> tuple[float, float]:
    """Nats a token of the targets of corrupted held-out sentences: the model's, and those of unigrams trained on."""
    draw = stream("held-out spans")
    sentences = [encoded(sentence) for pair in corpus().held_out for sentence in pair]
    pairs = [corrupted(ids, draw) for ids in sentences if len(ids) > 1]  # of one piece nothing would be left
    weights, model = runs(implementation).pretrained.weights, as_called(implementation)
    told = [token for _, target in pairs for token in target]
    nats = 0.0
    for start in range(0, len(pairs), 2 * BATCH):
        sources, targets = (padded([pair[side] for pair in pairs[start : start + 2 * BATCH]]) for side in (0, 1))
        nats += float(loss_of(model, sources, targets)(weights)) * int((targets != PAD).sum())
    counts: Counter[int] = Counter()
    for _, targets in corruption_batches(CORRUPTION.steps):
        counts.update(targets[targets != PAD].tolist())
    whole = counts.total() + PIECES  # every piece once more, for those that were never seen
    return nats / len(told), sum(-math.log((counts[token] + 1) / whole) for token in told) / len(told)


@dataclass(frozen=True)
class Translations:
    """The part of held-out sentences whose translation is exact to the letter, by kind, and the answer to what is asked."""

    exact: dict[str, float]
    answer: str

    @property
    def of_all(self) -> float:
        """The part of all held-out sentences."""
        return sum(self.exact[kind] * count for kind, count in HELD_OUT.items()) / sum(HELD_OUT.values())


def copied(kind: str) -> float:
    """The part of the held-out sentences of a kind that would be right as they stand in English."""
    return sum(english == german for english, german in corpus().hidden[kind]) / HELD_OUT[kind]


def translations(implementation: Implementation) -> Translations:
    """Greedy translations by the implementation's own T5."""
    return once(("translations", implementation.source.given), lambda: _translations(implementation))


def _translations(implementation: Implementation) -> Translations:
    model, weights = as_called(implementation), runs(implementation).trained.weights
    exact = {}
    for kind, pairs in corpus().hidden.items():
        given = translated(model, weights, [english for english, _ in pairs])
        exact[kind] = sum(one == german for one, (_, german) in zip(given, pairs, strict=True)) / len(pairs)
    return Translations(exact, translated(model, weights, [ASKED])[0])
