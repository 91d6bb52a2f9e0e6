"""The maps of Map the Flow (2510.13251, table 3) as reach tables.

`published` is the map as printed: tokens between video and question, and between question and last,
belong to none of its roles, so video still reaches the answer through them in every layer. `sealed`
gives them the question's video window, after which video is dead.
"""

from dataclasses import dataclass

from prune.errors import UsageError
from prune.layout.pathways import LAST, OPTIONS, QUESTION, QUESTION_SEALED, VIDEO
from prune.layout.reach import NONE, SAME_FRAME, Reach, dense_reach, limit_edges


@dataclass(frozen=True)
class Map:
    """Layers that are kept, 1-based and inclusive as in the paper."""

    num_layers: int
    num_kv_heads: int
    cross_frame: tuple[int, int]
    video_to_question: tuple[int, int]
    question_to_last: tuple[int, int]


PRESETS = {
    "llava-next-7b": Map(32, 32, (6, 15), (6, 20), (16, 25)),
    "llava-next-13b": Map(40, 40, (6, 15), (6, 20), (16, 30)),
    "mini-internvl-4b": Map(32, 32, (6, 15), (6, 20), (11, 30)),
    "videollama3-7b": Map(28, 4, (1, 15), (6, 20), (21, 28)),
}


def preset_map(name: str) -> Map:
    """A published map; raises `UsageError` for an unknown name."""
    if name not in PRESETS:
        raise UsageError(f"no preset {name!r}: there are {', '.join(PRESETS)}")
    return PRESETS[name]


def preset_reach(chosen: Map, sealed: bool = True) -> Reach:
    """The reach table of a published map, `[L, 1, R, R]`."""
    reach = dense_reach(chosen.num_layers)
    every = list(range(chosen.num_layers))

    def outside(kept: tuple[int, int]) -> list[int]:
        return [layer for layer in every if not kept[0] <= layer + 1 <= kept[1]]

    readers = (QUESTION_SEALED if sealed else QUESTION) + OPTIONS
    asked = QUESTION + OPTIONS
    limit_edges(reach, outside(chosen.cross_frame), VIDEO, VIDEO, SAME_FRAME)
    limit_edges(reach, outside(chosen.video_to_question), readers, VIDEO, NONE)
    limit_edges(reach, outside(chosen.question_to_last), LAST, asked, NONE)
    limit_edges(reach, every, LAST, VIDEO + LAST, NONE)
    limit_edges(reach, every[chosen.video_to_question[1] :], VIDEO, VIDEO, NONE)
    limit_edges(reach, every[chosen.question_to_last[1] :], asked, asked, NONE)
    return reach
