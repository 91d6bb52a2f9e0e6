from torch import Tensor
from transformers import SmolVLMConfig

from tests.families.specimen import CLIP, TEXT, Specimen, pixels


def _expand(units: list[int]) -> str:
    fake = "<fake_token_around_image>"
    frames = (
        f"\nFrame from 00:{i:02d}:{fake}<global-img>{'<image>' * n}{fake}"
        for i, n in enumerate(units)
    )
    intro = f"You are provided the following series of {len(units)} frames from a clip video."
    return f"{intro}\n{''.join(frames)}\n\n"


def _pixels(videos: list[list[int]]) -> dict[str, Tensor]:
    frames = max(map(sum, videos))
    values = pixels(len(videos), frames, 3, 16, 16)
    for row, counts in zip(values, videos, strict=True):
        row[sum(counts) :] = 0  # the model takes black images for padding
    return {"pixel_values": values}


SPECIMEN = Specimen(
    model="SmolVLMForConditionalGeneration",
    tokens={"image_token": "<image>", "video_token": "<video>"},
    others=("<fake_token_around_image>", "<global-img>"),
    config=lambda tokenizer: SmolVLMConfig(
        vision_config={**CLIP, "model_type": "smolvlm_vision"},
        text_config={"model_type": "llama", **TEXT},
        image_token_id=tokenizer.image_token_id,
        scale_factor=2,
    ),
    expand=_expand,
    pixels=_pixels,
)
