"""Attention over a prompt of segments, masked by a small table of which roles read which."""

from prune.kernels.segment_attention.api import attend, segment_attention
from prune.kernels.segment_attention.dispatch import Impl
from prune.kernels.segment_attention.layout import (
    ALL,
    NONE,
    OTHER_FRAMES,
    Layout,
    ReachTable,
    prepare,
    read_reach,
)
from prune.kernels.segment_attention.reference import allowed_edges

__all__ = [
    "ALL",
    "NONE",
    "OTHER_FRAMES",
    "Impl",
    "Layout",
    "ReachTable",
    "allowed_edges",
    "attend",
    "prepare",
    "read_reach",
    "segment_attention",
]
