"""Settings by which clips are read: which frames are taken, and how many pixels they become."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from prune.inputs.decoding.sampling import POLICIES

FRAME_RATE = 25.0
"""Frames per second of a folder or list of images of which nothing is said."""


@dataclass(frozen=True)
class Media:
    """Settings of clips, None where nothing is said.

    Attributes:
        sampling: name of a policy (`prune.inputs.decoding.sampling`); "uniform" if None.
        fps: frames per second of the policy "fps", which it implies; the number of frames of a run
            is then the most that are taken.
        frame_rate: frames per second of a folder or list of images, which have no clock.
        min_pixels, max_pixels: bounds that the processor resizes to, as its own `size` means them:
            pixels of a frame in Qwen2-VL and Qwen2.5-VL, of all frames in Qwen3-VL and GLM-4V.

    Raises:
        ValueError: they do not fit together.
    """

    sampling: str | None = None
    fps: float | None = None
    frame_rate: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if self.sampling is not None and self.sampling not in POLICIES:
            raise ValueError(f"no sampling {self.sampling!r}: give one of {', '.join(POLICIES)}")
        if (self.fps is not None and self.policy != "fps") or (
            self.fps is None and self.sampling == "fps"
        ):
            raise ValueError('give fps with sampling "fps", and only with it')
        for name in ("fps", "frame_rate"):
            rate = getattr(self, name)
            if rate is not None and not (math.isfinite(rate) and rate > 0):
                raise ValueError(f"{name} {rate} is no positive number of frames per second")
        low, high = self.min_pixels, self.max_pixels
        known = [bound for bound in (low, high) if bound is not None]
        if known != sorted(known) or min(known, default=1) < 1:
            raise ValueError(f"min_pixels {low} and max_pixels {high} are no bounds")

    @property
    def policy(self) -> str:
        """The name of the sampling policy."""
        return self.sampling or ("uniform" if self.fps is None else "fps")

    @property
    def given(self) -> dict[str, str | float | int]:
        """What is said, by name, for files; not a policy that `fps` implies."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {n: v for n, v in values.items() if v is not None and (n, v) != ("sampling", "fps")}

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `prune.inputs.video.load_video`."""
        rate = self.frame_rate or FRAME_RATE
        return {"sampling": self.policy, "fps": self.fps, "frame_rate": rate}

    @staticmethod
    def of(header: Mapping[str, Any]) -> "Media":
        """The settings among the fields of a file that holds what was `given`."""
        return Media(**{field.name: header.get(field.name) for field in fields(Media)})

    def over(self, others: "Media") -> "Media":
        """These settings, and those of `others` where these say nothing.

        Sampling and its rate, and the two bounds of pixels, go together.
        """
        own = self.given
        if {"sampling", "fps"} & own.keys():
            others = replace(others, sampling=None, fps=None)
        if {"min_pixels", "max_pixels"} & own.keys():
            others = replace(others, min_pixels=None, max_pixels=None)
        return Media(**{**others.given, **own})  # type: ignore[arg-type]


DEFAULT_MEDIA = Media()
"""Nothing is said."""
