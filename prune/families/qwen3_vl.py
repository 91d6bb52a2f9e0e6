"""Qwen3-VL: a run of video tokens for every temporal unit of two frames, after its time."""

from prune.families.family import Family

FAMILY = Family(
    model_type="qwen3_vl",
    processors=("Qwen3VLProcessor",),
    frame_runs=True,
    bounds_pixels=True,
    announces=r"<\d+(?:\.\d+)? seconds>(?:<\|vision_start\|>)?",
    deepstack="vision_config.deepstack_visual_indexes",
)
