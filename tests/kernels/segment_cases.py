"""Prompts and reach tables to test on."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from prune.kernels import ALL, NONE, OTHER_FRAMES

SYSTEM, VIDEO, TIMESTAMP, TEXT, LAST = range(5)
ROLES = 5


@dataclass(frozen=True)
class Case:
    """One call, to be drawn with `tensors`."""

    name: str
    role: Tensor
    frame: Tensor
    reach: Tensor
    heads: tuple[int, int] = (2, 2)
    head_dim: int = 16
    num_queries: int | None = None
    scale: float | None = None
    seed: int = 0

    @property
    def layout(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.role, self.frame, self.reach

    @property
    def queries(self) -> int:
        return self.role.shape[1] if self.num_queries is None else self.num_queries

    def tensors(
        self, dtype: torch.dtype = torch.float64, device: str | torch.device = "cpu"
    ) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        batch, length = self.role.shape
        shapes = [(self.heads[0], self.queries), (self.heads[1], length), (self.heads[1], length)]
        return tuple(  # type: ignore[return-value]
            torch.randn(batch, h, s, self.head_dim, generator=generator, dtype=torch.float64).to(
                device, dtype
            )
            for h, s in shapes
        )


def prompt(
    frames: int = 4,
    tokens: int = 6,
    system: int = 3,
    text: int = 5,
    timestamps: int = 0,
    left_padding: int = 0,
) -> tuple[Tensor, Tensor]:
    """`[padding][system]([timestamp][video x tokens]) x frames [text][last]`, batch of one."""
    role, frame = [-1] * left_padding + [SYSTEM] * system, [-1] * (left_padding + system)
    for t in range(frames):
        role += [TIMESTAMP] * timestamps + [VIDEO] * tokens
        frame += [t] * (timestamps + tokens)
    role += [TEXT] * text + [LAST]
    frame += [-1] * (text + 1)
    return torch.tensor([role], dtype=torch.int8), torch.tensor([frame], dtype=torch.int32)


def table(groups: int = 1, **edges: int) -> Tensor:
    """All edges, but for `video_video=0` and the like."""
    names = {"system": SYSTEM, "video": VIDEO, "timestamp": TIMESTAMP, "text": TEXT, "last": LAST}
    reach = torch.full((groups, ROLES, ROLES), ALL, dtype=torch.int32)
    for edge, value in edges.items():
        query, key = edge.split("_")
        reach[:, names[query], names[key]] = value
    return reach


FRAME_LOCAL = {"video_video": 0}
SEALED = {"video_video": 0, "text_video": NONE, "last_video": NONE, "last_last": NONE}
DEAD_VIDEO = {"video_video": NONE, "text_video": NONE, "last_video": NONE, "text_text": NONE}


def per_head(*patterns: dict[str, int]) -> Tensor:
    """One reach table per KV head."""
    return torch.cat([table(**pattern) for pattern in patterns])


def stacked(*rows: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch of prompts, padded on the left to one length."""
    length = max(role.shape[1] for role, _ in rows)
    role = torch.full((len(rows), length), -1, dtype=torch.int8)
    frame = torch.full((len(rows), length), -1, dtype=torch.int32)
    for b, (r, f) in enumerate(rows):
        role[b, length - r.shape[1] :], frame[b, length - f.shape[1] :] = r[0], f[0]
    return role, frame


