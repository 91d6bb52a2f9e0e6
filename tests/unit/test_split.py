"""Search and report share no video, whatever its files and questions are called."""

import json
import shutil
from pathlib import Path

import pytest

from prune.errors import BadInputError
from prune.inputs.samples import Sample, load_samples
from prune.journal.records import data_identity
from prune.trace.trace import Trace
from prune.workflows.split import check_apart, split_samples

VIDEOS, QUESTIONS = 20, 3


def data(path: Path, name: str = "v{v}q{q}", questions: int = QUESTIONS) -> Path:
    """Questions about each of several videos, which the file's folder holds."""
    rows = []
    for v in range(VIDEOS):
        clip = path.parent / f"{v}.mp4"
        clip.write_bytes(b"clip %d" % v)
        for q in range(questions):
            rows.append(
                {"id": name.format(v=v, q=q), "video": clip.name, "question": f"{q}?",
                 "options": ["a", "b"], "answer": "a", "task": "t"}
            )  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def traced(folder: Path, count: int) -> Trace:
    samples = load_samples(folder / "data.jsonl")[:count]
    header = {"data": "data.jsonl", **data_identity(samples)}
    return Trace(folder, header, [])


def videos(samples: list[Sample]) -> set[Path]:
    return {path for sample in samples for path in sample.files}


def test_every_second_video_that_was_not_traced_is_held_out(tmp_path: Path) -> None:
    data(tmp_path / "data.jsonl")
    # Two of three questions about the third video were traced.
    searched, held_out = split_samples(traced(tmp_path, 8), None)
    assert len(searched) + len(held_out) == VIDEOS * QUESTIONS
    assert not videos(searched) & videos(held_out)
    assert {s.id.partition("q")[0] for s in held_out} == {f"v{v}" for v in range(3, VIDEOS, 2)}


def test_one_question_per_video_is_split_as_by_sample(tmp_path: Path) -> None:
    data(tmp_path / "data.jsonl", questions=1)
    searched, held_out = split_samples(traced(tmp_path, 5), None)
    assert [s.id for s in held_out] == [f"v{v}q0" for v in range(5, VIDEOS, 2)]
    assert len(searched) == VIDEOS - len(held_out)


def test_a_copy_of_a_video_is_the_same_video(tmp_path: Path) -> None:
    data(tmp_path / "data.jsonl", questions=1)
    shutil.copy(tmp_path / "0.mp4", tmp_path / "7.mp4")
    searched, held_out = split_samples(traced(tmp_path, 1), None)
    assert "v7q0" in {s.id for s in searched} and "v7q0" not in {s.id for s in held_out}


def test_a_test_file_about_the_same_videos_is_refused(tmp_path: Path) -> None:
    data(tmp_path / "data.jsonl")
    other = tmp_path / "other"
    other.mkdir()
    test = data(other / "test.jsonl", "test-v{v}q{q}")
    with pytest.raises(BadInputError, match="60 of 60 questions, the first 'test-v0q0', are about"):
        split_samples(traced(tmp_path, 9), test)
    for clip in other.glob("*.mp4"):
        clip.write_bytes(b"another " + clip.read_bytes())
    searched, held_out = split_samples(traced(tmp_path, 9), test)
    assert len(searched) == len(held_out) == VIDEOS * QUESTIONS


def test_what_is_learned_on_is_not_reported_on(tmp_path: Path) -> None:
    samples = load_samples(data(tmp_path / "data.jsonl"))
    check_apart(samples[:9], samples[9:], "the test")
    with pytest.raises(BadInputError, match="the test: 1 of 52 questions, the first 'v2q2'"):
        check_apart(samples[:8], samples[8:], "the test")
    with pytest.raises(BadInputError, match="sample 'v2q1' is also one"):
        check_apart(samples[:8], samples[7:], "the test")
