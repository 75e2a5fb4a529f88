"""Requirements of fine-tuning heads, in the order of the reference: classifiers, answers, named entities, then all."""

import torch

from transpec.judgement import (
    assert_conforms,
    assert_conforms_laid_out,
    assert_contract,
    assert_derived,
    assert_gradients_conform,
    assert_identical,
    assert_ignores_default_dtype,
    assert_no_memory,
    assert_refuses,
    assert_remembers_nothing,
    assert_same,
    assert_untouched,
    budget_of,
    output_of,
)
from transpec.requirements import cases, must, should
from transpec.spec_tests.cases import heads


def assert_from_the_body(implementation, case):
    """The logits are x W + b, x being the implementation's own result without the head, where it has one."""
    body = heads.without_head(case)
    if not implementation.claims(body.operation):
        return
    logits, hidden = output_of(implementation, case), output_of(implementation, body)
    w, b = (case.weights[f"classifier.{name}"].to(torch.float64) for name in "wb")
    expected = hidden.to(torch.float64) @ w + b
    allowed = budget_of(implementation, case) + budget_of(implementation, body) @ w.abs()
    assert_derived(implementation, case, logits, logits, expected, allowed, "output")


# --- Classifiers ------------------------------------------------------------------------------------------------------


@must("heads.sequence-classification-equation", "Devlin et al. 2019, section 4.1 and figure 4 (a), (b)")
@cases(heads.sequences)
def test_sequence_classification_equation(implementation, case):
    """logits = pooled W + b, a row for a sequence, pooled being what the pooler makes of the first token."""
    assert_conforms(implementation, case)


@must("heads.token-classification-equation", "Devlin et al. 2019, section 5.3 and figure 4 (d)")
@cases(heads.tokens)
def test_token_classification_equation(implementation, case):
    """logits = h W + b, a row for a token, h being the encoder's result there, without the pooler."""
    assert_conforms(implementation, case, heads.tokens_of(case))


@must("heads.question-answering-equation", "Devlin et al. 2019, section 4.2 and figure 4 (c)")
@cases(heads.answers)
def test_question_answering_equation(implementation, case):
    """logits = h W + b, at every token that of the start first and that of the end second."""
    assert_conforms(implementation, case, heads.tokens_of(case))


@must("heads.from-the-encoder", "Devlin et al. 2019, section 3.2: representations are fed into an output layer")
@cases(*heads.small, heads.shown)
def test_from_the_encoder(implementation, case):
    """What is classified is the implementation's own bert or bert_pooled, where it has one."""
    assert_conforms(implementation, case)
    assert_from_the_body(implementation, case)


@must("heads.order-of-classes", "Devlin et al. 2019, section 4.1: weights of its own for every class")
@cases(heads.shown)
def test_order_of_classes(implementation, case):
    """Reordering the columns of the classifier reorders the logits and does nothing else."""
    changed, order = heads.with_classes_permuted(case)
    assert_same(implementation, changed, case, lambda result: result[..., order])


@must("heads.token-independence", "Devlin et al. 2019, figure 4 (c), (d): one layer on every token")
@cases(heads.independent)
def test_token_independence(implementation, case):
    """Without a layer, through which tokens see each other, the logits at a token are its own alone."""
    changed, others = heads.with_another_last_token(case)
    assert_identical(implementation, case, changed, others)


@must("heads.gradients", "Devlin et al. 2019, section 3: all of the parameters are fine-tuned")
@cases(heads.differentiable)
def test_gradients(implementation, case):
    """The vector-Jacobian product is the formula's for the classifier and for every weight of BERT."""
    assert_gradients_conform(implementation, case)


# --- Answers ----------------------------------------------------------------------------------------------------------


@must(
    "heads.question-answering-span-equation", "Devlin et al. 2019, section 4.2: the maximum scoring span where j >= i"
)
@cases(heads.best_spans, heads.drawn_spans)
def test_question_answering_span_equation(implementation, case):
    """The span is the one with the highest sum of start and end logit of those that are ordered, short and allowed."""
    assert_conforms(implementation, case)


@must("heads.question-answering-edges", "Devlin et al. 2019, section 4.2: any i <= j")
@cases(heads.edges)
def test_question_answering_edges(implementation, case):
    """An answer may be the first token, the last one, or the whole sequence."""
    assert_conforms(implementation, case)


@must("heads.question-answering-hidden-tokens", "Devlin et al. 2019, section 4.2: a span of the passage")
@cases(heads.hidden)
def test_question_answering_hidden_tokens(implementation, case):
    """Logits where no answer may start or end, however large, change nothing."""
    assert_identical(implementation, case, heads.with_loud_logits_where_not_allowed(case))


