from typing import Any

from transformers import Qwen2VLConfig

from tests.families.specimen import TEXT, Specimen, patches, two_frames_a_unit

VISION = {
    "depth": 2,
    "embed_dim": 16,
    "hidden_size": 32,
    "num_heads": 2,
    "mlp_ratio": 2,
    "patch_size": 4,
}
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}


def config(kind: Any, vision: dict[str, Any], tokenizer: Any) -> Any:
    """A config of class `kind`, with the tokens of the family."""
    return kind(
        vision_config=vision,
        text_config={**TEXT, "rope_parameters": ROPE},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )


SPECIMEN = Specimen(
    model="Qwen2VLForConditionalGeneration",
    tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    others=("<|vision_start|>", "<|vision_end|>"),
    config=lambda tokenizer: config(Qwen2VLConfig, VISION, tokenizer),
    expand=lambda units: f"<|vision_start|>{'<|video_pad|>' * sum(units)}<|vision_end|>",
    pixels=patches(16, features=3 * 2 * 4 * 4),
    units=two_frames_a_unit,
    token_types=True,
)
