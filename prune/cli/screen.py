"""`prune trace --screen`: the ranking, printed and drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from prune.cli.app import report_failed
from prune.cli.console import out, progress
from prune.journal.processes import processes
from prune.layout.pathways import Pathway, find_pathway
from prune.report.figures.screen import screen_figure
from prune.report.figures.style import save_both
from prune.trace.screen_table import write_screen
from prune.trace.screening import Screening
from prune.workflows.screen import screen_model


def run_screen(
    opened: Any, data: Path, run: Path, pathways: Sequence[Pathway], **settings: Any
) -> None:
    """Screen, write `screen.{csv,json,png,svg}` and `heads.csv`, and print the strongest.

    Args:
        opened, data, run, pathways, settings: see `prune.workflows.screen.screen_model`.

    Raises:
        SamplesFailedError: samples that could not be used, after everything else.
    """
    found = screen_model(opened, data, run, progress, pathways, **settings)
    if not processes().is_main_process:
        return
    write_screen(found, run)
    counts, rank = found.counts, found.correlation()["strength"]
    agreement = "too few to compare" if rank is None else f"rank correlation {rank:.2f}"
    save_both(
        screen_figure(
            found.grid(),
            [find_pathway(name).title for name in found.header["pathways"]],
            found.predicted[:, 1],
            found.exact[:, 1],
            found.top,
            f"{found.header['model']['name']}: {counts['screened']} of {counts['samples']} samples "
            f"({counts['failed']} failed), window {found.header['window']}; "
            f"{found.verified.sum()} of {len(found.candidates)} run exactly: {agreement}",
        ),
        run / "screen",
    )
    out.print(_strongest(found))
    out.print(
        f"{counts['screened']} of {counts['samples']} samples screened; {found.verified.sum()} of "
        f"{len(found.candidates)} candidates run exactly: {agreement}"
    )
    missed = ", ".join(f"{_title(c.pathway)} at {c.layer + 1}" for c in found.missed())
    out.print(f"Missed of the {found.top} strongest: {missed or 'none that was run'}")
    out.print(f"Figure  {run / 'screen.png'}\nTables  {run / 'screen.csv'}, {run / 'heads.csv'}")
    report_failed(found.failed)


def _strongest(found: Screening) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left",
                  title="change of the answer's log p, mean size in nats")  # fmt: skip
    for column in ("pathway", "layer", "predicted", "exact"):
        table.add_column(column, justify="left" if column == "pathway" else "right")
    for number, candidate in enumerate(found.candidates[: found.top]):
        strengths = (f"{part[number, 1]:.3g}" for part in (found.predicted, found.exact))
        table.add_row(_title(candidate.pathway), str(candidate.layer + 1), *strengths)
    return table


def _title(name: str) -> str:
    return find_pathway(name).title
