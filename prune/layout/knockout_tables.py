"""Reach tables of one layer with pathways knocked out, over the finer roles of a trace."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from prune.inputs.written import TokenSpans
from prune.kernels import ALL
from prune.layout.fine_role import (
    FRAMED,
    NO_FRAMES,
    NUM_FINE,
    WHOLE,
    AnyRole,
    FineRole,
    FrameRole,
    Frames,
    frame_number,
    with_parts,
)
from prune.layout.pathways import Pathway, Reach, narrowed
from prune.layout.segments import Role, Segments


def tell_options_apart(
    segments: Segments, true_option: int, spans: TokenSpans | None = None
) -> Segments:
    """The layout of one question with the finer roles of its parts (`FineRole`).

    Args:
        segments: a batch of one.
        true_option: index of the true one.
        spans: where the question's parts are, if it is known; without them only true and false
            options are distinguished.
    """
    told = torch.where(segments.option == true_option, FineRole.TRUE_OPTION, FineRole.FALSE_OPTIONS)
    role = torch.where(segments.role == Role.OPTIONS, told, segments.role)
    if spans is not None:
        row, size = role[0], role.shape[1]
        row[row == Role.TAIL] = FineRole.INSTRUCTION
        _mark(row, spans.stem, FineRole.STEM)
        for index, end in enumerate(spans.ends):
            inner = segments.option[0, end[0] + size] == index if end[0] < end[1] else False
            if index == true_option:
                _mark(row, end, FineRole.TRUE_END if inner else FineRole.LAST_TRUE_END)
            else:
                _mark(row, end, FineRole.FALSE_END if inner else FineRole.LAST_FALSE_END)
    return replace(segments, role=role.to(segments.role.dtype))


def _mark(row: torch.Tensor, span: tuple[int, int], role: FineRole) -> None:
    """Give the tokens of a span, counted from the end of the row, a finer role."""
    row[len(row) + span[0] : len(row) + span[1]] = int(role)


def tokens_of(roles: Sequence[AnyRole], segments: Segments) -> torch.Tensor:
    """Which tokens of one prompt have one of these roles: bool `[S]`.

    Args:
        roles: those of named frames included.
        segments: a batch of one.

    Raises:
        BadInputError: the prompt has no such frame.
    """
    role, frame = segments.role[0], segments.frame[0]
    numbers = with_parts(named for named in roles if not isinstance(named, FrameRole))
    chosen = torch.isin(role, torch.tensor(numbers, dtype=role.dtype))
    framed = torch.isin(role, torch.tensor(FRAMED, dtype=role.dtype))
    for named in roles:
        if isinstance(named, FrameRole):
            chosen |= framed & (frame == named.index_of(int(frame.max()) + 1))
    return chosen


def told_tables(
    pathways: Sequence[Pathway],
    segments: Segments,
    inherit: bool = False,
    under: Reach | None = None,
) -> tuple[Reach, Segments]:
    """`knockout_tables` of one prompt, and its layout with the frames that pathways name.

    Args:
        pathways, inherit, under: as in `knockout_tables`.
        segments: a batch of one.

    Raises:
        BadInputError: the prompt has no such frame.
    """
    named = {r for p in pathways for single in p.singles for r in (*single.keys, *single.queries)}
    count = int(segments.frame.max()) + 1
    index = {role: role.index_of(count) for role in named if isinstance(role, FrameRole)}
    order = sorted(set(index.values()))
    frames = {role: order.index(at) for role, at in index.items()}
    role = segments.role.clone()
    for place, at in enumerate(order):
        for part in FRAMED:
            here = (segments.frame == at) & (segments.role == part)
            role[here] = frame_number(place, part)
    return knockout_tables(pathways, inherit, under, frames), replace(segments, role=role)


def knockout_tables(
    pathways: Sequence[Pathway],
    inherit: bool = False,
    under: Reach | None = None,
    frames: Frames = NO_FRAMES,
) -> Reach:
    """One layer's reach over `Role` and `FineRole`, `[1 + P, 1, R, R]`.

    The first removes nothing, the others lack one pathway each. Generated tokens are `Role.ANSWER`.

    Args:
        pathways: what is removed.
        inherit: whether generated tokens also lose what `last` loses, as they do in a plan; else
            their role is one like any other.
        under: one layer's reach `[R, R]` of a plan, whose edges are missing in all of them.
        frames: those that pathways name (`told_tables`).
    """
    places = len(set(frames.values()))
    size = NUM_FINE + len(FRAMED) * places
    tables = np.full((1 + len(pathways), 1, size, size), ALL, np.int32)
    for table, pathway in zip(tables[1:, 0], pathways, strict=True):
        for single in pathway.singles:
            block = np.ix_(with_parts(single.queries, frames), with_parts(single.keys, frames))
            table[block] = narrowed(table[block], single.limit)
    if inherit:
        own = tables[..., Role.ANSWER, Role.ANSWER].copy()
        tables[..., Role.ANSWER, :] = narrowed(
            tables[..., Role.ANSWER, :], tables[..., Role.LAST, :]
        )
        tables[..., Role.ANSWER, Role.ANSWER] = own
    if under is not None:
        whole = [int(WHOLE.get(role, role)) for role in (*Role, *FineRole)]
        whole += [int(part) for part in FRAMED] * places
        tables = narrowed(tables, under[np.ix_(whole, whole)])
    return tables


def merged(tables: Reach, segments: Segments) -> tuple[Reach, Segments]:
    """The same edges over the roles of a prompt that tables tell apart: kernels take up to 16.

    Args:
        tables: `[..., R, R]`.
        segments: the layout over those roles.

    Returns:
        Tables `[..., C, C]`, C at most R, and the layout over their roles.
    """
    present = segments.role.unique().numpy()
    present = present[present >= 0]
    flat = tables[..., present[:, None], present].reshape(-1, len(present), len(present))
    alike = np.concatenate([flat.transpose(1, 0, 2), flat.transpose(2, 0, 1)], -1)
    signatures = alike.reshape(len(present), -1)
    _, first, kind = np.unique(signatures, axis=0, return_index=True, return_inverse=True)
    kinds = np.zeros(tables.shape[-1], np.int8)
    kinds[present] = kind.ravel()
    role = torch.from_numpy(kinds)[segments.role.clamp(min=0).long()]
    role = torch.where(segments.role < 0, segments.role, role)
    return tables[..., present[first][:, None], present[first]], replace(segments, role=role)
