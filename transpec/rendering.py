"""Rendering: a case as a call that a person can read, and as a snippet that reproduces it without transpec's tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from transpec.cases import DTYPE, EXACT, Case
from transpec.implementations import Implementation

READABLE = 24  # numbers in a call that are written out; a larger one is told by shapes and dtypes
PRINTABLE = 4000  # numbers that a snippet is willing to hold


def call_of(case: Case) -> str:
    """`operation(query=[[1., 0.]], …)`: numbers where there are few, else shapes and dtypes; layouts where unusual."""
    written_out = case.size <= READABLE
    names = list(case.operation.tensors)
    if len(names) != len(case.tensors):
        names = [f"{names[0]}[{place}]" for place in range(len(case.tensors))]
    parts = [f"{name}={_value(value, written_out)}" for name, value in zip(names, case.tensors, strict=True)]
    if case.weights is not None:
        inside = ", ".join(f"{name}={_value(value, written_out)}" for name, value in case.weights.items())
        parts.append(f"weights=({inside})")
    parts += [f"{name}={case.dtype if value is DTYPE else _value(value, written_out)}" for name, value in case.options.items()]
    dtype = f"  # {case.dtype}" if written_out and case.dtype not in ("", EXACT) else ""
    return f"{case.operation.name}({', '.join(parts)}){dtype}"


def _value(value: Any, written_out: bool) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    layout = "" if value.is_contiguous() else f" strides {list(value.stride())}"
    if written_out:
        return f"{_numbers(value)}{layout}"
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{layout}"


def _numbers(value: Tensor) -> str:
    if value.dim():
        return f"[{', '.join(_numbers(part) for part in value)}]"
    number = value.item()
    return f"{number:.6g}".replace("e+0", "e") if isinstance(number, float) else repr(number)


def snippet_of(case: Case, implementation: Implementation) -> str:
    """Python to paste: the inputs in full, the call, and the shape and values of what comes back."""
    if case.size > PRINTABLE:
        return ""
    framework = implementation.framework.name
    lines = ["import numpy" if framework == "numpy" else "import torch", "from math import inf, nan", _import(implementation), ""]
    names = list(case.operation.tensors)
    if len(names) != len(case.tensors):
        names = [f"{names[0]}_{place}" for place in range(len(case.tensors))]
    lines += [f"{name} = {_literal(value, framework)}" for name, value in zip(names, case.tensors, strict=True)]
    arguments = list(names)
    if case.weights is not None:
        lines.append("weights = {")
        lines += [f"    {name!r}: {_literal(value, framework)}," for name, value in case.weights.items()]
        lines.append("}")
        arguments.append("weights")
    for name, value in case.options.items():
        lines.append(f"{name} = {_dtype(case.dtype, framework) if value is DTYPE else _literal(value, framework)}")
        arguments.append(f"{name}={name}")
    call = f"{case.operation.name}({', '.join(arguments)})"
    found = f'implementation["{case.operation.name}"]' if _is_plain_file(implementation) else f"implementation.{case.operation.name}"
    return "\n".join([*lines, f"print({found}({call.partition('(')[2][:-1]}))"])


def _is_plain_file(implementation: Implementation) -> bool:
    return implementation.source.kind == "file" and not implementation.source.object


def _import(implementation: Implementation) -> str:
    source = implementation.source
    if source.kind == "file":
        loaded = f"__import__('runpy').run_path({source.target!r})"
        first, _, rest = source.object.partition(".")
        return f"implementation = {loaded}" + (f"[{first!r}]{'.' + rest if rest else ''}" if first else "")
    module = {"bundled": f"transpec.impls.{source.target}", "reference": "transpec"}.get(source.kind, source.target)
    if source.object:
        return f"from {module} import {source.object.partition('.')[0]}\nimplementation = {source.object}"
    if source.kind == "reference":
        return "from transpec.implementations import reference\nimplementation = reference()"
    return f"import {module} as implementation"


def _literal(value: Any, framework: str) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    numbers = value.tolist() if value.dtype != torch.bfloat16 else value.to(torch.float32).tolist()
    name = str(value.dtype).removeprefix("torch.")
    contiguous = f"{'torch.tensor' if framework == 'torch' else 'numpy.array'}({numbers!r}, dtype={_dtype(name, framework)})"
    if value.is_contiguous() or value.numel() == 0:
        return contiguous if value.numel() else contiguous + f".reshape({tuple(value.shape)})"
    return f"{contiguous}  # strides {list(value.stride())} in the case"


def _dtype(name: str, framework: str) -> str:
    if framework == "torch":
        return f"torch.{name}"
    return "'bool'" if name == "bool" else repr(name)