@must("heads.question-answering-shift", "Devlin et al. 2019, section 4.2: a sum, whose softmax ignores constants")
@cases(heads.shiftable)
def test_question_answering_shift(implementation, case):
    """A number added to all starts, and another to all ends, changes nothing."""
    assert_same(implementation, case, heads.shifted(case))


@must("heads.question-answering-no-answer", "Devlin et al. 2019, section 4.3: s_null = S . C + E . C")
@cases(heads.unanswered)
def test_question_answering_no_answer(implementation, case):
    """With no_answer (0, 0) is given where the first token's sum is above the best span's by more than the threshold."""
    assert_conforms(implementation, case)


@should("heads.question-answering-impossible-lengths", "the contract: a span holds at least one token")
@cases(heads.impossible_lengths)
def test_question_answering_impossible_lengths(implementation, case):
    """A length of zero, which no span has, raises with a message."""
    assert_refuses(implementation, case)


# --- Named entities ---------------------------------------------------------------------------------------------------


@must("heads.named-entity-alignment-equation", "Devlin et al. 2019, section 5.3: the first sub-token")
@cases(heads.alignments, heads.drawn_alignments)
def test_named_entity_alignment_equation(implementation, case):
    """The label of a word stands at its first sub-word; all other sub-words, special tokens and padding are ignored."""
    assert_conforms(implementation, case)


@must("heads.named-entity-spans-equation", "Tjong Kim Sang & De Meulder 2003, section 2")
@cases(heads.entities, heads.stray, heads.drawn_tags)
def test_named_entity_spans_equation(implementation, case):
    """An entity goes from its first token to the last of the I of its type that follow without a gap."""
    assert_conforms(implementation, case)


@must("heads.named-entity-stray-inside", "conlleval, startOfChunk")
@cases(heads.stray)
def test_named_entity_stray_inside(implementation, case):
    """An I that follows an O, another type, or nothing, begins an entity of its type."""
    assert_conforms(implementation, case)


# --- All --------------------------------------------------------------------------------------------------------------


@must("heads.hidden-tokens-do-not-matter", "the contract of attention_mask")
@cases(*heads.masked)
def test_hidden_tokens_do_not_matter(implementation, case):
    """Other ids, types and positions where the attention mask is False leave the logits at tokens the same."""
    changed = heads.models.with_other_hidden_tokens(case)
    assert_identical(implementation, case, changed, heads.tokens_of(case))


@must("heads.batch-independence", "the formulas: every sequence by itself")
@cases(heads.in_batches)
def test_batch_independence(implementation, case):
    """A sequence has alone the result that it has in a batch."""
    alone, pick = heads.last_of_the_batch(case)
    assert_same(implementation, alone, case, pick, heads.tokens_of(alone))


@should("heads.batch-of-zero", "the contract: a batch of 0 is allowed")
@cases(heads.batch_of_zero, heads.batch_of_none)
def test_batch_of_zero(implementation, case):
    """An empty batch gives an empty result of the right shape and dtype."""
    assert_conforms(implementation, case)


@must("heads.layouts", "the contract: a tensor is its numbers, not its strides")
@cases(heads.strided)
def test_layouts(implementation, case):
    """Transposed, sliced and expanded inputs, and transposed weights, give what their contiguous copies give."""
    assert_conforms_laid_out(implementation, case)


@must("heads.inputs-untouched", "the contract: inputs and weights are left as they are")
@cases(heads.every_operation)
def test_inputs_untouched(implementation, case):
    """A call changes no bit of ids, labels, logits, masks and weights."""
    assert_untouched(implementation, case)


@must("heads.no-memory", "the contract: an operation is a function of its arguments")
@cases(heads.small[1], heads.exact_calls)
def test_no_memory(implementation, case):
    """A result does not depend on the calls that went before, and is changed by none that follows."""
    assert_remembers_nothing(implementation, case, *heads.others_than(case))
    assert_no_memory(implementation, case, heads.others_than(case))
    assert_ignores_default_dtype(implementation, case, torch.bfloat16)


@must("heads.dtype-and-shape", "the contract: logits in the weights' dtype, positions and labels as integers")
@cases(heads.every_operation)
def test_dtype_and_shape(implementation, case):
    """Logits have the dtype of the weights and an axis of classes, be there but one; spans and labels are 64-bit integers."""
    assert_contract(implementation, case)


@should("heads.impossible-ids", "the contract: what has no meaning is refused")
@cases(heads.impossible)
def test_impossible_ids(implementation, case):
    """Words without a label and tags beyond the types raise with a message."""
    assert_refuses(implementation, case)
