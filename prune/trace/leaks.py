"""Leaks: paths around the pathways that a trace cuts."""

from collections.abc import Iterable

from prune.layout.pathways import OptionRole, Pathway, dense_reach, remove_pathway
from prune.plan.liveness import leaks


def open_ways(pathways: Iterable[Pathway], num_layers: int) -> list[str]:
    """Paths from video to `last` that stay open when every pathway is cut in every layer.

    Shortest first, such as `video → tail → last`. The published pathways leave those through
    `bridge` and `tail` open, the sealed ones do not. Pathways that tell options apart by their
    truth count as cutting nothing.
    """
    reach = dense_reach(num_layers)
    for pathway in pathways:
        for single in pathway.singles:
            if not set(single.keys + single.queries) & set(OptionRole):
                remove_pathway(reach, single, slice(None))
    return [" → ".join(role.name.lower() for role in leak.roles) for leak in leaks(reach)]
