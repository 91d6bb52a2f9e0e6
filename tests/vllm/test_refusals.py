"""What stops with one line: vLLM without the plug-in, and settings that go with no plan."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import prune
import prune.serve.vllm as plugin
from prune.errors import PruneError, RefusedError
from prune.plan.plan import PLAN_FILE, Plan
from prune.serve.vllm import config
from prune.serve.vllm.config import PrunedConfig, _check_settings
from tests.vllm.folders import at, both, export

CONFIGURE = """
import sys
from vllm.engine.arg_utils import EngineArgs
EngineArgs(model=sys.argv[1], dtype="float32", max_model_len=512).create_engine_config()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both("qwen2_5_vl", tmp_path_factory.mktemp("refused"))[-1]


def test_vllm_without_the_plug_in_refuses_an_export(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONFIGURE, folder],
        capture_output=True,
        text=True,
        env={**os.environ, "VLLM_PLUGINS": "none"},
    )
    assert done.returncode != 0
    assert "PrunedQwen2_5_VLForConditionalGeneration" in done.stderr
    assert "not supported" in done.stderr


def engine(**changed: object) -> SimpleNamespace:
    """Settings of an engine, as far as they are checked."""
    parallel = {
        "pipeline_parallel_size": 1, "decode_context_parallel_size": 1,
        "prefill_context_parallel_size": 1, "tensor_parallel_size": 1,
    }  # fmt: skip
    given = {
        "speculative_config": None,
        "kv_transfer_config": None,
        "kv_events_config": None,
        "ec_transfer_config": None,
        "lora_config": None,
        "model_config": SimpleNamespace(
            multimodal_config=SimpleNamespace(mm_processor_cache_type="lru")
        ),
        "cache_config": SimpleNamespace(cache_dtype="auto"),
        "scheduler_config": SimpleNamespace(scheduler_cls=None),
        "parallel_config": SimpleNamespace(**parallel),
    }
    for name, value in changed.items():
        if name in parallel:
            setattr(given["parallel_config"], name, value)
        else:
            given[name] = value
    return SimpleNamespace(**given)


def test_these_settings_pass() -> None:
    _check_settings(engine())


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("speculative_config", object(), "speculative decoding"),
        ("kv_transfer_config", object(), "KV transfer"),
        ("kv_events_config", SimpleNamespace(enable_kv_cache_events=True), "KV cache events"),
        ("ec_transfer_config", object(), "encoder of its own"),
        ("lora_config", object(), "LoRA"),
        (
            "model_config",
            SimpleNamespace(multimodal_config=SimpleNamespace(mm_processor_cache_type="shm")),
            "shm",
        ),
        ("pipeline_parallel_size", 2, "pipeline parallelism"),
        ("decode_context_parallel_size", 2, "context parallelism"),
        ("cache_config", SimpleNamespace(cache_dtype="fp8"), "quantised KV cache"),
        ("scheduler_config", SimpleNamespace(scheduler_cls="a.B"), "scheduler of your own"),
    ],
)
def test_settings_that_go_with_no_plan(setting: str, value: object, said: str) -> None:
    with pytest.raises(PruneError, match=said) as refused:
        _check_settings(engine(**{setting: value}))
    assert "\n" not in str(refused.value)


def test_another_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "current_platform", SimpleNamespace(is_cpu=lambda: False))
    with pytest.raises(RefusedError, match="another device than a CPU") as refused:
        _check_settings(engine())
    assert "\n" not in str(refused.value)


def test_another_family_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    given = json.loads((folder / "config.json").read_text())
    given["architectures"] = ["PrunedPerceptionLMForConditionalGeneration"]
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(given))
    with pytest.raises(ValueError, match=r"PrunedPerceptionLM.* not supported"):
        configured(tmp_path)


def test_another_plan_or_other_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in folder.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    plan = changed / PLAN_FILE
    plan.write_text(plan.read_text().replace('"sealed"', '"another"'))
    with pytest.raises(PruneError, match="is not the plan that"):
        configured(changed)
    plan.unlink()
    with pytest.raises(PruneError, match="there is no"):
        configured(changed)


def configured(folder: Path, **more: object) -> None:
    """The settings of an engine on an export, checked as at its start."""
    from vllm.engine.arg_utils import EngineArgs

    given = {"dtype": "float32", "max_model_len": 512, **more}
    EngineArgs(model=str(folder), **given).create_engine_config()


def test_a_plan_of_other_positions_is_warned_of_or_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(config.logger, "warning_once", seen.append)
    configured(folder)
    (line,) = seen
    assert "--positions vllm" in line and "\n" not in line
    with pytest.raises(RefusedError, match="measured at transformers' positions"):
        configured(folder, additional_config={"prune_positions": "refuse"})
    with pytest.raises(PruneError, match='"warn" or "refuse"'):
        configured(folder, additional_config={"prune_positions": "ignore"})
    seen.clear()
    plan = Plan.load(folder / PLAN_FILE)
    export(folder.parent / "dense", at(plan, "vllm"), tmp_path / "measured")
    configured(tmp_path / "measured", additional_config={"prune_positions": "refuse"})
    assert not seen


def test_a_saved_copy_is_served_under_its_plan(folder: Path, tmp_path: Path) -> None:
    model, processor = prune.load(folder)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    # It is of vLLM's classes by name, or vLLM would run it dense; and its plan is checked.
    (name,) = json.loads((tmp_path / "config.json").read_text())["architectures"]
    assert name in plugin.ARCHITECTURES
    configured(tmp_path)
    (tmp_path / PLAN_FILE).unlink()
    with pytest.raises(PruneError, match="there is no"):
        configured(tmp_path)


def test_another_vllm_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import vllm
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    monkeypatch.setattr(vllm, "__version__", "0.33.0")
    for name in plugin.ARCHITECTURES:
        monkeypatch.delitem(MODELS_CONFIG_MAP, name, raising=False)
    with pytest.warns(plugin.OtherVllmWarning, match="0.33.0") as seen:
        plugin.register()
    (line,) = (str(warning.message) for warning in seen)
    assert plugin.VLLM in line and "\n" not in line
    assert not set(plugin.ARCHITECTURES) & set(MODELS_CONFIG_MAP)
    monkeypatch.setattr(vllm, "__version__", "0.32.0+cpu")
    plugin.register()
    assert all(MODELS_CONFIG_MAP[name] is PrunedConfig for name in plugin.ARCHITECTURES)
