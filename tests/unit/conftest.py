"""An export of `tiny` under a plan with every kind of rule."""

from pathlib import Path

import pytest

from prune.checkpoint.load import LoadedModel
from prune.inputs.samples import Sample
from tests.exports import mixed_export


@pytest.fixture(scope="session")
def exported(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return mixed_export(tiny, samples, tmp_path_factory.mktemp("export") / "pruned")
