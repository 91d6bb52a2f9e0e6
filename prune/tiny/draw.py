"""Rendering of a `Scene`: anti-aliased shapes from signed distances, and their exact masks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune.tiny.scenes import Scene, Thing

FRAMES = 16
FPS = 8
SIZE = 96
CLIP_TIMES = tuple(i / (FRAMES - 1) for i in range(FRAMES))

PALETTE = {
    "red": (222, 36, 36),
    "yellow": (252, 220, 36),
    "white": (252, 252, 252),
    "pink": (240, 100, 210),
    "desert": (196, 150, 96),
    "sea": (40, 96, 176),
    "forest": (30, 104, 56),
    "night": (38, 30, 66),
}
DARK = (8, 8, 8)

Floats = NDArray[np.floating]


def _distance(thing: Thing, x: Floats, y: Floats, r: Floats) -> Floats:
    """Signed distance to the outline, negative inside; `x`, `y` are relative to the centre."""
    ax, ay = np.abs(x), np.abs(y)
    distance: Floats
    if thing.shape == "circle":
        distance = np.hypot(x, y) - r
    elif thing.shape == "square":
        distance = np.maximum(ax, ay) - 0.85 * r
    elif thing.shape == "triangle":
        distance = np.maximum(y - 0.6 * r, 0.866 * ax - 0.5 * y - 0.5 * r)
    else:
        bar = 0.34 * r
        distance = np.minimum(np.maximum(ax - bar, ay - r), np.maximum(ax - r, ay - bar))
    return distance


def coverage(
    thing: Thing, times: Sequence[float] = CLIP_TIMES, size: int = SIZE
) -> NDArray[np.float32]:
    """Share of each pixel that the thing covers, `[T, size, size]` in [0, 1]."""
    states = [thing.at(t) for t in times]
    cx, cy, r, visible = (
        np.array([s[i] for s in states], np.float32)[:, None, None] for i in range(4)
    )
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    distance = _distance(thing, grid[None, None, :] - cx, grid[None, :, None] - cy, r)
    share: Floats = np.clip(0.5 - distance * size, 0, 1) * visible
    return share.astype(np.float32)


def render(
    scene: Scene, times: Sequence[float] = CLIP_TIMES, size: int = SIZE
) -> NDArray[np.uint8]:
    """The scene at `times` (in [0, 1]) as RGB frames `[T, size, size, 3]`."""
    backs = [PALETTE[scene.sceneries[0 if t < scene.cut else -1]] for t in times]
    shade = np.linspace(1.08, 0.92, size, dtype=np.float32)[None, :, None, None]
    video: Floats = np.array(backs, np.float32)[:, None, None, :] * shade
    video = np.broadcast_to(video, (len(times), size, size, 3))
    for thing in scene.things:
        paint = [DARK if thing.at(t)[4] else PALETTE[thing.color] for t in times]
        alpha = coverage(thing, times, size)[..., None]
        video = video * (1 - alpha) + np.array(paint, np.float32)[:, None, None, :] * alpha
    rounded: Floats = np.clip(video + 0.5, 0, 255)
    return rounded.astype(np.uint8)
