"""Roles that only a run of the model can tell: the option that it chooses, and attention sinks."""

from dataclasses import replace

from prune.layout.fine_role import AnyRole, MarkedRole, OptionRole
from prune.layout.pathways import SINK, Pathway
from prune.trace.dense_pass import DensePass
from prune.trace.knockout import Knockouts
from prune.trace.sinks import sinks


def found_roles(knockouts: Knockouts, dense: DensePass, choice: int | None = None) -> Knockouts:
    """Knockouts of one prompt in terms of its tokens; marks those of `dense` that are sinks.

    Args:
        knockouts: of any prompt.
        dense: its recorded pass, whose layout is marked in place.
        choice: index of the option that the model answers; None without options.
    """
    roles = {
        role
        for pathway in knockouts.pathways
        for single in pathway.singles
        for role in (*single.keys, *single.queries)
    }
    if MarkedRole(SINK) in roles:
        layout = dense.replay.segments
        marks = {**layout.marks, SINK: sinks(dense)}
        dense.replay = replace(dense.replay, segments=replace(layout, marks=marks))
    if choice is None or OptionRole(0) not in roles:
        return knockouts
    chosen = [_of_option(pathway, choice) for pathway in knockouts.pathways]
    return replace(knockouts, pathways=chosen)


def _of_option(pathway: Pathway, choice: int) -> Pathway:
    """A pathway in which the chosen option is the one of an index."""

    def named(roles: tuple[AnyRole, ...]) -> tuple[AnyRole, ...]:
        return tuple(OptionRole(choice + 1) if role == OptionRole(0) else role for role in roles)

    joined = tuple(_of_option(part, choice) for part in pathway.joined)
    return replace(pathway, keys=named(pathway.keys), queries=named(pathway.queries), joined=joined)
