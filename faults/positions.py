"""Mistakes in positional encoding."""

import math

import torch

from transpec.catalogue import fault
from transpec.reference.positions import sinusoidal_positional_encoding


def _positions(length, offset):
    return offset + torch.arange(length, dtype=torch.float64)


def _pairs(d_model):
    return torch.arange((d_model + 1) // 2, dtype=torch.float64)


def _encoding(position, sine_exponent, cosine_exponent, d_model, dtype, base=10000.0):
    """Sines and cosines of position / base^exponent, in turns."""
    sine = torch.sin(position.unsqueeze(-1) / base**sine_exponent)
    cosine = torch.cos(position.unsqueeze(-1) / base**cosine_exponent)
    return torch.stack((sine, cosine), dim=-1).flatten(-2)[:, :d_model].to(dtype)


# --- Frequencies ------------------------------------------------------------------------------------------------------


@fault(
    sinusoidal_positional_encoding, "positions.exponent-over-channels", breaks="positions.equation",
    seen="jadore801120/attention-is-all-you-need-pytorch#32",
    effect="sine and cosine of a pair belong to different angles, and the frequencies end at 1 / 10000^2",
)  # fmt: skip
def the_exponent_counts_channels_instead_of_pairs(length, d_model, *, offset=0, dtype):
    sine, cosine = 4 * _pairs(d_model) / d_model, (4 * _pairs(d_model) + 2) / d_model
    return _encoding(_positions(length, offset), sine, cosine, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.exponent-halved", breaks="positions.wavelengths",
    effect="the longest wavelength is 100 · 2 pi instead of 10000 · 2 pi",
)  # fmt: skip
def the_exponent_is_i_over_d(length, d_model, *, offset=0, dtype):
    exponent = _pairs(d_model) / d_model
    return _encoding(_positions(length, offset), exponent, exponent, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.exponent-doubled", breaks="positions.wavelengths",
    effect="the slow half of the channels says nothing about the position",
)  # fmt: skip
def the_exponent_is_4i_over_d(length, d_model, *, offset=0, dtype):
    exponent = 4 * _pairs(d_model) / d_model
    return _encoding(_positions(length, offset), exponent, exponent, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.cosine-exponent-of-its-channel", breaks="positions.unit-circle",
    seen="maxjcohen/transformer#62", effect="moving by k positions is no rotation any more",
)  # fmt: skip
def the_cosine_has_the_exponent_of_its_own_channel(length, d_model, *, offset=0, dtype):
    sine, cosine = 2 * _pairs(d_model) / d_model, (2 * _pairs(d_model) + 1) / d_model
    return _encoding(_positions(length, offset), sine, cosine, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.cosine-exponent-of-the-next-pair", breaks="positions.rotation",
    effect="moving by k positions is no rotation any more",
)  # fmt: skip
def the_cosine_has_the_exponent_of_the_next_pair(length, d_model, *, offset=0, dtype):
    sine, cosine = 2 * _pairs(d_model) / d_model, 2 * (_pairs(d_model) + 1) / d_model
    return _encoding(_positions(length, offset), sine, cosine, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.exponent-starts-at-one", breaks="positions.wavelengths",
    effect="the fastest pair of channels is missing",
)  # fmt: skip
def the_first_exponent_is_that_of_the_second_pair(length, d_model, *, offset=0, dtype):
    exponent = 2 * (_pairs(d_model) + 1) / d_model
    return _encoding(_positions(length, offset), exponent, exponent, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.exponent-to-the-end", breaks="positions.width-doubling",
    effect="tables of tensor2tensor and of the paper do not fit each other's weights",
)  # fmt: skip
def the_exponent_is_i_over_half_the_width_less_one(length, d_model, *, offset=0, dtype):
    exponent = _pairs(d_model) / max(d_model / 2 - 1, 1)
    return _encoding(_positions(length, offset), exponent, exponent, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.base-1000", breaks="positions.wavelengths",
    seen="maxjcohen/transformer#62", effect="the longest wavelength is a tenth of the paper's",
)  # fmt: skip
def the_base_is_1000(length, d_model, *, offset=0, dtype):
    exponent = 2 * _pairs(d_model) / d_model
    return _encoding(_positions(length, offset), exponent, exponent, d_model, dtype, base=1000.0)


@fault(
    sinusoidal_positional_encoding, "positions.base-by-length", breaks="positions.equation",
    effect="the same position has another encoding in a sequence of another length",
)  # fmt: skip
def the_base_is_the_length(length, d_model, *, offset=0, dtype):
    exponent = 2 * _pairs(d_model) / d_model
    return _encoding(_positions(length, offset), exponent, exponent, d_model, dtype, base=float(length))


@fault(
    sinusoidal_positional_encoding, "positions.frequency-inverted", breaks="positions.wavelengths",
    effect="the angles grow with the channel and are noise in all but the first pair",
)  # fmt: skip
def the_position_is_multiplied_instead_of_divided(length, d_model, *, offset=0, dtype):
    exponent = -2 * _pairs(d_model) / d_model
    return _encoding(_positions(length, offset), exponent, exponent, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.no-frequency", breaks="positions.wavelengths",
    effect="all pairs of channels are alike, and positions 44 apart are hard to tell",
)  # fmt: skip
def every_pair_turns_at_the_same_rate(length, d_model, *, offset=0, dtype):
    exponent = 0 * _pairs(d_model)
    return _encoding(_positions(length, offset), exponent, exponent, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.turns-not-radians", breaks="positions.wavelengths",
    effect="the wavelengths run from 1 to 10000, so that the first pair is the same at every position",
)  # fmt: skip
def angles_are_counted_in_whole_turns(length, d_model, *, offset=0, dtype):
    exponent = 2 * _pairs(d_model) / d_model
    return _encoding(_positions(length, offset) * 2 * math.pi, exponent, exponent, d_model, dtype)


# --- Layout -----------------------------------------------------------------------------------------------------------


@fault(
    sinusoidal_positional_encoding, "positions.half-split", breaks="positions.equation",
    seen="tensorflow/text#1122", effect="weights trained with the paper's order of channels read the wrong ones",
)  # fmt: skip
def the_first_half_are_sines_and_the_second_cosines(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model, offset=offset, dtype=dtype)
    return torch.cat((table[:, 0::2], table[:, 1::2]), dim=-1)


@fault(
    sinusoidal_positional_encoding, "positions.sine-cosine-swapped", breaks="positions.position-zero",
    effect="even channels hold cosines and odd ones sines",
)  # fmt: skip
def sine_and_cosine_are_swapped(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model + d_model % 2, offset=offset, dtype=dtype)
    return table.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)[:, :d_model]


