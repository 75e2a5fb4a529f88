"""The formulas of the Transformer, its layers and models, and their gradients in plain numpy, written from the papers.

Vaswani et al. 2017, "Attention Is All You Need"; Ba et al. 2016, "Layer Normalization"; Hendrycks & Gimpel 2016,
"Gaussian Error Linear Units"; Zhang & Sennrich 2019, "Root Mean Square Layer Normalization"; Xiong et al. 2020, "On
Layer Normalization in the Transformer Architecture"; Radford et al. 2018 and 2019, GPT and GPT-2; Devlin et al. 2019,
BERT; Lan et al. 2020, ALBERT; Raffel et al. 2020, T5.

Row vectors: y = x W + b with W of shape (in, out). Masks are boolean and True where a query may attend. Results have
the dtype of the inputs. Every differentiable operation has a companion `<operation>_vjp(*arguments, cotangent,
**options)` that returns the gradient of sum(cotangent * result) by each argument, in argument order, the weights' as a
dict, and None for token ids.

The formulas come first, each with its gradient written out. Layers and models are put together of steps, below, which
know their own way back, so that nothing is written twice.
"""

# What numpy computes from arrays of any dtype has the type Any.
# mypy: disable-error-code="no-any-return"

import functools
import math
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

NAME = "numpy_plain"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True
CHOICES = {"attention.empty-row": "zero"}

Array = np.ndarray
Weights = dict[str, np.ndarray]


def _summed_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: what was used several times receives the sum of its gradients."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    spread = tuple(axis for axis, size in enumerate(shape) if size == 1 and gradient.shape[axis] != 1)
    return gradient.sum(axis=spread, keepdims=True)


def _transposed(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


# Attention


def attention_weights(query: Array, key: Array, *, mask: Array | None = None, scale: float | None = None) -> Array:
    """softmax(Q K^T / sqrt(d_k)), zero in rows that may attend to nothing. Vaswani et al. 2017, equation 1.

    query (..., T_q, d_k), key (..., T_k, d_k), mask broadcastable to (..., T_q, T_k); returns (..., T_q, T_k).
    """
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query and key must be equally wide (d_k); given d_q = {query.shape[-1]} and d_k = {key.shape[-1]}"
        )
    return _masked_softmax(query @ _transposed(key) * _scale(query, scale), mask)


def _masked_softmax(scores: Array, mask: Array | None) -> Array:
    if mask is not None:
        _check_mask(mask, scores.shape)
        scores = np.where(mask, scores, -np.inf)
    peak = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(peak == -np.inf, 0.0, peak))
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / np.where(total == 0, 1.0, total)


def _softmax_vjp(weights: Array, cotangent: Array) -> Array:
    """The gradient by the scores of which `weights` are the softmax; zero where a mask hides a score."""
    return weights * (cotangent - (weights * cotangent).sum(axis=-1, keepdims=True))


def _scale(query: Array, scale: float | None) -> float:
    # A python float: a numpy scalar of float64 would turn float32 arrays into float64.
    return 1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale)


def _check_mask(mask: Array, scores: tuple[int, ...]) -> None:
    if mask.dtype != np.bool_:
        raise TypeError(f"a mask must be boolean, True where a query may attend; given {mask.dtype}")
    fits = all(have in (1, want) for have, want in zip(mask.shape[::-1], scores[:-3:-1], strict=False))
    if not fits:
        raise ValueError(f"a mask must broadcast to (..., queries, keys) = {scores}; given {mask.shape}")


def attention_weights_vjp(
    query: Array, key: Array, cotangent: Array, *, mask: Array | None = None, scale: float | None = None
) -> tuple[Array, Array]:
    """Gradients by query and key; cotangent (..., T_q, T_k)."""
    weights = attention_weights(query, key, mask=mask, scale=scale)
    by_scores = _softmax_vjp(weights, cotangent) * _scale(query, scale)
    return _summed_to(by_scores @ key, query.shape), _summed_to(_transposed(by_scores) @ query, key.shape)


def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, *, mask: Array | None = None, scale: float | None = None
) -> Array:
    """Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V. Vaswani et al. 2017, section 3.2.1, equation 1.

    query (..., T_q, d_k), key (..., T_k, d_k), value (..., T_k, d_v); returns (..., T_q, d_v).
    """
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"there must be one value for each key; given {key.shape[-2]} keys and {value.shape[-2]} values"
        )
    return attention_weights(query, key, mask=mask, scale=scale) @ value


def scaled_dot_product_attention_vjp(
    query: Array, key: Array, value: Array, cotangent: Array, *, mask: Array | None = None, scale: float | None = None
) -> tuple[Array, Array, Array]:
    """Gradients by query, key and value; cotangent (..., T_q, d_v)."""
    weights = attention_weights(query, key, mask=mask, scale=scale)
    by_query, by_key = attention_weights_vjp(query, key, cotangent @ _transposed(value), mask=mask, scale=scale)
    return by_query, by_key, _summed_to(_transposed(weights) @ cotangent, value.shape)


def multi_head_attention(
    query: Array, key: Array, value: Array, weights: Weights, *, num_heads: int, mask: Array | None = None
) -> Array:
    """Concat(head_1, ..., head_h) W^O, head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V). Vaswani et al. 2017, 3.2.2.

    query (batch, T_q, d_model), key and value (batch, T_k, any width), mask broadcastable to (batch, T_q, T_k), the
    same for all heads. The columns of w_q, w_k and w_v are the heads side by side; a missing b_* is zero.
    """
    _check_multi_head(query, key, value, weights, num_heads)
    heads = scaled_dot_product_attention(
        *_projected_heads(query, key, value, weights, num_heads), mask=_for_heads(mask, query, key)
    )
    return _linear(_side_by_side(heads), weights, "o")


def multi_head_attention_vjp(
    query: Array,
    key: Array,
    value: Array,
    weights: Weights,
    cotangent: Array,
    *,
    num_heads: int,
    mask: Array | None = None,
) -> tuple[Array, Array, Array, Weights]:
    """Gradients by query, key, value and weights; cotangent (batch, T_q, d_model)."""
    _check_multi_head(query, key, value, weights, num_heads)
    projected = _projected_heads(query, key, value, weights, num_heads)
    mask = _for_heads(mask, query, key)
    gradients: Weights = {}
    heads = _side_by_side(scaled_dot_product_attention(*projected, mask=mask))
    by_heads = _heads(_linear_vjp(heads, weights, "o", cotangent, gradients), num_heads)
    by_projected = scaled_dot_product_attention_vjp(*projected, by_heads, mask=mask)
    by_query, by_key, by_value = (
        _linear_vjp(x, weights, name, _side_by_side(gradient), gradients)
        for x, name, gradient in zip((query, key, value), "qkv", by_projected, strict=True)
    )
    return by_query, by_key, by_value, {name: gradients[name] for name in weights}


