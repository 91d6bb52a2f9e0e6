"""Attention knockout (Map the Flow, 2510.13251, section 3) by masked forwards, batched.

This plain version is the reference for the incremental one: every knockout of a sample is one row
of a batch that runs through all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prune.errors import UsageError
from prune.kernels import allowed_edges
from prune.layout.knockout_tables import told_tables
from prune.layout.pathways import Pathway
from prune.layout.reach import Reach
from prune.plan.model_id import geometry
from prune.runtime.captured import Replay, next_logits
from prune.runtime.enforce import MaskEnforcer
from prune.trace.windows import Style, style_windows


@dataclass(frozen=True)
class Knockouts:
    """Which knockouts to run: every pathway, in every window of a sweep.

    Attributes:
        pathways: what is removed. Of frozen roles a sweep's number is the first layer that no
            longer updates them, whatever the window.
        window: number of layers around each layer.
        exact_reference: run each through all layers (`plain_logits`), not incrementally.
        heads: KV heads to cut one at a time; `None` cuts all together.
        under: reach `[L, 1, R, R]` of the plan that the model runs under; dense if None.
    """

    pathways: Sequence[Pathway]
    num_layers: int
    window: int
    exact_reference: bool = False
    style: Style = Style.CENTRE
    heads: Sequence[int | None] = field(default=(None,))
    under: Reach | None = None

    def __post_init__(self) -> None:
        if not any(pathway.frozen for pathway in self.pathways):
            return
        if self.style not in (Style.CENTRE, Style.TOP_DOWN) or list(self.heads) != [None]:
            raise UsageError(
                "frozen states stay so from a layer on, in all heads: give --style centre or "
                "top-down, and no --per-head"
            )

    def windows(self) -> list[list[int]]:
        """The layers of every knockout, see `style_windows`."""
        return style_windows(self.style, self.window, self.num_layers)


def knockout_masks(
    replay: Replay,
    pathways: Sequence[Pathway],
    rows: int,
    inherit: bool = False,
    under: Reach | None = None,
) -> Tensor:
    """Edges of a prompt's last rows, densely and without each pathway: bool `[1 + P, rows, S]`.

    `inherit` and `under` are those of `told_tables`.
    """
    tables, told = told_tables(pathways, replay.segments, inherit, under)
    return torch.stack(
        [
            allowed_edges(told.role, told.frame, table, rows)[0, 0]
            for table in torch.from_numpy(tables)
        ]
    )


def plain_logits(replay: Replay, knockouts: Knockouts, batch: int = 32) -> Tensor:
    """Next-token logits under every knockout, float32 `[P, W, H, V]`.

    Args:
        replay: one prompt.
        knockouts: what to remove.
        batch: knockouts in one forward pass.
    """
    return next_logits(replay.model, plain_states(replay, knockouts, 1, batch)[..., -1, :])


def plain_states(replay: Replay, knockouts: Knockouts, count: int, batch: int = 32) -> Tensor:
    """Final states of the last `count` tokens under every knockout, `[P, W, H, count, d]`.

    Where a whole reply is read (`count` > 1), its tokens lose what `last` loses.

    Args:
        replay: one prompt.
        knockouts: what to remove.
        count: how many of the last tokens.
        batch: knockouts in one forward pass.
    """
    length, under = replay.segments.shape[1], knockouts.under
    each = [None] if under is None else [layer[0] for layer in under]
    kinds, of_layer = _distinct(each, knockouts.num_layers)
    masks = torch.cat(
        [knockout_masks(replay, knockouts.pathways, length, count > 1, kind) for kind in kinds]
    )
    windows, heads = knockouts.windows(), list(knockouts.heads)
    groups = 1 if heads == [None] else geometry(replay.model).num_kv_heads
    cut = torch.zeros(knockouts.num_layers, 1, len(windows), len(heads), groups, dtype=torch.bool)
    for number, layers in enumerate(windows):
        for column, head in enumerate(heads):
            cut[layers, 0, number, column, slice(None) if head is None else head] = True
    # The mask of every layer and KV head for every knockout; 0 is the dense one.
    choice = cut * torch.arange(1, len(knockouts.pathways) + 1).reshape(1, -1, 1, 1, 1)
    # Layers under other rows of the plan have masks of their own.
    choice += (of_layer * (1 + len(knockouts.pathways))).reshape(-1, 1, 1, 1, 1)
    parts = [
        replay.last_states(MaskEnforcer(masks, columns), count, columns.shape[1])
        for columns in choice.flatten(1, 3).split(batch, dim=1)
    ]
    states: Tensor = torch.cat(parts).unflatten(0, choice.shape[1:4])
    return states


def _distinct(tables: Sequence[Any], num_layers: int) -> tuple[list[Any], Tensor]:
    """Tables without repetitions, and which of them each layer has, int64 `[L]`."""
    if len(tables) == 1:
        return list(tables), torch.zeros(num_layers, dtype=torch.int64)
    known: dict[bytes, int] = {}
    places = [known.setdefault(table.tobytes(), len(known)) for table in tables]
    return [tables[places.index(kind)] for kind in range(len(known))], torch.tensor(places)
