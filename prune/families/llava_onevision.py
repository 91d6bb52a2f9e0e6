"""LLaVA-OneVision: one run of video tokens, with a newline token at its end."""

from prune.families.family import Family

FAMILY = Family(
    model_type="llava_onevision",
    processors=("LlavaOnevisionProcessor", "TinyOnevisionProcessor"),
    extra_tokens=1,
)
