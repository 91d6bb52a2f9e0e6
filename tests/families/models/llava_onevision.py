from transformers import LlavaOnevisionConfig

from tests.families.specimen import SIGLIP, TEXT, Specimen, stacked

SPECIMEN = Specimen(
    model="LlavaOnevisionForConditionalGeneration",
    tokens={"image_token": "<image>", "video_token": "<video>"},
    config=lambda tokenizer: LlavaOnevisionConfig(
        vision_config=SIGLIP,
        text_config={"model_type": "qwen2", **TEXT},
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
    ),
    expand=lambda units: "<video>" * (sum(units) + 1),
    pixels=stacked(16),
    ragged=False,
)
