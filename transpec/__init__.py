"""transpec: the executable specification of the Transformer, and the suite that judges implementations by it."""

from pathlib import Path

__version__ = "0.1.0"

# In an installed package reference/, spec_tests/, faults/ and impls/ lie inside this one; in a clone they lie beside it,
# where a reader looks for them. The clone's root on `__path__` lets `transpec.reference` mean the same in both.
_root = Path(__file__).resolve().parent.parent
if not (Path(__file__).resolve().parent / "reference").is_dir() and (_root / "reference").is_dir():
    __path__.append(str(_root))
