"""Metrics against numbers worked out by hand."""

import numpy as np
import pytest

from prune.evidence.curves import Curves, attribution, curves, modality
from prune.evidence.metrics import agreement, auc, collateral, correction, pointing
from prune.evidence.objective import Objective
from prune.report.figures.treatment import treatment_figure
from tests.evidence.fakes import FakeScorer

# Two tokens; three regions that cover 50, 25 and 25% of the clip.
CURVES = Curves(
    area=np.array([0.0, 0.5, 0.75, 1.0]),
    insertion=np.array([[0.2, 0.5], [0.6, 0.5], [0.8, 0.5], [0.7, 0.6]]),
    deletion=np.array([[0.7, 0.6], [0.3, 0.5], [0.1, 0.5], [0.2, 0.5]]),
)


def test_areas_under_curves() -> None:
    assert auc.insertion_auc(CURVES, [0]) == pytest.approx(0.2 + 0.175 + 0.1875)
    assert auc.deletion_auc(CURVES, [0]) == pytest.approx(0.25 + 0.05 + 0.0375)
    # Means of both tokens: 0.35, 0.55, 0.65, 0.65 shown; 0.65, 0.4, 0.3, 0.35 gone.
    assert auc.insertion_auc(CURVES, [0, 1]) == pytest.approx(0.225 + 0.15 + 0.1625)
    assert auc.deletion_auc(CURVES, [0, 1]) == pytest.approx(0.2625 + 0.0875 + 0.08125)
    assert auc.highest_confidence(CURVES, [0]) == 0.8
    assert auc.highest_confidence(CURVES, [0, 1]) == pytest.approx(0.65)


def test_sensitive_tokens_are_those_the_clip_makes_likely() -> None:
    assert auc.sensitive_tokens(CURVES, [0, 1]) == [0]
    found = auc.scores(CURVES, [0, 1])
    assert found["sensitive_insertion_auc"] == pytest.approx(0.5625)
    assert found["sensitive_deletion_auc"] == pytest.approx(0.3375)
    assert auc.scores(CURVES, [1])["sensitive_insertion_auc"] is None


def test_modality_scores() -> None:
    found = modality(CURVES)
    # Paper: without the empty clip, 0.6, 0.8, 0.7 above their least; code: area less least.
    assert found["paper"] == pytest.approx([0.0 + 0.2 + 0.1, 0.0 + 0.0 + 0.1])
    assert found["code"] == pytest.approx([0.5625 - 0.2, 0.5125 - 0.5])


def test_attribution_falls_by_what_each_region_changed() -> None:
    # F of token 0: 0.2 + 0.3 = 0.5, 0.6 + 0.7 = 1.3, 0.8 + 0.9 = 1.7, 0.7 + 0.8 = 1.5.
    # Steps 0.8, 0.4, 0.2, so levels -0.8, -1.2, -1.4, scaled to 1, 1/3, 0.
    assert attribution(CURVES, [2, 0, 1], [0]) == pytest.approx([1 / 3, 0, 1])
    flat = Curves(CURVES.area, np.full((4, 1), 0.5), np.full((4, 1), 0.5))
    assert attribution(flat, [0, 1, 2], [0]) == pytest.approx([1, 1, 1])


def test_curves_follow_the_order() -> None:
    scorer = FakeScorer(3, lambda seen: [float(seen @ [0.5, 0.2, 0.1])])
    found = curves(Objective(scorer, [0]), [1, 0, 2], np.array([0.5, 0.25, 0.25]))
    assert found.area == pytest.approx([0, 0.25, 0.75, 1])
    assert found.insertion[:, 0] == pytest.approx([0, 0.2, 0.7, 0.8])
    assert found.deletion[:, 0] == pytest.approx([0.8, 0.6, 0.1, 0])


def test_point_game() -> None:
    saliency = np.zeros((2, 4, 4))
    saliency[1, 2, 2] = 1.0
    thing = np.zeros((2, 4, 4), bool)
    thing[1, 1, 2] = thing[1, 2, 1] = thing[1, 2, 3] = thing[1, 3, 2] = True
    assert not pointing.points_at_mask(saliency, thing), "the hole in the middle is not the thing"
    assert pointing.points_at_box(saliency, thing)
    assert pointing.boxes(thing)[1, 1:, 1:].all() and pointing.boxes(thing).sum() == 9
    thing[1, 2, 2] = True
    assert pointing.points_at_mask(saliency, thing)
    assert pointing.points_at_mask(np.zeros_like(saliency), thing), "a tie counts as a hit"
    assert not pointing.points_at_mask(saliency, np.zeros_like(thing))


def test_temporal_localisation() -> None:
    saliency = np.zeros((4, 2, 2))
    saliency[2] = 0.5
    saliency[3, 0, 0] = 1.0  # The greatest pixel, but not the greatest frame.
    assert pointing.top_frame_in_span(saliency, (1, 3))
    assert not pointing.top_frame_in_span(saliency, (3, 4))
    assert not pointing.top_frame_in_span(saliency, (0, 2))


def test_corrections_count_every_sample() -> None:
    area = np.array([0.0, 0.4, 0.95, 1.0])
    right, never = [False, True, True, False], [False] * 4
    assert correction.minimal_correction(area, right) == pytest.approx(0.05)
    assert correction.minimal_correction(area, [True, False, False, False]) == 1.0
    assert correction.minimal_correction(area, [False, False, False, True]) == 0.0
    assert correction.minimal_correction(area, never) == 1.0
    found = [0.05, 0.6, 1.0, 0.1]
    assert correction.amcr(found) == pytest.approx(0.4375)
    assert correction.csr(found) == 0.5


def test_a_treatment_mends_and_breaks() -> None:
    # Four regions of a quarter each. Option 0 is answered at last by all; the first says 1 without
    # one region, the second without two, the third never.
    area = np.linspace(0, 1, 5)
    soon, later, never = [1, 1, 1, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]
    answers = [
        collateral.TreatedAnswer(area, np.array(chosen), true, video)
        for video, chosen, true in zip(
            "abcde", (soon, never, later, never, never), (1, 1, 0, 0, 0), strict=True
        )
    ]
    found = collateral.treatment(answers, gone=(0.0, 0.2, 0.25, 0.5))
    assert (found.wrong, found.right) == (2, 3)
    assert [i.value for i in found.mended] == [0, 0, 50, 50], "a fifth is no whole region"
    assert [i.value for i in found.broken] == pytest.approx([0, 0, 0, 100 / 3])
    assert [i.value for i in found.accuracy] == [60, 60, 80, 60]
    assert found.broken[3].low < 100 / 3 < found.broken[3].high
    assert collateral.treatment(answers[2:]).mended == ()
    left, right = treatment_figure(collateral.treatment(answers[1:])).axes
    named = [text.get_text() for text in left.get_legend().get_texts()]
    assert len(left.lines) == 2 and not left.lines[0].get_xdata().size
    assert named == ["incorrect answers corrected: 1, too few for a curve",
                     "correct answers broken (n = 3)"]  # fmt: skip
    assert "(n = 4)" in right.get_title("left")


def test_agreement_of_orderings() -> None:
    area = np.full(10, 0.1)
    order = list(range(10))
    # Regions 0 and 1 against 1 and 2: one of three.
    assert agreement.top_iou(order, [1, 2, 0, *range(3, 10)], area) == pytest.approx(1 / 3)
    # A large region fills the top alone.
    area = np.array([0.3, *[0.1] * 7])
    assert agreement.top_iou(range(8), [0, 7, 6, 5, 4, 3, 2, 1], area) == 1.0
