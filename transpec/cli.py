"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from transpec import __version__
from transpec.implementations import REFERENCE, UsageError
from transpec.profiles import PROFILES

if TYPE_CHECKING:
    from transpec.cases import Case
    from transpec.implementations import Implementation
    from transpec.requirements import Requirement
    from transpec.results import Outcome

READABLE = 4000  # characters of a snippet; a longer one goes into a file
SCAFFOLD = '''"""An implementation for transpec: attributes named after operations; delete what you do not have.

Judge it:   pytest --impl {path}
Contract:   transpec spec
"""

import numpy as np

FRAMEWORK = "numpy"  # or "torch": tensors and dtypes are then that framework's own
DTYPES = ("float64", "float32")
CHOICES = {{"attention.empty-row": "zero"}}  # what a query gives that may attend to nothing


def scaled_dot_product_attention(query, key, value, *, mask=None, scale=None):
    """softmax(Q K^T / sqrt(d_k)) V; query (..., T, E), key (..., S, E), value (..., S, D); mask True = may attend."""
    raise NotImplementedError("write me: until then every case is unsupported, and nothing conforms")
'''


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; returns the exit status."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and given.command != "run":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if given.command == "run":
            return _run(given.impl or [], rest)
        if given.command == "list":
            return _list(given.what)
        if given.command == "spec":
            return _spec(given.faults, given.output)
        if given.command == "show":
            return _show(given.requirement, given.impl, given.case, given.dtype, given.case_timeout)
        if given.command == "check-model":
            return _check_model(given.folder, given.impl, given.dtype, given.tokens)
        if given.command == "new":
            return _new(Path(given.path))
    except UsageError as error:
        print(f"transpec: {error}", file=sys.stderr)
        return 4
    except BrokenPipeError:  # `transpec spec | head`
        sys.stderr.close()
        return 1
    parser.print_help()
    return 4


