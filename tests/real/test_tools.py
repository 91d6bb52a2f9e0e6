"""transformers' pipelines run an export's plan, with real processors."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import pipeline

import prune
from prune.checkpoint.load import open_model
from prune.inputs.samples import Sample
from prune.layout.pathways import PATHWAYS, dense_reach, remove_pathway
from prune.plan.plan import Plan
from prune.workflows.write_export import export
from tests.real.models import LAYERS, model_of
from tests.unit.test_export import small_result

SERVING = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
QUESTION = "What moves?"
NAMES = ["qwen2_5_vl", "internvl"]


@pytest.fixture(scope="module")
def exports(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An export of each of `NAMES`."""
    found = {}
    for name in NAMES:
        model, processor = model_of(name)
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder / "dense")
        processor.save_pretrained(folder / "dense")
        opened = open_model(folder / "dense", dense=True)
        reach = dense_reach(LAYERS)
        for pathway, layers in (
            ("cross_frame", [0, 1]),
            ("video_to_last", slice(0, LAYERS)),
            ("video_to_question_sealed", [3, 4]),
        ):
            remove_pathway(reach, PATHWAYS[pathway], layers)
        plan = Plan(reach, opened.id, "mixed")
        result = small_result(opened, plan, samples)
        found[name] = export(opened, plan, result, folder / "pruned")
    return found


def expected(folder: Path, video: Any, metadata: Any) -> str:
    """What the model says that `prune.load` opens."""
    model, processor = prune.load(folder)
    content = [{"type": "video"}, {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    inputs = processor(
        text=[text],
        videos=[[video]],
        video_metadata=[[metadata]],
        do_sample_frames=False,
        return_tensors="pt",
    )
    with torch.no_grad():
        reply = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    start = inputs["input_ids"].shape[1]
    return processor.decode(reply[0, start:], skip_special_tokens=True)


@pytest.mark.parametrize("task", ["image-text-to-text", "any-to-any"])
@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_runs_the_plan(
    name: str, task: str, exports: dict[str, Path], samples: list[Sample]
) -> None:
    video, metadata = prune.load_video(samples[0].video, 4)
    content = [{"type": "video", "video": video}, {"type": "text", "text": QUESTION}]
    run = pipeline(task, model=str(exports[name]), device="cpu")
    (said,) = run(
        text=[{"role": "user", "content": content}],
        return_full_text=False,
        max_new_tokens=4,
        generate_kwargs={"do_sample": False},
        processor_kwargs={"do_sample_frames": False, "video_metadata": [[metadata]]},
    )
    assert said["generated_text"] == expected(exports[name], video, metadata)
    launches = prune.launches(run.model)
    assert launches.total > 0 and launches.dense_prompts == 0
    assert launches.computed < launches.states


def test_the_pipeline_of_the_docs(
    exports: dict[str, Path], samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n([^`]*pipeline\([^`]*)```", SERVING)
    video, metadata = prune.load_video(samples[0].video, 4)
    folder = str(exports["qwen2_5_vl"])
    names: dict[str, Any] = {"prune": prune, "video": video, "metadata": metadata}
    exec(block.replace('"DIR"', repr(folder)), names)
    assert prune.launches(names["answer"].model).total > 0
    assert "Launches" in capsys.readouterr().out
