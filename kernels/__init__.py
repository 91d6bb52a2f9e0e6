"""Attention kernels for segmented prompts; they need torch, and Triton where it is installed."""

from prune.kernels.segment_attention import (
    ALL,
    NONE,
    OTHER_FRAMES,
    Impl,
    Layout,
    ReachTable,
    allowed_edges,
    attend,
    prepare,
    read_reach,
    segment_attention,
)

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
