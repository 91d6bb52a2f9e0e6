"""Side effects of correction: wrong answers that it corrects, and right ones that it breaks.

In practice it is not known which answers are wrong. So every answer is treated alike: the evidence
for it, against the other option, is removed from the clip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.evaluate.stats import proportion
from prune.results.interval import Interval
from prune.results.treatment import Treatment

GONE = tuple(round(0.05 * step, 2) for step in range(11))
"""Shares of the clip that are removed: up to a half."""


@dataclass(frozen=True)
class TreatedAnswer:
    """One answer as the evidence for it is removed.

    Attributes:
        area: share of the clip that is shown with the first r regions, `[R + 1]`, ascending;
            regions that support the answer come last.
        chosen: the option that is answered then, `[R + 1]`.
        true: the correct option.
        video: key of the video that was asked about.
    """

    area: NDArray[np.float64]
    chosen: NDArray[np.int64]
    true: int
    video: str

    @property
    def right(self) -> bool:
        """Whether the answer is correct with the whole clip visible."""
        return bool(self.chosen[-1] == self.true)

    def right_without(self, gone: float) -> bool:
        """Whether it is correct without as many regions as fit into the share `gone`."""
        shown = int(np.searchsorted(self.area, 1 - gone - 1e-6))
        return bool(self.chosen[shown] == self.true)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "TreatedAnswer":
        """From the record of an explanation by the other option (`--target other`)."""
        curves = record["curves"]
        chosen = np.array(curves["insertion_options"]).argmax(1)
        true = record["options"].index(record["answer"])
        return cls(np.array(curves["area"]), chosen, true, record["video"])


def treatment(answers: Sequence[TreatedAnswer], gone: Sequence[float] = GONE) -> Treatment:
    """Treat every answer alike, and count."""
    after = {a: [t.right_without(a) for t in answers] for a in gone}
    before, videos = [t.right for t in answers], [t.video for t in answers]

    def share(of: bool, counted: bool) -> tuple[Interval, ...]:
        """Of the answers that were right (or wrong), those that are (or are not) right then."""
        if of not in before:
            return ()
        kept = [[now is counted for now, was in zip(after[a], before, strict=True) if was is of]
                for a in gone]  # fmt: skip
        about = [video for video, was in zip(videos, before, strict=True) if was is of]
        return tuple(proportion(rows, about) for rows in kept)

    return Treatment(
        before.count(False),
        before.count(True),
        tuple(gone),
        mended=share(of=False, counted=True),
        broken=share(of=True, counted=False),
        accuracy=tuple(proportion(after[a], videos) for a in gone),
    )
