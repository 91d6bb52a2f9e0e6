"""The work list of the Triton kernel, built on the host from runs of tokens.

A tile is up to `block_q` query rows that start at a group of runs (`blocks.groups`), so the frame
size need not divide anything. What a tile reads falls into three classes:

- *full*: spans that all its rows read in full; no mask is evaluated;
- *own*: the keys of its own group, from the group's start up to the tile; only the causal diagonal
  is masked;
- *table*: several short groups share one tile, and for spans that some of their rows read, the mask
  is evaluated from role, frame and reach.

Everything else is *skipped*: it is in no span, and nothing of it is loaded.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prune.kernels.segment_attention.blocks import groups
from prune.kernels.segment_attention.layout import Layout, ReachTable, Runs

ITEM_FIELDS = 12
"""Columns of `WorkList.items`: batch, KV group, first row, rows, key window begin and end, full
spans begin and end, table spans begin and end, own keys begin, slot (-1 = write the result)."""

MERGE_FIELDS = 6
"""Columns of `WorkList.merges`: batch, KV group, first row, rows, slots begin and end."""

TARGET_ITEMS = 64
"""A tile with more than 1/64 of a sequence's work is cut along its keys, so that a few text rows
over all keys do not outlast everything else. Depends on the layout alone: the way a row is cut, and
with it every bit of the result, is the same in any batch."""

MIN_CHUNK = 8
"""Least key tiles of a cut: below, merging costs more than it spreads."""


@dataclass(frozen=True)
class WorkList:
    """What the kernel's programs do; rows are query positions, keys are token positions.

    Attributes:
        items: int32 `[N, 12]`, the longest first.
        spans: int32 `[M, 2]`, begin and end of key spans, shared by the tiles of a group.
        merges: int32 `[K, 6]`, the tiles whose partial results have to be merged.
        slots: number of partial results.
    """

    items: np.ndarray
    spans: np.ndarray
    merges: np.ndarray
    slots: int


@lru_cache(maxsize=512)
def work_list(
    layout: Layout, num_queries: int, reach: ReachTable, block_q: int, block_n: int
) -> WorkList:
    """The work of all batch rows and KV groups for tiles of `block_q` rows by `block_n` keys."""
    first = layout.shape[1] - num_queries
    items, spans, merges, costs = [], [], [], []
    span_count = slot_count = 0
    for batch_rows, runs in layout.rows:
        for heads, table in reach.distinct():
            part = _tiles(runs.cut(first), table, first, block_q, block_n)
            part.items[:, 6:10] += span_count
            spans.append(part.spans)
            span_count += len(part.spans)
            kv_groups = (
                [0]
                if heads[0].start is None
                else [g for h in heads for g in range(h.start, h.stop)]
            )
            for b in batch_rows:
                for g in kv_groups:
                    items.append(part.items.copy())
                    items[-1][:, :2] = b, g
                    merges.append(part.merges.copy())
                    merges[-1][:, :2] = b, g
                    items[-1][part.items[:, 11] >= 0, 11] += slot_count
                    merges[-1][:, 4:] += slot_count
                    slot_count += part.slots
                    costs.append(part.costs)
    order = np.argsort(-np.concatenate(costs), kind="stable")
    return WorkList(
        np.concatenate(items)[order], np.concatenate(spans), np.concatenate(merges), slot_count
    )


@dataclass(frozen=True)
class _Tiles:
    """A work list of one sequence and reach table, with the cost of each item in key tiles."""

    items: np.ndarray
    spans: np.ndarray
    merges: np.ndarray
    costs: np.ndarray
    slots: int


def _tiles(runs: Runs, reach: np.ndarray, first: int, block_q: int, block_n: int) -> _Tiles:
    allowed = runs.allowed(reach)
    packs = _pack(groups(allowed, int(np.searchsorted(runs.start, first))), runs, block_q)
    i, j, single, causal = (np.array(column) for column in zip(*packs, strict=True))
    start, end = runs.start[i], runs.end[j - 1]

    index = np.arange(len(runs.start))
    lower = allowed & np.tri(len(index), dtype=bool)
    full, table = lower[i] & (index < i[:, None]), np.zeros((len(packs), len(index)), bool)
    if not single.all():
        # The packs are consecutive, so each reduction covers the runs of one pack.
        full &= np.logical_and.reduceat(lower, i, axis=0)
        table = np.logical_or.reduceat(lower, i, axis=0) & ~full & ~single[:, None]
    full_owner, full_spans = runs.spans(full)
    table_owner, table_spans = runs.spans(table)
    spans = np.concatenate((full_spans, table_spans)).astype(np.int32)

    def offsets(owner: np.ndarray) -> np.ndarray:
        return np.searchsorted(owner, np.arange(len(packs) + 1))

    full_at, table_at = offsets(full_owner), offsets(table_owner) + len(full_spans)
    key_tiles = -(-(spans[:, 1] - spans[:, 0]) // block_n)
    before = np.concatenate(([0], np.cumsum(key_tiles)))
    shared = before[full_at[1:]] - before[full_at[:-1]]
    shared += before[table_at[1:]] - before[table_at[:-1]]

    per_pack = -(-(end - start) // block_q)
    pack = np.repeat(np.arange(len(packs)), per_pack)
    nth = np.arange(len(pack)) - np.repeat(np.cumsum(per_pack) - per_pack, per_pack)
    row = start[pack] + nth * block_q
    row_end = np.minimum(row + block_q, end[pack])
    reads_itself = single[pack] & causal[pack]
    own = np.where(reads_itself, start[pack], row_end)
    costs = shared[pack] + -(-(row_end - own) // block_n)

    items = np.zeros((len(pack), ITEM_FIELDS), np.int32)
    items[:, 2], items[:, 3] = row - first, row_end - row
    items[:, 5] = row_end
    items[:, 6], items[:, 7] = full_at[pack], full_at[pack + 1]
    items[:, 8], items[:, 9] = table_at[pack], table_at[pack + 1]
    items[:, 10], items[:, 11] = own, -1
    return _cut(items, spans, costs, block_n)


def _pack(
    found: list[tuple[int, int, bool]], runs: Runs, block_q: int
) -> list[tuple[int, int, bool, bool]]:
    """Put short neighbouring groups together: `(i, j, is one group, causal)`."""
    start, end = runs.start.tolist(), runs.end.tolist()
    packs: list[tuple[int, int, bool, bool]] = []
    for i, j, causal in found:
        if packs:
            a, b, _, _ = packs[-1]
            if 2 * (end[b - 1] - start[a]) < block_q and end[j - 1] - start[a] <= block_q:
                packs[-1] = (a, j, False, False)
                continue
        packs.append((i, j, True, causal))
    return packs


def _cut(items: np.ndarray, spans: np.ndarray, costs: np.ndarray, block_n: int) -> _Tiles:
    """Cut the tiles that read too many keys into windows of keys with partial results."""
    chunk = max(MIN_CHUNK, -(-int(costs.sum()) // TARGET_ITEMS))
    heavy = np.flatnonzero(costs > chunk)
    if not heavy.size:
        merges = np.zeros((0, MERGE_FIELDS), np.int32)
        return _Tiles(items, spans, merges, costs, 0)
    light = np.ones(len(items), bool)
    light[heavy] = False
    all_items, all_costs = [items[light]], [costs[light]]
    rows: list[list[int]] = []
    slots = 0
    for tile in items[heavy]:
        windows = np.arange(0, tile[5], chunk * block_n)
        limits = np.minimum(windows + chunk * block_n, tile[5])
        own = np.array([[tile[10], tile[5]]])
        read = np.concatenate((spans[tile[6] : tile[7]], spans[tile[8] : tile[9]], own))
        begin = np.maximum(read[:, :1], windows[None, :])
        overlap = np.maximum(np.minimum(read[:, 1:], limits[None, :]) - begin, 0)
        cost = (-(-overlap // block_n)).sum(axis=0)
        used = np.flatnonzero(cost)
        part = np.repeat(tile[None], len(used), axis=0)
        part[:, 4], part[:, 5] = windows[used], limits[used]
        part[:, 11] = slots + np.arange(len(used))
        rows.append([0, 0, tile[2], tile[3], slots, slots + len(used)])
        slots += len(used)
        all_items.append(part)
        all_costs.append(cost[used])
    return _Tiles(
        np.concatenate(all_items),
        spans,
        np.array(rows, np.int32),
        np.concatenate(all_costs),
        slots,
    )
