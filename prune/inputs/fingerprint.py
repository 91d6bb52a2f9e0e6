"""Fingerprints of samples: equal if questions, settings of their own and videos are equal."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from prune.inputs.samples import Sample
from prune.inputs.video_key import video_key
from prune.io.files import names_in


def fingerprint(samples: Sequence[Sample]) -> str:
    """SHA-256 over questions, answers, boxes and the content of the videos that exist, in order.

    Each file is read once, also where many questions share it; a folder counts by its files.
    """
    digest = hashlib.sha256()
    for s in samples:
        asked = [s.id, s.question, s.options, s.answer, s.task, s.start, s.end, s.own.given]
        if s.is_open or s.medium != "video":
            asked += [s.medium, s.reply]
        if s.turns:
            asked.append(s.turns)
        if s.boxes:
            asked.append([box.line for box in s.boxes])
        digest.update(json.dumps([asked, [_content(path) for path in s.files]]).encode())
    return digest.hexdigest()


def _content(path: Path) -> str | dict[str, str] | None:
    """The hash of a file, those of a folder's files by name, or None if there is neither."""
    if path.is_dir():
        return {name: video_key(path / name) for name in names_in(path)}
    return video_key(path) if path.is_file() else None
