"""`lmms_eval --model prune` on a task of clips: the answers of `prune eval`, pruned and dense."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lmms_eval.models import get_model

from prune.checkpoint.load import LoadedModel, open_model
from prune.errors import RefusedError, UsageError
from prune.harness.lmms import PruneChat
from prune.inputs.prompts import ANSWER_CUE, choice_text
from prune.inputs.samples import Sample, load_samples
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.plan.plan import Plan
from prune.tiny.benchmark import write_benchmark
from prune.workflows.evaluate import answer_samples
from prune.workflows.write_export import export
from tests.exports import mixed_export, small_result
from tests.real.models import LAYERS, model_of

TASK = """
task: clips
dataset_path: json
dataset_kwargs:
  data_files: {documents}
test_split: train
output_type: generate_until
doc_to_messages: !function clips.messages
doc_to_visual: !function clips.visual
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{letter}}}}"
generation_kwargs:
  max_new_tokens: 1
process_results: !function clips.result
metric_list:
  - metric: right
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""

FUNCTIONS = f"""
def visual(doc):
    return [doc["video"]]

def messages(doc):
    asked = [{{"type": "video", "url": doc["video"]}}, {{"type": "text", "text": doc["question"]}}]
    begun = [{{"type": "text", "text": {ANSWER_CUE!r}}}]
    return [{{"role": "user", "content": asked}}, {{"role": "assistant", "content": begun}}]

def result(doc, results):
    return {{"right": float(results[0] == doc["letter"])}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("data"), "test", 2, 3)


@pytest.fixture(scope="module")
def tasks(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one task of lmms-eval, whose documents are `data`."""
    folder = tmp_path_factory.mktemp("tasks")
    documents = [
        {
            "video": str(sample.video),
            "question": choice_text(sample.question, list(sample.options)),
            "letter": chr(ord("A") + sample.answer),
        }
        for sample in load_samples(data)
    ]
    (folder / "documents.json").write_text(json.dumps(documents))
    (folder / "clips.yaml").write_text(TASK.format(documents=folder / "documents.json"))
    (folder / "clips.py").write_text(FUNCTIONS)
    return folder


@pytest.fixture(scope="module")
def pruned(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return mixed_export(tiny, samples, tmp_path_factory.mktemp("export") / "pruned")


def lmms_eval(tasks: Path, model: str, arguments: str, out: Path) -> dict[str, Any]:
    """What the command writes: its results and its samples."""
    subprocess.run(
        [
            sys.executable, "-m", "lmms_eval", "--model", model, "--model_args", arguments,
            "--tasks", "clips", "--include_path", str(tasks), "--batch_size", "1",
            "--log_samples", "--output_path", str(out),
        ],
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(out)},
    )  # fmt: skip
    (results,) = out.rglob("*_results.json")
    (lines,) = out.rglob("*_samples_clips.jsonl")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    return {
        "right": json.loads(results.read_text())["results"]["clips"]["right,none"],
        "said": [row["filtered_resps"][0] for row in sorted(rows, key=lambda row: row["doc_id"])],
    }


@pytest.mark.parametrize("dense", [False, True])
def test_answers_are_those_of_prune_eval(
    dense: bool, tasks: Path, data: Path, pruned: Path, tmp_path: Path
) -> None:
    found = lmms_eval(tasks, "prune", f"pretrained={pruned},dense={dense}", tmp_path)
    samples = load_samples(data)
    answers, failed = answer_samples("tiny" if dense else str(pruned), samples, 8)
    assert not failed
    said = [chr(ord("A") + answer.choice) for answer in answers]
    assert found["said"] == said
    right = sum(
        answer.choice == sample.answer for answer, sample in zip(answers, samples, strict=True)
    )
    assert found["right"] == pytest.approx(right / len(samples))


def test_pruned_and_dense_differ(pruned: Path, data: Path) -> None:
    """The comparison above can fail."""
    samples = load_samples(data)
    shares = [
        [answer.p_options for answer in answer_samples(model, samples, 8)[0]]
        for model in ("tiny", str(pruned))
    ]
    assert shares[0] != shares[1]


def test_what_it_does_not_do_is_refused(pruned: Path) -> None:
    with pytest.raises(UsageError, match="batch_size '4'"):
        PruneChat(str(pruned), batch_size="4")
    model = PruneChat(str(pruned))
    with pytest.raises(RefusedError, match="generate_until"):
        model.loglikelihood([])
    with pytest.raises(RefusedError, match="several rounds"):
        model.generate_until_multi_round([])


def test_an_export_is_never_dense_in_lmms_evals_own_model(
    samples: list[Sample], tmp_path: Path
) -> None:
    model, processor = model_of("qwen2_5_vl")
    model.save_pretrained(tmp_path / "dense")
    processor.save_pretrained(tmp_path / "dense")
    opened = open_model(tmp_path / "dense")
    reach = dense_reach(LAYERS)
    remove_pathway(reach, PATHWAYS["cross_frame"], [0, 1])
    plan = Plan(reach, opened.id, "apart")
    folder = export(opened, plan, small_result(opened, plan, samples), tmp_path / "pruned")
    # It loads every family's states without their head.
    with pytest.raises(RefusedError, match="only the whole model runs under its plan"):
        get_model("huggingface")(str(folder), device="cpu", device_map="cpu")
