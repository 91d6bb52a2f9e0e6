"""What the page counts: prompts of more frames, and the paths that a plan closes."""

from dataclasses import replace

import torch

from prune.bench.shapes import shape_of, shapes
from prune.checkpoint.load import LoadedModel
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.layout.segments import Role, segment
from prune.plan.cost import Geometry
from prune.plan.liveness import leaks
from prune.plan.plan import Plan
from prune.report.leak_paths import leak_paths
from prune.results.export_result import Result
from tests.unit.test_apply import mixed_plan


def test_longer_prompts_are_those_of_longer_clips(tiny: LoadedModel, samples: list[Sample]) -> None:
    plan, geometry = mixed_plan(tiny), Geometry.of(tiny.model)
    prompts = {n: segment(tiny.processor, read(tiny.processor, samples[:1], n)) for n in (4, 8, 16)}
    found = shapes(plan.reach, prompts[4], geometry, 4, (1, 2, 4))
    assert found == tuple(shape_of(plan.reach, p, geometry, n) for n, p in prompts.items())
    assert found[0].prefill_ratio > 1 and found[2].kv_ratio > found[0].kv_ratio


def test_several_clips_grow_apart(tiny: LoadedModel) -> None:
    from prune.bench.shapes import _longer
    from prune.layout.segments import Segments

    runs = [(Role.SYSTEM, -1, 1), (Role.VIDEO, 0, 2), (Role.BRIDGE, -1, 1), (Role.VIDEO, 1, 2)]
    frames = _longer(Segments.of_runs(runs), 2).frame[0]
    assert torch.equal(frames, torch.tensor([-1, 0, 0, 1, 1, -1, 2, 2, 3, 3]))


def test_ways_are_the_plans_leaks(result: Result, plan: Plan) -> None:
    found = leak_paths(plan.reach, result)
    # Only tail, question and options stand between this prompt's video and its last token.
    assert found.before == 8 and found.last == 2
    assert {way.name: way.layer for way in found.shortest} == {
        "video → last": None,
        "video → question → last": 2,
        "video → options → last": 2,
        "video → tail → last": 2,
    }
    assert found.after == sum(
        Role.TIMESTAMP not in leak.roles and Role.BRIDGE not in leak.roles
        for leak in leaks(plan.reach)
    )


def test_a_blind_plan_has_no_way(result: Result) -> None:
    reach = dense_reach(4)
    for name in ("video_to_last", "video_to_question_sealed", "video_to_options"):
        remove_pathway(reach, PATHWAYS[name], slice(0, 4))
    found = leak_paths(reach, replace(result))
    assert found.after == 0 and found.last is None
