"""Qwen2-VL: one run of video tokens; two frames make a temporal unit."""

from prune.families.family import Family

FAMILY = Family(
    model_type="qwen2_vl",
    processors=("Qwen2VLProcessor",),
    bounds_pixels=True,
    other_positions=True,
)
