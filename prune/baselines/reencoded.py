"""Clips that are read anew with less in them, at the plan's cost: fewer frames, or fewer pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from prune.baselines.baseline import Baseline, CostTarget, OnTop
from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.answers import EncodedBatch, prepare, under
from prune.inputs.encode import decode, encode
from prune.inputs.sample import Sample
from prune.layout.reach import Reach, dense_reach
from prune.layout.segments import Segments, segment
from prune.plan.cost import cost_of, dense_cost

Change = Callable[[Sample, int], tuple[Sample, int]]
"""A sample and a number of frames as they are read at a setting: less at a lower one."""


@dataclass(frozen=True)
class Reader:
    """Reads clips anew.

    Attributes:
        opened: the dense model.
        num_frames: frames of every clip, where none are left out.
        sample: whose prompt is the typical one, on which costs are counted.
    """

    opened: LoadedModel
    num_frames: int
    sample: Sample

    def layout(self, change: Change) -> Segments:
        """The typical prompt after a change; only the processor runs."""
        sample, frames = change(self.sample, self.num_frames)
        processor = self.opened.processor
        return segment(processor, encode(processor, [sample], [decode(sample, frames)]))

    def read(self, samples: Sequence[Sample], change: Change) -> EncodedBatch:
        """The samples after a change, as one batch.

        Raises:
            BadInputError: they cannot be read so.
        """
        changed, frames = zip(*(change(one, self.num_frames) for one in samples), strict=True)
        opened = self.opened
        found, failed = prepare(opened.model, opened.processor, changed, frames[0], len(changed))
        if failed or len(found) != 1:
            name, why = next(iter(failed.items()), (samples[0].id, "clips of several shapes"))
            raise BadInputError(f"{name}: cannot be read anew: {why}")
        return found[0]


def cheapest(target: CostTarget, reader: Reader, most: int, at: Callable[[int], Change]) -> int:
    """The lowest setting in 1 to `most` whose dense prefill costs no less than the plan's."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        layout = reader.layout(at(middle))
        enough = dense_cost(target.plan.num_layers, layout, target.geometry).flops
        low, high = (low, middle) if enough >= target.cost.flops else (middle + 1, high)
    return low


def reencoding(
    name: str, source: str, setting: str, target: CostTarget, reader: Reader, change: Change
) -> Baseline:
    """The baseline of a change."""
    layout, reach = reader.layout(change), target.plan.reach
    alone = dense_cost(len(reach), layout, target.geometry)

    def run(reach: Reach) -> Callable[[EncodedBatch], Tensor]:
        return lambda batch: under(reach)(reader.read(batch.samples, change))

    return Baseline(
        name,
        source,
        setting,
        alone.edges,
        alone.flops,
        run(dense_reach(len(reach))),
        OnTop(cost_of(reach, layout, target.geometry).flops, run(reach)),
    )
