"""Molmo2: every frame is a run of image patches. Prompts are segmented, plans refused."""

from prune.families.family import Family

FAMILY = Family(
    model_type="molmo2",
    processors=("Molmo2Processor",),
    placeholder="<im_patch>",
    frame_runs=True,
    announces=r"\d+\.\d+ <frame_start>",
    refusal=(
        "its frames read each other in both directions, and a plan describes causal attention; "
        "choose a model of another family"
    ),
)