def _check_multi_head(query: Array, key: Array, value: Array, weights: Weights, num_heads: int) -> None:
    shapes = [x.shape for x in (query, key, value)]
    if any(len(shape) != 3 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(
            f"query, key and value must be (batch, T, d) with one batch; given {', '.join(map(str, shapes))}"
        )
    for name in ("w_q", "w_k", "w_v"):
        if num_heads < 1 or weights[name].shape[1] % num_heads:
            raise ValueError(
                f"the columns of {name} must divide into num_heads equal heads;"
                f" given {weights[name].shape[1]} columns and {num_heads} heads"
            )


def _projected_heads(
    query: Array, key: Array, value: Array, weights: Weights, num_heads: int
) -> tuple[Array, Array, Array]:
    q, k, v = (_heads(_linear(x, weights, name), num_heads) for x, name in ((query, "q"), (key, "k"), (value, "v")))
    return q, k, v


def _heads(x: Array, num_heads: int) -> Array:
    """(batch, T, heads * d) -> (batch, heads, T, d)."""
    batch, length, width = x.shape
    return x.reshape(batch, length, num_heads, width // num_heads).swapaxes(1, 2)


def _side_by_side(x: Array) -> Array:
    """(batch, heads, T, d) -> (batch, T, heads * d)."""
    batch, num_heads, length, width = x.shape
    return x.swapaxes(1, 2).reshape(batch, length, num_heads * width)


def _for_heads(mask: Array | None, query: Array, key: Array) -> Array | None:
    """The mask as (batch, 1, T_q, T_k)."""
    if mask is None:
        return None
    shape = (*query.shape[:2], key.shape[1])
    _check_mask(mask, shape)
    return np.broadcast_to(mask, shape)[:, None]


def _linear(x: Array, weights: Weights, name: str) -> Array:
    """x w_<name> + b_<name>; a missing bias is zero."""
    w = weights[f"w_{name}"]
    if x.shape[-1] != w.shape[0]:
        raise ValueError(f"w_{name} must have a row for each of {x.shape[-1]} columns of its input; given {w.shape}")
    y = x @ w
    return y + weights[f"b_{name}"] if f"b_{name}" in weights else y


def _linear_vjp(x: Array, weights: Weights, name: str, cotangent: Array, gradients: Weights) -> Array:
    """The gradient by x; those by w_<name> and b_<name> go into `gradients`."""
    by_x, gradients[f"w_{name}"], gradients[f"b_{name}"] = _affine_vjp(x, weights[f"w_{name}"], cotangent)
    return by_x


def _affine_vjp(x: Array, w: Array, cotangent: Array) -> tuple[Array, Array, Array]:
    """Gradients of x w + b by x, w and b."""
    rows = cotangent.reshape(-1, cotangent.shape[-1])
    return cotangent @ w.T, x.reshape(-1, x.shape[-1]).T @ rows, rows.sum(axis=0)


# Masks


def padding_mask(token_ids: Array, *, pad_id: int) -> Array:
    """True where a key is a real token. token_ids (batch, T); returns (batch, 1, T), the same for all queries."""
    return (token_ids != pad_id)[..., None, :]


def look_ahead_mask(length: int) -> Array:
    """True on and below the diagonal: no position sees a later one. Vaswani et al. 2017, section 3.2.3. (T, T)."""
    return np.tri(length, dtype=bool)


def combine_masks(*masks: Array) -> Array:
    """True where all masks are, which broadcast against each other."""
    if not masks:
        raise ValueError("combine_masks expects at least one mask; given none")
    # Starting from True makes a new array even of a single mask.
    return functools.reduce(np.logical_and, masks, np.array(True))


# Positions and embedding


def sinusoidal_positional_encoding(length: int, d_model: int, *, offset: int = 0, dtype: Any) -> Array:
    """PE(p, 2i) = sin(p / 10000^(2i / d_model)), PE(p, 2i + 1) = cos of the same. Vaswani et al. 2017, section 3.5.

    Returns (length, d_model) for the positions offset, ..., offset + length - 1. An odd d_model ends in a sine.
    """
    # In float64 whatever the result: at position 1000 a float32 angle is already wrong in the fourth decimal.
    position = offset + np.arange(length, dtype=np.float64)[:, None]
    angle = position / 10000.0 ** (np.arange(0, d_model, 2) / d_model)
    encoding = np.empty((length, d_model))
    encoding[:, 0::2] = np.sin(angle)
    encoding[:, 1::2] = np.cos(angle[:, : d_model // 2])
    return encoding.astype(dtype)


def token_embedding(token_ids: Array, weights: Weights, *, offset: int = 0) -> Array:
    """sqrt(d_model) table[ids] + positional encoding. Vaswani et al. 2017, sections 3.4 and 3.5.

    token_ids (..., T), weights["table"] (vocabulary, d_model); returns (..., T, d_model).
    """
    table = weights["table"]
    positions = sinusoidal_positional_encoding(token_ids.shape[-1], table.shape[1], offset=offset, dtype=table.dtype)
    return math.sqrt(table.shape[1]) * _rows_of(table, token_ids) + positions


def _rows_of(table: Array, ids: Array) -> Array:
    if ids.size and not 0 <= ids.min() <= ids.max() < len(table):
        raise IndexError(f"ids must be from 0 to {len(table) - 1}; given {ids.min()} to {ids.max()}")
    return table[ids]


def _rows_of_vjp(table: Array, ids: Array, cotangent: Array) -> Array:
    """The gradient by the table; ids that were broadcast, and rows that were used twice, receive all."""
    by_table = np.zeros_like(table)
    np.add.at(by_table, ids, _summed_to(cotangent, (*ids.shape, table.shape[1])))
    return by_table


def token_embedding_vjp(
    token_ids: Array, weights: Weights, cotangent: Array, *, offset: int = 0
) -> tuple[None, Weights]:
    """None for the ids and the gradient by the table; cotangent (..., T, d_model)."""
    table = weights["table"]
    return None, {"table": _rows_of_vjp(table, token_ids, math.sqrt(table.shape[1]) * cotangent)}


# Feed-forward


def _normal_cdf(x: Array) -> Array:
    """(1 + erf(x / sqrt 2)) / 2. numpy has no erf; math.erf is exact to a rounding of float64."""
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return (0.5 * (1.0 + erf(x / math.sqrt(2.0)))).astype(x.dtype)


def _tanh_in_gelu(x: Array) -> Array:
    return np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))


def _relu_slope(x: Array) -> Array:
    return (x > 0).astype(x.dtype)


def _gelu_slope(x: Array) -> Array:
    return _normal_cdf(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _gelu_tanh_slope(x: Array) -> Array:
    tanh = _tanh_in_gelu(x)
    inner_slope = math.sqrt(2.0 / math.pi) * (1.0 + 3 * 0.044715 * x * x)
    return 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner_slope


_ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda x: np.maximum(x, 0), _relu_slope),
    "gelu": (lambda x: x * _normal_cdf(x), _gelu_slope),
    "gelu_tanh": (lambda x: 0.5 * x * (1.0 + _tanh_in_gelu(x)), _gelu_tanh_slope),
}


def _activation(name: str) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}; given {name}")
    return _ACTIVATIONS[name]


