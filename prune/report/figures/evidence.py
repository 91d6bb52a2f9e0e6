"""One explanation on a page: frames, map, reply and curves."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from prune.report.figures.film import EVIDENCE, REMOVED, SHOWN, film_strip, heat_strip
from prune.report.figures.headline import headline, is_counter, named_reply, shown_as
from prune.report.figures.reply import height_of, reply_lines
from prune.report.figures.style import COLORS, INK, MUTED, style_axes
from prune.report.numbers import plus

TOP_AREA = 0.1
"""The regions outlined: those that come first, until they cover this share; where another answer
than the model's is explained, those that have to go for it instead."""

WIDTH = 6.0
"""Inches: type is as large as the text around it on a page, and readable on a phone."""

COLUMNS, MANY = 4, 8
"""Frames side by side, and in clips of more than twice `MANY`."""

EDGE, BAR = 0.45, 0.85
"""Margins, and what the colour bar takes on the right, in inches."""

LEGEND = 0.19
"""Height of a line of a legend, in inches."""


def evidence_figure(
    record: Mapping[str, Any],
    frames: NDArray[np.uint8],
    labels: NDArray[np.int32],
    saliency: NDArray[np.floating],
) -> Figure:
    """Draw an explanation.

    Args:
        record: of one sample (`prune.evidence.explain.record_of`).
        frames: `[T, H, W, 3]`.
        labels: region of each pixel, `[T, H, W]`.
        saliency: the attribution map, `[T, H, W]`.
    """
    top = record["order"][: _count(record)]
    caption, color = "evidence", SHOWN
    if is_counter(record) and record.get("causes"):
        top, caption, color = record["causes"][::-1], "the cause", REMOVED
    page = _Page(WIDTH)
    for asked, said in record["turns"]:
        page.say(f"{asked}  →  {said}", 9.5)
    page.say(_question(record), 11.5, "bold")
    about, finding = headline(record, min(len(top), len(record["order"])))
    page.say(about, 9.5)
    page.say(finding, 12)
    page.skip(0.16)
    start = page.down
    rows = page.pictures(frames, captions=(caption, "map"))
    for (film, heat), part in rows:
        known = [{**thing, "boxes": thing["boxes"][part]} for thing in record["objects"]]
        film_strip(
            film, frames[part], labels[part], top, caption, color, ranked=True, objects=known,
            first=part.start,
        )  # fmt: skip
        heat_strip(heat, frames[part], saliency[part], "map")
    page.bar(start)
    page.skip(0.1)
    for line in _objects(record):
        page.say(line, 9)
    page.skip(0.1)
    target = record["target"]["tokens"]
    points = 72 * (page.width - 2 * EDGE)
    texts = named_reply(record)
    reply = page.row(height_of(texts, points) / 72)
    reply_lines(reply, texts, record["modality"]["code"], target, EVIDENCE, points)
    page.skip(0.45)
    if "sources" in record:
        _sources(page, record["sources"], points)
    for draw in (_curves, _options) if record["options"] else (_curves,):
        named = draw(page.row(1.9), record)
        page.skip(0.85 + LEGEND * named)
    return page.figure()


