"""Costs are sums that a person can check by hand."""

import numpy as np

from prune.layout.freezing import freezable, freeze
from prune.layout.pathways import VIDEO
from prune.layout.reach import dense_reach
from prune.layout.segments import Role, Segments
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.plan import Plan

GEOMETRY = Geometry(64, 128, 4, 2, 16, 2)
LLAVA_7B = Geometry(4096, 11008, 32, 32, 128, 2)
"""LLaVA-NeXT-Video-7B in bfloat16."""


def video_prompt(frames: int, tokens: int = 144) -> Segments:
    """`[system 40][video][bridge 5][question and options 64][tail 15][last]`."""
    video = [(Role.VIDEO, frame, tokens) for frame in range(frames)]
    text = [(Role.BRIDGE, 5), (Role.QUESTION, 32), (Role.OPTIONS, 32), (Role.TAIL, 15)]
    runs = [(Role.SYSTEM, -1, 40), *video, *[(r, -1, n) for r, n in text], (Role.LAST, -1, 1)]
    return Segments.of_runs(runs)


def test_dense_cost_is_counted_in_full() -> None:
    prompt = Segments.of_runs([(Role.SYSTEM, -1, 3), (Role.VIDEO, 0, 4), (Role.LAST, -1, 1)])
    dense = dense_cost(2, prompt, GEOMETRY)
    per_token = 2 * 64 * (64 + 2 * 32 + 64) + 6 * 64 * 128
    assert dense.edges == 2 * 36
    assert dense.flops == 2 * (8 * per_token + 36 * 4 * 4 * 16)
    assert dense.kv_bytes == 2 * 8 * (2 * 2 * 16 * 2)
    assert dense.live_tokens == (8, 8)


def test_the_last_layer_computes_only_what_is_read() -> None:
    prompt = Segments.of_runs([(Role.SYSTEM, -1, 3), (Role.VIDEO, 0, 4), (Role.LAST, -1, 1)])
    assert cost_of(dense_reach(2), prompt, GEOMETRY).live_tokens == (8, 1)


def test_the_sealed_map_saves_what_the_paper_geometry_allows() -> None:
    """64 frames: near 1.8x of prefill; answers read no video, questions read half of it."""
    prompt, plan = video_prompt(64), Plan.preset("llava-next-7b")
    dense = dense_cost(32, prompt, LLAVA_7B)
    single, multi = (
        cost_of(plan.reach, prompt, LLAVA_7B, mode) for mode in ("single_turn", "multi_turn")
    )
    assert 1.75 < dense.flops / single.flops < 1.85
    assert 1.05 < dense.flops / single.mask_flops < 1.15
    assert 0.987 < 1 - single.kv_bytes / dense.kv_bytes < 0.995
    assert 0.51 < 1 - multi.kv_bytes / dense.kv_bytes < 0.54
    assert multi.flops >= single.flops
    assert np.all(np.diff(single.live_tokens) <= 0), "what is dead stays dead"


def test_frozen_states_cost_their_keys_and_values_alone() -> None:
    prompt = Segments.of_runs([(Role.SYSTEM, -1, 3), (Role.VIDEO, 0, 4), (Role.LAST, -1, 1)])
    reach = freezable(dense_reach(3))
    freeze(reach, [1], (Role.VIDEO,))
    whole, less = (cost_of(table, prompt, GEOMETRY) for table in (dense_reach(3), reach))
    assert less.live_tokens == (8, 4, 1)
    # Of 4 tokens: Q, O and the MLP; and what they read, 3 system tokens and 4 + 3 + 2 + 1 of video.
    written = 2 * 64 * (64 + 64) + 6 * 64 * 128
    assert whole.flops - less.flops == 4 * written + (4 * 3 + 10) * 4 * 4 * 16
    assert less.edges == whole.edges - 22
    assert less.kv_bytes == whole.kv_bytes, "their keys are kept"


def test_frozen_video_saves_what_the_paper_geometry_allows() -> None:
    """Not updated after the last cross-frame layer: 2.1x at 64 frames, 2.4x at 256."""
    plan = Plan.preset("llava-next-7b")
    reach = freezable(plan.reach)
    freeze(reach, slice(15, None), VIDEO)
    for frames, expected in ((64, 2.11), (256, 2.40)):
        prompt = video_prompt(frames)
        dense = dense_cost(32, prompt, LLAVA_7B)
        assert abs(dense.flops / cost_of(reach, prompt, LLAVA_7B).flops - expected) < 0.02
