"""The journal record of one sample: its answer, and what every knockout makes of it."""

from typing import Any

import torch

from prune.attention import seam
from prune.errors import NumericError
from prune.runtime.replay import capture, letter_ids, read
from prune.samples import Sample
from prune.trace.incremental import knockout_logits, record_dense
from prune.trace.knockout import Knockouts, plain_logits


def trace_sample(
    model: Any,
    processor: Any,
    sample: Sample,
    num_frames: int,
    knockouts: Knockouts,
    which: str = "correct",
) -> dict[str, Any]:
    """Trace one sample.

    Args:
        model, processor, sample, num_frames: what to run.
        knockouts: what to remove.
        which: `correct`, `wrong` or `all`: samples whose knockouts are run; for others the record
            holds the dense answer alone.

    Returns:
        `id`, `task`, `correct` (the likeliest token is the true letter), `p_answer` and `p_true`
        (the dense probability of the likeliest token and of the true letter), and `knockouts`: for
        each pathway, by layer, the two probabilities and the chosen option.

    Raises:
        BadInputError: the clip cannot be decoded.
        NumericError: a logit is NaN or infinite.
    """
    replay = capture(model, processor, read(processor, [sample], num_frames))
    letters = letter_ids(processor, sample.letters)
    true_id = letters[sample.answer]
    with seam(model):
        dense = record_dense(replay)
        p_dense = torch.log_softmax(dense.logits, -1)
        answer_id = int(p_dense.argmax())
        record: dict[str, Any] = {
            "id": sample.id,
            "task": sample.task,
            "correct": answer_id == true_id,
            "p_answer": _probability(p_dense[answer_id]),
            "p_true": _probability(p_dense[true_id]),
        }
        if which != "all" and record["correct"] != (which == "correct"):
            return record
        if knockouts.exact_reference:
            logits = plain_logits(replay, knockouts)
        else:
            logits = knockout_logits(dense, knockouts.pathways, knockouts.windows())
    logp = torch.log_softmax(logits, -1).cpu()
    record["knockouts"] = {
        pathway.name: {
            "p_answer": [_probability(v) for v in rows[:, answer_id]],
            "p_true": [_probability(v) for v in rows[:, true_id]],
            "choice": rows[:, letters].argmax(-1).tolist(),
        }
        for pathway, rows in zip(knockouts.pathways, logp, strict=True)
    }
    return record


def _probability(logp: torch.Tensor) -> float:
    value = float(logp.double().exp())
    if not 0 <= value <= 1.000001:
        raise NumericError(f"probability {value} is not between 0 and 1")
    # Six digits: far below the effects, and short enough for a journal that people read.
    return float(f"{value:.6g}")
