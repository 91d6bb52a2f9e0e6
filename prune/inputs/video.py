"""Decoding: a video file to the frames a model sees, with PyAV, the same way everywhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError

MAX_PIXELS = 8192 * 8192
MAX_FRAMES = 1_000_000


def sample_indices(num_frames: int, first: int, last: int) -> list[int]:
    """Midpoints of `num_frames` equal segments of `[first, last]`, as Map the Flow samples."""
    segment = (last - first) / num_frames
    return [int(first + segment / 2 + round(segment * i)) for i in range(num_frames)]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise BadInputError(f"{path}: no such video file")
    try:
        # The file: prefix and the protocol list keep playlists from opening anything else.
        options = {"protocol_whitelist": "file"}
        with av.open(f"file:{path}", options=options) as container:
            yield container
    except av.FFmpegError as error:
        reason = str(error.strerror or error).strip()
        raise BadInputError(f"{path}: cannot decode this video: {reason}") from None


def load_video(
    path: str | Path, num_frames: int, start: float | None = None, end: float | None = None
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Decode `num_frames` frames, evenly spread over a clip.

    Args:
        path: the video file.
        num_frames: T.
        start: beginning of the clip in seconds; that of the video without it.
        end: end of the clip in seconds; that of the video without it.

    Returns:
        RGB frames `[T, H, W, 3]`, and the metadata that processors ask for (`fps`, `duration` in
        seconds, `total_num_frames`, `frames_indices`).

    Raises:
        BadInputError: the file is missing, holds no video, ends early or has no frame in the clip.
    """
    path = Path(path)
    with _opened(path) as container:
        if not container.streams.video:
            raise BadInputError(f"{path}: the file holds no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        width, height, claimed = stream.width, stream.height, stream.frames
        if width * height > MAX_PIXELS or claimed > MAX_FRAMES:
            raise BadInputError(f"{path}: {width}x{height}, {claimed} frames: too large to decode")
        fps = float(stream.average_rate or stream.guessed_rate or 0) or 1.0
        total = claimed or sum(1 for _ in container.decode(stream))
        if total == 0:
            raise BadInputError(f"{path}: the video has no frames")
        first = 0 if start is None else max(0, round(start * fps))
        last = total - 1 if end is None else min(total - 1, round(end * fps))
        if first > last:
            raise BadInputError(f"{path}: no frame between {start} s and {end} s")
        # Midpoints of [first, last + 1) stay inside even when the clip is shorter than num_frames.
        indices = [min(i, last) for i in sample_indices(num_frames, first, last + 1)]
        container.seek(0)
        wanted, found = set(indices), {}
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                found[index] = frame.to_ndarray(format="rgb24")
            if index >= indices[-1]:
                break
    missing = wanted - found.keys()
    if missing:
        raise BadInputError(
            f"{path}: frame {min(missing)} of {total} cannot be decoded: the file is truncated"
        )
    metadata = {
        "fps": fps,
        "duration": total / fps,
        "total_num_frames": total,
        "frames_indices": indices,
        "width": width,
        "height": height,
        "video_backend": "pyav",
    }
    return np.stack([found[i] for i in indices]), metadata


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
