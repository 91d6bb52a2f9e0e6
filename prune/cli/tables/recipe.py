"""Costs of recipes for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table

if TYPE_CHECKING:
    from prune.workflows.recipe_cost import Memory, RecipeCost
    from prune.workflows.recipe_time import TimedPass


def recipe_table(costs: "Sequence[RecipeCost]") -> Table:
    """One recipe per row: its shape, and the forward passes for one sample."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("recipe", "layers", "frames", "knockouts", "passes, plain", "prune", "text"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    for cost in costs:
        recipe, count = cost.recipe, cost.passes
        table.add_row(
            cost.name,
            str(recipe.num_layers),
            str(recipe.num_frames),
            str(count.knockouts),
            str(count.plain),
            f"{count.whole:.1f}",
            f"{count.text:.1f}",
        )
    return table


def recipe_lines(cost: "RecipeCost") -> list[str]:
    """What a recipe reproduces, its samples and their passes, and its memory."""
    lines = [f"{cost.recipe.reproduces.strip()}\n{cost.recipe.note.strip()}".rstrip()]
    if cost.samples is not None:
        count, n = cost.passes, sum(cost.samples.values())
        lines += [f"  {task}: {number} samples" for task, number in cost.samples.items()]
        lines.append(
            f"{n} samples: at most {n * count.plain} plain passes; {n * count.whole:.0f} of prune "
            f"and {n * count.text:.0f} over text. Samples that the recipe leaves out cost one."
        )
    if cost.memory is not None:
        lines.append(_memory_line(cost.memory))
    return lines


def time_line(cost: "RecipeCost", timed: "TimedPass") -> str:
    """The time that a recipe's trace takes here, from one pass."""
    n = sum((cost.samples or {}).values())
    seconds = timed.per_sample(cost.passes)
    total = n * seconds
    spoken = f"{total / 3600:.1f} hours" if total >= 3600 else f"{total / 60:.1f} minutes"
    return (
        f"About {spoken}: {n} samples of {seconds:.1f} s. Estimated from one dense pass of "
        f"{timed.seconds:.2f} s over {timed.tokens} tokens ({timed.text} behind the video) on "
        f"{timed.device}, and the passes above; reading clips comes on top, and batches of "
        "knockouts may take less."
    )


def _memory_line(held: "Memory") -> str:
    recorded = "not known" if held.recorded is None else decimal(held.recorded)
    return (
        f"Memory, counted: {decimal(held.total)} (weights {decimal(held.weights)}, recorded "
        f"states of the video {recorded}, a batch of knockouts at most {decimal(held.batch)}), "
        "and the activations of a layer"
    )