def feed_forward(x: Array, weights: Weights, *, activation: str = "relu") -> Array:
    """FFN(x) = f(x W_1 + b_1) W_2 + b_2, f = max(0, x). Vaswani et al. 2017, section 3.3, equation 2.

    "gelu" is x Phi(x), "gelu_tanh" its approximation (Hendrycks & Gimpel 2016, section 2). x (..., d_model).
    """
    function, _ = _activation(activation)
    return _linear(function(_linear(x, weights, "1")), weights, "2")


def feed_forward_vjp(
    x: Array, weights: Weights, cotangent: Array, *, activation: str = "relu"
) -> tuple[Array, Weights]:
    """Gradients by x and weights; cotangent (..., d_model). The slope of ReLU at zero is zero."""
    function, slope = _activation(activation)
    gradients: Weights = {}
    inner = _linear(x, weights, "1")
    by_inner = _linear_vjp(function(inner), weights, "2", cotangent, gradients) * slope(inner)
    by_x = _linear_vjp(x, weights, "1", by_inner, gradients)
    return by_x, {name: gradients[name] for name in weights}


# Normalization


def _standardised(x: Array, eps: float) -> tuple[Array, Array]:
    """(x - mean) / deviation over the last axis, and the deviation; biased variance, eps inside the root."""
    # Two passes: E[x^2] - E[x]^2 loses everything where the mean is large.
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + float(eps))
    return centred / deviation, deviation


def _check_width(x: Array, weights: Weights) -> None:
    for name, weight in weights.items():
        if weight.shape != x.shape[-1:]:
            raise ValueError(f"{name} must have one entry for each of {x.shape[-1]} columns; given {weight.shape}")


def layer_norm(x: Array, weights: Weights, *, eps: float) -> Array:
    """(x - mean) / sqrt(variance + eps) * gain + bias over the last axis. Ba et al. 2016, equation 4."""
    _check_width(x, weights)
    standardised, _ = _standardised(x, eps)
    return standardised * weights["gain"] + weights["bias"]


def layer_norm_vjp(x: Array, weights: Weights, cotangent: Array, *, eps: float) -> tuple[Array, Weights]:
    """Gradients by x and weights; cotangent of x's shape."""
    standardised, deviation = _standardised(x, eps)
    upstream = cotangent * weights["gain"]
    mean = upstream.mean(axis=-1, keepdims=True)
    along = (upstream * standardised).mean(axis=-1, keepdims=True)
    by_x = (upstream - mean - standardised * along) / deviation
    by_gain = _summed_to(cotangent * standardised, weights["gain"].shape)
    return by_x, {"gain": by_gain, "bias": _summed_to(cotangent, weights["bias"].shape)}


def _root_mean_square(x: Array, eps: float) -> Array:
    return np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + float(eps))


def rms_norm(x: Array, weights: Weights, *, eps: float) -> Array:
    """x / sqrt(mean(x^2) + eps) * gain over the last axis. Zhang & Sennrich 2019, equation 4, which has no eps."""
    _check_width(x, weights)
    return x / _root_mean_square(x, eps) * weights["gain"]


def rms_norm_vjp(x: Array, weights: Weights, cotangent: Array, *, eps: float) -> tuple[Array, Weights]:
    """Gradients by x and weights; cotangent of x's shape."""
    rms = _root_mean_square(x, eps)
    normalised = x / rms
    upstream = cotangent * weights["gain"]
    along = (upstream * normalised).mean(axis=-1, keepdims=True)
    by_x = (upstream - normalised * along) / rms
    return by_x, {"gain": _summed_to(cotangent * normalised, weights["gain"].shape)}


def add_norm(x: Array, sublayer_output: Array, weights: Weights, *, eps: float) -> Array:
    """LayerNorm(x + Sublayer(x)). Vaswani et al. 2017, section 3.1."""
    return layer_norm(x + sublayer_output, weights, eps=eps)


def add_norm_vjp(
    x: Array, sublayer_output: Array, weights: Weights, cotangent: Array, *, eps: float
) -> tuple[Array, Array, Weights]:
    """Gradients by x, sublayer_output and weights; cotangent of the sum's shape."""
    by_sum, by_weights = layer_norm_vjp(x + sublayer_output, weights, cotangent, eps=eps)
    return _summed_to(by_sum, x.shape), _summed_to(by_sum, sublayer_output.shape), by_weights


# Steps, of which layers and models are made
#
# A step is a function of one array that returns its result and the way back: a function from the gradient by the result
# to the gradient by the array (None where these are ids), which on its way adds the gradients of the weights to those of
# the model.

Back = Callable[[Array], Any]
Step = Callable[[Array], tuple[Array, Back]]


class _Part:
    """The weights of a model under a dotted name, and their gradients, which the way back adds up."""

    def __init__(self, weights: Weights, gradients: Weights | None = None, prefix: str = "") -> None:
        self.weights, self.prefix = weights, prefix
        self.gradients: Weights = {} if gradients is None else gradients

    def __getitem__(self, name: str) -> Array:
        return self.weights[self.prefix + name]

    def part(self, name: str) -> "_Part":
        return _Part(self.weights, self.gradients, f"{self.prefix}{name}.")

    def layers(self, count: int) -> Iterator["_Part"]:
        return (self.part(f"layers.{i}") for i in range(count))

    def own(self) -> Weights:
        """The weights by the names that they have within the part."""
        size = len(self.prefix)
        return {name[size:]: weight for name, weight in self.weights.items() if name.startswith(self.prefix)}

    def add(self, gradients: Weights) -> None:
        """Add to the gradients; a weight that is used several times receives the sum."""
        for name, gradient in gradients.items():
            full = self.prefix + name
            self.gradients[full] = self.gradients[full] + gradient if full in self.gradients else gradient


class _Memory:
    """What the encoder gives and every layer of the decoder reads, whose gradients by it add up."""

    def __init__(self, value: Array) -> None:
        self.value, self.gradient = value, np.zeros_like(value)


