"""A second witness: the formulas of the Core chapters in mpmath at 50 digits, to decide whether the reference is right.

Written from the papers, not from reference/: numbers in nested lists, one sum at a time, no torch. What the papers do
not write, masks, leading axes and epsilons, is as the contract says. The way from an equation to its value is the
shortest: exponents are unbounded, so exp of any score has a value and nothing is subtracted first.

Papers: Vaswani et al. 2017 (Attention Is All You Need), Ba et al. 2016 (Layer Normalization), Hendrycks & Gimpel 2016
(GELU), Zhang & Sennrich 2019 (RMSNorm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mpmath import MPContext

mp = MPContext()  # a context of its own: nobody else's digits change
mp.dps = 50

Nested = Any  # a number, or a list of such
Matrix = list[list[Any]]
Weights = dict[str, Nested]

# ---------------------------------------------------------------------------------------------------------------------
# Attention (Vaswani et al. 2017, section 3.2)


def attention_weights(query: Nested, key: Nested, *, mask: Nested = None, scale: Any = None) -> Nested:
    """Equation 1: A_ts = exp(z_ts) / sum over the visible s' of exp(z_ts'), with z_ts = (sum_e Q_te K_se) / sqrt(d_k).

    A hidden score is minus infinity (section 3.2.3), so that its exponential is 0; where all are hidden A_t is 0.
    """
    return _over_leading_axes(lambda q, k, m: _weights_of_one(q, k, m, scale), (query, 2), (key, 2), (_mask(mask), 2))


def scaled_dot_product_attention(
    query: Nested, key: Nested, value: Nested, *, mask: Nested = None, scale: Any = None
) -> Nested:
    """Equation 1: Attention(Q, K, V)_td = sum_s A_ts V_sd."""
    return _over_leading_axes(
        lambda q, k, v, m: _product(_weights_of_one(q, k, m, scale), v),
        (query, 2),
        (key, 2),
        (value, 2),
        (_mask(mask), 2),
    )


def multi_head_attention(
    query: Nested, key: Nested, value: Nested, weights: Weights, *, num_heads: int, mask: Nested = None
) -> Nested:
    """Section 3.2.2: Concat(head_1, ..., head_h) W^O with head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V).

    W_i^Q is the i-th of h equal blocks of columns of `w_q`; a bias is a row added to every row of its product.
    """

    def one(q: Matrix, k: Matrix, v: Matrix, m: Matrix) -> Matrix:
        heads = [
            scaled_dot_product_attention(
                _affine(q, _columns(weights["w_q"], i, num_heads), _part(weights.get("b_q"), i, num_heads)),
                _affine(k, _columns(weights["w_k"], i, num_heads), _part(weights.get("b_k"), i, num_heads)),
                _affine(v, _columns(weights["w_v"], i, num_heads), _part(weights.get("b_v"), i, num_heads)),
                mask=m,
            )
            for i in range(num_heads)
        ]
        concatenated = [[number for head in heads for number in head[t]] for t in range(len(q))]
        return _affine(concatenated, weights["w_o"], weights.get("b_o"))

    return _over_leading_axes(one, (query, 2), (key, 2), (value, 2), (_mask(mask), 2))


def _weights_of_one(query: Matrix, key: Matrix, mask: Matrix, scale: Any) -> Matrix:
    factor = 1 / mp.sqrt(len(query[0])) if scale is None else mp.mpf(scale)
    weights = []
    for t, q in enumerate(query):
        seen = mask[t if len(mask) > 1 else 0]
        powers = [
            mp.exp(factor * _dot(q, k)) if seen[s if len(seen) > 1 else 0] else mp.mpf(0) for s, k in enumerate(key)
        ]
        total = mp.fsum(powers)
        weights.append([power / total if total else mp.mpf(0) for power in powers])
    return weights


def _mask(mask: Nested) -> Nested:
    """A mask with an axis for queries; no mask is one that hides nothing."""
    if mask is None:
        return [[True]]
    return mask if isinstance(mask[0], list) else [mask]


def _columns(matrix: Matrix, i: int, count: int) -> Matrix:
    return [_part(row, i, count) for row in matrix]


def _part(row: list[Any] | None, i: int, count: int) -> list[Any] | None:
    """The i-th of `count` equal parts of a row."""
    if row is None:
        return None
    size, left = divmod(len(row), count)
    if left:
        raise ValueError(f"{len(row)} numbers do not fall into {count} equal parts")
    return row[i * size : (i + 1) * size]


# ---------------------------------------------------------------------------------------------------------------------
# Masks (Vaswani et al. 2017, sections 3.1 and 3.2.3)


def padding_mask(token_ids: Nested, *, pad_id: int) -> Nested:
    """mask[b, 0, s] is True if and only if token_ids[b, s] is not `pad_id`."""
    return [[[token != pad_id for token in sequence]] for sequence in token_ids]


def look_ahead_mask(length: int) -> Nested:
    """mask[t, s] is True if and only if s <= t: no position attends to a subsequent one."""
    return [[s <= t for s in range(length)] for t in range(length)]


def combine_masks(*masks: Nested) -> Nested:
    """mask[...] is True if and only if every mask is True there; axes align at the last, and one of size 1 repeats."""
    if not masks:
        raise ValueError("no mask to combine")
    return _over_leading_axes(lambda *all_of: all(all_of), *((mask, 0) for mask in masks))


# ---------------------------------------------------------------------------------------------------------------------
# Positions and embeddings (Vaswani et al. 2017, sections 3.4 and 3.5)


def sinusoidal_positional_encoding(length: int, d_model: int, *, offset: int = 0) -> Matrix:
    """Section 3.5: PE(pos, 2i) = sin(pos / 10000^(2i / d_model)), PE(pos, 2i + 1) = cos(pos / 10000^(2i / d_model))."""

    def entry(position: int, column: int) -> Any:
        i, is_odd = divmod(column, 2)
        angle = position / mp.power(10000, mp.mpf(2 * i) / d_model)
        return mp.cos(angle) if is_odd else mp.sin(angle)

    return [[entry(offset + t, column) for column in range(d_model)] for t in range(length)]


def token_embedding(token_ids: Nested, weights: Weights, *, offset: int = 0) -> Nested:
    """Sections 3.4 and 3.5: the rows of the embedding, "multiplied by sqrt(d_model)", plus PE at `offset` + t."""
    table = weights["table"]
    d_model = len(table[0])

    def one(sequence: list[int]) -> Matrix:
        if any(token < 0 for token in sequence):
            raise IndexError("rows are counted from 0")
        positions = sinusoidal_positional_encoding(len(sequence), d_model, offset=offset)
        rows = zip(sequence, positions, strict=True)
        return [
            [mp.mpf(e) * mp.sqrt(d_model) + p for e, p in zip(table[token], row, strict=True)] for token, row in rows
        ]

    return _over_leading_axes(one, (token_ids, 1))


# ---------------------------------------------------------------------------------------------------------------------
# Feed-forward (Vaswani et al. 2017, section 3.3; Hendrycks & Gimpel 2016, section 2)


def feed_forward(x: Nested, weights: Weights, *, activation: str = "relu") -> Nested:
    """Equation 2: FFN(x) = max(0, x W_1 + b_1) W_2 + b_2, or with another activation in the place of max(0, .)."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"no such activation: {activation}")

    def one(row: list[Any]) -> list[Any]:
        inner = _affine([row], weights["w_1"], weights["b_1"])
        return _affine([[ACTIVATIONS[activation](y) for y in inner[0]]], weights["w_2"], weights["b_2"])[0]

    return _over_leading_axes(one, (x, 1))


