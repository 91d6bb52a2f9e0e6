"""A result that fills every part of the page, from made-up answers."""

import base64
import io

import pytest
from PIL import Image

from prune.evaluate.paired import accuracy_report
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.layout.segments import Role
from prune.plan.budget import Budget
from prune.plan.front import Point
from prune.plan.model_id import ModelId
from prune.plan.plan import Plan
from prune.plan.search_result import Harm
from prune.results.answer import Answer
from prune.results.audit_findings import Finding
from prune.results.export_result import Audit, BaselineRow, CostRow, Result, SearchReport
from prune.results.flips import FlipDetail
from prune.results.flow_map import Curve, Flow, Panel
from prune.results.interval import Interval
from prune.results.latency import BenchRow, CapacityRow, LatencyRow, LaunchCounts, Shape

HOSTILE = '<script>alert("1")</script>{{ 7*7 }}"onerror=x'
MODEL = ModelId(name="organisation/" + 60 * "m", num_layers=4, num_kv_heads=1)


def jpeg() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(buffer, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def answers(right: int, of: int) -> list[Answer]:
    """The first of two tasks is answered right first."""
    return [
        Answer(str(i), "ab"[i % 2] + "_task", int(i >= right), 0, False,
               (0.2, 0.8) if i >= right else (0.9, 0.1), str(i // 2))
        for i in range(of)
    ]  # fmt: skip


def latency(dense: float, pruned: float) -> tuple[LatencyRow, ...]:
    """Rows of every quantity, with narrow runs."""
    return tuple(
        LatencyRow(what, name, at, 0.95 * at, 1.05 * at, 20)
        for what in ("LLM prefill", "time to first token", "decode step", "vision tower")
        for name, at in (("dense", dense), ("pruned", pruned))
    )


@pytest.fixture
def plan() -> Plan:
    reach = dense_reach(MODEL.num_layers)
    remove_pathway(reach, PATHWAYS["video_to_last"], slice(0, 4))
    remove_pathway(reach, PATHWAYS["video_to_question_sealed"], slice(2, 4))
    remove_pathway(reach, PATHWAYS["video_to_options"], slice(2, 4))
    return Plan(reach, MODEL, "p")


@pytest.fixture
def result(plan: Plan) -> Result:
    dense, pruned = answers(190, 200), answers(188, 200)
    accuracy = accuracy_report(dense, pruned, [answers(120, 200), answers(130, 200)])
    curve = Curve("video → last", (0.0, -1.0, -3.0, 0.0), (-1.0,) * 4, (1.0,) * 4, 9)
    shapes = (Shape(8, 99, 100.0, 60.0, 640, 160), Shape(16, 180, 220.0, 110.0, 1200, 200))
    capacity = (
        CapacityRow("dense", 1, 100.0, 640, None, None),
        CapacityRow("pruned", 1, 120.0, 160, 2048, 12.5),
        CapacityRow("pruned", 4, 0.0, 0, None, None),
    )
    return Result(
        model=MODEL.model_dump(mode="json"),
        plan={"name": "p", "sha256": plan.sha256},
        kept_edges=5,
        causal_edges=10,
        prompt_runs=(
            (Role.SYSTEM, -1, 2), (Role.VIDEO, 0, 3), (Role.VIDEO, 1, 3), (Role.QUESTION, -1, 2),
            (Role.OPTIONS, -1, 2), (Role.TAIL, -1, 1), (Role.LAST, -1, 1),
        ),
        flow=Flow((Panel("Pathways", (curve,)),),
                  {"samples": 9, "correct": 9, "traced": 9, "cases": 9, "failed": 0},
                  "change (%)", "window 3", "layer", "correct answers"),
        search=SearchReport(
            50,
            40,
            (
                Point("video dead from layer 2 on", 0.5, 0.6, 0.3, 88.0, 87.5, True, True),
                Point("too <much>", 0.4, 0.5, 0.2, 60.0, 61.0, False, True),
                Point("dense", 1.0, 1.0, 1.0, 90.0, 89.0, True, True),
            ),
            (Harm("video → last", (0, 1), (0.5, -0.25), 0.125),),
            900,
            9000,
            Budget("max_drop", 5.0),
            "50 calibration samples cannot distinguish 5 points from chance; about 80 would",
        ),
        accuracy=accuracy,
        asked=tuple(
            FlipDetail(flip.id, f"Which? {HOSTILE}", (HOSTILE, "left"), (jpeg(), jpeg()))
            for flip in accuracy.flipped
        ),
        baselines=(
            BaselineRow("random layers", "by <chance>", "seed 0", 0.5, 0.6, (70.0, 72.0),
                        Interval(16.0, 9.0, 23.0), 0.0003),
            BaselineRow("VTW", "arXiv 2405.05803", "no video token after layer 1", 0.7, 0.62,
                        (80.0,), Interval(8.0, -1.0, 15.0), 0.04),
        ),
        cost=(CostRow("dense", 10, 100.0, 640, (14, 14, 14, 14)),
              CostRow("plan", 5, 60.0, 160, (14, 14, 6, 6))),
        shapes=shapes,
        latency=latency(30.0, 20.0),
        launched=LaunchCounts(36, 4, 40, 56),
        conditions={"command": "prune demo", "device": "none", "dtype": "float32"},
        failed={HOSTILE: "no such file"},
        benched=(BenchRow(shapes[1], latency(60.0, 25.0), capacity),),
        benched_on={"device": "some GPU"},
        audit=Audit(
            "broken", (Finding("IoU@20%", 0.25, 0.15, 0.35, 24, 0.4, "broken", None),), 24, 60,
            "prune audit a b",
        ),
    )  # fmt: skip