class _Page:
    """A figure that grows downwards; rows are placed in inches."""

    def __init__(self, width: float):
        self.width, self.down = width, 0.12
        self._figure = Figure(figsize=(width, 1))
        self._axes: list[tuple[Axes, tuple[float, float, float, float]]] = []
        self._said: list[tuple[float, str, float, str]] = []

    def skip(self, inches: float) -> None:
        self.down += inches

    def say(self, text: str, size: float, weight: str = "normal") -> None:
        """Text over the whole width, wrapped."""
        for line in wrap(text, int((self.width - 2 * EDGE) * 72 / (0.56 * size))) or [""]:
            self._said.append((self.down, line.replace("$", r"\$"), size, weight))
            self.down += 1.45 * size / 72

    def row(self, height: float) -> Axes:
        """Axes over the whole width."""
        found = self._add(EDGE, self.width - 2 * EDGE, height)
        self.down += height
        return found

    def pictures(
        self, frames: NDArray[np.uint8], captions: Sequence[str]
    ) -> list[tuple[list[list[Axes]], slice]]:
        """Axes for each caption of every few frames: below each other, or side by side if one."""
        shape = frames.shape[1] / frames.shape[2]
        room = self.width - 2 * EDGE - BAR
        if len(frames) == 1:
            each = min(room / len(captions) - 0.1, 3.6 / shape)
            found = [
                [self._add(EDGE + i * (each + 0.25), each, each * shape)]
                for i in range(len(captions))
            ]
            self.down += each * shape
            return [(found, slice(0, 1))]
        columns = min(COLUMNS if len(frames) <= 2 * MANY else MANY, len(frames))
        each = min(room / columns, 2.2)
        parts = []
        for start in range(0, len(frames), columns):
            part = slice(start, min(start + columns, len(frames)))
            both: list[list[Axes]] = []
            for _ in captions:
                self.down += 0.16 if not both else 0.04
                both.append(
                    [
                        self._add(EDGE + i * each, each - 0.05, (each - 0.05) * shape)
                        for i in range(part.stop - start)
                    ]
                )
                self.down += (each - 0.05) * shape
            parts.append((both, part))
        return parts

    def bar(self, start: float) -> None:
        """The colour bar of regions' attribution and words' modality, from `start` to here."""
        height = min(2.4, self.down - start)
        down, self.down = self.down, start
        axes = self._add(self.width - EDGE - 0.62, 0.14, height)
        self.down = down
        bar = self._figure.colorbar(ScalarMappable(cmap=EVIDENCE), cax=axes, ticks=[0, 0.5, 1])
        bar.ax.tick_params(labelsize=8.5, colors=MUTED)
        # Short: of one picture the bar is low.
        bar.set_label("attribution, modality", fontsize=8.5, color=MUTED)
        bar.outline.set_visible(False)

    def _add(self, left: float, width: float, height: float) -> Axes:
        axes = self._figure.add_axes((0, 0, 0.1, 0.1), label=str(len(self._axes)))
        self._axes.append((axes, (left, self.down, width, height)))
        return axes

    def figure(self) -> Figure:
        """The finished figure."""
        total = self.down
        self._figure.set_size_inches(self.width, total)
        for axes, (left, down, width, height) in self._axes:
            axes.set_position(
                (left / self.width, 1 - (down + height) / total, width / self.width, height / total)
            )
        for down, line, size, weight in self._said:
            self._figure.text(
                EDGE / self.width, 1 - down / total, line, fontsize=size, color=INK, va="top",
                fontweight=weight,
            )  # fmt: skip
        return self._figure


OPTIONS = (COLORS[2], COLORS[3], "#8c6d31", "#b5a642", "#5f4b2c", "#c49c94") * 5
SOURCES = {
    "video": ("what is seen", COLORS[4]),
    "history": ("earlier turns", "#b98bb0"),
    "question": ("the question", COLORS[5]),
    "reply": ("its own words", COLORS[6]),
}
"""Names, and colours that mean nothing else here."""


def _sources(page: _Page, found: Mapping[str, Any], points: float) -> None:
    """How much rests on what is seen, on what was said and asked, and on the reply's own words."""
    axes = page.row(0.34)
    style_axes(axes, "What it rests on: shares of p (Shapley)")
    place = {True: found["p"]["nothing"], False: found["p"]["nothing"]}
    for source, share in found["shares"].items():
        name, color = SOURCES[source]
        axes.barh(0, share, left=place[share >= 0], height=0.7, color=color,
                  label=f"{name} {plus(share, 2)}")  # fmt: skip
        place[share >= 0] += share
    axes.axvline(found["p"]["nothing"], color=INK, linewidth=1)
    axes.set(yticks=[], xlim=(min(0.0, place[False]) - 0.02, max(1.0, place[True]) + 0.02))
    page.skip(0.38 + LEGEND * _legend(axes, 0.24))
    words = [p for p in found["pieces"] if p["source"] != "video"]
    for key, title in (
        ("attribution", "Words and regions ordered together (EAGLE)"),
        ("left_out", "Words, each left out alone"),
        ("gradient", "Words, gradient times input"),
    ):
        page.say(title, 9)
        most = max(max(abs(p[key]) for p in found["pieces"]), 1e-9)
        texts = [p["text"] for p in words]
        line = page.row(height_of(texts, points) / 72)
        reply_lines(line, texts, [abs(p[key]) / most for p in words], [], EVIDENCE, points)
        page.skip(0.06)
    page.skip(0.4)


