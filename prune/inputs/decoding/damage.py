"""Signs that data is damaged: flags, errors, and what FFmpeg says in its log alone."""

from contextlib import ExitStack
from typing import Any

import av

from prune.errors import BadInputError
from prune.inputs.decoding.container import Source

_ONLY_LOGGED = {"ffv1", "gif", "mjpeg", "msmpeg4", "msmpeg4v2", "wmv1", "wmv2"}
"""Decoders that report damage in the log alone; the others flag the frame or fail."""

_ALONE = {"libdav1d"}
"""Decoders that fail on one thread, and on several leave out what they cannot decode."""


class DamageError(BadInputError):
    """A frame cannot be decoded as it was encoded."""


class ErrorLog:
    """FFmpeg's errors of this thread, while it is entered; threads of its own must not run."""

    def __init__(self, listens: bool) -> None:
        self.messages: list[Any] = []
        self._listens, self._exits = listens, ExitStack()

    def __enter__(self) -> "ErrorLog":
        if self._listens:
            av.logging.set_level(av.logging.ERROR)
            av.logging.set_skip_repeated(False)
            self._exits.callback(av.logging.set_level, None)
            capture: Any = av.logging.Capture()
            self.messages = self._exits.enter_context(capture)
        return self

    def __exit__(self, *exception: object) -> None:
        self._exits.close()


class DamageWatch:
    """Decodes packets, and notices those that are damaged."""

    def __init__(self, source: Source) -> None:
        context = source.stream.codec_context
        is_logged = context.name in _ONLY_LOGGED
        if is_logged:
            context.thread_type = "NONE"
        if context.name in _ALONE:
            context.thread_count = 1
        self._flags_cuts, self._log = source.flags_cuts, ErrorLog(is_logged)

    def __enter__(self) -> "DamageWatch":
        self._log.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._log.__exit__(*exception)

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
        if self._log.messages:
            raise DamageError("a frame is damaged")
        return frames
