"""Baselines that drop tokens before the language model drop what vLLM's versions drop."""

import pytest
import torch
from vllm.multimodal.video_prune import evs as vllm_evs
from vllm.multimodal.video_prune import vidcom2 as vllm_vidcom2

from prune.baselines.evs import most_changed
from prune.baselines.vidcom2 import most_distinct

METHODS = [(most_changed, vllm_evs), (most_distinct, vllm_vidcom2)]
SIZES = [(8, 6, 6), (5, 4, 10), (4, 2, 4)]
"""Frames, and rows and columns of tokens; at these sizes and rates no share has to be rounded."""
MERGE = 2


@pytest.mark.parametrize(("choose", "released"), METHODS, ids=["evs", "vidcom2"])
@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75, 0.875])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_same_tokens_stay(choose, released, rate, size) -> None:
    frames, height, width = size[0], size[1] * MERGE, size[2] * MERGE
    per_frame = size[1] * size[2]
    draw = torch.Generator().manual_seed(0)
    still = torch.randn(per_frame, 32, generator=draw)
    features = still + 0.3 * torch.randn(frames, per_frame, 32, generator=draw)
    features[frames // 2 :] += torch.randn(32, generator=draw)
    features = features.flatten(0, 1)
    frame = torch.arange(frames, dtype=torch.int32).repeat_interleave(per_frame)
    keep = released.compute_retained_tokens_count(per_frame, frames, rate)
    expected = released.compute_retention_mask(features, (frames, height, width), MERGE, rate)
    kept = choose(features, frame, keep)
    assert kept.places.tolist() == expected.nonzero()[:, 0].tolist()
    torch.testing.assert_close(kept.features, features[expected], rtol=0, atol=0)
