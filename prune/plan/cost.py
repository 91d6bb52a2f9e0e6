"""Counted cost of a plan: edges, prefill FLOPs and KV cache bytes.

Only the language model's decoder layers count; the vision tower and the LM head are the same for
every plan.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from prune.layout.edges import EdgeHistogram, edge_histogram
from prune.layout.reach import Reach, dense_reach
from prune.layout.segments import Role, Segments
from prune.plan.liveness import Mode, State, decode_reads, order_of, states


@dataclass(frozen=True)
class Geometry:
    """Sizes of a decoder layer; `bytes_per_value` is of the KV cache."""

    hidden: int
    intermediate: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    bytes_per_value: int

    @staticmethod
    def of(model: Any) -> "Geometry":
        """The geometry of a loaded model."""
        text = model.config.text_config
        heads = text.num_attention_heads
        return Geometry(
            text.hidden_size,
            text.intermediate_size,
            heads,
            getattr(text, "num_key_value_heads", None) or heads,
            getattr(text, "head_dim", None) or text.hidden_size // heads,
            model.dtype.itemsize,
        )

    @property
    def kv_flops(self) -> int:
        """FLOPs to project K and V of one token."""
        return 4 * self.hidden * self.num_kv_heads * self.head_dim

    @property
    def layer_flops(self) -> int:
        """FLOPs of one token's projections and MLP."""
        query_and_output = 4 * self.hidden * self.num_heads * self.head_dim
        return self.kv_flops + query_and_output + 6 * self.hidden * self.intermediate

    @property
    def edge_flops(self) -> int:
        """FLOPs of one edge's score and weighted sum, over all heads."""
        return 4 * self.num_heads * self.head_dim

    @property
    def kv_bytes(self) -> int:
        """Bytes of one token's K and V in one layer."""
        return 2 * self.num_kv_heads * self.head_dim * self.bytes_per_value


@dataclass(frozen=True)
class Cost:
    """Cost of a prefill and of what it leaves in the cache.

    Attributes:
        edges: kept edges, mean over KV groups, summed over layers.
        mask_flops: prefill FLOPs when edges are skipped but every state is computed.
        flops: prefill FLOPs when dead states are skipped too.
        kv_bytes: KV cache that later tokens may still read, after the prefill.
        live_tokens: tokens computed in each layer.
        flops_by_layer: `flops`, layer by layer.
    """

    edges: float
    mask_flops: float
    flops: float
    kv_bytes: int
    live_tokens: tuple[int, ...]
    flops_by_layer: tuple[float, ...]


def cost_of(
    reach: Reach,
    segments: Segments,
    geometry: Geometry,
    mode: Mode = "single_turn",
    histogram: EdgeHistogram | None = None,
) -> Cost:
    """Count the cost of a reach table on a batch of prompts.

    Args:
        reach: int32 `[L, G, R, R]`.
        segments: the prompts. Bytes are those of their tokens; a batch of unequal prompts is padded
            to its longest in the cache.
        geometry: of the model.
        mode: `multi_turn` if follow-up questions may read the prompts.
        histogram: `edge_histogram(segments)`, for callers that count many tables on one prompt.
    """
    histogram = edge_histogram(segments) if histogram is None else histogram
    by_roles = histogram.kept_by_roles(reach).mean(1)
    tokens = np.array([segments.count(role) for role in Role])
    state = states(reach, mode, order_of(segments))
    computed = (state == State.COMPUTE) * tokens
    projected = (state == State.KV_ONLY) * tokens
    live_edges = (by_roles.sum(-1) * (state == State.COMPUTE)).sum(1)
    linear = computed.sum(1) * geometry.layer_flops + projected.sum(1) * geometry.kv_flops
    flops = (linear + live_edges * geometry.edge_flops).astype(float)
    every = len(reach) * tokens.sum() * geometry.layer_flops
    return Cost(
        edges=float(by_roles.sum()),
        mask_flops=float(every + by_roles.sum() * geometry.edge_flops),
        flops=float(flops.sum()),
        kv_bytes=int((decode_reads(reach, mode) * tokens).sum() * geometry.kv_bytes),
        live_tokens=tuple(int(n) for n in computed.sum(1)),
        flops_by_layer=tuple(flops.tolist()),
    )


def dense_cost(num_layers: int, segments: Segments, geometry: Geometry) -> Cost:
    """The cost of the dense model: nothing is skipped and every key is kept."""
    reach = dense_reach(num_layers)
    cost = cost_of(reach, segments, geometry)
    tokens = sum(segments.count(role) for role in Role)
    return Cost(
        cost.edges,
        cost.mask_flops,
        cost.mask_flops,
        num_layers * tokens * geometry.kv_bytes,
        (tokens,) * num_layers,
        (cost.mask_flops / num_layers,) * num_layers,
    )
