"""The conditions of a measurement: device, dtype and versions."""

import os
import platform
from typing import Any

import torch

from prune import __version__
from prune.journal.records import versions


def device_name(model: Any) -> str:
    """What the model runs on, in words."""
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    threads = torch.get_num_threads()
    used = f"{threads} thread{'s' if threads > 1 else ''}"
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, {used}"


def conditions(model: Any, **more: str) -> dict[str, str]:
    """Device, dtype and versions, and whatever else the caller names."""
    return {
        "device": device_name(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        **versions(),
        "prune": __version__,
        **more,
    }
