"""`prune audit`: what pruning changed in the evidence of answers."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Cue, Data, Frames, Model, app, command_line, report_failed
from prune.cli.console import out, progress
from prune.errors import VerificationError
from prune.inputs.prompts import ANSWER_CUE


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
            "--out",
            help="Where audit.html and audit.json go; an audit that was stopped resumes.",
        ),
    ],
    limit: Annotated[
        int, typer.Option(min=1, help="Explain the first N samples; all of them are answered.")
    ] = 24,
    regions: Annotated[str, typer.Option(help="frames, grid, superpixels, tubes.")] = "frames",
    count: Annotated[int, typer.Option(min=1, help="Approximate number of regions per frame.")] = 4,
    frames: Frames = 8,
    cue: Cue = ANSWER_CUE,
    min_correlation: Annotated[
        float, typer.Option(help="Minimum rank correlation of the regions' evidence.")
    ] = 0.5,
    min_iou: Annotated[
        float, typer.Option(help="Minimum IoU of the most important fifth of the clip.")
    ] = 0.4,
    max_insertion_drop: Annotated[
        float, typer.Option(help="Maximum drop of insertion AUC.")
    ] = 0.08,
    max_other_evidence: Annotated[
        float, typer.Option(help="Maximum share of correct answers that rest on other evidence.")
    ] = 0.5,
    max_hallucination_rise: Annotated[
        float, typer.Option(help="Maximum rise of hallucination, in points.")
    ] = 5.0,
) -> None:
    """Compare the evidence of a dense and a pruned model; exit code 8 if it is not the same."""
    from prune.cli.tables.evidence import audit_table
    from prune.journal.processes import processes
    from prune.results.audit_findings import AuditLimits
    from prune.workflows.audit import audit_model

    limits = AuditLimits(
        min_correlation, min_iou, max_insertion_drop, max_other_evidence, max_hallucination_rise
    )
    found = audit_model(
        model, pruned, data, target, progress,
        limit=limit, regions=regions, count=count, num_frames=frames, cue=cue, limits=limits,
        argv=command_line(),
    )  # fmt: skip
    if not processes().is_main_process:
        return
    out.print(audit_table(found.means, found.accuracy, found.existence))
    out.print(f"Page     {found.page}\nNumbers  {found.numbers}")
    if found.amended is not None:
        out.print(f"Report   {found.amended}")
    if found.broken:
        broken = "; ".join(map(str, found.broken))
        raise VerificationError(f"{pruned} does not rest on the dense model's evidence: {broken}")
    out.print("The pruned model rests on the dense model's evidence.")
    report_failed(found.failed)
