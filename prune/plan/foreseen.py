"""Removal of candidates in blocks that a forecast expects to be worth their loss.

The passes it takes grow with the blocks that have to be distinguished, not with the candidates that
there are: a model of 28 layers has 364, and 100 passes would not run each of them once.
"""

from dataclasses import dataclass

from prune.layout.reach import Reach
from prune.plan.draft import Draft
from prune.plan.forecast import Forecast
from prune.plan.moves import Candidate, without

PATIENCE = 8
"""Candidates rejected in a row, one at a time, after which the rest are not tried: they come later
in the order because they are expected to be worth less."""

STALE = 1 / 8
"""Share of a forecast's candidates whose removal makes a new one worth its passes."""

SHRINK = 2 / 3
"""Size of the next block, of one that loses too much."""

LEAST = 1 / 4
"""The same at least, even where the forecast expects that less is too much."""

TIE = 1 / 50
"""Weight of edges beside the cost that is reduced: of candidates that save as much of it, or none,
those with more edges come first."""


def remove_foreseen(draft: Draft, ranked: list[Candidate], allowed: float) -> None:
    """Remove candidates while that is worth its loss.

    After a block that is accepted the next one is at least twice as large, and a forecast is made
    anew when a good part of its candidates is gone. After one that is not, the next one is smaller,
    by how far the forecast was off; a candidate that was not accepted alone is never tried again.
    """
    refused: set[Candidate] = set()
    while _open(draft):
        rest = [
            candidate
            for candidate in ranked
            if candidate not in refused and draft.differs(without(draft.reach, [candidate]))
        ]
        if not rest or not _take(_queue(draft, rest, allowed), refused):
            return


@dataclass
class _Queue:
    """Candidates in order, with the forecast of what they lose.

    Attributes:
        order: the candidates that are left, each with its place in the forecast.
        doubt: factor by which losses exceeded the forecast.
        most: of candidates in the next block.
        least: of them, even if too much is expected of more.
    """

    draft: Draft
    forecast: Forecast
    allowed: float
    order: list[tuple[int, Candidate]]
    most: int
    least: int = 1
    doubt: float = 1.0

    def expected(self, size: int) -> float:
        """What the first candidates are expected to lose, without doubt, in the budget's unit.

        That is how much the samples move: gains on the samples at hand are mostly chance.
        """
        return self.forecast.moved(
            [place for place, _ in self.order[:size]], self.draft.budget.unit
        )

    def block(self) -> list[Candidate]:
        """The first candidates, as many as are expected to be worth their loss."""
        worth, lost, size = self.draft.worth(self.allowed), self.draft.lost, self.most
        while size > self.least:
            reach = without(self.draft.reach, self._first(size))
            if lost + self.doubt * self.expected(size) <= worth(reach):
                break
            size = max(self.least, int(size * SHRINK))
        return self.draft.enough(self._first(size))

    def _first(self, size: int) -> list[Candidate]:
        return [candidate for _, candidate in self.order[:size]]

    def drop(self, size: int, least: int = 1) -> None:
        """Go on behind the first candidates, with a block of `least` or more."""
        self.order = self.order[size:]
        self.most, self.least = len(self.order), min(least, len(self.order))

    def shrink(self, size: int, lost: float) -> None:
        """Go on with less than a block that lost too much."""
        expected = self.expected(size)
        self.doubt = max(self.doubt / SHRINK, lost / expected if expected else 0.0)
        self.most, self.least = max(1, int(size * SHRINK)), max(1, int(size * LEAST))


def _queue(draft: Draft, rest: list[Candidate], allowed: float) -> _Queue:
    """The candidates, those first that move samples least for what they save.

    Those that alone are expected to lose more than `allowed` are left out.
    """
    forecast, unit = draft.foresee(rest), draft.budget.unit
    now = _weighed(draft, draft.reach)
    keys = []
    for place, candidate in enumerate(rest):
        if draft.lost + forecast.lost([place], unit) <= allowed:
            saved = now - _weighed(draft, without(draft.reach, [candidate]))
            moved = forecast.moved([place], unit)
            keys.append((moved / max(saved, 1e-9), -saved, place))
    order = [(place, rest[place]) for *_, place in sorted(keys)]
    return _Queue(draft, forecast, allowed, order, len(order))


def _weighed(draft: Draft, reach: Reach) -> float:
    """The cost to reduce and, with little weight, edges, as shares of the dense model's."""
    cost, dense = draft.cost(reach), draft.dense_cost
    return draft.budget.price(cost, dense) + TIE * cost.edges / dense.edges


def _take(queue: _Queue, refused: set[Candidate]) -> bool:
    """Remove blocks until a new forecast is worth its passes; whether there may be more."""
    draft, count, rejected = queue.draft, len(queue.order), 0
    while queue.order and _open(draft) and rejected < PATIENCE:
        block, before = queue.block(), draft.lost
        more = f" and {len(block) - 1} more" if len(block) > 1 else ""
        reach = without(draft.reach, block)
        if draft.holds(reach, block[0].name + more, draft.worth(queue.allowed)(reach)):
            rejected = 0
            queue.drop(len(block), 2 * len(block))
            if len(queue.order) <= (1 - STALE) * count:
                return True
        elif len(block) > 1:
            score = draft.steps[-1].score
            queue.shrink(len(block), draft.budget.loss(score, draft.problem.dense) - before)
        else:
            rejected += 1
            refused.add(block[0])
            queue.drop(1)
    return False


def _open(draft: Draft) -> bool:
    """Whether passes are left, and a required saving is not reached."""
    return draft.runs_left > draft.reserve and not draft.done
