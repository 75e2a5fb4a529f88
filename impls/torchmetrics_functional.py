"""torchmetrics: SQuAD's exact match and F1, as its functional interface gives them, and perplexity.

What stands here changes the form of arguments alone. Scores are float32 whatever is asked for, so that is what is judged.
"""

from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

try:
    from torchmetrics.functional.text import perplexity as perplexity_of_logits
    from torchmetrics.functional.text import squad
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f'there is no {missing.name}; the extra "evaluation" brings it: pip install "transpec[evaluation]"'
    ) from missing

Texts = tuple[str, ...]

NAME = "torchmetrics"
FRAMEWORK = "torch"
DTYPES = ("float32",)
VERSION = version("torchmetrics")


def squad_exact_match(predictions: Texts, answers: tuple[Texts, ...], *, dtype: Any) -> Tensor:
    """torchmetrics.functional.text.squad, "exact_match" of 100."""
    return (_squad(predictions, answers)["exact_match"] / 100).to(dtype)  # made in torch's default dtype


def squad_f1(predictions: Texts, answers: tuple[Texts, ...], *, dtype: Any) -> Tensor:
    """torchmetrics.functional.text.squad, "f1" of 100."""
    return (_squad(predictions, answers)["f1"] / 100).to(dtype)


def _squad(predictions: Texts, answers: tuple[Texts, ...]) -> dict[str, Tensor]:
    if len(predictions) == len(answers) and not all(answers):
        raise NotImplementedError("questions without an answer, which SQuAD 2.0 has: torchmetrics is of version 1.1")
    asked = [{"prediction_text": text, "id": str(place)} for place, text in enumerate(predictions)]
    told = [
        {"answers": {"text": list(texts), "answer_start": [0] * len(texts)}, "id": str(place)}
        for place, texts in enumerate(answers)
    ]
    return squad(asked, told)


def perplexity(log_probabilities: Tensor, mask: Tensor) -> Tensor:
    """torchmetrics.functional.text.perplexity of two words, the token and all that it is not; -100 where it is hidden."""
    others = torch.log(-torch.expm1(log_probabilities))
    labels = torch.where(mask, 0, -100)
    return perplexity_of_logits(torch.stack((log_probabilities, others), -1), labels, ignore_index=-100)
