"""How clips are read, as options of a command."""

from typing import Annotated, Any

import typer

from prune.cli.grouped import grouped
from prune.errors import UsageError
from prune.inputs.media import Media
from prune.workflows.options import Sampling

_OPTIONS = {
    "sampling": Annotated[
        Sampling | None,
        typer.Option(help="Frames taken; fps with --fps (default: uniform)."),
    ],
    "fps": Annotated[
        float | None,
        typer.Option(help="Frames taken per second, --frames at most (implies --sampling fps)."),
    ],
    "frame_rate": Annotated[
        float | None,
        typer.Option(help="Frames per second of folders and lists of images (default: 25)."),
    ],
    "min_pixels": Annotated[
        int | None, typer.Option(help="Least pixels of the processor's size (Qwen, GLM-4V).")
    ],
    "max_pixels": Annotated[
        int | None, typer.Option(help="Most pixels of the processor's size (Qwen, GLM-4V).")
    ],
}
MEDIA = (*_OPTIONS,)
"""Their names, as parameters of a command."""


def _media(sampling: Sampling | None, **values: Any) -> Media:
    try:
        return Media(None if sampling is None else sampling.value, **values)
    except ValueError as error:
        raise UsageError(str(error)) from None


takes_media = grouped("media", {name: (kind, None) for name, kind in _OPTIONS.items()}, _media)
"""Give a command these options in place of its parameter `media`; what its data says wins."""
