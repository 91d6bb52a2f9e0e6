"""The physical blocks of a step's requests in one group of layers, as far as prompts need them."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prune.serve.vllm.storage import Storage

Ints = NDArray[np.int64]


class Tables:
    """Blocks of the requests of one step in one group.

    Args:
        storages: of the requests.
        table: int32 `[B, blocks]`, physical blocks of every request.
        block_size: tokens of a block.
    """

    def __init__(self, storages: list[Storage], table: Tensor, block_size: int):
        self._storages, self._given, self.block_size = storages, table, block_size

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        found: NDArray[np.int32] = self._given.cpu().numpy()
        return found

    def slots(self, index: int, positions: Ints) -> Ints:
        """Physical slots of tokens of a request.

        Raises:
            RuntimeError: one of them is in a block that was given back, or never given out.
        """
        slots = self._storages[index].slots(positions)
        blocks = self._table[index][slots // self.block_size].astype(np.int64)
        if not blocks.all():
            raise RuntimeError("prune: a token was asked for whose block was given back")
        if not (slots >= 0).all():
            raise RuntimeError("prune: a token was asked for that is not stored")
        found: Ints = blocks * self.block_size + slots % self.block_size
        return found
