"""The result of a search: a plan, and every plan that was tried."""

import math
from dataclasses import dataclass

from prune.plan.budget import Budget, Score
from prune.plan.cost import Cost
from prune.plan.plan import Plan


@dataclass(frozen=True)
class SearchStep:
    """A plan that was tried.

    Attributes:
        what: what it removed or restored, in words.
        cost: counted on the typical prompt.
        score: of the calibration samples, or of those that were run if it was abandoned.
        accepted: whether the search continued from it.
    """

    what: str
    cost: Cost
    score: Score
    accepted: bool


@dataclass(frozen=True)
class Harm:
    """The measured harm of a removed pathway: what the plan would win back with it.

    Attributes:
        pathway: its title.
        layers: 0-based layers in which it is removed.
        points: of accuracy and of expected accuracy that all of it would win back.
        flops: share of dense FLOPs that it saves.
        agreement: points of agreement that all of it would win back.
        samples: how many it was measured on.
    """

    pathway: str
    layers: tuple[int, ...]
    points: tuple[float, float]
    flops: float
    agreement: float = 0.0
    samples: int = 0


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes:
        score, cost: of the plan.
        dense, dense_cost: of the dense model.
        steps: every plan that was run, in order.
        harms: of each pathway that the plan removes.
        interrupted: whether the search was stopped, so that the plan is the best until then.
        ended: why it ended, in words.
        foreseen: runs over single samples that the search's forecasts took.
        exhaustive: runs over single samples that backward elimination, one candidate at a time,
            would have taken.
    """

    plan: Plan
    score: Score
    cost: Cost
    dense: Score
    dense_cost: Cost
    steps: tuple[SearchStep, ...]
    harms: tuple[Harm, ...]
    interrupted: bool
    ended: str
    exhaustive: int
    budget: Budget
    foreseen: int = 0

    @property
    def warning(self) -> str | None:
        """Why the budget may not be trusted, or None."""
        needed, given = self.budget.samples_needed(self.score), self.dense.given
        videos = self.dense.videos or given
        if videos == 1 < given:
            return (
                f"all {given} calibration samples are about one video, which cannot tell what is "
                "lost on others"
            )
        if needed is None or needed <= given:
            return None
        about, enough = "", f"about {needed}"
        if videos < given:
            about = f" about {videos} videos"
            enough = f"some {needed} about {math.ceil(videos * needed / given)} videos"
        return (
            f"{given} calibration samples{about} cannot distinguish the loss that "
            f"{self.budget.asked} allows from chance; {enough} would"
        )

    @property
    def forwards(self) -> int:
        """Runs over single samples that the search took."""
        return sum(step.score.samples for step in self.steps) + self.foreseen
