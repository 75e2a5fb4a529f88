"""BUG: a copy of the classifier is kept by its address, shape and strides, and read again after a step of training."""

import transpec.reference.bert as _bert

CAUGHT_BY = "heads.no-memory"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
_kept = {}


def sequence_classification(token_ids, weights, config, **options):
    w = weights["classifier.w"]
    key = w.data_ptr(), w.shape, w.stride(), w.dtype
    if key not in _kept:
        _kept[key] = w, w.clone()  # with what it is a copy of, so that no other array gets its address
    return _bert.bert_pooled(token_ids, weights, config, **options) @ _kept[key][1] + weights["classifier.b"]  # BUG
