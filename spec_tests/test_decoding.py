"""Requirements of decoding: what is taken from logits, what is drawn, and what a model is made to say.

Ids are compared exactly; the cases keep margins that no rounding bridges. Draws are the implementation's own and are
judged by how often they come, at six standard deviations.
"""

import torch

from transpec.judgement import (
    NonConformance,
    Observation,
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_derived,
    assert_gradients_conform,
    assert_identical,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    budget_of,
    compare,
    cotangent,
    gradient_budgets,
    oracle,
    output_of,
    result_of,
)
from transpec.reference.decoding import greedy_decode
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import decoding


def ids_of(implementation, case):
    """The ids that are drawn, as many as asked for: integers of any size."""
    ids, number = result_of(lambda: implementation.call(case), case), case.options["number"]
    if ids.shape != (number,):
        raise NonConformance(f"output has the shape {tuple(ids.shape)}, should have {(number,)}", case)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        given = str(ids.dtype).removeprefix("torch.")
        raise NonConformance(f"output has the dtype {given}, should have one of integers", case)
    return ids.long()


def observed_of(case, ids):
    """What diagnosis is to look at: not a few draws, which many mistakes give by chance."""
    return (Observation(case, {"": ids}),) if len(ids) >= decoding.TELLING else ()


def assert_frequencies(implementation, case, ids, draws, probabilities, what):
    """Draws, of `ids` or of pairs of them, are as frequent as independent ones of these probabilities, within six sigma."""
    counted, allowed = decoding.frequencies(draws, len(probabilities)), decoding.six_sigma(probabilities, len(draws))
    compare(implementation, case, counted, probabilities, allowed, what=what, observed=observed_of(case, ids))


# --- From logits ------------------------------------------------------------------------------------------------------


@must("decoding.temperature-equation", "Hinton et al. 2015, equation 1; Holtzman et al. 2020, equation 4")
@cases(decoding.temperatures)
def test_temperature_equation(implementation, case):
    """Logits are divided by the temperature."""
    assert_conforms(implementation, case)


@must("decoding.temperature-one", "Holtzman et al. 2020, section 3.3")
@cases(decoding.temperature_one)
def test_temperature_one(implementation, case):
    """A temperature of 1 changes nothing."""
    assert_conforms(implementation, case)


@must("decoding.top-k-equation", "Fan et al. 2018, section 5.4; Holtzman et al. 2020, section 3.2")
@cases(decoding.top_k)
def test_top_k_equation(implementation, case):
    """The k largest logits of a row stay as they are, and minus infinity stands for all others."""
    assert_conforms(implementation, case)


@must("decoding.top-k-number", "Fan et al. 2018, section 5.4")
@cases(decoding.top_k[:10], decoding.top_k_of_all[:2])
def test_top_k_number(implementation, case):
    """Exactly k logits of a row stay, or all where there are no more than k."""
    result, words = output_of(implementation, case), case.tensors[0].shape[-1]
    left = result.isfinite().sum(-1).double()
    wanted = torch.full_like(left, min(case.options["k"], words))
    assert_derived(implementation, case, result, left, wanted, torch.zeros_like(left), "logits that stay")


@must("decoding.top-k-ties", "the contract: which of equals stay is open")
@cases(decoding.top_k_ties)
def test_top_k_ties(implementation, case):
    """Where logits tie with the k-th, all above it stay, none below it, and so many that tie that k or more stay."""
    result, given, k = output_of(implementation, case), case.tensors[0].double(), case.options["k"]
    lowest, none, observed = given.topk(k).values[..., -1:], torch.zeros(()), (Observation(case, {"": result}),)
    stays = (given > lowest) | ((given == lowest) & (result > -torch.inf))
    wanted = torch.where(stays, given, -torch.inf)
    compare(implementation, case, result, wanted, none.expand(given.shape), observed=observed)
    few = (k - stays.sum(-1)).clamp_min(0).double()
    compare(implementation, case, few, torch.zeros_like(few), none, what="logits too few", observed=observed)


@must("decoding.top-k-of-all", "the contract: with k of V or more nothing is filtered")
@cases(decoding.top_k_of_all)
def test_top_k_of_all(implementation, case):
    """Where a row has no more than k logits, or no more than k that are finite, it stays as it is."""
    assert_conforms(implementation, case)


