"""Decoding against transformers, against mpmath and exhaustive search; and the margins of its cases."""

import math

import mpmath
import pytest
import torch

from transpec.cases import Case
from transpec.judgement import oracle
from transpec.requirements import load
from transpec.spec_tests.cases import decoding

transformers = pytest.importorskip("transformers")

REFUSED = ("decoding.bad-options", "decoding.out-of-range", "decoding.batch-of-zero", "decoding.no-new-tokens")


def stated(*names: str) -> list[Case]:
    """The designed cases of operations with these names, each once."""
    found = {
        case: None
        for requirement in load().values()
        if requirement.chapter == "decoding" and requirement.id not in REFUSED
        for case in requirement.cases
        if isinstance(case, Case) and case.operation.name in names and case.numbers_of is None
    }
    return [case.in_dtype("float64") for case in found]


def each(*names: str):
    """Parametrizes a test by cases of operations."""
    return pytest.mark.parametrize("case", stated(*names), ids=lambda case: f"{case.operation.name}-{case.name}")


@each("greedy_decode", "greedy_decode_t5", "beam_search")
def test_nothing_is_a_near_thing(case):
    """What is chosen is chosen by a margin of 1e-3, in both dtypes, and correct beam searches agree."""
    assert decoding.margin_of(case) >= decoding.MARGIN
    assert decoding.margin_of(case.origin.in_dtype("float32").map(_double)) >= decoding.MARGIN / 2


def _double(value):
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


# --- transformers -----------------------------------------------------------------------------------------------------


def model_of(case: Case):
    """A GPT2LMHeadModel with the weights of a case."""
    from transpec.impls.huggingface import _gpt, _gpt_names, _loaded

    made = transformers.GPT2LMHeadModel(_gpt(case.config, "eager").config).double().eval()
    state = {}
    for name, ours in _gpt_names(case.config).items():
        if name.endswith((".weight", ".bias")):
            state[name] = case.weights[ours]
        else:
            loaded = _loaded(made.get_submodule(name), ours, case.weights)
            state |= {f"{name}.{own}": value for own, value in loaded}
    assert not made.load_state_dict(state, strict=False).unexpected_keys
    return made


@each("greedy_decode", "beam_search")
def test_generate(case):
    """GPT2LMHeadModel.generate gives the same ids, with one beam and with several."""
    if not case.config.norm_first:
        pytest.skip("GPT2LMHeadModel is pre-norm")
    options, (ids,) = case.options, case.tensors
    mask = options.get("attention_mask")
    generated = model_of(case).generate(
        ids, attention_mask=(torch.ones_like(ids) if mask is None else mask.long()), do_sample=False,
        num_beams=options.get("num_beams", 1), max_new_tokens=options["max_new_tokens"],
        length_penalty=options.get("length_penalty", 0.0), early_stopping="never" if "num_beams" in options else False,
        eos_token_id=options.get("eos_id"), pad_token_id=options.get("pad_id", 0),
    )  # fmt: skip
    width = ids.shape[-1] + options["max_new_tokens"]  # it stops where all sequences have ended
    expected = oracle(case)
    if "num_beams" in options and not options.get("pad_id", 0) and options.get("eos_id"):
        # Its beam search fills with `pad_token_id or eos_token_id[0]`: a pad id of 0 is not found to be one.
        made = expected[:, ids.shape[-1] :]
        after = (made == options["eos_id"]).cumsum(-1) > 0
        expected = torch.cat([ids, torch.where(after, options["eos_id"], made)], -1)
        generated = torch.nn.functional.pad(generated, (0, width - generated.shape[-1]), value=options["eos_id"])
    padded = torch.nn.functional.pad(generated, (0, width - generated.shape[-1]), value=options.get("pad_id", 0))
    assert padded.tolist() == expected.tolist()


@each("greedy_decode_t5")
def test_generate_by_t5(case):
    """T5ForConditionalGeneration.generate gives the same ids behind its start token."""
    from transpec.impls.huggingface import _loaded, _t5, _t5_names

    made = transformers.T5ForConditionalGeneration(_t5(case.config, "eager").config).double().eval()
    state = {"shared.weight": case.weights["embedding.table"]}
    state["lm_head.weight"] = state["shared.weight"] if case.config.tied else case.weights["head"].mT
    for stack in ("encoder", "decoder"):
        weights = {name.removeprefix(f"{stack}."): value for name, value in case.weights.items()}
        for name, ours in _t5_names(case.config, decoder=stack == "decoder").items():
            if name.endswith(".weight"):
                state[f"{stack}.{name}"] = weights.get(ours, state["shared.weight"])
            else:
                loaded = _loaded(made.get_submodule(f"{stack}.{name}"), ours, weights)
                state |= {f"{stack}.{name}.{own}": value for own, value in loaded}
    made.lm_head.weight = torch.nn.Parameter(state["lm_head.weight"].contiguous())  # theirs is one with the table
    made.load_state_dict(state)
    options, (ids,) = case.options, case.tensors
    mask, pad_id = options.get("attention_mask"), options.get("pad_id", 0)
    generated = made.generate(
        ids, attention_mask=(torch.ones_like(ids) if mask is None else mask.long()), do_sample=False, num_beams=1,
        max_new_tokens=options["max_new_tokens"], decoder_start_token_id=pad_id, pad_token_id=pad_id,
        eos_token_id=options.get("eos_id"),
    )  # fmt: skip
    missing = 1 + options["max_new_tokens"] - generated.shape[-1]  # it stops where all answers have ended
    assert generated[:, 0].tolist() == [pad_id] * len(ids)
    padded = torch.nn.functional.pad(generated[:, 1:], (0, missing), value=pad_id)
    assert padded.tolist() == oracle(case).tolist()