def named() -> list[Case]:
    """The situations worth a name; every implementation passes all of them."""
    plain = prompt()
    everything_removed = torch.full((1, ROLES, ROLES), NONE, dtype=torch.int32)
    mixed_batch = stacked(prompt(), prompt(frames=2), prompt(frames=3, tokens=7))
    interleaved = prompt(timestamps=2)
    middle = (plain[0].clone(), plain[1].clone())
    middle[0][0, 7:9] = -1
    several_runs = (torch.cat([plain[0]] * 2, 1), torch.cat([plain[1]] * 2, 1))
    backwards = (plain[0], torch.where(plain[1] >= 0, 3 - plain[1], plain[1]))
    return [
        Case("causal", *plain, table()),
        Case("frame local", *plain, table(**FRAME_LOCAL)),
        Case("window 1", *plain, table(video_video=1)),
        Case("window 2", *prompt(frames=7), table(video_video=2)),
        Case("other frames", *plain, table(video_video=OTHER_FRAMES)),
        Case("the frame before", *prompt(frames=7), table(video_video=~1, video_timestamp=~2)),
        Case(
            "other frames, per KV head",
            *interleaved,
            per_head({"video_video": OTHER_FRAMES}, {"video_video": ~1, "video_timestamp": 0}),
            heads=(4, 2),
        ),
        Case("window of timestamps", *interleaved, table(video_video=1, video_timestamp=2)),
        Case("sealed", *plain, table(**SEALED)),
        Case("dead video", *plain, table(**DEAD_VIDEO)),
        Case("everything removed", *plain, everything_removed),
        Case("all padding", torch.full((1, 9), -1, dtype=torch.int8), plain[1][:, :9], table()),
        Case("left padding", *prompt(left_padding=6), table(**FRAME_LOCAL)),
        Case("padding in the middle", *middle, table(**FRAME_LOCAL)),
        Case("padded batch", *mixed_batch, table(**FRAME_LOCAL)),
        Case("equal batch", *stacked(plain, plain, plain), table(**SEALED)),
        Case("apart in batch", *stacked(plain, prompt(frames=2), plain), table(**FRAME_LOCAL)),
        Case("interleaved", *interleaved, table(**FRAME_LOCAL)),
        Case("interleaved, removed", *interleaved, table(video_video=0, video_timestamp=0)),
        Case("several runs of a role", *several_runs, table(video_video=0, system_video=NONE)),
        Case("frames backwards", *backwards, table(video_video=1)),
        Case("one frame", *prompt(frames=1, tokens=11), table(**FRAME_LOCAL)),
        Case("one token a frame", *prompt(frames=9, tokens=1), table(**FRAME_LOCAL)),
        Case("no text", *prompt(text=0), table(**FRAME_LOCAL)),
        Case("no system", *prompt(system=0), table(**FRAME_LOCAL)),
        Case("text only", *prompt(frames=0, text=13), table(**FRAME_LOCAL)),
        Case("one token", *prompt(0, 0, 0, 0), table()),
        Case("odd length", *prompt(frames=3, tokens=37, system=5, text=9), table(**FRAME_LOCAL)),
        Case("gqa", *plain, table(**FRAME_LOCAL), heads=(6, 2)),
        Case("mqa", *plain, table(**SEALED), heads=(7, 1)),
        Case(
            "per KV head",
            *plain,
            per_head(FRAME_LOCAL, {}, FRAME_LOCAL, {"video_video": 1}),
            heads=(8, 4),
        ),
        Case(
            "per KV head, batch",
            *mixed_batch,
            per_head(DEAD_VIDEO, FRAME_LOCAL),
            heads=(2, 2),
        ),
        Case("decode", *plain, table(**SEALED), num_queries=1),
        Case("decode gqa", *mixed_batch, table(**FRAME_LOCAL), heads=(6, 2), num_queries=1),
        Case("decode, per KV head", *plain, per_head(SEALED, {}), heads=(4, 2), num_queries=2),
        Case("last rows", *plain, table(**FRAME_LOCAL), num_queries=8),
        Case("text rows", *plain, table(**FRAME_LOCAL), heads=(6, 2), num_queries=6),
        Case("rows from a frame's middle", *plain, table(**FRAME_LOCAL), num_queries=15),
        Case("odd head_dim", *plain, table(**FRAME_LOCAL), head_dim=5),
        Case("wide scale", *plain, table(**FRAME_LOCAL), scale=1.5),
    ]


