"""What `prune bench` measures is there, adds up, and is what the plan predicts."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from prune.bench.capacity import RUNS, capacity
from prune.bench.energy import energy_meter
from prune.bench.latency import generate, latency
from prune.bench.side import Side, sides
from prune.checkpoint.load import LoadedModel
from prune.errors import RefusedError, ResourceError
from prune.inputs.encode import read
from prune.inputs.media import Media
from prune.inputs.samples import Sample, load_samples
from prune.layout.segments import segment
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.plan import Plan
from prune.results.latency import CapacityRow, by_quantity
from prune.workflows.bench import bench_export
from prune.workflows.write_export import export
from tests.exports import small_result


@pytest.fixture(scope="module")
def plan(tiny: LoadedModel) -> Plan:
    """The sealed map of a 7B, every third layer or so: video dies on the way."""
    layers = np.linspace(0, 31, tiny.id.num_layers).round().astype(int)
    return Plan(Plan.preset("llava-next-7b").reach[layers], tiny.id, "sealed", {})


def test_the_parts_of_a_request_add_up(
    tiny: LoadedModel, samples: list[Sample], plan: Plan
) -> None:
    done: list[int] = []
    compared = sides(tiny.model, tiny.processor, plan)
    rows = by_quantity(latency(compared, samples[0], 8, 3, done.append))
    assert sum(done) == 3
    parts = ("video decode", "vision tower", "LLM prefill")
    assert set(rows) == {*parts, "time to first token", "decode step"}
    for name in ("dense", "pruned"):
        whole = rows["time to first token"][name].median
        assert sum(rows[part][name].p20 for part in parts) <= rows["time to first token"][name].p80
        assert all(0 < rows[part][name].median < whole for part in parts)


def test_a_cache_is_what_the_plan_predicts(
    tiny: LoadedModel, samples: list[Sample], plan: Plan
) -> None:
    prompt = segment(tiny.processor, read(tiny.processor, samples[:1], 8))
    geometry = Geometry.of(tiny.model)
    dense, pruned = capacity(sides(tiny.model, tiny.processor, plan), samples[0], 8, [2])
    # Beside the prompt, every layer holds the generated tokens but the last.
    answers = tiny.id.num_layers * 31 * geometry.kv_bytes
    assert dense.kv_bytes == 2 * (dense_cost(plan.num_layers, prompt, geometry).kv_bytes + answers)
    assert pruned.kv_bytes == 2 * (cost_of(plan.reach, prompt, geometry).kv_bytes + answers)
    assert pruned.kv_bytes < dense.kv_bytes
    assert min(dense.tokens_per_second, pruned.tokens_per_second) > 0


def test_one_slow_run_does_not_decide_what_a_batch_achieves(
    tiny: LoadedModel, samples: list[Sample], plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where something else had the machine just then."""
    speeds = {"dense": iter([1.0, 70, 7, 72]), "pruned": iter([1.0, 8, 91, 90])}

    def measured(side: Side, inputs: Any, batch: int) -> CapacityRow:
        return CapacityRow(side.name, batch, next(speeds[side.name]), 0, None, None)

    monkeypatch.setattr("prune.bench.capacity._measure", measured)
    done: list[int] = []
    rows = capacity(
        sides(tiny.model, tiny.processor, plan), samples[0], 8, [1], on_done=done.append
    )
    assert [(row.model, row.tokens_per_second) for row in rows] == [("dense", 70), ("pruned", 90)]
    assert sum(done) == 2 * RUNS


def test_a_batch_that_does_not_fit_says_so_unless_it_is_the_smallest(
    tiny: LoadedModel, samples: list[Sample], plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared, most = sides(tiny.model, tiny.processor, plan), 1

    def generated(model: Any, inputs: Any, tokens: int) -> Any:
        if len(inputs["input_ids"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(model, inputs, tokens)

    monkeypatch.setattr("prune.bench.capacity.generate", generated)
    rows = capacity(compared, samples[0], 8, [1, 2])
    assert [bool(row.tokens_per_second) for row in rows] == [True, True, False, False]
    most = 0
    with pytest.raises(ResourceError, match="1 requests of 8 frames do not fit into the memory"):
        capacity(compared, samples[0], 8, [1])


def test_an_export_is_measured_at_every_number_of_frames(
    tiny: LoadedModel, samples: list[Sample], plan: Plan, clips: Path, tmp_path: Path
) -> None:
    folder = export(tiny, plan, small_result(tiny, plan, samples), tmp_path / "pruned")
    data = clips / "test.jsonl"
    found = bench_export(
        folder, data, frames=[4, 8], batches=[1, 2], runs=2, against="tiny",
        table=tmp_path / "bench.csv", cue="The answer, one of A to D: (",
        media=Media("map-the-flow"),
    )  # fmt: skip
    counted = [at.shape for at in found.rows]
    assert found.conditions["sampling"] == "map-the-flow"
    plain = segment(tiny.processor, read(tiny.processor, load_samples(data)[:1], 4)).shape[1]
    assert counted[0].tokens > plain, "its cue is longer"
    assert [at.frames for at in counted] == [4, 8] and counted[0].tokens < counted[1].tokens
    assert all(at.prefill_ratio > 1 and at.kv_ratio > 1 for at in counted)
    with open(tmp_path / "bench.csv") as file:
        lines = list(csv.DictReader(file))
    assert {line["what"] for line in lines} >= {"LLM prefill", "throughput", "KV cache"}
    assert all(float(line["median"]) > 0 and line["torch"] for line in lines)
    with pytest.raises(RefusedError, match="has no prune_plan"):
        bench_export("tiny", data)


def test_energy_is_what_the_device_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid) or "handle",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 2500,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="8a-b")
    )
    read_joules = energy_meter(torch.device("cuda"))
    assert read_joules is not None and read_joules() == 2.5 and asked == ["GPU-8a-b"]
    assert energy_meter(torch.device("cpu")) is None

    def unknown() -> None:
        raise RuntimeError("no driver")

    nvml.nvmlInit = unknown
    assert energy_meter(torch.device("cuda")) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy_meter(torch.device("cuda")) is None


def test_a_side_that_ran_nothing_pruned_is_refused(tiny: LoadedModel, plan: Plan) -> None:
    dense, pruned = sides(tiny.model, tiny.processor, plan)
    with dense.running():
        pass
    with pytest.raises(RefusedError, match="it ran dense"), pruned.running():
        pass
