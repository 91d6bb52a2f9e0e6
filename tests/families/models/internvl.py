from torch import Tensor
from transformers import InternVLConfig

from tests.families.specimen import CLIP, TEXT, Specimen, pixels

VISION = {**CLIP, "model_type": "internvl_vision", "image_size": [16, 16], "patch_size": [4, 4]}


def _expand(units: list[int]) -> str:
    frames = (f"Frame{i + 1}: <img>{'<IMG_CONTEXT>' * n}</img>" for i, n in enumerate(units))
    return "\n".join(frames)


def _pixels(videos: list[list[int]]) -> dict[str, Tensor]:
    return {"pixel_values": pixels(sum(map(sum, videos)), 3, 16, 16)}


SPECIMEN = Specimen(
    model="InternVLForConditionalGeneration",
    tokens={"image_token": "<IMG_CONTEXT>", "video_token": "<video>"},
    others=("<img>", "</img>"),
    config=lambda tokenizer: InternVLConfig(
        vision_config=VISION,
        text_config={"model_type": "qwen2", **TEXT},
        image_token_id=tokenizer.image_token_id,
        image_seq_length=4,
    ),
    expand=_expand,
    pixels=_pixels,
)
