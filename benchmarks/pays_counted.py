"""Counted gains of the published maps at the geometry of the models they were found in."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.liveness import Mode
from prune.plan.outlook import video_prompt
from prune.plan.plan import Plan

MEMORY = 80e9
"""Bytes of the device whose room for requests is counted."""

BATCHES = (1, 8, 32)
LENGTHS = (8, 32, 64, 128)
SCANNED = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Frames of 144 tokens, as in the paper."""

THRESHOLD = 1.1
"""A gain below this is not called one."""

LLAVA = Geometry(4096, 11008, 32, 32, 128, 2)
VIDEOLLAMA = Geometry(3584, 18944, 28, 4, 128, 2)


@dataclass(frozen=True)
class Counted:
    """A published map on a geometry, and what is skipped under it.

    Attributes:
        edges_alone: every state is computed and every key kept, as under a mask.
    """

    name: str
    preset: str
    geometry: Geometry
    mode: Mode = "single_turn"
    edges_alone: bool = False


PLANS = (
    Counted("LLaVA-NeXT-7B, edges alone", "llava-next-7b", LLAVA, edges_alone=True),
    Counted("LLaVA-NeXT-7B", "llava-next-7b", LLAVA),
    Counted("LLaVA-NeXT-7B, multi-turn", "llava-next-7b", LLAVA, "multi_turn"),
    Counted("VideoLLaMA3-7B", "videollama3-7b", VIDEOLLAMA),
)


@dataclass(frozen=True)
class Gains:
    """What a plan saves on one prompt, dense over pruned.

    Attributes:
        prefill: of the decoder's FLOPs.
        decode: of the bytes that a step reads (weights once, and each request's KV), by batch.
        kv: bytes of a request's cache, dense and pruned.
        room: requests whose caches fit beside the decoder's weights, dense and pruned.
    """

    name: str
    tokens: int
    prefill: float
    decode: tuple[float, ...]
    kv: tuple[int, int]
    room: tuple[int, int]

    @property
    def requests(self) -> float:
        """How many times as many requests fit, before rounding."""
        return self.kv[0] / self.kv[1]

    def cells(self) -> list[str]:
        """A row of the page's table."""
        dense, pruned = (f"{size / 1e6:,.0f}" for size in self.kv)
        held = f"{dense} MB" if self.kv[0] == self.kv[1] else f"{dense} → {pruned} MB"
        room = f"{self.room[0]:,}"
        return [
            self.name,
            f"{self.tokens:,} tokens",
            *(f"{gain:.2f}x" for gain in (self.prefill, *self.decode)),
            held,
            room if self.room[0] == self.room[1] else f"{room} → {self.room[1]:,}",
        ]


def count(plan: Counted, frames: int) -> Gains:
    """Count one plan on a clip of so many frames."""
    prompt, sizes = video_prompt(frames), plan.geometry
    reach = Plan.preset(plan.preset).reach
    dense, pruned = (
        dense_cost(len(reach), prompt, sizes),
        cost_of(reach, prompt, sizes, plan.mode),
    )
    weights = len(reach) * sizes.layer_flops // 2 * sizes.bytes_per_value
    kv = dense.kv_bytes, dense.kv_bytes if plan.edges_alone else pruned.kv_bytes
    flops = pruned.mask_flops if plan.edges_alone else pruned.flops
    room = [int((MEMORY - weights) // size) for size in kv]
    return Gains(
        plan.name,
        prompt.shape[1],
        dense.flops / flops,
        tuple((weights + batch * kv[0]) / (weights + batch * kv[1]) for batch in BATCHES),
        kv,
        (room[0], room[1]),
    )


def first_that_pays(plan: Counted) -> Sequence[str]:
    """The shortest prompt of `SCANNED` at which each part reaches `THRESHOLD`, in tokens."""
    found = [count(plan, frames) for frames in SCANNED]
    gains = [(g.prefill, *g.decode, g.requests) for g in found]
    return [
        next(
            (f"{g.tokens:,} tokens" for g, row in zip(found, gains, strict=True)
             if row[part] >= THRESHOLD),
            "never",
        )
        for part in range(len(gains[0]))
    ]  # fmt: skip