@must("decoding.top-p-equation", "Holtzman et al. 2020, section 3.1, equations 2 and 3")
@cases(decoding.top_p)
def test_top_p_equation(implementation, case):
    """The smallest set of most probable tokens whose probability reaches p stays, and minus infinity stands for the others."""
    assert_conforms(implementation, case)


@must("decoding.top-p-reaches-p", "Holtzman et al. 2020, section 3.1, equation 2")
@cases(decoding.top_p, decoding.top_p_of_all)
def test_top_p_reaches_p(implementation, case):
    """What stays has a probability of p at least, for the token that crosses p belongs to the nucleus."""
    result, given = output_of(implementation, case), case.tensors[0].double()
    mass = decoding.softmax(given).masked_fill(result == -torch.inf, 0.0).sum(-1)
    p, off = torch.full_like(mass, case.options["p"]), torch.full_like(mass, 1e-6)
    assert_derived(implementation, case, result, torch.minimum(mass, p), p, off, "probability that stays, up to p")


@must("decoding.top-p-ties", "Holtzman et al. 2020, section 3.1, equation 2: the smallest set")
@cases(decoding.top_p_ties)
def test_top_p_ties(implementation, case):
    """Of equally probable tokens no more stay than it takes to reach p, whichever they are."""
    result, right = output_of(implementation, case), oracle(case)
    kept, wanted = result.double().sort(-1, descending=True).values, right.sort(-1, descending=True).values
    allowed, observed = budget_of(implementation, case), (Observation(case, {"": result}),)
    compare(implementation, case, kept, wanted, allowed, what="what stays, in order", observed=observed)
    given = case.tensors[0].double()
    put = torch.where(result == -torch.inf, result.double(), given)
    compare(implementation, case, result, put, allowed, observed=observed)


@must("decoding.top-p-of-all", "Holtzman et al. 2020, section 3.1, equation 2")
@cases(decoding.top_p_of_all)
def test_top_p_of_all(implementation, case):
    """With p = 1 nothing is filtered, and a word that is the only one stays whatever p is."""
    assert_conforms(implementation, case)


@must("decoding.top-p-is-never-empty", "Holtzman et al. 2020, section 3.1, equation 2: a set that reaches p > 0")
@cases(decoding.top_p[:1], decoding.top_p[9:11], decoding.top_p_of_all)
def test_top_p_is_never_empty(implementation, case):
    """However small p is, the most probable token stays."""
    result = output_of(implementation, case)
    best, highest = result.amax(-1), case.tensors[0].amax(-1).double()
    assert_derived(
        implementation, case, result, best, highest, budget_of(implementation, case).amax(-1), "largest logit"
    )


@must("decoding.repetition-penalty-equation", "Keskar et al. 2019, section 4.1, and the code published with it")
@cases(decoding.penalties)
def test_repetition_penalty_equation(implementation, case):
    """Logits of tokens that the sequence holds are divided by the penalty where positive and multiplied by it where negative."""
    assert_conforms(implementation, case)


@must("decoding.repetition-penalty-once", "Keskar et al. 2019, section 4.1: an indicator, no count")
@cases(decoding.penalties[:7], decoding.penalties[8:9])
def test_repetition_penalty_once(implementation, case):
    """A token is penalized once, however often the sequence holds it."""
    given, ids = case.tensors
    assert_same(implementation, case, case.changed("tokens twice", (given, torch.cat([ids, ids], -1))))
    assert_conforms(implementation, case)


@must("decoding.repetition-penalty-nothing", "Keskar et al. 2019, section 4.1")
@cases(decoding.nothing_penalized)
def test_repetition_penalty_nothing(implementation, case):
    """A penalty of 1, or a sequence of no tokens, changes nothing."""
    assert_conforms(implementation, case)


@must("decoding.distribution-equation", "Holtzman et al. 2020, sections 3.1 to 3.3; the contract of their order")
@cases(decoding.distributions)
def test_distribution_equation(implementation, case):
    """Temperature, then top-k, then top-p, each of what the one before has left, then softmax give the probabilities."""
    assert_conforms(implementation, case)


