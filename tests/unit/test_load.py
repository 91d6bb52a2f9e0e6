"""An export loads as the pruned model, fails loudly without prune, and its damage is found."""

import gc
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import prune
from prune.checkpoint.load import LoadedModel, open_model
from prune.checkpoint.manifest import MANIFEST, verify, write_manifest
from prune.errors import (
    BadInputError,
    PruneError,
    RefusedError,
    VerificationError,
)
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from tests.exports import NO_PRUNE
from tests.unit.test_apply import mixed_plan


@torch.no_grad()
def test_load_runs_pruned(tiny: LoadedModel, samples: list[Sample], exported: Path) -> None:
    inputs = read(tiny.processor, samples[:3], 8)
    with prune.apply(tiny.model, mixed_plan(tiny), processor=tiny.processor):
        expected = tiny.model(**inputs).logits[:, -1]
    model, processor = prune.load(exported)
    gc.collect()
    assert model.config.text_config._attn_implementation == "prune"
    assert torch.equal(model(**read(processor, samples[:3], 8)).logits[:, -1], expected)
    dense = open_model(exported, dense=True).model
    assert torch.equal(dense(**inputs).logits, tiny.model(**inputs).logits)


@torch.no_grad()
def test_load_takes_the_kernel_to_run(samples: list[Sample], exported: Path) -> None:
    model, processor = prune.load(exported, impl="reference")
    model.generate(**read(processor, samples[:1], 8), max_new_tokens=2)
    found = prune.launches(model)
    assert found.total and found.kernels == {"reference": found.total}


def test_transformers_without_prune_fails_loudly(exported: Path) -> None:
    """And the argument that the card shows loads the dense model on purpose."""
    card = (exported / "README.md").read_text()
    (dense,) = re.findall(r"^AutoModel\S+\.from_pretrained\(.*\)$", card, re.MULTILINE)
    assert "attn_implementation" in dense
    code = (
        f"{NO_PRUNE}\n"
        "from transformers import AutoModelForImageTextToText\n"
        f"folder = sys.argv[1]; model = {dense}\n"
        "print(model.config.text_config._attn_implementation)\n"
        "AutoModelForImageTextToText.from_pretrained(folder)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "."], capture_output=True, text=True, cwd=exported
    )
    assert run.stdout == "sdpa\n" and run.returncode == 1
    assert '"prune"' in run.stderr.strip().splitlines()[-1]


def test_verify_names_every_wrong_file(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    assert verify(folder) == len(json.loads((folder / MANIFEST).read_text())["files"])
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    (folder / "tokenizer.json").unlink()
    (folder / "extra").touch()
    with pytest.raises(VerificationError) as error:
        verify(folder)
    for part in ("model.safetensors is damaged", "tokenizer.json is missing", "extra is unknown"):
        assert part in str(error.value)
    with pytest.raises(BadInputError, match="manifest"):
        verify(tmp_path)


def test_a_flipped_bit_is_found_in_every_file(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    rng = np.random.default_rng(0)
    for path in sorted(set(folder.iterdir()) - {folder / MANIFEST}):
        good = path.read_bytes()
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        with pytest.raises(VerificationError, match=f": {re.escape(path.name)} is damaged$"):
            verify(folder)
        path.write_bytes(good)
    verify(folder)


def test_a_flipped_bit_is_found_in_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    write_manifest(tmp_path)
    good = (tmp_path / MANIFEST).read_bytes()
    for place in range(len(good)):
        for bit in range(7):  # the eighth makes it no UTF-8
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            (tmp_path / MANIFEST).write_bytes(bad)
            with pytest.raises(PruneError):
                verify(tmp_path)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "./a", "a//b", "..", "."])
def test_a_manifest_names_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    entry = {"sha256": "0", "bytes": 0}
    (tmp_path / MANIFEST).write_text(json.dumps({"schema_version": 1, "files": {name: entry}}))
    with pytest.raises(BadInputError, match="outside the folder"):
        verify(tmp_path)


def test_a_plan_for_other_weights_is_refused(
    tiny: LoadedModel, samples: list[Sample], exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tampered"
    shutil.copytree(exported, folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(RefusedError, match=str(tiny.id.sha256)[:12]):
        prune.load(folder)


def test_hostile_folders_are_refused_before_weights_are_read(tmp_path: Path) -> None:
    def folder(name: str, config: str) -> Path:
        made = tmp_path / name
        made.mkdir()
        (made / "config.json").write_text(config)
        return made

    with pytest.raises(BadInputError, match=r"no config\.json"):
        open_model(tmp_path)
    with pytest.raises(BadInputError, match="no such"):
        open_model(tmp_path / "missing")
    with pytest.raises(BadInputError, match="not a model configuration"):
        open_model(folder("broken", "{"))
    with pytest.raises(BadInputError, match="unsupported model type 'bert'"):
        open_model(folder("bert", '{"model_type": "bert"}'))
    with pytest.raises(BadInputError, match=r"no \.safetensors"):
        open_model(folder("pickled", '{"model_type": "llava_next_video"}'))
    with pytest.raises(RefusedError, match="auto_map"):
        open_model(folder("code", '{"model_type": "llava_next_video", "auto_map": {}}'))
