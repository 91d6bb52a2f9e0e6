"""Baselines spend what the plan spends, and are what their papers say."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from prune.baselines.baseline import CostTarget, Make
from prune.baselines.dropping import DroppingEnforcer, dropping_states
from prune.baselines.evs import evs, most_changed
from prune.baselines.fastv import fastv
from prune.baselines.fewer_frames import fewer_frames
from prune.baselines.fewer_tokens import fewer_tokens
from prune.baselines.lower_resolution import lower_resolution, pooled
from prune.baselines.published import published
from prune.baselines.random_edges import random_edges
from prune.baselines.random_plan import random_plan
from prune.baselines.reencoded import Reader
from prune.baselines.subsample import every_nth, subsample
from prune.baselines.tree_merging import merge_trees, tree_merging
from prune.baselines.vidcom2 import most_distinct, vidcom2
from prune.baselines.vtw import vtw, withdrawn
from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import EncodedBatch, prepare, typical_prompt, under
from prune.evaluate.questions import Questions
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.journal.progress import silent
from prune.layout.edges import edge_histogram
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach, limit_edges
from prune.layout.segments import NUM_ROLES, Role
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.moves import slides
from prune.plan.plan import Plan
from prune.runtime.attention import seam
from prune.workflows.compare_baselines import compare

LAYERS = 12


@pytest.fixture(scope="module")
def batch(tiny: LoadedModel, samples: list[Sample]) -> EncodedBatch:
    (batch,), _ = prepare(tiny.model, tiny.processor, samples[:6], 8, 8)
    return batch


@pytest.fixture(scope="module")
def target(tiny: LoadedModel, batch: EncodedBatch) -> CostTarget:
    """A plan of some structure: video dead from layer 9 on, no early comparison of frames."""
    reach = slides(LAYERS, 8)[0].at(dense_reach(LAYERS), 4)
    remove_pathway(reach, PATHWAYS["cross_frame"], [0, 1, 5])
    remove_pathway(reach, PATHWAYS["video_to_options"], [0, 3, 7])
    plan = Plan(reach, tiny.id, "structured")
    return CostTarget(plan, typical_prompt([batch]), Geometry.of(tiny.model))


@pytest.mark.parametrize(
    "make",
    [vtw, fastv, subsample, evs, vidcom2, tree_merging, random_plan],
    ids=lambda m: m.__name__,
)
def test_a_baseline_spends_no_less_than_the_plan_and_hardly_more(
    make: Make, target: CostTarget
) -> None:
    made = make(target, 0)
    dense = dense_cost(LAYERS, target.prompt, target.geometry).flops
    assert target.cost.flops * 0.98 <= made.flops < dense
    assert made.flops - target.cost.flops < dense / LAYERS
    if make is not random_plan:
        assert made.flops >= target.cost.flops


def test_random_edges_keep_as_many_edges_and_spare_only_those(target: CostTarget) -> None:
    made = random_edges(target, 0)
    assert made.edges == target.cost.edges
    assert made.flops == pytest.approx(target.cost.mask_flops)


def test_the_published_map_is_scaled_to_the_depth(target: CostTarget) -> None:
    made = published(target, 0)
    assert made.setting == "llava-next-7b, sealed, 32 layers scaled to 12"
    # Video is read up to layer 20 of 32, here 8 of 12, and computed in the layers before.
    assert 0.5 < made.flops / dense_cost(LAYERS, target.prompt, target.geometry).flops < 0.75


def test_a_random_plan_has_the_edges_of_every_kind_in_other_layers(target: CostTarget) -> None:
    made, again, other = random_plan(target, 0), random_plan(target, 0), random_plan(target, 1)
    assert made.edges == target.cost.edges
    assert (made.edges, made.flops) == (again.edges, again.flops)
    assert made.setting != other.setting


def test_dropping_nothing_is_dense_and_dropping_all_is_withdrawing(
    tiny: LoadedModel, batch: EncodedBatch
) -> None:
    with seam(tiny.model):
        dense = under(dense_reach(LAYERS))(batch)
        kept = dropping_states(batch, 2, lambda attention: torch.arange(len(attention)))
        nobody = torch.empty(0, dtype=torch.long)
        dropped = {k: dropping_states(batch, k, lambda attention: nobody) for k in (0, 5)}
        gone = {k: under(withdrawn(LAYERS, k))(batch) for k in (0, 5)}
    torch.testing.assert_close(kept, dense, rtol=0, atol=1e-4)
    for layer in (0, 5):
        torch.testing.assert_close(dropped[layer], gone[layer], rtol=0, atol=1e-4)
        assert (dropped[layer] - dense).abs().max() > 0.1


def test_fastv_ranks_by_the_attention_of_the_last_token(
    tiny: LoadedModel, batch: EncodedBatch, samples: list[Sample]
) -> None:
    """Against the attention weights that transformers returns itself."""
    seen: list[torch.Tensor] = []

    def look(attention: torch.Tensor) -> torch.Tensor:
        seen.append(attention)
        return torch.arange(len(attention))

    with seam(tiny.model):
        batch.replay.last_logits(DroppingEnforcer(batch.replay.segments, 2, look))
    before = tiny.model.config.text_config._attn_implementation
    tiny.model.set_attn_implementation({"text_config": "eager"})
    try:
        with torch.no_grad():
            inputs = read(tiny.processor, samples[:6], 8)
            weights = tiny.model(**inputs, output_attentions=True).attentions[1]
    finally:
        tiny.model.set_attn_implementation({"text_config": before})
    for row, attention in enumerate(seen):
        video = batch.replay.segments.role[row] == Role.VIDEO
        expected = weights[row, :, -1, video].mean(0)
        torch.testing.assert_close(attention, expected, rtol=1e-3, atol=1e-6)


def test_costs_of_dropped_tokens_are_those_of_a_shorter_prompt(target: CostTarget) -> None:
    edges, flops = target.after_dropping(0, target.num_video)
    dense = cost_of(dense_reach(LAYERS), target.prompt, target.geometry)
    assert (edges, flops) == (dense.edges, pytest.approx(dense.flops))
    edges, flops = target.after_dropping(LAYERS // 2, 0)
    text = target.prompt.shape[1] - target.num_video
    causal = edge_histogram(target.prompt).causal
    assert edges == LAYERS // 2 * (causal + text * (text + 1) // 2)
    assert flops < dense.flops


def test_a_comparison_has_a_row_for_each_and_pairs_the_answers(
    tiny: LoadedModel, batch: EncodedBatch
) -> None:
    blind = dense_reach(LAYERS)
    limit_edges(blind, slice(None), tuple(Role)[: NUM_ROLES - 1], (Role.VIDEO,), -1)
    asked = Questions(tiny, 8, [batch], {})
    report, rows = compare(Plan(blind, tiny.id, "blind"), asked, silent, seeds=3)
    assert {row.name: len(row.accuracies) for row in rows} == {
        "random edges": 2,
        "random layers": 3,
        "fewer frames": 1,
        "lower resolution": 1,
        "uniform tokens": 1,
        "EVS": 1,
        "VidCom2": 1,
        "tree merging": 1,
        "FastV": 1,
        "VTW": 1,
        "published map": 1,
    }
    composing = {"fewer frames", "lower resolution", "uniform tokens"}
    composing |= {"EVS", "VidCom2", "tree merging"}
    assert {row.name for row in rows if row.on_top} == composing
    for row in rows:
        if row.on_top:
            assert row.on_top.flops <= row.flops
            gained = row.on_top.accuracy - row.accuracies[0]
            assert row.on_top.difference.value == pytest.approx(gained)
    for row in rows:
        best = max(row.accuracies)
        assert row.difference.value == pytest.approx(report.overall.pruned.value - best)
        assert 0 <= row.p_value <= 1 and 0 < row.flops <= 1
    assert report.random == pytest.approx(rows[0].accuracies)


def test_every_token_is_the_dense_model(tiny: LoadedModel, batch: EncodedBatch) -> None:
    """Methods that keep all tokens change nothing, and uniform tokens are those dropped before."""

    def every(attention: torch.Tensor) -> torch.Tensor:
        return every_nth(attention[:, None], torch.zeros(len(attention)), 20).places

    with seam(tiny.model):
        dense = under(dense_reach(LAYERS))(batch)
        for choose in (most_changed, most_distinct, merge_trees, partial(pooled, side=3)):
            kept = fewer_tokens(batch, 1.0, choose)
            torch.testing.assert_close(
                under(dense_reach(LAYERS))(kept), dense, atol=1e-4, rtol=1e-4
            )
        masked = dropping_states(batch, 0, every)
        removed = under(dense_reach(LAYERS))(fewer_tokens(batch, 20 / 72, every_nth))
    torch.testing.assert_close(removed, masked, atol=1e-4, rtol=1e-4)


def test_trees_are_means_of_linked_tokens() -> None:
    """Three frames of two tokens: a thing that moves is one tree, and what is new stays alone."""
    thing, ground, new = torch.eye(3)
    video = torch.stack([thing, ground, ground + 0.01 * new, thing, thing, new])
    frame = torch.tensor([0, 0, 1, 1, 2, 2], dtype=torch.int32)
    kept = merge_trees(video, frame, 3)
    assert kept.places.tolist() == [0, 1, 5]
    torch.testing.assert_close(
        kept.features, torch.stack([thing, ground + 0.005 * new, new]), atol=1e-6, rtol=0
    )
    assert merge_trees(video, frame, 0).places.tolist() == [0, 1]


def test_pooled_frames_are_means_of_parts() -> None:
    """Two frames of 4 x 4 and a newline token: parts of 2 x 2, and the newline stays."""
    features = torch.arange(33.0)[:, None]
    frame = torch.tensor([0] * 16 + [1] * 17, dtype=torch.int32)
    kept = pooled(features, frame, 0, side=2)
    assert kept.places.tolist() == [5, 7, 13, 15, 21, 23, 29, 31, 32]
    part = torch.tensor([2.5, 4.5, 10.5, 12.5])
    torch.testing.assert_close(
        kept.features[:, 0], torch.cat([part, part + 16, torch.tensor([32.0])])
    )


def test_clips_read_anew_cost_no_less_than_the_plan(
    tiny: LoadedModel, batch: EncodedBatch, target: CostTarget
) -> None:
    """Fewer frames are what the processor makes of fewer frames."""
    made = fewer_frames(target, Reader(tiny, 8, batch.samples[0]))
    dense = dense_cost(LAYERS, target.prompt, target.geometry).flops
    assert made is not None
    frames = int(made.setting.split()[0])
    assert made.setting == f"{frames} of 8 frames" and 1 <= frames < 8
    assert target.cost.flops <= made.flops < dense
    (few,), _ = prepare(tiny.model, tiny.processor, batch.samples, frames, 8)
    with seam(tiny.model):
        expected = under(dense_reach(LAYERS))(few)
        torch.testing.assert_close(made.run(batch), expected)
        assert made.on_top is not None
        torch.testing.assert_close(made.on_top.run(batch), under(target.plan.reach)(few))
    assert lower_resolution(target, Reader(tiny, 8, batch.samples[0])) is None, "2 x 2 cost less"


def test_a_coarser_grid_costs_no_less_than_the_plan(
    tiny: LoadedModel, batch: EncodedBatch, target: CostTarget
) -> None:
    reach = slides(LAYERS, 8)[0].at(dense_reach(LAYERS), 8)
    cheap = replace(target, plan=Plan(reach, tiny.id, "dead early"))
    made = lower_resolution(cheap, Reader(tiny, 8, batch.samples[0]))
    assert made is not None and made.setting == "2 x 2 of 3 x 3 tokens of a frame"
    assert cheap.cost.flops <= made.flops
    with seam(tiny.model):
        kept = fewer_tokens(batch, 4 / 9, partial(pooled, side=2))
        torch.testing.assert_close(made.run(batch), under(dense_reach(LAYERS))(kept))
