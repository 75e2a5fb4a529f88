"""Fine-tuning heads on BERT: classes of sequences and of tokens, answer spans, and named entities (Devlin et al. 2019)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transpec.operations import operation
from transpec.reference.bert import BertConfig, bert, bert_pooled
from transpec.reference.layers import Weights

# --- Classifiers ------------------------------------------------------------------------------------------------------


@operation("Devlin et al. 2019, section 4.1 and figure 4 (a), (b)")
def sequence_classification(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: BertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B C"]:
    r"""pooled W + b: a logit for each of C classes, or one number where C is 1.

    Weights: those of `bert_pooled`, and `classifier.w` (M, C) and `classifier.b` (C). Options are those of `bert`.
    """
    pooled = bert_pooled(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return pooled @ weights["classifier.w"] + weights["classifier.b"]  # B C


@operation("Devlin et al. 2019, section 5.3 and figure 4 (d)")
def token_classification(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: BertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T C"]:
    r"""h W + b: a logit for each of C classes at every token, from BERT's result there, which is not pooled.

    Weights: those of `bert`, and `classifier.w` (M, C) and `classifier.b` (C). Logits at padding mean nothing.
    """
    hidden = bert(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return hidden @ weights["classifier.w"] + weights["classifier.b"]  # B T C


@operation("Devlin et al. 2019, section 4.2 and figure 4 (c); google-research/bert, run_squad.py, for the bias")
def question_answering(
    token_ids: Int[Tensor, "B T"],
    weights: Weights,
    config: BertConfig,
    *,
    token_type_ids: Int[Tensor, "B T"] | None = None,
    attention_mask: Bool[Tensor, "B T"] | None = None,
    position_ids: Int[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T 2"]:
    r"""(S . h + b_S, E . h + b_E): at every token the logits of being the start, 0, and the end, 1, of the answer.

    Weights: those of `bert`, and `classifier.w` (M, 2), whose columns are S and E, and `classifier.b` (2).
    """
    hidden = bert(
        token_ids, weights, config,
        token_type_ids=token_type_ids, attention_mask=attention_mask, position_ids=position_ids,
    )  # fmt: skip
    return hidden @ weights["classifier.w"] + weights["classifier.b"]  # B T 2


# --- Answers ----------------------------------------------------------------------------------------------------------


@operation("Devlin et al. 2019, sections 4.2 and 4.3")
def best_span(
    start_logits: Float[Tensor, "B T"],
    end_logits: Float[Tensor, "B T"],
    *,
    allowed: Bool[Tensor, "B T"],
    max_length: int,
    no_answer: bool = False,
    threshold: float = 0.0,
) -> Int[Tensor, "B 2"]:
    r"""The (i, j) with the highest S_i + E_j of those with i <= j, j - i < max_length, and i and j both allowed.

    `allowed` is True at the tokens of the passage and leaves at least one span in every row; a span may reach across
    a token that is not. With `no_answer` the result is (0, 0) where S_0 + E_0, [CLS]'s, is more than the highest sum plus
    `threshold`, whether [CLS] is allowed or not; where it is just as much there is an answer. Sums are compared in the
    dtype of the logits. Of two spans with one sum any may be given. Raises ValueError for a
    `max_length` below 1.
    """
    if max_length < 1:
        raise ValueError(f"a span holds at least one token, got a max_length of {max_length}")
    T = start_logits.shape[-1]
    place = torch.arange(T)
    length = place - place.unsqueeze(-1) + 1  # T T, starts by ends
    possible = (length >= 1) & (length <= max_length) & allowed.unsqueeze(-1) & allowed.unsqueeze(-2)  # B T T
    scores = start_logits.unsqueeze(-1) + end_logits.unsqueeze(-2)  # B T T
    scores = torch.where(possible, scores, -torch.inf).flatten(-2)  # B T*T
    best = scores.argmax(-1)  # B
    span = torch.stack((best // T, best % T), -1)  # B 2
    none = start_logits[:, 0] + end_logits[:, 0] > scores.amax(-1) + threshold  # B
    return torch.where(none.unsqueeze(-1), 0, span) if no_answer else span


# --- Named entities ---------------------------------------------------------------------------------------------------


@operation("Devlin et al. 2019, section 5.3: the first sub-token")
def align_labels(
    word_ids: Int[Tensor, "B T"], labels: Int[Tensor, "B W"], *, ignore_id: int = -100
) -> Int[Tensor, "B T"]:
    r"""labels[b, word_ids[b, t]] at the first sub-word of every word, `ignore_id` everywhere else.

    `word_ids` say to which word a sub-word belongs, -1 that it belongs to none, as special tokens and padding do. The
    sub-words of a word stand next to each other; a sub-word is the first where the one before it is of another word.
    Raises IndexError for a word without a label.
    """
    if word_ids.numel() and int(word_ids.max()) >= labels.shape[-1]:
        raise IndexError(f"there are {labels.shape[-1]} labels in a row, and none of word {int(word_ids.max())}")
    none = torch.full_like(word_ids[:, :1], -1)
    before = torch.cat([none, word_ids[:, :-1]], -1)  # B T
    is_first = (word_ids >= 0) & (word_ids != before)
    own = labels.gather(-1, word_ids.clamp_min(0))  # B T
    return torch.where(is_first, own, ignore_id)


@operation("Tjong Kim Sang & De Meulder 2003, section 2; conlleval for tags that do not follow it")
def bio_spans(tags: Int[Tensor, "B T"], *, num_types: int) -> Int[Tensor, "B T 2"]:
    r"""At the first token of every entity its type and the position of its last token, (-1, -1) everywhere else.

    Tag 0 is O, 2k + 1 is B-k and 2k + 2 is I-k, k being one of `num_types` types from 0 on. An entity begins at a B, and
    also at an I that follows an O, a tag of another type, or nothing; it goes on as long as tags are I of its type.
    Raises ValueError for other tags.
    """
    if tags.numel() and not 0 <= int(tags.min()) <= int(tags.max()) <= 2 * num_types:
        raise ValueError(f"tags must be from 0 to {2 * num_types}, got {int(tags.min())} to {int(tags.max())}")
    B, T = tags.shape
    kind = torch.where(tags == 0, -1, (tags - 1) // 2)  # B T; -1 is O
    before = torch.cat([torch.full((B, 1), -1), kind[:, :-1]], -1)
    starts = (kind >= 0) & ((tags % 2 == 1) | (kind != before))
    # An entity ends before the next token that starts one or is O; beyond the last token that is T.
    stops = torch.where(starts | (kind < 0), torch.arange(T), T)
    after = torch.cat([stops[:, 1:], torch.full((B, 1), T)], -1)
    last = after.flip(-1).cummin(-1).values.flip(-1) - 1 if T else after[:, :T]  # B T
    return torch.where(starts.unsqueeze(-1), torch.stack((kind, last), -1), -1)  # B T 2
