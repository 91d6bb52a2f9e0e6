"""Plans: canonical bytes, a closed schema, and refusal of what is not for this model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.errors import BadInputError, RefusedError, UsageError
from prune.layout.freezing import freezable, freeze, updated
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import ALL, NONE, OTHER_FRAMES, dense_reach, inherit_rows
from prune.layout.segments import Role, Segments
from prune.plan.model_id import ModelId
from prune.plan.plan import Plan

MODEL = ModelId(name="m", model_type="llava_next_video", num_layers=4, num_kv_heads=2, sha256="ab")

GOLDEN = """{
  "schema_version": 1,
  "name": "demo",
  "model": {
    "name": "m",
    "model_type": "llava_next_video",
    "num_layers": 4,
    "num_kv_heads": 2,
    "sha256": "ab"
  },
  "origin": {
    "max_drop": 0.5
  },
  "rules": [
    {"layers": "0, 2-3", "queries": ["video", "timestamp"], "keys": ["video", "timestamp"], "reach": "same frame"},
    {"layers": "1", "queries": ["last"], "keys": ["video", "timestamp"], "reach": "none"}
  ]
}
"""  # noqa: E501


def golden_plan() -> Plan:
    reach = dense_reach(4)
    remove_pathway(reach, PATHWAYS["cross_frame"], [0, 2, 3])
    remove_pathway(reach, PATHWAYS["video_to_last"], [1])
    return Plan(reach, MODEL, "demo", {"max_drop": 0.5})


def test_golden_bytes(tmp_path: Path) -> None:
    assert golden_plan().to_json() == GOLDEN
    path = tmp_path / "plan.json"
    path.write_text(GOLDEN)
    assert (Plan.load(path).reach == golden_plan().reach).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_any_reach_round_trips(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reach = dense_reach(4, int(rng.integers(1, 3)))
    reach[..., :8, :8] = rng.choice(
        [NONE, 0, 2, ALL, ~2, OTHER_FRAMES],
        (*reach.shape[:2], 8, 8),
        p=[0.3, 0.1, 0.1, 0.3, 0.1, 0.1],
    )
    inherit_rows(reach)
    plan = Plan(reach, MODEL, "any")
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    plan.save(path)
    again = Plan.load(path)
    assert again.to_json() == plan.to_json() == path.read_text()
    assert again.sha256 == plan.sha256
    # Heads that all agree are one group in the file; the table is the same.
    assert (np.broadcast_to(again.reach, reach.shape) == reach).all()


def test_frozen_states_are_a_field_of_their_own(tmp_path: Path) -> None:
    plan = golden_plan()
    reach = freezable(plan.reach)
    assert replace(plan, reach=reach).to_json() == GOLDEN, "nothing is frozen yet"
    freeze(reach, slice(2, None), (Role.VIDEO, Role.TIMESTAMP))
    freeze(reach, [0, 2], (Role.QUESTION,))
    entries = """  "frozen": [
    {"layers": "2-3", "roles": ["video", "timestamp"]},
    {"layers": "0, 2", "roles": ["question"]}
  ],
"""
    frozen = replace(plan, reach=reach)
    assert frozen.to_json() == GOLDEN.replace('  "rules"', entries + '  "rules"')
    frozen.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert (again.reach == reach).all() and again.freezes and not plan.freezes
    assert (updated(reach)[:, Role.VIDEO] == [True, True, False, False]).all()
    assert updated(reach)[:, [Role.LAST, Role.ANSWER, Role.IMAGE]].all()


def test_edges_of_frozen_states_do_not_count() -> None:
    plan = golden_plan()
    reach = freezable(plan.reach)
    freeze(reach, [3], (Role.VIDEO,))
    runs = [(Role.SYSTEM, -1, 2), (Role.VIDEO, 0, 2), (Role.VIDEO, 1, 2), (Role.LAST, -1, 1)]
    prompt = Segments.of_runs(runs)
    before, causal = plan.count_edges(prompt)
    # Each video token reads 2 system tokens, and those of its frame up to itself.
    assert replace(plan, reach=reach).count_edges(prompt) == (before - 4 * 2 - 2 * 3, causal)


def test_answers_inherit_the_row_of_last() -> None:
    reach = golden_plan().reach
    assert (reach[..., Role.ANSWER, : Role.ANSWER] == reach[..., Role.LAST, : Role.ANSWER]).all()
    assert (reach[..., Role.ANSWER, Role.ANSWER] == ALL).all()


def _edited(**changes: object) -> str:
    return json.dumps({**json.loads(GOLDEN), **changes})


RULE = json.loads(GOLDEN)["rules"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a plan"),
        ("[]", "expected a JSON object"),
        (_edited(colour="red"), "/colour"),
        (_edited(schema_version=0), "schema_version"),
        (_edited(rules=[{**RULE, "layer": "1"}]), "/rules/0/layer"),
        (_edited(rules=[{**RULE, "layers": "4"}]), "layer 4 does not exist"),
        (_edited(rules=[{**RULE, "layers": "3-1"}]), "/rules/0/layers"),
        (_edited(rules=[{**RULE, "layers": "1, 1"}]), "names a number twice"),
        (_edited(rules=[{**RULE, "layers": 1}]), "/rules/0/layers"),
        (_edited(rules=[{**RULE, "kv_heads": "2"}]), "KV head 2 does not exist"),
        (_edited(rules=[{**RULE, "queries": ["answer"]}]), "/rules/0/queries"),
        (_edited(rules=[{**RULE, "queries": []}]), "/rules/0/queries"),
        (_edited(rules=[{**RULE, "reach": True}]), "/rules/0/reach"),
        (_edited(rules=[{**RULE, "reach": -1}]), "/rules/0/reach"),
        (_edited(rules=[{**RULE, "reach": "other frames, 0 back"}]), "/rules/0/reach"),
        (
            _edited(frozen=[{"layers": "4", "roles": ["video"]}]),
            "frozen[0]: layer 4 does not exist",
        ),
        (_edited(frozen=[{"layers": "1", "roles": ["last"]}]), "/frozen/0/roles"),
        (_edited(frozen=[{"layers": "1, 1", "roles": ["video"]}]), "names a number twice"),
        (_edited(model={**json.loads(GOLDEN)["model"], "num_layers": "4"}), "/model/num_layers"),
        (GOLDEN.replace('"demo"', "NaN"), "not a JSON number"),
        (GOLDEN.replace('"name": "demo",', '"name": "demo", "name": "x",'), "duplicate key 'name'"),
        ("[" * 100_000, "not a plan"),
        ("\ufeff" + GOLDEN, "not a plan"),
    ],
)
def test_bad_plans_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(BadInputError) as error:
        Plan.load(path)
    assert message in str(error.value) and str(path) in str(error.value)


def test_a_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(_edited(schema_version=2))
    with pytest.raises(RefusedError, match="upgrade"):
        Plan.load(path)


def test_huge_and_missing_plans(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(BadInputError, match="cannot read"):
        Plan.load(path)
    path.write_bytes(b" " * (5 * 2**20))
    with pytest.raises(BadInputError, match="larger than"):
        Plan.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "cd"}, "ab"),
        ({"num_layers": 5}, "5"),
    ],
)
def test_plans_for_another_model_are_refused(change: dict, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        golden_plan().check_model(MODEL.model_copy(update=change))


def test_unknown_preset() -> None:
    with pytest.raises(UsageError, match="llava-next-7b"):
        Plan.preset("gpt")
