"""Reachability: which states can still reach an answer, from a plan alone.

Going back from the answer, a role's state is needed after a layer if a later query is that state, or
reads its key. Nothing here approximates: a dead state cannot change any logit of `last` or of an
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


def states(reach: Reach) -> NDArray[np.int8]:
    """`State` of every layer and role, `[L, R]`."""
    result = np.zeros((len(reach), NUM_ROLES), np.int8)
    needed = np.zeros(NUM_ROLES, bool)
    needed[[Role.LAST, Role.ANSWER]] = True
    for layer in reversed(range(len(reach))):
        exists = (reach[layer] >= 0).any(0)
        read = exists[needed].any(0)
        result[layer, read] = State.KV_ONLY
        result[layer, needed] = State.COMPUTE
        needed = needed | read
    return result


def decode_reads(reach: Reach) -> NDArray[np.bool_]:
    """Whether an answer token may read a role's keys, `[L, R]`: what decoding needs of the KV cache."""
    return (reach[:, :, Role.ANSWER, :] >= 0).any(1)
