"""Attention kernels that follow a segment layout. Needs torch alone; Triton where it is present."""

from prune.kernels.segment_attention import (
    ALL,
    NONE,
    Impl,
    Layout,
    allowed_edges,
    prepare,
    segment_attention,
)

__all__ = ["ALL", "NONE", "Impl", "Layout", "allowed_edges", "prepare", "segment_attention"]
