"""Masked SDPA calls on tiles of rows, for inputs so small that blocks cost more than they skip."""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from prune.kernels.segment_attention.layout import Layout, ReachTable, Runs, stretches

MAX_KEYS = 512
"""torch's CPU kernel computes tiles of 512 keys whole, so up to here a mask costs next to nothing
beside `is_causal`. Measured with `benchmarks/short.py`: blocks were slower at every width."""

TILE_ROWS = 64
"""Rows of a call, which is given no key behind its last row. For the same reason that is faster
than one call with `is_causal`, the more so the wider the heads are together: 0.76x of its time at
227 keys, 8 heads of 64."""

MAX_SCORE_FLOPS = 6e7
"""Of a sequence's scores, over its heads: below it one call was faster with more keys, too."""


@dataclass(frozen=True, eq=False)
class Mask:
    """The edges of a layout as what SDPA adds to the scores; all on one device.

    The first dimension is 1 where all batch rows have the same edges, the second where all heads
    do.

    Attributes:
        sizes: rows of every tile.
        biases: of every tile `[B, Hq, rows, keys]`, 0 or -inf, with the keys up to the tile's last
            row and no key behind the last that any row reads. A row without a key has those of
            causality, so that no NaN comes of it. None in place of a tile whose rows have no key;
            None in place of all where nothing is removed and SDPA's own causality is enough.
        empty: bool `[B, Hq, Sq, 1]`, rows without a key; None if there are none.
        unread: whether the tiles are given keys that no row reads.
    """

    sizes: tuple[int, ...]
    biases: tuple[Tensor | None, ...] | None
    empty: Tensor | None
    unread: bool


