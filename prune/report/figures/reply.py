"""A reply whose words are coloured by their source, text or video."""

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

from prune.report.figures.style import COLORS, INK

PRIOR_TO_EVIDENCE = LinearSegmentedColormap.from_list("modality", ["#dbe6f5", "#f1f3f5", "#f7c6cc"])
"""Blue: from the text alone. Red: depends on the video."""


def reply_line(
    axes: Axes, texts: Sequence[str], modality: Sequence[float], target: Sequence[int]
) -> None:
    """Write the tokens in a row, each on the colour of its modality score; targets are bold.

    Args:
        axes: emptied.
        texts: of the K tokens.
        modality: `[K]`, in [0, 1] (the area form, `prune.evidence.curves.modality`).
        target: indices of the tokens that are explained.
    """
    axes.axis("off")
    boxes: list[Artist] = [
        TextArea(
            text.replace("\n", "↵").replace("$", r"\$") or " ",
            textprops={
                "fontsize": 11,
                "color": INK,
                "fontweight": "bold" if index in target else "normal",
                "bbox": {
                    "facecolor": PRIOR_TO_EVIDENCE(min(1.0, max(0.0, score))),
                    "edgecolor": COLORS[1] if index in target else "none",
                    "boxstyle": "round,pad=0.25",
                },
            },
        )
        for index, (text, score) in enumerate(zip(texts, modality, strict=True))
    ]
    row = HPacker(children=boxes, align="center", pad=0, sep=9)
    axes.add_artist(AnchoredOffsetbox("center left", child=row, pad=0, frameon=False))
