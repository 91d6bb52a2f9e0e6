"""LLaVA-OneVision: one run of video tokens, with a newline token at its end."""

from prune.families.family import Family

FAMILY = Family(
    model_type="llava_onevision",
    processors=("LlavaOnevisionProcessor",),
    extra_tokens=1,
)
