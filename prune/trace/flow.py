"""The flow map of a trace (2510.13251, figures 2 and 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from prune.errors import UsageError
from prune.evaluate.stats import bootstrap_band
from prune.layout.pathways import PUBLISHED, TRACED, Pathway
from prune.results.flow_map import OWN_REPLIES, Curve, Flow, Panel
from prune.trace.metrics import INTERACTION, METRICS, Metric, Values
from prune.trace.trace import Trace
from prune.trace.windows import Style

Case = dict[str, Any]

CROSS_FRAME = PUBLISHED[0]

ANCHORS = 3
"""Anchors that a reply needs to be drawn, where one has as many (the paper: three verbs)."""

SWEEPS = {
    Style.CENTRE: ("window {}", "layer (centre of the window)"),
    Style.INVERSE: ("all layers but a window of {}", "layer (centre of the window that is kept)"),
    Style.TOP_DOWN: ("from a layer to the last", "first layer that is cut"),
    Style.BOTTOM_UP: ("from the first layer to a layer", "last layer that is cut"),
    Style.FIRST_HALF: ("first half of the layers", ""),
    Style.EVERY: ("every layer", ""),
}
"""The layers that a knockout cuts, and the meaning of its number (empty if there is only one)."""


def flow_of(trace: Trace, metric: str = "change_answer") -> Flow:
    """The curves of a trace.

    Args:
        trace: what was knocked out.
        metric: a name in `METRICS`, or `interaction` for the pairs of pathways.

    Raises:
        UsageError: there is no such metric, or the trace does not have it.
    """
    if metric not in (*METRICS, "interaction"):
        raise UsageError(f"no metric {metric!r}: there are {', '.join(METRICS)}, interaction")
    chosen = INTERACTION if metric == "interaction" else METRICS[metric]
    cases = [case for case in trace.traced if chosen.is_of(case)]
    if not cases or not _shown(trace, metric):
        raise UsageError(f"{trace.run}: its trace has no {metric} (options, replies or pairs)")
    sweep, step = SWEEPS[Style(trace.header["style"])]
    own = trace.header["asking"]["way"] == "own reply"
    return Flow(
        panels=tuple(_panels(trace, chosen, cases, _shown(trace, metric))),
        counts=trace.counts(),
        quantity=chosen.quantity,
        sweep=sweep.format(trace.header["window"])
        + (f", under the plan {trace.header['keep']}" if "keep" in trace.header else ""),
        step=step,
        which=OWN_REPLIES if own else f"{trace.header['which']} answers",
        form="heads" if trace.per_head else "layers" if step else "once",
    )


def task_flow(trace: Trace, pathways: Mapping[str, Pathway], metric: str = "change_answer") -> Flow:
    """A panel for each task, and one over all of them, with a curve for each pathway.

    Args:
        trace: what was knocked out, in sweeps over layers.
        pathways: by the label of their curve.
        metric: a name in `METRICS`.

    Raises:
        UsageError: the trace has no such metric.
    """
    flow, chosen = flow_of(trace, metric), METRICS[metric]
    groups = _groups([case for case in trace.traced if chosen.is_of(case)])
    panels = tuple(
        Panel(
            f"{title} (n={len(group)})",
            tuple(
                _curve(label, [chosen.of(case, pathway) for case in group], group)
                for label, pathway in pathways.items()
            ),
        )
        for title, group in groups.items()
    )
    return replace(flow, panels=panels)


def paired_flow(before: Trace, after: Trace, pathway: Pathway) -> Flow | None:
    """How much more a pathway matters to one model than to another, on the samples of both.

    Args:
        before, after: traces of two models of the same depth.
        pathway: the one that is compared.

    Returns:
        The difference of the change of the answer's probability, for each task and over all; None
        if no sample was traced in both, or the depths differ.
    """
    if len(before.windows()) != len(after.windows()):
        return None
    known = {case["id"]: case for case in before.traced}
    common = [case for case in after.traced if case["id"] in known]
    if not common:
        return None
    of = METRICS["change_answer"].of
    curves = tuple(
        _curve(title, [of(case, pathway) - of(known[case["id"]], pathway) for case in group], group)
        for title, group in _groups(common).items()
    )
    return replace(
        flow_of(after),
        panels=(Panel(f"Difference on {len(common)} common samples", curves),),
        quantity="difference of the change (points)",
    )


def _groups(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Cases by the title of their task, and all of them, if there are several tasks."""
    groups: dict[str, list[Case]] = {}
    for case in sorted(cases, key=lambda case: str(case["task"])):
        groups.setdefault(case["task"].replace("_", " "), []).append(case)
    return groups if len(groups) == 1 else {**groups, "all tasks": list(cases)}


