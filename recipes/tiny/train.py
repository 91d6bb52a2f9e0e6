"""Train `tiny` from nothing: `python recipes/tiny/train.py --out prune/tiny/model`.

Three kinds of target share the batches: a description of the clip, an open answer, and the letter
of an option. Matching a word to its letter is learnt from text alone first, then choices of two
options, then of all of them; a lesson ends when it is learnt. In the last one every second step
cuts attention pathways (`dropout.py`).
"""

import argparse
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from batches import Batch, Packer, Slots
from dropout import draw_reach, masks_of
from model import FRAMES, TOKENS_PER_FRAME, build_model, build_tokenizer
from vision import pretrain_vision

from prune.pathways import Reach, dense_reach


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


def logits_of(model, batch: Batch, reach: Reach) -> torch.Tensor:
    """Logits `[B, S, V]` of a packed batch under a reach table."""
    embeds = model.get_input_embeddings()(batch.input_ids)
    features = model.get_video_features(
        batch.pixels,
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
    ).pooler_output
    video = batch.input_ids == model.config.video_token_id
    embeds = embeds.masked_scatter(video[..., None], features.to(embeds.dtype))
    hidden = model.model.language_model(
        inputs_embeds=embeds,
        position_ids=batch.positions,
        use_cache=False,
        slots=batch.slots,
        masks=masks_of(batch, reach),
    ).last_hidden_state
    return model.lm_head(hidden)


def loss_of(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Weighted cross-entropy, per packed question."""
    chosen = batch.targets >= 0
    losses = F.cross_entropy(logits[chosen].float(), batch.targets[chosen], reduction="none")
    weights = batch.weights[chosen]
    return (losses * weights).sum() / weights.sum()


def hits_of(logits: torch.Tensor, batch: Batch) -> dict[str, list[bool]]:
    """Right or wrong for each watched position, by name."""
    right = defaultdict(list)
    for row, column, task in batch.watched:
        hit = logits[row, column].argmax() == batch.targets[row, column]
        right[task].append(bool(hit))
    return right


@torch.no_grad()
def evaluate(model, tokenizer, batches: int = 8) -> dict[str, float]:
    """Accuracy per task with all options, on fresh calibration scenes."""
    packer = Packer(tokenizer, "calibration", seed=1)
    right = defaultdict(list)
    dense = dense_reach(model.config.text_config.num_hidden_layers)
    model.eval()
    for _ in range(batches):
        batch = packer.batch(16, (Slots("choice", 5, 54),))
        for task, hits in hits_of(logits_of(model, batch, dense), batch).items():
            right[task] += hits
    model.train()
    return {task: sum(hits) / len(hits) for task, hits in sorted(right.items())}


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and tokenizer")
    parser.add_argument("--minutes", type=float, default=60, help="wall-clock budget")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--vision-minutes", type=float, default=5, help="of the first lesson")
    parser.add_argument("--resume", type=Path, help="go on from these weights, vision learnt")
    parser.add_argument("--skip", type=int, default=0, help="lessons to leave out")
    parser.add_argument("--dropout", type=float, default=0.8, help="highest rate of a step")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    if args.resume:
        model = type(model).from_pretrained(args.resume)
    model.train()
    model.set_attn_implementation({"text_config": "packed"})
    model.model.language_model.compile(dynamic=False)
    if not args.resume:
        pretrain_vision(model, tokenizer, args.vision_minutes, args.seed)
    packer = Packer(tokenizer, "train", seed=args.seed)
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
        warmup = min(1.0, (step + 1) / 200)
        decay = min(1.0, (1 - progress) / 0.35)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * args.lr * warmup * max(decay, 0.01)
        batch = packer.batch(lesson.clips, lesson.slots)
        # Every other step is dense, so that the whole model stays as good as it was.
        cut = lesson is LESSONS[-1] and step % 2
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
        if step % 500 == 0 or progress >= 1:
            print("calibration", evaluate(model, tokenizer), flush=True)
            args.out.mkdir(parents=True, exist_ok=True)
            model.save_pretrained(args.out)
            tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
