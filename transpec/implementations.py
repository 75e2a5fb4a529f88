"""Implementations: found behind a door, asked what they claim, and called with everything they do caught and named."""

from __future__ import annotations

import contextlib
import difflib
import faulthandler
import importlib
import importlib.metadata
import importlib.util
import inspect
import operator
import os
import pkgutil
import signal
import sys
import threading
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from transpec.frameworks import FRAMEWORKS, Framework, NoTensor, apply, settings

if TYPE_CHECKING:
    from torch import Tensor

    from transpec.cases import Case
    from transpec.operations import Operation

GROUP = "transpec.implementations"
REFERENCE = "reference"
IMPORT_TIMEOUT = 300.0
LONGEST = 500  # characters of a message


class UsageError(Exception):
    """What the user asked for cannot be; says what was expected, what was given and what to do."""


# --- Doors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Where an implementation was found, before anything of it is imported."""

    given: str
    kind: str  # "file", "entry point", "bundled", "module" or "reference"
    target: str
    object: str = ""

    @property
    def name(self) -> str:
        """What it is called where it declares no NAME."""
        if self.kind == "entry point":
            return self.given
        module = Path(self.target).stem if self.kind == "file" else self.target
        return f"{module}:{self.object}" if self.object else module


def bundled() -> list[str]:
    """Names of the implementations in impls/."""
    spec = importlib.util.find_spec("transpec.impls")
    places = list(spec.submodule_search_locations or []) if spec else []
    return sorted(info.name for info in pkgutil.iter_modules(places) if not info.name.startswith("_"))


def installed() -> dict[str, str]:
    """Entry points of the group `transpec.implementations`: name and dotted object."""
    return {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}


def find(given: str) -> Source:
    """Resolve what stands after --impl, as file, then entry point, then a name in impls/, then dotted name.

    Nothing is imported. Raises UsageError where no door opens, with the names that are known.
    """
    path, _, inside = given.partition(":") if not os.path.isfile(given) else (given, "", "")
    if path == REFERENCE and not inside:
        return Source(given, "reference", REFERENCE)
    if path.endswith(".py") or os.path.isfile(path):
        if not os.path.isfile(path):
            raise UsageError(f"--impl {given}: there is no file {path} in {os.getcwd()}")
        return Source(given, "file", str(Path(path).resolve()), inside)
    if path == "exec":
        raise UsageError(f"--impl {given}: implementations in a process of their own are not supported yet")
    if path in installed():
        target, _, attribute = installed()[path].partition(":")
        return Source(given, "entry point", target, ".".join(part for part in (attribute, inside) if part))
    if path in bundled():
        return Source(given, "bundled", path, inside)
    if _leads_to_a_module(path):
        return Source(given, "module", path, inside)
    known = sorted({REFERENCE, *bundled(), *installed()})
    near = difflib.get_close_matches(path, known, 1)
    raise UsageError(
        f"--impl {given}: no such file, entry point or module."
        + (f" Did you mean {near[0]}?" if near else "")
        + f"\nKnown names: {', '.join(known)}."
        + "\nOr give a file (path/to/file.py), a dotted name (package.module), or either with an object (…:object)."
    )


