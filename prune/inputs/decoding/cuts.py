"""Files that end before the size that they declare."""

from typing import BinaryIO

_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")


def is_cut_off(file: BinaryIO) -> bool:
    """Whether a Matroska or WebM file is shorter than its segment.

    Its reader takes the end of the file as the end of the video; other formats' readers notice.
    """
    head = file.read(4096)
    if not head.startswith(_EBML):
        return False
    size, place = _number(head, 4)
    if size is None or head[place + size : place + size + 4] != _SEGMENT:
        return False
    size, place = _number(head, place + size + 4)
    return size is not None and place + size > file.seek(0, 2)


def _number(data: bytes, place: int) -> tuple[int | None, int]:
    """An EBML number of variable length, None if it says "unknown", and the place after it."""
    if place >= len(data) or not data[place]:
        return None, place
    length = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + length]) & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), place + length
