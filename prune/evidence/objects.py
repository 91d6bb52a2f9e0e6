"""Known objects beside evidence: where they are in each frame, and whether evidence lies in them.

The measure is the paper's Point Game on boxes (2509.22496, section 4), with how much of the leading
evidence the boxes hold beside what chance would give.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.evidence.case import Explainable
from prune.evidence.metrics.agreement import first_regions
from prune.evidence.metrics.pointing import points_at_mask
from prune.evidence.regions import Regions
from prune.inputs.boxes import box_mask

LEADING = 0.1
"""Share of the clip that counts as leading evidence, the most important regions first."""

POINTING = ("point_game", "leading_in_boxes", "boxes_area")
"""Names of the scores of `pointing`."""


def objects_of(case: Explainable) -> list[dict[str, Any]]:
    """The known objects of a case, for its record.

    Returns:
        For each its `label`, whether question or answer name it (`named`), and its `boxes` in each
        frame, in shares of the frame.
    """
    known = case.sample.boxes
    named = {box.label for box in case.sample.named_boxes}
    return [
        {
            "label": label,
            "named": label in named,
            "boxes": [
                [list(b.box) for b in known if b.label == label and b.holds_at(seconds)]
                for seconds in case.times
            ],
        }
        for label in dict.fromkeys(box.label for box in known)
    ]


def pointing(
    case: Explainable, regions: Regions, order: list[int], saliency: NDArray[np.floating]
) -> dict[str, float | None]:
    """Whether evidence lies in the boxes of the objects that question or answer name.

    Args:
        case: the question.
        regions: of the clip.
        order: the regions, the most important first.
        saliency: the attribution map, `[T, H, W]`.

    Returns:
        `point_game`: 1 if a maximum of the map lies in a box, else 0; `leading_in_boxes`: the share
        of the `LEADING` regions' area that does; `boxes_area`: the share of the clip that the boxes
        cover, which is what chance gives. All None where no named object is in the clip, or where
        another answer than the model's is explained.
    """
    mask = box_mask(case.sample.named_boxes, case.times, *saliency.shape[1:])
    if case.target.is_counter or not mask.any():
        return dict.fromkeys(POINTING)
    leading = np.isin(regions.labels, list(first_regions(order, regions.area, LEADING)))
    values = (points_at_mask(saliency, mask), mask[leading].mean(), mask.mean())
    return dict(zip(POINTING, map(float, values), strict=True))
