"""Pathways: named sets of edges between roles, as traces, plans and figures speak of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from prune.errors import UsageError
from prune.layout.fine_role import AnyRole, is_fine
from prune.layout.reach import NONE, OTHER_FRAMES, SAME_FRAME, Reach, dense_reach, limit_edges
from prune.layout.role import Role

VIDEO = (Role.VIDEO, Role.TIMESTAMP)
"""Timestamps count as video: Map the Flow's published ranges include the text between frames."""

QUESTION = (Role.QUESTION,)
QUESTION_SEALED = (Role.BRIDGE, Role.QUESTION, Role.TAIL)
OPTIONS = (Role.OPTIONS,)
LAST = (Role.LAST,)

PLANNED = tuple(Role)[: Role.ANSWER]
"""Roles that a plan covers; `inherit_rows` fills in the others."""


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


def roles_of(pathways: Iterable[Pathway]) -> set[AnyRole]:
    """The roles on both sides of pathways."""
    singles = [single for pathway in pathways for single in pathway.singles]
    return {role for single in singles for role in (*single.keys, *single.queries)}


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


def knockout(num_layers: int, pathway: Pathway, layers: slice | list[int]) -> Reach:
    """The dense table without `pathway` in `layers`: one knockout."""
    reach = dense_reach(num_layers)
    remove_pathway(reach, pathway, layers)
    return reach
