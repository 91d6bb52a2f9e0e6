"""Reach tables, and the named pathways of traces, plans and figures.

`reach[layer, kv_group, query role, key role]` is the largest frame distance over which the edge
exists: `NONE`, 0 (same frame), w (up to w frames back) or `ALL`; or `~w`, the same without the own
frame, so `OTHER_FRAMES` is all but that. Causality always holds on top. A table may also say which
states a layer does not update (`prune.layout.freezing`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.errors import UsageError
from prune.kernels import ALL as ALL
from prune.kernels import OTHER_FRAMES as OTHER_FRAMES
from prune.layout.fine_role import (
    CHOSEN,
    REGIONS,
    SINK,
    WHOLE,
    AnyRole,
    FineRole,
    FrameRole,
    MarkedRole,
    OptionRole,
    is_fine,
)
from prune.layout.segments import NUM_ROLES, Role

NONE = -1
SAME_FRAME = 0

VIDEO = (Role.VIDEO, Role.TIMESTAMP)
"""Timestamps count as video: Map the Flow's published ranges include the text between frames."""

QUESTION = (Role.QUESTION,)
QUESTION_SEALED = (Role.BRIDGE, Role.QUESTION, Role.TAIL)
OPTIONS = (Role.OPTIONS,)
LAST = (Role.LAST,)

PLANNED = tuple(Role)[: Role.ANSWER]
"""Roles that a plan covers; `inherit_rows` fills in the others."""

Reach = NDArray[np.int32]
"""int32 `[L, G, R, R]`, or `[L, G, R + 1, R + 1]` (`prune.layout.freezing`)."""


@dataclass(frozen=True)
class Pathway:
    """A set of edges: from the states of `keys` into those of `queries`.

    Attributes:
        limit: the reach left when it is removed (`SAME_FRAME` for cross-frame edges, `OTHER_FRAMES`
            for those within a frame).
        joined: its parts, if it stands for several pathways removed together.
        frozen: whether it stands for no edges, but for the updates of the states of `keys`
            (`prune.layout.freezing.find_traced`).
    """

    name: str
    keys: tuple[AnyRole, ...]
    queries: tuple[AnyRole, ...]
    limit: int = NONE
    joined: tuple["Pathway", ...] = ()
    frozen: bool = False

    @property
    def singles(self) -> tuple["Pathway", ...]:
        """The single pathways that it removes."""
        return self.joined or (self,)

    @property
    def title(self) -> str:
        """For figures, for example `video → question`."""
        if self.frozen:
            return f"{self.name.partition(':')[2].replace(',', ', ')} frozen"
        title = self.name.replace("s_frame", "s-frame").replace("a_frame", "a-frame")
        title = title.replace(",", ", ")
        return title.replace("_to_", " → ").replace("->", " → ").replace("_", " ")


def join(pathways: Iterable[Pathway]) -> Pathway:
    """One pathway that removes the edges of all."""
    joined = tuple(pathways)
    return Pathway(" + ".join(p.name for p in joined), (), (), joined=joined)


PUBLISHED = (
    Pathway("cross_frame", VIDEO, VIDEO, SAME_FRAME),
    Pathway("video_to_question", VIDEO, QUESTION),
    Pathway("video_to_options", VIDEO, OPTIONS),
    Pathway("video_to_last", VIDEO, LAST),
    Pathway("question_to_last", QUESTION, LAST),
    Pathway("options_to_last", OPTIONS, LAST),
    Pathway("last_to_last", LAST, LAST),
)
"""Map the Flow's pathways (2510.13251, section 3), question and options apart."""

SEALED = (
    Pathway("video_to_question_sealed", VIDEO, QUESTION_SEALED),
    Pathway("question_to_last_sealed", QUESTION_SEALED, LAST),
)
"""The same with `bridge` and `tail` as part of the question, so that nothing leaks through them."""

REMOVABLE = (
    PUBLISHED[0],
    Pathway("video_to_video", VIDEO, VIDEO),
    SEALED[0],
    *PUBLISHED[2:4],
    SEALED[1],
    *PUBLISHED[5:],
    Pathway("system_to_video", (Role.SYSTEM,), VIDEO),
    Pathway("question_to_options", QUESTION_SEALED, OPTIONS),
    Pathway("question_to_question", QUESTION_SEALED, QUESTION_SEALED),
    Pathway("options_to_options", OPTIONS, OPTIONS),
    Pathway("options_to_question", OPTIONS, QUESTION_SEALED),
)
"""What a searched plan may remove. Nothing here leaks: every text role has its pathways."""

TRACED = tuple(dict.fromkeys((*PUBLISHED, *SEALED, *REMOVABLE)))
"""What `prune trace` knocks out."""

INTRA_FRAME = Pathway("intra_frame", VIDEO, VIDEO, OTHER_FRAMES)
"""Edges between the tokens of one frame, and of each to itself: space, as `cross_frame` is time."""

