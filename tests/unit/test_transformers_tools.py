"""An export in transformers' own loaders: pruned, or stopped with one line, never dense unseen."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    LlavaNextVideoForConditionalGeneration,
)

import prune
from prune.checkpoint.load import LoadedModel, open_model, open_processor
from prune.checkpoint.stored_plan import ARCHITECTURE, KEY, stored_plan
from prune.errors import BadInputError, PruneError, RefusedError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.plan.plan import PLAN_FILE, Plan
from prune.workflows.write_export import export
from tests.exports import NO_PRUNE, small_result
from tests.unit.test_apply import mixed_plan

load = AutoModelForImageTextToText.from_pretrained


@pytest.fixture(scope="module")
def exported(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    plan, out = mixed_plan(tiny), tmp_path_factory.mktemp("tools") / "pruned"
    return export(tiny, plan, small_result(tiny, plan, samples), out)


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def python(code: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        env=os.environ | env,
        # The repository has a folder `kernels`, which is not the package of that name.
        cwd=Path(__file__).parent,
    )


LOADERS: dict[str, Callable[[Path], Any]] = {
    "auto class": load,
    "class": LlavaNextVideoForConditionalGeneration.from_pretrained,
    "keyword": lambda folder: LlavaNextVideoForConditionalGeneration.from_pretrained(
        pretrained_model_name_or_path=folder
    ),
    # `transformers serve` passes the option that it was not given.
    "no request": lambda folder: load(folder, attn_implementation=None),
    "other request": lambda folder: load(folder, attn_implementation={"vision_config": "sdpa"}),
    "with what was missing": lambda folder: load(folder, output_loading_info=True)[0],
}


@pytest.mark.parametrize("loader", LOADERS)
@torch.no_grad()
def test_a_loaded_export_runs_its_plan(
    tiny: LoadedModel, exported: Path, samples: list[Sample], loader: str
) -> None:
    inputs = read(tiny.processor, samples[:2], 8)
    ours, _ = prune.load(exported)
    theirs = LOADERS[loader](exported)
    expected = ours(**inputs).logits[:, -1]
    assert torch.equal(theirs(**inputs).logits[:, -1], expected)
    assert prune.launches(theirs).total == prune.launches(ours).total > 0
    reply = theirs.generate(**inputs, max_new_tokens=2, do_sample=False)
    assert torch.equal(reply, ours.generate(**inputs, max_new_tokens=2, do_sample=False))
    assert not torch.allclose(tiny.model(**inputs).logits[:, -1], expected, atol=1e-3)
    words = tiny.processor.tokenizer("What is it?", return_tensors="pt")
    assert torch.equal(theirs(**words).logits, tiny.model(**words).logits)


@pytest.mark.parametrize("asked", ["sdpa", {"text_config": "sdpa"}])
@torch.no_grad()
def test_a_model_is_dense_by_request(
    tiny: LoadedModel, exported: Path, samples: list[Sample], tmp_path: Path, asked: Any
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    dense = load(exported, attn_implementation=asked)
    expected = tiny.model(**inputs).logits
    assert torch.equal(dense(**inputs).logits, expected)
    # What is saved of it names no plan.
    dense.save_pretrained(tmp_path)
    assert torch.equal(load(tmp_path)(**inputs).logits, expected)


@pytest.mark.parametrize("order", ["prune, transformers", "transformers, prune"])
def test_the_order_of_imports_does_not_matter(exported: Path, order: str) -> None:
    done = python(
        f"import importlib.util, sys, {order}\n"
        "importlib.util.find_spec('transformers.modeling_utils')\n"
        "model = transformers.AutoModelForImageTextToText.from_pretrained(sys.argv[1])\n"
        "print(prune.launches(model).total)",
        exported,
    )
    assert done.stdout == "0\n", done.stderr


def test_the_hook_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, prune; print({'torch', 'transformers', 'pydantic'} & set(sys.modules))"
    assert python(code).stdout == "set()\n"


def test_other_models_load_as_ever(tiny: LoadedModel) -> None:
    folder = str(tiny.folder)
    model = load(folder)
    assert model.config._attn_implementation == "sdpa" and "generate" not in vars(model)


EDITS: dict[str, dict[str, Any]] = {
    "sdpa": {"attn_implementation": "sdpa"},
    "eager": {"attn_implementation": {"text_config": "eager"}},
    "of all": {"attn_implementation": {"": "sdpa"}},
    "none": {"attn_implementation": None},
    "old name": {"attn_implementation": None, "_attn_implementation": "sdpa"},
    "inside": {"text_config": {"attn_implementation": "eager"}},
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("loader", [*LOADERS, "prune", "dense by request", "exported again"])
def test_an_edited_attention_is_refused(copy: Path, tmp_path: Path, edit: str, loader: str) -> None:
    path = copy / "config.json"
    config = json.loads(path.read_text())
    for key, value in EDITS[edit].items():
        config[key] = config[key] | value if key == "text_config" else value
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    loaders: dict[str, Callable[[Path], Any]] = LOADERS | {
        "prune": prune.load,
        "dense by request": lambda folder: load(folder, attn_implementation="sdpa"),
        "exported again": lambda folder: stored_plan(folder, open_model(folder, dense=True).id),
    }
    with pytest.raises(
        RefusedError, match=r"config.json: names a plan, and (\w+) attention"
    ) as error:
        loaders[loader](copy)
    assert "\n" not in str(error.value) and "attention_pruning" in str(error.value)


def test_a_model_without_a_plan_may_name_any_attention(copy: Path) -> None:
    path = copy / "config.json"
    config = json.loads(path.read_text()) | {"attn_implementation": "eager"}
    del config["attention_pruning"]
    path.write_text(json.dumps(config))
    assert "generate" not in vars(load(copy))


def _change_plan(folder: Path) -> None:
    plan = json.loads((folder / PLAN_FILE).read_text()) | {"name": "another"}
    (folder / PLAN_FILE).write_text(json.dumps(plan))


def _change_weights(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def _change_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"attention_pruning": "yes"}
    (folder / "config.json").write_text(json.dumps(config))


def _remove_attention(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["attn_implementation"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / PLAN_FILE).unlink()


def _remove_processor(folder: Path) -> None:
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


CHANGES: dict[str, tuple[Callable[[Path], None], type[PruneError], str]] = {
    "another plan": (_change_plan, RefusedError, "not the plan that config.json names"),
    "no plan": (lambda f: (f / PLAN_FILE).unlink(), BadInputError, f"there is no {PLAN_FILE}"),
    "no plan, no attention": (_remove_attention, BadInputError, f"there is no {PLAN_FILE}"),
    "other weights": (_change_weights, RefusedError, "weights"),
    "another block": (_change_config, RefusedError, "not the plan that config.json names"),
    "no processor": (_remove_processor, BadInputError, "processor"),
}


@pytest.mark.parametrize("loader", [prune.load, load])
@pytest.mark.parametrize("change", CHANGES)
def test_what_the_configuration_says_is_binding(
    copy: Path, change: str, loader: Callable[[Path], Any]
) -> None:
    do, kind, message = CHANGES[change]
    do(copy)
    with pytest.raises(kind, match=message) as error:
        loader(copy)
    assert str(copy) in str(error.value) or change == "other weights"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("loader", [lambda folder: prune.load(folder)[0], load])
def test_a_saved_copy_keeps_its_plan(
    exported: Path,
    samples: list[Sample],
    tmp_path: Path,
    loader: Callable[[Path], Any],
) -> None:
    model = loader(exported)
    with torch.no_grad():
        # As after a merged adapter: other weights, which the plan was not measured with.
        model.get_input_embeddings().weight.mul_(1.01)
    deepcopy(model).save_pretrained(tmp_path, max_shard_size="100KB")
    config = json.loads((tmp_path / "config.json").read_text())
    assert [name[: len(ARCHITECTURE)] for name in config["architectures"]] == [ARCHITECTURE]
    with pytest.raises(BadInputError, match="its processor"):
        load(tmp_path)
    done = python(
        f"{NO_PRUNE}\nimport transformers\n"
        "transformers.AutoModelForImageTextToText.from_pretrained(sys.argv[1])",
        tmp_path,
    )
    assert done.returncode == 1 and '"prune"' in done.stderr.strip().splitlines()[-1]
    open_processor(exported).save_pretrained(tmp_path)
    again, processor = prune.load(tmp_path)
    inputs = read(processor, samples[:1], 8)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits[:, -1], model(**inputs).logits[:, -1])
    assert prune.launches(again).total > 0
    before, after = (Plan.load(folder / PLAN_FILE) for folder in (exported, tmp_path))
    assert (before.reach == after.reach).all() and before.model.sha256 != after.model.sha256
    assert after.origin["saved again from"] == before.model.sha256
    (tmp_path / PLAN_FILE).unlink()
    with pytest.raises(BadInputError, match=f"there is no {PLAN_FILE}"):
        load(tmp_path)


def test_a_saved_copy_of_a_dense_model_says_nothing_of_a_plan(
    exported: Path, tmp_path: Path
) -> None:
    load(exported, attn_implementation="sdpa").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert not config["architectures"][0].startswith(ARCHITECTURE) and KEY not in config
    assert not (tmp_path / PLAN_FILE).exists()


def test_an_upload_without_a_plan_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="push_to_hub"):
        load(exported).save_pretrained(tmp_path / "saved", push_to_hub=True)
    assert not (tmp_path / "saved").exists()


def test_a_part_of_a_model_is_refused(exported: Path) -> None:
    with pytest.raises(RefusedError, match="only the whole model runs under its plan"):
        AutoModel.from_pretrained(exported)


def test_weights_from_elsewhere_are_refused(tiny: LoadedModel, exported: Path) -> None:
    weights = tiny.model.state_dict()
    config = LlavaNextVideoForConditionalGeneration.config_class.from_pretrained(exported)
    with pytest.raises(RefusedError, match="state_dict"):
        LlavaNextVideoForConditionalGeneration.from_pretrained(
            None, config=config, state_dict=weights
        )


def test_a_healed_model_of_an_export_names_no_plan(exported: Path, tmp_path: Path) -> None:
    open_model(exported, dense=True).model.save_pretrained(tmp_path)
    assert "attention_pruning" not in json.loads((tmp_path / "config.json").read_text())


def test_a_hub_id_runs_the_plan_of_its_revision(exported: Path, tmp_path: Path) -> None:
    """In the cache that a download leaves: links to blobs, and one snapshot of each revision."""
    repo, commits = tmp_path / "models--org--pruned", {"main": "a" * 40, "other": "b" * 40}
    (repo / "refs").mkdir(parents=True)
    for revision, commit in commits.items():
        (repo / "refs" / revision).write_text(commit)
        snapshot, blobs = repo / "snapshots" / commit, repo / "blobs"
        shutil.copytree(exported, blobs / revision)
        snapshot.mkdir(parents=True)
        for path in (blobs / revision).iterdir():
            (snapshot / path.name).symlink_to(os.path.relpath(path, snapshot))
    _change_plan(repo / "blobs" / "other")
    code = (
        "import sys, prune, transformers\n"
        "load = transformers.AutoModelForImageTextToText.from_pretrained\n"
        "print(prune.launches(load('org/pruned')).total)\n"
        "try:\n    load('org/pruned', revision='other')\n"
        "except prune.RefusedError as error:\n    print(error)"
    )
    done = python(code, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    first, second = done.stdout.splitlines()
    assert first == "0" and f"snapshots/{'b' * 40}" in second and "not the plan" in second
