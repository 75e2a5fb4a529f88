"""Doors: how what stands after --impl is found, what is refused, and what an implementation may not declare."""

import importlib.metadata
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from support import write

from transpec import implementations
from transpec.implementations import Implementation, Source, UsageError, declared, find, load

GOOD = "def look_ahead_mask(length):\n    return length\n"


def loaded(folder: Path, code: str, inside: str = "") -> Implementation:
    """The implementation in a file with this code."""
    return load(find(write(folder, "mine.py", code) + inside))


def refusal(given: str) -> str:
    """What is said of an implementation that cannot be found."""
    with pytest.raises(UsageError) as refused:
        find(given)
    return str(refused.value)


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, whatever is imported from it being forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    monkeypatch.setattr(implementations, "_folders", set())
    return tmp_path


@pytest.fixture
def entry_point(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes an entry point as an installed package would bring it."""

    def make(name: str, value: str) -> None:
        point = importlib.metadata.EntryPoint(name, value, implementations.GROUP)
        monkeypatch.setattr(implementations.importlib.metadata, "entry_points", lambda group: [point])

    return make


# --- What opens ------------------------------------------------------------------------------------------------------


def test_a_file_is_found_by_its_path(at_home):
    """A file is found by a relative path, and its name is that of the implementation."""
    write(at_home, "mine.py", GOOD)
    assert find("mine.py") == Source("mine.py", "file", str(at_home / "mine.py"))
    assert load(find("mine.py")).name == "mine"


def test_an_object_in_a_file(at_home):
    """After a colon stands the object, also one inside another."""
    made = loaded(at_home, "class A:\n    class B:\n        look_ahead_mask = staticmethod(abs)\n", ":A.B")
    assert made.load_error is None
    assert made.target.look_ahead_mask is abs
    assert made.name == "mine:A.B"


def test_a_file_whose_name_has_a_colon(at_home):
    """A path that exists as it stands is a file, whatever is in it."""
    write(at_home, "a:b.py", GOOD)
    assert find("a:b.py").object == ""


def test_a_file_of_another_ending(at_home):
    """A file that does not end in .py and cannot be imported is a load error, not a crash."""
    assert "is not a Python file" in (load(find(write(at_home, "mine.txt", GOOD))).load_error or "")


def test_a_dotted_name_with_an_object():
    """A module is found by its dotted name, with an object in it if wanted."""
    assert find("os.path") == Source("os.path", "module", "os.path")
    assert load(find("collections:abc.Mapping")).load_error is None


def test_a_module_where_the_user_stands(at_home):
    """A package in the working directory is found by its dotted name, as `python -m` would find it."""
    write(at_home, "my_package_at_home/kernel.py", GOOD)
    write(at_home, "my_package_at_home/__init__.py", "")
    assert load(find("my_package_at_home.kernel")).load_error is None


def test_nothing_is_imported_to_find_a_module(at_home):
    """A dotted name is found without running the packages on its way."""
    write(at_home, "hostile_package_at_home/__init__.py", "raise SystemExit(3)")
    write(at_home, "hostile_package_at_home/kernel.py", GOOD)
    source = find("hostile_package_at_home.kernel")
    assert (source.kind, "hostile_package_at_home" in sys.modules) == ("module", False)
    assert "tried to end the process on import: SystemExit(3)" in (load(source).load_error or "")


def test_an_entry_point(at_home, entry_point):
    """An installed implementation is found by the name of its entry point, and is called so."""
    entry_point("their_kernel", "collections:abc")
    source = find("their_kernel")
    assert source == Source("their_kernel", "entry point", "collections", "abc")
    assert load(source).name == "their_kernel"


def test_an_object_in_an_entry_point(entry_point):
    """What stands after the colon is looked for inside what the entry point names."""
    entry_point("their_kernel", "collections:abc")
    assert find("their_kernel:Mapping").object == "abc.Mapping"


def test_a_bundled_name():
    """The implementations of impls/ are found by their bare names."""
    assert find("numpy_plain") == Source("numpy_plain", "bundled", "numpy_plain")
    assert "numpy_plain" in implementations.bundled()


def test_the_reference():
    """The reference is an implementation like others."""
    assert load(find("reference")).differentiable


def test_a_file_comes_first(at_home, entry_point):
    """A file goes before an entry point of that name."""
    write(at_home, "numpy_plain", GOOD)
    entry_point("numpy_plain", "collections")
    assert find("numpy_plain").kind == "file"


def test_an_entry_point_comes_before_impls(at_home, entry_point):
    """An entry point goes before a name in impls/."""
    entry_point("numpy_plain", "collections")
    assert find("numpy_plain").kind == "entry point"


def test_impls_come_before_modules(at_home):
    """A name in impls/ goes before a module of that name."""
    write(at_home, "numpy_plain/__init__.py", GOOD)
    assert find("numpy_plain").kind == "bundled"


# --- What does not open ----------------------------------------------------------------------------------------------


def test_an_unknown_name_lists_the_known_ones():
    """Of an unknown name the error says what is known, what is near, and what else could be given."""
    said = refusal("numpy_plian")
    assert "Did you mean numpy_plain?" in said
    assert {"reference", "numpy_plain", "torch_functional"} <= set(re.split(r"\W+", said))
    assert "path/to/file.py" in said


def test_a_missing_file_says_where_it_was_looked_for(at_home):
    """Of a file that is not there the error names the folder it was looked for in."""
    assert f"there is no file nowhere.py in {at_home}" in refusal("nowhere.py")


@pytest.mark.parametrize(
    "given", ["", ":", ".", "..", "a..b", "no such", "exec:node x.mjs", "x" * 5000, "os.path.x", "\0"]
)
def test_nonsense_is_refused(given):
    """Whatever is given, the answer is a usage error and no trace."""
    assert refusal(given).startswith(f"--impl {given}")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import missing_package_of_nobody", "ModuleNotFoundError: No module named 'missing_package_of_nobody'"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("1 / 0", "ZeroDivisionError: division by zero (mine.py, line 1)"),
        ("import sys; sys.exit('bye')", "tried to end the process on import: SystemExit('bye')"),
        ("class E(BaseException): pass\nraise E('x')", "E: x (mine.py, line 2)"),
        ("FRAMEWORK = 'tensorflow'", "FRAMEWORK = 'tensorflow' is not known; known are numpy, torch"),
        ("FRAMEWORK = 3", "FRAMEWORK should be a str, is 3"),
        ("DTYPES = ()", "DTYPES is empty"),
        ("DTYPES = 'float32'", "DTYPES should be a tuple or list, is 'float32'"),
        ("DTYPES = ('float8',)", "the dtype 'float8' is not known; with numpy these are: float64"),
        ("import numpy\nDTYPES = (numpy.dtype('float32'),)", "the dtype dtype('float32') is not known"),
        ("COMPUTE_DTYPE = 'int8'", "the dtype 'int8' is not known"),
        ("CHOICES = {'attention.empty-row': object}", "CHOICES should map requirement ids to choices"),
        ("CHOICES = []", "CHOICES should be a dict, is []"),
        ("DIFFERENTIABLE = 'yes'", "DIFFERENTIABLE should be a bool or tuple or list, is 'yes'"),
        ("VERSION = 3", "VERSION should be a str, is 3"),
        ("def __getattr__(name): raise OSError(name)", "OSError: FRAMEWORK (mine.py, line 1)"),
        ("raise ValueError('\\ud800' * 3 + 'x' * 10_000)", "ValueError: \\ud800\\ud800\\ud800xxx"),
        ("class E(Exception):\n def __str__(self): 1 / 0\nraise E", "E: no message, for that raises ZeroDivisionError"),
    ],
)
def test_a_broken_module_is_a_load_error(at_home, code, said):
    """What goes wrong on import, or is declared wrongly, is told with its place and claims nothing."""
    made = loaded(at_home, code)
    assert said in (made.load_error or "")
    assert made.near_misses() == {}


def test_a_load_error_is_short(at_home):
    """However long a message is, the load error stays readable."""
    assert len(loaded(at_home, "raise ValueError('x' * 10_000)").load_error or "") < 600


def test_an_object_that_is_not_there(at_home):
    """Of an object that a file lacks the error says what is near."""
    assert "has no object 'kernal'; did you mean kernel?" in (loaded(at_home, "kernel = 1", ":kernal").load_error or "")


def test_an_import_that_does_not_end(at_home, monkeypatch):
    """An import that takes too long is ended and told."""
    monkeypatch.setattr(implementations, "IMPORT_TIMEOUT", 0.2)
    assert loaded(at_home, "while True: pass").load_error == "took more than 0.2 s to import"


def test_a_package_that_a_dtype_needs(monkeypatch):
    """bfloat16 in numpy without ml_dtypes is a load error that names the package."""
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="ml_dtypes"):
        declared(SimpleNamespace(DTYPES=("bfloat16",)), Source("made", "file", "made.py"))


def test_warnings_of_an_import_are_no_errors(at_home):
    """A module that warns when it is imported is judged like others."""
    assert loaded(at_home, "import warnings; warnings.warn('old')").load_error is None


# --- Neighbours and settings -----------------------------------------------------------------------------------------


def test_a_file_imports_its_neighbours(at_home):
    """A file may import a file beside it, at the top and later from inside a function."""
    write(at_home, "neighbour_at_home.py", "SIZE = 3")
    write(at_home, "late_neighbour_at_home.py", "SIZE = 4")
    code = """
    from neighbour_at_home import SIZE
    def look_ahead_mask(length):
        import late_neighbour_at_home
        return SIZE, late_neighbour_at_home.SIZE
    """
    assert loaded(at_home, code).target.look_ahead_mask(1) == (3, 4)


def test_neighbours_of_the_same_name(at_home):
    """Two files that each have a neighbour of the same name get their own."""
    for who in ("alice", "bob"):
        write(at_home, f"{who}/utils_at_home.py", f"WHO = '{who}'")
        write(at_home, f"{who}/mine.py", "from utils_at_home import WHO")
    found = [load(find(f"{who}/mine.py")).target.WHO for who in ("alice", "bob")]
    assert found == ["alice", "bob"]


def test_a_neighbour_hides_no_library(at_home):
    """A neighbour that is called like a library stands in for it nowhere but in the file's own import."""
    write(at_home, "jsonschema.py", "raise RuntimeError")
    assert loaded(at_home, GOOD).load_error is None
    assert sys.path[0] != str(at_home)


def test_two_files_of_one_name(at_home):
    """Two files of the same name are two modules."""
    first = load(find(write(at_home, "a/mine.py", "class A: pass")))
    second = load(find(write(at_home, "b/mine.py", "class B: pass")))
    assert sys.modules[first.target.A.__module__] is first.target
    assert sys.modules[second.target.B.__module__] is second.target


def test_settings_of_one_implementation_do_not_bind_others(at_home):
    """What an import sets for the whole process holds in its own calls and nowhere else."""
    code = """
    import numpy, torch
    torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False); numpy.seterr(all="raise")
    def now(): return torch.get_default_dtype(), torch.is_grad_enabled(), numpy.geterr()["over"]
    """
    made = loaded(at_home, code)
    assert made.run("now", [], {}) == (torch.float64, False, "raise")
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
    assert numpy.geterr()["over"] == "warn"


def test_declared_text_can_be_reported():
    """What no report could carry is spelt out in what an implementation says of itself."""
    given = SimpleNamespace(NAME="\ud800", CHOICES={"a": "\udfff"})
    made = declared(given, Source("made", "module", "made"))
    assert (made.name, made.choices) == ("\\ud800", {"a": "\\udfff"})


# --- Claims ----------------------------------------------------------------------------------------------------------


def test_what_is_declared_is_kept():
    """Declarations are read as they stand; a dtype that is named twice counts once."""
    given = SimpleNamespace(FRAMEWORK="torch", DTYPES=["bfloat16", "bfloat16"], VERSION=torch.__version__, NAME="")
    made = declared(given, Source("made", "module", "made"))
    assert (made.name, made.dtypes, type(made.version)) == ("made", ("bfloat16",), str)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("scaled_dot_product_atention", {"scaled_dot_product_attention"}),
        ("layer_nrom", {"layer_norm"}),
        ("Layer_Norm", {"layer_norm"}),
        ("layernorm", {"layer_norm"}),
        ("layer_norm_vpj", {"layer_norm_vjp"}),
        ("softmax", set()),
        ("_layer_nrom", set()),
        ("LAYER_NROM", set()),
    ],
)
def test_near_misses(name, meant):
    """A public callable with nearly the name of an operation is pointed out, and nothing else is."""
    made = declared(SimpleNamespace(**{name: abs}), Source("made", "module", "made"))
    assert set(made.near_misses().values()) == meant


def test_a_near_miss_beside_the_real_thing():
    """A helper with nearly the name of an operation that is there too is no miss."""
    made = declared(SimpleNamespace(layer_norm=abs, layer_norm_=abs), Source("made", "module", "made"))
    assert made.near_misses() == {}


def test_looking_for_near_misses_warns_nobody(at_home):
    """Attributes that warn when they are looked at are looked at only where their name is near."""
    code = "import warnings\ndef __dir__(): return ['old']\ndef __getattr__(n): warnings.warn(n)\n"
    made = loaded(at_home, code)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made.near_misses() == {}


def test_what_is_no_callable_is_not_claimed():
    """An attribute that cannot be called claims nothing."""
    made = declared(SimpleNamespace(layer_norm=3), Source("made", "module", "made"))
    assert not made.claims(SimpleNamespace(name="layer_norm"))
