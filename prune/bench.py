"""Latency on this machine: prefill, time to first token and decode, dense beside pruned."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers

from prune import __version__
from prune.families import family_of_model_type
from prune.plan.plan import Plan
from prune.result import LatencyRow
from prune.runtime.apply import apply

DECODE_TOKENS = 8
WARMUP = 3


def device_name(model: Any) -> str:
    """What the model runs on, for people."""
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def conditions(model: Any, **more: str) -> dict[str, str]:
    """Device, dtype and versions, and whatever else the caller names."""
    return {
        "device": device_name(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "prune": __version__,
        **more,
    }


class _Timer:
    """Times one `generate`: the text model's first call, the first token, the rest."""

    def __init__(self, model: Any):
        self.device = model.device
        self.text_model = family_of_model_type(model.config.model_type).text_model_of(model)

    def now(self) -> float:
        """Milliseconds, after all queued work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return 1000 * time.perf_counter()

    def run(self, generate: Callable[[], Any]) -> dict[str, float]:
        """Milliseconds of `prefill`, `first token` (vision tower and prefill) and `decode step`."""
        marks: list[float] = []

        def mark(*args: Any) -> None:
            marks.append(self.now())

        handles = [
            self.text_model.register_forward_pre_hook(mark),
            self.text_model.register_forward_hook(mark),
        ]
        start = self.now()
        try:
            generate()
        finally:
            for handle in handles:
                handle.remove()
        steps = np.diff(marks[1::2])
        return {
            "LLM prefill": marks[1] - marks[0],
            "time to first token": marks[1] - start,
            "decode step": statistics.median(steps),
        }


def bench(
    model: Any,
    plan: Plan,
    processor: Any,
    inputs: Any,
    runs: int = 20,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[LatencyRow, ...]:
    """Time dense SDPA and the plan on the same prompt, interleaved, after a warm-up.

    Args:
        model: dense.
        plan, processor: what to compare it with.
        inputs: of one prompt.
        runs: timed runs of each.
        on_done: called after each run.

    Returns:
        Two rows (dense, pruned) for each quantity, in ms.
    """
    inputs = inputs.to(model.device)
    timer = _Timer(model)
    length = DECODE_TOKENS + 1

    def generate() -> Any:
        return model.generate(
            **inputs, max_new_tokens=length, min_new_tokens=length, do_sample=False
        )

    times: dict[tuple[str, str], list[float]] = {}
    for run in range(-WARMUP, runs):
        found = {"dense": timer.run(generate)}
        with apply(model, plan, processor=processor):
            found["pruned"] = timer.run(generate)
        if run >= 0:
            for name, row in found.items():
                for what, value in row.items():
                    times.setdefault((what, name), []).append(value)
            on_done(1)
    rows = []
    for (what, name), values in sorted(times.items()):
        p20, median, p80 = np.percentile(values, [20, 50, 80])
        rows.append(LatencyRow(what, name, float(median), float(p20), float(p80), runs))
    return tuple(rows)
