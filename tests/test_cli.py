"""The command line: what each command prints, that what it prints can be used, and what it says of mistakes."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import ROOT, environment, plain, run, write

from transpec import catalogue
from transpec.cli import main
from transpec.implementations import find, load
from transpec.operations import OPERATIONS
from transpec.profiles import CHAPTERS

WRONG = str(ROOT / "examples" / "wrong_kernel.py")
PREFACE = "To see it without transpec:"
NO_GRADIENT = """
import torch
FRAMEWORK, DTYPES, DIFFERENTIABLE = "torch", ("float32",), True
def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e30)
    return torch.softmax(scores.detach(), -1) @ value
"""


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command."""
    status = main(arguments)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


# --- Without anything heavy ------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy():
    """Help and version come without importing what takes seconds."""
    code = """
    import sys
    from transpec.cli import main
    try:
        main(["--help"])
    except SystemExit:
        print("heavy:", sorted({"torch", "numpy", "pytest", "hypothesis", "jinja2"} & sys.modules.keys()))
    """
    done = run("-c", textwrap.dedent(code))
    assert "heavy: []" in done.output
    assert {"list", "spec", "run", "show", "new"} <= set(done.output.split())


def test_it_is_a_module_too():
    """`python -m transpec` is the command line."""
    done = run("-m", "transpec", "--version")
    assert (done.status, done.output) == (0, f"transpec {__import__('transpec').__version__}\n")


def test_no_command_is_a_mistake(capsys):
    """Without a command there is help and the exit status of a mistake."""
    status, out, _ = said(capsys)
    assert (status, out.startswith("usage: transpec")) == (4, True)


@pytest.mark.parametrize("arguments", [["juggle"], ["list", "--loud"], ["list", "dreams"]])
def test_an_unknown_argument_is_a_mistake(arguments):
    """What no command knows ends with an error, not with a guess."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 4


# --- list and spec ---------------------------------------------------------------------------------------------------


def test_list_names_everything(capsys):
    """`list` names every operation, requirement, fault and implementation."""
    status, out, _ = said(capsys, "list")
    assert status == 0
    assert set(OPERATIONS) <= set(out.split())
    assert {"reference", "numpy_plain", "attention.equation", "attention.scale-missing"} <= set(out.split())


def test_list_of_one_kind(capsys):
    """`list` with a kind names that kind alone."""
    _, out, _ = said(capsys, "list", "implementations")
    assert out.splitlines()[:1] == ["implementations:"]
    assert "attention.equation" not in out


def test_a_pipe_that_closes_early_is_no_error():
    """`transpec list | head -1` ends without a trace."""
    command = f"{sys.executable} -m transpec list | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("implementations:\n", "")


def test_spec_is_the_specification(capsys, tmp_path):
    """`spec` prints the specification, and writes the same into a file."""
    _, out, _ = said(capsys, "spec")
    said(capsys, "spec", "--output", str(tmp_path / "spec.md"))
    assert (tmp_path / "spec.md").read_text(encoding="utf-8") == out
    assert set(OPERATIONS) <= set(re.findall(r"^### (\w+)$", out, re.MULTILINE))


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_a_requirement(capsys):
    """`show` gives the sentence, the source, the formula and what the requirement catches."""
    requirement = catalogue.load()["attention.scale-missing"].breaks
    status, out, _ = said(capsys, "show", requirement)
    assert status == 0
    assert f"{requirement}  MUST  Vaswani et al. 2017" in out
    assert "softmax(Q K^T / sqrt(d_k))" in out
    assert "attention.scale-missing: scores are not divided by the root of the key size" in out


def test_show_what_is_wrong(capsys):
    """`show` with an implementation gives the smallest failing case, the numbers, the cause, and fails."""
    status, out, _ = said(capsys, "show", "attention.equation", "--impl", WRONG, "--dtype", "float32")
    assert status == 1
    assert "one-hot in float32: failed" in out
    assert "output[0, 0] = 0.73106, should be 0.62246" in out
    assert "behaves like attention.scale-missing" in out


def test_show_a_case_by_its_name(capsys):
    """`show` with the name of a case judges that case alone, as a report names it."""
    _, out, _ = said(capsys, "show", "attention.equation", "--impl", "numpy_plain", "--case", "one-hot")
    assert re.findall(r"^  (.*): passed", out, re.MULTILINE) == [
        "one-hot in float64",
        "one-hot in float32",
    ]


def test_show_a_case_that_the_test_changed(capsys):
    """A report names what the test made of a case; `show` finds the case that it was made of."""
    status, out, _ = said(capsys, "show", "attention.equation", "--impl", "numpy_plain", "--case", "one-hot, moved")
    assert (status, "one-hot in float32: passed" in out) == (0, True)


def test_show_what_is_right(capsys):
    """`show` of what passes says so and nothing else."""
    status, out, _ = said(capsys, "show", "masks.look-ahead-itself", "--impl", "numpy_plain")
    assert (status, out.strip().splitlines()[-1]) == (0, "  21 of 21 cases passed")


@pytest.mark.parametrize(
    ("requirement", "code", "wrong"),
    [
        ("attention.equation", Path(WRONG).read_text(encoding="utf-8"), "[[0.7310586]]"),
        ("attention.gradients", NO_GRADIENT, "(None, None, tensor("),
    ],
)
def test_the_snippet_runs_without_us(capsys, tmp_path, requirement, code, wrong):
    """The snippet of a failing case runs where transpec cannot be imported, and prints what is wrong."""
    given = write(tmp_path, "kernel.py", code)
    _, out, _ = said(capsys, "show", requirement, "--impl", given, "--dtype", "float32")
    snippet = textwrap.dedent(out.partition(PREFACE)[2].rpartition("\n\n")[0])
    done = run("-I", "-c", snippet, cwd=tmp_path)
    assert (done.status, wrong in done.output) == (0, True), snippet + done.output


def test_a_snippet_in_bfloat16(capsys, tmp_path):
    """numpy's bfloat16 comes into a snippet with the package that it needs."""
    code = Path(WRONG).read_text(encoding="utf-8").replace('("float64", "float32")', '("bfloat16",)')
    given = write(tmp_path, "kernel.py", code)
    _, out, _ = said(capsys, "show", "attention.equation", "--impl", given)
    assert run("-I", "-c", textwrap.dedent(out.partition(PREFACE)[2].rpartition("\n\n")[0])).status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "attention.equaton"], "there is no requirement attention.equaton. Did you mean attention.equation"),
        (["show", "attention.equation", "--impl", "numpy_plian"], "Did you mean numpy_plain?"),
        (["show", "attention.equation", "--impl", "numpy_plain", "--case", "zzzz"], "its cases are"),
        (["show", "attention.equation", "--impl", "numpy_plain", "--dtype", "int8"], "has no case in int8"),
        (["show", "embedding.equation", "--impl", WRONG], "does not apply to what wrong_kernel has and declares"),
        (["show", "attention.gradients", "--impl", WRONG], "does not apply to what wrong_kernel has and declares"),
    ],
)
def test_a_mistake_is_told(capsys, arguments, message):
    """A mistake is told in one sentence with what could have been meant, and exit status 4."""
    status, _, error = said(capsys, *arguments)
    assert (status, message in plain(error)) == (4, True), error


