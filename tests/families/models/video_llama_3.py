import torch
from torch import Tensor
from transformers import VideoLlama3Config

from tests.families.specimen import TEXT, Specimen, patches

VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 4,
}
PATCHES = patches(16, features=3 * 4 * 4, frames=1)


def _units(count: int) -> list[int]:
    """4 tokens for the first frame; what does not change is left out of later ones."""
    return [4, *(1 + i % 3 for i in range(count - 1))]


def _expand(units: list[int]) -> str:
    return ",".join(f"Time {i / 2:.1f}s:{'<|video_pad|>' * n}" for i, n in enumerate(units))


def _pixels(videos: list[list[int]]) -> dict[str, Tensor]:
    counts = [count for row in videos for count in row]
    kept = [torch.arange(4) < unit for count in counts for unit in _units(count)]
    return {
        **PATCHES(videos),
        "video_merge_sizes": torch.full((len(counts),), 2),
        "video_compression_mask": torch.cat(kept),
    }


SPECIMEN = Specimen(
    model="VideoLlama3ForConditionalGeneration",
    tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    config=lambda tokenizer: VideoLlama3Config(
        vision_config=VISION,
        text_config={"model_type": "qwen2", **TEXT},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
    ),
    expand=_expand,
    pixels=_pixels,
    units=_units,
)
