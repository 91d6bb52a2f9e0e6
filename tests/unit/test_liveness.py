"""Role reachability agrees with a brute-force search over token paths."""

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest

from prune.layout.freezing import FREEZABLE, UPDATE, freezable, freeze
from prune.layout.pathways import VIDEO
from prune.layout.reach import ALL, NONE, dense_reach, inherit_rows
from prune.layout.segments import NUM_ROLES, Role, Segments
from prune.plan.liveness import (
    PROMPT_ORDER,
    TURN,
    State,
    decode_reads,
    leaks,
    order_of,
    states,
)
from prune.plan.plan import Plan

Token = tuple[int, int]
"""Role and frame (-1 for text)."""

FRAMES = [(role, frame) for frame in range(6) for role in (Role.TIMESTAMP, Role.VIDEO, Role.VIDEO)]
TEXT = [(role, -1) for role in range(Role.BRIDGE, Role.LAST) for _ in range(6)]
LAST = (int(Role.LAST), -1)
PROMPT: list[Token] = [(Role.SYSTEM, -1)] * 6 + FRAMES + TEXT + [LAST]
"""In prompt order, and long enough in every role for a path through all layers."""


def exists(table: np.ndarray, query: Token, key: Token, earlier: bool = False) -> bool:
    """Whether an edge is in a layer's table `[G, R, R]`, causality aside.

    The text of an earlier turn is read as history.
    """
    distance = abs(query[1] - key[1]) if min(query[1], key[1]) >= 0 else 0
    role = Role.HISTORY if earlier and key[0] in TURN else key[0]
    return bool((table[:, query[0], role] >= distance).any())


def walk_back(
    reach: np.ndarray, tokens: list[Token], alive: set[int], turn: Sequence[int] = ()
) -> list[tuple[set, set]]:
    """For every layer the tokens that are computed and those that are read, token by token."""
    alive, found = set(alive), []
    turn = turn or [0] * len(tokens)
    for table in reach[::-1]:
        # A state that a layer does not update is that of the layer before.
        stay = {q for q in alive if table.shape[-1] > UPDATE and table[0, tokens[q][0], UPDATE] < 0}
        read = stay | {
            k for q in alive - stay for k in range(q + 1)
            if exists(table, tokens[q], tokens[k], turn[k] < turn[q])
        }  # fmt: skip
        found.append((alive - stay, read))
        alive |= read
    return found[::-1]


def role_states(found: list[tuple[set, set]], tokens: list[Token], size: int) -> np.ndarray:
    """The largest state of any of the first `size` tokens, by role `[L, R]`."""
    result = np.zeros((len(found), NUM_ROLES), int)
    for layer, (computed, read) in enumerate(found):
        for some, state in ((read, State.KV_ONLY), (computed, State.COMPUTE)):
            result[layer, [tokens[k][0] for k in some if k < size]] = state
    return result


def frozen(reach: np.ndarray, seed: int) -> np.ndarray:
    """The same edges, with any state frozen in any layer."""
    table = freezable(reach)
    for layer, role in np.argwhere(np.random.default_rng(seed).random((5, len(FREEZABLE))) < 0.3):
        freeze(table, [layer], (FREEZABLE[role],))
    return table


