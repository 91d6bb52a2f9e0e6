"""What the kernel's work lists ask of a GPU, counted on the host."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_cases import FRAME_LOCAL, prompt, table

from prune.kernels import prepare, read_reach
from prune.kernels.segment_attention.configs import Config, config_for
from prune.kernels.segment_attention.worklist import COLUMN, WorkList, section_size, work_list

HEADS, HEAD_DIM = 32, 128

CACHE_BYTES = 40 * 2**20
"""Of the 50 MB of an H100's L2, what is left for keys and values."""


def listed(frames: int, tokens: int, **edges: int) -> tuple[WorkList, Config, int]:
    """The work of a prompt of 40 system and 85 text tokens, its configuration and its length."""
    layout = prepare(*prompt(frames, tokens, 40, 84))
    length = layout.shape[1]
    config = config_for(torch.bfloat16, HEAD_DIM, length, 1, 90)
    reach = read_reach(table(**edges))
    return work_list(layout, length, reach, config, HEADS), config, length


@pytest.mark.parametrize("tokens", [36, 81, 144, 196])
@pytest.mark.parametrize("edges", [FRAME_LOCAL, {"video_video": 4}], ids=["local", "window"])
def test_nine_tenths_of_the_rows_of_tiles_are_used(tokens: int, edges: dict[str, int]) -> None:
    work, config, length = listed(64, tokens, **edges)
    assert not len(work.tall) and not len(work.mixed)
    whole = work.plain[work.plain[:, COLUMN["slot"]] < 0]
    used = whole[:, COLUMN["rows"]].sum() / (len(whole) * config.tile.block_q)
    assert used >= 0.9
    assert whole[:, COLUMN["rows"]].sum() + work.merges[:, 3].sum() == length


@pytest.mark.parametrize(
    ("frames", "tokens"), [(64, 36), (64, 81), (64, 144), (64, 196), (256, 144)]
)
def test_keys_are_loaded_about_once(frames: int, tokens: int) -> None:
    """Simulates the cache: a program loads its keys when it starts, in the order of launch."""
    work, config, length = listed(frames, tokens, **FRAME_LOCAL)
    loaded = _traffic(work, config, length, section_size(HEADS, 1, length, config.cached_tokens))
    assert loaded <= 1.3 * HEADS * length


def test_another_order_would_load_them_again() -> None:
    """The test above can fail: it does where all heads are launched together, longest first."""
    work, config, length = listed(256, 144, **FRAME_LOCAL)
    assert _traffic(work, config, length, HEADS) > 1.5 * HEADS * length


def test_causal_video_has_tall_tiles() -> None:
    work, config, _ = listed(64, 144, text_video=-1)
    assert config.tall is not None and len(work.tall)
    rows = work.tall[:, COLUMN["rows"]].sum()
    assert rows >= 64 * 144


def test_a_sequence_has_the_same_items_in_any_batch() -> None:
    role, frame = prompt(6, 36, 40, 84)
    one, three = prepare(role, frame), prepare(role.repeat(3, 1), frame.repeat(3, 1))
    config = replace(config_for(torch.bfloat16, HEAD_DIM, role.shape[1], 1, 90), min_chunk=64)
    reach = read_reach(table(**FRAME_LOCAL))
    alone = work_list(one, role.shape[1], reach, config, HEADS)
    together = work_list(three, role.shape[1], reach, config, HEADS)
    assert alone.slots and together.slots == 3 * alone.slots
    last = together.plain[together.plain[:, 0] == 2]
    compared = [i for name, i in COLUMN.items() if name not in ("batch", "slot")]
    assert np.array_equal(
        np.unique(alone.plain[:, compared], axis=0), np.unique(last[:, compared], axis=0)
    )


def _traffic(work: WorkList, config: Config, length: int, section: int) -> int:
    """Key rows that come from memory, over all heads, with an LRU cache of `CACHE_BYTES`."""
    block = 64
    lines = CACHE_BYTES // (2 * 2 * HEAD_DIM * block)
    cache: OrderedDict[tuple[int, int], None] = OrderedDict()
    missed = 0
    for first in range(0, HEADS, section):
        for item in work.plain:
            keys = _blocks_of(work, config, item, block)
            for head in range(first, first + section):
                for key in keys:
                    line = head, key
                    if line in cache:
                        cache.move_to_end(line)
                        continue
                    missed += 1
                    cache[line] = None
                    if len(cache) > lines:
                        cache.popitem(last=False)
    return missed * block


def _blocks_of(work: WorkList, config: Config, item: np.ndarray, block: int) -> list[int]:
    """The blocks of keys that an item's steps touch."""
    at = {name: int(item[i]) for name, i in COLUMN.items()}
    size = config.tile.block_n
    touched: set[int] = set()
    for step in range(at["whole"], at["whole_end"]):
        if step < at["num_wholes"]:
            key = int(work.wholes[at["wholes"] + step])
        else:
            key = at["own"] + (at["own_low"] + step - at["num_wholes"]) * size
        touched |= {key // block, (key + size - 1) // block}
    for step in range(at["masked"], at["masked_end"]):
        if step < at["num_rests"]:
            key, end = (int(x) for x in work.spans[at["rests"] + step])
        else:
            nth = step - at["num_rests"]
            nth += at["own_whole"] if nth >= at["own_low"] else 0
            key = at["own"] + nth * size
            end = min(key + size, at["row"] + at["rows"])
        touched |= {key // block, (end - 1) // block}
    return sorted(touched)