@must("decoding.distribution-sums-to-one", "Holtzman et al. 2020, equation 3: rescaled")
@cases(decoding.distributions, decoding.far_logits)
def test_distribution_sums_to_one(implementation, case):
    """Probabilities of what is left after filtering sum to one."""
    result = output_of(implementation, case)
    total, allowed = result.double().sum(-1), budget_of(implementation, case).sum(-1)
    assert_derived(implementation, case, result, total, torch.ones_like(total), allowed, "sum of probabilities")


@must("decoding.distribution-stability", "the contract: a common offset of 1000 and temperatures near zero")
@cases(decoding.far_logits)
def test_distribution_stability(implementation, case):
    """Large logits, and logits that a small temperature makes large, neither overflow nor vanish."""
    assert_conforms(implementation, case)


@must("decoding.words-have-no-order", "Holtzman et al. 2020, section 3.1: words are told apart by probability alone")
@cases(decoding.every_filter)
def test_words_have_no_order(implementation, case):
    """With words in another order, results are those of before in that order."""
    assert_same(implementation, case, decoding.words_reversed(case), lambda result: result.flip(-1))
    assert_conforms(implementation, case)


@must("decoding.rows-are-independent", "the contract: leading axes are a batch")
@cases(decoding.every_filter, decoding.top_p[7:8], decoding.temperatures[3:4])
def test_rows_are_independent(implementation, case):
    """What a row gives depends on no other row."""
    assert_same(implementation, case, decoding.rows_reversed(case), lambda result: result.flip(0))
    alone = case.changed("last row alone", tuple(each[-1:] for each in case.tensors))
    assert_same(implementation, alone, case, lambda result: result[-1:])
    assert_conforms(implementation, case)


@must("decoding.gradients", "the equations, differentiated")
@cases(decoding.differentiable)
def test_gradients(implementation, case):
    """What stays of the logits passes its gradient on, over the temperature or penalized as it was itself."""
    assert_gradients_conform(implementation, case)


@must("decoding.tied-gradients", "the equations, differentiated")
@cases(decoding.top_k_ties, decoding.top_p_ties)
def test_tied_gradients(implementation, case):
    """Of logits that tie, those that stay pass their gradients on and no others."""
    given = cotangent(case)
    result, found = result_of(lambda: implementation.gradients(case, given), case)
    result = output_of(implementation, case) if result is None else result
    wanted = {"logits": torch.where(result == -torch.inf, 0.0, given.double())}
    compare(implementation, case, found, wanted, gradient_budgets(case))


# --- Sampling ---------------------------------------------------------------------------------------------------------


@must("decoding.sample-equation", "Holtzman et al. 2020, section 3")
@cases(decoding.draws, decoding.draws_of_one, decoding.draws_of_many_words)
def test_sample_equation(implementation, case):
    """Among many draws every word is as frequent as its probability says, and a filtered word is never drawn."""
    ids, probabilities = ids_of(implementation, case), oracle(decoding.distribution_of(case))
    assert_frequencies(implementation, case, ids, ids, probabilities, "frequency")
    # Words too many to be looked at one by one: if some come too often, others never do.
    if len(probabilities) > len(ids):
        found, wanted, allowed = decoding.alike(ids.unsqueeze(0), len(probabilities))
        what, observed = "pairs that are alike, of one", observed_of(case, ids)
        compare(implementation, case, found, wanted, allowed, what=what, observed=observed)


@must("decoding.sample-words", "the contract: ids of words, as many as asked for")
@cases(decoding.draws_alone, decoding.draws_by_seed, decoding.draws_of_many_words)
def test_sample_words(implementation, case):
    """There are as many ids as were asked for, each of a word that has a probability."""
    ids, probabilities = ids_of(implementation, case), oracle(decoding.distribution_of(case))
    known = ids.clamp(0, len(probabilities) - 1)
    possible = ((known == ids) & (probabilities[known] > 0)).double()
    compare(
        implementation, case, possible, torch.ones_like(possible), torch.zeros_like(possible), what="drawn from the words",
        observed=(Observation(case, {"": ids}),),
    )  # fmt: skip