def random_reach(seed: int, values: tuple[int, ...], p: tuple[float, ...]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    reach = dense_reach(5, int(rng.integers(1, 3)))
    reach[..., :8, :8] = rng.choice(values, (*reach.shape[:2], 8, 8), p=p)
    inherit_rows(reach)
    return reach


@pytest.mark.parametrize("seed", range(60))
def test_states_agree_with_token_paths(seed: int) -> None:
    reach = random_reach(seed, (NONE, 1, ALL), (0.75, 0.1, 0.15))
    reach = frozen(reach, seed) if seed % 2 else reach
    found = walk_back(reach, PROMPT, {len(PROMPT) - 1})
    expected = role_states(found, PROMPT, len(PROMPT))
    assert (states(reach)[:, : Role.ANSWER] == expected[:, : Role.ANSWER]).all()


@pytest.mark.parametrize("seed", range(40))
def test_no_needed_token_is_ever_dead(seed: int) -> None:
    """Any roles in any order, with same-frame edges that causality may not allow."""
    rng = np.random.default_rng(seed)
    reach = random_reach(seed, (NONE, 0, 2, ALL), (0.7, 0.1, 0.1, 0.1))
    reach = frozen(reach, seed) if seed % 2 else reach
    tokens = [PROMPT[i] for i in rng.permutation(len(PROMPT) - 1)[:30]] + [LAST]
    order = order_of(Segments.of_runs([(role, frame, 1) for role, frame in tokens]))
    expected = role_states(walk_back(reach, tokens, {30}), tokens, 31)
    assert (states(reach, order=order) >= expected).all()
    canonical = order_of(Segments.of_runs([(role, frame, 1) for role, frame in PROMPT]))
    assert (canonical[: Role.ANSWER] == PROMPT_ORDER[: Role.ANSWER]).all()


@pytest.mark.parametrize("seed", range(30))
def test_multi_turn_agrees_with_a_conversation(seed: int) -> None:
    """As many follow-up questions as a path has hops, and what any of them or its answer reads."""
    reach = random_reach(seed, (NONE, ALL), (0.75, 0.25))
    reach = frozen(reach, seed) if seed % 2 else reach
    # Twice, since a later turn may have its roles in any order.
    asked: list[Token] = [(role, -1) for role in (Role.HISTORY, *TURN)] * 2
    tokens = [*PROMPT, (int(Role.ANSWER), -1), *asked * 6]
    turn = [0] * (len(PROMPT) + 1) + [i + 1 for i in range(6) for _ in asked]
    sinks = {i for i, (role, _) in enumerate(tokens) if role in (Role.LAST, Role.ANSWER)}
    found = walk_back(reach, tokens, sinks, turn)
    expected = role_states(found, tokens, len(tokens))
    assert (states(reach, "multi_turn")[:, :8] == expected[:, :8]).all()
    reads = np.zeros((5, NUM_ROLES), bool)
    for layer, (computed, _) in enumerate(found):
        for q in computed:
            reads[layer] |= [
                q >= len(PROMPT) and any(exists(reach[layer], tokens[q], t, turn[q] > 0)
                                         for t in PROMPT if t[0] == role)
                for role in range(NUM_ROLES)
            ]  # fmt: skip
    assert (decode_reads(reach, "multi_turn")[:, :8] == reads[:, :8]).all()
    single = decode_reads(reach)
    assert (single <= decode_reads(reach, "multi_turn")).all()


@pytest.mark.parametrize("seed", range(30))
def test_leaks_are_the_open_ways(seed: int) -> None:
    reach = random_reach(seed, (NONE, ALL), (0.8, 0.2))[:4]
    for after in range(4):
        found = leaks(reach, after)
        assert bool(found) == (states(reach)[after, Role.VIDEO] != State.DEAD)
        for leak in found:
            hops = list(pairwise(leak.roles))
            ways = [
                layers for layers in combinations(range(after, 4), len(hops))
                if all((reach[layer][:, q, k] >= 0).any()
                       for layer, (k, q) in zip(layers, hops, strict=True))
            ]  # fmt: skip
            assert leak.layers == tuple(tuple(sorted(set(hop))) for hop in zip(*ways, strict=True))


def test_the_published_map_leaks_through_bridge_and_tail() -> None:
    published = Plan.preset("llava-next-7b", sealed=False).reach
    assert {leak.roles[1] for leak in leaks(published, after=20)} == {Role.BRIDGE, Role.TAIL}
    shortest = leaks(published, after=20)[0]
    assert str(shortest) == "video → bridge (20-30) → last (21-31)"
    assert leaks(Plan.preset("llava-next-7b").reach, after=20) == []


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
