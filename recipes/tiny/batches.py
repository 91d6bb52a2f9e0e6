"""Training batches: many questions share one video in one packed sequence.

A sequence is `[prefix with video][slot 1][slot 2]...`, one question a slot, padded on the right to
the slot's width. A question reads the prefix and itself, and counts its positions from the prefix's
end, so each is computed just as if it stood alone after the video, at a fraction of the cost.
"""

import random
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from chat import VICUNA
from model import DESCRIBE, FRAMES, IMAGE_SIZE, TOKENS_PER_FRAME
from slots import Slots, attend_packed
from transformers import AttentionInterface, AttentionMaskInterface

from prune.inputs.prompts import find_options
from prune.layout.segments import Role
from prune.runtime.enforce import masked_attention
from prune.tiny.draw import CLIP_TIMES, render
from prune.tiny.processor import MEAN, STD
from prune.tiny.questions import TASKS, WORDS, SceneQuestion, ask, describe, tasks_of
from prune.tiny.scenes import COLORS, SHAPES, Scene, scene_of_split

SAMPLED_TIMES = CLIP_TIMES[1::2]


def packed_attention(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """Attention of packed sequences, `[B, H, S, D]` -> `[B, S, H, D]`.

    By keyword come `slots` and `masks`: for each layer one of the prefix and one of each kind of
    slot (`dropout.masks_of`).
    """
    with torch.autocast("cpu", enabled=False):
        qkv = query.float(), key.float(), value.float()
        attend = partial(masked_attention, scale=scaling)
        return attend_packed(qkv, kwargs["slots"], kwargs["masks"][module.layer_idx], attend), None


AttentionInterface.register("packed", packed_attention)
AttentionMaskInterface.register("packed", lambda *args, **kwargs: None)


@dataclass
class Batch:
    """One packed batch; B sequences of S tokens.

    pixels `[B, T, 3, H, W]`, input_ids, positions and roles (`prune.Role`, -1: padding) `[B, S]`,
    targets `[B, S]` (-100: none), weights `[B, S]`; `watched` lists `(row, column, name)` of the
    positions that predict an option letter (named by its task) or the first token of an open
    answer (`open/<task>`).
    """

    pixels: torch.Tensor
    input_ids: torch.Tensor
    roles: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    watched: list[tuple[int, int, str]]
    slots: tuple[Slots, ...]


class Packer:
    """Draws scenes of one split and packs questions about them.

    `extra_tokens` follow the frames of every video (`TinyProcessor`).
    """

    def __init__(self, tokenizer, split: str, seed: int, extra_tokens: int = 0):
        self.tokenizer, self.split, self.rng = tokenizer, split, random.Random(seed)
        self.noise = np.random.default_rng(seed)
        self.encode = lru_cache(100_000)(
            lambda text: tokenizer.encode(text, add_special_tokens=False)
        )
        video = FRAMES * TOKENS_PER_FRAME + extra_tokens
        prefix = self.encode(VICUNA.prefix.replace("<video>", "<video>" * video))
        self.prefix = [tokenizer.bos_token_id, *prefix]
        self.prefix_roles = [Role.SYSTEM] * len(self.prefix)
        first = self.prefix.index(tokenizer.convert_tokens_to_ids("<video>"))
        self.prefix_roles[first:] = [Role.VIDEO] * video
        self.prefix_roles += [Role.BRIDGE] * (len(self.prefix) - len(self.prefix_roles))
        self.roles_of = lru_cache(100_000)(self._roles_of)

    def _roles_of(self, prompt: str) -> list[Role]:
        """Role of every token of a prompt that follows the prefix."""
        options = find_options(prompt)
        asked = prompt.index("Question:") if "Question:" in prompt else len(prompt)
        limit = options[0][0] if options else prompt.index(" ASSISTANT:")
        offsets = self.tokenizer(
            prompt, add_special_tokens=False, return_offsets_mapping=True
        ).offset_mapping
        roles = []
        for start, stop in offsets:
            at = start + len(prompt[start:stop]) - len(prompt[start:stop].lstrip())
            if options and options[0][0] <= at < options[-1][1]:
                roles.append(Role.OPTIONS)
            elif at < asked:
                roles.append(Role.BRIDGE)
            else:
                roles.append(Role.QUESTION if at < limit else Role.TAIL)
        return [*roles[:-1], Role.LAST]

    def _letter(self, question: str, options: list[str], answer: str) -> tuple[str, str]:
        self.rng.shuffle(options)
        letter = chr(65 + options.index(answer))
        return VICUNA.choice(question, options), f"{letter}) {answer}"

    def _text(self, kind: str, scene: Scene, task: str) -> tuple[str, str, str | None]:
        """Prompt, reply, and the name under which the reply's first token is watched, if it is."""
        if kind == "matching":
            options = self.rng.sample(WORDS, self.rng.randint(2, 4))
            return *self._letter(f"{options[0]}?", options, options[0]), "matching"
        if kind == "describe":
            return VICUNA.open(DESCRIBE), " " + describe(scene), None
        if kind == "existence":
            return self._existence(scene)
        question: SceneQuestion = ask(task, scene, self.rng)
        if kind == "open":
            return VICUNA.open(question.text), " " + question.answer, f"open/{task}"
        most = 1 if kind == "two" else 3
        wrong = self.rng.sample(question.wrong, min(most, len(question.wrong)))
        options = [question.answer, *wrong]
        return *self._letter(question.text, options, question.answer), task

    def _existence(self, scene: Scene) -> tuple[str, str, str]:
        """An open existence question, or a step towards one.

        From yes and no alone nothing is learnt in thousands of steps: neither the question nor the
        clip tells anything without the other. `What is the circle?` does, and teaches the lookup.
        """
        names = [(t.color, t.shape) for t in scene.things]
        colors, shapes = zip(*names, strict=True)
        step = self.rng.choice(["which", "half", "whole"])
        if step == "which":
            texts = [(f"What is the {s}?", c) for c, s in names if shapes.count(s) == 1]
            texts += [(f"What is {c}?", s) for c, s in names if colors.count(c) == 1]
            if texts:
                text, answer = self.rng.choice(texts)
                return VICUNA.open(text), f" {answer}", "step/which"
        if step == "half":
            present = {*colors, *shapes}
            absent = [w for w in (*COLORS, *SHAPES) if w not in present]
            there = not absent or self.rng.random() < 0.5
            word = self.rng.choice(sorted(present) if there else absent)
            text = f"Is there {'a ' if word in SHAPES else ''}{word}?"
            return VICUNA.open(text), " yes" if there else " no", "step/half"
        question = ask("object_existence", scene, self.rng)
        return VICUNA.open(question.text), f" {question.answer}", "open/object_existence"

    def pixels(self, scene: Scene) -> np.ndarray:
        """Frames `[T, 3, H, W]` with the brightness and noise that a codec may add."""
        video = render(scene, SAMPLED_TIMES, IMAGE_SIZE).astype(np.float32) / 255
        video *= np.float32(self.noise.uniform(0.95, 1.05))
        video += self.noise.normal(0, 0.015, video.shape).astype(np.float32)
        return ((video - MEAN) / STD).transpose(0, 3, 1, 2)

    def batch(self, size: int, slots: tuple[Slots, ...]) -> Batch:
        """`size` scenes with one question for every slot."""
        pad, eos = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        start = len(self.prefix)
        length = start + sum(s.count * s.width for s in slots)
        ids = torch.full((size, length), pad)
        targets, weights = torch.full((size, length), -100), torch.zeros(size, length)
        ids[:, :start] = torch.tensor(self.prefix)
        roles = torch.full((size, length), -1, dtype=torch.int8)
        roles[:, :start] = torch.tensor(self.prefix_roles)
        positions = [*range(start)]
        for s in slots:
            positions += [*range(start, start + s.width)] * s.count
        watched: list[tuple[int, int, str]] = []
        pixels = []
        for row in range(size):
            main = self.rng.choice([*TASKS, "moving_direction"])
            scene = scene_of_split(main, self.split, self.rng)
            pixels.append(self.pixels(scene))
            tasks = [main] * 2 + tasks_of(scene)
            column = start
            for s in slots:
                for _ in range(s.count):
                    while True:
                        task = self.rng.choice(tasks)
                        prompt, reply, name = self._text(s.kind, scene, task)
                        q, a = self.encode(prompt), [*self.encode(reply), eos]
                        if len(q) + len(a) - 1 <= s.width:
                            break
                    first, last = column + len(q) - 1, column + len(q) + len(a) - 1
                    ids[row, column:last] = torch.tensor([*q, *a[:-1]])
                    targets[row, first:last] = torch.tensor(a)
                    roles[row, column : first + 1] = torch.tensor(self.roles_of(prompt))
                    roles[row, first + 1 : last] = Role.ANSWER
                    weights[row, first:last] = 1.5 / len(a)
                    if name:
                        watched.append((row, first, name))
                    if s.kind in ("matching", "two", "choice"):
                        weights[row, first:last] = 0.1
                        weights[row, first] = 1.0
                    column += s.width
        return Batch(
            torch.from_numpy(np.stack(pixels)),
            ids,
            roles,
            torch.tensor(positions).expand(size, -1),
            targets,
            weights,
            watched,
            slots,
        )
