"""The workflow of `prune env`: the versions and devices that matter for a bug report."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from prune import __version__
from prune.kernels.segment_attention.calibration import stored_choices
from prune.runtime.versions import untested

PACKAGES = ("torch", "transformers", "triton", "av", "torchvision", "lm-eval")


@dataclass(frozen=True)
class Environment:
    """What prune runs on.

    Attributes:
        prune, python, platform: versions.
        packages: version by name, None where a package is not installed.
        gpus: names of the devices.
        threads: of the CPU, that torch uses.
        attention: by GPU and versions, how many classes of calls `auto` measured, and for how many
            of them it takes the Triton kernel.
        untested: a line about a transformers that prune was not tested on.
    """

    prune: str
    python: str
    platform: str
    packages: dict[str, str | None]
    gpus: list[str]
    threads: int
    attention: dict[str, tuple[int, int]]
    untested: str | None


def environment() -> Environment:
    """Look at the process and the machine that it runs on."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Environment(
        __version__,
        platform.python_version(),
        platform.platform(),
        {name: _version(name) for name in PACKAGES},
        gpus,
        torch.get_num_threads(),
        {
            name: (len(found), sum(choice.impl == "triton" for choice in found.values()))
            for name, found in stored_choices().items()
        },
        untested(),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
