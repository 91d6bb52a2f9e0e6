"""Models with random weights and a real geometry, and a prompt for them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
)

from prune.checkpoint.load import TINY
from prune.inputs.prompts import choice_text
from prune.tiny.processor import TinyProcessor

SYSTEM_TOKENS = 40


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder and of the vision tower before it."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vision: tuple[int, int, int]
    """Hidden size, layers and patch size; a frame is 24 patches wide, or 12 for 36 tokens."""
    preset: str


SHAPES = {
    "mid": Shape(16, 1024, 2816, 16, 16, (256, 4, 14), "llava-next-7b"),
    "llava-next-7b": Shape(32, 4096, 11008, 32, 32, (1024, 24, 14), "llava-next-7b"),
    "videollama3-7b": Shape(28, 3584, 18944, 28, 4, (1152, 26, 14), "videollama3-7b"),
}


def build(shape: Shape, tokens: int, device: str, dtype: torch.dtype) -> tuple[Any, TinyProcessor]:
    """A model with random weights, and a processor that makes `tokens` of each frame."""
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    side = 2 * round(tokens**0.5) * shape.vision[2]
    processor = TinyProcessor(tokenizer, side, tokens)
    config = LlavaNextVideoConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=shape.vision[0],
            intermediate_size=4 * shape.vision[0],
            num_hidden_layers=shape.vision[1],
            num_attention_heads=shape.vision[0] // 64,
            image_size=side,
            patch_size=shape.vision[2],
        ),
        text_config=LlamaConfig(
            vocab_size=32064,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=65536,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[side, side]],
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(dtype)
        model = LlavaNextVideoForConditionalGeneration(config).eval()
        torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = None
    return model, processor


def prompt(
    processor: TinyProcessor, frames: int, dtype: torch.dtype, more: str = ""
) -> dict[str, Tensor]:
    """`[system][video][question and options][tail][last]`, batch of one; `more` ends the
    question."""
    options = ["It grows and then turns around.", "It shrinks.", "It moves to the left.", "No."]
    question = choice_text(
        "What does the red circle do after the blue square stops" + more + "?", options
    )
    clip = np.random.default_rng(0).integers(0, 256, (frames, 8, 8, 3), np.uint8)
    text = f"<video>\n USER: {question} ASSISTANT:Best option:("
    inputs = processor(text=text, videos=[clip])
    system = torch.full((1, SYSTEM_TOKENS - 1), 40)
    ids = torch.cat([inputs["input_ids"][:, :1], system, inputs["input_ids"][:, 1:]], 1)
    pixels = inputs["pixel_values_videos"].to(dtype)
    return {"input_ids": ids, "pixel_values_videos": pixels}
