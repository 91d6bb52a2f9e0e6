"""The time that a recipe's trace takes: its counted passes, times one that is timed here."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from prune.bench.conditions import device_name
from prune.checkpoint.load import open_model
from prune.errors import BadInputError
from prune.inputs.encode import read
from prune.inputs.samples import load_samples
from prune.layout.role import Role
from prune.layout.segments import segment
from prune.workflows.recipe import Recipe
from prune.workflows.recipe_cost import Passes

RUNS = 3


@dataclass(frozen=True)
class TimedPass:
    """A dense pass over one sample of a recipe.

    Attributes:
        seconds: median of `RUNS`, the vision tower included, which a trace runs once per sample.
        device: what it ran on.
        tokens: of the prompt.
        text: of those, the ones behind the video.
    """

    seconds: float
    device: str
    tokens: int
    text: int

    def per_sample(self, passes: Passes) -> float:
        """Seconds to trace one sample, if passes over the text cost its share of the tokens."""
        return self.seconds * (passes.whole + passes.text * self.text / self.tokens)


@torch.inference_mode()
def time_pass(
    recipe: Recipe,
    model: str | Path,
    data: Path,
    device: str | None = None,
    dtype: str = "auto",
) -> TimedPass:
    """Time a dense pass over the first sample of a recipe's data.

    Args:
        recipe: whose prompt, frames and clips are used.
        model: the recipe's.
        data: JSONL of its samples.
        device, dtype: as `device_map` and `dtype` of `prune.load`.

    Raises:
        BadInputError: a file cannot be read, or the prompt's video is not found.
        RefusedError: the model is not the recipe's.
    """
    opened = open_model(model, device, dtype, dense=True)
    recipe.check_model(opened.id)
    samples = load_samples(data, recipe.cue, recipe.media, recipe.wording)
    inputs = read(opened.processor, recipe.of_its_tasks(samples, data)[:1], recipe.num_frames)
    layout = segment(opened.processor, inputs)
    video = (layout.role[0] == Role.VIDEO).nonzero()
    if not len(video):
        raise BadInputError(f"{data}: the prompt of its first sample shows no video")
    tokens = layout.shape[1]
    inputs = inputs.to(opened.model.device)
    seconds = []
    for _ in range(1 + RUNS):
        start = time.perf_counter()
        opened.model(**inputs, logits_to_keep=1)
        if opened.model.device.type == "cuda":
            torch.cuda.synchronize(opened.model.device)
        seconds.append(time.perf_counter() - start)
    # The first one warms up.
    middle = statistics.median(seconds[1:])
    return TimedPass(middle, device_name(opened.model), tokens, tokens - 1 - int(video[-1]))
