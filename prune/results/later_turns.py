"""Later turns of conversations: answers with a kept cache, and to the whole conversation."""

from dataclasses import dataclass

from prune.results.interval import Interval


@dataclass(frozen=True)
class TurnsRow:
    """Answers to questions with as many turns before them; shares in percent, by video.

    Attributes:
        turns: before the question; None in the row of all.
        n, videos: how many questions, about how many videos.
        sent: answers under the plan that are the dense model's, where the whole conversation is one
            prompt; of an open question the share of the dense reply that both begin with.
        kept: the same where each turn is added to the cache of those before (`multi_turn`).
        dense_accuracy, kept_accuracy: of the questions with options; None without any.
    """

    turns: int | None
    n: int
    videos: int
    sent: Interval
    kept: Interval
    dense_accuracy: Interval | None
    kept_accuracy: Interval | None


@dataclass(frozen=True)
class TurnsReport:
    """Later turns of held-out conversations.

    Attributes:
        rows: by number of turns before the question, that of all last.
        cache: share of the dense model's KV cache of a conversation that `multi_turn` keeps until
            its last answer, measured; mean.
    """

    rows: tuple[TurnsRow, ...]
    cache: float
