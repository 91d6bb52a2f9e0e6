"""Frozen states: which layers update the states of which roles, as a column of a reach table.

A layer that freezes a role hands its states on as it was given them: no queries, no output
projection, no MLP. It still makes keys and values from them, so other tokens may read them. A table
`[L, G, R + 1, R + 1]` has the column `UPDATE` beside those of the roles: `NONE` for a query role
that the layer does not update, else `ALL`. A table without the column freezes nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune.errors import RefusedError, UsageError
from prune.kernels import ALL
from prune.layout.pathway_names import find_pathway, find_roles
from prune.layout.pathways import PLANNED, Pathway
from prune.layout.reach import NONE, Reach, inherit_rows
from prune.layout.role import NUM_ROLES, Role

UPDATE = NUM_ROLES

FREEZABLE = tuple(role for role in PLANNED if role != Role.LAST)
"""Roles that may be frozen: all but `last`, whose update is the answer."""

FREEZE = "freeze:"
"""What the name of a frozen role begins with in a trace, such as `freeze:video`."""


def find_traced(text: str) -> Pathway:
    """What a trace may take from a model: a pathway, or the updates of roles.

    Args:
        text: as in `find_pathway`; or `freeze:` and roles, such as `freeze:video`, whose states
            stay as they are from a layer on.

    Raises:
        UsageError: it is neither, or the roles write the answer themselves.
    """
    if not text.startswith(FREEZE):
        return find_pathway(text)
    names = text.removeprefix(FREEZE)
    if "+" in names:
        raise UsageError(f"{text!r}: name the roles that freeze together with commas, not +")
    roles = find_roles(names)
    if set(roles) & {Role.LAST, Role.ANSWER}:
        raise UsageError(f"{text!r}: last, response and reply are the answer, which cannot freeze")
    return Pathway(f"{FREEZE}{names.replace(' ', '')}", roles, (), frozen=True)


def freezable(reach: Reach) -> Reach:
    """A copy of `reach` that has the column `UPDATE`."""
    if reach.shape[-1] > UPDATE:
        return reach.copy()
    table = np.full((*reach.shape[:2], UPDATE + 1, UPDATE + 1), ALL, np.int32)
    table[..., :UPDATE, :UPDATE] = reach
    return table


def compact(reach: Reach) -> Reach:
    """The same table without the column where nothing is frozen."""
    return reach if freezes(reach) else edges_of(reach)


def freeze(reach: Reach, layers: slice | list[int], roles: Sequence[Role]) -> None:
    """Freeze roles of a `freezable` table in some layers, in place."""
    chosen = np.arange(len(reach))[layers]
    reach[np.ix_(chosen, np.arange(reach.shape[1]), np.array(roles), np.array([UPDATE]))] = NONE
    inherit_rows(reach)


def updated(reach: Reach) -> NDArray[np.bool_]:
    """Whether each layer updates the states of each role: `[L, R]`."""
    if reach.shape[-1] <= UPDATE:
        return np.ones((len(reach), NUM_ROLES), bool)
    found: NDArray[np.bool_] = (reach[:, :, :NUM_ROLES, UPDATE] != NONE).any(1)
    return found


def freezes(reach: Reach) -> bool:
    """Whether a table freezes anything."""
    return not bool(updated(reach).all())


def edges_of(reach: Reach) -> Reach:
    """The edges alone, `[..., R, R]`: a state that is not updated reads nothing."""
    if reach.shape[-1] <= UPDATE:
        return reach
    edges = reach[..., :NUM_ROLES, :NUM_ROLES].copy()
    edges[reach[..., :NUM_ROLES, UPDATE] == NONE] = NONE
    return edges


def without_frozen(reach: Reach, what: str) -> Reach:
    """The edges of a plan, for code that updates every state.

    Args:
        reach: of the plan.
        what: the caller, for the message.

    Raises:
        RefusedError: the plan freezes states.
    """
    if freezes(reach):
        raise RefusedError(
            f"{what} cannot run a plan that freezes states: give one without `frozen`"
        )
    return edges_of(reach)
