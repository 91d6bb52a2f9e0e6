"""Many questions behind one video, in one packed sequence, for clips of any number of frames.

As in `batches.py` a question reads the prefix with the video and itself, and counts its positions
from the prefix's end, so each is computed as if it stood alone. No pathway is ever cut here, so
the masks depend on the slots alone.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from chat import VICUNA, Chat
from facts import fact, lookup
from model import IMAGE_SIZE, TOKENS_PER_FRAME
from slots import Slots, attend_packed
from transformers import AttentionInterface, AttentionMaskInterface

from prune.inputs.prompts import find_options
from prune.tiny.descriptions import DESCRIBE, description
from prune.tiny.draw import CLIP_TIMES, render
from prune.tiny.processor import MEAN, STD
from prune.tiny.questions import WORDS
from prune.tiny.scenes import Scene
from prune.tiny.task_sets import TASK_SETS, ask_for, scene_for

WEIGHTS = {"open": 1.5, "lookup": 1.5, "describe": 4.0}
"""What a reply in words weighs in all, where a letter weighs 1."""
MIX = (*TASK_SETS["events"], "object_existence")


def packed(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """Attention of packed sequences, `[B, H, S, D]` -> `[B, S, H, D]`.

    By keyword come `slots` and, for each, `masks` (`Batch`).
    """
    masks = None, *kwargs["masks"]
    return attend_packed((query, key, value), kwargs["slots"], masks, _attend), None


def _attend(query, key, value, mask):
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )


AttentionInterface.register("packed_deep", packed)
AttentionMaskInterface.register("packed_deep", lambda *args, **kwargs: None)


@dataclass
class Batch:
    """One packed batch; B sequences of S tokens, P of them the prefix with the video.

    pixels `[B, T, 3, H, W]`, input_ids and positions `[B, S]`, targets `[B, S]` (-100: none),
    weights `[B, S]`; `watched` lists `(row, first, stop, name)` of the positions that predict an
    answer; `words` lists `(row, position, token, name)` of those that predict a letter, with the
    token that tells the option behind it from the others, and of the same tokens in the options
    themselves, named `option`; `masks` holds for each kind of slot a bool `[width, P + width]`.
    """

    pixels: torch.Tensor
    scenes: list[Scene]
    times: tuple[float, ...]
    input_ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    watched: list[tuple[int, int, int, str]]
    words: list[tuple[int, int, int, str]]
    slots: tuple[Slots, ...]
    masks: list[torch.Tensor]

    def to(self, device: torch.device) -> "Batch":
        """A copy whose tensors are on `device`."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device) for k, v in held.items() if isinstance(v, torch.Tensor)}
        return replace(self, **moved, masks=[mask.to(device) for mask in self.masks])


class Rows:
    """The text side of a batch while it is written: `[B, S]` arrays."""

    def __init__(self, size: int, length: int, pad: int):
        self.ids, self.targets = np.full((size, length), pad), np.full((size, length), -100)
        self.weights = np.zeros((size, length), np.float32)
        self.watched: list[tuple[int, int, int, str]] = []
        self.words: list[tuple[int, int, int, str]] = []

    def batch(self, pixels, scenes, times, positions, slots, masks) -> Batch:
        """The batch with its clips."""
        ids, targets, weights = map(torch.from_numpy, (self.ids, self.targets, self.weights))
        watched, words = self.watched, self.words
        return Batch(
            pixels, scenes, times, ids, positions, targets, weights, watched, words, slots, masks
        )


def times_of(frames: int) -> tuple[float, ...]:
    """When `prune` samples that many frames of a clip: in the middle of as many equal parts."""
    count = len(CLIP_TIMES)
    return tuple(
        CLIP_TIMES[int((i + 0.5) * count / frames)] if frames < count else CLIP_TIMES[i]
        for i in range(frames)
    )


