"""How far the scores of the runs of GPT and T5 in the short form depend on what was drawn.

    python -m benchmarks.seeds [--seeds 5]

Every seed has its own weights, batches, dates and numbers to translate, and spans to hide; texts and their held-out parts
stay. The first row is what the requirements see.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from tabulate import tabulate

from transpec.implementations import REFERENCE, Implementation, find, load
from transpec.spec_tests.runs import language_modelling, loop, translation


def bits(reference: Implementation) -> float:
    """Of GPT for a held-out byte of Moby-Dick."""
    weights = language_modelling.pretrained(reference).weights
    model = language_modelling.as_called(reference)
    return language_modelling.bits_per_byte(model, weights, language_modelling.SHORT, "moby_dick")


SCORES: dict[str, Callable[[Implementation], float]] = {
    "GPT, bits/byte": bits,
    "T5, nats a hidden token": lambda reference: translation.span_scores(reference)[0],
    "T5, exact translations": lambda reference: translation.translations(reference).of_all,
    'T5 says "Das ist gut."': lambda reference: float(translation.translations(reference).answer == translation.ANSWER),
}


def scores_of(seed: int) -> list[float]:
    """All scores with one seed; 0 is that of the requirements."""
    loop.salt = f"seed {seed}: " if seed else ""
    loop.forget()
    reference = load(find(REFERENCE))
    return [score(reference) for score in SCORES.values()]


def main() -> None:
    """Print a row a seed, and the spread."""
    parser = argparse.ArgumentParser(description="spread of scores over seeds")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    torch.set_num_threads(1)
    rows: list[list[float]] = []
    for seed in range(parser.parse_args().seeds):
        rows.append(scores_of(seed))
        print(f"seed {seed}: {rows[-1]}", flush=True)
    columns = list(zip(*rows, strict=True))
    table: list[list[object]] = [[seed, *row] for seed, row in enumerate(rows)]
    table += [["mean", *map(statistics.mean, columns)], ["deviation", *map(statistics.pstdev, columns)]]
    baseline = language_modelling.ngram_bits(2, language_modelling.SHORT.max_positions)
    print(tabulate(table, headers=["seed", *SCORES], floatfmt=".4g"))
    print(f"A bigram model needs {baseline:.4g} bits/byte.")


if __name__ == "__main__":
    main()