def paired(trace: Trace) -> list[Pathway]:
    """Joined pathways whose parts were also cut alone."""
    traced = trace.pathways()
    return [p for p in traced if p.joined and set(p.joined) <= set(traced)]


def _shown(trace: Trace, metric: str) -> list[Pathway]:
    """Pathways to draw."""
    pairs = paired(trace)
    if metric == "interaction":
        return pairs
    traced = trace.pathways()
    # By default the paper's, without the variants that only a search needs.
    if tuple(traced[: len(TRACED)]) == TRACED:
        return [*PUBLISHED, *(p for p in traced[len(TRACED) :] if p not in pairs)]
    return [p for p in traced if p not in pairs]


def _panels(
    trace: Trace, metric: Metric, cases: list[Case], pathways: list[Pathway]
) -> list[Panel]:
    tasks = sorted({case["task"] for case in cases})
    by_task = {task: [case for case in cases if case["task"] == task] for task in tasks}
    if trace.per_head:
        return [
            Panel(pathway.title, tuple(_heads(metric, pathway, cases, trace.header["heads"])))
            for pathway in pathways
        ]
    if len(trace.windows()) == 1:
        return [
            Panel(pathway.title, tuple(_by_task(metric, pathway, {**by_task, "all": cases})))
            for pathway in pathways
        ]
    if any("anchor" in case for case in cases):
        groups = common_anchors(cases)
        return [
            Panel(f"Anchor {n} (n={len(group)})", tuple(_by_pathway(metric, pathways, group)))
            for n, group in groups.items()
        ]
    panels = []
    if CROSS_FRAME in pathways:
        panels.append(
            Panel("Cross-frame edges, by task", tuple(_by_task(metric, CROSS_FRAME, by_task)))
        )
    others = [pathway for pathway in pathways if pathway != CROSS_FRAME]
    if others:
        title = "Pairs of pathways, all tasks" if metric is INTERACTION else "Pathways, all tasks"
        panels.append(Panel(title, tuple(_by_pathway(metric, others, cases))))
    return panels


def common_anchors(cases: Sequence[Case]) -> dict[int, list[Case]]:
    """Cases by the number of their anchor, all over the same samples.

    The samples are those with at least `ANCHORS` anchors, or with as many as any has if none has
    those; the anchors are those that each of them has. So panels differ by the place of the anchor
    in the reply, not by which replies are long enough to have it.
    """
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case["id"], []).append(case)
    enough = min(ANCHORS, max(map(len, found.values())))
    common = [anchors for anchors in found.values() if len(anchors) >= enough]
    every = min(map(len, common))
    return {n + 1: [anchors[n] for anchors in common] for n in range(every)}


def _by_task(metric: Metric, pathway: Pathway, groups: dict[str, list[Case]]) -> list[Curve]:
    return [
        _curve(task.replace("_", " "), [metric.of(case, pathway) for case in cases], cases)
        for task, cases in groups.items()
    ]


def _by_pathway(metric: Metric, pathways: list[Pathway], cases: list[Case]) -> list[Curve]:
    return [_curve(p.title, [metric.of(case, p) for case in cases], cases) for p in pathways]


def _heads(metric: Metric, pathway: Pathway, cases: list[Case], heads: list[int]) -> list[Curve]:
    values = [metric.of(case, pathway) for case in cases]
    return [
        _curve(f"KV head {head + 1}", [value[:, column] for value in values], cases)
        for column, head in enumerate(heads)
    ]


def _curve(label: str, values: Sequence[Values], cases: Sequence[Case]) -> Curve:
    bands = bootstrap_band(np.array(values), [case["video"] for case in cases])
    mean, low, high = (
        () if np.isnan(band).any() else tuple(np.round(band, 4).tolist()) for band in bands
    )
    return Curve(label, mean, low, high, len(values))
