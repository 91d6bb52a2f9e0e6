"""`prune recipe`: the settings and the costs of recipes."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import command
from prune.cli.console import out


@command(
    "prune recipe llava-next-7b",
    "reproduce.md",
)
def recipe(
    name: Annotated[
        str | None, typer.Argument(help="A recipe, or a .yaml file (default: all recipes).")
    ] = None,
    model: Annotated[
        str | None, typer.Argument(help="Folder of the recipe's model, to count memory.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="JSONL of its samples, to count all forward passes.")
    ] = None,
) -> None:
    """List the recipes, or show what one does and costs, without running it."""
    from prune.cli.tables.recipe import recipe_lines, recipe_table
    from prune.workflows.recipe_cost import recipe_costs

    costs = recipe_costs(name, model, data)
    out.print(recipe_table(costs))
    out.print(
        "Counted for one sample: forward passes if each knockout were one; whole prompts that "
        "prune runs instead; and passes over the text after the video alone."
    )
    if name is not None:
        out.print("\n" + "\n".join(recipe_lines(costs[0])))
