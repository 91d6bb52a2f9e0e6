from transformers import PerceptionLMConfig

from tests.families.specimen import SIGLIP, TEXT, Specimen, stacked

# Its own vision tower comes from timm; any tower without a class token fits.
SPECIMEN = Specimen(
    model="PerceptionLMForConditionalGeneration",
    tokens={"image_token": "<|image|>", "video_token": "<|video|>"},
    config=lambda tokenizer: PerceptionLMConfig(
        vision_config={**SIGLIP, "embed_dim": 16, "model_args": {"embed_dim": 16}},
        text_config={"model_type": "llama", **TEXT},
        vision_use_cls_token=False,
        projector_pooling_ratio=2,
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
    ),
    expand=lambda units: "<|video|>" * sum(units),
    pixels=stacked(16),
    ragged=False,
)
