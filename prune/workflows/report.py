"""The workflow of `prune report`: the page of an export, drawn again."""

from pathlib import Path

from prune.workflows.amend import amend


def redraw(folder: Path) -> Path:
    """Draw `report.html` of an export again from its JSON and its plan.

    Returns:
        The page.

    Raises:
        BadInputError: the folder is no export, or damaged.
        RefusedError: the folder is a symbolic link.
        ResourceError: the disk is full or cannot be written.
    """
    return amend(folder)
