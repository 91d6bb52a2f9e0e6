"""GLM-4.1V: every temporal unit of two frames is an image, inside the bounds of its video."""

from prune.families.family import Family

FAMILY = Family(
    model_type="glm4v",
    processors=("Glm4vProcessor",),
    placeholder="image_token",
    frame_runs=True,
    bounds_pixels=True,
    announces=r"<\|begin_of_image\|>",
    closes=r"<\|end_of_image\|>\d+(?:\.\d+)?",
    video_bounds=("<|begin_of_video|>", "<|end_of_video|>"),
)
