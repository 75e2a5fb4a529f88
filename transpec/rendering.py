"""Rendering: a case as a call that a person can read, and as a snippet that reproduces it without transpec's tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transpec.cases import DTYPE, EXACT, Case
from transpec.implementations import Implementation
from transpec.judgement import cotangent

READABLE = 24  # numbers in a call that are written out; a larger one is told by shapes and dtypes
PRINTABLE = 4000  # numbers that a snippet is willing to hold


def call_of(case: Case) -> str:
    """`operation(query=[[1., 0.]], …)`: numbers where there are few, else shapes and dtypes; layouts where unusual."""
    written_out = case.size <= READABLE
    names = list(case.operation.tensors)
    if len(names) != len(case.tensors):
        names = [f"{names[0]}[{place}]" for place in range(len(case.tensors))]
    first = _first_places(names, case.tensors)
    parts = [
        f"{name}={_value(value, written_out) if first[name] == name else first[name]}"
        for name, value in zip(names, case.tensors, strict=True)
    ]
    if case.weights is not None:
        inside = ", ".join(f"{name}={_value(value, written_out)}" for name, value in case.weights.items())
        parts.append(f"weights=({inside})")
    if case.config is not None:
        parts.append(f"config={case.config!r}")
    parts += [
        f"{name}={case.dtype if value is DTYPE else _value(value, written_out)}" for name, value in case.options.items()
    ]
    dtype = f"  # {case.dtype}" if written_out and case.dtype not in ("", EXACT) else ""
    return f"{case.operation.name}({', '.join(parts)}){dtype}"


def _first_places(names: Iterable[str], values: Iterable[Any]) -> dict[str, str]:
    """By name the first name of the same tensor: one that is given twice is one object in a snippet too."""
    first: dict[int, str] = {}
    pairs = zip(names, values, strict=True)
    return {name: first.setdefault(id(value), name) if isinstance(value, Tensor) else name for name, value in pairs}


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


def snippet_of(case: Case, implementation: Implementation, *, gradients: bool = False) -> str:
    """Python to paste: the inputs in full, the call, and what comes back, or its gradients for a fixed cotangent."""
    if case.size > PRINTABLE:
        return ""
    framework = implementation.framework.name
    names = list(case.operation.tensors)
    if len(names) != len(case.tensors):
        names = [f"{names[0]}_{place}" for place in range(len(case.tensors))]
    first = _first_places(names, case.tensors)
    lines = [
        f"{name} = {_literal(value, framework) if first[name] == name else first[name]}"
        for name, value in zip(names, case.tensors, strict=True)
    ]
    arguments, options = list(names), []
    if case.weights is not None:
        own = _first_places(case.weights, case.weights.values())
        lines.append("weights = {")
        lines += [f"    {name!r}: {_literal(value, framework)}," for name, value in case.weights.items()]
        lines.append("}")
        lines += [f"weights[{name!r}] = weights[{own[name]!r}]" for name in case.weights if own[name] != name]
        arguments.append("weights")
    if case.config is not None:
        lines.append(f"config = {case.config!r}")
        arguments.append("config")
    for name, value in case.options.items():
        given = _dtype(case.dtype, framework) if value is DTYPE else _literal(value, framework)
        lines.append(f"{name} = {given}")
        options.append(f"{name}={name}")
    operation = case.operation.name
    if not gradients:
        lines.append(f"print({_attribute(implementation, operation)}({', '.join([*arguments, *options])}))")
    elif implementation.claims_vjp(case.operation):
        lines.append(f"cotangent = {_literal(cotangent(case), framework)}")
        call = ", ".join([*arguments, "cotangent", *options])
        lines.append(f"print({_attribute(implementation, f'{operation}_vjp')}({call}))")
    else:
        leaves = list(case.differentiable())
        lines.append(f"cotangent = {_literal(cotangent(case), framework)}")
        lines.append(f"leaves = [{', '.join(f'{leaf}.requires_grad_()' for leaf in leaves)}]")
        lines.append(f"result = {_attribute(implementation, operation)}({', '.join([*arguments, *options])})")
        lines.append("print(torch.autograd.grad(result, leaves, cotangent, allow_unused=True))")
    return "\n".join([*_imports(case, implementation), "", *lines])


def _imports(case: Case, implementation: Implementation) -> list[str]:
    framework, source = implementation.framework.name, implementation.source
    lines = [f"import {framework}", "from math import inf, nan"]
    if case.config is not None:
        lines.append(f"from {type(case.config).__module__} import {type(case.config).__name__}")
    if (framework, case.dtype) == ("numpy", "bfloat16"):
        lines.insert(1, "import ml_dtypes  # gives numpy its bfloat16")
    if source.kind == "file":
        first, _, rest = source.object.partition(".")
        inside = (f"[{first!r}]" if first else "") + (f".{rest}" if rest else "")
        lines += ["import runpy, sys", f"sys.path.insert(0, {str(Path(source.target).parent)!r})"]
        return [*lines, f"implementation = runpy.run_path({source.target!r}){inside}"]
    if source.kind == "reference":
        return [*lines, "from transpec.implementations import reference", "implementation = reference()"]
    module = f"transpec.impls.{source.target}" if source.kind == "bundled" else source.target
    if source.object:
        return [*lines, f"from {module} import {source.object.partition('.')[0]}", f"implementation = {source.object}"]
    return [*lines, f"import {module} as implementation"]


def _attribute(implementation: Implementation, name: str) -> str:
    is_dict = implementation.source.kind == "file" and not implementation.source.object
    return f'implementation["{name}"]' if is_dict else f"implementation.{name}"


def _literal(value: Any, framework: str) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    numbers = value.tolist() if value.dtype != torch.bfloat16 else value.to(torch.float32).tolist()
    name = str(value.dtype).removeprefix("torch.")
    make = "torch.tensor" if framework == "torch" else "numpy.array"
    contiguous = f"{make}({numbers!r}, dtype={_dtype(name, framework)})"
    if value.is_contiguous() or value.numel() == 0:
        return contiguous if value.numel() else contiguous + f".reshape({tuple(value.shape)})"
    return f"{contiguous}  # strides {list(value.stride())} in the case"


def _dtype(name: str, framework: str) -> str:
    return f"torch.{name}" if framework == "torch" else f"numpy.dtype({name!r})"
