"""Readers of public benchmarks: local copies in their published layout, one file per benchmark."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from prune.errors import UsageError
from prune.inputs.samples import Sample


def names() -> list[str]:
    """The benchmarks that can be read."""
    return [module.name for module in iter_modules(__path__) if module.name != "layout"]


def read_dataset(name: str, folder: Path) -> list[Sample]:
    """Every question of a benchmark.

    Args:
        name: one of `names`.
        folder: the unpacked benchmark, laid out as its authors publish it.

    Raises:
        UsageError: there is no such benchmark.
        BadInputError: the folder does not hold it.
    """
    if name not in names():
        raise UsageError(f"no benchmark {name!r}: choose from {', '.join(names())}")
    read: Callable[[Path], list[Sample]] = import_module(f"prune.datasets.{name}").read
    return read(folder.resolve())
