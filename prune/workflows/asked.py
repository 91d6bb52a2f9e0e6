"""How an export was asked, read and loaded, which holds where nothing else is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from prune.errors import BadInputError
from prune.inputs.media import DEFAULT_MEDIA, Media
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
    said = _said(models)
    wording = Wording.of(said).over(system, prompt)
    return said.get("cue", ANSWER_CUE) if cue is None else cue, wording


NUM_FRAMES = 8
"""Frames of every clip, where nothing says another number."""


@dataclass(frozen=True)
class Reading:
    """How clips are read, and in what precision a model is loaded.

    Attributes:
        num_frames: of every clip.
        media: how clips are read of which the data says nothing.
        dtype: of the weights, or `auto` for that of the stored ones.
    """

    num_frames: int = NUM_FRAMES
    media: Media = DEFAULT_MEDIA
    dtype: str = "auto"

    @property
    def told(self) -> dict[str, str]:
        """Frames and settings of clips by name, for a report, from which `read_as` takes them."""
        own = {_told(name): str(value) for name, value in self.media.given.items()}
        return {"frames": str(self.num_frames), **own}


def read_as(
    models: Sequence[str | Path | None],
    num_frames: int | None = None,
    media: Media = DEFAULT_MEDIA,
    dtype: str | None = None,
) -> Reading:
    """What is given, else how the first export's clips were read and its model was loaded.

    Args:
        models: names of models; those that are no exports say nothing.
        num_frames, media, dtype: see `Reading`; what they say wins.

    Raises:
        BadInputError: the export's report cannot be read.
    """
    said = _said(models)
    return Reading(
        num_frames or int(said.get("frames", NUM_FRAMES)),
        media.over(_media(said)),
        dtype or said.get("dtype", "auto"),
    )


def _told(name: str) -> str:
    return name.replace("_", " ")


def _media(said: Mapping[str, str]) -> Media:
    kinds = {"sampling": str, "fps": float, "frame_rate": float}
    found = {field.name: said.get(_told(field.name)) for field in fields(Media)}
    return Media(
        **{name: kinds.get(name, int)(text) for name, text in found.items() if text is not None}
    )


def _said(models: Sequence[str | Path | None]) -> dict[str, str]:
    """The conditions in the report of the first export; none without one."""
    exports = [Path(name) for name in models if name is not None and is_export(Path(name))]
    if not exports:
        return {}
    path = exports[0] / RESULT_FILE
    report = read_json(path, "a report of prune export")
    said = report.get("conditions") if isinstance(report, dict) else None
    if not isinstance(said, dict) or not all(isinstance(text, str) for text in said.values()):
        raise BadInputError(f"{path}: not a report of prune export: no conditions")
    try:
        if template := said.get("prompt"):
            check_template(template)
        _media(said)
        int(said.get("frames", NUM_FRAMES))
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from None
    return said


def told_words(sample: Sample) -> dict[str, str]:
    """The cue and the wording of a sample's prompt where they are not the default, by name."""
    cue = {} if sample.cue == ANSWER_CUE else {"cue": sample.cue}
    return {**cue, **sample.wording.given}
