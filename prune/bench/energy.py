"""Energy by the NVML counter of NVIDIA GPUs (Volta and later)."""

from collections.abc import Callable
from typing import Any

import torch


def energy_meter(device: Any) -> Callable[[], float] | None:
    """A function that reads the joules a device has drawn so far; None if it does not report them.

    It needs `pynvml` (the extra `energy`). The counter is the whole board's, so others
    on the same GPU count too, and it moves in steps of some 20 to 100 ms: measure seconds.

    Args:
        device: a torch device.
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # By UUID: CUDA_VISIBLE_DEVICES renumbers devices for torch alone.
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
