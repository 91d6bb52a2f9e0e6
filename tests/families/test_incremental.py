"""Incremental knockouts are the plain ones, in every family and on both of its ways."""

import pytest
import torch

from prune.attention import seam
from prune.families import families
from prune.identity import geometry
from prune.pathways import TRACED
from prune.runtime.replay import capture
from prune.trace import incremental
from prune.trace.incremental import knockout_logits, record_dense
from prune.trace.knockout import Knockouts, plain_logits
from tests.families.specimen import tiny_of

PROMPT = ("USER: ", 3, " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B")


@torch.no_grad()
@pytest.mark.parametrize("max_edges", [incremental.MAX_EDGES, 0], ids=["masks", "kernel"])
@pytest.mark.parametrize("name", [n for n, family in families().items() if not family.refusal])
def test_incremental_is_plain(name: str, max_edges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "MAX_EDGES", max_edges)
    monkeypatch.setattr(incremental, "MAX_KEYS", 300)  # several batches of windows
    tiny = tiny_of(name)
    knockouts = Knockouts(TRACED, geometry(tiny.model).num_layers, 2)
    replay = capture(tiny.model, tiny.processor, tiny.inputs(PROMPT))
    with seam(tiny.model):
        plain = plain_logits(replay, knockouts)
        fast = knockout_logits(record_dense(replay), TRACED, knockouts.windows())
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    assert (plain - plain[-1]).abs().max() > 1e-3, "some knockout must matter"
