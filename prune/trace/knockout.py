"""Attention knockout (Map the Flow, 2510.13251, section 3), one masked forward each, batched.

This is the plain way, and the reference for faster ones: every knockout of a sample is one row of a
batch that runs through all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prune.attention import seam
from prune.errors import NumericError
from prune.kernels import allowed_edges
from prune.pathways import Pathway, dense_reach, knockout
from prune.runtime.enforce import MaskEnforcer
from prune.runtime.replay import Replay, capture, letter_ids, read
from prune.samples import Sample


def default_window(num_layers: int) -> int:
    """The paper's window of 9 of 32 layers, scaled to a model's depth."""
    return max(1, round(9 * num_layers / 32))


def window_layers(centre: int, window: int, num_layers: int) -> list[int]:
    """The `window` layers around `centre` (0-based), cut off at both ends."""
    start, stop = centre - window // 2, centre + (window + 1) // 2
    return list(range(max(0, start), min(num_layers, stop)))


@dataclass(frozen=True)
class Knockouts:
    """Which knockouts to run: every pathway, around every layer."""

    pathways: Sequence[Pathway]
    num_layers: int
    window: int
    batch: int = 32

    def masks(self, replay: Replay) -> torch.Tensor:
        """Bool `[1 + P, S, S]`: dense first, then without each pathway."""
        tables = [dense_reach(1)] + [knockout(1, p, [0]) for p in self.pathways]
        role, frame = replay.segments.role, replay.segments.frame
        length = replay.segments.shape[1]
        return torch.stack(
            [
                allowed_edges(role, frame, torch.from_numpy(table[0]), length)[0, 0]
                for table in tables
            ]
        )

    def choice(self) -> torch.Tensor:
        """Mask of every layer for every knockout: int64 `[L, P * L]`, pathways outermost."""
        choice = torch.zeros(self.num_layers, len(self.pathways), self.num_layers, dtype=torch.long)
        for centre in range(self.num_layers):
            for layer in window_layers(centre, self.window, self.num_layers):
                choice[layer, :, centre] = torch.arange(1, len(self.pathways) + 1)
        return choice.flatten(1)


def trace_sample(
    model: Any,
    processor: Any,
    sample: Sample,
    num_frames: int,
    knockouts: Knockouts,
    which: str = "correct",
) -> dict[str, Any]:
    """The journal record of one sample.

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
    masks, choice = knockouts.masks(replay), knockouts.choice()
    letters = letter_ids(processor, sample.letters)
    true_id = letters[sample.answer]

    def run(columns: torch.Tensor) -> torch.Tensor:
        logits = replay.last_logits(MaskEnforcer(masks, columns), columns.shape[1])
        return torch.log_softmax(logits, -1).cpu()

    with seam(model):
        dense = run(choice[:, :1] * 0)[0]
        answer_id = int(dense.argmax())
        record: dict[str, Any] = {
            "id": sample.id,
            "task": sample.task,
            "correct": answer_id == true_id,
            "p_answer": _probability(dense[answer_id]),
            "p_true": _probability(dense[true_id]),
        }
        if which != "all" and record["correct"] != (which == "correct"):
            return record
        parts = [run(columns) for columns in choice.split(knockouts.batch, dim=1)]
    logp = torch.cat(parts).unflatten(0, (len(knockouts.pathways), knockouts.num_layers))
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
