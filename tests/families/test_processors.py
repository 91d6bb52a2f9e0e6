"""The prompts of the specimens are what the families' own processors write.

A processor reads a video in two steps: torchvision makes pixels of it, and the processor's class
writes the text that stands for them. The second step is run here, on the pixels of the specimen.
"""

from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers import BatchFeature, ProcessorMixin
from transformers.models.smolvlm import processing_smolvlm
from transformers.video_utils import VideoMetadata

from prune.families import families
from prune.layout.segments import Role, Segments, segment
from tests.families.specimen import Tiny, tiny_of

pytestmark = pytest.mark.skipif(
    not hasattr(ProcessorMixin, "replace_video_token"),
    reason=f"transformers {transformers.__version__}: processors write their text elsewhere",
)

SETTINGS = {
    "patch_size": 4,
    "pooling_ratio": 2,
    "num_image_tokens": 16,
    "num_additional_image_tokens": 1,
    "image_seq_length": 4,
    "image_seq_len": 4,
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
    "use_frame_special_tokens": True,
    "video_use_col_tokens": False,
    "video_processor": SimpleNamespace(merge_size=2, temporal_patch_size=2),
}
"""What the processors would read from their configs, at the sizes of the specimens."""

OVERRIDES: dict[str, dict[str, Any]] = {"video_llava": {"patch_size": 8}}

VISION = ("<|vision_start|>", "<|vision_end|>")
TEMPLATES = {
    "qwen2_vl": VISION,
    "qwen2_5_vl": VISION,
    "glm4v": ("<|begin_of_video|>", "<|end_of_video|>"),
}
"""What a chat template puts around a video."""


def written(tiny: Tiny, count: int) -> str:
    """The text of a video, by the method of the family's processor."""
    kind = getattr(transformers, tiny.family.processors[0])
    # Making one takes torchvision; its method takes these attributes.
    processor = object.__new__(kind)
    overrides = OVERRIDES.get(tiny.family.model_type, {})
    processor.__dict__.update(SETTINGS | overrides | tiny.specimen.tokens)
    metadata = VideoMetadata(count, fps=2.0, duration=count / 2, frames_indices=list(range(count)))
    vision = tiny.specimen.pixels([[count]])
    if tiny.family.model_type == "internvl":
        vision["pixel_values_videos"] = vision["pixel_values"][None]
    vision["video_grids"] = torch.tensor([[count, 2, 2]])
    before, after = TEMPLATES.get(tiny.family.model_type, ("", ""))
    return (
        before + processor.replace_video_token({**vision, "video_metadata": [metadata]}, 0) + after
    )


def outline(segments: Segments) -> tuple[list[tuple[int, int]], list[int]]:
    """Roles and frames in their order, and the number of video tokens of each frame."""
    pairs = zip(segments.role[0].tolist(), segments.frame[0].tolist(), strict=True)
    frames = segments.frame[0, segments.role[0] == Role.VIDEO]
    return [pair for pair, _ in groupby(pairs)], torch.bincount(frames).tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("name", [n for n, f in families().items() if f.shows_video])
def test_the_processor_s_text_has_the_same_layout(
    name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An optional package that spells the number of frames; digits do as well.
    monkeypatch.setattr(processing_smolvlm, "num2words", str)
    tiny = tiny_of(name)
    before, after = "USER: ", " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B"
    by_hand = tiny.inputs((before, count, after))
    text = tiny.processor.tokenizer(before + written(tiny, count) + after, return_tensors="pt")
    real = BatchFeature({**by_hand, **text})
    expected, got = (outline(segment(tiny.processor, inputs)) for inputs in (by_hand, real))
    assert got == expected
    assert sum(got[1]) > count
