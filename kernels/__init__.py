"""Attention kernels for segmented prompts; they need torch, and Triton where it is installed."""

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
