"""Baselines spend what the plan spends, and are what their papers say."""

import pytest
import torch

from prune.baselines.baseline import CostTarget, Make
from prune.baselines.dropping import DroppingEnforcer, dropping_states
from prune.baselines.fastv import fastv
from prune.baselines.published import published
from prune.baselines.random_edges import random_edges
from prune.baselines.random_plan import random_plan
from prune.baselines.subsample import subsample
from prune.baselines.vtw import vtw, withdrawn
from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import EncodedBatch, prepare, typical_prompt, under
from prune.evaluate.questions import Questions
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.journal.progress import silent
from prune.layout.edges import edge_histogram
from prune.layout.pathways import PATHWAYS, dense_reach, limit_edges, remove_pathway
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


@pytest.mark.parametrize("make", [vtw, fastv, subsample, random_plan], ids=lambda m: m.__name__)
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
    report, rows = compare(Plan(blind, tiny.id, "blind"), asked, silent, seeds=2)
    assert [row.name for row in rows] == [
        "random edges", "random layers", "VTW", "FastV", "uniform tokens", "published map",
    ]  # fmt: skip
    assert [len(row.accuracies) for row in rows] == [2, 2, 1, 1, 1, 1]
    for row in rows:
        best = max(row.accuracies)
        assert row.difference.value == pytest.approx(report.overall.pruned.value - best)
        assert 0 <= row.p_value <= 1 and 0 < row.flops <= 1
    assert report.random == pytest.approx(rows[0].accuracies)
