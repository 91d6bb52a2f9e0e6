"""The report shows how a plan was found and what its cost buys otherwise, and loads again."""

from pathlib import Path

from prune.evaluate.answers import Answer
from prune.evaluate.stats import Interval
from prune.pathways import dense_reach
from prune.plan.found import Harm
from prune.plan.front import Point
from prune.plan.plan import Plan
from prune.plan.schema import ModelId
from prune.report.page import html
from prune.result import BaselineRow, CostRow, Result, SearchReport, accuracy_report
from prune.segments import Role

MODEL = ModelId(name="m", num_layers=2, num_kv_heads=1)
POINTS = (
    Point("video dead from layer 2 on", 0.5, 0.6, 0.3, 88.0, 87.5, True, True),
    Point("too <much>", 0.4, 0.5, 0.2, 60.0, 61.0, False, True),
    Point("dense", 1.0, 1.0, 1.0, 90.0, 89.0, True, True),
)
ANSWERS = [Answer(str(i), "count", 0, i % 2, False, (0.6, 0.4)) for i in range(4)]
RESULT = Result(
    model=MODEL.model_dump(mode="json"),
    plan={"name": "p", "sha256": "00"},
    kept_edges=5,
    causal_edges=10,
    prompt_runs=((Role.SYSTEM, -1, 2), (Role.VIDEO, 0, 3), (Role.LAST, -1, 1)),
    flow=None,
    search=SearchReport(
        50, POINTS, (Harm("video → last", (0, 1), (0.5, -0.25), 0.125),), 900, 9000
    ),
    accuracy=accuracy_report(ANSWERS, ANSWERS, []),
    baselines=(
        BaselineRow("random layers", "by <chance>", "seed 0", 0.5, 0.6, (70.0, 72.0),
                    Interval(16.0, 9.0, 23.0), 0.0003),
        BaselineRow("VTW", "arXiv 2405.05803", "no video token after layer 1", 0.7, 0.62, (80.0,),
                    Interval(8.0, 1.0, 15.0), 0.04),
    ),
    cost=(CostRow("dense", 10, 100.0, 64, (6, 6)), CostRow("plan", 5, 60.0, 16, (6, 1))),
    latency=(),
    conditions={"command": "prune demo", "device": "none"},
)  # fmt: skip


def test_the_page_shows_harms_and_baselines() -> None:
    page = html(RESULT, Plan(dense_reach(2), MODEL, "p"))
    for text in (
        "video → last",
        "12.5%",
        "arXiv 2405.05803",
        "+16.0 [+9.0, +23.0]",
        "9,000",
        "How the plan was found",
    ):
        assert text in page
    assert "<chance>" not in page and "<much>" not in page


def test_a_result_with_a_search_loads_again(tmp_path: Path) -> None:
    RESULT.save(tmp_path / "report.json")
    assert Result.load(tmp_path / "report.json") == RESULT
