"""The formulas of the Transformer in PyTorch: the definition that every implementation is held to, one chapter a file.

Dimension letters, the same everywhere:

    B   batch                      T   length of the queries, or of the one sequence there is
    S   length of keys and values  E   size of one query and one key, the papers' d_k
    D   size of one value, d_v     M   size of the model, d_model
    F   inner size, d_ff           H   number of heads
    V   size of the vocabulary     ... any leading axes, which broadcast
"""

import importlib

from transpec.profiles import CHAPTERS, WITHOUT_FORMULAS

for _chapter in CHAPTERS:
    if _chapter in WITHOUT_FORMULAS:
        continue
    importlib.import_module(f"transpec.reference.{_chapter}")
