"""Forecasts let a search of many layers do with few passes, and never decide by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from prune.layout.pathways import REMOVABLE
from prune.layout.reach import ALL, Reach, dense_reach
from prune.plan.budget import Budget, Hopeless, Score
from prune.plan.cost import Geometry
from prune.plan.draft import Draft, Problem
from prune.plan.eliminate import remove_candidates
from prune.plan.forecast import Forecast
from prune.plan.foreseen import PATIENCE, remove_foreseen
from prune.plan.model_id import ModelId
from prune.plan.moves import Candidate, candidates, closed
from tests.unit.searched import PROMPT

LAYERS, SAMPLES = 28, 100
MODEL = ModelId(name="deep", num_layers=LAYERS, num_kv_heads=1)
GEOMETRY = Geometry(64, 128, 4, 2, 16, 2)
EARLY = 6
"""Samples that show that a plan is hopeless."""


@dataclass
class DeepModel:
    """One that needs few of its pathways, spread over all layers.

    The log-odds of an answer fall by a weight for each pathway and layer that is gone, and by more
    than their sum if several are.
    """

    weights: np.ndarray
    off: float = 1.0

    @staticmethod
    def drawn(seed: int, off: float = 1.0) -> "DeepModel":
        rng = np.random.default_rng(seed)
        needed = rng.random((len(REMOVABLE), LAYERS)) < 0.15
        needed[:, -1] = False  # Its states are dead but for the last token's.
        return DeepModel(np.where(needed, rng.uniform(0.5, 4, needed.shape), 0.0005), off)

    def gone(self, reach: Reach) -> np.ndarray:
        """Which pathways are gone in which layers: `[P, L]`."""
        return np.array(
            [
                [(layer[0][np.ix_(p.queries, p.keys)] <= p.limit).all() for layer in reach]
                for p in REMOVABLE
            ]
        )

    def margin(self, reach: Reach) -> float:
        # Edges into states that no answer needs are as good as gone.
        total = float(self.weights[self.gone(closed(reach))].sum())
        return max(3.0 - total - total**2, -30.0)

    def measure(self, reach: Reach, hopeless: Hopeless) -> Score:
        right = 100 / (1 + np.exp(-self.margin(reach)))
        score = Score(right, right, 0.0, SAMPLES)
        return replace(score, samples=EARLY) if hopeless(score) else score

    def foresee(self, reach: Reach, chosen: Sequence[Candidate]) -> Forecast:
        place = {pathway.name: row for row, pathway in enumerate(REMOVABLE)}
        change = [-self.weights[place[c.pathway.name], c.layer] * self.off for c in chosen]
        return Forecast(np.full(4, self.margin(reach)), np.repeat(np.c_[change], 4, 1), 2.0)

    def problem(self, foresees: bool) -> Problem:
        dense = self.measure(dense_reach(LAYERS), lambda score: False)
        foresee = self.foresee if foresees else None
        return Problem(MODEL, PROMPT, GEOMETRY, dense, self.measure, foresee=foresee)


def removed(model: DeepModel, passes: int, foresees: bool = True) -> Draft:
    """The draft after its candidates were removed, in no good order."""
    noise = np.random.default_rng(9)
    ranked = candidates({p.name: noise.uniform(0, 1, LAYERS) for p in REMOVABLE})
    budget = Budget("max_drop", 2.0, "edges")
    draft = Draft(model.problem(foresees), budget, passes, lambda step: None)
    remove_candidates(draft, ranked, budget.allowance)
    return draft


def saved(draft: Draft) -> float:
    return 1 - draft.price(draft.reach)


def test_a_hundred_passes_find_what_four_hundred_do_among_364_candidates() -> None:
    model = DeepModel.drawn(0)
    few, many = removed(model, 100), removed(model, 400)
    assert len(REMOVABLE) * LAYERS == 364
    assert saved(few) >= 0.95 * saved(many)
    assert few.lost <= 2.0 and many.lost <= 2.0
    assert few.foreseen > 0 and few.runs_left < 100 - few.foreseen, "forecasts count"
    alone = removed(model, 100, foresees=False)
    assert alone.runs_left <= 0 < few.runs_left, "as many runs of single candidates do not suffice"
    assert saved(few) > saved(alone) + 0.02


@pytest.mark.parametrize("off", [0.0, -1.0], ids=["knows nothing", "the reverse"])
def test_a_wrong_forecast_costs_savings_and_never_the_budget(off: float) -> None:
    draft = removed(DeepModel.drawn(1, off), 4)
    assert draft.lost <= 2.0


def test_after_some_rejections_in_a_row_the_rest_is_not_tried() -> None:
    weights = np.full((len(REMOVABLE), LAYERS), 4.0)
    weights[:, -1] = 0  # Its states are dead but for the last token's.
    model = DeepModel(weights, off=1e-6)
    draft = Draft(model.problem(True), Budget("max_drop", 1.0), 1000, lambda step: None)
    ranked = candidates({p.name: np.ones(4) for p in REMOVABLE})
    remove_foreseen(draft, ranked, 1.0)
    single = [step for step in draft.steps if " more" not in step.what]
    assert len(single) == PATIENCE < len(ranked)
    assert (draft.reach == ALL).all()


def test_what_forecasts_expect() -> None:
    """Two samples on opposite sides: gains do not hide losses, but do make up for them."""
    forecast = Forecast(np.array([0.0, 0.0]), np.array([[1.0, -1.0], [-1.0, -1.0]]), 1.0)
    fall = 100 * (0.5 - 1 / (1 + np.e))
    assert forecast.moved([0], "points") == forecast.moved([1], "points") == pytest.approx(fall)
    assert forecast.lost([0], "points") == pytest.approx(0.0)
    assert forecast.lost([1], "points") == pytest.approx(fall)
    half = 1 / (1 + np.exp(2))
    assert forecast.lost([0, 1], "points") == pytest.approx(100 * (0.5 - half) / 2)
    p = 1 / (1 + np.e)
    kl = -0.5 * np.log(4 * p * (1 - p))
    assert forecast.lost([1], "nats") == pytest.approx(kl)
    assert forecast.moved([0], "nats") == pytest.approx(kl), "it moves both as far"
