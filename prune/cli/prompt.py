"""A prompt on the terminal, coloured by the roles of its tokens."""

from pathlib import Path

from prune.cli.console import out
from prune.cli.tables.prompt import legend_table, prompt_table
from prune.errors import UsageError
from prune.inputs.media import Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING
from prune.workflows.prompt import RolesOfPrompt, roles_of_prompt
from prune.workflows.recipe import read_recipe


def show_prompt(prompt: RolesOfPrompt) -> None:
    """Print a prompt part by part, with a legend, and why a plan leaves it dense if it does."""
    out.print(prompt_table(prompt))
    if prompt.known:
        out.print(legend_table(prompt))
    if prompt.dense:
        out.print(f"A plan leaves this prompt dense: {prompt.dense}.")


def show(
    model: str | None,
    data: Path,
    recipe: str | None,
    frames: int | None,
    cue: str | None,
    system: str | None,
    prompt: str | None,
    media: Media,
) -> None:
    """Print the first sample as `prune trace` with these options will ask it."""
    followed = read_recipe(recipe) if recipe is not None else None
    name = model or (followed.model if followed else None)
    if name is None:
        raise UsageError("the recipe names no model: give MODEL" if followed else "give MODEL")
    found = roles_of_prompt(
        name,
        data,
        num_frames=frames or (followed.num_frames if followed else 8),
        cue=(followed.cue if followed else ANSWER_CUE) if cue is None else cue,
        wording=(followed.wording if followed else DEFAULT_WORDING).over(system, prompt),
        media=media.over(followed.media) if followed else media,
    )
    show_prompt(found)
