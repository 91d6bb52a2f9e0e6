"""`prune inspect`: a plan as a grid, with its leaks and savings; or the roles of a prompt."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Cue, Keep, System, command
from prune.cli.as_json import AsJson, print_json
from prune.cli.console import out
from prune.cli.frames import counts_of
from prune.cli.media import MEDIA, takes_media
from prune.cli.needless import refuse
from prune.errors import UsageError
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING


@command(
    "prune inspect llava-next-7b",
    "reading-a-report.md",
)
@takes_media
def inspect(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            help="A plan file, a preset's name, an exported folder or a run folder; with --prompt "
            "or --keep a model."
        ),
    ],
    keep: Keep = None,
    prompt: Annotated[
        Path | None,
        typer.Option(help="JSONL of questions, or .json of chat messages: show a prompt's roles."),
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="With --prompt: id of the question (default: the first).")
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help="Frames of prompts on which savings are counted, or of the clip with --prompt "
            "(default: 8,64, or 8 with --prompt).",
        ),
    ] = None,
    cue: Cue = ANSWER_CUE,
    system: System = None,
    media: Media = DEFAULT_MEDIA,
    as_json: AsJson = False,
) -> None:
    """Draw a plan as a grid, with its dead states, leaks, and savings on long prompts.

    With --prompt, show one prompt of a model, coloured by the roles of its tokens.
    """
    counts = counts_of(frames)
    if prompt is None:
        refuse(context, ("sample", "cue", "system", *MEDIA), "give --prompt FILE as well")
        _show_plan(what, keep, counts or (8, 64), as_json)
    elif keep is not None:
        raise UsageError("--keep and --prompt: give one of them")
    else:
        if as_json:
            raise UsageError("--json and --prompt: give one of them")
        num_frames, *more = counts or (8,)
        if more:
            raise UsageError(f"--frames {frames} and --prompt: give one number")
        from prune.cli.prompt import show_prompt
        from prune.workflows.prompt import roles_of_prompt

        found = roles_of_prompt(
            what,
            prompt,
            sample,
            num_frames=num_frames,
            cue=cue,
            wording=DEFAULT_WORDING.over(system, None),
            media=media,
        )
        show_prompt(found)


def _show_plan(what: str, keep: str | None, frames: tuple[int, ...], as_json: bool) -> None:
    from prune.cli.tables.plan import (
        leak_lines,
        liveness_lines,
        outlook_table,
        plan_facts,
        plan_grid,
    )
    from prune.workflows.named_plan import named_plan

    shown = named_plan(what, keep)
    if as_json:
        print_json("inspect", name=shown.name, sha256=shown.sha256, model=shown.model.name,
                   **plan_facts(shown.reach, frames))  # fmt: skip
        return
    out.print(f"{shown.name}  for {shown.model.name}, {shown.num_layers} layers")
    out.print(plan_grid(shown.reach))
    out.print("\n".join([*liveness_lines(shown.reach), *leak_lines(shown.reach)]))
    out.print(outlook_table(shown.reach, frames))
    out.print(f"sha256 {shown.sha256}")
