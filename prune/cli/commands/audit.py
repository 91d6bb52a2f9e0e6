"""`prune audit`: what pruning changed in the evidence of answers."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    Data,
    DrawSeed,
    MaxFailed,
    Model,
    OwnCue,
    OwnFrames,
    PerTask,
    Positions,
    Prompt,
    System,
    Tasks,
    command,
    command_line,
    names,
    report_failed,
)
from prune.cli.console import out
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.progress import progress
from prune.errors import VerificationError
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.workflows.options import Partition


@command(
    "prune audit tiny pruned --data clips/test.jsonl --out audit",
    "explaining-an-answer.md",
)
@takes_media
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
    tasks: Tasks = None,
    per_task: PerTask = None,
    seed: DrawSeed = 0,
    limit: Annotated[
        int,
        typer.Option(
            min=1, help="Explain N samples, spread over tasks and videos; all are answered."
        ),
    ] = 24,
    regions: Annotated[Partition, typer.Option(help="What is ordered.")] = Partition.FRAMES,
    count: Annotated[int, typer.Option(min=1, help="Approximate number of regions per frame.")] = 4,
    frames: OwnFrames = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
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
    device: Device = None,
    dtype: Dtype = None,
    positions: Positions = None,
    max_failed: MaxFailed = MAX_FAILED,
) -> None:
    """Compare the evidence of a dense and a pruned model; exit code 0 only if it is the same.

    The exit code is 8 if it is not, and if there are too few videos to say.
    """
    from prune.cli.tables.evidence import audit_table
    from prune.journal.processes import processes
    from prune.results.audit_findings import AuditLimits
    from prune.workflows.audit import audit_model

    limits = AuditLimits(
        min_correlation, min_iou, max_insertion_drop, max_other_evidence, max_hallucination_rise
    )
    found = audit_model(
        model, pruned, data, target, progress,
        limit=limit, regions=regions, count=count, num_frames=frames, cue=cue, system=system,
        prompt=prompt, media=media, tasks=names(tasks), per_task=per_task, seed=seed,
        limits=limits, max_failed=max_failed, argv=command_line(), device=device, dtype=dtype,
        positions=positions,
    )  # fmt: skip
    if not processes().is_main_process:
        return
    out.print(audit_table(found.means, found.accuracy, found.existence))
    out.print(f"Page     {found.page}\nNumbers  {found.numbers}")
    if found.amended is not None:
        out.print(f"Report   {found.amended}")
    against = "; ".join(str(f) for f in found.findings if f.outcome == found.outcome)
    if found.outcome == "broken":
        raise VerificationError(f"{pruned} does not rest on the dense model's evidence: {against}")
    if found.outcome == "open":
        raise VerificationError(
            f"too few to say whether {pruned} rests on the dense model's evidence: {against}: give "
            "more videos, or raise --limit"
        )
    out.print("The pruned model rests on the dense model's evidence.")
    report_failed(found.failed)
