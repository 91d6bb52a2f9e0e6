"""Transfer: does a plan found on one task, frame count and prompt length hold on others?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.answers import BATCH, answer, prepare, under
from prune.evaluate.stats import paired_difference
from prune.inputs.samples import Sample
from prune.journal.progress import Progress
from prune.layout.pathways import dense_reach
from prune.plan.budget import Budget
from prune.results.answer import Answer
from prune.results.transfer_matrix import Cell, Transfer
from prune.trace.trace import Trace
from prune.workflows.plan import find_plan

ALL = "all"


@dataclass(frozen=True)
class Condition:
    """Where a plan is used: held-out samples, with a frame count and a text of their own."""

    name: str
    num_frames: int
    samples: tuple[Sample, ...]


def conditions(
    held_out: Sequence[Sample], num_frames: int, other_frames: Sequence[int]
) -> list[Condition]:
    """Every task, all tasks, all with other frame counts, and all with the question said twice."""
    every = tuple(held_out)
    tasks = sorted({sample.task for sample in every})
    found = [
        Condition(task, num_frames, tuple(s for s in every if s.task == task)) for task in tasks
    ]
    found.append(Condition(ALL, num_frames, every))
    found += [Condition(f"{count} frames", count, every) for count in other_frames]
    twice = tuple(replace(s, question=f"{s.question} {s.question}") for s in every)
    return [*found, Condition("longer text", num_frames, twice)]


def transfer(
    opened: LoadedModel,
    trace: Trace,
    calibration: Sequence[Sample],
    held_out: Sequence[Sample],
    budget: Budget,
    progress: Progress,
    other_frames: Sequence[int] = (),
) -> Transfer:
    """Search a plan on every task and on all, and use each under every condition.

    Args:
        opened: the dense model.
        trace: ranks the candidates of every search.
        calibration, held_out: samples to search on, and to use the plans on.
        budget: of every search.
        progress: shows it.
        other_frames: frame counts beside the traced one.

    Raises:
        BadInputError: no sample of a condition can be used.
    """
    tasks = sorted({sample.task for sample in calibration})
    found = {
        task: find_plan(
            opened, trace, [s for s in calibration if task in (ALL, s.task)], progress, budget
        )
        for task in ([*tasks, ALL] if len(tasks) > 1 else [ALL])
    }
    runs = {"dense": under(dense_reach(opened.id.num_layers))}
    runs |= {task: under(plan.plan.reach) for task, plan in found.items()}
    cells: list[Cell] = []
    for condition in conditions(held_out, trace.header["num_frames"], other_frames):
        with progress(f"Answering: {condition.name}", len(runs)) as advance:
            batches, failed = prepare(
                opened.model, opened.processor, condition.samples, condition.num_frames, BATCH
            )
            if not batches:
                reason = next(iter(failed.values()))
                raise BadInputError(f"{condition.name}: no sample could be used: {reason}")
            answers: dict[str, list[Answer]] = {}
            for name, run in runs.items():
                answers[name] = answer(opened.model, opened.processor, batches, run)
                advance(1)
        dense = [a.correct for a in answers.pop("dense")]
        cells += [
            Cell(
                task,
                condition.name,
                len(dense),
                100 * sum(dense) / len(dense),
                paired_difference(dense, [a.correct for a in given]),
            )
            for task, given in answers.items()
        ]
    flops = {task: plan.cost.flops / plan.dense_cost.flops for task, plan in found.items()}
    return Transfer(flops, tuple(cells))
