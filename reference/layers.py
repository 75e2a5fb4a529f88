"""Encoder and decoder layers: sublayers, each with a residual connection and a norm (Vaswani et al. 2017, section 3.1)."""

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor

from transpec.operations import operation
from transpec.reference.attention import multi_head_attention
from transpec.reference.feed_forward import feed_forward
from transpec.reference.normalization import add_norm, layer_norm

Weights = dict[str, Tensor]


@operation("Vaswani et al. 2017, section 3.1, encoder; Xiong et al. 2020, table 1, for norm_first")
def encoder_layer(
    x: Float[Tensor, "B T M"],
    weights: Weights,
    *,
    num_heads: int,
    mask: Bool[Tensor, "B T T"] | None = None,
    activation: str,
    eps: float,
    norm_first: bool = False,
) -> Float[Tensor, "B T M"]:
    r"""Self-attention, then feed-forward; each sublayer f makes LayerNorm(x + f(x)), or x + f(LayerNorm(x)).

    The second form, pre-norm, is that of `norm_first`. Weights: those of `multi_head_attention` under
    `self_attention.`, of `feed_forward` under `feed_forward.`, and of `layer_norm` under `self_attention_norm.` and
    `feed_forward_norm.`. `mask` broadcasts to (B, T, T) and is True where a query may attend.
    """

    def attend(x: Tensor) -> Tensor:
        return multi_head_attention(x, x, x, part(weights, "self_attention"), num_heads=num_heads, mask=mask)

    def feed(x: Tensor) -> Tensor:
        return feed_forward(x, part(weights, "feed_forward"), activation=activation)

    sublayer = _pre_norm if norm_first else _post_norm
    x = sublayer(x, attend, part(weights, "self_attention_norm"), eps)
    return sublayer(x, feed, part(weights, "feed_forward_norm"), eps)


@operation("Vaswani et al. 2017, section 3.1, decoder; Xiong et al. 2020, table 1, for norm_first")
def decoder_layer(
    x: Float[Tensor, "B T M"],
    memory: Float[Tensor, "B S Ms"],
    weights: Weights,
    *,
    num_heads: int,
    self_mask: Bool[Tensor, "B T T"] | None = None,
    memory_mask: Bool[Tensor, "B T S"] | None = None,
    activation: str,
    eps: float,
    norm_first: bool = False,
) -> Float[Tensor, "B T M"]:
    r"""Self-attention, then attention with queries from x and keys and values from the memory, then feed-forward.

    Each is a sublayer as in `encoder_layer`; the memory, the encoder's output, is taken as it is. Weights: as there, and
    `cross_attention.` and `cross_attention_norm.`. Nothing is hidden but by the masks: `self_mask`, which broadcasts to
    (B, T, T), has to hold the look-ahead mask where there is to be one; `memory_mask` broadcasts to (B, T, S).
    """

    def attend(x: Tensor) -> Tensor:
        return multi_head_attention(x, x, x, part(weights, "self_attention"), num_heads=num_heads, mask=self_mask)

    def attend_to_memory(x: Tensor) -> Tensor:
        own = part(weights, "cross_attention")
        return multi_head_attention(x, memory, memory, own, num_heads=num_heads, mask=memory_mask)

    def feed(x: Tensor) -> Tensor:
        return feed_forward(x, part(weights, "feed_forward"), activation=activation)

    sublayer = _pre_norm if norm_first else _post_norm
    x = sublayer(x, attend, part(weights, "self_attention_norm"), eps)
    x = sublayer(x, attend_to_memory, part(weights, "cross_attention_norm"), eps)
    return sublayer(x, feed, part(weights, "feed_forward_norm"), eps)


def part(weights: Weights, name: str) -> Weights:
    """The weights under a dotted name, without it: `part({"a.b": x}, "a")` is `{"b": x}`."""
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def _post_norm(x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: Weights, eps: float) -> Float[Tensor, "B T M"]:
    return add_norm(x, sublayer(x), norm, eps=eps)


def _pre_norm(x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: Weights, eps: float) -> Float[Tensor, "B T M"]:
    return x + sublayer(layer_norm(x, norm, eps=eps))
