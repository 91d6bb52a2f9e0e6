"""What all faults start from, and the count of those that are met."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from prune.checkpoint.load import TINY
from tests.faults.driver import ONE, QUICK, Ended, Zygote, tree, write_lines

FAULTS = 45


ELSEWHERE = {
    "tests/runtime/test_launches.py": 41,
    "tests/video/test_corpus.py": 33,
    "tests/video/test_shapes.py": 33,
    "tests/video/test_damage.py": 34,
    "tests/video/test_process.py::test_a_decoder_that_dies": 35,
    "tests/video/test_process.py::test_the_next_clip": 35,
    "tests/video/test_process.py::test_memory": 36,
    "tests/video/test_process.py::test_pixels_frames_and_output": 36,
    "tests/video/test_inputs.py": 37,
}
"""Faults that tests of other folders show."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each item the number of its fault, for the count at the end."""
    for item in items:
        numbers = [mark.args[0] for mark in item.iter_markers("fault")]
        numbers += [n for start, n in ELSEWHERE.items() if item.nodeid.startswith(start)]
        item.user_properties += [("fault", number) for number in numbers]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    numbers: dict[str, set[int]] = {"passed": set(), "failed": set(), "error": set()}
    for outcome, found in numbers.items():
        for report in terminalreporter.stats.get(outcome, []):
            found |= {value for name, value in report.user_properties if name == "fault"}
    broken = numbers["failed"] | numbers["error"]
    if any(numbers.values()):
        met = len(numbers["passed"] - broken)
        terminalreporter.write_line(f"{met} of {FAULTS} faults are met as specified")
        if broken:
            terminalreporter.write_line(f"not met: {', '.join(map(str, sorted(broken)))}")


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    started = Zygote(tmp_path_factory.mktemp("printed"))
    yield started
    started.close()


@pytest.fixture
def data(clips: Path, tmp_path: Path) -> Path:
    """A data set of 4 questions, in a folder of its own that leads to the clips."""
    for split in ("calibration", "test"):
        (tmp_path / split).symlink_to(clips / split)
    return write_lines(tmp_path / "data.jsonl", questions(clips, 4))


def questions(clips: Path, count: int, split: str = "calibration") -> list[dict[str, object]]:
    lines = (clips / f"{split}.jsonl").read_text().splitlines()[:count]
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def eight(clips: Path) -> Path:
    """A data set of 8 questions that no test changes."""
    return write_lines(clips / "eight.jsonl", questions(clips, 8))


@dataclass(frozen=True)
class Whole:
    """A trace that nothing interrupted: its folder, its files, and how long it took."""

    run: Path
    files: dict[str, str]
    seconds: float


@pytest.fixture(scope="session")
def whole(zygote: Zygote, eight: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A trace of `eight`."""
    run = tmp_path_factory.mktemp("whole") / "a"
    done = trace(zygote, eight, run)
    assert done.code == 0, done.err
    return Whole(run, tree(run), done.seconds)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of `tiny`."""
    return Path(shutil.copytree(TINY, tmp_path / "model"))


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return write_plan(tmp_path / "p.json")


def write_plan(path: Path, **changes: object) -> Path:
    rule = {"layers": "6-11", "queries": ["video"], "keys": ["video"], "reach": "none"}
    model = {"name": "tiny", "num_layers": 12, "num_kv_heads": 4}
    whole = {"schema_version": 1, "name": "p", "model": model, "origin": {}, "rules": [rule]}
    path.write_text(json.dumps({**whole, **changes}))
    return path


@pytest.fixture(scope="session")
def exported(zygote: Zygote, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of `tiny`, measured on two questions, under the plan of `plan`."""
    folder = tmp_path_factory.mktemp("exported")
    done = export(zygote, folder / "x", write_plan(folder / "p.json"), two(clips))
    assert done.code == 0, done.err
    return folder / "x"


@pytest.fixture(scope="session")
def measured(exported: Path) -> str:
    """Before an export whose writing is tested: what was measured for `exported` is written."""
    return (
        "import prune.workflows.export as e\nfrom pathlib import Path\n"
        "from prune.results.export_result import Result\n"
        f"result = Result.load(Path({str(exported / 'prune_report.json')!r}))\n"
        "e.measure_at = lambda *given, **named: result\n"
    )


def two(clips: Path) -> Path:
    """Two questions to report on."""
    return write_lines(clips / "two.jsonl", questions(clips, 2, "test"))


def trace(zygote: Zygote, data: Path, out: Path, *more: object, **given: object) -> Ended:
    return zygote.run("trace", given.pop("model", "tiny"), "--data", data, *ONE, "--out", out,
                      *more, **given)  # fmt: skip


def export(
    zygote: Zygote, out: Path, plan: Path, test: Path, *more: object, **given: object
) -> Ended:
    source = given.pop("model", "tiny")
    given["before"] = QUICK + str(given.pop("before", ""))
    return zygote.run("export", source, "--plan", plan, "--test", test, "--out", out,
                      *more, **given)  # fmt: skip
