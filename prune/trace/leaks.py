"""Leaks: paths around the pathways that a trace cuts."""

from collections.abc import Iterable

from prune.layout.fine_role import is_fine
from prune.layout.pathways import Pathway, remove_pathway
from prune.layout.reach import dense_reach
from prune.plan.liveness import leaks


def open_ways(pathways: Iterable[Pathway], num_layers: int) -> list[str]:
    """Paths from video to `last` that stay open when every pathway is cut in every layer.

    Shortest first, such as `video → tail → last`. The published pathways leave those through
    `bridge` and `tail` open, the sealed ones do not. Pathways over parts of a
    question (`prune.layout.fine_role`), and frozen states, count as cutting nothing.
    """
    reach = dense_reach(num_layers)
    for pathway in pathways:
        for single in () if pathway.frozen else pathway.singles:
            if not is_fine(single.keys + single.queries):
                remove_pathway(reach, single, slice(None))
    return [" → ".join(role.name.lower() for role in leak.roles) for leak in leaks(reach)]
