"""How fast the reference trains: tokens a second beside the same GPT as nn.Module code and in Hugging Face transformers.

    python -m benchmarks.training [--steps 8] [--rounds 5]

The reference trains as in the runs, its formulas computed by torch's kernels; it is shown by its plain formulas too.
All start from the same weights, see the same batches, use the same loss and the same optimizer, on one thread. Rounds
alternate between them and seconds are the processor's, so that what else the machine does strikes all alike; the median
counts. First losses are compared: a model that computes something else has no throughput worth comparing.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional

from transpec.reference.gpt import GptConfig, gpt
from transpec.spec_tests.runs.kernels import by_kernels

Weights = dict[str, Tensor]

SIZES = {
    "short form": (GptConfig(256, 96, 384, 3, 2, max_positions=64), 32),
    "long form": (GptConfig(256, 128, 512, 4, 4, max_positions=128), 16),
    "vocabulary of 8,000": (GptConfig(8000, 256, 1024, 8, 4, max_positions=256), 4),
}
TOLERANCE = 1e-4  # between first losses, which are about six


# --- The same model, four times ---------------------------------------------------------------------------------------


class Block(nn.Module):
    """A pre-norm layer in nanoGPT's style: one linear layer for queries, keys and values, torch's fused attention."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.norm_1, self.norm_2 = (nn.LayerNorm(config.d_model, config.eps) for _ in range(2))
        self.attend, self.project = (nn.Linear(config.d_model, size * config.d_model) for size in (3, 1))
        self.enlarge, self.reduce = nn.Linear(config.d_model, config.d_ff), nn.Linear(config.d_ff, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, M)."""
        B, T, M = x.shape
        heads = self.attend(self.norm_1(x)).view(B, T, 3, self.heads, M // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads.unbind(0), is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(B, T, M))
        return x + self.reduce(functional.gelu(self.enlarge(self.norm_2(x)), approximate="tanh"))


class Model(nn.Module):
    """A GPT whose logits are made by its token table."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.d_model)
        self.position = nn.Embedding(config.max_positions, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.d_model, config.eps)

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids (B, T); returns (B, T, V)."""
        x = self.token(token_ids) + self.position(torch.arange(token_ids.shape[-1]))
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.token.weight)


@dataclass
class Contestant:
    """A model that trains: its name, its logits, its parameters, and the seconds of every round."""

    name: str
    logits: Callable[[Tensor], Tensor]
    parameters: list[Tensor]
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3)

    def step(self, batch: Tensor) -> float:
        """One step of training; the loss before it."""
        logits = self.logits(batch[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def initial_weights(config: GptConfig) -> Weights:
    """Weights of the reference: normal with deviation 0.02, biases of zero, gains of one."""
    torch.manual_seed(0)
    M, F = config.d_model, config.d_ff
    weights = {
        "embeddings.token": torch.randn(config.vocab_size, M),
        "embeddings.position": torch.randn(config.max_positions, M),
    }
    for i in range(config.num_layers):
        shapes = {f"self_attention.w_{which}": (M, M) for which in "qkvo"} | {
            "feed_forward.w_1": (M, F),
            "feed_forward.w_2": (F, M),
        }
        weights |= {f"layers.{i}.{name}": torch.randn(shape) for name, shape in shapes.items()}
    weights = {name: value * 0.02 for name, value in weights.items()}
    for i in range(config.num_layers):
        sizes = {f"self_attention.b_{which}": M for which in "qkvo"} | {"feed_forward.b_1": F, "feed_forward.b_2": M}
        weights |= {f"layers.{i}.{name}": torch.zeros(size) for name, size in sizes.items()}
        for norm in ("self_attention_norm", "feed_forward_norm"):
            weights |= {f"layers.{i}.{norm}.gain": torch.ones(M), f"layers.{i}.{norm}.bias": torch.zeros(M)}
    return weights | {"final_norm.gain": torch.ones(M), "final_norm.bias": torch.zeros(M)}


def of_reference(config: GptConfig, weights: Weights) -> Contestant:
    """The reference's gpt over a flat dict of leaves, as the runs train it."""
    return _over_leaves("transpec reference", by_kernels(gpt), config, weights)


def of_formulas(config: GptConfig, weights: Weights) -> Contestant:
    """The same with every formula in elementary operations, as it is written."""
    return _over_leaves("transpec reference, plain formulas", gpt, config, weights)


def _over_leaves(name: str, model: Callable[..., Tensor], config: GptConfig, weights: Weights) -> Contestant:
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    return Contestant(name, lambda ids: model(ids, leaves, config), list(leaves.values()))


