"""The exhibits of a reproduction that are curves over layers, and the traces behind them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prune.layout.pathway_names import find_pathway
from prune.results.flow_map import Flow
from prune.results.reproduction import Exhibit
from prune.trace.flow import flow_of, paired_flow, task_flow
from prune.trace.sets import SETS
from prune.trace.trace import SCHEMA_VERSION as TRACE_SCHEMA
from prune.trace.trace import Trace
from prune.trace.windows import Style
from prune.workflows.reproduce_files import write_flows
from prune.workflows.reproduce_sample import CROSS_FRAME

Records = Sequence[dict[str, Any]]

KNOCKOUTS = (
    "Knockouts run on the answers that the page names; bands are bootstrapped by video (the paper: "
    "by sample)."
)
CLOSED = "The closed ranges are not in the paper."


def trace_of(
    out: Path, header: dict[str, Any], records: Records, side: str, kind: str, data: Path
) -> Trace:
    """One side's cases as a trace, for its metrics and curves.

    Args:
        out: folder of the reproduction.
        header, records: of its journal.
        side: `tuned` or `base`.
        kind: `sweep` over layers, or `half` of them at once.
        data: the data set.
    """
    known = header if side == "tuned" else {**header, **header["base"]}
    every = header["pathways"] if (side, kind) == ("tuned", "sweep") else [CROSS_FRAME[0].name]
    # What is traced is dense: `keep` is of table 3 alone.
    apart = ("base", "groups", "kept", "keep")
    described = {
        **{key: value for key, value in known.items() if key not in apart},
        "schema_version": TRACE_SCHEMA,
        "data": str(data),
        "asking": {"way": "choice"},
        "pathways": every,
        "style": (Style.CENTRE if kind == "sweep" else Style.FIRST_HALF).value,
        "window": header["window"] if side == "tuned" else header["base_window"],
        "heads": [None],
        "exact_reference": False,
    }
    cases = [
        {**{key: record[key] for key in ("id", "task", "video")}, "cases": [record[side][kind]]}
        if side in record
        else record
        for record in records
    ]
    return Trace(out, described, cases)


def cross_frame(
    out: Path, header: dict[str, Any], records: Records, tuned: Trace, data: Path, shared: list[str]
) -> Exhibit:
    """Figure 2: cross-frame edges by task, of the model and of its base."""
    pathway = CROSS_FRAME[0]
    flows = {tuned.model.name: _by_task_curves(tuned)}
    figures = ["figure-2"]
    says = "Change of the answer's probability when frames cannot read each other"
    differs = list(shared)
    if header["base"] is None:
        differs.append("No base model: give --base for the comparison of the paper.")
    else:
        base = trace_of(out, header, records, "base", "sweep", data)
        name = f"{base.model.name} (base)"
        if base.traced:
            flows[name] = _by_task_curves(base)
        difference = paired_flow(base, tuned, pathway) if base.traced else None
        if difference is None:
            differs.append("No paired difference: no common sample, or models of different depths.")
        else:
            write_flows(out, "figure-2-difference", {f"{tuned.model.name} - {name}": difference})
            figures.append("figure-2-difference")
            says += "; below, the model's minus the base's on the samples that both answer so"
            differs.append("The paper shows no difference on common samples.")
    write_flows(out, "figure-2", flows)
    return Exhibit(
        "figure-2", "Figure 2: cross-frame interactions, by task", says + ".",
        (*differs, KNOCKOUTS), tuple(figures), tables=tuple(figures),
    )  # fmt: skip


def _by_task_curves(trace: Trace) -> Flow:
    """The panel in which each task is a curve."""
    flow = flow_of(trace)
    panel = next(panel for panel in flow.panels if panel.title.startswith("Cross-frame"))
    return replace(flow, panels=(panel,))


def pathways_by_task(out: Path, tuned: Trace, shared: list[str]) -> Exhibit:
    """Figure 3: a panel for each task."""
    names = ("video → question", "video → last", "question → last", "last → last")
    flows = {
        kind: task_flow(tuned, dict(zip(names, SETS[kind][1:5], strict=True)))
        for kind in ("published", "closed")
    }
    write_flows(out, "figure-3", flows)
    return Exhibit(
        "figure-3", "Figure 3: pathways, by task",
        "Change of the answer's probability when a pathway is cut in a window of layers. Solid: "
        "the token ranges of the released code, in which question means question and options. "
        "Dashed: closed ranges, in which template text behind the video counts as question.",
        (*shared, CLOSED, KNOCKOUTS),
        ("figure-3",), tables=("figure-3",),
    )  # fmt: skip


def options(out: Path, tuned: Trace, shared: list[str]) -> Exhibit:
    """Figures 7 and 8: the question and its options, into the last token and into the true one."""
    into_last = ("non-option question → last", "true option → last", "false options → last")
    into_true = ("video → non-option question", "non-option question → true option",
                 "video → true option")  # fmt: skip
    for name, labels, place in (("figure-7", into_last, 5), ("figure-8", into_true, 8)):
        flows = {
            kind: task_flow(tuned, dict(zip(labels, SETS[kind][place : place + 3], strict=True)))
            for kind in ("published", "closed")
        }
        write_flows(out, name, flows)
    return Exhibit(
        "figure-7", "Figures 7 and 8: options",
        "Above, what the last token reads; below, what reaches the true option. Solid: published "
        "ranges, in which an option ends before what separates it from the next one. Dashed: "
        "closed ranges, in which the separator belongs to its option and the template text to the "
        "question.",
        (*shared, CLOSED, KNOCKOUTS),
        ("figure-7", "figure-8"), tables=("figure-7", "figure-8"),
    )  # fmt: skip


def separator(out: Path, tuned: Trace, shared: list[str]) -> Exhibit:
    """The options' text against what separates them."""
    published, closed = SETS["published"][6:8], SETS["closed"][6:8]
    curves = {
        "text of the true option": published[0],
        "its separator": find_pathway("true_option_end->last"),
        "both": closed[0],
        "text of the false options": published[1],
        "their separators": find_pathway("false_options_end->last"),
        "both, of the false ones": closed[1],
    }
    write_flows(out, "separator", {tuned.model.name: task_flow(tuned, curves)})
    return Exhibit(
        "separator", "What stands in for an option",
        "The last token cut off from the text of an option, from the separator behind it (the end "
        "of its line), and from both. Where the separator matters more than the text, it holds "
        "what the option says, and the published range leaves it out.",
        (*shared, "Not in the paper.", KNOCKOUTS),
        ("separator",), tables=("separator",),
    )  # fmt: skip
