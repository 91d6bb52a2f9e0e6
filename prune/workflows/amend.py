"""Amendment of an export's report with later measurements, whole or not at all."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from prune.checkpoint.manifest import MANIFEST, read_manifest, write_manifest
from prune.checkpoint.origin import origin_of
from prune.errors import RefusedError, ResourceError
from prune.io.files import staged, write_atomically
from prune.plan.plan import PLAN_FILE, Plan
from prune.report.page import CARD, PAGE, card, write_report
from prune.results.export_result import RESULT_FILE as REPORT_FILE
from prune.results.export_result import Result


def is_export(folder: Path) -> bool:
    """Whether a folder holds a report that can be amended."""
    return (folder / MANIFEST).is_file() and (folder / REPORT_FILE).is_file()


def amend(
    folder: Path,
    change: Callable[[Result], Result] = lambda result: result,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Draw the report and the model card of an export again, with a changed result.

    A folder with hard links to the unchanged files is built beside the export and changes places
    with it, so that a reader, or a kill, finds the old report or the new one, and a manifest that
    is true. Unchanged files are not read: damage to one stays visible to `prune verify`.

    Args:
        folder: the export.
        change: makes the new result from the one in the export.
        pages: other pages to write beside the report, by file name.

    Returns:
        The report's path.

    Raises:
        BadInputError: report, plan or manifest cannot be read.
        RefusedError: `folder` is a symbolic link.
        ResourceError: the disk is full or cannot be written.
    """
    if folder.is_symlink():
        raise RefusedError(f"{folder}: is a symbolic link: name the folder itself")
    folder = folder.absolute()
    unchanged = read_manifest(folder)
    result, plan = Result.load(folder / REPORT_FILE), Plan.load(folder / PLAN_FILE)
    pages = pages or {}
    ours = {MANIFEST, REPORT_FILE, PAGE, CARD, *pages}
    try:
        with staged(folder) as stage:
            shutil.copytree(
                folder,
                stage,
                symlinks=True,
                ignore=lambda where, names: ours if Path(where) == folder else (),
                copy_function=_link,
                dirs_exist_ok=True,
            )
            changed = change(result)
            changed.save(stage / REPORT_FILE)
            write_report(stage, changed, plan)
            (stage / CARD).write_text(card(changed, plan, origin_of(folder)), encoding="utf-8")
            for name, text in pages.items():
                write_atomically(stage / name, text)
            write_manifest(stage, {n: e for n, e in unchanged.items() if n not in ours})
    except OSError as error:
        raise ResourceError(f"{folder}: cannot change the report: {error.strerror}") from None
    return folder / PAGE


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
