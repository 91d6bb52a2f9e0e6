"""Videos to the frames that a model sees, and frames to videos."""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError, UsageError
from prune.inputs.decoding.limits import Limits
from prune.inputs.decoding.pool import decode
from prune.inputs.decoding.request import Request
from prune.inputs.decoding.sampling import POLICIES

BACKENDS = ("pyav", "torchcodec")


def load_video(
    path: str | Path | Sequence[str | Path],
    num_frames: int,
    start: float | None = None,
    end: float | None = None,
    *,
    sampling: str = "uniform",
    fps: float | None = None,
    frame_rate: float = 25.0,
    backend: str = "pyav",
    limits: Limits | None = None,
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Decode frames of a clip as a player shows them, in a process of its own.

    The main video stream, upright, with square pixels, all frames as large as the first one is
    shown. Time stamps are the only clock; second 0 is where the file starts.

    Args:
        path: a video or image file, a folder of images, or a list of image files.
        num_frames: T; with `sampling="fps"` the most that are taken.
        start: beginning of the clip in seconds; that of the video without it.
        end: end of the clip in seconds; that of the video without it.
        sampling: "uniform" takes the frames shown at the midpoints of T equal parts of the clip,
            "fps" takes `fps` frames per second (or T, evenly, if they are fewer), "map-the-flow"
            the frames that the released code of that paper takes.
        fps: frames per second for `sampling="fps"`.
        frame_rate: frames per second of a folder or list of images, which have no clock.
        backend: "pyav", or "torchcodec" if that is installed.
        limits: what decoding may cost; a clip that exceeds them fails.

    Returns:
        RGB frames `[T, H, W, 3]`, and the metadata of the clip that processors ask for (the keys
        of transformers' `VideoMetadata`). `frames_indices[i] / fps` is the time in seconds at which
        frame i appears, counted from the start of the file; where the frame rate varies, `fps` is
        the mean and the indices are not whole numbers. `duration` and `total_num_frames` are those
        of the clip between its bounds.

    Raises:
        BadInputError: the file is missing, no video, damaged, truncated, exceeds a limit, crashes
            the decoder, or has no frame in the clip.
        UsageError: the arguments do not fit together.
    """
    _check(num_frames, sampling, fps, frame_rate, backend)
    if any(bound is not None and not math.isfinite(bound) for bound in (start, end)):
        raise BadInputError(f"{path}: the bounds {start} and {end} are not seconds")
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise BadInputError("the list of images is empty")
    name = str(path) if isinstance(path, str | Path) else f"{len(paths)} images"
    request = Request(
        [str(_existing(p)) for p in paths],
        int(num_frames),
        start if start is None else float(start),
        end if end is None else float(end),
        sampling,
        fps,
        frame_rate,
        backend,
        limits or Limits(),
    )
    try:
        return decode(request)
    except BadInputError as error:
        raise BadInputError(f"{name}: {error}") from None


def _check(
    num_frames: int, sampling: str, fps: float | None, frame_rate: float, backend: str
) -> None:
    if num_frames < 1:
        raise UsageError(f"{num_frames} frames: give at least 1")
    if sampling not in POLICIES:
        raise UsageError(f"no sampling {sampling!r}: give one of {', '.join(POLICIES)}")
    if (sampling == "fps") != (fps is not None):
        raise UsageError('give fps with sampling="fps", and only with it')
    if not all(math.isfinite(rate) and rate > 0 for rate in (frame_rate, fps or 1)):
        raise UsageError("frame rates are positive numbers")
    if backend not in BACKENDS:
        raise UsageError(f"no backend {backend!r}: give one of {', '.join(BACKENDS)}")
    if backend == "torchcodec" and find_spec("torchcodec") is None:
        raise UsageError("torchcodec is not installed: pip install torchcodec, or use pyav")


def _existing(path: str | Path) -> Path:
    if "://" in str(path):
        raise BadInputError(f"{path}: an address, not a file: download it first")
    if not (Path(path).is_file() or Path(path).is_dir()):
        raise BadInputError(f"{path}: no such video file")
    return Path(path).absolute()


def write_video(path: str | Path, frames: NDArray[np.uint8], fps: int) -> None:
    """Write RGB frames `[T, H, W, 3]` (even H and W) as an H.264 MP4."""
    # A constant quantiser: x264's rate control (crf) now and then writes other bytes for the same
    # frames, even on one thread.
    options = {"qp": "18", "preset": "veryfast", "threads": "1"}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
