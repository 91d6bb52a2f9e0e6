"""Taking tokens of unequal rows and putting them back."""

import pytest
import torch

from prune.runtime.rows import NO_TOKEN, rows_of, spread, take, take_keys


@pytest.mark.parametrize("seed", range(20))
def test_what_is_taken_comes_back_in_its_place(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(3, 9, generator=generator) < 0.6
    chosen[0] = chosen[1] if seed % 2 else chosen[0]
    rows = rows_of(chosen)
    x = torch.randn(3, 9, 4, generator=generator)
    assert torch.equal(spread(take(x, rows), rows, 9), x * chosen[..., None])
    for row, columns in zip(chosen, rows, strict=True):
        assert columns[columns != NO_TOKEN].tolist() == row.nonzero()[:, 0].tolist()
        assert (columns.diff()[columns[1:] != NO_TOKEN] > 0).all(), "in order, at the right"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("columns", [[2, 3, 4], [8], [1, 2, 8], [3, 6, 5]])
def test_rows_that_are_alike(batch: int, columns: list[int]) -> None:
    rows = torch.tensor([columns]).repeat(batch, 1)
    x = torch.randn(batch, 9, 4, 2)
    assert torch.equal(take(x, rows), x[:, columns])
    put = spread(take(x, rows), rows, 9)
    assert torch.equal(put[:, columns], x[:, columns])
    assert put.count_nonzero() == x[:, columns].count_nonzero()
    keys = take_keys(x.transpose(1, 2), rows)
    assert torch.equal(keys, x[:, columns].transpose(1, 2))
    assert keys.untyped_storage().nbytes() == keys.nbytes, "the other keys' memory is free"


def test_position_embeddings_of_any_rank() -> None:
    rows = torch.tensor([[0, 2], [NO_TOKEN, 3]])
    shared = torch.arange(8.0).reshape(1, 4, 2)
    assert take(shared, rows, -2).tolist() == [[[0, 1], [4, 5]], [[0, 1], [6, 7]]]
    multi = torch.arange(24.0).reshape(3, 2, 4, 1)
    assert take(multi, rows, -2)[..., 0].tolist() == [
        [[0, 2], [4, 7]], [[8, 10], [12, 15]], [[16, 18], [20, 23]],
    ]  # fmt: skip


def test_gradients_do_not_count_padding() -> None:
    rows = torch.tensor([[0, 2], [NO_TOKEN, 0]])
    x = torch.ones(2, 2, 1, requires_grad=True)
    spread(x, rows, 3).sum().backward()
    assert x.grad is not None
    assert x.grad[..., 0].tolist() == [[1, 1], [0, 1]]
