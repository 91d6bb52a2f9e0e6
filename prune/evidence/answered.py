"""What the dense and the pruned model answer to every question of a data set."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prune.errors import BadInputError
from prune.evaluate.answers import Answer, answer, prepare, under
from prune.evaluate.stats import paired_difference, proportion
from prune.models import Opened
from prune.pathways import dense_reach
from prune.plan.plan import Plan
from prune.samples import Sample

BATCH = 8


@dataclass(frozen=True)
class Answered:
    """Answers of both models, in the order of `samples`.

    Attributes:
        samples: those that could be used.
        failed: reason by id of the others.
    """

    samples: list[Sample]
    dense: list[Answer]
    pruned: list[Answer]
    failed: dict[str, str]

    @property
    def accuracy(self) -> dict[str, Any]:
        """Accuracy of both over the options, and its paired change, in points with intervals."""
        before, after = ([a.correct for a in answers] for answers in (self.dense, self.pruned))
        return {
            "n": {"value": len(before)},
            "dense": asdict(proportion(before)),
            "pruned": asdict(proportion(after)),
            "change": asdict(paired_difference(before, after)),
        }


def answer_both(
    opened: Opened,
    plan: Plan,
    samples: Sequence[Sample],
    num_frames: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> Answered:
    """Answer every sample densely and under a plan.

    Raises:
        BadInputError: no sample could be used.
    """
    prepared, failed = prepare(opened.model, opened.processor, samples, num_frames, BATCH, on_done)
    if not prepared:
        raise BadInputError(f"no sample could be used: {next(iter(failed.values()))}")
    dense, pruned = (
        answer(opened.model, opened.processor, prepared, under(reach), on_done)
        for reach in (dense_reach(plan.num_layers), plan.reach)
    )
    return Answered([s for b in prepared for s in b.samples], dense, pruned, failed)
