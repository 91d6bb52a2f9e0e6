"""What is timed: a prompt, and the layers that plans ask of attention."""

from prune.layout.edges import edge_histogram
from prune.layout.pathways import VIDEO
from prune.layout.reach import SAME_FRAME, Reach, dense_reach, limit_edges
from prune.layout.segments import Role, Segments
from prune.plan.presets import preset_map, preset_reach

TEXT_ROWS = 85
TEXT = (Role.BRIDGE, Role.QUESTION, Role.OPTIONS, Role.TAIL, Role.LAST)
"""Roles of the last `TEXT_ROWS` tokens."""


def prompt(frames: int, tokens: int) -> Segments:
    """`[system 40][video frames x tokens][bridge 5][question and options 64][tail 15][last]`."""
    video = [(Role.VIDEO, frame, tokens) for frame in range(frames)]
    text = [(Role.BRIDGE, -1, 5), (Role.QUESTION, -1, 32), (Role.OPTIONS, -1, 32)]
    return Segments.of_runs(
        [(Role.SYSTEM, -1, 40), *video, *text, (Role.TAIL, -1, 15), (Role.LAST, -1, 1)]
    )


def _within(frames: int) -> Reach:
    """One layer whose video reads at most so many frames back."""
    reach = dense_reach(1)
    limit_edges(reach, [0], VIDEO, VIDEO, frames)
    return reach


SEALED = preset_reach(preset_map("llava-next-7b"))

LAYERS: dict[str, Reach] = {
    "causal": dense_reach(1),
    "frame local": _within(SAME_FRAME),
    "window 1": _within(1),
    "window 4": _within(4),
    "sealed 1-5": SEALED[:1],
    "sealed 6-15": SEALED[5:6],
    "sealed 16-20": SEALED[15:16],
    "sealed 21-25": SEALED[20:21],
    "sealed 26-32": SEALED[25:26],
    "text rows": _within(SAME_FRAME),
    "map": SEALED,
}
"""Reach tables `[L, 1, R, R]`; L is 1, but for the map. `text rows` has only those as queries."""


def density(segments: Segments, reach: Reach, roles: tuple[Role, ...] = tuple(Role)) -> float:
    """Kept over causal edges of the queries that have one of `roles`."""
    histogram = edge_histogram(segments)
    kept = histogram.kept_by_roles(reach)[..., roles, :].sum()
    return float(kept / (len(reach) * histogram.pairs[roles, :].sum()))
