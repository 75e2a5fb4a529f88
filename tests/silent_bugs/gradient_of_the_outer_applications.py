"""BUG: of four or more applications of the one layer the first two and the last alone add to its gradient."""

from transpec.reference import albert as _a

CAUGHT_BY = "albert.gradients"
FRAMEWORK = "torch"
DTYPES = ("float64", "float32")
DIFFERENTIABLE = True


def albert(token_ids, weights, config, *, token_type_ids=None, attention_mask=None, position_ids=None):
    x = _a.embed(token_ids, _a.part(weights, "embeddings"), token_type_ids, position_ids)
    x = _a.layer_norm(x, _a.part(weights, "embeddings.norm"), eps=config.eps)
    x = x @ weights["projection.w"] + weights["projection.b"]
    mask = None if attention_mask is None else attention_mask.unsqueeze(-2)
    own = _a.part(weights, "layer")
    fixed = {k: v.detach() for k, v in own.items()}
    L = config.num_layers
    for i in range(L):
        w = fixed if L >= 4 and 2 <= i < L - 1 else own
        x = _a.encoder_layer(x, w, num_heads=config.num_heads, mask=mask, activation=config.activation, eps=config.eps)
    return x
