"""How much an answer rests on the video, on earlier turns, on the question and on its own words.

Regions of the video and words are pieces under one objective: EAGLE orders them together. Beside it
stand leaving out one at a time, gradient times input, and the share of each source: its Shapley
value, which is exact for so few sources and adds up to what all of them together do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.errors import NumericError
from prune.evidence.case import Case
from prune.evidence.curves import attribution, curves
from prune.evidence.forced import MAX_EDGES
from prune.evidence.objective import Objective
from prune.evidence.pieces import SOURCES, Pieces, Source
from prune.evidence.plain import LayerMasks
from prune.evidence.search import SEARCHES
from prune.kernels import allowed_edges
from prune.layout.reach import dense_reach
from prune.runtime.attention import seam
from prune.runtime.enforce import PlanEnforcer
from prune.runtime.held import holding


@dataclass(frozen=True)
class Sources:
    """What every piece and every source is worth to a target.

    Attributes:
        pieces: R of them.
        order: of the pieces, the most important first.
        attribution: EAGLE's score of each, `[R]` in [0, 1].
        left_out: how much p falls without each alone, `[R]`.
        gradient: gradient times input of each, for the mean log-probability, `[R]`.
        shares: Shapley value of each source; they sum to `whole - nothing`.
        whole, nothing: mean probability of the target with all pieces, and with none.
    """

    pieces: Pieces
    order: list[int]
    attribution: NDArray[np.float64]
    left_out: NDArray[np.float64]
    gradient: NDArray[np.float64]
    shares: dict[Source, float]
    whole: float
    nothing: float

    @property
    def record(self) -> dict[str, Any]:
        """For JSON; pieces in the order of the prompt."""
        rank = {piece: place for place, piece in enumerate(self.order, 1)}
        return {
            "p": {"whole": round(self.whole, 6), "nothing": round(self.nothing, 6)},
            "shares": {source: round(value, 6) for source, value in self.shares.items()},
            "pieces": [
                {
                    "text": self.pieces.texts[i],
                    "source": self.pieces.sources[i],
                    "rank": rank[i],
                    "attribution": round(float(self.attribution[i]), 6),
                    "left_out": round(float(self.left_out[i]), 6),
                    "gradient": round(float(self.gradient[i]), 6),
                }
                for i in range(self.pieces.size)
            ],
        }


@dataclass
class PieceScorer:
    """Scores sets of visible pieces by hiding the others from all tokens behind them.

    Attributes:
        case: the prompt and its reply.
        pieces: R of them.
        forwards: passes so far.
    """

    case: Case
    pieces: Pieces
    forwards: int = field(default=0)

    @property
    def num_regions(self) -> int:
        """R."""
        return self.pieces.size

    @torch.no_grad()
    def probabilities(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Probability of each reply token for sets `[N, R]`: `[N, K]`."""
        replay = self.case.forcing.replay
        segments, target = replay.segments, self.case.target
        size = segments.shape[1]
        reach = self.case.forcing.reach
        reach = dense_reach(len(replay.text_model.layers)) if reach is None else reach
        held = PlanEnforcer(reach, segments)
        hidden = torch.from_numpy(~visible @ self.pieces.hides)
        edges: dict[bytes, Tensor] = {}
        for table in reach:
            if table.tobytes() not in edges:
                found = allowed_edges(segments.role, segments.frame, torch.from_numpy(table), size)
                edges[table.tobytes()] = found
        own = torch.eye(size, dtype=torch.bool)
        step = max(1, MAX_EDGES // size**2)
        rows = []
        for keys in (~hidden).split(step):
            # A token is never hidden from itself.
            seen = keys[:, None, None, :] | own
            made = {name: edge & seen for name, edge in edges.items()}
            masks = LayerMasks([made[table.tobytes()] for table in reach], held)
            with seam(self.case.model), holding(replay.text_model, held):
                states = replay.last_states(masks, len(target.ids) + 1, len(keys))[:, :-1]
            logits = self.case.model.get_output_embeddings()(states).double()
            if not torch.isfinite(logits).all():
                raise NumericError("the model's logits are NaN or infinite")
            ids = torch.tensor(target.ids, device=logits.device).expand(len(keys), -1)
            logp = logits.log_softmax(-1).gather(2, ids[..., None])[..., 0]
            rows.append(logp.exp().cpu().numpy())
        self.forwards += len(visible)
        return np.concatenate(rows)


def sources_of(case: Case, pieces: Pieces, search: str = "doubling") -> Sources:
    """Order the pieces of a case by how much its target needs them, and weigh their sources.

    Args:
        case: the prompt and its reply.
        pieces: of both.
        search: a name in `prune.evidence.search.SEARCHES`.
    """
    objective = Objective(PieceScorer(case, pieces), case.target.positions)
    order = SEARCHES[search](objective, lambda placed, best: None)
    area = np.full(pieces.size, 1 / pieces.size)
    found = curves(objective, order, area)
    every = np.ones((1, pieces.size), bool)
    whole = float(objective.target(every)[0])
    alone = objective.target(every & ~np.eye(pieces.size, dtype=bool))

    def value(players: tuple[Source, ...]) -> float:
        shown = np.any([pieces.of(p) for p in players], axis=0) if players else ~every[0]
        return float(objective.target(shown[None])[0])

    return Sources(
        pieces,
        order,
        attribution(found, order, case.target.positions),
        whole - alone,
        pieces.hides @ gradient_times_input(case),
        shapley([s for s in SOURCES if pieces.of(s).any()], value),
        whole,
        value(()),
    )


def shapley(
    players: list[Source], value: Callable[[tuple[Source, ...]], float]
) -> dict[Source, float]:
    """Each player's mean gain over all orders in which players can join."""
    count, shares = len(players), {}
    for player in players:
        others = [p for p in players if p != player]
        shares[player] = sum(
            factorial(size) * factorial(count - size - 1) / factorial(count)
            * (value((*joined, player)) - value(joined))
            for size in range(count)
            for joined in combinations(others, size)
        )  # fmt: skip
    return shares


def gradient_times_input(case: Case) -> NDArray[np.float64]:
    """Embedding times the gradient of the target's mean log-probability, of every token `[S]`."""
    replay, target = case.forcing.replay, case.target
    reach = case.forcing.reach
    reach = dense_reach(len(replay.text_model.layers)) if reach is None else reach
    states: Tensor = replay.kwargs["inputs_embeds"].detach().clone().requires_grad_()
    kwargs = {**replay.kwargs, "inputs_embeds": states, "use_cache": False}
    with seam(case.model), torch.enable_grad():
        enforcer = PlanEnforcer(reach, replay.segments)
        with holding(replay.text_model, enforcer):
            hidden = replay.text_model(**kwargs, prune=enforcer).last_hidden_state
        steps = hidden[0, -len(target.ids) - 1 : -1]
        logp = case.model.get_output_embeddings()(steps).log_softmax(-1)
        ids = torch.tensor(target.ids, device=logp.device)[:, None]
        mean = logp.gather(1, ids)[list(target.positions), 0].mean()
        (slope,) = torch.autograd.grad(mean, states)
    found: NDArray[np.float64] = (slope * states).detach().sum(-1)[0].double().cpu().numpy()
    return found
