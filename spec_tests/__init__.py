"""The requirements: each test states one sentence of the specification and holds an implementation to it.

# The contract

**Shapes.** Row vectors: y = x W + b, with W of shape (in, out). Leading axes `...` broadcast as in numpy. There is always at
least one query and one key, and every length is at least 1; a batch may be of 0. Numbers are taken as given: `scale` and `eps`
may be 0, and `scale` may be negative; `eps` is one that the dtype holds, and an `offset` is not below 0.

**Masks** are boolean, True where a query may attend, and broadcast to (..., queries, keys); for multi-head attention and
layers to (batch, queries, keys), the same for all heads. The masks of models are of tokens, (batch, length): True at a token,
False at padding, which nothing attends to. Results at padding are nobody's business: they are not compared, and
gradients are asked for with a cotangent that is zero there.

**Calls.** Tensors come first and by position, then the flat dict of weights where there is one, then the configuration of a
model; options come by keyword, those with a default only where they differ from it. `dtype` is the framework's own object.
Token ids are 64-bit integers. A configuration is a frozen dataclass: read its fields as attributes; it can be hashed.

**Weights** are one flat dict of arrays. What belongs to a part stands behind its name and a dot: `self_attention.w_q`,
`feed_forward.b_1`, and in stacks `layers.0.self_attention.w_q`. One array may be used in several places: a table that
embeds tokens and makes logits, or the one layer of ALBERT; its gradient is the sum over all of them. Arrays may lie in
memory in any way: with gaps, with axes in another order, with strides of 0, in numpy also backwards.

**Results** have the dtype of the inputs and are new tensors or views; inputs, weights and masks are left as they are, and
no result depends on an earlier call, nor on what the same arrays held in it, nor on torch's default dtype. As a result may
be a view, or a buffer that is kept, nobody writes into it.

**Gradients.** An implementation that declares `DIFFERENTIABLE = True` is also held to the vector-Jacobian product for
every floating input and weight, whether all are asked for or any of them alone, however the cotangent is laid out, and whatever
was called in between. The cotangent is left as it is. A tensor that is given twice, as in self-attention, has one gradient:
the sum over its places. A second way back through one graph is not asked for.

**Errors.** An implementation MUST raise, with a message, only where no broadcast gives the shapes a meaning: queries and keys
of unlike size, unlike numbers of keys and values neither of which is 1, heads that do not divide (one key for several values,
or one value for several keys, is not asked about). Every other check of
bad input is a SHOULD. `NotImplementedError` says that a case is outside what is supported; it is counted, is no failure,
and is never a refusal.

**Accuracy.** A result may differ from the formula, computed in float64 on the same inputs, by no more than rounding explains,
in whatever order sums are made: the budget is computed for every case from the formula and the dtype, and a report gives
error / budget, 1.0 being the limit.
No case leads the formula as it is written beyond a quarter of what a dtype can hold: products that only leave the range of
float16 before they are scaled are not asked about. Booleans and integers are compared exactly, and so are results that
hidden content or the future must not change.

**Choices.** Where papers are silent or correct implementations differ, a requirement names the allowed answers. An
implementation declares its own in `CHOICES` and is held to it; the first one named holds where none is declared.
"""
