"""Model inputs for one question about a video or images, prompted as every command prompts."""

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError
from prune.inputs.encode import Clip, check_samples, encode
from prune.inputs.sample import NO_ANSWER, Medium, Sample

_MAX_OPTIONS = len(ascii_uppercase)


def ask(
    processor: Any,
    frames: NDArray[np.uint8] | Clip,
    question: str,
    options: Sequence[str] | None = None,
    medium: Medium = "video",
) -> Any:
    """Model inputs that ask one question about one video, as trace, export and eval ask it.

    Args:
        processor: the model's, as `prune.load` returns it.
        frames: RGB frames `[T, H, W, 3]`, or the pair that `prune.load_video` returns. Pass the
            pair where there is one: some families write the time of each frame into the prompt,
            and without the metadata they assume consecutive frames at their own default rate.
        question: the question, without its options.
        options: the answer options, 2 to 26. The next token is then the letter of the answer.
            Without options the model replies in its own words.
        medium: `image` if the frames are images, which go through the processor's path for images.
            A plan treats each as a frame.

    Returns:
        The processor's `BatchFeature` for a batch of one, for `model(**inputs)` and
        `model.generate(**inputs)`.

    Raises:
        BadInputError: the frames are not `[T, H, W, 3]`, or there are fewer than 2 or more than 26
            options.
        RefusedError: the processor takes no images.
    """
    video, metadata = frames if isinstance(frames, tuple) else (frames, None)
    if video.ndim != 4 or video.shape[-1] != 3 or not len(video):
        raise BadInputError(f"frames of shape {list(video.shape)}: must be [T, H, W, 3]")
    if options is not None and not 2 <= len(options) <= _MAX_OPTIONS:
        raise BadInputError(f"{len(options)} options: give 2 to {_MAX_OPTIONS}, or none")
    if metadata is None:
        metadata = {"total_num_frames": len(video), "frames_indices": list(range(len(video)))}
    files = tuple(Path() for _ in video)
    sample = Sample("", files, question, tuple(options or ()), NO_ANSWER, task="", medium=medium)
    check_samples(processor, [sample], letters=False)
    return encode(processor, [sample], [(video, metadata)])