SEARCHED = (*REMOVABLE, INTRA_FRAME)
"""What a search may remove layer by layer, as far as the trace has it."""

PATHWAYS = {pathway.name: pathway for pathway in (*TRACED, INTRA_FRAME)}

MAP_ROWS = (
    *PUBLISHED[:1],
    INTRA_FRAME,
    *PUBLISHED[1:],
    Pathway("video_to_bridge_and_tail", VIDEO, (Role.BRIDGE, Role.TAIL)),
    Pathway("question_to_options", QUESTION_SEALED, OPTIONS),
    Pathway("question_to_question", QUESTION_SEALED, QUESTION_SEALED),
)
"""The rows of a plan drawn as a grid of pathways and layers."""


TRUE_END = (FineRole.TRUE_END, FineRole.LAST_TRUE_END)
FALSE_END = (FineRole.FALSE_END, FineRole.LAST_FALSE_END)

_WORDS: dict[str, tuple[AnyRole, ...]] = {
    **{role.name.lower(): (role,) for role in PLANNED},
    "video": VIDEO,
    "true_option": (FineRole.TRUE_OPTION, FineRole.TRUE_END),
    "false_options": (FineRole.FALSE_OPTIONS, FineRole.FALSE_END),
    "true_option_text": (FineRole.TRUE_OPTION,),
    "false_options_text": (FineRole.FALSE_OPTIONS,),
    "true_option_end": TRUE_END,
    "false_options_end": FALSE_END,
    "option_end": TRUE_END + FALSE_END,
    "question_text": (FineRole.STEM,),
    "instruction": (FineRole.INSTRUCTION,),
    "response": (Role.ANSWER,),
    "reply": (Role.LAST, Role.ANSWER),
    "history": (Role.HISTORY,),
    "image": (Role.IMAGE,),
    **{mark: (MarkedRole(mark),) for mark in (SINK, CHOSEN, *REGIONS)},
}

_KNOWN = ", ".join((*_WORDS, "frame:1", "frame:2, ...", "frame:last", "option:1", "option:2, ..."))


def find_pathway(text: str) -> Pathway:
    """A pathway by its name or in terms of roles; `+` joins several into one knockout.

    Args:
        text: such as `cross_frame`, `video->question,options` or `video->last + question->last`.
            Roles are those of `prune.layout.segments`; parts of a question (`FineRole`):
            `question_text`, the question alone, `true_option` and `false_options` with the
            separators behind them (but that of the last option, which is `tail`), these options'
            `_text` and `_end` alone, `option_end` for all separators, and `instruction`, the tail
            without one; `frame:1`, `frame:2`, ... and `frame:last`; `option:1`, `option:2`, ... and
            `option:chosen`, the one that the model answers, each with the separator behind it;
            `region:object` and `region:named`, the video tokens that show a known object, or one
            that the question names, and both with `-control`, as many others
            (`prune.trace.regions`);
            `response` (tokens of a reply) and `reply` (those and `last`, which predicts the first
            of them); `history` (turns before the question), `image` (pictures), and `sink`
            (`prune.trace.sinks`).

    Raises:
        UsageError: it is none of these, or no prompt has such an edge.
    """
    pathways = [_single(part.strip()) for part in text.split("+")]
    return pathways[0] if len(pathways) == 1 else join(pathways)


def _single(text: str) -> Pathway:
    if text in PATHWAYS:
        return PATHWAYS[text]
    keys, _, queries = text.replace(" ", "").partition("->")
    try:
        read, by = _roles_of(keys), _roles_of(queries)
    except KeyError as error:
        raise UsageError(
            f"pathway {text!r}: {error} is not a role; write roles on both sides of ->, such as "
            f"'video->question,options', of {_KNOWN}; or one of {', '.join(PATHWAYS)}"
        ) from None
    first, last = min(_place(r, False) for r in read), max(_place(r, True) for r in by)
    if last < first or _later(read, by):
        raise UsageError(
            f"pathway {text!r} has no edges: {queries} stands before {keys}, and a token "
            "reads only those before it"
        )
    return Pathway(f"{keys}->{queries}", read, by)


_ORDER: dict[AnyRole, Role] = {
    Role.TIMESTAMP: Role.VIDEO,
    # In a traced reply `last` is its last token so far.
    Role.ANSWER: Role.LAST,
    **WHOLE,
}
"""The role beside which another stands in a prompt, where its number does not say it."""


def _place(role: AnyRole, asks: bool) -> int:
    """Where a role stands in a prompt: its last possible place if it asks, else its first."""
    if isinstance(role, FrameRole):
        return int(Role.VIDEO)
    if isinstance(role, OptionRole) or role == MarkedRole(CHOSEN):
        return int(Role.OPTIONS)
    if isinstance(role, MarkedRole) and role.mark in REGIONS:
        return int(Role.VIDEO)
    if isinstance(role, MarkedRole) or role in (Role.HISTORY, Role.IMAGE):
        return int(Role.LAST if asks else Role.SYSTEM)
    return int(_ORDER.get(role, role))


