"""InternVL: every frame is an image, after its number, which images alone do not have."""

from prune.families.family import Family

FAMILY = Family(
    model_type="internvl",
    processors=("InternVLProcessor",),
    placeholder="image_token",
    frame_runs=True,
    announces=r"Frame\d+: <img>",
    starts=r"Frame[01]: <img>",
    images_alike=True,
)