def _leads_to_a_module(name: str) -> bool:
    """Whether a dotted name can be imported; found out without importing the packages it passes through."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # where the user stands, as `python -m` has it
    path: Sequence[str] | None = None
    parts = name.split(".")
    for depth, part in enumerate(parts):
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
        specs = (finder.find_spec(".".join(parts[: depth + 1]), path) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None) if part.isidentifier() else None
        if spec is None or (depth + 1 < len(parts) and spec.submodule_search_locations is None):
            return name in sys.modules
        path = spec.submodule_search_locations
    return True


def load(source: Source) -> Implementation:
    """Import an implementation and read its declarations; what goes wrong stands in its `load_error`."""
    ours = settings()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Implementation = limited(IMPORT_TIMEOUT, lambda: declared(_inside(_import(source), source), source))
            return made
    except KeyboardInterrupt:
        raise
    except CaseTimeout:
        why = f"took more than {IMPORT_TIMEOUT:g} s to import"
    except SystemExit as error:
        why = f"tried to end the process on import: SystemExit({error.code!r})"
    except BaseException as error:
        why = _one_line(error)
    finally:
        apply(ours)
    return Implementation(None, source, source.name, load_error=why)


def _import(source: Source) -> Any:
    if source.kind == "reference":
        return reference()
    if source.kind == "file":
        return _import_file(Path(source.target))
    return importlib.import_module(f"transpec.impls.{source.target}" if source.kind == "bundled" else source.target)


def _import_file(path: Path) -> ModuleType:
    """The module in a file, which may import its neighbours as a script may, also later and from inside a function."""
    name = f"transpec_implementation_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a module up by its name
    folder = str(path.parent)
    _make_way(path.parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
        sys.path.append(folder)  # behind everything else, so that no neighbour stands in for a library of ours
    return module


_folders: set[Path] = set()


def _make_way(folder: Path) -> None:
    """Forget what other files imported from their folders and this folder has too: two may have a utils.py each."""
    own = {path.stem for path in folder.iterdir()}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__") if name.partition(".")[0] in own else None
        if file and not _folders.isdisjoint(set(Path(file).parents) - {folder}):
            del sys.modules[name]
    _folders.add(folder)


def _inside(target: Any, source: Source) -> Any:
    """The object that the user named after the colon."""
    for part in source.object.split(".") if source.object else ():
        if not hasattr(target, part):
            near = difflib.get_close_matches(part, dir(target), 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise AttributeError(f"{source.target} has no object {part!r}{meant}")
        target = getattr(target, part)
    return target


class reference:  # noqa: N801 - it stands where a module stands
    """The reference as an implementation: it is judged like any other."""

    FRAMEWORK, DIFFERENTIABLE, NAME = "torch", True, REFERENCE
    DTYPES = ("float64", "float32", "bfloat16", "float16")

    def __getattr__(self, name: str) -> Any:
        from transpec.operations import OPERATIONS

        importlib.import_module("transpec.reference")
        if name not in OPERATIONS:
            raise AttributeError(name)
        return OPERATIONS[name]


def declared(target: Any, source: Source) -> Implementation:
    """Read the declarations of an implementation. Raises TypeError or ValueError where they make no sense."""
    from transpec.operations import OPERATIONS

    importlib.import_module("transpec.reference")  # which fills them
    framework = _declared(target, "FRAMEWORK", str, "numpy")
    if framework not in FRAMEWORKS:
        raise ValueError(f"FRAMEWORK = {framework!r} is not known; known are {', '.join(FRAMEWORKS)}")
    dtypes = _declared(target, "DTYPES", (tuple, list), ("float64", "float32"))
    compute = _declared(target, "COMPUTE_DTYPE", (str, dict), None)
    by_operation = compute if isinstance(compute, dict) else {}
    unknown = [name for name in by_operation if name not in OPERATIONS]
    if unknown:
        raise ValueError(f"COMPUTE_DTYPE names {unknown[0]!r}, which is no operation")
    for dtype in (*dtypes, *(by_operation.values() if by_operation else [compute] if compute else [])):
        if not isinstance(dtype, str) or dtype not in FRAMEWORKS[framework].dtypes:
            known = ", ".join(FRAMEWORKS[framework].dtypes)
            raise ValueError(f"the dtype {dtype!r} is not known; with {framework} these are: {known}")
        FRAMEWORKS[framework].dtype(dtype)  # raises where a package is missing that has it
    if not dtypes:
        raise ValueError("DTYPES is empty: name at least one dtype, such as ('float32',)")
    choices = _declared(target, "CHOICES", dict, {})
    if not all(isinstance(word, str) for pair in choices.items() for word in pair):
        raise TypeError(f"CHOICES should map requirement ids to choices, both str, is {choices!r}")
    for operation in OPERATIONS:
        getattr(target, operation, None)  # what is made on demand and cannot be made says so here
    return Implementation(
        target=target,
        source=source,
        name=_declared(target, "NAME", str, source.name) or source.name,
        framework=FRAMEWORKS[framework],
        dtypes=tuple(dict.fromkeys(dtypes)),
        compute_dtype=compute,
        choices={_sayable(requirement): _sayable(choice) for requirement, choice in choices.items()},
        differentiable=_differentiable(target, tuple(OPERATIONS)),
        version=_declared(target, "VERSION", str, None),
        homepage=_declared(target, "HOMEPAGE", str, None),
    )


def _differentiable(target: Any, operations: tuple[str, ...]) -> bool | tuple[str, ...]:
    given = _declared(target, "DIFFERENTIABLE", (bool, tuple, list), False)
    if isinstance(given, bool):
        return given
    unknown = [name for name in given if name not in operations]
    if unknown:
        raise ValueError(
            f"DIFFERENTIABLE names {unknown[0]!r}, which is no operation; it is True, False or names of these"
        )
    return tuple(given)


def _declared(target: Any, name: str, kind: Any, default: Any) -> Any:
    value = getattr(target, name, default)
    if value is not default and not isinstance(value, kind):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise TypeError(f"{name} should be a {wanted}, is {value!r}")
    return _sayable(value) if isinstance(value, str) else value


# --- What an implementation can do instead of returning --------------------------------------------------------------


class Misbehaviour(Exception):
    """A call that gave no result to judge; `outcome` is the word for it in reports."""

    outcome = "errored"
    case: Any = None  # where it happened, if that is not the case under judgement but one of those drawn for it


class Raised(Misbehaviour):
    """The implementation raised."""


class Unsupported(Misbehaviour):
    """The implementation raised NotImplementedError: it does not support this case."""

    outcome = "unsupported"


class Crashed(Misbehaviour):
    """The implementation tried to end the process, or did."""

    outcome = "crashed"


class TimedOut(Misbehaviour):
    """The call did not end in time."""

    outcome = "timed out"


class WrongResult(AssertionError):
    """The result is no tensor, or not of the shape and dtype that the contract says."""


class CaseTimeout(BaseException):
    """Raised into a call that takes too long; no Exception, so that `except Exception` does not swallow it."""


def limited(seconds: float, call: Callable[[], Any]) -> Any:
    """Call, and end what takes longer: Python code by an exception, other code by ending the process.

    The second only where pytest-xdist runs this process, which then notes a crash and starts another.
    """
    here, running = sys._getframe(), True

    def stop(signum: int, frame: Any) -> None:
        # In this very frame the call has not begun or is over; an exception here would strike whatever comes next.
        if running and frame is not here:
            raise CaseTimeout

    alarmed = seconds > 0 and threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGALRM")
    watched = seconds > 0 and "PYTEST_XDIST_WORKER" in os.environ
    before = signal.signal(signal.SIGALRM, stop) if alarmed else None
    try:
        if watched:
            faulthandler.dump_traceback_later(2 * seconds + 1, exit=True, file=sys.__stderr__ or 2)
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)  # repeats, for code that catches everything and goes on
        return call()
    finally:
        running = False
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
        if watched:
            faulthandler.cancel_dump_traceback_later()


# --- The handle ------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Implementation:
    """An implementation under test: its declarations, and calls that return torch tensors or raise `Misbehaviour`."""

    target: Any
    source: Source
    name: str
    framework: Framework = FRAMEWORKS["numpy"]
    dtypes: tuple[str, ...] = ("float64", "float32")
    compute_dtype: str | dict[str, str] | None = None  # or by operation
    choices: dict[str, str] = field(default_factory=dict)
    differentiable: bool | tuple[str, ...] = False  # or the names of the operations whose gradients it has
    version: str | None = None
    homepage: str | None = None
    load_error: str | None = None
    case_timeout: float = 30.0
    warnings: list[str] = field(default_factory=list)
    comparisons: list[Any] = field(default_factory=list)  # what judgement found since the list was last cleared
    scores: list[dict[str, Any]] = field(default_factory=list)  # of runs, and their plots, for the report
    plots: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0  # spent in the implementation's own code
    settings: tuple[Any, ...] = field(default_factory=settings)  # of its libraries, as it likes them
    handed_backwards: bool = False

    def claims(self, operation: Operation[..., Any]) -> bool:
        """Whether it has the operation."""
        return self.target is not None and callable(getattr(self.target, operation.name, None))

    def differentiates(self, operation: Operation[..., Any]) -> bool:
        """Whether it declares gradients of the operation."""
        declared = self.differentiable
        return declared if isinstance(declared, bool) else operation.name in declared

    def computes_in(self, operation: Operation[..., Any]) -> str | None:
        """The dtype it computes an operation in, where it declares one."""
        declared = self.compute_dtype
        return declared.get(operation.name) if isinstance(declared, dict) else declared

    def claims_vjp(self, operation: Operation[..., Any]) -> bool:
        """Whether it brings the operation's vector-Jacobian product itself."""
        return self.target is not None and callable(getattr(self.target, f"{operation.name}_vjp", None))

    def choice(self, requirement: str) -> str | None:
        """What it declared for a requirement that allows several answers; None where the reference's answer holds."""
        return self.choices.get(requirement)

    def near_misses(self) -> dict[str, str]:
        """Public attributes that look like misspelt operations, and what they look like."""
        from transpec.operations import OPERATIONS

        listed = [] if self.target is None else [name for name in dir(self.target) if not name.startswith("_")]
        missing = [name for name, operation in OPERATIONS.items() if not self.claims(operation)]
        wanted = {spelt: spelt for name in missing for spelt in (name, f"{name}_vjp")}
        misses = {}
        for name in listed:
            if name in OPERATIONS or name in wanted or name.isupper():
                continue
            near = difflib.get_close_matches(name.lower(), wanted, 1, cutoff=0.9)
            if near and callable(getattr(self.target, name, None)):
                misses[name] = near[0]
        return misses

    def call(self, case: Case) -> Tensor:
        """The result of a case's operation on copies of its inputs, as a torch tensor."""
        return self.call_watched(case)[0]

    def call_watched(self, case: Case) -> tuple[Tensor, Case]:
        """The result, and the inputs as the call left them."""
        given = case.copied()
        positional, options = given.arguments(self._convert, self._dtype(case))
        result = self.run(case.operation.name, positional, options)
        return self._checked(self._numbered(result, case), f"{case.operation.name} returned"), given

    def call_again(self, case: Case, other: Case, *, anew: bool = False) -> Tensor:
        """The result for `other`, whose numbers are written into the very objects of a call with `case`.

        What is kept by the identity or the address of an array gives itself away. With `anew` they are other objects
        that lie where the first ones lay, as those of a loop often do: torch counts no version on from one to the other.
        Both calls are of the same shapes; an array whose numbers are the same in both is not written to.
        """
        import torch

        def given_to_it() -> tuple[list[Any], dict[str, Any]]:
            given = held.map(_another_on_its_memory) if anew and self.framework.shares_memory else held
            return given.arguments(self._convert, self._dtype(case))

        held = case.copied()
        positional, options = given_to_it()
        self.run(case.operation.name, positional, options)
        if self.framework.shares_memory:
            for old, new in held.beside(other):
                if not torch.equal(old, new):
                    old.copy_(new)
            if anew:
                positional, options = given_to_it()
            _, named = other.arguments(self._convert, self._dtype(other))
            same = [name for name, value in other.options.items() if isinstance(value, torch.Tensor)]
            options = {**named, **{name: options[name] for name in same}}
        else:
            positional, options = other.copied().arguments(self._convert, self._dtype(other))
        result = self.run(case.operation.name, positional, options)
        return self._checked(self._numbered(result, case), f"{case.operation.name} returned")

    def keep(self, case: Case) -> Callable[[], Tensor]:
        """The result of a call, to be read again after others: it is the implementation's own tensor, not a copy."""
        positional, options = case.copied().arguments(self._convert, self._dtype(case))
        result = self.run(case.operation.name, positional, options)
        return lambda: self._checked(self._numbered(result, case), f"{case.operation.name} returned")

    def gradients(self, case: Case, cotangent: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The vector-Jacobian product of a case's operation for every floating input and weight, by name.

        Before it the result that was differentiated, where there is one: it may come by another path than `call`.
        """
        return self.gradients_watched(case, cotangent)[:2]

    def gradients_watched(
        self, case: Case, cotangent: Tensor, of: Sequence[str] = (), meanwhile: Case | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor], Case, Tensor]:
        """The same, and the inputs and the cotangent as the call and the way back left them.

        Asked for are the gradients of the names in `of`, if there are any, and of nothing else; the operation is called
        for `meanwhile` too before the way back. What brings its own vector-Jacobian product is asked for all at once.
        """
        from transpec.cases import copy

        name = f"{case.operation.name}_vjp"
        given, handed = case.copied(), copy(cotangent)
        leaves = given.differentiable()
        positional, options = given.arguments(self._convert, self._dtype(case))
        if self.claims_vjp(case.operation):
            result = self.run(name, [*positional, self._convert(handed)], options)
            return None, self._named_gradients(result, leaves, name, given), given, handed
        leaves = {name: tensor for name, tensor in leaves.items() if not of or name in of}
        inputs = [self._convert(tensor) for tensor in leaves.values()]
        other = meanwhile and meanwhile.copied().arguments(self._convert, self._dtype(case))

        def call() -> Any:
            function = getattr(self.target, case.operation.name)
            result = function(*positional, **options)
            if other:
                function(*other[0], **other[1])
            return result

        def differentiate() -> Any:
            try:
                return self.framework.vjp(call, inputs, self._convert(handed), whole=not of)
            except NoTensor as error:
                wanted = self.framework.tensor_type
                raise WrongResult(f"{case.operation.name} returned a {error}, should be a {wanted}") from None

        result, found = self._guarded(differentiate, case.operation.name)
        named = zip(leaves, found, strict=True)
        gradients = {name: self._checked(value, f"the gradient of {name} is") for name, value in named}
        return self._checked(result, f"{case.operation.name} returned"), gradients, given, handed

    def _named_gradients(self, result: Any, leaves: dict[str, Tensor], name: str, case: Case) -> dict[str, Tensor]:
        wanted = len(case.tensors) + (case.weights is not None)
        if not isinstance(result, tuple | list) or len(result) != wanted:
            given = f"a {type(result).__name__}" + (f" of {len(result)}" if isinstance(result, tuple | list) else "")
            raise WrongResult(f"{name} returned {given}, should return a tuple of {wanted} gradients in argument order")
        named = dict(zip(case.operation.tensors, result, strict=False))
        if case.weights is not None:
            if not isinstance(result[-1], dict):
                given = type(result[-1]).__name__
                raise WrongResult(f"{name} should end in a dict of the weights' gradients, ends in a {given}")
            named |= {f"weights[{weight!r}]": value for weight, value in result[-1].items()}
        missing = [leaf for leaf in leaves if leaf not in named]
        if missing:
            raise WrongResult(f"{name} returned no gradient for {', '.join(missing)}")
        checked = {leaf: self._checked(named[leaf], f"the gradient of {leaf} is") for leaf in leaves}
        # A tensor that is given twice has one gradient, the sum over its places.
        alike = {leaf: [other for other in leaves if leaves[other] is leaves[leaf]] for leaf in leaves}
        if any(checked[other].shape != checked[leaf].shape for leaf, others in alike.items() for other in others):
            raise WrongResult(f"{name} returned gradients of unlike shapes for one tensor that is given twice")
        return {leaf: reduce(operator.add, (checked[other] for other in others)) for leaf, others in alike.items()}

    def _dtype(self, case: Case) -> Any:
        return self.framework.dtype(case.dtype) if case.dtype in self.framework.dtypes else None

    def _convert(self, value: Any) -> Any:
        import torch

        if not isinstance(value, torch.Tensor):
            return value
        made = self.framework.to(value)
        return self.framework.backwards(made) if self.handed_backwards else made

    @contextlib.contextmanager
    def handing_over_backwards(self) -> Iterator[None]:
        """Every array is handed over as a view that runs against its memory, where the framework has such views."""
        self.handed_backwards = True
        try:
            yield
        finally:
            self.handed_backwards = False

    @contextlib.contextmanager
    def with_default_dtype(self, dtype: Any) -> Iterator[None]:
        """Calls find another default dtype of torch than the implementation has set, or left as it is."""
        before = self.settings
        self.settings = (dtype, *before[1:])
        try:
            yield
        finally:
            self.settings = before

    def _numbered(self, value: Any, case: Case) -> Any:
        """A plain number, or a scalar of numpy, as the array without axes that it stands for.

        Only of an operation that is told its dtype and has no floating input, as metrics of counts: there a number alone
        leaves nothing open. An array has to have the dtype that was asked for.
        """
        import numpy
        import torch

        from transpec.cases import DTYPE

        is_number = isinstance(value, int | float | numpy.integer | numpy.floating) and not isinstance(value, bool)
        if not is_number or DTYPE not in case.options.values() or case.differentiable():
            return value
        with contextlib.suppress(OverflowError):  # of an int that no float can hold
            return self.framework.to(torch.tensor(float(value), dtype=getattr(torch, case.dtype)))
        return value

    def _checked(self, value: Any, what: str) -> Tensor:
        try:
            return self.framework.back(value)
        except Exception as error:  # a tensor may be of a kind that not even its own library can read
            unread = f"{type(value).__qualname__} that cannot be read ({_one_line(error)})"
            given = error if isinstance(error, TypeError) else unread
            raise WrongResult(f"{what} a {given}, should be a {self.framework.tensor_type}") from None

    def run(self, name: str, positional: list[Any], options: dict[str, Any]) -> Any:
        """What the implementation's function returns for values of its own framework; its errors are Misbehaviour."""

        def call() -> Any:
            function = getattr(self.target, name)
            try:
                return function(*positional, **options)
            except TypeError as error:
                hint = _signature_hint(function, name, positional, options)
                if hint is None:
                    raise
                raise TypeError(hint) from error

        return self._guarded(call, name)

    def _guarded(self, call: Any, name: str) -> Any:
        import time

        begun, ours = time.perf_counter(), settings()
        apply(self.settings)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                return limited(self.case_timeout, call)
        except NotImplementedError as error:
            raise Unsupported(_short(error) or "NotImplementedError without a reason") from error
        except CaseTimeout:
            raise TimedOut(f"{name} did not return within {self.case_timeout:g} s") from None
        except SystemExit as error:
            raise Crashed(f"{name} tried to end the process: SystemExit({error.code!r})") from error
        except (KeyboardInterrupt, WrongResult):
            raise
        except BaseException as error:
            raise Raised(_one_line(error)) from error
        finally:
            self.settings = settings()
            apply(ours)
            self.seconds += time.perf_counter() - begun
            self.warnings += [f"{w.category.__name__}: {_short(w.message)}" for w in caught]


def _another_on_its_memory(value: Any) -> Any:
    """Another tensor that lies where the given one does; other values pass through."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    made = torch.empty(0, dtype=value.dtype)
    return made.set_(value.untyped_storage(), value.storage_offset(), value.shape, value.stride())


def _signature_hint(function: Any, name: str, positional: list[Any], options: dict[str, Any]) -> str | None:
    """What is wrong with a signature, if the call does not even bind to it."""
    from transpec.operations import OPERATIONS

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*positional, **options)
    except TypeError as error:
        contract = OPERATIONS.get(name)
        wanted = f"{name}({', '.join(_plain(contract.signature))})" if contract else f"{name} in argument order"
        return f"wrong signature: {error}; the contract is {wanted}, yours is {name}({', '.join(_plain(signature))})"
    return None


def _plain(signature: inspect.Signature) -> Iterator[str]:
    starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            yield "*"
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = 2 * (parameter.kind is parameter.VAR_KEYWORD) + (parameter.kind is parameter.VAR_POSITIONAL)
        default = "" if parameter.default is parameter.empty else f"={parameter.default}"
        yield f"{'*' * stars}{parameter.name}{default}"


def _one_line(error: BaseException) -> str:
    """The exception, shortened, and the innermost line of the user's code that raised it."""
    ours = {__file__, importlib.__file__}
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if not frame.filename.startswith("<frozen") and frame.filename not in ours]
    where = f" ({Path(outside[-1].filename).name}, line {outside[-1].lineno})" if outside else ""
    text = _short(error)
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def _short(message: object) -> str:
    """What an exception or a warning says, on one line and not at any length."""
    try:
        text = " ".join(str(message).split())
    except Exception as error:
        text = f"no message, for that raises {type(error).__name__}"
    return _sayable(text[:LONGEST]) + ("…" if len(text) > LONGEST else "")


def _sayable(text: str) -> str:
    """A plain str that gets through to the process that writes the report: half a surrogate pair, for one, would not."""
    return text.encode("utf-8", "backslashreplace").decode()


__all__ = ["GROUP", "Implementation", "Misbehaviour", "ModuleType", "Source", "UsageError", "bundled", "find", "load"]
