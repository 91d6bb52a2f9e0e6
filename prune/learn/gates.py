"""Learned gates: a ranking of the pathways from one short optimisation.

Each pathway gets one gate in every layer and KV head. A gate g between 0 and 1 is added to the
scores of its edges as log g, so that 1 changes nothing and 0 removes them. The weights are frozen;
the gates are trained to keep the dense model's answers while an L1 penalty, weighted by what each
gate keeps alive, pulls them down (the relaxation of arXiv 1712.01312, without its noise). The final
value of a gate measures how much its pathway is needed, in place of a knockout; the search then
rounds and verifies as it does with a trace.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from prune.errors import BadInputError
from prune.evaluate.answers import EncodedBatch, typical_prompt
from prune.kernels import allowed_edges
from prune.layout.edges import edge_histogram
from prune.layout.pathways import REMOVABLE, Pathway, knockout
from prune.layout.reach import NONE, dense_reach
from prune.layout.segments import Role, Segments
from prune.learn.trainable import differentiable_logits
from prune.plan.cost import Geometry
from prune.plan.model_id import ModelId
from prune.runtime.attention import seam
from prune.runtime.enforce import PlanEnforcer

OPEN = 3.0
"""Where gates start, as a logit: 95% open."""


@dataclass(frozen=True)
class GateSettings:
    """Settings of the training of gates.

    Attributes:
        steps: of one batch each.
        rate: learning rate of the gates' logits.
        penalty: nats that closing every gate is worth.
    """

    steps: int = 60
    rate: float = 0.2
    penalty: float = 0.3


@dataclass
class GateEnforcer:
    """Attention whose pathways are weighted by gates.

    Attributes:
        log_gates: `[L, P, H]`, H KV heads.
        edges: float `[P, B, S, S]`, 1 where an edge belongs to a pathway.
        causal: bool `[B, 1, S, S]`, edges that exist at all.
    """

    log_gates: Tensor
    edges: Tensor
    causal: Tensor
    _blocked: Tensor = field(init=False)

    def __post_init__(self) -> None:
        # A padded query reads everything: its output is not used, and must not be NaN.
        real = self.causal | ~self.causal.any(-1, keepdim=True)
        self._blocked = torch.zeros_like(real, dtype=self.edges.dtype).masked_fill(
            ~real, float("-inf")
        )

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        bias = torch.einsum("ph,pbqk->bhqk", self.log_gates[layer], self.edges) + self._blocked
        bias = bias.repeat_interleave(query.shape[1] // key.shape[1], 1).to(query.dtype)
        return F.scaled_dot_product_attention(
            query, key, value, bias, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
        )


def learn_gates(
    batches: Sequence[EncodedBatch],
    model_id: ModelId,
    recipe: GateSettings,
    on_step: Callable[[float], None] = lambda loss: None,
) -> NDArray[np.float64]:
    """Train gates on calibration prompts.

    Masks of S x S edges are built for every pathway: this is for prompts of a few thousand tokens.

    Args:
        batches: encoded prompts; they hold the model, whose weights stay frozen.
        model_id: gives the number of layers and KV heads.
        recipe: how to train.
        on_step: called with the loss of every step.

    Returns:
        Gates `[L, P, H]` in 0 to 1, P in the order of `REMOVABLE`.

    Raises:
        BadInputError: there are no prompts.
    """
    if not batches:
        raise BadInputError("gates need at least one sample")
    model = batches[0].replay.model
    weight = _weights(typical_prompt(batches), Geometry.of(model))[None, :, None].to(model.device)
    logits = torch.full(
        (model_id.num_layers, len(REMOVABLE), model_id.num_kv_heads),
        OPEN,
        device=model.device,
        requires_grad=True,
    )
    optimizer = torch.optim.Adam([logits], lr=recipe.rate)
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        with seam(model):
            for step in range(recipe.steps):
                replay = batches[step % len(batches)].replay
                dense = PlanEnforcer(dense_reach(model_id.num_layers), replay.segments)
                with torch.no_grad():
                    teacher = differentiable_logits(replay, dense).softmax(-1)
                gated = GateEnforcer(F.logsigmoid(logits), *_edges(replay.segments, model.device))
                answer = differentiable_logits(replay, gated).log_softmax(-1)
                loss = F.kl_div(answer, teacher, reduction="batchmean")
                loss = loss + recipe.penalty * (weight * logits.sigmoid()).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                on_step(float(loss.detach()))
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    return logits.detach().sigmoid().double().cpu().numpy()


def harm_of(gates: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The ranking for `prune.plan.moves.candidates`: the mean gate of every pathway, `[L]` each."""
    return {p.name: gates[:, index].mean(-1) for index, p in enumerate(REMOVABLE)}


def _weights(prompt: Segments, geometry: Geometry) -> Tensor:
    """The cost of each pathway in a layer, as a share of the cost of all, `[P]`.

    It counts its edges, and its share in keeping alive the states that it reads.
    """
    histogram = edge_histogram(prompt)
    readers = Counter(pathway.keys for pathway in REMOVABLE if pathway.limit == NONE)
    flops = []
    for pathway in REMOVABLE:
        kept = int(histogram.kept(knockout(1, pathway, [0])).sum())
        cost = (histogram.causal - kept) * geometry.edge_flops
        if pathway.limit == NONE:
            tokens = sum(prompt.count(role) for role in Role if role in pathway.keys)
            cost += tokens * geometry.layer_flops // readers[pathway.keys]
        flops.append(cost)
    weight = torch.tensor(flops, dtype=torch.float32)
    return weight / weight.sum()


def _edges(segments: Segments, device: torch.device) -> tuple[Tensor, Tensor]:
    """The edges of every pathway, float `[P, B, S, S]`, and all of them, bool `[B, 1, S, S]`."""
    role, frame = segments.role, segments.frame

    def allowed(pathway: Pathway | None) -> Tensor:
        table = dense_reach(1) if pathway is None else knockout(1, pathway, [0])
        return allowed_edges(role, frame, torch.from_numpy(table[0]), role.shape[1])

    causal = allowed(None)
    edges = torch.stack([(causal & ~allowed(pathway))[:, 0] for pathway in REMOVABLE])
    return edges.float().to(device), causal.to(device)
