"""Decoding of chosen frames: from the key before each one, and no further."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prune.inputs.decoding.container import opened
from prune.inputs.decoding.damage import DamageError, DamageWatch
from prune.inputs.decoding.index import Index
from prune.inputs.decoding.limits import Limits
from prune.inputs.decoding.packets import packets_of

_DAMAGED = "a frame is damaged"
_SKIPPABLE = {"h264"}
"""Codecs whose decoders can tell frames to which no other frame refers."""


def frames(path: Path, index: Index, wanted: Sequence[int], limits: Limits) -> Iterator[Any]:
    """The frames of the given indices (ascending, each once), in order.

    Raises:
        DamageError: one of them, or one that it is predicted from, is damaged.
    """
    if index.marks is None:
        yield from _every(path, index, wanted, limits)
        return
    marks, done = [index.marks[i] for i in wanted], 0
    try:
        for frame in _needed(path, index, marks, limits):
            yield frame
            done += 1
    except DamageError:
        # Some keys are not clean: what follows refers to what came before them.
        yield from _every(path, index, marks[done:], limits)


def _needed(path: Path, index: Index, marks: Sequence[int], limits: Limits) -> Iterator[Any]:
    """The frames with exactly these time stamps; others are decoded only for their sake."""
    waiting, targets, running = deque(marks), set(marks), False
    with opened(path, limits) as source, DamageWatch(source) as watch:
        context = source.stream.codec_context
        can_skip = context.name in _SKIPPABLE
        for number, packet in enumerate(packets_of(source)):
            floor, start = index.key(waiting[0])
            if not running and number < start:
                continue
            running = True
            if can_skip:
                context.skip_frame = "DEFAULT" if packet.pts in targets else "NONREF"
            for frame in watch.decode(packet):
                # Frames before the key in time belong to those before it in the file.
                if frame.pts is None or frame.pts < floor:
                    continue
                if frame.is_corrupt or frame.pts > waiting[0]:
                    raise DamageError(_DAMAGED)
                if frame.pts < waiting[0]:
                    continue
                waiting.popleft()
                yield frame
                if not waiting:
                    return
                if index.key(waiting[0])[1] > number:
                    context.flush_buffers()
                    running = False
                    break
    raise DamageError(_DAMAGED)


def _every(path: Path, index: Index, marks: Sequence[int], limits: Limits) -> Iterator[Any]:
    """The frames shown at these time stamps, or with these numbers; all before are decoded."""
    waiting, shown, order = deque(marks), None, -1
    floor, start = index.keys[0]
    with opened(path, limits) as source, DamageWatch(source) as watch:
        for number, packet in enumerate(packets_of(source)):
            if number < start:
                continue
            for frame in watch.decode(packet):
                order += 1
                mark = order if index.marks is None else frame.pts
                if mark is None or mark < floor:
                    continue
                if frame.is_corrupt:
                    raise DamageError(_DAMAGED)
                while waiting and waiting[0] < mark:
                    waiting.popleft()
                    # Before the first that can be decoded, a player shows that one.
                    yield shown or frame
                shown = frame
                while waiting and waiting[0] == mark:
                    waiting.popleft()
                    yield shown
                if not waiting:
                    return
    if shown is None:
        raise DamageError("no frame can be decoded")
    yield from [shown] * len(waiting)