def _operation(
    function: Callable[..., tuple[Array, Back]],
) -> tuple[Callable[..., Array], Callable[..., tuple[Any, ...]]]:
    """An operation and its vector-Jacobian product, from a function that gives its result and the way back.

    The function has the operation's arguments, but for the dict of weights, of which it gets a `_Part`.
    """

    @functools.wraps(function)
    def operation(*arguments: Any, **options: Any) -> Array:
        result, _ = function(*(_Part(a) if isinstance(a, dict) else a for a in arguments), **options)
        return result

    def vjp(*arguments: Any, **options: Any) -> tuple[Any, ...]:
        *given, cotangent = arguments
        place = next(i for i, argument in enumerate(given) if isinstance(argument, dict))
        whole = given[place] = _Part(given[place])
        _, back = function(*given, **options)
        by_tensors = back(cotangent) if place > 1 else (back(cotangent),)
        by_weights = {name: whole.gradients.get(name, np.zeros_like(w)) for name, w in whole.weights.items()}
        return *by_tensors, by_weights

    operation.__name__ = function.__name__.removeprefix("_")
    vjp.__name__, vjp.__doc__ = f"{operation.__name__}_vjp", f"Gradients of `{operation.__name__}`."
    return operation, vjp


def _then(*steps: Step) -> Step:
    """One step after the other."""

    def run(x: Array) -> tuple[Array, Back]:
        ways: list[Back] = []
        for step in steps:
            x, back = step(x)
            ways.append(back)
        return x, lambda by_result: functools.reduce(lambda gradient, back: back(gradient), reversed(ways), by_result)

    return run


def _residual(step: Step) -> Step:
    """x + step(x)."""

    def run(x: Array) -> tuple[Array, Back]:
        y, back = step(x)
        return x + y, lambda by_sum: by_sum + back(by_sum)

    return run


def _step(operation: Callable[..., Array], vjp: Callable[..., Any], weights: _Part, **options: Any) -> Step:
    """An operation of an array and weights, whose gradients are written out above."""

    def run(x: Array) -> tuple[Array, Back]:
        def back(by_result: Array) -> Any:
            by_x, by_weights = vjp(x, weights.own(), by_result, **options)
            weights.add(by_weights)
            return by_x

        return operation(x, weights.own(), **options), back

    return run


def _layer_norm(weights: _Part, eps: float) -> Step:
    return _step(layer_norm, layer_norm_vjp, weights, eps=eps)


def _rms_norm(weights: _Part, eps: float) -> Step:
    return _step(rms_norm, rms_norm_vjp, weights, eps=eps)


def _feed_forward(weights: _Part, activation: str) -> Step:
    return _step(feed_forward, feed_forward_vjp, weights, activation=activation)


def _scaled_embedding(weights: _Part) -> Step:
    return _step(token_embedding, token_embedding_vjp, weights)


def _attention(weights: _Part, num_heads: int, mask: Array | None, memory: _Memory | None = None) -> Step:
    """Multi-head attention of x to itself, or to the memory."""

    def run(x: Array) -> tuple[Array, Back]:
        read = x if memory is None else memory.value

        def back(by_result: Array) -> Array:
            by_query, by_key, by_value, by_weights = multi_head_attention_vjp(
                x, read, read, weights.own(), by_result, num_heads=num_heads, mask=mask
            )
            weights.add(by_weights)
            if memory is None:
                return by_query + by_key + by_value
            memory.gradient += by_key + by_value
            return by_query

        return multi_head_attention(x, read, read, weights.own(), num_heads=num_heads, mask=mask), back

    return run


def _lookup(weights: _Part, name: str) -> Step:
    """The rows of a table, from ids; there is no way back to ids but to the table."""

    def run(ids: Array) -> tuple[Array, Back]:
        def back(by_rows: Array) -> None:
            weights.add({name: _rows_of_vjp(weights[name], ids, by_rows)})

        return _rows_of(weights[name], ids), back

    return run


def _summed_embeddings(weights: _Part, **ids: Array) -> Step:
    """The sum of learned embeddings, from token ids: of the table `token`, and of those whose ids are given."""

    def run(token_ids: Array) -> tuple[Array, Back]:
        found = [_lookup(weights, name)(each) for name, each in {"token": token_ids, **ids}.items()]

        def back(by_sum: Array) -> None:
            for _, to_table in found:
                to_table(by_sum)

        return functools.reduce(np.add, (rows for rows, _ in found)), back

    return run


def _affine(weights: _Part, w: str = "w", b: str | None = "b") -> Step:
    """x w + b, or x w."""

    def run(x: Array) -> tuple[Array, Back]:
        def back(by_y: Array) -> Array:
            by_x, by_w, by_b = _affine_vjp(x, weights[w], by_y)
            weights.add({w: by_w} if b is None else {w: by_w, b: by_b})
            return by_x

        y = x @ weights[w]
        return (y if b is None else y + weights[b]), back

    return run


def _tied_logits(weights: _Part, table: str, bias: str | None = None) -> Step:
    """x E^T, E being the table that embeds the tokens, and a bias where there is one."""

    def run(x: Array) -> tuple[Array, Back]:
        def back(by_y: Array) -> Array:
            by_x, by_transposed, by_bias = _affine_vjp(x, weights[table].T, by_y)
            weights.add({table: by_transposed.T} if bias is None else {table: by_transposed.T, bias: by_bias})
            return by_x

        y = x @ weights[table].T
        return (y if bias is None else y + weights[bias]), back

    return run


