"""The records of journals: a result or an error per sample, and the identity of the run."""

import json
import platform
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import transformers

from prune import __version__
from prune.checkpoint.identity import config_of
from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, PruneError, RefusedError
from prune.inputs.encode import check_samples
from prune.inputs.failures import Failure
from prune.inputs.fingerprint import fingerprint
from prune.inputs.samples import Sample
from prune.inputs.video_key import video_keys
from prune.journal.journal import differing

Record = dict[str, Any]


def identity(opened: LoadedModel, samples: Sequence[Sample]) -> dict[str, Any]:
    """The part of a header that identifies a run of a local model on multiple-choice questions.

    Raises:
        RefusedError: the samples cannot be encoded or scored (`check_samples`).
    """
    check_samples(opened.processor, samples)
    return {**model_identity(opened), **data_identity(samples)}


def model_identity(opened: LoadedModel) -> dict[str, Any]:
    """A local model, the precision of its weights, its device and how it is asked."""
    return {
        "model": opened.id.model_dump(mode="json", exclude_none=True),
        "dtype": str(opened.model.dtype).removeprefix("torch."),
        "device": opened.model.device.type,
        "chat_template": template_sha256(opened.processor),
        "config": config_of(opened.folder),
    }


def check_traced(header: Record, opened: LoadedModel, where: Path) -> None:
    """Check that a run was made with this model, whatever its folder, device and precision.

    Args:
        header: of the run.
        opened: the model.
        where: the run, for the message.

    Raises:
        RefusedError: it was made with another; the fields that differ are named.
    """
    here = model_identity(opened)
    fields = differing({key: header.get(key) for key in here}, here)
    aside = {"device", "dtype", "model.name", "model.parts.generation_config"}
    if other := [field for field in fields if field not in aside]:
        there = header["model"]
        raise RefusedError(
            f"{where}: traced {there['name']} ({str(there['sha256'])[:12]}), not {opened.id.name} "
            f"({str(opened.id.sha256)[:12]}): {', '.join(other)} differ; trace this model, or give "
            "the traced one"
        )


def check_data(header: Record, samples: Sequence[Sample], where: Path) -> None:
    """Check that the samples of a run, and their clips, are as they were.

    Args:
        header: of the run.
        samples: all that the run's data set has now.
        where: the run, for the message.

    Raises:
        RefusedError: questions or clips were changed, or are gone.
    """
    now = {sample.id: sample for sample in samples}
    traced = [now[name] for name in header["samples"] if name in now]
    if len(traced) < len(header["samples"]) or fingerprint(traced) != header["data_sha256"]:
        raise RefusedError(
            f"{where}: the questions or clips that were traced have changed since: put back the "
            "old ones, or trace again into a new --out"
        )


def template_sha256(processor: Any) -> str:
    """Hash of the processor's chat template, "" without one."""
    template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    if not template:
        return ""
    # Several templates are a dictionary, whose order means nothing.
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return sha256(text.encode()).hexdigest()


def data_identity(samples: Sequence[Sample]) -> dict[str, Any]:
    """The samples, and the versions of the software that reads and computes them."""
    return {
        "data_sha256": fingerprint(samples),
        "samples": [s.id for s in samples],
        "cue": samples[0].cue if samples else "",
        **({**samples[0].media.given, **samples[0].wording.given} if samples else {}),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of prune, of Python and of the libraries that compute."""
    return {
        "prune": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def recorded(measure: Callable[[Sample], Record]) -> Callable[[Sample], Record]:
    """Wrap a measurement so that it makes a record of every sample.

    The record holds the sample's `id` and `task`, the key of its `video`, and what `measure`
    returns. If that fails, it holds `error` and `exit_code` instead (`prune.inputs.failures`).
    """

    def one(sample: Sample) -> Record:
        (video,) = video_keys([sample])
        record: Record = {"id": sample.id, "task": sample.task, "video": video}
        try:
            return record | measure(sample)
        except Exception as error:
            failure = Failure.of(error)
            return record | {"error": failure.reason, "exit_code": failure.exit_code}

    return one


def failed_of(records: Sequence[Record]) -> dict[str, str]:
    """The reason why a sample could not be used, by the id of each such sample."""
    return {r["id"]: r["error"] for r in records if "error" in r}


def check_usable(records: Sequence[Record]) -> None:
    """Check that at least one sample could be used.

    Raises:
        PruneError: none could; of the class that all failures have, else a `BadInputError`.
    """
    failed = failed_of(records)
    if len(failed) == len(records):
        codes = {r["exit_code"] for r in records}
        kinds = {kind.exit_code: kind for kind in PruneError.__subclasses__()}
        kind = kinds[codes.pop()] if len(codes) == 1 else BadInputError
        raise kind(f"no sample could be used: {next(iter(failed.values()))}")
