"""Regions removed from the pixels, before the vision tower.

Where the tower sees one temporal unit at a time, features of a unit depend on the regions shown in
that unit alone: each combination is encoded once and recombined into clips. Whether it does is
measured on the clip at hand.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.evidence.forced import video_features
from prune.evidence.scorer import ForcedScorer
from prune.inputs.encode import Clip, encode
from prune.inputs.samples import Sample
from prune.runtime.captured import capture

TOGETHER = 8
"""Clips in one pass of the vision tower."""

MAX_KEPT = 2**27
"""How many numbers of known features are kept; beyond that, all are dropped."""

SAME = 1e-3
"""Relative difference of a unit's features up to which they count as equal."""


@dataclass
class PixelScorer(ForcedScorer):
    """Scores sets of visible regions by filling the pixels of the others.

    Attributes:
        processor, sample, clip: of the prompt.
        fill: uint8 `[T, H, W, 3]`, the pixels of removed regions (`prune.evidence.fill`).
        encoded: clips that went through the vision tower so far.
    """

    processor: Any
    sample: Sample
    clip: Clip
    fill: NDArray[np.uint8]
    encoded: int = 0
    _known: dict[tuple[int, bytes], Tensor] = field(default_factory=dict, init=False)
    _number: dict[tuple[int, bytes], int] = field(default_factory=dict, init=False)

    @cached_property
    def units(self) -> list[tuple[slice, Tensor]]:
        """The separately encoded parts of a clip: frames and video tokens of each.

        Temporal units if the features of each do not depend on the others, else the whole clip.
        """
        segments = self.forcing.replay.segments
        unit = segments.frame[0, self.forcing.video]
        count, frames = int(unit.max()) + 1, len(self.regions.labels)
        per_unit = -(-frames // count)
        apart = [
            (slice(u * per_unit, (u + 1) * per_unit), (unit == u).nonzero()[:, 0])
            for u in range(count)
        ]
        whole = self.clip[0]
        # Every second unit filled: the features of the others must not change.
        mixed = whole.copy()
        for span, _ in apart[1::2]:
            mixed[span] = self.fill[span]
        before, after = self._encode([whole, mixed])
        for _, tokens in apart[::2]:
            change = (after[tokens] - before[tokens]).abs().max()
            if change > SAME * before[tokens].abs().max():
                return [(slice(0, frames), torch.arange(len(unit)))]
        return apart

    def probabilities(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """See `Scorer`."""
        keys = [[self._key(u, row) for u in range(len(self.units))] for row in visible]
        found = []
        # As many at a time as their features may be kept.
        step = max(1, MAX_KEPT // (2 * self.forcing.features.numel()))
        for start in range(0, len(visible), step):
            part = slice(start, start + step)
            self._learn(visible[part], keys[part])
            features = torch.stack([self._clip_features(row) for row in keys[part]])
            look = self._look(keys[part])
            found.append(self.forcing.probabilities(look, features, self.known))
        return np.concatenate(found)

    def _look(self, keys: list[list[tuple[int, bytes]]]) -> NDArray[np.int64]:
        """Which variant of its unit each video token belongs to, from 1, `[N, V]`."""
        number = self._number
        look = np.empty((len(keys), len(self.forcing.video)), np.int64)
        for row, names in enumerate(keys):
            for (_, tokens), name in zip(self.units, names, strict=True):
                look[row, tokens] = number.setdefault(name, len(number) + 1)
        return look

    def _key(self, unit: int, visible: NDArray[np.bool_]) -> tuple[int, bytes]:
        """The name of the visible part of a unit."""
        return unit, np.packbits(visible[self._inside[unit]]).tobytes()

    @cached_property
    def _inside(self) -> list[NDArray[np.int32]]:
        """The regions in each unit."""
        return [np.unique(self.regions.labels[span]) for span, _ in self.units]

    def _learn(self, visible: NDArray[np.bool_], keys: list[list[tuple[int, bytes]]]) -> None:
        """Encode unknown variants; one clip carries a new variant of every unit."""
        if sum(v.numel() for v in self._known.values()) > MAX_KEPT:
            self._known.clear()
        fresh: list[dict[tuple[int, bytes], int]] = [{} for _ in self.units]
        for row, names in enumerate(keys):
            for unit, name in enumerate(names):
                if name not in self._known:
                    fresh[unit].setdefault(name, row)
        waiting = [list(new.items()) for new in fresh]
        clips = []
        for turn in range(max(map(len, waiting))):
            frames = self.clip[0].copy()
            for (span, _), new in zip(self.units, waiting, strict=True):
                if turn < len(new):
                    shown = visible[new[turn][1]][self.regions.labels[span]]
                    frames[span] = np.where(shown[..., None], frames[span], self.fill[span])
            clips.append(frames)
        for turn, features in enumerate(self._encode(clips)):
            for (_, tokens), new in zip(self.units, waiting, strict=True):
                if turn < len(new):
                    self._known[new[turn][0]] = features[tokens]

    def _clip_features(self, names: list[tuple[int, bytes]]) -> Tensor:
        """Features `[V, D]` of a clip from those of its units."""
        out = torch.empty_like(self.forcing.features[0])
        for (_, tokens), name in zip(self.units, names, strict=True):
            out[tokens] = self._known[name]
        return out

    def _encode(self, clips: list[NDArray[np.uint8]]) -> list[Tensor]:
        """Features `[V, D]` of each clip uint8 `[T, H, W, 3]`."""
        model, found = self.forcing.replay.model, []
        for start in range(0, len(clips), TOGETHER):
            part = [(frames, self.clip[1]) for frames in clips[start : start + TOGETHER]]
            inputs = encode(self.processor, [self.sample] * len(part), part)
            replay = capture(model, self.processor, inputs)
            found += list(video_features(replay, self.forcing.video))
        self.encoded += len(clips)
        return found
