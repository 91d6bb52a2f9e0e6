"""Gates: open ones change nothing, closed ones are the plan's own removal, training finds slack."""

import numpy as np
import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.answers import EncodedBatch, prepare, under
from prune.inputs.samples import Sample
from prune.layout.pathways import REMOVABLE, remove_pathway
from prune.layout.reach import dense_reach
from prune.learn.gates import GateEnforcer, GateSettings, _edges, harm_of, learn_gates
from prune.learn.trainable import differentiable_logits
from prune.runtime.attention import seam
from prune.runtime.captured import next_logits

LAYERS = 12
CLOSED = -1e4


@pytest.fixture(scope="module")
def batch(tiny: LoadedModel, samples: list[Sample]) -> EncodedBatch:
    (batch,), _ = prepare(tiny.model, tiny.processor, samples[:4], 8, 4)
    return batch


@pytest.mark.parametrize("closed", [(), ((0, 1),), ((2, 0), (2, 5), (7, 3))], ids=str)
def test_gates_at_their_ends_are_dense_and_removed(
    closed: tuple[tuple[int, int], ...], tiny: LoadedModel, batch: EncodedBatch
) -> None:
    reach = dense_reach(LAYERS)
    log_gates = torch.zeros(LAYERS, len(REMOVABLE), tiny.id.num_kv_heads)
    for layer, pathway in closed:
        remove_pathway(reach, REMOVABLE[pathway], [layer])
        log_gates[layer, pathway] = CLOSED
    gated = GateEnforcer(log_gates, *_edges(batch.replay.segments, tiny.model.device))
    with seam(tiny.model), torch.no_grad():
        found = differentiable_logits(batch.replay, gated)
        expected = next_logits(tiny.model, under(reach)(batch)[:, -1])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


def test_training_closes_what_is_not_needed_and_leaves_the_model(
    tiny: LoadedModel, batch: EncodedBatch
) -> None:
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    losses: list[float] = []
    gates = learn_gates([batch], tiny.id, GateSettings(steps=25, rate=0.5), losses.append)
    assert gates.shape == (LAYERS, len(REMOVABLE), tiny.id.num_kv_heads)
    # A gate multiplies what an edge weighs, so ratios tell pathways apart.
    assert 0 < 50 * gates.min() < gates.max() < 1
    assert losses[-1] < losses[0]
    after = tiny.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    harm = harm_of(gates)
    assert harm["cross_frame"].shape == (LAYERS,)
    assert harm["cross_frame"][3] == pytest.approx(np.mean(gates[3, 0]))


def test_gates_need_prompts(tiny: LoadedModel) -> None:
    with pytest.raises(BadInputError):
        learn_gates([], tiny.id, GateSettings())
