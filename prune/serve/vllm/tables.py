"""The physical blocks of a step's requests in one group of layers."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prune.serve.vllm.step import Step
from prune.serve.vllm.storage import Storage

Ints = NDArray[np.int64]


class Lines:
    """The blocks that generated tokens read, for as long as the same requests run.

    Args:
        storages: of the requests.
        width: of their block tables.
    """

    def __init__(self, storages: list[Storage], width: int):
        self._storages, self._width = storages, width
        self._prompt = np.array([storage.prompt for storage in storages])
        self._kept = np.array([storage.kept(storage.prompt) for storage in storages])
        self.blocks: Ints = np.stack([storage.line(width) for storage in storages])

    def are(self, storages: list[Storage], width: int) -> bool:
        """Whether these are the lines of some requests."""
        return self._storages == storages and self._width == width

    def tokens(self, stops: Ints) -> Ints:
        """How many of the first `stops` tokens of each request generated ones read."""
        found: Ints = self._kept + stops - self._prompt
        for index in np.flatnonzero(stops < self._prompt):
            found[index] = self._storages[index].kept(int(stops[index]))
        return found


class Tables:
    """Blocks of the requests of one step in one group.

    Args:
        step: the step.
        layers: of the group.
        table: int32 `[B, blocks]`, physical blocks of every request.
        block_size: tokens of a block.
        lines: of the step before, which are used again where they can be.
    """

    def __init__(
        self,
        step: Step,
        layers: tuple[int, ...],
        table: Tensor,
        block_size: int,
        lines: Lines | None = None,
    ):
        self._table, self.block_size = table.numpy(), block_size
        self._storages = [part.layout.storage(layers, block_size) for part in step.parts]
        width = self._table.shape[1]
        if lines is None or not lines.are(self._storages, width):
            lines = Lines(self._storages, width)
        self.lines = lines
        self._tokens = lines.tokens(step.stops)

    def slots(self, index: int, positions: Ints) -> Ints:
        """Physical slots of tokens of a request.

        Raises:
            RuntimeError: one of them is in a block that was given back, or never given out.
        """
        slots = self._storages[index].slots(positions)
        blocks = self._table[index][slots // self.block_size].astype(np.int64)
        if not blocks.all():
            _refuse()
        if not (slots >= 0).all():
            raise RuntimeError("prune: a token was asked for that is not stored")
        found: Ints = blocks * self.block_size + slots % self.block_size
        return found

    def last_slots(self) -> Ints:
        """Physical slots of the last token of every request, int64 `[B]`, all of them kept.

        Raises:
            RuntimeError: as `slots`.
        """
        last = self._tokens - 1
        rows = np.arange(len(last))
        blocks = self._table[rows, self.lines.blocks[rows, last // self.block_size]]
        if not blocks.all():
            _refuse()
        found: Ints = blocks.astype(np.int64) * self.block_size + last % self.block_size
        return found

    def kept(self, requests: Ints) -> tuple[NDArray[np.int32], Ints]:
        """Of some requests the physical blocks of what generated tokens read, and their number.

        Raises:
            RuntimeError: as `slots`.

        Returns:
            int32 `[N, blocks]`, 0 behind the last block of each, and the tokens, int64 `[N]`.
        """
        tokens = self._tokens[requests]
        counts = -(-tokens // self.block_size)
        most = int(counts.max())
        held = self._table[requests[:, None], self.lines.blocks[requests, :most]]
        inside = np.arange(most) < counts[:, None]
        if not held[inside].all():
            _refuse()
        return np.where(inside, held, 0).astype(np.int32), tokens


def _refuse() -> None:
    raise RuntimeError("prune: a token was asked for whose block was given back")
