"""What vLLM's own models of two families need to run at all, as classes to inherit before them."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor


class NestedTower:
    """Takes the weights of a vision tower by the names that transformers 5 saves them under.

    Those on the hub, which vLLM knows, have `vision_model` behind `vision_tower`.
    """

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """See vLLM's models."""
        found: set[str] = super().load_weights(_nested(weights))  # type: ignore[misc]
        return found


def _nested(weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    outer, inner = "vision_tower.", "vision_tower.vision_model."
    for name, weight in weights:
        yield (name if inner in name else name.replace(outer, inner, 1)), weight


class UnequalVideos:
    """Runs videos of different numbers of frames in one batch, on which vLLM 0.32 stops."""

    def _process_video_pixels(self, inputs: Any) -> list[Tensor]:
        features = super()._process_video_pixels(inputs)  # type: ignore[misc]
        # Of such a batch vLLM leaves every video an axis of its own.
        return [video[0] if video.ndim == 3 else video for video in features]


MENDED: dict[str, tuple[type, ...]] = {
    "PrunedLlavaOnevisionForConditionalGeneration": (UnequalVideos, NestedTower),
    "PrunedLlavaNextVideoForConditionalGeneration": (NestedTower,),
}
"""By architecture."""
