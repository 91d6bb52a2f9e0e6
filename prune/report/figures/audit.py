"""Film strips of the samples whose evidence changed most: dense above, pruned below."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune.report.figures.film import film_strip
from prune.report.figures.style import INK


@dataclass(frozen=True)
class Pairing:
    """One sample of the figure.

    Attributes:
        title: the question, and what each model answered.
        frames: `[T, H, W, 3]`.
        labels: region of each pixel, `[T, H, W]`.
        dense, pruned: the most important regions to each model.
    """

    title: str
    frames: NDArray[np.uint8]
    labels: NDArray[np.int32]
    dense: Sequence[int]
    pruned: Sequence[int]


def audit_figure(pairs: Sequence[Pairing]) -> Figure:
    """Film strips of a few samples, the most important fifth of the clip outlined."""
    count = max(len(pair.frames) for pair in pairs)
    figure = Figure(figsize=(1.25 * count, 3.1 * len(pairs)), layout="constrained")
    for part, pair in zip(
        figure.subfigures(len(pairs), 1, squeeze=False)[:, 0], pairs, strict=True
    ):
        part.suptitle(pair.title.replace("$", r"\$"), fontsize=9.5, color=INK, x=0.01, ha="left")
        axes = part.subplots(2, len(pair.frames), squeeze=False)
        for row, (name, top) in enumerate((("dense", pair.dense), ("pruned", pair.pruned))):
            film_strip(axes[row], pair.frames, pair.labels, top, name)
    return figure
