"""Sentences about countries, languages, currencies and scripts, their tokens, and tasks made of them.

The names are CLDR's, 150 of each kind (data/entities.json). Pretraining reads sentences that show what kind of thing a
name is; the labelled tasks ask for that kind in sentences that do not show it, about names that no label has shown.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transpec.spec_tests.runs.loop import tokenizers

KINDS = ("country", "language", "currency", "script")
TAGS = ("O", *(f"{place}-{kind}" for kind in KINDS for place in "BI"))
PAD, UNKNOWN, CLS, SEP, MASK = range(5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
IGNORED = -100
DATA = Path(__file__).with_name("data")

TELLING = {
    "country": (
        "{country} is a country with a long border .",
        "the capital of {country} lies by a river .",
        "people in {country} speak {language} .",
        "in {country} one pays with the {currency} .",
        "she flew to {country} last summer .",
        "the government of {country} held an election .",
        "he was born in {country} and lives abroad .",
        "the population of {country} is growing .",
        "trains across {country} run every day .",
        "a visa for {country} takes two weeks .",
    ),
    "language": (
        "{language} is a language with many dialects .",
        "she learned to speak {language} at school .",
        "the grammar of {language} is hard .",
        "{language} is spoken in {country} .",
        "he translated the poem into {language} .",
        "a dictionary of {language} has many words .",
        "children in {country} are taught in {language} .",
        "the verbs of {language} change with time .",
        "two speakers of {language} met by chance .",
        "her accent in {language} is good .",
    ),
    "currency": (
        "the {currency} is the currency of {country} .",
        "the price was nine {currency} .",
        "the bank changed the money into {currency} .",
        "one {currency} buys a loaf of bread .",
        "the {currency} fell by a tenth .",
        "he paid in {currency} at the market .",
        "the central bank printed more {currency} .",
        "a coin of one {currency} is small .",
        "the exchange rate of the {currency} is falling .",
        "wages are paid in {currency} each month .",
    ),
    "script": (
        "{script} is a script with many letters .",
        "the letters of the {script} script are round .",
        "the {script} alphabet has capital letters .",
        "a font for {script} was drawn by hand .",
        "inscriptions in {script} were found on stone .",
        "scribes carved {script} into clay .",
        "unicode encodes the characters of {script} .",
        "she can read {script} but not write it .",
        "the keyboard shows {script} characters .",
        "the oldest text in {script} is lost .",
    ),
}
NEUTRAL = {  # by the number of names
    1: (
        "we read about {0} today .",
        "the note mentions {0} .",
        "{0} came up in the talk .",
        "nobody had heard of {0} before .",
        "the article on {0} was long .",
        "his question was about {0} .",
    ),
    2: (
        "we read about {0} and {1} today .",
        "the note mentions {0} , not {1} .",
        "{0} and {1} came up in the talk .",
        "nobody had heard of {0} before , nor of {1} .",
        "after {0} the article turns to {1} .",
        "his question about {0} was one about {1} .",
    ),
    3: (
        "we read about {0} , {1} and {2} today .",
        "the note mentions {0} , {1} and {2} .",
        "{0} , {1} and {2} came up in the talk .",
    ),
}
QUESTIONS = ("which {0} is meant ?", "what is the name of the {0} ?", "tell us the {0} .")


@dataclass(frozen=True)
class Sentence:
    """A text and where in it names of which kind stand: (first character, the one after the last, kind)."""

    text: str
    names: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Batch:
    """Token ids and what goes with them, each (batch, tokens); `labels` as the task has them."""

    token_ids: Tensor
    token_type_ids: Tensor
    attention_mask: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.token_ids)

    def rows(self, which: Tensor) -> "Batch":
        """Some of the rows."""
        return Batch(self.token_ids[which], self.token_type_ids[which], self.attention_mask[which], self.labels[which])


@cache
def entities() -> dict[str, dict[str, list[str]]]:
    """Names by kind, in lower case, each with the names it is used with."""
    kept = json.loads((DATA / "entities.json").read_text(encoding="utf-8"))
    return {
        kind: {name.lower(): [other.lower() for other in others] for name, others in kept[kind].items()}
        for kind in KINDS
    }


@cache
def labelled_names(held_out: bool) -> dict[str, list[str]]:
    """The names that labels are about, by kind: every other one is held out. What is a name of two kinds is none."""
    count = Counter(name for names in entities().values() for name in names)
    sure = {kind: [name for name in names if count[name] == 1] for kind, names in entities().items()}
    return {kind: names[1::2] if held_out else names[::2] for kind, names in sure.items()}


def filled(template: str, kinds: dict[str, str], names: dict[str, str]) -> Sentence:
    """A template with names in its places."""
    text, found = "", []
    for piece in re.split(r"(\{\w+\})", template):
        place = piece.strip("{}")
        if piece.startswith("{"):
            found.append((len(text), len(text) + len(names[place]), kinds[place]))
        text += names[place] if piece.startswith("{") else piece
    return Sentence(text, tuple(found))


def about(kind: str, name: str, template: str, draw: random.Random) -> Sentence:
    """A sentence that shows the kind of its names; other names in it are those that the name is used with."""
    others = entities()[kind][name]
    names = {other: draw.choice(list(table)) for other, table in entities().items()}
    if kind == "country":
        names |= {"currency": others[0], "language": others[1]}
    elif others:
        names["country"] = draw.choice(others)
    return filled(template, {each: each for each in KINDS}, names | {kind: name})


# --- Pretraining ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Paragraphs, each of the sentences about one name: those that are read, and of every name two that are held out."""

    read: tuple[tuple[Sentence, ...], ...]
    held_out: tuple[tuple[Sentence, ...], ...]


