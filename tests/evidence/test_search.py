"""Searches order regions as the slow reference does, or nearly, for fewer passes."""

import numpy as np
import pytest

from prune.checkpoint.load import LoadedModel
from prune.errors import UsageError
from prune.evidence.curves import curves
from prune.evidence.fill import FILLS
from prune.evidence.forced import TeacherForcing, forced_replay
from prune.evidence.masked import MaskedScorer
from prune.evidence.objective import Objective, first_best
from prune.evidence.pixels import PixelScorer
from prune.evidence.plain import PlainScorer
from prune.evidence.regions import grid, whole_frames
from prune.evidence.search import SEARCHES, doubling, efficient, greedy, lazy
from prune.evidence.search.exhaustive import chain_value, exhaustive
from prune.evidence.search.greedy import greedy_one_at_a_time
from prune.inputs.encode import decode, encode
from prune.inputs.reply import greedy_reply
from prune.inputs.samples import Sample
from tests.evidence.fakes import FakeScorer, saturating, tokens_of


def insertion_auc(scorer, order: list[int]) -> float:
    found = curves(Objective(scorer, [0]), order, np.full(len(order), 1 / len(order)))
    return float(np.trapezoid(found.insertion[:, 0], found.area))


def test_insight_and_necessity() -> None:
    # p of two tokens: 0.1 + 0.6 with region 0 + 0.2 with region 1; the second is always 0.5.
    scorer = FakeScorer(3, lambda seen: [0.1 + 0.6 * seen[0] + 0.2 * seen[1], 0.5])
    alone = np.array([[True, False, False]])
    assert Objective(scorer, [0]).values(alone) == pytest.approx([0.7 + (1 - 0.3)])
    assert Objective(scorer, [0, 1]).values(alone) == pytest.approx([0.6 + (1 - 0.4)])
    assert Objective(scorer, [0], 1, 0).values(alone) == pytest.approx([0.7])
    assert Objective(scorer, [0], 0, 2).values(alone) == pytest.approx([1.4])


def test_no_set_is_run_twice() -> None:
    scorer = saturating(8)
    objective = Objective(scorer, [0])
    order = greedy(objective)
    spent = scorer.forwards
    # The last step's set is everything and its rest nothing, and complements are shared.
    assert spent <= 8 * 9
    curves(objective, order, np.full(8, 1 / 8))
    assert scorer.forwards <= spent + 2


