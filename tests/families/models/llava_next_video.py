from transformers import LlavaNextVideoConfig

from tests.families.specimen import CLIP, TEXT, Specimen, stacked

SPECIMEN = Specimen(
    model="LlavaNextVideoForConditionalGeneration",
    tokens={"image_token": "<image>", "video_token": "<video>"},
    config=lambda tokenizer: LlavaNextVideoConfig(
        vision_config=CLIP,
        text_config={"model_type": "llama", **TEXT},
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=[[16, 16]],
    ),
    expand=lambda units: "<video>" * sum(units),
    pixels=stacked(16),
    ragged=False,
)
