"""Every video token is drawn where its patch is, in every family."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BatchFeature
from transformers.image_utils import SizeDict

from prune.errors import BadInputError
from prune.families import video_families
from prune.inputs.visible import visible_box
from prune.layout.grid import Grid, grid_of, shown_frame
from prune.layout.segments import segment
from prune.runtime.captured import capture
from tests.families.specimen import Tiny, tiny_of

RUNNABLE = video_families()
FRAMES = 3
PROMPT = ("USER: ", FRAMES, " Question: Who? ASSISTANT: ")
ATTENTION_OUTPUT = re.compile(
    r"^(?!.*(language|text)_model).*(out_proj|attn\.proj|projection_layer)"
)


def _pixels_of_cell(pixels: Tensor, units: int, unit: int, cell: int, grid: Grid) -> Tensor:
    """A view of the pixels that a cell of a temporal unit covers."""
    row, column = divmod(cell, grid.width)
    if pixels.ndim == 2:  # patches, those that are merged into one token next to each other
        block = pixels.unflatten(0, (units, grid.height * grid.width, -1))
        return block[unit, cell]
    frames = pixels.reshape(-1, *pixels.shape[-3:])
    high, wide = frames.shape[-2] // grid.height, frames.shape[-1] // grid.width
    return frames[unit, :, row * high : (row + 1) * high, column * wide : (column + 1) * wide]


def _without_attention(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches of the vision tower no longer read each other."""
    found = [
        weight for name, weight in tiny.model.named_parameters()
        if ATTENTION_OUTPUT.search(name)
    ]  # fmt: skip
    assert found
    for weight in found:
        monkeypatch.setattr(weight, "data", torch.zeros_like(weight))


@torch.no_grad()
@pytest.mark.parametrize("name", RUNNABLE)
def test_a_token_shows_its_cell(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_of(name)
    inputs = tiny.inputs(PROMPT)
    grid = grid_of(tiny.processor, inputs, segment(tiny.processor, inputs))
    units = len(tiny.specimen.units(FRAMES))
    assert (grid.height, grid.width, grid.num_frames) == (2, 2, units)
    _without_attention(tiny, monkeypatch)
    key = "pixel_values_videos" if "pixel_values_videos" in inputs else "pixel_values"

    def embedded(pixels: Tensor) -> Tensor:
        given = BatchFeature({**inputs, key: pixels})
        embeds = capture(tiny.model, tiny.processor, given).kwargs["inputs_embeds"][0]
        return embeds[grid.position]

    clean = embedded(inputs[key])
    for unit in range(units):
        for cell in grid.cell[grid.frame == unit].tolist():
            pixels = inputs[key].clone()
            _pixels_of_cell(pixels, units, unit, cell, grid).add_(1)
            change = (embedded(pixels) - clean).abs().sum(-1)
            seen = int(change.argmax())
            assert (int(grid.frame[seen]), int(grid.cell[seen])) == (unit, cell)


def test_values_are_spread_over_their_cells() -> None:
    grid = Grid(torch.arange(3), torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1]), 1, 3)
    spread = grid.spread(torch.tensor([1.0, 2.0, 3.0]))
    expected = torch.tensor([[[1, torch.nan, 2]], [[torch.nan, 3, torch.nan]]])
    assert torch.equal(spread.nan_to_num(-1), expected.nan_to_num(-1))


def test_frames_that_are_wider_than_high() -> None:
    tiny = tiny_of("llava_next_video")
    tokens = "<video>" * 16
    inputs: dict[str, Any] = dict(
        tiny.processor.tokenizer(f"USER: {tokens} b", return_tensors="pt")
    )
    inputs["pixel_values_videos"] = torch.zeros(1, 2, 3, 16, 32)
    grid = grid_of(tiny.processor, inputs, segment(tiny.processor, inputs))
    assert (grid.height, grid.width) == (2, 4)
    inputs["pixel_values_videos"] = torch.zeros(1, 2, 3, 16, 16)
    inputs |= tiny.processor.tokenizer(f"USER: {'<video>' * 14} b", return_tensors="pt")
    with pytest.raises(BadInputError, match="7 video tokens do not form a grid of a 16 x 16 frame"):
        grid_of(tiny.processor, inputs, segment(tiny.processor, inputs))


def test_images_are_grids_if_they_are_alike_and_whole() -> None:
    tiny = tiny_of("qwen2_vl")
    inputs = tiny.inputs(("USER: ", 4, " b"))
    segments = segment(tiny.processor, inputs)
    wide = {"image_grid_thw": torch.tensor([[1, 2, 8], [1, 2, 8]])}
    grid = grid_of(tiny.processor, wide, segments)
    assert (grid.height, grid.width, grid.num_frames) == (1, 4, 2)
    unlike = {"image_grid_thw": torch.tensor([[1, 2, 8], [1, 4, 4]])}
    with pytest.raises(BadInputError, match="frames of 2 shapes form no grid"):
        grid_of(tiny.processor, unlike, segments)
    tiles = {"pixel_values": torch.zeros(2, 3, 3, 8, 8)}
    with pytest.raises(BadInputError, match="cuts 2 images into 6 tiles"):
        grid_of(tiny.processor, tiles, segments)


def test_a_prompt_without_a_video_has_no_grid() -> None:
    tiny = tiny_of("qwen2_vl")
    inputs = tiny.inputs(("Why?",))
    with pytest.raises(BadInputError, match="no video tokens"):
        grid_of(tiny.processor, inputs, segment(tiny.processor, inputs))


@pytest.mark.parametrize(
    ("unit", "units", "frames", "shown"), [(3, 8, 8, 3), (1, 2, 4, 2), (1, 2, 3, 2), (0, 1, 1, 0)]
)
def test_a_unit_shows_its_first_frame(unit: int, units: int, frames: int, shown: int) -> None:
    assert shown_frame(unit, units, frames) == shown


def test_what_is_cropped_off_is_not_drawn_on() -> None:
    crop = SimpleNamespace(
        do_center_crop=True,
        size=SizeDict(shortest_edge=224),
        crop_size=SizeDict(height=224, width=224),
    )
    wide = SimpleNamespace(video_processor=crop)
    assert visible_box(wide, 240, 320) == (0, 40, 240, 280)
    assert visible_box(SimpleNamespace(), 240, 320) == (0, 0, 240, 320)
    # Pictures are cropped by a processor of their own.
    assert visible_box(wide, 240, 320, "image") == (0, 0, 240, 320)
    assert visible_box(SimpleNamespace(image_processor=crop), 240, 320, "image")[1] == 40
    crop.crop_size = SizeDict(height=112, width=112)
    assert visible_box(wide, 448, 448) == (112, 112, 336, 336)
