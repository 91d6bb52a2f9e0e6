"""The transfer matrix: every plan under every condition, against dense under the same."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import prune.workflows.transfer
from prune.checkpoint.load import LoadedModel
from prune.evaluate.calibration import calibrate
from prune.inputs.samples import Sample
from prune.journal.progress import silent
from prune.layout.pathways import REMOVABLE
from prune.plan.budget import Budget
from prune.plan.moves import candidates
from prune.plan.search import search
from prune.plan.search_result import SearchResult
from prune.report.figures.transfer import transfer_figure
from prune.workflows.transfer import ALL, conditions, transfer


def test_conditions_are_tasks_all_other_frames_and_longer_text(samples: list[Sample]) -> None:
    found = {c.name: c for c in conditions(samples, 8, [4])}
    assert {s.task for s in found["object_count"].samples} == {"object_count"}
    assert len(found[ALL].samples) == len(found["4 frames"].samples) == len(samples)
    assert found["4 frames"].num_frames == 4
    first, longer = found[ALL].samples[0], found["longer text"].samples[0]
    assert longer == replace(first, question=f"{first.question} {first.question}")


def test_each_plan_is_used_everywhere(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[set[str]] = []

    def find(
        opened: LoadedModel,
        trace: Any,
        calibration: Sequence[Sample],
        progress: Any,
        budget: Budget,
    ) -> SearchResult:
        """A search that is short, and that ranks by nothing."""
        searched.append({sample.task for sample in calibration})
        harm = {pathway.name: np.ones(12) for pathway in REMOVABLE}
        problem = calibrate(opened, calibration, 8).problem()
        return search(problem, candidates(harm), budget, max_runs=3)

    monkeypatch.setattr(prune.workflows.transfer, "find_plan", find)
    two = [s for s in samples if s.task in ("object_count", "moving_direction")]
    calibration, held_out = two[:4], two[4:]
    trace: Any = SimpleNamespace(header={"num_frames": 8}, frame_counts=(8,))
    found = transfer(tiny, trace, calibration, held_out, Budget("max_drop", 50), silent, [4])
    plans, used = ["moving_direction", "object_count", ALL], 5
    assert searched == [
        {"moving_direction"},
        {"object_count"},
        {"moving_direction", "object_count"},
    ]
    assert list(found.flops) == plans and all(0 < share < 1 for share in found.flops.values())
    assert len(found.cells) == len(plans) * used
    sizes = {cell.used_on: cell.n for cell in found.cells}
    assert sizes["object_count"] == 2 and sizes[ALL] == sizes["4 frames"] == 4
    found.save(tmp_path / "transfer.json")
    assert len(json.loads((tmp_path / "transfer.json").read_text())["cells"]) == len(found.cells)
    figure = transfer_figure(found)
    assert len(figure.axes) == 2 and figure.axes[1].get_ylabel() == "points of accuracy"
    assert all("(n=" in tick.get_text() for tick in figure.axes[0].get_xticklabels())
