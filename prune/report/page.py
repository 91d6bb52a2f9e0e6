"""`report.html` and the model card, from a `Result` and its plan."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from prune.edges import edge_histogram
from prune.plan.plan import Plan
from prune.report.figures.accuracy import accuracy_figure
from prune.report.figures.flow import flow_figure
from prune.report.figures.front import front_figure
from prune.report.figures.plan import plan_figure
from prune.report.figures.style import svg
from prune.report.figures.tokens import tokens_figure
from prune.result import LatencyRow, Result, by_quantity
from prune.segments import Segments

_ENVIRONMENT = Environment(
    loader=PackageLoader("prune.report"),
    autoescape=select_autoescape(["html", "j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def si(value: float, unit: str) -> str:
    """A number with three digits and a decimal prefix: `1.24 MB`."""
    power = min(max(0, (len(str(int(abs(value)))) - 1) // 3), 4)
    return f"{value / 1000**power:.3g} {'kMGT'[power - 1] if power else ''}{unit}"


def _latency(rows: tuple[LatencyRow, ...]) -> list[dict[str, Any]]:
    """Dense and pruned of each quantity side by side, with the speed-up."""
    return [
        {"what": what, **pair, "ratio": pair["dense"].median / pair["pruned"].median}
        for what, pair in by_quantity(rows).items()
    ]


def _context(result: Result, plan: Plan) -> dict[str, Any]:
    model = result.model["name"]
    histogram = edge_histogram(Segments.of_runs(result.prompt_runs))
    latency = _latency(result.latency)
    dense, *_, best = result.cost
    return {
        "r": result,
        "plan": plan,
        "model": model,
        "si": si,
        "latency": latency,
        "slower": [row["what"] for row in latency if row["ratio"] < 0.98],
        "faster": [row for row in latency if row["ratio"] > 1.02],
        "flops_ratio": dense.flops / best.flops,
        "kv_saved": 100 * (1 - best.kv_bytes / dense.kv_bytes),
        "figures": {
            "flow": svg(flow_figure({model: result.flow})) if result.flow else None,
            "plan": svg(plan_figure(plan.reach, histogram)),
            "front": svg(front_figure(result.search)) if result.search else None,
            "accuracy": (svg(accuracy_figure(result.accuracy)) if result.accuracy else None),
            "tokens": svg(tokens_figure(best.live_tokens, dense.live_tokens)),
        },
    }


def html(result: Result, plan: Plan) -> str:
    """The report as one self-contained page; text from data sets is escaped."""
    return _ENVIRONMENT.get_template("report.html.j2").render(_context(result, plan))


def card(result: Result, plan: Plan) -> str:
    """The model card, as Markdown."""
    return _ENVIRONMENT.get_template("card.md").render(_context(result, plan))


def write_report(folder: Path, result: Result, plan: Plan) -> Path:
    """Write `report.html` into `folder` and return its path."""
    path = folder / "report.html"
    path.write_text(html(result, plan), encoding="utf-8")
    return path