@each("temperature_scaled", "top_k_filtered", "top_p_filtered")
def test_logits_warpers(case):
    """TemperatureLogitsWarper, TopKLogitsWarper and TopPLogitsWarper give the same logits."""
    (given,) = case.tensors
    warper = {
        "temperature": lambda value: transformers.TemperatureLogitsWarper(float(value)),
        "k": transformers.TopKLogitsWarper,
        "p": lambda value: transformers.TopPLogitsWarper(float(value)),
    }
    ((name, value),) = case.options.items()
    rows = given.reshape(-1, given.shape[-1])
    theirs, ours = warper[name](value)(None, rows.clone()).view(given.shape), oracle(case)
    if case.origin in decoding.top_p_ties:  # which of equals stay is open
        theirs, ours = theirs.sort(-1).values, ours.sort(-1).values
    torch.testing.assert_close(theirs, ours, rtol=1e-12, atol=1e-12)


@each("repetition_penalized")
def test_repetition_penalty_processor(case):
    """RepetitionPenaltyLogitsProcessor gives the same logits."""
    given, ids = case.tensors
    processor = transformers.RepetitionPenaltyLogitsProcessor(float(case.options["penalty"]))
    torch.testing.assert_close(processor(ids, given.clone()), oracle(case), rtol=1e-12, atol=1e-12)


# --- mpmath and exhaustive search -------------------------------------------------------------------------------------


@each("sampling_distribution")
def test_distribution(case):
    """The probabilities are those that 50 digits give, one word at a time."""
    options, (given,) = case.options, case.tensors
    rows, results = given.reshape(-1, given.shape[-1]).tolist(), oracle(case).reshape(-1, given.shape[-1]).tolist()
    for row, result in zip(rows, results, strict=True):
        expected = by_fifty_digits(row, **options)
        assert max(abs(a - b) for a, b in zip(result, expected, strict=True)) < 1e-11


def by_fifty_digits(row, *, temperature=1.0, top_k=None, top_p=None):
    """softmax(top-p(top-k(row / temperature))) in mpmath."""
    with mpmath.workdps(50):
        powers = {
            word: mpmath.exp(mpmath.mpf(score) / mpmath.mpf(temperature))
            for word, score in enumerate(row)
            if score > -math.inf
        }
        order = sorted(powers, key=powers.__getitem__, reverse=True)[:top_k]
        total, reached, kept = mpmath.fsum(powers[word] for word in order), mpmath.mpf(0), []
        for word in order:
            kept.append(word)
            reached += powers[word] / total
            if top_p is not None and reached >= top_p:
                break
        total = mpmath.fsum(powers[word] for word in kept)
        return [powers[word] / total if word in kept else mpmath.mpf(0) for word in range(len(row))]


@pytest.mark.parametrize("case", decoding.beams_of_all, ids=str)
def test_of_all(case):
    """A search with room for everything finds what looking at every hypothesis finds."""
    exact = case.in_dtype("float64")
    assert oracle(exact).tolist() == decoding.best_of_all(exact).tolist()


def test_the_cases_show_what_they_are_for():
    """Beams and greedy decoding differ, the length penalty changes the winner, sequences end early, late and never."""
    greedy = {case.name: oracle(decoding.as_greedy(case).in_dtype("float64")) for case in decoding.beams_plain}
    assert all((greedy[case.name] != oracle(case.in_dtype("float64"))).any() for case in decoding.beams_plain[:2])
    first, second, third = (oracle(case.in_dtype("float64")) for case in decoding.beams_penalized[2:5])
    assert (first != second).any()
    assert (first != third).any()
    ends = decoding.greedy_ended[0]
    made = oracle(ends.in_dtype("float64"))[:, ends.tensors[0].shape[-1] :] == ends.options["eos_id"]
    assert made.sum(-1).tolist() == [0, 1, 1]
