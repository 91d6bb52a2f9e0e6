"""Launch counts of one request: the proof that a measured model really ran pruned."""

from prune.bench.latency import DECODE_TOKENS, generate
from prune.bench.side import Side
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.results.latency import LaunchCounts
from prune.runtime.launches import launches


def launch_counts(side: Side, sample: Sample, num_frames: int) -> LaunchCounts:
    """Run one request, as it is timed, and count.

    Args:
        side: with a plan.
        sample, num_frames: the request.

    Raises:
        RefusedError: no pruned attention ran.
    """
    inputs = read(side.processor, [sample], num_frames).to(side.model.device)
    with side.running():
        generate(side.model, inputs, DECODE_TOKENS + 1)
        found = launches(side.model)
    return LaunchCounts(
        found.total,
        sum(calls > 0 for calls in found.calls),
        found.computed,
        found.states,
        dict(found.kernels),
    )
