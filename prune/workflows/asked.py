"""How questions are asked: as an export was, where nothing else is said, and what reports name."""

from collections.abc import Sequence
from pathlib import Path

from prune.errors import BadInputError
from prune.inputs.prompts import ANSWER_CUE, Wording
from prune.inputs.sample import Sample
from prune.inputs.templates import check_template
from prune.io.untrusted import read_json
from prune.results.export_result import RESULT_FILE
from prune.workflows.amend import is_export


def asked_as(
    models: Sequence[str | Path | None], cue: str | None, system: str | None, prompt: str | None
) -> tuple[str, Wording]:
    """The cue and the wording of prompts: what is given, else what the first export was asked with.

    Args:
        models: names of models; those that are no exports say nothing.
        cue: what a prompt ends with.
        system: a system prompt in front of the video.
        prompt: a template of the user's words (`prune.inputs.templates`).

    Raises:
        BadInputError: the export's report cannot be read.
    """
    exports = [Path(name) for name in models if name is not None and is_export(Path(name))]
    said = _said(exports[0] / RESULT_FILE) if exports else {}
    wording = Wording.of(said).over(system, prompt)
    return said.get("cue", ANSWER_CUE) if cue is None else cue, wording


def _said(path: Path) -> dict[str, str]:
    """The conditions in a report."""
    report = read_json(path, "a report of prune export")
    said = report.get("conditions") if isinstance(report, dict) else None
    if not isinstance(said, dict) or not all(isinstance(text, str) for text in said.values()):
        raise BadInputError(f"{path}: not a report of prune export: no conditions")
    try:
        if template := said.get("prompt"):
            check_template(template)
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from None
    return said


def told_words(sample: Sample) -> dict[str, str]:
    """The cue and the wording of a sample's prompt where they are not the default, by name."""
    cue = {} if sample.cue == ANSWER_CUE else {"cue": sample.cue}
    return {**cue, **sample.wording.given}
