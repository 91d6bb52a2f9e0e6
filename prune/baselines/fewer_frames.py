"""Fewer frames of every clip."""

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.reencoded import Change, Reader, cheapest, reencoding


def fewer_frames(target: CostTarget, reader: Reader) -> Baseline | None:
    """As many frames as cost what the plan costs, sampled as the model's own are.

    Families that put several frames into one unit of tokens keep whole units.

    Returns:
        None if every unit is needed to cost as much, as with a single one, or with pictures.
    """
    units = int(target.prompt.frame.max()) + 1
    frames = max(1, reader.num_frames // units)

    def at(kept: int) -> Change:
        return lambda sample, num_frames: (sample, min(kept * frames, num_frames))

    kept = cheapest(target, reader, units, at)
    if kept == units or reader.sample.medium == "image":
        return None
    setting = f"{min(kept * frames, reader.num_frames)} of {reader.num_frames} frames"
    source = "the model's own sampling"
    return reencoding("fewer frames", source, setting, target, reader, at(kept))
