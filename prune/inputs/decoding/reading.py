"""Reading of one request: its clip's sampled frames and their metadata."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError
from prune.inputs.decoding.clip import Clip, ImageClip, VideoClip, image_files
from prune.inputs.decoding.request import Request
from prune.inputs.decoding.sampling import POLICIES
from prune.inputs.decoding.timeline import Timeline


@dataclass(frozen=True)
class Reading:
    """Sampled frames on their way to the caller.

    Attributes:
        slots: T indices into `pictures`; a frame that is shown longer fills several.
        height, width: size of the pictures.
        metadata: what transformers' `VideoMetadata` holds.
        pictures: RGB `[H, W, 3]`, decoded one by one.
    """

    slots: list[int]
    height: int
    width: int
    metadata: dict[str, Any]
    pictures: Iterator[NDArray[np.uint8]]


def read(request: Request) -> Reading:
    """Sample a clip and begin to decode it.

    Raises:
        BadInputError: it cannot be read, or exceeds a limit.
    """
    clip = _clip(request)
    clock, (start, end) = clip.timeline, (request.start, request.end)
    sampled = POLICIES[request.sampling](clock, request.num_frames, start, end, request.fps)
    wanted = sorted(set(sampled))
    pictures = clip.pictures(wanted)
    first = next(pictures)
    height, width = first.shape[:2]
    size = len(sampled) * first.nbytes
    if size > request.limits.output:
        raise BadInputError(
            f"{len(sampled)} frames of {width}x{height} take {size >> 20} MiB: too large to decode"
        )
    about = _metadata(clock, sampled, start, end)
    about |= {"width": width, "height": height, "video_backend": request.backend}
    slots = [wanted.index(i) for i in sampled]
    return Reading(slots, height, width, about, _chain(first, pictures))


def _chain(
    first: NDArray[np.uint8], others: Iterator[NDArray[np.uint8]]
) -> Iterator[NDArray[np.uint8]]:
    yield first
    yield from others


def _clip(request: Request) -> Clip:
    paths, limits = [Path(p) for p in request.paths], request.limits
    if len(paths) == 1 and paths[0].is_dir():
        paths = image_files(paths[0])
    elif len(paths) == 1:
        if request.backend == "torchcodec":
            from prune.inputs.decoding.torchcodec import TorchcodecClip

            return TorchcodecClip(paths[0], limits)
        return VideoClip(paths[0], limits)
    return ImageClip(paths, Fraction(str(request.frame_rate)), limits)


def _metadata(
    clock: Timeline, sampled: list[int], start: float | None, end: float | None
) -> dict[str, Any]:
    low, high = clock.window(start, end)
    duration = (high - low) * clock.unit
    whole = start is None and end is None
    places = [clock.time(i) * clock.fps for i in sampled]
    return {
        "fps": float(clock.fps),
        "duration": float(duration),
        "total_num_frames": len(clock) if whole else max(1, round(duration * clock.fps)),
        "frames_indices": [int(p) if p.denominator == 1 else float(p) for p in places],
    }
