"""Reachability: which states can still reach an answer, from a plan alone.

Going back from the answer, a role's state is needed after a layer if a later query is that state,
or reads its key. A state that a layer does not update (`prune.layout.freezing`) is needed before it
where it is needed after it, and reads nothing in between. Nothing here approximates: a dead state
cannot change any logit of `last` or of an answer token. A role stands for all its tokens, so a
token may be kept that no path needs (a timestamp cannot read the frame it announces), and never the
other way round.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prune.layout.freezing import edges_of, updated
from prune.layout.reach import NONE, Reach
from prune.layout.segments import NUM_ROLES, Role, Segments

Mode = Literal["single_turn", "multi_turn"]
"""What a prompt's states and keys are needed for: its own answer, or follow-up questions too."""

TURN = (Role.BRIDGE, Role.QUESTION, Role.OPTIONS, Role.TAIL, Role.LAST, Role.ANSWER)
"""Roles of the text of a turn; once another one follows, it is `history`."""

FOLLOW_UP = (*TURN, Role.HISTORY)
"""Roles of the tokens of a later turn; they follow every token of the turns before."""

_ORDER = np.array([0, 1, 1, 2, 3, 4, 5, 6, 7])
PROMPT_ORDER = np.zeros((NUM_ROLES, NUM_ROLES), bool)
PROMPT_ORDER[: len(_ORDER), : len(_ORDER)] = _ORDER[:, None] >= _ORDER[None]
"""bool `[R, R]`: whether a token of a role (row) may follow one of another, in any prompt that asks
one question behind one video."""


class State(IntEnum):
    """What has to be computed of a role's tokens in a layer.

    `KV_ONLY` are those whose state the layer does not need to update: because nothing needs it
    afterwards, or since it is frozen.
    """

    DEAD = 0
    KV_ONLY = 1
    COMPUTE = 2


def order_of(segments: Segments) -> NDArray[np.bool_]:
    """`PROMPT_ORDER` of the prompts at hand: whether any token of a role follows one of another."""
    role = segments.role.numpy()
    rows, length = role.shape
    # One more role, for padding.
    first = np.full((rows, NUM_ROLES + 1), length)
    last = np.full((rows, NUM_ROLES + 1), -1)
    bound = np.ones((rows, length + 1), bool)
    bound[:, 1:-1] = role[:, 1:] != role[:, :-1]
    # Of places that are given to one role, the one written last stays.
    row, place = (index[::-1] for index in bound[:, :-1].nonzero())
    first[row, role[row, place]] = place
    row, place = bound[:, 1:].nonzero()
    last[row, role[row, place]] = place
    order = np.asarray((last[:, :-1, None] >= first[:, None, :-1]).any(0))
    # Generation adds answers to whatever the prompt holds.
    order[Role.ANSWER] = True
    return order


def states(
    reach: Reach, mode: Mode = "single_turn", order: NDArray[np.bool_] = PROMPT_ORDER
) -> NDArray[np.int8]:
    """What has to be computed of every role in every layer.

    Args:
        reach: int32 `[L, G, R, R]`.
        mode: `multi_turn` if follow-up questions may read this prompt.
        order: bool `[R, R]`, which role may follow which (`order_of`).

    Returns:
        `State`, `[L, R]`.
    """
    if mode == "multi_turn":
        order = order.copy()
        order[FOLLOW_UP, :] = True
    result = np.zeros((len(reach), NUM_ROLES), np.int8)
    needed = np.zeros(NUM_ROLES, bool)
    needed[[Role.LAST, Role.ANSWER]] = True
    exists = (edges_of(reach) != NONE).any(1) & order
    moves = updated(reach)
    for layer in reversed(range(len(reach))):
        computed = needed & moves[layer]
        read = exists[layer, computed].any(0)
        if mode == "multi_turn":
            read[list(TURN)] |= read[Role.HISTORY]
        needed = needed | read
        result[layer, needed] = State.KV_ONLY
        result[layer, computed] = State.COMPUTE
    return result


def decode_reads(reach: Reach, mode: Mode = "single_turn") -> NDArray[np.bool_]:
    """Whether a token to come may read a role's keys, `[L, R]`: what the cache has to keep.

    Tokens to come are answers, and in `multi_turn` also follow-up questions, as far as their own
    states are needed.
    """
    exists = np.asarray((edges_of(reach) != NONE).any(1))
    asking = np.zeros((len(reach), NUM_ROLES), bool)
    asking[:, Role.ANSWER] = True
    if mode == "multi_turn":
        asking[:, FOLLOW_UP] = states(reach, mode)[:, FOLLOW_UP] == State.COMPUTE
    reads = np.asarray((exists & asking[:, :, None]).any(1))
    if mode == "multi_turn":
        # Of its own turn a key is read by answers alone; by later turns, as history.
        reads[:, TURN] = exists[:, Role.ANSWER, TURN] | reads[:, [Role.HISTORY]]
    return reads


@dataclass(frozen=True)
class Leak:
    """A path from a source to `last`, as the roles it passes through.

    Attributes:
        roles: from the source to `last`.
        layers: for every hop the layers in which it can be part of the whole path.
    """

    roles: tuple[Role, ...]
    layers: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        """For example `video → tail (20-30) → last (21-31)`, layers 0-based."""
        hops = [
            f"{role.name.lower()} ({layers[0]}-{layers[-1]})"
            for role, layers in zip(self.roles[1:], self.layers, strict=True)
        ]
        return " → ".join([self.roles[0].name.lower(), *hops])


def leaks(reach: Reach, after: int = 0, source: Role = Role.VIDEO) -> list[Leak]:
    """Every open path from `source` to `last` that begins in layer `after` or later.

    Args:
        reach: int32 `[L, G, R, R]`.
        after: first layer (0-based) whose edges count.
        source: where the paths start.

    Returns:
        Sorted by length; a path visits a role once. Empty means that no state of `source` from
        layer `after` on can change an answer.
    """
    exists = np.asarray((edges_of(reach) != NONE).any(1))
    exists[:after] = False
    found = []
    for roles in _ways((source,)):
        hops = [exists[:, query, key] for key, query in pairwise(roles)]
        layers = _usable(hops)
        if all(layers):
            found.append(Leak(roles, layers))
    return sorted(found, key=lambda leak: (len(leak.roles), leak.roles))


def _ways(start: tuple[Role, ...]) -> Iterator[tuple[Role, ...]]:
    """All orderly visits of roles from `start` to `last`."""
    if start[-1] == Role.LAST:
        yield start
        return
    for role in Role:
        if role not in (*start, Role.ANSWER) and PROMPT_ORDER[role, start[-1]]:
            yield from _ways((*start, role))


def _usable(hops: list[NDArray[np.bool_]]) -> tuple[tuple[int, ...], ...]:
    """The layers in which each hop (bool `[L]`) has earlier and later layers for the others."""
    earliest, reached = [], -1
    for hop in hops:
        open_layers = np.flatnonzero(hop[reached + 1 :])
        if not open_layers.size:
            return ((),)
        reached += 1 + int(open_layers[0])
        earliest.append(reached)
    latest, bound = [], len(hops[0])
    for hop in reversed(hops):
        bound = int(np.flatnonzero(hop[:bound])[-1])
        latest.append(bound)
    return tuple(
        tuple(int(layer) for layer in np.flatnonzero(hop) if first <= layer <= last)
        for hop, first, last in zip(hops, earliest, reversed(latest), strict=True)
    )
