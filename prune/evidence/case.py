"""`Case`: one question with the model's reply to it, ready to be explained."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError, UsageError
from prune.evidence.fill import FILLS
from prune.evidence.forced import TeacherForcing, forced_replay
from prune.evidence.masked import MaskedScorer
from prune.evidence.pixels import PixelScorer
from prune.evidence.regions import Regions
from prune.evidence.reply import ReplyTarget, find_target
from prune.evidence.scorer import Scorer
from prune.evidence.tokens import VideoTokens
from prune.inputs.boxes import frame_times
from prune.inputs.encode import Clip, decode, encode, letter_ids
from prune.inputs.reply import greedy_reply
from prune.inputs.samples import Sample
from prune.inputs.visible import Box, visible_box
from prune.layout.reach import Reach
from prune.plan.plan import Plan
from prune.runtime.apply import apply

REMOVALS = ("masked", *FILLS)
"""How regions are removed: by masking their visual tokens, or by filling their pixels."""


class Explainable(Protocol):
    """The interface of a question with its reply (`Case`, or a `RemoteCase`)."""

    @property
    def sample(self) -> Sample:
        """The question."""
        ...

    @property
    def target(self) -> ReplyTarget:
        """The reply, and which of its tokens are explained."""
        ...

    @property
    def frames(self) -> NDArray[np.uint8]:
        """`[T, H, W, 3]`."""
        ...

    @property
    def times(self) -> Sequence[float]:
        """Seconds of the video at which each frame appears; 0 of images."""
        ...

    @property
    def grid(self) -> tuple[int, int, int]:
        """Temporal units, rows and columns of the video tokens."""
        ...

    @property
    def forwards(self) -> int:
        """Passes of the model so far."""
        ...

    def options(self) -> NDArray[np.float64]:
        """Probability of each option's letter with the whole clip visible, `[n]`; 0 if open."""
        ...

    def scorer(self, regions: Regions, removal: str = ...) -> Scorer:
        """Scores sets of regions: reply tokens, then the options' letters."""
        ...


@dataclass(frozen=True)
class Case:
    """A question, a reply and the model that gave it.

    Attributes:
        model, processor: dense.
        sample, clip, inputs: the prompt; inputs without the reply.
        target: the reply, and which of its tokens are explained.
        forcing: runs it; its alternatives are the options' letters.
    """

    model: Any
    processor: Any
    sample: Sample
    clip: Clip
    inputs: Any
    target: ReplyTarget
    forcing: TeacherForcing

    @property
    def frames(self) -> NDArray[np.uint8]:
        """`[T, H, W, 3]`."""
        return self.clip[0]

    @property
    def times(self) -> list[float]:
        """Seconds of the video at which each frame appears; 0 of images."""
        return frame_times(len(self.frames), self.clip[1])

    @property
    def seen(self) -> Box:
        """The part of a frame that the model sees."""
        height, width = self.frames.shape[1:3]
        return visible_box(self.processor, height, width, self.sample.medium)

    @cached_property
    def tokens(self) -> VideoTokens:
        """The video tokens."""
        return VideoTokens(self.processor, self.inputs, self.forcing.replay.segments, self.seen)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Temporal units, rows and columns of the video tokens."""
        return self.tokens.shape

    @property
    def forwards(self) -> int:
        """Passes of the text model so far."""
        return self.forcing.forwards

    def options(self) -> NDArray[np.float64]:
        """Probability of each option's letter with the whole clip visible, `[n]`."""
        whole = np.ones((1, len(self.forcing.video)), bool)
        return self.forcing.probabilities(whole)[0, len(self.target.ids) :]

    def map_of(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Values of the video tokens `[V]` as a map over the clip's pixels, `[T, H, W]`."""
        return self.tokens.map(values, self.frames.shape[:3])

    def scorer(self, regions: Regions, removal: str = "masked") -> MaskedScorer | PixelScorer:
        """Scores sets of the regions; raises `UsageError` for an unknown removal."""
        if removal == "masked":
            return MaskedScorer(self.forcing, regions, self.tokens)
        if removal not in FILLS:
            raise UsageError(f"removal {removal!r}: expected {', '.join(REMOVALS)}")
        return PixelScorer(
            self.forcing, regions, self.processor, self.sample, self.clip,
            FILLS[removal](self.frames),
        )  # fmt: skip


def open_case(
    model: Any,
    processor: Any,
    sample: Sample,
    num_frames: int = 8,
    target: str = "answer",
    plan: Plan | None = None,
    reply: list[int] | None = None,
) -> Case:
    """Decode a sample's clip and let the model reply.

    Args:
        model, processor: dense.
        sample, num_frames: the question and how many frames of its clip are seen.
        target: what is explained (`prune.evidence.reply.find_target`).
        plan: the model runs under this plan.
        reply: token ids of a reply to explain in place of the model's own greedy one.

    Raises:
        BadInputError: the clip cannot be decoded, or its images have several sizes.
        UsageError: the reply has no such target.
    """
    clip = decode(sample, num_frames)
    if clip[0].dtype == object:
        raise BadInputError(
            "the images have several sizes, and regions need one: make them equally large, or ask "
            "about each alone"
        )
    inputs = encode(processor, [sample], [clip])
    if reply is None:
        running = apply(model, plan, processor=processor) if plan else nullcontext()
        with running:
            reply = greedy_reply(model, inputs)
    found = find_target(target, reply, processor, sample)
    reach: Reach | None = plan.reach if plan else None
    replay = forced_replay(model, processor, inputs, found.ids)
    letters = letter_ids(processor, sample) if sample.options else []
    forcing = TeacherForcing(replay, found.ids, reach, letters)
    return Case(model, processor, sample, clip, inputs, found, forcing)