@cache
def corpus() -> Corpus:
    """The paragraphs about all names."""
    draw = random.Random(0)
    read, held_out = [], []
    for kind in KINDS:
        for name in entities()[kind]:
            sentences = [about(kind, name, template, draw) for template in TELLING[kind]]
            draw.shuffle(sentences)
            held_out.append(tuple(sentences[:2]))
            read.append(tuple(sentences[2:]))
    return Corpus(tuple(read), tuple(held_out))


@cache
def tokenizer() -> Any:
    """The WordPiece tokenizer of the library `tokenizers`, as `data/make_wordpiece.py` trained it on what is read here."""
    return tokenizers().Tokenizer.from_file(str(DATA / "wordpiece.json"))


@cache
def encoding_of(text: str) -> Any:
    """The tokens of a text, without special ones."""
    return tokenizer().encode(text)


def encoded(pairs: Sequence[tuple[str, ...]]) -> tuple[list[Any], Tensor, Tensor, Tensor]:
    """[CLS] first [SEP], or [CLS] first [SEP] second [SEP], padded on the right: encodings, ids, types, mask."""
    ids, types, parts = [], [], []
    for texts in pairs:
        made = [encoding_of(text) for text in texts]
        row, kinds = [CLS], [0]
        for number, each in enumerate(made):
            row += [*each.ids, SEP]
            kinds += [number] * (len(each.ids) + 1)
        ids.append(row)
        types.append(kinds)
        parts.append(made)
    width = max(map(len, ids))
    token_ids = torch.tensor([row + [PAD] * (width - len(row)) for row in ids])
    token_type_ids = torch.tensor([row + [0] * (width - len(row)) for row in types])
    return parts, token_ids, token_type_ids, token_ids != PAD


def next_sentences(paragraphs: Sequence[tuple[Sentence, ...]], count: int, seed: int) -> Batch:
    """Pairs of sentences; label 0 where both are of one paragraph, 1 where the second is any (Devlin et al. 2019)."""
    draw = random.Random(seed)
    pairs, labels = [], []
    for _ in range(count):
        paragraph, label = draw.choice(paragraphs), draw.randrange(2)
        first, second = draw.sample(paragraph, 2)
        other = draw.choice(draw.choice(paragraphs)) if label else second
        pairs.append((first.text, other.text))
        labels.append(label)
    _, token_ids, token_type_ids, mask = encoded(pairs)
    return Batch(token_ids, token_type_ids, mask, torch.tensor(labels))


# --- Labelled tasks ---------------------------------------------------------------------------------------------------


