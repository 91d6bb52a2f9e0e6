"""`prune audit`: what pruning changed in what a model looks at."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prune.cli.app import Data, Frames, Model, app, command_line, report_failed
from prune.cli.console import out, progress
from prune.errors import VerificationError

if TYPE_CHECKING:
    from prune.checkpoint.load import LoadedModel
    from prune.evidence.explain import ExplainSettings
    from prune.inputs.samples import Sample
    from prune.report.figures.audit import Pairing

WORST = 4
"""Samples that are drawn: those whose evidence changed most."""


@app.command()
def audit(
    model: Model,
    pruned: Annotated[
        str, typer.Argument(help="An exported folder, a plan file or a preset's name.")
    ],
    data: Data,
    target: Annotated[
        Path,
        typer.Option(
            "--out", help="Where audit.html and audit.json go; an unfinished audit goes on."
        ),
    ],
    limit: Annotated[
        int, typer.Option(min=1, help="Explain the first N samples; all of them are answered.")
    ] = 24,
    regions: Annotated[str, typer.Option(help="frames, grid, superpixels, tubes.")] = "frames",
    count: Annotated[int, typer.Option(min=1, help="Regions of a frame, about.")] = 4,
    frames: Frames = 8,
    min_correlation: Annotated[
        float, typer.Option(help="Least rank correlation of the regions' evidence.")
    ] = 0.5,
    min_iou: Annotated[
        float, typer.Option(help="Least overlap of the fifth that matters most.")
    ] = 0.4,
    max_insertion_drop: Annotated[
        float, typer.Option(help="How much insertion AUC may fall.")
    ] = 0.08,
    max_other_evidence: Annotated[
        float, typer.Option(help="Share of right answers that may rest on other evidence.")
    ] = 0.5,
    max_hallucination_rise: Annotated[
        float, typer.Option(help="Points by which absent things may be seen more often.")
    ] = 5.0,
) -> None:
    """Compare the evidence of a dense and a pruned model; exit code 8 if it is not the same."""
    from prune.checkpoint.load import open_model
    from prune.cli.tables.evidence import audit_table
    from prune.evaluate.existence import existence
    from prune.evidence.answered import PairedAnswers
    from prune.evidence.explain import ExplainSettings
    from prune.inputs.samples import load_samples
    from prune.io.files import write_atomically
    from prune.journal.processes import processes
    from prune.journal.records import failed_of
    from prune.plan.named import plan_of
    from prune.report.audit_page import AUDIT_PAGE, audit_html, audit_summary
    from prune.report.figures.audit import audit_figure
    from prune.report.figures.style import save_figure
    from prune.results.audit_findings import Limits, verdict
    from prune.workflows.amend import amend, is_export
    from prune.workflows.audit import MEASURES, comparisons, means
    from prune.workflows.audit import audit as run

    limits = Limits(
        min_correlation, min_iou, max_insertion_drop, max_other_evidence, max_hallucination_rise
    )
    settings = ExplainSettings(regions=regions, count=count, num_frames=frames)
    samples = load_samples(data)
    opened = open_model(model, dense=True)
    plan = plan_of(pruned)
    plan.check_model(opened.id)
    with progress("Auditing", -(-len(samples) // processes().num_processes)) as advance:
        records = run(opened, plan, samples, target, settings, limit, advance)
    if not processes().is_main_process:
        return
    answered, compared, failed = (
        PairedAnswers.of(samples, records), comparisons(records), failed_of(records)
    )  # fmt: skip
    found = means(compared)
    seen = existence(answered.samples, answered.dense, answered.pruned)
    findings = verdict(found, seen, limits)
    passed = all(f.kept for f in findings)
    figure = audit_figure(_worst(opened, samples, settings, compared))
    save_figure(figure, target / "audit.png")
    report = {
        "model": opened.id.model_dump(mode="json"),
        "plan": plan.sha256,
        "command": command_line(),
        "passed": passed,
        "findings": [asdict(f) for f in findings],
        "limits": asdict(limits),
        "settings": asdict(settings),
        "means": found,
        "accuracy": answered.accuracy,
        "existence": asdict(seen) if seen else None,
        "failed": failed,
        "samples": compared,
    }
    write_atomically(target / "audit.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    page = audit_html(report, MEASURES, figure)
    write_atomically(target / AUDIT_PAGE, page)
    out.print(audit_table(found, answered.accuracy, seen))
    out.print(f"Page     {target}/{AUDIT_PAGE}\nNumbers  {target}/audit.json")
    if is_export(Path(pruned)):
        summary = audit_summary(report)
        amended = amend(Path(pruned), lambda r: replace(r, audit=summary), {AUDIT_PAGE: page})
        out.print(f"Report   {amended}")
    if not passed:
        broken = "; ".join(str(f) for f in findings if not f.kept)
        raise VerificationError(f"{pruned} does not rest on the dense model's evidence: {broken}")
    out.print("The pruned model rests on the dense model's evidence.")
    report_failed(failed)


def _worst(
    opened: "LoadedModel",
    samples: "list[Sample]",
    settings: "ExplainSettings",
    compared: list[dict[str, Any]],
) -> "list[Pairing]":
    """The samples whose evidence changed most, for the figure: the least overlap first."""
    from prune.evidence.case import open_case
    from prune.evidence.explain import regions_of
    from prune.evidence.metrics.agreement import first_regions
    from prune.report.figures.audit import Pairing

    by_id, pairings = {s.id: s for s in samples}, []
    for record in sorted(compared, key=lambda r: r["iou_20"])[:WORST]:
        case = open_case(opened.model, opened.processor, by_id[record["id"]], settings.num_frames)
        regions, chosen = regions_of(case, settings), record["chosen"]
        top = (first_regions(record[side]["order"], regions.area) for side in ("dense", "pruned"))
        title = (
            f"{record['question']} ({record['answer']})  dense: {chosen['dense']}, "
            f"pruned: {chosen['pruned']}; IoU {record['iou_20']:.2f}"
        )
        pairings.append(Pairing(title, case.frames, regions.labels, *map(sorted, top)))
    return pairings
