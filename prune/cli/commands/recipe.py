"""`prune recipe`: what the recipes do, and what they cost to run."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.table import Table

from prune.cli.app import app
from prune.cli.console import out


@app.command()
def recipe(
    name: Annotated[str | None, typer.Argument(help="One recipe, or a .yaml.")] = None,
    model: Annotated[
        str | None, typer.Argument(help="The folder of its model: counts the memory.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Its JSONL: counts the samples and all forward passes.")
    ] = None,
) -> None:
    """List the recipes; or say what one does and what it costs, without running it."""
    from prune.inputs.samples import load_samples
    from prune.workflows.recipe import read_recipe, recipe_names
    from prune.workflows.recipe_cost import memory, passes

    names = [name] if name else recipe_names()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("recipe", "layers", "frames", "knockouts", "passes, plain", "prune", "text"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    for each in names:
        found = read_recipe(each)
        count = passes(found)
        table.add_row(
            Path(each).name.removesuffix(".yaml"),
            str(found.num_layers),
            str(found.num_frames),
            str(count.knockouts),
            str(count.plain),
            f"{count.whole:.1f}",
            f"{count.text:.1f}",
        )
    out.print(table)
    out.print(
        "Of one sample, counted: forward passes if each knockout were one; whole prompts that "
        "prune runs instead; and passes over the text after the video alone."
    )
    if name is None:
        return
    found = read_recipe(name)
    out.print(f"\n{found.reproduces.strip()}\n{found.note.strip()}".rstrip())
    if data is not None:
        tasks = Counter(s.task for s in load_samples(data) if s.task in found.tasks)
        for task in found.tasks:
            out.print(f"  {task}: {tasks[task]} samples")
        count, n = passes(found), tasks.total()
        out.print(
            f"{n} samples: at most {n * count.plain} plain passes; {n * count.whole:.0f} of prune "
            f"and {n * count.text:.0f} over text. Samples that the recipe leaves out cost one."
        )
    if model is not None:
        held = memory(found, model)
        recorded = "not known" if held.recorded is None else decimal(held.recorded)
        out.print(
            f"Memory, counted: {decimal(held.total)} (weights {decimal(held.weights)}, recorded "
            f"states of the video {recorded}, a batch of knockouts at most {decimal(held.batch)}), "
            "and the activations of a layer"
        )
