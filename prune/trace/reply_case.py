"""The case of a whole reply: the measures of every knockout over all of its tokens."""

from typing import Any

import torch
from torch import Tensor

from prune.layout.pathways import roles_of
from prune.runtime.captured import next_logits
from prune.trace.ask import TracedPrompt
from prune.trace.dense_pass import record_dense
from prune.trace.found_roles import find_marked
from prune.trace.knocked_out import knocked_out
from prune.trace.knockout import Knockouts
from prune.trace.numbers import mapped, nats, probability


def trace_reply(processor: Any, case: TracedPrompt, knockouts: Knockouts) -> dict[str, Any]:
    """Trace a reply, through which the model is forced.

    Returns:
        - `reply`, its text, and `tokens`, how many it has;
        - `p_answer`: the geometric mean of its tokens' dense probabilities, which stands where that
          of a letter stands for a question with options;
        - `knockouts`: by pathway `p_answer` under it; `dlogp_answer` and `kl`, means over the
          tokens (nats); `agreement`, tokens whose likeliest token is the dense model's (percent);
          and `prefix`, how many there are before the first other one. Each is a list with one item
          per window (a list with one item per KV head, if these are cut one at a time).

    Raises:
        NumericError: a logit is NaN or infinite.
    """
    ids, count = list(case.reply), len(case.reply)
    model = case.replay.model
    dense = record_dense(case.replay, count, knockouts.under)
    find_marked(dense, roles_of(knockouts.pathways), shown=case.shown)
    before = next_logits(model, dense.states).log_softmax(-1)
    chosen = torch.tensor(ids, device=before.device)[:, None]
    own = before.gather(1, chosen)[:, 0]
    return {
        "reply": processor.tokenizer.decode(ids, skip_special_tokens=False),
        "tokens": count,
        "p_answer": probability(own.mean()),
        "knockouts": {
            pathway.name: _measure(model, before, own, chosen, cut)
            for pathway, cut in zip(knockouts.pathways, knocked_out(dense, knockouts), strict=True)
        },
    }


def _measure(
    model: Any, before: Tensor, own: Tensor, chosen: Tensor, states: Tensor
) -> dict[str, Any]:
    """Measures of one pathway's knockouts.

    Args:
        model: whose output head it is.
        before: dense log-probabilities in the place of each token, `[K, V]`.
        own: those of the reply's tokens, `[K]`.
        chosen: the reply's tokens, `[K, 1]`.
        states: final states under every knockout, `[W, K, d]` or `[W, H, K, d]`.
    """
    likeliest = before.argmax(-1)
    measures = []
    # One knockout at a time: the logits of all would be too many.
    for cut in states.flatten(0, -3):
        after = next_logits(model, cut).log_softmax(-1)
        told = after.gather(1, chosen)[:, 0]
        divergence = (before.exp() * (before - after)).sum(-1).clamp(min=0)
        same = (after.argmax(-1) == likeliest).double()
        measures.append(
            torch.stack(
                [told.mean().double(), (told - own).mean().double(), divergence.mean().double(),
                 100 * same.mean(), same.cumprod(0).sum()]
            )
        )  # fmt: skip
    table = torch.stack(measures, 1).unflatten(1, states.shape[:-2]).cpu()
    return {
        "p_answer": mapped(probability, table[0]),
        "dlogp_answer": mapped(nats, table[1]),
        "kl": mapped(nats, table[2]),
        "agreement": mapped(nats, table[3]),
        "prefix": mapped(int, table[4]),
    }
