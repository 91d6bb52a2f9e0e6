"""A healed model, exported and served: from a checkpoint with the hub's names of weights."""

import json
import re
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file

import prune
from prune.checkpoint.load import open_model
from prune.inputs.samples import load_samples
from prune.learn.heal import HealSettings
from prune.plan.plan import PLAN_FILE, RUN_PLAN_FILE, Plan
from prune.workflows.export import export_model
from prune.workflows.heal import heal_model
from tests.vllm.engine import Engine
from tests.vllm.folders import sealed, small
from tests.vllm.requests import REQUESTS, TURNS, Reference, clip
from tests.vllm.served import TOLERANCE, Served
from tests.vllm.server import mp4


def names_in(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= set(file.keys())
    return found


def saved_as_on_the_hub(model: Any, processor: Any, folder: Path) -> None:
    """What `llava-hf` has: the tower's weights behind `vision_model`."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        tower = re.compile(r"^vision_tower\.(?!vision_model)")
        named = {tower.sub("vision_tower.vision_model.", k): v for k, v in load_file(path).items()}
        save_file(named, path, metadata={"format": "pt"})


def questions(folder: Path, seed: int) -> Path:
    """A data set of three clips."""
    folder.mkdir()
    lines = []
    for index in range(3):
        (folder / f"{index}.mp4").write_bytes(mp4(clip(seed + index, 4, 112, 112)[0]))
        sample = {"id": f"{seed}-{index}", "video": f"{index}.mp4", "question": "What moves?"}
        lines.append(sample | {"options": ["a cat", "a dog"], "answer": index % 2})
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_healed_export_is_served_as_prune_loads_it(tmp_path: Path) -> None:
    model, processor = small("llava_onevision")
    source, healed, out = tmp_path / "dense", tmp_path / "healed", tmp_path / "pruned"
    saved_as_on_the_hub(model, processor, source)
    learn, test = questions(tmp_path / "learn", 500), questions(tmp_path / "test", 600)
    opened = open_model(source, dense=True)
    split = load_samples(learn), load_samples(test)
    heal_model(opened, sealed(model), *split, 4, HealSettings(3, 1e-3, 0), healed)
    bound = Plan.load(healed / RUN_PLAN_FILE)
    export_model(healed, out, test=test, plan=bound, num_frames=4)
    assert names_in(out) == names_in(healed) == names_in(source)
    assert all("vision_model" in name for name in names_in(out) if "vision_tower" in name)

    dense = open_model(out, dense=True).model
    before = Reference(model, processor, sealed(model))
    reference = Reference(dense, processor, Plan.load(out / PLAN_FILE))
    served = Served(Engine(out, processor), reference)
    free = served.engine.free
    try:
        for chunk in (2048, 96):
            with served.engine.chunks(chunk):
                answers = served.engine.answers(REQUESTS)
            served.check(REQUESTS, answers)
        with served.engine.sharing() as found:
            for turn in TURNS[:2]:
                served.check([turn], served.engine.answers([turn]))
        assert found[0] == 0 < found[1]
        assert served.engine.free == free
    finally:
        served.engine.close()
    # The loaded model runs its plan itself.
    loaded = Reference(prune.load(out)[0], processor, None)
    for request, answer in zip(REQUESTS, answers, strict=True):
        same = loaded.dense(request)
        assert same.tokens == answer.tokens and same.distance(answer) < TOLERANCE, request.name
    assert reference.dense(REQUESTS[0]).distance(answers[0]) > 100 * TOLERANCE
    said = answers[0].tokens
    assert before.pruned(REQUESTS[0], said=said).distance(answers[0]) > 100 * TOLERANCE
