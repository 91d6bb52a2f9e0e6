"""Flipped samples come worst first, with frames that stay small."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from prune.evaluate import flips as module
from prune.evaluate.flips import flip_details, flips
from prune.inputs.samples import Sample
from prune.results.answer import Answer


def _answer(id: str, choice: int, p: float, true: int = 0) -> Answer:
    other = tuple((1 - p) / 2 for _ in range(3))
    return Answer(id, "t", choice, true, False, (*other[:choice], p, *other[choice + 1 :]), id)


def test_worst_first() -> None:
    dense = [_answer(i, c, 0.9) for i, c in (("won", 1), ("sure", 0), ("moved", 1), ("unsure", 0),
                                             ("same", 0))]  # fmt: skip
    pruned = [_answer(i, c, p) for i, c, p in (("won", 0, 0.8), ("sure", 1, 0.7), ("moved", 2, 0.9),
                                               ("unsure", 2, 0.5), ("same", 0, 0.9))]  # fmt: skip
    found = flips(dense, pruned)
    assert [flip.id for flip in found] == ["sure", "unsure", "moved", "won"]
    assert [(flip.lost, flip.won) for flip in found[:1] + found[2:]] == [
        (True, False), (False, False), (False, True),
    ]  # fmt: skip


def _picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_frames_are_those_of_the_clip(samples: list[Sample]) -> None:
    chosen = samples[:2]
    flipped = flips(
        [_answer(s.id, 0, 0.9) for s in chosen], [_answer(s.id, 1, 0.9) for s in chosen]
    )
    found = flip_details(flipped, samples, 16)
    assert [a.id for a in found] == [flip.id for flip in flipped]
    assert {a.question for a in found} == {s.question for s in chosen}
    assert all(len(a.frames) == 8 for a in found)
    picture = _picture(found[0].frames[0])
    assert picture.format == "JPEG" and picture.width == 96


def test_frames_of_all_samples_stay_within_their_share(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped = flips([_answer(s.id, 0, 0.9) for s in samples[:12]],
                    [_answer(s.id, 1, 0.9) for s in samples[:12]])  # fmt: skip
    told = flip_details(flipped, samples, 8)
    pictured = [a for a in told if a.frames]
    assert len(told) == 12 and len(pictured) == module.PICTURED
    assert sum(len(f) for a in told for f in a.frames) <= module.MOST_BYTES
    monkeypatch.setattr(module, "MOST_BYTES", sum(map(len, told[0].frames)))
    assert [bool(a.frames) for a in flip_details(flipped, samples, 8)][:2] == [True, False]


def test_a_clip_that_is_gone_still_has_its_question(samples: list[Sample]) -> None:
    gone = Sample(**{**samples[0].__dict__, "video": Path("/nowhere.mp4")})
    flipped = flips([_answer(gone.id, 0, 0.9)], [_answer(gone.id, 1, 0.9)])
    assert flip_details(flipped, [gone], 8)[0].frames == ()
