"""Reachability: which states can still reach an answer, from a plan alone.

Going back from the answer, a role's state is needed after a layer if a later query is that state,
or reads its key. Nothing here approximates: a dead state cannot change any logit of `last` or of an
answer token.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from prune.pathways import Reach
from prune.segments import NUM_ROLES, Role


class State(IntEnum):
    """What has to be computed of a role's tokens in a layer."""

    DEAD = 0
    KV_ONLY = 1
    COMPUTE = 2


_ORDER = np.array([0, 1, 1, 2, 3, 4, 5, 6, 7])
"""Where a role stands in a prompt: no token reads a key of a role that only comes later."""


def states(reach: Reach) -> NDArray[np.int8]:
    """`State` of every layer and role, `[L, R]`."""
    result = np.zeros((len(reach), NUM_ROLES), np.int8)
    needed = np.zeros(NUM_ROLES, bool)
    needed[[Role.LAST, Role.ANSWER]] = True
    causal = _ORDER[:, None] >= _ORDER[None]
    for layer in reversed(range(len(reach))):
        exists = (reach[layer] >= 0).any(0) & causal
        read = exists[needed].any(0)
        result[layer, read] = State.KV_ONLY
        result[layer, needed] = State.COMPUTE
        needed = needed | read
    return result


def decode_reads(reach: Reach) -> NDArray[np.bool_]:
    """Whether an answer token may read a role's keys, `[L, R]`: what decoding keeps of the KV."""
    return np.asarray((reach[:, :, Role.ANSWER, :] >= 0).any(1))
