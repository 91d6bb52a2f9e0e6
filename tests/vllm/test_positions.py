"""Where vLLM and transformers place the text behind a clip: the numbers of docs/serving.md."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration

from tests.vllm.folders import small

BEFORE, AFTER = 15, 10


@pytest.fixture(scope="module")
def model() -> Any:
    return small("qwen2_5_vl")[0]


@pytest.mark.parametrize(
    ("grid", "seconds", "theirs", "ours"),
    [
        # (units, height, width) in patches; seconds of a unit; where the text starts.
        ((3, 8, 12), 1.0, 21, 24),
        ((16, 8, 10), 0.03125, 20, 20),
        ((16, 8, 10), 1.0, 20, 76),
    ],
)
def test_text_behind_a_clip(
    model: Any, grid: tuple[int, int, int], seconds: float, theirs: int, ours: int
) -> None:
    config = model.config
    tokens = grid[0] * grid[1] * grid[2] // 4
    ids = [1] * BEFORE + [config.video_token_id] * tokens + [2] * AFTER
    kinds = torch.tensor([[0] * BEFORE + [2] * tokens + [0] * AFTER])
    transformers, _ = model.model.get_rope_index(
        torch.tensor([ids]),
        kinds,
        video_grid_thw=torch.tensor([grid]),
        second_per_grid_ts=torch.tensor([seconds]),
    )
    data = {
        "video_grid_thw": SimpleNamespace(data=torch.tensor(grid)),
        "second_per_grid_ts": SimpleNamespace(data=torch.tensor(seconds)),
    }
    feature = SimpleNamespace(
        modality="video", mm_position=SimpleNamespace(offset=BEFORE), data=data
    )
    stock = Qwen2_5_VLForConditionalGeneration
    holder = SimpleNamespace(config=config)
    holder.iter_mm_grid_thw = lambda found: stock.iter_mm_grid_thw(holder, found)
    vllm, _ = stock.get_mrope_input_positions(holder, ids, [feature])
    place = BEFORE + tokens
    assert transformers[:, 0, place].tolist() == [theirs] * 3
    assert vllm[:, place].tolist() == [ours] * 3
