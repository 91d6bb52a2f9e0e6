"""Rows of a `RepliesReport` from forced and free replies."""

from collections.abc import Sequence

from prune.evaluate.free_replies import Free, common_prefix
from prune.evaluate.stats import mean_of, proportion
from prune.inputs.samples import ALL_TASKS
from prune.results.interval import Interval
from prune.results.replies import Drift, ReplyRow
from prune.results.reply import ForcedReply

LENGTHS = (16, 64, 256)
"""Tokens after which drift is measured."""


def reply_rows(replies: Sequence[ForcedReply]) -> tuple[tuple[ReplyRow, ...], ReplyRow]:
    """A row per task, and that of all replies."""
    tasks = sorted({reply.task for reply in replies})
    rows = [_row(task, [r for r in replies if r.task == task]) for task in tasks]
    return tuple(rows), _row(ALL_TASKS, replies)


def _row(task: str, replies: Sequence[ForcedReply]) -> ReplyRow:
    videos = [reply.video for reply in replies]
    return ReplyRow(
        task,
        len(replies),
        len(set(videos)),
        sum(reply.tokens for reply in replies) / len(replies),
        proportion([reply.agreement / 100 for reply in replies], videos),
        mean_of([reply.mean_kl for reply in replies], videos),
        mean_of([reply.mean_dlogp for reply in replies], videos),
        proportion([reply.prefix / reply.tokens for reply in replies], videos),
    )


def drift(replies: Sequence[ForcedReply], dense: Free, pruned: Free | None) -> tuple[Drift, ...]:
    """Agreement over the first tokens, for each of `LENGTHS` that a reply reaches.

    Args:
        replies: forced.
        dense, pruned: free replies by id; None if the pruned model's were not generated.
    """
    found = []
    for length in LENGTHS:
        long = [reply for reply in replies if reply.tokens >= length]
        if not long:
            continue
        videos = [reply.video for reply in long]
        shares = [sum(reply.same[:length]) / length for reply in long]
        alike = _together(length, long, dense, pruned)
        found.append(Drift(length, len(long), proportion(shares, videos), alike))
    return tuple(found)


def _together(
    length: int, replies: Sequence[ForcedReply], dense: Free, pruned: Free | None
) -> Interval | None:
    if pruned is None:
        return None
    long = [r for r in replies if r.id in pruned and len(dense.get(r.id, ())) >= length]
    if not long:
        return None
    alike = [common_prefix(dense[r.id], pruned[r.id]) >= length for r in long]
    return proportion(alike, [r.video for r in long])
