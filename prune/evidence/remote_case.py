"""`RemoteCase`: a question to a model behind an endpoint, ready to be explained."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError, RefusedError, UsageError
from prune.evidence.fill import FILLS
from prune.evidence.regions import Regions, whole_frames
from prune.evidence.remote import Endpoint, RemoteScorer
from prune.evidence.reply import ReplyTarget, counter_text, positions_of
from prune.inputs.boxes import frame_times
from prune.inputs.encode import decode
from prune.inputs.prompts import choice_text, open_question
from prune.inputs.samples import Sample


@dataclass
class RemoteCase:
    """A question, and what the endpoint's model replied.

    Attributes:
        endpoint: the model.
        sample, frames: the question and its clip, uint8 `[T, H, W, 3]`.
        target: the reply, and which of its tokens are explained.
    """

    endpoint: Endpoint
    sample: Sample
    frames: NDArray[np.uint8]
    target: ReplyTarget
    times: Sequence[float] = ()
    _scorers: list[RemoteScorer] = field(default_factory=list)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Not known; raises `RefusedError`."""
        raise RefusedError("an endpoint does not show its token grid: leave out --align")

    @property
    def forwards(self) -> int:
        """Requests so far."""
        return sum(scorer.forwards for scorer in self._scorers)

    def options(self) -> NDArray[np.float64]:
        """Probability of each option's letter with the whole clip visible, `[n]`; one request."""
        if self.sample.is_open:
            return np.empty(0)
        scorer = self._asking(whole_frames(self.frames), "black", self.target.texts[:1], [0])
        return scorer.probabilities(np.ones((1, len(self.frames)), bool))[0, 1:]

    def scorer(self, regions: Regions, removal: str = "black") -> RemoteScorer:
        """Scores sets of the regions; raises `UsageError` unless pixels are removed."""
        return self._asking(regions, removal, self.target.texts, self.target.positions)

    def _asking(
        self, regions: Regions, removal: str, tokens: Sequence[str], wanted: Sequence[int]
    ) -> RemoteScorer:
        if removal not in FILLS:
            raise UsageError(
                f"removal {removal!r}: an endpoint only receives pixels: use {' or '.join(FILLS)}"
            )
        question = asked(self.sample)
        self._scorers.append(
            RemoteScorer(
                self.endpoint, self.frames, FILLS[removal](self.frames), question,
                tokens, regions, wanted, self.sample.letters,
            )
        )  # fmt: skip
        return self._scorers[-1]


def asked(sample: Sample) -> str:
    """The user's text: the question, with its options if it has some."""
    if sample.is_open:
        return open_question(sample.question).text
    return choice_text(sample.question, list(sample.options))


def open_remote(endpoint: Endpoint, sample: Sample, num_frames: int, target: str) -> RemoteCase:
    """Decode a sample's clip and ask for a reply.

    Args:
        endpoint: the model.
        sample, num_frames: the question and how many frames of its clip are sent.
        target: what is explained (`prune.evidence.reply.find_target`).

    Raises:
        BadInputError: the clip cannot be decoded, or the endpoint's answer cannot be used.
        ResourceError: the endpoint cannot be reached or is busy.
        UsageError: the reply has no such target.
        RefusedError: the sample has earlier turns.
    """
    if sample.turns:
        raise RefusedError("--endpoint: earlier turns (messages) are not sent: leave them out")
    frames, metadata = decode(sample, num_frames)
    if frames.dtype == object:
        raise BadInputError("the images have several sizes, and regions need one: ask alone")
    texts = endpoint.reply(frames, asked(sample))
    instead = counter_text(target, sample, "".join(texts[:1]))
    texts = [instead] if instead else texts
    found = ReplyTarget((), tuple(texts), positions_of(target, texts, sample.is_open), target)
    return RemoteCase(endpoint, sample, frames, found, frame_times(len(frames), metadata))
