"""The work list of the Triton kernel, built on the host from sections of rows.

A tile is some rows of a section (`sections.py`); long sections have tall tiles. It walks its keys
in steps of three kinds, in this order:

- *whole*: keys that all its rows read; no mask is evaluated;
- *masked*: what is left of a shared span, and the keys where the rows' stretches begin or end;
- *looked up*: in mixed sections, keys that some rows read; the mask is evaluated from role, frame
  and reach.

Everything else is in no step, and nothing of it is loaded.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prune.kernels.segment_attention.configs import Config
from prune.kernels.segment_attention.layout import Layout, ReachTable, Runs, pairs
from prune.kernels.segment_attention.sections import Sections, sections

FIELDS = (
    "batch", "group", "begins", "row", "rows", "wholes", "num_wholes", "whole", "whole_end",
    "rests", "num_rests", "own", "own_low", "own_whole", "masked", "masked_end", "looked_up",
    "looked_up_end", "slot", "unused",
)  # fmt: skip
"""Columns of the items of a `WorkList`; `segment_kernel` says how it reads them."""

COLUMN = {name: i for i, name in enumerate(FIELDS)}

MERGE_FIELDS = 6
"""Columns of `WorkList.merges`: batch, KV group, first row, rows, slots begin and end."""

TALL_ROWS, TALL_KEYS = 1024, 2048
"""Rows of a section, and keys that they read on average, from which on its tiles are tall. A few
text rows over all keys were faster in small tiles, of which more run at once."""

PROGRAMS = 512
"""A tile with more than 2/512 of what all heads do for a sequence is cut along its keys, so that a
few text rows over all keys do not outlast everything else. Depends on the layout and the number of
heads alone: the way a row is cut, and with it every bit of the result, is the same in any batch."""


@dataclass(frozen=True)
class WorkList:
    """What the kernel's programs do; rows are query positions, keys are token positions.

    Attributes:
        tall, plain, mixed: int32 `[N, 20]` each, the items of tall tiles, of others, and of those
            with looked-up steps, in the order of launch.
        wholes: int32 `[T]`, where the whole steps of shared spans start.
        spans: int32 `[M, 2]`, begin and end of the rests of shared spans and of looked-up steps.
        begins: int32 `[P, Sq]`, where the stretch of every row starts.
        merges: int32 `[K, 6]`, the tiles whose partial results have to be merged.
        slots: number of partial results.
    """

    tall: np.ndarray
    plain: np.ndarray
    mixed: np.ndarray
    wholes: np.ndarray
    spans: np.ndarray
    begins: np.ndarray
    merges: np.ndarray
    slots: int


@lru_cache(maxsize=512)
def work_list(
    layout: Layout, num_queries: int, reach: ReachTable, config: Config, num_heads: int
) -> WorkList:
    """The work of all batch rows and KV groups.

    Args:
        layout: of the batch.
        num_queries: the last positions.
        reach: of one group or of each KV head.
        config: the sizes of a tile.
        num_heads: tiles of a row, one per query head, or per KV head where those are packed.
    """
    first = layout.shape[1] - num_queries
    items, tall, wholes, spans, merges, costs = [], [], [], [], [], []
    begins: list[np.ndarray] = []
    num_wholes = num_spans = num_slots = 0
    for batch_rows, runs in layout.rows:
        for heads, table in reach.distinct():
            part = _tiles(runs.cut(first), table, first, config, num_heads)
            part.items[:, COLUMN["begins"]] = len(begins)
            part.items[:, COLUMN["wholes"]] += num_wholes
            part.items[:, [COLUMN[x] for x in ("rests", "looked_up", "looked_up_end")]] += num_spans
            wholes.append(part.wholes)
            spans.append(part.spans)
            begins.append(part.begin)
            num_wholes += len(part.wholes)
            num_spans += len(part.spans)
            kv_groups = (
                [0]
                if heads[0].start is None
                else [g for h in heads for g in range(h.start, h.stop)]
            )
            for b in batch_rows:
                for g in kv_groups:
                    items.append(part.items.copy())
                    items[-1][:, :2] = b, g
                    items[-1][part.items[:, COLUMN["slot"]] >= 0, COLUMN["slot"]] += num_slots
                    merges.append(part.merges.copy())
                    merges[-1][:, :2] = b, g
                    merges[-1][:, 4:] += num_slots
                    num_slots += part.slots
                    costs.append(part.costs)
                    tall.append(part.tall)
    every = np.concatenate(items)
    order = _launch_order(every, np.concatenate(costs), layout.shape, config)
    every, is_tall = every[order], np.concatenate(tall)[order]
    is_mixed = every[:, COLUMN["looked_up"]] < every[:, COLUMN["looked_up_end"]]
    return WorkList(
        every[is_tall],
        every[~is_tall & ~is_mixed],
        every[is_mixed],
        np.concatenate(wholes),
        np.concatenate(spans),
        np.stack(begins),
        np.concatenate(merges),
        num_slots,
    )


def _launch_order(
    items: np.ndarray, costs: np.ndarray, shape: tuple[int, int], config: Config
) -> np.ndarray:
    """Longest first, but never more keys and values under way than a GPU's cache holds."""
    if shape[0] * shape[1] <= config.cached_tokens:
        return np.argsort(-costs, kind="stable")
    place = items[:, COLUMN["row"]] // config.cached_tokens
    return np.lexsort((-costs, place, items[:, 1], items[:, 0]))


