"""Mistakes in token embeddings."""

import math
from typing import Any

import torch

from transpec.catalogue import fault
from transpec.reference.embedding import token_embedding
from transpec.reference.positions import sinusoidal_positional_encoding


def _rows(token_ids, weights):
    """The scaled rows without positions."""
    return weights["table"][token_ids] * math.sqrt(weights["table"].shape[-1])


def _encoding(length, weights, offset=0):
    """Positions in the width and dtype of the table."""
    table = weights["table"]
    return sinusoidal_positional_encoding(length, table.shape[-1], offset=offset, dtype=table.dtype)


# --- Scale ------------------------------------------------------------------------------------------------------------


@fault(
    token_embedding, "embedding.scale-missing", breaks="embedding.scale",
    effect="positions drown the embeddings, whose entries are made for the scale",
)  # fmt: skip
def embeddings_are_not_scaled(token_ids, weights, *, offset=0):
    return weights["table"][token_ids] + _encoding(token_ids.shape[-1], weights, offset)


@fault(
    token_embedding, "embedding.positions-scaled", breaks="embedding.positions-unscaled",
    effect="positions drown the embeddings as if there were no scale",
)  # fmt: skip
def positions_are_scaled_too(token_ids, weights, *, offset=0):
    table = weights["table"]
    return (table[token_ids] + _encoding(token_ids.shape[-1], weights, offset)) * math.sqrt(table.shape[-1])


@fault(
    token_embedding, "embedding.scale-of-the-width", breaks="embedding.scale",
    effect="embeddings drown the positions",
)  # fmt: skip
def the_scale_is_the_width_instead_of_its_root(token_ids, weights, *, offset=0):
    table = weights["table"]
    return table[token_ids] * table.shape[-1] + _encoding(token_ids.shape[-1], weights, offset)


@fault(
    token_embedding, "embedding.scale-inverted", breaks="embedding.scale",
    effect="the scale of tied logits is put on the embeddings, which vanish beside the positions",
)  # fmt: skip
def embeddings_are_divided_by_the_root_of_the_width(token_ids, weights, *, offset=0):
    table = weights["table"]
    return table[token_ids] / math.sqrt(table.shape[-1]) + _encoding(token_ids.shape[-1], weights, offset)


@fault(
    token_embedding, "embedding.scale-whole", breaks="embedding.widths",
    effect="widths that are no square have a slightly smaller scale",
)  # fmt: skip
def the_root_of_the_width_is_cut_to_an_integer(token_ids, weights, *, offset=0):
    table = weights["table"]
    return table[token_ids] * math.isqrt(table.shape[-1]) + _encoding(token_ids.shape[-1], weights, offset)


@fault(
    token_embedding, "embedding.scale-of-the-vocabulary", breaks="embedding.scale",
    effect="the scale grows with the number of words",
)  # fmt: skip
def the_scale_is_the_root_of_the_number_of_words(token_ids, weights, *, offset=0):
    table = weights["table"]
    return table[token_ids] * math.sqrt(len(table)) + _encoding(token_ids.shape[-1], weights, offset)


@fault(
    token_embedding, "embedding.scale-of-the-length", breaks="embedding.continuation",
    effect="a token has another embedding in a sequence of another length",
)  # fmt: skip
def the_scale_is_the_root_of_the_length(token_ids, weights, *, offset=0):
    length = token_ids.shape[-1]
    return weights["table"][token_ids] * math.sqrt(length) + _encoding(length, weights, offset)


@fault(
    token_embedding, "embedding.scale-of-512", breaks="embedding.widths",
    effect="only a model of the paper's width has the right scale",
)  # fmt: skip
def the_scale_is_that_of_the_paper_s_width(token_ids, weights, *, offset=0):
    return weights["table"][token_ids] * math.sqrt(512) + _encoding(token_ids.shape[-1], weights, offset)


# --- Positions --------------------------------------------------------------------------------------------------------


@fault(
    token_embedding, "embedding.positions-missing", breaks="embedding.positions-unscaled",
    effect="the model does not know the order of its tokens",
)  # fmt: skip
def no_positions_are_added(token_ids, weights, *, offset=0):
    return _rows(token_ids, weights)


@fault(
    token_embedding, "embedding.positions-by-batch", breaks="embedding.positions-per-sequence",
    seen="AkiRusProd/numpy-transformer#1", effect="all tokens of a sequence stand at one position",
)  # fmt: skip
def positions_count_sequences_of_the_batch(token_ids, weights, *, offset=0):
    positions = _encoding(len(token_ids), weights, offset)
    places = (
        positions.view(len(token_ids), *([1] * (token_ids.dim() - 1)), -1) if token_ids.dim() > 1 else positions[:1]
    )
    return _rows(token_ids, weights) + places


