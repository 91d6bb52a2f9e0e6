"""Unequal requests, as transformers and as vLLM take them, and transformers' answers to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

import prune

STEPS = 12

Clip = tuple[np.ndarray, dict[str, Any]]


def clip(seed: int, frames: int, height: int, width: int, rate: float = 64.0) -> Clip:
    """Frames `[T, H, W, 3]` of coarse noise, and what a decoder says of them.

    At 64 frames a second the time of a clip takes less positions than its width: there vLLM and
    transformers place the text behind it alike.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (frames, -(-height // 14), -(-width // 14), 3), dtype=np.uint8)
    video = coarse.repeat(14, 1).repeat(14, 2)[:, :height, :width]
    about = {
        "fps": rate, "duration": frames / rate, "total_num_frames": frames,
        "frames_indices": list(range(frames)), "video_backend": "opencv",
    }  # fmt: skip
    return np.ascontiguousarray(video), about


PICTURE = Image.fromarray(clip(7, 1, 112, 84)[0][0])


@dataclass(frozen=True, eq=False)
class Request:
    """One conversation.

    Attributes:
        name: for messages.
        messages: in the chat template's form.
        clips: its videos.
        images: its pictures.
    """

    name: str
    messages: list[dict[str, Any]]
    clips: tuple[Clip, ...] = ()
    images: tuple[Image.Image, ...] = ()

    def text(self, processor: Any) -> str:
        """The prompt with a placeholder for each medium."""
        return processor.apply_chat_template(
            self.messages, add_generation_prompt=True, tokenize=False
        )

    def for_vllm(self, processor: Any) -> dict[str, Any]:
        """The prompt as vLLM takes it."""
        media: dict[str, Any] = {}
        if self.clips:
            media["video"] = [
                (video, {**about, "do_sample_frames": False}) for video, about in self.clips
            ]
        if self.images:
            media["image"] = list(self.images)
        return {"prompt": self.text(processor), **({"multi_modal_data": media} if media else {})}

    def inputs(self, processor: Any) -> Any:
        """The prompt as transformers takes it."""
        given: dict[str, Any] = {}
        if self.clips:
            given |= {
                "videos": [torch.from_numpy(video).permute(0, 3, 1, 2) for video, _ in self.clips],
                "video_metadata": [about for _, about in self.clips],
                "do_sample_frames": False,
            }
        if self.images:
            given["images"] = list(self.images)
        return processor(text=[self.text(processor)], return_tensors="pt", **given)


def _user(*parts: str) -> dict[str, Any]:
    kinds = {"<video>": {"type": "video"}, "<image>": {"type": "image"}}
    return {"role": "user", "content": [kinds.get(p, {"type": "text", "text": p}) for p in parts]}


def _assistant(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": words}]}


OPTIONS = (
    "Question: What does the man do first?\nOptions:\n(A) He runs.\n(B) He sits.\n"
    "(C) He opens the door.\nOnly give the best option."
)

REQUESTS = (
    Request("options", [_user("<video>", OPTIONS)], (clip(0, 8, 112, 112),)),
    Request("long clip", [_user("<video>", "Where is the dog?")], (clip(1, 24, 112, 140),)),
    Request("tall clip", [_user("<video>", "Describe the video.")], (clip(2, 4, 168, 112),)),
    Request(
        "two videos",
        [_user("<video>", "<video>", "Which one is faster?")],
        # As many frames: most of transformers' processors stack the videos of a prompt.
        (clip(3, 8, 112, 112), clip(4, 8, 84, 112)),
    ),
    Request(
        "history",
        [_user("<video>", "What is he doing?"), _assistant("He talks."), _user("And where?")],
        (clip(5, 12, 112, 84),),
    ),
    Request(
        "video and image",
        [_user("<video>", "<image>", "Is the picture in the clip?")],
        (clip(6, 6, 112, 112),),
        (PICTURE,),
    ),
    Request("image", [_user("<image>", "What is it?")], images=(PICTURE,)),
    Request("text", [_user("Who are you?")]),
)


def _drawn(seed: int) -> Request:
    """A request of random length, frames, size and turns; of eight one has no medium, one an image
    and one two videos."""
    rng = np.random.default_rng(1000 + seed)
    height, width = (int(28 * side) for side in rng.integers(3, 6, 2))
    words = " ".join(
        rng.choice(["red", "left", "who", "jumps", "door", "then"], rng.integers(1, 30))
    )
    frames, kind = int(2 * rng.integers(2, 10)), seed % 8
    clips: tuple[Clip, ...] = (clip(100 + seed, frames, height, width),)
    images: tuple[Image.Image, ...] = ()
    media = ["<video>"]
    if kind == 5:
        clips, media = (), []
    elif kind == 6:
        clips, images = (), (Image.fromarray(clip(200 + seed, 1, height, width)[0][0]),)
        media = ["<image>"]
    elif kind == 7:
        clips, media = (*clips, clip(300 + seed, frames, width, height)), ["<video>", "<video>"]
    turns = [_user(*media, f"{words}?")]
    if rng.random() < 0.3:
        turns += [_assistant("Yes."), _user(f"And {words}?")]
    return Request(f"drawn {seed}", turns, clips, images)


_ASKED = _user("<video>", "What is he doing?")
_CLIP = clip(20, 20, 112, 140)

TURNS = (
    Request("first turn", [_ASKED], (_CLIP,)),
    Request("second turn", [_ASKED, _assistant("He talks."), _user("And where?")], (_CLIP,)),
    Request(
        "third turn",
        [_ASKED, _assistant("He talks."), _user("And where?"), _assistant("There."), _user("Why?")],
        (_CLIP,),
    ),
    Request("another question", [_user("<video>", "Who is there, and who is not?")], (_CLIP,)),
    Request("another clip", [_ASKED], (clip(21, 20, 112, 140),)),
)
"""A conversation about one clip, another question about it, and the first one about another."""

SLOW = (
    Request("slow clip", [_user("<video>", "Where is the dog?")], (clip(8, 24, 112, 140, 2.0),)),
    Request(
        "slow clip and history",
        [_user("<video>", "What is he doing?"), _assistant("He talks."), _user("And where?")],
        (clip(9, 16, 112, 84, 1.0),),
    ),
)
"""Behind these vLLM and transformers place text differently in Qwen2-VL and Qwen2.5-VL."""

UNEQUAL = (*REQUESTS, *(_drawn(seed) for seed in range(16)))
"""24, no two alike."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Greedy tokens and their log-probabilities."""

    tokens: list[int]
    logprobs: list[float]

    def distance(self, other: "Answer") -> float:
        """Largest difference of log-probabilities."""
        pairs = zip(self.logprobs, other.logprobs, strict=True)
        return max(abs(a - b) for a, b in pairs)


class Reference:
    """Transformers' answers, under the plan without any skipping, and dense."""

    def __init__(self, model: Any, processor: Any, plan: Any):
        self.model, self.processor, self.plan = model, processor, plan

    @torch.no_grad()
    def dense(
        self, request: Request, steps: int = STEPS, said: Sequence[int] | None = None
    ) -> Answer:
        """The dense model's answer; or with its log-probabilities `said`, another's."""
        inputs = request.inputs(self.processor)
        start = inputs["input_ids"].shape[1]
        forced: dict[str, Any] = {}
        if said is not None:
            forced["prefix_allowed_tokens_fn"] = lambda _, ids: [said[len(ids) - start]]
        out = self.model.generate(
            **inputs, max_new_tokens=steps, min_new_tokens=steps, do_sample=False,
            output_logits=True, return_dict_in_generate=True, **forced,
        )  # fmt: skip
        tokens = out.sequences[0, start:].tolist()
        logprobs = [float(x[0].log_softmax(-1)[t]) for x, t in zip(out.logits, tokens, strict=True)]
        return Answer(tokens, logprobs)

    def pruned(
        self, request: Request, steps: int = STEPS, said: Sequence[int] | None = None
    ) -> Answer:
        """The same of the dense model with the plan's edges masked."""
        with prune.apply(self.model, self.plan, processor=self.processor, skip="none", strict=True):
            return self.dense(request, steps, said)
