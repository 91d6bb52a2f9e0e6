"""Batches hold variants that need about as many tokens, and none runs what is known already."""

import numpy as np
import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.evidence.batches import next_batch, start_cost
from prune.evidence.forced import TeacherForcing, forced_replay
from prune.evidence.prefix_cache import PrefixCache
from prune.inputs.encode import read
from prune.inputs.samples import Sample

START = 64


def test_the_shortest_go_first_as_long_as_filling_up_is_cheaper_than_a_start() -> None:
    tails = np.array([90, 50, 52, 60, 200, 51])
    fronts = np.zeros(6, int)
    assert next_batch(tails, fronts, START, 2**20).tolist() == [1, 5, 2, 3]
    assert next_batch(tails, fronts, 0, 2**20).tolist() == [1]
    assert next_batch(tails[[0, 4]], fronts[:2], START, 2**20).tolist() == [0]


def test_a_batch_is_no_larger_than_asked() -> None:
    tails, fronts = np.full(300, 50), np.arange(300)
    assert len(next_batch(tails, fronts, START, 600)) == 10  # 50 to run and up to 9 in front
    assert len(next_batch(tails, fronts, START, 1)) == 1
    assert len(next_batch(tails, fronts, START, 2**30)) == 256


def test_a_start_costs_fewer_tokens_of_a_larger_model() -> None:
    def model(width: int) -> torch.nn.Module:
        return torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.Linear(width, width)])})

    small, large = (start_cost(model(width)) for width in (100, 1000))
    assert small / large == pytest.approx(100, rel=0.05)


@pytest.fixture
def forcing(
    tiny: LoadedModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> TeacherForcing:
    """With `tokens`, the number of tokens that each of its batches ran."""
    inputs = read(tiny.processor, samples[:1], 8)
    forcing = TeacherForcing(forced_replay(tiny.model, tiny.processor, inputs, [5, 6]), [5, 6])
    forward = forcing._forward
    forcing.tokens = []  # type: ignore[attr-defined]

    def counted(columns: torch.Tensor, *rest):
        forcing.tokens.append(columns.numel())  # type: ignore[attr-defined]
        return forward(columns, *rest)

    monkeypatch.setattr(forcing, "_forward", counted)
    return forcing


def candidates(chosen: list[int], count: int) -> np.ndarray:
    """The sets that a step of greedy search asks for, and what they leave, bool `[N, V]`."""
    rest = np.setdiff1d(np.arange(count), chosen)
    sets = np.zeros((len(rest), count), bool)
    sets[:, chosen] = True
    sets[np.arange(len(rest)), rest] = True
    return np.concatenate([sets, ~sets])


@pytest.mark.parametrize("most", [0, 2**22, 2**28])
def test_what_is_known_changes_nothing(forcing: TeacherForcing, most: int) -> None:
    known = PrefixCache(most)
    for step in range(4):
        sets = candidates([40, 7, 63][:step], len(forcing.video))[step::9]
        found = forcing.probabilities(sets, known=known)
        alone = [forcing.probabilities(one[None], known=PrefixCache(0))[0] for one in sets]
        assert found == pytest.approx(np.stack(alone), rel=1e-4)
    assert sum(run.size for run in known.runs) <= most


def test_a_step_runs_what_is_behind_its_first_new_token(forcing: TeacherForcing) -> None:
    count, behind = len(forcing.video), forcing.replay.segments.shape[1] - 1
    behind -= int(forcing.video[-1]) + 1
    known = forcing.nothing_known()
    forcing.probabilities(candidates([], count), known=known)
    forcing.tokens.clear()
    sets = candidates([40], count)
    forcing.probabilities(sets, known=known)
    # Behind the candidate, or behind the region chosen before where that comes later.
    needed = sum(
        behind + int(row[max(40, int((row != base).argmax())) + 1 :].sum())
        for row in sets
        for base in [np.arange(count) == 40 if row[40] else np.arange(count) != 40]
    )
    assert needed <= sum(forcing.tokens) <= 1.1 * needed
    forcing.tokens.clear()
    forcing.probabilities(sets[-1:], known=known)
    assert forcing.tokens == [behind]


def test_sets_of_one_call_share_what_they_begin_with(forcing: TeacherForcing) -> None:
    # One clip that is shown more and more of.
    sets = np.arange(72) < np.arange(0, 73, 9)[:, None]
    forcing.probabilities(sets)
    assert sum(forcing.tokens) < 0.8 * (sets.sum() + len(sets) * (forcing._size - 72))