@must("decoding.sample-independent", "the contract: draws are independent of each other")
@cases(decoding.draws_in_pairs)
def test_sample_independent(implementation, case):
    """Neighbouring draws, and draws half of all apart, come together as often as independent ones do; none are correlated."""
    ids, probabilities = ids_of(implementation, case), oracle(decoding.distribution_of(case))
    words, half = len(probabilities), len(ids) // 2
    pairs = (probabilities.unsqueeze(-1) * probabilities).flatten()
    assert_frequencies(implementation, case, ids, ids[0::2] * words + ids[1::2], pairs, "frequency of neighbours")
    assert_frequencies(implementation, case, ids, ids[:half] * words + ids[half:], pairs, "frequency of pairs")
    drawn = decoding.standardized(ids, probabilities)
    apart, mirrored = decoding.correlations(drawn, drawn)[: len(ids)], decoding.correlations(drawn, drawn.flip(0))
    apart[0] = 0.0  # a draw and itself
    observed, allowed = (Observation(case, {"": ids}),), decoding.eight_sigma(len(ids))
    what = "correlation of draws so many apart", "correlation of draws and those in reverse so many apart"
    compare(implementation, case, apart, torch.zeros_like(apart), allowed, what=what[0], observed=observed)
    # There every pair counts twice.
    compare(implementation, case, mirrored, torch.zeros_like(mirrored), 2 * allowed, what=what[1], observed=observed)


@must("decoding.sample-few", "the contract: draws are independent of each other")
@cases(decoding.draws_of_many_seeds[2:])
def test_sample_few(implementation, case):
    """However few are drawn, two draws of a call are alike as often as independent ones: in all calls, not in each."""
    every = torch.stack([ids_of(implementation, each) for each in decoding.of_many_seeds(case)])
    found, wanted, allowed = decoding.alike(every, len(case.tensors[0]))
    observed = observed_of(case, every[case.options["seed"]])
    compare(implementation, case, found, wanted, allowed, what="pairs that are alike, of one", observed=observed)


@must("decoding.sample-first-draws", "the contract of seed")
@cases(decoding.draws_of_many_seeds[:2])
def test_sample_first_draws(implementation, case):
    """The first draws of many seeds are as frequent as their probabilities say, and say nothing of those of the next seed."""
    every = torch.stack([ids_of(implementation, each) for each in decoding.of_many_seeds(case)])
    probabilities, first = oracle(decoding.distribution_of(case)), every[:, 0]
    same, words = (every[1:] == every[:-1]).long().flatten(), len(probabilities)
    wanted = torch.tensor([1 - 1 / words, 1 / words], dtype=torch.float64)
    assert_frequencies(implementation, case, every[1], same, wanted, "frequency of unlike and like draws of two seeds")
    assert_frequencies(implementation, case, every[1], first, probabilities, "frequency of first draws")


@must("decoding.sample-seed", "the contract of seed")
@cases(decoding.draws_by_seed)
def test_sample_seed(implementation, case):
    """The same seed gives the same ids, whatever was drawn in between, and another seed gives other ids."""
    ids, others = ids_of(implementation, case), decoding.other_seeds(case)
    drawn = [ids_of(implementation, other) for other in others]
    again, none = ids_of(implementation, case), torch.zeros(())
    observed = tuple(
        Observation(*pair) for pair in zip((case, *others), ({"": each} for each in (again, *drawn)), strict=True)
    )
    compare(implementation, case, again, ids, none, what="draw of the same seed", observed=observed)
    differs = torch.stack([(ids != other).any() for other in drawn]).double()
    what = "whether another seed gives others"
    compare(implementation, case, differs, torch.ones_like(differs), none, what=what, observed=observed)


@must("decoding.sample-seeds-independent", "the contract of seed")
@cases(decoding.draws_in_pairs)
def test_sample_seeds_independent(implementation, case):
    """Draws of one seed say nothing of those of another, at the same place or elsewhere."""
    ids, probabilities = ids_of(implementation, case), oracle(decoding.distribution_of(case))
    other = ids_of(implementation, decoding.other_seeds(case)[0])
    pairs, words = (probabilities.unsqueeze(-1) * probabilities).flatten(), len(probabilities)
    assert_frequencies(implementation, case, ids, ids * words + other, pairs, "frequency of pairs of two seeds")
    apart = decoding.correlations(*(decoding.standardized(each, probabilities) for each in (ids, other)))
    what, allowed = "correlation of draws of two seeds so many apart", decoding.eight_sigma(len(ids))
    compare(
        implementation,
        case,
        apart,
        torch.zeros_like(apart),
        allowed,
        what=what,
        observed=(Observation(case, {"": ids}),),
    )


