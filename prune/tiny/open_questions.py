"""The benchmark's questions without their options, for replies in the model's own words."""

from dataclasses import replace
from pathlib import Path

from prune.inputs.sample import NO_ANSWER, Sample
from prune.inputs.samples import load_samples, save_samples


def without_options(sample: Sample) -> Sample:
    """A sample as an open question, to which the true option is the reply."""
    reply = sample.options[sample.answer]
    return replace(sample, options=(), answer=NO_ANSWER, reply=reply)


def write_open(path: Path) -> Path:
    """Write the questions of a data set as open ones, beside it.

    Args:
        path: JSONL of questions with options.

    Returns:
        Path of the new JSONL, such as `test-open.jsonl`.
    """
    target = path.with_name(f"{path.stem}-open.jsonl")
    save_samples(target, [without_options(sample) for sample in load_samples(path)])
    return target
