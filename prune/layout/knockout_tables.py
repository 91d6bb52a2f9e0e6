"""Reach tables of one layer with pathways knocked out, over the finer option roles."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from prune.kernels import ALL
from prune.layout.pathways import OptionRole, Pathway, Reach
from prune.layout.segments import NUM_ROLES, Role, Segments


def tell_options_apart(segments: Segments, true_option: int) -> Segments:
    """The layout in which every options token says whether its option is the true one."""
    told = torch.where(
        segments.option == true_option, OptionRole.TRUE_OPTION, OptionRole.FALSE_OPTIONS
    )
    role = torch.where(segments.role == Role.OPTIONS, told, segments.role)
    return replace(segments, role=role.to(segments.role.dtype))


def knockout_tables(pathways: Sequence[Pathway], inherit: bool = False) -> Reach:
    """One layer's reach over `Role` and `OptionRole`, `[1 + P, 1, R, R]`.

    The first is dense, the others lack one pathway each. Generated tokens are `Role.ANSWER`.

    Args:
        pathways: what is removed.
        inherit: whether generated tokens also lose what `last` loses, as they do in a plan; else
            their role is one like any other.
    """
    size = NUM_ROLES + len(OptionRole)
    tables = np.full((1 + len(pathways), 1, size, size), ALL, np.int32)
    for table, pathway in zip(tables[1:, 0], pathways, strict=True):
        for single in pathway.singles:
            block = np.ix_(_finer(single.queries), _finer(single.keys))
            table[block] = np.minimum(table[block], single.limit)
    if inherit:
        own = tables[..., Role.ANSWER, Role.ANSWER].copy()
        tables[..., Role.ANSWER, :] = np.minimum(
            tables[..., Role.ANSWER, :], tables[..., Role.LAST, :]
        )
        tables[..., Role.ANSWER, Role.ANSWER] = own
    return tables


def _finer(roles: Sequence[Role | OptionRole]) -> list[int]:
    """Roles, with `options` also split into the `OptionRole`s."""
    return [*roles, *(OptionRole if Role.OPTIONS in roles else ())]
