from transformers import VideoLlavaConfig

from tests.families.specimen import CLIP, TEXT, Specimen, stacked

SPECIMEN = Specimen(
    model="VideoLlavaForConditionalGeneration",
    tokens={"image_token": "<image>", "video_token": "<video>"},
    config=lambda tokenizer: VideoLlavaConfig(
        vision_config={**CLIP, "patch_size": 8},
        text_config={"model_type": "llama", **TEXT},
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
    ),
    expand=lambda units: "<video>" * sum(units),
    pixels=stacked(16),
    units=lambda count: [5] * count,
    ragged=False,
)
