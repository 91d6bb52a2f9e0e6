"""SmolVLM: every frame is an image, after its time; an image alone is a frame too."""

from prune.families.family import Family

FAMILY = Family(
    model_type="smolvlm",
    processors=("SmolVLMProcessor",),
    text_model="model.text_model",
    placeholder="image_token",
    frame_runs=True,
)
