"""Loads the plugin in a clone that is not installed, and refuses to judge by code that is not this clone's."""

from pathlib import Path

import pytest

import transpec

if Path(transpec.__file__).resolve().parent.parent != Path(__file__).resolve().parent:
    raise RuntimeError(
        f"transpec is imported from {Path(transpec.__file__).parent}, not from this clone: "
        "run `pip install -e .` here, or pytest from the clone's root with `python -m pytest`"
    )


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Load the plugin, if it is not loaded already because it is installed.

    Not by `pytest_plugins`, which pytest refuses where another project's run is led to the requirements of this clone.
    """
    pluginmanager.import_plugin("transpec.plugin")