def _pointwise(function: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Step:
    return lambda x: (function(x), lambda by_y: by_y * slope(x))


def _scaled(factor: float) -> Step:
    return lambda x: (x * factor, lambda by_y: by_y * factor)


def _first_token(x: Array) -> tuple[Array, Back]:
    """(batch, T, d) -> (batch, d)."""

    def back(by_first: Array) -> Array:
        by_x = np.zeros_like(x)
        by_x[:, 0] = by_first
        return by_x

    return x[:, 0], back


# Layers


def _layer(
    weights: _Part, sublayer: Callable[[Step, _Part], Step], attend: Step, feed: Step, read_memory: Step | None = None
) -> Step:
    """Self-attention, attention to the memory where there is one, feed-forward: each a sublayer with its own norm."""
    functions = {"self_attention": attend, "cross_attention": read_memory, "feed_forward": feed}
    return _then(*(sublayer(f, weights.part(f"{name}_norm")) for name, f in functions.items() if f is not None))


def _vaswani_layer(
    weights: _Part, attend: Step, activation: str, eps: float, norm_first: bool, read_memory: Step | None = None
) -> Step:
    def sublayer(f: Step, norm: _Part) -> Step:
        """LayerNorm(x + f(x)), Vaswani et al. 2017, section 3.1; or x + f(LayerNorm(x)), Xiong et al. 2020, table 1."""
        normalise = _layer_norm(norm, eps)
        return _residual(_then(normalise, f)) if norm_first else _then(_residual(f), normalise)

    return _layer(weights, sublayer, attend, _feed_forward(weights.part("feed_forward"), activation), read_memory)


def _encoder_layer(
    x: Array,
    weights: _Part,
    *,
    num_heads: int,
    mask: Array | None = None,
    activation: str,
    eps: float,
    norm_first: bool = False,
) -> tuple[Array, Back]:
    """Self-attention, then feed-forward. Vaswani et al. 2017, section 3.1. x (batch, T, d_model)."""
    attend = _attention(weights.part("self_attention"), num_heads, mask)
    return _vaswani_layer(weights, attend, activation, eps, norm_first)(x)


encoder_layer, encoder_layer_vjp = _operation(_encoder_layer)


def _decoder_layer(
    x: Array,
    memory: Array,
    weights: _Part,
    *,
    num_heads: int,
    self_mask: Array | None = None,
    memory_mask: Array | None = None,
    activation: str,
    eps: float,
    norm_first: bool = False,
) -> tuple[Array, Back]:
    """Self-attention, attention to the memory (batch, S, any width), feed-forward. Vaswani et al. 2017, section 3.1.

    Only the masks hide anything: the look-ahead mask has to be part of `self_mask`.
    """
    read = _Memory(memory)
    attend = _attention(weights.part("self_attention"), num_heads, self_mask)
    read_memory = _attention(weights.part("cross_attention"), num_heads, memory_mask, read)
    y, back = _vaswani_layer(weights, attend, activation, eps, norm_first, read_memory)(x)
    return y, lambda by_y: (back(by_y), read.gradient)


decoder_layer, decoder_layer_vjp = _operation(_decoder_layer)


def _of_keys(tokens: Array | None) -> Array | None:
    """True at tokens, (batch, T), as a mask (batch, 1, T), the same for all queries."""
    return None if tokens is None else tokens[..., None, :]


def _look_ahead(tokens: Array | None, length: int) -> Array:
    """The mask of a decoder: neither later positions nor padding is seen."""
    ahead = look_ahead_mask(length)
    return ahead if tokens is None else combine_masks(ahead, tokens[..., None, :])


# The Transformer. Vaswani et al. 2017, section 3


def _last_norm(weights: _Part, config: Any) -> list[Step]:
    """One more norm after pre-norm layers, which leave their sum as it is. Xiong et al. 2020, table 1."""
    return [_layer_norm(weights.part("final_norm"), config.eps)] if config.norm_first else []


def _encoder_stack(weights: _Part, config: Any, source_mask: Array | None) -> Step:
    return _then(
        *(
            _vaswani_layer(
                layer,
                _attention(layer.part("self_attention"), config.num_heads, _of_keys(source_mask)),
                config.activation,
                config.eps,
                config.norm_first,
            )
            for layer in weights.layers(config.num_encoder_layers)
        ),
        *_last_norm(weights, config),
    )


def _decoder_stack(
    weights: _Part, config: Any, memory: _Memory, source_mask: Array | None, target_mask: Array | None
) -> Step:
    def run(x: Array) -> tuple[Array, Back]:
        seen = _look_ahead(target_mask, x.shape[1])
        layers = (
            _vaswani_layer(
                layer,
                _attention(layer.part("self_attention"), config.num_heads, seen),
                config.activation,
                config.eps,
                config.norm_first,
                _attention(layer.part("cross_attention"), config.num_heads, _of_keys(source_mask), memory),
            )
            for layer in weights.layers(config.num_decoder_layers)
        )
        return _then(*layers, *_last_norm(weights, config))(x)

    return run


def _encoder(token_ids: Array, weights: _Part, config: Any, *, source_mask: Array | None = None) -> tuple[Array, Back]:
    """Embedding, then encoder layers. source_mask (batch, S), True at tokens; returns (batch, S, d_model)."""
    return _then(_scaled_embedding(weights.part("embedding")), _encoder_stack(weights, config, source_mask))(token_ids)


encoder, encoder_vjp = _operation(_encoder)


def _decoder(
    token_ids: Array,
    memory: Array,
    weights: _Part,
    config: Any,
    *,
    target_mask: Array | None = None,
    source_mask: Array | None = None,
) -> tuple[Array, Back]:
    """Embedding, then decoder layers over the memory (batch, S, d_model); returns (batch, T, d_model).

    target_mask (batch, T) and source_mask (batch, S) are True at tokens. No position sees a later one.
    """
    read = _Memory(memory)
    stack = _decoder_stack(weights, config, read, source_mask, target_mask)
    x, back = _then(_scaled_embedding(weights.part("embedding")), stack)(token_ids)
    return x, lambda by_x: (back(by_x), read.gradient)


decoder, decoder_vjp = _operation(_decoder)


def _transformer(
    source_ids: Array,
    target_ids: Array,
    weights: _Part,
    config: Any,
    *,
    source_mask: Array | None = None,
    target_mask: Array | None = None,
) -> tuple[Array, Back]:
    """Decoder(target, Encoder(source)) E^T, one table E for source, target and logits. Section 3.4.

    Returns (batch, T, vocabulary).
    """
    embedding = _scaled_embedding(weights.part("embedding"))
    encoded, back_to_source = _then(embedding, _encoder_stack(weights.part("encoder"), config, source_mask))(source_ids)
    memory = _Memory(encoded)
    logits, back_to_target = _then(
        embedding,
        _decoder_stack(weights.part("decoder"), config, memory, source_mask, target_mask),
        _tied_logits(weights, "embedding.table"),
    )(target_ids)

    def back(by_logits: Array) -> tuple[None, None]:
        back_to_target(by_logits)
        back_to_source(memory.gradient)
        return None, None

    return logits, back


transformer, transformer_vjp = _operation(_transformer)


# GPT. Radford et al. 2018, section 3.1, equation 2; Radford et al. 2019, section 2.3


def _gpt_steps(weights: _Part, config: Any, position_ids: Array, attention: Callable[[_Part, int], Step]) -> Step:
    """Embeddings, layers whose self-attention is that of `attention`, logits by the table of the embeddings."""
    layers = (
        _vaswani_layer(
            layer, attention(layer.part("self_attention"), i), config.activation, config.eps, config.norm_first
        )
        for i, layer in enumerate(weights.layers(config.num_layers))
    )
    return _then(
        _summed_embeddings(weights.part("embeddings"), position=position_ids),
        *layers,
        *_last_norm(weights, config),
        _tied_logits(weights, "embeddings.token"),
    )


def _gpt(
    token_ids: Array,
    weights: _Part,
    config: Any,
    *,
    attention_mask: Array | None = None,
    position_ids: Array | None = None,
) -> tuple[Array, Back]:
    """h_0 = E_token + E_position, h_l = Layer(h_{l-1}) under the look-ahead mask, logits = h_L E_token^T.

    token_ids, attention_mask (True at tokens) and position_ids (batch, T); returns (batch, T, vocabulary).
    """
    length = token_ids.shape[1]
    positions = np.arange(length) if position_ids is None else position_ids
    mask = _look_ahead(attention_mask, length)
    return _gpt_steps(weights, config, positions, lambda own, _: _attention(own, config.num_heads, mask))(token_ids)


gpt, gpt_vjp = _operation(_gpt)


def _cached_attention(weights: _Part, num_heads: int, mask: Array, cache: dict[str, Array]) -> Step:
    """Self-attention of new positions to all: their keys and values are put behind those in the cache."""

    def run(x: Array) -> tuple[Array, Back]:
        own = weights.own()
        query, key, value = _projected_heads(x, x, x, own, num_heads)
        for name, new in (("key", key), ("value", value)):
            cache[name] = np.concatenate((cache[name], new), axis=2) if name in cache else new
        seen = np.broadcast_to(mask, (len(x), *mask.shape[-2:]))[:, None]
        heads = scaled_dot_product_attention(query, cache["key"], cache["value"], mask=seen)
        return _linear(_side_by_side(heads), own, "o"), _no_way_back

    return run


def _no_way_back(_: Array) -> Array:
    raise NotImplementedError("a cache has no way back")


def _gpt_cached(
    token_ids: Array,
    weights: _Part,
    config: Any,
    *,
    steps: tuple[int, ...],
    attention_mask: Array | None = None,
    position_ids: Array | None = None,
) -> tuple[Array, Back]:
    """`gpt`, the tokens being read in pieces of `steps` tokens, with the keys and values of earlier pieces kept."""
    length = token_ids.shape[1]
    if sum(steps) != length or min(steps, default=0) < 1:
        raise ValueError(f"steps must be positive and add up to {length} tokens; given {steps}")
    caches: list[dict[str, Array]] = [{} for _ in range(config.num_layers)]
    positions = np.arange(length) if position_ids is None else position_ids
    mask = _look_ahead(attention_mask, length)
    pieces = []
    for start, stop in pairwise(accumulate(steps, initial=0)):
        seen = mask[..., start:stop, :stop]
        attention = lambda own, i, seen=seen: _cached_attention(own, config.num_heads, seen, caches[i])
        piece = _gpt_steps(weights, config, positions[..., start:stop], attention)
        pieces.append(piece(token_ids[:, start:stop])[0])

    def back(by_logits: Array) -> Any:
        # The same logits as those of gpt, and so the same gradients.
        _, back = _gpt(token_ids, weights, config, attention_mask=attention_mask, position_ids=position_ids)
        return back(by_logits)

    return np.concatenate(pieces, axis=1), back


gpt_cached, gpt_cached_vjp = _operation(_gpt_cached)


# BERT. Devlin et al. 2019, section 3, and the heads of section 3.1


def _bert_embeddings(weights: _Part, eps: float, token_type_ids: Array | None, position_ids: Array | None) -> Step:
    """LayerNorm(E_token + E_type + E_position)."""

    def run(token_ids: Array) -> tuple[Array, Back]:
        length = token_ids.shape[1]
        types = np.zeros(length, dtype=int) if token_type_ids is None else token_type_ids
        positions = np.arange(length) if position_ids is None else position_ids
        summed = _summed_embeddings(weights, token_type=types, position=positions)
        return _then(summed, _layer_norm(weights.part("norm"), eps))(token_ids)

    return run


def _bert_layer(weights: _Part, config: Any, attention_mask: Array | None) -> Step:
    attend = _attention(weights.part("self_attention"), config.num_heads, _of_keys(attention_mask))
    return _vaswani_layer(weights, attend, config.activation, config.eps, norm_first=False)


def _bert_steps(
    weights: _Part,
    config: Any,
    *,
    token_type_ids: Array | None = None,
    attention_mask: Array | None = None,
    position_ids: Array | None = None,
) -> Step:
    return _then(
        _bert_embeddings(weights.part("embeddings"), config.eps, token_type_ids, position_ids),
        *(_bert_layer(layer, config, attention_mask) for layer in weights.layers(config.num_layers)),
    )


def _pooler(weights: _Part) -> Step:
    """tanh(h_0 W + b), h_0 being that of the first token."""
    return _then(_first_token, _affine(weights), _pointwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2))