@fault(
    sinusoidal_positional_encoding, "positions.sines-alone", breaks="positions.unit-circle",
    effect="moving by k positions is no linear map any more",
)  # fmt: skip
def every_channel_is_a_sine(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model + d_model % 2, offset=offset, dtype=dtype)
    return table[:, 0::2].repeat_interleave(2, -1)[:, :d_model]


@fault(
    sinusoidal_positional_encoding, "positions.odd-width-ends-in-cosine", breaks="positions.odd-widths",
    effect="the last channel of an odd width is another than the paper's formula gives it",
)  # fmt: skip
def an_odd_width_ends_in_a_cosine(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model, offset=offset, dtype=dtype)
    angle = _positions(length, offset) / 10000.0 ** ((d_model - 1) / d_model)
    return torch.cat((table[:, :-1], torch.cos(angle).to(dtype).unsqueeze(-1)), -1) if d_model % 2 else table


@fault(
    sinusoidal_positional_encoding, "positions.odd-width-rounded-up", breaks="positions.odd-widths",
    effect="all frequencies but the first are slightly off where the width is odd",
)  # fmt: skip
def an_odd_width_is_cut_from_the_next_even_one(length, d_model, *, offset=0, dtype):
    return sinusoidal_positional_encoding(length, d_model + d_model % 2, offset=offset, dtype=dtype)[:, :d_model]


@fault(
    sinusoidal_positional_encoding, "positions.odd-width-padded", breaks="positions.odd-widths",
    effect="the last channel of an odd width says nothing, and all others are off",
)  # fmt: skip
def an_odd_width_is_the_even_one_below_and_a_zero(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model - d_model % 2, offset=offset, dtype=dtype)
    return torch.nn.functional.pad(table, (0, d_model % 2))


@fault(
    sinusoidal_positional_encoding, "positions.transposed", breaks="positions.equation",
    effect="channels run where positions should",
)  # fmt: skip
def positions_run_along_the_channels(length, d_model, *, offset=0, dtype):
    return sinusoidal_positional_encoding(d_model, length, offset=offset, dtype=dtype).T.reshape(length, d_model)


# --- Positions --------------------------------------------------------------------------------------------------------


@fault(
    sinusoidal_positional_encoding, "positions.start-at-one", breaks="positions.position-zero",
    seen="bytedance/lightseq#144", effect="every token stands one place later than it was trained",
)  # fmt: skip
def the_first_position_is_one(length, d_model, *, offset=0, dtype):
    return sinusoidal_positional_encoding(length, d_model, offset=offset + 1, dtype=dtype)


@fault(
    sinusoidal_positional_encoding, "positions.offset-ignored", breaks="positions.offset",
    seen="time-series-foundation-models/lag-llama#81", effect="every token of cached decoding stands at position 0",
)  # fmt: skip
def the_offset_is_ignored(length, d_model, *, offset=0, dtype):
    return sinusoidal_positional_encoding(length, d_model, offset=0, dtype=dtype)


@fault(
    sinusoidal_positional_encoding, "positions.offset-twice", breaks="positions.offset",
    effect="cached decoding counts positions twice as fast",
)  # fmt: skip
def the_offset_is_added_twice(length, d_model, *, offset=0, dtype):
    return sinusoidal_positional_encoding(length, d_model, offset=2 * offset, dtype=dtype)


