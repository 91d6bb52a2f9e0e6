"""`recipes/ray/answer.py`: questions answered by vLLM engines that Ray Data feeds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import prune
from prune.inputs.encode import read
from prune.inputs.samples import load_samples
from tests.vllm.folders import both
from tests.vllm.requests import clip
from tests.vllm.server import mp4

RECIPE = Path(__file__).parents[2] / "recipes" / "ray" / "answer.py"
RAY = Path(sys.prefix) / "ray"
"""Ray's packages, which vLLM is to run without elsewhere."""

ENGINE = {
    "dtype": "float32", "max_model_len": 2048, "kv_cache_memory_bytes": 256 << 20,
    "enforce_eager": True, "skip_mm_profiling": True,
}  # fmt: skip


@pytest.mark.timeout(900)
def test_the_answers_are_those_of_prune_load(tmp_path: Path) -> None:
    *_, folder = both("qwen3_vl", tmp_path)
    lines = []
    for index in range(3):
        (tmp_path / f"{index}.mp4").write_bytes(mp4(clip(700 + index, 4, 112, 112)[0]))
        sample = {"id": f"q{index}", "video": f"{index}.mp4", "question": "What moves?"}
        lines.append(sample | {"options": ["a cat", "a dog"], "answer": 0})
    data, out = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    # As many CPUs as Ray wants for its stages, on any machine.
    start = "import ray, runpy, sys; ray.init(num_cpus=8, include_dashboard=False, runtime_env="
    start += "{'worker_process_setup_hook': 'prune.serve.vllm.register'}); "
    start += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", start, RECIPE, folder, "--data", data, "--out", out]
    command += ["--gpus", "0", "--frames", "4", "--max-tokens", "5", "--engine", json.dumps(ENGINE)]
    env = os.environ | {
        "PYTHONPATH": str(RAY), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "120",
        # Else as many workers as CPUs import vLLM beforehand.
        "RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0",
    }  # fmt: skip
    subprocess.run(command, check=True, env=env, timeout=860)
    replies = {row["id"]: row["reply"] for row in map(json.loads, out.open())}
    assert not out.with_suffix(".part").exists()
    model, processor = prune.load(folder)
    for sample in load_samples(data):
        inputs = read(processor, [sample], 4)
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=5, do_sample=False)
        said = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert replies.pop(sample.id) == said
    assert not replies
