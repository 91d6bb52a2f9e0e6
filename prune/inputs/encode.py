"""Model inputs from samples: prompt text, decoded clips, and the processor's tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.inputs.prompts import ANSWER_CUE, choice_text
from prune.inputs.samples import Sample
from prune.inputs.video import load_video


def prompt_text(processor: Any, sample: Sample) -> str:
    """The sample's prompt in the model's chat template; the next token is the option's letter."""
    question = choice_text(sample.question, list(sample.options))
    return chat(processor, question) + ANSWER_CUE


def open_text(processor: Any, sample: Sample) -> str:
    """The sample's question without its options; the model replies in its own words."""
    return chat(processor, f"Question: {sample.question}")


def chat(processor: Any, text: str) -> str:
    """What a user says about one video, in the model's chat template."""
    content = [{"type": "video"}, {"type": "text", "text": text}]
    messages = [{"role": "user", "content": content}]
    return processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


def letter_ids(processor: Any, letters: Sequence[str]) -> list[int]:
    """Token ids of option letters as they follow the answer cue."""
    tokenizer = processor.tokenizer
    return [tokenizer.encode(f"({letter}", add_special_tokens=False)[-1] for letter in letters]


Clip = tuple[NDArray[np.uint8], dict[str, Any]]
"""Frames `[T, H, W, 3]` and metadata, as `load_video` returns them."""


def decode(sample: Sample, num_frames: int) -> Clip:
    """Decode the sample's clip; raises `BadInputError` if that cannot be done."""
    return load_video(sample.video, num_frames, sample.start, sample.end)


def encode(
    processor: Any,
    samples: Sequence[Sample],
    clips: Sequence[Clip],
    text: Callable[[Any, Sample], str] = prompt_text,
) -> Any:
    """Model inputs for a batch of prompts, padded on the left."""
    return processor(
        text=[text(processor, s) for s in samples],
        videos=[[video] for video, _ in clips],
        video_metadata=[[metadata] for _, metadata in clips],
        do_sample_frames=False,
        padding=True,
        return_tensors="pt",
    )


def read(processor: Any, samples: Sequence[Sample], num_frames: int) -> Any:
    """`decode` and `encode`: model inputs for a batch of samples."""
    return encode(processor, samples, [decode(s, num_frames) for s in samples])
