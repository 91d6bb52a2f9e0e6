"""`report.html` and the model card, from a `Result` and its plan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune.inputs.prompts import letter
from prune.io.files import write_atomically
from prune.layout.edges import edge_histogram
from prune.layout.segments import Segments
from prune.plan.plan import Plan
from prune.report.environment import ENVIRONMENT
from prune.report.figures.flow import flow_figure
from prune.report.figures.front import front_figure
from prune.report.figures.load import load_figure
from prune.report.figures.plan import plan_figure
from prune.report.figures.style import svg
from prune.report.figures.tokens import tokens_figure
from prune.report.leak_paths import leak_paths, unseen
from prune.report.numbers import (
    least_agreement,
    limit_of,
    most_kl,
    plus,
    shares,
    si,
    slowdown,
    speedups,
    spoken,
)
from prune.report.verdict import verdict
from prune.results.export_result import Result
from prune.results.latency import LatencyRow, by_quantity
from prune.results.load import load_lines

PAGE, CARD = "report.html", "README.md"
SCALE_MARGIN = 0.05


def html(result: Result, plan: Plan) -> str:
    """The report as one self-contained page; text from data sets is escaped."""
    context = {**_numbers(result, plan), "figures": _figures(result, plan)}
    return ENVIRONMENT.get_template("report.html.j2").render(context)


def card(result: Result, plan: Plan, origin: Mapping[str, str]) -> str:
    """The model card, as Markdown.

    Args:
        result: what was measured.
        plan: the export's.
        origin: base model and licence, as lines of the card's front matter.
    """
    context = {**_numbers(result, plan), "origin": origin}
    return ENVIRONMENT.get_template("card.md").render(context)


def write_report(folder: Path, result: Result, plan: Plan) -> Path:
    """Write `report.html` into `folder` and return its path."""
    path = folder / PAGE
    write_atomically(path, html(result, plan))
    return path


def _numbers(result: Result, plan: Plan) -> dict[str, Any]:
    """Template variables beside the result."""
    latency = _latency(result.latency)
    flops_left, kv_left = shares(result)
    return {
        "r": result,
        "plan": plan,
        "model": result.model["name"],
        "v": verdict(result),
        "si": si,
        "plus": plus,
        "spoken": spoken,
        "letter": letter,
        "limit": limit_of(result),
        "agreement_limit": least_agreement(result),
        "kl_limit": most_kl(result),
        "scale": _scale(result),
        "latency": latency,
        "speedups": speedups(result.latency),
        "slowdown": slowdown(result),
        "flops_left": flops_left,
        "kv_left": kv_left,
        "by_frames": _by_frames(result),
        "served": load_lines(result.served) if result.served else [],
        "paths": leak_paths(plan.reach, result),
        "unseen": [name for name in unseen(plan.reach) if name in result.prompt],
        **_flips(result),
    }


def _figures(result: Result, plan: Plan) -> dict[str, str | None]:
    """Data URIs by name; None if there is nothing to draw."""
    dense, *_, best = result.cost
    histogram = edge_histogram(Segments.of_runs(result.prompt_runs))
    return {
        "flow": svg(flow_figure({result.model["name"]: result.flow})) if result.flow else None,
        "plan": svg(plan_figure(plan.reach, histogram)),
        "load": svg(load_figure(result.served)) if result.served else None,
        "front": svg(front_figure(result.search)) if result.search else None,
        "tokens": svg(tokens_figure(best.live_tokens, dense.live_tokens)),
    }


def _scale(result: Result) -> tuple[float, float]:
    """The ends of the axis on which all paired differences are drawn, zero and limit within."""
    if result.accuracy is None:
        return -1.0, 1.0
    rows = [row.difference for row in (*result.accuracy.tasks, result.accuracy.overall)]
    low = min(-(limit_of(result) or 0.0), *(row.low for row in rows))
    high = max(0.0, *(row.high for row in rows))
    margin = SCALE_MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _latency(rows: tuple[LatencyRow, ...]) -> list[dict[str, Any]]:
    """Dense and pruned of each quantity side by side, with the speed-up."""
    return [
        {"what": what, **pair, "ratio": pair["dense"].median / pair["pruned"].median}
        for what, pair in by_quantity(rows).items()
    ]


def _by_frames(result: Result) -> list[dict[str, Any]]:
    """One row per number of frames: counted, and the last measurement if there is one."""
    rows = {shape.frames: {"shape": shape, "times": {}} for shape in result.shapes}
    measured = {at.shape.frames: (at.shape, at.latency) for at in result.benched}
    first = result.shapes[:1]
    measured = {s.frames: (s, result.latency) for s in first if result.latency} | measured
    for frames, (shape, latency) in measured.items():
        times = {row["what"]: row for row in _latency(latency)}
        rows[frames] = {"shape": shape, "times": times}
    return [rows[frames] for frames in sorted(rows)]


def _flips(result: Result) -> dict[str, Any]:
    """Flipped samples with their questions, and how many were lost and won."""
    flipped = result.accuracy.flipped if result.accuracy else ()
    asked = {a.id: a for a in result.asked}
    return {
        "flips": [(flip, asked[flip.id]) for flip in flipped if flip.id in asked],
        "questions": {a.id: a.question for a in result.asked},
        "pictured": any(a.frames for a in result.asked),
        "lost": sum(flip.lost for flip in flipped),
        "won": sum(flip.won for flip in flipped),
    }
