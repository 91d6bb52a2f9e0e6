"""Where the things of a scene are in its clip: boxes from the ground truth that is drawn."""

from itertools import groupby

from prune.inputs.boxes import ObjectBox
from prune.tiny.draw import CLIP_TIMES, FPS
from prune.tiny.scenes import Scene, Thing

EXTENTS = {
    "circle": (1.0, 1.0, 1.0, 1.0),
    "square": (0.85, 0.85, 0.85, 0.85),
    "triangle": (0.8 / 0.866, 1.0, 0.8 / 0.866, 0.6),
    "cross": (1.0, 1.0, 1.0, 1.0),
}
"""How far a shape goes to the left, up, right and down of its centre, in radii (`draw.py`)."""

Corners = tuple[float, float, float, float]


def boxes_of(scene: Scene) -> tuple[ObjectBox, ...]:
    """The boxes of every thing that a scene shows, in seconds of its clip; none of a curtain."""
    curtains = [thing for thing in scene.things if getattr(thing, "dark", False)]
    found: list[ObjectBox] = []
    for thing in scene.things:
        if thing in curtains:
            continue
        places = [
            None if any(curtain.at(time)[3] for curtain in curtains) else _place(thing, time)
            for time in CLIP_TIMES
        ]
        for box, run in groupby(enumerate(places), lambda place: place[1]):
            frames = [frame for frame, _ in run]
            if box is not None:
                first, stop = frames[0], frames[-1] + 1
                found.append(
                    ObjectBox(
                        thing.name,
                        box,
                        None if first == 0 else first / FPS,
                        None if stop == len(places) else stop / FPS,
                    )
                )
    return tuple(found)


def _place(thing: Thing, time: float) -> Corners | None:
    x, y, radius, visible, _ = thing.at(time)
    if not visible:
        return None
    left, up, right, down = EXTENTS[thing.shape]
    corners = (x - left * radius, y - up * radius, x + right * radius, y + down * radius)
    left, top, right, bottom = (round(min(max(edge, 0.0), 1.0), 4) for edge in corners)
    return left, top, right, bottom
