"""Many questions behind one video, in one packed sequence, for clips of any number of frames.

As in `batches.py` a question reads the prefix with the video and itself, and counts its positions
from the prefix's end, so each is computed as if it stood alone. No pathway is ever cut here, so
the masks depend on the slots alone.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from facts import fact, lookup
from model import IMAGE_SIZE, PREFIX, TOKENS_PER_FRAME, choice_prompt, open_prompt
from slots import Slots, attend_packed
from transformers import AttentionInterface, AttentionMaskInterface

from prune.tiny.draw import CLIP_TIMES, render
from prune.tiny.processor import MEAN, STD
from prune.tiny.questions import WORDS
from prune.tiny.scenes import Scene
from prune.tiny.task_sets import TASK_SETS, ask_for, scene_for

MIX = (*TASK_SETS["events"], "object_existence")


def packed(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """Attention of packed sequences, `[B, H, S, D]` -> `[B, S, H, D]`.

    By keyword come `slots` and, for each, `masks` (`Batch`).
    """
    masks = None, *kwargs["masks"]
    return attend_packed((query, key, value), kwargs["slots"], masks, _attend), None


def _attend(query, key, value, mask):
    causal = mask is None
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


AttentionInterface.register("packed_deep", packed)
AttentionMaskInterface.register("packed_deep", lambda *args, **kwargs: None)


@dataclass
class Batch:
    """One packed batch; B sequences of S tokens, P of them the prefix with the video.

    pixels `[B, T, 3, H, W]`, input_ids and positions `[B, S]`, targets `[B, S]` (-100: none),
    weights `[B, S]`; `watched` lists `(row, first, stop, name)` of the positions that predict an
    answer; `masks` holds for each kind of slot a bool `[width, P + width]`.
    """

    pixels: torch.Tensor
    scenes: list[Scene]
    times: tuple[float, ...]
    input_ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    watched: list[tuple[int, int, int, str]]
    slots: tuple[Slots, ...]
    masks: list[torch.Tensor]


def times_of(frames: int) -> tuple[float, ...]:
    """When `prune` samples that many frames of a clip: in the middle of as many equal parts."""
    count = len(CLIP_TIMES)
    return tuple(
        CLIP_TIMES[int((i + 0.5) * count / frames)] if frames < count else CLIP_TIMES[i]
        for i in range(frames)
    )


class Packer:
    """Draws scenes of one split and packs questions about them."""

    def __init__(self, tokenizer, split: str, seed: int):
        self.tokenizer, self.split, self.rng = tokenizer, split, random.Random(seed)
        self.noise = np.random.default_rng(seed)
        self.encode = lru_cache(100_000)(
            lambda text: tuple(tokenizer.encode(text, add_special_tokens=False))
        )

    def state(self) -> dict:
        """What `restore` needs to go on with the same draws."""
        return {"rng": self.rng.getstate(), "noise": self.noise.bit_generator.state}

    def restore(self, state: dict) -> None:
        """Go on where `state` was taken."""
        version, numbers, gauss = state["rng"]
        self.rng.setstate((version, tuple(numbers), gauss))
        self.noise.bit_generator.state = state["noise"]

    def prefix(self, frames: int) -> list[int]:
        """Token ids before the questions."""
        text = PREFIX.replace("<video>", "<video>" * (frames * TOKENS_PER_FRAME))
        return [self.tokenizer.bos_token_id, *self.encode(text)]

    def pixels(self, scene: Scene, times: Sequence[float]) -> np.ndarray:
        """Frames `[T, 3, H, W]` with the brightness and noise that a codec may add."""
        video = render(scene, times, IMAGE_SIZE).astype(np.float32) / 255
        video *= np.float32(self.noise.uniform(0.95, 1.05))
        video += 0.015 * self.noise.standard_normal(video.shape, np.float32)
        return ((video - MEAN) / STD).transpose(0, 3, 1, 2)

    def _letter(self, question: str, options: list[str], answer: str) -> tuple[str, str]:
        self.rng.shuffle(options)
        letter = chr(65 + options.index(answer))
        return choice_prompt(question, options), f"{letter}) {answer}"

    def _text(self, kind: str, scene: Scene, task: str) -> tuple[str, str, str]:
        """Prompt, reply, and the name under which the reply is watched."""
        if kind == "matching":
            options = self.rng.sample(WORDS, self.rng.randint(2, 4))
            return *self._letter(f"{options[0]}?", options, options[0]), "matching"
        if kind in ("open", "lookup"):
            about = fact if kind == "open" else lookup
            name, text, answer = about(task, scene, self.rng)
            return open_prompt(text), f" {answer}", f"open/{name}"
        question = ask_for(task, scene, self.rng)
        most = 1 if kind == "two" else 3
        wrong = self.rng.sample(question.wrong, min(most, len(question.wrong)))
        options = [question.answer, *wrong]
        name = f"two/{task}" if kind == "two" else task
        return *self._letter(question.text, options, question.answer), name

    def batch(self, size: int, slots: tuple[Slots, ...], frames: int) -> Batch:
        """`size` scenes with one question for every slot."""
        pad, eos = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        prefix, times = self.prefix(frames), times_of(frames)
        start = len(prefix)
        length = start + sum(s.count * s.width for s in slots)
        ids, targets = np.full((size, length), pad), np.full((size, length), -100)
        weights = np.zeros((size, length), np.float32)
        ids[:, :start] = prefix
        positions = [*range(start)]
        for s in slots:
            positions += [*range(start, start + s.width)] * s.count
        watched: list[tuple[int, int, int, str]] = []
        tasks = [self.rng.choice(MIX) for _ in range(size)]
        scenes = [scene_for(task, self.split, self.rng) for task in tasks]
        for row, (task, scene) in enumerate(zip(tasks, scenes, strict=True)):
            column = start
            for s in slots:
                for _ in range(s.count):
                    while True:
                        prompt, reply, name = self._text(s.kind, scene, task)
                        q, a = self.encode(prompt), (*self.encode(reply), eos)
                        if len(q) + len(a) - 1 <= s.width:
                            break
                    first, last = column + len(q) - 1, column + len(q) + len(a) - 1
                    ids[row, column:last] = q + a[:-1]
                    targets[row, first:last] = a
                    if s.kind in ("open", "lookup"):
                        weights[row, first:last] = 1.5 / len(a)
                        watched.append((row, first, last, name))
                    else:
                        weights[row, first] = 1.0
                        watched.append((row, first, first + 1, name))
                    column += s.width
        return Batch(
            torch.from_numpy(np.stack([self.pixels(scene, times) for scene in scenes])),
            scenes,
            times,
            torch.from_numpy(ids),
            torch.tensor(positions).expand(size, -1),
            torch.from_numpy(targets),
            torch.from_numpy(weights),
            watched,
            slots,
            [
                torch.cat(
                    [torch.ones(s.width, start), torch.ones(s.width, s.width).tril()], 1
                ).bool()
                for s in slots
            ],
        )
