"""The reference's layers and Transformer against a second witness: the paper's sentences in mpmath at 50 digits.

What a layer is made of, attention, feed-forward, norms, embeddings and masks, comes from witness.py. Written from
Vaswani et al. 2017, section 3 and figure 1, and, for `norm_first`, from table 1 of Xiong et al. 2020, not from
reference/: one sequence at a time, so that nothing is ever mixed within a batch.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import witness
from torch import Tensor
from witness import Matrix, Nested, Weights, mp

from transpec.cases import Case
from transpec.judgement import budget, oracle
from transpec.requirements import load

SMALL = 2000  # numbers in a layer's call; 50 digits are slow
RIGHT = 0.5  # of a budget: what is right stays below it, or the budget is too small

# --- Layers (section 3.1, "Encoder" and "Decoder") --------------------------------------------------------------------


def encoder_layer(x: Nested, weights: Weights, *, mask: Nested = None, **options: Any) -> Nested:
    """Two sub-layers: "multi-head self-attention" and a "position-wise fully connected feed-forward network"."""
    masks = _of_each(mask, len(x))
    return [_encode(x[b], weights, masks[b], **options) for b in range(len(x))]


def decoder_layer(
    x: Nested, memory: Nested, weights: Weights, *, self_mask: Nested = None, memory_mask: Nested = None, **options: Any
) -> Nested:
    """Between the two a third, "which performs multi-head attention over the output of the encoder stack"."""
    own, of_memory = _of_each(self_mask, len(x)), _of_each(memory_mask, len(x))
    return [_decode(x[b], memory[b], weights, own[b], of_memory[b], **options) for b in range(len(x))]


def _encode(
    x: Matrix, w: Weights, mask: Nested, *, num_heads: int, activation: str, eps: float, norm_first: bool = False
) -> Matrix:
    if norm_first:
        y = _norm(x, w, "self_attention", eps)
        x = _sum(x, _attention(y, y, w, "self_attention", num_heads, mask))
        y = _norm(x, w, "feed_forward", eps)
        return _sum(x, _feed_forward(y, w, activation))
    x = _norm(_sum(x, _attention(x, x, w, "self_attention", num_heads, mask)), w, "self_attention", eps)
    return _norm(_sum(x, _feed_forward(x, w, activation)), w, "feed_forward", eps)


def _decode(
    x: Matrix, memory: Matrix, w: Weights, own: Nested, of_memory: Nested,
    *, num_heads: int, activation: str, eps: float, norm_first: bool = False,
) -> Matrix:  # fmt: skip
    if norm_first:
        y = _norm(x, w, "self_attention", eps)
        x = _sum(x, _attention(y, y, w, "self_attention", num_heads, own))
        y = _norm(x, w, "cross_attention", eps)
        x = _sum(x, _attention(y, memory, w, "cross_attention", num_heads, of_memory))
        y = _norm(x, w, "feed_forward", eps)
        return _sum(x, _feed_forward(y, w, activation))
    x = _norm(_sum(x, _attention(x, x, w, "self_attention", num_heads, own)), w, "self_attention", eps)
    x = _norm(_sum(x, _attention(x, memory, w, "cross_attention", num_heads, of_memory)), w, "cross_attention", eps)
    return _norm(_sum(x, _feed_forward(x, w, activation)), w, "feed_forward", eps)


def _attention(x: Matrix, read: Matrix, w: Weights, name: str, num_heads: int, mask: Nested) -> Matrix:
    """Queries from `x`, "memory keys and values" from what is read (section 3.2.3)."""
    return witness.multi_head_attention(x, read, read, _under(w, name), num_heads=num_heads, mask=mask)


def _feed_forward(x: Matrix, w: Weights, activation: str) -> Matrix:
    return witness.feed_forward(x, _under(w, "feed_forward"), activation=activation)


def _norm(x: Matrix, w: Weights, name: str, eps: float) -> Matrix:
    return witness.layer_norm(x, _under(w, f"{name}_norm"), eps=eps)


def _sum(x: Matrix, y: Matrix) -> Matrix:
    return [[mp.mpf(a) + b for a, b in zip(*rows, strict=True)] for rows in zip(x, y, strict=True)]


def _under(weights: Weights, name: str) -> Weights:
    """What stands in `weights` behind a name and a dot."""
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key[: len(name) + 1] == f"{name}."}


def _of_each(mask: Nested, batch: int) -> list[Nested]:
    """The mask of every sequence: its own where the first of three axes is of sequences, else one for all."""
    own = mask is not None and len(witness.shape(mask)) == 3 and len(mask) > 1
    return mask if own else [mask[0] if mask is not None and len(witness.shape(mask)) == 3 else mask] * batch


# --- Stacks and the Transformer (figure 1; sections 3.1 and 3.4) ------------------------------------------------------


def encoder(token_ids: Nested, weights: Weights, config: Any, *, source_mask: Nested = None) -> Nested:
    """The embedding, then "a stack of N identical layers"; in pre-norm a last norm (Xiong et al. 2020, section 3.1)."""
    x = witness.token_embedding(token_ids, _under(weights, "embedding"))
    for i in range(config.num_encoder_layers):
        x = encoder_layer(x, _under(weights, f"layers.{i}"), mask=_hiding(source_mask), **_options(config))
    return _last(x, weights, config)


def decoder(
    token_ids: Nested, memory: Nested, weights: Weights, config: Any,
    *, target_mask: Nested = None, source_mask: Nested = None,
) -> Nested:  # fmt: skip
    """Likewise, self-attention being modified "to prevent positions from attending to subsequent positions"."""
    x = witness.token_embedding(token_ids, _under(weights, "embedding"))
    ahead = witness.look_ahead_mask(len(token_ids[0]))
    masks = ahead if target_mask is None else witness.combine_masks(_hiding(target_mask), [ahead])
    for i in range(config.num_decoder_layers):
        x = decoder_layer(
            x, memory, _under(weights, f"layers.{i}"), self_mask=masks, memory_mask=_hiding(source_mask),
            **_options(config),
        )  # fmt: skip
    return _last(x, weights, config)


def transformer(
    source_ids: Nested, target_ids: Nested, weights: Weights, config: Any,
    *, source_mask: Nested = None, target_mask: Nested = None,
) -> Nested:  # fmt: skip
    """One matrix in "the two embedding layers and the pre-softmax linear transformation" (section 3.4)."""
    table = weights["embedding.table"]
    shared = {"embedding.table": table}
    memory = encoder(source_ids, {**_under(weights, "encoder"), **shared}, config, source_mask=source_mask)
    x = decoder(
        target_ids, memory, {**_under(weights, "decoder"), **shared}, config,
        target_mask=target_mask, source_mask=source_mask,
    )  # fmt: skip
    return [
        [[mp.fdot((a, mp.mpf(e)) for a, e in zip(row, word, strict=True)) for word in table] for row in sequence]
        for sequence in x
    ]


def _options(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("num_heads", "activation", "eps", "norm_first")}


def _hiding(tokens: Nested) -> Nested:
    """The mask of every sequence, the same for all queries, from where its tokens are."""
    return None if tokens is None else [[row] for row in tokens]


def _last(x: Nested, weights: Weights, config: Any) -> Nested:
    return witness.layer_norm(x, _under(weights, "final_norm"), eps=config.eps) if config.norm_first else x


# --- The designed cases -----------------------------------------------------------------------------------------------

BY_THE_WITNESS = {
    function.__name__: function for function in (encoder_layer, decoder_layer, encoder, decoder, transformer)
}


def designed(requirement: str, largest: int = SMALL) -> list[Case]:
    """The designed cases of a requirement up to a size, in float64."""
    cases = [case for case in load()[requirement].cases if isinstance(case, Case)]
    return [case.in_dtype("float64") for case in cases if case.size <= largest]


LAYERS = [
    case
    for chosen in (
        "encoder-equation",
        "decoder-equation",
        "activations",
        "norm-placement",
        "masks",
        "memory-masks",
        "memory",
    )
    for case in designed(f"layers.{chosen}")
]
STACKS = [
    *designed("transformer.encoder-equation"),
    *designed("transformer.decoder-equation", 3350),
    *designed("transformer.equation", 3000),
]


def worst(actual: Tensor, exact: Nested, allowed: Tensor) -> float:
    """The largest error in budgets; infinite where shapes differ or a number is not finite."""
    if witness.shape(exact) != tuple(actual.shape) or not actual.isfinite().all():
        return math.inf
    triples = zip(actual.flatten().tolist(), witness.numbers(exact), allowed.flatten().tolist(), strict=True)
    return max(float(abs(got - right) / mp.mpf(budgeted)) for got, right, budgeted in triples)


def by_the_witness(case: Case) -> Nested:
    """What the witness gives for a case, in nested lists."""
    positional, options = case.arguments(lambda value: value.tolist() if isinstance(value, Tensor) else value, None)
    return BY_THE_WITNESS[case.operation.name](*positional, **options)


def identify(case: Case) -> str:
    """What a case is called in the name of a test."""
    return f"{case.operation.name}-{case.name}"


@pytest.mark.parametrize("name", BY_THE_WITNESS)
def test_every_operation_meets_the_witness_in_both_norm_placements(name: str) -> None:
    """Every operation of both chapters is called post-norm and pre-norm, with masks and without."""
    cases = [case for case in (*LAYERS, *STACKS) if case.operation.name == name]
    first = {bool(case.options.get("norm_first") or getattr(case.config, "norm_first", False)) for case in cases}
    masked = {any(option.endswith("mask") for option in case.options) for case in cases}
    assert (first, masked) == ({False, True}, {False, True})


@pytest.mark.parametrize("case", LAYERS, ids=identify)
def test_layers(case: Case) -> None:
    """In float64 the layers of the reference equal the witness within half a budget."""
    assert worst(oracle(case), by_the_witness(case), budget(case)) <= RIGHT


@pytest.mark.parametrize("case", STACKS, ids=identify)
def test_stacks(case: Case) -> None:
    """In float64 encoder, decoder and Transformer of the reference equal the witness within half a budget."""
    assert worst(oracle(case), by_the_witness(case), budget(case)) <= RIGHT
