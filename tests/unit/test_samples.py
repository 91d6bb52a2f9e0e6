"""Data sets: every bad line is named by its number."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from prune.errors import BadInputError
from prune.inputs.answer_key import answer_index
from prune.inputs.fingerprint import fingerprint
from prune.inputs.samples import load_samples, save_samples
from prune.tiny.benchmark import write_benchmark
from prune.tiny.questions import TASKS
from prune.tiny.scenes import SPLITS
from tests.helpers import SAMPLE

OPEN = {"id": "b", "video": "a.mp4", "question": "What happens?", "reply": "It turns left."}
BOX = [0.25, 0, 0.5, 1]
PICTURE = {"id": "p", "image": "a.jpg", "question": "Describe the image."}


def _write(path: Path, *lines: object) -> Path:
    text = "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines)
    path.write_text(text + "\n")
    return path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "Invalid JSON"),
        ({**SAMPLE, "answer": "purple"}, "'purple' must be exactly one of the options"),
        ({**SAMPLE, "options": ["red", "red"]}, "must be exactly one of the options"),
        ({**SAMPLE, "options": ["red"]}, "options"),
        ({**SAMPLE, "video": "/etc/passwd"}, "below the data set's folder"),
        ({**SAMPLE, "video": "../x.mp4"}, "below the data set's folder"),
        ({**SAMPLE, "video": "http://x/y.mp4"}, "below the data set's folder"),
        ({**SAMPLE, "colour": 1}, "colour"),
        ({k: v for k, v in SAMPLE.items() if k != "question"}, "question"),
        ({**SAMPLE, "start": "soon"}, "start"),
        ({**SAMPLE, "start": float("nan")}, "NaN is not a JSON number"),
        (json.dumps({**SAMPLE, "id": "b"})[:-1] + ', "end": 1e999}', "1e999 is beyond the range"),
        ({**SAMPLE, "start": -1}, "start: Input should be greater than or equal to 0"),
        ({**SAMPLE, "start": 5, "end": 2}, "start 5.0 is not before end 2.0"),
        (json.dumps(SAMPLE)[:-1] + ', "id": "b"}', "duplicate key 'id'"),
        ({**SAMPLE, "id": 7}, "id: Input should be a valid string"),
        ({**SAMPLE, "question": "\ud800"}, "half of a surrogate pair"),
        ({**SAMPLE, "video": "a\0.mp4"}, "NUL"),
        ({**SAMPLE, "video": "clips\\a.mp4"}, "folders are separated by /"),
        ({**SAMPLE, "answer": "1"}, "its letter (A to B), or its index without quotes"),
        ({**SAMPLE, "answer": "C"}, "exactly one of the options"),
        ({**SAMPLE, "answer": "A", "options": ["B. red", "A. blue"]}, "'A' is unclear"),
        ({**SAMPLE, "options": ["red", ""]}, "options.1"),
        ([SAMPLE], "one question on each line"),
        ('{"id":' + "[" * 100_000, "nested too deeply"),
        ({**SAMPLE, "id": "b", "task": "all"}, "'all', which stands for all tasks"),
        (SAMPLE, "id 'a' appears twice"),
        ({k: v for k, v in OPEN.items() if k != "video"}, "no media: give one of video, frames"),
        ({**OPEN, "image": "a.jpg"}, "video and image: give one of video, frames, image"),
        ({**OPEN, "answer": "red"}, "an answer without options"),
        ({**SAMPLE, "reply": "It is red."}, "a reply beside options"),
        ({k: v for k, v in SAMPLE.items() if k != "answer"}, "options without an answer"),
        ({**PICTURE, "end": 2}, "end is for a video: images have no time"),
        ({**PICTURE, "fps": 2}, "fps is for a video: images have no time"),
        ({**PICTURE, "image": "../a.jpg"}, "image '../a.jpg' must be a path below"),
        ({**OPEN, "boxes": [{"box": BOX}]}, "boxes.0.label: Field required"),
        ({**OPEN, "boxes": [{"label": "dog", "box": [0, 0, 1]}]}, "boxes.0.box: List should have"),
        ({**OPEN, "boxes": [{"label": "dog", "box": [0, 0, 640, 1]}]}, "boxes.0.box.2: Input shou"),
        ({**OPEN, "boxes": [{"label": "dog", "box": [0.5, 0, 0.5, 1]}]}, "boxes: 'dog': [0.5, 0.0"),
        ({**OPEN, "boxes": [{"label": "dog", "box": BOX, "start": 2, "end": 1}]},
         "boxes: 'dog': start 2.0 is not before end 1.0"),
        ({**OPEN, "boxes": [{"label": "dog", "box": BOX, "frame": 1}]}, "boxes.0.frame: Extra"),
        ({**PICTURE, "boxes": [{"label": "dog", "box": BOX, "end": 1}]},
         "boxes: 'dog': start and end are for a video"),
        ({**PICTURE, "image": None, "images": ["a.jpg", "b.jpg"],
          "boxes": [{"label": "dog", "box": BOX}]}, "boxes: of several images"),
    ],
)  # fmt: skip
def test_bad_lines(tmp_path: Path, line: object, message: str) -> None:
    path = _write(tmp_path / "data.jsonl", SAMPLE, "", line)
    with pytest.raises(BadInputError) as error:
        load_samples(path)
    assert f"{path}:3:" in str(error.value) and message in str(error.value)


def test_a_line_needs_only_media_and_a_question(tmp_path: Path) -> None:
    lines = [OPEN, PICTURE, {"id": "c", "images": ["a.jpg", "b.jpg"], "question": "Alike?"},
             {"id": "d", "frames": ["a.jpg", "b.jpg"], "question": "Which way?"}]  # fmt: skip
    samples = load_samples(_write(tmp_path / "data.jsonl", *lines))
    assert [s.is_open for s in samples] == [True] * 4
    assert [s.reply for s in samples] == ["It turns left.", None, None, None]
    assert [(s.medium, len(s.files)) for s in samples] == [
        ("video", 1), ("image", 1), ("image", 2), ("video", 2)
    ]  # fmt: skip
    save_samples(tmp_path / "again.jsonl", samples)
    assert load_samples(tmp_path / "again.jsonl") == samples
    prints = {fingerprint([s]) for s in (*samples, replace(samples[0], reply="It stops."),
                                         replace(samples[3], medium="image"))}  # fmt: skip
    assert len(prints) == 6


def test_text_is_read_as_editors_write_it(tmp_path: Path) -> None:
    accented = {**SAMPLE, "options": ["cafe\u0301", "the"], "answer": "caf\u00e9"}
    line = json.dumps(accented, ensure_ascii=False)
    path = tmp_path / "data.jsonl"
    for text in (line, "\ufeff" + line + "\r\n\r\n", f"\n{line}"):
        path.write_bytes(text.encode())
        (sample,) = load_samples(path)
        assert sample.options[sample.answer] == "cafe\u0301"
    for encoding in ("utf-16", "latin-1"):
        path.write_bytes(
            json.dumps({**SAMPLE, "task": "\u00e9"}, ensure_ascii=False).encode(encoding)
        )
        with pytest.raises(BadInputError, match=r":1: .*UTF-"):
            load_samples(path)


def test_a_video_is_found_in_either_unicode_form(tmp_path: Path) -> None:
    (tmp_path / "cafe\u0301 12:30.mp4").touch()
    path = _write(tmp_path / "data.jsonl", {**SAMPLE, "video": "caf\u00e9 12:30.mp4"})
    assert load_samples(path)[0].video.is_file()


@pytest.mark.parametrize(
    ("answer", "options", "index"),
    [
        ("B", ["left", "right"], 1),
        ("(B)", ["left", "right"], 1),
        ("B. right", ["left", "right"], 1),
        (" right", ["left", "right"], 1),
        ("A", ["B", "A"], 1),
        ("A", ["A. left", "B. right"], 0),
        (1, ["left", "left"], 1),
    ],
)
def test_answers(answer: str | int, options: list[str], index: int) -> None:
    assert answer_index(answer, options) == index


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.jsonl")
    with pytest.raises(BadInputError, match="a pipe, device or socket"):
        load_samples(tmp_path / "data.jsonl")


def test_empty_and_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is empty"):
        load_samples(_write(tmp_path / "data.jsonl", ""))
    with pytest.raises(BadInputError, match="cannot read"):
        load_samples(tmp_path / "missing.jsonl")


def test_benchmark_is_reproducible_and_its_splits_are_disjoint(tmp_path: Path) -> None:
    files: dict[str, set[bytes]] = {}
    for split in SPLITS:
        path = write_benchmark(tmp_path / "a", split, per_task=3)
        again = write_benchmark(tmp_path / "b", split, per_task=3)
        assert path.read_bytes() == again.read_bytes()
        samples = load_samples(path)
        assert fingerprint(samples) == fingerprint(load_samples(again))
        assert [s.task for s in samples[: len(TASKS)]] == list(TASKS)
        files[split] = {s.video.read_bytes() for s in samples}
        assert len(files[split]) == len(samples)
    assert not files["train"] & files["test"] and not files["calibration"] & files["test"]
    assert not files["train"] & files["calibration"]


def _turns(*roles: str) -> list[dict[str, object]]:
    return [{"role": role, "content": f"text {i}"} for i, role in enumerate(roles)]


def test_messages_are_the_turns_before_the_question(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "What "}, {"type": "text", "text": "moves?"}]
    said = [{"role": "user", "content": parts}, {"role": "assistant", "content": "a ball"}]
    alone, *later = load_samples(
        _write(
            tmp_path / "a.jsonl",
            SAMPLE,
            {**SAMPLE, "id": "later", "messages": said},
            {**OPEN, "id": "open", "task": SAMPLE["task"], "messages": said},
        )
    )
    assert [sample.turns for sample in later] == [(("What moves?", "a ball"),)] * 2
    assert not alone.turns
    save_samples(tmp_path / "b.jsonl", later)
    assert load_samples(tmp_path / "b.jsonl") == later
    assert fingerprint([replace(alone, turns=later[0].turns)]) != fingerprint([alone])


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (_turns("user"), "take turns"),
        (_turns("assistant", "user"), "take turns"),
        (_turns("user", "user"), "take turns"),
        (_turns("system", "assistant"), "messages.0.role"),
        ([{"role": "user", "content": [{"type": "image"}]}], "messages.0.content"),
    ],
)
def test_bad_messages_are_named(
    messages: list[dict[str, object]], told: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=f"a.jsonl:1: .*{told}"):
        load_samples(_write(tmp_path / "a.jsonl", {**SAMPLE, "messages": messages}))
