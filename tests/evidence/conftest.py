"""Cases of `tiny` that several tests explain."""

import pytest

from prune.checkpoint.load import LoadedModel
from prune.evidence.case import Case, open_case
from prune.inputs.samples import Sample


@pytest.fixture(scope="session")
def case(tiny: LoadedModel, samples: list[Sample]) -> Case:
    """A question whose reply is right and names the scenery."""
    sample = next(s for s in samples if s.task == "scene_transition")
    return open_case(tiny.model, tiny.processor, sample)