@pytest.mark.parametrize("seed", range(4))
def test_greedy_leaves_out_only_what_cannot_win(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for weights in ((1, 1), (1, 0.3), (0, 1)):
        # Not submodular at all: each set has a value of its own.
        table: dict[bytes, float] = {}

        def p(seen: np.ndarray) -> list[float]:
            return [table.setdefault(seen.tobytes(), rng.beta(0.3, 0.3))]  # noqa: B023

        one, every = FakeScorer(12, p), FakeScorer(12, p)
        fast, slow = Objective(one, [0], *weights), Objective(every, [0], *weights)
        assert greedy(fast) == greedy_one_at_a_time(slow)
        assert one.forwards < every.forwards <= 12 * 13


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_finds_an_order_of_all_regions(name: str) -> None:
    steps: list[int] = []
    order = SEARCHES[name](
        Objective(saturating(20), [0]), lambda placed, best: steps.append(placed)
    )
    assert sorted(order) == list(range(20)) and steps == sorted(steps)
    assert SEARCHES[name](Objective(saturating(1), [0]), lambda placed, best: None) == [0]


@pytest.mark.parametrize("seed", range(3))
def test_fast_searches_are_near_full_greedy(seed: int) -> None:
    count = 64
    spent, score = {}, {}
    for name, search in SEARCHES.items():
        scorer = saturating(count, seed)
        order = search(Objective(scorer, [0]), lambda placed, best: None)
        spent[name], score[name] = scorer.forwards, insertion_auc(scorer, order)
    for name in SEARCHES.keys() - {"full"}:
        assert spent[name] <= 0.25 * count * (count + 1)
        assert abs(score[name] - score["full"]) < 0.01


@pytest.mark.parametrize(("count", "share"), [(32, 0.41), (72, 0.23), (200, 0.1)])
def test_doubling_costs_what_it_says(count: int, share: float) -> None:
    scorer = saturating(count)
    doubling(Objective(scorer, [0]))
    assert scorer.forwards / (count * (count + 1)) == pytest.approx(share, abs=0.01)


def test_doubling_outlasts_a_flat_start() -> None:
    # Two of 40 regions say nothing alone and all together; a third says a little.
    def p(seen: np.ndarray) -> list[float]:
        return [0.9 if seen[30] and seen[35] else 0.2 if seen[7] else 0.1]

    order = doubling(Objective(FakeScorer(40, p), [0]))
    assert set(order[:3]) == {7, 30, 35}


def test_efficient_costs_what_was_published() -> None:
    # 64 regions and two settings, counted from the authors' code; two passes a set.
    for settings, forwards in (((10, 8, 5), 1412), ((8, 4, 10), 944)):
        asked: list[int] = []

        class Counting(Objective):
            def values(self, sets: np.ndarray) -> np.ndarray:
                asked.append(2 * len(sets))  # noqa: B023
                return super().values(sets)

        efficient(Counting(saturating(64), [0]), lambda placed, best: None, *settings)
        assert abs(sum(asked) - forwards) <= 0.03 * forwards


def test_lazy_is_full_greedy_where_the_bound_holds() -> None:
    assert lazy(Objective(saturating(30), [0], 1, 0), enough=0) == greedy(
        Objective(saturating(30), [0], 1, 0)
    )


def test_lazy_stops_early_when_nothing_is_left_to_find() -> None:
    scorer = FakeScorer(40, lambda seen: [0.9 if seen[7] else 0.1])
    order = lazy(Objective(scorer, [0]))
    assert order[0] == 7 and scorer.forwards < 90


def test_ties_go_to_the_first() -> None:
    assert first_best(np.array([0.1, 0.5, 0.5 + 5e-7, 0.2])) == 1


def test_exhaustive_finds_what_greedy_cannot() -> None:
    # Regions 0 and 1 say nothing alone and everything together; 2 says a little at once.
    def p(seen: np.ndarray) -> list[float]:
        return [0.9 if seen[0] and seen[1] else 0.2 if seen[2] else 0.1]

    objective = Objective(FakeScorer(4, p), [0], 1, 0)
    best, by_greedy = exhaustive(objective), greedy(objective)
    assert set(best[:2]) == {0, 1} and by_greedy[0] == 2
    assert chain_value(objective, best) > chain_value(objective, by_greedy)
    with pytest.raises(UsageError, match="too many"):
        exhaustive(Objective(saturating(13), [0]))


def test_batches_order_as_one_at_a_time_does(tiny: LoadedModel, samples: list[Sample]) -> None:
    sample, clip = samples[2], decode(samples[2], 4)
    inputs = encode(tiny.processor, [sample], [clip])
    reply = greedy_reply(tiny.model, inputs)
    regions = whole_frames(clip[0])
    for fill in (None, FILLS["black"](clip[0])):
        forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, reply), reply)
        fast = (
            MaskedScorer(forcing, regions, tokens_of(tiny, inputs, forcing, clip))
            if fill is None
            else PixelScorer(forcing, regions, tiny.processor, sample, clip, fill)
        )
        slow = PlainScorer(tiny.model, tiny.processor, sample, clip, tuple(reply), regions, fill)
        assert greedy(Objective(fast, [0])) == greedy_one_at_a_time(Objective(slow, [0]))


def test_greedy_is_near_the_best_order_of_frames(tiny: LoadedModel, samples: list[Sample]) -> None:
    clip = decode(samples[4], 8)
    inputs = encode(tiny.processor, [samples[4]], [clip])
    reply = greedy_reply(tiny.model, inputs)
    forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, reply), reply)
    objective = Objective(
        MaskedScorer(forcing, whole_frames(clip[0]), tokens_of(tiny, inputs, forcing, clip)), [0]
    )
    best = chain_value(objective, exhaustive(objective))
    gap = best - chain_value(objective, greedy(objective))
    assert 0 <= gap < 0.2
    assert forcing.forwards == 2**8
    assert chain_value(objective, list(np.random.default_rng(0).permutation(8))) < best


def test_grid_cells_are_ordered_by_what_they_add(tiny: LoadedModel, samples: list[Sample]) -> None:
    clip = decode(samples[0], 4)
    inputs = encode(tiny.processor, samples[:1], [clip])
    reply = greedy_reply(tiny.model, inputs)
    forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, reply), reply)
    regions = grid(clip[0], 4)
    objective = Objective(
        MaskedScorer(forcing, regions, tokens_of(tiny, inputs, forcing, clip)), [0]
    )
    order = efficient(objective)
    found = curves(objective, order, regions.area)
    backwards = curves(objective, order[::-1], regions.area)
    assert found.insertion[:, 0].mean() > backwards.insertion[:, 0].mean()
    assert found.deletion[:, 0].mean() < backwards.deletion[:, 0].mean()
