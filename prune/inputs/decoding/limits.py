"""What decoding one clip may cost."""

from dataclasses import dataclass

MAX_SECONDS = 100 * 3600
"""Longest duration that a file's header may state, in seconds."""


@dataclass(frozen=True)
class Limits:
    """Limits on one call of `load_video`; a clip that exceeds one of them is refused.

    Attributes:
        seconds: wall time, after which the worker is killed.
        memory: bytes that the worker may allocate.
        pixels: width times height of one frame.
        frames: frames in the file.
        output: bytes of the decoded frames `[T, H, W, 3]`.
    """

    seconds: float = 120.0
    memory: int = 4 * 2**30
    pixels: int = 2**26
    frames: int = 1_000_000
    output: int = 2 * 2**30
