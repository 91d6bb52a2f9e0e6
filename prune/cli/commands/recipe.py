"""`prune recipe`: the settings and the costs of recipes."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import command
from prune.cli.console import out
from prune.cli.loading import Device, Dtype
from prune.errors import UsageError


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
    timed: Annotated[
        bool,
        typer.Option(
            "--time", help="With NAME, MODEL and --data: run one pass, and give the hours of all."
        ),
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """List the recipes, or show what one does and costs, without running it."""
    if timed and (name is None or model is None or data is None):
        raise UsageError("--time: give NAME, MODEL and --data FILE as well")
    if not timed and (device is not None or dtype is not None):
        raise UsageError("--device, --dtype: give --time as well")
    from prune.cli.tables.recipe import recipe_lines, recipe_table, time_line
    from prune.workflows.recipe_cost import recipe_costs
    from prune.workflows.recipe_time import time_pass

    costs = recipe_costs(name, model, data)
    out.print(recipe_table(costs))
    out.print(
        "Counted for one sample: forward passes if each knockout were one; whole prompts that "
        "prune runs instead; and passes over the text after the video alone."
    )
    if name is not None:
        out.print("\n" + "\n".join(recipe_lines(costs[0])))
    if timed and model is not None and data is not None:
        out.print(
            time_line(costs[0], time_pass(costs[0].recipe, model, data, device, dtype or "auto"))
        )
