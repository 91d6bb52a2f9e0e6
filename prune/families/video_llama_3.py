"""VideoLLaMA3: a run of video tokens for every frame, after its time; their number varies."""

from prune.families.family import Family

FAMILY = Family(
    model_type="video_llama_3",
    processors=("VideoLlama3Processor",),
    frame_runs=True,
    bounds_pixels=True,
    announces=r"Time \d+(?:\.\d+)?s:",
)
