"""Comparison of a plan with the dense model and every baseline, on the same held-out samples."""

from collections.abc import Sequence

from prune.baselines.baseline import Baseline, CostTarget, Make
from prune.baselines.fastv import fastv
from prune.baselines.published import published
from prune.baselines.random_edges import random_edges
from prune.baselines.random_plan import random_plan
from prune.baselines.subsample import subsample
from prune.baselines.vtw import vtw
from prune.evaluate.answers import RunBatch, accuracy, typical_prompt, under
from prune.evaluate.paired import accuracy_report
from prune.evaluate.questions import Questions
from prune.evaluate.stats import mcnemar, paired_difference
from prune.journal.progress import Progress
from prune.layout.pathways import dense_reach
from prune.plan.cost import Cost, Geometry, dense_cost
from prune.plan.plan import Plan
from prune.results.accuracy import AccuracyReport
from prune.results.answer import Answer
from prune.results.export_result import BaselineRow

SEEDED: tuple[Make, ...] = (random_edges, random_plan)
"""Drawn at random, once per seed."""

SINGLE: tuple[Make, ...] = (vtw, fastv, subsample, published)

SEEDS = 5


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
    every = dense_cost(plan.num_layers, target.prompt, target.geometry)
    count = sum(len(b.samples) for b in asked.batches)
    runs = 2 + len(SINGLE) + seeds * len(SEEDED)
    with progress("Answering held-out questions", count * runs) as advance:

        def ask(run: RunBatch) -> list[Answer]:
            return asked.ask(run, advance)

        dense, pruned = ask(under(dense_reach(plan.num_layers))), ask(under(plan.reach))
        drawn = [[make(target, seed) for seed in range(seeds)] for make in SEEDED]
        rivals = [(group, [ask(b.run) for b in group]) for group in drawn]
        rivals += [([b], [ask(b.run)]) for b in (make(target, 0) for make in SINGLE)]
    dense, pruned = asked.left(dense), asked.left(pruned)
    kept = [(group, [asked.left(given) for given in answers]) for group, answers in rivals]
    rows = tuple(_row(group, answers, pruned, every) for group, answers in kept)
    return accuracy_report(dense, pruned, kept[0][1]), rows


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
