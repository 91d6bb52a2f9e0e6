"""Train `tiny` from nothing, or `tiny-ov` from `tiny` (README.md has the commands).

Three kinds of target share the batches: a description of the clip, an open answer, and the letter
of an option. Matching a word to its letter is learnt from text alone first, then choices of two
options, then of all of them; a lesson ends when it is learnt. In the last one two of three steps
cut attention pathways (`dropout.py`).
"""

import argparse
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from batches import Packer, Slots
from dropout import draw_reach
from forward import evaluate, hits_of, logits_of, loss_of
from inherit import inherit
from model import (
    FAMILIES,
    FRAMES,
    TOKENS_PER_FRAME,
    build_model,
    build_processor,
    build_tokenizer,
)
from vision import pretrain_vision

from prune.checkpoint.load import open_model
from prune.layout.reach import dense_reach


@dataclass(frozen=True)
class Lesson:
    """What every clip of a batch is asked, until `task`'s letters are `enough` right or time is up.

    Attributes:
        clips: clips a batch.
        slots: questions of each kind.
        task: the task to watch, `None` in the last lesson.
        enough: share of its letters that must be right.
        latest: share of the training time at which the lesson ends in any case.
    """

    clips: int
    slots: tuple[Slots, ...]
    task: str | None = None
    enough: float = 1.0
    latest: float = 1.0


DESCRIBE = Slots("describe", 1, 48)
LESSONS = (
    Lesson(8, (Slots("matching", 6, 44), Slots("open", 2, 22)), "matching", 0.8, 0.2),
    Lesson(
        24,
        (DESCRIBE, Slots("open", 3, 22), Slots("matching", 1, 44)),
        "open/moving_direction",
        0.85,
        0.5,
    ),
    Lesson(
        24, (Slots("existence", 14, 16), Slots("choice", 1, 54)), "open/object_existence", 0.95, 0.6
    ),
    Lesson(
        20,
        (
            Slots("open", 1, 22),
            Slots("existence", 3, 16),
            Slots("two", 1, 48),
            Slots("choice", 3, 54),
        ),
    ),
)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and tokenizer")
    parser.add_argument("--family", choices=FAMILIES, default=FAMILIES[0])
    parser.add_argument("--minutes", type=float, default=60, help="wall-clock budget")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--warmup", type=int, default=200, help="steps up to the full rate")
    parser.add_argument("--vision-minutes", type=float, default=5, help="of the first lesson")
    parser.add_argument("--resume", help="go on from this model's weights, vision learnt")
    parser.add_argument("--skip", type=int, default=0, help="lessons to leave out")
    parser.add_argument("--dropout", type=float, default=0.3, help="highest rate of a step")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    tokenizer = build_tokenizer()
    model, processor = build_model(tokenizer, args.family), build_processor(tokenizer, args.family)
    if args.resume:
        inherit(model, open_model(args.resume))
    model.train()
    model.set_attn_implementation({"text_config": "packed"})
    model.model.language_model.compile(dynamic=False)
    if not args.resume:
        pretrain_vision(model, tokenizer, args.vision_minutes, args.seed)
    extra = processor.extra_tokens
    packer = Packer(tokenizer, "train", args.seed, extra)
    layers, rng = model.config.text_config.num_hidden_layers, random.Random(args.seed)
    dense = dense_reach(layers)
    groups: dict[tuple[float, float], list] = defaultdict(list)
    for name, parameter in model.named_parameters():
        # The tower has had its lesson; at the full rate its features blow up.
        rate = 0.2 if "vision_tower" in name or "projector" in name else 1.0
        groups[rate, 0.05 if parameter.ndim > 1 else 0.0].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": ps, "rate": rate, "weight_decay": wd} for (rate, wd), ps in groups.items()],
        lr=args.lr,
        betas=(0.9, 0.98),
    )
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, "
          f"{FRAMES} x {TOKENS_PER_FRAME} video tokens", flush=True)  # fmt: skip
    start, step, progress, running = time.time(), 0, 0.0, defaultdict(list)
    lessons = iter(LESSONS)
    lesson = next(lessons)
    for _ in range(args.skip):
        lesson = next(lessons)
    while progress < 1:
        progress = min(1.0, (time.time() - start) / (60 * args.minutes))
        warmup = min(1.0, (step + 1) / args.warmup)
        decay = min(1.0, (1 - progress) / 0.35)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * args.lr * warmup * max(decay, 0.01)
        batch = packer.batch(lesson.clips, lesson.slots)
        # Every third step is dense, so that the whole model stays as good as it was.
        cut = lesson is LESSONS[-1] and step % 3
        reach = draw_reach(layers, args.dropout * rng.random(), rng) if cut else dense
        with torch.autocast("cpu", torch.bfloat16):
            logits = logits_of(model, batch, reach)
        loss = loss_of(logits, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running["loss"].append(loss.item())
        for task, hits in hits_of(logits.detach(), batch).items():
            running[task] += hits
        step += 1
        if step % 100 == 0:
            means = {k: round(sum(v) / len(v), 3) for k, v in sorted(running.items())}
            pace = (time.time() - start) / step
            print(f"step {step} {pace:.2f} s/step {progress:.0%} {means}", flush=True)
            running.clear()
            if progress > lesson.latest or means.get(lesson.task, 0) >= lesson.enough:
                lesson = next(lessons)
                print("next lesson:", lesson, flush=True)
        if step % 250 == 0 or progress >= 1:
            print(
                "calibration",
                evaluate(model, Packer(tokenizer, "calibration", 1, extra)),
                flush=True,
            )
            model.save_pretrained(args.out)
            processor.save_pretrained(args.out)


if __name__ == "__main__":
    main()
