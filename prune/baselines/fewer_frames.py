"""Fewer frames of every clip."""

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.reencoded import Change, Reader, cheapest, reencoding


def fewer_frames(target: CostTarget, reader: Reader) -> Baseline:
    """As many frames as cost what the plan costs, sampled as the model's own are."""

    def at(frames: int) -> Change:
        return lambda sample, num_frames: (sample, min(frames, num_frames))

    few = cheapest(target, reader, reader.num_frames, at)
    setting = f"{few} of {reader.num_frames} frames"
    return reencoding("fewer frames", "the model's own sampling", setting, target, reader, at(few))
