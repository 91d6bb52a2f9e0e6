"""A tiny random model of a family, and prompts for it made by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerFast

from prune.families import Family, families

TEXT = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
"""Text model of every specimen: enough layers for a plan that differs between them, and GQA."""

CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
"""16 patches a frame and the class token."""

SIGLIP = {**CLIP, "model_type": "siglip_vision_model", "vision_use_head": False}
"""16 patches a frame, no class token."""

Prompt = Sequence[str | int]
"""Text, and videos as their number of frames, in order."""


def pixels(*shape: int) -> Tensor:
    """Noise, the same for every call with a shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def stacked(size: int) -> Callable[[list[list[int]]], dict[str, Tensor]]:
    """`pixel_values_videos` `[V, T, 3, size, size]`, where all videos have T frames."""

    def make(videos: list[list[int]]) -> dict[str, Tensor]:
        counts = [count for row in videos for count in row]
        return {"pixel_values_videos": pixels(len(counts), counts[0], 3, size, size)}

    return make


def patches(
    per_unit: int, features: int, frames: int = 2
) -> Callable[[list[list[int]]], dict[str, Tensor]]:
    """Flat patches `[N, features]` and the grid of every video, `frames` to a temporal unit."""
    side = int(per_unit**0.5)

    def make(videos: list[list[int]]) -> dict[str, Tensor]:
        units = [-(-count // frames) for row in videos for count in row]
        return {
            "pixel_values_videos": pixels(sum(units) * per_unit, features),
            "video_grid_thw": torch.tensor([[unit, side, side] for unit in units]),
        }

    return make


@dataclass(frozen=True)
class Specimen:
    """One family's tiny model.

    Attributes:
        model: name of its class in transformers.
        tokens: special tokens that the tokenizer names, and through it the processor.
        others: special tokens without a name.
        config: the model's config, made with that tokenizer.
        expand: from the number of tokens in each temporal unit, the text that stands for a video.
        pixels: from the frame counts of the videos in each row, the vision inputs.
        units: from a number of frames, the number of tokens in each temporal unit.
        ragged: whether the videos of a batch may differ in their number of frames.
        token_types: whether the model takes `mm_token_type_ids`.
    """

    model: str
    tokens: dict[str, str]
    config: Callable[[Any], Any]
    expand: Callable[[list[int]], str]
    pixels: Callable[[list[list[int]]], dict[str, Tensor]]
    units: Callable[[int], list[int]] = lambda count: [4] * count
    others: Sequence[str] = ()
    ragged: bool = True
    token_types: bool = False


def two_frames_a_unit(count: int) -> list[int]:
    """4 tokens for every two frames; an odd one is repeated."""
    return [4] * (-(-count // 2))


@dataclass(frozen=True)
class Tiny:
    """A specimen, built."""

    family: Family
    specimen: Specimen
    processor: Any
    _model: list[Any] = field(default_factory=list)

    @property
    def model(self) -> Any:
        """The model, with weights from a fixed seed that make every edge matter."""
        if not self._model:
            config = self.specimen.config(self.processor.tokenizer)
            model = getattr(transformers, self.specimen.model)(config).eval()
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.ndim > 1:
                        weight.normal_(0, 0.5 * weight[0].numel() ** -0.5, generator=generator)
            self._model.append(model)
        return self._model[0]

    def text(self, prompt: Prompt) -> str:
        """The prompt with its videos expanded."""
        specimen = self.specimen
        return "".join(
            specimen.expand(specimen.units(part)) if isinstance(part, int) else part
            for part in prompt
        )

    def inputs(self, *prompts: Prompt) -> BatchFeature:
        """What the processor would return for a batch, padded on the left."""
        texts = [self.text(prompt) for prompt in prompts]
        batch = self.processor.tokenizer(texts, padding=True, return_tensors="pt")
        data = {name: batch[name] for name in ("input_ids", "attention_mask")}
        videos = [[part for part in prompt if isinstance(part, int)] for prompt in prompts]
        if any(videos):
            data |= self.specimen.pixels(videos)
        if self.specimen.token_types:
            types = torch.zeros_like(data["input_ids"])
            for row, ids in zip(types, data["input_ids"].tolist(), strict=True):
                for medium in self.family.media(self.processor, ids):
                    row[medium.start : medium.stop] = 2 if medium.video else 1
            data["mm_token_type_ids"] = types
        return BatchFeature(data)


def _tokenizer(specimen: Specimen) -> PreTrainedTokenizerFast:
    """Bytes and the family's special tokens; left padding."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {byte: index for index, byte in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(specimen.others))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        padding_side="left",
        extra_special_tokens=specimen.tokens,
    )


@cache
def tiny_of(name: str) -> Tiny:
    """The tiny model of a family, from `tests/families/models/<name>.py`."""
    family = families()[name]
    try:
        specimen: Specimen = import_module(f"tests.families.models.{name}").SPECIMEN
    except ImportError as error:
        if error.name != "transformers":  # the file itself is missing: write one
            raise
        pytest.skip(f"transformers {transformers.__version__}: {error.msg}")
    attributes = {**specimen.tokens, "tokenizer": _tokenizer(specimen)}
    # The real processors need torchvision; prune reads their name, tokenizer and tokens.
    processor = type(family.processors[0], (), attributes)()
    return Tiny(family, specimen, processor)
