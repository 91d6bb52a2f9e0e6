"""The Python of a page runs from top to bottom, with a reader's folder, clip and adapter."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model

from prune.checkpoint.load import LoadedModel, open_model
from prune.inputs.samples import Sample
from prune.tiny.benchmark import write_benchmark
from prune.workflows.write_export import export
from tests.exports import small_result
from tests.unit.test_apply import mixed_plan

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("data-sets", "explaining-an-answer", "index", "quick-start", "reproduce", "serving")


@pytest.fixture(scope="module")
def reader(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What the pages' names stand for."""
    folder = tmp_path_factory.mktemp("reader")
    plan = mixed_plan(tiny)
    export(tiny, plan, small_result(tiny, plan, samples), folder / "pruned")
    adapted = get_peft_model(open_model("tiny").model, LoraConfig(target_modules=["q_proj"]))
    adapted.save_pretrained(folder / "adapter")
    return {
        "DIR": str(folder / "pruned"),
        "ADAPTER": str(folder / "adapter"),
        "runs/demo/tiny-pruned": str(folder / "pruned"),
        "clip.mp4": str(samples[0].video),
        "clips/test.jsonl": str(write_benchmark(folder, "test", 1)),
        "pretrained=MODEL": f"pretrained={folder / 'pruned'}",
    }


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(
    page: str, reader: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        if any(name in block and find_spec(name) is None for name in ("torchao", "kvpress")):
            continue
        if "pipeline(" in block:  # Needs a real processor: tests/real/test_tools.py runs it.
            continue
        for word, path in reader.items():
            block = re.sub(rf'"{re.escape(word)}(?=["/])', f'"{path}', block)
        exec(block, names)
    assert "Launches" in capsys.readouterr().out or page != "serving"
