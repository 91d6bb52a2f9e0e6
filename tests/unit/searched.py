"""A small model, its prompt, and a search of a plan for it."""

from dataclasses import dataclass, field

import numpy as np

from prune.layout.freezing import edges_of
from prune.layout.pathways import PATHWAYS, REMOVABLE
from prune.layout.reach import Reach
from prune.layout.segments import Role, Segments
from prune.plan.budget import Budget, Hopeless, Score
from prune.plan.cost import Geometry
from prune.plan.draft import Problem
from prune.plan.model_id import ModelId
from prune.plan.moves import candidates
from prune.plan.search import search
from prune.plan.search_result import SearchResult

LAYERS = 6
MODEL = ModelId(name="m", num_layers=LAYERS, num_kv_heads=1)
GEOMETRY = Geometry(64, 128, 4, 2, 16, 2)
PROMPT = Segments.of_runs(
    [(Role.SYSTEM, -1, 4), *((Role.VIDEO, f, 9) for f in range(8)), (Role.BRIDGE, -1, 2),
     (Role.QUESTION, -1, 8), (Role.OPTIONS, -1, 12), (Role.TAIL, -1, 6), (Role.LAST, -1, 1)]
)  # fmt: skip
NEEDED = (("cross_frame", 1), ("video_to_question_sealed", 2), ("question_to_last_sealed", 4))
DENSE = Score(90.0, 80.0, 0.0, 100)


@dataclass
class Model:
    """One that answers right only while its three edges are there; each is worth 20 points."""

    runs: list[float] = field(default_factory=list)
    interrupt_at: int = 1000

    def measure(self, reach: Reach, hopeless: Hopeless) -> Score:
        if len(self.runs) == self.interrupt_at:
            raise KeyboardInterrupt
        lost = 0
        for name, layer in NEEDED:
            pathway = PATHWAYS[name]
            block = edges_of(reach)[layer, 0][np.ix_(pathway.queries, pathway.keys)]
            lost += bool((block <= pathway.limit).any())
        self.runs.append(lost)
        return Score(90.0 - 20 * lost, 80.0 - 20 * lost, 0.3 * lost, 100)


def harms(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {pathway.name: rng.uniform(0, 1, LAYERS) for pathway in REMOVABLE}


def run(budget: Budget, seed: int = 0, model: Model | None = None) -> SearchResult:
    problem = Problem(MODEL, PROMPT, GEOMETRY, DENSE, (model or Model()).measure)
    return search(problem, candidates(harms(seed)), budget, max_runs=100)