# --- Greedy -----------------------------------------------------------------------------------------------------------


@must("decoding.greedy-equation", "Radford et al. 2019, section 3; the argmax at every step")
@cases(decoding.decoded)
def test_greedy_equation(implementation, case):
    """The prompt is followed by the most probable token at each step, and after EOS by padding."""
    assert_conforms(implementation, case)


@must("decoding.greedy-prefix", "the contract: a token depends on those before it")
@cases(decoding.prefixes)
def test_greedy_prefix(implementation, case):
    """Stopped earlier, decoding gives the first part of what it gives."""
    less, cut = decoding.shorter(case)
    assert_same(implementation, less, case, cut)
    assert_conforms(implementation, case)


# --- Greedy, T5 -------------------------------------------------------------------------------------------------------


@must("decoding.greedy-t5-equation", "Raffel et al. 2020, section 3.1.2")
@cases(decoding.answered)
def test_greedy_t5_equation(implementation, case):
    """An answer is the most probable token at each step, all before it being read, and after EOS padding."""
    assert_conforms(implementation, case)


@must("decoding.greedy-t5-start", "the contract of pad_id: T5's decoder begins with the padding token")
@cases(decoding.answers_started, decoding.answers_ended[3:8])
def test_greedy_t5_start(implementation, case):
    """The decoder reads the padding token before all that it generates, whatever its id and that of EOS are."""
    assert_conforms(implementation, case)


@must("decoding.greedy-t5-source-padding", "the contract of attention_mask")
@cases(decoding.answers_padded)
def test_greedy_t5_source_padding(implementation, case):
    """A source padded on the right or on the left is answered as without its padding."""
    alone, pick = decoding.last_unpadded(case)
    assert_same(implementation, alone, case, pick)
    assert_conforms(implementation, case)


# --- Beam search ------------------------------------------------------------------------------------------------------


@must("decoding.beam-search-equation", "Sutskever et al. 2014, section 3.2; Wu et al. 2016, section 7")
@cases(decoding.searched)
def test_beam_search_equation(implementation, case):
    """The prompt is followed by the best hypothesis that the search completes, and by padding."""
    assert_conforms(implementation, case)


@must("decoding.beam-search-of-one", "Sutskever et al. 2014, section 3.2")
@cases(decoding.beams_of_one)
def test_beam_search_of_one(implementation, case):
    """One beam without a length penalty is greedy decoding."""
    assert_conforms(implementation, case)
    if implementation.claims(greedy_decode):
        assert_same(implementation, case, decoding.as_greedy(case))


@must("decoding.beam-search-of-all", "Sutskever et al. 2014, section 3.2")
@cases(decoding.beams_of_all)
def test_beam_search_of_all(implementation, case):
    """With as many beams as there are sequences, the best of all hypotheses is found."""
    result, best = output_of(implementation, case), decoding.best_of_all(case)
    assert_derived(implementation, case, result, result, best, torch.zeros(best.shape), "output")


@must("decoding.length-penalty", "Wu et al. 2016, section 7, as a plain power")
@cases(decoding.beams_penalized, decoding.beams_of_all[1:])
def test_length_penalty(implementation, case):
    """Hypotheses compete by log P over their length, EOS counted and the prompt not, to the power of the length penalty."""
    assert_conforms(implementation, case)


# --- All --------------------------------------------------------------------------------------------------------------


@must("decoding.end-of-sequence", "the contract of eos_id and pad_id")
@cases(decoding.ended)
def test_end_of_sequence(implementation, case):
    """The EOS that is generated is kept, the first ends its sequence, and nothing but padding follows it."""
    result, eos_id = output_of(implementation, case), case.options["eos_id"]
    made = decoding.new_tokens_of(case, result)
    after = ((made == eos_id).cumsum(-1) - (made == eos_id).long()) > 0
    wanted = torch.where(after, case.options.get("pad_id", 0), made)
    assert_derived(implementation, case, result, made, wanted, torch.zeros(made.shape), "new token")
    assert_conforms(implementation, case)


