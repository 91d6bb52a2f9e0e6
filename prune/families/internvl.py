"""InternVL: every frame is an image, after its number; an image alone is a frame too."""

from prune.families.family import Family

FAMILY = Family(
    model_type="internvl",
    processors=("InternVLProcessor",),
    placeholder="image_token",
    frame_runs=True,
)
