"""Signs that a decoder met damaged data."""

from contextlib import ExitStack
from typing import Any

import av

from prune.errors import BadInputError
from prune.inputs.decoding.container import Source

_ONLY_LOGGED = {"ffv1", "gif", "mjpeg"}
"""Decoders that say so in FFmpeg's log alone; the others flag the frame or fail."""


class DamageError(BadInputError):
    """A frame cannot be decoded as it was encoded."""


class DamageWatch:
    """Listens to the log of decoders that report damage nowhere else."""

    def __init__(self, source: Source) -> None:
        context = source.stream.codec_context
        self._flags_cuts = source.flags_cuts
        self._listens = context.name in _ONLY_LOGGED
        self._messages: list[Any] = []
        self._exits = ExitStack()
        if self._listens:
            context.thread_type = "NONE"

    def __enter__(self) -> "DamageWatch":
        if self._listens:
            av.logging.set_level(av.logging.ERROR)
            av.logging.set_skip_repeated(False)
            self._exits.callback(av.logging.set_level, None)
            capture: Any = av.logging.Capture()
            self._messages = self._exits.enter_context(capture)
        return self

    def __exit__(self, *exception: object) -> None:
        self._exits.close()

    def decode(self, packet: Any) -> list[Any]:
        """Frames of a packet.

        Raises:
            DamageError: the packet is damaged.
        """
        if packet.is_corrupt and self._flags_cuts:
            raise DamageError("a frame is damaged or cut off")
        try:
            frames: list[Any] = packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            raise DamageError("a frame is damaged and cannot be decoded") from None
        if self._messages:
            raise DamageError("a frame is damaged")
        return frames
