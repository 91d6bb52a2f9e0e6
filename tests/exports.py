"""An export that several tests use, and a Python without prune."""

from pathlib import Path

from prune.checkpoint.load import LoadedModel
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.layout.segments import segment
from prune.plan.plan import Plan
from prune.results.export_result import Result
from prune.workflows.measure_plan import costs
from prune.workflows.write_export import export
from tests.unit.test_apply import mixed_plan


def small_result(opened: LoadedModel, plan: Plan, samples: list[Sample]) -> Result:
    segments = segment(opened.processor, read(opened.processor, samples[:1], 8))
    kept, causal = plan.count_edges(segments)
    return Result(
        model=opened.id.model_dump(mode="json"),
        plan={"name": plan.name, "sha256": plan.sha256},
        kept_edges=kept,
        causal_edges=causal,
        prompt_runs=tuple(segments.runs()),
        flow=None,
        search=None,
        accuracy=None,
        asked=(),
        baselines=(),
        cost=costs(opened.model, plan, segments),
        shapes=(),
        latency=(),
        launched=None,
        conditions={"device": "test", "command": "<script>alert(1)</script>"},
    )


def mixed_export(opened: LoadedModel, samples: list[Sample], out: Path) -> Path:
    """The model, exported under a plan with every kind of rule."""
    plan = mixed_plan(opened)
    return export(opened, plan, small_result(opened, plan, samples), out)


NO_PRUNE = """
import sys
class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "prune":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Absent())
"""
