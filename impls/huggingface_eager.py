"""Hugging Face transformers with attention in matrix products: the object `eager` of huggingface.py, under a name of its own."""

from typing import Any

from transpec.impls.huggingface import eager


def __getattr__(name: str) -> Any:
    return getattr(eager, name)
