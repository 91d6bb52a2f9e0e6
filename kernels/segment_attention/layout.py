"""Layouts on the host: the role and frame of every token, known before the model runs.

Everything an implementation derives from a layout (runs, SDPA blocks, Triton work lists) is cached
by the *contents* of the layout, never by the identity of a tensor. A tensor that was changed in
place, or whose memory was reused, therefore finds another entry or none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

ALL = 2**31 - 1
"""Reach of an edge that exists at any frame distance."""

NONE = -1
"""Reach of an edge that does not exist; also the role of padding and the frame of text."""

OTHER_FRAMES = ~ALL
"""Reach of an edge that exists at any frame distance but 0; `~w` is that up to `w` frames."""

MAX_ROLES = 16
"""A reach table is at most `[G, 16, 16]`."""


@dataclass(frozen=True, eq=False)
class Runs:
    """The maximal runs of equal (role, frame) of one sequence of `S` tokens, in order.

    Attributes:
        start: int64 `[N]`, first position of each run.
        end: int64 `[N]`, one past its last position.
        role: int64 `[N]`, -1 = padding.
        frame: int64 `[N]`, -1 = no frame; padding has none.
    """

    start: np.ndarray
    end: np.ndarray
    role: np.ndarray
    frame: np.ndarray

    def cut(self, position: int) -> "Runs":
        """The same tokens with a run boundary at `position`."""
        inside = np.flatnonzero((self.start < position) & (position < self.end))
        if not inside.size:
            return self
        i = int(inside[0])
        return Runs(
            np.insert(self.start, i + 1, position),
            np.insert(self.end, i, position),
            np.insert(self.role, i, self.role[i]),
            np.insert(self.frame, i, self.frame[i]),
        )

    def allowed(self, reach: np.ndarray) -> np.ndarray:
        """Which run may read which, before causality; see `reference.allowed_edges`.

        Args:
            reach: integers `[R, R]`.

        Returns:
            bool `[N, N]`, query run by key run.
        """
        has_frame = self.frame >= 0
        both_have_frames = has_frame[:, None] & has_frame[None, :]
        distance = np.abs(self.frame[:, None] - self.frame[None, :])
        # Padding, role -1, takes the last row or column, whose edges do not exist.
        table = np.full((len(reach) + 1, len(reach) + 1), NONE)
        table[:-1, :-1] = reach
        distance = np.where(both_have_frames, distance, 0)
        limit = table[self.role][:, self.role]
        allowed: np.ndarray = (distance >= (limit < 0)) & (distance <= farthest(limit))
        return allowed

    def spans(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positions of chosen runs as maximal spans.

        Args:
            chosen: bool `[K, N]`, K choices.

        Returns:
            int64 `[M]` and `[M, 2]`: of every span its choice, in order, and its bounds.
        """
        owner, begin, last = stretches(chosen)
        return owner, pairs(self.start[begin], self.end[last])


def farthest(reach: np.ndarray) -> np.ndarray:
    """The largest distance within each reach; 0 of `NONE`, which has none."""
    return np.where(reach < 0, ~reach, reach)


def pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`[N, 2]` of two arrays `[N]`; `np.stack` takes several times as long for few of them."""
    both = np.empty((len(first), 2), np.int64)
    both[:, 0], both[:, 1] = first, second
    return both


def stretches(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maximal stretches of True in the rows of bool `[K, N]`: row, first and last column."""
    width = chosen.shape[1] + 1
    padded = np.zeros((len(chosen), width + 1), bool)
    padded[:, 1:-1] = chosen
    # A row begins and ends unchosen, so its changes are a begin and an end in turn.
    edges = np.flatnonzero(padded[:, 1:] != padded[:, :-1]).reshape(-1, 2)
    return edges[:, 0] // width, edges[:, 0] % width, edges[:, 1] % width - 1


@dataclass(frozen=True, eq=False)
class Layout:
    """The roles and frames of a batch, on the host and immutable. Made by `prepare`.

    Equal contents give the same object, so a `Layout` is its own cache key.

    Attributes:
        role: int8 `[B, S]`, read-only.
        frame: int32 `[B, S]`, read-only.
        max_role: the largest role present, -1 if there is only padding.
        rows: the distinct sequences, each with the batch rows that have it.
    """

    role: np.ndarray
    frame: np.ndarray
    max_role: int
    rows: tuple[tuple[tuple[int, ...], Runs], ...] = field(repr=False)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """`(B, S)`."""
        return self.role.shape[0], self.role.shape[1]

    @cached_property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """`role` and `frame` on the CPU, not to be changed."""
        # Autograd may have to save them, whatever the mode of the first call.
        with torch.inference_mode(False):
            return torch.tensor(self.role), torch.tensor(self.frame)


