"""Flips: samples that a dense and a pruned model answer differently, with their questions."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.errors import BadInputError
from prune.inputs.encode import decode
from prune.inputs.samples import Sample
from prune.results.answer import Answer
from prune.results.flips import Flip, FlipDetail

TOLD, PICTURED = 100, 8
"""Flips that are listed with question and options, and how many of those with frames."""

WIDTH, QUALITY = 96, 70
"""Of a frame, in pixels, and of its JPEG."""

MOST_FRAMES = 8
MOST_BYTES = 200 * 1024
"""Of all frames together, encoded."""


def flips(dense: Sequence[Answer], pruned: Sequence[Answer]) -> tuple[Flip, ...]:
    """The flips among answers to the same samples, worst first.

    Those that became incorrect come first and those that became correct last; within each group, by
    the pruned model's confidence.
    """
    found = [
        Flip(a.id, a.task, a.true, a.choice, b.choice, _rounded(a.p_options), _rounded(b.p_options))
        for a, b in zip(dense, pruned, strict=True)
        if a.choice != b.choice
    ]
    return tuple(sorted(found, key=lambda f: (f.won - f.lost, -f.confidence, f.id)))


def _rounded(p: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in p)


def flip_details(
    flipped: Sequence[Flip], samples: Sequence[Sample], num_frames: int
) -> tuple[FlipDetail, ...]:
    """Question, options and frames of the first flips, in their order.

    Args:
        flipped: worst first.
        samples: all that were answered.
        num_frames: of each clip; at most 8 of them are shown, evenly spread.
    """
    by_id = {sample.id: sample for sample in samples}
    left, told = MOST_BYTES, []
    for number, flip in enumerate(flipped[:TOLD]):
        sample = by_id[flip.id]
        frames = _frames(sample, num_frames) if number < PICTURED else ()
        size = sum(map(len, frames))
        frames = frames if size <= left else ()
        left -= size if frames else 0
        told.append(FlipDetail(sample.id, sample.question, sample.options, frames))
    return tuple(told)


def _frames(sample: Sample, num_frames: int) -> tuple[str, ...]:
    try:
        clip, _ = decode(sample, num_frames)
    except (
        BadInputError
    ):  # it was readable when it was answered: the question alone is still useful
        return ()
    chosen = np.linspace(0, len(clip) - 1, min(MOST_FRAMES, len(clip))).round().astype(int)
    return tuple(_jpeg(clip[index]) for index in chosen)


def _jpeg(frame: NDArray[np.uint8]) -> str:
    """A frame `[H, W, 3]` as a small JPEG in a data URI."""
    height, width = frame.shape[:2]
    size = (WIDTH, max(1, round(height * WIDTH / width)))
    buffer = io.BytesIO()
    Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS).save(
        buffer, "JPEG", quality=QUALITY, optimize=True
    )
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
