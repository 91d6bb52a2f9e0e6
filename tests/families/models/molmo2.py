from torch import Tensor
from transformers import Molmo2Config

from tests.families.specimen import Specimen


def _expand(units: list[int]) -> str:
    frames = (
        f"{i / 2:.1f} <frame_start>{'<im_patch>' * n}<frame_end>" for i, n in enumerate(units)
    )
    return " ".join(frames)


def _pixels(videos: list[list[int]]) -> dict[str, Tensor]:
    return {}  # no plan runs in this family, and its frames follow from the prompt


SPECIMEN = Specimen(
    model="Molmo2ForConditionalGeneration",
    tokens={"image_token": "<|image|>", "video_token": "<|video|>"},
    others=("<im_patch>", "<frame_start>", "<frame_end>"),
    config=lambda tokenizer: Molmo2Config(),
    expand=_expand,
    pixels=_pixels,
)
