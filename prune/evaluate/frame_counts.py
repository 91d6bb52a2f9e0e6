"""Calibration at several numbers of frames: a plan has to hold at each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import EncodedBatch, typical_prompt
from prune.evaluate.calibration import Calibration, calibrate
from prune.inputs.replying import DEFAULT_REPLYING, Replying
from prune.inputs.samples import Sample
from prune.layout.reach import Reach
from prune.plan.budget import Hopeless, Score
from prune.plan.draft import Problem
from prune.plan.worst_part import WorstPart


@dataclass
class FrameCounts:
    """The same calibration samples at several numbers of frames.

    The loss of a plan is that at the number of frames where it loses most. Costs are counted on the
    prompt of median length among all.

    Attributes:
        each: one calibration per number of frames.
    """

    each: list[Calibration]

    @property
    def batches(self) -> list[EncodedBatch]:
        """At every number of frames."""
        return [batch for one in self.each for batch in one.batches]

    @property
    def ranking(self) -> list[EncodedBatch]:
        """The batches that rank plans, at every number of frames."""
        return [batch for one in self.each for batch in one.ranking]

    @property
    def score(self) -> Score:
        """The dense model's."""
        return WorstPart.of([one.score for one in self.each])

    def problem(self) -> Problem:
        """The problem that a search solves."""
        return self._of([one.problem() for one in self.each])

    def mending_problem(self) -> Problem:
        """See `Calibration.mending_problem`."""
        return self._of([one.mending_problem() for one in self.each])

    def _of(self, problems: Sequence[Problem]) -> Problem:
        parts = [problem.part for problem in problems]
        whole = replace(_joined(problems), prompt=typical_prompt(self.batches))
        if all(part is None for part in parts):
            return whole
        few = [part or problem for part, problem in zip(parts, problems, strict=True)]
        return replace(whole, part=replace(_joined(few), prompt=whole.prompt))


def _joined(problems: Sequence[Problem]) -> Problem:
    """One problem on the samples of several, measured one after another."""

    def measure(reach: Reach, hopeless: Hopeless) -> Score:
        # What was not run counts as unchanged, and its samples do not count as run.
        scores = [replace(problem.dense, samples=0) for problem in problems]
        for place, problem in enumerate(problems):

            def so_far(score: Score, place: int = place) -> bool:
                return hopeless(WorstPart.of([*scores[:place], score, *scores[place + 1 :]]))

            scores[place] = problem.measure(reach, so_far)
            if hopeless(WorstPart.of(scores)):
                break
        return WorstPart.of(scores)

    return replace(
        problems[0],
        dense=WorstPart.of([problem.dense for problem in problems]),
        measure=measure,
        part=None,
    )


def calibrate_at(
    opened: LoadedModel,
    samples: Sequence[Sample],
    counts: Sequence[int],
    on_done: Callable[[int], None] = lambda n: None,
    replying: Replying = DEFAULT_REPLYING,
) -> Calibration | FrameCounts:
    """Encode calibration samples at every number of frames, and answer them densely.

    Args:
        opened: the dense model.
        samples: in any order.
        counts: numbers of frames.
        on_done: is told of each sample, once for each number of frames.
        replying: by which replies open samples are followed.

    Raises:
        BadInputError: none of them can be used.
        NumericError: the logits of each are NaN or infinite.
    """
    each = [calibrate(opened, samples, count, on_done, replying) for count in counts]
    return each[0] if len(each) == 1 else FrameCounts(each)
