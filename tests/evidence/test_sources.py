"""Words as regions: hidden as defined, weighed by exact shares, ordered with the frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.evidence.case import Case, open_case
from prune.evidence.objective import Objective
from prune.evidence.pieces import pieces_of
from prune.evidence.regions import whole_frames
from prune.evidence.sources import PieceScorer, gradient_times_input, shapley, sources_of
from prune.plan.keep import kept_reach


def test_pieces_are_frames_and_words(case: Case) -> None:
    spoken = replace(case, target=replace(case.target, positions=(3,)))
    pieces = pieces_of(spoken, None)
    assert pieces.texts[:8] == tuple(f"frame {i}" for i in range(1, 9))
    asked = [t for t, s in zip(pieces.texts, pieces.sources, strict=True) if s == "question"]
    for word in case.sample.question.rstrip("?").split():
        assert any(word in piece for piece in asked)
    own = [t for t, s in zip(pieces.texts, pieces.sources, strict=True) if s == "reply"]
    assert "".join(own).replace(" ", "") == "".join(case.target.texts[:3]).replace(" ", "")
    assert pieces.hides.sum(0).max() == 1 and pieces.hides.any(1).all()
    assert not (pieces_of(case, None).of("reply")).any(), "the first token follows no other"


def test_earlier_turns_are_a_source_of_their_own(tiny: LoadedModel, case: Case) -> None:
    said = (("Question: How many shapes are there?", "3"), ("Question: Is it night?", "no"))
    later = open_case(tiny.model, tiny.processor, replace(case.sample, turns=said))
    pieces = pieces_of(later, None)
    words = [t for t, s in zip(pieces.texts, pieces.sources, strict=True) if s == "history"]
    spoken = " ".join(words).replace("</s>", "")
    for marker in ("USER:", "ASSISTANT:"):
        spoken = spoken.replace(marker, "")
    assert spoken.split() == [word for turn in said for part in turn for word in part.split()]
    asked = [t for t, s in zip(pieces.texts, pieces.sources, strict=True) if s == "question"]
    assert not set(asked) & {"many", "night?"}
    assert pieces.hides.sum(0).max() == 1
    found = sources_of(later, pieces)
    assert set(found.shares) == {"video", "history", "question"}
    assert sum(found.shares.values()) == pytest.approx(found.whole - found.nothing)


def test_hidden_frames_are_masked_frames(case: Case) -> None:
    pieces = pieces_of(case, None)
    visible = np.ones((3, pieces.size), bool)
    visible[1, [2, 5]] = visible[2, 0] = False
    found = PieceScorer(case, pieces).probabilities(visible)
    masked = case.scorer(whole_frames(case.frames)).probabilities(visible[:, :8])
    np.testing.assert_allclose(found, masked[:, : found.shape[1]], atol=1e-5)


def test_hidden_frames_are_masked_frames_under_a_plan_that_freezes(case: Case) -> None:
    reach = kept_reach("update:video,question,options=none; cross_frame=1-4", 12)
    held = replace(case, forcing=replace(case.forcing, reach=reach))
    pieces = pieces_of(held, None)
    visible = np.ones((2, pieces.size), bool)
    visible[1, [2, 5]] = False
    found = PieceScorer(held, pieces).probabilities(visible)
    masked = held.scorer(whole_frames(case.frames)).probabilities(visible[:, :8])
    np.testing.assert_allclose(found, masked[:, : found.shape[1]], atol=1e-5)
    assert abs(found - PieceScorer(case, pieces).probabilities(visible)).max() > 1e-3
    slopes = [gradient_times_input(one) for one in (case, held)]
    assert abs(slopes[0] - slopes[1]).max() > 1e-6


def test_hidden_words_change_what_follows_alone(case: Case) -> None:
    spoken = replace(case, target=replace(case.target, positions=(3,)))
    pieces = pieces_of(spoken, None)
    (last,) = np.flatnonzero(pieces.of("reply"))[-1:]
    visible = np.ones((2, pieces.size), bool)
    visible[1, last] = False
    before, after = PieceScorer(spoken, pieces).probabilities(visible)
    hidden = np.flatnonzero(pieces.hides[last])[0] - (pieces.hides.shape[1] - len(before))
    assert np.array_equal(before[: hidden + 1], after[: hidden + 1])


def test_one_objective_orders_words_and_frames(case: Case) -> None:
    pieces = pieces_of(case, None)
    found = sources_of(case, pieces)
    assert sorted(found.order) == list(range(pieces.size))
    assert set(found.shares) == {"video", "question"}
    assert sum(found.shares.values()) == pytest.approx(found.whole - found.nothing)
    objective = Objective(PieceScorer(case, pieces), case.target.positions)
    without = np.ones((1, pieces.size), bool)
    without[0, 4] = False
    assert found.left_out[4] == pytest.approx(found.whole - objective.target(without)[0])
    assert len(found.record["pieces"]) == pieces.size
    ranks = [piece["rank"] for piece in found.record["pieces"]]
    assert sorted(ranks) == list(range(1, pieces.size + 1))


def test_shares_of_a_game_that_is_known() -> None:
    """A pair that is worth something only together shares it; the third adds its own."""

    def value(players: tuple[str, ...]) -> float:
        return 0.6 * ({"video", "question"} <= set(players)) + 0.1 * ("reply" in players)

    found = shapley(["video", "question", "reply"], value)
    assert found == pytest.approx({"video": 0.3, "question": 0.3, "reply": 0.1})


def test_the_gradient_is_that_of_a_small_step(case: Case) -> None:
    replay = case.forcing.replay
    token = int(case.forcing.video[3])
    shift = 1e-2

    def logp(factor: float) -> float:
        states = replay.kwargs["inputs_embeds"].clone()
        states[0, token] *= factor
        moved = replace(replay, kwargs={**replay.kwargs, "inputs_embeds": states})
        scorer = PieceScorer(
            replace(case, forcing=replace(case.forcing, replay=moved)), pieces_of(case, None)
        )
        p = scorer.probabilities(np.ones((1, scorer.num_regions), bool))
        return float(np.log(p[0, list(case.target.positions)]).mean())

    slope = (logp(1 + shift) - logp(1 - shift)) / (2 * shift)
    found = gradient_times_input(case)
    assert found[token] == pytest.approx(slope, rel=0.05, abs=1e-4 * abs(found).max() + 1e-5)
    assert torch.isfinite(torch.from_numpy(found)).all()