def prepare(role: Tensor, frame: Tensor) -> Layout:
    """Read a layout once, so that all layers of a forward pass share what is derived from it.

    Pass the result to `segment_attention` in place of `role` (and None for `frame`). For tensors on
    a GPU this is the one device-to-host copy; `segment_attention` itself does none when it is given
    a `Layout` and a reach table on the CPU.

    Args:
        role: int8 `[B, S]`, -1 = padding.
        frame: int32 `[B, S]`, -1 = no frame.

    Raises:
        ValueError: wrong dtype, shape or device, or a role or frame below -1.
    """
    for name, tensor, dtype in (("role", role, torch.int8), ("frame", frame, torch.int32)):
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name}: expected a tensor, got {type(tensor).__name__}")
        if tensor.dtype != dtype:
            raise ValueError(f"{name}: expected dtype {dtype}, got {tensor.dtype}")
        if tensor.ndim != 2:
            raise ValueError(f"{name}: expected shape [B, S], got {tuple(tensor.shape)}")
    if role.shape != frame.shape:
        raise ValueError(
            f"frame: expected the shape of role {tuple(role.shape)}, got {tuple(frame.shape)}"
        )
    if role.device != frame.device:
        raise ValueError(f"frame: expected the device of role {role.device}, got {frame.device}")
    roles, frames = (x.numpy(force=True).tobytes() for x in (role, frame))
    return _layout(*role.shape, roles, frames)


@lru_cache(maxsize=64)
def _layout(batch: int, length: int, roles: bytes, frames: bytes) -> Layout:
    role = np.frombuffer(roles, np.int8).reshape(batch, length)
    frame = np.frombuffer(frames, np.int32).reshape(batch, length)
    for name, values in (("role", role), ("frame", frame)):
        if values.size and values.min() < -1:
            raise ValueError(f"{name}: expected values >= -1, got {values.min()}")
    distinct: dict[bytes, list[int]] = {}
    for b in range(batch):
        distinct.setdefault(role[b].tobytes() + frame[b].tobytes(), []).append(b)
    rows = tuple(
        (tuple(members), _runs(role[members[0]], frame[members[0]]))
        for members in distinct.values()
    )
    return Layout(role, frame, int(role.max(initial=-1)), rows)


def _runs(role: np.ndarray, frame: np.ndarray) -> Runs:
    role = role.astype(np.int64)
    frame = np.where(role < 0, -1, frame).astype(np.int64)
    change = np.ones(role.size + 1, bool)
    change[1:-1] = (role[1:] != role[:-1]) | (frame[1:] != frame[:-1])
    bounds = np.flatnonzero(change) if role.size else np.zeros(1, int)
    start = bounds[:-1]
    return Runs(start, bounds[1:], role[start], frame[start])


@dataclass(frozen=True, eq=False)
class ReachTable:
    """A reach table on the host; equal contents give the same object.

    Attributes:
        values: int64 `[G, R, R]`, read-only.
        tensor: the same, int32 on the CPU, not to be changed.
    """

    values: np.ndarray
    tensor: Tensor = field(repr=False)

    def distinct(self) -> list[tuple[tuple[slice, ...], np.ndarray]]:
        """The different `[R, R]` tables, each with the KV heads that have it."""
        if len(self.values) == 1:
            return [((slice(None),), self.values[0])]
        heads: dict[bytes, list[int]] = {}
        for g, table in enumerate(self.values):
            heads.setdefault(table.tobytes(), []).append(g)
        return [(slices(members), self.values[members[0]]) for members in heads.values()]


def slices(indices: Sequence[int]) -> tuple[slice, ...]:
    """Ascending indices as maximal slices."""
    ends = [i for i in range(1, len(indices)) if indices[i] != indices[i - 1] + 1]
    bounds = [0, *ends, len(indices)]
    return tuple(slice(indices[a], indices[b - 1] + 1) for a, b in pairwise(bounds))


def read_reach(reach: Tensor) -> ReachTable:
    """The reach table on the host, one object per content.

    Args:
        reach: int32 `[G, R, R]`, on any device; a copy from a GPU waits for it.

    Raises:
        ValueError: wrong dtype or shape, more than `MAX_ROLES` roles, or a value below -1.
    """
    if not isinstance(reach, Tensor) or reach.dtype != torch.int32:
        got = reach.dtype if isinstance(reach, Tensor) else type(reach).__name__
        raise ValueError(f"reach: expected an int32 tensor, got {got}")
    if reach.ndim != 3 or reach.shape[1] != reach.shape[2] or not reach.numel():
        raise ValueError(f"reach: expected shape [G, R, R], got {tuple(reach.shape)}")
    if reach.shape[1] > MAX_ROLES:
        raise ValueError(f"reach: expected at most {MAX_ROLES} roles, got {reach.shape[1]}")
    values = reach.detach().cpu().contiguous().numpy()
    return _reach(values.shape[0], values.shape[1], values.tobytes())


@lru_cache(maxsize=1024)
def _reach(groups: int, roles: int, values: bytes) -> ReachTable:
    reach = np.frombuffer(values, np.int32).reshape(groups, roles, roles).astype(np.int64)
    reach.flags.writeable = False
    with torch.inference_mode(False):
        tensor = torch.tensor(reach).int()
    return ReachTable(reach, tensor)
