"""Frameworks: how tensors reach an implementation and come back. A framework is imported when one declares it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class NoTensor(TypeError):
    """What was to be differentiated is not a tensor of the framework; the message is its type."""


class Framework(Protocol):
    """What the engine needs of a tensor library."""

    name: str
    tensor_type: str
    dtypes: tuple[str, ...]
    runs_backwards: bool  # whether it has views that run against their memory
    shares_memory: bool  # whether `to` gives an object that shows what is written into the tensor later

    def dtype(self, name: str) -> Any:
        """The framework's own object for a dtype."""

    def to(self, tensor: Tensor) -> Any:
        """A tensor of the framework with the same numbers and strides; it may share memory with `tensor`."""

    def back(self, value: Any) -> Tensor:
        """The torch tensor with the same dtype and numbers; raises TypeError for what is no tensor of the framework."""

    def backwards(self, value: Any) -> Any:
        """The same numbers as a view that runs against its memory, where the framework has such views."""

    def vjp(
        self, call: Callable[[], Any], inputs: Sequence[Any], cotangent: Any, *, whole: bool = True
    ) -> tuple[Any, Sequence[Any]]:
        """What `call` gives, and gradients of `cotangent · call()` for every input, by the framework's differentiation.

        Where the inputs are the `whole` of what has gradients, the result has to depend on one of them.
        """


class Torch:
    """PyTorch on the CPU."""

    name = "torch"
    tensor_type = "torch.Tensor"
    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16", "float16")
    shares_memory = True
    runs_backwards = False

    def dtype(self, name: str) -> Any:
        """torch.float32 for "float32"."""
        import torch

        return getattr(torch, name)

    def to(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def back(self, value: Any) -> Tensor:
        """The tensor without its history, on the CPU, in memory that a later call cannot write to."""
        import torch

        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{type(value).__module__}.{type(value).__qualname__}")
        if value.layout is not torch.strided or value.is_quantized or value.is_nested:
            raise TypeError(f"torch.Tensor that is {'quantized' if value.is_quantized else 'nested or sparse'}")
        return value.detach().cpu().clone()

    def backwards(self, value: Tensor) -> Tensor:
        """The tensor itself: torch has no negative strides."""
        return value

    def vjp(
        self, call: Callable[[], Any], inputs: Sequence[Tensor], cotangent: Tensor, *, whole: bool = True
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Through torch.autograd; an input that the result does not depend on has the gradient zero."""
        import torch

        for tensor in inputs:
            tensor.requires_grad_()
        result = call()
        if not isinstance(result, torch.Tensor):
            raise NoTensor(f"{type(result).__module__}.{type(result).__qualname__}")
        if not result.requires_grad:
            if not whole:
                return result, [torch.zeros_like(tensor) for tensor in inputs]
            raise RuntimeError("the result is not connected to the inputs: torch.autograd finds no way back from it")
        gradients = torch.autograd.grad(result, inputs, cotangent.to(result.dtype), allow_unused=True)
        pairs = zip(gradients, inputs, strict=True)
        dense = ((g.to_dense() if g is not None and g.is_sparse else g, tensor) for g, tensor in pairs)
        return result, [torch.zeros_like(tensor) if gradient is None else gradient for gradient, tensor in dense]


class Numpy:
    """numpy; bfloat16 through the ml_dtypes package."""

    name = "numpy"
    tensor_type = "numpy.ndarray"
    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16", "float16")
    shares_memory = True
    runs_backwards = True

    def dtype(self, name: str) -> Any:
        """numpy.dtype("float32") for "float32"."""
        import numpy

        if name == "bfloat16":
            import ml_dtypes

            return numpy.dtype(ml_dtypes.bfloat16)
        return numpy.dtype(name)

    def to(self, tensor: Tensor) -> Any:
        """An array on the tensor's own memory."""
        import torch

        if tensor.dtype == torch.bfloat16:
            return tensor.view(torch.int16).numpy().view(self.dtype("bfloat16"))
        return tensor.numpy()

    def back(self, value: Any) -> Tensor:
        """The array's numbers in memory of their own."""
        import numpy
        import torch

        if not isinstance(value, numpy.ndarray | numpy.generic):
            raise TypeError(f"{type(value).__module__}.{type(value).__qualname__}")
        array = numpy.array(value)  # owned, writable and without negative strides, as torch wants it
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(numpy.int16)).view(torch.bfloat16)
        try:
            return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
        except TypeError:
            raise TypeError(f"numpy.ndarray of dtype {array.dtype}") from None

    def backwards(self, value: Any) -> Any:
        """A view of another array, every axis of which is reversed."""
        import numpy

        turned = (slice(None, None, -1),) * value.ndim
        return numpy.array(value[turned], order="C")[turned]

    def vjp(
        self, call: Callable[[], Any], inputs: Sequence[Any], cotangent: Any, *, whole: bool = True
    ) -> tuple[Any, Sequence[Any]]:
        """numpy differentiates nothing: the implementation has to bring its own."""
        raise NotImplementedError("numpy has no autograd: provide <operation>_vjp to have gradients judged")


def settings() -> tuple[Any, ...]:
    """What a process may have set for all that it runs, so that one implementation's wishes do not bind another."""
    import numpy
    import torch

    return torch.get_default_dtype(), torch.is_grad_enabled(), numpy.geterr()


def apply(chosen: tuple[Any, ...]) -> None:
    """Set what `settings` has read."""
    import numpy
    import torch

    torch.set_default_dtype(chosen[0])
    torch.set_grad_enabled(chosen[1])
    numpy.seterr(**chosen[2])


FRAMEWORKS: dict[str, Framework] = {"numpy": Numpy(), "torch": Torch()}
