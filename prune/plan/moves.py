"""The moves of a search: removable structures, and single pathways in single layers.

A structure is a cut that grows along one axis: video dead from layer l on, no frame farther than w.
Removing edges one by one would not find it, since a state stays alive until the last edge that
reads it is removed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.layout.edges import EdgeHistogram
from prune.layout.freezing import compact, freezable, freeze
from prune.layout.pathways import (
    LAST,
    OPTIONS,
    PATHWAYS,
    QUESTION_SEALED,
    VIDEO,
    Pathway,
    remove_pathway,
)
from prune.layout.reach import (
    ALL,
    NONE,
    OTHER_FRAMES,
    SAME_FRAME,
    Reach,
    inherit_rows,
    limit_edges,
    narrowed,
)
from prune.layout.segments import NUM_ROLES, Role
from prune.plan.liveness import State, states

_TEXT = (*QUESTION_SEALED, *OPTIONS, *LAST)
_READERS = (*VIDEO, *_TEXT)


@dataclass(frozen=True)
class Slide:
    """A structure with settings 1 to `settings`; each removes strictly more than the one before.

    Attributes:
        what: in words, with `{}` for `shown(setting)`.
        cut: removes the structure at a setting from a reach table `[L, G, R, R]`, in place.
        shown: the number displayed for a setting (a 1-based layer, or frames).
    """

    what: str
    settings: int
    cut: Callable[[Reach, int], None]
    shown: Callable[[int], int]

    def at(self, reach: Reach, setting: int) -> Reach:
        """A copy of `reach` with this structure removed."""
        table = freezable(reach)
        if setting:
            self.cut(table, setting)
        return compact(table)

    def title(self, setting: int) -> str:
        """In words, for example `video dead from layer 9 on`."""
        return self.what.format(self.shown(setting))


def slides(num_layers: int, num_frames: int, freezing: bool = False) -> list[Slide]:
    """Every structure, in the order in which a search tries them.

    States that die come first, since they save most, then those that are no longer updated; then
    the paper's questions (2510.13251, section 3): in which layers frames are compared, the question
    reads the video, and the answer reads the question; and where tokens read their own frame.

    Args:
        num_layers: L.
        num_frames: of a typical prompt.
        freezing: with those that freeze states.
    """

    def dead(name: str, keys: tuple[Role, ...]) -> Slide:
        return Slide(
            f"{name} dead from layer {{}} on",
            num_layers,
            lambda reach, n: limit_edges(reach, slice(num_layers - n, None), _READERS, keys, NONE),
            lambda n: num_layers - n + 1,
        )

    def starts(name: str, queries: tuple[Role, ...], keys: tuple[Role, ...], limit: int) -> Slide:
        return Slide(
            f"{name} from layer {{}} on",
            num_layers,
            lambda reach, n: limit_edges(reach, slice(n), queries, keys, limit),
            lambda n: n + 1,
        )

    def frozen(name: str, roles: tuple[Role, ...]) -> Slide:
        return Slide(
            f"{name} frozen from layer {{}} on",
            num_layers,
            lambda reach, n: freeze(reach, slice(num_layers - n, None), roles),
            lambda n: num_layers - n + 1,
        )

    named = (("video", VIDEO), ("question", QUESTION_SEALED), ("options", OPTIONS))
    found = [
        *(dead(*one) for one in named),
        *(frozen(*one) for one in named if freezing),
        Slide(
            "cross-frame up to layer {}",
            num_layers,
            lambda reach, n: limit_edges(
                reach, slice(num_layers - n, None), VIDEO, VIDEO, SAME_FRAME
            ),
            lambda n: num_layers - n,
        ),
        starts("cross-frame", VIDEO, VIDEO, SAME_FRAME),
        Slide(
            "at most {} frames back",
            num_frames - 1,
            lambda reach, n: limit_edges(reach, slice(None), VIDEO, VIDEO, num_frames - 1 - n),
            lambda n: num_frames - 1 - n,
        ),
        Slide(
            "video reads its own frame up to layer {}",
            num_layers,
            lambda reach, n: limit_edges(
                reach, slice(num_layers - n, None), VIDEO, VIDEO, OTHER_FRAMES
            ),
            lambda n: num_layers - n,
        ),
        starts("text reads the video", _TEXT, VIDEO, NONE),
        starts("the answer reads the text", LAST, (*QUESTION_SEALED, *OPTIONS), NONE),
    ]
    return [slide for slide in found if slide.settings > 0]


@dataclass(frozen=True)
class Candidate:
    """One pathway in one layer (of one KV head, or all), with the harm that the trace saw."""

    pathway: Pathway
    layer: int
    harm: float
    head: int | None = None

    def cut(self, reach: Reach) -> None:
        """Remove it from a reach table `[L, G, R, R]`, in place."""
        table = reach if self.head is None else reach[:, self.head : self.head + 1]
        remove_pathway(table, self.pathway, [self.layer])

    @property
    def name(self) -> str:
        """In words, for example `video → last in layer 3`."""
        head = "" if self.head is None else f", KV head {self.head}"
        return f"{self.pathway.title} in layer {self.layer + 1}{head}"


def candidates(harm: Mapping[str, NDArray[np.float64]]) -> list[Candidate]:
    """Every (pathway, layer).

    Args:
        harm: for each pathway how much it matters in each layer, `[L]` (`Trace.harm`).
    """
    return [
        Candidate(PATHWAYS[name], layer, float(value))
        for name, by_layer in harm.items()
        for layer, value in enumerate(by_layer)
    ]


def without(reach: Reach, chosen: list[Candidate]) -> Reach:
    """A copy of `reach` without some candidates."""
    table = reach.copy()
    for candidate in chosen:
        candidate.cut(table)
    return table


def restored(reach: Reach, pathway: Pathway, layers: Sequence[int] | None = None) -> Reach:
    """A copy of `reach` in which some layers, or all, have `pathway` again."""
    table = reach.copy()
    chosen = np.arange(len(table)) if layers is None else np.array(layers)
    groups = np.arange(table.shape[1])
    block = np.ix_(chosen, groups, np.array(pathway.queries), np.array(pathway.keys))
    # Where more is missing than the pathway, another one that shares its edges was removed, too.
    open_again = narrowed(table[block], pathway.limit) == pathway.limit
    table[block] = np.where(open_again, ALL, table[block])
    inherit_rows(table)
    return table


def closed(reach: Reach) -> Reach:
    """A copy of `reach` without edges into states that are not computed for any answer, nor for a
    follow-up question, and without frozen ones that nothing needs.

    They do not exist anyway; removing them makes that explicit in the plan.
    """
    table = reach.copy()
    for layer, state in zip(table, states(reach, "multi_turn"), strict=True):
        layer[:, :NUM_ROLES, :NUM_ROLES][:, state < State.COMPUTE] = NONE
        layer[:, :NUM_ROLES, NUM_ROLES:][:, state == State.DEAD] = ALL
    return compact(table)


def removed_layers(reach: Reach, pathway: Pathway, histogram: EdgeHistogram) -> list[int]:
    """The layers in which `reach` lacks at least one edge of `pathway` that the prompt has."""
    dense = restored(reach, pathway)
    return [
        layer
        for layer in range(len(reach))
        if (histogram.kept(dense[layer]) > histogram.kept(reach[layer])).any()
    ]
