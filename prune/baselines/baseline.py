"""The interface of every baseline: prompts in, final states out, and a counted cost."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from prune.evaluate.answers import RunBatch
from prune.layout.edges import edge_histogram
from prune.layout.reach import dense_reach
from prune.layout.segments import Role, Segments
from prune.plan.cost import Cost, Geometry, cost_of
from prune.plan.plan import Plan


@dataclass(frozen=True)
class Baseline:
    """Another way to spend as much as a plan.

    Attributes:
        name: for tables.
        source: the paper, or a plain description.
        setting: what was chosen to match the cost, in words.
        edges, flops: counted on the typical prompt, with states that reach no answer left out as
            they are for a plan.
        run: final states of a batch of prompts.
        on_top: the plan on what the baseline leaves of the video; None where it cuts edges itself.
    """

    name: str
    source: str
    setting: str
    edges: float
    flops: float
    run: RunBatch
    on_top: "OnTop | None" = None


@dataclass(frozen=True)
class OnTop:
    """A plan on top of a baseline: FLOPs counted on the typical prompt, and final states."""

    flops: float
    run: RunBatch


@dataclass(frozen=True)
class CostTarget:
    """What a baseline has to match.

    A baseline with a setting uses the cheapest one that costs at least as much as the plan, so that
    it never loses for having a smaller budget.

    Attributes:
        plan: the plan.
        prompt: a typical prompt, a batch of one, on which costs are counted.
        geometry: of the model.
    """

    plan: Plan
    prompt: Segments
    geometry: Geometry

    @cached_property
    def cost(self) -> Cost:
        """Of the plan."""
        return cost_of(self.plan.reach, self.prompt, self.geometry)

    @property
    def num_video(self) -> int:
        """Video tokens of the prompt."""
        return self.prompt.count(Role.VIDEO)

    def after_dropping(self, layer: int, keep: int) -> tuple[float, float]:
        """Edges and FLOPs when only `keep` video tokens enter layers `layer` and later."""
        video = torch.nonzero(self.prompt.role[0] == Role.VIDEO)[:, 0]
        column = torch.ones(self.prompt.shape[1], dtype=torch.bool)
        column[video[keep:]] = False
        rest = Segments(
            self.prompt.role[:, column], self.prompt.frame[:, column], self.prompt.option[:, column]
        )
        reach = dense_reach(self.plan.num_layers)
        whole, fewer = (cost_of(reach, prompt, self.geometry) for prompt in (self.prompt, rest))
        causal = [edge_histogram(prompt).causal for prompt in (self.prompt, rest)]
        edges = layer * causal[0] + (len(reach) - layer) * causal[1]
        return float(edges), sum(whole.flops_by_layer[:layer]) + sum(fewer.flops_by_layer[layer:])

    def fewest_tokens(self, layer: int) -> int:
        """The fewest video tokens after `layer` that cost no less than the plan, or all of them."""
        counts = np.arange(self.num_video + 1)
        enough = [self.after_dropping(layer, int(n))[1] >= self.cost.flops for n in counts]
        return int(np.argmax(enough)) if any(enough) else self.num_video


Make = Callable[[CostTarget, int], Baseline]
"""Makes a baseline for a target; the second argument seeds what is drawn at random."""
