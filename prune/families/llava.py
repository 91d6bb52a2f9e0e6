"""LLaVA-1.5: images alone, which no plan prunes; its evidence can be explained."""

from prune.families.family import Family

FAMILY = Family(
    model_type="llava",
    processors=("LlavaProcessor",),
    placeholder="image_token",
    images_alike=True,
    shows_video=False,
)