def _masked_language_model(weights: _Part, config: Any) -> Step:
    """LayerNorm(f(h W + b)) E_token^T + c."""
    own = weights.part("mlm")
    return _then(
        _affine(own),
        _pointwise(*_activation(config.activation)),
        _layer_norm(own.part("norm"), config.eps),
        _tied_logits(weights, "embeddings.token", "mlm.output_bias"),
    )


def _bert(token_ids: Array, weights: _Part, config: Any, **options: Any) -> tuple[Array, Back]:
    """The embeddings' norm, then post-norm encoder layers, without a look-ahead mask.

    The options are `token_type_ids`, 0 unless given, `position_ids`, 0, 1, ... unless given, and `attention_mask`, True
    at tokens, all (batch, T), here and in the heads. Returns (batch, T, d_model).
    """
    return _bert_steps(weights, config, **options)(token_ids)


bert, bert_vjp = _operation(_bert)


def _bert_pooled(token_ids: Array, weights: _Part, config: Any, **options: Any) -> tuple[Array, Back]:
    """tanh(h_0 W + b), (batch, d_model)."""
    return _then(_bert_steps(weights, config, **options), _pooler(weights.part("pooler")))(token_ids)


bert_pooled, bert_pooled_vjp = _operation(_bert_pooled)


def _bert_mlm(token_ids: Array, weights: _Part, config: Any, **options: Any) -> tuple[Array, Back]:
    """Task 1, the masked language model: logits (batch, T, vocabulary)."""
    return _then(_bert_steps(weights, config, **options), _masked_language_model(weights, config))(token_ids)


bert_mlm, bert_mlm_vjp = _operation(_bert_mlm)


def _bert_nsp(token_ids: Array, weights: _Part, config: Any, **options: Any) -> tuple[Array, Back]:
    """Task 2, next sentence prediction: logits (batch, 2)."""
    return _then(
        _bert_steps(weights, config, **options), _pooler(weights.part("pooler")), _affine(weights.part("nsp"))
    )(token_ids)


bert_nsp, bert_nsp_vjp = _operation(_bert_nsp)


# ALBERT. Lan et al. 2020, section 3.1


def _albert_steps(
    weights: _Part,
    config: Any,
    *,
    token_type_ids: Array | None = None,
    attention_mask: Array | None = None,
    position_ids: Array | None = None,
) -> Step:
    return _then(
        _bert_embeddings(weights.part("embeddings"), config.eps, token_type_ids, position_ids),
        _affine(weights.part("projection")),
        *[_bert_layer(weights.part("layer"), config, attention_mask)] * config.num_layers,
    )


def _albert(token_ids: Array, weights: _Part, config: Any, **options: Any) -> tuple[Array, Back]:
    """BERT with embeddings of a size of their own, taken to d_model by a projection, and one layer applied L times.

    Options and result are those of `bert`.
    """
    return _albert_steps(weights, config, **options)(token_ids)


albert, albert_vjp = _operation(_albert)


def _albert_pooled(token_ids: Array, weights: _Part, config: Any, **options: Any) -> tuple[Array, Back]:
    """tanh(h_0 W + b), (batch, d_model)."""
    return _then(_albert_steps(weights, config, **options), _pooler(weights.part("pooler")))(token_ids)


