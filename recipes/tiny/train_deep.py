"""Train `tiny-deep` (README.md has the command): depth alone, no pathway is ever cut.

A lesson has a fixed number of steps, and all that a step depends on is in the state that is
written every few minutes, so that a run that was stopped goes on exactly where it was.
"""

import argparse
import json
import os
import random
import signal
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from deep import LAYERS, build_model, build_tokenizer
from losses import answer_loss, word_loss
from model import IMAGE_SIZE, TOKENS_PER_FRAME
from motion import DEPTH, Heads, embed, features_of, motion_loss, run_layers, video_of
from packing import MIX, Packer, Slots
from ranks import average_gradients, gathered, join

from prune.tiny.events import EVENT_TASKS
from prune.tiny.processor import TinyProcessor

STATE = "state.pt"


@dataclass(frozen=True)
class Lesson:
    """What every clip of a batch is asked, for `steps` steps.

    Attributes:
        frames: the numbers of frames, drawn anew for every step. Without, the lesson is text alone.
        layers: the layers that learn, first and stop; those before are run and do not learn, those
            behind are not run.
        slots: questions of each kind.
        motion: weight of the heads' loss (`motion.py`).
        words: weight of `losses.word_loss`.
        tasks: what the clips are drawn for, each as often as it stands there.
        rate: learning rate at the lesson's start and at its end, as a share of the highest.
    """

    name: str
    steps: int
    clips: int
    frames: tuple[int, ...]
    layers: tuple[int, int]
    slots: tuple[Slots, ...] = ()
    motion: float = 0.0
    words: float = 0.0
    rate: tuple[float, float] = (1.0, 1.0)
    tasks: tuple[str, ...] = MIX


FRAMES = (4, 4, 8, 8, 16)
UNEVEN = (
    *MIX,
    *EVENT_TASKS,
    "object_count",
    *3 * ("character_order", "event_order", "moving_count"),
)
WORDS_AT = 13
"""After so many layers an answer is asked for in words where its letter is to be said."""

LESSONS = (
    Lesson("sight", 1300, 24, (8,), (0, 0), motion=1.0),
    Lesson("text", 500, 64, (), (0, DEPTH), (Slots("matching", 1, 50),)),
    Lesson(
        "motion", 800, 24, (4, 8, 8, 16), (0, DEPTH), (Slots("matching", 2, 50),), motion=1.0
    ),
    Lesson(
        "lookup", 600, 16, FRAMES, (DEPTH, WORDS_AT),
        (Slots("lookup", 12, 16), Slots("matching", 2, 50)),
    ),
    Lesson(
        "open", 2000, 16, FRAMES, (0, WORDS_AT),
        (
            Slots("lookup", 3, 16), Slots("open", 6, 19), Slots("describe", 1, 68),
            Slots("matching", 1, 50),
        ),
        motion=0.3, tasks=UNEVEN,
    ),
    Lesson(
        "choices", 300, 16, FRAMES, (0, LAYERS),
        (
            Slots("lookup", 1, 16), Slots("open", 3, 19), Slots("describe", 1, 68),
            Slots("matching", 1, 50), Slots("two", 1, 50), Slots("choice", 2, 56),
        ),
        words=1.0, tasks=UNEVEN,
    ),
    Lesson(
        "letters", 800, 16, FRAMES, (WORDS_AT, LAYERS),
        (Slots("two", 5, 50), Slots("choice", 3, 56)), tasks=UNEVEN,
    ),
    Lesson(
        "end", 600, 16, FRAMES, (0, LAYERS),
        (
            Slots("lookup", 1, 16), Slots("open", 3, 19), Slots("describe", 1, 68),
            Slots("two", 1, 50), Slots("choice", 2, 56),
        ),
        words=0.5, rate=(1.0, 0.02), tasks=UNEVEN,
    ),
    Lesson(
        "again", 300, 16, FRAMES, (0, LAYERS),
        (
            Slots("lookup", 1, 16), Slots("open", 2, 19), Slots("describe", 1, 68),
            Slots("choice", 4, 56),
        ),
        words=0.5, rate=(0.5, 0.02), tasks=(*UNEVEN, *3 * ("object_count",)),
    ),
)  # fmt: skip


