"""The profiles and their chapters: a file of its own, so that a name is checked without importing any formula."""

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