albert_pooled, albert_pooled_vjp = _operation(_albert_pooled)


def _albert_mlm(token_ids: Array, weights: _Part, config: Any, **options: Any) -> tuple[Array, Back]:
    """The masked language model, whose W leads back to the size of the embeddings: logits (batch, T, vocabulary)."""
    return _then(_albert_steps(weights, config, **options), _masked_language_model(weights, config))(token_ids)


albert_mlm, albert_mlm_vjp = _operation(_albert_mlm)


def _albert_sop(token_ids: Array, weights: _Part, config: Any, **options: Any) -> tuple[Array, Back]:
    """Sentence-order prediction: logits (batch, 2)."""
    return _then(
        _albert_steps(weights, config, **options), _pooler(weights.part("pooler")), _affine(weights.part("sop"))
    )(token_ids)


albert_sop, albert_sop_vjp = _operation(_albert_sop)


# T5. Raffel et al. 2020, section 2.1


def relative_position_bucket(
    relative_position: Array, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> Array:
    """Which bias a key has whose position less that of the query is `relative_position`.

    Half of the buckets of a direction are for single distances, 0, 1, ..., m - 1. The other half divide those from m to
    max_distance evenly in the logarithm, n being in m + floor(m log(n / m) / log(max_distance / m)), and the last one
    holds also what is farther. In one direction, keys ahead are at distance 0; in two, they have buckets of their own,
    the second half of all.
    """
    if bidirectional:
        num_buckets //= 2
        first = np.where(relative_position > 0, num_buckets, 0)
        distance = np.abs(relative_position)
    else:
        first = np.zeros(relative_position.shape, dtype=int)
        distance = np.maximum(-relative_position, 0)
    exact = num_buckets // 2
    begins = [*range(1, exact + 1), *(_first_distance(k, exact, max_distance) for k in range(1, exact))]
    return first + np.searchsorted(begins, distance, side="right")


def _first_distance(k: int, m: int, max_distance: int) -> int:
    """The smallest n with m log(n / m) / log(max_distance / m) >= k, which is n^m >= max_distance^k m^(m - k)."""
    n = int(m * (max_distance / m) ** (k / m)) - 1
    while n**m < max_distance**k * m ** (m - k):  # in integers, for at the edge a logarithm can fall to either side
        n += 1
    return n


def _biased_attention(
    query: Array, key: Array, value: Array, weights: _Part, num_heads: int, bias: Array | None, mask: Array | None
) -> tuple[Array, Back]:
    """Multi-head attention without a scale, with a bias of each head for the scores; the way back leads also to it."""
    own = weights.own()
    _check_multi_head(query, key, value, own, num_heads)
    q, k, v = _projected_heads(query, key, value, own, num_heads)
    scores = q @ _transposed(k)
    seen = _for_heads(mask, query, key)
    probabilities = _masked_softmax(scores if bias is None else scores + bias, seen)
    heads = _side_by_side(probabilities @ v)

    def back(by_result: Array) -> tuple[Array, Array, Array, Array]:
        gradients: Weights = {}
        by_heads = _heads(_linear_vjp(heads, own, "o", by_result, gradients), num_heads)
        by_scores = _softmax_vjp(probabilities, by_heads @ _transposed(v))
        by_projected = (by_scores @ k, _transposed(by_scores) @ q, _transposed(probabilities) @ by_heads)
        by_query, by_key, by_value = (
            _linear_vjp(x, own, name, _side_by_side(gradient), gradients)
            for x, name, gradient in zip((query, key, value), "qkv", by_projected, strict=True)
        )
        weights.add({name: gradients[name] for name in own})
        return by_query, by_key, by_value, by_scores

    return _linear(heads, own, "o"), back


def _t5_attention(
    query: Array,
    key: Array,
    value: Array,
    weights: _Part,
    *,
    num_heads: int,
    bias: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Back]:
    """Concat(head_1, ..., head_h) W^O, head_i = softmax(Q W_i^Q (K W_i^K)^T + bias_i) V W_i^V.

    bias (heads, T_q, T_k); everything else as in `multi_head_attention`. There are no biases of projections.
    """
    y, back = _biased_attention(query, key, value, weights, num_heads, bias, mask)
    return y, lambda by_y: back(by_y)[:3]


t5_attention, t5_attention_vjp = _operation(_t5_attention)


def _t5_self_attention(weights: _Part, table: _Part, buckets: Array, num_heads: int, mask: Array | None) -> Step:
    """Attention of x to itself, with the biases that `relative_bias` has for the buckets (T, T)."""

    def run(x: Array) -> tuple[Array, Back]:
        biases, back_to_table = _lookup(table, "relative_bias")(buckets)  # (T, T, heads)
        y, back_to_x = _biased_attention(x, x, x, weights, num_heads, biases.transpose(2, 0, 1), mask)

        def back(by_y: Array) -> Array:
            by_query, by_key, by_value, by_scores = back_to_x(by_y)
            back_to_table(by_scores.sum(axis=0).transpose(1, 2, 0))
            return by_query + by_key + by_value

        return y, back

    return run


def _t5_cross_attention(weights: _Part, memory: _Memory, num_heads: int, mask: Array | None) -> Step:
    """Attention of x to the memory, without biases."""

    def run(x: Array) -> tuple[Array, Back]:
        y, back_to_x = _biased_attention(x, memory.value, memory.value, weights, num_heads, None, mask)

        def back(by_y: Array) -> Array:
            by_query, by_key, by_value, _ = back_to_x(by_y)
            memory.gradient += by_key + by_value
            return by_query

        return y, back

    return run


def _t5_feed_forward(weights: _Part, activation: str) -> Step:
    """f(x W_1) W_2; or, gated, (GELU(x W_gate) * x W_1) W_2."""
    if activation != "gated_gelu":
        function = _pointwise(*_activation(activation))
        return _then(_affine(weights, "w_1", None), function, _affine(weights, "w_2", None))

    def gated(x: Array) -> tuple[Array, Back]:
        gate, back_of_gate = _then(_affine(weights, "w_gate", None), _pointwise(*_activation("gelu_tanh")))(x)
        inner, back_of_inner = _affine(weights, "w_1", None)(x)
        return gate * inner, lambda by_y: back_of_gate(by_y * inner) + back_of_inner(by_y * gate)

    return _then(gated, _affine(weights, "w_2", None))


def _t5_layer(weights: _Part, config: Any, attend: Step, read_memory: Step | None = None) -> Step:
    """x + f(RMSNorm(x)) for every sublayer."""
    sublayer = lambda f, norm: _residual(_then(_rms_norm(norm, config.eps), f))
    feed = _t5_feed_forward(weights.part("feed_forward"), config.activation)
    return _layer(weights, sublayer, attend, feed, read_memory)


def _t5_buckets(length: int, config: Any, *, bidirectional: bool) -> Array:
    """The bucket of every key for every query of self-attention, (T, T)."""
    place = np.arange(length)
    return relative_position_bucket(
        place[None, :] - place[:, None],
        bidirectional=bidirectional,
        num_buckets=config.num_buckets,
        max_distance=config.max_distance,
    )


def _t5_encoder_stack(weights: _Part, config: Any, attention_mask: Array | None) -> Step:
    def run(x: Array) -> tuple[Array, Back]:
        buckets = _t5_buckets(x.shape[1], config, bidirectional=True)
        mask = _of_keys(attention_mask)
        layers = (
            _t5_layer(
                layer,
                config,
                _t5_self_attention(layer.part("self_attention"), weights, buckets, config.num_heads, mask),
            )
            for layer in weights.layers(config.num_encoder_layers)
        )
        return _then(*layers, _rms_norm(weights.part("final_norm"), config.eps))(x)

    return run


def _t5_decoder_stack(
    weights: _Part, config: Any, memory: _Memory, memory_mask: Array | None, own_mask: Array | None
) -> Step:
    def run(x: Array) -> tuple[Array, Back]:
        buckets = _t5_buckets(x.shape[1], config, bidirectional=False)
        seen = _look_ahead(own_mask, x.shape[1])
        layers = (
            _t5_layer(
                layer,
                config,
                _t5_self_attention(layer.part("self_attention"), weights, buckets, config.num_heads, seen),
                _t5_cross_attention(layer.part("cross_attention"), memory, config.num_heads, _of_keys(memory_mask)),
            )
            for layer in weights.layers(config.num_decoder_layers)
        )
        return _then(*layers, _rms_norm(weights.part("final_norm"), config.eps))(x)

    return run


def _t5_encoder(
    token_ids: Array, weights: _Part, config: Any, *, attention_mask: Array | None = None
) -> tuple[Array, Back]:
    """Embeddings without scale and positions, then layers that share one table of biases, `relative_bias`.

    attention_mask (batch, S), True at tokens; returns (batch, S, d_model).
    """
    stack = _t5_encoder_stack(weights, config, attention_mask)
    return _then(_lookup(weights.part("embedding"), "table"), stack)(token_ids)


t5_encoder, t5_encoder_vjp = _operation(_t5_encoder)


def _t5_decoder(
    token_ids: Array,
    memory: Array,
    weights: _Part,
    config: Any,
    *,
    attention_mask: Array | None = None,
    decoder_attention_mask: Array | None = None,
) -> tuple[Array, Back]:
    """As the encoder, without a view of what comes later, and with attention to the memory (batch, S, d_model).

    attention_mask (batch, S) is of the memory, decoder_attention_mask (batch, T) of the tokens read here.
    """
    read = _Memory(memory)
    stack = _t5_decoder_stack(weights, config, read, attention_mask, decoder_attention_mask)
    x, back = _then(_lookup(weights.part("embedding"), "table"), stack)(token_ids)
    return x, lambda by_x: (back(by_x), read.gradient)


t5_decoder, t5_decoder_vjp = _operation(_t5_decoder)


def _t5(
    source_ids: Array,
    target_ids: Array,
    weights: _Part,
    config: Any,
    *,
    attention_mask: Array | None = None,
    decoder_attention_mask: Array | None = None,
) -> tuple[Array, Back]:
    """Decoder(target, Encoder(source)) E^T / sqrt(d_model), or, not tied, times a matrix `head` of its own.

    Returns (batch, T, vocabulary).
    """
    embedding = _lookup(weights.part("embedding"), "table")
    encoded, back_to_source = _then(embedding, _t5_encoder_stack(weights.part("encoder"), config, attention_mask))(
        source_ids
    )
    memory = _Memory(encoded)
    tied = _then(_scaled(1 / math.sqrt(config.d_model)), _tied_logits(weights, "embedding.table"))
    logits, back_to_target = _then(
        embedding,
        _t5_decoder_stack(weights.part("decoder"), config, memory, attention_mask, decoder_attention_mask),
        tied if config.tied else _affine(weights, "head", None),
    )(target_ids)

    def back(by_logits: Array) -> tuple[None, None]:
        back_to_target(by_logits)
        back_to_source(memory.gradient)
        return None, None

    return logits, back


t5, t5_vjp = _operation(_t5)


def shift_right(labels: Array, *, start_id: int, pad_id: int) -> Array:
    """What the decoder reads, (batch, T): the start, then all labels but the last; -100, no label, becomes padding."""
    read = np.full_like(labels, start_id)
    read[:, 1:] = labels[:, :-1]
    read[read == -100] = pad_id
    return read


# --- Chapters that have a file of their own -----------------------------------------------------------------------------

from transpec.impls._numpy_claims import (  # noqa: E402, F401
    convolution_stack,
    convolution_stack_vjp,
    lstm,
    lstm_vjp,
    rnn,
    rnn_vjp,
)
from transpec.impls._numpy_decoding import (  # noqa: E402, F401
    beam_search,
    greedy_decode,
    greedy_decode_t5,
    repetition_penalized,
    repetition_penalized_vjp,
    sample,
    sampling_distribution,
    sampling_distribution_vjp,
    temperature_scaled,
    temperature_scaled_vjp,
    top_k_filtered,
    top_k_filtered_vjp,
    top_p_filtered,
    top_p_filtered_vjp,
)
from transpec.impls._numpy_heads import (  # noqa: E402, F401
    align_labels,
    best_span,
    bio_spans,
    question_answering,
    question_answering_vjp,
    sequence_classification,
    sequence_classification_vjp,
    token_classification,
    token_classification_vjp,
)
from transpec.impls._numpy_metrics import (  # noqa: E402, F401
    accuracy,
    bits_per_byte,
    bits_per_byte_vjp,
    bleu,
    f1,
    macro_f1,
    matthews,
    pearson,
    pearson_vjp,
    perplexity,
    perplexity_vjp,
    span_f1,
    spearman,
    squad_exact_match,
    squad_f1,
)
from transpec.impls._numpy_objectives import (  # noqa: E402, F401
    accumulated_loss,
    accumulated_loss_vjp,
    cross_entropy,
    cross_entropy_vjp,
    distillation_loss,
    distillation_loss_vjp,
    language_modelling_loss,
    language_modelling_loss_vjp,
    mask_tokens,
    mask_tokens_at_random,
    masked_language_modelling_loss,
    masked_language_modelling_loss_vjp,
    next_sentence_loss,
    next_sentence_loss_vjp,
    span_corruption,
    span_noise_mask,
    text_to_text,
)
from transpec.impls._numpy_optimization import (  # noqa: E402, F401
    adam,
    adam_direction,
    adamw,
    clip_by_global_norm,
    cosine_schedule,
    linear_schedule,
    loss_scaled_steps,
    noam_schedule,
)
