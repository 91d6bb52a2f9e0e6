"""PerceptionLM: one run of video tokens, the same number for every frame."""

from prune.families.family import Family

FAMILY = Family(
    model_type="perception_lm",
    processors=("PerceptionLMProcessor",),
)
