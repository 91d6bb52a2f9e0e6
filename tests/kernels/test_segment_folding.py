"""Long clips: what is made from a few of their frames is what all of them make."""

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_cases import FRAME_LOCAL, SEALED, TIMESTAMP, Case, prompt, table

from prune.kernels import ALL, NONE, OTHER_FRAMES, Layout, ReachTable, prepare, read_reach
from prune.kernels.segment_attention import blocks, folding, sections, structure, worklist
from prune.kernels.segment_attention.blocks import Part
from prune.kernels.segment_attention.configs import config_for
from prune.kernels.segment_attention.layout import Runs
from prune.kernels.segment_attention.worklist import WorkList

MADE = (blocks.split, worklist.work_list)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    for cache in MADE:
        cache.cache_clear()


def made(layout: Layout, queries: int, reach: ReachTable) -> tuple[tuple[Part, ...], WorkList]:
    for cache in MADE:
        cache.cache_clear()
    config = config_for(torch.bfloat16, 128, queries, 1, 90)
    return (
        blocks.split(layout, queries, reach),
        worklist.work_list(layout, queries, reach, config, 4),
    )


def unfolded(runs: Runs, reach: np.ndarray, first: int) -> folding.Folded:
    return folding.Folded(runs)


def long_case(seed: int) -> Case:
    rng = random.Random(seed)
    role, frame = prompt(
        rng.randint(1, 40),
        rng.choice([1, 2, 5, 9, 36, 65]),
        rng.choice([0, 1, 5, 36]),
        rng.choice([0, 1, 9, 36]),
        rng.choice([0, 0, 1, 3]),
        rng.choice([0, 0, 4]),
    )
    if rng.random() < 0.25:
        # Text between frames that belongs to none.
        frame[role == TIMESTAMP] = -1
    edges = {
        f"{a}_{b}": rng.choice([NONE, 0, 1, 2, 5, ALL, ~1, ~3, OTHER_FRAMES])
        for a in ("video", "timestamp")
        for b in ("video", "timestamp")
        if rng.random() < 0.7
    }
    for query in ("system", "text", "last", "video"):
        for key in ("system", "text", "timestamp", "video"):
            if rng.random() < 0.25:
                edges.setdefault(f"{query}_{key}", rng.choice([NONE, ALL, 0]))
    length = role.shape[1]
    queries = rng.choice([length, length, 1, rng.randint(1, length)])
    return Case(f"long {seed}", role, frame, table(**edges), num_queries=queries)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 2**31))
def test_is_what_the_whole_clip_makes(seed: int) -> None:
    case = long_case(seed)
    layout, reach = prepare(case.role, case.frame), read_reach(case.reach)
    found, work = made(layout, case.queries, reach)
    with pytest.MonkeyPatch.context() as patch:
        for module in (blocks, sections):
            patch.setattr(module, "fold", unfolded)
        expected, expected_work = made(layout, case.queries, reach)
    assert found == expected
    for name, value in vars(expected_work).items():
        assert np.array_equal(getattr(work, name), value), name


@pytest.mark.parametrize("timestamps", [0, 8])
@pytest.mark.parametrize(
    "edges",
    [
        FRAME_LOCAL | {"video_timestamp": 0, "timestamp_video": 0, "timestamp_timestamp": 0},
        SEALED
        | {"video_timestamp": 0, "timestamp_video": 0, "timestamp_timestamp": 0}
        | {"text_timestamp": NONE, "last_timestamp": NONE},
        {"video_video": 4, "video_timestamp": 4, "timestamp_video": 4, "timestamp_timestamp": 4},
        {},
    ],
    ids=["local", "sealed", "window", "causal"],
)
def test_no_work_grows_with_the_frames(
    monkeypatch: pytest.MonkeyPatch, edges: dict[str, int], timestamps: int
) -> None:
    """The square of the runs, which is what takes long, is formed of a few frames alone."""
    sizes: list[int] = []
    allowed: Callable[[Runs, np.ndarray], np.ndarray] = Runs.allowed

    def counted(runs: Runs, reach: np.ndarray) -> np.ndarray:
        sizes.append(len(runs.role))
        return allowed(runs, reach)

    monkeypatch.setattr(Runs, "allowed", counted)
    structure._cached.cache_clear()
    role, frame = prompt(1024, 36, 40, 84, timestamps)
    made(prepare(role, frame), role.shape[1], read_reach(table(**edges)))
    assert max(sizes) < structure.CACHED_RUNS


def test_the_structure_is_found_once_for_all_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    reach = read_reach(table(**FRAME_LOCAL))
    structure._cached.cache_clear()
    for frames, tokens, text in [(64, 36, 84), (65, 36, 9), (300, 144, 33)]:
        role, frame = prompt(frames, tokens, 40, text)
        made(prepare(role, frame), role.shape[1], reach)
    assert structure._cached.cache_info().misses == 1
