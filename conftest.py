"""Loads the plugin in a clone that is not installed, and refuses to judge by code that is not this clone's."""

from pathlib import Path

import transpec

pytest_plugins = ["transpec.plugin"]

if Path(transpec.__file__).resolve().parent.parent != Path(__file__).resolve().parent:
    raise RuntimeError(
        f"transpec is imported from {Path(transpec.__file__).parent}, not from this clone: "
        "run `pip install -e .` here, or pytest from the clone's root with `python -m pytest`"
    )
