"""Chat requests of OpenAI's interface about the videos of samples, each with its clip inside."""

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError
from prune.inputs.encode import decode, question_of
from prune.inputs.sample import Sample
from prune.inputs.video import write_video

RATE = 2
"""Frames per second of the clips: as many as vLLM's loaders take."""

Message = dict[str, Any]


def chats(
    samples: Sequence[Sample], num_frames: int, numbers: Sequence[int]
) -> list[list[Message]]:
    """The requests of these numbers, no two of which show the same pixels.

    Request n is about sample n modulo their number. Where that comes around, its frames are
    shifted sideways by a column, so that a server finds no clip in a cache of its own.

    Args:
        samples: with videos.
        num_frames: of each clip.
        numbers: of the requests.

    Returns:
        The messages of each.

    Raises:
        BadInputError: a clip cannot be read, or shows images.
    """
    found = []
    for number in numbers:
        turn, index = divmod(number, len(samples))
        sample = samples[index]
        if sample.medium == "image":
            raise BadInputError(f"{sample.id}: shows images: a load is of videos")
        frames = np.roll(decode(sample, num_frames)[0], turn, axis=2)
        found.append(messages(sample, data_url(frames)))
    return found


def messages(sample: Sample, url: str) -> list[Message]:
    """A sample's conversation, its video first, in the words of every command."""
    video = {"type": "video_url", "video_url": {"url": url}}
    asked = [*(user for user, _ in sample.turns), question_of(sample).text]
    said: list[Message] = []
    if sample.wording.system:
        said.append({"role": "system", "content": sample.wording.system})
    for index, text in enumerate(asked):
        shown = [] if index else [video]
        said.append({"role": "user", "content": [*shown, {"type": "text", "text": text}]})
        if index < len(sample.turns):
            said.append({"role": "assistant", "content": sample.turns[index][1]})
    return said


def data_url(frames: NDArray[np.uint8]) -> str:
    """RGB frames `[T, H, W, 3]` as an MP4 in a URL; an odd last row or column is left out."""
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        write_video(path, even, RATE)
        return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
