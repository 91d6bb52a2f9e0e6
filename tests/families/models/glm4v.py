from typing import Any

from transformers import Glm4vConfig

from tests.families.specimen import TEXT, Specimen, patches, two_frames_a_unit

VISION = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 24,
    "out_hidden_size": 32,
    "num_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
ROPE = {
    "rope_type": "default",
    "mrope_section": [1, 1, 0],
    "partial_rotary_factor": 0.5,
    "rope_theta": 10_000.0,
}
BOUNDS = ("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>")


def _expand(units: list[int]) -> str:
    frames = (
        f"<|begin_of_image|>{'<|image|>' * n}<|end_of_image|>{i}" for i, n in enumerate(units)
    )
    return f"<|begin_of_video|>{''.join(frames)}<|end_of_video|>"


def _config(tokenizer: Any) -> Glm4vConfig:
    ids = tokenizer.convert_tokens_to_ids(list(BOUNDS))
    return Glm4vConfig(
        vision_config=VISION,
        text_config={**TEXT, "rope_parameters": ROPE},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        image_start_token_id=ids[0],
        image_end_token_id=ids[1],
        video_start_token_id=ids[2],
        video_end_token_id=ids[3],
    )


SPECIMEN = Specimen(
    model="Glm4vForConditionalGeneration",
    tokens={"image_token": "<|image|>", "video_token": "<|video|>"},
    others=BOUNDS,
    config=_config,
    expand=_expand,
    pixels=patches(16, features=3 * 2 * 4 * 4),
    units=two_frames_a_unit,
    token_types=True,
)
