"""An export in transformers' own loaders: pruned, or stopped, never dense silently."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

import prune
from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, RefusedError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.plan.plan import PLAN_FILE, Plan
from prune.workflows.write_export import export
from tests.unit.test_apply import mixed_plan
from tests.unit.test_export import small_result


@pytest.fixture(scope="module")
def exported(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    plan, out = mixed_plan(tiny), tmp_path_factory.mktemp("tools") / "pruned"
    return export(tiny, plan, small_result(tiny, plan, samples), out)


@torch.no_grad()
def test_from_pretrained_runs_the_plan(
    tiny: LoadedModel, exported: Path, samples: list[Sample]
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    ours, _ = prune.load(exported)
    theirs = AutoModelForImageTextToText.from_pretrained(exported).eval()
    expected = ours(**inputs).logits[:, -1]
    assert torch.equal(theirs(**inputs).logits[:, -1], expected)
    assert prune.launches(theirs).total == prune.launches(ours).total > 0
    dense = tiny.model(**inputs).logits[:, -1]
    assert not torch.allclose(dense, expected, atol=1e-3)
    # By request, and only so.
    asked = AutoModelForImageTextToText.from_pretrained(exported, attn_implementation="sdpa").eval()
    assert torch.allclose(asked(**inputs).logits[:, -1], dense, atol=1e-5)


@pytest.mark.parametrize("order", ["prune, transformers", "transformers, prune"])
def test_the_order_of_imports_does_not_matter(exported: Path, order: str) -> None:
    code = (
        f"import {order}\n"
        f"model = transformers.AutoModelForImageTextToText.from_pretrained({str(exported)!r})\n"
        "print(prune.launches(model).total)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_without_prune_transformers_stops(exported: Path, tmp_path: Path) -> None:
    code = (
        "import transformers\n"
        f"transformers.AutoModelForImageTextToText.from_pretrained({str(exported)!r})"
    )
    # In the root of the checkout transformers would take our `kernels` for the hub's.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode and "prune" in done.stderr


@pytest.mark.parametrize("load", [prune.load, AutoModelForImageTextToText.from_pretrained])
def test_what_the_configuration_says_is_binding(exported: Path, tmp_path: Path, load) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    plan = Plan.load(folder / PLAN_FILE)
    other = json.loads(plan.to_json()) | {"name": "another"}
    (folder / PLAN_FILE).write_text(json.dumps(other))
    with pytest.raises(RefusedError, match=r"not the plan that config\.json names"):
        load(folder)
    (folder / PLAN_FILE).unlink()
    with pytest.raises(BadInputError, match=f"no {re.escape(PLAN_FILE)}"):
        load(folder)
