"""The worked example of docs/adding-a-data-set.md: its two files are enough."""

import json
import re
import shutil
from pathlib import Path

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from typer.testing import CliRunner

import prune.datasets
from prune.cli.app import app
from prune.harness import TASKS
from prune.harness.model import PruneLM
from prune.inputs.samples import Sample, load_samples

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-data-set.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def kitchen(tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's reader where it would be found, and a miniature of its layout."""
    readers = tmp_path / "readers"
    readers.mkdir()
    (readers / "kitchen.py").write_text(block("python"))
    monkeypatch.setattr(prune.datasets, "__path__", [*prune.datasets.__path__, str(readers)])
    folder = tmp_path / "kitchen"
    (folder / "clips").mkdir(parents=True)
    (shown,) = re.findall(r"annotations.json +\[(\{.*?\}), \.\.\.\]", PAGE)
    entry = json.loads(shown)
    (folder / "annotations.json").write_text(json.dumps([entry, {**entry, "gold": 0}]))
    shutil.copyfile(samples[0].video, folder / "clips" / f"{entry['clip']}.mp4")
    return folder


def test_the_page_s_reader_and_tasks_work(kitchen: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", "kitchen", str(kitchen)])
    assert done.exit_code == 0, done.exception
    found = load_samples(kitchen / "kitchen.jsonl")
    assert [s.answer for s in found] == [1, 0] and {s.task for s in found} == {"order"}
    tasks = tmp_path / "tasks"
    shutil.copytree(TASKS, tasks)
    (tasks / "kitchen.yaml").write_text(block("yaml"))
    manager = TaskManager(
        include_path=str(tasks), include_defaults=False, metadata={"data": str(kitchen)}
    )
    results = simple_evaluate(
        PruneLM("tiny"), tasks=["kitchen"], task_manager=manager, bootstrap_iters=0
    )["results"]
    # The same question with either answer: one of them is right.
    assert results["kitchen"]["acc,none"] == 0.5
