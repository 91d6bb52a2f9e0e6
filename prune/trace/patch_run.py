"""`PatchRun`: a finished journal of activation patching, and the stage that writes one."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.inputs.samples import Sample
from prune.journal.records import check_usable, failed_of, identity, recorded
from prune.journal.write import write_records
from prune.trace.patch_sample import Patches, patch_sample

SCHEMA_VERSION = 1
FOLDER = "patch"


@dataclass(frozen=True)
class PatchRun:
    """The effects of patches on a model's answers.

    Attributes:
        header: identity of model, data and settings.
        records: one per sample, in the order of the data set
            (`prune.trace.patch_sample.patch_sample`).
    """

    header: dict[str, Any]
    records: list[dict[str, Any]]

    @property
    def cases(self) -> list[dict[str, Any]]:
        """The records of patched samples."""
        return [record for record in self.records if "patches" in record]

    @property
    def failed(self) -> dict[str, str]:
        """Reason by id of each sample that could not be used."""
        return failed_of(self.records)

    def counts(self) -> dict[str, int]:
        """Numbers of samples, as in `prune.trace.trace.Trace.counts`."""
        return {
            "samples": len(self.records),
            "correct": sum(bool(record.get("correct")) for record in self.records),
            "traced": len(self.cases),
            "failed": len(self.failed),
            "cases": len(self.cases),
            "replies": 0,
        }


def write_patches(
    opened: LoadedModel,
    data: Path,
    run: Path,
    samples: Sequence[Sample],
    patches: Patches,
    on_done: Callable[[int], None] = lambda n: None,
) -> PatchRun:
    """Patch `samples` into `run/patch`, resuming where an earlier call stopped.

    Under `torchrun` the samples are split over its processes. A sample that cannot be patched is
    recorded with the reason and counts nowhere.

    Raises:
        RefusedError: the folder holds a run of something else, or a letter is not one token.
        BadInputError: no sample could be used, or none is of the kind that is asked for.
    """
    settings = {name: value for name, value in asdict(patches).items() if name != "num_layers"}
    header = {
        "schema_version": SCHEMA_VERSION,
        **identity(opened, samples),
        "data": os.path.relpath(data, run),
        **settings,
        "sites": [str(site) for site in patches.sites],
        "roles": list(patches.roles),
        "corruption": str(patches.corruption),
    }

    def patch_one(sample: Sample) -> dict[str, Any]:
        return patch_sample(opened.model, opened.processor, sample, samples, patches)

    records = write_records(run / FOLDER, "patch", header, samples, recorded(patch_one), on_done)
    found = PatchRun(header, records)
    check_usable(records)
    if not found.cases:
        raise BadInputError(
            f"{data}: none of {len(samples)} samples is {patches.which} under the model: nothing "
            "to patch (see --samples)"
        )
    return found
