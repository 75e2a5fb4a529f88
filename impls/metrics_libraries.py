"""Metrics of the libraries that people use: scikit-learn, SciPy, sacreBLEU and seqeval, as they are called in programs.

What stands here changes the form of arguments alone: options that say what is meant are given, and nothing is computed.
"""

from importlib.metadata import version
from typing import Any

import numpy as np

try:
    from sacrebleu.metrics.bleu import BLEU
    from scipy import stats
    from seqeval.metrics import f1_score as entity_f1_score
    from sklearn import metrics
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f'there is no {missing.name}; the extra "evaluation" brings it: pip install "transpec[evaluation]"'
    ) from missing

Array = np.ndarray
Texts = tuple[str, ...]

NAME = "metrics_libraries"
FRAMEWORK = "numpy"
DTYPES = ("float64", "float32")
VERSION = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "scipy", "sacrebleu", "seqeval"))
CHOICES = {
    "metrics.f1-undefined": "zero",
    "metrics.macro-f1-absent-class": "zero",
    "metrics.span-f1-undefined": "zero",
    "metrics.constant-input": "nan",
}


def accuracy(predictions: Array, labels: Array, *, dtype: Any) -> float:
    """sklearn.metrics.accuracy_score."""
    return metrics.accuracy_score(labels, predictions)


def f1(predictions: Array, labels: Array, *, positive: int = 1, dtype: Any) -> float:
    """sklearn.metrics.f1_score of one class; average="binary" refuses labels of more than two."""
    return metrics.f1_score(labels == positive, predictions == positive, zero_division=0)


def macro_f1(predictions: Array, labels: Array, *, num_classes: int, dtype: Any) -> float:
    """sklearn.metrics.f1_score of all classes, those without an example too."""
    return metrics.f1_score(labels, predictions, labels=range(num_classes), average="macro", zero_division=0)


def matthews(predictions: Array, labels: Array, *, dtype: Any) -> float:
    """sklearn.metrics.matthews_corrcoef."""
    return metrics.matthews_corrcoef(labels, predictions)


def pearson(x: Array, y: Array) -> Array:
    """scipy.stats.pearsonr."""
    return np.asarray(stats.pearsonr(x, y).statistic, x.dtype)


def spearman(x: Array, y: Array) -> Array:
    """scipy.stats.spearmanr."""
    return np.asarray(stats.spearmanr(x, y).statistic, x.dtype)


def span_f1(predicted_tags: tuple[Texts, ...], true_tags: tuple[Texts, ...], *, dtype: Any) -> float:
    """seqeval.metrics.f1_score, which wants lists."""
    return entity_f1_score([list(tags) for tags in true_tags], [list(tags) for tags in predicted_tags], zero_division=0)


def bleu(hypotheses: Texts, references: tuple[Texts, ...], *, max_order: int = 4, dtype: Any) -> float:
    """sacrebleu.BLEU, which wants the first references of all, then the second, None where there is none."""
    most = max(map(len, references))
    streams = [[of_it[n] if n < len(of_it) else None for of_it in references] for n in range(most)]
    metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=max_order, force=True)
    return metric.corpus_score(list(hypotheses), streams).score / 100
