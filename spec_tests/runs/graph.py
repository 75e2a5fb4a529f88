"""The graph of a call, walked while torch computes it: how deep it is, how far apart its positions lie, what it costs.

Every torch operation of a call is seen by a `TorchDispatchMode`, which keeps for every tensor

- its *depth*: how many matrix products lie behind it on the longest way from the input, for they have to wait for each other;
- its *distances*: for every entry, how many operations that compute lie on the shortest way from a source, infinite where
  there is no way. Operations that only move numbers, such as views, are no step of a way.

In the input of a walk, item b of the batch has its source at position b: sequences of a batch never mix, so that one walk
gives the distances between all pairs of positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from transpec.implementations import Unsupported

# Names of torch's aten operators without overload, by what they do to distances.
MOVES = """
    _reshape_alias _unsafe_view alias as_strided clone contiguous detach diagonal expand flip index_select lift_fresh movedim
    permute repeat reshape roll select slice split split_with_sizes squeeze t to transpose unbind unfold unsqueeze view
    _to_copy
""".split()  # noqa: SIM905 - a list of names
JOINS = ("cat", "stack")
ELEMENTWISE = """
    abs add clamp clamp_max clamp_min copysign cos div erf exp expm1 gelu leaky_relu log masked_fill maximum minimum mul neg
    pow reciprocal relu rsqrt rsub sigmoid sin sqrt square sub tanh tril triu where
""".split()  # noqa: SIM905
REDUCTIONS = ("amax", "amin", "max", "mean", "sum")
ALONG_AN_AXIS = ("_softmax", "_log_softmax")
PRODUCTS = ("mm", "bmm", "mv", "dot", "addmm", "baddbmm")
UNRELATED = """
    all any arange empty_like eq equal full_like ge gt isfinite isinf isnan le logical_and logical_not logical_or lt ne
    new_empty new_full new_ones new_zeros ones_like zeros_like
""".split()  # noqa: SIM905 - of the input's shape or order they take something, of its numbers nothing that flows on


@dataclass(frozen=True)
class Walk:
    """What a walk found of a call's result: depth, the distance of output i from input j as [i, j], and multiplications."""

    depth: int
    distances: Tensor
    flops: int


def walk(call: Callable[[Tensor], Tensor], x: Tensor) -> Walk:
    """The graph of `call(x)`, x (T, T, M) or, where only depth and cost are asked for, (B, T, M).

    Raises Unsupported where the call uses an operation of torch whose inside cannot be seen, such as a fused kernel.
    """
    graph = _Graph()
    distances = torch.full(x.shape, torch.inf)
    both = min(len(x), x.shape[1])
    distances[torch.arange(both), torch.arange(both)] = 0.0
    graph.known[id(x)] = (x, _Seen(0, distances))
    try:
        with torch.no_grad(), graph:
            result = call(x)
    except NotImplementedError as error:
        raise Unsupported(str(error)) from error
    seen = graph.of(result)
    if seen is None:
        raise Unsupported("its result does not come from its input by operations of torch that can be seen")
    return Walk(seen.depth, seen.distances.amin(-1).T, graph.flops)


@dataclass(frozen=True)
class _Seen:
    depth: int
    distances: Tensor


class _Graph(TorchDispatchMode):
    """Carries depth and distances along with every tensor that depends on the input."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled; shielding from the compiler would import it, a second's work

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, tuple[Tensor, _Seen]] = {}  # the tensor itself is kept, that no other gets its id
        self.flops = 0

    def of(self, value: Any) -> _Seen | None:
        """What is known of a tensor; None of what does not depend on the input."""
        held = self.known.get(id(value))
        return None if held is None else held[1]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            self.flops += _multiplications(name, args)
        flat = [each for arg in args for each in (arg if isinstance(arg, list | tuple) else (arg,))]
        if all(self.of(each) is None for each in flat) or name in UNRELATED:
            return result
        base = name.removesuffix("_") if name.endswith("_") else name
        depth = max(seen.depth for each in flat if (seen := self.of(each)) is not None) + (name in PRODUCTS)
        for made, distances in zip(*self.follow(base, func, args, kwargs, result), strict=True):
            self.known[id(made)] = (made, _Seen(depth, distances))
        return result

    def follow(self, name: str, func: Any, args: Any, kwargs: Any, result: Any) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors that an operation made, and their distances."""
        if name in MOVES:
            moved = func(self.distances(args[0]), *args[1:], **(kwargs if name != "_to_copy" else {}))
            return (list(result), list(moved)) if isinstance(result, list | tuple) else ([result], [moved])
        if name in JOINS:
            return [result], [func([self.distances(each) for each in args[0]], *args[1:], **kwargs)]
        if name in ELEMENTWISE:
            tensors = [self.distances(each) for each in args if isinstance(each, Tensor)]
            nearest = torch.stack([each.expand(result.shape) for each in tensors]).amin(0)
            return [result], [nearest + 1]
        if name in PRODUCTS:
            left, right = (self.distances(each) for each in args[-2:])
            # The nearer of row and column: every term of the sum has an entry of both.
            row = left.amin(-1)
            column = right.amin(-2) if right.dim() > 1 else right.amin(-1)
            nearest = (
                torch.minimum(row.unsqueeze(-1), column.unsqueeze(-2))
                if right.dim() > 1
                else torch.minimum(row, column)
            )
            if len(args) > 2:
                nearest = torch.minimum(nearest, self.distances(args[0]).expand(result.shape))
            return [result], [nearest + 1]
        if name in REDUCTIONS and isinstance(result, Tensor):
            axes = args[1] if len(args) > 1 else kwargs.get("dim")
            kept = args[2] if len(args) > 2 else kwargs.get("keepdim", False)
            axes = tuple(range(args[0].dim())) if axes is None or axes == [] else axes
            return [result], [self.distances(args[0]).amin(axes, keepdim=kept) + 1]
        if name in ALONG_AN_AXIS:
            return [result], [self.distances(args[0]).amin(args[1], keepdim=True).expand(result.shape) + 1]
        raise NotImplementedError(f"its graph cannot be walked: torch's '{name}' does not show what it does inside")

    def distances(self, value: Tensor) -> Tensor:
        seen = self.of(value)
        return torch.full(value.shape, torch.inf) if seen is None else seen.distances


def _multiplications(name: str, args: Any) -> int:
    """Floating-point operations of a matrix product: a multiplication and an addition for each term."""
    left, right = args[-2:]
    return 2 * left.numel() * (right.shape[-1] if right.dim() > 1 else 1)