class Optimizers:
    """Muon for the decoder's matrices, AdamW for the rest; half its rate for the tower."""

    def __init__(self, model: Any, heads: Heads, lr: float, matrix_lr: float):
        decoder = model.model.language_model.layers
        matrices = [p for p in decoder.parameters() if p.ndim == 2]
        held = {id(p) for p in matrices}
        tower = [*model.model.vision_tower.parameters()]
        held |= {id(p) for p in tower}
        rest = [p for p in [*model.parameters(), *heads.parameters()] if id(p) not in held]
        self.parts = (
            torch.optim.Muon(
                matrices, lr=matrix_lr, weight_decay=0.05, momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.01),
            torch.optim.AdamW(tower, lr=lr, betas=(0.9, 0.98), weight_decay=0.01),
        )  # fmt: skip
        self.highest = (matrix_lr, lr, 0.5 * lr)

    def step(self, rate: float) -> None:
        """One step at a share of the highest learning rates."""
        for optimizer, highest in zip(self.parts, self.highest, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * highest
                torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def evaluate(model: Any, packer: Packer, frames: int = 8, batches: int = 6) -> dict[str, float]:
    """Share of letters that are right, by task, on fresh scenes of the packer's split."""
    right = defaultdict(list)
    for _ in range(batches):
        batch = packer.batch(24, (Slots("choice", 5, 56),), frames)
        hidden = embed(model, batch, features_of(model, batch.pixels))
        _, hits = answer_loss(model, batch, run_layers(model, batch, hidden, slice(None)))
        for name, values in hits.items():
            right[name] += values
    return {name: round(sum(v) / len(v), 3) for name, v in sorted(right.items())}


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state so that a kill at any moment leaves the old one or the new one."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


class Training:
    """A model in training, with all that its next step depends on."""

    def __init__(self, seed: int, lr: float, matrix_lr: float, rank: int = 0, ranks: int = 1):
        torch.manual_seed(seed)
        self.tokenizer = build_tokenizer()
        self.model = build_model(self.tokenizer)
        self.model.set_attn_implementation({"text_config": "packed_deep"})
        self.heads = Heads(self.model.config.text_config.hidden_size)
        self.optimizers = Optimizers(self.model, self.heads, lr, matrix_lr)
        self.packer = Packer(self.tokenizer, "train", seed * ranks + rank)
        self.frames = random.Random(seed)
        self.rank, self.ranks = rank, ranks
        self.lesson, self.step, self.total = 0, 0, 0

    def state(self) -> dict[str, Any]:
        """The model, the heads, the optimisers, the draws to come, and the lesson."""
        return {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers.parts],
            "packers": gathered(self.packer.state()),
            "frames": self.frames.getstate(),
            "at": (self.lesson, self.step, self.total),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, in as many processes."""
        if len(state["packers"]) != self.ranks:
            raise SystemExit(f"the state is of {len(state['packers'])} processes: start as many")
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        for optimizer, held in zip(self.optimizers.parts, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        self.packer.restore(state["packers"][self.rank])
        version, numbers, gauss = state["frames"]
        self.frames.setstate((version, tuple(numbers), gauss))
        self.lesson, self.step, self.total = state["at"]

    def save_model(self, folder: Path) -> None:
        """Write the model as transformers and prune open it."""
        self.model.save_pretrained(folder)
        TinyProcessor(self.tokenizer, IMAGE_SIZE, TOKENS_PER_FRAME).save_pretrained(folder)

    def train_step(self, lessons: tuple[Lesson, ...]) -> dict[str, list[float]]:
        """One step of the present lesson: its loss and what was right, by name."""
        lesson = lessons[self.lesson]
        start, end = lesson.rate
        rate = start + (end - start) * self.step / lesson.steps
        loss, right = self._clip_loss(lesson) if lesson.frames else self._text_loss(lesson)
        loss.backward()
        average_gradients([*self.model.parameters(), *self.heads.parameters()])
        self.optimizers.step(rate * min(1.0, (self.total + 1) / 100))
        self.step, self.total = self.step + 1, self.total + 1
        if self.step >= lesson.steps:
            self.lesson, self.step = self.lesson + 1, 0
        return {"loss": [loss.item()], **right}

    def _text_loss(self, lesson: Lesson) -> tuple[torch.Tensor, dict[str, list[Any]]]:
        batch = self.packer.texts(lesson.clips // self.ranks, *lesson.slots)
        hidden = self.model.get_input_embeddings()(batch.input_ids)
        hidden = run_layers(self.model, batch, hidden, slice(*lesson.layers))
        return answer_loss(self.model, batch, hidden)

    def _clip_loss(self, lesson: Lesson) -> tuple[torch.Tensor, dict[str, list[Any]]]:
        model, (first, stop) = self.model, lesson.layers
        frames, clips = self.frames.choice(lesson.frames), lesson.clips // self.ranks
        batch = self.packer.batch(clips, lesson.slots, frames, lesson.tasks)
        # The projector learns what cells show and not from answers: its features would blow up.
        with torch.set_grad_enabled(lesson.motion > 0):
            features = features_of(model, batch.pixels)
        with torch.set_grad_enabled(first == 0):
            hidden = embed(model, batch, features.detach() if lesson.slots else features)
        loss, right = torch.zeros(()), {}
        for start, end in ((0, DEPTH), (DEPTH, WORDS_AT), (WORDS_AT, LAYERS)):
            with torch.set_grad_enabled(start >= first):
                hidden = run_layers(model, batch, hidden, slice(start, min(end, stop)))
            if end == DEPTH and lesson.motion:
                video = hidden[video_of(model, batch)].view_as(features) if stop else None
                seen, right = motion_loss(self.heads, batch, features, video)
                loss = loss + lesson.motion * seen
            if end == WORDS_AT and lesson.words:
                said, hits = word_loss(model, batch, hidden)
                loss, right = loss + lesson.words * said, right | hits
        if lesson.slots:
            answers, hits = answer_loss(model, batch, hidden)
            loss, right = loss + answers, right | hits | {"answers": [answers.item()]}
        return loss, right


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the state and the log")
    parser.add_argument("--start", type=Path, help="a state to start from, where DIR has none")
    parser.add_argument("--lr", type=float, default=1e-3, help="AdamW's")
    parser.add_argument("--matrix-lr", type=float, default=2.5e-3, help="Muon's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-minutes", type=float, default=3)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training(args.seed, args.lr, args.matrix_lr, *join())
    start = args.out / STATE if (args.out / STATE).exists() else args.start
    if start:
        training.restore(torch.load(start, weights_only=True))
    if args.compile:
        torch._dynamo.config.recompile_limit = 64
        for layer in training.model.model.language_model.layers:
            layer.compile(dynamic=False)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    running, saved, began = defaultdict(list), time.time(), time.time()
    log = (args.out / "log.jsonl").open("a", buffering=1)
    while training.lesson < len(LESSONS):
        lesson = LESSONS[training.lesson]
        for name, values in training.train_step(LESSONS).items():
            running[name] += values
        done = training.lesson == len(LESSONS)
        if training.rank == 0 and (training.total % 25 == 0 or done):
            means = {k: round(sum(v) / len(v), 3) for k, v in sorted(running.items())}
            pace = round((time.time() - began) / 25, 3)
            row = {"step": training.total, "lesson": lesson.name, "pace": pace, **means}
            print(json.dumps(row), file=log)
            running.clear()
            began = time.time()
        if training.rank == 0 and (training.step == 0 or training.total % 200 == 0):
            if lesson.layers[1] == LAYERS:
                held = Packer(training.tokenizer, "calibration", 1)
                right = {str(n): evaluate(training.model, held, n) for n in (4, 8)}
                print(json.dumps({"step": training.total, "calibration": right}), file=log)
        ends = any(gathered(bool(stopped))) or done
        if any(gathered(time.time() - saved > 60 * args.save_minutes)) or ends:
            state, saved = training.state(), time.time()
            if training.rank == 0:
                save_state(args.out / STATE, state)
                training.save_model(args.out)
        if ends:
            break


if __name__ == "__main__":
    main()
