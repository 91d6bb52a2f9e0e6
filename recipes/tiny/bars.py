"""Measure whether a model has the paper's stages: `python recipes/tiny/bars.py --model DIR`.

On real MP4 clips of the test split, through the path of any user's video: accuracy by task; what it
costs that no frame reads another in the first half of the layers; what it costs that no token reads
the video in the last third; and around which layers each stage is needed, as the centre of mass of
its knockout curve (Map the Flow, 2510.13251, section 3).
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from prune.checkpoint.load import LoadedModel, open_model
from prune.evaluate.stats import paired_difference, proportion
from prune.inputs.encode import letter_ids, read
from prune.inputs.samples import Sample, load_samples
from prune.layout.pathways import PATHWAYS, Pathway, join, knockout
from prune.layout.reach import Reach, dense_reach
from prune.results.interval import Interval
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.runtime.enforce import PlanEnforcer
from prune.tiny.benchmark import write_benchmark
from prune.trace.dense_pass import record_dense
from prune.trace.incremental import knockout_logits
from prune.trace.windows import Style, default_window, style_windows

BATCH, RESAMPLES = 16, 2000
STAGES = {
    "cross-frame": PATHWAYS["cross_frame"],
    "video to question and options": join(
        [PATHWAYS["video_to_question_sealed"], PATHWAYS["video_to_options"]]
    ),
    "question and options to last": join(
        [PATHWAYS["question_to_last_sealed"], PATHWAYS["options_to_last"]]
    ),
}
"""In the paper's order. Its question reaches from `Question:` to the last option."""
FROM_VIDEO = ("cross_frame", "video_to_question_sealed", "video_to_options", "video_to_last")


def answers(
    opened: LoadedModel, samples: Sequence[Sample], frames: int, reaches: dict[str, Reach]
) -> dict[str, list[bool]]:
    """Right or wrong for every sample, under every reach table."""
    right: dict[str, list[bool]] = {name: [] for name in reaches}
    for start in tqdm(range(0, len(samples), BATCH), desc="accuracy"):
        part = samples[start : start + BATCH]
        replay = capture(opened.model, opened.processor, read(opened.processor, part, frames))
        for name, reach in reaches.items():
            with seam(opened.model):
                logits = replay.last_logits(PlanEnforcer(reach, replay.segments))
            right[name] += [
                int(row[letter_ids(opened.processor, sample)].argmax()) == sample.answer
                for sample, row in zip(part, logits, strict=True)
            ]
    return right


def curves(opened: LoadedModel, samples: Sequence[Sample], frames: int) -> NDArray[np.float64]:
    """How much of the answer's probability each knockout takes, `[N, stages, L]` in [0, 1].

    Every stage is knocked out in the paper's window around every layer, on samples that the
    dense model answers rightly. What raises the probability takes nothing.
    """
    layers = opened.id.num_layers
    windows = style_windows(Style.CENTRE, default_window(layers), layers)
    taken = []
    for sample in tqdm(samples, desc="knockouts"):
        inputs = read(opened.processor, [sample], frames)
        replay = capture(opened.model, opened.processor, inputs)
        token = letter_ids(opened.processor, sample)[sample.answer]
        with seam(opened.model):
            dense = record_dense(replay)
            if int(dense.logits.argmax()) != token:
                continue
            logits = knockout_logits(dense, tuple(STAGES.values()), windows)
        before = torch.log_softmax(dense.logits, -1)[token]
        after = torch.log_softmax(logits, -1)[..., token]
        taken.append((1 - (after - before).exp()).clamp(min=0).double().numpy())
    return np.array(taken)


def centres(taken: NDArray[np.float64], seed: int = 0) -> list[Interval]:
    """Centre of mass in layers of each stage's mean curve, with its bootstrap interval by clip.

    Returns:
        One for each of the stages; then the differences, later minus earlier, of neighbours, on
        the same resamples. NaN for a stage whose knockout takes nothing.
    """
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(taken), (RESAMPLES, len(taken)))
    means = np.concatenate([taken.mean(0)[None], taken[picks].mean(1)])
    layers = np.arange(taken.shape[2])
    with np.errstate(invalid="ignore"):
        centre = (means * layers).sum(-1) / means.sum(-1)
    found = np.concatenate([centre, np.diff(centre, axis=1)], 1).T
    return [Interval(*map(float, (row[0], *np.percentile(row[1:], [2.5, 97.5])))) for row in found]


