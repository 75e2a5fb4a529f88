"""What the configurations of models have in common: they are frozen, and reject what cannot be."""

from dataclasses import fields
from typing import Any


def reject_what_cannot_be(config: Any) -> None:
    """Raise ValueError, naming field and value, where a size is no positive integer or heads do not divide a width."""
    name = type(config).__name__
    for field in fields(config):
        value = getattr(config, field.name)
        if field.type is int:
            least = 0 if field.name.endswith("num_layers") or field.name.endswith("coder_layers") else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: {field.name} must be an integer of at least {least}, got {value!r}")
        elif field.type is float and not (isinstance(value, int | float) and value >= 0):
            raise ValueError(f"{name}: {field.name} must be a number of at least 0, got {value!r}")
        elif field.type is bool and not isinstance(value, bool):
            raise ValueError(f"{name}: {field.name} must be True or False, got {value!r}")


def reject_heads_that_do_not_divide(config: Any) -> None:
    """Raise ValueError where `num_heads` does not divide `d_model`."""
    if config.d_model % config.num_heads:
        raise ValueError(
            f"{type(config).__name__}: num_heads must divide d_model, got {config.num_heads} heads and "
            f"d_model {config.d_model}"
        )


def reject_activation(config: Any, known: tuple[str, ...]) -> None:
    """Raise ValueError where `activation` names none of the known ones."""
    if config.activation not in known:
        raise ValueError(
            f"{type(config).__name__}: activation must be one of {', '.join(known)}, got {config.activation!r}"
        )
