"""Data sets: every bad line is named by its number."""

import json
from pathlib import Path

import pytest

from prune.errors import BadInputError
from prune.inputs.samples import fingerprint, load_samples
from prune.tiny.benchmark import write_benchmark
from prune.tiny.questions import TASKS
from prune.tiny.scenes import SPLITS
from tests.helpers import SAMPLE


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
        (SAMPLE, "id 'a' appears twice"),
    ],
)
def test_bad_lines(tmp_path: Path, line: object, message: str) -> None:
    path = _write(tmp_path / "data.jsonl", SAMPLE, "", line)
    with pytest.raises(BadInputError) as error:
        load_samples(path)
    assert f"{path}:3:" in str(error.value) and message in str(error.value)


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
