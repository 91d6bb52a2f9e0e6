"""In every family, frozen states of a trace are those of the plain runs, and of a plan."""

from dataclasses import replace

import pytest
import torch

from prune.errors import UsageError
from prune.families import video_families
from prune.layout.freezing import find_traced, freezable, freeze
from prune.layout.knockout_tables import tokens_of
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import VIDEO
from prune.layout.reach import dense_reach
from prune.layout.segments import Role
from prune.plan.keep import kept_reach
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, next_logits
from prune.runtime.prefill import pruned_states
from prune.trace import incremental
from prune.trace.dense_pass import record_dense
from prune.trace.freeze import frozen_states, plain_frozen_states
from prune.trace.knocked_out import knocked_out
from prune.trace.knockout import Knockouts
from prune.trace.windows import Style
from tests.families.test_incremental import replay_of

ROLES = ("video", "question,options", "system", "frame:last", "true_option", "video,tail")


@torch.no_grad()
@pytest.mark.parametrize("max_edges", [incremental.MAX_EDGES, 0], ids=["masks", "kernel"])
@pytest.mark.parametrize("name", video_families())
def test_frozen_runs_are_the_plain_ones(
    name: str, max_edges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "MAX_EDGES", max_edges)
    monkeypatch.setattr(incremental, "MAX_KEYS", 300)  # several batches of runs
    replay = replay_of(name)
    depth = len(replay.text_model.layers)
    under = kept_reach(f"cross_frame=1; question->last=2-{depth}", depth)
    with seam(replay.model):
        for dense in (record_dense(replay), record_dense(replay, under=under)):
            for roles in (find_traced(f"freeze:{text}").keys for text in ROLES):
                plain = plain_frozen_states(dense, roles)
                torch.testing.assert_close(frozen_states(dense, roles), plain, atol=1e-4, rtol=1e-4)
                changed = (plain - dense.states).abs().amax((1, 2))
                assert changed[0] > 1e-3 > changed[-1], "the last layer reads what it was given"


@torch.no_grad()
@pytest.mark.parametrize("name", video_families())
def test_a_trace_sees_what_a_plan_does(name: str) -> None:
    replay = replay_of(name)
    depth = len(replay.text_model.layers)
    with seam(replay.model):
        traced = frozen_states(record_dense(replay), VIDEO)
        whole = replace(replay, segments=told_by_plans(replay))
        for first in range(depth):
            reach = freezable(dense_reach(depth))
            freeze(reach, slice(first, None), VIDEO)
            planned = pruned_states(whole, reach)[0]
            torch.testing.assert_close(planned, traced[first], atol=1e-4, rtol=1e-4)


def told_by_plans(replay: Replay):  # type: ignore[no-untyped-def]
    """The layout with the roles of plans: parts of options and question are whole again."""
    role = replay.segments.role.clone()
    for text, whole in (("true_option,false_options", Role.OPTIONS), ("instruction", Role.TAIL)):
        role[0, tokens_of(find_traced(f"freeze:{text}").keys, replay.segments)] = whole
    return replace(replay.segments, role=role)


@torch.no_grad()
def test_frozen_states_cost_no_more_than_knockouts() -> None:
    """Rows that run through an MLP: none that is frozen, and no layer before."""
    replay = replay_of("llava_next_video")
    layers = replay.text_model.layers
    ran: list[int] = []
    for layer in layers:
        layer.mlp.down_proj.register_forward_hook(
            lambda m, args, out: ran.append(out.shape[0] * out.shape[1])
        )
    with seam(replay.model):
        dense = record_dense(replay)
        ran.clear()
        frozen_states(dense, VIDEO)
    role = replay.segments.role[0]
    after = len(role) - int((role == Role.VIDEO).nonzero()[0])
    moving = after - int(tokens_of(VIDEO, replay.segments).sum())
    assert ran == [moving * (layer + 1) for layer in range(len(layers))]


@torch.no_grad()
def test_frozen_states_stand_beside_knockouts_and_in_their_order() -> None:
    replay = replay_of("qwen3_vl")  # deepstack features join after its first layers
    pathways = [find_traced(t) for t in ("freeze:video", "cross_frame", "freeze:question")]
    knockouts = Knockouts(pathways, len(replay.text_model.layers), 2)
    with seam(replay.model):
        dense = record_dense(replay)
        fast, plain = (
            knocked_out(dense, replace(knockouts, exact_reference=exact)) for exact in (False, True)
        )
        alone = frozen_states(dense, VIDEO)
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fast[0], alone, atol=1e-5, rtol=1e-5)
    assert next_logits(replay.model, fast[:, :, -1]).shape[:2] == (3, 5)


def test_what_cannot_freeze() -> None:
    for text in ("freeze:last", "freeze:reply", "freeze:video + cross_frame", "freeze:vidio"):
        with pytest.raises(UsageError, match=r"freeze|roles"):
            find_traced(text)
    with pytest.raises(UsageError, match="not a role"):
        find_pathway("freeze:video")
    for settings in ({"style": Style.INVERSE}, {"heads": (0, 1)}):
        with pytest.raises(UsageError, match="from a layer on"):
            Knockouts([find_traced("freeze:video")], 5, 2, **settings)  # type: ignore[arg-type]
