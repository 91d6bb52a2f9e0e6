"""What `prune bench --report` and `prune audit` put into an export's report."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prune.checkpoint.load import LoadedModel
from prune.checkpoint.manifest import verify
from prune.inputs.samples import Sample, load_samples, save_samples
from prune.results.export_result import RESULT_FILE, Result
from tests.exports import mixed_export

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def exported(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return mixed_export(tiny, samples, tmp_path_factory.mktemp("commands") / "pruned")


def test_bench(exported: Path, clips: Path, prune_command: Command) -> None:
    data = ("--data", clips / "test.jsonl", "--frames", "4", "--batches", "1", "--runs", "2")
    code, said, _ = prune_command("bench", exported, *data, "--report")
    assert code == 0 and "report.html" in said.replace("\n", "")
    result = Result.load(exported / RESULT_FILE)
    assert [at.shape.frames for at in result.benched] == [4] and result.benched_on["runs"] == "2"
    assert result.benched[0].capacity[0].joules is None
    assert "x measured" in (exported / "report.html").read_text()
    verify(exported)
    code, _, said = prune_command("bench", "tiny", *data, "--report")
    assert code == 2 and "holds no report of prune export" in said


def test_audit(exported: Path, clips: Path, tmp_path: Path, prune_command: Command) -> None:
    data = clips / "few.jsonl"
    save_samples(data, load_samples(clips / "test.jsonl")[:2])
    words = ("--data", data, "--limit", "1", "--out", tmp_path / "audit")
    # One video is too few: the report says so, and the command ends with exit code 8.
    code, said, error = prune_command("audit", "tiny", exported, *words)
    assert code == 8 and str(exported / "report.html") in said.replace("\n", "")
    assert "too few to say" in error
    found = Result.load(exported / RESULT_FILE).audit
    assert (
        found is not None
        and found.outcome == "open"
        and (found.explained, found.answered) == (1, 2)
    )
    assert found.command.startswith("prune audit tiny")
    assert (exported / "audit.html").read_text() == (tmp_path / "audit/audit.html").read_text()
    page = (exported / "report.html").read_text()
    assert "Too few videos to say" in page and 'href="audit.html"' in page
    verify(exported)
