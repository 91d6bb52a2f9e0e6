"""`prune inspect`: a plan as a grid, with its leaks and savings; or the roles of a prompt."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Cue, Frames, Keep, System, command
from prune.cli.as_json import AsJson, print_json
from prune.cli.console import out
from prune.cli.media import takes_media
from prune.errors import UsageError
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING


@command(
    "prune inspect llava-next-7b",
    "reading-a-report.md",
)
@takes_media
def inspect(
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
    frames: Frames = 8,
    cue: Cue = ANSWER_CUE,
    system: System = None,
    media: Media = DEFAULT_MEDIA,
    as_json: AsJson = False,
) -> None:
    """Draw a plan as a grid, with its dead states, leaks, and savings on long prompts.

    With --prompt, show one prompt of a model, coloured by the roles of its tokens.
    """
    if prompt is None:
        if sample is not None:
            raise UsageError("--sample: give --prompt FILE as well")
        _show_plan(what, keep, as_json)
    elif keep is not None:
        raise UsageError("--keep and --prompt: give one of them")
    else:
        if as_json:
            raise UsageError("--json and --prompt: give one of them")
        from prune.cli.prompt import show_prompt
        from prune.workflows.prompt import roles_of_prompt

        found = roles_of_prompt(
            what,
            prompt,
            sample,
            num_frames=frames,
            cue=cue,
            wording=DEFAULT_WORDING.over(system, None),
            media=media,
        )
        show_prompt(found)


def _show_plan(what: str, keep: str | None, as_json: bool) -> None:
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
                   **plan_facts(shown.reach))  # fmt: skip
        return
    out.print(f"{shown.name}  for {shown.model.name}, {shown.num_layers} layers")
    out.print(plan_grid(shown.reach))
    out.print("\n".join([*liveness_lines(shown.reach), *leak_lines(shown.reach)]))
    out.print(outlook_table(shown.reach))
    out.print(f"sha256 {shown.sha256}")
