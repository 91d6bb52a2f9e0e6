"""Video tokens that are left out are as if nobody read them, in every family."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from prune.baselines.dropping import dropping_states
from prune.baselines.fewer_tokens import Kept, fewer_tokens
from prune.evaluate.answers import EncodedBatch, under
from prune.families import video_families
from prune.inputs.samples import Sample
from prune.kernels import allowed_edges
from prune.layout.reach import dense_reach
from prune.layout.segments import Role
from prune.plan.model_id import geometry
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.runtime.enforce import masked_attention
from tests.families.reference import DenseMasks, random_plan
from tests.families.specimen import tiny_of

PROMPTS = (
    ("USER: ", 3, " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B"),
    ("USER: ", 3, " Question: Who is that one?\nOptions:\n(A) I\n(B) you\nASSISTANT: (B"),
)


def batch_of(name: str) -> EncodedBatch:
    tiny = tiny_of(name)
    sample = Sample("a", Path("a.mp4"), "?", ("a", "b"), 0, "task")
    replay = capture(tiny.model, tiny.processor, tiny.inputs(*PROMPTS))
    return EncodedBatch((sample, sample), ("a", "a"), replay)


def every_other(features: Tensor, frame: Tensor, keep: int) -> Kept:
    index = torch.arange(0, len(features), 2)
    return Kept(index, features[index])


@pytest.mark.parametrize("name", video_families())
def test_left_out_is_unread(name: str) -> None:
    """Removed from the prompt, or masked from the first layer on: the same answer."""
    batch = batch_of(name)
    layers = geometry(batch.replay.model).num_layers
    fewer = fewer_tokens(batch, 0.5, every_other)
    whole, left = (
        [row.count(Role.VIDEO) for row in map(b.replay.segments.row, (0, 1))]
        for b in (batch, fewer)
    )
    assert left == [(video + 1) // 2 for video in whole]
    with seam(batch.replay.model):
        masked = dropping_states(batch, 0, lambda seen: torch.arange(0, len(seen), 2))
        removed = under(dense_reach(layers))(fewer)
        dense = under(dense_reach(layers))(batch)
    torch.testing.assert_close(removed, masked, atol=2e-5, rtol=1e-4)
    assert (removed - dense).abs().max() > 1e-3


@dataclass(frozen=True)
class Unread:
    """A plan's masks over the whole prompt, in which nobody reads every other video token."""

    masks: DenseMasks

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        hidden = torch.zeros(key.shape[0], key.shape[2], dtype=torch.bool)
        for row, role in enumerate(self.masks.segments.role):
            hidden[row, (role == Role.VIDEO).nonzero()[1::2, 0]] = True
        table = torch.from_numpy(self.masks.reach[layer])
        segments = self.masks.segments
        mask = allowed_edges(segments.role, segments.frame, table, query.shape[2])
        mask = mask.repeat_interleave(query.shape[1] // mask.shape[1], 1)
        return masked_attention(query, key, value, mask & ~hidden[:, None, None], scale)


@pytest.mark.parametrize("name", video_families())
def test_a_plan_on_top_reads_what_is_left(name: str) -> None:
    batch = batch_of(name)
    plan = random_plan(batch.replay.model)
    with seam(batch.replay.model):
        found = under(plan.reach)(fewer_tokens(batch, 0.5, every_other))
        expected = batch.replay.last_states(Unread(DenseMasks(plan.reach, batch.replay.segments)))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
