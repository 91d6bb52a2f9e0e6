"""Train `smol`'s adapter: `python recipes/smol/train.py BASE --out DIR --minutes M --device D`.

Only LoRA and the projector learn. Lessons and the learning rate follow the clock, so that one
command fits a lease of any length. The adapter and what training needs to go on are written every
`SAVE_SECONDS`; `--resume` goes on from there.
"""

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adapter
import tiny_recipe  # noqa: F401
import torch
from chat import CHATML
from lessons import FRAMES, Lesson, lesson_at
from losses import answer_loss
from motion import embed, features_of, run_layers
from packing import Batch, Packer
from torch.utils.data import DataLoader, Dataset, Sampler

from prune.checkpoint.load import open_model

SAVE_SECONDS, LOG_STEPS, WARM_STEPS = 30, 10, 50
STATE, LOG = "state.pt", "log.jsonl"


class Clock:
    """How much of the training time has passed, over stops too.

    Attributes:
        before: seconds until the last stop.
    """

    def __init__(self, minutes: float, before: float = 0.0):
        self.seconds, self.before, self.start = 60 * minutes, before, time.monotonic()

    @property
    def passed(self) -> float:
        """Seconds."""
        return self.before + time.monotonic() - self.start

    @property
    def progress(self) -> float:
        """In [0, 1]."""
        return min(1.0, self.passed / self.seconds)


class Steps(Sampler[tuple[int, Lesson]]):
    """The steps to come, each with the lesson of the moment at which its batch is begun."""

    def __init__(self, clock: Clock, first: int, last: int | None):
        self.clock, self.first, self.last = clock, first, last

    def __iter__(self) -> Iterator[tuple[int, Lesson]]:
        step = self.first
        while self.clock.progress < 1 and (self.last is None or step < self.last):
            yield step, lesson_at(self.clock.progress)
            step += 1


class Batches(Dataset[Batch]):
    """Fresh scenes of the training split; a step's are the same whoever draws them."""

    def __init__(self, tokenizer: Any, clips: int, seed: int):
        self.tokenizer, self.clips, self.seed = tokenizer, clips, seed
        self.packer: Packer | None = None

    def __getitem__(self, at: tuple[int, Lesson]) -> Batch:
        step, lesson = at
        if self.packer is None:
            torch.set_num_threads(1)
            self.packer = Packer(self.tokenizer, "train", self.seed, CHATML)
        self.packer.seed(1_000_003 * self.seed + step)
        return self.packer.batch(self.clips, lesson.slots, self.packer.rng.choice(FRAMES))


class Training:
    """A model, what of it learns, and the optimiser."""

    def __init__(self, base: str, device: torch.device, lr: float):
        opened = open_model(base, device_map={"": device})
        self.model, self.tokenizer, self.device = opened.model, opened.processor.tokenizer, device
        self.model.set_attn_implementation({"text_config": "packed_deep"})
        self.learnt = adapter.inject(self.model)
        self.optimizer = torch.optim.AdamW(
            self.learnt.values(), lr=lr, betas=(0.9, 0.98), weight_decay=0
        )
        self.lr, self.step = lr, 0

    def save(self, folder: Path, passed: float) -> None:
        """Write the adapter, and what `restore` needs after `passed` seconds."""
        adapter.save(self.learnt, folder / adapter.FILE)
        state = {
            "learnt": {name: p.detach() for name, p in self.learnt.items()},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "passed": passed,
        }
        torch.save(state, folder / f"{STATE}.part")
        (folder / f"{STATE}.part").replace(folder / STATE)

    def restore(self, folder: Path) -> float:
        """Go on from what was saved in `folder`; returns the seconds that had passed."""
        state = torch.load(folder / STATE, weights_only=True, map_location=self.device)
        with torch.no_grad():
            for name, parameter in self.learnt.items():
                parameter.copy_(state["learnt"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        return float(state["passed"])

    def learn(self, batch: Batch, progress: float) -> dict[str, list[Any]]:
        """One step: its loss, and right or wrong of every answer, by name."""
        batch = batch.to(self.device)
        half = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            hidden = embed(self.model, batch, features_of(self.model, batch.pixels))
            hidden = run_layers(self.model, batch, hidden, slice(None))
            loss, right = answer_loss(self.model, batch, hidden)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learnt.values(), 1.0)
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * min(1.0, self.step / WARM_STEPS) * rate_at(progress)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"loss": [loss.item()], **right}


def rate_at(progress: float, cool: float = 0.6) -> float:
    """The learning rate as a share of the highest: a cosine down to 0 from `cool` on."""
    return 0.5 + 0.5 * math.cos(math.pi * max(0.0, progress - cool) / (1 - cool))


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", help="the folder that build.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of adapter, state and log")
    parser.add_argument("--minutes", type=float, default=8, help="of training, over all runs")
    parser.add_argument("--device", type=torch.device, default="cuda")
    parser.add_argument("--resume", action="store_true", help="go on from what DIR holds")
    parser.add_argument("--clips", type=int, default=64, help="clips of a batch")
    parser.add_argument("--workers", type=int, default=12, help="processes that draw clips")
    parser.add_argument("--steps", type=int, help="most steps of this run")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training(args.base, args.device, args.lr)
    clock = Clock(args.minutes, training.restore(args.out) if args.resume else 0.0)
    last = None if args.steps is None else training.step + args.steps
    loader = DataLoader(
        Batches(training.tokenizer, args.clips, args.seed),
        batch_size=None,
        sampler=Steps(clock, training.step, last),
        num_workers=args.workers,
    )
    running, saved = defaultdict(list), time.monotonic()
    with (args.out / LOG).open("a", buffering=1) as log:
        for batch in loader:
            for name, values in training.learn(batch, clock.progress).items():
                running[name] += values
            if training.step % LOG_STEPS == 0:
                means = {k: round(sum(v) / len(v), 3) for k, v in sorted(running.items())}
                row = {"step": training.step, "seconds": round(clock.passed, 1), **means}
                print(json.dumps(row), file=log)
                running.clear()
            if time.monotonic() - saved > SAVE_SECONDS:
                training.save(args.out, clock.passed)
                saved = time.monotonic()
    training.save(args.out, clock.passed)


if __name__ == "__main__":
    main()
