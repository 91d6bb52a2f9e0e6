"""Accuracy of a dense and a pruned model on the same held-out samples."""

from dataclasses import dataclass

from prune.results.existence import Existence
from prune.results.flips import Flip
from prune.results.interval import Interval


@dataclass(frozen=True)
class TaskRow:
    """Accuracy on one task (restricted to the options), in percent.

    Attributes:
        n, videos: how many questions were asked, and about how many videos.
    """

    task: str
    n: int
    videos: int
    dense: Interval
    pruned: Interval
    random: float | None
    difference: Interval


@dataclass(frozen=True)
class AccuracyReport:
    """Dense against pruned on the same held-out samples.

    Attributes:
        overall: all tasks together.
        random: accuracy per seed with as many edges removed at random.
        p_value: of the exact McNemar test, by video.
        by_path: how many videos have no hash, so that only their paths distinguish them.
        free_dense, free_pruned: accuracy over the whole vocabulary, in percent.
        flipped: the samples whose option changed, worst first.
        existence: hallucination of both, if samples ask for absent things.
    """

    tasks: tuple[TaskRow, ...]
    overall: TaskRow
    random: tuple[float, ...]
    p_value: float
    by_path: int
    free_dense: float
    free_pruned: float
    flipped: tuple[Flip, ...]
    existence: Existence | None = None
