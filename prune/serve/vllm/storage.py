"""Where a group of layers stores the tokens of one request: logical slots in its own blocks.

Tokens that generated ones read and tokens that only the prompt reads go into different blocks, and
tokens that no layer of the group needs into none. So after the prompt the blocks of the latter are
given back whole, and the table of the others is all that a decode step reads, without a mask.

Blocks are numbered in the order in which the request needs them, whatever the chunks are in which
it is computed.
"""

import numpy as np
from numpy.typing import NDArray

NO_SLOT = -1

Ints = NDArray[np.int64]


class Storage:
    """The slots of one request in one group.

    Attributes:
        prompt: number of prompt tokens.
        passing: numbers of the blocks that only the prompt reads, in order.
        passing_runs: the same as `(first, stop)` of runs of consecutive numbers.
    """

    def __init__(self, stored: NDArray[np.bool_], kept: NDArray[np.bool_], block_size: int):
        """Lay out a prompt; every token behind it is stored and kept.

        Args:
            stored: bool `[S]`, tokens that a layer of the group needs.
            kept: bool `[S]`, those of them that generated tokens read.
            block_size: tokens of a block.
        """
        self.prompt, self.block_size = len(stored), block_size
        self._kept_tokens = np.concatenate([[0], np.cumsum(stored & kept)])
        self._passing_tokens = np.concatenate([[0], np.cumsum(stored & ~kept)])
        slots = np.full(len(stored), NO_SLOT, np.int64)
        places = [np.flatnonzero(stored & ~kept), np.flatnonzero(stored & kept)]
        # A block comes into being with its first token.
        firsts = np.concatenate([tokens[::block_size] for tokens in places])
        numbers = np.empty(len(firsts), np.int64)
        numbers[np.argsort(firsts, kind="stable")] = np.arange(len(firsts))
        self._firsts = np.sort(firsts)
        cut = -(-len(places[0]) // block_size)
        self.passing: Ints = numbers[:cut]
        self._kept_blocks: Ints = numbers[cut:]
        runs = np.split(self.passing, np.flatnonzero(np.diff(self.passing) != 1) + 1)
        self.passing_runs = [(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]
        for tokens, blocks in zip(places, (self.passing, self._kept_blocks), strict=True):
            rank = np.arange(len(tokens))
            slots[tokens] = blocks[rank // block_size] * block_size + rank % block_size
        self._slots = slots
        # Of tokens behind the prompt: those before that are kept, and blocks besides theirs.
        self._kept_before = int(self._kept_tokens[-1]) - self.prompt
        self._blocks_before = len(self._firsts) - len(self._kept_blocks)

    def blocks(self, tokens: int) -> int:
        """Number of blocks that the first `tokens` of the request need."""
        if tokens <= self.prompt:
            return int(np.searchsorted(self._firsts, tokens, "left"))
        kept = -(-(tokens + self._kept_before) // self.block_size)
        return self._blocks_before + max(kept, len(self._kept_blocks))

    def open_blocks(self, tokens: int) -> list[int]:
        """Numbers of the blocks that hold some of the first `tokens` of the prompt, and later ones.

        At most one of the kept ones and one of the passing ones.
        """
        found = []
        kept, passing = int(self._kept_tokens[tokens]), int(self._passing_tokens[tokens])
        if kept % self.block_size:
            found.append(int(self._kept_blocks[kept // self.block_size]))
        if passing % self.block_size and passing < self._passing_tokens[-1]:
            found.append(int(self.passing[passing // self.block_size]))
        return found

    def kept(self, tokens: int) -> int:
        """Number of the first `tokens` that generated ones read."""
        if tokens >= self.prompt:
            return tokens + self._kept_before
        return int(self._kept_tokens[tokens])

    def slots(self, positions: Ints) -> Ints:
        """Logical slots of tokens, block number times block size plus offset, or `NO_SLOT`."""
        slots = self._slots[np.minimum(positions, self.prompt - 1)]
        behind = positions >= self.prompt
        rank = positions[behind] + self._kept_before
        if len(rank):
            blocks = self.line(int(rank.max()) // self.block_size + 1)
            slots[behind] = blocks[rank // self.block_size] * self.block_size
            slots[behind] += rank % self.block_size
        return slots

    def line(self, blocks: int) -> Ints:
        """Numbers of the first blocks of kept tokens, in their order, as far as they come to be."""
        known = self._kept_blocks[:blocks]
        more = np.arange(blocks - len(known)) + len(self._firsts)
        return np.concatenate([known, more])
