"""Plans in the words of the figures: pathways, and the layers in which they are kept.

`cross_frame=6-15; video->question,options=6-20; question->last=16-25` removes each named pathway in
all other layers and leaves everything else as it is. Layers are counted from 1, ranges include both
ends, and `none` keeps a pathway nowhere. `options->last@1,3=6-20` does so in KV heads 1 and 3
alone, which are counted from 1 as well.
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
        UsageError: a pathway or range is not understood, or names a layer or KV head that does not
            exist.
    """
    reach = kept_reach(text, model.num_layers, model.num_kv_heads)
    return Plan(reach, model, "kept by hand", {"keep": text})


def kept_reach(text: str, num_layers: int, num_kv_heads: int = 0) -> Reach:
    """The reach table of `keep_plan`, `[L, G, R, R]`.

    Args:
        text: see this module.
        num_layers: L.
        num_kv_heads: G where the text names some, else G is 1; 0 allows none.
    """
    clauses = [clause.strip() for clause in text.split(";") if clause.strip()]
    if not clauses:
        raise UsageError("--keep: give pathways with their layers, such as 'cross_frame=6-15'")
    if "@" in text and not num_kv_heads:
        raise UsageError("--keep: a trace cuts all KV heads alike: leave out @ and its numbers")
    reach = dense_reach(num_layers, num_kv_heads if "@" in text else 1)
    for clause in clauses:
        name, equals, ranges = clause.rpartition("=")
        if not equals:
            example = f"{clause}=1-{num_layers}"
            raise UsageError(f"--keep {clause!r}: no layers: write them behind =, as {example}")
        name, at, numbers = name.partition("@")
        kept = [] if ranges.strip() == NOWHERE else _numbers(ranges, clause, "layers", num_layers)
        chosen = list(range(reach.shape[1]))
        if at:
            chosen = _numbers(numbers, clause, "KV heads", num_kv_heads)
        outside = [layer for layer in range(num_layers) if layer not in kept]
        part = reach[:, chosen].copy()
        remove_pathway(part, find_pathway(name.strip()), outside)
        reach[:, chosen] = part
    return reach


def _numbers(text: str, clause: str, what: str, count: int) -> list[int]:
    """The layers or KV heads of ranges that count from 1, from 0 and ascending."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        try:
            start, stop = int(first), int(last or first)
        except ValueError:
            start = stop = 0
        if not 1 <= start <= stop <= count:
            instead = f", or {NOWHERE}" if what == "layers" else ""
            raise UsageError(
                f"--keep {clause!r}: {part.strip()!r} is no range of {what} 1 to {count}, such as "
                f"1-{min(count, 2)}{instead}"
            )
        found |= set(range(start - 1, stop))
    return sorted(found)
