"""How clips are read: from the data and the command line, the same in every command."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, RefusedError
from prune.evaluate.answers import answer, prepare, under
from prune.inputs import video_key
from prune.inputs.encode import check_samples, decode
from prune.inputs.fingerprint import fingerprint
from prune.inputs.media import Media
from prune.inputs.samples import Sample, load_samples, save_samples
from prune.inputs.video import load_video
from prune.layout.reach import dense_reach
from prune.trace.trace import Trace
from prune.workflows.prompt import roles_of_prompt
from prune.workflows.split import split_samples

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lines(clips: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (clips / "test.jsonl").read_text().splitlines()]


def _data(clips: Path, name: str, *lines: dict[str, Any]) -> Path:
    path = clips / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def images(clips: Path, samples: list[Sample]) -> list[str]:
    """The frames of a clip as images in a folder, by relative name."""
    folder = clips / "images"
    folder.mkdir(exist_ok=True)
    frames, _ = decode(samples[0], 4)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return [f"images/{number}.png" for number in range(4)]


def test_a_line_has_precedence(clips: Path, lines: list[dict[str, Any]]) -> None:
    path = _data(
        clips, "own", lines[0], lines[1] | {"fps": 1.0}, lines[2] | {"sampling": "map-the-flow"},
        lines[3] | {"max_pixels": 784, "frame_rate": 2},
    )  # fmt: skip
    media = Media(fps=2.0, min_pixels=1000)
    found = [sample.reading for sample in load_samples(path, media=media)]
    assert found == [
        media,
        Media(fps=1.0, min_pixels=1000),
        Media("map-the-flow", min_pixels=1000),
        Media(fps=2.0, frame_rate=2, max_pixels=784),
    ]
    assert [reading.policy for reading in found] == ["fps", "fps", "map-the-flow", "fps"]
    again = clips / "again.jsonl"
    save_samples(again, load_samples(path))
    assert load_samples(again) == load_samples(path)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"sampling": "middle"}, "no sampling 'middle'"),
        ({"sampling": "fps"}, "give fps"),
        ({"sampling": "uniform", "fps": 2}, "give fps"),
        ({"fps": 0}, "fps 0"),
        ({"frame_rate": -1}, "frame_rate -1"),
        ({"min_pixels": 10, "max_pixels": 5}, "no bounds"),
        ({"max_pixels": 0}, "no bounds"),
        ({"max_pixels": "many"}, "max_pixels"),
        ({"video": []}, "video"),
        ({"video": ["a.png", "../b.png"]}, "below"),
    ],
)
def test_a_bad_line_is_named(
    clips: Path, lines: list[dict[str, Any]], own: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInputError, match=r"bad.jsonl:2: .*") as error:
        load_samples(_data(clips, "bad", lines[0], lines[1] | own))
    assert said in str(error.value)


def test_clips_are_decoded_so(clips: Path, lines: list[dict[str, Any]], images: list[str]) -> None:
    own = ({"fps": 2}, {"sampling": "map-the-flow"}, {"video": images, "frame_rate": 2},
           {"video": "images", "frame_rate": 4})  # fmt: skip
    path = _data(clips, "ways", *(line | way for line, way in zip(lines, own, strict=False)))
    by_rate, paper, listed, folder = load_samples(path)
    taken, about = decode(by_rate, 8)
    wanted, meant = load_video(by_rate.files[0], 8, sampling="fps", fps=2)
    assert np.array_equal(taken, wanted) and about == meant and len(taken) < 8
    wanted, _ = load_video(paper.files[0], 3, sampling="map-the-flow")
    assert np.array_equal(decode(paper, 3)[0], wanted)
    files = [clips.resolve() / name for name in images]
    assert listed.video == tuple(files)
    for sample, rate in ((listed, 2), (folder, 4)):
        frames, about = decode(sample, 4)
        assert np.array_equal(frames, [np.asarray(Image.open(file)) for file in files])
        assert about["fps"] == rate


def test_every_part_identifies_a_run(
    clips: Path, lines: list[dict[str, Any]], images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(*own: dict[str, Any]) -> str:
        return fingerprint(load_samples(_data(clips, "id", *(lines[0] | way for way in own))))

    ways: tuple[dict[str, Any], ...] = (
        {}, {"fps": 2}, {"fps": 1}, {"max_pixels": 784}, {"video": images}, {"video": "images"},
        {"video": images[::-1]},
    )  # fmt: skip
    assert len({of(way) for way in ways}) == len(ways)
    listed, folder = of({"video": images}), of({"video": "images"})
    picture = clips / images[2]
    Image.new("RGB", (32, 32), "red").save(picture)
    os.utime(picture, ns=(1, 1))
    assert of({"video": images}) != listed and of({"video": "images"}) != folder
    (clips / images[3]).rename(clips / "images" / "4.png")
    assert of({"video": "images"}) not in (folder, of({"video": images}))

    read: list[Path] = []
    hashed = video_key.sha256_of
    monkeypatch.setattr(video_key, "sha256_of", lambda path: read.append(path) or hashed(path))
    video_key._hashed.cache_clear()
    of({}, *({"id": str(n)} for n in range(20)))
    assert len(read) == 1


def test_a_resumed_run_has_the_same_media(clips: Path, tmp_path: Path, prune_command: Any) -> None:
    run = tmp_path / "run"
    trace = ("trace", "tiny", "--data", clips / "calibration.jsonl", "--out", run, "--limit", 12)
    trace = (*trace, "--samples", "all", "--pathway", "video->last")
    assert prune_command(*trace, "--fps", 3)[0] == 0
    assert prune_command(*trace, "--sampling", "fps", "--fps", 3)[0] == 0
    for other, field in (
        (("--fps", 2), "fps"),
        ((), "fps"),
        (("--sampling", "map-the-flow"), "sampling"),
        (("--fps", 3, "--frame-rate", 2), "frame_rate"),
    ):
        code, _, error = prune_command(*trace, *other)
        assert code == RefusedError.exit_code and f"{field} " in error.replace(",", " ")
    assert "data_sha256" not in error
    searched, held_out = split_samples(Trace.load(run), None)
    assert {s.reading for s in [*searched, *held_out]} == {Media(fps=3.0)}
    searched, _ = split_samples(Trace.load(run), None, "Answer: (", Media("map-the-flow"))
    assert {(s.cue, s.reading) for s in searched} == {("Answer: (", Media("map-the-flow"))}


def test_clips_of_unequal_length_are_answered(
    tiny: LoadedModel, clips: Path, lines: list[dict[str, Any]]
) -> None:
    own = ({}, {"fps": 2}, {}, {"fps": 1})
    path = _data(clips, "mixed", *(line | way for line, way in zip(lines, own, strict=False)))
    chosen = load_samples(path)
    batches, failed = prepare(tiny.model, tiny.processor, chosen, 8, 32)
    assert not failed and [len(batch.samples) for batch in batches] == [1, 1, 1, 1]
    run = under(dense_reach(tiny.id.num_layers))
    given = answer(tiny.model, tiny.processor, batches, run)
    assert [a.id for a in given] == [s.id for s in chosen]


def test_pixels_are_refused_where_a_processor_bounds_none(
    tiny: LoadedModel, clips: Path, samples: list[Sample], tmp_path: Path, prune_command: Command
) -> None:
    with pytest.raises(RefusedError, match="TinyProcessor: takes no min_pixels or max_pixels"):
        check_samples(tiny.processor, [replace(samples[0], own=Media(max_pixels=784))])
    data = ("--data", clips / "calibration.jsonl", "--out", tmp_path / "out", "--max-pixels", 784)
    for command in ("trace", "screen", "lens", "explain"):
        code, _, error = prune_command(command, "tiny", *data)
        assert code == RefusedError.exit_code and "takes no min_pixels" in error
        assert not (tmp_path / "out").exists()
    code, _, error = prune_command("eval", "tiny", "--data", clips / "test.jsonl", "--fps", -1)
    assert code == 2 and "fps -1" in error


def test_a_prompt_is_shown_as_it_is_read(clips: Path) -> None:
    found = roles_of_prompt("tiny", clips / "test.jsonl", media=Media(fps=2.0))
    frames = {part.frame for part in found.parts if part.frame >= 0}
    sample = load_samples(clips / "test.jsonl", media=Media(fps=2.0))[0]
    assert len(frames) == len(decode(sample, 8)[0]) < 8
