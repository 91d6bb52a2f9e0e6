"""A portrait of one sample: the words of its patches, and what its question words read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.checkpoint.load import LoadedModel
from prune.inputs.encode import Clip, decode, encode
from prune.inputs.samples import Sample
from prune.inputs.visible import Box, visible_box
from prune.inputs.written import recall
from prune.layout.grid import Grid, grid_of, shown_frame
from prune.layout.knockout_tables import tell_options_apart
from prune.layout.pathways import Pathway
from prune.lens.attention import Pool, attention_rows, pooled
from prune.lens.query import query_rows
from prune.lens.states import Lens, visit_states
from prune.lens.survey import SurveySettings
from prune.lens.video import VideoWords
from prune.lens.vocabulary import Vocabulary
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture


@dataclass(frozen=True)
class View:
    """Which attention is shown.

    Attributes:
        queries: words or positions of the prompt (`prune.lens.query`).
        pathway: what is removed for the second map.
        layers: where (0-based).
        pool: how heads become one.
    """

    queries: Sequence[str]
    pathway: Pathway
    layers: Sequence[int]
    pool: Pool = "mean"


@dataclass(frozen=True)
class Portrait:
    """Words and attention maps of one sample.

    Attributes:
        frames: the decoded frame that each temporal unit shows first, `[T, H, W, 3]`.
        box: the part of them that the model sees.
        grid: where the video tokens are.
        said: the likeliest tokens of the video tokens.
        maps: for each query the attention weights on every cell, dense and under the knockout,
            `[2, L, T, h, w]`.
    """

    sample: Sample
    frames: NDArray[np.uint8]
    box: Box
    grid: Grid
    said: VideoWords
    maps: dict[str, NDArray[np.float64]]


def portray(
    opened: LoadedModel, sample: Sample, settings: SurveySettings, view: View, k: int = 5
) -> Portrait:
    """Compute the portrait of one sample.

    Args:
        opened: the model, dense.
        sample: what it is asked.
        settings: how video tokens are read.
        view: which attention is looked at.
        k: likeliest tokens kept of every video token.

    Raises:
        BadInputError: the clip cannot be decoded, or its tokens are no grid.
        NumericError: a state is NaN or infinite.
        UsageError: the prompt has no such query.
    """
    clip = decode(sample, settings.num_frames)
    inputs = encode(opened.processor, [sample], [clip])
    replay = capture(opened.model, opened.processor, inputs)
    with seam(opened.model):
        return portray_clip(opened, sample, settings, view, clip, inputs, replay, k)


def portray_clip(
    opened: LoadedModel,
    sample: Sample,
    settings: SurveySettings,
    view: View,
    clip: Clip,
    inputs: Any,
    replay: Replay,
    k: int = 5,
) -> Portrait:
    """`portray` a captured prompt, inside `prune.runtime.attention.seam`.

    Args:
        opened, sample, settings, view, k: as in `portray`.
        clip: the sample's decoded clip.
        inputs: its encoded prompt, a batch of one.
        replay: the captured prompt.
    """
    model, processor = opened.model, opened.processor
    spans = recall(inputs["input_ids"][0].tolist())
    grid = grid_of(processor, inputs, replay.segments)
    queries = {q: query_rows(processor, inputs, replay.segments, q) for q in view.queries}
    lens = Lens(model, replay.text_model, settings.norm, settings.matrix)
    said = VideoWords(lens, grid.position, k)
    maps = {}
    visit_states(replay, said)
    told = replace(replay, segments=tell_options_apart(replay.segments, sample.answer, spans))
    for query, rows in queries.items():
        runs = (attention_rows(told, rows),
                attention_rows(told, rows, view.pathway, view.layers))  # fmt: skip
        cells = [grid.spread(pooled(run, view.pool)[:, grid.position]) for run in runs]
        maps[query] = np.stack([cell.double().numpy() for cell in cells])
    shown = [shown_frame(t, grid.num_frames, len(clip[0])) for t in range(grid.num_frames)]
    box = visible_box(processor, *clip[0].shape[1:3])
    return Portrait(sample, clip[0][shown], box, grid, said, maps)


def word_cells(
    portrait: Portrait, vocabulary: Vocabulary, bins: Sequence[range]
) -> NDArray[np.int64]:
    """The word that each cell says most often in every bin of layers, or -1: `[bins, T, h, w]`."""
    words = portrait.said.words(vocabulary)
    grid = portrait.grid
    cells = np.full((len(bins), grid.num_frames, grid.height * grid.width), -1)
    for row, layers in enumerate(bins):
        for token, said in enumerate(words[list(layers)].T):
            if (said >= 0).any():
                often = np.bincount(said[said >= 0]).argmax()
                cells[row, grid.frame[token], grid.cell[token]] = often
    return cells.reshape(len(bins), grid.num_frames, grid.height, grid.width)
