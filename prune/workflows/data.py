"""The workflow of `prune data`: a public benchmark converted into a data set."""

from dataclasses import dataclass
from pathlib import Path

from prune.datasets import read_dataset
from prune.inputs.samples import Sample, save_samples


@dataclass(frozen=True)
class ConvertedDataset:
    """A benchmark as a data set.

    Attributes:
        path: the JSONL file.
        samples: its samples.
        missing: the reason by id for each question whose video is missing.
    """

    path: Path
    samples: list[Sample]
    missing: dict[str, str]


def convert_dataset(name: str, folder: Path, out: Path | None = None) -> ConvertedDataset:
    """Read a copy of a public benchmark and write it as JSONL.

    Args:
        name: a name of `prune.datasets.names`.
        folder: the copy, in its published layout.
        out: the file, in `folder` or above it; `FOLDER/NAME.jsonl` if None.

    Raises:
        UsageError: there is no such benchmark.
        BadInputError: the copy cannot be read, or lies outside of the file's folder.
    """
    samples = read_dataset(name, folder)
    lost = {s.id: [path for path in s.files if not path.is_file()] for s in samples}
    missing = {name: f"{paths[0]}: no such file" for name, paths in lost.items() if paths}
    there = [sample for sample in samples if sample.id not in missing]
    path = out or folder / f"{name}.jsonl"
    save_samples(path, there)
    return ConvertedDataset(path, there, missing)
