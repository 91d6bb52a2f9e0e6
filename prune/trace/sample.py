"""The journal record of one sample: its answer, and the measures of every knockout."""

from typing import Any

import torch
from torch import Tensor

from prune.inputs.samples import Sample
from prune.layout.pathways import roles_of
from prune.runtime.attention import seam
from prune.runtime.captured import next_logits
from prune.trace.ask import Choice, PromptStyle, TracedPrompt
from prune.trace.dense_pass import DensePass, record_dense
from prune.trace.found_roles import find_marked
from prune.trace.knocked_out import knocked_out
from prune.trace.knockout import Knockouts
from prune.trace.numbers import mapped, nats, probability
from prune.trace.reply_case import trace_reply

CHOICE = Choice()


def trace_sample(
    model: Any,
    processor: Any,
    sample: Sample,
    num_frames: int,
    knockouts: Knockouts,
    which: str = "correct",
    asking: PromptStyle = CHOICE,
) -> dict[str, Any]:
    """Trace one sample.

    Args:
        model, processor, sample, num_frames: what to run.
        knockouts: what to remove.
        which: `correct`, `wrong` or `all`: cases whose knockouts are run, if they can be correct or
            wrong; for others the record holds only the dense answer.
        asking: the prompt style.

    Returns:
        `cases`: one, or one per anchor of the reply. A case of a whole reply is that of
        `prune.trace.reply_case`, any other that of `trace_case`.

    Raises:
        BadInputError: the clip cannot be decoded.
        NumericError: a logit is NaN or infinite.
    """
    cases = asking.cases(model, processor, sample, num_frames)
    with seam(model):
        traced = [
            trace_reply(processor, case, knockouts)
            if case.reply
            else trace_case(processor, case, sample.answer, knockouts, which)
            for case in cases
        ]
    return {"cases": traced}


def trace_case(
    processor: Any,
    case: TracedPrompt,
    true_option: int,
    knockouts: Knockouts,
    which: str,
    dense: DensePass | None = None,
) -> dict[str, Any]:
    """Trace the next token of one prompt, inside `prune.runtime.attention.seam`.

    Args:
        processor: the model's.
        case: the prompt.
        true_option: index of the true option, where there are options.
        knockouts: what to remove.
        which: as in `trace_sample`.
        dense: the recorded pass of the prompt, if there is one.

    Returns:
        - `token` and `p_answer`: the traced token (the dense model's likeliest, or the anchor's)
          and its dense probability; `anchor`: the text it begins, if it was traced for that;
        - `likeliest`: id of the likeliest token of the whole vocabulary;
        - where there are options: `letters`, the ids of their letters; `true`, index of the true
          one; `p_true`, its probability; `choice`, the likeliest option; `correct`, whether `token`
          is the true one's;
        - `knockouts`: by pathway the measures of `measures`, each a list with one item per window
          (a list with one item per KV head, if these are cut one at a time).

    Raises:
        NumericError: a logit is NaN or infinite.
    """
    dense = dense or record_dense(case.replay, under=knockouts.under)
    logp = torch.log_softmax(dense.logits, -1)
    token = int(logp.argmax()) if case.token is None else case.token
    record: dict[str, Any] = {
        "token": processor.tokenizer.decode([token]),
        "p_answer": probability(logp[token]),
        "likeliest": int(logp.argmax()),
    }
    if case.anchor is not None:
        record["anchor"] = case.anchor
    true = None
    if case.options:
        true = case.options[true_option]
        record |= {
            "letters": list(case.options),
            "true": true_option,
            "p_true": probability(logp[true]),
            "choice": int(logp[list(case.options)].argmax()),
            "correct": token == true,
        }
    if case.options and which != "all" and record["correct"] != (which == "correct"):
        return record
    find_marked(dense, roles_of(knockouts.pathways), record.get("choice"), case.shown)
    states = knocked_out(dense, knockouts)[..., -1, :]
    cut = torch.log_softmax(next_logits(case.replay.model, states), -1)
    record["knockouts"] = {
        pathway.name: measures(logp, rows, token, true, list(case.options))
        for pathway, rows in zip(knockouts.pathways, cut, strict=True)
    }
    return record


def measures(
    dense: Tensor, cut: Tensor, token: int, true: int | None, options: list[int]
) -> dict[str, Any]:
    """Measures of one pathway's knockouts, or of other changes of a run.

    Args:
        dense: log-probabilities of the next token, `[V]`.
        cut: the same under every knockout, `[W, V]` or `[W, H, V]`.
        token, true: the traced token and the true option's.
        options: tokens of all options.

    Returns:
        `p_answer` and `dlogp_answer`, probability of the traced token and change of its logarithm
        (nats); `kl`, divergence of the next token's distribution from the dense one (nats);
        `likeliest`, id of the likeliest token of the whole vocabulary; and, where there are
        options, `p_true` and `dlogp_true`, and `choice`, the likeliest option.
    """
    divergence = (dense.exp() * (dense - cut)).sum(-1).clamp(min=0)
    found = {
        "p_answer": mapped(probability, cut[..., token]),
        "dlogp_answer": mapped(nats, cut[..., token] - dense[token]),
        "kl": mapped(nats, divergence),
        "likeliest": cut.argmax(-1).tolist(),
    }
    if true is not None:
        found |= {
            "p_true": mapped(probability, cut[..., true]),
            "dlogp_true": mapped(nats, cut[..., true] - dense[true]),
            "choice": cut[..., options].argmax(-1).tolist(),
        }
    return found
