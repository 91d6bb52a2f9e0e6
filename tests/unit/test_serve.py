"""Where a served request stores its tokens, and how layers share block tables."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from prune.checkpoint.identity import config_of
from prune.checkpoint.load import TINY
from prune.checkpoint.stored_plan import marked
from prune.families import video_families
from prune.layout.segments import NUM_ROLES, Role
from prune.plan.plan import Plan
from prune.plan.presets import PRESETS
from prune.serve.vllm import ARCHITECTURES
from prune.serve.vllm.rules import MAX_GROUPS, Rules, _padded, _tables
from prune.serve.vllm.storage import NO_SLOT, Storage

ROOT = Path(__file__).parents[2]

KINDS = st.lists(st.sampled_from(["dead", "passing", "kept"]), min_size=1, max_size=60)


def storage(kinds: list[str], size: int) -> Storage:
    stored = np.array([kind != "dead" for kind in kinds])
    kept = np.array([kind == "kept" for kind in kinds])
    return Storage(stored, kept, size)


@given(KINDS, st.integers(1, 7), st.integers(0, 20))
def test_slots(kinds: list[str], size: int, answers: int) -> None:
    found, total = storage(kinds, size), len(kinds) + answers
    slots = found.slots(np.arange(total))
    stored = slots != NO_SLOT
    assert stored.tolist() == [kind != "dead" for kind in kinds] + [True] * answers
    behind = range(len(kinds), total)
    alone = [int(found.slots(np.array([position]))[0]) for position in behind]
    assert alone == slots[len(kinds) :].tolist()
    used = slots[stored]
    assert len(set(used.tolist())) == len(used)
    for tokens in range(total + 1):
        here = slots[:tokens][stored[:tokens]]
        # Exactly the blocks that the first tokens are in, which come into being in order.
        assert set((here // size).tolist()) == set(range(found.blocks(tokens)))


@given(KINDS, st.integers(1, 7), st.integers(0, 20))
def test_kept_tokens_lie_in_blocks_of_their_own(kinds: list[str], size: int, answers: int) -> None:
    found, total = storage(kinds, size), len(kinds) + answers
    slots = found.slots(np.arange(total))
    kept = [kind == "kept" for kind in kinds] + [True] * answers
    count = found.kept(total)
    assert count == sum(kept)
    blocks = found.line(-(-count // size))
    read = blocks[np.arange(count) // size] * size + np.arange(count) % size
    assert read.tolist() == slots[kept].tolist()
    assert not set(blocks.tolist()) & set(found.passing.tolist())
    runs = [number for first, stop in found.passing_runs for number in range(first, stop)]
    assert runs == found.passing.tolist()
    assert (
        found.line(-(-found.kept(len(kinds)) // size)).tolist()
        == blocks[: -(-found.kept(len(kinds)) // size)].tolist()
    )
    passing = [kind == "passing" for kind in kinds] + [False] * answers
    assert set((slots[passing] // size).tolist()) == set(found.passing.tolist())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("sealed", [True, False])
def test_layers_share_tables(name: str, sealed: bool) -> None:
    rules = Rules(Plan.preset(name, sealed).reach, 0)
    assert sorted(layer for group in rules.groups for layer in group) == list(
        range(len(rules.reach))
    )
    assert _tables(rules.groups) <= MAX_GROUPS
    assert _padded(rules.groups) <= 1.1 * len(rules.reach)
    for group in rules.groups:
        assert all(rules.group_of(layer) == group for layer in group)
        assert rules.keeps_exactly(group) == (
            len({r.tobytes() for r in rules.kept[list(group)]}) == 1
        )


def test_a_plan_of_unequal_layers_has_few_tables() -> None:
    rng = np.random.default_rng(0)
    reach = Plan.preset("llava-next-7b").reach.copy()
    reach[rng.random(reach.shape) < 0.3] = -1
    reach[:, :, Role.ANSWER, Role.ANSWER] = reach.max()
    rules = Rules(reach, 2)
    kinds = {row.tobytes() for row in rules.kept}
    assert len(kinds) > MAX_GROUPS >= _tables(rules.groups)
    assert sorted(sum(rules.groups, ())) == list(range(len(reach)))
    assert rules.kept.shape == (32, NUM_ROLES)


def test_nothing_of_vllm_comes_with_prune() -> None:
    code = "import sys, prune, prune.serve.vllm; assert 'vllm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_export_names_architectures_that_only_the_plug_in_has(tmp_path: Path) -> None:
    source = json.loads((TINY / "config.json").read_text())
    plan = Plan.preset("llava-next-7b")
    written = marked(source, plan)
    assert written["architectures"] == [f"Pruned{name}" for name in source["architectures"]]
    assert marked(written, plan) == written
    (tmp_path / "config.json").write_text(json.dumps(written))
    # It is the same model still, to whatever asks for its identity.
    assert config_of(tmp_path) == config_of(TINY)


def test_every_family_of_the_plug_in_is_one_of_prune() -> None:
    names = {MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[name] for name in video_families()}
    stock = {name.removeprefix("Pruned") for name in ARCHITECTURES}
    assert len(stock) == len(ARCHITECTURES) and stock <= names
