"""The panels of a flow, side by side."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

MAX_COLUMNS = 3


def panel_grid(count: int, width: float, height: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of `width` x `height` inches: four as a square, else by threes.

    Args:
        count, width, height: of the panels.
        shared: `sharex`, `sharey` of `Figure.subplots`.
    """
    columns = 2 if count == 4 else min(MAX_COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    places = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for axes in places[count:]:
        axes.set_visible(False)
    return figure, places[:count]