def of_modules(config: GptConfig, weights: Weights) -> Contestant:
    """The modules above with the same weights."""
    model = Model(config)
    pairs: list[tuple[Tensor, Tensor]] = [
        (model.token.weight, weights["embeddings.token"]),
        (model.position.weight, weights["embeddings.position"]),
        *_pairs(model.norm, weights, "final_norm"),
    ]
    for i, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        own = f"layers.{i}"
        joined = {
            kind: torch.cat([weights[f"{own}.self_attention.{kind}_{which}"] for which in "qkv"], -1) for kind in "wb"
        }
        pairs += [(block.attend.weight, joined["w"].T), (block.attend.bias, joined["b"])]
        pairs += _pairs(block.norm_1, weights, f"{own}.self_attention_norm")
        pairs += _pairs(block.norm_2, weights, f"{own}.feed_forward_norm")
        for layer, part, which in (
            (block.project, "self_attention", "o"), (block.enlarge, "feed_forward", "1"), (block.reduce, "feed_forward", "2"),
        ):  # fmt: skip
            pairs += [
                (layer.weight, weights[f"{own}.{part}.w_{which}"].T),
                (layer.bias, weights[f"{own}.{part}.b_{which}"]),
            ]
    _fill(pairs)
    return Contestant("nn.Module, nanoGPT style", model, list(model.parameters()))


def of_transformers(config: GptConfig, weights: Weights) -> Contestant | None:
    """Hugging Face's GPT2LMHeadModel with the same weights; None where transformers is not installed."""
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        return None
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size, n_embd=config.d_model, n_inner=config.d_ff, n_head=config.num_heads,
            n_layer=config.num_layers, n_positions=config.max_positions, layer_norm_epsilon=config.eps, resid_pdrop=0.0,
            embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    body: Any = model.transformer
    pairs: list[tuple[Tensor, Tensor]] = [
        (body.wte.weight, weights["embeddings.token"]),
        (body.wpe.weight, weights["embeddings.position"]),
        *_pairs(body.ln_f, weights, "final_norm"),
    ]
    for i, block in enumerate(body.h):
        own = f"layers.{i}"
        joined = {
            kind: torch.cat([weights[f"{own}.self_attention.{kind}_{which}"] for which in "qkv"], -1) for kind in "wb"
        }
        pairs += [(block.attn.c_attn.weight, joined["w"]), (block.attn.c_attn.bias, joined["b"])]
        pairs += _pairs(block.ln_1, weights, f"{own}.self_attention_norm")
        pairs += _pairs(block.ln_2, weights, f"{own}.feed_forward_norm")
        for layer, part, which in (
            (block.attn.c_proj, "self_attention", "o"), (block.mlp.c_fc, "feed_forward", "1"),
            (block.mlp.c_proj, "feed_forward", "2"),
        ):  # fmt: skip
            pairs += [
                (layer.weight, weights[f"{own}.{part}.w_{which}"]),
                (layer.bias, weights[f"{own}.{part}.b_{which}"]),
            ]
    _fill(pairs)
    model.train()
    return Contestant(
        "transformers GPT2LMHeadModel", lambda ids: model(ids, use_cache=False).logits, list(model.parameters())
    )


def _pairs(norm: Any, weights: Weights, name: str) -> list[tuple[Tensor, Tensor]]:
    return [(norm.weight, weights[f"{name}.gain"]), (norm.bias, weights[f"{name}.bias"])]


def _fill(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for parameter, value in pairs:
            parameter.copy_(value)


# --- Measurement ------------------------------------------------------------------------------------------------------


def race(config: GptConfig, sequences: int, steps: int, rounds: int) -> list[Contestant]:
    """All contestants after so many rounds of so many steps each on the same batches."""
    weights = initial_weights(config)
    entered = [make(config, weights) for make in (of_reference, of_modules, of_transformers, of_formulas)]
    contestants = [each for each in entered if each is not None]
    length = config.max_positions
    batches = torch.randint(
        config.vocab_size, (steps, sequences, length + 1), generator=torch.Generator().manual_seed(1)
    )
    first = [each.step(batches[0]) for each in contestants]
    if not max(first) - min(first) <= TOLERANCE or not all(map(math.isfinite, first)):
        raise SystemExit(f"these do not compute the same: first losses {first}")
    for turn in range(rounds):
        for each in contestants[turn % len(contestants) :] + contestants[: turn % len(contestants)]:
            begun = time.process_time()
            for batch in batches:
                each.step(batch)
            each.seconds.append(time.process_time() - begun)
    return contestants


def rows(title: str, contestants: list[Contestant], tokens: int) -> list[list[object]]:
    """One row a contestant: tokens a second, the slowest and fastest round, and the reference's throughput over its own."""
    own = statistics.median(contestants[0].seconds)
    return [
        [title if each is contestants[0] else "", each.name, f"{tokens / statistics.median(each.seconds):,.0f}",
         f"{tokens / max(each.seconds):,.0f} to {tokens / min(each.seconds):,.0f}",
         f"{statistics.median(each.seconds) / own:.2f}"]
        for each in contestants
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="training throughput")
    parser.add_argument("--steps", type=int, default=8, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts")
    given = parser.parse_args()
    torch.set_num_threads(1)
    table: list[list[object]] = []
    for name, (config, sequences) in SIZES.items():
        tokens = given.steps * sequences * config.max_positions
        title = f"{name}: {config.num_layers} layers of {config.d_model}, {sequences} × {config.max_positions} tokens"
        table += rows(title, race(config, sequences, given.steps, given.rounds), tokens)
    headers = ["model", "code", "tokens/s, median", "range", "reference / this"]
    print(tabulate(table, headers=headers, disable_numparse=True))


if __name__ == "__main__":
    main()