@fault(
    sinusoidal_positional_encoding, "positions.offset-subtracted", breaks="positions.offset",
    effect="cached decoding moves away from the sequence that it continues",
)  # fmt: skip
def the_offset_is_subtracted(length, d_model, *, offset=0, dtype):
    exponent = 2 * _pairs(d_model) / d_model
    return _encoding(_positions(length, -offset), exponent, exponent, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.offset-short-by-one", breaks="positions.offset",
    effect="the first token after a cache repeats the position of the last one in it",
)  # fmt: skip
def an_offset_counts_one_too_few(length, d_model, *, offset=0, dtype):
    return sinusoidal_positional_encoding(length, d_model, offset=max(offset - 1, 0), dtype=dtype)


@fault(
    sinusoidal_positional_encoding, "positions.one-row-for-all", breaks="positions.distinct",
    seen="DiffPoseTalk/DiffPoseTalk#20", effect="the encoding tells the length of a sequence and no position in it",
)  # fmt: skip
def every_row_is_the_last_one(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model, offset=offset, dtype=dtype)
    return table[-1:].expand(length, d_model)


@fault(
    sinusoidal_positional_encoding, "positions.reversed", breaks="positions.position-zero",
    effect="positions are counted from the end, so that they move as a sequence grows",
)  # fmt: skip
def positions_run_backwards(length, d_model, *, offset=0, dtype):
    return sinusoidal_positional_encoding(length, d_model, offset=offset, dtype=dtype).flip(0)


@fault(
    sinusoidal_positional_encoding, "positions.padding-row-zero", breaks="positions.unit-circle",
    seen="huggingface/transformers#10200", effect="the token at a real position has none",
)  # fmt: skip
def the_row_of_position_one_is_zero(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model, offset=offset, dtype=dtype)
    return torch.where((offset + torch.arange(length) == 1).unsqueeze(-1), torch.zeros((), dtype=dtype), table)


@fault(
    sinusoidal_positional_encoding, "positions.table-too-short", breaks="positions.far",
    seen="bytedance/lightseq#144", effect="all tokens beyond the end of the table stand at one position",
)  # fmt: skip
def positions_end_at_511(length, d_model, *, offset=0, dtype):
    exponent = 2 * _pairs(d_model) / d_model
    return _encoding(_positions(length, offset).clamp_max(511), exponent, exponent, d_model, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.table-wraps", breaks="positions.far",
    effect="the token after the end of the table stands at position 0 again",
)  # fmt: skip
def positions_begin_anew_at_5000(length, d_model, *, offset=0, dtype):
    exponent = 2 * _pairs(d_model) / d_model
    return _encoding(_positions(length, offset).remainder(5000), exponent, exponent, d_model, dtype)


_tables: dict = {}


@fault(
    sinusoidal_positional_encoding, "positions.of-the-first-call", breaks="positions.no-memory",
    effect="a buffer that is kept by its size answers with the positions of an earlier offset",
)  # fmt: skip
def the_table_of_the_first_call_of_a_size_is_kept(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model, offset=offset, dtype=dtype)
    return _tables.setdefault((length, d_model, dtype), table)


_rounded: dict = {}


@fault(
    sinusoidal_positional_encoding, "positions.in-the-first-dtype", breaks="positions.no-memory",
    effect="after one call in a narrow dtype every wider one has its roundings",
)  # fmt: skip
def the_table_is_kept_in_the_dtype_of_the_first_call(length, d_model, *, offset=0, dtype):
    table = sinusoidal_positional_encoding(length, d_model, offset=offset, dtype=dtype)
    return _rounded.setdefault((length, d_model, offset), table).to(dtype)


# --- Precision --------------------------------------------------------------------------------------------------------


def _rounded_to(narrow, length, d_model, offset, dtype):
    """Positions, frequencies and angles each rounded to a narrow dtype; the functions of the angles are exact."""
    frequency = (10000.0 ** -(2 * _pairs(d_model) / d_model)).to(narrow)
    angle = (_positions(length, offset).to(narrow).unsqueeze(-1) * frequency).to(torch.float64)
    return torch.stack((torch.sin(angle), torch.cos(angle)), dim=-1).flatten(-2)[:, :d_model].to(dtype)


@fault(
    sinusoidal_positional_encoding, "positions.angles-in-bfloat16", breaks="positions.far",
    seen="huggingface/transformers#29285", effect="from position 256 on neighbours share one encoding",
)  # fmt: skip
def angles_are_computed_in_bfloat16(length, d_model, *, offset=0, dtype):
    return _rounded_to(torch.bfloat16, length, d_model, offset, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.angles-in-float16", breaks="positions.far",
    seen="EleutherAI/gpt-neox#1003", effect="from position 1000 on the fast channels are noise",
)  # fmt: skip
def angles_are_computed_in_float16(length, d_model, *, offset=0, dtype):
    return _rounded_to(torch.float16, length, d_model, offset, dtype)


@fault(
    sinusoidal_positional_encoding, "positions.angles-in-float32", breaks="positions.stability",
    effect="at position 1e6 the fast channels are off by a few percent where float64 is asked for",
)  # fmt: skip
def angles_are_computed_in_float32(length, d_model, *, offset=0, dtype):
    return _rounded_to(torch.float32, length, d_model, offset, dtype)
