"""lm-eval's numbers are ours: pruned, dense, by likelihood, by generation and from the command."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lm_eval import simple_evaluate
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager
from PIL import Image

from prune.checkpoint.load import LoadedModel, open_model
from prune.errors import BadInputError, RefusedError, UsageError
from prune.harness import TASKS
from prune.harness.model import PruneLM, _prompt
from prune.harness.tasks.documents import clip, load, text
from prune.inputs.encode import decode, read
from prune.inputs.media import Media
from prune.inputs.samples import Sample, load_samples
from prune.results.answer import Answer
from prune.runtime.apply import apply
from prune.tiny.benchmark import write_benchmark
from prune.workflows.evaluate import answer_samples
from tests.exports import mixed_export
from tests.unit.test_apply import mixed_plan

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("data"), "test", 2, 3)


@pytest.fixture(scope="module")
def pruned(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return mixed_export(tiny, samples, tmp_path_factory.mktemp("export") / "pruned")


@pytest.fixture(scope="module")
def lm(pruned: Path) -> PruneLM:
    return PruneLM(str(pruned), batch_size=3)


def ours(model: str, data: Path) -> list[Answer]:

    answers, failed = answer_samples(model, load_samples(data), 8)
    assert not failed
    return answers


def evaluate(model: Any, data: Path, *tasks: str, **more: Any) -> dict[str, Any]:
    manager = TaskManager(
        include_path=str(TASKS), include_defaults=False, metadata={"data": str(data)}
    )
    return simple_evaluate(
        model, tasks=list(tasks), task_manager=manager, bootstrap_iters=0, **more
    )


def test_it_is_registered() -> None:
    assert get_model("prune") is PruneLM
    (entry,) = [e for e in entry_points(group="lm_eval.models") if e.name == "prune"]
    assert entry.load().PruneLM is PruneLM


def test_likelihoods_are_the_answers_of_prune_eval(lm: PruneLM, pruned: Path, data: Path) -> None:
    answers = ours(str(pruned), data)
    found = evaluate(lm, data, "tiny")
    whole = found["results"]["tiny"]
    assert whole["acc,none"] == np.mean([a.correct for a in answers])
    assert whole["exact_match,none"] == np.mean([a.free_correct for a in answers])
    by_id = {a.id: a for a in answers}
    logged = [row for rows in found["samples"].values() for row in rows]
    assert {row["doc"]["id"] for row in logged} == set(by_id)
    for row in logged:
        scores = torch.tensor([response[0][0] for response in row["resps"]])
        assert torch.allclose(
            scores.softmax(0), torch.tensor(by_id[row["doc"]["id"]].p_options), atol=1e-4
        )


def test_generation_says_the_most_likely_letter(lm: PruneLM, pruned: Path, data: Path) -> None:
    found = evaluate(lm, data, "tiny_generate")["results"]["tiny_generate"]
    free = np.mean([a.free_correct for a in ours(str(pruned), data)])
    assert found["exact_match,letter"] == free


def requests(data: Path, *continuations: str, count: int = 2) -> list[Any]:
    documents = load("tiny", data=str(data))["test"]
    return [
        SimpleNamespace(args=(text(document), continuation, {"visual": clip(document)}))
        for document in (documents[number] for number in range(count))
        for continuation in continuations
    ]


@torch.no_grad()
def test_long_continuations_are_scored_token_by_token(
    lm: PruneLM, tiny: LoadedModel, data: Path
) -> None:
    asked = requests(data, "A", "A) red", "B")
    found = lm.loglikelihood(asked)
    model, processor = tiny.model, tiny.processor
    with apply(model, mixed_plan(tiny), processor=processor, skip="none"):
        for (score, greedy), request, sample in zip(
            found, asked, np.repeat(load_samples(data)[:2], 3), strict=True
        ):
            ids = lm._continuation(_prompt(request), request.args[1])
            inputs = read(processor, [sample], 8)
            total, likely, cache = 0.0, True, None
            for token in ids:
                out = model(**inputs, past_key_values=cache, use_cache=True)
                scores = torch.log_softmax(out.logits[0, -1], -1)
                total, likely = (
                    total + float(scores[token]),
                    likely and int(scores.argmax()) == token,
                )
                cache = out.past_key_values
                inputs = {
                    "input_ids": torch.tensor([[token]]),
                    "attention_mask": torch.ones(1, cache.get_seq_length() + 1, dtype=torch.long),
                }
            assert score == pytest.approx(total, abs=1e-4)
            assert greedy == likely


def test_the_batch_size_changes_nothing(lm: PruneLM, pruned: Path, data: Path) -> None:
    asked = requests(data, "A", "B")
    alone = PruneLM(str(pruned)).loglikelihood(asked)
    for (a, _), (b, _) in zip(lm.loglikelihood(asked), alone, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_a_cache_of_another_plan_is_refused(pruned: Path, data: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "responses")
    first = evaluate(PruneLM(str(pruned)), data, "tiny", use_cache=cache, limit=1)
    again = evaluate(PruneLM(str(pruned)), data, "tiny", use_cache=cache, limit=1)
    assert again["results"]["tiny"]["acc,none"] == first["results"]["tiny"]["acc,none"]
    for other in (PruneLM(str(pruned), dense=True), PruneLM(str(pruned), num_frames=4)):
        with pytest.raises(RefusedError, match="another model, plan"):
            evaluate(other, data, "tiny", use_cache=cache, limit=1)


def test_what_cannot_be_done_is_refused(lm: PruneLM, data: Path) -> None:
    with pytest.raises(RefusedError, match="perplexity"):
        lm.loglikelihood_rolling([])
    with pytest.raises(UsageError, match="batch_size"):
        PruneLM("tiny", batch_size="auto")
    with pytest.raises(BadInputError, match="--metadata"):
        load("tvbench")
    with pytest.raises(BadInputError, match="no question of task 'x'"):
        load("tiny", "x", data=str(data))


CUE = "The answer is ("


def test_the_cue_and_the_media_are_those_of_prune_eval(
    lm: PruneLM, pruned: Path, data: Path
) -> None:
    media = Media(fps=2.0)
    samples = load_samples(data, CUE, media)
    answers, failed = answer_samples(str(pruned), samples, 8)
    assert not failed
    metadata = {"data": str(data), "cue": CUE, "media": media.given}
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=metadata)
    found = simple_evaluate(lm, tasks=["tiny"], task_manager=manager, bootstrap_iters=0)
    by_id = {a.id: a for a in answers}
    for rows in found["samples"].values():
        for row in rows:
            scores = torch.tensor([response[0][0] for response in row["resps"]])
            wanted = torch.tensor(by_id[row["doc"]["id"]].p_options)
            assert torch.allclose(scores.softmax(0), wanted, atol=1e-4)
            assert row["arguments"][0][0].endswith(CUE)


def test_frames_may_be_a_list_of_images(lm: PruneLM, data: Path) -> None:
    first = load_samples(data)[0]
    frames, _ = decode(first, 4)
    line = json.loads(data.read_text().splitlines()[0])
    line["video"] = [f"frame-{number}.png" for number in range(len(frames))]
    for name, frame in zip(line["video"], frames, strict=True):
        Image.fromarray(frame).save(data.parent / name)
    listed = data.parent / "listed.jsonl"
    listed.write_text(json.dumps(line) + "\n")
    (request,) = requests(listed, "A", count=1)
    inputs = read(lm.processor, load_samples(listed), 8)
    assert torch.equal(lm._inputs([_prompt(request)])["input_ids"], inputs["input_ids"])


def test_the_command_passes_the_cue_on(pruned: Path, data: Path, tmp_path: Path) -> None:
    flags = ["--metadata", json.dumps({"data": str(data)}), "--log_samples", "--limit", "1"]
    done = subprocess.run(
        [BIN / "prune", "eval", pruned, "--tasks", "tiny", "--cue", CUE, "--fps", "2", *flags,
         "--output_path", str(tmp_path)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for path in tmp_path.rglob("samples_*.jsonl"):
        (row,) = map(json.loads, path.read_text().splitlines())
        assert row["doc"]["cue"] == CUE and json.loads(row["doc"]["media"]) == {"fps": 2.0}


def test_the_command_gives_the_same_numbers_on_two_processes(
    pruned: Path, data: Path, tmp_path: Path
) -> None:
    torchrun = [BIN / "torchrun", "--standalone", "--nproc-per-node", "2"]
    metadata = json.dumps({"data": str(data)})
    flags = ["--metadata", metadata, "--batch_size", "4", "--output_path", str(tmp_path)]
    command = [BIN / "prune", "eval", pruned, "--tasks", "tiny", *flags]
    done = subprocess.run(
        [*torchrun, *command],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("results_*.json")
    written = json.loads(path.read_text())
    opened = open_model(pruned)
    assert opened.plan is not None
    assert written["config"]["model_sha256"] == opened.id.sha256
    assert written["config"]["plan_sha256"] == opened.plan.sha256
    found = written["results"]["tiny"]
    assert "acc_stderr,none" in found and "tiny::moving_direction" in written["results"]
    answers = ours(str(pruned), data)
    assert found["acc,none"] == np.mean([a.correct for a in answers])
    assert found["exact_match,none"] == np.mean([a.free_correct for a in answers])
