"""Answers of the dense and the pruned model to every question of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.answers import answer, prepare, under
from prune.evaluate.stats import paired_difference, proportion
from prune.inputs.samples import Sample
from prune.layout.reach import dense_reach
from prune.plan.plan import Plan
from prune.results.answer import Answer


@dataclass(frozen=True)
class PairedAnswers:
    """Answers of both models, in the order of the samples that could be used."""

    samples: list[Sample]
    dense: list[Answer]
    pruned: list[Answer]

    @classmethod
    def of(cls, samples: Sequence[Sample], records: Sequence[Mapping[str, Any]]) -> "PairedAnswers":
        """From records with `answers` (`answer_both`), one per sample; others are skipped."""
        usable = [
            (s, r["answers"]) for s, r in zip(samples, records, strict=True) if "answers" in r
        ]
        dense, pruned = (
            [Answer(**{**r[side], "p_options": tuple(r[side]["p_options"])}) for _, r in usable]
            for side in ("dense", "pruned")
        )
        return cls([sample for sample, _ in usable], dense, pruned)

    @property
    def accuracy(self) -> dict[str, Any]:
        """Accuracy of both over the options, and its paired change, with intervals by video."""
        before, after = ([a.correct for a in answers] for answers in (self.dense, self.pruned))
        videos = [a.video for a in self.dense]
        return {
            "n": {"value": len(before)},
            "videos": {"value": len(set(videos))},
            "dense": asdict(proportion(before, videos)),
            "pruned": asdict(proportion(after, videos)),
            "change": asdict(paired_difference(before, after, videos)),
        }


def answer_both(
    opened: LoadedModel, plan: Plan, sample: Sample, num_frames: int
) -> dict[str, dict[str, Any]]:
    """Answer a sample densely and under a plan.

    Returns:
        The fields of both `Answer`s, `dense` and `pruned`, for JSON.

    Raises:
        BadInputError: its clip cannot be decoded.
        NumericError: a logit is NaN or infinite.
    """
    prepared, failed = prepare(opened.model, opened.processor, [sample], num_frames, 1)
    if failed:
        raise BadInputError(failed[sample.id])
    reaches = {"dense": dense_reach(plan.num_layers), "pruned": plan.reach}
    found = {}
    for side, reach in reaches.items():
        (one,) = answer(opened.model, opened.processor, prepared, under(reach))
        found[side] = {**asdict(one), "p_options": list(one.p_options)}
    return found
