"""How many dead states are worth skipping on a device, where the skipping itself takes time."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
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


def worth_on(mlp: Any, hidden: int, dtype: torch.dtype) -> Worth:
    """What is worth skipping, by a short measurement of each kind of model on each device.

    A token counts as its MLP alone, so savings are rather underestimated. The time of a token is
    rounded to a power of 2, so that processes on one machine agree. Where nothing can be timed, as
    of weights that are offloaded, that is `EVERY`.

    Args:
        mlp: of a decoder layer.
        hidden: size of its input.
        dtype: of its input.
    """
    weight = next(mlp.parameters(), None)
    if weight is None or weight.is_meta:
        return EVERY
    kind = type(mlp), weight.shape, weight.dtype, weight.device
    key = (*kind, hidden, dtype, torch.get_num_threads())
    with _lock:
        if key not in _known:
            _known[key] = _measured(
                mlp, torch.ones(1, TOKENS, hidden, dtype=dtype, device=weight.device)
            )
        return _known[key]


@torch.no_grad()
def _measured(mlp: Any, x: Tensor) -> Worth:
    """On an input of `TOKENS` tokens."""
    rows = torch.arange(0, TOKENS, 2)[None]
    token = 2 ** round(math.log2(_seconds(lambda: mlp(x), x) / TOKENS))
    taken = _seconds(lambda: take(x, rows), x)
    moved = taken + _seconds(lambda: spread(take(x, rows), rows, TOKENS), x)
    return Worth((3 * taken + LAYOUT_SECONDS) / token, (3 * moved + LAYOUT_SECONDS) / token)


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