def relu(x: Any) -> Any:
    """max(0, x)."""
    return max(mp.mpf(0), x)


def gelu(x: Any) -> Any:
    """Section 2: GELU(x) = x P(X <= x) with X ~ N(0, 1)."""
    return x * mp.ncdf(x)


def gelu_tanh(x: Any) -> Any:
    """Section 2: 0.5 x (1 + tanh[sqrt(2 / pi) (x + 0.044715 x^3)])."""
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


ACTIVATIONS = {"relu": relu, "gelu": gelu, "gelu_tanh": gelu_tanh}

# ---------------------------------------------------------------------------------------------------------------------
# Normalization (Ba et al. 2016, section 3; Zhang & Sennrich 2019, section 3; Vaswani et al. 2017, section 3.1)


def layer_norm(x: Nested, weights: Weights, *, eps: float) -> Nested:
    """Equations 3 and 4 of Ba et al.: g / sigma (a - mu) + b, mu = (sum a_i) / H, sigma^2 = (sum (a_i - mu)^2) / H.

    The equations have no epsilon; the contract's is added to sigma^2.
    """

    def one(row: list[Any]) -> list[Any]:
        a = [mp.mpf(number) for number in row]
        mu = mp.fsum(a) / len(a)
        sigma = mp.sqrt(mp.fsum((number - mu) ** 2 for number in a) / len(a) + mp.mpf(eps))
        triples = zip(a, weights["gain"], weights["bias"], strict=True)
        return [mp.mpf(gain) / sigma * (number - mu) + mp.mpf(bias) for number, gain, bias in triples]

    return _over_leading_axes(one, (x, 1))


