"""What a model sees of a frame: processors may crop."""

from typing import Any

from prune.inputs.sample import Medium

Box = tuple[float, float, float, float]
"""Top, left, bottom, right, in pixels."""


def visible_box(processor: Any, height: int, width: int, medium: Medium = "video") -> Box:
    """The part of a decoded frame that the model sees: all but what its processor crops off.

    Args:
        processor: the model's.
        height, width: of the frame, in pixels.
        medium: whether frames of a video or images are processed.
    """
    part = getattr(processor, f"{medium}_processor", None)
    if part is None or not getattr(part, "do_center_crop", False):
        return 0.0, 0.0, float(height), float(width)
    size, crop = part.size, part.crop_size
    edge = size.get("shortest_edge") if getattr(part, "do_resize", True) else min(height, width)
    down = height / size["height"] if edge is None else min(height, width) / edge
    across = width / size["width"] if edge is None else min(height, width) / edge
    seen_h, seen_w = min(height, crop["height"] * down), min(width, crop["width"] * across)
    top, left = (height - seen_h) / 2, (width - seen_w) / 2
    return top, left, top + seen_h, left + seen_w
