"""Text in wrapped lines, each word on the colour of a score."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from prune.report.figures.style import INK

SIZE, LINE, GAP = 10.0, 19.0, 2.5
"""Font size, height of a line and gap between words, in points."""


@dataclass(frozen=True)
class Placed:
    """A word: its text, and where it lies in points from the upper left."""

    text: str
    x: float
    line: int
    width: float


def wrapped(texts: Sequence[str], width: float) -> list[Placed]:
    """Words in lines of at most `width` points; a word wider than that is cut short."""
    found, x, line = [], 0.0, 0
    for text in texts:
        shown = text.replace("\n", "↵").replace("\t", " ")
        size = _width(shown)
        while size > width and len(shown) > 2:
            shown = shown[: max(1, len(shown) * 2 // 3)] + "…"
            size = _width(shown)
        if x and x + size > width:
            x, line = 0.0, line + 1
        found.append(Placed(shown, x, line, size))
        x += size + GAP
    return found


def height_of(texts: Sequence[str], width: float) -> float:
    """Points that the lines of `wrapped` take."""
    placed = wrapped(texts, width)
    return LINE * (placed[-1].line + 1 if placed else 1)


def reply_lines(
    axes: Axes,
    texts: Sequence[str],
    scores: Sequence[float | None],
    framed: Sequence[int],
    colors: Colormap,
    width: float,
) -> None:
    """Write words in lines, each on the colour of its score; framed ones are bold.

    Args:
        axes: emptied; as wide as `width` and as high as `height_of`.
        texts: of the K words.
        scores: `[K]` in [0, 1]; None leaves a word white.
        framed: indices of the words that are explained.
        colors: of scores.
        width: of the axes, in points.
    """
    axes.axis("off")
    placed = wrapped(texts, width)
    axes.set(xlim=(0, width), ylim=(LINE * (placed[-1].line + 1 if placed else 1), 0))
    for index, (word, score) in enumerate(zip(placed, scores, strict=True)):
        marked = index in framed
        fill = (1, 1, 1, 1) if score is None else colors(min(1.0, max(0.0, score)))
        dark = 0.3 * fill[0] + 0.6 * fill[1] + 0.1 * fill[2] < 0.45
        axes.add_patch(
            Rectangle(
                (word.x, word.line * LINE + 1.5), word.width, LINE - 3,
                facecolor=fill, edgecolor=INK if marked else "none", linewidth=1.4,
            )
        )  # fmt: skip
        axes.text(
            word.x + word.width / 2, (word.line + 0.5) * LINE, word.text.replace("$", r"\$"),
            fontsize=SIZE, color="white" if dark else INK, ha="center", va="center",
            fontweight="bold" if marked else "normal",
        )  # fmt: skip


def _width(text: str) -> float:
    """Points that a bold word takes, with the spaces at its ends and a margin."""
    font = FontProperties(size=SIZE, weight="bold")
    both, frame = (
        text_to_path.get_text_width_height_descent(part, font, ismath=False)[0]
        for part in (f"|{text}|", "||")
    )
    return float(both - frame) + 5.0
