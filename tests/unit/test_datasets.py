"""Public benchmarks, each as a miniature of its published layout with real clips."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from prune.cli.app import app
from prune.datasets import mvbench, names, read_dataset, tomato, tvbench, videomme
from prune.errors import BadInputError, UsageError
from prune.inputs.encode import decode
from prune.inputs.samples import load_samples, save_samples
from prune.inputs.video import write_video

OPTIONS = ["left", "right", "up"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, np.zeros((8, 32, 32, 3), np.uint8), 4)
    return path


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def place(clip: Path, *paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, path)


def make_tvbench(root: Path, clip: Path) -> None:
    for task, bounded in tvbench.TASKS.items():
        bounds = {"start": 0.5, "end": 1.5} if bounded else {}
        entry = {"video": "a.mp4", "question": "Where to?", "candidates": OPTIONS,
                 "answer": "right", **bounds}  # fmt: skip
        put(root / "json" / f"{task}.json", [entry])
        place(clip, root / "video" / task / "a.mp4")


def make_mvbench(root: Path, clip: Path) -> None:
    for number, (task, sources) in enumerate(mvbench.TASKS.items()):
        # Whole videos for one half of the tasks that have both, cut ones for the other.
        source = sources[-1] if task == "action_localization" else sources[0]
        entry = {"video": f"{number}.mp4", "question": "Where to?", "candidates": OPTIONS,
                 "answer": "right", "start": 0.5, "end": 1.5}  # fmt: skip
        put(root / "json" / f"{task}.json", [entry])
        place(clip, root / "video" / source / f"{number}.mp4")


def make_tomato(root: Path, clip: Path) -> None:
    for number, task in enumerate(tomato.TASKS):
        kind = ("human", "object", "simulated")[number % 3]
        entry = {"question": "Where to?", "options": [*OPTIONS, "right"], "answer": 1,
                 "demonstration_type": kind, "key": f"00{number}-01", "variation": {}}  # fmt: skip
        put(root / "data" / f"{task}.json", {"7": entry})
        place(clip, root / "videos" / kind / f"00{number}-01.mp4")


def make_videomme(root: Path, clip: Path) -> None:
    (root / "videomme").mkdir(parents=True)
    row = {"video_id": "001", "duration": "short", "domain": "Knowledge", "videoID": "fFjv93ACGo8",
           "question_id": "001-1", "task_type": "Action Recognition", "question": "Where to?",
           "options": ["A. left", "B. right", "C. up", "D. down"], "answer": "B"}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), root / videomme.TABLE)
    place(clip, root / "data" / "fFjv93ACGo8.mp4")


def make_longvideobench(root: Path, clip: Path) -> None:
    entry = {"video_id": "86CxyhFV9MI", "video_path": "86CxyhFV9MI.mp4", "id": "86CxyhFV9MI_0",
             "subtitle_path": "86CxyhFV9MI_en.json", "question": "Where to?", "duration_group": 60,
             "question_category": "O2E", "candidates": OPTIONS, "correct_choice": 1}  # fmt: skip
    put(root / "lvb_val.json", [entry])
    place(clip, root / "videos" / "86CxyhFV9MI.mp4")


def make_pope(root: Path, clip: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    image = "COCO_val2014_000000310196.jpg"
    line = {"question_id": 1, "image": image, "text": "Is there a snowboard?", "label": "no"}
    for name in ("coco_pope_random", "coco_pope_popular"):
        (root / f"{name}.json").write_text(json.dumps(line) + "\n")
    (root / "images").mkdir()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(root / "images" / image)


def make_coco_captions(root: Path, clip: Path) -> None:
    rows = [{"image_id": 139, "id": number, "caption": f"A room, {number}."} for number in (9, 4)]
    images = [{"id": 139, "file_name": "000000000139.jpg", "width": 64, "height": 48}]
    put(root / "annotations" / "captions_val2017.json", {"images": images, "annotations": rows})
    (root / "val2017").mkdir()
    Image.new("RGB", (64, 48), (30, 200, 30)).save(root / "val2017" / "000000000139.jpg")


def make_activitynet_qa(root: Path, clip: Path) -> None:
    names = [f"v_1QIUV7WYKXg_{number}" for number in (1, 2)]
    asked = [{"question": "where does he go", "video_name": "1QIUV7WYKXg", "question_id": name}
             for name in names]  # fmt: skip
    told = [{"answer": "right", "type": 6, "question_id": name} for name in reversed(names)]
    put(root / "dataset" / "test_q.json", asked)
    put(root / "dataset" / "test_a.json", told)
    place(clip, root / "videos" / "v_1QIUV7WYKXg.mkv")


def make_vcgbench(root: Path, clip: Path) -> None:
    qa = root / "Benchmarking_QA"
    row = {"Q": "What happens?", "A": "He turns right.", "video_name": "v_p1QGn0IzfW0"}
    for task in ("generic_qa", "temporal_qa"):
        put(qa / f"{task}.json", [row])
    put(qa / "consistency_qa.json", [{**row, "Q1": "Where does he turn?", "Q2": "Which way?"}])
    place(clip, root / "Test_Videos" / "v_p1QGn0IzfW0.mp4")


MAKERS: dict[str, tuple[Callable[[Path, Path], None], int]] = {
    "tvbench": (make_tvbench, 10),
    "mvbench": (make_mvbench, 20),
    "tomato": (make_tomato, 6),
    "videomme": (make_videomme, 1),
    "longvideobench": (make_longvideobench, 1),
    "pope": (make_pope, 2),
    "coco_captions": (make_coco_captions, 1),
    "activitynet_qa": (make_activitynet_qa, 2),
    "vcgbench": (make_vcgbench, 4),
}
OPEN = {
    "coco_captions": "A room, 4.",
    "activitynet_qa": "right",
    "vcgbench": "He turns right.",
}
IMAGES = {"pope", "coco_captions"}


def test_every_reader_has_its_miniature() -> None:
    assert set(names()) == set(MAKERS)
    with pytest.raises(UsageError, match="tvbench"):
        read_dataset("imagenet", Path())


@pytest.mark.parametrize("name", MAKERS)
def test_a_benchmark_becomes_a_data_set(name: str, clip: Path, tmp_path: Path) -> None:
    make, count = MAKERS[name]
    root = tmp_path / name
    make(root, clip)
    samples = read_dataset(name, root)
    assert len(samples) == count == len({s.id for s in samples})
    if name in OPEN:
        assert all(s.is_open and s.reply == OPEN[name] for s in samples)
    else:
        assert all(s.options[s.answer] in ("right", "No") for s in samples)
    for sample in samples[:3]:
        frames, _ = decode(sample, 2)
        assert len(frames) == (1 if name in IMAGES else 2)
    bounded = {s.task for s in samples if s.start is not None}
    assert bounded <= {"action_localization", "action_sequence"}
    save_samples(root / "all.jsonl", samples)
    assert load_samples(root / "all.jsonl") == samples


def test_the_command_lists_missing_videos(clip: Path, tmp_path: Path) -> None:
    make_tvbench(tmp_path, clip)
    (tmp_path / "video/object_count/a.mp4").unlink()
    done = CliRunner().invoke(app, ["data", "tvbench", str(tmp_path)])
    assert getattr(done.exception, "exit_code", None) == 5
    assert "object_count/a.mp4" in str(done.exception)
    assert len(load_samples(tmp_path / "tvbench.jsonl")) == 9


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"video": "a.mp4", "question": "?", "candidates": OPTIONS}, "no field 'answer'"),
        ({"video": "a.mp4", "question": "?", "candidates": OPTIONS, "answer": "no"}, "not in list"),
        ({"video": "a.mp4", "question": "?", "candidates": OPTIONS, "answer": 3}, "none of 3"),
        ("text", "expected an object"),
    ],
)
def test_a_bad_entry_is_named(clip: Path, tmp_path: Path, entry: Any, message: str) -> None:
    make_tvbench(tmp_path, clip)
    put(tmp_path / "json/object_count.json", [entry])
    with pytest.raises(BadInputError, match=rf"object_count\.json: entry 0: .*{message}"):
        read_dataset("tvbench", tmp_path)
    (tmp_path / "json/object_count.json").unlink()
    with pytest.raises(BadInputError, match=r"object_count\.json"):
        read_dataset("tvbench", tmp_path)


def test_an_open_question_has_its_answer_or_is_named(clip: Path, tmp_path: Path) -> None:
    make_activitynet_qa(tmp_path, clip)
    put(tmp_path / "dataset" / "test_a.json", [])
    with pytest.raises(BadInputError, match=r"test_q\.json: entry 0: test_a\.json has no answer"):
        read_dataset("activitynet_qa", tmp_path)
    make_vcgbench(tmp_path, clip)
    put(tmp_path / "Benchmarking_QA" / "temporal_qa.json", [{"Q": "What?", "A": " "}])
    with pytest.raises(BadInputError, match=r"temporal_qa\.json: entry 0: no text in field 'A'"):
        read_dataset("vcgbench", tmp_path)
    put(tmp_path / "annotations" / "captions_val2017.json", {"images": []})
    with pytest.raises(BadInputError, match=r"captions_val2017\.json: not COCO captions"):
        read_dataset("coco_captions", tmp_path)