def _later(keys: tuple[AnyRole, ...], queries: tuple[AnyRole, ...]) -> bool:
    """Whether all keys are frames behind those of all queries."""
    keyed, asked = (
        [r.number for r in side if isinstance(r, FrameRole)] for side in (keys, queries)
    )
    if len(keyed) < len(keys) or len(asked) < len(queries):
        return False
    return max(number or ALL for number in asked) < min(number or ALL for number in keyed)


def find_roles(text: str) -> tuple[AnyRole, ...]:
    """Roles by their names, with commas between them: those of `find_pathway`.

    Raises:
        UsageError: a name is unknown.
    """
    try:
        return _roles_of(text.replace(" ", ""))
    except KeyError as error:
        raise UsageError(f"roles {text!r}: {error} is not one; there are {_KNOWN}") from None


def roles_of(pathways: Iterable[Pathway]) -> set[AnyRole]:
    """The roles on both sides of pathways."""
    singles = [single for pathway in pathways for single in pathway.singles]
    return {role for single in singles for role in (*single.keys, *single.queries)}


def _roles_of(text: str) -> tuple[AnyRole, ...]:
    return tuple(role for word in text.split(",") for role in _roles(word))


def _roles(word: str) -> tuple[AnyRole, ...]:
    """The roles of a word; raises `KeyError` for any other."""
    kind, _, number = word.partition(":")
    if kind == "frame" and (number == "last" or (number.isdecimal() and int(number) > 0)):
        return (FrameRole(0 if number == "last" else int(number)),)
    if kind == "option" and number.isdecimal() and int(number) > 0:
        return (OptionRole(int(number)),)
    return _WORDS[word]


def dense_reach(num_layers: int, groups: int = 1) -> Reach:
    """The table that keeps every edge."""
    return np.full((num_layers, groups, NUM_ROLES, NUM_ROLES), ALL, np.int32)


def narrowed(reach: Reach, limit: Reach | int) -> Reach:
    """The edges that exist under both reaches, element by element."""
    other = np.asarray(limit, np.int32)
    # Of a number below 0 all bits are turned, so that `~w` becomes w.
    farthest = np.minimum(reach ^ (reach >> 31), other ^ (other >> 31))
    both: Reach = np.where((reach < 0) | (other < 0), ~farthest, farthest)
    return both


def limit_edges(
    reach: Reach,
    layers: slice | list[int],
    queries: tuple[AnyRole, ...],
    keys: tuple[AnyRole, ...],
    limit: int,
) -> None:
    """Narrow `reach` in place to `limit` for the given layers, query and key roles."""
    groups = np.arange(reach.shape[1])
    block = np.ix_(np.arange(len(reach))[layers], groups, np.array(queries), np.array(keys))
    reach[block] = narrowed(reach[block], limit)
    inherit_rows(reach)


def remove_pathway(reach: Reach, pathway: Pathway, layers: slice | list[int]) -> None:
    """Remove a pathway from `reach` in place in the given layers.

    Raises:
        UsageError: it distinguishes parts of one question or clip, which no plan knows.
    """
    for single in pathway.singles:
        if is_fine(single.keys + single.queries):
            raise UsageError(
                f"{single.name}: only a trace can distinguish parts of one question or its clip, "
                "such as a true option, a frame or a region: a plan holds for every sample"
            )
        limit_edges(reach, layers, single.queries, single.keys, single.limit)


def inherit_rows(reach: Reach) -> None:
    """Fill in the roles that no plan names, in place.

    `answer` reads what `last` reads, and generated tokens see each other. `history` reads and is
    read as `question`, which it was in its turn. `image` reads what `question` reads, and every
    query may read it: pictures are never pruned, nor frozen.
    """
    reach[..., Role.HISTORY, :] = reach[..., Role.QUESTION, :]
    reach[..., :, Role.HISTORY] = reach[..., :, Role.QUESTION]
    reach[..., Role.HISTORY, Role.HISTORY] = reach[..., Role.QUESTION, Role.QUESTION]
    reach[..., Role.IMAGE, :] = reach[..., Role.QUESTION, :]
    reach[..., :, Role.IMAGE] = ALL
    reach[..., Role.IMAGE, NUM_ROLES:] = ALL
    reach[..., Role.ANSWER, :] = reach[..., Role.LAST, :]
    reach[..., Role.ANSWER, Role.ANSWER] = ALL


def knockout(num_layers: int, pathway: Pathway, layers: slice | list[int]) -> Reach:
    """The dense table without `pathway` in `layers`: one knockout."""
    reach = dense_reach(num_layers)
    remove_pathway(reach, pathway, layers)
    return reach
