"""Plans in the words of the figures: pathways, and the layers in which they are kept.

`cross_frame=6-15; video->question,options=6-20; question->last=16-25` removes each named pathway in
all other layers and leaves everything else as it is. Layers are counted from 1, ranges include both
ends, and `none` keeps a pathway nowhere. `options->last@1,3=6-20` does so in KV heads 1 and 3
alone, which are counted from 1 as well. `update:video=1-15` keeps the updates of the video's states
in those layers, and freezes them in all others (`prune.layout.freezing`).
"""

from prune.errors import UsageError
from prune.layout.freezing import FREEZABLE, FREEZE, compact, freezable, freeze
from prune.layout.pathway_names import find_pathway, find_roles
from prune.layout.pathways import remove_pathway
from prune.layout.reach import Reach, dense_reach
from prune.layout.role import Role
from prune.plan.model_id import ModelId
from prune.plan.plan import Plan

NOWHERE = "none"

UPDATES = "update:"
"""What stands before roles whose states are updated in some layers, and frozen in all others."""


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
    """The reach table of `keep_plan`, `[L, G, R, R]`, or with the column of frozen states.

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
    frozen: list[tuple[list[int], list[Role]]] = []
    for clause in clauses:
        name, equals, ranges = clause.rpartition("=")
        if not equals:
            example = f"{clause}=1-{num_layers}"
            raise UsageError(f"--keep {clause!r}: no layers: write them behind =, as {example}")
        name, at, numbers = (part.strip() for part in name.partition("@"))
        kept = [] if ranges.strip() == NOWHERE else _numbers(ranges, clause, "layers", num_layers)
        chosen = list(range(reach.shape[1]))
        if at:
            chosen = _numbers(numbers, clause, "KV heads", num_kv_heads)
        outside = [layer for layer in range(num_layers) if layer not in kept]
        if name.startswith((UPDATES, FREEZE)):
            frozen.append((outside, _updated(name, clause, bool(at))))
            continue
        part = reach[:, chosen].copy()
        remove_pathway(part, find_pathway(name), outside)
        reach[:, chosen] = part
    if frozen:
        reach = freezable(reach)
    for layers, roles in frozen:
        freeze(reach, layers, roles)
    return compact(reach)


def _updated(name: str, clause: str, heads: bool) -> list[Role]:
    """The roles whose updates a clause keeps; `heads` says whether it names KV heads."""
    names = name.removeprefix(UPDATES)
    if name.startswith(FREEZE):
        names = name.removeprefix(FREEZE)
        raise UsageError(f"--keep {clause!r}: name the layers that do update: {UPDATES}{names}=")
    if heads:
        raise UsageError(f"--keep {clause!r}: all KV heads update a state: leave out @")
    found = [role for role in find_roles(names) if role in FREEZABLE]
    if len(found) < len(find_roles(names)):
        known = ", ".join(role.name.lower() for role in FREEZABLE)
        raise UsageError(f"--keep {clause!r}: a plan freezes whole roles alone: {known}")
    return [Role(role) for role in found]


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
