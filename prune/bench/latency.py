"""Latency of one request, from the video file to the first token and per decode step."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from prune.bench.side import Side
from prune.families import family_of_model_type
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.results.latency import LatencyRow

DECODE_TOKENS = 8
WARMUP = 3


def latency(
    compared: Sequence[Side],
    sample: Sample,
    num_frames: int,
    runs: int = 20,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[LatencyRow, ...]:
    """Time the sides in turn on one request, after a warm-up.

    Args:
        compared: dense and pruned.
        sample: whose clip and question are asked.
        num_frames: of the clip.
        runs: timed runs of each.
        on_done: called after each run.

    Returns:
        A row for each side and quantity, in ms: `video decode` (and preprocessing, on the CPU),
        `vision tower` (and, under a plan, reading the prompt's layout), `LLM prefill`, their sum
        `time to first token`, and `decode step`.
    """
    times: dict[tuple[str, str], list[float]] = {}
    for run in range(-WARMUP, runs):
        for side in compared:
            with side.running():
                found = _time(side, sample, num_frames)
            for what, value in found.items() if run >= 0 else ():
                times.setdefault((what, side.name), []).append(value)
        if run >= 0:
            on_done(1)
    rows = []
    for (what, name), values in times.items():
        p20, median, p80 = np.percentile(values, [20, 50, 80])
        rows.append(LatencyRow(what, name, float(median), float(p20), float(p80), runs))
    return tuple(rows)


def _time(side: Side, sample: Sample, num_frames: int) -> dict[str, float]:
    """Milliseconds of each part of one request."""
    model = side.model
    text_model = family_of_model_type(model.config.model_type).text_model_of(model)
    marks: list[float] = []

    def mark(*args: Any) -> None:
        marks.append(now(model.device))

    # Before the plan's own hook, so that what a plan has to prepare counts as prefill.
    handles = [
        text_model.register_forward_pre_hook(mark, prepend=True),
        text_model.register_forward_hook(mark),
    ]
    try:
        mark()
        inputs = read(side.processor, [sample], num_frames)
        mark()
        generate(model, inputs.to(model.device), DECODE_TOKENS + 1)
    finally:
        for handle in handles:
            handle.remove()
    start, decoded, *steps = marks
    return {
        "video decode": decoded - start,
        "vision tower": steps[0] - decoded,
        "LLM prefill": steps[1] - steps[0],
        "time to first token": steps[1] - start,
        "decode step": statistics.median(np.diff(steps[1::2])),
    }


def now(device: torch.device) -> float:
    """Milliseconds, after all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * time.perf_counter()


def generate(model: Any, inputs: Any, tokens: int) -> Any:
    """Exactly so many tokens, greedily; with the cache they leave."""
    return model.generate(
        **inputs,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        return_dict_in_generate=True,
    )