def _objects(record: Mapping[str, Any]) -> list[str]:
    """Which boxes are drawn, and whether the evidence lies in them."""
    labels = {kind: [o["label"] for o in record["objects"] if o["named"] is kind]
              for kind in (True, False)}  # fmt: skip
    drawn = [
        f"{style}: {', '.join(labels[kind])}"
        for kind, style in ((True, "dashed boxes, named"), (False, "dotted boxes, not named"))
        if labels[kind]
    ]
    scores = record["scores"]
    if not drawn:
        return []
    lines = [f"From the data: {'; '.join(drawn)}."]
    if scores.get("point_game") is not None:
        lies = "lies" if scores["point_game"] else "does not lie"
        lines.append(
            f"The map's maximum {lies} in a dashed box; they hold "
            f"{100 * scores['leading_in_boxes']:.0f}% of the first {100 * TOP_AREA:.0f}% of the "
            f"{shown_as(record)}, and cover {100 * scores['boxes_area']:.1f}% of it."
        )
    return lines


def _question(record: Mapping[str, Any]) -> str:
    if record["correct"] is None:
        return str(record["question"])
    verdict = "correct" if record["correct"] else f"incorrect, the answer is {record['answer']}"
    return f"{record['question']}  →  {record['chosen']} ({verdict})"


def _count(record: Mapping[str, Any]) -> int:
    return max(1, int(np.searchsorted(record["curves"]["area"], TOP_AREA)))


def _curves(axes: Axes, record: Mapping[str, Any]) -> int:
    """Draw the target's probability; the lines of the legend below."""
    curves, target = record["curves"], record["target"]["tokens"]
    style_axes(axes, "Probability of what is explained")
    area = 100 * np.array(curves["area"])
    for name, color, label in (
        ("insertion", SHOWN, "shown alone"),
        ("deletion", REMOVED, "removed"),
    ):
        p = np.array(curves[name])[:, target].mean(1)
        score = record["scores"][f"{name}_auc"]
        axes.plot(area, p, color=color, linewidth=1.8, label=f"{label} (AUC {score:.3f})")
    return _share_axis(axes, record)


def _options(axes: Axes, record: Mapping[str, Any]) -> int:
    """Draw the options' probabilities; the lines of the legend below."""
    style_axes(axes, "Options, as regions are shown")
    area = 100 * np.array(record["curves"]["area"])
    p = np.array(record["curves"]["insertion_options"])
    # Blue and red are taken: what is shown, and what is removed.
    for index, (option, color) in enumerate(zip(record["options"], OPTIONS, strict=False)):
        style = "-" if option == record["answer"] else "--"
        axes.plot(area, p[:, index], style, color=color, linewidth=1.6,
                  label=option.replace("$", r"\$")[:40])  # fmt: skip
    return _share_axis(axes, record)


def _share_axis(axes: Axes, record: Mapping[str, Any]) -> int:
    axes.set_xlabel(
        f"share of the {shown_as(record)}, most important regions first (%)",
        fontsize=8.5,
        color=MUTED,
    )
    axes.set_ylim(-0.02, 1.05)
    return _legend(axes, 0.46)


def _legend(axes: Axes, below: float) -> int:
    """Put the legend `below` inches under the axes, where it covers no curve; its lines."""
    figure = axes.get_figure()
    assert figure is not None
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) <= 30 else 1
    axes.legend(
        handles, labels, fontsize=8.5, frameon=False, ncols=columns, loc="upper left",
        bbox_to_anchor=(0, 0), borderaxespad=0,
        bbox_transform=axes.transAxes + ScaledTranslation(0, -below, figure.dpi_scale_trans),
    )  # fmt: skip
    return -(-len(labels) // columns)
