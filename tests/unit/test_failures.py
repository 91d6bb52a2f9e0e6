"""An exception of one sample is that sample's failure; too many failures end a command."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.errors import (
    BadInputError,
    DefectError,
    NumericError,
    PruneError,
    ResourceError,
    TooManyFailedError,
    UsageError,
)
from prune.evaluate.answers import prepare
from prune.inputs.max_failed import check_failed
from prune.inputs.samples import Sample, load_samples, save_samples
from prune.journal.records import check_usable, recorded

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInputError("no video"), 3),
        (NumericError("NaN"), 7),
        (ValueError("all input arrays must\nhave the same shape"), 70),
        (KeyError("pixel_values"), 70),
        (PermissionError(errno.EACCES, "Permission denied"), 70),
    ],
)
def test_any_exception_of_a_sample_is_recorded(
    samples: list[Sample], error: Exception, code: int
) -> None:
    def measure(sample: Sample) -> dict[str, Any]:
        raise error

    record = recorded(measure)(samples[0])
    assert record["exit_code"] == code and record["id"] == samples[0].id
    assert "\n" not in record["error"]
    assert isinstance(error, PruneError) or "test_failures.py:" not in record["error"]


@pytest.mark.parametrize(
    "error",
    [
        ResourceError("the disk is full"),
        OSError(errno.ENOSPC, "No space left on device"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        KeyboardInterrupt(),
    ],
)
def test_what_concerns_every_sample_is_not(samples: list[Sample], error: BaseException) -> None:
    def measure(sample: Sample) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)):
        recorded(measure)(samples[0])


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ((3, 3), BadInputError),
        ((7, 7), NumericError),
        ((70, 70), DefectError),
        ((3, 7), BadInputError),
    ],
)
def test_a_run_ends_if_all_samples_fail(codes: tuple[int, ...], kind: type[Exception]) -> None:
    records = [{"id": str(i), "error": "why", "exit_code": c} for i, c in enumerate(codes)]
    with pytest.raises(kind, match="no sample could be used: why"):
        check_usable(records)
    check_usable([*records, {"id": "fine"}])


@pytest.mark.parametrize(
    ("failed", "total", "limit", "fine"),
    [
        (1, 6, "1%", True),
        (2, 6, "1%", False),
        (10, 1000, "1%", True),
        (11, 1000, "1%", False),
        (5, 6, "100%", True),
        (1, 6, "0", False),
        (3, 6, "3", True),
    ],
)
def test_the_limit(failed: int, total: int, limit: str, fine: bool) -> None:
    reasons = {str(i): "no video" for i in range(failed)}
    if fine:
        check_failed(reasons, total, limit)
    else:
        with pytest.raises(TooManyFailedError, match=f"--max-failed {limit} allows"):
            check_failed(reasons, total, limit)


@pytest.mark.parametrize("limit", ["", "-1", "1e9", "half", "1,5%"])
def test_a_limit_that_is_none(limit: str) -> None:
    with pytest.raises(UsageError, match="--max-failed"):
        check_failed({}, 1, limit)


def test_one_sample_that_cannot_be_encoded_leaves_the_others_in_its_batch(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    asked = replace(samples[1], question="What is <video> here?")
    batches, failed = prepare(tiny.model, tiny.processor, [samples[0], asked, *samples[2:4]], 4, 32)
    assert [s.id for batch in batches for s in batch.samples] == [samples[i].id for i in (0, 2, 3)]
    assert failed == {
        asked.id: "ValueError: 2 <video> in the text, 1 videos (tiny/processor.py:74)"
    }


def broken(clips: Path, number: int) -> Path:
    """A data set of 24 samples of which the videos of some are missing."""
    samples = load_samples(clips / "calibration.jsonl")
    path = clips / f"broken-{number}.jsonl"
    save_samples(path, samples)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[:number]:
        line["video"] = "none.mp4"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_too_many_failures_end_in_code_9_and_without_a_plan(
    prune_command: Run, clips: Path, tmp_path: Path
) -> None:
    data, run = broken(clips, 3), tmp_path / "run"
    trace = ("trace", "tiny", "--data", data, "--pathway", "video->last", "--samples", "all")
    code, _, err = prune_command(*trace, "--out", run)
    assert code == 9 and "3 of 24 samples failed, --max-failed 1% allows 1" in err
    code, _, err = prune_command("plan", run, "--density", "0.9")
    assert code == 9 and not (run / "plan.json").exists()
    code, _, err = prune_command(*trace, "--out", run, "--max-failed", "50%")
    assert code == 5 and err.count("no such video file") == 3
    code, _, err = prune_command("eval", "tiny", "--data", data, "--max-failed", "2")
    assert code == 9 and "allows 2" in err
