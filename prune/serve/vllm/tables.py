"""The physical blocks of a step's requests in one group of layers."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prune.serve.vllm.step import Step


class Tables:
    """Blocks of the requests of one step in one group.

    Args:
        step: the step.
        layers: of the group.
        table: int32 `[B, blocks]`, physical blocks of every request.
        block_size: tokens of a block.
    """

    def __init__(self, step: Step, layers: tuple[int, ...], table: Tensor, block_size: int):
        self._table, self.block_size = table.numpy(), block_size
        self._parts = step.parts
        self._storages = [part.layout.storage(layers, block_size) for part in step.parts]

    def slots(self, index: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Physical slots of tokens of a request.

        Raises:
            RuntimeError: one of them is in a block that was given back, or never given out.
        """
        storage = self._storages[index]
        if len(positions) == 1 and positions[0] >= storage.prompt:
            slots = np.array([storage.slot(int(positions[0]))])
        else:
            slots = storage.slots(positions)
        blocks = self._held(index, slots // self.block_size)
        if not (slots >= 0).all():
            raise RuntimeError("prune: a token was asked for that is not stored")
        found: NDArray[np.int64] = blocks * self.block_size + slots % self.block_size
        return found

    def kept(self, index: int) -> tuple[NDArray[np.int64], int]:
        """Physical blocks and number of the tokens that generated ones read."""
        storage, stop = self._storages[index], self._parts[index].stop
        tokens = storage.kept(stop)
        return self._held(index, storage.kept_blocks(tokens)), tokens

    def _held(self, index: int, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._table[index][blocks].astype(np.int64)
        if not found.all():
            raise RuntimeError("prune: a token was asked for whose block was given back")
        return found
