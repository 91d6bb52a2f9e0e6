"""Images in place of a video: each is a frame, through the family's real path for images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import prune
from prune.errors import RefusedError
from prune.inputs.encode import check_samples, decode, encode
from prune.inputs.sample import NO_ANSWER, Sample
from prune.layout.segments import Role, segment
from tests.real.models import FAMILIES, model_of, processor_of
from tests.real.test_contract import generate, sealed

ALL = [*FAMILIES, "llava"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two photos (JPEG), one of them upright."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for number, size in enumerate([(48, 64, 3), (64, 48, 3)]):
        pixels = np.random.default_rng(number).integers(0, 255, size).astype(np.uint8)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=95)
    return paths


def asked(*files: Path, options: tuple[str, ...] = ()) -> Sample:
    video = files[0] if len(files) == 1 else files
    answer = 0 if options else NO_ANSWER
    return Sample("a", video, "What is it?", options, answer, "t", medium="image")


def encoded(processor: Any, *samples: Sample) -> Any:
    check_samples(processor, samples, letters=False)
    return encode(processor, samples, [decode(sample, 8) for sample in samples])


@pytest.mark.parametrize("name", ALL)
def test_a_picture_is_shown_once(name: str, pictures: list[Path]) -> None:
    processor = processor_of(name)
    inputs = encoded(processor, asked(pictures[0]))
    # Video-LLaVA alone names the pixels of images otherwise.
    assert {"pixel_values", "pixel_values_images"} & set(inputs)
    assert "pixel_values_videos" not in inputs
    image = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    found = segment(processor, inputs, strict=True)
    shown = inputs["input_ids"] == image
    assert torch.equal(found.role == Role.VIDEO, shown) and shown.any()
    assert set(found.frame[shown].tolist()) == {0}
    assert (found.role == Role.QUESTION).any() and found.role[0, -1] == Role.LAST


@pytest.mark.parametrize("name", ALL)
def test_each_of_several_pictures_is_a_frame(name: str, pictures: list[Path]) -> None:
    processor = processor_of(name)
    alike = encoded(processor, asked(pictures[0], pictures[0], options=("a", "b")))
    found = segment(processor, alike, strict=True)
    per_frame = torch.bincount(found.frame[found.role == Role.VIDEO])
    assert len(per_frame) == 2 and per_frame[0] == per_frame[1] > 0
    assert (found.role == Role.OPTIONS).any()


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_a_plan_is_enforced_on_pictures(name: str, pictures: list[Path]) -> None:
    model, processor = model_of(name)
    inputs = encoded(processor, asked(pictures[0]), asked(pictures[1]))
    stock, _, _ = generate(model, inputs)
    plan = sealed(model)
    with prune.apply(model, plan, processor=processor, skip="none", strict=True):
        masked, _, _ = generate(model, inputs)
    with prune.apply(model, plan, processor=processor, skip="all", strict=True):
        pruned, _, _ = generate(model, inputs)
        ran = prune.launches(model)
    torch.testing.assert_close(pruned, masked, atol=1e-5, rtol=1e-5)
    assert (masked - stock).abs().max() > 1e-3, "the plan must matter"
    assert ran.dense_prompts == 0 and (0 < ran.computed < ran.states)


def test_a_processor_without_images_says_so(pictures: list[Path]) -> None:
    class TinyProcessor:
        tokenizer = None

    with pytest.raises(RefusedError, match="takes no images"):
        check_samples(TinyProcessor(), [asked(pictures[0])], letters=False)