def is_small(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether one masked call is the fastest: on a CPU, few scores, and no gradient."""
    if q.is_cuda or (torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))):
        return False
    _, heads, rows, dim = q.shape
    keys = k.shape[2]
    return keys <= MAX_KEYS or 2 * heads * rows * keys * dim <= MAX_SCORE_FLOPS


def masked_call(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, reach: ReachTable, scale: float
) -> Tensor:
    """Attention `[B, Hq, Sq, D]`; arguments as in `sdpa_attention`."""
    heads, rows = q.shape[1:3]
    mask = _mask(layout, rows, reach, heads // k.shape[1], q.dtype, q.device)
    out = _tiled(q, k, v, mask, scale)
    # Keys that nothing reads may hold NaN or infinities, and 0 times those is NaN. To look at the
    # output is cheaper than to clear such keys beforehand.
    if mask.unread and not math.isfinite(out.sum(dtype=torch.float32)):
        unread = _unread(layout, rows, reach).to(q.device)
        out = _tiled(q, k.masked_fill(unread, 0), v.masked_fill(unread, 0), mask, scale)
    return out if mask.empty is None else out.masked_fill_(mask.empty, 0)


def _tiled(q: Tensor, k: Tensor, v: Tensor, mask: Mask, scale: float) -> Tensor:
    """Attention of the last rows under `Mask.biases`."""
    grouped = q.shape[1] != k.shape[1]
    if mask.biases is None:
        # The dense model's own call, bit for bit.
        return sdpa(q, k, v, is_causal=q.shape[2] > 1, scale=scale, enable_gqa=grouped)
    tiles = []
    for tile, bias in zip(torch.split_with_sizes(q, mask.sizes, 2), mask.biases, strict=True):
        if bias is None:
            tiles.append(torch.zeros_like(tile))
        else:
            near = bias.shape[3]
            keys, values = k.narrow(2, 0, near), v.narrow(2, 0, near)
            tiles.append(sdpa(tile, keys, values, bias, scale=scale, enable_gqa=grouped))
    if len(tiles) == 1:
        return tiles[0]
    return torch.cat([tile.transpose(1, 2) for tile in tiles], 1).transpose(1, 2)


# Of one prompt a pass needs a few: layers share tables and, mostly, tokens.
@lru_cache(maxsize=32)
def _mask(
    layout: Layout,
    rows: int,
    reach: ReachTable,
    per_kv_head: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Mask:
    places = _places(layout, rows)
    every = [(place, place.edges(table)) for place in places for table in reach.values]
    sizes = places[0].sizes
    if rows in (1, layout.shape[1]) and all(found.plain for _, found in every):
        return Mask(sizes, None, None, False)
    whole = partial(_whole, layout, per_kv_head, device)
    keys = [place.keys(found) for place, found in every]
    most, all_read = max(keys), all(found.all_read for _, found in every)
    biases: list[Tensor | None] = []
    for index in range(len(sizes)):
        if all_read or any(place.any_reads(index, found) for place, found in every):
            bias = whole([place.bias(index, found, dtype) for place, found in every])
            biases.append(bias[..., :most] if bias.shape[3] > most else bias)
        else:
            biases.append(None)
    return Mask(
        sizes,
        tuple(biases),
        None if all_read else whole([place.empty(found) for place, found in every]),
        min(keys) < most or any(found.gaps for _, found in every),
    )


def _unread(layout: Layout, rows: int, reach: ReachTable) -> Tensor:
    """Keys that none of the last rows reads: bool `[B or 1, Hkv or 1, Sk, 1]`, on the CPU."""
    places = _places(layout, rows)
    parts = [place.unread(place.edges(table)) for place in places for table in reach.values]
    return _whole(layout, 1, torch.device("cpu"), parts)


def _whole(layout: Layout, per_kv_head: int, device: torch.device, parts: list[Tensor]) -> Tensor:
    """Something of every distinct sequence and every table under it, each `[1, 1, ...]`, for all
    batch rows and the heads of a layer: `[B or 1, Hq or 1, ...]`."""
    if len(parts) == 1:
        return parts[0].to(device)
    tables = len(parts) // len(layout.rows)
    found = torch.cat(parts, 1)
    stacked = found.reshape(-1, tables, *found.shape[2:])
    if len(layout.rows) > 1:
        stacked = stacked[_order(layout)]
    if tables > 1 and per_kv_head > 1:
        stacked = stacked.repeat_interleave(per_kv_head, 1)
    return stacked.to(device)


@dataclass(frozen=True, eq=False)
class _Edges:
    """Which runs the last runs of a sequence read.

    Attributes:
        removed: of each the stretches of runs up to it that it does not read, as the first and
            the one behind the last; none of one that reads nothing.
        reads: bool `[n]`, which read something.
        is_read: bool `[N]`, of all runs.
        plain: whether nothing is removed.
        all_read: whether all of `reads` are True.
        last: the last run that is read, -1 if none is.
        gaps: whether one before it is not.
    """

    removed: tuple[tuple[tuple[int, int], ...], ...]
    reads: np.ndarray
    is_read: np.ndarray
    plain: bool
    all_read: bool
    last: int
    gaps: bool


# Prompts of one form share these, whatever the lengths of their parts.
@lru_cache(maxsize=256)
def _edges(roles: bytes, frames: bytes, table: bytes, first: int) -> _Edges:
    """Of the runs from `first` on."""
    role, frame, values = (np.frombuffer(x, np.int64) for x in (roles, frames, table))
    index, size = np.arange(len(role)), round(len(values) ** 0.5)
    causal = np.tri(len(role), dtype=bool)[first:]
    allowed = Runs(index, index + 1, role, frame).allowed(values.reshape(size, size))
    found = allowed[first:] & causal
    reads, is_read = found.any(1), found.any(0)
    plain = bool((found == causal).all())
    removed: list[list[tuple[int, int]]] = [[] for _ in reads]
    for run, low, high in zip(*stretches(causal & ~found & reads[:, None]), strict=True):
        removed[run].append((int(low), int(high) + 1))
    last = int(is_read.nonzero()[0].max(initial=-1))
    gaps = not is_read[: last + 1].all()
    return _Edges(tuple(map(tuple, removed)), reads, is_read, plain, bool(reads.all()), last, gaps)


class _Place:
    """Where the runs of one sequence stand, and the tiles of its last rows.

    A rest of up to half a tile is part of the last one.

    Args:
        runs: of the sequence, cut at the first of the rows.
        rows: number of rows.

    Attributes:
        sizes: rows of every tile.
    """

    def __init__(self, runs: Runs, rows: int):
        self._form = runs.role.tobytes(), runs.frame.tobytes()
        keys = int(runs.end[-1])
        self._first = int(runs.start.searchsorted(keys - rows))
        self._sizes = runs.end - runs.start
        self._bounds: list[int] = [*runs.start.tolist(), keys]
        begins = range(keys - rows, max(keys - TILE_ROWS // 2, keys - rows + 1), TILE_ROWS)
        self._tiles = []
        for begin, end in pairwise([*begins, keys]):
            one = int(runs.start.searchsorted(begin, "right")) - 1
            self._tiles.append((begin, end, one, int(runs.start.searchsorted(end))))
        self.sizes = tuple(end - begin for begin, end, *_ in self._tiles)

    def edges(self, table: np.ndarray) -> _Edges:
        """Under a table `[R, R]`."""
        return _edges(*self._form, table.tobytes(), self._first)

    def bias(self, tile: int, edges: _Edges, dtype: torch.dtype) -> Tensor:
        """See `Mask`: `[1, 1, rows, keys]`."""
        begin, end, one, stop = self._tiles[tile]
        bounds, removed = self._bounds, []
        for run in range(one, stop):
            for low, high in edges.removed[run - self._first]:
                first, last = max(begin, bounds[run]), min(end, bounds[run + 1])
                removed.append((first - begin, last - begin, bounds[low], bounds[high]))
        return _bias(begin, end, tuple(removed), dtype)

    def keys(self, edges: _Edges) -> int:
        """Keys up to the last one that is read, at least one."""
        return max(1, self._bounds[edges.last + 1])

    def any_reads(self, tile: int, edges: _Edges) -> bool:
        """Whether a row of a tile reads something."""
        _, _, one, stop = self._tiles[tile]
        return bool(edges.reads[one - self._first : stop - self._first].any())

    # A run that reads itself gives each of its rows, and each of its keys, at least itself.

    def empty(self, edges: _Edges) -> Tensor:
        """See `Mask`; bool `[1, 1, rows, 1]`."""
        rows = (~edges.reads).repeat(self._sizes[self._first :])
        return torch.from_numpy(rows[None, None, :, None])

    def unread(self, edges: _Edges) -> Tensor:
        """See `Mask`; bool `[1, 1, keys, 1]`."""
        return torch.from_numpy((~edges.is_read).repeat(self._sizes)[None, None, :, None])


# Tiles before the first run of another length are those of the last prompt, too.
@lru_cache(maxsize=256)
def _bias(
    begin: int, end: int, removed: tuple[tuple[int, int, int, int], ...], dtype: torch.dtype
) -> Tensor:
    """What the rows `begin` to `end` of a sequence read of the keys before `end`.

    Args:
        removed: rectangles without an edge: first row of the tile and the one behind the last,
            first key and the one behind the last.
    """
    rows = end - begin
    cells = np.zeros((rows, end), np.float32)
    cells[:, begin:] = _CAUSAL[:rows, :rows]
    for first, last, low, high in removed:
        cells[first:last, low:high] = -np.inf
    return torch.from_numpy(cells[None, None]).to(dtype)


_CAUSAL = np.triu(np.full((2 * TILE_ROWS, 2 * TILE_ROWS), -np.inf, np.float32), 1)
"""What is behind a tile's own row, of the keys that belong to the tile."""


def _order(layout: Layout) -> list[int]:
    """Which of the distinct sequences each batch row has."""
    order = [0] * layout.shape[0]
    for index, (members, _) in enumerate(layout.rows):
        for member in members:
            order[member] = index
    return order


@lru_cache(maxsize=16)
def _places(layout: Layout, rows: int) -> list[_Place]:
    """Of the distinct sequences of a layout."""
    return [_Place(runs.cut(layout.shape[1] - rows), rows) for _, runs in layout.rows]
