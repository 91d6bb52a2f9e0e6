"""Shared by all tests: `tiny`, and a few of its clips on disk."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prune.checkpoint.load import LoadedModel, open_model
from prune.cli.main import _run
from prune.inputs.samples import Sample, load_samples
from prune.tiny.benchmark import write_benchmark

# The models are too small for two threads, which wait for each other on a busy machine.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> LoadedModel:
    return open_model("tiny")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `calibration.jsonl` and `test.jsonl`, 4 clips a task."""
    folder = tmp_path_factory.mktemp("clips")
    for split in ("calibration", "test"):
        write_benchmark(folder, split, per_task=4)
    return folder


@pytest.fixture(scope="session")
def samples(clips: Path) -> list[Sample]:
    return load_samples(clips / "calibration.jsonl")


@pytest.fixture
def prune_command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `prune ARGS` in this process: `(exit code, stdout, stderr)`."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["prune", *map(str, args)])
        code = _run()
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run
