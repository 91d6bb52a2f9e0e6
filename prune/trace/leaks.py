"""Ways around the pathways that a trace cuts."""

from collections.abc import Iterable

from prune.pathways import OptionRole, Pathway, dense_reach, remove_pathway
from prune.plan.liveness import Leak, leaks


def open_ways(pathways: Iterable[Pathway], num_layers: int) -> list[Leak]:
    """Ways from video to `last` that stay open when every pathway is cut in every layer.

    The published pathways leave those through `bridge` and `tail` open, the sealed ones do not.
    Pathways that tell options apart by their truth count as cutting nothing.
    """
    reach = dense_reach(num_layers)
    for pathway in pathways:
        for single in (pathway, *pathway.joined):
            if not set(single.keys + single.queries) & set(OptionRole):
                remove_pathway(reach, single, slice(None))
    return leaks(reach)