class Packer:
    """Draws scenes of one split and packs questions about them, as a chat writes them."""

    def __init__(self, tokenizer, split: str, seed: int, chat: Chat = VICUNA):
        self.tokenizer, self.split, self.chat = tokenizer, split, chat
        self.seed(seed)
        self.encode = lru_cache(100_000)(
            lambda text: tuple(tokenizer.encode(text, add_special_tokens=False))
        )

    def seed(self, seed: int) -> None:
        """Begin a series of draws of its own."""
        self.rng, self.noise = random.Random(seed), np.random.default_rng(seed)

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
        video = "<video>" * (frames * TOKENS_PER_FRAME)
        ids: list[int] = self.tokenizer.encode(self.chat.prefix.replace("<video>", video))
        return ids

    def pixels(self, scene: Scene, times: Sequence[float]) -> np.ndarray:
        """Frames `[T, 3, H, W]` with the brightness and noise that a codec may add."""
        video = render(scene, times, IMAGE_SIZE).astype(np.float32) / 255
        video *= np.float32(self.noise.uniform(0.95, 1.05))
        video += 0.015 * self.noise.standard_normal(video.shape, np.float32)
        return ((video - MEAN) / STD).transpose(0, 3, 1, 2)

    def _options(self, task: str) -> list[str]:
        """Two to four options of a task, or as many words."""
        if self.rng.random() < 0.4:
            return self.rng.sample(WORDS, self.rng.randint(2, 4))
        question = ask_for(task, scene_for(task, self.split, self.rng), self.rng)
        most = self.rng.randint(1, 3)
        wrong = self.rng.sample(question.wrong, min(most, len(question.wrong)))
        return self.rng.sample([question.answer, *wrong], len(wrong) + 1)

    def _letter(self, question: str, options: list[str], answer: str) -> tuple[str, str]:
        self.rng.shuffle(options)
        letter = chr(65 + options.index(answer))
        return self.chat.choice(question, options), f"{letter}) {answer}"

    def _text(self, kind: str, scene: Scene, task: str) -> tuple[str, str, str]:
        """Prompt, reply, and the name under which the reply is watched."""
        if kind == "matching":
            options = self._options(self.rng.choice(MIX))
            return *self._letter(f"{options[0]}?", options, options[0]), f"matching/{len(options)}"
        if kind == "describe":
            reply = f"{self.chat.lead}{description(scene)}"
            return self.chat.open(DESCRIBE), reply, "describe"
        if kind in ("open", "lookup"):
            about = fact if kind == "open" else lookup
            name, text, answer = about(task, scene, self.rng)
            return self.chat.open(text), f"{self.chat.lead}{answer}", f"open/{name}"
        question = ask_for(task, scene, self.rng)
        most = 1 if kind == "two" else 3
        wrong = self.rng.sample(question.wrong, min(most, len(question.wrong)))
        options = [question.answer, *wrong]
        name = f"two/{task}" if kind == "two" else task
        return *self._letter(question.text, options, question.answer), name

    def _telling(self, prompt: str) -> list[tuple[int, int]]:
        """Place and id of the first token that tells each option from the others."""
        written = self.tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        starts = [start for start, _ in written.offset_mapping]
        spans = [(start + len("(A)"), stop) for start, stop in find_options(prompt)]
        parts = [slice(*np.searchsorted(starts, span)) for span in spans]
        options = [written.input_ids[part] for part in parts]
        differs = [len({*tokens}) > 1 for tokens in zip(*options, strict=False)]
        at = differs.index(True) if any(differs) else min(map(len, options)) - 1
        return [(part.start + at, option[at]) for part, option in zip(parts, options, strict=True)]

    def _write(self, rows: Rows, row: int, column: int, slots: Slots, about: tuple) -> None:
        """Write one question of a kind, about a scene and its task, into a row."""
        while True:
            prompt, reply, name = self._text(slots.kind, *about)
            q, a = self.encode(prompt), (*self.encode(reply), self.tokenizer.eos_token_id)
            if len(q) + len(a) - 1 <= slots.width:
                break
        first, last = column + len(q) - 1, column + len(q) + len(a) - 1
        rows.ids[row, column:last] = q + a[:-1]
        rows.targets[row, first:last] = a
        if slots.kind in WEIGHTS:
            rows.weights[row, first:last] = WEIGHTS[slots.kind] / len(a)
            rows.watched.append((row, first, last, name))
        else:
            rows.weights[row, first:last] = 0.1
            rows.weights[row, first] = 1.0
            rows.watched.append((row, first, first + 1, name))
            told = self._telling(prompt)
            _, word = told[ord(reply[0]) - ord("A")]
            rows.words.append((row, first, word, f"word/{name.removeprefix('two/')}"))
            rows.words += [(row, column + place, token, "option") for place, token in told]

    def texts(self, size: int, slots: Slots) -> Batch:
        """`size` questions without a clip, each where it would stand behind one."""
        rows = Rows(size, slots.width, self.tokenizer.pad_token_id)
        for row in range(size):
            self._write(rows, row, 0, slots, (None, ""))
        starts = torch.tensor([len(self.prefix(self.rng.choice((4, 8, 16)))) for _ in range(size)])
        positions = starts[:, None] + torch.arange(slots.width)
        return rows.batch(torch.zeros(0), [], (), positions, (), [])

    def batch(
        self, size: int, slots: tuple[Slots, ...], frames: int, tasks: Sequence[str] = MIX
    ) -> Batch:
        """`size` scenes, drawn for one of `tasks` each, with one question for every slot."""
        prefix, times = self.prefix(frames), times_of(frames)
        start = len(prefix)
        rows = Rows(
            size, start + sum(s.count * s.width for s in slots), self.tokenizer.pad_token_id
        )
        rows.ids[:, :start] = prefix
        positions = [*range(start)]
        for s in slots:
            positions += [*range(start, start + s.width)] * s.count
        drawn = [self.rng.choice(tasks) for _ in range(size)]
        scenes = [scene_for(task, self.split, self.rng) for task in drawn]
        for row, about in enumerate(zip(scenes, drawn, strict=True)):
            column = start
            for s in slots:
                for _ in range(s.count):
                    self._write(rows, row, column, s, about)
                    column += s.width
        pixels = torch.from_numpy(np.stack([self.pixels(scene, times) for scene in scenes]))
        masks = [
            torch.cat([torch.ones(s.width, start), torch.ones(s.width, s.width).tril()], 1).bool()
            for s in slots
        ]
        where = torch.tensor(positions).expand(size, -1)
        return rows.batch(pixels, scenes, times, where, slots, masks)
