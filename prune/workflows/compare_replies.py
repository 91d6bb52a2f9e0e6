"""Comparison of replies to open samples: a plan's with the dense model's and every baseline's."""

from collections.abc import Sequence

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.rivals import rivals
from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import RunBatch, typical_prompt, under
from prune.evaluate.free_replies import (
    Free,
    common_prefix,
    examples,
    free_replies,
    prepared_replies,
    similarities,
    texts_of,
)
from prune.evaluate.replies import Replies
from prune.evaluate.reply_report import drift, reply_rows
from prune.evaluate.stats import paired_difference
from prune.inputs.replying import Replying
from prune.journal.progress import Progress
from prune.plan.cost import Cost, Geometry, dense_cost
from prune.plan.plan import Plan
from prune.results.replies import RepliesReport, ReplyBaseline
from prune.results.reply import ForcedReply


def compare_replies(
    opened: LoadedModel,
    plan: Plan,
    told: Replies,
    num_frames: int,
    replying: Replying,
    progress: Progress,
    seeds: int = 0,
) -> tuple[RepliesReport, Free]:
    """Force a plan through replies, and let it reply on its own, beside the dense model.

    Args:
        opened: the dense model.
        plan: the model's.
        told: open samples; those that a run fails at are left out.
        num_frames: of every clip.
        replying: how the samples were prepared.
        progress: shows the replies.
        seeds: how often each random baseline is drawn; no baseline is run if 0.

    Returns:
        What was measured, and the plan's free replies.

    Raises:
        NumericError: the logits of every sample are NaN or infinite.
    """
    target = CostTarget(plan, typical_prompt(told.batches), Geometry.of(opened.model))
    every = dense_cost(plan.num_layers, target.prompt, target.geometry)
    groups = rivals(target, seeds) if seeds else []
    runs = 1 + sum(map(len, groups))
    with progress("Following held-out replies", told.size * runs) as advance:

        def follow(run: RunBatch) -> list[ForcedReply]:
            return told.follow(run, advance)

        pruned = follow(under(plan.reach))
        followed = [[follow(baseline.run) for baseline in group] for group in groups]
    pruned = told.left(pruned)
    tokens = replying.max_tokens
    dense: Free = prepared_replies(told.batches)
    if replying.source != "own":
        with progress("Replying densely", told.size) as advance:
            dense = free_replies(opened, told.batches, num_frames, tokens, on_done=advance)
    with progress("Replying under the plan", told.size) as advance:
        ours = free_replies(opened, told.batches, num_frames, tokens, plan, advance)
    samples = [s for batch in told.batches for s in batch.samples if s.id not in told.failed]
    texts = texts_of(opened, dense), texts_of(opened, ours)
    tasks, overall = reply_rows(pruned)
    report = RepliesReport(
        source=replying.source,
        max_tokens=replying.max_tokens,
        tasks=tasks,
        overall=overall,
        drift=drift(pruned, dense, ours),
        free=similarities(samples, *texts),
        examples=examples(
            samples, *texts, {s.id: common_prefix(dense[s.id], ours[s.id]) for s in samples}
        ),
        baselines=tuple(
            _row(group, [told.left(given) for given in replies], pruned, every)
            for group, replies in zip(groups, followed, strict=True)
        ),
    )
    return report, ours


def _row(
    group: Sequence[Baseline],
    replies: Sequence[Sequence[ForcedReply]],
    pruned: Sequence[ForcedReply],
    dense: Cost,
) -> ReplyBaseline:
    """Compare the plan with the best draw of a baseline."""
    shares = [[reply.agreement / 100 for reply in given] for given in replies]
    means = [100 * sum(given) / len(given) for given in shares]
    best = means.index(max(means))
    ours, videos = [r.agreement / 100 for r in pruned], [r.video for r in pruned]
    baseline = group[best]
    return ReplyBaseline(
        baseline.name,
        baseline.source,
        baseline.setting,
        baseline.edges / dense.edges,
        baseline.flops / dense.flops,
        tuple(means),
        paired_difference(shares[best], ours, videos),
    )
