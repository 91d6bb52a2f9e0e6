"""The edge count equals the sum of the explicit mask; presets have the paper's densities."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.kernels import ALL, allowed_edges
from prune.layout.edges import edge_histogram
from prune.layout.reach import NONE, OTHER_FRAMES, dense_reach
from prune.layout.segments import NUM_ROLES, Role, Segments
from prune.plan.plan import Plan
from prune.plan.presets import PRESETS


def paper_prompt(frames: int, per_frame: int, system: int) -> Segments:
    """125 text tokens: `system`, 5 bridge, the question and its options, 15 tail and the last."""
    asked = 104 - system
    runs = [(Role.SYSTEM, -1, system), *((Role.VIDEO, f, per_frame) for f in range(frames))]
    runs += [(Role.BRIDGE, -1, 5), (Role.QUESTION, -1, asked // 2), (Role.OPTIONS, -1, asked // 2)]
    runs += [(Role.TAIL, -1, 15), (Role.LAST, -1, 1)]
    return Segments.of_runs(runs)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    ("name", "per_frame", "system", "percent"),
    [
        # The paper's own system prompt has about 60 tokens; VideoLLaMA3 has a shorter one.
        ("llava-next-7b", 144, 60, 42),
        ("llava-next-13b", 144, 60, 37),
        ("mini-internvl-4b", 256, 60, 40),
        ("videollama3-7b", 144, 40, 58),
    ],
)
def test_presets_keep_what_the_paper_says(
    name: str, per_frame: int, system: int, percent: int, sealed: bool
) -> None:
    plan, prompt = Plan.preset(name, sealed), paper_prompt(8, per_frame, system)
    kept, causal = plan.count_edges(prompt)
    length = prompt.shape[1]
    assert causal == PRESETS[name].num_layers * length * (length + 1) // 2
    assert abs(100 * kept / causal - percent) <= 2
    masks = sum(
        int(allowed_edges(prompt.role, prompt.frame, torch.from_numpy(table), length).sum())
        for table in plan.reach
    )
    assert kept == masks


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_count_equals_the_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch, length, groups = rng.integers(1, 3), rng.integers(1, 30), rng.integers(1, 3)
    role = torch.from_numpy(rng.integers(-1, NUM_ROLES, (batch, length)).astype(np.int8))
    frame = torch.from_numpy(rng.integers(-1, 5, (batch, length)).astype(np.int32))
    frame[role < 0] = -1
    segments = Segments(role, frame, torch.full_like(frame, -1))
    shape = (2, groups, NUM_ROLES, NUM_ROLES)
    reach = rng.choice([NONE, 0, 1, 3, ALL, ~1, ~3, OTHER_FRAMES], shape).astype(np.int32)
    kept = edge_histogram(segments).kept(reach)
    for layer in range(2):
        mask = allowed_edges(role, frame, torch.from_numpy(reach[layer]), int(length))
        assert kept[layer].tolist() == mask.sum((0, 2, 3)).tolist()
    everything = edge_histogram(segments).kept(dense_reach(1))
    real = (role >= 0).sum(1)
    assert everything[0, 0] == int((real * (real + 1) // 2).sum())
