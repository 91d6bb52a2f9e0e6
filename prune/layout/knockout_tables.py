"""Reach tables of one layer with pathways knocked out, over the finer roles of a trace."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from prune.errors import BadInputError
from prune.inputs.written import TokenSpans
from prune.kernels import ALL
from prune.layout.fine_role import (
    FRAMED,
    NOTHING_NAMED,
    NUM_FINE,
    WHOLE,
    AnyRole,
    FineRole,
    FrameRole,
    MarkedRole,
    Named,
    NamedRole,
    OptionRole,
    with_parts,
)
from prune.layout.pathways import Pathway
from prune.layout.reach import Reach, narrowed
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
        roles: named ones included.
        segments: a batch of one.

    Raises:
        BadInputError: the prompt has no such frame, option or mark.
    """
    role = segments.role[0]
    numbers = with_parts(one for one in roles if not isinstance(one, NamedRole))
    chosen = torch.isin(role, torch.tensor(numbers, dtype=role.dtype))
    for one in roles:
        if isinstance(one, NamedRole):
            chosen |= _named_tokens(one, segments)
    return chosen


def _named_tokens(role: NamedRole, segments: Segments) -> torch.Tensor:
    """Which tokens of one prompt have a named role: bool `[S]`."""
    match role:
        case FrameRole():
            framed = torch.tensor(FRAMED, dtype=segments.role.dtype)
            frame = segments.frame[0]
            return torch.isin(segments.role[0], framed) & (
                frame == role.index_of(int(frame.max()) + 1)
            )
        case OptionRole(number):
            found = segments.option[0] == number - 1
            if not found.any():
                raise BadInputError(f"option:{number}: the prompt has no such option")
            return found
        case MarkedRole(mark):
            if mark not in segments.marks:
                raise BadInputError(f"{mark}: nothing says which tokens of a prompt these are")
            return segments.marks[mark]


def told_tables(
    pathways: Sequence[Pathway],
    segments: Segments,
    inherit: bool = False,
    under: Reach | None = None,
) -> tuple[Reach, Segments]:
    """`knockout_tables` of one prompt, and its layout with the named roles of pathways.

    Args:
        pathways, inherit, under: as in `knockout_tables`.
        segments: a batch of one.

    Raises:
        BadInputError: the prompt has no such frame, option or mark.
    """
    every = [r for p in pathways for single in p.singles for r in (*single.keys, *single.queries)]
    roles = tuple(dict.fromkeys(role for role in every if isinstance(role, NamedRole)))
    if not roles:
        return knockout_tables(pathways, inherit, under), segments
    names = np.stack([_named_tokens(role, segments).numpy() for role in roles], 1)
    row = segments.role.clone()
    cells: dict[tuple[int, frozenset[int]], int] = {}
    for token in np.flatnonzero(names.any(1)).tolist():
        cell = int(row[0, token]), frozenset(np.flatnonzero(names[token]).tolist())
        row[0, token] = NUM_FINE + cells.setdefault(cell, len(cells))
    named = Named(roles, tuple(cells))
    return knockout_tables(pathways, inherit, under, named), replace(segments, role=row)


def knockout_tables(
    pathways: Sequence[Pathway],
    inherit: bool = False,
    under: Reach | None = None,
    named: Named = NOTHING_NAMED,
) -> Reach:
    """One layer's reach over `Role` and `FineRole`, `[1 + P, 1, R, R]`.

    The first removes nothing, the others lack one pathway each. Generated tokens are `Role.ANSWER`.

    Args:
        pathways: what is removed.
        inherit: whether generated tokens also lose what `last` loses, as they do in a plan; else
            their role is one like any other.
        under: one layer's reach `[R, R]` of a plan, whose edges are missing in all of them.
        named: the named roles of pathways (`told_tables`).
    """
    size = NUM_FINE + len(named.cells)
    tables = np.full((1 + len(pathways), 1, size, size), ALL, np.int32)
    for table, pathway in zip(tables[1:, 0], pathways, strict=True):
        for single in pathway.singles:
            block = np.ix_(with_parts(single.queries, named), with_parts(single.keys, named))
            table[block] = narrowed(table[block], single.limit)
    if inherit:
        own = tables[..., Role.ANSWER, Role.ANSWER].copy()
        tables[..., Role.ANSWER, :] = narrowed(
            tables[..., Role.ANSWER, :], tables[..., Role.LAST, :]
        )
        tables[..., Role.ANSWER, Role.ANSWER] = own
    if under is not None:
        plain = [*Role, *FineRole]
        plain += [plain[role] for role, _ in named.cells]
        whole = [int(WHOLE.get(role, role)) for role in plain]
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
