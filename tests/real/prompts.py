"""Prompts as people write them, through the families' real processors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

Part = dict[str, Any]
Messages = list[dict[str, Any]]


def clip(frames: int, seed: int = 0) -> tuple[np.ndarray, dict[str, Any]]:
    """Frames `[T, 42, 56, 3]` in which something moves, and what a decoder says of them."""
    rng = np.random.default_rng(seed)
    video = np.repeat(rng.integers(0, 160, (1, 42, 56, 3)), frames, 0).astype(np.uint8)
    for index, frame in enumerate(video):
        frame[8 : 8 + 16, 4 * index : 4 * index + 16] = rng.integers(90, 255, 3)
    metadata = {
        "total_num_frames": frames,
        "fps": 2.0,
        "duration": frames / 2,
        "frames_indices": list(range(frames)),
        "height": 42,
        "width": 56,
    }
    return video, metadata


PICTURE = Image.fromarray(clip(1, seed=7)[0][0])
VIDEO: Part = {"type": "video"}
IMAGE: Part = {"type": "image"}


def text(words: str) -> Part:
    return {"type": "text", "text": words}


def user(*parts: Part) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def assistant(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [text(words)]}


QUESTION = "What is he doing?"

CASES: dict[str, list[Messages]] = {
    "one clip": [[user(VIDEO, text(QUESTION))]],
    "ragged batch": [
        [user(VIDEO, text("What?"))],
        [user(VIDEO, text("Describe in a long sentence what moves where, please."))],
    ],
    "two videos": [[user(VIDEO, VIDEO, text("Which one is faster?"))]],
    "video and image": [[user(VIDEO, IMAGE, text("Is the picture in the clip?"))]],
    "image and video": [[user(IMAGE, VIDEO, text("Is the picture in the clip?"))]],
    "image": [[user(IMAGE, text("What is it?"))]],
    "text": [[user(text("What is the capital of France?"))]],
    "history": [[user(VIDEO, text(QUESTION)), assistant("He talks."), user(text("And where?"))]],
    "question first": [[user(text(QUESTION), VIDEO)]],
}
"""By name, the conversations of a batch."""


def inputs_of(processor: Any, conversations: Sequence[Messages], frames: int = 4) -> Any:
    """Model inputs for conversations, written in the processor's chat template."""
    texts, videos, metadata, images = [], [], [], []
    for number, messages in enumerate(conversations):
        texts.append(
            processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        )
        parts = [part for message in messages for part in message["content"]]
        clips = [clip(frames, seed=10 * number + i) for i, p in enumerate(parts) if p == VIDEO]
        videos.append([video for video, _ in clips])
        metadata.append([about for _, about in clips])
        images.append([PICTURE for part in parts if part == IMAGE])
    given: dict[str, Any] = {}
    if any(videos):
        given |= {"videos": videos, "video_metadata": metadata, "do_sample_frames": False}
    if any(images):
        given["images"] = images
    return processor(text=texts, padding=True, return_tensors="pt", **given)
