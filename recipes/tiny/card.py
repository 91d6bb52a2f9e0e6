"""Measure an embedded model and write its card: `python recipes/tiny/card.py --model tiny`.

Accuracy is over the answer options, on real MP4 files through the path of any user's video; once
with the frames in order and once with the frames of every clip in random order. Of `tiny-deep` the
card says as well whether it has the paper's stages (`bars.py`).
"""

import argparse
import platform
import tempfile
from collections import defaultdict
from pathlib import Path

import torch
from bars import measure, met

from prune.checkpoint.load import EMBEDDED, LoadedModel, open_model
from prune.evaluate.stats import proportion
from prune.inputs.encode import letter_ids, read
from prune.inputs.samples import Sample, load_samples
from prune.layout.reach import dense_reach
from prune.results.interval import Interval
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.runtime.enforce import PlanEnforcer
from prune.tiny.benchmark import write_benchmark

HERE = Path(__file__).parent
FRAMES, BATCH, PER_TASK = 8, 16, 200
TASKS = {"tiny": "shapes", "tiny-ov": "shapes", "tiny-deep": "events"}
STAGED = ("tiny-deep",)
TRACED = 240
"""Clips whose knockout curves are measured, of all tasks."""
DECODERS = {"llama": "Llama", "qwen2": "Qwen2"}


def answers(
    opened: LoadedModel, samples: list[Sample], shuffled: bool, seed: int = 0
) -> list[bool]:
    """Right or wrong for every sample."""
    generator = torch.Generator().manual_seed(seed)
    right = []
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        inputs = read(opened.processor, part, FRAMES)
        if shuffled:
            pixels = inputs["pixel_values_videos"]
            for i in range(len(part)):
                pixels[i] = pixels[i, torch.randperm(FRAMES, generator=generator)]
        replay = capture(opened.model, opened.processor, inputs)
        dense = dense_reach(opened.id.num_layers)
        with seam(opened.model):
            logits = replay.last_logits(PlanEnforcer(dense, replay.segments))
        for sample, row in zip(part, logits, strict=True):
            choice = int(row[letter_ids(opened.processor, sample)].argmax())
            right.append(choice == sample.answer)
    return right


def by_task(samples: list[Sample], right: list[bool]) -> dict[str, Interval]:
    """Accuracy with its 95% interval, in percent, for each task."""
    hits = defaultdict(list)
    for sample, hit in zip(samples, right, strict=True):
        hits[sample.task].append(hit)
    return {str(task): proportion(found) for task, found in hits.items()}


def rows_of(found: dict[str, dict[str, float]]) -> str:
    """Rows of a table: a name, and a value with its interval."""
    return "\n".join(
        f"| {name} | {v['value']:+.1f} [{v['low']:+.1f}, {v['high']:+.1f}] |"
        for name, v in found.items()
    )


def stages(opened: LoadedModel, samples: list[Sample]) -> str:
    """Whether the model has the paper's stages, as Markdown."""
    found = measure(opened, samples, FRAMES, TRACED)
    bars = "\n".join(f"| {name} | {'yes' if yes else 'no'} |" for name, yes in met(found).items())
    return (
        (HERE / "stages_template.md")
        .read_text()
        .format(
            bars=bars,
            first=rows_of(
                {t.replace("_", " "): v for t, v in found["cross_frame_first_half"].items()}
            ),
            late=rows_of({name.split(",")[0]: v for name, v in found["last_third"].items()}),
            centres=rows_of(found["centres"]),
            traced=found["traced"],
        )
    )


def card(opened: LoadedModel, name: str, samples: list[Sample], command: str) -> str:
    """The card as Markdown; `command` measured it."""
    ordered = by_task(samples, answers(opened, samples, shuffled=False))
    mixed = by_task(samples, answers(opened, samples, shuffled=True))
    options = defaultdict(list)
    for sample in samples:
        options[str(sample.task)].append(len(sample.options))
    rows = [
        f"| {task.replace('_', ' ')} | {100 / options[task][0]:.0f} | {right.value:.1f} "
        f"[{right.low:.1f}, {right.high:.1f}] | {mixed[task].value:.1f} | "
        f"{mixed[task].value - right.value:+.1f} |"
        for task, right in ordered.items()
    ]
    mean, lost = (sum(v.value for v in part.values()) / len(rows) for part in (ordered, mixed))
    config = opened.model.config
    text = config.text_config
    return (
        (HERE / "card_template.md")
        .read_text()
        .format(
            name=name,
            architecture=type(opened.model).__name__,
            vision_layers=config.vision_config.num_hidden_layers,
            decoder=DECODERS[text.model_type],
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            heads=text.num_attention_heads,
            kv_heads=text.num_key_value_heads,
            parameters=sum(p.numel() for p in opened.model.parameters()) / 1e6,
            extra=" and a newline token" if opened.processor.extra_tokens else "",
            n=len(samples),
            per_task=len(samples) // len(rows),
            rows="\n".join(rows),
            mean=mean,
            mixed=lost,
            difference=lost - mean,
            command=command,
            machine=f"{platform.machine()} CPU, torch {torch.__version__}",
            stages=stages(opened, samples) if name in STAGED else "",
            training=(HERE / f"training_{name.replace('-', '_')}.md").read_text().strip(),
        )
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(EMBEDDED), default="tiny")
    parser.add_argument("--per-task", type=int, default=PER_TASK)
    args = parser.parse_args()
    opened = open_model(args.model)
    with tempfile.TemporaryDirectory() as folder:
        data = write_benchmark(
            Path(folder), "test", args.per_task, seed=1, task_set=TASKS[args.model]
        )
        command = f"python recipes/tiny/card.py --model {args.model}"
        if args.per_task != PER_TASK:
            command += f" --per-task {args.per_task}"
        text = card(opened, args.model, load_samples(data), command)
    (opened.folder / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
