"""The worked example of docs/adding-a-family.md: its two files are enough."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import prune.families
import tests.families.models
from tests.families import test_contract as contract
from tests.families.reference import random_plan, sealed_plan
from tests.families.specimen import Tiny, tiny_of

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-family.md"
NAME = "qwen3_vl_moe"


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tiny]:
    """The page's family, in the folders where it would be found."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    packages = (prune.families, tests.families.models)
    for package, code in zip(packages, blocks, strict=True):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{NAME}.py").write_text(code)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    prune.families.families.cache_clear()
    yield tiny_of(NAME)
    prune.families.families.cache_clear()


def test_the_page_s_files_pass_the_contract(added: Tiny, tmp_path: Path) -> None:
    contract.test_text_of_every_role_is_the_source(added, 3)
    contract.test_every_frame_has_its_tokens(added, 8)
    contract.test_rows_of_a_batch_are_as_if_alone(added)
    contract.test_frames_are_numbered_through_several_videos(added)
    contract.test_a_plan_that_removes_nothing_is_the_dense_model(added, contract.UNEQUAL)
    for plan in (random_plan, sealed_plan):
        contract.test_a_pruned_run_is_the_masked_dense_one(added, contract.UNEQUAL, plan)
    contract.test_a_saved_model_runs_the_same_plan(added, tmp_path)


def test_without_its_file_it_is_unknown() -> None:
    assert NAME not in prune.families.families()