def section_size(tiles_per_group: int, tiles_per_kv: int, tokens: int, cached_tokens: int) -> int:
    """Tiles of a row that are launched one after the other, before the next rows' of other heads.

    They are those of as many KV heads as fit the cache: the largest divisor of a group's that does.

    Args:
        tiles_per_group, tiles_per_kv: tiles of a row, of one KV group and of one KV head.
        tokens: of the batch.
        cached_tokens: `Config.cached_tokens`.
    """
    kv_heads = max(1, tiles_per_group // tiles_per_kv)
    fitting = [
        n for n in range(1, kv_heads + 1) if kv_heads % n == 0 and n * tokens <= cached_tokens
    ]
    return max(fitting, default=1) * min(tiles_per_kv, tiles_per_group)


@dataclass(frozen=True)
class _Tiles:
    """A work list of one sequence and reach table, with the cost of each item in `Tile.area`."""

    items: np.ndarray
    tall: np.ndarray
    wholes: np.ndarray
    spans: np.ndarray
    begin: np.ndarray
    merges: np.ndarray
    costs: np.ndarray
    slots: int


def _tiles(runs: Runs, reach: np.ndarray, first: int, config: Config, num_heads: int) -> _Tiles:
    found = sections(runs, reach, first, config.tile.block_q)
    begin = found.begin
    owner, shared = found.shared
    length = shared[:, 1] - shared[:, 0]
    tall = _are_tall(found, np.bincount(owner, length, len(found.start)), first, config)
    tile, tall_tile = config.tile, config.tall or config.tile
    block_q = np.where(tall, tall_tile.block_q, tile.block_q)
    block_n = np.where(tall, tall_tile.block_n, tile.block_n)

    step = block_n[owner]
    count = length // step
    wholes = np.repeat(shared[:, 0], count) + _ramp(count) * np.repeat(step, count)
    rest = pairs(shared[:, 0] + count * step, shared[:, 1])
    kept = rest[:, 0] < rest[:, 1]
    spans, looked_at = rest[kept], np.zeros(len(found.start) + 1, np.int64)
    looked_owner, looked = found.looked_up
    if len(looked):
        steps = -(-(looked[:, 1] - looked[:, 0]) // config.table_n)
        low = np.repeat(looked[:, 0], steps) + _ramp(steps) * config.table_n
        high = np.minimum(low + config.table_n, np.repeat(looked[:, 1], steps))
        looked_at = len(spans) + _offsets(np.repeat(looked_owner, steps), len(found.start))
        spans = np.concatenate((spans, pairs(low, high)))
    wholes_at = _offsets(np.repeat(owner, count), len(found.start))
    rests_at = _offsets(owner[kept], len(found.start))

    per_section = -(-(found.end - found.start) // block_q)
    section = np.repeat(np.arange(len(per_section)), per_section)
    block_q, block_n = block_q[section], block_n[section]
    row = found.start[section] + _ramp(per_section) * block_q
    row_end = np.minimum(row + block_q, found.end[section])
    own, last_begin = begin[row - first], begin[row_end - 1 - first]
    own_low = -(-(last_begin - own) // block_n)
    own_whole = np.maximum((row - own) // block_n - own_low, 0)
    own_steps = np.where(found.reads_itself[section], -(-(row_end - own) // block_n), 0)
    own_whole = np.minimum(own_whole, own_steps)

    items = np.zeros((len(section), len(FIELDS)), np.int32)
    num_rests = rests_at[section + 1] - rests_at[section]
    num_wholes = wholes_at[section + 1] - wholes_at[section]
    columns = {
        "row": row - first,
        "rows": row_end - row,
        "wholes": wholes_at[section],
        "num_wholes": num_wholes,
        "whole_end": num_wholes + own_whole,
        "rests": rests_at[section],
        "num_rests": num_rests,
        "own": own,
        "own_low": own_low,
        "own_whole": own_whole,
        "masked_end": num_rests + own_steps - own_whole,
        "looked_up": looked_at[section],
        "looked_up_end": looked_at[section + 1],
        "slot": -1,
    }
    for name, values in columns.items():
        items[:, COLUMN[name]] = values
    items, of_item, costs, merges = _cut(items, block_q * block_n, config, num_heads)
    return _Tiles(
        items,
        tall[section[of_item]],
        wholes.astype(np.int32),
        spans.astype(np.int32),
        begin.astype(np.int32),
        merges,
        costs,
        int(merges[-1, 5]) if len(merges) else 0,
    )


def _are_tall(found: Sections, shared: np.ndarray, first: int, config: Config) -> np.ndarray:
    """Which sections have tall tiles: many rows that read many keys."""
    rows = found.end - found.start
    if config.tall is None or rows.max() < TALL_ROWS:
        return np.zeros(len(rows), bool)
    position = first + np.arange(len(found.begin))
    own = np.add.reduceat(position + 1 - found.begin, found.start - first) / rows
    keys = shared + np.where(found.reads_itself, own, 0)
    is_tall: np.ndarray = ~found.mixed & (rows >= TALL_ROWS) & (keys >= TALL_KEYS)
    return is_tall


def _ramp(counts: np.ndarray) -> np.ndarray:
    """0 to n - 1 for every count n, one after the other."""
    ends: np.ndarray = np.cumsum(counts)
    starts: np.ndarray = np.repeat(ends - counts, counts)
    ramp: np.ndarray = np.arange(len(starts)) - starts
    return ramp


def _offsets(owner: np.ndarray, count: int) -> np.ndarray:
    """Where the entries of each of `count` owners begin, and at last their number."""
    return np.searchsorted(owner, np.arange(count + 1))


def _cut(
    items: np.ndarray, area: np.ndarray, config: Config, num_heads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut the tiles with too many steps into stretches of steps with partial results.

    Returns:
        The items, which tile each belongs to, their costs, and the merges.
    """
    kinds = [("whole", "whole_end"), ("masked", "masked_end"), ("looked_up", "looked_up_end")]
    columns = [(COLUMN[a], COLUMN[b]) for a, b in kinds]
    begins, ends = [a for a, _ in columns], [b for _, b in columns]
    counts = items[:, ends] - items[:, begins]
    steps = counts.sum(axis=1)
    costs = steps * area
    least = config.min_chunk * config.tile.block_q
    chunk = max(least, int(costs.sum()) * num_heads // PROGRAMS)
    is_heavy = costs > 2 * chunk
    heavy, light = np.flatnonzero(is_heavy), np.flatnonzero(~is_heavy)
    pieces = -(-costs[heavy] // chunk)
    of_heavy = np.repeat(np.arange(len(heavy)), pieces)
    owner, nth = heavy[of_heavy], _ramp(pieces)
    begin = nth * steps[owner] // pieces[of_heavy]
    end = (nth + 1) * steps[owner] // pieces[of_heavy]
    parts = items[owner]
    before = np.zeros(len(owner), np.int64)
    for (a, b), count in zip(columns, counts[owner].T, strict=True):
        at = parts[:, a].copy()
        parts[:, a] = at + np.minimum(np.maximum(begin - before, 0), count)
        parts[:, b] = at + np.minimum(np.maximum(end - before, 0), count)
        before += count
    parts[:, COLUMN["slot"]] = np.arange(len(owner))
    merges = np.zeros((len(heavy), MERGE_FIELDS), np.int32)
    merges[:, 2] = items[heavy, COLUMN["row"]]
    merges[:, 3] = items[heavy, COLUMN["rows"]]
    merges[:, 5] = np.cumsum(pieces)
    merges[:, 4] = merges[:, 5] - pieces
    return (
        np.concatenate((items[light], parts)),
        np.concatenate((light, owner)),
        np.concatenate((costs[light], (end - begin) * area[owner])),
        merges,
    )
