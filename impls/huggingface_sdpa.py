"""Hugging Face transformers with torch's fused attention: the object `sdpa` of huggingface.py, under a name of its own."""

from typing import Any

from transpec.impls.huggingface import sdpa


def __getattr__(name: str) -> Any:
    return getattr(sdpa, name)