def rms_norm(x: Nested, weights: Weights, *, eps: float, outside: bool = False) -> Nested:
    """Equation 4 of Zhang & Sennrich: a_i / RMS(a) g_i with RMS(a) = sqrt((sum a_i^2) / n).

    The equation has no epsilon; the contract's is added to the mean of squares, or, where `outside`, to their root.
    """

    def one(row: list[Any]) -> list[Any]:
        a = [mp.mpf(number) for number in row]
        mean = mp.fsum(number**2 for number in a) / len(a)
        rms = mp.sqrt(mean) + mp.mpf(eps) if outside else mp.sqrt(mean + mp.mpf(eps))
        return [number / rms * mp.mpf(gain) for number, gain in zip(a, weights["gain"], strict=True)]

    return _over_leading_axes(one, (x, 1))


def add_norm(x: Nested, sublayer_output: Nested, weights: Weights, *, eps: float) -> Nested:
    """Section 3.1 of Vaswani et al.: LayerNorm(x + Sublayer(x))."""
    total = _over_leading_axes(lambda a, b: mp.mpf(a) + mp.mpf(b), (x, 0), (sublayer_output, 0))
    return layer_norm(total, weights, eps=eps)


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives


def vector_jacobian_product(
    function: Callable[..., Nested], inputs: list[Nested], cotangent: Nested, step: str = "1e-15"
) -> list[Nested]:
    """sum_j c_j df_j/dx_i for every number x_i of every input, as the central difference (f(x + h) - f(x - h)) / 2h.

    Its error is of the order of h^2 f''' and of 1e-50 / h: at h = 1e-15 thirty digits are right.
    """
    h, changed, gradients = mp.mpf(step), _exact(inputs), _exact(inputs)
    weights = list(numbers(cotangent))

    def pulled() -> Any:
        return _dot(list(numbers(function(*changed))), weights)

    for row, place, gradient in _places(changed, gradients):
        middle = row[place]
        row[place] = middle + h
        above = pulled()
        row[place] = middle - h
        gradient[place] = (above - pulled()) / (2 * h)
        row[place] = middle
    return gradients


def _places(nested: Nested, like: Nested) -> Iterator[tuple[list[Any], int, list[Any]]]:
    """Every innermost list of `nested` with each place in it, and the list at the same place of `like`."""
    for place, value in enumerate(nested):
        if isinstance(value, list):
            yield from _places(value, like[place])
        else:
            yield nested, place, like


# ---------------------------------------------------------------------------------------------------------------------
# Lists


def numbers(nested: Nested) -> Iterator[Any]:
    """The numbers of nested lists, in order."""
    if isinstance(nested, list):
        for value in nested:
            yield from numbers(value)
    else:
        yield nested


def shape(nested: Nested) -> tuple[int, ...]:
    """The lengths of nested lists, from the outermost to the innermost."""
    return (len(nested), *(shape(nested[0]) if nested else ())) if isinstance(nested, list) else ()


def _over_leading_axes(function: Callable[..., Nested], *arguments: tuple[Nested, int]) -> Nested:
    """`function` of arguments with so many axes each, over all axes before them, which align and repeat as in numpy."""
    leading = [len(shape(value)) - axes for value, axes in arguments]
    if max(leading) == 0:
        return function(*(value for value, _ in arguments))
    outermost = [depth == max(leading) for depth in leading]
    counts = {len(value) for (value, _), is_outer in zip(arguments, outermost, strict=True) if is_outer} - {1} or {1}
    if len(counts) > 1:
        raise ValueError(f"axes of {sorted(counts)} entries do not go together")
    results = []
    for index in range(counts.pop()):
        inner = [
            (value[index if len(value) > 1 else 0] if is_outer else value, axes)
            for (value, axes), is_outer in zip(arguments, outermost, strict=True)
        ]
        results.append(_over_leading_axes(function, *inner))
    return results


def _exact(nested: Nested) -> Nested:
    return [_exact(value) for value in nested] if isinstance(nested, list) else mp.mpf(nested)


def _dot(x: list[Any], y: list[Any]) -> Any:
    return mp.fdot(zip(x, y, strict=True))


def _product(x: Matrix, y: Matrix) -> Matrix:
    """The matrix product: sum_k x_ik y_kj."""
    columns = list(zip(*y, strict=True))
    return [[_dot(row, list(column)) for column in columns] for row in x]


def _affine(x: Matrix, w: Matrix, b: list[Any] | None) -> Matrix:
    """X W + b, b added to every row."""
    product = _product(x, w)
    return product if b is None else [[y + mp.mpf(c) for y, c in zip(row, b, strict=True)] for row in product]
