"""Measure a model on its test clips and write its card: `python recipes/tiny/card.py --model tiny`.

Accuracy is over the answer options, on real MP4 files through the path of any user's video; once
with the frames in order and once with the frames of every clip in random order.
"""

import argparse
import platform
import tempfile
from collections import defaultdict
from pathlib import Path

import torch

from prune.checkpoint.load import LoadedModel, open_model
from prune.evaluate.stats import proportion
from prune.inputs.encode import letter_ids, read
from prune.inputs.samples import Sample, load_samples
from prune.layout.pathways import dense_reach
from prune.results.interval import Interval
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.runtime.enforce import PlanEnforcer
from prune.tiny.benchmark import write_benchmark
from prune.tiny.questions import TASKS

FRAMES, BATCH = 8, 16
NAMES = {"llava_next_video": "tiny", "llava_onevision": "tiny-ov"}
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
    return {task: proportion(hits[task]) for task in TASKS}


def card(opened: LoadedModel, samples: list[Sample]) -> str:
    """The card as Markdown."""
    ordered = by_task(samples, answers(opened, samples, shuffled=False))
    mixed = by_task(samples, answers(opened, samples, shuffled=True))
    chance = {s.task: 100 / len(s.options) for s in samples}
    rows = [
        f"| {task.replace('_', ' ')} | {chance[task]:.0f} | {ordered[task].value:.1f} "
        f"[{ordered[task].low:.1f}, {ordered[task].high:.1f}] | {mixed[task].value:.1f} | "
        f"{mixed[task].value - ordered[task].value:+.1f} |"
        for task in TASKS
    ]
    mean, lost = (sum(v.value for v in part.values()) / len(TASKS) for part in (ordered, mixed))
    config, name = opened.model.config, NAMES[opened.id.model_type]
    text = config.text_config
    here = Path(__file__).parent
    template = (here / "card_template.md").read_text()
    return template.format(
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
        per_task=len(samples) // len(TASKS),
        rows="\n".join(rows),
        mean=mean,
        mixed=lost,
        difference=lost - mean,
        command=f"python recipes/tiny/card.py --model {name}",
        machine=f"{platform.machine()} CPU, torch {torch.__version__}",
        training=(here / f"training_{name.replace('-', '_')}.md").read_text().strip(),
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny", help="its card is written into its folder")
    parser.add_argument("--per-task", type=int, default=200)
    args = parser.parse_args()
    opened = open_model(args.model)
    with tempfile.TemporaryDirectory() as folder:
        data = write_benchmark(Path(folder), "test", args.per_task, seed=1)
        text = card(opened, load_samples(data))
    (opened.folder / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
