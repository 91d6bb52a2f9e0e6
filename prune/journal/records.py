"""What the journals of traces, screens and lenses have in common: one record a sample, always."""

import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, NumericError, PruneError
from prune.inputs.samples import Sample, fingerprint

Record = dict[str, Any]


def identity(opened: LoadedModel, samples: Sequence[Sample]) -> dict[str, Any]:
    """What tells a run from others, for its header: model, samples, and what computed it."""
    return {
        "model": opened.id.model_dump(mode="json"),
        "data_sha256": fingerprint(samples),
        "samples": [s.id for s in samples],
        "dtype": str(opened.model.dtype).removeprefix("torch."),
        "device": opened.model.device.type,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def recorded(measure: Callable[[Sample], Record]) -> Callable[[Sample], Record]:
    """`measure` with a sample's `id` and `task`, and the reason instead if it has no record.

    A clip that cannot be decoded and logits that are not finite are reasons.
    """

    def one(sample: Sample) -> Record:
        record: Record = {"id": sample.id, "task": sample.task}
        try:
            return record | measure(sample)
        except (BadInputError, NumericError) as error:
            return record | {"error": str(error), "exit_code": error.exit_code}

    return one


def failed_of(records: Sequence[Record]) -> dict[str, str]:
    """Reason by id of each sample that could not be used."""
    return {r["id"]: r["error"] for r in records if "error" in r}


def check_usable(records: Sequence[Record]) -> None:
    """Raise `BadInputError` unless a sample could be used; `NumericError` if none was finite."""
    failed = failed_of(records)
    if len(failed) == len(records):
        numeric = all(r["exit_code"] == NumericError.exit_code for r in records)
        worst: type[PruneError] = NumericError if numeric else BadInputError
        raise worst(f"no sample could be used: {next(iter(failed.values()))}")
