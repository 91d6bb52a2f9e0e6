"""The folder of an export: model, plan, report, card and manifest, written whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from prune.checkpoint.load import LoadedModel
from prune.checkpoint.manifest import MANIFEST, write_manifest
from prune.checkpoint.origin import origin_of
from prune.checkpoint.stored_plan import marked
from prune.errors import RefusedError, ResourceError
from prune.io.files import names_in, staged, write_atomically
from prune.io.untrusted import is_inside
from prune.plan.plan import PLAN_FILE, RUN_PLAN_FILE, Plan
from prune.report.audit_page import AUDIT_PAGE
from prune.report.page import CARD, PAGE, card, write_report
from prune.results.export_result import RESULT_FILE as REPORT_FILE
from prune.results.export_result import Result
from prune.results.healed import FRONT_FIGURE, FRONT_FILE, HEALED_FILE

_OURS = (
    *(PLAN_FILE, REPORT_FILE, MANIFEST, PAGE, AUDIT_PAGE, CARD),
    *(RUN_PLAN_FILE, HEALED_FILE, FRONT_FILE, FRONT_FIGURE),
)
_CODE = {".py", ".pyc", ".so"}
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".msgpack"}
MARGIN = 64 * 2**20
"""Bytes for plan, report and manifest."""


def check_target(source: Path, out: Path, force: bool) -> None:
    """Raise `RefusedError` where an export of `source` must not be written to `out`."""
    real, target = source.resolve(), out.resolve()
    if target == real or target in real.parents or real in target.parents:
        raise RefusedError(
            f"{out}: is, holds or lies in the model that is exported: choose another"
        )
    if out.is_symlink():
        raise RefusedError(f"{out}: is a symbolic link: name the folder itself")
    if out.exists() and not force:
        raise RefusedError(
            f"{out}: exists already: choose another folder, or --force to replace it"
        )
    model_files(source)
    if out.exists() and not (out / MANIFEST).is_file():
        raise RefusedError(f"{out}: was not written by prune export: it is not replaced")
    parent = out.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise RefusedError(f"{parent}: no such folder, or it cannot be written")


def model_files(source: Path) -> list[str]:
    """Relative names of the files that belong to a model, those in sub-folders included.

    Code, pickles, hidden files (caches) and what prune writes itself do not. Links count as the
    files that they lead to.

    Raises:
        RefusedError: a link leads out of the folder.
    """
    found = [name for name in names_in(source) if name not in _OURS]
    found = [name for name in found if Path(name).suffix.lower() not in _CODE | _PICKLES]
    for name in found:
        if not is_inside(source, source / name):
            raise RefusedError(
                f"{source / name}: leads out of the model folder: replace the link by what it "
                "leads to, or remove it"
            )
    return [name for name in found if (source / name).is_file()]


def copy_files(source: Path, names: Iterable[str], stage: Path) -> None:
    """Copy files, given by relative name, from one folder into another."""
    for name in names:
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, stage / name)


def hub_id(opened: LoadedModel) -> str | None:
    """The hub id that a model was opened by; None if it was a folder or comes with prune."""
    name = opened.id.name
    return name if "/" in name and not Path(name).is_dir() else None


def _check_space(source: Path, parent: Path) -> None:
    """Raise `ResourceError` before anything is written to a disk that is too full."""
    needed = sum((source / name).stat().st_size for name in model_files(source)) + MARGIN
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise ResourceError(
            f"{parent}: {free / 2**30:.2f} GiB free, the export needs {needed / 2**30:.2f}"
        )


def _copy_model(source: Path, stage: Path, plan: Plan) -> None:
    """Weights and processor files byte for byte; `config.json` says that a plan belongs to it."""
    copy_files(source, model_files(source), stage)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    text = json.dumps(marked(config, plan), indent=2, ensure_ascii=False)
    write_atomically(stage / "config.json", text + "\n")


def export(
    opened: LoadedModel,
    plan: Plan,
    result: Result,
    out: Path,
    force: bool = False,
) -> Path:
    """Write a folder that `prune.load` opens.

    It is built beside `out` and renamed at the end, so `out` is never half of an export.

    Args:
        opened: the dense model.
        plan: the plan that the export runs under.
        result: what was measured.
        out: the new folder.
        force: replace an earlier export.

    Returns:
        `out`.

    Raises:
        RefusedError: `out` exists, or is the source, or is not an export.
        ResourceError: the disk is full or cannot be written.
    """
    check_target(opened.folder, out, force)
    plan = plan.with_model(opened.id)
    try:
        _check_space(opened.folder, out.absolute().parent)
        with staged(out) as stage:
            _copy_model(opened.folder, stage, plan)
            plan.save(stage / PLAN_FILE)
            result.save(stage / REPORT_FILE)
            write_report(stage, result, plan)
            text = card(result, plan, origin_of(opened.folder, hub_id(opened)))
            (stage / CARD).write_text(text, encoding="utf-8")
            write_manifest(stage)
    except OSError as error:
        raise ResourceError(f"{out}: cannot write the export: {error.strerror}") from None
    return out
