"""A run that goes on from an earlier one says what a run from the start says, in every family."""

import numpy as np
import pytest
import torch

from prune.errors import RefusedError
from prune.families import video_families
from prune.layout.pathways import REMOVABLE, remove_pathway
from prune.layout.reach import Reach, dense_reach
from prune.plan.model_id import geometry
from prune.plan.moves import slides
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture
from prune.runtime.prefill import pruned_states
from prune.runtime.resume import PASSES, ResumableRun, layers_to_keep
from tests.families.specimen import tiny_of

PROMPTS = (
    ("USER: ", 3, " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B"),
    ("USER: ", 3, " Question: Who is that one?\nOptions:\n(A) I\n(B) you\nASSISTANT: (B"),
)


def replay_of(name: str) -> Replay:
    tiny = tiny_of(name)
    return capture(tiny.model, tiny.processor, tiny.inputs(*PROMPTS))


def tried(num_layers: int, count: int) -> list[Reach]:
    """Plans as a search tries them: each changes an earlier one in one place, or gives all back."""
    rng = np.random.default_rng(0)
    found = [dense_reach(num_layers)]
    for number in range(count):
        reach = found[-1 - rng.integers(min(3, len(found)))].copy()
        if number % 7 == 6:
            reach = dense_reach(num_layers)
        elif number % 3 == 2:
            slide = slides(num_layers, 3)[rng.integers(3)]
            reach = slide.at(reach, int(rng.integers(1, slide.settings)))
        else:
            remove_pathway(reach, REMOVABLE[rng.integers(len(REMOVABLE))],
                           [int(rng.integers(num_layers))])  # fmt: skip
        found.append(reach)
    return found


@pytest.mark.parametrize("name", video_families())
def test_it_is_the_run_from_the_start(name: str) -> None:
    replay = replay_of(name)
    layers = geometry(replay.model).num_layers
    ran: list[int] = []
    for index, layer in enumerate(replay.text_model.layers):
        layer.mlp.register_forward_pre_hook(lambda *_, at=index: ran.append(at))
    resuming = ResumableRun(replay, range(1, layers))
    plans = tried(layers, 24)
    with seam(replay.model):
        for reach in plans:
            expected = pruned_states(replay, reach)
            ran.clear()
            found = resuming.states(reach)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert len(ran) < layers, "the last plan shares layers with one of those before it"
        again = resuming.states(plans[-1])
    torch.testing.assert_close(again, found)
    assert all("forward" not in layer.__dict__ for layer in replay.text_model.layers)


def test_a_layer_that_ran_dense_is_found_out() -> None:
    replay = replay_of("llava_next_video")
    reach = dense_reach(geometry(replay.model).num_layers)
    with pytest.raises(RefusedError, match="layers 0, 1"):
        ResumableRun(replay, [1]).states(reach)


@pytest.mark.parametrize("room", [0, 5, 11, 10**6])
def test_what_is_kept_fits(room: int) -> None:
    kept = layers_to_keep(12, 100, room * 100 * PASSES)
    assert len(kept) == min(room, 11) and not {0, 12} & set(kept)
    gaps = np.diff([0, *kept, 12])
    assert gaps.max() - gaps.min() <= 1
