"""Figures and tables of a lens survey and of its portraits, written to a folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prune.io.csv import write_csv
from prune.io.files import safe_name
from prune.lens.portrait import Portrait, View, word_cells
from prune.lens.query import WORD
from prune.lens.summary import answer_probabilities, exit_layers, word_counts
from prune.lens.survey import Survey
from prune.lens.tables import counts, write_tables
from prune.lens.video import frequencies, layer_bins
from prune.lens.vocabulary import Vocabulary
from prune.report.figures.answer_layers import answer_figure
from prune.report.figures.attention import attention_figure
from prune.report.figures.exits import exits_figure
from prune.report.figures.overlay import overlay_figure
from prune.report.figures.style import save_both
from prune.report.figures.words import words_figure

SURVEY_FIGURES = ("answers", "exits", "words")
"""Names of the figures that `draw_survey` writes, as PNG and SVG."""

TITLES = {"normed": "Final norm after every layer", "raw": "No norm before the last layer"}


def draw_survey(out: Path, seen: Survey, which: str, bin_size: int, min_hits: int) -> None:
    """Write the tables and the figures over samples.

    Args:
        out: the folder of the survey.
        seen: the survey.
        which: `correct`, `wrong` or `all`: the answers that are shown; there must be one.
        bin_size: layers in a bin of the word figure.
        min_hits: words said less often are left out of it.
    """
    records = seen.chosen(which)
    num_layers = seen.header["model"]["num_layers"]
    words = word_counts(records, seen.header["groups"], num_layers)
    write_tables(out, seen, which, words)
    what = _what(seen, which)
    panels, videos = {}, [record["video"] for record in records]
    for reading, title in TITLES.items():
        true, false = answer_probabilities(records, reading)
        panels[title] = {"true option": (true, videos), "false options (mean)": (false, videos)}
    tasks = sorted({record["task"] for record in records})
    by_task = {task: [r for r in records if r["task"] == task] for task in tasks}
    panels["True option by task, final norm"] = {
        task.replace("_", " "): (
            answer_probabilities(rows, "normed")[0], [record["video"] for record in rows]
        )
        for task, rows in by_task.items()
    }  # fmt: skip
    save_both(answer_figure(panels, what), out / "answers")

    first, settled = exit_layers(records, "normed")
    layers = {"first time": first, "from here on": settled}
    figure = exits_figure(layers, num_layers, f"{what}; final norm after every layer")
    save_both(figure, out / "exits")

    bins = layer_bins(num_layers, bin_size)
    share = frequencies(words.hits, bins, min_hits)
    columns = {group: words.of_group(group) for group in words.groups}
    figure = words_figure(
        {g: 100 * words.hits[:, c].sum(1) / words.tokens for g, c in columns.items()},
        {g: share[:, c] for g, c in columns.items()},
        bin_names(bins),
        f"{what}; {_reading(seen.header)}; words with fewer than {min_hits} hits left out",
        {g: [words.words[column][1] for column in c] for g, c in columns.items()},
    )
    save_both(figure, out / "words")


def draw_portrait(
    out: Path,
    portrait: Portrait,
    vocabulary: Vocabulary,
    bin_size: int,
    view: View,
    header: dict[str, Any],
    tokenizer: Any,
) -> Path:
    """Write the overlay, the attention maps and their tables of one sample.

    Args:
        out: the folder of the survey.
        portrait: of the sample.
        vocabulary: the words of the overlay.
        bin_size: layers in a bin of the overlay.
        view: whose attention is drawn.
        header: of the survey.
        tokenizer: the model's.

    Returns:
        The sample's folder below `out`.
    """
    folder = out / "samples" / safe_name(portrait.sample.id)
    folder.mkdir(parents=True, exist_ok=True)
    bins = layer_bins(header["model"]["num_layers"], bin_size)
    what = f"{header['model']['name']}, {portrait.sample.id}"
    cells = word_cells(portrait, vocabulary, bins)
    figure = overlay_figure(
        portrait.frames, portrait.box, cells, vocabulary.words, bin_names(bins),
        f"{what}; {_reading(header)}",
    )  # fmt: skip
    save_both(figure, folder / "overlay")
    write_csv(
        folder / "tokens.csv",
        ("layer", "frame", "row", "column", "rank", "token", "probability"),
        _token_rows(portrait, tokenizer),
    )
    head = view.pool if isinstance(view.pool, str) else view.pool + 1
    removed = f"without {view.pathway.title} in {_layers(view.layers)}"
    for number, (query, maps) in enumerate(portrait.maps.items(), 1):
        heads = f"{head} of heads" if isinstance(view.pool, str) else f"head {head}"
        figure = attention_figure(
            {"dense": maps[0], removed: maps[1]},
            f"{what}; attention of {query.removeprefix(WORD)!r}, {heads}",
        )
        save_both(figure, folder / f"attention-{number}")
    write_csv(
        folder / "attention.csv",
        ("query", "head", "layer", "frame", "row", "column", "dense", "knockout"),
        _attention_rows(portrait, head),
    )
    return folder


def bin_names(bins: Sequence[range]) -> list[str]:
    """Names of bins of layers, such as 1-5."""
    return [f"{b[0]}-{b[-1]}" if len(b) > 1 else f"{b[0]}" for b in bins]


def _what(seen: Survey, which: str) -> str:
    number = counts(seen, which)
    samples = "samples" if which == "all" else f"samples answered {which}ly"
    return (
        f"{seen.header['model']['name']}: {number['shown']} {samples}, of {number['samples']} "
        f"({number['correct']} right, {number['failed']} failed)"
    )


def _reading(header: dict[str, Any]) -> str:
    norm = "final norm" if header["norm"] else "no norm before the last layer"
    return f"video tokens read with the {header['matrix']} matrix, {norm}"


def _layers(layers: Sequence[int]) -> str:
    return f"layers {min(layers) + 1} to {max(layers) + 1}"


def _token_rows(portrait: Portrait, tokenizer: Any) -> Iterator[list[Any]]:
    places = list(_places(portrait))
    for layer, (ids, p) in enumerate(
        zip(portrait.said.ids, portrait.said.probabilities, strict=True)
    ):
        for place, tokens, values in zip(places, ids.tolist(), p.tolist(), strict=True):
            for rank, (token, value) in enumerate(zip(tokens, values, strict=True), 1):
                yield [layer, *place, rank, tokenizer.decode([token]), f"{value:.6g}"]


def _attention_rows(portrait: Portrait, head: str | int) -> Iterator[list[Any]]:
    for query, (dense, knockout) in portrait.maps.items():
        for layer in range(len(dense)):
            for frame, row, column in _places(portrait):
                at = layer, frame - 1, row - 1, column - 1
                weights = f"{dense[at]:.6g}", f"{knockout[at]:.6g}"
                yield [query, head, layer + 1, frame, row, column, *weights]


def _places(portrait: Portrait) -> Iterator[tuple[int, int, int]]:
    """Frame, row and column (1-based) of every video token."""
    grid = portrait.grid
    for frame, cell in zip(grid.frame.tolist(), grid.cell.tolist(), strict=True):
        row, column = divmod(cell, grid.width)
        yield frame + 1, row + 1, column + 1
