"""MVBench (arXiv 2311.17005): `json/<task>.json` and `video/<source>/`.

The copy on the hub holds clips cut to the question (`*_segment`); the first release holds whole
videos, with time bounds in the questions. Each task is read from whichever is present.
"""

from pathlib import Path

from prune.datasets.layout import entries, question
from prune.inputs.samples import Sample

CLEVRER, PERCEPTION = "clevrer/video_validation", "perception/videos"
CUT, WHOLE = "star/Charades_segment", "star/Charades_v1_480"
TASKS: dict[str, tuple[str, ...]] = {
    "action_antonym": ("ssv2_video_mp4", "ssv2_video"),
    "action_count": (PERCEPTION,),
    "action_localization": ("sta/sta_video_segment", "sta/sta_video"),
    "action_prediction": (CUT, WHOLE),
    "action_sequence": (CUT, WHOLE),
    "character_order": (PERCEPTION,),
    "counterfactual_inference": (CLEVRER,),
    "egocentric_navigation": ("vlnqa",),
    "episodic_reasoning": ("tvqa/video_fps3_hq_segment",),
    "fine_grained_action": ("Moments_in_Time_Raw/videos",),
    "fine_grained_pose": ("nturgbd_convert", "nturgbd"),
    "moving_attribute": (CLEVRER,),
    "moving_count": (CLEVRER,),
    "moving_direction": (CLEVRER,),
    "object_existence": (CLEVRER,),
    "object_interaction": (CUT, WHOLE),
    "object_shuffle": (PERCEPTION,),
    "scene_transition": ("scene_qa/video",),
    "state_change": (PERCEPTION,),
    "unexpected_action": ("FunQA_test/test",),
}
"""Folders of each task's videos, those of the hub's copy first."""

BOUNDED = (WHOLE, "sta/sta_video")
"""Folders of whole videos, where each question is about a part."""


def read(folder: Path) -> list[Sample]:
    """Every question of the twenty tasks."""
    samples = []
    for task, sources in TASKS.items():
        source = next((s for s in sources if (folder / "video" / s).is_dir()), sources[0])
        for number, (where, entry) in enumerate(entries(folder / "json" / f"{task}.json")):
            video = folder / "video" / source / str(entry.get("video"))
            id = f"mvbench/{task}/{number:05d}"
            samples.append(question(where, entry, id, task, video, bounded=source in BOUNDED))
    return samples
