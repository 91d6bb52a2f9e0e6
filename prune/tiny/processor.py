"""The processors of `tiny` and `tiny-ov`: tokenizer and frames to tensors, without torchvision.

They have the interface of a transformers video processor, so no other code treats them specially.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, BatchFeature

MEAN, STD = 0.45, 0.25
CONFIG_NAME = "processor_config.json"


class TinyProcessor:
    """Resizes frames to squares, counts their tokens and expands `<video>` in the text.

    Attributes:
        tokenizer: pads on the left.
        image_size: side of a frame in pixels.
        tokens_per_frame: video tokens that the model makes of one frame.
        extra_tokens: video tokens that the model puts after the last frame.
    """

    video_token = "<video>"
    extra_tokens = 0

    def __init__(self, tokenizer: Any, image_size: int, tokens_per_frame: int):
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.tokens_per_frame = tokens_per_frame

    def _pixels(self, video: Any) -> np.ndarray:
        """`[T, H, W, 3]` uint8 to float32 `[T, 3, size, size]`."""
        size = (self.image_size, self.image_size)
        frames = [
            Image.fromarray(np.asarray(frame)).resize(size, Image.Resampling.BOX) for frame in video
        ]
        pixels = np.stack([np.asarray(frame) for frame in frames]).astype(np.float32) / 255
        return ((pixels - MEAN) / STD).transpose(0, 3, 1, 2)

    def __call__(
        self,
        text: str | Sequence[str],
        videos: Sequence[Any] | None = None,
        padding: bool = True,
        return_tensors: str = "pt",
        return_offsets_mapping: bool = False,
        **ignored: Any,
    ) -> BatchFeature:
        """Encode prompts.

        Args:
            text: prompts; each `<video>` takes the next video.
            videos: uint8 `[T, H, W, 3]` each (or a list of them for each prompt).
            padding: pad prompts of unequal length, on the left.
            return_tensors: only `"pt"`.
            return_offsets_mapping: also give `offset_mapping` `[B, S, 2]`, the start and stop
                of each token in the text with the video tokens.
            ignored: arguments of other processors (`video_metadata`, `do_sample_frames`).

        Returns:
            input_ids and attention_mask `[B, S]`, pixel_values_videos `[B, T, 3, size, size]`.
        """
        texts = [text] if isinstance(text, str) else list(text)
        clips = [v for item in videos or [] for v in (item if isinstance(item, list) else [item])]
        placeholders = sum(t.count(self.video_token) for t in texts)
        if placeholders != len(clips):
            raise ValueError(f"{placeholders} {self.video_token} in the text, {len(clips)} videos")
        rest = iter(clips)
        for i, prompt in enumerate(texts):
            head, *tails = prompt.split(self.video_token)
            for tail in tails:
                count = len(next(rest)) * self.tokens_per_frame + self.extra_tokens
                head += self.video_token * count + tail
            texts[i] = head
        encoded = self.tokenizer(
            texts,
            padding=padding,
            return_tensors=return_tensors,
            return_offsets_mapping=return_offsets_mapping,
        )
        data = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        if return_offsets_mapping:
            data["offset_mapping"] = encoded["offset_mapping"]
        if clips:
            pixels = [torch.from_numpy(self._pixels(clip)) for clip in clips]
            data["pixel_values_videos"] = torch.stack(pixels)
        return BatchFeature(data)

    def apply_chat_template(self, messages: Any, **kwargs: Any) -> str:
        """The tokenizer's `apply_chat_template`, as text."""
        text: str = self.tokenizer.apply_chat_template(messages, **{**kwargs, "tokenize": False})
        return text

    def batch_decode(self, *args: Any, **kwargs: Any) -> list[str]:
        """The tokenizer's `batch_decode`."""
        texts: list[str] = self.tokenizer.batch_decode(*args, **kwargs)
        return texts

    def decode(self, *args: Any, **kwargs: Any) -> str:
        """The tokenizer's `decode`."""
        text: str = self.tokenizer.decode(*args, **kwargs)
        return text

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tokenizer's files and `processor_config.json`."""
        self.tokenizer.save_pretrained(folder)
        config = {
            "processor_class": type(self).__name__,
            "image_size": self.image_size,
            "tokens_per_frame": self.tokens_per_frame,
        }
        (Path(folder) / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n")

    @staticmethod
    def from_pretrained(folder: str | Path) -> "TinyProcessor":
        """Read what `save_pretrained` wrote, as the class that wrote it."""
        config = json.loads((Path(folder) / CONFIG_NAME).read_text())
        tokenizer = AutoTokenizer.from_pretrained(folder)
        kind = _KINDS[config["processor_class"]]
        return kind(tokenizer, config["image_size"], config["tokens_per_frame"])

    @staticmethod
    def wrote(folder: Path) -> bool:
        """Whether a model folder's processor is one of these."""
        path = folder / CONFIG_NAME
        return path.is_file() and any(f'"{name}"' in path.read_text() for name in _KINDS)


class TinyOnevisionProcessor(TinyProcessor):
    """The processor of `tiny-ov`: LLaVA-OneVision ends a video with a newline token."""

    extra_tokens = 1


_KINDS = {kind.__name__: kind for kind in (TinyProcessor, TinyOnevisionProcessor)}
