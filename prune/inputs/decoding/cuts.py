"""Files that end before they say so, where FFmpeg takes the end of the file for theirs."""

from typing import BinaryIO

_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
_LONGEST_PAGE = 65_307


def is_cut_off(file: BinaryIO) -> bool:
    """Whether a Matroska, WebM, Ogg or GIF file is cut off; other formats' readers notice."""
    head = file.read(4096)
    size = file.seek(0, 2)
    if head.startswith(_EBML):
        return _matroska_size(head) > size
    if head.startswith(b"OggS"):
        file.seek(max(0, size - _LONGEST_PAGE))
        return not _ends_ogg(file.read(_LONGEST_PAGE))
    if head.startswith(b"GIF8"):
        file.seek(0)
        return not _ends_gif(file)
    return False


def _matroska_size(head: bytes) -> int:
    """The size that the segment declares, with what is before it; 0 if it is not known."""
    size, place = _number(head, 4)
    if size is None or head[place + size : place + size + 4] != _SEGMENT:
        return 0
    size, place = _number(head, place + size + 4)
    return 0 if size is None else place + size


def _number(data: bytes, place: int) -> tuple[int | None, int]:
    """An EBML number of variable length, None if it says "unknown", and the place after it."""
    if place >= len(data) or not data[place]:
        return None, place
    length = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + length]) & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), place + length


def _ends_ogg(tail: bytes) -> bool:
    """Whether the last page is whole and marked as a stream's last."""
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _ends_gif(file: BinaryIO) -> bool:
    """Whether the file ends with its trailer, or between two blocks."""
    head = file.read(13)
    file.seek(_colours(head[10]) if len(head) == 13 else 0, 1)
    while block := file.read(1):
        if block == b"!":
            file.seek(1, 1)
        elif block == b",":
            picture = file.read(9)
            if len(picture) < 9:
                return False
            file.seek(_colours(picture[8]) + 1, 1)
        else:
            # The trailer, or what some programs write after it.
            return True
        while length := file.read(1):
            if length == b"\0":
                break
            file.seek(length[0], 1)
        else:
            return False
    return True


def _colours(flags: int) -> int:
    """Bytes of a colour table."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
