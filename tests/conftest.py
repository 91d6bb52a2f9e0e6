"""Shared by all tests: `tiny`, a few of its clips on disk, and what `--short` leaves out."""

import sys
from collections.abc import Callable
from itertools import compress
from pathlib import Path

import pytest
import torch

from prune.checkpoint.load import LoadedModel, open_model
from prune.cli.main import _run
from prune.inputs.samples import Sample, load_samples
from prune.tiny.benchmark import write_benchmark
from tests.short import diagonal

# The models are too small for two threads, which wait for each other on a busy machine.
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--short",
        action="store_true",
        help="of a test with several parameters run each value of each, not all combinations",
    )


# Behind `-k` and `-m`, whose choice it is to make from.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("short"):
        return
    cases = [
        (item.nodeid.partition("[")[0], item.callspec.params if hasattr(item, "callspec") else {})
        for item in items
    ]
    kept = diagonal(cases)
    config.hook.pytest_deselected(items=list(compress(items, (not chosen for chosen in kept))))
    items[:] = compress(items, kept)


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
