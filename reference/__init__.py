"""The formulas of the Transformer in PyTorch: the definition that every implementation is held to, one chapter a file.

Dimension letters, the same everywhere:

    B   batch                      T   length of the queries, or of the one sequence there is
    S   length of keys and values  E   size of one query and one key, the papers' d_k
    D   size of one value, d_v     M   size of the model, d_model
    F   inner size, d_ff           H   number of heads
    V   size of the vocabulary     ... any leading axes, which broadcast
"""

import importlib

PROFILES = {
    "Core": ("attention", "masks", "positions", "feed_forward", "normalization", "embedding"),
    "Blocks": ("layers", "transformer"),
    "Models": ("bert", "gpt", "t5", "albert"),
    "Training": ("objectives", "heads", "optimization", "training", "pretraining", "claims"),
    "Decoding": ("decoding",),
    "Evaluation": ("metrics",),
}
CHAPTERS = tuple(chapter for chapters in PROFILES.values() for chapter in chapters)
WITHOUT_FORMULAS = ("training", "pretraining")  # what they train are the models of other chapters

for _chapter in CHAPTERS:
    if _chapter in WITHOUT_FORMULAS:
        continue
    importlib.import_module(f"transpec.reference.{_chapter}")
