"""The group of processes that share the work under `torchrun`."""

import atexit
from functools import cache

import torch
from accelerate import PartialState


@cache
def processes() -> PartialState:
    """This process among those of `torchrun`; outside of it, the only one.

    However the process ends, it leaves the group first. A process that ends inside the group
    sometimes aborts, and torchrun then kills the others, which may still be writing.
    """
    state = PartialState(cpu=not torch.cuda.is_available())
    atexit.register(state.destroy_process_group)
    return state


def share_of(total: int) -> int:
    """The largest number of `total` samples that a single process handles."""
    count: int = processes().num_processes
    return -(-total // count)
