"""Plans in the words of the figures, and what runs under them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import prune
from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, UsageError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.kernels import allowed_edges
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import remove_pathway
from prune.plan.keep import keep_plan, kept_reach
from prune.plan.plan import Plan
from prune.plan.presets import preset_map, preset_reach
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.runtime.enforce import MaskEnforcer
from prune.trace.trace import Trace

FIGURES = (
    "cross_frame=6-15; video->question,options=6-20; question,options->last=16-25; "
    "video,last->last=none"
)


def test_the_papers_map_in_its_own_words() -> None:
    """The preset also cuts what can no longer be read: the same where it is."""
    kept, published = kept_reach(FIGURES, 32), preset_reach(preset_map("llava-next-7b"), False)
    assert (kept >= published).all()
    live = slice(5, 20)
    assert (kept[live] == published[live]).all() and (kept != published).any()


def test_ranges_and_what_is_wrong_with_them() -> None:
    several = kept_reach("video->last=1-2, 5", 6)
    one = kept_reach("video->last=none", 6)
    assert [(layer == 2**30).all() or not (layer == one[0]).all() for layer in several] == [
        True, True, False, False, True, False
    ]  # fmt: skip
    for text, message in (
        ("", "give pathways"),
        ("cross_frame", "no layers"),
        ("cross_frame=0-2", "no range of layers 1 to 6"),
        ("cross_frame=5-7", "no range of layers 1 to 6"),
        ("cross_frame=3-2", "no range"),
        ("cross_frame=x", "no range"),
        ("video->nothing=1", "is not a role"),
        ("true_option->last=1", "only a trace"),
        ("question->video=1", "has no edges"),
    ):
        with pytest.raises(UsageError, match=message):
            kept_reach(text, 6)


def test_updates_are_kept_and_states_frozen_elsewhere(tmp_path: Path, tiny: LoadedModel) -> None:
    plan = keep_plan("cross_frame=1-4; update:video=1-7; update:question,tail=none", tiny.id)
    plan.save(tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text())["frozen"] == [
        {"layers": "7-11", "roles": ["video", "timestamp"]},
        {"layers": "0-11", "roles": ["question", "tail"]},
    ]
    assert (Plan.load(tmp_path / "plan.json").reach == plan.reach).all()
    edges = kept_reach("cross_frame=1-4", 12)
    assert (kept_reach("cross_frame=1-4; update:video=1-12", 12) == edges).all()
    for text, message in (
        ("freeze:video=8-12", "that do update: update:video="),
        ("update:last=1", "freezes whole roles alone: system, video"),
        ("update:true_option=1", "whole roles alone"),
        ("update:video@2=1", "leave out @"),
        ("update:vidio=1", "is not one"),
    ):
        with pytest.raises(UsageError, match=message):
            kept_reach(text, 12, 4)


def test_a_trace_refuses_a_plan_that_freezes(
    clips: Path, tmp_path: Path, prune_command: Any
) -> None:
    asked = ("--data", clips / "calibration.jsonl", "--limit", 1, "--out", tmp_path / "run")
    code, _, error = prune_command("trace", "tiny", "--keep", "update:video=1-7", *asked)
    assert code == 4 and "a trace cannot run a plan that freezes states" in error


def test_kv_heads_are_kept_apart() -> None:
    reach = kept_reach("video->last@2=2-3; options->last@1,3-4=none; cross_frame=1-2", 3, 4)
    alone = [kept_reach(text, 3)[:, 0] for text in (
        "options->last=none; cross_frame=1-2", "video->last=2-3; cross_frame=1-2",
    )]  # fmt: skip
    assert (reach == np.stack([alone[0], alone[1], alone[0], alone[0]], 1)).all()
    assert kept_reach("video->last=none", 3, 4).shape[1] == 1
    for text, message in (
        ("video->last@5=1", "no range of KV heads 1 to 4"),
        ("video->last@=1", "'' is no range of KV heads"),
        ("video->last@none=1", "no range of KV heads"),
    ):
        with pytest.raises(UsageError, match=message):
            kept_reach(text, 3, 4)
    with pytest.raises(UsageError, match="all KV heads alike"):
        kept_reach("video->last@1=1", 3)


@torch.no_grad()
def test_a_plan_of_kv_heads_runs_as_its_masks(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path
) -> None:
    plan = keep_plan("cross_frame@1=none; video->options,question@2=1-4", tiny.id)
    plan.save(tmp_path / "plan.json")
    assert (Plan.load(tmp_path / "plan.json").reach == plan.reach).all()
    inputs = read(tiny.processor, samples[:1], 8)
    replay = capture(tiny.model, tiny.processor, inputs)
    role, frame = replay.segments.role, replay.segments.frame
    with seam(tiny.model):
        tables = torch.from_numpy(plan.reach)
        masks = torch.stack([allowed_edges(role, frame, t, role.shape[1])[0] for t in tables])
        choice = torch.arange(masks.shape[0] * masks.shape[1]).reshape(len(tables), 1, -1)
        expected = replay.last_logits(MaskEnforcer(masks.flatten(0, 1), choice))
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        found = tiny.model(**inputs).logits[:, -1].float()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    dense = tiny.model(**inputs).logits[:, -1].float()
    assert (found - dense).abs().max() > 1e-3


@torch.no_grad()
def test_a_trace_under_a_plan_is_the_pruned_models(
    tiny: LoadedModel, samples: list[Sample], clips: Path, tmp_path: Path, prune_command: Any
) -> None:
    keep = "cross_frame=3-9; video->last=none; options->last=6-12"
    run = tmp_path / "run"
    asked = ("--limit", 1, "--samples", "all", "--pathway", "video->options", "--style", "every")
    code, *_ = prune_command(
        "trace", "tiny", "--data", clips / "calibration.jsonl", "--out", run, "--keep", keep, *asked
    )
    assert code == 0
    trace = Trace.load(run)
    assert trace.header["keep"] == keep
    (case,) = trace.traced
    sample = next(s for s in samples if s.id == case["id"])
    inputs = read(tiny.processor, [sample], 8)
    plan = keep_plan(keep, tiny.id)

    def probabilities(plan: Plan) -> torch.Tensor:
        with prune.apply(tiny.model, plan, processor=tiny.processor):
            found: torch.Tensor = tiny.model(**inputs).logits[0, -1].softmax(-1)
        return found

    before = probabilities(plan)
    assert case["likeliest"] == int(before.argmax())
    assert case["p_answer"] == pytest.approx(float(before.max()), abs=1e-4)
    both = plan.reach.copy()
    remove_pathway(both, find_pathway("video->options"), slice(None))
    after = probabilities(Plan(both, tiny.id, "both"))
    found = case["knockouts"]["video->options"]["p_answer"]
    np.testing.assert_allclose(found, float(after[case["likeliest"]]), atol=1e-4)
    with pytest.raises(BadInputError, match="dense model"):
        trace.harm("video->options")


def test_inspect_draws_the_plan_of_a_preset_or_a_model(prune_command: Any) -> None:
    for what, keep in (("llava-next-7b", FIGURES), ("tiny", "cross_frame=3-9")):
        code, said, error = prune_command("inspect", what, "--keep", keep)
        assert code == 0, error
        assert "kept by hand" in said and ("32 layers" in said or "12 layers" in said)
    code, _, error = prune_command("inspect", "nowhere", "--keep", "cross_frame=1")
    assert code == BadInputError.exit_code and "nowhere" in error


@pytest.mark.slow
def test_export_saves_it(clips: Path, tmp_path: Path, prune_command: Any) -> None:
    out = tmp_path / "out"
    test = ("--test", clips / "test.jsonl", "--limit", 6)
    code, _, error = prune_command(
        "export", "tiny", "--keep", "cross_frame=3-9", "--out", out, *test
    )
    assert code == 0, error
    plan = Plan.load(out / "prune_plan.json")
    assert (plan.reach == kept_reach("cross_frame=3-9", 12)).all()
    assert plan.origin == {"keep": "cross_frame=3-9"} and plan.model.sha256
    assert json.loads((out / "prune_report.json").read_text())["plan"]["name"] == "kept by hand"
    both = prune_command("export", "tiny", "--keep", "cross_frame=1", "--preset", "x", "--out", out)
    assert both[0] == UsageError.exit_code
