"""Keys and values of variants that were run: what a new one begins with is not run again.

By causality a token's keys and values depend on the tokens before it alone, so those of a variant
hold for every other one up to the first place where the two differ. In a greedy search that is most
of the clip: a candidate begins like the one that was chosen before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.runtime.rows import NO_TOKEN

TEXT = -1
"""Names a token that all variants have."""

Names = NDArray[np.int64]
"""What each variant has at the first C places of the prompt, `[N, C]`: 0 for nothing, `TEXT`, or
the number of what is shown there."""


@dataclass(frozen=True)
class Front:
    """What each variant of a batch begins with.

    Attributes:
        columns: places of its tokens in the prompt, int64 `[N, n]`, `NO_TOKEN` behind them.
        layers: of each layer keys and values, `[N, Hkv, n, D]`; none where n is 0.
    """

    columns: Tensor
    layers: list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Run:
    """Variants that ran together.

    Attributes:
        names: theirs.
        order: places in `layers` of what `names` name, int64 `[N, n]`, from the left.
        layers: of each layer keys and values, `[N, Hkv, S, D]`.
    """

    names: Names
    order: Tensor
    layers: list[tuple[Tensor, Tensor]]

    @property
    def size(self) -> int:
        """Numbers that it keeps."""
        return sum(keys.numel() + values.numel() for keys, values in self.layers)


@dataclass
class Known:
    """The variants that were run last.

    Attributes:
        most: numbers of their keys and values that are kept; the oldest go first.
        runs: those that are kept.
    """

    most: int
    runs: list[Run] = field(default_factory=list, init=False)

    def add(self, run: Run) -> None:
        """Keep a run, if there is room for it."""
        self.runs.append(run)
        while sum(run.size for run in self.runs) > self.most:
            self.runs.pop(0)


class Beginnings:
    """What is known of some variants.

    Args:
        names: of the variants.
        known: where it is looked up, and where what they compute is kept.
    """

    def __init__(self, names: Names, known: Known):
        self.names, self.known = names, known
        self._every = np.arange(len(names))
        self._tokens = np.pad((names != 0).cumsum(1), ((0, 0), (1, 0)))
        self._length = np.zeros(len(names), int)
        self._row = np.zeros(len(names), int)
        self._run: NDArray[np.object_] = np.full(len(names), None)
        for run in known.runs:
            self._compare(run)

    @property
    def fronts(self) -> NDArray[np.int64]:
        """Tokens of each variant that are known, `[N]`."""
        return self._tokens[self._every, self._length]

    @property
    def tails(self) -> NDArray[np.int64]:
        """Tokens of each variant at the first C places that are not known, `[N]`."""
        return self._tokens[:, -1] - self.fronts

    def unknown(self, now: NDArray[np.integer]) -> NDArray[np.bool_]:
        """At which of the first C places the variants `now` have a token not known, `[N, C]`."""
        behind = np.arange(self.names.shape[1]) >= self._length[now, None]
        return (self.names[now] != 0) & behind

    def front(self, now: NDArray[np.integer]) -> Front:
        """What the variants `now` begin with."""
        inside = (self.names[now] != 0) & ~self.unknown(now)
        columns = _from_the_left(torch.from_numpy(inside))
        layers: list[tuple[Tensor, Tensor]] = []
        if not columns.shape[1]:
            return Front(columns, layers)
        for run in {id(run): run for run in self._run[now] if run is not None}.values():
            mine = torch.from_numpy(np.flatnonzero(self._run[now] == run))
            rows = torch.from_numpy(self._row[now])[mine]
            order = run.order[rows, : columns.shape[1]]
            if not layers:
                layers = [(_room(k, columns), _room(v, columns)) for k, v in run.layers]
            for new, old in zip(layers, run.layers, strict=True):
                for target, source in zip(new, old, strict=True):
                    found = source.transpose(1, 2)[rows[:, None], order]
                    target[mine, : order.shape[1]] = found
        return Front(columns, [(k.transpose(1, 2), v.transpose(1, 2)) for k, v in layers])

    def learn(self, now: NDArray[np.integer], columns: Tensor, layers: Sequence[Any]) -> None:
        """Keep what the variants `now` have computed.

        Args:
            now: which variants, N of them.
            columns: places of their tokens in the prompt, `[N, n]`, `NO_TOKEN` for none.
            layers: with `keys` and `values` of those, `[N, Hkv, n, D]`.
        """
        inside = (columns >= 0) & (columns < self.names.shape[1])
        kept = [(layer.keys, layer.values) for layer in layers]
        run = Run(self.names[now], _from_the_left(inside), kept)
        self.known.add(run)
        self._compare(run)

    def _compare(self, run: Run) -> None:
        """Note which variants begin more like one of `run` than like any before."""
        for index, name in enumerate(self.names):
            differs = run.names != name
            length = np.where(differs.any(1), differs.argmax(1), len(name))
            row = int(length.argmax())
            if length[row] > self._length[index]:
                self._length[index], self._row[index], self._run[index] = length[row], row, run


def _from_the_left(chosen: Tensor) -> Tensor:
    """The chosen columns of every row, in order: bool `[N, S]` to int64 `[N, n]`."""
    count = chosen.sum(1, keepdim=True)
    order = (~chosen).int().argsort(dim=1, stable=True)[:, : int(count.max())]
    return order.where(torch.arange(order.shape[1]) < count, NO_TOKEN)


def _room(x: Tensor, columns: Tensor) -> Tensor:
    """Zeros `[N, n, Hkv, D]` for what `x` `[M, Hkv, S, D]` has at `columns` `[N, n]`."""
    return x.new_zeros(*columns.shape, x.shape[1], x.shape[3])