def large() -> list[Case]:
    """What only shows in the Triton kernel: several tiles, packed and cut ones."""
    return [
        Case("several tiles", *prompt(3, 70, 9, 20), table(**FRAME_LOCAL), heads=(2, 2)),
        Case("unaligned frames", *prompt(5, 37, 40, 20), table(**FRAME_LOCAL), heads=(1, 1)),
        Case("packed frames", *prompt(9, 9, 4, 20), table(video_video=1), heads=(1, 1)),
        Case(
            "packed other frames",
            *prompt(9, 3, 4, 20),
            table(video_video=OTHER_FRAMES),
            heads=(1, 1),
        ),
        Case(
            "two frames before",
            *prompt(6, 21, 3, 9, 3),
            table(video_video=~2, video_timestamp=~1),
            heads=(2, 1),
        ),
        Case("packed timestamps", *prompt(6, 21, 3, 9, 3), table(video_video=0), heads=(2, 1)),
        Case(
            "cut text", *prompt(15, 36, 40, 85), table(video_video=NONE), heads=(1, 1), head_dim=8
        ),
        Case(
            "cut decode",
            *prompt(32, 36, 40, 20),
            per_head(FRAME_LOCAL, {"last_video": 9}),
            heads=(6, 2),
            num_queries=2,
        ),
        Case(
            "neighbours that share other keys",
            *prompt(3, 9, 4, 9, 8),
            table(
                video_video=0,
                video_timestamp=0,
                timestamp_timestamp=0,
                timestamp_video=0,
                timestamp_system=NONE,
            ),
            heads=(1, 1),
        ),
        Case("windows across tiles", *prompt(7, 22, 5, 9), table(video_video=2), heads=(1, 1)),
        Case(
            "large batch of two lengths",
            *stacked(prompt(2, 65, 3), prompt(1, 40, 2)),
            table(**FRAME_LOCAL),
            heads=(4, 2),
        ),
    ]


def random_case(seed: int, longest: int = 40) -> Case:
    """A random layout, reach table and shape: runs in any order, or a prompt with flaws."""
    rng = random.Random(seed)
    batch, kv_heads, roles = rng.randint(1, 3), rng.choice([1, 2]), rng.randint(1, 4)
    length = rng.randint(1, longest)
    role = torch.full((batch, length), -1, dtype=torch.int8)
    frame = torch.full((batch, length), -1, dtype=torch.int32)
    for b in range(batch):
        at = 0
        while at < length:
            run = rng.randint(1, 6)
            role[b, at : at + run] = rng.randint(-1, roles - 1)
            frame[b, at : at + run] = rng.randint(-1, 3)
            at += run
    tokens, begin = rng.randint(1, 5), rng.randint(0, 4)
    frames = (length - begin) // tokens - 1
    if rng.random() < 0.6 and frames > 0:
        video = slice(begin, begin + frames * tokens)
        role[:], frame[:] = 0, -1
        role[:, video] = min(1, roles - 1)
        frame[:, video] = torch.arange(frames * tokens, dtype=torch.int32) // tokens
        if roles > 2 and rng.random() < 0.3:
            role[:, begin : begin + frames * tokens : tokens] = 2
        if rng.random() < 0.3:
            role[rng.randrange(batch), : rng.randint(0, length)] = -1
    groups = rng.choice([1, kv_heads])
    reach = torch.tensor(
        [rng.choice([NONE, 0, 1, 2, ALL, ~1, ~2, OTHER_FRAMES]) for _ in range(groups * roles**2)]
    )
    return Case(
        f"random {seed}",
        role,
        frame,
        reach.int().view(groups, roles, roles),
        heads=(kv_heads * rng.choice([1, 2, 3]), kv_heads),
        head_dim=rng.choice([5, 8, 16]),
        num_queries=rng.choice([length, length, rng.randint(1, length)]),
        seed=seed,
    )
