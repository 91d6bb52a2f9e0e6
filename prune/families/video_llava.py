"""Video-LLaVA: one run of video tokens, the class token of every frame among them."""

from prune.families.family import Family

FAMILY = Family(
    model_type="video_llava",
    processors=("VideoLlavaProcessor",),
    class_tokens=1,
)