class _Parser(argparse.ArgumentParser):
    """Mistakes in the command line have the same status as pytest's."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(4, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="transpec", description="The executable specification of the Transformer.")
    parser.add_argument("--version", action="version", version=f"transpec {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    listing = commands.add_parser("list", help="list operations, requirements, profiles, faults or implementations")
    listing.add_argument(
        "what",
        nargs="?",
        default="all",
        choices=["all", "operations", "requirements", "profiles", "faults", "implementations"],
    )
    spec = commands.add_parser("spec", help="print the specification as Markdown")
    spec.add_argument("--faults", action="store_true", help="the catalogue of faults instead")
    spec.add_argument("--output", metavar="FILE", help="write to a file")
    run = commands.add_parser("run", help="judge implementations; further arguments go to pytest", add_help=False)
    run.add_argument("--impl", action="append", metavar="NAME")
    show = commands.add_parser("show", help="show a requirement, and what an implementation makes of it")
    show.add_argument("requirement", metavar="REQUIREMENT", help="its id; or that of a fault, or an operation's name")
    show.add_argument("--impl", metavar="NAME", help="judge this implementation by it")
    show.add_argument(
        "--case", default="smallest", metavar="NAME", help="a case by its name, or 'smallest': the smallest that fails"
    )
    show.add_argument("--dtype", metavar="DTYPE", help="this dtype alone")
    show.add_argument(
        "--case-timeout", type=float, default=30.0, metavar="SECONDS", help="how long a call may take (default: 30)"
    )
    check = commands.add_parser(
        "check-model", help="hold implementations to the reference on a saved model, layer by layer"
    )
    check.add_argument(
        "folder", metavar="DIR", help="of a saved BERT, GPT-2, T5 or ALBERT: config.json and safetensors"
    )
    check.add_argument(
        "--impl", action="append", required=True, metavar="NAME", help="implementation to judge; repeats"
    )
    check.add_argument("--dtype", metavar="DTYPE", help="this dtype alone")
    check.add_argument("--tokens", type=int, default=16, metavar="N", help="length of the sequences (default: 16)")
    new = commands.add_parser("new", help="write the skeleton of an implementation")
    new.add_argument("path", metavar="PATH")
    return parser


def _run(names: list[str], rest: list[str]) -> int:
    from transpec.plugin import spec_tests

    # With `=`, for pytest looks for its configuration where paths lead that stand alone.
    chosen = [f"--impl={name}" for name in names]
    plugin = [] if _is_installed() else ["-p", "transpec.plugin"]
    sys.stdout.flush()
    # In a fresh process, for pytest wants to rewrite what is imported here already.
    os.execv(sys.executable, [sys.executable, "-m", "pytest", str(spec_tests()), *plugin, *chosen, *rest])


def _is_installed() -> bool:
    import importlib.metadata

    return any(point.name == "transpec.plugin" for point in importlib.metadata.entry_points(group="pytest11"))


def _list(what: str) -> int:
    from transpec import implementations

    if what in ("all", "implementations"):
        print(
            "implementations:",
            *sorted({REFERENCE, *implementations.bundled(), *implementations.installed()}),
            sep="\n  ",
        )
        if what == "implementations":
            return 0
    if what in ("all", "profiles"):
        print("profiles, and their chapters:")
        for profile, chapters in PROFILES.items():
            print(f"  {profile:16}{', '.join(chapters)}")
        if what == "profiles":
            return 0
    from transpec import catalogue, requirements
    from transpec.operations import OPERATIONS

    requirements.load()
    if what in ("all", "operations"):
        print("operations:")
        for operation in OPERATIONS.values():
            print(f"  {operation.name:32}{operation.chapter:16}{operation.source}")
    if what in ("all", "requirements"):
        print("requirements:")
        for requirement in requirements.REQUIREMENTS.values():
            print(f"  {requirement.id:48}{requirement.level:8}{requirement.text}")
    if what in ("all", "faults"):
        print("faults:")
        for fault in catalogue.load().values():
            print(f"  {fault.id:48}{fault.text}")
    return 0


def _spec(faults: bool, output: str | None) -> int:
    from transpec import specification

    text = specification.faults_markdown() if faults else specification.markdown()
    if output:
        try:
            Path(output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"spec: {output} cannot be written: {error.strerror}") from error
    else:
        sys.stdout.write(text)
    return 0


def _check_model(folder: str, names: list[str], dtype: str | None, tokens: int) -> int:
    from transpec import implementations, requirements
    from transpec.check_model import check

    requirements.load()
    fine = True
    for source in [implementations.find(name) for name in names]:
        implementation = implementations.load(source)
        if implementation.load_error:
            raise UsageError(f"--impl {source.given} does not load: {implementation.load_error}")
        if dtype and dtype not in implementation.dtypes:
            declared = ", ".join(implementation.dtypes)
            raise UsageError(f"--dtype {dtype}: {implementation.name} declares {declared}")
        fine = check(folder, implementation, dtype, tokens) and fine
    return int(not fine)


def _new(path: Path) -> int:
    if path.suffix != ".py":
        raise UsageError(f"new: expected the path of a Python file, got {path}: end it in .py")
    if path.exists():
        raise UsageError(f"new: {path} exists already, and is left as it is")
    if not path.parent.is_dir():
        raise UsageError(f"new: there is no folder {path.parent}: make it first")
    path.write_text(SCAFFOLD.format(path=path), encoding="utf-8")
    print(f"Wrote {path}. Fill in an operation, then: pytest --impl {path}")
    return 0


# --- show ------------------------------------------------------------------------------------------------------------


def _show(id: str, impl: str | None, case: str, dtype: str | None, case_timeout: float) -> int:
    import difflib
    import textwrap

    from transpec import catalogue, implementations, requirements

    source = implementations.find(impl) if impl else None
    register = requirements.load(id.partition(".")[0])  # the inputs of all chapters take seconds to make
    if impl is None and (case != "smallest" or dtype):
        raise UsageError("show: --case and --dtype are of an implementation: name one with --impl")
    if id not in register and _show_what_is_named(id):
        return 0
    if id not in register:
        register = requirements.load()
        near = difflib.get_close_matches(id, [*register, *catalogue.load()], 3)
        raise UsageError(
            f"there is no requirement {id}."
            + (f" Did you mean {', '.join(near)}?" if near else "")
            + " `transpec list requirements` names all."
        )
    requirement = register[id]
    print(f"{requirement.id}  {requirement.level}  {requirement.source}")
    print(textwrap.fill(requirement.text, 100, initial_indent="  ", subsequent_indent="  "))
    for operation in requirement.operations:
        print(f"\n{operation.name}  ({operation.source})")
        print(textwrap.indent((operation.function.__doc__ or "").strip().split("\n\n")[0], "  "))
    faults = [fault for fault in catalogue.load().values() if fault.breaks == id]
    if faults:
        print("\nIt catches, among others:")
        for fault in faults:
            print(f"  {fault.id}: {fault.text}" + (f" (as in {fault.seen})" if fault.seen else ""))
    if source is None:
        return 0
    implementation = implementations.load(source)
    implementation.case_timeout = case_timeout
    return _show_judged(requirement, implementation, case, dtype)


def _show_what_is_named(id: str) -> bool:
    """Print the fault or the operation of this name, if there is one."""
    import textwrap

    from transpec import catalogue
    from transpec.operations import OPERATIONS
    from transpec.specification import signature

    fault, operation = catalogue.load().get(id), OPERATIONS.get(id)
    if fault is not None:
        print(f"{fault.id}  a fault in {fault.operation.name}, caught by {fault.breaks}")
        lines = [fault.text, f"Effect: {fault.effect}", *([f"Seen in {fault.seen}"] if fault.seen else [])]
        for line in lines:
            print(textwrap.fill(line, 100, initial_indent="  ", subsequent_indent="    "))
    elif operation is not None:
        print(f"{signature(operation)}\n  {operation.source}\n")
        print(textwrap.indent((operation.function.__doc__ or "").strip(), "  "))
    return fault is not None or operation is not None


SURVIVED = 64  # added to the status of a process that judged to its end, to tell it from one that was ended


def _survived(judge: Callable[[], int]) -> int:
    """What `judge` returns, run in a process of its own: an implementation that ends its process does not end ours."""
    if not hasattr(os, "fork"):
        return judge()
    ours, theirs = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(ours)
        sys.stdout = os.fdopen(theirs, "w", encoding="utf-8")
        status = judge()
        sys.stdout.flush()
        os._exit(SURVIVED + status)
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as said:
        for line in said:
            print(line, end="", flush=True)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if SURVIVED <= status <= SURVIVED + 4:
        return status - SURVIVED
    print(f"  crashed: the process ended during the call, with status {status}")
    return 1


def _show_judged(requirement: Requirement, implementation: Implementation, name: str, dtype: str | None) -> int:
    import torch

    from transpec.judging import judge

    torch.set_num_threads(1)
    print(f"\n{implementation.name}:")
    if implementation.load_error:
        print(f"  does not load: {implementation.load_error}")
        return 1
    if not requirement.cases:
        outcome = judge(requirement, implementation, None)
        print(f"  {outcome.outcome} {outcome.message}")
        return int(outcome.outcome != "passed")
    chosen = _chosen(requirement, implementation, name, dtype)
    return _survived(lambda: _print_judged(requirement, implementation, chosen, name))


def _print_judged(requirement: Requirement, implementation: Implementation, chosen: list[Case], name: str) -> int:
    from transpec.judging import judge

    judged = [(judge(requirement, implementation, case), case) for case in chosen]
    failing = [pair for pair in judged if pair[0].outcome not in ("passed", "unsupported")]
    if name == "smallest" and failing:
        order = {"float32": 0, "float64": 1}
        failing = [min(failing, key=lambda pair: (pair[0].size or 10**9, order.get(pair[0].dtype, 2)))]
    for outcome, _ in failing or judged if name != "smallest" else failing:
        _print_outcome(outcome)
    passed = sum(outcome.outcome == "passed" for outcome, _ in judged)
    print(f"\n  {passed} of {len(judged)} cases passed")
    return int(bool(failing))


def _chosen(requirement: Requirement, implementation: Implementation, name: str, dtype: str | None) -> list[Case]:
    import difflib

    possible = [
        (case, each)
        for case in requirement.cases
        for each in case.dtypes
        if requirement.applies_to(implementation, case, each)
    ]
    if not possible:
        what = ", ".join(operation.name for operation in requirement.operations)
        raise UsageError(
            f"{requirement.id} does not apply to what {implementation.name} has and declares; it is of {what}"
        )
    dtypes = dict.fromkeys(each for _, each in possible)
    if dtype is not None and dtype not in dtypes:
        raise UsageError(
            f"{requirement.id} has no case in {dtype} for {implementation.name}; it has in {', '.join(dtypes)}"
        )
    named = [(case, each) for case, each in possible if name == "smallest" or _is_called(case, name)]
    chosen = [case.in_dtype(each) for case, each in named if dtype in (None, each)]
    if not chosen:
        names = list(dict.fromkeys(case.name for case, _ in possible))
        near = difflib.get_close_matches(name, names, 3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "its cases are\n  " + "\n  ".join(names)
        raise UsageError(f"{requirement.id} has no case {name!r}{f' in {dtype}' if dtype else ''}; {hint}")
    return chosen


def _is_called(case: Case, name: str) -> bool:
    """Whether a report's name of a case leads here: a test may change a case, or draw it in the same order again."""
    return case.name == name or name.startswith(f"{case.name}, ") or (case.name == "drawn" and name.startswith("drawn"))


def _print_outcome(outcome: Outcome) -> None:
    import tempfile
    import textwrap

    from transpec import catalogue

    ratio = "" if outcome.ratio is None else f", {outcome.ratio:.3g} budgets"
    print(f"  {outcome.case} in {outcome.dtype}: {outcome.outcome}{ratio}")
    if outcome.message:
        print(f"  {outcome.message}")
    if outcome.call:
        print(textwrap.fill(outcome.call, 100, initial_indent="  ", subsequent_indent="    "))
    for id in outcome.diagnosis:
        print(f"  behaves like {id}: {catalogue.FAULTS[id].text}")
    if len(outcome.snippet) > READABLE:
        kept = Path(tempfile.mkdtemp(prefix="transpec-")) / "snippet.py"
        kept.write_text(outcome.snippet + "\n", encoding="utf-8")
        print(f"\n  To see it without transpec: python {kept}")
    elif outcome.snippet:
        print("\n  To see it without transpec:\n")
        print(textwrap.indent(outcome.snippet, "    "))


if __name__ == "__main__":
    sys.exit(main())
