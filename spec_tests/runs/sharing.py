"""ALBERT's shared parameters: how many there are, and what their gradient is made of."""

from collections.abc import Mapping

import torch
from torch import Tensor

from transpec.cases import Case, integers, normal
from transpec.implementations import Implementation
from transpec.judgement import cotangent
from transpec.reference.albert import AlbertConfig, albert
from transpec.reference.bert import embed
from transpec.reference.layers import encoder_layer, part
from transpec.reference.normalization import layer_norm

CONFIG = AlbertConfig(
    vocab_size=17, embedding_size=5, d_model=12, d_ff=7, num_heads=3, num_layers=4, max_positions=11, eps=1e-6
)


def expected_parameters(config: AlbertConfig) -> int:
    """(V + P + types) E of the tables, 2 E of their norm, E M + M of the projection, and one layer whatever L is.

    The layer has four matrices M by M with biases, two norms, and a feed-forward network of F.
    """
    E, M, F = config.embedding_size, config.d_model, config.d_ff
    tables = (config.vocab_size + config.max_positions + config.num_token_types) * E
    return tables + 2 * E + E * M + M + layer_parameters(M, F)


def layer_parameters(M: int, F: int) -> int:
    """The parameters of one encoder layer."""
    return 4 * (M * M + M) + 2 * 2 * M + M * F + F + F * M + M


def unshared_parameters(config: AlbertConfig) -> int:
    """The parameters of the same model with a layer of its own at every depth."""
    return expected_parameters(config) + (config.num_layers - 1) * layer_parameters(config.d_model, config.d_ff)


def weights_of(config: AlbertConfig) -> dict[str, Tensor]:
    """Weights of `albert`, of a size at which every layer matters."""
    E, M, F = config.embedding_size, config.d_model, config.d_ff
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.token": (config.vocab_size, E),
        "embeddings.position": (config.max_positions, E),
        "embeddings.token_type": (config.num_token_types, E),
        "embeddings.norm.gain": (E,),
        "embeddings.norm.bias": (E,),
        "projection.w": (E, M),
        "projection.b": (M,),
        **{f"layer.self_attention.w_{name}": (M, M) for name in "qkvo"},
        **{f"layer.self_attention.b_{name}": (M,) for name in "qkvo"},
        **{
            f"layer.{norm}.{name}": (M,)
            for norm in ("self_attention_norm", "feed_forward_norm")
            for name in ("gain", "bias")
        },
        "layer.feed_forward.w_1": (M, F),
        "layer.feed_forward.b_1": (F,),
        "layer.feed_forward.w_2": (F, M),
        "layer.feed_forward.b_2": (M,),
    }
    return {
        name: normal(f"shared {name}", *shape) * 0.4 + (1.0 if name.endswith("gain") else 0.0)
        for name, shape in shapes.items()
    }


def model(name: str, config: AlbertConfig) -> Case:
    """A call of `albert`."""
    token_ids = integers(f"ids of {name}", config.vocab_size, 2, 6)
    return Case(albert, name, (token_ids,), weights_of(config), {}, ("float64", "float32"), config=config)


shared = [model("one layer four times", CONFIG)]


def layerwise_gradients(case: Case) -> dict[str, list[Tensor]]:
    """The gradients of an unshared stack whose layers have equal weights, in float64: of each weight, one a layer."""
    weights = {name: value.double() for name, value in (case.weights or {}).items()}
    own = [
        {name: value.clone().requires_grad_() for name, value in part(weights, "layer").items()}
        for _ in range(case.config.num_layers)
    ]
    x = embed(case.tensors[0], part(weights, "embeddings"), None, None)
    x = layer_norm(x, part(weights, "embeddings.norm"), eps=case.config.eps) @ weights["projection.w"]
    x = x + weights["projection.b"]
    for layer in own:
        x = encoder_layer(
            x, layer, num_heads=case.config.num_heads, activation=case.config.activation, eps=case.config.eps
        )
    leaves = [leaf for layer in own for leaf in layer.values()]
    found = iter(torch.autograd.grad(x, leaves, cotangent(case).double()))
    by_layer = [dict(zip(layer, found, strict=False)) for layer in own]
    return {f"weights['layer.{name}']": [layer[name] for layer in by_layer] for name in own[0]}


def summed_gradients(case: Case) -> dict[str, Tensor]:
    """What the gradients of the shared layer should be."""
    return {name: torch.stack(each).sum(0) for name, each in layerwise_gradients(case).items()}


def parameters(case: Case) -> int:
    """How many numbers the weights of a call have."""
    return sum(value.numel() for value in (case.weights or {}).values())


def gradients(implementation: Implementation, case: Case, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The implementation's gradients of the weights of these names."""
    _, found = implementation.gradients(case, cotangent(case))
    return {name: found[name] for name in names}
