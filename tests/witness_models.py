"""The second witness on layers and models: their formulas in mpmath, written from the papers and the contract alone.

Vaswani et al. 2017, section 3.1 (layers, Transformer); Xiong et al. 2020, table 1 (pre-norm); Devlin et al. 2019 (BERT);
Radford et al. 2018 and 2019 (GPT); Raffel et al. 2020, section 2.1 (T5); Lan et al. 2020, section 3.1 (ALBERT). One
sequence at a time, one sum at a time, on what witness.py says of attention, norms and the feed-forward network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import witness
from witness import ACTIVATIONS, Matrix, Nested, Weights, mp

Sublayer = Callable[[Matrix], Matrix]


def _under(weights: Weights, name: str) -> Weights:
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(f"{name}.")}


def _sum(x: Matrix, y: Matrix) -> Matrix:
    return [[mp.mpf(a) + b for a, b in zip(left, right, strict=True)] for left, right in zip(x, y, strict=True)]


def _per_item(function: Callable[..., Nested], *batched: Nested) -> Nested:
    """`function` of every batch item; None stands for no argument."""
    count = len(batched[0])
    return [function(*(None if each is None else each[item] for each in batched)) for item in range(count)]


def _mask_of(mask: Nested, item: int, rank: int) -> Nested:
    """A mask of up to three axes for one batch item."""
    if mask is None or rank < 3:
        return mask
    return mask[item if len(mask) > 1 else 0]


def _rank(mask: Nested) -> int:
    return 0 if not isinstance(mask, list) else 1 + _rank(mask[0])


def _residual(x: Matrix, sublayer: Sublayer, norm: Weights, eps: float, first: bool) -> Matrix:
    """LayerNorm(x + f(x)), or x + f(LayerNorm(x))."""
    if first:
        return _sum(x, sublayer(witness.layer_norm(x, norm, eps=eps)))
    return witness.layer_norm(_sum(x, sublayer(x)), norm, eps=eps)


def _attention(weights: Weights, heads: int, mask: Nested, memory: Matrix | None = None) -> Sublayer:
    def attend(x: Matrix) -> Matrix:
        read = x if memory is None else memory
        return witness.multi_head_attention([x], [read], [read], weights, num_heads=heads, mask=mask)[0]

    return attend


# --- Layers -----------------------------------------------------------------------------------------------------------


def encoder_layer(
    x: Nested,
    weights: Weights,
    *,
    num_heads: int,
    mask: Nested = None,
    activation: str,
    eps: float,
    norm_first: bool = False,
) -> Nested:
    """Self-attention and feed-forward, each with its residual and its norm."""
    rank = _rank(mask)
    return [
        _encoder_layer(item, weights, num_heads, _mask_of(mask, b, rank), activation, eps, norm_first)
        for b, item in enumerate(x)
    ]


def _encoder_layer(
    x: Matrix, weights: Weights, heads: int, mask: Nested, activation: str, eps: float, first: bool
) -> Matrix:
    attend = _attention(_under(weights, "self_attention"), heads, mask)
    x = _residual(x, attend, _under(weights, "self_attention_norm"), eps, first)
    return _residual(x, _feeding(weights, activation), _under(weights, "feed_forward_norm"), eps, first)


def _feeding(weights: Weights, activation: str) -> Sublayer:
    return lambda x: witness.feed_forward(x, _under(weights, "feed_forward"), activation=activation)


def decoder_layer(
    x: Nested, memory: Nested, weights: Weights, *, num_heads: int, self_mask: Nested = None, memory_mask: Nested = None,
    activation: str, eps: float, norm_first: bool = False,
) -> Nested:  # fmt: skip
    """Self-attention, attention to the memory, feed-forward."""
    if len(x) != len(memory):
        raise ValueError(f"{len(x)} targets and {len(memory)} memories")
    own, other = _rank(self_mask), _rank(memory_mask)
    return [
        _decoder_layer(
            x[b], memory[b], weights, num_heads, _mask_of(self_mask, b, own), _mask_of(memory_mask, b, other), activation,
            eps, norm_first,
        )
        for b in range(len(x))
    ]  # fmt: skip


def _decoder_layer(
    x: Matrix, memory: Matrix, weights: Weights, heads: int, mask: Nested, memory_mask: Nested, activation: str, eps: float,
    first: bool,
) -> Matrix:  # fmt: skip
    sublayers = {
        "self_attention": _attention(_under(weights, "self_attention"), heads, mask),
        "cross_attention": _attention(_under(weights, "cross_attention"), heads, memory_mask, memory),
        "feed_forward": _feeding(weights, activation),
    }
    for name, sublayer in sublayers.items():
        x = _residual(x, sublayer, _under(weights, f"{name}_norm"), eps, first)
    return x


# --- Transformer ------------------------------------------------------------------------------------------------------


def encoder(token_ids: Nested, weights: Weights, config: Any, *, source_mask: Nested = None) -> Nested:
    """Embedding with positions, N layers, and in pre-norm a last norm."""

    def one(ids: list[int], real: list[bool] | None) -> Matrix:
        x = witness.token_embedding(ids, _under(weights, "embedding"))
        for i in range(config.num_encoder_layers):
            mask = None if real is None else [real]
            own = _under(weights, f"layers.{i}")
            x = _encoder_layer(x, own, config.num_heads, mask, config.activation, config.eps, config.norm_first)
        return _last(x, weights, config)

    return _per_item(one, token_ids, source_mask)


def decoder(
    token_ids: Nested, memory: Nested, weights: Weights, config: Any, *, target_mask: Nested = None,
    source_mask: Nested = None,
) -> Nested:  # fmt: skip
    """Embedding with positions, N layers under the look-ahead mask, and in pre-norm a last norm."""

    def one(ids: list[int], read: Matrix, real: list[bool] | None, shown: list[bool] | None) -> Matrix:
        x = witness.token_embedding(ids, _under(weights, "embedding"))
        for i in range(config.num_decoder_layers):
            x = _decoder_layer(
                x, read, _under(weights, f"layers.{i}"), config.num_heads, _past(len(ids), real),
                None if shown is None else [shown], config.activation, config.eps, config.norm_first,
            )  # fmt: skip
        return _last(x, weights, config)

    return _per_item(one, token_ids, memory, target_mask, source_mask)


def transformer(
    source_ids: Nested, target_ids: Nested, weights: Weights, config: Any, *, source_mask: Nested = None,
    target_mask: Nested = None,
) -> Nested:  # fmt: skip
    """The decoder over the encoder, and the one table for source, target and logits."""
    table = {"embedding.table": weights["embedding.table"]}
    memory = encoder(source_ids, table | _under(weights, "encoder"), config, source_mask=source_mask)
    own = table | _under(weights, "decoder")
    x = decoder(target_ids, memory, own, config, target_mask=target_mask, source_mask=source_mask)
    return [_by_table(item, weights["embedding.table"]) for item in x]


def _last(x: Matrix, weights: Weights, config: Any) -> Matrix:
    return witness.layer_norm(x, _under(weights, "final_norm"), eps=config.eps) if config.norm_first else x


def _past(length: int, real: list[bool] | None) -> list[list[bool]]:
    """Position t sees s <= t, where s is a token."""
    return [[s <= t and (real is None or real[s]) for s in range(length)] for t in range(length)]


def _by_table(x: Matrix, table: Matrix) -> Matrix:
    """The product with every row of a table: logits."""
    return [[mp.fsum(mp.mpf(a) * b for a, b in zip(row, word, strict=True)) for word in table] for row in x]


# --- BERT and ALBERT --------------------------------------------------------------------------------------------------


def _row(table: Matrix, place: int) -> list[Any]:
    if not 0 <= place < len(table):
        raise IndexError(f"no row {place} of {len(table)}")
    return table[place]


def _embedded(ids: list[int], types: list[int] | None, places: list[int] | None, tables: Weights, eps: float) -> Matrix:
    x = []
    for t, token in enumerate(ids):
        rows = (
            _row(tables["token"], token),
            _row(tables["token_type"], 0 if types is None else types[t]),
            _row(tables["position"], t if places is None else places[t]),
        )
        x.append([mp.fsum(parts) for parts in zip(*rows, strict=True)])
    return witness.layer_norm(x, _under(tables, "norm"), eps=eps)


def bert(
    token_ids: Nested, weights: Weights, config: Any, *, token_type_ids: Nested = None, attention_mask: Nested = None,
    position_ids: Nested = None,
) -> Nested:  # fmt: skip
    """The normed sum of three embeddings, then post-norm layers that see everything."""

    def one(ids: list[int], types: list[int] | None, real: list[bool] | None, places: list[int] | None) -> Matrix:
        x = _embedded(ids, types, places, _under(weights, "embeddings"), config.eps)
        for i in range(config.num_layers):
            mask = None if real is None else [real]
            own = _under(weights, f"layers.{i}")
            x = _encoder_layer(x, own, config.num_heads, mask, config.activation, config.eps, False)
        return x

    return _per_item(one, token_ids, token_type_ids, attention_mask, position_ids)


def albert(
    token_ids: Nested, weights: Weights, config: Any, *, token_type_ids: Nested = None, attention_mask: Nested = None,
    position_ids: Nested = None,
) -> Nested:  # fmt: skip
    """Embeddings of their own size, projected, then one layer again and again."""

    def one(ids: list[int], types: list[int] | None, real: list[bool] | None, places: list[int] | None) -> Matrix:
        x = _embedded(ids, types, places, _under(weights, "embeddings"), config.eps)
        x = _linear(x, weights, "projection")
        for _ in range(config.num_layers):
            mask, own = None if real is None else [real], _under(weights, "layer")
            x = _encoder_layer(x, own, config.num_heads, mask, config.activation, config.eps, False)
        return x

    return _per_item(one, token_ids, token_type_ids, attention_mask, position_ids)


def _linear(x: Matrix, weights: Weights, name: str) -> Matrix:
    w, b = weights[f"{name}.w"], weights[f"{name}.b"]
    columns = list(zip(*w, strict=True))
    return [
        [
            mp.fsum([b[j], *(mp.mpf(a) * c for a, c in zip(row, column, strict=True))])
            for j, column in enumerate(columns)
        ]
        for row in x
    ]


def _pooled(model: Callable[..., Nested]) -> Callable[..., Nested]:
    def pooled(token_ids: Nested, weights: Weights, config: Any, **options: Nested) -> Nested:
        """tanh of a linear layer on the result for the first token."""
        hidden = model(token_ids, weights, config, **options)
        return [[mp.tanh(a) for a in _linear(item[:1], weights, "pooler")[0]] for item in hidden]

    return pooled


def _masked(model: Callable[..., Nested]) -> Callable[..., Nested]:
    def predicted(token_ids: Nested, weights: Weights, config: Any, **options: Nested) -> Nested:
        """A linear layer, the activation, a norm, the table of tokens, a bias of words."""
        made = []
        for item in model(token_ids, weights, config, **options):
            x = [[ACTIVATIONS[config.activation](a) for a in row] for row in _linear(item, weights, "mlm")]
            x = witness.layer_norm(x, _under(weights, "mlm.norm"), eps=config.eps)
            logits = _by_table(x, weights["embeddings.token"])
            made.append([[a + b for a, b in zip(row, weights["mlm.output_bias"], strict=True)] for row in logits])
        return made

    return predicted


def _paired(pooled: Callable[..., Nested], name: str) -> Callable[..., Nested]:
    def classified(token_ids: Nested, weights: Weights, config: Any, **options: Nested) -> Nested:
        """A linear layer on what is pooled."""
        return _linear(pooled(token_ids, weights, config, **options), weights, name)

    return classified


bert_pooled, albert_pooled = _pooled(bert), _pooled(albert)
bert_mlm, albert_mlm = _masked(bert), _masked(albert)
bert_nsp, albert_sop = _paired(bert_pooled, "nsp"), _paired(albert_pooled, "sop")

# --- GPT --------------------------------------------------------------------------------------------------------------


def gpt(
    token_ids: Nested, weights: Weights, config: Any, *, attention_mask: Nested = None, position_ids: Nested = None
) -> Nested:
    """Token and position, layers under the look-ahead mask, in pre-norm a last norm, the table of tokens."""

    def one(ids: list[int], real: list[bool] | None, places: list[int] | None) -> Matrix:
        tokens, positions = weights["embeddings.token"], weights["embeddings.position"]
        rows = [
            (_row(tokens, token), _row(positions, t if places is None else places[t])) for t, token in enumerate(ids)
        ]
        x = [[mp.mpf(a) + b for a, b in zip(*pair, strict=True)] for pair in rows]
        for i in range(config.num_layers):
            own, mask = _under(weights, f"layers.{i}"), _past(len(ids), real)
            x = _encoder_layer(x, own, config.num_heads, mask, config.activation, config.eps, config.norm_first)
        return _by_table(_last(x, weights, config), tokens)

    return _per_item(one, token_ids, attention_mask, position_ids)


def gpt_cached(
    token_ids: Nested, weights: Weights, config: Any, *, steps: tuple[int, ...], **options: Nested
) -> Nested:
    """What is read in pieces is what is read at once."""
    if any(step < 1 for step in steps) or any(sum(steps) != len(ids) for ids in token_ids):
        raise ValueError(f"pieces of {steps} tokens")
    return gpt(token_ids, weights, config, **options)


# --- T5 ---------------------------------------------------------------------------------------------------------------


def relative_position_bucket(
    relative_position: Nested, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> Nested:
    """One distance a bucket in the first half, then evenly in the logarithm, decided in whole numbers."""
    if isinstance(relative_position, list):
        more = {"bidirectional": bidirectional, "num_buckets": num_buckets, "max_distance": max_distance}
        return [relative_position_bucket(each, **more) for each in relative_position]
    ahead, distance = 0, max(0, -relative_position)
    if bidirectional:
        num_buckets //= 2
        ahead, distance = num_buckets * (relative_position > 0), abs(relative_position)
    exact = num_buckets // 2
    if distance < exact:
        return ahead + distance
    steps, base = Fraction(distance, exact) ** exact, Fraction(max_distance, exact)
    far = sum(1 for _ in itertools.takewhile(lambda k: base**k <= steps, range(1, exact)))
    return ahead + exact + far


def t5_attention(
    query: Nested, key: Nested, value: Nested, weights: Weights, *, num_heads: int, bias: Nested = None,
    mask: Nested = None,
) -> Nested:  # fmt: skip
    """Heads of softmax(Q K^T + bias) V, side by side, times W^O."""
    rank = _rank(mask)
    return [
        _t5_attention(q, k, v, weights, num_heads, bias, _mask_of(mask, b, rank))
        for b, (q, k, v) in enumerate(zip(query, key, value, strict=True))
    ]


def _t5_attention(
    query: Matrix, key: Matrix, value: Matrix, weights: Weights, heads: int, bias: Nested, mask: Nested
) -> Matrix:
    q, k, v = (_times(x, weights[f"w_{name}"]) for x, name in ((query, "q"), (key, "k"), (value, "v")))
    if len(q[0]) % heads:
        raise ValueError(f"{heads} heads of {len(q[0])} columns")
    size, rows = len(q[0]) // heads, mask if _rank(mask) > 1 else [mask]
    made: Matrix = [[] for _ in q]
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        for t, own in enumerate(q):
            seen = None if mask is None else rows[t if len(rows) > 1 else 0]
            powers = []
            for s, other in enumerate(k):
                score = mp.fsum(a * b for a, b in zip(own[part], other[part], strict=True))
                score += 0 if bias is None else bias[h][t][s]
                hidden = seen is not None and not seen[s if len(seen) > 1 else 0]
                powers.append(mp.mpf(0) if hidden else mp.exp(score))
            total = mp.fsum(powers) or mp.mpf(1)
            made[t] += [
                mp.fsum(power * row[d] for power, row in zip(powers, v, strict=True)) / total
                for d in range(part.start, part.stop)
            ]
    return _times(made, weights["w_o"])


def _times(x: Matrix, w: Matrix) -> Matrix:
    columns = list(zip(*w, strict=True))
    return [[mp.fsum(mp.mpf(a) * c for a, c in zip(row, column, strict=True)) for column in columns] for row in x]


def t5_encoder(token_ids: Nested, weights: Weights, config: Any, *, attention_mask: Nested = None) -> Nested:
    """x + f(RMSNorm(x)) for self-attention with a relative bias and feed-forward, and a last RMSNorm."""

    def one(ids: list[int], real: list[bool] | None) -> Matrix:
        mask = None if real is None else [real]
        return _t5_stack(ids, weights, config, config.num_encoder_layers, mask, bidirectional=True)

    return _per_item(one, token_ids, attention_mask)


def t5_decoder(
    token_ids: Nested, memory: Nested, weights: Weights, config: Any, *, attention_mask: Nested = None,
    decoder_attention_mask: Nested = None,
) -> Nested:  # fmt: skip
    """As the encoder, looking back only, with attention to the memory that has no bias."""

    def one(ids: list[int], read: Matrix, real: list[bool] | None, shown: list[bool] | None) -> Matrix:
        mask, memory_mask = _past(len(ids), real), None if shown is None else [shown]
        layers = config.num_decoder_layers
        return _t5_stack(ids, weights, config, layers, mask, bidirectional=False, memory=read, memory_mask=memory_mask)

    return _per_item(one, token_ids, memory, decoder_attention_mask, attention_mask)


def _t5_stack(
    ids: list[int], weights: Weights, config: Any, layers: int, mask: Nested, *, bidirectional: bool,
    memory: Matrix | None = None, memory_mask: Nested = None,
) -> Matrix:  # fmt: skip
    x = [[mp.mpf(a) for a in _row(weights["embedding.table"], token)] for token in ids]
    sizes = {"num_buckets": config.num_buckets, "max_distance": config.max_distance}
    buckets = [
        [relative_position_bucket(s - t, bidirectional=bidirectional, **sizes) for s in range(len(ids))]
        for t in range(len(ids))
    ]
    table = weights["relative_bias"]
    bias = [[[table[bucket][h] for bucket in row] for row in buckets] for h in range(config.num_heads)]
    for i in range(layers):
        own = _under(weights, f"layers.{i}")
        read = _t5_norm(x, own, "self_attention", config)
        x = _sum(x, _t5_attention(read, read, read, _under(own, "self_attention"), config.num_heads, bias, mask))
        if memory is not None:
            read, cross = _t5_norm(x, own, "cross_attention", config), _under(own, "cross_attention")
            x = _sum(x, _t5_attention(read, memory, memory, cross, config.num_heads, None, memory_mask))
        x = _sum(x, _t5_feed(_t5_norm(x, own, "feed_forward", config), _under(own, "feed_forward"), config))
    return witness.rms_norm(x, _under(weights, "final_norm"), eps=config.eps)


def _t5_norm(x: Matrix, own: Weights, name: str, config: Any) -> Matrix:
    return witness.rms_norm(x, _under(own, f"{name}_norm"), eps=config.eps)


def _t5_feed(x: Matrix, own: Weights, config: Any) -> Matrix:
    inner = _times(x, own["w_1"])
    if config.activation == "gated_gelu":
        gate = _times(x, own["w_gate"])
        pairs = (zip(a, b, strict=True) for a, b in zip(gate, inner, strict=True))
        return _times([[ACTIVATIONS["gelu_tanh"](g) * y for g, y in pair] for pair in pairs], own["w_2"])
    return _times([[ACTIVATIONS["relu"](y) for y in row] for row in inner], own["w_2"])


def t5(
    source_ids: Nested, target_ids: Nested, weights: Weights, config: Any, *, attention_mask: Nested = None,
    decoder_attention_mask: Nested = None,
) -> Nested:  # fmt: skip
    """The decoder over the encoder; a tied head is scaled by d_model^(-1/2)."""
    table = {"embedding.table": weights["embedding.table"]}
    memory = t5_encoder(source_ids, table | _under(weights, "encoder"), config, attention_mask=attention_mask)
    x = t5_decoder(
        target_ids, memory, table | _under(weights, "decoder"), config,
        attention_mask=attention_mask, decoder_attention_mask=decoder_attention_mask,
    )  # fmt: skip
    if not config.tied:
        return [_times(item, weights["head"]) for item in x]
    root = mp.sqrt(config.d_model)
    return [[[a / root for a in row] for row in _by_table(item, weights["embedding.table"])] for item in x]


def shift_right(labels: Nested, *, start_id: int, pad_id: int) -> Nested:
    """The start, then all labels but the last, with padding for labels that are ignored."""
    return [[start_id, *(pad_id if label == -100 else label for label in row[:-1])] for row in labels]
