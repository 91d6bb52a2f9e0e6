"""The records of journals: a result or an error per sample, and the identity of the run."""

import platform
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import torch
import transformers

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, NumericError, PruneError
from prune.inputs.encode import check_letters
from prune.inputs.samples import Sample, fingerprint

Record = dict[str, Any]


def identity(opened: LoadedModel, samples: Sequence[Sample]) -> dict[str, Any]:
    """The part of a header that identifies a run of a local model on multiple-choice questions.

    Raises:
        RefusedError: after the cue, a letter is not one new token, so nothing could be scored.
    """
    check_letters(opened.processor, samples)
    return {**model_identity(opened), **data_identity(samples)}


def model_identity(opened: LoadedModel) -> dict[str, Any]:
    """A local model, the precision of its weights, its device and how it is asked."""
    return {
        "model": opened.id.model_dump(mode="json"),
        "dtype": str(opened.model.dtype).removeprefix("torch."),
        "device": opened.model.device.type,
        "chat_template": template_sha256(opened.processor),
    }


def template_sha256(processor: Any) -> str:
    """Hash of the processor's chat template, "" without one."""
    template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    return sha256(str(template).encode()).hexdigest() if template else ""


def data_identity(samples: Sequence[Sample]) -> dict[str, Any]:
    """The samples, and the versions of the software that reads and computes them."""
    return {
        "data_sha256": fingerprint(samples),
        "samples": [s.id for s in samples],
        "cue": samples[0].cue if samples else "",
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that compute."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def recorded(measure: Callable[[Sample], Record]) -> Callable[[Sample], Record]:
    """Wrap a measurement so that it makes a record of every sample.

    The record holds the sample's `id` and `task`, and what `measure` returns. For a clip that
    cannot be decoded and for logits that are not finite it holds `error` and `exit_code` instead.
    """

    def one(sample: Sample) -> Record:
        record: Record = {"id": sample.id, "task": sample.task}
        try:
            return record | measure(sample)
        except (BadInputError, NumericError) as error:
            return record | {"error": str(error), "exit_code": error.exit_code}

    return one


def failed_of(records: Sequence[Record]) -> dict[str, str]:
    """The reason why a sample could not be used, by the id of each such sample."""
    return {r["id"]: r["error"] for r in records if "error" in r}


def check_usable(records: Sequence[Record]) -> None:
    """Check that at least one sample could be used.

    Raises:
        BadInputError: no sample could be used.
        NumericError: no sample could be used, and none had finite logits.
    """
    failed = failed_of(records)
    if len(failed) == len(records):
        numeric = all(r["exit_code"] == NumericError.exit_code for r in records)
        worst: type[PruneError] = NumericError if numeric else BadInputError
        raise worst(f"no sample could be used: {next(iter(failed.values()))}")
