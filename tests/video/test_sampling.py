"""Sampling policies on clocks with and without a constant rate."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from prune.errors import BadInputError
from prune.inputs.decoding.sampling import POLICIES, at_rate, map_the_flow_indices, uniform
from prune.inputs.decoding.timeline import Timeline, constant, timeline
from prune.inputs.video import load_video

FACTS = json.loads((Path(__file__).parent / "map_the_flow.json").read_text())["rows"]
STEADY = constant(100, Fraction(30000, 1001))
SLOW_THEN_FAST = Timeline(
    [*range(0, 4000, 500), *range(4000, 4800, 50)], 4800, Fraction(1, 1000), None
)


@pytest.mark.parametrize("row", FACTS, ids=lambda row: f"{row['frames']}-{row['T']}-{row['fps']}")
def test_map_the_flow_takes_the_frames_of_the_released_code(row: dict) -> None:
    bounds = row["bound"] or (None, None)
    assert map_the_flow_indices(row["frames"], row["T"], row["fps"], *bounds) == row["indices"]


def test_uniform_takes_midpoints_in_time() -> None:
    assert uniform(STEADY, 4, None, None, None) == [12, 37, 62, 87]
    assert uniform(SLOW_THEN_FAST, 6, None, None, None) == [0, 2, 4, 5, 7, 16]
    assert uniform(SLOW_THEN_FAST, 4, 4, 4.8, None) == [10, 14, 18, 22]
    assert uniform(STEADY, 3, 1, 1, None) == [29, 29, 29], "one moment is one frame"


def test_bounds_are_exact() -> None:
    tenths = constant(100, Fraction(10))
    for k in range(100):
        assert uniform(tenths, 1, k / 10, k / 10, None) == [k]


def test_frames_per_second() -> None:
    assert at_rate(SLOW_THEN_FAST, 8, None, None, 1.0) == [0, 2, 4, 6, 8]
    assert at_rate(SLOW_THEN_FAST, 4, None, None, 1.0) == uniform(SLOW_THEN_FAST, 4, None, None, 0)
    assert at_rate(SLOW_THEN_FAST, 8, 4, 4.8, 5.0) == [8, 12, 16, 20]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_frame_is_an_error(policy: str) -> None:
    for start, end in ((3.4, 9.0), (2.0, 1.0), (-2.0, -1.0)):
        with pytest.raises(BadInputError, match="no frame between"):
            POLICIES[policy](STEADY, 4, start, end, 2.0)


def test_the_policy_is_named(plain: Path) -> None:
    _, about = load_video(plain, 3, sampling="map-the-flow")
    assert about["frames_indices"] == map_the_flow_indices(16, 3, 8.0) == [2, 7, 12]
    _, about = load_video(plain, 8, sampling="fps", fps=2)
    assert about["frames_indices"] == [0, 4, 8, 12]


def test_rounded_time_stamps_are_a_constant_rate() -> None:
    milliseconds = [round(k * 1001 / 30) for k in range(100)]
    clock = timeline(milliseconds, None, 0, Fraction(1, 1000), Fraction(30000, 1001))
    assert clock.rate == Fraction(30000, 1001) and clock.time(30) == Fraction(1001, 1000)
    one_is_missing = milliseconds[:50] + milliseconds[51:]
    clock = timeline(one_is_missing, 33, 0, Fraction(1, 1000), Fraction(30000, 1001))
    assert clock.rate is None and clock.time(50) == Fraction(milliseconds[51], 1000)


def test_a_wrong_header_rate_is_only_a_hint() -> None:
    clock = timeline(range(0, 1000, 40), 40, 0, Fraction(1, 1000), Fraction(90000))
    assert clock.rate == 25 and clock.stop * clock.unit == 1
