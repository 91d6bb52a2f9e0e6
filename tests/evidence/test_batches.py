"""Batches hold every variant once, and run fewer tokens than one by one."""

import numpy as np
import pytest
import torch

from prune.evidence.batches import batches, start_cost

TEXT, START = 50, 64


def tokens(look: np.ndarray, groups: list[np.ndarray]) -> int:
    """What the batches run: starts, and for each row the longest tail of its batch."""
    total = 0
    for group in groups:
        rows = look[group]
        same = (rows == rows[:1]).all(0)
        common = len(same) if same.all() else int(same.argmin())
        longest = (rows > 0).sum(1).max() + TEXT
        total += START + len(group) * (longest - (rows[0, :common] > 0).sum())
    return int(total)


@pytest.mark.parametrize("seed", range(3))
def test_every_variant_once_and_less_work(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.random(72) < 0.5
    rest = np.flatnonzero(~base)
    look = np.repeat(base[None], len(rest), 0)
    look[np.arange(len(rest)), rest] = True
    look = look.astype(np.int64)
    groups = batches(look, TEXT, START, 2**13)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(look)))
    alone = sum(START + int((row > 0).sum()) + TEXT for row in look)
    assert tokens(look, groups) < 0.6 * alone
    assert tokens(look, groups) <= tokens(look, [np.arange(len(look))])


def test_variants_that_begin_alike_go_together() -> None:
    look = np.ones((40, 400), np.int64)
    look[::2, 0] = 2  # Every second one begins otherwise, and then has 399 tokens of its own.
    look[:, -1] = np.arange(40) + 1
    first, second = batches(look, TEXT, START, 2**20)
    assert {i % 2 for i in first} != {i % 2 for i in second}
    assert len(first) == len(second) == 20


def test_a_batch_is_no_larger_than_asked() -> None:
    look = np.random.default_rng(0).integers(0, 2, (64, 100))
    for group in batches(look, TEXT, START, 600):
        assert len(group) * ((look[group] > 0).sum(1).max() + TEXT) <= 600 + 100 * len(group)
    assert len(batches(look, TEXT, START, 1)) == 64


def test_a_start_costs_fewer_tokens_of_a_larger_model() -> None:
    def model(width: int) -> torch.nn.Module:
        return torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.Linear(width, width)])})

    small, large = (start_cost(model(width)) for width in (100, 1000))
    assert small / large == pytest.approx(100, rel=0.05)
