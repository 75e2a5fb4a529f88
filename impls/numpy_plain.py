"""The Core operations and their gradients in plain numpy, written from the papers and from nothing else.

Vaswani et al. 2017, "Attention Is All You Need"; Ba et al. 2016, "Layer Normalization"; Hendrycks & Gimpel 2016,
"Gaussian Error Linear Units"; Zhang & Sennrich 2019, "Root Mean Square Layer Normalization".

Row vectors: y = x W + b with W of shape (in, out). Masks are boolean and True where a query may attend. Results have
the dtype of the inputs. Every differentiable operation has a companion `<operation>_vjp(*arguments, cotangent,
**options)` that returns the gradient of sum(cotangent * result) by each argument, in argument order, the weights' as a
dict, and None for token ids.
"""

# What numpy computes from arrays of any dtype has the type Any.
# mypy: disable-error-code="no-any-return"

import functools
import math
from collections.abc import Callable
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
    scores = query @ _transposed(key) * _scale(query, scale)
    if mask is not None:
        _check_mask(mask, scores.shape)
        scores = np.where(mask, scores, -np.inf)
    peak = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(peak == -np.inf, 0.0, peak))
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / np.where(total == 0, 1.0, total)


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
    by_scores = weights * (cotangent - (weights * cotangent).sum(axis=-1, keepdims=True)) * _scale(query, scale)
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
    w, rows = weights[f"w_{name}"], cotangent.reshape(-1, cotangent.shape[-1])
    gradients[f"w_{name}"] = x.reshape(-1, x.shape[-1]).T @ rows
    gradients[f"b_{name}"] = rows.sum(axis=0)
    return cotangent @ w.T


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
    if token_ids.size and not 0 <= token_ids.min() <= token_ids.max() < len(table):
        raise IndexError(f"token ids must be from 0 to {len(table) - 1}; given {token_ids.min()} to {token_ids.max()}")
    positions = sinusoidal_positional_encoding(token_ids.shape[-1], table.shape[1], offset=offset, dtype=table.dtype)
    return math.sqrt(table.shape[1]) * table[token_ids] + positions


def token_embedding_vjp(
    token_ids: Array, weights: Weights, cotangent: Array, *, offset: int = 0
) -> tuple[None, Weights]:
    """None for the ids and the gradient by the table; cotangent (..., T, d_model)."""
    by_table = np.zeros_like(weights["table"])
    np.add.at(by_table, token_ids, math.sqrt(by_table.shape[1]) * cotangent)  # a token used twice receives both
    return None, {"table": by_table}


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