def sentence_of(kinds: Sequence[str], held_out: bool, draw: random.Random) -> Sentence:
    """A neutral sentence with names of these kinds."""
    template = draw.choice(NEUTRAL[len(kinds)])
    names = [draw.choice(labelled_names(held_out)[kind]) for kind in kinds]
    places = [str(place) for place in range(len(kinds))]
    return filled(template, dict(zip(places, kinds, strict=True)), dict(zip(places, names, strict=True)))


def telling_sentence(kind: str, held_out: bool, draw: random.Random) -> Sentence:
    """A sentence that shows the kind of its names, which need not be used with each other."""
    names = {each: draw.choice(labelled_names(held_out)[each]) for each in KINDS}
    return filled(draw.choice(TELLING[kind]), {each: each for each in KINDS}, names)


def named_entities(count: int, seed: int, *, held_out: bool) -> Batch:
    """Sentences with names, half of them neutral; labels are tags (B, T), on the first piece of a word alone."""
    draw = random.Random(seed)
    made = [
        telling_sentence(draw.choice(KINDS), held_out, draw)
        if row % 2
        else sentence_of(draw.sample(KINDS, 2), held_out, draw)
        for row in range(count)
    ]
    parts, token_ids, token_type_ids, mask = encoded([(sentence.text,) for sentence in made])
    labels = torch.full_like(token_ids, IGNORED)
    for row, (sentence, (encoding,)) in enumerate(zip(made, parts, strict=True)):
        for place, (word, (begin, _)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
            if place == 0 or encoding.word_ids[place - 1] != word:
                labels[row, place + 1] = tag_at(sentence, begin)
    return Batch(token_ids, token_type_ids, mask, labels)


def tag_at(sentence: Sentence, character: int) -> int:
    """The tag of the word that begins at a character."""
    for begin, end, kind in sentence.names:
        if begin <= character < end:
            return TAGS.index(f"{'B' if character == begin else 'I'}-{kind}")
    return 0


def classified(count: int, seed: int, *, held_out: bool) -> Batch:
    """Sentences about one name, half of them neutral; labels (B) are its kind."""
    draw = random.Random(seed)
    kinds = [draw.choice(KINDS) for _ in range(count)]
    made = [
        telling_sentence(kind, held_out, draw) if row % 2 else sentence_of([kind], held_out, draw)
        for row, kind in enumerate(kinds)
    ]
    _, token_ids, token_type_ids, mask = encoded([(sentence.text,) for sentence in made])
    return Batch(token_ids, token_type_ids, mask, torch.tensor([KINDS.index(kind) for kind in kinds]))


def questions(count: int, seed: int, *, held_out: bool) -> Batch:
    """A question for a name of a kind, and a text with names of several, half of them neutral.

    Labels (B, 2) are the first and the last token of the answer.
    """
    draw = random.Random(seed)
    pairs, answers = [], []
    for row in range(count):
        text = context(held_out, draw) if row % 2 else sentence_of(draw.sample(KINDS, 3), held_out, draw)
        count_of = Counter(kind for _, _, kind in text.names)
        begin, end, kind = draw.choice([name for name in text.names if count_of[name[2]] == 1])
        pairs.append((draw.choice(QUESTIONS).format(kind), text.text))
        answers.append((begin, end))
    parts, token_ids, token_type_ids, mask = encoded(pairs)
    labels = []
    for (question, told), (begin, end) in zip(parts, answers, strict=True):
        first = next(place for place, (start, _) in enumerate(told.offsets) if start == begin)
        last = next(place for place, (_, stop) in enumerate(told.offsets) if stop == end)
        labels.append((first + len(question.ids) + 2, last + len(question.ids) + 2))
    return Batch(token_ids, token_type_ids, mask, torch.tensor(labels))


def context(held_out: bool, draw: random.Random) -> Sentence:
    """Two sentences that show the kinds of their names, some of which is the only one of its kind."""
    while True:
        first, second = (telling_sentence(kind, held_out, draw) for kind in draw.sample(KINDS, 2))
        moved = len(first.text) + 1
        names = (*first.names, *((begin + moved, end + moved, kind) for begin, end, kind in second.names))
        if 1 in Counter(kind for _, _, kind in names).values():
            return Sentence(f"{first.text} {second.text}", names)
