"""What the next tokens of a step's requests read in one group of layers, where a CUDA graph may.

A graph reads the addresses that it was captured with. So blocks, slots and numbers of tokens are
written into tensors that stay where they are, and by operations of the device alone: which tokens
the requests keep is known on the host once they begin, what has changed since on the device.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.serve.vllm.storage import Storage

PADDING = -1
"""The slot of a row that belongs to no request; vLLM stores nothing there."""


@dataclass(frozen=True)
class Reads:
    """What each request of a step reads, and where its last token is stored.

    Attributes:
        blocks: int32 `[B, blocks]`, physical, in order; behind those of its tokens any.
        tokens: int32 `[B]`, how many tokens these hold.
        slots: int64 `[B]`, of the last token; `PADDING` in rows without a request.
    """

    blocks: Tensor
    tokens: Tensor
    slots: Tensor


class Decode:
    """The buffers of one group, which every step writes anew.

    Args:
        requests: at most so many in a step.
        width: blocks of a request, at most.
        block_size: tokens of a block.
        device: of the cache.
    """

    def __init__(self, requests: int, width: int, block_size: int, device: torch.device):
        self._size = block_size
        self._storages: list[Storage] = []
        # Of each request the numbers of the blocks that it keeps, and what it keeps less than all.
        self._lines = torch.zeros(requests, width, dtype=torch.int64, device=device)
        self._less = torch.zeros(requests, dtype=torch.int32, device=device)
        self._last = torch.zeros(requests, dtype=torch.int64, device=device)
        self._blocks = torch.zeros(requests, width, dtype=torch.int32, device=device)
        self._tokens = torch.zeros(requests, dtype=torch.int32, device=device)
        self._slots = torch.zeros(requests, dtype=torch.int64, device=device)

    def hold(self, storages: list[Storage]) -> None:
        """Note which requests the rows of the next steps are of.

        Rows behind them are of none.
        """
        if storages == self._storages:
            return
        self._storages = storages
        width = self._lines.shape[1]
        lines = torch.zeros(self._lines.shape, dtype=torch.int64)
        less = torch.zeros(self._less.shape, dtype=torch.int32)
        for row, storage in enumerate(storages):
            # Numbers behind a request's last block are not read.
            lines[row] = torch.from_numpy(storage.line(width)).clamp_(max=width - 1)
            less[row] = storage.kept(storage.prompt) - storage.prompt
        self._lines.copy_(lines)
        self._less.copy_(less)
        # What turns a number of tokens into the place of the last of those that are kept.
        less[: len(storages)] -= 1
        self._last.copy_(less)

    def write(self, table: Tensor, lengths: Tensor) -> Reads:
        """Write what the rows of a step read, without waiting for the device.

        Args:
            table: int32 `[B, width]`, physical blocks of every request.
            lengths: int32 `[B]`, tokens of every request with those of the step; 0 in rows of none.

        Raises:
            RuntimeError: one of the tokens is in a block that was given back, or never given out;
                found on CPUs, where looking costs no wait.
        """
        rows = len(lengths)
        lines, blocks = self._lines[:rows], self._blocks[:rows]
        tokens, slots = self._tokens[:rows], self._slots[:rows]
        torch.gather(table, 1, lines, out=blocks)
        torch.add(lengths, self._less[:rows], out=tokens)
        # Below 0 where a prompt has only begun, and nothing reads the row.
        last = (lengths + self._last[:rows]).clamp_(min=0)
        block = blocks.gather(1, (last // self._size)[:, None])[:, 0]
        torch.add(last % self._size, block, alpha=self._size, out=slots)
        if rows > len(self._storages):
            slots[len(self._storages) :] = PADDING
        if tokens.device.type == "cpu":
            self._check(blocks.numpy(), tokens.numpy())
        return Reads(blocks, tokens, slots)

    def _check(self, blocks: NDArray[np.int32], tokens: NDArray[np.int32]) -> None:
        counts = -(-tokens // self._size)
        inside = np.arange(counts.max()) < counts[:, None]
        if (inside & (blocks[:, : inside.shape[1]] == 0)).any():
            raise RuntimeError("prune: a token was asked for whose block was given back")