def test_show_what_does_not_load(capsys, tmp_path):
    """`show` says why an implementation does not load."""
    status, out, _ = said(capsys, "show", "attention.equation", "--impl", write(tmp_path, "broken.py", "1 / 0"))
    assert (status, "does not load: ZeroDivisionError: division by zero (broken.py, line 1)" in out) == (1, True)


def test_show_what_is_of_the_whole(capsys):
    """`show` of a requirement without cases judges the implementation as a whole."""
    status, out, _ = said(capsys, "show", "contract.loads", "--impl", WRONG, "--case", "the implementation as a whole")
    assert (status, out.strip().splitlines()[-1].strip()) == (0, "passed")


# --- new and run -----------------------------------------------------------------------------------------------------


def test_new_writes_what_can_be_judged(capsys, tmp_path):
    """`new` writes a file that loads, claims something, and never overwrites another."""
    path = str(tmp_path / "mine.py")
    status, out, _ = said(capsys, "new", path)
    made = load(find(path))
    assert (status, made.load_error, f"pytest --impl {path}" in out) == (0, None, True)
    assert made.claims(OPERATIONS["scaled_dot_product_attention"])
    assert "exists already" in said(capsys, "new", path)[2]


@pytest.mark.parametrize(
    ("path", "message"), [("mine.txt", "end it in .py"), ("no/such/mine.py", "there is no folder")]
)
def test_new_where_it_cannot_be(capsys, path, message):
    """`new` says what is wrong with a path, and writes nothing."""
    status, _, error = said(capsys, "new", path)
    assert (status, message in error, Path(path).exists()) == (4, True, False)


def test_run_is_pytest(tmp_path):
    """`run` gives its arguments to pytest, from any folder, and returns pytest's exit status."""
    given = write(tmp_path, "mine.py", "def look_ahead_mask(length): raise NotImplementedError('later')")
    arguments = ["-n0", "-q", "-k", "look_ahead_itself", f"--report-dir={tmp_path / 'out'}"]
    done = run("-m", "transpec", "run", "--impl", given, *arguments, cwd=tmp_path)
    assert (done.status, "21 unsupported" in done.output) == (1, True), done.output
    assert (tmp_path / "out" / "report.json").is_file()


def test_run_passes_mistakes_on(tmp_path):
    """`run` of an unknown implementation ends as pytest ends it."""
    assert run("-m", "transpec", "run", "--impl", "numpy_plian").status == 4


def test_chapters_are_in_the_order_of_the_reference(capsys):
    """The specification and the lists follow the order of the chapters."""
    _, out, _ = said(capsys, "list", "operations")
    listed = [line.split()[1] for line in out.splitlines()[1:]]
    assert list(dict.fromkeys(listed)) == [chapter for chapter in CHAPTERS if chapter in listed]
