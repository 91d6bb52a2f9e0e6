"""Table of a gradient screen for the terminal."""

from typing import TYPE_CHECKING

from rich.table import Table

from prune.layout.pathway_names import find_pathway

if TYPE_CHECKING:
    from prune.workflows.screen import Screening


def screen_table(found: "Screening") -> Table:
    """The strongest candidates, with what the gradients predict and what knockouts measured."""
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left",
                  title="change of the answer's log p, mean size in nats")  # fmt: skip
    for column in ("pathway", "layer", "predicted", "exact"):
        table.add_column(column, justify="left" if column == "pathway" else "right")
    for number, candidate in enumerate(found.candidates[: found.top]):
        strengths = (f"{part[number, 1]:.3g}" for part in (found.predicted, found.exact))
        table.add_row(_title(candidate.pathway), str(candidate.layer + 1), *strengths)
    return table


def missed_line(found: "Screening") -> str:
    """The strongest candidates by exact knockout that the screen ranks lower."""
    missed = ", ".join(f"{_title(c.pathway)} at {c.layer + 1}" for c in found.missed())
    return f"Missed of the {found.top} strongest: {missed or 'none that was run'}"


def _title(name: str) -> str:
    return find_pathway(name).title