def tables(layers: int) -> dict[str, Reach]:
    """The reach tables that accuracies are measured under."""
    late = slice(layers - layers // 3, None)
    cut: dict[str, Iterable[Pathway]] = {name: [PATHWAYS[name]] for name in FROM_VIDEO}
    cut["all of these"] = [PATHWAYS[name] for name in FROM_VIDEO]
    return {
        "dense": dense_reach(layers),
        "cross-frame, first half": knockout(layers, PATHWAYS["cross_frame"], slice(layers // 2)),
        **{f"{name}, last third": knockout(layers, join(p), late) for name, p in cut.items()},
    }


def measure(opened: LoadedModel, samples: list[Sample], frames: int, traced: int) -> dict[str, Any]:
    """Everything, as JSON: accuracies in percent, costs in points, centres in layers.

    Args:
        opened: the model.
        samples: test questions, tasks in turn.
        frames: frames a clip.
        traced: how many of the samples are traced for the centres.
    """
    right = answers(opened, samples, frames, tables(opened.id.num_layers))
    rows: dict[str, list[int]] = defaultdict(list)
    for number, sample in enumerate(samples):
        rows[str(sample.task)].append(number)

    def pick(name: str, task: str) -> list[bool]:
        return [right[name][number] for number in rows[task]]

    dense = {task: proportion(pick("dense", task)) for task in rows}
    first = {
        task: paired_difference(pick("dense", task), pick("cross-frame, first half", task))
        for task in rows
    }
    late = {
        name: paired_difference(right["dense"], hits)
        for name, hits in right.items() if "last third" in name
    }  # fmt: skip
    taken = curves(opened, samples[:traced], frames)
    order, names = centres(taken), list(STAGES)
    later = [f"{two} after {one}" for one, two in pairwise(names)]
    return {
        "frames": frames,
        "samples": len(samples),
        "traced": len(taken),
        "dense": {task: vars(v) for task, v in dense.items()},
        "mean": float(np.mean([v.value for v in dense.values()])),
        "cross_frame_first_half": {task: vars(v) for task, v in first.items()},
        "last_third": {name: vars(v) for name, v in late.items()},
        "centres": {n: vars(v) for n, v in zip([*names, *later], order, strict=True)},
        "curves": {n: taken.mean(0)[i].round(4).tolist() for i, n in enumerate(names)},
    }


def met(found: dict[str, Any]) -> dict[str, bool]:
    """The bars, by name."""
    dense = [v["value"] for v in found["dense"].values()]
    lost = [-v["value"] for v in found["cross_frame_first_half"].values()]
    later = [v["low"] for name, v in found["centres"].items() if " after " in name]
    late = [v["value"] for v in found["last_third"].values()]
    return {
        "dense: 85% on average, not 100% everywhere": found["mean"] >= 85 and min(dense) < 100,
        "cross-frame in the first half: 20 points on 3 tasks": sorted(lost)[-3] >= 20,
        "cross-frame, then video to question and options, then to last": min(later) > 0,
        "no pathway from video costs a point in the last third": min(late) > -1,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model folder")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--per-task", type=int, default=100, help="clips of each task")
    parser.add_argument("--traced", type=int, default=120, help="clips to trace, of all tasks")
    args = parser.parse_args()
    opened = open_model(args.model)
    with tempfile.TemporaryDirectory() as folder:
        data = write_benchmark(Path(folder), "test", args.per_task, seed=1, task_set="events")
        found = measure(opened, load_samples(data), args.frames, args.traced)
    print(json.dumps(found | {"bars": met(found)}, indent=2))


if __name__ == "__main__":
    main()
