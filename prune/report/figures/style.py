"""The style that all figures share: colours, axes and output formats."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from prune.layout.pathways import INTRA_FRAME, TRACED

COLORS = ("#3b6fb6", "#d1495b", "#2a9d74", "#e09f3e", "#7d5ba6", "#6b7280", "#159fb3")
MORE = (
    "#8c564b", "#b5a642", "#d67bb5", "#1b4965", "#8fb339", "#7a0f40", "#ff7f51", "#8d8d6c",
    "#6b4c2a",
)  # fmt: skip
"""Of curves beyond those, of pathways that Map the Flow has not."""

INK, MUTED, GRID, PALE = "#1f2933", "#7b8794", "#e4e7eb", "#cbd2d9"


def distinct(count: int) -> tuple[str, ...]:
    """Distinct colours for `count` curves of one panel."""
    if count <= len(COLORS):
        return COLORS[:count]
    return tuple(to_hex(colormaps["turbo"]((i + 0.5) / count)) for i in range(count))


def by_pathway(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each curve of a figure; a traced pathway has the same one everywhere."""
    titles = dict.fromkeys(pathway.title for pathway in (*TRACED, INTRA_FRAME))
    known = dict(zip(titles, (*COLORS, *MORE), strict=True))
    fixed = {label: known[label] for label in labels if label in known}
    others = [label for label in labels if label not in known]
    free = [color for color in (*COLORS, *MORE) if color not in fixed.values()]
    if len(others) > len(free):
        free = list(distinct(len(others)))
    return {**fixed, **dict(zip(others, free, strict=False))}


def style_axes(axes: Axes, title: str) -> None:
    """Title, spines, ticks and grid of one panel."""
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8.5)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, an SVG or a PDF, by the file's name; equal figures give equal bytes."""
    if path.suffix == ".svg":
        path.write_bytes(_svg_bytes(figure))
    elif path.suffix == ".pdf":
        figure.savefig(path, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    else:
        figure.savefig(path, dpi=160, metadata={"Software": None})


def save_both(figure: Figure, path: Path) -> None:
    """Write a PNG and, under the same name, an SVG."""
    for suffix in (".png", ".svg"):
        save_figure(figure, path.with_suffix(suffix))


def svg(figure: Figure) -> str:
    """The figure as a data URI that an `img` element shows."""
    return "data:image/svg+xml;base64," + base64.b64encode(_svg_bytes(figure)).decode()


def _svg_bytes(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "prune"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
