"""Plans in the words of the figures: pathways, and the layers in which they are kept.

`cross_frame=6-15; video->question,options=6-20; question->last=16-25` removes each named pathway in
all other layers and leaves everything else as it is. Layers are counted from 1, ranges include both
ends, and `none` keeps a pathway nowhere.
"""

from prune.errors import UsageError
from prune.layout.pathways import Reach, dense_reach, find_pathway, remove_pathway
from prune.plan.model_id import ModelId
from prune.plan.plan import Plan

NOWHERE = "none"


def keep_plan(text: str, model: ModelId) -> Plan:
    """The plan of a text, see this module.

    Args:
        text: such as `cross_frame=6-15; video->last=none`.
        model: the plan's.

    Raises:
        UsageError: a pathway or range is not understood, or names a layer that does not exist.
    """
    return Plan(kept_reach(text, model.num_layers), model, "kept by hand", {"keep": text})


def kept_reach(text: str, num_layers: int) -> Reach:
    """The reach table of `keep_plan`, `[L, 1, R, R]`."""
    reach = dense_reach(num_layers)
    clauses = [clause.strip() for clause in text.split(";") if clause.strip()]
    if not clauses:
        raise UsageError("--keep: give pathways with their layers, such as 'cross_frame=6-15'")
    for clause in clauses:
        name, equals, ranges = clause.rpartition("=")
        if not equals:
            example = f"{clause}=1-{num_layers}"
            raise UsageError(f"--keep {clause!r}: no layers: write them behind =, as {example}")
        kept = {layer for part in ranges.split(",") for layer in _layers(part, clause, num_layers)}
        outside = [layer for layer in range(num_layers) if layer + 1 not in kept]
        remove_pathway(reach, find_pathway(name.strip()), outside)
    return reach


def _layers(text: str, clause: str, num_layers: int) -> range:
    """Layers (1-based) of one range."""
    if text.strip() == NOWHERE:
        return range(0)
    first, _, last = text.strip().partition("-")
    try:
        start, stop = int(first), int(last or first)
    except ValueError:
        start = stop = 0
    if not 1 <= start <= stop <= num_layers:
        raise UsageError(
            f"--keep {clause!r}: {text.strip()!r} is no range of layers 1 to {num_layers}, such as "
            f"6-15, or {NOWHERE}"
        )
    return range(start, stop + 1)
