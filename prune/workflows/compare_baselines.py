"""Comparison of a plan with the dense model and every baseline, on the same held-out samples."""

from collections.abc import Sequence
from dataclasses import replace

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.reencoded import Reader
from prune.baselines.rivals import SEEDS, rivals
from prune.evaluate.answers import RunBatch, accuracy, typical_prompt, typical_sample, under
from prune.evaluate.existence import existence
from prune.evaluate.paired import accuracy_report
from prune.evaluate.questions import Questions
from prune.evaluate.stats import mcnemar, paired_difference
from prune.journal.progress import Progress
from prune.layout.reach import dense_reach
from prune.plan.cost import Cost, Geometry, dense_cost
from prune.plan.plan import Plan
from prune.results.accuracy import AccuracyReport
from prune.results.answer import Answer
from prune.results.export_result import BaselineRow, ComposedRow


def compare(
    plan: Plan,
    asked: Questions,
    progress: Progress,
    seeds: int = SEEDS,
) -> tuple[AccuracyReport, tuple[BaselineRow, ...]]:
    """Answer held-out samples densely, under the plan, and by every baseline at the plan's cost.

    Args:
        plan: the model's.
        asked: held-out samples; of the dense model. Those that a run cannot answer are left out.
        progress: shows the answers.
        seeds: how often each random baseline is drawn.

    Returns:
        Accuracy with its paired differences, and one row per baseline.

    Raises:
        NumericError: no sample can be answered.
    """
    target = CostTarget(plan, typical_prompt(asked.batches), Geometry.of(asked.opened.model))
    reader = Reader(asked.opened, asked.num_frames, typical_sample(asked.batches))
    every = dense_cost(plan.num_layers, target.prompt, target.geometry)
    groups = rivals(target, seeds, reader)
    on_top = {b.name: b.on_top for group in groups for b in group if b.on_top}
    count = sum(len(b.samples) for b in asked.batches)
    runs = 2 + sum(map(len, groups)) + len(on_top)
    with progress("Answering held-out questions", count * runs) as advance:

        def ask(run: RunBatch) -> list[Answer]:
            return asked.ask(run, advance)

        dense, pruned = ask(under(dense_reach(plan.num_layers))), ask(under(plan.reach))
        given = [[ask(baseline.run) for baseline in group] for group in groups]
        both = {name: ask(top.run) for name, top in on_top.items()}
    dense, pruned = asked.left(dense), asked.left(pruned)
    given = [[asked.left(answers) for answers in group] for group in given]
    rows = tuple(
        replace(
            _row(group, answers, pruned, every),
            on_top=_composed(on_top[name].flops / every.flops, asked.left(both[name]), answers[0])
            if (name := group[0].name) in on_top
            else None,
        )
        for group, answers in zip(groups, given, strict=True)
    )
    samples = [sample for batch in asked.batches for sample in batch.samples]
    report = accuracy_report(dense, pruned, given[0])
    return replace(report, existence=existence(samples, dense, pruned)), rows


def _composed(flops: float, both: Sequence[Answer], alone: Sequence[Answer]) -> ComposedRow:
    """The plan on top of a baseline, against the baseline alone."""
    ours, theirs = [a.correct for a in both], [a.correct for a in alone]
    change = paired_difference(theirs, ours, [a.video for a in both])
    return ComposedRow(flops, accuracy(both), change)


def _row(
    group: Sequence[Baseline],
    answers: Sequence[Sequence[Answer]],
    pruned: Sequence[Answer],
    dense: Cost,
) -> BaselineRow:
    """Compare the plan with the best draw of a baseline."""
    accuracies = [accuracy(given) for given in answers]
    best = accuracies.index(max(accuracies))
    theirs, ours = [[a.correct for a in given] for given in (answers[best], pruned)]
    videos = [given.video for given in pruned]
    baseline = group[best]
    return BaselineRow(
        name=baseline.name,
        source=baseline.source,
        setting=baseline.setting,
        edges=baseline.edges / dense.edges,
        flops=baseline.flops / dense.flops,
        accuracies=tuple(accuracies),
        difference=paired_difference(theirs, ours, videos),
        p_value=mcnemar(theirs, ours, videos),
    )
