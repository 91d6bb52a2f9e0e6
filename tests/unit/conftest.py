"""An export of `tiny` under a plan with every kind of rule."""

from pathlib import Path

import pytest

from prune.checkpoint.load import LoadedModel
from prune.inputs.samples import Sample
from prune.workflows.write_export import export
from tests.exports import small_result
from tests.unit.test_apply import mixed_plan


@pytest.fixture(scope="session")
def exported(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    plan = mixed_plan(tiny)
    out = tmp_path_factory.mktemp("export") / "pruned"
    return export(tiny, plan, small_result(tiny, plan, samples), out)
