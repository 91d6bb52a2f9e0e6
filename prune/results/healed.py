"""The accuracy of a plan before and after healing."""

from dataclasses import dataclass

from prune.results.interval import Interval


@dataclass(frozen=True)
class HealResult:
    """What healing did to a plan; accuracies are over the options on held-out samples, in percent.

    Attributes:
        plan: its name.
        n, videos: how many questions were asked, and about how many videos.
        flops: of the prefill, counted, as a share of the dense model's.
        dense: the model as it was.
        pruned: under the plan, before.
        healed: under the plan, after.
        difference: healed minus dense, in points, paired.
        p_value: exact McNemar test of that difference, by video.
    """

    plan: str
    flops: float
    n: int
    videos: int
    dense: float
    pruned: float
    healed: float
    difference: Interval
    p_value: float