@must("decoding.prompt-stays", "the contract: the prompt is followed by what is generated")
@cases(decoding.unpadded, decoding.left)
def test_prompt_stays(implementation, case):
    """The result begins with the prompt as it is, its padding too."""
    result, prompt = output_of(implementation, case), case.tensors[0]
    kept = result[:, : prompt.shape[-1]]
    assert_derived(implementation, case, result, kept, prompt, torch.zeros(prompt.shape), "token of the prompt")


@must("decoding.left-padding", "the contract of attention_mask")
@cases(decoding.left)
def test_left_padding(implementation, case):
    """A prompt padded on the left is continued as without its padding, positions being counted from its first token."""
    alone, pick = decoding.last_unpadded(case)
    assert_same(implementation, alone, case, pick)
    assert_conforms(implementation, case)


@must("decoding.padding-does-not-matter", "the contract of attention_mask")
@cases(decoding.padded)
def test_padding_does_not_matter(implementation, case):
    """Other ids where the attention mask is False change nothing that is generated."""
    assert_identical(implementation, case, decoding.with_other_padding(case), decoding.that_matters(case))
    assert_conforms(implementation, case)


@must("decoding.everything-visible", "the contract of attention_mask")
@cases(decoding.visible)
def test_everything_visible(implementation, case):
    """An attention mask that hides nothing acts as none, also where prompts or sources hold the pad id."""
    assert_same(implementation, case, decoding.nothing_hidden(case))
    assert_conforms(implementation, case)


@must("decoding.batch-independence", "the contract: prompts are continued each for itself")
@cases(decoding.in_batches)
def test_batch_independence(implementation, case):
    """A prompt is continued, and a source answered, alone as in a batch, whenever the others end."""
    alone, pick = decoding.last_alone(case)
    assert_same(implementation, alone, case, pick)
    assert_same(implementation, case, decoding.rows_reversed(case), lambda result: result.flip(0))


# --- The contract -----------------------------------------------------------------------------------------------------


@must("decoding.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(decoding.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded logits, ids and masks give what their contiguous copies give."""
    if case.operation is decoding.sample:
        ids_of(implementation, case)
    else:
        assert_conforms_laid_out(implementation, case)


@must("decoding.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(decoding.every_operation)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of its logits, ids, masks and weights."""
    assert_untouched(implementation, case)


@must("decoding.no-memory", "the contract: an operation is a function of its arguments")
@cases([case for case in decoding.every_operation if case.operation is not decoding.sample])
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    others = decoding.others_than(case)
    assert_no_memory(implementation, case, others)
    assert_remembers_nothing(implementation, case, others[0])


@must("decoding.dtype-and-shape", "the contract: filtered logits have the logits' shape and dtype; ids are integers")
@cases(decoding.on_logits, decoding.every_operation, decoding.draws_alone)
def test_dtype_and_shape(implementation, case):
    """Logits and probabilities have the shape and dtype of the logits; ids are integers in the shape asked for."""
    ids_of(implementation, case) if case.operation is decoding.sample else assert_contract(implementation, case)


@should("decoding.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(decoding.batch_of_zero)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@should("decoding.no-new-tokens", "the contract of max_new_tokens")
@cases(decoding.no_new_tokens)
def test_no_new_tokens(implementation, case):
    """With no new tokens asked for the result is the prompt, of a source nothing."""
    assert_conforms(implementation, case)


@should("decoding.bad-options", "the contract: what has no meaning is refused")
@cases(decoding.bad_options)
def test_bad_options(implementation, case):
    """A negative temperature, probability or penalty and a search without beams raise with a message."""
    assert_refuses(implementation, case)


@should("decoding.out-of-range", "the contract: what the tables do not have is refused")
@cases(decoding.out_of_range)
def test_out_of_range(implementation, case):
    """Ids beyond the vocabulary, and more tokens to be read than a model has positions, raise with a message."""
    assert_refuses(implementation, case)
