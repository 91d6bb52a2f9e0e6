"""How much memory a call takes: at its peak, and after it, by what it returned."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Memory:
    """Memory of one call, MiB, above what was allocated before it.

    Attributes:
        peak: at its highest.
        held: after the call, with its result alive.
    """

    peak: float
    held: float


def memory_of(run: Callable[[], object], cuda: bool) -> Memory:
    """Run once and count: CUDA's own statistics, or every allocation of the CPU's profiler."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = run()
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated() - before
        del result
        return Memory((torch.cuda.max_memory_allocated() - before) / 2**20, held / 2**20)
    with torch.profiler.profile(profile_memory=True) as profile:
        result = run()
    live = peak = 0
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    del result
    return Memory(peak / 2**20, live / 2**20)
