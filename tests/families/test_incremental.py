"""Incremental knockouts are the plain ones, in every family and on both of its ways."""

from dataclasses import replace

import pytest
import torch

from prune.families import video_families
from prune.layout.knockout_tables import tell_options_apart
from prune.layout.pathways import INTRA_FRAME, TRACED, Pathway
from prune.plan.keep import kept_reach
from prune.plan.model_id import geometry
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture
from prune.trace import incremental
from prune.trace.dense_pass import record_dense
from prune.trace.incremental import knockout_logits
from prune.trace.knockout import Knockouts, plain_logits
from prune.trace.sets import SETS, choose
from prune.trace.windows import Style
from tests.families.specimen import tiny_of

PROMPT = ("USER: ", 3, " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B")
EVERY_SET = tuple(dict.fromkeys(pathway for pathways in SETS.values() for pathway in pathways))
FEW = choose(["cross-frame", "true-option"], ["video->last + question->last", "options->last"])


def replay_of(name: str) -> Replay:
    tiny = tiny_of(name)
    replay = capture(tiny.model, tiny.processor, tiny.inputs(PROMPT))
    return replace(replay, segments=tell_options_apart(replay.segments, 1))


@torch.no_grad()
def check(replay: Replay, knockouts: Knockouts) -> None:
    with seam(replay.model):
        plain = plain_logits(replay, knockouts)
        dense = record_dense(replay, under=knockouts.under)
        fast = [
            knockout_logits(dense, knockouts.pathways, knockouts.windows(), head)
            for head in knockouts.heads
        ]
    torch.testing.assert_close(torch.stack(fast, 2), plain, atol=1e-4, rtol=1e-4)
    assert (plain - dense.logits).abs().amax((1, 2, 3)).count_nonzero() > 1, "some must matter"


def knockouts_of(replay: Replay, pathways: tuple[Pathway, ...], style: Style) -> Knockouts:
    return Knockouts(pathways, geometry(replay.model).num_layers, 2, style=style)


@pytest.mark.parametrize("max_edges", [incremental.MAX_EDGES, 0], ids=["masks", "kernel"])
@pytest.mark.parametrize("name", video_families())
def test_incremental_is_plain(name: str, max_edges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "MAX_EDGES", max_edges)
    monkeypatch.setattr(incremental, "MAX_KEYS", 300)  # several batches of windows
    replay = replay_of(name)
    check(replay, knockouts_of(replay, (*TRACED, INTRA_FRAME), Style.CENTRE))


@pytest.mark.parametrize("max_edges", [incremental.MAX_EDGES, 0], ids=["masks", "kernel"])
@pytest.mark.parametrize("style", Style)
def test_every_style(style: Style, max_edges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "MAX_EDGES", max_edges)
    replay = replay_of("qwen3_vl")  # deepstack features join after its first layers
    check(replay, knockouts_of(replay, FEW, style))


@pytest.mark.parametrize("name", ["llava_onevision", "qwen2_5_vl"])
def test_every_set(name: str) -> None:
    replay = replay_of(name)
    check(replay, knockouts_of(replay, EVERY_SET, Style.CENTRE))


@pytest.mark.parametrize("max_edges", [incremental.MAX_EDGES, 0], ids=["masks", "kernel"])
@pytest.mark.parametrize("name", ["llava_next_video", "glm4v"])
def test_one_kv_head_at_a_time(name: str, max_edges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "MAX_EDGES", max_edges)
    replay = replay_of(name)
    heads = tuple(range(geometry(replay.model).num_kv_heads))
    assert len(heads) > 1
    check(replay, replace(knockouts_of(replay, FEW, Style.CENTRE), heads=heads))


@pytest.mark.parametrize("max_edges", [incremental.MAX_EDGES, 0], ids=["masks", "kernel"])
@pytest.mark.parametrize("name", video_families())
def test_knockouts_of_a_model_under_a_plan(
    name: str, max_edges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "MAX_EDGES", max_edges)
    replay = replay_of(name)
    depth = geometry(replay.model).num_layers
    under = kept_reach(
        f"cross_frame=1; intra_frame=1-2; video->last=none; question->last=2-{depth}", depth
    )
    check(replay, replace(knockouts_of(replay, FEW, Style.CENTRE), under=under))
