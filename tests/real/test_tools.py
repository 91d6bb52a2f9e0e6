"""transformers' pipelines and its server run an export's plan, with real processors."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from transformers import pipeline
from transformers.cli.serve import Serve
from transformers.utils.import_utils import is_torchcodec_usable

import prune
from prune.checkpoint.load import open_model
from prune.inputs.samples import Sample
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.plan.plan import Plan
from prune.workflows.write_export import export
from tests.exports import small_result
from tests.real.models import LAYERS, model_of

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
    assert 0 < launches.computed <= launches.states


@pytest.fixture(scope="module")
def server(exports: dict[str, Path]) -> Iterator[tuple[Serve, str]]:
    """`transformers serve` on an export, and its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    folder = str(exports["qwen2_5_vl"])
    serving = Serve(force_model=folder, device="cpu", port=port, non_blocking=True)
    while not serving.server.started:
        assert serving._thread.is_alive()
    yield serving, f"http://localhost:{port}/v1/chat/completions"
    serving.kill_server()


def ask(url: str, folder: Path, content: list[dict[str, Any]]) -> str:
    """The server's reply."""
    body = {
        "model": str(folder),
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 4,
        "temperature": 0,
        "chat_template_kwargs": {"num_frames": 4},
    }
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())["choices"][0]["message"]["content"]


def with_sound(video: Path, out: Path) -> Path:
    """A clip with a silent sound track: the server reads the sound of every clip."""
    with av.open(str(video)) as source, av.open(str(out), "w") as target:
        frames = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
        pictures = target.add_stream("mpeg4", rate=8)
        pictures.height, pictures.width = frames[0].shape[:2]
        sound = target.add_stream("aac", rate=16000, layout="mono")
        silence = np.zeros((1, len(frames) * 2000), np.float32)
        heard = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        heard.sample_rate = 16000
        for frame in frames:
            target.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        target.mux([*pictures.encode(), *sound.encode(heard), *sound.encode()])
    return out


@pytest.mark.skipif(
    not is_torchcodec_usable(decode="video"),
    reason="transformers decodes a server's videos with torchcodec, which needs FFmpeg's libraries",
)
def test_the_server_runs_the_plan(
    server: tuple[Serve, str], exports: dict[str, Path], samples: list[Sample], tmp_path: Path
) -> None:
    serving, url = server
    folder = exports["qwen2_5_vl"]
    (loaded,) = serving._model_manager.loaded_models.values()
    before = prune.launches(loaded.model).total
    clip = with_sound(samples[0].video, tmp_path / "clip.mp4")
    said = ask(
        url,
        folder,
        [
            {"type": "video_url", "video_url": {"url": str(clip)}},
            {"type": "text", "text": QUESTION},
        ],
    )
    assert said == expected(folder, *prune.load_video(clip, 4, backend="torchcodec"))
    launches = prune.launches(loaded.model)
    assert launches.total > before and launches.dense_prompts == 0


def test_the_server_loads_the_plan(server: tuple[Serve, str], exports: dict[str, Path]) -> None:
    (loaded,) = server[0]._model_manager.loaded_models.values()
    assert prune.launches(loaded.model).dense_prompts == 0
    assert ask(server[1], exports["qwen2_5_vl"], [{"type": "text", "text": QUESTION}])
