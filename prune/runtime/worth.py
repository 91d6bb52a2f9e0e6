"""How many dead states are worth skipping on a device, where the skipping itself takes time."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from prune.runtime.rows import spread, take

TOKENS = 128
"""Of the measurement: enough that a matrix product is not bound by reading its weights."""

LAYOUT_SECONDS = 4e-4
"""Host time to lay out another set of tokens and to make its masks (`benchmarks/short.py`)."""


@dataclass(frozen=True)
class Worth:
    """The least that has to be dead for a layer to skip it, over the rows of a batch.

    Attributes:
        drop: tokens that leave before a layer, times the layers to come.
        narrow: tokens of one layer that need K and V alone.
    """

    drop: float
    narrow: float


EVERY = Worth(0, 0)
"""Skip every dead state, whatever that takes."""

_known: dict[tuple[object, ...], Worth] = {}
_lock = Lock()


def worth_on(modules: Sequence[Any], hidden: int, dtype: torch.dtype) -> Worth:
    """What is worth skipping, by a short measurement of each kind of model on each device.

    A token counts as what these modules take for it, so savings are rather underestimated. That is
    rounded to a power of 2, so that processes on one machine agree. Where nothing can be timed, as
    of weights that are offloaded, all is worth it (`EVERY`).

    Args:
        modules: of a decoder layer, those that a dead state spares.
        hidden: size of the layer's input.
        dtype: of its input.
    """
    weights = [next(module.parameters(), None) for module in modules]
    known = [weight for weight in weights if weight is not None and not weight.is_meta]
    if not modules or len(known) < len(modules):
        return EVERY
    kinds = tuple(
        (type(x), w.shape, w.dtype, w.device) for x, w in zip(modules, known, strict=True)
    )
    key = kinds, hidden, dtype, torch.get_num_threads()
    with _lock:
        if key not in _known:
            _known[key] = _measured(modules, hidden, dtype, known[0].device)
        return _known[key]


@torch.no_grad()
def _measured(
    modules: Sequence[Any], hidden: int, dtype: torch.dtype, device: torch.device
) -> Worth:
    x = torch.ones(1, TOKENS, hidden, dtype=dtype, device=device)
    rows = torch.arange(0, TOKENS, 2)[None]
    seconds = 0.0
    for module in modules:
        own = x[..., :1].expand(-1, -1, getattr(module, "in_features", hidden)).contiguous()
        seconds += _seconds(partial(module, own), own)
    token = 2 ** round(math.log2(seconds / TOKENS))
    taken = _seconds(lambda: take(x, rows), x)
    moved = taken + _seconds(lambda: spread(take(x, rows), rows, TOKENS), x)
    # A set of tokens is taken of the states, and of two position embeddings.
    narrow = len(modules) * moved + LAYOUT_SECONDS
    return Worth((3 * taken + LAYOUT_SECONDS) / token, narrow / token)


def _seconds(run: Callable[[], Tensor], on: Tensor, times: int = 5) -> float:
    """The shortest of a few runs, after one to warm up."""

    def timed() -> float:
        start = time.perf_counter()
        run()
        if on.is_cuda:
            torch.cuda.synchronize(on.device)
        return time.perf_counter() - start

    timed()
    return max(min(timed() for _ in range(times)), 1e-9)
