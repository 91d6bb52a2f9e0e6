"""LLaVA-NeXT-Video: one run of video tokens, the same number for every frame."""

from prune.families.family import Family

FAMILY = Family(
    model_type="llava_next_video",
    processors=("LlavaNextVideoProcessor", "TinyProcessor"),
)
