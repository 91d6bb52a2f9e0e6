"""Role reachability agrees with a brute-force search over token paths."""

import numpy as np
import pytest

from prune.pathways import ALL, NONE, VIDEO, dense_reach, inherit_answer
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.liveness import State, decode_reads, states
from prune.plan.plan import Plan
from prune.segments import NUM_ROLES, Role, Segments

GEOMETRY = Geometry(64, 128, 4, 2, 16, 2)


def brute_force(reach: np.ndarray, prompt: list[int]) -> np.ndarray:
    """States of every role by walking back from `last` token by token, `[L, R]`."""
    found = np.zeros((len(reach), NUM_ROLES), int)
    alive = {len(prompt) - 1}
    for layer in reversed(range(len(reach))):
        read = {
            k
            for q in alive
            for k in range(q + 1)
            if (reach[layer][:, prompt[q], prompt[k]] >= 0).any()
        }
        for k in read:
            found[layer, prompt[k]] = max(found[layer, prompt[k]], State.KV_ONLY)
        for q in alive:
            found[layer, prompt[q]] = State.COMPUTE
        alive |= read
    return found


@pytest.mark.parametrize("seed", range(60))
def test_states_agree_with_token_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reach = dense_reach(5, int(rng.integers(1, 3)))
    reach[..., :8, :8] = rng.choice([NONE, 0, ALL], (*reach.shape[:2], 8, 8), p=[0.75, 0.1, 0.15])
    inherit_answer(reach)
    # In prompt order, and long enough in every role for a path through all layers.
    prompt = [0] * 6 + [1, 2] * 6 + [r for r in range(3, 7) for _ in range(6)] + [int(Role.LAST)]
    expected = brute_force(reach, prompt)
    assert (states(reach)[:, : Role.ANSWER] == expected[:, : Role.ANSWER]).all()


def test_sealed_presets_kill_video_and_published_ones_leak() -> None:
    sealed = states(Plan.preset("llava-next-7b").reach)
    published = states(Plan.preset("llava-next-7b", sealed=False).reach)
    assert [int(s) for s in sealed[18:22, Role.VIDEO]] == [
        State.COMPUTE,
        State.KV_ONLY,
        State.DEAD,
        State.DEAD,
    ]
    assert published[29, Role.VIDEO] != State.DEAD
    assert not decode_reads(Plan.preset("llava-next-7b").reach)[:, VIDEO].any()


def test_dense_cost_is_counted_in_full() -> None:
    prompt = Segments.of_runs([(Role.SYSTEM, -1, 3), (Role.VIDEO, 0, 4), (Role.LAST, -1, 1)])
    dense = dense_cost(2, prompt, GEOMETRY)
    per_token = 2 * 64 * (64 + 2 * 32 + 64) + 6 * 64 * 128
    assert dense.edges == 2 * 36
    assert dense.flops == 2 * (8 * per_token + 36 * 4 * 4 * 16)
    assert dense.kv_bytes == 2 * 8 * (2 * 2 * 16 * 2)
    assert dense.live_tokens == (8, 8)


def test_the_last_layer_computes_only_what_is_read() -> None:
    prompt = Segments.of_runs([(Role.SYSTEM, -1, 3), (Role.VIDEO, 0, 4), (Role.LAST, -1, 1)])
    assert cost_of(dense_reach(2), prompt, GEOMETRY).live_tokens == (8, 1)
