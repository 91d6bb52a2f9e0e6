"""Where vLLM and transformers place the text behind a clip: the numbers of docs/serving.md."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from vllm.model_executor.models.qwen2_vl import Qwen2VLForConditionalGeneration
from vllm.model_executor.models.qwen3_vl import Qwen3VLForConditionalGeneration
from vllm.multimodal.inputs import PlaceholderRange

from prune.families import families
from prune.runtime.positions import place
from tests.vllm.folders import small

STOCK = {
    "qwen2_vl": Qwen2VLForConditionalGeneration,
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl": Qwen3VLForConditionalGeneration,
}
"""vLLM's models of the families whose clips have positions in time."""

BEFORE, AFTER = 15, 10
LONG = (16, 8, 10)
"""Units, height and width in patches."""


@pytest.fixture(scope="module", params=STOCK)
def family(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, small(request.param)[0]


def prompt(name: str, grid: tuple[int, int, int]) -> Tensor:
    """Kinds of a prompt's tokens: text, the clip (with text between its frames), and text."""
    units, height, width = grid
    unit = [2] * (height * width // 4)
    clip = [kind for _ in range(units) for kind in (*unit, 0, 0)][:-2]
    return torch.tensor([0] * BEFORE + (clip if name == "qwen3_vl" else unit * units) + [0] * AFTER)


def ids_of(config: Any, kinds: Tensor) -> Tensor:
    """Tokens of a prompt, its clip or frames enclosed as the family's processor does it."""
    video = kinds == 2
    ids = torch.where(video, config.video_token_id, 1)
    ids[:-1][video[1:] & ~video[:-1]] = config.vision_start_token_id
    ids[1:][video[:-1] & ~video[1:]] = config.vision_end_token_id
    return ids


def of_transformers(model: Any, kinds: Tensor, grid: tuple[int, ...], seconds: float) -> Tensor:
    """`[3, S]`; `seconds` is the time of a unit, which Qwen2.5-VL alone asks for."""
    timed = model.config.model_type == "qwen2_5_vl"
    given = {"second_per_grid_ts": torch.tensor([seconds])} if timed else {}
    ids = ids_of(model.config, kinds)[None]
    grids = torch.tensor([grid])
    found, _ = model.model.get_rope_index(ids, kinds[None], video_grid_thw=grids, **given)
    return found[:, 0]


def of_vllm(config: Any, kinds: Tensor, grid: tuple[int, ...], seconds: float) -> Tensor:
    """`[3, S]`."""
    data = {"video_grid_thw": SimpleNamespace(data=torch.tensor(grid))}
    if config.model_type == "qwen2_5_vl":
        data["second_per_grid_ts"] = SimpleNamespace(data=torch.tensor(seconds))
    places = (kinds == 2).nonzero()[:, 0]
    first, stop = int(places[0]), int(places[-1]) + 1
    if config.model_type == "qwen3_vl":
        # There a clip begins with what encloses its first frame.
        first, stop = first - 1, stop + 1
    inside = kinds[first:stop] == 2
    where = PlaceholderRange(first, len(inside), None if inside.all() else inside)
    feature = SimpleNamespace(modality="video", mm_position=where, data=data)
    # vLLM's own method, on a model without weights.
    stock = object.__new__(STOCK[config.model_type])
    object.__setattr__(stock, "config", config)
    found, _ = stock.get_mrope_input_positions(ids_of(config, kinds).tolist(), [feature])
    return found


@pytest.mark.parametrize(
    ("grid", "seconds"), [((3, 8, 12), 1.0), (LONG, 0.03125), (LONG, 1.0), ((2, 12, 8), 2.0)]
)
def test_placed_by_vllm_s_rule_they_are_vllm_s(
    family: tuple[str, Any], grid: tuple[int, int, int], seconds: float
) -> None:
    name, model = family
    kinds = prompt(name, grid)
    theirs = of_vllm(model.config, kinds, grid, seconds)
    stock = of_transformers(model, kinds, grid, seconds)
    if not families()[name].other_positions:
        assert torch.equal(stock, theirs)
    undo = place(model, "vllm")
    assert torch.equal(of_transformers(model, kinds, grid, seconds), theirs)
    undo()
    assert torch.equal(of_transformers(model, kinds, grid, seconds), stock)


@pytest.mark.parametrize(
    ("name", "seconds", "stock", "theirs"),
    # Where the text begins.
    [("qwen2_5_vl", 1.0, 20, 76), ("qwen2_5_vl", 0.03125, 20, 20), ("qwen2_vl", 1.0, 20, 31)],
)
def test_how_far_they_are_apart(name: str, seconds: float, stock: int, theirs: int) -> None:
    model, _ = small(name)
    kinds = prompt(name, LONG)
    place_ = len(kinds) - AFTER
    assert of_transformers(model, kinds, LONG, seconds)[:, place_].tolist() == [stock] * 3
    assert of_vllm(model.config, kinds, LONG, seconds)[:, place_].tolist() == [theirs] * 3