@fault(
    token_embedding, "embedding.positions-run-on", breaks="embedding.positions-per-sequence",
    seen="huggingface/nanoVLM#204", effect="a sequence stands where the one before it in the batch ends",
)  # fmt: skip
def positions_run_on_through_the_batch(token_ids, weights, *, offset=0):
    positions = _encoding(token_ids.numel(), weights, offset)
    return _rows(token_ids, weights) + positions.view(*token_ids.shape, -1)


@fault(
    token_embedding, "embedding.last-position-for-all", breaks="embedding.positions-unscaled",
    seen="DiffPoseTalk/DiffPoseTalk#20", effect="all tokens stand at one position, which the length decides",
)  # fmt: skip
def the_position_after_the_last_is_added_to_every_token(token_ids, weights, *, offset=0):
    return _rows(token_ids, weights) + _encoding(1, weights, offset + token_ids.shape[-1])


@fault(
    token_embedding, "embedding.offset-ignored", breaks="embedding.offset",
    seen="time-series-foundation-models/lag-llama#81", effect="every token of cached decoding stands at position 0",
)  # fmt: skip
def the_offset_does_not_reach_the_positions(token_ids, weights, *, offset=0):
    return token_embedding(token_ids, weights)


@fault(
    token_embedding, "embedding.positions-skip-padding", breaks="embedding.every-id",
    seen="facebookresearch/fairseq#316", effect="tokens after an id that is taken for padding stand too early",
)  # fmt: skip
def tokens_of_id_0_have_no_position_of_their_own(token_ids, weights, *, offset=0):
    positions = _encoding(token_ids.shape[-1], weights, offset)
    places = ((token_ids != 0).cumsum(-1) - 1).clamp_min(0)
    return _rows(token_ids, weights) + positions[places]


@fault(
    token_embedding, "embedding.positions-by-id", breaks="embedding.positions-unscaled",
    effect="a token has the same position wherever it stands",
)  # fmt: skip
def positions_are_looked_up_by_id(token_ids, weights, *, offset=0):
    return _rows(token_ids, weights) + _encoding(len(weights["table"]), weights, offset)[token_ids]


@fault(
    token_embedding, "embedding.positions-subtracted", breaks="embedding.positions-unscaled",
    effect="weights that were trained with the paper's sign read positions upside down",
)  # fmt: skip
def positions_are_subtracted(token_ids, weights, *, offset=0):
    return _rows(token_ids, weights) - _encoding(token_ids.shape[-1], weights, offset)


@fault(
    token_embedding, "embedding.positions-in-float32", breaks="embedding.equation",
    effect="results in float64 have the precision of float32",
)  # fmt: skip
def positions_are_kept_in_float32(token_ids, weights, *, offset=0):
    positions = _encoding(token_ids.shape[-1], weights, offset)
    return _rows(token_ids, weights) + positions.to(torch.float32).to(positions.dtype)


# --- Rows -------------------------------------------------------------------------------------------------------------


@fault(
    token_embedding, "embedding.padding-row-zero", breaks="embedding.every-id",
    seen="huggingface/transformers#10200", effect="the token of id 0 has no embedding",
)  # fmt: skip
def the_row_of_id_0_is_zero(token_ids, weights, *, offset=0):
    table = weights["table"]
    first = (torch.arange(len(table)) == 0).unsqueeze(-1)
    return token_embedding(token_ids, {"table": table.masked_fill(first, 0.0)}, offset=offset)


@fault(
    token_embedding, "embedding.padding-without-position", breaks="embedding.positions-unscaled",
    effect="the token of id 0 stands nowhere",
)  # fmt: skip
def tokens_of_id_0_are_zero_altogether(token_ids, weights, *, offset=0):
    return token_embedding(token_ids, weights, offset=offset).masked_fill((token_ids == 0).unsqueeze(-1), 0.0)


@fault(
    token_embedding, "embedding.last-row-unreachable", breaks="embedding.every-id",
    effect="the last token of the vocabulary is taken for the one before it",
)  # fmt: skip
def ids_are_clamped_one_row_too_early(token_ids, weights, *, offset=0):
    return token_embedding(token_ids.clamp_max(max(len(weights["table"]) - 2, 0)), weights, offset=offset)


@fault(
    token_embedding, "embedding.ids-from-one", breaks="embedding.every-id",
    effect="every token has the embedding of its neighbour",
)  # fmt: skip
def ids_are_counted_from_one(token_ids, weights, *, offset=0):
    return token_embedding(token_ids - 1, weights, offset=offset)


@fault(
    token_embedding, "embedding.ids-in-float16", breaks="embedding.every-id",
    effect="from id 2048 on every second token is taken for its neighbour",
)  # fmt: skip
def ids_are_rounded_to_float16(token_ids, weights, *, offset=0):
    rounded = token_ids.to(torch.float16).to(torch.int64).clamp_max(len(weights["table"]) - 1)
    return token_embedding(rounded, weights, offset=offset)


@fault(
    token_embedding, "embedding.rows-normalised", breaks="embedding.equation",
    effect="the lengths of the learned vectors are lost",
)  # fmt: skip
def rows_longer_than_one_are_shortened_to_it(token_ids, weights, *, offset=0):
    table = weights["table"]
    norm = table.square().sum(-1, keepdim=True).sqrt()
    return token_embedding(token_ids, {"table": table / norm.clamp_min(1.0)}, offset=offset)


