"""Masks that other kernels and papers name, as roles, frames and reach tables.

Each comes with its own definition, a predicate of query and key positions, which shares nothing
with roles and frames. Lengths are odd, so that no tile ends where a span does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from segment_cases import Case
from torch import Tensor

from prune.kernels import ALL, NONE

Predicate = Callable[[int, Tensor, Tensor], Tensor]
"""KV head, query positions `[Sq, 1]` and key positions `[1, Sk]` to bool `[Sq, Sk]`; causality is
added."""


@dataclass(frozen=True)
class KnownMask:
    """A case, and which keys a query reads by the mask's own definition."""

    case: Case
    reads: Predicate

    @property
    def mask(self) -> Tensor:
        """bool `[1, Hkv, Sq, Sk]`."""
        keys, rows = self.case.role.shape[1], self.case.queries
        query, key = torch.arange(keys - rows, keys)[:, None], torch.arange(keys)[None]
        heads = range(self.case.heads[1])
        return torch.stack([self.reads(g, query, key) & (key <= query) for g in heads])[None]


def known_masks() -> list[KnownMask]:
    """One of each kind."""
    return [
        _documents((13, 1, 40, 7, 26)),
        _sliding_window(83, 9),
        _streaming_heads(91, sinks=4, window=11),
        _shared_prefix(prefix=21, branches=5, size=9),
        _prefix_lm(prefix=37, size=24),
        _blocks_per_head(85, block=8, windows=(0, 2, 5)),
        _tiles_in_space_and_time(frames=5, grid=3, tile=3, reach=1),
    ]


def _case(name: str, role: Tensor, frame: Tensor, reach: Tensor, **more: object) -> Case:
    return Case(name, role[None].to(torch.int8), frame[None].int(), reach.int(), **more)  # type: ignore[arg-type]


def _documents(sizes: tuple[int, ...]) -> KnownMask:
    """Packed documents, each of which reads itself: a document is a frame."""
    document = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    case = _case("documents", torch.zeros_like(document), document, torch.zeros(1, 1, 1))
    return KnownMask(case, lambda g, q, k: document[q] == document[k])


def _sliding_window(length: int, window: int) -> KnownMask:
    """A token reads the `window` before it: every token is a frame."""
    reach = torch.full((1, 1, 1), window)
    case = _case("sliding window", torch.zeros(length), torch.arange(length), reach)
    return KnownMask(case, lambda g, q, k: q - k <= window)


def _streaming_heads(length: int, sinks: int, window: int) -> KnownMask:
    """Half of the heads read all, the others attention sinks and a window (arXiv 2410.10819)."""
    role = (torch.arange(length) >= sinks).long()
    streaming = torch.tensor([[ALL, ALL], [ALL, window]])
    reach = torch.stack([torch.full((2, 2), ALL), streaming])
    frame = torch.arange(length).where(role == 1, NONE)
    case = _case("streaming heads", role, frame, reach, heads=(4, 2))
    return KnownMask(case, lambda g, q, k: (k < sinks) | (q - k <= window) | (g == 0))


def _shared_prefix(prefix: int, branches: int, size: int) -> KnownMask:
    """Several continuations of one prefix, which do not read each other."""
    length = prefix + branches * size
    branch = (torch.arange(length) - prefix) // size
    inside = torch.arange(length) >= prefix
    reach = torch.tensor([[[ALL, NONE], [ALL, 0]]])
    case = _case("shared prefix", inside.long(), branch.where(inside, NONE), reach, heads=(2, 1))
    return KnownMask(case, lambda g, q, k: (k < prefix) | (branch[q] == branch[k]))


def _prefix_lm(prefix: int, size: int) -> KnownMask:
    """The causal rows of a prefix language model; its prefix, which is not causal, is keys here."""
    length = prefix + size
    role = (torch.arange(length) >= prefix).long()
    frame = torch.full((length,), NONE)
    case = _case("prefix LM", role, frame, torch.full((1, 2, 2), ALL), num_queries=size)
    return KnownMask(case, lambda g, q, k: (k < prefix) | (k <= q))


def _blocks_per_head(length: int, block: int, windows: tuple[int, ...]) -> KnownMask:
    """Every KV head reads another number of blocks back."""
    place = torch.arange(length) // block
    reach = torch.tensor(windows)[:, None, None]
    case = _case("blocks per head", torch.zeros(length), place, reach, heads=(6, len(windows)))
    return KnownMask(case, lambda g, q, k: place[q] - place[k] <= windows[g])


def _tiles_in_space_and_time(frames: int, grid: int, tile: int, reach: int) -> KnownMask:
    """Windows over tiles of a video in three dimensions (arXiv 2502.04507), causal in time.

    A tile of a frame is a role, so a table says which tiles are near each other, and how far back.
    """
    tiles = grid * grid
    place = torch.arange(frames * tiles * tile)
    frame, role = place // (tiles * tile), place // tile % tiles
    row, column = torch.arange(tiles) // grid, torch.arange(tiles) % grid
    near = (row[:, None] - row).abs().maximum((column[:, None] - column).abs()) <= reach
    table = torch.where(near, reach, NONE)[None]

    def reads(g: int, q: Tensor, k: Tensor) -> Tensor:
        across = (row[role[q]] - row[role[k]]).abs(), (column[role[q]] - column[role[k]]).abs()
        return (frame[q] - frame[k] <= reach) & (across[0] <= reach) & (across[1] <= reach)

    return KnownMask(_case("tiles in space and time", role, frame, table), reads)
