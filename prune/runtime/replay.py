"""Replay: prompts whose vision tower ran once, and whose text model can run under any enforcer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.attention import Enforcer
from prune.errors import NumericError
from prune.families import family_of_model_type
from prune.prompts import ANSWER_CUE, choice_text
from prune.samples import Sample
from prune.segments import Segments, segment
from prune.video import load_video


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


class _Stop(Exception):
    """Raised by a hook to end a forward pass before the text model runs."""


@dataclass(frozen=True)
class Replay:
    """A batch of prompts, frozen at the entrance of the text model.

    Attributes:
        kwargs: the text model's arguments; tensors have the batch on their first axis (position ids
            of M-RoPE on their second).
        segments: the prompts' layout.
    """

    model: Any
    text_model: Any
    kwargs: dict[str, Any]
    segments: Segments

    @property
    def batch(self) -> int:
        """B."""
        return self.segments.shape[0]

    def repeated(self, times: int) -> dict[str, Any]:
        """Arguments with every batch row repeated (only for a batch of one)."""
        if times == 1:
            return self.kwargs
        repeated = {}
        for name, value in self.kwargs.items():
            if isinstance(value, Tensor) and value.ndim > 1:
                axis = 0 if value.shape[0] == self.batch else 1
                shape = [-1] * value.ndim
                shape[axis] = times
                value = value.expand(shape)
            elif isinstance(value, list):  # deepstack features `[N, d]` of the batch's video tokens
                value = [features.repeat(times, 1) for features in value]
            repeated[name] = value
        return repeated

    @torch.no_grad()
    def last_logits(self, enforcer: Enforcer, times: int = 1, cache: Any = None) -> Tensor:
        """Logits of the next token, float32 `[B * times, V]`, under an enforcer.

        Args:
            enforcer: what the queries may read.
            times: how often every row of a batch of one is repeated.
            cache: an empty transformers cache to fill, if keys and values are wanted.

        Raises:
            NumericError: a logit is NaN or infinite.
        """
        kwargs = {**self.repeated(times), "use_cache": cache is not None, "past_key_values": cache}
        hidden = self.text_model(**kwargs, prune=enforcer).last_hidden_state[:, -1]
        logits = self.model.get_output_embeddings()(hidden).float()
        if not torch.isfinite(logits).all():
            raise NumericError("the model's logits are NaN or infinite")
        return logits


@torch.no_grad()
def capture(model: Any, processor: Any, inputs: Any) -> Replay:
    """Run the vision tower once and keep what reaches the text model.

    The model must be inside `prune.attention.seam` when the result is used.
    """
    text_model = family_of_model_type(model.config.model_type).text_model_of(model)
    caught: dict[str, Any] = {}

    def stop(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught.update(kwargs)
        raise _Stop

    handle = text_model.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model(**inputs.to(model.device))
    except _Stop:
        pass
    finally:
        handle.remove()
    return Replay(model, text_model, caught, segment(processor, inputs))
