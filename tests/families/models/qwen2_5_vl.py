from transformers import Qwen2_5_VLConfig

from tests.families.specimen import TEXT, Specimen, patches, two_frames_a_unit

VISION = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 24,
    "out_hidden_size": 32,
    "num_heads": 2,
    "patch_size": 4,
    "window_size": 16,
    "fullatt_block_indexes": [1],
}
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}

SPECIMEN = Specimen(
    model="Qwen2_5_VLForConditionalGeneration",
    tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    others=("<|vision_start|>", "<|vision_end|>"),
    config=lambda tokenizer: Qwen2_5_VLConfig(
        vision_config=VISION,
        text_config={**TEXT, "rope_parameters": ROPE},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    ),
    expand=lambda units: f"<|vision_start|>{'<|video_pad|>' * sum(units)}<|vision_end|>",
    pixels=patches(16, features=3 * 2 * 4 * 4),
    units=two_frames_a_unit,
    token_types=True,
)