@fault(
    token_embedding, "embedding.first-sequence-for-all", breaks="embedding.batch-independence",
    effect="every sequence of a batch is read as the first one",
)  # fmt: skip
def the_first_sequence_stands_for_the_batch(token_ids, weights, *, offset=0):
    alike = token_ids[:1].expand(token_ids.shape) if token_ids.dim() > 1 else token_ids
    return token_embedding(alike, weights, offset=offset)


@fault(
    token_embedding, "embedding.table-scaled-in-place", breaks="embedding.inputs-untouched",
    effect="every call makes the table larger",
)  # fmt: skip
def the_scale_is_multiplied_into_the_table_itself(token_ids, weights, *, offset=0):
    output = token_embedding(token_ids, weights, offset=offset)
    weights["table"].detach().mul_(math.sqrt(weights["table"].shape[-1]))
    return output


_scaled: dict = {}


@fault(
    token_embedding, "embedding.table-of-the-first-call", breaks="embedding.no-memory",
    effect="training changes the table, and the model goes on with the first one",
)  # fmt: skip
def the_scaled_table_of_the_first_call_is_kept(token_ids, weights, *, offset=0):
    table = weights["table"]
    kept = _scaled.setdefault((table.shape, table.dtype), table.detach().clone())
    return token_embedding(token_ids, {"table": kept}, offset=offset)


_tables: dict[str, tuple[Any, Any]] = {}


@fault(
    token_embedding, "embedding.table-by-identity", breaks="embedding.no-memory",
    effect="after an optimizer's step in place the model goes on with the table from before it",
)  # fmt: skip
def the_scaled_table_is_kept_by_the_identity_of_the_table(token_ids, weights, *, offset=0):
    held, kept = _tables.get("last", (None, None))
    if held is not weights["table"]:
        held, kept = weights["table"], weights["table"].detach().clone()
    _tables["last"] = held, kept
    return token_embedding(token_ids, {"table": kept}, offset=offset)


# --- Gradients --------------------------------------------------------------------------------------------------------


def _with_gradients_times(factor, token_ids, weights, offset):
    """The right result, the gradients of the rows of its tokens (… T) multiplied by a factor that a token may have."""
    scaled = _rows(token_ids, weights)
    held = scaled.detach()
    return held + (scaled - held) * factor.unsqueeze(-1) + _encoding(token_ids.shape[-1], weights, offset)


@fault(
    token_embedding, "embedding.gradient-of-repeats-lost", breaks="embedding.gradients",
    effect="a token learns from one of its places alone",
)  # fmt: skip
def gradients_of_repeated_ids_overwrite_each_other(token_ids, weights, *, offset=0):
    flat = token_ids.flatten()
    is_last = torch.ones_like(flat, dtype=torch.bool) if not len(flat) else ~(flat == flat.unsqueeze(1)).triu(1).any(1)
    factor = is_last.view(token_ids.shape).to(weights["table"].dtype)
    return _with_gradients_times(factor, token_ids, weights, offset)


@fault(
    token_embedding, "embedding.gradient-by-frequency", breaks="embedding.gradients",
    effect="frequent tokens learn as slowly as rare ones",
)  # fmt: skip
def gradients_are_divided_by_how_often_an_id_occurs(token_ids, weights, *, offset=0):
    counts = (token_ids.flatten() == token_ids.unsqueeze(-1)).sum(-1)
    return _with_gradients_times(1 / counts.to(weights["table"].dtype), token_ids, weights, offset)


@fault(
    token_embedding, "embedding.gradient-of-padding-lost", breaks="embedding.gradients",
    effect="the token of id 0 never learns, in a vocabulary where it is a word",
)  # fmt: skip
def id_0_gets_no_gradient(token_ids, weights, *, offset=0):
    return _with_gradients_times((token_ids != 0).to(weights["table"].dtype), token_ids, weights, offset)


@fault(
    token_embedding, "embedding.gradient-unscaled", breaks="embedding.gradients",
    effect="embeddings learn more slowly than everything behind them",
)  # fmt: skip
def gradients_lack_the_root_of_the_width(token_ids, weights, *, offset=0):
    factor = torch.full_like(token_ids, weights["table"].shape[-1], dtype=weights["table"].dtype) ** -0.5
    return _with_gradients_times(factor, token_ids, weights, offset)


@fault(
    token_embedding, "embedding.gradient-of-one-sequence", breaks="embedding.gradients",
    effect="tokens learn from the first sequence of a batch alone",
)  # fmt: skip
def gradients_come_from_the_first_sequence_alone(token_ids, weights, *, offset=0):
    factor = torch.zeros_like(token_ids, dtype=weights["table"].dtype)
    factor[:1] = 1
    return _with_gradients_times(factor, token_ids, weights, offset)
