"""Documents: what is generated is up to date, and what is written by hand speaks of what there is."""

import re
import shlex
from pathlib import Path

import pytest
from support import ROOT, implementation, outcome_of, run

from transpec import catalogue, cli, requirements, specification
from transpec.implementations import find, load
from transpec.operations import OPERATIONS

WRITTEN = ["README.md", "CONTRIBUTING.md", "docs/register-an-implementation.md"]


def text_of(document: str) -> str:
    """A document."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    """The blocks of a language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(document), re.MULTILINE | re.DOTALL)


def commands(document: str, program: str) -> list[list[str]]:
    """The commands of one program in the console blocks of a document, and in its running text."""
    lines = [line for block in blocks(document, "console") for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", text_of(document))
    words = [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]
    return [line[1:] for line in words]


each = pytest.mark.parametrize("document", WRITTEN)


@pytest.mark.parametrize(
    ("document", "generate"),
    [("docs/specification.md", specification.markdown), ("docs/faults.md", specification.faults_markdown)],
)
def test_generated_documents_are_up_to_date(document, generate):
    """What is generated is what `make docs` would write."""
    assert text_of(document) == generate(), f"{document} is not up to date: run `make docs`"


@each
def test_nothing_is_left_open(document):
    """No document has a gap to be filled in."""
    assert not re.findall(r"@@|TODO|FIXME|XXX", text_of(document))


@each
def test_links_lead_somewhere(document):
    """Every link to a file leads to one."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text_of(document))
    folder = (ROOT / document).parent
    assert [link for link in links if not (folder / link).exists()] == []


@each
def test_commands_of_make_exist(document):
    """Every `make` that a document speaks of is a rule of the Makefile."""
    rules = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    assert {target for line in commands(document, "make") for target in line} <= rules


@each
def test_commands_of_transpec_exist(document):
    """Every `transpec` that a document speaks of is understood."""
    parser = cli._parser()
    given = [parser.parse_known_args(line) for line in commands(document, "transpec")]
    assert [rest for known, rest in given if rest and known.command != "run"] == []


@pytest.fixture(scope="module")
def options() -> set[str]:
    """The options that pytest knows with our plugin and without."""
    return set(re.findall(r"(?<![\w-])--?[\w-]+", run("-m", "pytest", "--help").output))


@each
def test_options_of_pytest_exist(document, options):
    """Every option that a document gives to pytest is one."""
    given = {word.partition("=")[0] for line in commands(document, "pytest") for word in line if word.startswith("-")}
    assert given <= options


@each
def test_names_are_those_of_the_specification(document):
    """Every id of a requirement or fault that a document shows is one."""
    known = {*requirements.load(), *catalogue.load()}
    chapters = "|".join(sorted({id.partition(".")[0] for id in known}))
    shown = set(re.findall(rf"(?<![\w./-])(?:{chapters})\.[a-z][a-z0-9-]+(?![\w/.(])", text_of(document)))
    assert {name for name in shown if not name.endswith((".md", ".py"))} - known == set()


def test_the_readme_names_every_operation():
    """The table of what there is has every operation."""
    assert [name for name in OPERATIONS if f"`{name}`" not in text_of("README.md")] == []


def test_the_implementation_in_the_readme_is_right(tmp_path):
    """The implementation that the README shows loads, claims what it has, and conforms."""
    path = tmp_path / "mine.py"
    path.write_text(blocks("README.md", "python")[0], encoding="utf-8")
    made = load(find(str(path)))
    assert (made.load_error, made.framework.name, made.dtypes) == (None, "torch", ("float32", "bfloat16"))
    assert outcome_of("attention.equation", made).outcome == "passed"


def test_declarations_are_documented():
    """Every attribute that an implementation may declare is in the document that says so."""
    source = (ROOT / "transpec" / "implementations.py").read_text(encoding="utf-8")
    declared = set(re.findall(r'_declared\(target, "([A-Z_]+)"', source))
    assert {name for name in declared if f"`{name}`" not in text_of("docs/register-an-implementation.md")} == set()
    assert implementation().differentiable is False


def test_the_changelog_has_this_version():
    """The changelog speaks of the version that this is."""
    assert __import__("transpec").__version__ in Path(ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
