"""The measurement of a plan at several numbers of frames, on held-out samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import EncodedBatch, typical_prompt, under
from prune.evaluate.questions import Questions
from prune.evaluate.replies import Replies
from prune.evaluate.stats import paired_difference, proportion
from prune.inputs.replying import Replying
from prune.inputs.samples import Sample
from prune.journal.progress import Advance, Progress
from prune.layout.reach import dense_reach
from prune.layout.segments import Role
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.plan import Plan
from prune.plan.search_result import SearchResult
from prune.results.answer import Answer
from prune.results.export_result import Result
from prune.results.frame_counts import FrameCountsReport, FramesRow, LengthRow, Paired
from prune.trace.trace import Trace
from prune.workflows.measure_plan import measure_plan
from prune.workflows.read_clips import read_clips

THIRDS = 3
"""Groups of answers by length of text."""

_OF_VIDEO = (Role.VIDEO, Role.TIMESTAMP)


@dataclass(frozen=True)
class _Both:
    """One question at one number of frames: both answers, and how long its text is."""

    dense: Answer
    pruned: Answer
    length: int


def measure_at(
    opened: LoadedModel,
    plan: Plan,
    held_out: Sequence[Sample],
    counts: Sequence[int],
    progress: Progress,
    trace: Trace | None = None,
    found: SearchResult | None = None,
    argv: str = "",
) -> Result:
    """`measure_plan` at a number of frames; of several, at the one where the plan loses most.

    The worst decides about a plan that is to hold at all of them. It tends to look worse than it
    is, since the same questions chose it.
    """
    if len(counts) == 1:
        return measure_plan(opened, plan, held_out, counts[0], progress, trace, found, argv)
    replying = Replying.of(trace.header["asking"] if trace else {})
    report, failed = measure_frames(opened, plan, held_out, counts, progress, replying)
    worst = report.worst.frames
    result = measure_plan(opened, plan, held_out, worst, progress, trace, found, argv)
    conditions = {**result.conditions, "frame counts": ", ".join(map(str, counts))}
    return replace(
        result, frame_counts=report, failed=failed | result.failed, conditions=conditions
    )


def measure_frames(
    opened: LoadedModel,
    plan: Plan,
    held_out: Sequence[Sample],
    counts: Sequence[int],
    progress: Progress,
    replying: Replying,
) -> tuple[FrameCountsReport, dict[str, str]]:
    """Ask held-out samples at every number of frames, densely and under a plan.

    Args:
        opened: the dense model.
        plan: the model's.
        held_out: the samples.
        counts: numbers of frames.
        progress: shows each step.
        replying: by which replies open samples are followed.

    Returns:
        What was found, and the reason by id of each sample that could not be used at one of them.

    Raises:
        BadInputError: no sample can be used.
        NumericError: the logits of every sample are NaN or infinite.
    """
    rows, everything, lost = [], list[_Both](), dict[str, str]()
    for count in counts:
        batches, failed = read_clips(opened, held_out, count, progress, "held-out clips", replying)
        asked = Questions(opened, count, [b for b in batches if not b.replies], failed)
        told = Replies(opened.model, [b for b in batches if b.replies])
        total = 2 * sum(len(batch.samples) for batch in asked.batches) + told.size
        with progress(f"Answering at {count} frames", total) as advance:
            both = _answers(plan, asked, advance)
            replies = told.follow(under(plan.reach), advance)
        everything += both
        lost |= asked.failed | told.failed
        prompt, geometry = typical_prompt(batches), Geometry.of(opened.model)
        dense = dense_cost(plan.num_layers, prompt, geometry)
        cost = cost_of(plan.reach, prompt, geometry)
        rows.append(
            FramesRow(
                count,
                prompt.shape[1],
                cost.edges / dense.edges,
                cost.flops / dense.flops,
                cost.kv_bytes / dense.kv_bytes,
                _paired(both) if both else None,
                proportion([r.agreement / 100 for r in replies], [r.video for r in replies])
                if replies
                else None,
            )
        )
    return FrameCountsReport(tuple(rows), tuple(_by_length(everything))), lost


def _answers(plan: Plan, asked: Questions, advance: Advance) -> list[_Both]:
    if not asked.batches:
        return []
    dense = asked.ask(under(dense_reach(plan.num_layers)), advance)
    pruned = asked.ask(under(plan.reach), advance)
    lengths = {name: length for batch in asked.batches for name, length in _lengths(batch)}
    both = zip(asked.left(dense), asked.left(pruned), strict=True)
    return [_Both(before, after, lengths[before.id]) for before, after in both]


def _lengths(batch: EncodedBatch) -> list[tuple[str, int]]:
    """Tokens of text in the prompt of each sample, by its id."""
    rows = [batch.replay.segments.row(place) for place in range(len(batch.samples))]
    return [
        (sample.id, row.shape[1] - sum(row.count(role) for role in _OF_VIDEO))
        for sample, row in zip(batch.samples, rows, strict=True)
    ]


def _by_length(both: Sequence[_Both]) -> list[LengthRow]:
    """Thirds of the answers by length; none if all texts are of one length."""
    lengths = np.array([one.length for one in both])
    if not len(lengths) or lengths.min() == lengths.max():
        return []
    edges = np.quantile(lengths, np.arange(1, THIRDS) / THIRDS, method="lower")
    # Texts of one length are in one group.
    groups = np.searchsorted(np.unique(edges), lengths, side="left")
    found = []
    for group in np.unique(groups):
        part = [one for one, place in zip(both, groups, strict=True) if place == group]
        sizes = [one.length for one in part]
        found.append(LengthRow(min(sizes), max(sizes), _paired(part)))
    return found


def _paired(both: Sequence[_Both]) -> Paired:
    videos = [one.dense.video for one in both]
    before, after = [one.dense.correct for one in both], [one.pruned.correct for one in both]
    return Paired(
        len(both),
        len(set(videos)),
        proportion(before, videos),
        proportion(after, videos),
        paired_difference(before, after, videos),
    )
