"""A plan at several numbers of frames and lengths of text, as rows of a report."""

from dataclasses import dataclass

from prune.results.interval import Interval


@dataclass(frozen=True)
class Paired:
    """Accuracy of the dense model and under the plan on the same answers, in percent.

    Attributes:
        n, videos: how many answers, and about how many videos.
    """

    n: int
    videos: int
    dense: Interval
    pruned: Interval
    difference: Interval


@dataclass(frozen=True)
class FramesRow:
    """A number of frames.

    Attributes:
        frames: of every clip.
        tokens: of the prompt of median length, on which costs are counted.
        edges, flops, kv_bytes: that the plan leaves of it, as shares of the dense model's.
        answers: to questions with options, if there are any.
        agreement: of forced replies to open questions with the dense model, in percent of tokens,
            if there are any.
    """

    frames: int
    tokens: int
    edges: float
    flops: float
    kv_bytes: float
    answers: Paired | None
    agreement: Interval | None


@dataclass(frozen=True)
class LengthRow:
    """Prompts whose text has so many tokens, video and time stamps aside, at all frame counts."""

    least: int
    most: int
    answers: Paired


@dataclass(frozen=True)
class FrameCountsReport:
    """Where a plan was measured, held out, if that is at more than one number of frames.

    Attributes:
        rows: by number of frames, in the order asked for.
        lengths: thirds of the answers, by length of text.
    """

    rows: tuple[FramesRow, ...]
    lengths: tuple[LengthRow, ...]

    @property
    def worst(self) -> FramesRow:
        """Where the plan loses most; the first of equals."""
        return min(self.rows, key=_kept)


def _kept(row: FramesRow) -> float:
    """The change of accuracy, or of agreement, in points, whichever is less."""
    answers = [row.answers.difference.value] if row.answers else []
    return min([*answers, *([row.agreement.value - 100] if row.agreement else [])])
