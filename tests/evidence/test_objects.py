"""Known objects beside evidence: which are named, whether it lies in them, and the picture."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from prune.cli.tables.evidence import summary_lines
from prune.evidence.case import Case
from prune.evidence.explain import ExplainSettings, explain, record_of
from prune.evidence.explanations import summary
from prune.evidence.objects import POINTING, objects_of, pointing
from prune.evidence.regions import Regions
from prune.inputs.boxes import ObjectBox
from prune.inputs.sample import NO_ANSWER, Sample
from prune.report.figures.evidence import evidence_figure

DOG = ObjectBox("dog", (0, 0, 0.5, 0.5), end=0.5), ObjectBox("dog", (0.5, 0.5, 1, 1), 0.5)
CAT = (ObjectBox("cat", (0.5, 0, 1, 0.5)),)
REGIONS = Regions(np.arange(8).reshape(2, 2, 2).repeat(2, 1).repeat(2, 2).astype(np.int32))
"""A quarter of each of two frames of 4 x 4 pixels."""


def _case(question: str, counter: bool = False) -> Any:
    sample = Sample("a", Path("a"), question, (), NO_ANSWER, "all", boxes=DOG + CAT)
    return SimpleNamespace(
        sample=sample, times=[0.0, 0.5], target=SimpleNamespace(is_counter=counter)
    )


def _map(region: int) -> np.ndarray:
    return (REGIONS.labels == region).astype(float)


def test_objects_move_with_the_frames() -> None:
    dog, cat = objects_of(_case("Where is the dog?"))
    assert dog == {"label": "dog", "named": True, "boxes": [[[0, 0, 0.5, 0.5]], [[0.5, 0.5, 1, 1]]]}
    assert (cat["named"], cat["boxes"]) == (False, [[[0.5, 0, 1, 0.5]]] * 2)


@pytest.mark.parametrize(("region", "hit"), [(0, 1), (7, 1), (1, 0), (3, 0), (4, 0)])
def test_the_point_game_is_about_the_named_object_at_its_time(region: int, hit: int) -> None:
    order = [region, *(r for r in range(8) if r != region)]
    found = pointing(_case("Where is the dog?"), REGIONS, order, _map(region))
    assert found == {"point_game": hit, "leading_in_boxes": hit, "boxes_area": 0.25}


def test_nothing_is_measured_without_a_named_object_or_of_another_answer() -> None:
    unknown = dict.fromkeys(POINTING)
    assert pointing(_case("What happens?"), REGIONS, list(range(8)), _map(0)) == unknown
    assert pointing(_case("A dog?", counter=True), REGIONS, list(range(8)), _map(0)) == unknown


def test_the_true_option_names_objects_too() -> None:
    case = _case("Who runs?")
    case.sample = replace(case.sample, options=("a cat", "a dog"), answer=0)
    assert [thing["named"] for thing in objects_of(case)] == [False, True]


def test_boxes_are_recorded_drawn_and_summed_up(case: Case) -> None:
    settings = ExplainSettings(regions="frames")
    boxed = replace(case, sample=replace(case.sample, question="A red dog?", boxes=DOG + CAT))
    found = explain(boxed, settings)
    record = json.loads(json.dumps(record_of(boxed, found, settings)))
    assert record["scores"]["boxes_area"] == pytest.approx(0.25)
    figure = evidence_figure(record, boxed.frames, found.regions.labels, found.saliency)
    styles = [
        patch.get_linestyle() for axes in figure.axes for patch in axes.patches
        if isinstance(patch, Rectangle) and not patch.get_fill()
    ]  # fmt: skip
    assert len(styles) == 16 and len(set(map(str, styles))) == 2
    assert "dashed boxes, named: dog" in " ".join(text.get_text() for text in figure.texts)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title().isdigit()]
    assert titles == [str(n) for n in range(1, 9)]
    whole = summary([{**record, "video": "v"}])
    assert whole["scores"]["all"]["point_game"]["mean"] == record["scores"]["point_game"]
    assert "of 1 explanations whose question" in summary_lines(whole)["Objects"]
    plain = replace(case, sample=replace(case.sample, boxes=()))
    bare = record_of(plain, explain(plain, settings), settings)
    assert bare["objects"] == [] and bare["scores"]["point_game"] is None
    assert "Objects" not in summary_lines(summary([{**bare, "video": "v"}]))
