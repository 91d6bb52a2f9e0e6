"""EAGLE, TAM, smooth Grad-CAM and IGOS++ against what was published, on fixed numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune.evidence.baselines.bilateral import bilateral_variation
from prune.evidence.baselines.gradcam import activation_maps
from prune.evidence.baselines.igos import optimise
from prune.evidence.baselines.tam import rank_filter, token_map_of
from prune.evidence.objective import Objective
from prune.evidence.search import efficient, greedy
from tests.evidence.fakes import FakeScorer

CASES = json.loads(Path(__file__).with_name("eagle_efficient.json").read_text())["cases"]


def objective_of(case: dict[str, Any]) -> Objective:
    a, c = np.array(case["a"]), np.array(case["c"])

    def p(seen: np.ndarray) -> list[float]:
        x = seen.astype(float)
        return [1 / (1 + float(np.exp(-(case["b"] + a @ x + x @ c @ x))))]

    return Objective(FakeScorer(case["n"], p), [0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"n={case['n']}")
def test_orders_are_those_of_the_released_searches(case: dict[str, Any]) -> None:
    settings = (case["search_scope"], case["pending_samples"], case["update_step"])
    assert efficient(objective_of(case), lambda *_: None, *settings) == case["efficient"]
    assert greedy(objective_of(case)) == case["full"]


def test_therank_filter_of_tam_widens_with_the_variation() -> None:
    cells = np.array([[1.0, 2.0, 3.0], [4.0, 50.0, 6.0], [7.0, 8.0, 9.0]])
    ranked = np.array([1.0, 2, 3, 4, 6, 7, 8, 9, 50])
    variation = ranked.std() / ranked.mean()
    weight = [np.exp(-((place - 4) ** 2) / (2 * variation**2)) for place in range(9)]
    expected = sum(w * x for w, x in zip(weight, ranked, strict=True)) / sum(weight)
    assert rank_filter(cells)[1, 1] == pytest.approx(expected)
    # Nearly alike neighbours leave the median.
    alike = 1 + 1e-5 * np.arange(9.0).reshape(3, 3)
    assert rank_filter(alike)[1, 1] == pytest.approx(1 + 4e-5, abs=1e-12)
    assert rank_filter(np.zeros((3, 3))).max() == 0


def test_repetitions_of_a_word_are_no_interference_in_tam() -> None:
    rng = np.random.default_rng(0)
    seen = rng.exponential(1.0, (12, 5)).astype(np.float32)
    words, own = np.array([3, 1, 4, 3]), 3
    speaks = np.array([2.0, 0.5, 1.5, 1.0], np.float32)
    # Words 1 and 4 alone interfere; the scale joins the map and all words before the target.
    share = np.array([0.5, 1.5]) / 2.0
    context = seen[:, 1] * share[0] + seen[:, 4] * share[1]
    trials = np.linspace(0, 3, 30001)
    left = [((seen[:, own] - context * t) ** 2).sum() for t in trials]
    own_map = np.clip(seen[:, own] - context * trials[int(np.argmin(left))], 0, None)
    every = np.concatenate([own_map, speaks])
    expected = (own_map - every.min()) / (every.max() - every.min())
    assert token_map_of(seen, words, speaks, own) == pytest.approx(expected, abs=1e-4)


def test_the_rank_filter_mirrors_at_the_edge() -> None:
    cells = np.random.default_rng(0).exponential(1.0, (3, 4))
    rows, columns = [1, 0, 1], [1, 0, 1]
    corner = np.array([[cells[r, c] for c in columns] for r in rows])
    padded = np.pad(corner, 1)  # Its middle sees exactly those nine.
    assert rank_filter(cells)[0, 0] == pytest.approx(rank_filter(padded)[2, 2])


def test_a_copy_of_smooth_gradcam_is_scaled_by_its_greatest_value() -> None:
    generator = torch.Generator().manual_seed(0)
    states, gradient = torch.randn(2, 3, 6, 5, generator=generator)
    found = activation_maps(states, gradient)
    for copy in range(3):
        expected = []
        for token in range(6):
            total = 0.0
            for channel in range(5):
                slopes = [max(0.0, float(gradient[copy, t, channel])) for t in range(6)]
                total += float(states[copy, token, channel]) * sum(slopes) / 6
            expected.append(max(0.0, total / 5))
        assert found[copy].tolist() == pytest.approx(
            [value / max(expected) for value in expected], abs=1e-5
        )
    assert activation_maps(-torch.ones(1, 2, 3), torch.ones(1, 2, 3)).tolist() == [[0, 0]]


def test_bilateral_variation_on_a_few_pixels() -> None:
    rng = np.random.default_rng(0)
    image, mask, large = 0.1 * rng.random((3, 4, 5)), rng.random((2, 3)), rng.random((4, 5))

    def slopes(cells: np.ndarray, down: bool) -> list[float]:
        rows, columns = cells.shape
        return [
            float(cells[r, c] - cells[r + down, c + (not down)])
            for r in range(rows - down)
            for c in range(columns - (not down))
        ]

    total = 0.0
    for down in (True, False):
        total += float(np.mean(np.square(slopes(mask, down))))
        edges = np.array([slopes(channel, down) for channel in image])
        weight = (
            np.exp(-(edges.mean(0) ** 2) / 0.01) if down else np.exp(-(edges**2) / 0.01).mean(0)
        )
        total += float(np.mean(weight * np.square(slopes(large, down))))
    found = bilateral_variation(*(torch.tensor(x)[None] for x in (image, mask[None], large[None])))
    assert found.tolist() == pytest.approx([total / 2])


def test_igos_updates_its_masks_as_published() -> None:
    """Against a transcription of the loop, with Nesterov, on a score of a few pixels."""
    generator = torch.Generator().manual_seed(1)
    clip, gone = torch.randn(2, 2, 3, 40, 40, generator=generator)
    weight = torch.randn(2, 3, 40, 40, generator=generator) / 40

    def score(pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.logsigmoid((weight * pixels).sum())

    found = optimise(score, clip, gone, iterations=3, steps=2)

    noise = torch.Generator().manual_seed(0)
    up = torch.nn.UpsamplingBilinear2d((40, 40))
    deleting = torch.ones(2, 1, 32, 32, requires_grad=True)
    inserting = torch.ones(2, 1, 32, 32, requires_grad=True)

    def integrated(image: torch.Tensor, base: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for interval in (0.5, 1.0):
            part = mask * interval
            mixed = image * part + base * (1 - part)
            mixed = mixed + 0.2 * torch.randn(mixed.shape, generator=noise)
            total = total + score(mixed)
        return total / 2

    last_d = last_i = torch.zeros(2, 1, 32, 32)
    for turn in range(3):
        large_d, large_i = up(deleting), up(inserting)
        both = large_d * large_i
        loss = integrated(clip, gone, both) - integrated(gone, clip, both)
        loss = loss + integrated(clip, gone, large_d) - integrated(gone, clip, large_i)
        product = deleting * inserting
        hidden = 1 - product
        penalty = (
            hidden.abs().mean((1, 2, 3))
            + 0.1 * np.exp(-turn) * (hidden**2).sum((1, 2, 3))
            + 10 * bilateral_variation(clip, product, up(product))
        ).sum()
        slope_d, slope_i = torch.autograd.grad(loss / 2 + penalty, (deleting, inserting))
        with torch.no_grad():
            ahead_d, ahead_i = deleting - 10 * slope_d, inserting - 10 * slope_i
            e = turn / (turn + 5)
            deleting.copy_((ahead_d + e * (ahead_d - last_d)).clamp(0, 1))
            inserting.copy_((ahead_i + e * (ahead_i - last_i)).clamp(0, 1))
            last_d, last_i = ahead_d, ahead_i
    expected = (deleting * inserting).detach()[:, 0]
    assert expected.std() > 0.05, "the masks must have moved"
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
