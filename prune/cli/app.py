"""The application, the arguments that several commands share, and the exit of failed samples."""

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from prune.cli.described import Group
from prune.cli.described import command as described
from prune.errors import SamplesFailedError, UsageError
from prune.inputs.max_failed import MAX_FAILED, check_failed
from prune.inputs.templates import check_template
from prune.plan.model_id import Positions as Rule
from prune.workflows.options import PathwaySet

app = typer.Typer(
    cls=Group,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done; 2 wrong arguments; 3 bad input; 4 refused; 5 done, but some "
    "samples failed; 6 out of memory or disk; 7 NaN or infinity; 8 a check failed; 9 too many "
    "samples failed; 10 a threshold that you set was missed; 70 a defect of prune; "
    "130 interrupted; 143 terminated.\n\nPages: docs/, first docs/quick-start.md",
    help="Make a video language model cheaper by removing the attention edges it does not need.\n\n"
    "Start with [bold]prune demo[/bold]: it traces, prunes and reports on a small real model.",
)

command = partial(described, app)
"""Register a command: `@command(EXAMPLE, PAGE)`."""

MODEL_HELP = (
    "A transformers folder, a hub id, [bold]tiny[/bold], [bold]tiny-deep[/bold] or "
    "[bold]tiny-ov[/bold]."
)

Model = Annotated[str, typer.Argument(help=MODEL_HELP)]
Run = Annotated[Path, typer.Argument(help="Run folder of [bold]prune trace[/bold].")]
TracedModel = Annotated[str | None, typer.Option(help="The model (default: the traced one).")]
Cue = Annotated[
    str, typer.Option(help="What a prompt ends with; the model then says the option's letter.")
]
OwnCue = Annotated[
    str | None,
    typer.Option(
        "--cue", help="What a prompt ends with (default: as traced or exported, or the recipe's)."
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        help="A plan: the layers in which pathways are kept, such as "
        "'cross_frame=6-15; video->question,options=6-20; video->last=none' (from 1)."
    ),
]
System = Annotated[
    str | None,
    typer.Option(
        help="System prompt in front of the video (default: as traced or exported, the recipe's, "
        "or the chat template's)."
    ),
]


def _template(text: str | None) -> str | None:
    """A template of `--prompt`, in which a shell's `\\n` is a line's end."""
    if text is None:
        return None
    text = text.replace("\\n", "\n")
    try:
        check_template(text)
    except ValueError as error:
        raise UsageError(f"--{error}") from None
    return text


Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        callback=_template,
        help="Your own words: a template with {question} and {options}, or {options:A.} for "
        "options A., B., ... (default: as traced or exported, the recipe's, or Map the Flow's).",
    ),
]
Frames = Annotated[int, typer.Option(min=1, help="Frames sampled from every clip.")]
OwnFrames = Annotated[
    int | None,
    typer.Option(
        "--frames", min=1, help="Frames sampled from every clip (default: as exported, or 8)."
    ),
]
Data = Annotated[Path, typer.Option(help="JSONL: id, video, question, options, answer, task.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only N samples, spread over tasks and videos.")
]
Tasks = Annotated[str | None, typer.Option(help="Only these tasks, with commas between them.")]
PerTask = Annotated[int | None, typer.Option(min=1, help="Only N samples of each task.")]
DrawSeed = Annotated[int, typer.Option("--seed", help="Which samples --limit and --per-task draw.")]
MaxFailed = Annotated[
    str, typer.Option(help="Failed samples that are too many, as a number or a share: exit code 9.")
]
Sets = Annotated[
    list[PathwaySet] | None,
    typer.Option("--set", help="Pathways by the name of their set; repeat for more."),
]
Pathways = Annotated[
    list[str] | None,
    typer.Option(
        help="What to knock out, such as 'video->question,options'; 'a->b + c->d' "
        "is cut together; 'freeze:video' freezes states from a layer on; repeat for more."
    ),
]
Window = Annotated[
    int | None, typer.Option(min=1, help="Layers knocked out together (default: 9 of 32).")
]


Positions = Annotated[
    Rule | None,
    typer.Option(
        help="Whose rule places text behind a clip in Qwen2-VL and Qwen2.5-VL (default: "
        "transformers, or as the trace or plan was made); vllm for what vLLM will serve."
    ),
]


def command_line() -> str:
    """The command as it was typed, for reports."""
    return shlex.join(["prune", *sys.argv[1:]])


def names(text: str | None) -> list[str] | None:
    """The names in an option's value, with commas between them."""
    return None if text is None else text.split(",")


def report_failed(
    failed: dict[str, str], total: int | None = None, limit: str = MAX_FAILED
) -> None:
    """End with exit code 5 if samples failed, after everything else was printed.

    Args:
        failed: the reason by id of each failed sample.
        total: number of samples, the failed ones included; None sets no limit.
        limit: see `prune.inputs.max_failed.check_failed`.

    Raises:
        SamplesFailedError: samples failed; each of them is named.
        TooManyFailedError: more failed than the limit allows.
    """
    if total is not None:
        check_failed(failed, total, limit)
    if failed:
        lines = "".join(f"\n  {name}: {reason}" for name, reason in failed.items())
        raise SamplesFailedError(f"{len(failed)} samples could not be used:{lines}")
