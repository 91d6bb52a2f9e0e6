"""Activation patching: a prompt is run with some activations of another run in place of its own.

The other run is of a prompt with the same tokens, such as of the same clip in another order. What
an answer gains or loses says what those activations carry (Meng et al., 2202.05262; Heimersheim and
Nanda, 2404.15255). A patched run starts at its first patched layer and row, as a knockout does
(`prune.trace.changed_rows`), so it costs no more than one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from prune.kernels import segment_attention
from prune.layout.fine_role import AnyRole
from prune.layout.knockout_tables import tokens_of
from prune.runtime.attention import Enforcer
from prune.runtime.captured import Replay
from prune.runtime.enforce import PlanEnforcer
from prune.trace.changed_rows import ChangedRows
from prune.trace.dense_pass import DensePass, hidden_of, whole
from prune.trace.incremental import MAX_KEYS
from prune.trace.patch_choices import Site


@dataclass(frozen=True)
class Patch:
    """What one run takes from the other.

    Attributes:
        site: which activations.
        roles: of which tokens.
        layers: in which layers, ascending, at least one.
        head: of which attention head; of all if None. Only `Site.HEADS` has one.
    """

    site: Site
    roles: tuple[AnyRole, ...]
    layers: Sequence[int]
    head: int | None = None


@dataclass
class Activations:
    """What a run of one prompt can give to another; each list has an item per layer, or none.

    Attributes:
        final: the final state of the last token, `[d]`.
        states: `[S, d]`.
        heads: `[Hq, S, D]`.
        mlp: `[S, d]`.
    """

    final: Tensor = field(default_factory=lambda: torch.empty(0))
    states: list[Tensor] = field(default_factory=list)
    heads: list[Tensor] = field(default_factory=list)
    mlp: list[Tensor] = field(default_factory=list)


@dataclass
class _Listening:
    """An enforcer that notes what the heads of another one read."""

    enforcer: Enforcer
    heads: list[Tensor]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        out = self.enforcer.attend(layer, query, key, value, scale)
        self.heads.append(out[0])
        return out


@torch.no_grad()
def activations(replay: Replay, sites: Sequence[Site]) -> Activations:
    """Run one prompt densely, and keep what `sites` need of it.

    The model must be inside `prune.runtime.attention.seam`.
    """
    found = Activations()
    enforcer: Enforcer = whole(replay)
    if {Site.ATTENTION, Site.HEADS} & set(sites):
        enforcer = _Listening(enforcer, found.heads)

    def keep(kept: list[Tensor]) -> Callable[[int, Tensor], Tensor]:
        def note(layer: int, output: Tensor) -> Tensor:
            kept.append(output[0])
            return output

        return note

    kept = {Site.STATES: found.states, Site.MLP: found.mlp}
    chosen = {site: keep(kept[site]) for site in kept if site in sites}
    with _outputs(replay, chosen):
        found.final = replay.last_states(enforcer)[0, -1]
    return found


@contextmanager
def _outputs(replay: Replay, change: dict[Site, Callable[[int, Tensor], Tensor]]) -> Iterator[None]:
    """Let `change` replace what decoder layers or their MLPs return; it gets the layer's number."""
    handles = []
    for number, layer in enumerate(replay.text_model.layers):
        for site, changed in change.items():
            module = layer if site is Site.STATES else layer.mlp
            handles.append(module.register_forward_hook(_hook(number, changed)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(number: int, changed: Callable[[int, Tensor], Tensor]) -> Callable[..., Any]:
    def hook(module: Any, args: tuple[Any, ...], output: Any) -> Any:
        new = changed(number, hidden_of(output))
        return (new, *output[1:]) if isinstance(output, tuple) else new

    return hook


@dataclass
class _Patched:
    """Patched runs in flight, which start at one row.

    Attributes:
        plain: the enforcer of every edge of the prompt.
        source: what the runs take.
        patches: of each run.
        tokens: of each run, the positions that its roles have, int64 `[n]`.
        row: the first of them.
        runs: number of each batch entry's run (`ChangedRows.runs`).
    """

    plain: PlanEnforcer
    source: Activations
    patches: Sequence[Patch]
    tokens: Sequence[Tensor]
    row: int
    runs: Sequence[int] = ()

    def attend(
        self,
        layer: int,
        runs: Sequence[int],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
    ) -> Tensor:
        """See `prune.trace.changed_rows.Attention`."""
        segments, table = self.plain.segments, torch.from_numpy(self.plain.reach[layer])
        role, frame = (x.expand(len(runs), -1) for x in (segments.role, segments.frame))
        out: Tensor = segment_attention(query, key, value, role, frame, table, scale)
        for entry, run in enumerate(runs):
            patch = self.patches[run]
            if layer not in patch.layers or patch.site not in (Site.ATTENTION, Site.HEADS):
                continue
            heads = slice(None) if patch.head is None else slice(patch.head, patch.head + 1)
            given = self.source.heads[layer][heads, self.tokens[run]]
            out[entry, heads, self.tokens[run] - self.row] = given.to(out)
        return out

    def replacing(self, site: Site) -> Callable[[int, Tensor], Tensor]:
        """What puts the other run's states, or MLP outputs, in place of the batch's."""
        given = self.source.states if site is Site.STATES else self.source.mlp

        def replace(layer: int, output: Tensor) -> Tensor:
            output = output.clone()
            for entry, run in enumerate(self.runs):
                patch = self.patches[run]
                if patch.site is site and layer in patch.layers:
                    there = given[layer][self.tokens[run]]
                    output[entry, self.tokens[run] - self.row] = there.to(output)
            return output

        return replace


@torch.no_grad()
def patched_states(dense: DensePass, source: Activations, patches: Sequence[Patch]) -> Tensor:
    """Final states of the last token of every patched run, `[N, d]`.

    The model must be inside `prune.runtime.attention.seam`. A patch of roles that the prompt does
    not have changes nothing.

    Args:
        dense: the recorded pass of the prompt that is run.
        source: of a prompt with the same tokens.
        patches: one per run.

    Raises:
        BadInputError: the prompt has no such frame.
    """
    result = dense.states[-1:].repeat(len(patches), 1)
    length = dense.replay.segments.shape[1]
    known: dict[tuple[AnyRole, ...], Tensor] = {}
    for patch in patches:
        if patch.roles not in known:
            known[patch.roles] = tokens_of(patch.roles, dense.replay.segments).nonzero()[:, 0]
    there = [number for number, patch in enumerate(patches) if len(known[patch.roles])]

    def row_of(number: int) -> int:
        return int(known[patches[number].roles][0])

    together = max(1, MAX_KEYS // length)
    for row, group in groupby(sorted(there, key=row_of), key=row_of):
        # Runs that start late are short, so those of one batch start together.
        numbers = sorted(group, key=lambda number: patches[number].layers[0])
        for first in range(0, len(numbers), together):
            some = numbers[first : first + together]
            result[some] = _run(dense, source, [patches[n] for n in some], known, row).to(result)
    return result


def _run(
    dense: DensePass,
    source: Activations,
    patches: Sequence[Patch],
    tokens: dict[tuple[AnyRole, ...], Tensor],
    row: int,
) -> Tensor:
    """Final states `[N, d]` of runs that start at `row`."""
    of_runs = [tokens[patch.roles] for patch in patches]
    patched = _Patched(whole(dense.replay), source, patches, of_runs, row)
    rows = ChangedRows(dense, row, patched.attend)
    patched.runs = rows.runs
    sites = {patch.site for patch in patches} & {Site.STATES, Site.MLP}
    with _outputs(dense.replay, {site: patched.replacing(site) for site in sites}):
        return rows.final_states([patch.layers[0] for patch in patches])[:, -1]
