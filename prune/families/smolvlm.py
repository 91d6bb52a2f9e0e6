"""SmolVLM: every frame is an image, after its time, which images alone do not have."""

from prune.families.family import Family

FAMILY = Family(
    model_type="smolvlm",
    processors=("SmolVLMProcessor",),
    text_model="model.text_model",
    placeholder="image_token",
    frame_runs=True,
    announces=r"Frame from \d+:\d+:<fake_token_around_image><global-img>",
    starts=(
        r"You are provided the following series of [^\n]+ video\.\s+"
        r"Frame from \d+:\d+:<fake_token_around_image><global-img>"
    ),
    images_alike=True,
)
