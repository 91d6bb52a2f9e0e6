from transformers import Qwen3VLConfig

from tests.families.specimen import TEXT, Specimen, patches, two_frames_a_unit

VISION = {
    "depth": 3,
    "hidden_size": 16,
    "intermediate_size": 24,
    "out_hidden_size": 32,
    "num_heads": 2,
    "patch_size": 4,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0, 1],
}
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}


def _expand(units: list[int]) -> str:
    return "".join(
        f"<{i + 0.3:.1f} seconds><|vision_start|>{'<|video_pad|>' * n}<|vision_end|>"
        for i, n in enumerate(units)
    )


SPECIMEN = Specimen(
    model="Qwen3VLForConditionalGeneration",
    tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    others=("<|vision_start|>", "<|vision_end|>"),
    config=lambda tokenizer: Qwen3VLConfig(
        vision_config=VISION,
        text_config={**TEXT, "head_dim": 8, "rope_parameters": ROPE},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    ),
    expand=_expand,
    pixels=patches(16, features=3 * 2 * 4 * 4),
    units=two_frames_a_unit,
    token_types=True,
)
