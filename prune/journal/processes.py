"""The processes that share the work under `torchrun`, and how they part."""

import atexit
from functools import cache

import torch
from accelerate import PartialState


@cache
def processes() -> PartialState:
    """This process among those of `torchrun`; outside of it, the only one.

    Whatever way the process ends, it leaves the group first: one that ends inside of it aborts now
    and then, and torchrun then kills the others, which may still be writing.
    """
    state = PartialState(cpu=not torch.cuda.is_available())
    atexit.register(state.destroy_process_group)
    return state
